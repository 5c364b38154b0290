"""Exercises of notebook 05: channels from neighbours, Bayes' rule on a map, then the tables: Dice
from counts, coverage, inflation, what a cascade loses.
"""

import numpy as np
import pandas as pd

from utils.exercises import judges
from utils.exercises.exercise import Case, Exercise

NOTEBOOK = "05"
NAN = float("nan")
_SHARE = "that is how many, not their share"


def _volume(*values) -> np.ndarray:
    """Return FLAIR of as many slices of two rows and one column; the second row is 1 brighter."""
    return np.array([[[value], [value + 1]] for value in values], np.uint8)


def _with_neighbours(flair: np.ndarray) -> np.ndarray:
    count = len(flair)
    below = [max(place - 1, 0) for place in range(count)]
    above = [min(place + 1, count - 1) for place in range(count)]
    return np.stack([flair[below], flair, flair[above]], axis=-1)


def _neighbours_as_channels() -> Exercise:
    def case(said, flair):
        right = _with_neighbours(flair)
        empty = right.copy()
        empty[0, ..., 0] = empty[-1, ..., 2] = 0
        black_first, round_first, round_last, mirrored = (right.copy() for _ in range(4))
        black_first[0, ..., 0] = 0
        round_first[0, ..., 0] = flair[-1]  # `flair[place - 1]`: place -1 is the last one
        round_last[-1, ..., 2] = flair[0]
        round_ = round_first.copy()
        round_[-1, ..., 2] = flair[0]
        mirrored[0, ..., 0], mirrored[-1, ..., 2] = flair[min(1, len(flair) - 1)], flair[-2:][0]
        black, circle = (
            "a slice that has no neighbour there gets itself, not black",
            "the first slice is no neighbour of the last; do not go round",
        )
        slips = [
            (right[..., ::-1], "the channels are in the wrong order: before, itself, after"),
            (empty, black),
            (black_first, black),
            (round_, circle),
            (round_first, circle),
            (round_last, circle),
            (mirrored, "a slice that lacks a neighbour stands in for it itself, not the other one"),
            (np.stack([flair] * 3, axis=-1), "all three channels show the slice itself"),
            (_with_neighbours(flair.swapaxes(0, 1)).swapaxes(0, 1), "these are the rows above and "
             "below in the same image; slices lie along the first axis"),
        ]  # fmt: skip
        kept = [(slip, words) for slip, words in slips if not np.array_equal(slip, right)]
        return Case(said, (flair,), judges.array(right, kind=flair.dtype.name, slips=kept))

    return Exercise(
        "neighbours_as_channels",
        NOTEBOOK,
        (
            case("three slices", _volume(10, 20, 30)),
            case("five slices", _volume(9, 3, 200, 40, 7)),
            case("a patient of two slices of float32", _volume(50, 90).astype("float32") / 100),
            case("a patient of one slice", _volume(70)),
        ),
    )


def _sigmoid(logits: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-logits))


def _refined() -> Exercise:
    def corrected(p, inside, around, strength):
        odds = p / (1 - p) * (inside / around) ** strength
        return odds / (1 + odds)

    def case(said, p, inside, around, strength):
        p, inside, around = (np.array(values) for values in (p, inside, around))
        given = p, inside, around, strength
        weighed = p * (inside / around) ** strength
        odds = p / (1 - p) * (inside / around) ** strength
        slips = [
            (corrected(p, around, inside, strength), "the ratio is upside down: a grey level that "
             "is common in the tumour has to raise the probability"),
            (weighed.clip(0, 1), "it is the odds p / (1 - p) that are multiplied, not p"),
            (weighed, "it is the odds p / (1 - p) that are multiplied, not p"),
            (odds, "these are odds; turn them back into probabilities"),
            (np.log(odds), "this is a logit; turn it back into a probability"),
            (_sigmoid(p + strength * np.log(inside / around)), "the logarithm of the ratio is "
             "added to the logit of p, not to p"),
            (_sigmoid(np.log(p / (1 - p)) + strength * inside / around), "to the logit, the "
             "logarithm of the ratio is added, not the ratio"),
            (odds / (1 + odds).sum(), "each pixel by itself: its odds over 1 + its odds"),
            (corrected(*given[:3], 1), "you leave out the strength"),
            (_sigmoid(strength * np.log(p / (1 - p) * inside / around)), "the strength belongs to "
             "the ratio alone, not to the odds of the network"),
            ((1 - strength) * p + strength * corrected(*given[:3], 1), "the strength is a power of "
             "the ratio; it does not mix two probabilities"),
            (corrected(p, inside * strength, around, 1), "the strength multiplies the logarithm of "
             "the ratio, not the ratio"),
        ]  # fmt: skip
        right = corrected(*given)
        kept = [(slip, words) for slip, words in slips if not judges.same(slip, right)]
        return Case(said, given, judges.array(right, slips=kept))

    return Exercise(
        "refined",
        NOTEBOOK,
        (
            case("grey levels that say nothing", [0.2, 0.7], [0.1, 0.3], [0.1, 0.3], 1),
            case("a pixel in doubt whose grey level is three times as common in the tumour",
                 [0.5], [0.03], [0.01], 1),
            case("a map of two by two pixels", [[0.2, 0.5], [0.9, 0.6]],
                 [[0.02, 0.04], [0.01, 0.03]], [[0.01, 0.01], [0.05, 0.02]], 1),
            case("half the strength", [0.5, 0.4], [0.04, 0.02], [0.01, 0.08], 0.5),
            case("twice the strength", [0.5, 0.4], [0.04, 0.02], [0.01, 0.08], 2),
            case("strength 0", [0.3, 0.6], [0.05, 0.01], [0.01, 0.05], 0),
        ),
    )  # fmt: skip


def _counts(*rows) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["tumour_px", "predicted_px", "overlap_px"])


def _dice_of_patient() -> Exercise:
    mean = "that is the mean over slices; pool the pixels of all slices first"
    alarms = "pixels drawn on a slice without tumour count too"
    first = {
        7 / 12: mean,
        0.5: "that is the share of the traced tumour that was found, which forgets what was drawn "
        "too much",
        0.4: "that is the overlap over the union (IoU), not Dice",
        2 / 3: "that is the share of what was drawn that is tumour, which forgets what was missed",
        2 / 7: "the overlap lies in both masks, so it counts twice",
    }
    sizes = "masks of one size need not lie in one place; the overlap stands in `overlap_px`"
    defined = {NAN: "nan is for nothing traced and nothing predicted; here one of both is there"}
    silent = "an empty slice adds 0 to every sum; no nan comes of it"
    return Exercise(
        "dice_of_patient",
        NOTEBOOK,
        (
            Case(
                "two slices with tumour",
                (_counts((30, 10, 10), (10, 20, 10)),),
                judges.number(4 / 7, slips=first),
            ),
            Case(
                "a false alarm on a slice without tumour",
                (_counts((20, 20, 20), (0, 20, 0)),),
                judges.number(2 / 3, slips={1.0: alarms, 0.5: mean}),
            ),
            Case(
                "empty slices around a tumour, in rows labelled 7 to 9",
                # As in a part of a larger table, whose rows keep their labels.
                (_counts((0, 0, 0), (8, 8, 4), (0, 0, 0)).set_axis([7, 8, 9]),),
                judges.number(0.5, slips={5 / 6: mean, 1 / 6: mean, NAN: silent, 1.0: sizes}),
            ),
            Case(
                "a tumour that was missed", (_counts((9, 0, 0)),), judges.number(0.0, slips=defined)
            ),
            Case(
                "a mask in a patient without tumour",
                (_counts((0, 6, 0), (0, 0, 0)),),
                judges.number(0.0, slips=defined),
            ),
            Case("neither tumour nor prediction", (_counts((0, 0, 0)),), judges.number(NAN)),
        ),
    )


def _coverage() -> Exercise:
    edge = "a bound that equals the truth holds it"
    one_bound = "the truth has to lie above the lower bound and below the upper one"
    percent = "give a share between 0 and 1, not per cent"
    first = {
        0.25: "that is the share that miss it",
        3: _SHARE,
        1.0: "one of them lies above the truth, all of it",
        75: percent,
    }
    slips = {
        2 / 5: "an interval without bounds says nothing: leave it out of the count",
        2: _SHARE,
        0.75: one_bound,
        0.25: "is it the `truth` given with these intervals that you compare with?",
    }
    return Exercise(
        "coverage",
        NOTEBOOK,
        (
            Case(
                "four intervals, three around the truth",
                (np.array([[0.1, 0.9], [0.4, 0.6], [0.45, 0.7], [0.6, 0.9]]), 0.5),
                judges.number(0.75, slips=first),
            ),
            Case(
                "intervals that begin or end at the truth",
                (np.array([[0.5, 0.9], [0.1, 0.5]]), 0.5),
                judges.number(1.0, slips={0.0: edge, 0.5: edge}),
            ),
            Case(
                "five intervals, one of them nan to nan",
                (np.array([[0.52, 0.65], [NAN, NAN], [0.6, 0.7], [0.2, 0.3], [0.0, 1.0]]), 0.55),
                judges.number(0.5, slips=slips),
            ),
            Case("intervals that are all nan", (np.full((2, 2), NAN), 0.5), judges.number(NAN)),
        ),
    )


def _inflation() -> Exercise:
    def case(said, by_patient, random, right, slips=None):
        return Case(said, (by_patient, random), judges.number(right, slips=slips))

    sign = "the sign is turned round: positive where the random split looks better"
    unpaired = "patients with a Dice in one table only do not count in either mean"
    left_out = "leave out a patient without a Dice, in both tables"
    return Exercise(
        "inflation",
        NOTEBOOK,
        (
            case(
                "two patients",
                {"A": 0.6, "B": 0.8},
                {"A": 0.7, "B": 0.8},
                0.05,
                {
                    -0.05: sign,
                    0.1: "that is the sum of the differences (or one of them), not their mean",
                    0.1 / 0.6 / 2: "take the differences as they are, not as shares",
                    5: "give the difference as it is, not in per cent",
                },
            ),
            case(
                "three patients by patient and the last two at random",
                {"A": 0.2, "B": 0.9, "C": 0.5},
                {"B": 0.9, "C": 0.7},
                0.1,
                {
                    -0.1: sign,
                    0.25: "join by the patient's name, not by the place in the table",
                    0.8 - 1.6 / 3: unpaired,
                    0.0: "a patient who is missing in one table has no Dice there, not a Dice of 0",
                },
            ),
            case(
                "a patient whom the random split has not tested",
                {"A": 0.6, "B": 0.8, "C": 0.2, "D": 0.5},
                {"A": 0.7, "B": 0.9, "D": 0.9},
                0.2,
                {
                    2.5 / 3 - 2.1 / 4: unpaired,
                    0.6 / 4: unpaired,
                    -0.2: sign,
                    0.1: "that is the median; the mean is asked for",
                },
            ),
            case(
                "three patients of whom two have a Dice of nan in one table",
                {"A": 0.6, "B": NAN, "C": 0.8},
                {"A": 0.5, "B": 0.9, "C": NAN},
                -0.1,
                {
                    0.0: unpaired,
                    0.1: "a random split may do worse, too: keep the sign of each difference",
                    -0.1 / 3: left_out,
                    -0.1 / 2: left_out,
                    NAN: left_out,
                },
            ),
            case(
                "no patient with a Dice in both",
                {"A": 0.6, "B": NAN},
                {"B": 0.9, "C": 0.8},
                NAN,
                {0.25: unpaired, 0.0: "no difference is left, which is not a difference of 0"},
            ),
        ),
    )


def _lost_to_cascade() -> Exercise:
    def case(said, rows, right, slips=None):
        columns = ["tumour_px", "predicted_px", "overlap_px", "flagged"]
        return Case(said, (pd.DataFrame(rows, columns=columns),), judges.number(right, slips=slips))

    segmenter = "a slice that the segmenter missed as well is not lost to the cascade"
    free = "without tumour there is nothing to lose: that false mask is well removed"
    return Exercise(
        "lost_to_cascade",
        NOTEBOOK,
        (
            case(
                "one slice flagged and two not",
                [(9, 9, 8, 1), (7, 6, 5, 0), (6, 5, 4, 0)],
                2,
                {
                    0: "the second slice shows tumour, is met, and is not flagged",
                    1: "flagged slices keep their masks; those that are not flagged are emptied",
                    9: "count the slices, not their pixels",
                    2 / 3: "that is a share; count the slices",
                    3: "the first slice is flagged, so that it keeps its mask",
                },
            ),
            case("a slice that nobody found", [(9, 0, 0, 0), (7, 6, 5, 1)], 0, {1: segmenter}),
            case("a mask beside the tumour", [(9, 4, 0, 0)], 0, {1: segmenter}),
            case("a false mask, not flagged", [(0, 12, 0, 0), (0, 0, 0, 0)], 0, {1: free, 2: free}),
            case(
                "a table of five slices",
                [(5, 5, 1, 0), (5, 9, 5, 0), (5, 5, 5, 1), (0, 3, 0, 0), (4, 0, 0, 0)],
                2,
                {4: free, 3: segmenter, 1: "one pixel in both masks is enough"},
            ),
            case("a table without rows", [], 0),
        ),
    )


def _dice_of_silence() -> Exercise:
    percent = "give a Dice between 0 and 1, not per cent"
    slips = {
        960 / 2838: "that is the share with tumour, where silence is wrong",
        0.0: "that is the convention 'empty = 0'",
        1.0: "that would need every slice to be without tumour",
        1878.0: "that is how many slices, not the mean",
        66.0: percent,
        66.17: percent,
        187800 / 2838: percent,
        66.2: percent,
        1878 / 960: "the mean is over all slices: divide by how many these are",
        960 / 1878: "the mean is over all slices: divide by how many these are",
    }
    # Near enough for two decimals (0.66), too near for a guess (2/3).
    judge = judges.number(1878 / 2838, within=0.003, slips=slips, verb="you say")
    return Exercise("dice_of_silence", NOTEBOOK, (Case("", (), judge),), is_function=False)


EXERCISES = (
    _neighbours_as_channels(),
    _refined(),
    _dice_of_patient(),
    _coverage(),
    _inflation(),
    _lost_to_cascade(),
    _dice_of_silence(),
)
