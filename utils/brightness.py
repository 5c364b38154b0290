"""A few numbers about each slice, for a baseline that a person can follow."""

import numpy as np
import pandas as pd

from utils.volumes import Volumes, head_pixels


def simple_features(volumes: Volumes) -> pd.DataFrame:
    """Return a few numbers about each slice, for a baseline without any network.

    Returns
    -------
    pandas.DataFrame
        One row a slice: the share of the picture that is head; for each channel its mean,
        standard deviation and 95th percentile over the head; the share of the head that is
        brighter in FLAIR than two standard deviations above the mean; and how much of that lies
        more on one side than on the other, over the whole. All 0 for a slice without head.
    """
    features = []
    for _, rows in volumes.table.groupby("patient", sort=False):
        images = volumes.images[rows.index]
        features += map(_slice_features, images, head_pixels(images))
    return pd.DataFrame(features)


def _slice_features(image: np.ndarray, head: np.ndarray) -> dict:
    row = {"head": head.mean()}
    for channel, name in enumerate(("pre", "flair", "post")):
        values = image[..., channel][head].astype(float) if head.any() else np.zeros(1)
        row |= {
            f"{name} mean": values.mean(),
            f"{name} sd": values.std(),
            f"{name} 95 %": np.percentile(values, 95),
        }
    bright = head & (image[..., 1] > 96 + 2 * 40)
    halves = np.array_split(bright, 2, axis=1)
    left, right = (half.sum() for half in halves)
    row["bright in FLAIR"] = bright.sum() / max(1, head.sum())
    row["one-sidedness"] = abs(int(left) - int(right)) / max(1, bright.sum())
    return row
