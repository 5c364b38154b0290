"""How far a picture lies from those that a model was trained on.

A network answers whatever it is shown. A Mahalanobis distance to the training slices says whether
it has been shown anything like it (Lee et al. 2018, arXiv 1807.03888; for segmentation González et
al. 2022, arXiv 2208.03217). It measures only what its features see.
"""

from dataclasses import dataclass

import numpy as np
from sklearn.covariance import LedoitWolf

from utils.config import CourseError


@dataclass(frozen=True)
class Familiar:
    """What the features of the training slices look like.

    Attributes
    ----------
    mean, scale : ndarray of float, shape (features,)
        Each feature is brought to mean 0 and standard deviation 1 first; one that does not vary
        stays in its own unit.
    covariance : sklearn.covariance.LedoitWolf
        Fitted to that; shrunk towards a multiple of the identity, without which the inverse of a
        covariance of many features from few slices is mostly noise (Ledoit and Wolf 2004, doi
        10.1016/S0047-259X(03)00096-4).
    """

    mean: np.ndarray
    scale: np.ndarray
    covariance: LedoitWolf

    def distance(self, features: np.ndarray) -> np.ndarray:
        """Return the Mahalanobis distance of each row, shape (n,).

        Divided by the root of the number of features, so that distances from different features
        compare. The training slices themselves have 1 (root mean square) if they are many more
        than the features, and less if they are not: the covariance was fitted to them.
        """
        squares = self.covariance.mahalanobis((features - self.mean) / self.scale)
        return np.sqrt(squares / features.shape[1])


def fit_familiar(features: np.ndarray) -> Familiar:
    """Learn what is familiar.

    Parameters
    ----------
    features : ndarray of float, shape (slices, features)
        Of training slices.

    Returns
    -------
    Familiar
        Its `distance` says of other slices how far they lie from these.

    Raises
    ------
    CourseError
        If there are fewer than two slices, a feature is no number, or all slices are alike.

    Examples
    --------
    One feature with mean 2 and standard deviation 1; the slices asked about have 2 and 5.

    >>> import numpy as np
    >>> from utils.evaluation.out_of_distribution import fit_familiar
    >>> fit_familiar(np.array([[1.0], [3.0]])).distance(np.array([[2.0], [5.0]])).tolist()
    [0.0, 3.0]
    """
    features = np.asarray(features, float)
    if len(features) < 2 or not np.isfinite(features).all():
        raise CourseError(
            f"features of shape {features.shape}: at least two slices, all of them numbers, are "
            "needed to learn what is familiar"
        )
    varies = np.ptp(features, axis=0) > 0
    if not varies.any():
        raise CourseError(
            f"features of shape {features.shape}: all slices have the same, so that no distance to "
            "them has a meaning; give features that vary"
        )
    mean, scale = features.mean(axis=0), features.std(axis=0)
    # The deviation of equal values is not always 0: their mean may differ in the last digit.
    scale = np.where(varies, scale, 1.0)
    covariance = LedoitWolf(assume_centered=True).fit((features - mean) / scale)
    return Familiar(mean, scale, covariance)


def threshold_at(distances: np.ndarray, rate: float) -> float:
    """Return the lowest threshold above which no more than a share `rate` of the distances lies.

    Parameters
    ----------
    distances : ndarray of float, shape (n,)
        Of slices that should not be flagged: those of validation patients.
    rate : float
        Share of false alarms that is accepted, at least 0 and below 1.

    Returns
    -------
    float
        One of the distances; what lies *above* it is flagged.

    Raises
    ------
    CourseError
        If there are no distances, or `rate` is below 0 or not below 1.

    Examples
    --------
    Of four slices one, a quarter, may be flagged: the one with 9.

    >>> from utils.evaluation.out_of_distribution import threshold_at
    >>> threshold_at([1.0, 2.0, 3.0, 9.0], rate=0.25)
    3.0
    """
    if not len(distances) or not 0 <= rate < 1:
        raise CourseError(f"rate={rate}, {len(distances)} distances: give 0 <= rate < 1 and some")
    ordered = np.sort(distances)
    allowed = int(np.floor(rate * len(ordered) + 1e-9))
    return float(ordered[len(ordered) - 1 - allowed])
