"""The shipped evidence tables of the real cohort, read and checked.

Nothing here needs the cohort: that the tables hold together is proven from the tables alone.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from utils import config, tables
from utils.cohort.splits import assert_no_leak, split_sha256
from utils.config import CourseError
from utils.evaluation.segmentation import HD95_BEFORE, HD95_NOW, patient_table
from utils.models.files.settings import Postprocessing

LGG = config.RESULTS / "lgg"


class Experiment(NamedTuple):
    """Which recipe is trained, and what is dealt into folds: patients, slices or institutions."""

    recipe: str
    dealt: str


# In the order in which they are run. Those beside "ours" each have a slices_<name>.csv.
EXPERIMENTS = {
    "ours": Experiment("ours", "patients"),
    "ours_random_split": Experiment("ours", "slices"),
    "baseline_patient_split": Experiment("baseline", "patients"),
    "baseline_random_split": Experiment("baseline", "slices"),
    "leave_institution_out": Experiment("ours", "institutions"),
    "earlier_patient_split": Experiment("earlier", "patients"),
}
FOLDS = 5  # of an experiment that deals patients or slices
INSTITUTIONS = ("CS", "DU", "FG", "HT")  # EZ has one patient
OTHERS = tuple(name for name in EXPERIMENTS if name != "ours")
KEYS = ["patient", "slice"]
COUNTS = ["tumour_px", "predicted_px", "overlap_px"]
PROBABILITIES = ["p_tumour", "p_detector", "p_segmenter"]
SLICE_COLUMNS = ["fold", "patient", "institution", "slice", *COUNTS, *PROBABILITIES, "flagged"]
PATIENT_COLUMNS = ["fold", "patient", "institution", "dice", "hd95_px", "tumour_px"]
FOLD_COLUMNS = ["experiment", "fold", "training_patients", "validation_patients",
                "detection_threshold", "epochs", "validation_dice", "seconds"]  # fmt: skip
# What is done with the maps of an attempt: threshold, refinement, and which pieces are kept.
CHOICES = {
    f"t{threshold} r{refinement} {pieces}": Postprocessing(
        threshold,
        largest_only=pieces == "largest",
        refinement=refinement,
        least_share=0.1 if pieces == "tenth" else 0.0,
    )
    for refinement in (0.0, 0.8)
    for threshold in (0.4, 0.5, 0.6)
    for pieces in ("largest", "tenth")
}
ATTEMPT_COLUMNS = ["attempt", "fold", "seed", "recipe", "auc", "minutes"]
ATTEMPT_PATIENT_COLUMNS = ["attempt", "fold", "seed", "patient", *CHOICES]
ROUNDED = 1e-6  # the tables hold six decimals


def fold_names(experiment: str) -> list[str]:
    """Return the names of an experiment's folds: numbers, or the institution left out."""
    if EXPERIMENTS[experiment].dealt == "institutions":
        return list(INSTITUTIONS)
    return [str(fold) for fold in range(FOLDS)]


@dataclass(frozen=True)
class Evidence:
    """The tables of one folder.

    Attributes
    ----------
    slices : pandas.DataFrame
        One row a slice, predicted by a model that never saw the patient: ``fold, patient,
        institution, slice, tumour_px, predicted_px, overlap_px, p_tumour, p_detector,
        p_segmenter, flagged``.
    patients : pandas.DataFrame
        ``fold, patient, institution, dice, hd95_px, tumour_px``.
    folds : pandas.DataFrame
        What each fold of each experiment chose, on patients that it does not test.
    provenance : dict
        ``data_sha256, patients, slices, split_sha256, commit, versions, seconds, machine``, and
        ``hd95``: under which definition ``hd95_px`` was computed (see `hd95_definition`).
    others : dict of str to pandas.DataFrame
        The slices tables of the experiments in `OTHERS` that are there, some perhaps with
        some of their folds only.
    attempts, attempt_patients : pandas.DataFrame or None
        What variations of the recipe gave on validation patients: one row a training, and one row
        a training and patient, see `attempts.summary`.
    shipped : dict of str to dict
        Settings of ``"segmenter"`` and ``"detector"`` trained on all patients; empty for a model
        that is not there yet.
    """

    slices: pd.DataFrame = field(repr=False)
    patients: pd.DataFrame = field(repr=False)
    folds: pd.DataFrame = field(repr=False)
    provenance: dict = field(repr=False)
    others: dict[str, pd.DataFrame] = field(default_factory=dict, repr=False)
    attempts: pd.DataFrame | None = field(default=None, repr=False)
    attempt_patients: pd.DataFrame | None = field(default=None, repr=False)
    shipped: dict[str, dict] = field(default_factory=dict, repr=False)

    @property
    def hd95_definition(self) -> str:
        """`HD95_NOW` or `HD95_BEFORE`; tables that do not tell are old."""
        return self.provenance.get("hd95", HD95_BEFORE)


def read_evidence(folder: str | Path = LGG) -> Evidence:
    """Return the evidence in a folder, checked.

    Raises
    ------
    CourseError
        One line, if a table is missing (``slices, patients, folds, provenance``) or broken: see
        `check_evidence`.
    """
    folder = Path(folder)
    provenance = config.read_json(folder / "provenance.json")
    if not provenance:
        raise CourseError(f"{folder}: no provenance.json; get the folder anew from git")
    others = {
        name: read_table(folder / f"slices_{name}.csv", SLICE_COLUMNS)
        for name in OTHERS
        if (folder / f"slices_{name}.csv").exists()
    }
    attempts, attempt_patients = (
        read_table(folder / f"{name}.csv", columns) if (folder / f"{name}.csv").exists() else None
        for name, columns in (
            ("attempts", ATTEMPT_COLUMNS),
            ("attempts_patients", ATTEMPT_PATIENT_COLUMNS),
        )
    )
    evidence = Evidence(
        read_table(folder / "slices.csv", SLICE_COLUMNS),
        read_table(folder / "patients.csv", PATIENT_COLUMNS),
        read_table(folder / "folds.csv", FOLD_COLUMNS),
        provenance,
        others,
        attempts,
        attempt_patients,
        {name: config.read_json(folder / f"{name}.json") for name in ("segmenter", "detector")},
    )
    check_evidence(evidence)
    return evidence


def read_table(path: Path, columns: list[str]) -> pd.DataFrame:
    """Return a CSV table of the evidence, names as text.

    Raises
    ------
    CourseError
        If it is not there, is no CSV, is empty, or lacks a column or a value.
    """
    try:
        table = tables.read_table(path, "get it anew from git")
    except FileNotFoundError as error:
        raise CourseError(f"{path}: not there; get the folder anew from git") from error
    missing = [name for name in columns if name not in table]
    if missing:
        raise CourseError(f"{path}: no column {', '.join(missing)}; get it anew from git")
    required = [name for name in columns if name != "hd95_px"]  # it may be undefined
    absent = table[required].isna() | (table[required] == "")
    if table.empty or absent.any(axis=None):
        raise CourseError(f"{path}: rows or values are missing; get it anew from git")
    return table


def check_evidence(evidence: Evidence) -> None:
    """Check that the tables hold together.

    No patient is in two folds; every slice that the provenance counts is there once; the folds
    are those whose fingerprint the provenance holds; counts and probabilities are possible;
    each patient's Dice and tumour follow from the rows of its slices; the other experiments
    are about slices of the same cohort with the same traced tumours.

    Raises
    ------
    CourseError
        With the first thing that does not hold.
    """
    if evidence.hd95_definition not in (HD95_NOW, HD95_BEFORE):
        raise CourseError(
            f"provenance.json: hd95 is {evidence.hd95_definition!r}, which is none of "
            f"{HD95_NOW!r} and {HD95_BEFORE!r}; get it anew from git"
        )
    check_slices(evidence.slices, "slices.csv", EXPERIMENTS["ours"].dealt)
    _check_whole(evidence)
    _check_patients(evidence)
    _check_flags(evidence.slices, evidence.folds, "ours")
    for name, slices in evidence.others.items():
        check_slices(slices, f"slices_{name}.csv", EXPERIMENTS[name].dealt)
        _check_same_cohort(slices, evidence.slices, f"slices_{name}.csv")
        _check_flags(slices, evidence.folds, name)


def check_slices(slices: pd.DataFrame, name: str, dealt: str) -> None:
    """Check one slices table by itself.

    Parameters
    ----------
    slices : pandas.DataFrame
    name : str
        What to call it in an error.
    dealt : {"patients", "slices", "institutions"}
        What was dealt into folds.

    Raises
    ------
    CourseError
        If a slice is there twice, a patient is in two folds although whole patients were dealt,
        an institution is not that of the patient's name, or a value is impossible.
    """
    double = slices[slices.duplicated(KEYS)]
    if len(double):
        patient, number = double.iloc[0][KEYS]
        raise CourseError(f"{name}: slice {number} of {patient} is there twice")
    if dealt != "slices":
        assert_no_leak(slices, "fold")
    if dealt == "institutions" and (slices["fold"] != slices["institution"]).any():
        raise CourseError(f"{name}: a fold holds another institution than the one left out")
    if (slices["patient"].str.split("_").str[1] != slices["institution"]).any():
        raise CourseError(f"{name}: an institution is not the one in the patient's name")
    least = slices[["tumour_px", "predicted_px"]].min(axis=1)
    if (slices[COUNTS] < 0).any(axis=None) or (slices["overlap_px"] > least).any():
        raise CourseError(f"{name}: pixels in both masks that are not in each of them")
    if not ((slices[PROBABILITIES] >= 0) & (slices[PROBABILITIES] <= 1)).all(axis=None):
        raise CourseError(f"{name}: a probability is not between 0 and 1")
    if not slices["flagged"].isin([0, 1]).all():
        raise CourseError(f"{name}: flagged is neither 0 nor 1")


def _check_whole(evidence: Evidence) -> None:
    """Check that all slices of all patients are there, in the folds of the fingerprint."""
    slices, provenance = evidence.slices, evidence.provenance
    for what, found in (("patients", slices["patient"].nunique()), ("slices", len(slices))):
        if found != provenance.get(what):
            raise CourseError(
                f"slices.csv: {found} {what}, but provenance.json counts {provenance.get(what)}"
            )
    # Slices are numbered from 1 without gaps, so that none can be missing in the middle.
    last = slices.groupby("patient")["slice"].agg(["size", "max", "min"])
    gaps = last.index[(last["size"] != last["max"]) | (last["min"] != 1)]
    if len(gaps):
        raise CourseError(f"slices.csv: the slices of {gaps[0]} are not numbered 1 to N")
    folds = slices[["patient", "fold"]].drop_duplicates()
    if split_sha256(folds) != provenance.get("split_sha256"):
        raise CourseError("slices.csv: the folds are not those whose fingerprint is recorded")


def _check_patients(evidence: Evidence) -> None:
    """Check that patients.csv follows from slices.csv."""
    expected = patient_table(evidence.slices)
    folds = evidence.slices.groupby("patient")["fold"].first()
    found = evidence.patients.sort_values("patient", ignore_index=True)
    if found["patient"].tolist() != expected["patient"].tolist():
        raise CourseError("patients.csv: other patients than in slices.csv")
    same = {
        "fold": (found["fold"].to_numpy() == folds[found["patient"]].to_numpy()),
        "institution": (found["institution"] == expected["institution"]).to_numpy(),
        "tumour_px": (found["tumour_px"] == expected["tumour_px"]).to_numpy(),
        "dice": np.isclose(found["dice"], expected["dice"], rtol=0, atol=ROUNDED),
    }
    for column, agrees in same.items():
        if not agrees.all():
            patient = found["patient"][np.flatnonzero(~agrees)[0]]
            raise CourseError(f"patients.csv: {column} of {patient} does not follow from its rows")


def _check_flags(slices: pd.DataFrame, folds: pd.DataFrame, experiment: str) -> None:
    """Check that the flagged slices are those at or above their fold's threshold."""
    own = folds[folds["experiment"] == experiment].set_index("fold")["detection_threshold"]
    unknown = sorted(set(slices["fold"]) - set(own.index))
    if unknown:
        raise CourseError(f"folds.csv: no fold {', '.join(unknown)} of {experiment}")
    above = slices["p_tumour"] - slices["fold"].map(own)
    # Both are rounded, so that within a rounding either is possible.
    clear = above.abs() > 2 * ROUNDED
    if ((above > 0) != (slices["flagged"] == 1))[clear].any():
        raise CourseError(f"{experiment}: flagged slices are not those above the fold's threshold")


def _check_same_cohort(slices: pd.DataFrame, ours: pd.DataFrame, name: str) -> None:
    """Check that a table's slices are among ours, with the same traced tumours."""
    joined = slices.merge(ours, on=KEYS, how="left", suffixes=("", "_ours"))
    strangers = joined[joined["tumour_px_ours"].isna()]
    if len(strangers):
        patient, number = strangers.iloc[0][KEYS]
        raise CourseError(f"{name}: slice {number} of {patient} is not in slices.csv")
    if (joined["tumour_px"] != joined["tumour_px_ours"]).any():
        raise CourseError(f"{name}: traced tumours differ from those in slices.csv")
