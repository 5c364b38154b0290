"""Detector and segmenter of a run, applied together to the held-out patients.

The cascade: the detector decides which slices hold tumour, and the masks of the others are
emptied. Alone, the segmenter draws on every slice.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from utils import config, detector, segmenter
from utils.course import Run
from utils.predict import postprocess, predict_images
from utils.volumes import Volumes


@dataclass(frozen=True)
class Evaluation:
    """What both models say about one part of a run, slice by slice and pixel by pixel.

    Attributes
    ----------
    slices : pandas.DataFrame
        ``patient, institution, slice, part, tumour_px, predicted_px, overlap_px, p_tumour``, one
        row a slice, at the size of the files; ``flagged``: whether the detector lets the slice
        through; ``cascade_px, cascade_overlap_px``: the counts of the cascade.
    truths, alone, cascade : ndarray of uint8, shape (n, height, width)
        The traced masks, and those predicted by the segmenter alone and by the cascade; one for
        each row of `slices`.
    volumes : Volumes
        The pictures of the same rows, as the models saw them.
    """

    slices: pd.DataFrame
    truths: np.ndarray
    alone: np.ndarray
    cascade: np.ndarray
    volumes: Volumes

    @property
    def cascade_slices(self) -> pd.DataFrame:
        """The slices table with the counts of the cascade in place of the segmenter's."""
        return self.slices.assign(
            predicted_px=self.slices["cascade_px"], overlap_px=self.slices["cascade_overlap_px"]
        )


def evaluate(run: Run, part: str = "test") -> Evaluation:
    """Return what detector and segmenter of a run say about one part.

    Models that are missing in the run folder are trained first. For the held-out part
    ``predictions.csv`` is written.

    Parameters
    ----------
    run : Run
    part : {"test", "validation", "train"}

    Returns
    -------
    Evaluation

    Raises
    ------
    CourseError
        If the pictures of the patients differ in size.
    """
    detecting, settings = detector.obtain(run)
    segmenting, postprocessing = segmenter.obtain(run)
    volumes = run.part(part)
    p_tumour = predict_images(detecting, volumes.images)
    flagged = p_tumour >= settings["threshold"]
    maps = segmenter.native_probabilities(segmenting, volumes)
    if len({probabilities.shape[1:] for probabilities in maps.values()}) > 1:
        raise config.CourseError(
            f"{run.describe(part)}: the pictures differ in size between patients; "
            "bring them to one size first"
        )
    alone = np.concatenate([postprocess(one, postprocessing) for one in maps.values()])
    cascade = alone * flagged[:, None, None].astype(np.uint8)
    truths = segmenter.true_masks(volumes.table)
    slices = segmenter.score(volumes.table, truths, alone, part=part, p_tumour=p_tumour)
    slices["flagged"] = flagged
    slices["cascade_px"] = cascade.sum(axis=(1, 2), dtype=int)
    slices["cascade_overlap_px"] = (cascade & truths).sum(axis=(1, 2), dtype=int)
    if part == "test":
        with config.atomic_path(run.folder / "predictions.csv") as temporary:
            slices.to_csv(temporary, index=False)
    return Evaluation(slices, truths, alone, cascade, volumes)
