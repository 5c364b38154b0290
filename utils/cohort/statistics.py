"""What a cohort is like: sequences, grey levels, and how alike its slices are."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from utils.cohort.volumes import (
    GREY_LEVELS_PER_SD,
    Volumes,
    head_pixels,
    normalise_volume,
    read_volume,
)


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
    >>> from utils.cohort.statistics import slice_similarity
    >>> right = np.tile(np.arange(4.0)[:, None], (4, 1, 3))
    >>> table = pd.DataFrame({"patient": list("aabb"), "slice": [1, 2, 1, 2]})
    >>> pairs = slice_similarity(np.stack([right, right, -right, -right]), table, distances=[1])
    >>> pairs.groupby("pair")["correlation"].mean().round(2).to_dict()
    {'another patient': -1.0, 'same patient': 1.0}
    """
    pixels = _standardised(images, channel)
    order = table[["patient", "slice"]].reset_index(drop=True).sort_values(["patient", "slice"])
    rows = [group.index.to_numpy() for _, group in order.groupby("patient")]
    places = {tuple(each): row for row, each in zip(order.index, order.to_numpy(), strict=True)}
    tables = []
    for distance in distances:
        # By the numbers: between two rows of the table there may be slices that it does not hold.
        pairs = [
            (row, places[patient, number + distance])
            for (patient, number), row in places.items()
            if (patient, number + distance) in places
        ]
        first, second = np.array(pairs, int).reshape(-1, 2).T
        tables.append(_pairs(pixels, first, second, "same patient", distance))
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
    >>> from utils.cohort.statistics import neighbour_in_training
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


def most_similar(
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
    >>> from utils.cohort.statistics import most_similar
    >>> right = np.tile(np.arange(4.0)[:, None], (4, 1, 3))
    >>> images = np.stack([-right, right, 2 * right])
    >>> most_similar(images, asked=[False, False, True], among=[True, True, False]).tolist()
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


def missing_sequences(volumes: Volumes) -> pd.DataFrame:
    """Return for each patient whether a sequence is missing.

    In the LGG cohort a sequence that was never acquired is replaced by a copy of FLAIR, so a
    channel that equals FLAIR in every pixel of the volume holds nothing of its own. Equal
    channels stay equal under `volumes.normalise_volume`.

    Parameters
    ----------
    volumes : Volumes

    Returns
    -------
    pandas.DataFrame
        ``patient, institution, pre_contrast, post_contrast``, one row a patient in the order of
        the table; True where the sequence is missing.

    Examples
    --------
    One patient with one slice of one pixel, in which post-contrast equals FLAIR.

    >>> import numpy as np
    >>> import pandas as pd
    >>> from utils.cohort.statistics import missing_sequences
    >>> from utils.cohort.volumes import Volumes
    >>> table = pd.DataFrame({"patient": ["a"], "institution": ["CS"]})
    >>> missing_sequences(Volumes(table, np.array([[[[40, 90, 90]]]], np.uint8), masks=None))
      patient institution  pre_contrast  post_contrast
    0       a          CS         False           True
    """
    rows = []
    for (patient, institution), places in _by_patient(volumes.table):
        images = volumes.images[places]
        flair = images[..., 1]
        missing = [np.array_equal(images[..., channel], flair) for channel in (0, 2)]
        rows.append((patient, institution, *missing))
    return pd.DataFrame(rows, columns=["patient", "institution", "pre_contrast", "post_contrast"])


def enhancement(volumes: Volumes) -> pd.DataFrame:
    """Return for each patient how much of the tumour lights up after contrast agent.

    Parameters
    ----------
    volumes : Volumes
        Normalised, with masks.

    Returns
    -------
    pandas.DataFrame
        ``patient, tumour_px`` (pixels of the volume's masks) and ``enhancing``: the share, 0 to 1,
        of these pixels that are brighter after contrast agent than before by more than one standard
        deviation of the head; NaN where a sequence is missing or there is no tumour. One row per
        patient in the order of the table.

    Examples
    --------
    A tumour of two pixels, one of which goes from 90 to 200.

    >>> import numpy as np
    >>> import pandas as pd
    >>> from utils.cohort.statistics import enhancement
    >>> from utils.cohort.volumes import Volumes
    >>> table = pd.DataFrame({"patient": ["a"], "institution": ["CS"]})
    >>> images = np.array([[[[90, 150, 200], [90, 150, 95]]]], np.uint8)
    >>> enhancement(Volumes(table, images, masks=np.ones((1, 1, 2), np.uint8)))
      patient  tumour_px  enhancing
    0       a          2        0.5
    """
    missing = missing_sequences(volumes)
    whole = ~(missing["pre_contrast"] | missing["post_contrast"])
    rows = []
    for (patient, _), places in _by_patient(volumes.table):
        tumour = volumes.masks[places] > 0
        before, after = (volumes.images[places][..., channel][tumour] for channel in (0, 2))
        gained = after.astype(int) - before > GREY_LEVELS_PER_SD
        rows.append((patient, int(tumour.sum()), gained.mean() if len(gained) else np.nan))
    table = pd.DataFrame(rows, columns=["patient", "tumour_px", "enhancing"])
    table["enhancing"] = table["enhancing"].where(whole)
    return table


def head_grey_levels(table: pd.DataFrame, pixels: int = 500, seed: int = 0) -> pd.DataFrame:
    """Return grey levels of pixels of the head, equally many of every patient.

    Parameters
    ----------
    table : pandas.DataFrame
        A cohort table, with all slices of its patients.
    pixels : int
        How many pixels of each patient, drawn with replacement.
    seed : int

    Returns
    -------
    pandas.DataFrame
        ``patient, institution, channel`` (0 to 2), ``raw`` and ``normalised``: the value in the
        file and what `volumes.normalise_volume` makes of it; `pixels` x 3 rows a patient. A
        patient without a head pixel has no rows.
    """
    random = np.random.default_rng(seed)
    tables = []
    # Tables that were put together repeat their labels, by which rows are looked up here.
    table = table.reset_index(drop=True)
    for (patient, institution), places in _by_patient(table):
        images = read_volume(table.loc[places])
        inside = head_pixels(images)
        if not inside.any():
            continue
        drawn = random.integers(np.count_nonzero(inside), size=pixels)
        columns = {
            "patient": patient,
            "institution": institution,
            "channel": np.repeat(np.arange(3), pixels),
            "raw": images[inside][drawn].T.ravel(),
            "normalised": normalise_volume(images)[inside][drawn].T.ravel(),
        }
        tables.append(pd.DataFrame(columns))
    return pd.concat(tables, ignore_index=True)


def even_images(levels: pd.DataFrame, channel: int = 0) -> list[str]:
    """Return the patients whose head is nearly one grey level in a channel, as in a phase image.

    Parameters
    ----------
    levels : pandas.DataFrame
        From `head_grey_levels`.
    channel : int
        0 is pre-contrast.

    Returns
    -------
    list of str
        Of whom more than four fifths of the pixels lie within 6 grey levels of the median.

    Examples
    --------
    >>> import pandas as pd
    >>> from utils.cohort.statistics import even_images
    >>> levels = pd.DataFrame({"patient": list("aabb"), "channel": 0, "raw": [104, 106, 20, 90]})
    >>> even_images(levels)
    ['a']
    """
    by_patient = levels[levels["channel"] == channel].groupby("patient")["raw"]
    near = by_patient.agg(lambda values: ((values - values.median()).abs() <= 6).mean())
    return list(near.index[near > 0.8])


def spread_between_patients(levels: pd.DataFrame, column: str) -> pd.Series:
    """Return how far apart the patients' mean grey levels are, by channel.

    Parameters
    ----------
    levels : pandas.DataFrame
        From `head_grey_levels`.
    column : {"raw", "normalised"}

    Returns
    -------
    pandas.Series
        By channel: the standard deviation of the patients' means over the mean of the standard
        deviations within a patient. 0 if all patients have the same mean.

    Examples
    --------
    The means, 1 and 11, are five times as far apart as the two pixels of a patient.

    >>> import pandas as pd
    >>> from utils.cohort.statistics import spread_between_patients
    >>> levels = pd.DataFrame({"patient": list("aabb"), "channel": 1, "raw": [0, 2, 10, 12]})
    >>> spread_between_patients(levels, "raw").round(2).to_dict()
    {1: 5.0}
    """
    by_patient = levels.groupby(["channel", "patient"])[column].agg(["mean", "std"])
    by_channel = by_patient.groupby("channel")
    return by_channel["mean"].std() / by_channel["std"].mean()


def _by_patient(table: pd.DataFrame):
    """Yield (patient, institution) and the labels of the patient's rows, in the table's order."""
    for patient, rows in table.groupby("patient", sort=False):
        yield (patient, rows["institution"].iloc[0]), rows.index
