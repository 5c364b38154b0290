"""How far several predictions of one slice or volume agree."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pandas as pd

from utils.evaluation.segmentation import dice_from_counts


def pairwise_dice(masks: np.ndarray) -> np.ndarray:
    """Return the Dice of each mask with each other one.

    Parameters
    ----------
    masks : ndarray of 0 and 1, shape (members, ...)

    Returns
    -------
    ndarray of float, shape (members, members)
        0..1; 1 for two empty masks: they say the same.

    Examples
    --------
    >>> import numpy as np
    >>> from utils.evaluation.agreement import pairwise_dice
    >>> pairwise_dice(np.array([[1, 1, 0], [0, 1, 1]]))
    array([[1. , 0.5],
           [0.5, 1. ]])
    """
    flat = masks.reshape(len(masks), -1).astype(np.float32)
    overlaps = flat @ flat.T
    areas = np.diag(overlaps)
    return dice_from_counts(areas[:, None], areas[None, :], overlaps, empty=1.0)


def agreement(masks: np.ndarray) -> float:
    """Return the mean Dice over all pairs of different members; see `pairwise_dice`.

    Parameters
    ----------
    masks : ndarray of 0 and 1, shape (members, ...)
        At least two.

    Returns
    -------
    float
        From 0, no two have a pixel in common, to 1, all are the same.

    Examples
    --------
    Three pairs: (1 + 0.5 + 0.5) / 3.

    >>> import numpy as np
    >>> from utils.evaluation.agreement import agreement
    >>> round(agreement(np.array([[1, 1, 0], [1, 1, 0], [0, 1, 1]])), 3)
    0.667
    """
    upper = np.triu_indices(len(masks), k=1)
    return float(pairwise_dice(masks)[upper].mean())


def volume_ml(mask: np.ndarray, voxel_mm: Sequence[float]) -> float:
    """Return the volume of a mask.

    Parameters
    ----------
    mask : ndarray of 0 and 1, any shape
    voxel_mm : sequence of 3 floats
        The sizes of a voxel, in mm.

    Returns
    -------
    float
        In ml, which are 1000 cubic mm.

    Examples
    --------
    200 voxels of 1 x 1 x 5 mm:

    >>> import numpy as np
    >>> from utils.evaluation.agreement import volume_ml
    >>> volume_ml(np.ones((2, 10, 10)), (1, 1, 5))
    1.0
    """
    return float(np.count_nonzero(mask) * np.prod(voxel_mm) / 1000)


def pixel_reliability(
    maps: np.ndarray, truths: np.ndarray, edges: Sequence[float] = (0.05, 0.2, 0.4, 0.6, 0.8, 0.95)
) -> pd.DataFrame:
    """Return what share of the pixels with a given probability is tumour.

    Nearly all pixels have a probability near 0, which tells nothing: those below the first edge
    and from the last one on are left out.

    Parameters
    ----------
    maps : ndarray of float, any shape
        Probabilities, 0..1.
    truths : ndarray of 0 and 1, of the same shape
    edges : sequence of float
        Borders of the bins, rising.

    Returns
    -------
    pandas.DataFrame
        ``low, high, pixels, predicted`` (mean probability), ``observed`` (share of tumour); NaN
        where a bin is empty.

    Examples
    --------
    >>> import numpy as np
    >>> from utils.evaluation.agreement import pixel_reliability
    >>> maps, truths = np.array([0.01, 0.3, 0.3, 0.5]), np.array([0, 1, 0, 1])
    >>> pixel_reliability(maps, truths, edges=(0.2, 0.4, 0.6))
       low  high  pixels  predicted  observed
    0  0.2   0.4       2        0.3       0.5
    1  0.4   0.6       1        0.5       1.0
    """
    bins = np.digitize(maps, edges)
    rows = []
    for place, (low, high) in enumerate(pairwise(edges), start=1):
        inside = bins == place
        count = int(np.count_nonzero(inside))
        predicted = float(maps[inside].mean(dtype=float)) if count else np.nan
        observed = float(truths[inside].mean(dtype=float)) if count else np.nan
        rows.append((low, high, count, predicted, observed))
    return pd.DataFrame(rows, columns=["low", "high", "pixels", "predicted", "observed"])
