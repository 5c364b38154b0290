"""A few numbers for each slice that need no network: brightness and coarse look."""

import numpy as np
import pandas as pd

from utils.cohort.volumes import GREY_LEVELS_PER_SD, HEAD_MEAN, Volumes, head_pixels

# Columns and rows of the coarse picture in `picture_features`.
COARSE = 4
# On the normalised scale: more than 1.9 standard deviations below the head's mean.
DARK = 20


def simple_features(volumes: Volumes) -> pd.DataFrame:
    """Return a few numbers about each slice, for a baseline without any network.

    Returns
    -------
    pandas.DataFrame
        One row a slice, in the order of the table: the share of the picture that is head; for each
        channel its mean, standard deviation and 95th percentile over the head; the share of the
        head that is brighter in FLAIR than two standard deviations above the mean; and how much of
        that lies more on one side than on the other, over the whole. All 0 for a slice without
        head.
    """
    places, features = [], []
    for _, rows in volumes.table.groupby("patient", sort=False):
        images = volumes.images[rows.index]
        places += rows.index.tolist()
        features += map(_slice_features, images, head_pixels(images))
    # In the order of the table, in which a patient's rows need not stand together.
    return pd.DataFrame(features, index=places).sort_index().reset_index(drop=True)


def _slice_features(image: np.ndarray, head: np.ndarray) -> dict:
    row = {"head": head.mean()}
    for channel, name in enumerate(("pre", "flair", "post")):
        values = image[..., channel][head].astype(float) if head.any() else np.zeros(1)
        row |= {
            f"{name} mean": values.mean(),
            f"{name} sd": values.std(),
            f"{name} 95 %": np.percentile(values, 95),
        }
    bright = head & (image[..., 1] > HEAD_MEAN + 2 * GREY_LEVELS_PER_SD)
    width = bright.shape[1]
    # The middle column of an odd number lies on neither side.
    left, right = bright[:, : width // 2].sum(), bright[:, (width + 1) // 2 :].sum()
    row["bright in FLAIR"] = bright.sum() / max(1, head.sum())
    row["one-sidedness"] = abs(int(left) - int(right)) / max(1, bright.sum())
    return row


def picture_features(images: np.ndarray) -> np.ndarray:
    """Return a few numbers about each slice that need no network.

    Parameters
    ----------
    images : ndarray of uint8, shape (slices, size, size, 3)
        Normalised, see `utils.cohort.volumes`.

    Returns
    -------
    ndarray of float, shape (slices, 33)
        FLAIR averaged over 4 x 4 fields; for each channel its mean, standard deviation, share of
        dark pixels and strength of edges; how each two channels correlate; how FLAIR correlates
        with itself mirrored, and turned upside down.
    """
    # Every second pixel is enough for means, and four times as fast.
    channels = np.moveaxis(images[:, ::2, ::2].astype(np.float32), -1, 1)
    pre, flair, post = channels[:, 0], channels[:, 1], channels[:, 2]
    rows = np.array_split(flair, COARSE, axis=1)
    fields = [
        field.mean(axis=(1, 2)) for row in rows for field in np.array_split(row, COARSE, axis=2)
    ]
    edges = np.abs(np.diff(channels, axis=2)).mean((2, 3))
    looks = [
        channels.mean((2, 3)),
        channels.std((2, 3)),
        (channels < DARK).mean((2, 3)),
        edges + np.abs(np.diff(channels, axis=3)).mean((2, 3)),
    ]
    pairs = [(pre, flair), (pre, post), (flair, post), (flair, flair[:, :, ::-1])]
    pairs.append((flair, flair[:, ::-1]))
    alike = [_correlations(first, second) for first, second in pairs]
    return np.column_stack([*fields, *looks, *alike])


def _correlations(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return how each two pictures correlate, shape (n,); 0 where one is constant."""
    first, second = (each.reshape(len(each), -1) for each in (first, second))
    first = first - first.mean(axis=1, keepdims=True)
    second = second - second.mean(axis=1, keepdims=True)
    scale = np.linalg.norm(first, axis=1) * np.linalg.norm(second, axis=1)
    return (first * second).sum(axis=1) / np.where(scale > 0, scale, 1.0)
