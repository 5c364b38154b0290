"""A patient's own grey levels: maps corrected by how bright this tumour and its surroundings are.

A network learns how bright tumours are in general. Once it has found most of one, the patient's
own pictures say more: which grey levels this tumour has, and which the brain next to it.
"""

import numpy as np
from scipy import ndimage
from scipy.special import expit

from utils.evaluation.calibration import logits

# What is surely tumour, what surely is none, and below which a pixel is left as it is.
SURE, SURELY_NOT, LEFT = 0.8, 0.1, 0.05
# The surroundings reach as far from the tumour, as a share of the picture's side.
REACH = 0.1
# Over how many grey levels the histograms are smoothed, and how far one grey level may speak for
# tumour or against it: natural logarithm of the ratio of the two.
SMOOTHED_LEVELS, STRONGEST = 6.0, 3.0
# Histograms of fewer pixels than this say nothing.
LEAST_PIXELS = 50


def refine(probabilities: np.ndarray, flair: np.ndarray, strength: float) -> np.ndarray:
    """Return maps of probability, corrected by the patient's own grey levels.

    Two histograms of FLAIR are compared: of the surest tumour (its largest piece), and of what is
    around it and surely none. Bayes' rule then adds the logarithm of their ratio to the logit of
    a pixel; `strength` says how far it is trusted, since the network has seen the grey levels too.

    Parameters
    ----------
    probabilities : ndarray of float, shape (slices, height, width)
        All slices of one patient, in order.
    flair : ndarray of uint8, in the shape of `probabilities`
        What the network was shown of FLAIR.
    strength : float
        0 leaves the maps as they are.

    Returns
    -------
    ndarray of float32, in the shape of `probabilities`
        The maps themselves where nothing is surely tumour.

    Examples
    --------
    A tumour of brightness 200 in a brain of 100. The network was unsure of the pixel at its edge,
    which is as bright as the tumour, and of another one, which is not.

    >>> import numpy as np
    >>> from utils.models.refinement import refine
    >>> flair = np.full((1, 40, 40), 100, np.uint8)
    >>> flair[0, 10:20, 10:21] = 200
    >>> probabilities = np.where(flair == 200, 0.95, 0.01)
    >>> probabilities[0, 15, 20] = probabilities[0, 15, 9] = 0.5
    >>> refined = refine(probabilities, flair, strength=1)
    >>> [round(float(refined[0, 15, column]), 2) for column in (9, 20)]
    [0.05, 0.95]
    """
    if not strength:
        return probabilities
    sure = _largest_piece(probabilities > SURE)
    reach = REACH * max(probabilities.shape[1:])
    inside, around = np.zeros(256), np.zeros(256)
    for place in np.flatnonzero(sure.any(axis=(1, 2))):
        near = ndimage.distance_transform_edt(~sure[place]) <= reach
        near &= (probabilities[place] < SURELY_NOT) & (flair[place] > 0)
        inside += np.bincount(flair[place][sure[place]], minlength=256)
        around += np.bincount(flair[place][near], minlength=256)
    if min(inside.sum(), around.sum()) < LEAST_PIXELS:
        return probabilities
    ratio = np.log(_density(inside) / _density(around)).clip(-STRONGEST, STRONGEST)
    refined = expit(logits(probabilities) + strength * ratio[flair])
    return np.where(probabilities > LEFT, refined, probabilities).astype(np.float32)


def _largest_piece(sure: np.ndarray) -> np.ndarray:
    pieces, count = ndimage.label(sure, structure=np.ones((3, 3, 3)))
    if count < 2:
        return sure
    return pieces == 1 + np.bincount(pieces.ravel())[1:].argmax()


def _density(histogram: np.ndarray) -> np.ndarray:
    """Return the smoothed share of each grey level; none is impossible."""
    smoothed = ndimage.gaussian_filter1d(histogram, SMOOTHED_LEVELS, mode="nearest")
    return smoothed / smoothed.sum() + 1e-4
