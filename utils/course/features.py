"""What the frozen part of ResNet50 makes of each slice, computed once and kept in the run folder.

`trunk_features` are the maps that the detector is trained on, `slice_features` their means: a
slice as 1024 numbers. They are larger than memory, so rows are read when they are asked for.
"""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from utils import config
from utils.course import workers
from utils.course.run import Run
from utils.models.inference import predict_images
from utils.runtime.memory import release

# Where `trunk_features` keeps the maps whose means `slice_features` are, if notebook 02 was run.
# Its first rows are those of the run's table, before the augmented copies.
_DETECTOR_FEATURES = "conv4_block3_out-{cohort_sha256:.8}-{split_sha256:.8}-{size}-{seed}-*.npy"
BATCH_SIZE = 16
# Each training slice is seen as it is and in so many changed copies.
COPIES = 1


class StoredRows:
    """Some rows of the array in an .npy file.

    A memory map would do, but every page of it that was ever touched counts as memory of the
    process, until nothing is saved at all.

    Parameters
    ----------
    path : path-like
        A C-ordered array, as `numpy.save` writes it.
    rows : array of int, optional
        Which rows of the file, in this order; all of them by default.

    Attributes
    ----------
    shape : tuple of int
    dtype : numpy.dtype
    """

    def __init__(self, path: str | os.PathLike, rows: np.ndarray | None = None):
        mapped = np.load(path, mmap_mode="r")
        self._path = path
        self._offset = mapped.offset
        self._rows = np.arange(len(mapped)) if rows is None else np.asarray(rows)
        self.dtype = mapped.dtype
        self.shape = (len(self._rows), *mapped.shape[1:])

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, which) -> np.ndarray:
        """Return the rows that a slice, an array of indices or an array of bool selects."""
        rows = self._rows[which]
        values = np.empty((len(rows), *self.shape[1:]), self.dtype)
        with open(self._path, "rb", buffering=0) as file:
            for value, row in zip(values, rows, strict=True):
                file.seek(self._offset + int(row) * value.nbytes)
                file.readinto(value)
        return values

    def take(self, which) -> "StoredRows":
        """Return the rows that `which` selects, unread."""
        return StoredRows(self._path, self._rows[which])


def slice_features(run: Run) -> np.ndarray:
    """Return what the frozen part of ResNet50 says of each slice, its mean over the picture.

    Computed once for a cohort, in a process of its own, and kept in the run folder.

    Parameters
    ----------
    run : Run

    Returns
    -------
    ndarray of float32, shape (n, 1024)
        One row for each of the run's table.
    """
    if not features_file(run).exists():
        by_detector = sorted((run.folder / "cache").glob(_DETECTOR_FEATURES.format(**run.identity)))
        if by_detector:
            stored = StoredRows(by_detector[0])
            _store(run, (stored[here] for here in _pieces(run)))
        else:
            print("Describing the slices with ResNet50, once for this cohort.")
            workers.train_apart(run, "utils.course.features:store_features")
    return np.load(features_file(run))


def store_features(run: Run) -> None:
    """Compute `slice_features` here, which loads TensorFlow, and keep them."""
    trunk = _trunk(run)
    images = run.volumes.images
    _store(run, (predict_images(trunk, np.asarray(images[here]), 16) for here in _pieces(run)))


def _pieces(run: Run) -> Iterator[slice]:
    count = len(run.table)
    return (slice(start, min(start + 128, count)) for start in range(0, count, 128))


def _store(run: Run, maps: Iterable[np.ndarray]) -> None:
    """Keep the means of feature maps (slices, height, width, 1024), given some at a time."""
    means = [piece.astype(np.float32).mean(axis=(1, 2)) for piece in maps]
    with config.atomic_path(features_file(run)) as temporary:
        np.save(temporary, np.concatenate(means))


def features_file(run: Run) -> Path:
    name = f"slice-features-{run.identity['cohort_sha256'][:8]}-{run.parameters.size}.npy"
    return run.folder / "cache" / name


def trunk_features(run: Run) -> StoredRows:
    """Return what the frozen part makes of every slice and changed copies, computed once.

    Returns
    -------
    StoredRows of float16, shape (n + COPIES * t, size / 16, size / 16, 1024)
        First the n rows of the run's table; then, `COPIES` times, the t slices of the training
        patients, augmented at random.
    """
    from utils.models.resnet50 import TRUNK_END

    identity = run.identity
    names = [identity["cohort_sha256"][:8], identity["split_sha256"][:8], *_trunk_settings(run)]
    file = run.folder / "cache" / f"{TRUNK_END}-{'-'.join(map(str, names))}.npy"
    if not file.exists():
        trunk = _trunk(run)
        pictures = list(_pictures(run))
        count = sum(len(each) for each, _ in pictures)
        with config.atomic_path(file) as temporary:
            header = {"descr": "<f2", "fortran_order": False}
            header["shape"] = (count, *trunk.output_shape[1:])
            with temporary.open("wb") as stream:
                np.lib.format.write_array_header_1_0(stream, header)
                for images, parameters in pictures:
                    for piece in _changed_pieces(images, parameters):
                        release()  # a notebook with a network of its own may be waiting
                        features = predict_images(trunk, piece, BATCH_SIZE)
                        stream.write(features.astype("<f2").tobytes())
    return StoredRows(file)


def _trunk(run: Run):
    """Return the frozen part of ResNet50. Only here TensorFlow is loaded: notebook 6 needs none."""
    from utils.models.files.imagenet import imagenet_resnet50
    from utils.models.precision import set_precision
    from utils.models.resnet50 import folded_trunk

    set_precision()
    return folded_trunk(run.parameters.size, imagenet_resnet50())


def _trunk_settings(run: Run) -> tuple:
    return run.parameters.size, run.seed, COPIES


def _pictures(run: Run):
    """Yield pictures with how they are to be changed: all of them as they are, then the copies."""
    from utils.models.batches import draw_parameters

    yield run.volumes.images, None
    rows = np.flatnonzero(run.in_part("train"))
    for copy in range(COPIES):
        yield (
            run.part("train").images,
            draw_parameters(len(rows), seed=run.seed, epoch=copy),
        )


def _changed_pieces(images: np.ndarray, parameters: dict | None):
    """Yield the pictures as float32, 128 at a time, augmented if there are parameters."""
    from utils.models.batches import augment

    for start in range(0, len(images), 128):
        here = slice(start, start + 128)
        piece = np.asarray(images[here], np.float32)
        if parameters is not None:
            drawn = {name: values[here] for name, values in parameters.items()}
            piece = np.asarray(augment(piece, None, drawn)[0])
        yield piece
