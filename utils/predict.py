"""Predictions for whole patients, in Python and from the command line.

    python -m utils.predict COHORT_DIR --out OUT

writes ``OUT/slices.csv`` (``patient, slice, p_tumour, tumour_px``) and
``OUT/masks/<patient>/<patient>_<n>_mask.png`` (0 or 255, at the size of the input). The cohort
needs no masks.
"""

import argparse
import os
import sys
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from io import BytesIO
from itertools import tee
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image
from scipy import ndimage
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.special import expit
from tqdm import tqdm

from utils.calibration import logits
from utils.cohort import cohort_to_predict, read_cohort
from utils.config import (
    RESULTS,
    ROOT,
    RUNS,
    CourseError,
    atomic_path,
    command,
    prepare_folder,
)
from utils.model_files import check_detector, check_kind, check_probabilities, check_segmenter
from utils.settings import Postprocessing, detector_settings, segmenter_settings
from utils.tables import write_table
from utils.volumes import arrange_channels, read_resized

BATCH_SIZE = 32
# Bytes that a file's name may have, on every common system.
LONGEST_NAME = 255


@dataclass(frozen=True)
class Networks:
    """What predicts a patient: two networks and what was decided with them.

    Attributes
    ----------
    detector : keras.Model
    detector_settings : dict
        Its settings file, see `slice_probabilities`.
    segmenter : keras.Model
    postprocessing : Postprocessing
    pictures : str
        The channels that the segmenter takes, see `volumes.arrange_channels`.
    files : tuple of path-like
        Where the two come from, for messages.
    """

    detector: object
    detector_settings: dict
    segmenter: object
    postprocessing: Postprocessing
    pictures: str
    files: tuple = ("the detector", "the segmenter")


def predict_images(model, images: np.ndarray, batch_size: int = BATCH_SIZE) -> np.ndarray:
    """Return the output of a model for all images.

    Parameters
    ----------
    model : keras.Model
        Takes an array of shape (batch, ...), such as pictures on the scale 0..255.
    images : ndarray, shape (n, ...)
    batch_size : int
        How many go through the model at once.

    Returns
    -------
    ndarray of float32
        Shape (n, ...). A last axis of length 1 is dropped: (n,) for a detector and
        (n, size, size) for a segmenter.
    """
    return np.concatenate(list(predict_stream(model, [images], batch_size)))


def predict_stream(
    model, groups: Iterable[np.ndarray], batch_size: int = BATCH_SIZE
) -> Iterator[np.ndarray]:
    """Yield the output of a model for each group of images.

    Every batch is full, across groups, and only the very last one is filled up: a batch of
    another length would have the model compiled again, and short ones cost nearly as much as
    full ones.

    Parameters
    ----------
    model : keras.Model
    groups : iterable of ndarray, each of shape (n, ...)
        Such as one patient each; n may differ.
    batch_size : int

    Yields
    ------
    ndarray of float32, shape (n, ...)
        See `predict_images`.
    """
    for (output,) in predict_together([model], ([images] for images in groups), batch_size):
        yield output


def predict_together(
    models: Sequence, groups: Iterable[Sequence[np.ndarray]], batch_size: int = BATCH_SIZE
) -> Iterator[list[np.ndarray]]:
    """Yield the outputs of several models that work side by side, for each group of images.

    Side by side, because cores that share the work of one model wait for each other at every
    layer, and for whoever reads and writes beside them: on two cores, one model after the other
    took 1.18 times as long.

    Parameters
    ----------
    models : sequence of keras.Model
    groups : iterable of sequences of ndarray
        One patient each, such as: for every model the images that it takes, (n, ...).
    batch_size : int

    Yields
    ------
    list of ndarray of float32, each of shape (n, ...)
        One for every model, see `predict_images`.
    """
    lengths, outputs = deque(), []
    for output in _predict_ahead(models, _full_batches(groups, lengths, batch_size)):
        outputs.append(output)
        while lengths and sum(len(one[0]) for one in outputs) >= lengths[0]:
            done, length = _joined(outputs), lengths.popleft()
            yield [one[:length] for one in done]
            outputs = [[one[length:] for one in done]]


def _full_batches(groups: Iterable, lengths: deque, batch_size: int) -> Iterator[list[np.ndarray]]:
    """Yield full batches of the groups' images, for every model; note how long each group is."""
    waiting = []
    for images in groups:
        lengths.append(len(images[0]))
        waiting.append(images)
        if sum(len(one[0]) for one in waiting) >= batch_size:
            given = _joined(waiting)
            whole = len(given[0]) - len(given[0]) % batch_size
            for start in range(0, whole, batch_size):
                yield [one[start : start + batch_size] for one in given]
            waiting = [[one[whole:] for one in given]]
    if sum(len(one[0]) for one in waiting):
        yield [_filled_up(one, batch_size) for one in _joined(waiting)]


def _predict_ahead(models: Sequence, batches: Iterable) -> Iterator[list[np.ndarray]]:
    """Yield the models' outputs for each batch, having given them the next one."""
    if len(models) == 1:  # has nothing to work beside
        for (images,) in batches:
            yield [_predict_batch(models[0], images)]
        return
    running = deque()
    with ExitStack() as stack:
        # A thread for each model: two batches of one model side by side would only take memory.
        threads = [stack.enter_context(ThreadPoolExecutor(1)) for _ in models]
        for batch in batches:
            work = zip(threads, models, batch, strict=True)
            running.append([thread.submit(_predict_batch, *given) for thread, *given in work])
            if len(running) > 1:
                yield [future.result() for future in running.popleft()]
        for futures in running:
            yield [future.result() for future in futures]


def _joined(parts: Sequence[Sequence[np.ndarray]]) -> list[np.ndarray]:
    """Return for each model its arrays put together."""
    return [np.concatenate(arrays) for arrays in zip(*parts, strict=True)]


def _filled_up(batch: np.ndarray, batch_size: int) -> np.ndarray:
    """Return a batch filled up with copies of its last image."""
    return np.concatenate([batch, np.repeat(batch[-1:], batch_size - len(batch), axis=0)])


def _predict_batch(model, batch: np.ndarray) -> np.ndarray:
    output = np.asarray(model.predict_on_batch(batch), np.float32)
    return output[..., 0] if output.shape[-1] == 1 else output


def resize_probabilities(probabilities: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Return maps of probability at another size, interpolated linearly.

    Parameters
    ----------
    probabilities : ndarray of float32, shape (n, height, width)
    size : (int, int)
        Height and width, in pixels.

    Returns
    -------
    ndarray of float32, shape (n, *size)
        `probabilities` themselves if they have that size.

    Examples
    --------
    >>> import numpy as np
    >>> from utils.predict import resize_probabilities
    >>> resize_probabilities(np.array([[[0, 1]]], np.float32), (1, 4)).tolist()
    [[[0.0, 0.25, 0.75, 1.0]]]
    """
    if probabilities.shape[1:] == tuple(size):
        return probabilities
    return np.stack([_resized_map(one, size) for one in probabilities])


def _resized_map(one: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    if one.shape == tuple(size):
        return one
    return np.asarray(Image.fromarray(one).resize(size[::-1], Image.Resampling.BILINEAR))


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
    >>> from utils.predict import smooth_slices
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
    >>> from utils.predict import slice_scores
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
    probabilities: np.ndarray, settings: Postprocessing, size: tuple[int, int] | None = None
) -> np.ndarray:
    """Return the masks of one patient from its maps of probability.

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

    Returns
    -------
    ndarray of uint8, shape (slices, height, width)
        1 in the tumour.

    Examples
    --------
    >>> import numpy as np
    >>> from utils.predict import postprocess
    >>> from utils.settings import Postprocessing
    >>> maps = np.array([[[0.9, 0.8, 0.1, 0.7]]])
    >>> postprocess(maps, Postprocessing(threshold=0.5)).tolist()
    [[[1, 1, 0, 1]]]
    >>> postprocess(maps, Postprocessing(threshold=0.5, largest_only=True)).tolist()
    [[[1, 1, 0, 0]]]
    """
    size = probabilities.shape[1:] if size is None else tuple(size)
    masks = np.empty((len(probabilities), *size), bool)
    for place, smoothed in enumerate(_smoothed(probabilities, settings.neighbours, size)):
        np.greater_equal(smoothed, settings.threshold, out=masks[place])
    if settings.minimum_px > 1 or settings.largest_only:
        _drop_pieces(masks, settings)
    return masks.view(np.uint8)


def _smoothed(probabilities, neighbours: float, size: tuple[int, int]) -> Iterator[np.ndarray]:
    """Yield each slice's map at `size`, as `smooth_slices` makes it of all maps at once."""
    last = len(probabilities) - 1
    before = own = None
    for place, one in enumerate(probabilities):
        own = _resized_map(one, size) if own is None else own
        if not neighbours:
            yield own
            own = None
            continue
        after = own if place == last else _resized_map(probabilities[place + 1], size)
        yield (
            neighbours * ((own if before is None else before) + after) + (1 - 2 * neighbours) * own
        )
        before, own = own, after


def _drop_pieces(masks: np.ndarray, settings: Postprocessing) -> None:
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


def default_models() -> tuple[Path, Path]:
    """Return the detector and the segmenter to use when none is named.

    The models trained on the real cohort come first, then those of the default course run.

    Raises
    ------
    CourseError
        If there are neither.
    """
    for folder in (RESULTS / "lgg", RUNS / "simulated"):
        files = folder / "detector.keras", folder / "segmenter.keras"
        if all(file.exists() for file in files):
            return files
    raise CourseError(
        "no trained models in results/lgg or runs/simulated: run `make course` first, "
        "or name them with --detector and --segmenter"
    )


def load_detector(file: Path):
    """Return a detector that takes pictures, and the settings that belong to it.

    Where a file holds only the blocks that were fine-tuned, as in results/lgg, what comes before
    them is taken from ImageNet's weights.

    Returns
    -------
    keras.Model
        (batch, size, size, 3), 0..255 -> (batch, 1) probabilities.
    dict

    Raises
    ------
    CourseError
        If a file is missing, damaged or no detector's, or ImageNet's weights are needed and
        cannot be had.
    """
    check_kind(file)
    import keras

    from utils.models import load_model
    from utils.pretrained import TRUNK_FEATURES, fold, folded_trunk

    model = load_model(file)
    check_detector(model, file, TRUNK_FEATURES)
    settings = detector_settings(file)
    if model.input_shape[-1] == 3:
        return fold(model), settings
    from utils.weights import imagenet_resnet50

    trunk = folded_trunk(16 * model.input_shape[1], imagenet_resnet50())
    return keras.Model(trunk.input, model(trunk.output), name="whole_detector"), settings


def predict_cohort(cohort: Path, out: Path, detector_file: Path, segmenter_file: Path) -> Path:
    """Predict every slice of a cohort and write table and masks.

    Reading, the models and writing overlap: the next patients are read, and the last ones
    written, while the models run.

    Parameters
    ----------
    cohort : path-like
        Folder or zip in the cohort layout; masks in it are ignored.
    out : path-like
        Folder for ``slices.csv`` and ``masks/``.
    detector_file, segmenter_file : path-like
        ``.keras`` files, each with its settings in a ``.json`` of the same name.

    Returns
    -------
    pathlib.Path
        The table that was written, with ``patient, slice, p_tumour, tumour_px``.

    Raises
    ------
    CourseError
        If the cohort or a model cannot be read.
    """
    # Keras takes seconds to import: a wrong path is told before that.
    with cohort_to_predict(cohort, out) as root:
        table = read_cohort(root, masks="absent")
        prepare_out(Path(out), table)
        return predict_table(table, out, load_networks(detector_file, segmenter_file))


def prepare_out(out: Path, table: pd.DataFrame) -> None:
    """Make the folder for predictions, and see that all that is to be written can be.

    Raises
    ------
    CourseError
        If something stands in the way, or a name would be too long.
    """
    prepare_folder(out)
    prepare_folder(out / "masks")
    if (out / "slices.csv").is_dir():
        raise CourseError(f"{out / 'slices.csv'}: is a folder where the table goes; choose another")
    for patient, number in zip(table["patient"], table["slice"], strict=True):
        if len(os.fsencode(mask_name(patient, number))) > LONGEST_NAME:
            raise CourseError(
                f"patient {patient}: a name too long for its masks, which are called "
                "<patient>_<n>_mask.png; shorten it to 240 letters at most"
            )


def mask_name(patient: str, number: int) -> str:
    """Return the name of a slice's mask."""
    return f"{patient}_{number}_mask.png"


def load_networks(detector_file: Path, segmenter_file: Path) -> Networks:
    """Return a detector and a segmenter, ready to predict, with what was decided with them.

    Raises
    ------
    CourseError
        If a file cannot be read, or is not what it is given as.
    """
    detector_file, segmenter_file = Path(detector_file), Path(segmenter_file)
    check_kind(segmenter_file)
    detector, settings = load_detector(detector_file)
    from utils.models import load_model

    segmenter = load_model(segmenter_file)
    check_segmenter(segmenter, segmenter_file)
    postprocessing, pictures = segmenter_settings(segmenter_file)
    files = detector_file, segmenter_file
    return Networks(detector, settings, segmenter, postprocessing, pictures, files)


def predict_table(table: pd.DataFrame, out: Path, networks: Networks) -> Path:
    """Predict the slices of a cohort table and write table and masks, as `predict_cohort` does."""
    views = [
        (networks.detector.input_shape[1], "sequences"),
        (networks.segmenter.input_shape[1], networks.pictures),
    ]
    groups = [rows for _, rows in table.groupby("patient", sort=False)]
    written: list[Future] = []
    with (
        ThreadPoolExecutor(max_workers=1) as readers,
        ThreadPoolExecutor(max_workers=1) as writers,
        tqdm(total=len(table), unit="slice", desc="predict", disable=None) as bar,
    ):
        patients, sizes = tee(_read_ahead(readers, groups, views))
        predicted = predict_together(
            [networks.detector, networks.segmenter], (inputs for _, inputs in patients)
        )
        for rows, (size, _), (detected, own) in zip(groups, sizes, predicted, strict=True):
            for values, file in zip((detected, own), networks.files, strict=True):
                check_probabilities(values, file)
            detected = slice_probabilities(detected, own, networks.detector_settings)
            choices = networks.postprocessing
            written.append(
                writers.submit(_write_patient, rows, detected, own, size, choices, Path(out))
            )
            bar.update(len(rows))
        slices = pd.concat([patient.result() for patient in written], ignore_index=True)
    return write_table(Path(out) / "slices.csv", slices)


def slice_probabilities(p_detector, maps, settings: dict) -> np.ndarray:
    """Return the probability of tumour in each slice of a patient, by a detector's settings.

    With ``combination`` in the settings, it is made from detector and segmenter together, see
    `combine`; otherwise it is the detector's alone.

    Parameters
    ----------
    p_detector : ndarray of float, shape (slices,), 0..1
        Calibrated.
    maps : ndarray of float, shape (slices, height, width), 0..1
        What the segmenter says about all slices of the patient, in order.
    settings : dict
        The detector's settings file; with ``combination``, ``neighbours`` as well, see
        `smooth_slices`.

    Returns
    -------
    ndarray of float, shape (slices,), 0..1

    Examples
    --------
    >>> import numpy as np
    >>> from utils.predict import slice_probabilities
    >>> slice_probabilities(np.array([0.25]), maps=np.array([[[0.75]]]), settings={}).tolist()
    [0.25]
    >>> weights = {"detector": 0, "segmenter": 1, "intercept": 0}
    >>> settings = {"combination": weights, "neighbours": 0}
    >>> slice_probabilities(np.array([0.25]), np.array([[[0.75]]]), settings).round(3).tolist()
    [0.75]
    """
    if "combination" not in settings:
        return p_detector
    scores = slice_scores(smooth_slices(maps, settings["neighbours"]))
    return combine(p_detector, scores, settings["combination"])


def _read_ahead(readers: ThreadPoolExecutor, groups: list, views: list, ahead: int = 2):
    """Yield what `_read_patient` returns for each group, having started the next ones."""
    waiting: list[Future] = []
    for rows in groups:
        waiting.append(readers.submit(_read_patient, rows, views))
        if len(waiting) > ahead:
            yield waiting.pop(0).result()
    for future in waiting:
        yield future.result()


def _read_patient(rows: pd.DataFrame, views: list) -> tuple[tuple, list[np.ndarray]]:
    """Return the size of a patient's pictures and, for each model, the pictures it takes.

    A view is the size of the pictures and the name of their channels, see `arrange_channels`.
    """
    own, resized = read_resized(rows, {size for size, _ in views})
    return own, [arrange_channels(resized[size], name) for size, name in views]


def _write_patient(rows, p_tumour, probabilities, size, settings, out) -> pd.DataFrame:
    """Write the masks of one patient; return its rows of the table."""
    masks = postprocess(probabilities, settings, size)
    for row, mask in zip(rows.itertuples(), masks, strict=True):
        name = mask_name(row.patient, row.slice)
        # In memory first: Pillow takes three times as long to write to a file.
        encoded = BytesIO()
        Image.fromarray(mask * np.uint8(255)).save(encoded, "PNG", compress_level=1)
        with atomic_path(out / "masks" / row.patient / name) as temporary:
            temporary.write_bytes(encoded.getbuffer())
    table = rows[["patient", "slice"]].copy()
    table["p_tumour"] = np.round(p_tumour, 6)
    table["tumour_px"] = masks.sum(axis=(1, 2), dtype=int)
    return table


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m utils.predict", description=__doc__)
    parser.add_argument("cohort", type=Path, help="folder or zip in the cohort layout")
    parser.add_argument("--out", type=Path, required=True, help="folder to write to")
    parser.add_argument("--detector", type=Path, help="a .keras file (default: the course's)")
    parser.add_argument("--segmenter", type=Path, help="a .keras file (default: the course's)")
    arguments = parser.parse_args()
    detector, segmenter = arguments.detector, arguments.segmenter
    if detector is None or segmenter is None:
        defaults = default_models()
        detector, segmenter = detector or defaults[0], segmenter or defaults[1]
    for file in (detector, segmenter):
        check_kind(file)
        shown = file.relative_to(ROOT) if file.is_relative_to(ROOT) else file
        print(f"model: {shown}", file=sys.stderr)
    table = predict_cohort(arguments.cohort, arguments.out, detector, segmenter)
    print(f"wrote {table} and {arguments.out / 'masks'}")


if __name__ == "__main__":
    sys.exit(command(main))
