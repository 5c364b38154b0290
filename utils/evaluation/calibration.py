"""Do probabilities mean what they say: reliability, calibration error, temperature scaling.

Guo et al. 2017, "On calibration of modern neural networks" (arXiv 1706.04599).
"""

import numpy as np
import pandas as pd
from scipy import optimize, special

from utils.config import CourseError
from utils.evaluation.bootstrap import bootstrap_patients

SMALLEST = 1e-7  # probabilities are kept this far from 0 and 1 before taking a logarithm
TEMPERATURES = (0.05, 20.0)
HARDLY = 0.05  # a temperature within so much of 1 hardly changes a probability


def logits(probabilities: np.ndarray) -> np.ndarray:
    """Return log(p / (1 - p)) in float64, `p` kept within 1e-7 of 0 and 1."""
    probabilities = np.asarray(probabilities, dtype=float)
    return special.logit(np.clip(probabilities, SMALLEST, 1 - SMALLEST))


def apply_temperature(probabilities: np.ndarray, temperature: float) -> np.ndarray:
    """Return sigmoid(logit(p) / temperature): above 1 makes a model less sure of itself.

    The order of the slices, and so the ROC curve, stays as it is, except that probabilities within
    1e-7 of 0 become equal, and so do those within 1e-7 of 1 (see `logits`).

    Parameters
    ----------
    probabilities : array-like of float, 0..1
    temperature : float
        Above 0.

    Returns
    -------
    ndarray of float64, in the shape of `probabilities`, 0..1

    Examples
    --------
    0.9 stands for odds of 9 to 1; a temperature of 2 takes their square root, 3 to 1.

    >>> from utils.evaluation.calibration import apply_temperature
    >>> apply_temperature([0.5, 0.9], temperature=2).round(3).tolist()
    [0.5, 0.75]
    >>> len(set(apply_temperature([1e-9, 1e-8, 1e-6], temperature=1).tolist()))
    2
    """
    return special.expit(logits(probabilities) / temperature)


def fit_temperature(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """Return the temperature that minimises the negative log-likelihood (0.05 to 20).

    Fit it on validation patients, apply it to others. Eq. 9 of Guo et al. for two classes.

    Parameters
    ----------
    labels : array-like of bool or 0/1, shape (n,)
    probabilities : array-like of float, shape (n,), 0..1

    Returns
    -------
    float
        Above 1 if the model was too sure, see `confidence_words`.

    Raises
    ------
    CourseError
        If only one class is there: the best temperature would be 0 or infinite.

    Examples
    --------
    A model is sure to 90 % of four slices, and right with three of them. A temperature of 2 makes
    0.75 of its 0.9, see `apply_temperature`.

    >>> from utils.evaluation.calibration import fit_temperature
    >>> round(fit_temperature([1, 1, 1, 0], [0.9, 0.9, 0.9, 0.9]), 2)
    2.0
    """
    labels = np.asarray(labels, dtype=bool)
    if labels.all() or not labels.any():
        raise CourseError("a temperature needs slices with tumour and without: use more patients")
    signed = np.where(labels, 1, -1) * logits(probabilities)

    def loss(log_temperature: float) -> float:
        return np.logaddexp(0, -signed / np.exp(log_temperature)).mean()

    # By its logarithm, so that halving and doubling are equally long steps.
    best = optimize.minimize_scalar(loss, bounds=np.log(TEMPERATURES), method="bounded")
    return float(np.exp(best.x))


def confidence_words(temperature: float) -> str:
    """Return what a fitted temperature says of the probabilities before it, as a sentence's end.

    Above 1 it pulls the probabilities towards 0.5: they had been too sure. Below 1 it pushes them
    towards 0 and 1: they had not been sure enough.
    """
    if abs(temperature - 1) < HARDLY:
        return "close to 1: the network was about as sure as it should be"
    if temperature > 1:
        return "above 1: the network was over-confident, and scaling makes it less sure"
    return "below 1: the network was under-confident, and scaling makes it surer"


def reliability_table(
    labels: np.ndarray,
    probabilities: np.ndarray,
    patients: np.ndarray,
    bins: int = 10,
    *,
    resamples: int = 1000,
    seed: int = 0,
) -> pd.DataFrame:
    """Return what was predicted and what came true, in bins of about equally many slices.

    Bins of equal width would leave the middle ones almost empty, since most probabilities lie
    near 0 and 1.

    Parameters
    ----------
    labels : ndarray of bool or 0/1
    probabilities : ndarray, 0..1
    patients : ndarray
        Whose slices they are.
    bins : int
        Number of bins; fewer if there are fewer slices, or if many have one probability: equal ones
        share a bin.
    resamples, seed : int
        Of the bootstrap.

    Returns
    -------
    DataFrame
        `slices, patients` (how many are in the bin), `predicted` (mean probability), `observed`
        (share with tumour), `low, high`: 95 % interval of the share, whole patients being drawn,
        the bins staying as they are. NaN where the bin has slices of one patient only. Where all
        slices of a bin have tumour, or none, it has no width, which does not mean that the share
        is certain.

    Examples
    --------
    Of the four slices with a probability of 0.2 one has a tumour, of those with 0.8 all have.

    >>> from utils.evaluation.calibration import reliability_table
    >>> labels, probabilities = [0, 0, 0, 1, 1, 1, 1, 1], [0.2] * 4 + [0.8] * 4
    >>> table = reliability_table(labels, probabilities, patients=list("abcdabcd"), bins=2)
    >>> table[["slices", "patients", "predicted", "observed"]]
       slices  patients  predicted  observed
    0       4         4        0.2      0.25
    1       4         4        0.8      1.00
    """
    labels = np.asarray(labels, dtype=bool)
    probabilities = np.asarray(probabilities, dtype=float)
    names, owners = np.unique(np.asarray(patients), return_inverse=True)
    rows = []
    for members in _bins(probabilities, bins):
        # By counts a patient, which gives what drawing the slices would, faster; those without a
        # slice in the bin are drawn too.
        counts = pd.DataFrame(
            {
                "patient": names,
                "right": np.bincount(owners[members], labels[members], minlength=len(names)),
                "slices": np.bincount(owners[members], minlength=len(names)),
            }
        )
        several = np.count_nonzero(counts["slices"]) > 1
        drawn = bootstrap_patients(
            counts if several else counts[counts["slices"] > 0],
            _share,
            resamples=resamples,
            seed=seed,
        )
        rows.append(
            {
                "slices": len(members),
                "patients": np.count_nonzero(counts["slices"]),
                "predicted": probabilities[members].mean(),
                "observed": drawn.estimate,
                "low": drawn.low,
                "high": drawn.high,
            }
        )
    return pd.DataFrame(rows)


def _share(counts: pd.DataFrame) -> float:
    right, slices = counts["right"].to_numpy().sum(), counts["slices"].to_numpy().sum()
    return right / slices if slices else float("nan")


def _bins(probabilities: np.ndarray, bins: int) -> list[np.ndarray]:
    """Return the places of the slices in each bin, from the lowest probabilities to the highest.

    Equal probabilities stay together, so that no bin depends on the order of the slices.
    """
    parts = np.array_split(np.sort(probabilities), min(bins, len(probabilities)))
    lowest = [part[0] for part in parts[1:]]
    place = np.searchsorted(lowest, probabilities, side="right")
    return [np.flatnonzero(place == each) for each in np.unique(place)]


def expected_calibration_error(
    labels: np.ndarray, probabilities: np.ndarray, bins: int = 10
) -> float:
    """Return the mean of |predicted - observed| over equal-count bins, weighted by slices.

    Naeini et al.'s measure, which Guo et al. use, has bins of equal width; equal counts are from
    Nguyen and O'Connor 2015 (arXiv 1508.05154).

    Parameters
    ----------
    labels : array-like of bool or 0/1, shape (n,)
    probabilities : array-like of float, shape (n,), 0..1
    bins : int
        Number of bins; fewer if there are fewer slices, or if many have one probability: equal ones
        share a bin.

    Returns
    -------
    float
        From 0, the probabilities came true in every bin, to 1.

    Examples
    --------
    One slice a bin: (|0.2 - 0| + |0.6 - 1|) / 2.

    >>> from utils.evaluation.calibration import expected_calibration_error
    >>> round(expected_calibration_error([0, 1], [0.2, 0.6]), 3)
    0.3
    """
    labels = np.asarray(labels, dtype=bool)
    probabilities = np.asarray(probabilities, dtype=float)
    members = _bins(probabilities, bins)
    gaps = [abs(probabilities[each].mean() - labels[each].mean()) for each in members]
    return float(np.average(gaps, weights=[len(each) for each in members]))
