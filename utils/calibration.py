"""Do probabilities mean what they say: reliability, calibration error, temperature scaling.

Guo et al. 2017, "On calibration of modern neural networks" (arXiv 1706.04599).
"""

import numpy as np
import pandas as pd
from scipy import optimize, special, stats

from utils.config import CourseError

SMALLEST = 1e-7  # probabilities are kept this far from 0 and 1 before taking a logarithm
TEMPERATURES = (0.05, 20.0)


def logits(probabilities: np.ndarray) -> np.ndarray:
    """Return log(p / (1 - p)) in float64, `p` kept within 1e-7 of 0 and 1."""
    probabilities = np.asarray(probabilities, dtype=float)
    return special.logit(np.clip(probabilities, SMALLEST, 1 - SMALLEST))


def apply_temperature(probabilities: np.ndarray, temperature: float) -> np.ndarray:
    """Return sigmoid(logit(p) / temperature): above 1 makes a model less sure of itself.

    The order of the slices, and so the ROC curve, stays as it is.
    """
    return special.expit(logits(probabilities) / temperature)


def fit_temperature(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """Return the temperature that minimises the negative log-likelihood (0.05 to 20).

    Fit it on validation patients, apply it to others. Eq. 9 of Guo et al. for two classes.

    Raises
    ------
    CourseError
        If only one class is there: the best temperature would be 0 or infinite.
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


def reliability_table(
    labels: np.ndarray, probabilities: np.ndarray, bins: int = 10
) -> pd.DataFrame:
    """Return what was predicted and what came true, in bins of about equally many slices.

    Bins of equal width would leave the middle ones almost empty, since most probabilities lie
    near 0 and 1.

    Parameters
    ----------
    labels : ndarray of bool or 0/1
    probabilities : ndarray, 0..1
    bins : int
        Number of bins; fewer if there are fewer slices.

    Returns
    -------
    DataFrame
        `slices, predicted` (mean probability), `observed` (share with tumour), `low, high`
        (95 % Wilson interval of the share; it treats slices as independent, which those of one
        patient are not, and so is too narrow rather than too wide).
    """
    labels = np.asarray(labels, dtype=bool)
    probabilities = np.asarray(probabilities, dtype=float)
    order = np.argsort(probabilities, kind="stable")
    rows = []
    for members in np.array_split(order, min(bins, len(order))):
        positives = int(labels[members].sum())
        test = stats.binomtest(positives, len(members))
        low, high = test.proportion_ci(confidence_level=0.95, method="wilson")
        rows.append(
            {
                "slices": len(members),
                "predicted": probabilities[members].mean(),
                "observed": positives / len(members),
                "low": low,
                "high": high,
            }
        )
    return pd.DataFrame(rows)


def expected_calibration_error(
    labels: np.ndarray, probabilities: np.ndarray, bins: int = 10
) -> float:
    """Return the mean of |predicted - observed| over equal-count bins, weighted by slices."""
    table = reliability_table(labels, probabilities, bins)
    gaps = (table["predicted"] - table["observed"]).abs()
    return float(np.average(gaps, weights=table["slices"]))
