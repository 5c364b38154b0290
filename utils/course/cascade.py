"""Detector and segmenter of a run, applied together to the held-out patients.

The cascade: the detector decides which slices hold tumour, and the masks of the others are
emptied. Alone, the segmenter draws on every slice.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from utils import config
from utils.cohort.table import true_masks
from utils.cohort.volumes import Volumes
from utils.course import detector, segmenter
from utils.course.run import Run
from utils.evaluation import segmentation
from utils.evaluation.bootstrap import bootstrap_patients
from utils.evaluation.segmentation import patient_table
from utils.models import inference
from utils.models.inference import predict_images
from utils.models.postprocessing import postprocess
from utils.tables import write_table


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
    threshold : float
        The detector's: slices with at least this `p_tumour` are let through.
    """

    slices: pd.DataFrame
    truths: np.ndarray
    alone: np.ndarray
    cascade: np.ndarray
    volumes: Volumes
    threshold: float

    @property
    def cascade_slices(self) -> pd.DataFrame:
        """The slices table with the counts of the cascade in place of the segmenter's."""
        return segmentation.cascade(self.slices)


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
    detecting, settings = detector.load_or_train(run)
    segmenting, postprocessing = segmenter.load_or_train(run)
    volumes = run.part(part)
    p_tumour = predict_images(detecting, volumes.images)
    flagged = p_tumour >= settings["threshold"]
    maps = inference.native_probabilities(segmenting, volumes)
    if len({probabilities.shape[1:] for probabilities in maps.values()}) > 1:
        raise config.CourseError(
            f"{run.describe(part)}: the pictures differ in size between patients; "
            "bring them to one size first"
        )
    alone = np.concatenate([postprocess(one, postprocessing) for one in maps.values()])
    cascade = alone * flagged[:, None, None].astype(np.uint8)
    truths = true_masks(volumes.table)
    slices = segmentation.score(volumes.table, truths, alone, part=part, p_tumour=p_tumour)
    slices["flagged"] = flagged
    emptied = segmentation.cascade(slices)
    slices["cascade_px"] = emptied["predicted_px"]
    slices["cascade_overlap_px"] = emptied["overlap_px"]
    if part == "test":
        write_table(run.folder / "predictions.csv", slices)
    return Evaluation(slices, truths, alone, cascade, volumes, settings["threshold"])


def patient_results(run: Run, result: Evaluation) -> pd.DataFrame:
    """Return one row a patient for both ways, and keep it as ``patients.csv`` of the run.

    Returns
    -------
    pandas.DataFrame
        ``patient, institution, slices, tumour_px, predicted_px, overlap_px, dice, hd95_px`` of
        the segmenter alone, see `segmentation.patient_table`, and
        ``dice_cascade, hd95_px_cascade``.
    """
    patients = patient_table(result.slices, result.truths, result.alone)
    cascade = patient_table(result.cascade_slices, result.truths, result.cascade)
    for column in ("dice", "hd95_px"):
        patients[f"{column}_cascade"] = cascade[column]
    write_table(run.folder / "patients.csv", patients)
    return patients


def segmentation_record(patients: pd.DataFrame, slices: pd.DataFrame, seed: int = 0) -> dict:
    """Return what ``metrics.json`` holds about one way of segmenting.

    Parameters
    ----------
    patients : pandas.DataFrame
        ``patient, dice, hd95_px``, see `segmentation.patient_table`.
    slices : pandas.DataFrame
        The slices table of the same way.
    seed : int
        Of the bootstrap.

    Returns
    -------
    dict
        Mean and median Dice by patient with their 95 % intervals, the median HD95 and of how many
        patients it is, the share of tumour slices touched by the prediction (``sensitivity``) and
        the share of tumour-free slices with any (``false_positive_share``). None for what cannot
        be had.
    """
    mean = bootstrap_patients(patients, lambda rows: rows["dice"].mean(), seed=seed)
    median = bootstrap_patients(patients, lambda rows: rows["dice"].median(), seed=seed)
    with_tumour = slices["tumour_px"] > 0
    numbers = {
        "hd95_px_median": patients["hd95_px"].median(),
        "sensitivity": (slices.loc[with_tumour, "overlap_px"] > 0).mean(),
        "false_positive_share": (slices.loc[~with_tumour, "predicted_px"] > 0).mean(),
    }
    return (
        mean.record("dice_patient_mean", "dice_patient_ci95")
        | median.record("dice_patient_median")
        | {name: None if np.isnan(value) else float(value) for name, value in numbers.items()}
        | {"hd95_patients": int(patients["hd95_px"].notna().sum())}
    )


def kinds_of_error(patients: pd.DataFrame, missing: pd.DataFrame) -> pd.DataFrame:
    """Return for each patient what went wrong, the lowest Dice first.

    Parameters
    ----------
    patients : pandas.DataFrame
        From `patient_results`.
    missing : pandas.DataFrame
        From `statistics.missing_sequences`.

    Returns
    -------
    pandas.DataFrame
        ``patient, institution, tumour_px, dice``; ``missed, invented``, see
        `segmentation.missed_and_invented`; ``without``: the sequences that the patient lacks.
    """
    errors = patients[["patient", "institution", "tumour_px", "dice"]].copy()
    errors[["missed", "invented"]] = segmentation.missed_and_invented(patients)
    lacks = missing.set_index("patient").loc[errors["patient"]]
    names = {"pre_contrast": "pre-contrast", "post_contrast": "post-contrast"}
    errors["without"] = [
        ", ".join(name for column, name in names.items() if row[column])
        for _, row in lacks.iterrows()
    ]
    return errors.sort_values(["dice", "patient"], na_position="last", ignore_index=True)


def example_slices(slices: pd.DataFrame, patients: list[str]) -> list[int]:
    """Return two rows a patient: most tumour missed, and most tumour invented elsewhere.

    Parameters
    ----------
    slices : pandas.DataFrame
        The slices table.
    patients : list of str

    Returns
    -------
    list of int
        Row numbers of `slices`, two for each patient in turn; the second is another slice.
    """
    missed = slices["tumour_px"] - slices["overlap_px"]
    invented = slices["predicted_px"] - slices["overlap_px"]
    rows = []
    for patient in patients:
        own = slices.index[slices["patient"] == patient]
        first = missed[own].idxmax()
        rows += [first, invented[own.drop(first)].idxmax()]
    return rows
