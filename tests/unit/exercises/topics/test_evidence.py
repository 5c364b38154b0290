"""The exercises of notebook 05 refuse what students typically write, and say which input shows it.

That the solutions pass is shown by tests/notebooks/test_exercises.py.
"""

import numpy as np
import pandas as pd
import pytest
from answers import assert_told

from utils import check
from utils.exercises.exercise import Mark


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


def nan_without_tumour(rows):
    return never_nan(rows) if rows["tumour_px"].sum() else float("nan")


def nan_unless_met(rows):
    return never_nan(rows) if rows["overlap_px"].sum() else float("nan")


def smaller_area(rows):
    tumour, predicted, _ = sums(rows)
    both = rows[["tumour_px", "predicted_px"]].min(axis=1).sum()
    return 2 * both / (tumour + predicted)


def known(intervals):
    return intervals[~np.isnan(intervals).any(axis=1)]


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


def neighbour(before, after):
    """Return an answer that takes as neighbours the slices at the places that two functions say."""

    def answer(flair):
        places = np.arange(len(flair))
        given = flair[before(places, len(flair))], flair, flair[after(places, len(flair))]
        return np.stack(given, axis=-1)

    return answer


def neighbouring_rows(flair):
    padded = np.pad(flair, ((0, 0), (1, 1), (0, 0)), mode="edge")
    return np.stack([padded[:, :-2], flair, padded[:, 2:]], axis=-1)


def logit(p):
    return np.log(p / (1 - p))


def sigmoid(logits):
    return 1 / (1 + np.exp(-logits))


def odds(p, ratio):
    return p / (1 - p) * ratio / (1 + p / (1 - p) * ratio)


def differences(by_patient, random):
    gaps = [random[name] - by_patient[name] for name in by_patient.keys() & random.keys()]
    return [gap for gap in gaps if not np.isnan(gap)]


def nan_by_patient_only(by_patient, random):
    shared = [name for name in by_patient if name in random and not np.isnan(by_patient[name])]
    return np.mean([random[name] - by_patient[name] for name in shared])


def shared_but_nan(by_patient, random):
    if not by_patient.keys() & random.keys():
        return float("nan")
    gaps = differences(by_patient, random)
    return sum(gaps) / len(gaps)


def missing_is_0(by_patient, random):
    return np.mean([random.get(name, 0) - by_patient[name] for name in by_patient])


def met(slices):
    return slices["overlap_px"] > 0


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
        "round at the beginning": (
            neighbour(lambda at, n: at - 1, lambda at, n: np.minimum(at + 1, n - 1)),
            "do not go round",
        ),
        "round at the end": (
            neighbour(lambda at, n: np.maximum(at - 1, 0), lambda at, n: (at + 1) % n),
            "do not go round",
        ),
        "mirrored at the ends": (
            neighbour(lambda at, n: abs(at - 1), lambda at, n: n - 1 - abs(n - 2 - at)),
            "stands in for it itself, not the other one",
        ),
        "rows": (neighbouring_rows, "slices lie along the first axis"),
        "always uint8": (
            lambda flair: channels(earlier, later)(flair).astype(np.uint8),
            "you return uint8, not float32",
        ),
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
            "these are odds",
        ),
        "logit returned": (
            lambda p, inside, around, strength: logit(p) + strength * np.log(inside / around),
            "this is a logit",
        ),
        "no logit taken": (
            lambda p, inside, around, strength: sigmoid(p + strength * np.log(inside / around)),
            "added to the logit of p, not to p",
        ),
        "no logarithm": (
            lambda p, inside, around, strength: sigmoid(logit(p) + strength * inside / around),
            "is added, not the ratio",
        ),
        "strength of the odds": (
            lambda p, inside, around, strength: sigmoid(
                strength * (logit(p) + np.log(inside / around))
            ),
            "belongs to the ratio alone",
        ),
        "strength mixes": (
            lambda p, inside, around, strength: (
                (1 - strength) * p + strength * odds(p, inside / around)
            ),
            "does not mix two probabilities",
        ),
        "a row only": (
            lambda p, inside, around, strength: odds(p, (inside / around) ** strength)[:2].ravel(),
            "for a map of two by two pixels you return the shape",
        ),
    },
    "dice_of_patient": {
        "the mean over slices": (lambda rows: of_slices(rows, 1.0), "mean over slices"),
        "IoU": (iou, "for two slices with tumour"),
        "false alarms forgotten": (without_false_alarms, "without tumour count too"),
        "precision": (lambda rows: sums(rows)[2] / sums(rows)[1], "forgets what was missed"),
        "the smaller area": (smaller_area, "need not lie in one place"),
        "labels taken for places": (
            lambda rows: never_nan(rows.loc[range(len(rows))]),
            "in rows labelled 7 to 9 it stops with KeyError",
        ),
        "nan where nothing is met": (nan_unless_met, "for a tumour that was missed you return nan"),
        "nan without tumour": (nan_without_tumour, "for a mask in a patient without tumour"),
        "1 for nothing at all": (never_nan, "for neither tumour nor prediction"),
    },
    "coverage": {
        "a number": (lambda all_, truth: inside(all_, truth).sum(), "not their share"),
        "those that miss": (lambda all_, truth: 1 - inside(all_, truth).mean(), "that miss it"),
        "bounds do not count": (strictly, "a bound that equals the truth"),
        "nan counts as a miss": (lambda all_, truth: inside(all_, truth).mean(), "leave it out"),
        "per cent": (lambda all_, truth: 100 * inside(all_, truth).mean(), "not per cent"),
        "the lower bound alone": (
            lambda all_, truth: (known(all_)[:, 0] <= truth).mean(),
            "below the upper one",
        ),
        "the upper bound alone": (
            lambda all_, truth: (truth <= known(all_)[:, 1]).mean(),
            "lies above the truth",
        ),
        "another truth": (lambda all_, truth: inside(known(all_), 0.5).mean(), "`truth` given"),
        "0 for none": (none_is_zero, "for intervals that are all nan"),
    },
    "inflation": {
        "turned round": (turned_round, "for two patients you return"),
        "unpaired": (unpaired, "do not count in either mean"),
        "by place": (by_place, "not by the place in the table"),
        "the sum": (lambda *given: sum(differences(*given)), "not their mean"),
        "the median": (lambda *given: np.median(differences(*given)), "that is the median"),
        "without signs": (lambda *given: np.abs(differences(*given)).mean(), "keep the sign"),
        "missing is 0": (missing_is_0, "not a Dice of 0"),
        "nan dropped in one table alone": (nan_by_patient_only, "in both tables"),
        "nan in all that are shared": (shared_but_nan, "for no patient with a Dice in both it"),
        "0 for none": (
            lambda *given: np.mean(differences(*given) or [0.0]),
            "which is not a difference of 0",
        ),
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
        "flagged ones": (
            lambda rows: (met(rows) & (rows["flagged"] == 1)).sum(),
            "keep their masks",
        ),
        "all that were met": (lambda rows: met(rows).sum(), "the first slice is flagged"),
        "pixels": (
            lambda rows: rows.loc[not_flagged(rows), "overlap_px"].sum(),
            "not their pixels",
        ),
        "a share": (lambda rows: (met(rows) & not_flagged(rows)).mean(), "that is a share"),
        "more than one pixel": (
            lambda rows: (not_flagged(rows) & (rows["overlap_px"] > 1)).sum(),
            "one pixel in both masks is enough",
        ),
    },
    "dice_of_silence": {
        "the tumour slices": (960 / 2838, "where silence is wrong"),
        "the other convention": (0.0, "empty = 0"),
        "a count": (1878, "how many slices"),
        "all": (1, "every slice"),
        "per cent": (66.17, "not per cent"),
        "by the tumour slices": (1878 / 960, "divide by how many these are"),
        "about two thirds": (2 / 3, "too high"),
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


RIGHT = {
    "neighbours_as_channels": neighbour(
        lambda at, n: np.maximum(at - 1, 0), lambda at, n: np.minimum(at + 1, n - 1)
    ),
    "refined": lambda p, inside, around, strength: sigmoid(
        logit(p) + strength * np.log(inside / around)
    ).tolist(),
    "inflation": lambda by_patient, random: (pd.Series(random) - pd.Series(by_patient)).mean(),
    "lost_to_cascade": lambda rows: sum(
        row.overlap_px > 0 and not row.flagged for row in rows.itertuples()
    ),
    "dice_of_silence": np.float64(0.66),
}


@pytest.mark.parametrize("name", RIGHT)
def test_other_ways_to_the_right_answer_pass(name):
    assert getattr(check, name).verdict(RIGHT[name]).mark is Mark.RIGHT
