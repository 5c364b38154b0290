"""How sure a segmenter is: what it says about changed copies of the same picture.

Test-time augmentation: each picture is predicted several times, mirrored, shifted and with another
contrast, and each answer is moved back. Where the answers differ, the model's answer hangs on
something that should not matter. Wang et al. 2019, "Aleatoric uncertainty estimation with test-time
augmentation" (doi 10.1016/j.neucom.2019.01.103); the agreement of the masks as a measure of quality
is from Roy et al. 2019, "Bayesian QuickNAT" (doi 10.1016/j.neuroimage.2019.03.042).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from utils.cohort.volumes import HEAD_MEAN
from utils.models.files.settings import Postprocessing
from utils.models.inference import predict_images
from utils.models.postprocessing import postprocess


@dataclass(frozen=True)
class View:
    """One way to change a picture that should not change the answer.

    Attributes
    ----------
    name : str
    mirror : bool
        Exchange left and right.
    shift : tuple of int
        Pixels down and to the right.
    gain : float
        Of the contrast, about the mean of the head.
    """

    name: str
    mirror: bool = False
    shift: tuple[int, int] = (0, 0)
    gain: float = 1.0

    def apply(self, images: np.ndarray) -> np.ndarray:
        """Return changed pictures; uint8, shape (slices, height, width, 3), normalised."""
        changed = images[:, :, ::-1] if self.mirror else images
        changed = shift_slices(changed, self.shift)
        if self.gain == 1.0:
            return changed
        table = np.clip(np.round(HEAD_MEAN + self.gain * (np.arange(256) - HEAD_MEAN)), 0, 255)
        table[0] = 0  # outside the head nothing changes
        return table.astype(np.uint8)[changed]

    def undo(self, maps: np.ndarray) -> np.ndarray:
        """Return maps (slices, height, width) of changed pictures, moved back."""
        back = shift_slices(maps, (-self.shift[0], -self.shift[1]))
        return back[:, :, ::-1] if self.mirror else back


VIEWS = (
    View("as it is"),
    View("mirrored", mirror=True),
    View("down right", shift=(3, 3)),
    View("mirrored, up left", mirror=True, shift=(-3, -3)),
    View("less contrast", gain=0.85),
    View("more contrast, mirrored", mirror=True, gain=1.15),
)


def shift_slices(slices: np.ndarray, shift: tuple[int, int]) -> np.ndarray:
    """Return slices (n, height, width, ...) moved down and right; what is uncovered is 0."""
    result = np.zeros_like(slices)
    (to_y, from_y), (to_x, from_x) = (_overlap(amount) for amount in shift)
    result[:, to_y, to_x] = slices[:, from_y, from_x]
    return result


def _overlap(amount: int) -> tuple[slice, slice]:
    """Return where a line goes to and comes from when it is moved by `amount`."""
    ahead, behind = slice(max(amount, 0) or None, None), slice(None, -max(amount, 0) or None)
    if amount >= 0:
        return ahead, behind
    return slice(None, amount), slice(-amount, None)


def predict_views(model, images: np.ndarray, views: Sequence[View] = VIEWS) -> np.ndarray:
    """Return what a model says about each slice in each view, moved back to the slice as it is.

    Parameters
    ----------
    model : keras.Model
        A segmenter of pictures of this size.
    images : ndarray of uint8, shape (slices, size, size, 3)
        Normalised, see `utils.cohort.volumes`.
    views : sequence of View

    Returns
    -------
    ndarray of float16, shape (views, slices, size, size)
        Probabilities; 16 bits tell them apart by less than a thousandth.
    """
    maps = np.empty((len(views), *images.shape[:3]), np.float16)
    for place, view in enumerate(views):
        maps[place] = view.undo(predict_images(model, view.apply(images)))
    return maps


@dataclass(frozen=True)
class Spread:
    """What the members of a test-time augmentation say about one patient.

    Attributes
    ----------
    mean, deviation : ndarray of float32, shape (slices, height, width)
        Of the members' probabilities (the standard deviation over the members themselves).
    masks : ndarray of uint8, shape (members, slices, height, width)
        What each member alone would have drawn.
    """

    mean: np.ndarray
    deviation: np.ndarray
    masks: np.ndarray


def spread(maps: np.ndarray, settings: Postprocessing) -> Spread:
    """Return mean, deviation and masks of the members.

    Parameters
    ----------
    maps : ndarray of float, shape (members, slices, height, width)
        Of one patient, from `predict_views`.
    settings : Postprocessing
    """
    return Spread(
        maps.mean(axis=0, dtype=np.float32),
        maps.std(axis=0, dtype=np.float32),
        np.stack([postprocess(member, settings) for member in maps]),
    )
