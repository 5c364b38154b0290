"""What else was tried, from the tables: variations of our recipe, on validation patients.

One training says little, since another seed may change its Dice by a few hundredths; each
variation is therefore trained on several folds, with several seeds where there was time.
"""

from collections.abc import Iterable

import pandas as pd

from utils.evaluation.bootstrap import Interval
from utils.evidence.statistics import FAILED, of_column
from utils.evidence.tables import CHOICES

# What the others are compared with.
REFERENCE = "FLAIR alone"


def summary(runs: pd.DataFrame, patients: pd.DataFrame) -> pd.DataFrame:
    """Return one row an attempt, best first.

    What becomes of the maps is chosen for each attempt: the one of `tables.CHOICES` with the best
    mean over all its trainings and validation patients.

    Parameters
    ----------
    runs : pandas.DataFrame
        ``attempt, fold, seed, recipe, auc, minutes``.
    patients : pandas.DataFrame
        ``attempt, fold, seed, patient`` and the Dice with each of `tables.CHOICES`.

    Returns
    -------
    pandas.DataFrame
        ``attempt, recipe, trainings, patients, dice_mean, dice_median, under_half, auc, minutes,
        choice``: Dice of a patient is the mean over the seeds; ``under_half`` how many patients a
        seed has below `statistics.FAILED`, on average.
    """
    rows = []
    for name, own in patients.groupby("attempt", sort=False):
        of_name = runs[runs["attempt"] == name]
        choice = _best_choice(own)
        by_patient = own.groupby("patient")[choice].mean()
        seeds = max(1, own["seed"].nunique())
        rows.append(
            {
                "attempt": name,
                "recipe": of_name["recipe"].iloc[0],
                "trainings": len(of_name),
                "patients": len(by_patient),
                "dice_mean": by_patient.mean(),
                "dice_median": by_patient.median(),
                "under_half": (own[choice] < FAILED).sum() / seeds,
                "auc": of_name["auc"].mean(),
                "minutes": of_name["minutes"].mean(),
                "choice": choice,
            }
        )
    return pd.DataFrame(rows).sort_values("dice_mean", ascending=False, ignore_index=True)


def difference(patients: pd.DataFrame, first: str, second: str) -> pd.DataFrame:
    """Return both attempts' Dice of the patients and folds that both have, side by side.

    Returns
    -------
    pandas.DataFrame
        ``patient, first, second``: means over the shared folds, and over the seeds of each.
    """
    keys = ["fold", "patient"]
    both = []
    for attempt in (first, second):
        own = patients[patients["attempt"] == attempt]
        choice = _best_choice(own)
        both.append(
            own.groupby(keys, as_index=False)[choice].mean().set_axis([*keys, "dice"], axis=1)
        )
    shared = both[0].merge(both[1], on=keys, suffixes=("_first", "_second"))
    means = shared.groupby("patient")[["dice_first", "dice_second"]].mean()
    return means.set_axis(["first", "second"], axis=1).reset_index()


def differences(patients: pd.DataFrame, names: Iterable[str]) -> list[Interval | None]:
    """Return what each attempt has more than `REFERENCE`, in pairs over patients; None for itself.

    None also where the two share no training of a fold.
    """
    found = []
    for name in names:
        pairs = difference(patients, REFERENCE, name)
        if name == REFERENCE or pairs.empty:
            found.append(None)
            continue
        gap = pairs.assign(dice=pairs["second"] - pairs["first"])
        found.append(of_column(gap, "dice"))
    return found


def _best_choice(own: pd.DataFrame) -> str:
    return own[list(CHOICES)].mean().idxmax()
