"""What notebook 01 measures on a cohort before anything is trained."""

import numpy as np
import pandas as pd

from utils.volumes import Volumes, head_pixels, normalise_volume, read_volume


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
    >>> from utils.exploration import missing_sequences
    >>> from utils.volumes import Volumes
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
    >>> from utils.exploration import spread_between_patients
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
