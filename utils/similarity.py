"""How alike the slices of one patient are, compared with those of others."""

from collections.abc import Sequence

import numpy as np
import pandas as pd


def slice_similarity(
    images: np.ndarray,
    table: pd.DataFrame,
    distances: Sequence[int] = (1, 2, 3, 5, 8),
    seed: int = 0,
    channel: int = 1,
) -> pd.DataFrame:
    """Return correlations of pairs of slices: of one patient at some distance, and of two.

    The pair of two patients is taken at about the same height in the head, so that anatomy alone
    is no advantage of the same patient.

    Parameters
    ----------
    images : ndarray (n, height, width, 3)
        One picture for each row of `table`.
    table : DataFrame
        Needs `patient, slice`.
    distances : sequence of int
        In slices.
    seed : int
        Chooses the other patients.
    channel : int
        1 is FLAIR.

    Returns
    -------
    DataFrame
        `pair` ("same patient" or "another patient"), `distance` (NA for another patient),
        `correlation` (Pearson, over every second pixel either way, -1..1), one row a pair.

    Examples
    --------
    Both slices of patient a are bright on the right, and both of patient b on the left.

    >>> import numpy as np
    >>> import pandas as pd
    >>> from utils.similarity import slice_similarity
    >>> right = np.tile(np.arange(4.0)[:, None], (4, 1, 3))
    >>> table = pd.DataFrame({"patient": list("aabb"), "slice": [1, 2, 1, 2]})
    >>> pairs = slice_similarity(np.stack([right, right, -right, -right]), table, distances=[1])
    >>> pairs.groupby("pair")["correlation"].mean().round(2).to_dict()
    {'another patient': -1.0, 'same patient': 1.0}
    """
    pixels = _standardised(images, channel)
    order = table[["patient", "slice"]].reset_index(drop=True).sort_values(["patient", "slice"])
    rows = [group.index.to_numpy() for _, group in order.groupby("patient")]
    tables = [
        _pairs(pixels, np.concatenate([one[:-distance] for one in rows]),
               np.concatenate([one[distance:] for one in rows]), "same patient", distance)
        for distance in distances
    ]  # fmt: skip
    if len(rows) > 1:
        first, second = _same_height(rows, np.random.default_rng(seed))
        tables.append(_pairs(pixels, first, second, "another patient", pd.NA))
    return pd.concat(tables, ignore_index=True)


def neighbour_in_training(table: pd.DataFrame) -> np.ndarray:
    """Return whether a slice above or below is a training slice of the same patient.

    Parameters
    ----------
    table : DataFrame
        Needs `patient, slice, part`, one row a slice.

    Returns
    -------
    ndarray of bool, shape (n,)
        One for each row of `table`.

    Examples
    --------
    Slice 2 stands beside slice 1, on which was trained; slice 4 does not.

    >>> import pandas as pd
    >>> from utils.similarity import neighbour_in_training
    >>> table = pd.DataFrame({"patient": "a", "slice": [1, 2, 4]})
    >>> neighbour_in_training(table.assign(part=["train", "test", "test"])).tolist()
    [False, True, False]
    """
    train = table.loc[table["part"] == "train", ["patient", "slice"]]
    known = set(train.itertuples(index=False, name=None))
    return np.array(
        [
            (patient, number - 1) in known or (patient, number + 1) in known
            for patient, number in table[["patient", "slice"]].itertuples(index=False)
        ],
        dtype=bool,
    )


def most_alike(
    images: np.ndarray, asked: np.ndarray, among: np.ndarray, channel: int = 1
) -> np.ndarray:
    """Return for each slice asked about the most alike of some others.

    Parameters
    ----------
    images : ndarray (n, height, width, 3)
    asked, among : ndarray of bool, shape (n,)
        Which slices are asked about, and among which to look.
    channel : int
        1 is FLAIR.

    Returns
    -------
    ndarray of int
        Row numbers of the most correlated slices, one for each slice asked about.

    Examples
    --------
    The last picture is asked about; it is bright on the right, as picture 1 is.

    >>> import numpy as np
    >>> from utils.similarity import most_alike
    >>> right = np.tile(np.arange(4.0)[:, None], (4, 1, 3))
    >>> images = np.stack([-right, right, 2 * right])
    >>> most_alike(images, asked=[False, False, True], among=[True, True, False]).tolist()
    [1]
    """
    pixels = _standardised(images, channel)
    places = np.flatnonzero(among)
    return places[(pixels[np.flatnonzero(asked)] @ pixels[places].T).argmax(axis=1)]


def _standardised(images: np.ndarray, channel: int) -> np.ndarray:
    """Return one channel as rows of mean 0 and length 1, whose products are correlations."""
    # A quarter of the pixels says the same about likeness, and is as much faster.
    pixels = images[:, ::2, ::2, channel].reshape(len(images), -1).astype(np.float32)
    pixels -= pixels.mean(axis=1, keepdims=True)
    length = np.linalg.norm(pixels, axis=1, keepdims=True)
    return np.divide(pixels, length, out=np.zeros_like(pixels), where=length > 0)


def _same_height(rows: list[np.ndarray], random: np.random.Generator):
    first, second = [], []
    for number, mine in enumerate(rows):
        for place, row in enumerate(mine):
            other = rows[(number + random.integers(1, len(rows))) % len(rows)]
            first.append(row)
            second.append(other[place * len(other) // len(mine)])
    return np.array(first), np.array(second)


def _pairs(pixels, first, second, pair: str, distance) -> pd.DataFrame:
    correlation = np.einsum("ij,ij->i", pixels[first], pixels[second])
    frame = pd.DataFrame({"pair": pair, "distance": distance, "correlation": correlation})
    return frame.astype({"distance": "Int64"})
