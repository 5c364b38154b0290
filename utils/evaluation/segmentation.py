"""How well predicted tumours match the true ones: Dice under its many conventions, and HD95.

Most functions take the *slices table*, one row a slice, with the columns `patient, institution,
slice, part, tumour_px, predicted_px, overlap_px, p_tumour` (each uses only some of them). Dice
needs no more than three counts a slice: the true pixels, the predicted ones, and those in both.
"""

import numpy as np
import pandas as pd
from scipy import ndimage

from utils.config import CourseError

BATCH = 16  # the batch size of the convention that many training logs report
# How `hd95` treats slices, kept with tables of it (``hd95`` in provenance.json): what it does now,
# and what it did before, when slices with only one mask were left out and the percentile was taken
# over the distances of all others together.
HD95_NOW, HD95_BEFORE = "slices with either mask", "slices with both masks"
# The first of them in words, for readers.
HD95_WORDS = (
    "HD95 of a slice is the 95th percentile of the distances between the two outlines; a slice "
    "with only one mask, missed or invented, counts as the picture's diagonal; the value of a "
    "patient is the mean over the slices with either mask."
)


def dice(truth: np.ndarray, prediction: np.ndarray, empty: float = np.nan) -> float:
    """Return the Dice coefficient of two masks of any, equal shape.

    Twice the overlap over the sum of both areas (Dice 1945, doi 10.2307/1932409). Given a whole
    volume, this is the pooled Dice of the patient.

    Parameters
    ----------
    truth, prediction : ndarray
        Masks: bool, or 0 and 1 (or 0 and 255); anything above 0 is tumour.
    empty : float
        The value when both masks are empty and the ratio is 0/0. Nobody agrees on it (0, 1 and
        leaving the slice out are all in use), so it is NaN unless you choose.

    Returns
    -------
    float
        From 0, no pixel in common, to 1, the same mask; or `empty`.

    Raises
    ------
    CourseError
        If the shapes differ.

    Examples
    --------
    Each mask has two pixels, and one of them is in both: 2 * 1 / (2 + 2).

    >>> from utils.evaluation.segmentation import dice
    >>> dice([1, 1, 0, 0], [0, 1, 1, 0])
    0.5
    >>> dice([0, 0], [0, 0]), dice([0, 0], [0, 0], empty=1.0)
    (nan, 1.0)
    """
    truth, prediction = _pair(truth, prediction)
    overlap = np.count_nonzero(truth & prediction)
    counts = np.count_nonzero(truth), np.count_nonzero(prediction)
    return float(dice_from_counts(*counts, overlap, empty=empty))


def dice_from_counts(tumour_px, predicted_px, overlap_px, empty: float = np.nan) -> np.ndarray:
    """Return Dice from numbers of pixels, element by element.

    Parameters
    ----------
    tumour_px, predicted_px, overlap_px : array-like of numbers, of shapes that broadcast
        Pixels in the true mask, in the predicted one, and in both.
    empty : float
        The value where both masks are empty, see `dice`.

    Returns
    -------
    ndarray of float64, in the shape of the counts together
        0 to 1, or `empty`.

    Examples
    --------
    Of 4 true pixels 1 is among the 2 predicted: 2 * 1 / (4 + 2).

    >>> from utils.evaluation.segmentation import dice_from_counts
    >>> dice_from_counts([4, 0, 0], [2, 3, 0], [1, 0, 0]).round(3).tolist()
    [0.333, 0.0, nan]
    """
    total = np.asarray(tumour_px, dtype=float) + np.asarray(predicted_px, dtype=float)
    twice = 2.0 * np.asarray(overlap_px, dtype=float)
    return np.where(total > 0, twice / np.where(total > 0, total, 1.0), empty)


def count_pixels(truths: np.ndarray, predictions: np.ndarray) -> pd.DataFrame:
    """Return how many pixels the masks of each slice have, and how many they have in common.

    Parameters
    ----------
    truths, predictions : ndarray, shape (n, height, width)
        Masks; anything above 0 is tumour.

    Returns
    -------
    DataFrame
        `tumour_px, predicted_px, overlap_px`, one row a slice.

    Raises
    ------
    CourseError
        If the shapes differ.

    Examples
    --------
    >>> import numpy as np
    >>> from utils.evaluation.segmentation import count_pixels
    >>> count_pixels(np.array([[[1, 1, 1, 0]]]), np.array([[[0, 1, 1, 1]]]))
       tumour_px  predicted_px  overlap_px
    0          3             3           2
    """
    truths, predictions = _pair(truths, predictions)
    return pd.DataFrame(
        {
            "tumour_px": truths.sum(axis=(1, 2)),
            "predicted_px": predictions.sum(axis=(1, 2)),
            "overlap_px": (truths & predictions).sum(axis=(1, 2)),
        }
    )


def patient_table(
    slices: pd.DataFrame,
    truths: np.ndarray | None = None,
    predictions: np.ndarray | None = None,
) -> pd.DataFrame:
    """Return one row a patient: how large the tumour is, what was predicted, and Dice.

    The patient's Dice pools the volume, 2 Σ overlap / (Σ true + Σ predicted), as in Buda et
    al. 2019 (arXiv 1906.03720): a slice counts by its pixels, and tumour-free slices count
    through what was wrongly predicted in them. It is NaN for a patient with neither true nor
    predicted pixels.

    Parameters
    ----------
    slices : DataFrame
        The slices table; needs `patient, tumour_px, predicted_px, overlap_px`.
    truths, predictions : ndarray, optional
        Masks (n, height, width), one for each row of `slices`, for the column `hd95_px`.

    Returns
    -------
    DataFrame
        `patient, institution, slices, tumour_px, predicted_px, overlap_px, missed_slices,
        invented_slices, dice[, hd95_px]`, sorted by patient; ``missed_slices`` counts those with
        tumour and nothing predicted, ``invented_slices`` those the other way round. Without a
        column `institution` in `slices` there is none here.

    Raises
    ------
    CourseError
        If there are not as many masks as rows.

    Examples
    --------
    Patient a has 4 true and 4 predicted pixels, 2 of them in common: 2 * 2 / (4 + 4).

    >>> import pandas as pd
    >>> from utils.evaluation.segmentation import patient_table
    >>> slices = pd.DataFrame(
    ...     [("a", 4, 2, 2), ("a", 0, 2, 0), ("b", 5, 0, 0)],
    ...     columns=["patient", "tumour_px", "predicted_px", "overlap_px"],
    ... )
    >>> patient_table(slices)[["patient", "slices", "missed_slices", "invented_slices", "dice"]]
      patient  slices  missed_slices  invented_slices  dice
    0       a       2              0                1   0.5
    1       b       1              1                0   0.0
    """
    keys = [name for name in ("patient", "institution") if name in slices]
    counts = ["tumour_px", "predicted_px", "overlap_px"]
    whole = {f"{name}_slices": which for name, which in one_mask(slices).items()}
    # A patient whose institution is missing stays.
    groups = slices.assign(**whole).groupby(keys, sort=True, dropna=False)
    patients = groups[[*counts, *whole]].sum()
    patients.insert(0, "slices", groups.size())
    patients["dice"] = dice_from_counts(*(patients[name] for name in counts))
    patients = patients.reset_index()
    if truths is not None and predictions is not None:
        _check_rows(slices, truths, predictions)
        names = slices["patient"].to_numpy()
        patients["hd95_px"] = [
            hd95(truths[names == patient], predictions[names == patient])
            for patient in patients["patient"]
        ]
    return patients


def one_mask(slices: pd.DataFrame) -> dict[str, pd.Series]:
    """Return which slices (bool) were ``missed`` whole or ``invented`` whole.

    Parameters
    ----------
    slices : DataFrame
        The slices table; needs `tumour_px, predicted_px`.
    """
    tumour, predicted = slices["tumour_px"] > 0, slices["predicted_px"] > 0
    return {"missed": tumour & ~predicted, "invented": predicted & ~tumour}


def missed_and_invented(patients: pd.DataFrame) -> pd.DataFrame:
    """Return how much of each patient's tumour was ``missed``, and of its prediction ``invented``.

    Parameters
    ----------
    patients : DataFrame
        Needs `tumour_px, predicted_px, overlap_px`, such as from `patient_table`.

    Returns
    -------
    DataFrame
        With the index of `patients`. `missed`: share of the true pixels that were not predicted;
        `invented`: share of the predicted pixels that are no tumour. NaN where there are none.
    """
    found = patients["overlap_px"] / patients["tumour_px"].replace(0, np.nan)
    right = patients["overlap_px"] / patients["predicted_px"].replace(0, np.nan)
    return pd.DataFrame({"missed": 1 - found, "invented": 1 - right})


def lost_dice(slices: pd.DataFrame) -> pd.DataFrame:
    """Return what each patient's Dice lacks to 1, by the kind of error; the parts add up to it.

    Of 1 - 2 overlap / (true + predicted) the numerator is the pixels that are wrong, each of which
    costs 1 / (true + predicted), whichever kind it is.

    Parameters
    ----------
    slices : DataFrame
        The slices table; needs `patient, tumour_px, predicted_px, overlap_px`.

    Returns
    -------
    DataFrame
        `patient, too_little, too_much, missed, false`, sorted by patient. In slices where the two
        masks share a pixel, ``too_little`` is true and not predicted, ``too_much`` predicted and
        not true. In all others, ``missed`` is what is true and ``false`` what is predicted. NaN for
        a patient with neither true nor predicted pixels.

    Examples
    --------
    Patient a has 10 true and 10 predicted pixels. Of the first slice's 6 and 8, 4 are in common;
    the second is missed, and the third has 2 false ones: Dice is 2 * 4 / 20 = 0.4.

    >>> import pandas as pd
    >>> from utils.evaluation.segmentation import lost_dice
    >>> slices = pd.DataFrame(
    ...     [("a", 6, 8, 4), ("a", 4, 0, 0), ("a", 0, 2, 0)],
    ...     columns=["patient", "tumour_px", "predicted_px", "overlap_px"],
    ... )
    >>> lost_dice(slices)
      patient  too_little  too_much  missed  false
    0       a         0.1       0.2     0.2    0.1
    """
    met = slices["overlap_px"] > 0
    not_drawn = slices["tumour_px"] - slices["overlap_px"]
    not_true = slices["predicted_px"] - slices["overlap_px"]
    wrong = pd.DataFrame(
        {
            "patient": slices["patient"],
            "too_little": not_drawn.where(met, 0),
            "too_much": not_true.where(met, 0),
            "missed": not_drawn.where(~met, 0),
            "false": not_true.where(~met, 0),
        }
    )
    both = (slices["tumour_px"] + slices["predicted_px"]).groupby(slices["patient"]).sum()
    parts = wrong.groupby("patient").sum()
    return parts.div(both.replace(0, np.nan), axis=0).reset_index()


def cascade(slices: pd.DataFrame) -> pd.DataFrame:
    """Return the slices table as it is once the masks of slices that were not flagged are emptied.

    Parameters
    ----------
    slices : DataFrame
        The slices table; needs `predicted_px, overlap_px` and `flagged`, which is bool, or 0 and 1.

    Returns
    -------
    DataFrame
        A copy, with other `predicted_px, overlap_px`.
    """
    emptied = {name: slices[name] * slices["flagged"] for name in ("predicted_px", "overlap_px")}
    return slices.assign(**emptied)


def hd95(truth: np.ndarray, prediction: np.ndarray) -> float:
    """Return how far apart the outlines of two masks lie, in pixels: HD95 by slice, averaged.

    In a slice in which both masks have pixels, every outline pixel of one mask is measured to the
    nearest outline pixel of the other, both ways; the value of the slice is the 95th percentile of
    all these distances. (Their maximum is the Hausdorff distance; that a lower rank stands up to
    single stray pixels is in Huttenlocher et al. 1993, doi 10.1109/34.232073.) A slice in which
    only one mask has pixels, missed or invented, has no such distance and is charged the length of
    the picture's diagonal, which no two pixels are apart. A slice in which neither has any is left
    out. The value of a patient is the mean over the slices.

    So an emptied slice never improves the value, whatever was drawn in it, if there is tumour. A
    fixed penalty for what is missed or invented, then the mean, is also what the BraTS challenges
    have done since 2023, by lesion instead of by slice. Distances are in the plane and in pixels,
    because the cohort's files hold neither the size of a pixel nor the gap between slices.

    Parameters
    ----------
    truth, prediction : ndarray
        Masks of one slice (height, width) or of one patient (slices, height, width).

    Returns
    -------
    float
        Pixels of the masks given, 0 to the diagonal; NaN if neither mask has any pixel.

    Raises
    ------
    CourseError
        If the shapes differ or are not 2-D or 3-D.

    Examples
    --------
    A mask of one pixel, predicted two columns further right; then missed, in a picture of 3 x 4
    pixels, whose diagonal is 5 long.

    >>> import numpy as np
    >>> from utils.evaluation.segmentation import hd95
    >>> truth = np.array([[1, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]])
    >>> hd95(truth, np.roll(truth, 2, axis=1))
    2.0
    >>> hd95(truth, np.zeros_like(truth))
    5.0
    """
    truth, prediction = _pair(truth, prediction)
    if truth.ndim not in (2, 3):
        raise CourseError(f"HD95 needs masks of 2 or 3 dimensions, not {truth.ndim}")
    height, width = truth.shape[-2:]
    truth, prediction = truth.reshape(-1, height, width), prediction.reshape(-1, height, width)
    either = truth.any(axis=(1, 2)) | prediction.any(axis=(1, 2))
    if not either.any():
        return float("nan")
    pairs = zip(truth[either], prediction[either], strict=True)
    return float(np.mean([_slice_hd95(*masks) for masks in pairs]))


def _slice_hd95(truth: np.ndarray, prediction: np.ndarray) -> float:
    """Return HD95 of one slice in which at least one mask (bool) has pixels."""
    if not (truth.any() and prediction.any()):
        return float(np.hypot(*truth.shape))
    return float(np.percentile(_outline_distances(truth, prediction), 95))


def outline(mask: np.ndarray) -> np.ndarray:
    """Return the pixels of a mask that touch its outside by an edge.

    Parameters
    ----------
    mask : ndarray of bool, shape (height, width)

    Returns
    -------
    ndarray of bool, shape (height, width)

    Examples
    --------
    >>> import numpy as np
    >>> from utils.evaluation.segmentation import outline
    >>> outline(np.ones((3, 4), bool)).astype(int)
    array([[1, 1, 1, 1],
           [1, 0, 0, 1],
           [1, 1, 1, 1]])
    """
    # Outside the picture counts as outside the mask, so that a tumour cut by the border has one.
    return mask & ~ndimage.binary_erosion(mask)


def dice_conventions(slices: pd.DataFrame, batch: int = BATCH) -> pd.DataFrame:
    """Return the same predictions scored under the conventions found in papers and notebooks.

    Parameters
    ----------
    slices : DataFrame
        The slices table; needs `patient, tumour_px, predicted_px, overlap_px`. Its order matters
        for the batches only.
    batch : int
        Slices that are pooled together in the convention "batches".

    Returns
    -------
    DataFrame
        `convention, dice, explanation`, the course's own convention first.

    Examples
    --------
    One slice with a Dice of 0.5, and one that is empty and was left empty:

    >>> import pandas as pd
    >>> from utils.evaluation.segmentation import dice_conventions
    >>> counts = {"tumour_px": [4, 0], "predicted_px": [4, 0], "overlap_px": [2, 0]}
    >>> scores = dice_conventions(pd.DataFrame({"patient": ["a", "a"], **counts}))
    >>> dict(zip(scores["convention"], scores["dice"].tolist()))["slices, empty = 1"]
    0.75
    >>> dict(zip(scores["convention"], scores["dice"].tolist()))["slices, empty = 0"]
    0.25
    """
    slices = slices.reset_index(drop=True)  # tables that were put together repeat their labels
    patients = patient_table(slices)["dice"]
    counts = slices[["tumour_px", "predicted_px", "overlap_px"]].astype(float)
    one, zero, skipped = (_slice_dice(counts, empty) for empty in (1.0, 0.0, np.nan))
    batches = counts.groupby(np.arange(len(counts)) // batch).sum()
    largest = slices.groupby("patient")["tumour_px"].idxmax()
    smoothed = (2 * counts["overlap_px"] + 1) / (counts["tumour_px"] + counts["predicted_px"] + 1)
    rows = [
        ("patients, mean", patients.mean(), "pixels pooled by patient; mean over patients"),
        ("patients, median", patients.median(), "pixels pooled by patient; median over patients"),
        ("all pixels pooled", _slice_dice(counts.sum().to_frame().T).mean(),
         "one ratio for all pixels of all patients: large tumours decide"),
        ("tumour slices only", skipped[counts["tumour_px"] > 0].mean(),
         "mean over tumour slices: false positives elsewhere do not count"),
        ("slices, empty skipped", skipped.mean(),
         "mean over slices; correctly empty ones left out"),
        ("slices, empty = 0", zero.mean(), "mean over slices; correctly empty ones are failures"),
        ("slices, empty = 1", one.mean(), "mean over slices; correctly empty ones are successes"),
        ("slices, smoothed", smoothed.mean(),
         "as most loss functions have it: 1 added above and below"),
        ("slices within patients", one.groupby(slices["patient"]).mean().mean(),
         "empty = 1; mean within each patient, then over patients"),
        (f"batches of {batch}", _slice_dice(batches).mean(),
         "pixels pooled over each batch, as in many training logs"),
        ("largest slice", skipped[largest].mean(),
         "each patient's slice with most tumour: the best case"),
    ]  # fmt: skip
    return pd.DataFrame(rows, columns=["convention", "dice", "explanation"])


def _slice_dice(counts: pd.DataFrame, empty: float = np.nan) -> pd.Series:
    columns = (counts[name] for name in ("tumour_px", "predicted_px", "overlap_px"))
    return pd.Series(dice_from_counts(*columns, empty=empty), index=counts.index)


def _outline_distances(truth: np.ndarray, prediction: np.ndarray) -> np.ndarray:
    of_truth, of_prediction = outline(truth), outline(prediction)
    to_truth = ndimage.distance_transform_edt(~of_truth)
    to_prediction = ndimage.distance_transform_edt(~of_prediction)
    return np.concatenate([to_prediction[of_truth], to_truth[of_prediction]])


def _pair(truth: np.ndarray, prediction: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    truth, prediction = np.asarray(truth) > 0, np.asarray(prediction) > 0
    if truth.shape != prediction.shape:
        raise CourseError(
            f"the true mask has shape {truth.shape} and the predicted one {prediction.shape}: "
            "bring both to one size first"
        )
    return truth, prediction


def _check_rows(slices: pd.DataFrame, *arrays: np.ndarray) -> None:
    for array in arrays:
        if len(array) != len(slices):
            raise CourseError(f"{len(array)} masks for {len(slices)} rows: give one mask a row")


def score(
    table: pd.DataFrame, truths: np.ndarray, predictions: np.ndarray, **columns
) -> pd.DataFrame:
    """Return the slices table of predicted masks.

    Parameters
    ----------
    table : pandas.DataFrame
        n rows of the cohort table.
    truths, predictions : ndarray, shape (n, height, width)
        The traced masks and the predicted ones, at the size of the files.
    **columns : scalar or ndarray of shape (n,)
        Further columns.

    Returns
    -------
    pandas.DataFrame
        ``patient, institution, slice``, `columns`, ``tumour_px, predicted_px, overlap_px``.
    """
    slices = table[["patient", "institution", "slice"]].reset_index(drop=True)
    return pd.concat([slices.assign(**columns), count_pixels(truths, predictions)], axis=1)
