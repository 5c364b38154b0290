"""Two experiments compared on the slices that both predicted, in pairs over patients.

Some experiments are there with some of their folds only. What is compared is then what both
tables hold, and every comparison says how much that is. The rows and sentences that the model
card, the README and notebooks 5 and 6 share are made here too.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd

from utils.evaluation import detection, segmentation
from utils.evaluation.bootstrap import Interval, bootstrap_patients, paired_bootstrap
from utils.evaluation.detection import auc
from utils.evaluation.segmentation import HD95_NOW, HD95_WORDS, one_mask
from utils.evaluation.text import UNKNOWN, format_interval, format_number
from utils.evidence import statistics
from utils.evidence.statistics import AIMS, RESAMPLES, SEED
from utils.evidence.tables import INSTITUTIONS, KEYS, OTHERS, Evidence, fold_names

# Name -> the experiment that the difference is measured from, and the other one.
SPLITS = {
    "our recipe": ("ours", "ours_random_split"),
    "baseline recipe": ("baseline_patient_split", "baseline_random_split"),
}
RECIPES = {
    "split by patient": ("baseline_patient_split", "ours"),
    "random split of slices": ("baseline_random_split", "ours_random_split"),
}
EARLIER = {"split by patient": ("earlier_patient_split", "ours")}
NOT_YET = "not computed yet"
TOGETHER = "all"
NAMES = {
    "ours_random_split": "our recipe, random split of slices",
    "baseline_patient_split": "baseline recipe, split by patient",
    "baseline_random_split": "baseline recipe, random split of slices",
    "leave_institution_out": "our recipe, one institution left out",
    "earlier_patient_split": "earlier recipe, split by patient",
}


@dataclass(frozen=True)
class Pair:
    """One number of two experiments, and second minus first with its interval."""

    first: float
    second: float
    difference: Interval


@dataclass(frozen=True)
class Comparison:
    """Two experiments on the slices that both predicted.

    Attributes
    ----------
    slices : int
        How many both predicted.
    patients : int
        Whose slices these are.
    with_tumour : int
        How many of them have tumour in these slices: those have a Dice.
    dice : Pair
        Mean over patients, pixels of the shared slices pooled by patient.
    auc, detector_auc : Pair
        Over the shared slices, of ``p_tumour`` and of ``p_detector``.
    """

    slices: int
    patients: int
    with_tumour: int
    dice: Pair
    auc: Pair
    detector_auc: Pair


class AllComparisons(NamedTuple):
    """All comparisons by name.

    Of splits, of recipes, of institutions known and left out, and of the recipe before the present
    one with it.
    """

    splits: dict[str, Comparison | None]
    recipes: dict[str, Comparison | None]
    left_out: dict[str, Comparison | None]
    earlier: dict[str, Comparison | None]


def experiment(evidence: Evidence, name: str) -> pd.DataFrame | None:
    """Return an experiment's slices table, None if it is not there yet."""
    return evidence.slices if name == "ours" else evidence.others.get(name)


def shared_rows(first: pd.DataFrame, second: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the rows of the slices that both tables hold, in the same order."""
    common = first[KEYS].merge(second[KEYS], on=KEYS).sort_values(KEYS, ignore_index=True)
    return tuple(common.merge(table, on=KEYS, validate="one_to_one") for table in (first, second))


def compare(first: pd.DataFrame | None, second: pd.DataFrame | None) -> Comparison | None:
    """Return two experiments compared on what both predicted.

    Parameters
    ----------
    first, second : pandas.DataFrame or None
        Slices tables; None for one that is not there yet.

    Returns
    -------
    Comparison or None
        None if a table is not there yet, or they share no slice with tumour.
    """
    if first is None or second is None:
        return None
    tables = shared_rows(first, second)
    by_patient = [segmentation.patient_table(table) for table in tables]
    # Without tumour in the shared slices there is nothing for Dice to measure.
    by_patient = [table[table["tumour_px"] > 0] for table in by_patient]
    if by_patient[0].empty:
        return None
    return Comparison(
        len(tables[0]),
        tables[0]["patient"].nunique(),
        len(by_patient[0]),
        _pair(*by_patient, lambda rows: rows["dice"].mean()),
        *(_auc_pair(tables, score) for score in ("p_tumour", "p_detector")),
    )


def pairs_in_order(slices: pd.DataFrame, score: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return how many pairs of slices each pair of patients has, and how many are in order.

    The AUC of any draw of patients is a sum over these, so that slices need not be ranked anew
    for each of thousands of draws.

    Parameters
    ----------
    slices : pandas.DataFrame
        The slices table.
    score : str
        Column with the scores.

    Returns
    -------
    in_order : ndarray (patients, patients)
        Pairs of a tumour slice of the first and a tumour-free slice of the second patient in
        which the tumour slice scores higher; ties count half. Patients are sorted by name.
    with_tumour, without : ndarray (patients,)
        Slices of each patient.
    """
    number, patients = pd.factorize(slices["patient"], sort=True)
    label, values = slices["tumour_px"].to_numpy() > 0, slices[score].to_numpy()
    with_tumour = np.bincount(number[label], minlength=len(patients))
    without = np.bincount(number[~label], minlength=len(patients))
    in_order = np.zeros((len(patients),) * 2)
    for other in range(len(patients)):
        free = np.sort(values[~label & (number == other)])
        sides = [np.searchsorted(free, values[label], side=side) for side in ("left", "right")]
        in_order[:, other] = np.bincount(number[label], sum(sides) / 2, minlength=len(patients))
    return in_order, with_tumour, without


def _auc_of(pairs: tuple[np.ndarray, np.ndarray, np.ndarray], drawn: np.ndarray) -> float:
    """Return the AUC of drawn patients (their places), NaN if only one class is there."""
    in_order, with_tumour, without = pairs
    total = with_tumour[drawn].sum() * without[drawn].sum()
    return in_order[np.ix_(drawn, drawn)].sum() / total if total else np.nan


def _auc_pair(tables: tuple[pd.DataFrame, pd.DataFrame], score: str) -> Pair:
    pairs = [pairs_in_order(table, score) for table in tables]
    names = sorted(tables[0]["patient"].unique())
    places = pd.DataFrame({"patient": names, "place": np.arange(len(names))})

    def difference(rows: pd.DataFrame) -> float:
        first, second = (_auc_of(each, rows["place"].to_numpy()) for each in pairs)
        return second - first

    interval = bootstrap_patients(places, difference, resamples=RESAMPLES, seed=SEED)
    return Pair(*(auc(table["tumour_px"] > 0, table[score]) for table in tables), interval)


def _pair(first: pd.DataFrame, second: pd.DataFrame, statistic) -> Pair:
    difference = paired_bootstrap(first, second, statistic, resamples=RESAMPLES, seed=SEED)
    return Pair(float(statistic(first)), float(statistic(second)), difference)


def compare_named(
    evidence: Evidence, pairs: dict[str, tuple[str, str]]
) -> dict[str, Comparison | None]:
    """Return the comparisons of `SPLITS`, `RECIPES` or `EARLIER`, by name."""
    return {
        name: compare(experiment(evidence, first), experiment(evidence, second))
        for name, (first, second) in pairs.items()
    }


def what_the_detector_adds(slices: pd.DataFrame) -> Pair:
    """Return the AUC of the segmenter's score alone, and of detector and segmenter together."""
    alone = slices.assign(p_tumour=slices["p_segmenter"])
    return _auc_pair((alone, slices), "p_tumour")


def institutions_left_out(evidence: Evidence) -> dict[str, Comparison | None]:
    """Return what leaving each institution out of the training changes for its patients.

    First is the model that knew other patients of the institution, second the one that knew none.

    Returns
    -------
    dict of str to Comparison or None
        By institution, for those that are computed; with more than one of them, last of all
        together as `TOGETHER`, "so far" where some are missing. Empty if none is there yet.
    """
    left_out = experiment(evidence, "leave_institution_out")
    if left_out is None:
        return {}
    parts = dict(list(left_out.groupby("institution", sort=True)))
    if len(parts) > 1:
        together = TOGETHER if len(parts) == len(INSTITUTIONS) else f"{TOGETHER} so far"
        parts[together] = left_out
    return {name: compare(evidence.slices, rows) for name, rows in parts.items()}


def compare_all(evidence: Evidence) -> AllComparisons:
    """Return every comparison; those that cannot be made yet are None."""
    return AllComparisons(
        compare_named(evidence, SPLITS),
        compare_named(evidence, RECIPES),
        institutions_left_out(evidence) or {"any institution": None},
        compare_named(evidence, EARLIER),
    )


def folds_there(evidence: Evidence, name: str) -> list[str]:
    """Return the folds of an experiment that are computed, sorted."""
    slices = experiment(evidence, name)
    return [] if slices is None else sorted(slices["fold"].unique())


def aims(evidence: Evidence) -> pd.DataFrame:
    """Return what was aimed at and what came out.

    Returns
    -------
    pandas.DataFrame
        ``measure, aim, found`` (Interval), ``reached`` (whether the estimate is at least the aim).
    """
    found = statistics.segmentation(evidence.patients)
    found["auc"] = detection.auc_interval(evidence.slices, resamples=RESAMPLES, seed=SEED)
    words = {"dice_mean": "Dice by patient, mean", "dice_median": "Dice by patient, median",
             "auc": "AUC over all slices"}  # fmt: skip
    return pd.DataFrame(
        [
            {
                "measure": words[key],
                "aim": aim,
                "found": found[key],
                "reached": bool(found[key].estimate >= aim),
            }
            for key, aim in AIMS.items()
        ]
    )


def hd95_name(evidence: Evidence) -> str:
    """Return what HD95 is called where its value stands: told if its definition is not today's."""
    return "HD95" if evidence.hd95_definition == HD95_NOW else "HD95 (earlier definition)"


def hd95_words(evidence: Evidence) -> str:
    """Return under which definition the tables hold HD95, and what that means for its value."""
    slices = evidence.slices
    missed, invented = (int(which.sum()) for which in one_mask(slices).values())
    counts = (
        f"{missed + invented} of the {len(slices):,} slices have only one mask "
        f"({missed} missed, {invented} invented)"
    )
    if evidence.hd95_definition == HD95_NOW:
        known = int(evidence.patients["hd95_px"].notna().sum())
        lacking = "" if known == len(evidence.patients) else f" It is known of {known} patients."
        return f"{HD95_WORDS} Here {counts}.{lacking}"
    return (
        "HD95 was computed under an earlier definition: the 95th percentile of the distances "
        f"within the slices that have both masks, all slices together. {counts}; these are left "
        "out, so that an emptied mask could lower the value. The predicted masks were not kept: "
        "HD95 as notebook 4 defines it will be there when the folds are trained again. Until "
        "then, do not compare the two."
    )


def folds_sentence(evidence: Evidence) -> str:
    """Return how many folds of each experiment beside "ours" are computed."""
    return "; ".join(
        f"{NAMES[name]}, {len(folds_there(evidence, name))} of {len(fold_names(name))} folds"
        for name in OTHERS
    )


def comparison_rows(named: dict[str, Comparison | None]) -> list[tuple[str, ...]]:
    """Return the cells of a table of comparisons: three rows each, Dice and two AUCs.

    Each row is (name, measure, on what, first, second, difference).
    """
    rows = []
    for name, found in named.items():
        if found is None:
            rows.append((name, NOT_YET, *[UNKNOWN] * 4))
            continue
        patients, slices = f"{found.with_tumour} patients", f"{found.slices:,} slices"
        for measure, on, pair in (
            ("Dice", patients, found.dice),
            ("AUC", slices, found.auc),
            ("AUC, detector alone", slices, found.detector_auc),
        ):
            difference = format_interval(pair.difference, sign=True)
            scores = (format_number(score) for score in (pair.first, pair.second))
            rows.append((name, measure, on, *scores, difference))
    return rows


def split_verdicts(named: dict[str, Comparison | None]) -> list[str]:
    """Return what the intervals of comparisons of splits decide, a line a measure."""
    lines = []
    for name, found in named.items():
        if found is None:
            lines.append(f"{name}: {NOT_YET}")
            continue
        for measure, pair in (
            ("Dice", found.dice),
            ("AUC", found.auc),
            ("AUC of the detector alone", found.detector_auc),
        ):
            lines.append(f"{name}: {_split_verdict(measure, pair.difference)}")
    return lines


def _split_verdict(measure: str, gap: Interval) -> str:
    if gap.low > 0:
        return f"the random split flatters the {measure}, by {gap.estimate:.3f}"
    if gap.high < 0:
        return f"the random split makes the {measure} look worse, by {-gap.estimate:.3f}"
    return f"these patients do not decide whether the {measure} is inflated"
