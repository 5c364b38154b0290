"""Confidence intervals by drawing whole patients, never single slices."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import stats

from utils.config import CourseError
from utils.evaluation.text import format_interval


@dataclass(frozen=True)
class Interval:
    """An estimate with its confidence interval (NaN bounds: there is none)."""

    estimate: float
    low: float
    high: float
    level: float = 0.95

    def record(self, name: str, interval: str = "") -> dict:
        """Return ``{name: estimate, interval: [low, high]}`` as JSON takes it: None for NaN.

        Parameters
        ----------
        name : str
        interval : str
            Name of the bounds; by default ``<name>_ci<level>``, such as ``auc_ci95``.
        """
        known = not np.isnan(self.low)
        bounds = [float(self.low), float(self.high)] if known else None
        estimate = None if np.isnan(self.estimate) else float(self.estimate)
        return {name: estimate, interval or f"{name}_ci{100 * self.level:g}": bounds}

    def __str__(self) -> str:
        if np.isnan(self.low):
            return f"{self.estimate:.2f} (no interval)"
        return format_interval(self, 2, label=f"{100 * self.level:g} % CI")


def bootstrap_patients(
    table: pd.DataFrame,
    statistic: Callable[[pd.DataFrame], float],
    *,
    level: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> Interval:
    """Return a statistic with its bootstrap interval, whole patients being drawn.

    Slices of one patient are no independent evidence: where they resemble each other, drawing
    slices gives intervals that are too narrow. Patients are drawn with replacement
    (`scipy.stats.bootstrap`), each with all its rows: the cluster bootstrap (Field and Welsh 2007,
    doi 10.1111/j.1467-9868.2007.00593.x).
    The interval is the percentile one: it stays within the statistic's range and exists for
    medians and perfect scores, where BCa, whose correction divides by the spread of the
    leave-one-out values, does not. With few patients (under 20, say) it is too narrow, the more so
    the fewer they are: see the coverage in notebook 5.

    Parameters
    ----------
    table : DataFrame
        One or many rows a patient, with a column `patient`.
    statistic : callable
        Takes rows of `table` and returns a float. A draw for which it is NaN (say, the AUC of
        patients who all have a tumour in every slice) is left out.
    level : float
        Share of the draws between the bounds, 0..1.
    resamples : int
        How many times patients are drawn.
    seed : int
        The same seed gives the same interval.

    Returns
    -------
    Interval
        In the unit of the statistic. Bounds are NaN with fewer than two patients, or when most
        draws are undefined.

    Raises
    ------
    CourseError
        If the table is empty.

    Examples
    --------
    One of four patients is a failure, so a draw of four holds anything from none to four of them.

    >>> import pandas as pd
    >>> from utils.evaluation.bootstrap import bootstrap_patients
    >>> table = pd.DataFrame({"patient": list("abcd"), "dice": [0.0, 1.0, 1.0, 1.0]})
    >>> print(bootstrap_patients(table, lambda rows: rows["dice"].mean()))
    0.75 (95 % CI 0.25 to 1.00)
    """
    rows = _rows_by_patient(table)

    def of_patients(drawn: np.ndarray) -> float:
        return float(statistic(table.iloc[np.concatenate([rows[number] for number in drawn])]))

    return _bootstrap(of_patients, len(rows), level, resamples, seed)


def paired_bootstrap(
    first: pd.DataFrame,
    second: pd.DataFrame,
    statistic: Callable[[pd.DataFrame], float],
    *,
    level: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> Interval:
    """Return statistic(second) - statistic(first) with its interval over the same patients.

    Each draw takes the same patients from both tables, so that what makes a patient hard for
    both methods cancels out. An interval that excludes 0 speaks for a real difference.

    Parameters
    ----------
    first, second : DataFrame
        Results of two methods, each with a column `patient` and the same patients.
    statistic : callable
        Takes rows of a table and returns a float; draws for which it is NaN are left out.
    level, resamples, seed
        As `bootstrap_patients` takes them.

    Returns
    -------
    Interval
        In the unit of the statistic, above 0 where the second is higher. Bounds are NaN with fewer
        than two patients, or when most draws are undefined.

    Raises
    ------
    CourseError
        If the patients differ, or there are none.

    Examples
    --------
    The patients differ much, but each gains 0.1:

    >>> import pandas as pd
    >>> from utils.evaluation.bootstrap import paired_bootstrap
    >>> first = pd.DataFrame({"patient": list("abc"), "dice": [0.1, 0.5, 0.8]})
    >>> second = first.assign(dice=first["dice"] + 0.1)
    >>> print(paired_bootstrap(first, second, lambda rows: rows["dice"].mean()))
    0.10 (95 % CI 0.10 to 0.10)
    """
    if set(first["patient"]) != set(second["patient"]):
        raise CourseError("the two methods were not scored on the same patients: score both again")
    rows = _rows_by_patient(first), _rows_by_patient(second)

    def difference(drawn: np.ndarray) -> float:
        of_first, of_second = (
            statistic(table.iloc[np.concatenate([places[number] for number in drawn])])
            for table, places in zip((first, second), rows, strict=True)
        )
        return float(of_second - of_first)

    return _bootstrap(difference, len(rows[0]), level, resamples, seed)


def _bootstrap(statistic, patients: int, level: float, resamples: int, seed: int) -> Interval:
    numbers = np.arange(patients)
    estimate = statistic(numbers)
    if patients < 2:
        return Interval(estimate, float("nan"), float("nan"), level)
    with warnings.catch_warnings():
        # Said whenever a draw is undefined; those are left out below, and scipy's own interval,
        # which the warning is about, is not used.
        warnings.simplefilter("ignore", stats.DegenerateDataWarning)
        drawn = stats.bootstrap(
            (numbers,),
            statistic,
            n_resamples=resamples,
            method="percentile",
            vectorized=False,
            rng=np.random.default_rng(seed),
        ).bootstrap_distribution
    drawn = drawn[np.isfinite(drawn)]
    if len(drawn) < resamples / 2:
        return Interval(estimate, float("nan"), float("nan"), level)
    low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2])
    return Interval(estimate, float(low), float(high), level)


def _rows_by_patient(table: pd.DataFrame) -> list[np.ndarray]:
    if table.empty:
        raise CourseError("no patients to draw from: the table of results is empty")
    places = table.groupby("patient").indices
    return [places[patient] for patient in sorted(places)]


class Clustering(NamedTuple):
    """How alike the values of one patient are, and what that does to an interval over rows.

    Attributes
    ----------
    rows : float
        Rows of a patient; patients with many count more, as they do in a mean over rows.
    correlation : float
        Of two rows of one patient (intraclass correlation): 1 if the patient alone decides the
        value, 0 if it says nothing about it. Below 0 by chance.
    factor : float
        How many times too narrow an interval is that draws rows: the root of the design effect.
    """

    rows: float
    correlation: float
    factor: float


def clustering(table: pd.DataFrame, column: str) -> Clustering:
    """Return how alike the values of a column are within patients.

    Parameters
    ----------
    table : DataFrame
        One or many rows for each patient, with a column `patient`; two patients at least, and more
        rows than patients.
    column : str
        Numbers, or True and False; rows in which it is missing, such as the Dice of two empty
        masks, do not count.

    Returns
    -------
    Clustering
        The correlation is that of a one-way analysis of variance; it and the factor are NaN if
        nothing varies.

    Examples
    --------
    Four rows of each of two patients, all alike: like one row, four times as many are claimed.

    >>> import pandas as pd
    >>> from utils.evaluation.bootstrap import clustering
    >>> clustering(pd.DataFrame({"patient": list("aaaabbbb"), "x": [0] * 4 + [1] * 4}), "x").factor
    2.0
    """
    table = table[table[column].notna()]
    values = table[column].astype(float)
    groups = values.groupby(table["patient"].to_numpy())
    sizes, patients, rows = groups.size(), groups.ngroups, len(values)
    centre = groups.transform("mean")
    between = ((centre - values.mean()) ** 2).sum() / (patients - 1)
    within = ((values - centre) ** 2).sum() / (rows - patients)
    weighted = (sizes**2).sum() / rows
    usual = (rows - weighted) / (patients - 1)
    total = between + (usual - 1) * within
    # Where nothing varies the total is not always 0: a mean may differ in the last digit.
    correlation = float((between - within) / total) if values.min() < values.max() else np.nan
    factor = float(np.sqrt(np.maximum(0.0, 1 + (weighted - 1) * correlation)))
    return Clustering(float(weighted), correlation, factor)
