"""The exercises of notebook 04: right answers pass, typical wrong ones are told by their case."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy.ndimage import binary_erosion
from scipy.spatial.distance import cdist

from utils.check import evaluate, evaluate_patients
from utils.checking import Mark

EXERCISES = {each.name: each for each in (*evaluate.EXERCISES, *evaluate_patients.EXERCISES)}
NAN = float("nan")
COUNTS = ["tumour_px", "predicted_px", "overlap_px"]


# --- right answers, written another way than in the notebook -----------------------------------


def veto(masks, p_tumour, threshold):
    return np.stack(
        [mask if p >= threshold else 0 * mask for mask, p in zip(masks, p_tumour, strict=True)]
    )


def ratio(rows):
    return 2 * rows["overlap_px"] / (rows["tumour_px"] + rows["predicted_px"])


def three(slices):
    return {
        "patients": float(ratio(slices.groupby("patient")[COUNTS].sum()).mean()),
        "slices": float(ratio(slices).mean()),
        "pooled": float(ratio(slices[COUNTS].sum())),
    }


def outline(mask):
    return np.argwhere(mask & ~binary_erosion(mask))


def ways(truth, prediction, metric="euclidean", of=outline):
    distances = cdist(of(truth), of(prediction), metric)
    return distances.min(axis=0), distances.min(axis=1)


def hd95(truth, prediction, empty=NAN, **how):
    if not (truth.any() and prediction.any()):
        return empty
    return float(np.percentile(np.concatenate(ways(truth, prediction, **how)), 95))


def rate(slices):
    free = slices[slices["tumour_px"] == 0]
    return float((free["predicted_px"] > 0).mean())


def loop_means(slices, draws, rng):
    """Draw names, put the rows of each drawn patient together, one patient after the other."""
    names = sorted(slices["patient"].unique())
    means = []
    for _ in range(draws):
        drawn = rng.choice(names, size=len(names))
        rows = [slices.loc[slices["patient"] == name, COUNTS].sum() for name in drawn]
        means.append(np.mean([ratio(each) for each in rows]))
    return means


def quick_means(slices, draws, rng, replace=True):
    dice = ratio(slices.groupby("patient")[COUNTS].sum()).to_numpy()
    drawn = [rng.choice(dice, size=len(dice), replace=replace) for _ in range(draws)]
    return np.mean(drawn, axis=1)


def differences(first, second):
    if set(first["patient"]) != set(second["patient"]):
        raise ValueError("other patients")
    pairs = first.merge(second, on="patient")
    return dict(zip(pairs["patient"], pairs["dice_y"] - pairs["dice_x"], strict=True))


MEANS = {"empty = 1": 0.82, "empty = 0": 0.32, "left out": 0.64}
RIGHT = {
    "cascade": [veto, lambda masks, p, t: np.uint8(veto(masks, p, t))],
    "three_dice": [three, lambda slices: pd.Series(three(slices))],
    "hd95": [
        hd95,
        lambda t, p: hd95(t, p, np.inf if t.any() or p.any() else 0),
        lambda t, p: hd95(t, p, np.hypot(*t.shape) if t.any() or p.any() else 0),
    ],
    "false_positive_rate": [rate],
    "bootstrap_means": [loop_means, quick_means],
    "paired_differences": [differences, lambda *given: pd.Series(differences(*given))],
    "empty_slices": [MEANS],
}

# --- wrong answers, and words that the message has to hold -------------------------------------


def changed(**changes):
    """Return a function like `three` with some of its values from other functions."""
    return lambda slices: (
        three(slices) | {name: float(value(slices)) for name, value in changes.items()}
    )


def slice_means(slices, draws, rng):
    dice = ratio(slices).to_numpy()
    return [rng.choice(dice, size=len(dice)).mean() for _ in range(draws)]


def slices_in_patients(slices, draws, rng):
    """Draw rows, then form patients of what was drawn."""
    means = []
    for _ in range(draws):
        rows = slices.iloc[rng.integers(0, len(slices), len(slices))]
        means.append(ratio(rows.groupby("patient")[COUNTS].sum()).mean())
    return means


def merged_means(slices, draws, rng):
    """Lose the second copy of a patient that was drawn twice."""
    dice = ratio(slices.groupby("patient")[COUNTS].sum())
    return [dice[np.unique(rng.choice(dice.index, len(dice)))].mean() for _ in range(draws)]


def pooled_means(slices, draws, rng):
    sums = slices.groupby("patient")[COUNTS].sum()
    return [ratio(sums.iloc[rng.integers(0, len(sums), len(sums))].sum()) for _ in range(draws)]


def weighted_means(slices, draws, rng):
    """Give a patient with many slices more chances."""
    dice = ratio(slices.groupby("patient")[COUNTS].sum())
    names = slices["patient"].to_numpy()
    return [dice[rng.choice(names, len(dice))].mean() for _ in range(draws)]


def by_place(first, second):
    both = set(first["patient"]) == set(second["patient"])
    if not both:
        raise ValueError("other patients")
    gains = second["dice"].to_numpy() - first["dice"].to_numpy()
    return dict(zip(first["patient"], gains, strict=True))


def by_index(first, second):
    return (second["dice"] - first["dice"]).set_axis(first["patient"])


def aligned(first, second):
    first, second = (each.set_index("patient")["dice"] for each in (first, second))
    return (second - first).dropna()


def broken(*given):
    raise KeyError("no idea")


def text(*given):
    return "0.5"


WRONG = {
    "cascade": {
        "turned round": (lambda m, p, t: veto(m, -p, -t), "0.2, 0.8", "empty the slices that are"),
        "strictly above": (lambda m, p, t: m * (p > t)[:, None, None], "just flagged", "slice 1"),
        "by column": (
            lambda m, p, t: m * (p >= t) if m.shape[1:] == (3, 3) else veto(m, p, t),
            "3 x 3", "slice 0 is changed",
        ),
        "by any column": (
            lambda m, p, t: m * (p >= t), "0.2, 0.8", "mask of slice 0 is changed",
        ),
        "drops slices": (lambda m, p, t: m[p >= t], "0.2, 0.8", "one mask for each slice"),
        "does nothing": (lambda m, p, t: m, "0.2, 0.8", "slice 0 stands"),
        "fixed threshold": (lambda m, p, t: veto(m, p, 0.5), "a single slice", "is emptied"),
    },
    "three_dice": {
        "patients by slices": (
            changed(patients=lambda slices: ratio(slices).groupby(slices["patient"]).mean().mean()),
            "large tumour", "'patients'", "average its slices' Dice",
        ),
        "patients pooled": (
            changed(patients=lambda slices: three(slices)["pooled"]),
            "large tumour", "'patients'", "one ratio for all pixels",
        ),
        "empty as 1": (
            changed(slices=lambda slices: ratio(slices).fillna(1).mean()),
            "'slices'", "empty slices count as 1",
        ),
        "empty as 0": (
            changed(slices=lambda slices: ratio(slices).fillna(0).mean()),
            "'slices'", "empty slices count as 0",
        ),
        "0/0": (
            changed(slices=lambda slices: np.mean(ratio(slices).to_numpy())), "'slices'", "0/0",
        ),
        "pooled is patients": (
            changed(pooled=lambda slices: three(slices)["patients"]), "'pooled'", "mean over the p",
        ),
        "tumour slices only": (
            changed(slices=lambda slices: ratio(slices[slices["tumour_px"] > 0]).mean()),
            "a false alarm of 10 pixels", "'slices'", "not 0/0",
        ),
        "empty patient": (
            changed(patients=lambda slices: ratio(
                slices.groupby("patient")[COUNTS].sum()).fillna(1).mean()),
            "a patient with nothing traced", "leave it out",
        ),
        "key": (lambda slices: {"patients": three(slices)["patients"]}, "no 'slices'"),
    },
    "hd95": {
        "city block": (lambda t, p: hd95(t, p, metric="cityblock"), "3 rows and 4", "added up"),
        "chessboard": (lambda t, p: hd95(t, p, metric="chebyshev"), "3 rows and 4", "longer side"),
        "squared": (lambda t, p: hd95(t, p, metric="sqeuclidean"), "3 rows and 4", "root"),
        "largest": (
            lambda t, p: max(map(np.max, ways(t, p))), "stray pixel", "largest distance",
        ),
        "one way": (
            lambda t, p: float(np.percentile(ways(t, p)[0], 95)), "one end is found", "both ways",
        ),
        "the larger": (
            lambda t, p: max(float(np.percentile(each, 95)) for each in ways(t, p)),
            "one end is found", "the larger of two",
        ),
        "all pixels": (lambda t, p: hd95(t, p, of=np.argwhere), "9 x 9", "outlines"),
        "0 for empty": (lambda t, p: hd95(t, p, 0.0), "an empty prediction", "say why"),
        "no guard": (
            lambda t, p: float(np.percentile(np.concatenate(ways(t, p)), 95)),
            "an empty prediction", "stops with ValueError",
        ),
        "inf for both": (lambda t, p: hd95(t, p, np.inf), "two empty masks", "nothing is wrong"),
    },
    "false_positive_rate": {
        "over all": (
            lambda s: ((s["tumour_px"] == 0) & (s["predicted_px"] > 0)).mean(),
            "seven tumour-free", "divided by all slices",
        ),
        "discoveries": (
            lambda s: (s.loc[s["predicted_px"] > 0, "tumour_px"] == 0).mean(),
            "seven tumour-free", "false discoveries",
        ),
        "specificity": (lambda s: 1 - rate(s), "seven tumour-free", "specificity"),
        "one pixel": (
            lambda s: (s.loc[s["tumour_px"] == 0, "predicted_px"] > 1).mean(), "seven", "one pixel",
        ),
        "pixels": (
            lambda s: s.loc[s["tumour_px"] == 0, "predicted_px"].mean(), "seven", "count slices",
        ),
        "0 for none": (
            lambda s: rate(s) if (s["tumour_px"] == 0).any() else 0.0,
            "tumour in every slice", "decide what it should be and say why",
        ),
        "by zero": (
            lambda s: int(((s["tumour_px"] == 0) & (s["predicted_px"] > 0)).sum())
            / int((s["tumour_px"] == 0).sum()),
            "tumour in every slice", "ZeroDivisionError",
        ),
    },
    "bootstrap_means": {
        "slices": (slice_means, "60 draws", "whole patients"),
        "slices, then patients": (slices_in_patients, "60 draws", "1/2"),
        "twice is once": (merged_means, "60 draws", "count twice"),
        "pooled": (pooled_means, "60 draws", "whole patients"),
        "weighted": (weighted_means, "60 draws", "same chance"),
        "no replacement": (
            lambda s, d, rng: quick_means(s, d, rng, replace=False), "60 draws", "with replacement",
        ),
        "own generator": (
            lambda s, d, rng: quick_means(s, d, np.random.default_rng()), "of the same seed",
        ),
        "fixed seed": (
            lambda s, d, rng: quick_means(s, d, np.random.default_rng(3)), "seeds 0 and 1",
        ),
        "one number": (lambda s, d, rng: quick_means(s, d, rng).mean(), "shape ()"),
        "always 60": (lambda s, d, rng: quick_means(s, 60, rng), "a single patient", "each time"),
    },
    "paired_differences": {
        "sign": (lambda a, b: differences(b, a), "same order", "signs"),
        "by place": (by_place, "sorted another way", "row from row"),
        "by index": (by_index, "numbered anew", "row from row"),
        "drops": (aligned, "without patient C", "refuse it"),
        "numbers": (lambda a, b: list(differences(a, b).values()), "same order", "list"),
        "other keys": (
            lambda a, b: dict(enumerate(differences(a, b).values())), "same order", "['0', '1'",
        ),
    },
    "empty_slices": {
        "alarm left out": (MEANS | {"left out": 0.8}, "left out", "its Dice is 0"),
        "alarm as 1": (MEANS | {"empty = 1": 0.92}, "empty = 1", "not 0/0"),
        "divided by five": (MEANS | {"empty = 0": 0.8}, "empty = 0", "all ten"),
        "missing": ({"empty = 1": 0.82}, "no 'empty = 0'"),
        "a number": (0.82, "not the kind"),
        "in words": (dict.fromkeys(MEANS, "high"), "not the kind"),
    },
}  # fmt: skip

FUNCTIONS = [name for name, each in EXERCISES.items() if each.is_function]


@pytest.mark.parametrize(
    ("name", "answer"), [(name, answer) for name, answers in RIGHT.items() for answer in answers]
)
def test_right_answers_pass(name, answer):
    verdict = EXERCISES[name].verdict(answer)
    assert verdict.mark is Mark.RIGHT, verdict.message


@pytest.mark.parametrize(
    ("name", "answer", "words"),
    [
        pytest.param(name, answer, words, id=f"{name}-{what}")
        for name, answers in WRONG.items()
        for what, (answer, *words) in answers.items()
    ],
)
def test_typical_wrong_answers_are_told_by_their_case(name, answer, words):
    verdict = EXERCISES[name].verdict(answer)
    assert verdict.mark is Mark.WRONG
    assert "\n" not in verdict.message
    for word in words:
        assert word in verdict.message


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize(("answer", "words"), [(broken, "stops with KeyError"), (text, "str")])
def test_nonsense_is_told(name, answer, words):
    verdict = EXERCISES[name].verdict(answer)
    assert verdict.mark is Mark.WRONG
    assert words in verdict.message


@pytest.mark.parametrize("name", EXERCISES)
def test_an_open_answer_is_open(name):
    def stub(*given):
        """Say what is asked."""
        ...

    answer = stub if EXERCISES[name].is_function else ...
    assert EXERCISES[name].verdict(answer).message == "not attempted yet"


def test_an_endless_answer_is_stopped():
    def endless(*given):
        while True:
            pass

    message = replace(EXERCISES["bootstrap_means"], seconds=0.05).verdict(endless).message
    assert "does not end within 0.05 seconds" in message


@pytest.mark.parametrize("seed", range(100, 130))
def test_a_right_bootstrap_passes_whatever_it_draws(seed):
    """The judge of random means must not refuse what is only chance."""
    other = np.random.default_rng(seed)
    kept = {}

    def means(slices, draws, rng):
        # As if the three generators had other seeds: same in, same out.
        key = (rng.bit_generator.state["state"]["state"], draws)
        return kept.setdefault(key, quick_means(slices, draws, other))

    assert EXERCISES["bootstrap_means"].verdict(means).mark is Mark.RIGHT


def test_every_exercise_is_tested_with_two_wrong_answers_or_more():
    assert RIGHT.keys() == WRONG.keys() == EXERCISES.keys()
    assert all(len(answers) >= 2 for answers in WRONG.values())
    assert {each.notebook for each in EXERCISES.values()} == {"04"}
