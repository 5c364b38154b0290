"""Baselines of the segmenter that need no training: one threshold on FLAIR for all patients.

`PLAIN` thresholds the whole picture, and mostly draws scalp and fat. `FAIR` gives the threshold
what anyone would give it: it looks inside the brain alone, measures brightness against the brain's
own, and keeps the largest piece.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import ndimage

from utils.cohort.table import true_masks
from utils.cohort.volumes import normalise_volume, read_volume
from utils.course.run import Run
from utils.evaluation.segmentation import dice
from utils.models.files.settings import Postprocessing
from utils.models.postprocessing import postprocess

FLAIR = 1  # the channel
GRID = 128  # the brain is looked for on about so many pixels a side
SKULL = 0.04  # of the picture's side: what joins brain and scalp is thinner than twice this
RIM = 0.1  # of the head's greatest depth: too close to the outside to be brain
INNER = 0.6  # of it: so deep there is hardly anything but brain
DARK, BRIGHT = 0.4, 2.5  # of the brightness there: what may belong to the brain


class ThresholdMethod(NamedTuple):
    """How a threshold is used.

    Attributes
    ----------
    scores : callable
        From pictures of one patient, uint8 (slices, height, width, 3), to what is compared with
        the threshold, (slices, height, width).
    thresholds : tuple of float
        Those that are tried.
    largest_only : bool
        Whether the largest connected piece alone is kept.
    """

    scores: Callable[[np.ndarray], np.ndarray]
    thresholds: tuple[float, ...]
    largest_only: bool


def brain_pixels(images: np.ndarray) -> np.ndarray:
    """Return about where the brain is, found by its brightness and by what it hangs together with.

    What is about as bright in FLAIR as the middle of the head may be brain. Brain and scalp are
    parted by dark bone; where they touch, they touch in thin bridges. So a rim is taken off
    everything, the largest piece of the volume that is left is the brain, and it gets its rim
    back. At the base of the skull this is rough, and some of the eye sockets may stay in.

    Parameters
    ----------
    images : ndarray of uint8, shape (slices, height, width, 3)
        All slices of one patient, in order.

    Returns
    -------
    ndarray of bool, shape (slices, height, width)
        All False if there is no head.
    """
    height, width = images.shape[1:3]
    step = max(1, max(height, width) // GRID)
    flair = images[:, ::step, ::step, FLAIR].astype(float)
    depth = _depth_in_head(flair)
    inside = depth > RIM * depth.max()
    if not inside.any():
        return np.zeros(images.shape[:3], dtype=bool)
    usual = np.median(flair[depth > INNER * depth.max()])
    tissue = inside & (flair > DARK * usual) & (flair < BRIGHT * usual)
    rim = SKULL * max(flair.shape[1:])
    core = _largest_piece(np.stack([_depth(each) > rim for each in tissue]))
    if not core.any():
        core = inside  # too small a head to take a rim off
    # A little more than was taken off, so that notches close; holes are dark or bright brain.
    near = [
        ndimage.distance_transform_edt(~each) <= 1.2 * rim if each.any() else each for each in core
    ]
    brain = np.stack([ndimage.binary_fill_holes(each) for each in np.stack(near) & inside])
    return brain.repeat(step, axis=1).repeat(step, axis=2)[:, :height, :width]


def brightness_in_brain(images: np.ndarray) -> np.ndarray:
    """Return FLAIR in standard deviations above the mean of the patient's brain.

    Returns
    -------
    ndarray of float32, shape (slices, height, width)
        Minus infinity outside the brain.
    """
    brain, flair = brain_pixels(images), images[..., FLAIR].astype(np.float32)
    scores = np.full(brain.shape, -np.inf, dtype=np.float32)
    if brain.any():
        deviation = flair[brain].std()
        scores[brain] = (flair[brain] - flair[brain].mean()) / (deviation if deviation > 0 else 1)
    return scores


PLAIN = ThresholdMethod(
    lambda images: normalise_volume(images)[..., FLAIR], tuple(range(100, 256, 10)), False
)
FAIR = ThresholdMethod(brightness_in_brain, (0.5, 0.75, 1.0, 1.25, 1.5, 1.75, 2.0), True)


def masks(table: pd.DataFrame, method: ThresholdMethod, threshold: float) -> np.ndarray:
    """Return what one threshold draws.

    Parameters
    ----------
    table : pandas.DataFrame
        Rows of a cohort table, all slices of each patient together and in order.
    method : ThresholdMethod
        `PLAIN` or `FAIR`.
    threshold : float

    Returns
    -------
    ndarray of uint8, shape (n, height, width)
        At the size of the files, one mask for each row of `table`.
    """
    settings = Postprocessing(threshold, largest_only=method.largest_only)
    return np.concatenate(
        [
            postprocess(method.scores(read_volume(rows)), settings)
            for _, rows in table.groupby("patient", sort=False)
        ]
    )


def try_thresholds(run: Run, method: ThresholdMethod) -> pd.DataFrame:
    """Return `threshold, dice`: mean patient Dice on the training patients, best first."""
    found = {threshold: [] for threshold in method.thresholds}
    for _, rows in run.part("train").table.groupby("patient", sort=False):
        scores = method.scores(read_volume(rows))
        truth = true_masks(rows)
        for threshold, values in found.items():
            settings = Postprocessing(threshold, largest_only=method.largest_only)
            values.append(dice(truth, postprocess(scores, settings)))
    means = pd.DataFrame(
        {"threshold": list(found), "dice": [np.nanmean(values) for values in found.values()]}
    )
    return means.sort_values("dice", ascending=False, kind="stable", ignore_index=True)


def _depth_in_head(flair: np.ndarray) -> np.ndarray:
    """Return how deep each pixel lies in the head of its slice, in pixels; 0 outside."""
    # Fat may be many times as bright as the brain, air is not quite 0.
    background = max(0.15 * np.percentile(flair, 99), 1)
    heads = [
        _largest_piece(ndimage.binary_fill_holes(ndimage.binary_opening(each)))
        for each in flair > background
    ]
    return np.stack([_depth(each) for each in heads])


def _depth(mask: np.ndarray) -> np.ndarray:
    """Return the distance of each pixel of a mask of one slice to its outside, in pixels."""
    # Outside the picture counts as outside the mask.
    return ndimage.distance_transform_edt(np.pad(mask, 1))[1:-1, 1:-1]


def _largest_piece(mask: np.ndarray) -> np.ndarray:
    """Return the largest connected piece of a mask of one slice or of a volume."""
    pieces, count = ndimage.label(mask)
    if count < 2:
        return pieces > 0
    return pieces == 1 + np.bincount(pieces.ravel())[1:].argmax()
