"""What shows when a bug of notebook 07 is at work: each function takes the broken one and a run."""

import os
import subprocess
import sys
from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
from scipy import ndimage
from sklearn.linear_model import LogisticRegression

from utils import config
from utils.cohort.statistics import most_similar
from utils.cohort.volumes import GREY_LEVELS_PER_SD, Volumes
from utils.models.inference import resize_probabilities

# Side (px) of the fields that the small classifier sees as one, and how wide it looks around one.
STEP = 4
WIDTHS = (1, 3, 7)


def copied_labels(volumes: Volumes, test: np.ndarray, train: np.ndarray) -> pd.DataFrame:
    """Return what a "detector" says that copies the answer of the most similar training slice.

    Parameters
    ----------
    volumes : Volumes
    test, train : ndarray of bool, shape (n,)

    Returns
    -------
    DataFrame
        `row`, `source` (the training row copied), `patient`, `right`; one row a test slice.
    """
    source = most_similar(volumes.images, test, train)
    rows = np.flatnonzero(test)
    labels = volumes.labels
    return pd.DataFrame(
        {
            "row": rows,
            "source": source,
            "patient": volumes.table["patient"].to_numpy()[rows],
            "right": labels[source] == labels[rows],
        }
    )


def in_new_process(function: Callable, ids: Sequence[str], hash_seed: int) -> list[str]:
    """Return `function(ids)` as another Python process, with another hash seed, gives it.

    Python draws a new hash seed for text whenever it starts; a number makes the draw repeatable.
    """
    code = (
        f"import sys; from {function.__module__} import {function.__name__} as function; "
        "print('\\n'.join(function(sys.argv[1:])))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *ids],
        cwd=config.ROOT,
        env=os.environ | {"PYTHONHASHSEED": str(hash_seed)},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.split()


def pixel_features(images: np.ndarray) -> np.ndarray:
    """Return what the small classifier sees of each field of pixels: grey levels around it, place.

    Parameters
    ----------
    images : ndarray (n, size, size, 3)
        Normalised pictures.

    Returns
    -------
    ndarray of float32, shape (n, fields, fields, 3 * len(WIDTHS) + 2)
        The fields in the last row and column are filled up if `STEP` does not divide the size.
    """
    small = _field_means(images) / GREY_LEVELS_PER_SD
    means = [ndimage.uniform_filter(small, (0, width, width, 0)) for width in WIDTHS]
    down, across = np.mgrid[0 : small.shape[1], 0 : small.shape[2]] / small.shape[1]
    place = np.stack([down, np.abs(across - 0.5)], axis=-1).astype(np.float32)
    return np.concatenate([*means, np.broadcast_to(place, (len(small), *place.shape))], axis=-1)


def _field_means(pictures: np.ndarray) -> np.ndarray:
    """Return the means over fields of `STEP` x `STEP` pixels; the height is the second axis."""
    missing = [(0, -side % STEP) for side in pictures.shape[1:3]]
    pictures = np.pad(pictures, [(0, 0), *missing] + [(0, 0)] * (pictures.ndim - 3), "edge")
    number, height, width, *channels = pictures.shape
    fields = pictures.reshape(number, height // STEP, STEP, width // STEP, STEP, *channels)
    return fields.mean(axis=(2, 4), dtype=np.float32)


def segment(train: Volumes, rows: np.ndarray, test: Volumes, fields=40_000, seed=0) -> np.ndarray:
    """Return masks of the test slices, from a logistic regression of single fields of pixels.

    Probabilities are learnt and given by fields, brought to the size of the pictures, and cut at
    0.5 there, so that a mask can be drawn on a picture and scored as it is drawn.

    Parameters
    ----------
    train, test : Volumes
    rows : ndarray of int
        Which training slices are learnt from.
    fields, seed : int
        How many of their fields, and which.

    Returns
    -------
    ndarray of bool, shape (test slices, size, size)
    """
    features = pixel_features(train.images[rows])
    features = features.reshape(-1, features.shape[-1])
    # A field is tumour if half of it is.
    wanted = (_field_means(train.masks[rows] > 0) >= 0.5).ravel()
    drawn = np.random.default_rng(seed).permutation(len(wanted))[:fields]
    model = LogisticRegression(max_iter=500).fit(features[drawn], wanted[drawn])
    asked = pixel_features(test.images)
    coarse = model.predict_proba(asked.reshape(-1, asked.shape[-1]))[:, 1].astype(np.float32)
    number, rows, columns = asked.shape[:3]
    fine = resize_probabilities(
        coarse.reshape(number, rows, columns), (rows * STEP, columns * STEP)
    )
    return fine[:, : test.masks.shape[1], : test.masks.shape[2]] > 0.5


def standing_out(volumes: Volumes, number: int) -> list[int]:
    """Return rows of slices in which one sees at a glance whether an outline fits.

    Of each patient it is the slice with most tumour; of these, the ones whose mean FLAIR in the
    tumour is furthest above the median of the head, the furthest first.
    """

    def lead(row: int) -> float:
        flair, mask = volumes.images[row, ..., 1], volumes.masks[row]
        return flair[mask > 0].mean() - np.median(flair[flair > 0])

    largest = volumes.masks.sum(axis=(1, 2))
    rows = [own[largest[own].argmax()] for own in volumes.table.groupby("patient").indices.values()]
    return sorted((int(row) for row in rows if largest[row]), key=lead, reverse=True)[:number]


def features_of(network: Callable, pictures: np.ndarray, batch: int = 2) -> np.ndarray:
    """Return a network's output for pictures (n, height, width, 3), a few at a time.

    Sixteen at once would take 0.7 GB of memory more.
    """
    pieces = [pictures[start : start + batch] for start in range(0, len(pictures), batch)]
    return np.concatenate([np.asarray(network(piece, training=False)) for piece in pieces])


def median_correlation(features: np.ndarray) -> float:
    """Return the median correlation of two rows of features, shape (n, number)."""
    correlations = np.corrcoef(features)
    return float(np.median(correlations[np.triu_indices(len(features), k=1)]))


def chance_accuracies(
    report: Callable, slices: int = 60, times: int = 400, seed: int = 0
) -> np.ndarray:
    """Return the accuracies that `report(validation, test)` gives for scores drawn by chance.

    Half of the slices have a tumour, and a score says nothing about it: the truth is 0.5.
    """
    random = np.random.default_rng(seed)

    def drawn():
        return np.arange(slices) % 2 == 0, random.random(slices)

    return np.array([report(drawn(), drawn())[1] for _ in range(times)])


def loss_slope(loss: Callable, index: np.ndarray, step: float = 1e-6) -> np.ndarray:
    """Return by how much a loss falls as the index rises, at each index in 0..1 - step."""
    return (loss(index) - loss(index + step)) / step
