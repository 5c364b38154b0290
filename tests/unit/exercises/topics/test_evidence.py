"""The exercises of notebook 05 refuse what students typically write, and say which input shows it.

That the solutions pass is shown by tests/notebooks/test_exercises.py.
"""

import numpy as np
import pytest
from answers import assert_told

from utils import check


def of_slices(rows, empty):
    total = rows["tumour_px"] + rows["predicted_px"]
    dice = (2 * rows["overlap_px"] / total.where(total > 0)).fillna(empty)
    return float(dice.mean())


def sums(rows):
    return [float(rows[name].sum()) for name in ("tumour_px", "predicted_px", "overlap_px")]


def iou(rows):
    tumour, predicted, overlap = sums(rows)
    return overlap / (tumour + predicted - overlap)


def never_nan(rows):
    tumour, predicted, overlap = sums(rows)
    return 2 * overlap / (tumour + predicted) if tumour + predicted else 1.0


def without_false_alarms(rows):
    return never_nan(rows[rows["tumour_px"] > 0])


def inside(intervals, truth):
    return (intervals[:, 0] <= truth) & (truth <= intervals[:, 1])


def strictly(intervals, truth):
    kept = intervals[~np.isnan(intervals[:, 0])]
    if len(kept) == 0:
        return float("nan")
    return ((kept[:, 0] < truth) & (truth < kept[:, 1])).mean()


def none_is_zero(intervals, truth):
    kept = intervals[~np.isnan(intervals[:, 0])]
    return inside(kept, truth).mean() if len(kept) else 0.0


def unpaired(by_patient, random):
    return np.nanmean(list(random.values())) - np.nanmean(list(by_patient.values()))


def by_place(by_patient, random):
    pairs = zip(by_patient.values(), random.values(), strict=False)
    return np.mean([second - first for first, second in pairs])


def turned_round(by_patient, random):
    shared = by_patient.keys() & random.keys()
    return np.mean([by_patient[name] - random[name] for name in shared])


def with_nan(by_patient, random):
    return -turned_round(by_patient, random)


def channels(before, after):
    return lambda flair: np.stack([before(flair), flair, after(flair)], axis=-1)


def earlier(flair):
    return np.concatenate([flair[:1], flair[:-1]])


def later(flair):
    return np.concatenate([flair[1:], flair[-1:]])


def black_at_the_ends(flair):
    none = np.zeros_like(flair[:1])
    before, after = np.concatenate([none, flair[:-1]]), np.concatenate([flair[1:], none])
    return np.stack([before, flair, after], axis=-1)


def odds(p, ratio):
    return p / (1 - p) * ratio / (1 + p / (1 - p) * ratio)


def not_flagged(slices):
    return slices["flagged"] == 0


WRONG = {
    "neighbours_as_channels": {
        "turned round": (channels(later, earlier), "for three slices the channels are in"),
        "black": (black_at_the_ends, "gets itself, not black"),
        "round": (
            channels(lambda all_: np.roll(all_, 1, 0), lambda all_: np.roll(all_, -1, 0)),
            "do not go round",
        ),
        "itself": (channels(lambda all_: all_, lambda all_: all_), "show the slice itself"),
        "floats": (lambda flair: channels(earlier, later)(flair) / 1.0, "float64, not uint8"),
        "first axis": (lambda flair: np.stack([earlier(flair), flair, later(flair)]), "the shape"),
    },
    "refined": {
        "upside down": (
            lambda p, inside, around, strength: odds(p, (around / inside) ** strength),
            "the ratio is upside down",
        ),
        "not the odds": (
            lambda p, inside, around, strength: p * (inside / around) ** strength,
            "not p",
        ),
        "no strength": (
            lambda p, inside, around, strength: odds(p, inside / around),
            "for half the strength you leave out",
        ),
        "strength times ratio": (
            lambda p, inside, around, strength: odds(p, strength * inside / around),
            "multiplies the logarithm",
        ),
        "odds returned": (
            lambda p, inside, around, strength: p / (1 - p) * (inside / around) ** strength,
            "for grey levels that say nothing you return",
        ),
    },
    "dice_of_patient": {
        "the mean over slices": (lambda rows: of_slices(rows, 1.0), "mean over slices"),
        "IoU": (iou, "for two slices with tumour"),
        "false alarms forgotten": (without_false_alarms, "without tumour count too"),
        "1 for nothing at all": (never_nan, "for neither tumour nor prediction"),
    },
    "coverage": {
        "a number": (lambda all_, truth: inside(all_, truth).sum(), "not their share"),
        "those that miss": (lambda all_, truth: 1 - inside(all_, truth).mean(), "that miss it"),
        "bounds do not count": (strictly, "a bound that equals the truth"),
        "nan counts as a miss": (lambda all_, truth: inside(all_, truth).mean(), "leave it out"),
        "0 for none": (none_is_zero, "for intervals that are all nan"),
    },
    "inflation": {
        "turned round": (turned_round, "for two patients you return"),
        "unpaired": (unpaired, "do not count in either mean"),
        "by place": (by_place, "not by the place in the table"),
        "nan goes through": (with_nan, "leave out a patient without a Dice"),
    },
    "lost_to_cascade": {
        "all that is not flagged": (lambda rows: not_flagged(rows).sum(), "not lost to the"),
        "all tumour that is not flagged": (
            lambda rows: (not_flagged(rows) & (rows["tumour_px"] > 0)).sum(),
            "for a slice that nobody found",
        ),
        "all masks that are not flagged": (
            lambda rows: (not_flagged(rows) & (rows["predicted_px"] > 0)).sum(),
            "for a mask beside the tumour",
        ),
        "flagged ones": (lambda rows: (rows["flagged"] == 1).sum() - 1, "for one slice flagged"),
    },
    "dice_of_silence": {
        "the tumour slices": (960 / 2838, "where silence is wrong"),
        "the other convention": (0.0, "empty = 0"),
        "a count": (1878, "how many slices"),
        "all": (1, "every slice"),
    },
}
CASES = [(name, what) for name, answers in WRONG.items() for what in answers]


@pytest.mark.filterwarnings("ignore:(invalid value|Mean of empty):RuntimeWarning")
@pytest.mark.parametrize(("name", "what"), CASES)
def test_typical_wrong_answers_are_refused_naming_the_case(name, what):
    answer, words = WRONG[name][what]
    assert_told(getattr(check, name), answer, [words])


def test_every_exercise_of_the_notebook_has_wrong_answers():
    assert list(WRONG) == [each.name for each in check.ALL if each.notebook == "05"]


def raising(*arguments):
    raise RuntimeError("no idea")


@pytest.mark.parametrize("name", [name for name in WRONG if name != "dice_of_silence"])
@pytest.mark.parametrize("answer", [raising, lambda *given: {}, lambda *given: object(), "text"])
def test_nonsense_is_refused_in_one_line(name, answer):
    assert_told(getattr(check, name), answer, [])


@pytest.mark.parametrize("answer", [None, "0.66", [0.66], {}])
def test_a_value_of_another_kind_is_refused(answer):
    assert "not the kind of value" in check.dice_of_silence.verdict(answer).message
