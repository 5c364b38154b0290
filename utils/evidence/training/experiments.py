"""The experiments of the evidence: which folds each has, and who trains and is tested in them."""

import argparse

import pandas as pd

from utils.cohort.splits import patient_folds
from utils.config import CourseError
from utils.evidence.tables import EXPERIMENTS, FOLDS, fold_names

VALIDATING = 6  # one part in so many of those that are not tested validates
SEED = 0


def fold_split(table: pd.DataFrame, dealt: str, fold: str) -> pd.DataFrame:
    """Return who trains, validates and tests in one fold.

    Parameters
    ----------
    table : pandas.DataFrame
        A cohort table; for `dealt` "slices", as `slices_as_patients` returns it.
    dealt : {"patients", "slices", "institutions"}
        What is dealt into folds.
    fold : str
        One of `fold_names`.

    Returns
    -------
    pandas.DataFrame
        ``patient, institution, part``. A sixth of those that are not tested validate.
    """
    patients = patient_folds(table, FOLDS, SEED)
    if dealt == "institutions":
        tested = patients["institution"] == fold
    else:
        tested = patients["fold"] == int(fold)
    rest = table[table["patient"].isin(patients.loc[~tested, "patient"])]
    inner = patient_folds(rest, VALIDATING, SEED + 1)
    validating = set(inner.loc[inner["fold"] == 0, "patient"])
    patients["part"] = "train"
    patients.loc[patients["patient"].isin(validating), "part"] = "validation"
    patients.loc[tested, "part"] = "test"
    return patients[["patient", "institution", "part"]]


def all_in_training(table: pd.DataFrame) -> pd.DataFrame:
    """Return the split of the models that are shipped: all train.

    A sixth is in the validation part too, which here only shows how far the training is; what is
    chosen for these models comes from the folds.
    """
    patients = patient_folds(table, VALIDATING, SEED + 1)
    repeated = patients[patients["fold"] == 0].assign(part="validation")
    split = pd.concat([patients.assign(part="train"), repeated], ignore_index=True)
    return split[["patient", "institution", "part"]]


def scaled_epochs(epochs: int) -> int:
    """Return how many epochs show each of all patients as often as so many do in a fold."""
    share = (1 - 1 / FOLDS) * (1 - 1 / VALIDATING)
    return max(1, round(epochs / share))


def slices_as_patients(table: pd.DataFrame) -> pd.DataFrame:
    """Return the table with every slice as a patient of its own, named ``patient#slice``.

    This is how a random split of slices sees the cohort.
    """
    return table.assign(patient=table["patient"] + "#" + table["slice"].astype(str))


def chosen_folds(arguments: argparse.Namespace) -> list[tuple[str, str]]:
    """Return the (experiment, fold) pairs to run, in order."""
    experiments = arguments.experiment or list(EXPERIMENTS)
    pairs = [(name, fold) for name in experiments for fold in fold_names(name)]
    known = {fold for _, fold in pairs}
    for fold in arguments.fold or []:
        if fold not in known:
            raise CourseError(
                f"--fold {fold}: no such fold of {', '.join(experiments)}; "
                f"choose one of {', '.join(sorted(known))}"
            )
    return [pair for pair in pairs if not arguments.fold or pair[1] in arguments.fold]
