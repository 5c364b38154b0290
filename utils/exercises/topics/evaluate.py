"""Exercises of notebook 04, first half: the cascade, Dice by patient, HD95."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from utils.exercises.exercise import Case, Exercise
from utils.exercises.inputs import ReadOnly
from utils.exercises.judges import Judge, mask, member, number, same

# --- cascade -----------------------------------------------------------------------------------


def _emptied(masks: np.ndarray, stand: list[bool]) -> Judge:
    """Judge masks of which some stand and the others are emptied."""
    stand = np.array(stand)
    right = np.where(stand[:, None, None], masks, 0)

    def judge(output) -> str | None:
        given = np.asarray(output)
        if given.dtype.kind not in "biuf":
            raise TypeError
        if given.shape != masks.shape:
            return f"you return the shape {given.shape}, not {masks.shape}: one mask for each slice"
        if same(given, right):
            return None
        filled = given.any(axis=(1, 2))
        for place, (kept, whole) in enumerate(zip(given, masks, strict=True)):
            if filled[place] and not same(kept, whole):
                return f"the mask of slice {place} is changed; it stands whole or is emptied whole"
        if len(masks) > 1 and (filled != stand).all():
            return "you empty the slices that are flagged and keep the others"
        wrong = np.flatnonzero(filled != stand)[0]
        done = "stands, and is not flagged" if filled[wrong] else "is emptied, and is flagged"
        return f"the mask of slice {wrong} {done}"

    return judge


_ON_THE_LINE = np.stack([mask("##.", ".#."), mask("###", "..."), mask(".##", "..#")])
_SQUARES = np.ones((3, 3, 3), dtype=bool)

CASCADE = Exercise(
    "cascade",
    "04",
    (
        Case("slices 0 to 2 with p = 0.2, 0.8, 0.9 and threshold 0.5",
             (_ON_THE_LINE, np.array([0.2, 0.8, 0.9]), 0.5),
             _emptied(_ON_THE_LINE, [False, True, True])),
        Case("slices 0 to 2 with p = 0.2, 0.5, 0.9 and threshold 0.5 (slice 1 is just flagged)",
             (_ON_THE_LINE, np.array([0.2, 0.5, 0.9]), 0.5),
             _emptied(_ON_THE_LINE, [False, True, True])),
        Case("three slices of 3 x 3 pixels of which only slice 2 is flagged",
             (_SQUARES, np.array([0.1, 0.2, 0.9]), 0.5),
             _emptied(_SQUARES, [False, False, True])),
        Case("no slice flagged", (_ON_THE_LINE, np.array([0.1, 0.2, 0.3]), 0.5),
             _emptied(_ON_THE_LINE, [False, False, False])),
        Case("every slice flagged", (_ON_THE_LINE, np.array([0.6, 0.7, 0.8]), 0.5),
             _emptied(_ON_THE_LINE, [True, True, True])),
        Case("a single slice", (_ON_THE_LINE[:1], np.array([0.4]), 0.3),
             _emptied(_ON_THE_LINE[:1], [True])),
        # The text asks to leave the array as it is: here it cannot be written into.
        Case("masks of 0 and 255 (uint8) that must stay as they are",
             (ReadOnly(np.uint8(_ON_THE_LINE) * 255), np.array([0.6, 0.2, 0.8]), 0.5),
             _emptied(np.uint8(_ON_THE_LINE) * 255, [True, False, True])),
    ),
)  # fmt: skip

# --- three_dice --------------------------------------------------------------------------------


def counts(*rows: tuple) -> pd.DataFrame:
    """Return a slices table from rows of patient, traced, predicted and overlapping pixels."""
    return pd.DataFrame(rows, columns=["patient", "tumour_px", "predicted_px", "overlap_px"])


def _three(right: tuple[float, float, float], slips: Mapping[str, dict] | None = None) -> Judge:
    """Judge Dice under three names: over patients, over slices, and pooled."""
    wanted = dict(zip(("patients", "slices", "pooled"), right, strict=True))

    def judge(output) -> str | None:
        given = dict(output)
        for name, value in wanted.items():
            if name not in given:
                return f"your dictionary has no {name!r}"
            judged = number(value, slips=(slips or {}).get(name))
            fault = member(judged, given[name])
            if fault is not None:
                return f"{name!r}: {fault}"
        return None

    return judge


_BOTH_EMPTY = "leave out slices in which nothing is traced and nothing predicted"
# Patient A: 2 * 170 / 380. Patient B: 2 * 1 / 6, and a slice in which both masks are empty.
_LARGE_AND_SMALL = counts(
    ("A", 100, 100, 90), ("A", 100, 80, 80), ("B", 4, 2, 1), ("B", 0, 0, 0)
)  # fmt: skip
_DICE_OF_SLICES = (0.9, 160 / 180, 1 / 3)
_MEAN_WITHIN = (np.mean(_DICE_OF_SLICES[:2]) + 1 / 3) / 2
_SLIPS = {
    "patients": {
        342 / 386: "that is one ratio for all pixels; form one per patient, then the mean",
        np.mean(_DICE_OF_SLICES): "that is the mean over the slices",
        _MEAN_WITHIN: "pool the pixels of a patient's slices; you average its slices' Dice",
    },
    "slices": {
        (sum(_DICE_OF_SLICES) + 1) / 4: f"empty slices count as 1; {_BOTH_EMPTY}",
        sum(_DICE_OF_SLICES) / 4: f"empty slices count as 0; {_BOTH_EMPTY}",
        float("nan"): f"0/0 spoils the mean; {_BOTH_EMPTY}",
    },
    "pooled": {(340 / 380 + 1 / 3) / 2: "that is the mean over the patients"},
}
_ONLY_EMPTY = {
    (0.5 + 1) / 2: "for the patient with nothing at all Dice is 0/0; leave it out of the mean",
    0.25: "for the patient with nothing at all Dice is 0/0; leave it out of the mean",
    float("nan"): "one patient's 0/0 spoils the mean; leave it out",
}

THREE_DICE = Exercise(
    "three_dice",
    "04",
    (
        Case("a large tumour found and a small one half missed", (_LARGE_AND_SMALL,),
             _three(((340 / 380 + 1 / 3) / 2, np.mean(_DICE_OF_SLICES), 342 / 386), _SLIPS)),
        Case("a single patient", (counts(("A", 10, 10, 5), ("A", 30, 30, 30)),),
             _three((70 / 80, 0.75, 70 / 80))),
        Case("a false positive of 10 pixels on a tumour-free slice",
             (counts(("A", 20, 20, 20), ("A", 0, 10, 0), ("B", 20, 20, 20), ("C", 20, 5, 5)),),
             # Of the patients 0.8, 1 and 0.4, of the slices 1, 0, 1 and 0.4.
             _three((2.2 / 3, 2.4 / 4, 90 / 115), {
                 "patients": {2.4 / 3: "that is the median, or the invented pixels do not lower it",
                              2.4 / 4: "that is the mean over the slices"},
                 "slices": {2.4 / 3: "a tumour-free slice with a false positive has a 0, not 0/0"},
             })),
        Case("slices of two patients mixed up, with another index",
             (_LARGE_AND_SMALL.iloc[[2, 0, 3, 1]].set_axis([7, 5, 5, 9]),),
             _three(((340 / 380 + 1 / 3) / 2, np.mean(_DICE_OF_SLICES), 342 / 386), _SLIPS)),
        Case("a patient with nothing traced and nothing predicted",
             (counts(("A", 10, 10, 5), ("B", 0, 0, 0)),),
             _three((0.5, 0.5, 0.5), {"patients": _ONLY_EMPTY})),
    ),
)  # fmt: skip

# --- hd95 --------------------------------------------------------------------------------------


def _pixels(*places: tuple[int, int]) -> np.ndarray:
    drawn = np.zeros((30, 40), dtype=bool)
    drawn[tuple(np.transpose(places))] = True
    return drawn


def _block(top: int, left: int, side: int) -> np.ndarray:
    drawn = np.zeros((30, 40), dtype=bool)
    drawn[top : top + side, left : left + side] = True
    return drawn


_NOTHING = np.zeros((30, 40), dtype=bool)


def _charged(height: int, width: int) -> Judge:
    """Judge what a slice with only one mask costs: the diagonal of an image of this size."""
    diagonal, between_corners = np.hypot(height, width), np.hypot(height - 1, width - 1)
    slips = {
        float("nan"): "a mean leaves nan out, so that the slice would cost nothing; charge it",
        float("inf"): "with one such slice no mean would be a number; charge what is asked for",
        0.0: "that is what a perfect outline gets; charge the slice",
        height + width: "height and width are added up; take the straight line",
        max(height, width): "only the longer side counts; take the line from corner to corner",
        height**2 + width**2: "the root is missing",
    }

    def judge(output) -> str | None:
        # From the middle of one corner's pixel to that of the other is right as well.
        if number(between_corners)(output) is None:
            return None
        return number(diagonal, slips=slips)(output)

    return judge


# The ends of a line of 21 pixels, and its left end alone: one way 0, the other 0 to 20.
_LINE = _pixels(*[(5, column) for column in range(21)])
_LINE_SLIPS = {
    0.0: "one way alone gives that, or a share of 0.95 where NumPy counts per cent; take both ways",
    20.0: "that is the largest distance of all, not the 95th percentile",
    19.0: "one way alone gives that, or the larger of two percentiles; put both ways together",
    9.5: "a mean of two percentiles gives that, or a median; put all distances together first",
}
_STRAY = _block(4, 4, 12) | _pixels((10, 21))

HD95 = Exercise(
    "hd95",
    "04",
    (
        Case("two single pixels, 3 rows and 4 columns apart",
             (_pixels((5, 5)), _pixels((8, 9))), number(5, slips={
                 7: "rows and columns are added up; take the straight line",
                 4: "only the longer side counts; take the straight line",
                 25: "the root is missing",
             })),
        Case("the same single pixel twice", (_pixels((5, 5)), _pixels((5, 5))), number(0)),
        Case("two equal blocks, one of them with a stray pixel 6 columns off",
             (_block(4, 4, 12), _STRAY), number(0, slips={
                 6: "that is the largest distance of all, which a single pixel decides",
             })),
        Case("a line of 21 pixels of which one end is found", (_LINE, _pixels((5, 0))),
             number(18.95, slips=_LINE_SLIPS)),
        Case("one pixel at the end of a line of 21", (_pixels((5, 0)), _LINE),
             number(18.95, slips=_LINE_SLIPS)),
        Case("a block of 9 x 9 pixels around one of 3 x 3", (_block(2, 2, 9), _block(5, 5, 3)),
             number(np.hypot(3, 3), slips={
                 np.sqrt(13): "the distances of all pixels are in it; take the outlines alone",
             })),
        Case("an empty prediction", (_block(4, 4, 3), _NOTHING), _charged(30, 40)),
        Case("an empty true mask", (_NOTHING, _block(4, 4, 3)), _charged(30, 40)),
        Case("an empty prediction in an image of 6 x 8 pixels",
             (_block(2, 2, 3)[:6, :8], _NOTHING[:6, :8]), _charged(6, 8)),
        Case("two empty masks", (_NOTHING, _NOTHING), number(float("nan"), slips={
            0: "a mean over slices would count it as a perfect outline; there is none to judge",
            50: "nothing was missed there and nothing invented; charge nothing",
            float("inf"): "nothing was missed there and nothing invented; charge nothing",
        })),
    ),
)  # fmt: skip

EXERCISES = (CASCADE, THREE_DICE, HD95)
