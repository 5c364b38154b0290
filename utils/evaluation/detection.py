"""How well slices with tumour are told from slices without: ROC curve, thresholds, errors.

Labels are 0/1 or bool, probabilities are in 0..1, and a slice is flagged when its probability is
at or above the threshold. Intervals draw whole patients (`bootstrap.bootstrap_patients`).
"""

from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import stats

from utils.config import CourseError
from utils.evaluation.bootstrap import Interval, bootstrap_patients

# Thresholds are the highest that find this share of the validation patients' tumour slices.
SENSITIVITY = 0.9


class OperatingPoint(NamedTuple):
    """What a threshold gives: the share of tumour slices found, of tumour-free ones left alone."""

    threshold: float
    sensitivity: Interval
    specificity: Interval


def auc(labels: np.ndarray, scores: np.ndarray) -> float:
    """Return the area under the ROC curve.

    The share of pairs (one slice with tumour, one without) in which the first scores higher,
    ties counting half: the Mann-Whitney statistic (Hanley and McNeil 1982, doi
    10.1148/radiology.143.1.7063747).

    Parameters
    ----------
    labels : array-like of bool or 0/1, shape (n,)
    scores : array-like of numbers, shape (n,)
        On any scale; higher speaks for tumour.

    Returns
    -------
    float
        0 to 1, 0.5 for a guess; NaN if only one class is there.

    Examples
    --------
    Two slices without tumour and two with make four pairs; in one of them, 0.35 against 0.4, the
    slice with tumour scores lower.

    >>> from utils.evaluation.detection import auc
    >>> auc([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8])
    0.75
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
    score : str
        On any scale; higher speaks for tumour.
    **options
        `level, resamples, seed` of `bootstrap.bootstrap_patients`.

    Returns
    -------
    Interval
        NaN if only one class is there, and without bounds if there is one patient only.

    Raises
    ------
    CourseError
        If the table is empty.

    Examples
    --------
    The two slices of patient a are in the right order and those of patient b are not, so that two
    patients leave everything open:

    >>> import pandas as pd
    >>> from utils.evaluation.detection import auc_interval
    >>> slices = pd.DataFrame({"patient": list("aabb"), "tumour_px": [9, 0, 9, 0]})
    >>> print(auc_interval(slices.assign(p_tumour=[0.9, 0.1, 0.2, 0.8]), resamples=200))
    0.75 (95 % CI 0.00 to 1.00)
    """
    table = _scored(slices, score)
    return bootstrap_patients(table, lambda rows: auc(rows["label"], rows["score"]), **options)


def roc_band(
    slices: pd.DataFrame, score: str = "p_tumour", *, level=0.95, resamples=500, seed=0
) -> pd.DataFrame:
    """Return the ROC curve with its interval over patients.

    The band is pointwise: a whole curve leaves it more often than 1 - level.

    Parameters
    ----------
    slices : DataFrame
        Needs `patient`, `tumour_px` and the column named by `score`.
    score : str
        On any scale; higher speaks for tumour.
    level : float
        Share of the curves of resampled patients that lies between the bounds, 0..1.
    resamples, seed : int
        Of the bootstrap.

    Returns
    -------
    DataFrame
        `false_positive_rate, sensitivity, low, high`, all 0..1: 101 rates, and at each of them the
        curve and the percentiles of the curves of resampled patients.

    Raises
    ------
    CourseError
        If only one class is there.
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
    """Return the points of the precision-recall curve (recall = sensitivity).

    Parameters
    ----------
    labels : array-like of bool or 0/1, shape (n,)
    scores : array-like of numbers, shape (n,)
        On any scale; higher speaks for tumour.

    Returns
    -------
    DataFrame
        `sensitivity, precision`, 0..1, one row a threshold, from the lowest score to the highest;
        a last row of 0 and 1 ends the curve.

    Raises
    ------
    CourseError
        If only one class is there.

    Examples
    --------
    At a threshold of 0.7 all three slices are flagged, two of them rightly.

    >>> from utils.evaluation.detection import precision_recall_points
    >>> precision_recall_points([1, 0, 1], [0.9, 0.8, 0.7]).round(2)
       sensitivity  precision
    0          1.0       0.67
    1          0.5       0.50
    2          0.5       1.00
    3          0.0       1.00
    """
    _check_classes(labels)
    # Here and below only where a curve is drawn: it takes a second, and whoever reads tables
    # imports this module too.
    from sklearn.metrics import precision_recall_curve

    precision, recall, _ = precision_recall_curve(labels, scores)
    return pd.DataFrame({"sensitivity": recall, "precision": precision})


def average_precision(labels: np.ndarray, scores: np.ndarray) -> float:
    """Return the precision averaged over the tumour slices in order of their score.

    Parameters
    ----------
    labels : array-like of bool or 0/1, shape (n,)
    scores : array-like of numbers, shape (n,)
        On any scale; higher speaks for tumour.

    Returns
    -------
    float
        Above 0, at most 1; a guess has about the share of slices with tumour.

    Raises
    ------
    CourseError
        If only one class is there.

    Examples
    --------
    The tumours stand first and third: (1 / 1 + 2 / 3) / 2.

    >>> from utils.evaluation.detection import average_precision
    >>> round(average_precision([1, 0, 1], [0.9, 0.8, 0.7]), 3)
    0.833
    """
    _check_classes(labels)
    from sklearn.metrics import average_precision_score

    return float(average_precision_score(labels, scores))


def threshold_at_sensitivity(labels, scores, sensitivity: float = SENSITIVITY) -> float:
    """Return the highest threshold that still finds this share of the tumour slices.

    Choose it on validation patients; on those who are tested, the sensitivity will differ.

    Parameters
    ----------
    labels : array-like of bool or 0/1, shape (n,)
    scores : array-like of numbers, shape (n,)
        On any scale; higher speaks for tumour.
    sensitivity : float
        Above 0, at most 1.

    Returns
    -------
    float
        One of the scores; slices at or above it are flagged.

    Raises
    ------
    CourseError
        If there is no tumour slice, or `sensitivity` is not above 0 and at most 1.

    Examples
    --------
    Three of four tumours are to be found; the slice with 0.7 has none, and does not count.

    >>> from utils.evaluation.detection import threshold_at_sensitivity
    >>> threshold_at_sensitivity([1, 1, 0, 1, 1], [0.9, 0.8, 0.7, 0.6, 0.3], sensitivity=0.75)
    0.6
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
    score : str
    **options
        `level, resamples, seed` of `bootstrap.bootstrap_patients`.

    Returns
    -------
    OperatingPoint
        The threshold, and two `Interval`s, 0..1; NaN where the class is not there.

    Examples
    --------
    One of two tumours is found, and both slices without one are left alone.

    >>> import pandas as pd
    >>> from utils.evaluation.detection import operating_point
    >>> slices = pd.DataFrame({"patient": list("abab"), "tumour_px": [9, 5, 0, 0]})
    >>> point = operating_point(slices.assign(p_tumour=[0.9, 0.3, 0.1, 0.2]), threshold=0.5)
    >>> point.sensitivity.estimate, point.specificity.estimate
    (0.5, 1.0)
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
    **options
        `level, resamples, seed` of `bootstrap.bootstrap_patients`.

    Returns
    -------
    DataFrame
        `from_px, to_px, slices, found, sensitivity, low, high`, smallest tumours first; areas in
        pixels, shares 0..1.

    Raises
    ------
    CourseError
        If there is no slice with tumour.

    Examples
    --------
    >>> import pandas as pd
    >>> from utils.evaluation.detection import sensitivity_by_size
    >>> slices = pd.DataFrame({"patient": list("abab"), "tumour_px": [10, 20, 30, 40]})
    >>> shares = sensitivity_by_size(slices, [False, True, True, True], bins=2)
    >>> shares[["from_px", "to_px", "slices", "found", "sensitivity"]]
       from_px  to_px  slices  found  sensitivity
    0       10     20       2      1          0.5
    1       30     40       2      2          1.0
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

    Examples
    --------
    >>> import pandas as pd
    >>> from utils.evaluation.detection import false_positives
    >>> slices = pd.DataFrame({"patient": list("aab"), "tumour_px": [0, 0, 7]})
    >>> false_positives(slices, [True, False, True])
      patient  tumour_free  flagged  share
    0       a            2        1    0.5
    """
    table = slices[["patient", "tumour_px"]].assign(flagged=np.asarray(flagged, dtype=bool))
    groups = table[table["tumour_px"] == 0].groupby("patient")["flagged"]
    result = groups.agg(tumour_free="size", flagged="sum", share="mean")
    return result.reset_index()


def _share_right(rows: pd.DataFrame, level: float = 0.95, **options) -> Interval:
    if rows.empty:
        return Interval(float("nan"), float("nan"), float("nan"), level)
    return bootstrap_patients(rows, lambda sample: sample["right"].mean(), level=level, **options)


def _scored(slices: pd.DataFrame, score: str) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "patient": slices["patient"].to_numpy(),
            "label": slices["tumour_px"].to_numpy() > 0,
            "score": slices[score].to_numpy(),
        }
    )


def _sensitivity_on(grid: np.ndarray, table: pd.DataFrame) -> np.ndarray:
    from sklearn.metrics import roc_curve

    rate, sensitivity, _ = roc_curve(table["label"], table["score"])
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
        Such as those of `grad_cam.grad_cam`, which are 0 throughout if nothing speaks for tumour.
    """
    return [
        tuple(int(place) for place in np.unravel_index(one.argmax(), one.shape))
        if one.max() > one.min()
        else None
        for one in maps
    ]
