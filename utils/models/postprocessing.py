"""From maps of probability to masks: smoothed, cut off, pieces dropped."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from itertools import product

import numpy as np
from scipy import ndimage
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.special import expit

from utils.cohort.framing import Square
from utils.evaluation.calibration import logits
from utils.evaluation.segmentation import dice_from_counts
from utils.models.files.settings import Postprocessing
from utils.models.inference import resize_map
from utils.models.refinement import refine

# A pixel of which a network is surer than this counts no more, in logits.
MOST_EVIDENCE = 6.0


def smooth_slices(probabilities: np.ndarray, neighbours: float) -> np.ndarray:
    """Return each slice's map averaged with those of the slices above and below.

    A tumour extends over several slices; what appears in one alone is less likely to be one.

    Parameters
    ----------
    probabilities : ndarray of float, shape (slices, height, width)
        All slices of one patient, in order.
    neighbours : float
        Weight of each neighbour, 0..0.5; the slice itself has the rest. The first and the last
        slice stand in for the neighbour that they lack.

    Returns
    -------
    ndarray of float, shape (slices, height, width)

    Examples
    --------
    Three slices of one pixel; each takes a quarter from either side and half from itself.

    >>> import numpy as np
    >>> from utils.models.postprocessing import smooth_slices
    >>> smooth_slices(np.array([0, 0.8, 0]).reshape(3, 1, 1), neighbours=0.25).ravel().tolist()
    [0.2, 0.4, 0.2]
    """
    if not neighbours:
        return probabilities
    padded = np.concatenate([probabilities[:1], probabilities, probabilities[-1:]])
    return neighbours * (padded[:-2] + padded[2:]) + (1 - 2 * neighbours) * probabilities


def slice_scores(probabilities: np.ndarray, pixels: int = 50) -> np.ndarray:
    """Return how strongly a segmenter sees tumour in each slice: the mean of its highest values.

    Parameters
    ----------
    probabilities : ndarray of float, shape (slices, height, width)
    pixels : int
        How many values count; a single pixel would be a matter of chance.

    Returns
    -------
    ndarray of float, shape (slices,), 0..1

    Examples
    --------
    >>> import numpy as np
    >>> from utils.models.postprocessing import slice_scores
    >>> slice_scores(np.array([[[0.0, 0.25, 0.75]]]), pixels=2).tolist()
    [0.5]
    """
    flat = probabilities.reshape(len(probabilities), -1)
    return np.sort(flat, axis=1)[:, -pixels:].mean(axis=1)


def combine(p_detector: np.ndarray, scores: np.ndarray, weights: dict) -> np.ndarray:
    """Return one probability of tumour from the detector's and the segmenter's.

    Parameters
    ----------
    p_detector : ndarray, shape (slices,), 0..1
        Calibrated.
    scores : ndarray, shape (slices,), 0..1
        From `slice_scores`.
    weights : dict
        ``detector, segmenter, intercept``: of a logistic regression on the two logits, fitted on
        validation patients.

    Returns
    -------
    ndarray, shape (slices,), 0..1
    """
    return expit(
        weights["detector"] * logits(p_detector)
        + weights["segmenter"] * logits(scores)
        + weights["intercept"]
    )


def postprocess(
    probabilities: np.ndarray,
    settings: Postprocessing,
    size: tuple[int, int] | None = None,
    square: Square | None = None,
) -> np.ndarray:
    """Return the masks of one patient from its maps of probability.

    Which piece is the tumour is a matter of evidence: the sum over its pixels of their logits, up
    to 6 each and from 0, so that a small piece of which the network is sure can outweigh a large
    one of which it is not.

    Slice by slice: at the size of the files, the maps and the numbers of the pieces of a large
    patient would take 16 bytes a pixel.

    Parameters
    ----------
    probabilities : ndarray of float, shape (slices, height, width)
        All slices of one patient, in order: pieces are connected across slices.
    settings : Postprocessing
    size : (int, int), optional
        Height and width of the masks, if other than those of the maps, see
        `resize_probabilities`.
    square : Square, optional
        What the maps show of pictures of that size; outside it there is no tumour.

    Returns
    -------
    ndarray of uint8, shape (slices, height, width)
        1 in the tumour.

    Examples
    --------
    >>> import numpy as np
    >>> from utils.models.postprocessing import postprocess
    >>> from utils.models.files.settings import Postprocessing
    >>> maps = np.array([[[0.9, 0.8, 0.1, 0.7]]])
    >>> postprocess(maps, Postprocessing(threshold=0.5)).tolist()
    [[[1, 1, 0, 1]]]
    >>> postprocess(maps, Postprocessing(threshold=0.5, largest_only=True)).tolist()
    [[[1, 1, 0, 0]]]
    """
    size = probabilities.shape[1:] if size is None else tuple(size)
    masks = np.empty((len(probabilities), *size), bool)
    evidence = [] if settings.least_share else None
    for place, smoothed in enumerate(_smoothed(probabilities, settings.neighbours, size, square)):
        np.greater_equal(smoothed, settings.threshold, out=masks[place])
        if evidence is not None:
            evidence.append(_evidence(smoothed, masks[place]))
    if settings.minimum_px > 1 or settings.largest_only or settings.least_share:
        _drop_pieces(masks, settings, evidence)
    return masks.view(np.uint8)


def _evidence(probabilities: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Return how much speaks for each piece of a slice, in the order in which they are numbered."""
    box = _box(mask)
    pieces, count = _numbered(mask, box)
    speaking = logits(probabilities[box]).clip(0, MOST_EVIDENCE)
    return np.bincount(pieces.ravel(), weights=speaking.ravel(), minlength=count + 1)[1:]


def search_postprocessing(
    maps: Mapping[str, np.ndarray],
    truths: Mapping[str, np.ndarray],
    thresholds: Iterable[float],
    pieces: Iterable[tuple[int, bool]],
    neighbours: Iterable[float] = (0.0,),
    *,
    kept: Mapping[str, np.ndarray] | None = None,
    empty: float = np.nan,
) -> dict[Postprocessing, float]:
    """Return how well the masks of some patients come out with each choice of settings.

    Parameters
    ----------
    maps : mapping of str to ndarray of float, each of shape (slices, height, width)
        Patient -> maps of probability of all its slices, in order.
    truths : mapping of str to ndarray, each of shape (slices, height, width)
        Patient -> traced masks at the size of the maps; other patients in `maps` do not count.
    thresholds, pieces, neighbours : iterables
        What is tried, each with each: `Postprocessing.threshold`; its ``minimum_px`` and
        ``largest_only``; its ``neighbours``.
    kept : mapping of str to ndarray of bool, shape (slices,), optional
        Patient -> the slices that count and that `truths` has masks of; by default all.
    empty : float
        Dice of a patient with neither traced nor predicted pixels; NaN leaves it out.

    Returns
    -------
    dict
        `Postprocessing` -> mean Dice by patient, in the order in which they are tried.
    """
    tried = [
        Postprocessing(threshold, minimum_px, largest_only, weight)
        for threshold, (minimum_px, largest_only), weight in product(thresholds, pieces, neighbours)
    ]
    scores = [
        patient_scores(
            maps[patient], truth, tried, kept=None if kept is None else kept[patient], empty=empty
        )
        for patient, truth in truths.items()
    ]
    return dict(zip(tried, np.nanmean(scores, axis=0).tolist(), strict=True))


def patient_scores(
    maps: np.ndarray,
    truth: np.ndarray,
    tried: Iterable[Postprocessing],
    *,
    flair: np.ndarray | None = None,
    kept: np.ndarray | None = None,
    empty: float = np.nan,
) -> list[float]:
    """Return the Dice of one patient with each of some settings, at the size of the maps.

    Parameters
    ----------
    maps : ndarray of float, shape (slices, height, width)
        All slices of the patient, in order.
    truth : ndarray, shape (slices, height, width)
        Traced masks, of the slices that count.
    tried : iterable of Postprocessing
    flair : ndarray of uint8, in the shape of `maps`, optional
        Needed where settings refine, see `refinement.refine`.
    kept, empty
        Of this patient, see `search_postprocessing`.
    """
    counts = patient_counts(maps, truth, tried, flair=flair, kept=kept)
    return dice_from_counts(*counts.T, empty=empty).tolist()


def patient_counts(
    maps: np.ndarray,
    truth: np.ndarray,
    tried: Iterable[Postprocessing],
    *,
    flair: np.ndarray | None = None,
    kept: np.ndarray | None = None,
) -> np.ndarray:
    """Return the pixels of one patient from which Dice follows, with each of some settings.

    Parameters
    ----------
    maps, truth, tried, flair, kept
        See `patient_scores`.

    Returns
    -------
    ndarray of int, shape (settings, 3)
        Pixels traced, predicted, and both, in the slices that count.
    """
    prepared, counts, traced = {}, [], truth > 0
    for one in tried:
        key = one.refinement, one.neighbours
        if key not in prepared:
            prepared[key] = smooth_slices(refine(maps, flair, one.refinement), one.neighbours)
        rest = replace(one, refinement=0.0, neighbours=0.0)  # done already
        masks = postprocess(prepared[key], rest)
        masks = (masks if kept is None else masks[kept]) > 0
        counts.append([traced.sum(), masks.sum(), (masks & traced).sum()])
    return np.array(counts)


def _smoothed(
    probabilities, neighbours: float, size: tuple[int, int], square: Square | None
) -> Iterator[np.ndarray]:
    """Yield each slice's map at `size`, as `smooth_slices` makes it of all maps at once."""
    last = len(probabilities) - 1
    before = own = None
    for place, one in enumerate(probabilities):
        own = resize_map(one, size, square) if own is None else own
        if not neighbours:
            yield own
            own = None
            continue
        after = own if place == last else resize_map(probabilities[place + 1], size, square)
        yield (
            neighbours * ((own if before is None else before) + after) + (1 - 2 * neighbours) * own
        )
        before, own = own, after


def _drop_pieces(masks: np.ndarray, settings: Postprocessing, evidence: list | None) -> None:
    """Set to False, in place, the connected pieces that are not to be kept.

    Pieces are numbered within each slice first, and those that touch pieces of the next slice, at
    a side, an edge or a corner, are joined then.
    """
    boxes = [_box(mask) for mask in masks]
    counts, sizes, touching = [], [], []
    above, above_first = None, 0
    for place, (mask, box) in enumerate(zip(masks, boxes, strict=True)):
        pieces, count = _numbered(mask, box)
        first = sum(counts)
        counts.append(count)
        sizes.append(np.bincount(pieces.ravel(), minlength=count + 1)[1:])
        if above is not None and above.size and pieces.size:
            pairs = _touching(above, boxes[place - 1], pieces, box)
            touching.append(pairs + np.array([above_first, first]))
        above, above_first = pieces, first
    sizes = np.concatenate(sizes) if sizes else np.zeros(0, int)
    if not len(sizes):
        return
    pairs = np.concatenate(touching) if touching else np.zeros((0, 2), int)
    graph = coo_array((np.ones(len(pairs)), pairs.T), shape=(len(sizes), len(sizes)))
    _, piece = connected_components(graph, directed=False)
    totals = np.bincount(piece, weights=sizes)
    kept = totals >= max(1, settings.minimum_px)
    if settings.largest_only:
        kept &= np.arange(len(totals)) == totals.argmax()
    if evidence is not None:
        speaking = np.bincount(piece, weights=np.concatenate(evidence))
        kept &= speaking >= settings.least_share * speaking.max()
    first = 0
    for mask, box, count in zip(masks, boxes, counts, strict=True):
        if count:
            pieces, _ = _numbered(mask, box)
            mask[box] = np.concatenate([[False], kept[piece[first : first + count]]])[pieces]
        first += count


def _box(mask: np.ndarray) -> tuple[slice, slice]:
    """Return the rows and columns from the first True to the last."""
    ends = []
    for axis in (1, 0):
        found = np.flatnonzero(mask.any(axis=axis))
        ends.append(slice(found[0], found[-1] + 1) if len(found) else slice(0, 0))
    return tuple(ends)


def _numbered(mask: np.ndarray, box: tuple[slice, slice]) -> tuple[np.ndarray, int]:
    return ndimage.label(mask[box], structure=np.ones((3, 3)))


def _touching(above, above_box, below, below_box) -> np.ndarray:
    """Return the pairs (n, 2) of pieces in two slices that touch, counted from 0."""
    shape = [max(one.stop, other.stop) + 1 for one, other in zip(above_box, below_box, strict=True)]
    start = [min(one.start, other.start) for one, other in zip(above_box, below_box, strict=True)]
    shape = [stop - begin + 1 for stop, begin in zip(shape, start, strict=True)]
    upper, lower = np.zeros(shape, np.int32), np.zeros(shape, np.int32)
    for array, pieces, box in ((upper, above, above_box), (lower, below, below_box)):
        rows, columns = (
            slice(one.start - begin + 1, one.stop - begin + 1)
            for one, begin in zip(box, start, strict=True)
        )
        array[rows, columns] = pieces
    # A pair as one number; along a row the same one comes many times.
    base = np.int64(lower.max()) + 1
    found = []
    for down in (-1, 0, 1):
        for right in (-1, 0, 1):
            # A border of zeros all around: what is rolled out at one side meets none at the other.
            moved = np.roll(lower, (down, right), axis=(0, 1))
            both = (upper > 0) & (moved > 0)
            pairs = upper[both] * base + moved[both]
            found.append(pairs[np.flatnonzero(np.diff(pairs, prepend=-1))])
    return np.stack(np.divmod(np.unique(np.concatenate(found)), base), axis=1) - 1
