"""How well slices with tumour are told from slices without: ROC curve, thresholds, errors.

Labels are 0/1 or bool, probabilities are in 0..1, and a slice is flagged when its probability is
at or above the threshold. Intervals draw whole patients (`intervals.bootstrap_patients`).
"""

from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import stats
from sklearn import metrics as sklearn_metrics

from utils.config import CourseError
from utils.intervals import Interval, bootstrap_patients


class OperatingPoint(NamedTuple):
    """What a threshold gives: the share of tumour slices found, of tumour-free ones left alone."""

    threshold: float
    sensitivity: Interval
    specificity: Interval


def auc(labels: np.ndarray, scores: np.ndarray) -> float:
    """Return the area under the ROC curve, NaN if only one class is there.

    The share of pairs (one slice with tumour, one without) in which the first scores higher,
    ties counting half: the Mann-Whitney statistic (Hanley and McNeil 1982).
    """
    labels = np.asarray(labels, dtype=bool)
    positives, negatives = np.count_nonzero(labels), np.count_nonzero(~labels)
    if positives == 0 or negatives == 0:
        return float("nan")
    rank_sum = stats.rankdata(scores)[labels].sum()
    return float((rank_sum - positives * (positives + 1) / 2) / (positives * negatives))


def auc_interval(slices: pd.DataFrame, score: str = "p_tumour", **options) -> Interval:
    """Return the AUC over all slices with its interval over patients.

    Parameters
    ----------
    slices : DataFrame
        Needs `patient`, `tumour_px` and the column named by `score`.
    **options
        `level, resamples, seed` of `intervals.bootstrap_patients`.
    """
    table = _scored(slices, score)
    return bootstrap_patients(table, lambda rows: auc(rows["label"], rows["score"]), **options)


def roc_band(
    slices: pd.DataFrame, score: str = "p_tumour", *, level=0.95, resamples=500, seed=0
) -> pd.DataFrame:
    """Return `false_positive_rate, sensitivity, low, high`: the ROC curve with its interval.

    At each of 101 false-positive rates, `low` and `high` are the percentiles of the curves of
    resampled patients. The band is pointwise: a whole curve leaves it more often than 1 - level.
    """
    table = _scored(slices, score)
    _check_classes(table["label"])
    grid = np.linspace(0, 1, 101)
    rows = list(table.groupby("patient").indices.values())
    random = np.random.default_rng(seed)
    curves = []
    for _ in range(resamples):
        drawn = np.concatenate([rows[one] for one in random.integers(len(rows), size=len(rows))])
        sample = table.iloc[drawn]
        if sample["label"].nunique() == 2:
            curves.append(_sensitivity_on(grid, sample))
    low, high = np.quantile(curves, [(1 - level) / 2, (1 + level) / 2], axis=0)
    return pd.DataFrame(
        {
            "false_positive_rate": grid,
            "sensitivity": _sensitivity_on(grid, table),
            "low": low,
            "high": high,
        }
    )


def precision_recall_points(labels: np.ndarray, scores: np.ndarray) -> pd.DataFrame:
    """Return `sensitivity, precision` of the precision-recall curve (recall = sensitivity).

    Raises
    ------
    CourseError
        If only one class is there.
    """
    _check_classes(labels)
    precision, recall, _ = sklearn_metrics.precision_recall_curve(labels, scores)
    return pd.DataFrame({"sensitivity": recall, "precision": precision})


def average_precision(labels: np.ndarray, scores: np.ndarray) -> float:
    """Return the precision averaged over the tumour slices in order of their score."""
    _check_classes(labels)
    return float(sklearn_metrics.average_precision_score(labels, scores))


def threshold_at_sensitivity(labels, scores, sensitivity: float = 0.95) -> float:
    """Return the highest threshold that still finds this share of the tumour slices.

    Choose it on validation patients; on those who are tested, the sensitivity will differ.

    Raises
    ------
    CourseError
        If there is no tumour slice, or `sensitivity` is not above 0 and at most 1.
    """
    if not 0 < sensitivity <= 1:
        raise CourseError(f"sensitivity {sensitivity}: must be above 0 and at most 1")
    scores = np.sort(np.asarray(scores)[np.asarray(labels, dtype=bool)])[::-1]
    if len(scores) == 0:
        raise CourseError("no slice with tumour to choose a threshold on: use more patients")
    # The tolerance keeps 0.95 * 20 from being rounded up to 20 slices.
    needed = int(np.ceil(sensitivity * len(scores) - 1e-9))
    return float(scores[needed - 1])


def operating_point(
    slices: pd.DataFrame, threshold: float, score: str = "p_tumour", **options
) -> OperatingPoint:
    """Return sensitivity and specificity of a threshold, with intervals over patients.

    Parameters
    ----------
    slices : DataFrame
        Needs `patient`, `tumour_px` and the column named by `score`.
    threshold : float
        Slices with a score at or above it are flagged.
    **options
        `level, resamples, seed` of `intervals.bootstrap_patients`.
    """
    table = _scored(slices, score)
    table["right"] = (table["score"] >= threshold) == table["label"]
    with_tumour, without = table[table["label"]], table[~table["label"]]
    return OperatingPoint(
        float(threshold), *(_share_right(rows, **options) for rows in (with_tumour, without))
    )


def sensitivity_by_size(
    slices: pd.DataFrame, found: np.ndarray, bins: int = 3, **options
) -> pd.DataFrame:
    """Return the share of tumour slices found, by the tumour's area in the slice.

    Parameters
    ----------
    slices : DataFrame
        Needs `patient, tumour_px`.
    found : ndarray of bool, one for each row
        Whether the slice was flagged (`p_tumour >= threshold`, or `overlap_px > 0`).
    bins : int
        Groups of about equally many tumour slices; 3 are terciles.

    Returns
    -------
    DataFrame
        `from_px, to_px, slices, found, sensitivity, low, high`, smallest tumours first.
    """
    table = slices[["patient", "tumour_px"]].assign(right=np.asarray(found, dtype=bool))
    table = table[table["tumour_px"] > 0]
    if table.empty:
        raise CourseError("no slice with tumour: sensitivity has no meaning here")
    edges = np.quantile(table["tumour_px"], np.arange(1, bins) / bins)
    groups = np.searchsorted(np.unique(edges), table["tumour_px"])
    rows = []
    for _, group in table.groupby(groups):
        share = _share_right(group, **options)
        rows.append(
            {
                "from_px": int(group["tumour_px"].min()),
                "to_px": int(group["tumour_px"].max()),
                "slices": len(group),
                "found": int(group["right"].sum()),
                "sensitivity": share.estimate,
                "low": share.low,
                "high": share.high,
            }
        )
    return pd.DataFrame(rows)


def false_positives(slices: pd.DataFrame, flagged: np.ndarray) -> pd.DataFrame:
    """Return by patient how many tumour-free slices were flagged all the same.

    Parameters
    ----------
    slices : DataFrame
        Needs `patient, tumour_px`.
    flagged : ndarray of bool, one for each row
        `p_tumour >= threshold`, or `predicted_px > 0`.

    Returns
    -------
    DataFrame
        `patient, tumour_free, flagged, share`; a patient without tumour-free slices is left out.
    """
    table = slices[["patient", "tumour_px"]].assign(flagged=np.asarray(flagged, dtype=bool))
    groups = table[table["tumour_px"] == 0].groupby("patient")["flagged"]
    result = groups.agg(tumour_free="size", flagged="sum", share="mean")
    return result.reset_index()


def _share_right(rows: pd.DataFrame, **options) -> Interval:
    if rows.empty:
        return Interval(float("nan"), float("nan"), float("nan"))
    return bootstrap_patients(rows, lambda sample: sample["right"].mean(), **options)


def _scored(slices: pd.DataFrame, score: str) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "patient": slices["patient"].to_numpy(),
            "label": slices["tumour_px"].to_numpy() > 0,
            "score": slices[score].to_numpy(),
        }
    )


def _sensitivity_on(grid: np.ndarray, table: pd.DataFrame) -> np.ndarray:
    rate, sensitivity, _ = sklearn_metrics.roc_curve(table["label"], table["score"])
    return np.interp(grid, rate, sensitivity)


def _check_classes(labels) -> None:
    if len(np.unique(np.asarray(labels, dtype=bool))) < 2:
        raise CourseError(
            "slices with tumour and slices without are both needed: use more patients"
        )


def peaks(maps: np.ndarray) -> list[tuple[int, int] | None]:
    """Return where each map is highest: (row, column), None for one that is the same everywhere.

    Parameters
    ----------
    maps : ndarray (n, height, width)
        Such as those of `explain.grad_cam`, which are 0 throughout if nothing speaks for tumour.
    """
    return [
        tuple(int(place) for place in np.unravel_index(one.argmax(), one.shape))
        if one.max() > one.min()
        else None
        for one in maps
    ]
