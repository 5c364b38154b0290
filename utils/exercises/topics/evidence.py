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
        round_ = np.stack([np.roll(flair, 1, 0), flair, np.roll(flair, -1, 0)], axis=-1)
        slips = [
            (right[..., ::-1], "the channels are in the wrong order: before, itself, after"),
            (empty, "a slice that has no neighbour there gets itself, not black"),
            (round_, "the first slice is no neighbour of the last; do not go round"),
            (np.stack([flair] * 3, axis=-1), "all three channels show the slice itself"),
        ]
        kept = [(slip, words) for slip, words in slips if not np.array_equal(slip, right)]
        return Case(said, (flair,), judges.array(right, kind="uint8", slips=kept))

    return Exercise(
        "neighbours_as_channels",
        NOTEBOOK,
        (
            case("three slices", _volume(10, 20, 30)),
            case("five slices", _volume(9, 3, 200, 40, 7)),
            case("a patient of two slices", _volume(50, 90)),
            case("a patient of one slice", _volume(70)),
        ),
    )


def _refined() -> Exercise:
    def corrected(p, inside, around, strength):
        odds = p / (1 - p) * (inside / around) ** strength
        return odds / (1 + odds)

    def case(said, p, inside, around, strength):
        p, inside, around = (np.array(values) for values in (p, inside, around))
        given = p, inside, around, strength
        weighed = p * (inside / around) ** strength
        slips = [
            (corrected(p, around, inside, strength), "the ratio is upside down: a grey level that "
             "is common in the tumour has to raise the probability"),
            (weighed.clip(0, 1), "it is the odds p / (1 - p) that are multiplied, not p"),
            (weighed, "it is the odds p / (1 - p) that are multiplied, not p"),
            (corrected(*given[:3], 1), "you leave out the strength"),
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
            case("three pixels", [0.2, 0.5, 0.9], [0.02, 0.04, 0.01], [0.01, 0.01, 0.05], 1),
            case("half the strength", [0.5, 0.4], [0.04, 0.02], [0.01, 0.08], 0.5),
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
        2 / 7: "the overlap lies in both masks, so it counts twice",
    }
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
                "empty slices around a tumour",
                (_counts((0, 0, 0), (8, 8, 4), (0, 0, 0)),),
                judges.number(0.5, slips={5 / 6: mean, 1 / 6: mean, NAN: silent}),
            ),
            Case("a tumour that was missed", (_counts((9, 0, 0)),), judges.number(0.0)),
            Case("neither tumour nor prediction", (_counts((0, 0, 0)),), judges.number(NAN)),
        ),
    )


def _coverage() -> Exercise:
    edge = "a bound that equals the truth holds it"
    slips = {2 / 5: "an interval without bounds says nothing: leave it out of the count", 2: _SHARE}
    return Exercise(
        "coverage",
        NOTEBOOK,
        (
            Case(
                "four intervals, three around the truth",
                (np.array([[0.1, 0.9], [0.4, 0.6], [0.45, 0.7], [0.6, 0.9]]), 0.5),
                judges.number(0.75, slips={0.25: "that is the share that miss it", 3: _SHARE}),
            ),
            Case(
                "intervals that begin or end at the truth",
                (np.array([[0.5, 0.9], [0.1, 0.5]]), 0.5),
                judges.number(1.0, slips={0.0: edge, 0.5: edge}),
            ),
            Case(
                "five intervals, one of them nan to nan",
                (np.array([[0.4, 0.6], [NAN, NAN], [0.6, 0.7], [0.2, 0.3], [0.0, 1.0]]), 0.5),
                judges.number(0.5, slips=slips),
            ),
            Case("intervals that are all nan", (np.full((2, 2), NAN), 0.5), judges.number(NAN)),
        ),
    )


def _inflation() -> Exercise:
    def case(said, by_patient, random, right, slips=None):
        return Case(said, (by_patient, random), judges.number(right, slips=slips))

    sign = "the sign is turned round: positive where the random split looks better"
    unpaired = "patients who are in one table only do not count in either mean"
    return Exercise(
        "inflation",
        NOTEBOOK,
        (
            case("two patients", {"A": 0.6, "B": 0.8}, {"A": 0.7, "B": 0.8}, 0.05, {-0.05: sign}),
            case(
                "three patients by patient and the last two at random",
                {"A": 0.2, "B": 0.9, "C": 0.5},
                {"B": 0.9, "C": 0.7},
                0.1,
                {
                    -0.1: sign,
                    0.25: "join by the patient's name, not by the place in the table",
                    0.8 - 1.6 / 3: unpaired,
                },
            ),
            case(
                "a patient whom the random split has not tested",
                {"A": 0.6, "B": 0.8, "C": 0.2},
                {"A": 0.7, "B": 0.9},
                0.1,
                {0.8 - 1.6 / 3: unpaired, 0.2 / 3: unpaired, -0.1: sign},
            ),
            case(
                "a patient whose Dice is nan in one table",
                {"A": 0.6, "B": NAN},
                {"A": 0.5, "B": 0.9},
                -0.1,
                {0.1: unpaired, NAN: "leave out a patient without a Dice, in both tables"},
            ),
            case("no patient in common", {"A": 0.6}, {"B": 0.9}, NAN, {0.3: unpaired}),
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
                "one slice flagged and one not",
                [(9, 9, 8, 1), (7, 6, 5, 0)],
                1,
                {0: "the second slice shows tumour, is met, and is not flagged"},
            ),
            case("a slice that nobody found", [(9, 0, 0, 0), (7, 6, 5, 1)], 0, {1: segmenter}),
            case("a mask beside the tumour", [(9, 4, 0, 0)], 0, {1: segmenter}),
            case("a false mask, not flagged", [(0, 12, 0, 0), (0, 0, 0, 0)], 0, {1: free, 2: free}),
            case(
                "a table of five slices",
                [(5, 5, 1, 0), (5, 9, 5, 0), (5, 5, 5, 1), (0, 3, 0, 0), (4, 0, 0, 0)],
                2,
                {4: free, 3: segmenter},
            ),
            case("a table without rows", [], 0),
        ),
    )


def _dice_of_silence() -> Exercise:
    slips = {
        960 / 2838: "that is the share with tumour, where silence is wrong",
        0.0: "that is the convention 'empty = 0'",
        1.0: "that would need every slice to be without tumour",
        1878.0: "that is how many slices, not the mean",
    }
    judge = judges.number(1878 / 2838, within=0.005, slips=slips, verb="you say")
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
