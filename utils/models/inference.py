"""Probabilities of many slices, in batches, and back at the size of the files."""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import numpy as np
from PIL import Image

from utils.cohort.framing import Square, put_back
from utils.cohort.tiff import read_slice
from utils.cohort.volumes import Volumes

BATCH_SIZE = 32


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
    >>> from utils.models.inference import resize_probabilities
    >>> resize_probabilities(np.array([[[0, 1]]], np.float32), (1, 4)).tolist()
    [[[0.0, 0.25, 0.75, 1.0]]]
    """
    if probabilities.shape[1:] == tuple(size):
        return probabilities
    return np.stack([resize_map(one, size) for one in probabilities])


def resize_map(one: np.ndarray, size: tuple[int, int], square: Square | None = None) -> np.ndarray:
    """Return one map at another size; of a square of the picture: with 0 around it."""
    if square is not None:
        return put_back(resize_map(one, (square.side, square.side)), square, size)
    if one.shape == tuple(size):
        return one
    return np.asarray(Image.fromarray(one).resize(size[::-1], Image.Resampling.BILINEAR))


def native_probabilities(model, volumes: Volumes) -> dict[str, np.ndarray]:
    """Return for each patient its maps of probability at the size of its files.

    Returns
    -------
    dict
        Patient -> float32 array (slices, height, width).
    """
    probabilities = predict_images(model, volumes.images)
    result = {}
    for patient, rows in volumes.table.groupby("patient", sort=False):
        size = read_slice(rows["image_path"].iloc[0]).shape[:2]
        result[patient] = resize_probabilities(probabilities[rows.index], size)
    return result
