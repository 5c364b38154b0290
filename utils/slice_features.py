"""A slice as 1024 numbers, the means of what the frozen part of ResNet50 makes of it."""

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from utils import config, missing
from utils.course import Run
from utils.stored import StoredRows

STAGE = "slice features"
# Where `detector.trunk_features` keeps the maps whose means these features are, if notebook 02
# was run. Its first rows are those of the run's table, before the augmented copies.
_DETECTOR_FEATURES = "conv4_block3_out-{cohort_sha256:.8}-{split_sha256:.8}-{size}-{seed}-*.npy"


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
            missing.train_apart(run, STAGE)
    return np.load(features_file(run))


def store_features(run: Run) -> None:
    """Compute `slice_features` here, which loads TensorFlow, and keep them."""
    from utils.precision import set_precision
    from utils.predict import predict_images
    from utils.pretrained import folded_trunk
    from utils.weights import imagenet_resnet50

    set_precision()
    trunk = folded_trunk(run.parameters.size, imagenet_resnet50())
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
