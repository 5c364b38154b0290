"""Notebook 04, second half: right answers pass, typical wrong ones are told by their case."""

import numpy as np
import pandas as pd
import pytest
from answers import (
    assert_all_are_tried,
    assert_nonsense_is_told,
    assert_right,
    assert_told,
    rights,
    wrongs,
)

from utils.exercises import inputs
from utils.exercises.topics import evaluate_patients

EXERCISES = {each.name: each for each in evaluate_patients.EXERCISES}
MEANS = {"empty = 1": 0.82, "empty = 0": 0.32, "left out": 0.64}


def loop_means(slices, draws, rng):
    """Draw names, put the rows of each drawn patient together, one patient after the other."""
    names = sorted(slices["patient"].unique())
    means = []
    for _ in range(draws):
        drawn = rng.choice(names, size=len(names))
        rows = [slices.loc[slices["patient"] == name, "value"] for name in drawn]
        means.append(pd.concat(rows).mean())
    return means


def quick_means(slices, draws, rng, replace=True):
    of_patients = slices.groupby("patient")["value"].agg(["sum", "count"]).to_numpy()
    size = len(of_patients)
    drawn = [of_patients[rng.choice(size, size, replace=replace)].sum(axis=0) for _ in range(draws)]
    return np.array([total / count for total, count in drawn])


def differences(first, second):
    if set(first["patient"]) != set(second["patient"]):
        raise ValueError("other patients")
    pairs = first.merge(second, on="patient")
    return dict(zip(pairs["patient"], pairs["dice_y"] - pairs["dice_x"], strict=True))


def slice_means(slices, draws, rng):
    values = slices["value"].to_numpy()
    return [rng.choice(values, size=len(values)).mean() for _ in range(draws)]


def patient_means(slices, draws, rng):
    """Average the means of the drawn patients, however many slices they have."""
    values = slices.groupby("patient")["value"].mean().to_numpy()
    return rng.choice(values, size=(draws, len(values))).mean(axis=1)


def merged_means(slices, draws, rng):
    """Lose the second copy of a patient that was drawn twice."""
    names = sorted(slices["patient"].unique())
    return [
        slices["value"][slices["patient"].isin(rng.choice(names, len(names)))].mean()
        for _ in range(draws)
    ]


def weighted_means(slices, draws, rng):
    """Give a patient with many slices more chances."""
    values = {name: rows["value"] for name, rows in slices.groupby("patient")}
    names = slices["patient"].to_numpy()
    return [
        pd.concat([values[name] for name in rng.choice(names, len(values))]).mean()
        for _ in range(draws)
    ]


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


def one_side(first, second):
    """Miss a patient who is in the second table alone."""
    if set(first["patient"]) - set(second["patient"]):
        raise ValueError("other patients")
    first, second = (each.set_index("patient")["dice"] for each in (first, second))
    return {name: second[name] - first[name] for name in first.index}


RIGHT = {
    "bootstrap_means": [loop_means, quick_means],
    "paired_differences": [differences, lambda *given: pd.Series(differences(*given))],
    "supported_readings": ["ACE", ["c", "A", "E"], {"A", "C", "E"}, "a, c, e"],
    "empty_slices": [MEANS],
}  # fmt: skip

# What is wrong: the answer, and words that the message has to hold.
WRONG = {
    "bootstrap_means": {
        "slices": (slice_means, "200 draws", "whole patients"),
        "means of patients": (patient_means, "200 draws", "its slices have to come along"),
        "twice is once": (merged_means, "200 draws", "brings its slices twice"),
        "weighted": (weighted_means, "200 draws", "same chance"),
        "no replacement": (
            lambda s, d, rng: quick_means(s, d, rng, replace=False), "200", "with replacement",
        ),
        "own generator": (
            lambda s, d, rng: quick_means(s, d, np.random.default_rng()), "of the same seed",
        ),
        "fixed seed": (
            lambda s, d, rng: quick_means(s, d, np.random.default_rng(3)), "seeds 0 and 1",
        ),
        "one number": (lambda s, d, rng: quick_means(s, d, rng).mean(), "shape ()"),
        "always 200": (lambda s, d, rng: quick_means(s, 200, rng), "a single patient", "each time"),
    },
    "paired_differences": {
        "in words": (
            lambda a, b: {name: str(gain) for name, gain in differences(a, b).items()},
            "you return a str, not one number (patient A)",
        ),
        "sign": (lambda a, b: differences(b, a), "same order", "signs"),
        "by place": (by_place, "sorted another way", "row from row"),
        "by index": (by_index, "numbered anew", "row from row"),
        "looks at one side": (one_side, "a first table without patient C", "either side"),
        "drops": (aligned, "without patient C", "refuse it"),
        "numbers": (lambda a, b: list(differences(a, b).values()), "same order", "list"),
        "other keys": (
            lambda a, b: dict(enumerate(differences(a, b).values())), "same order", "['0', '1'",
        ),
    },
    "supported_readings": {
        "the mean alone": ("ABCE", "you take (b)", "but the median +0.020"),
        "equal": ("DE", "you take (d)", "a size that matters"),
        "leave it out": ("ACEF", "you take (f)", "the next may be like it"),
        "one is missing": ("AC", "is missing: hold the interval"),
        "another letter": ("AG", "you name 'g'; the readings are a to f"),
        "nothing": ("", "is missing: count the dots"),
        "a number": (3, "not the kind"),
    },
    "empty_slices": {
        "alarm left out": (MEANS | {"left out": 0.8}, "left out", "its Dice is 0"),
        "alarm as 1": (MEANS | {"empty = 1": 0.92}, "empty = 1", "not 0/0"),
        "divided by five": (MEANS | {"empty = 0": 0.8}, "empty = 0", "all ten"),
        "missing": ({"empty = 1": 0.82}, "no 'empty = 0'"),
        "a number": (0.82, "not the kind"),
        "in words": (dict.fromkeys(MEANS, "high"), "empty = 1: you give a str, not one number"),
        "one still open": (MEANS | {"left out": ...}, "left out: you give a ", "not one number"),
    },
}  # fmt: skip


@pytest.mark.parametrize(("name", "answer"), rights(RIGHT))
def test_right_answers_pass(name, answer):
    assert_right(EXERCISES[name], answer)


@pytest.mark.parametrize(("name", "answer", "words"), wrongs(WRONG))
def test_typical_wrong_answers_are_told_by_their_case(name, answer, words):
    assert_told(EXERCISES[name], answer, words)


@pytest.mark.parametrize("name", EXERCISES)
def test_nonsense_is_told(name):
    assert_nonsense_is_told(EXERCISES[name])


def test_every_exercise_is_tried_with_two_wrong_answers_or_more():
    assert_all_are_tried(EXERCISES, RIGHT, WRONG)


def test_which_readings_are_supported_follows_from_the_numbers():
    table = inputs.two_methods()
    supported = {name for name, (right, _) in evaluate_patients.readings_of(table).items() if right}
    assert supported == {"a", "c", "e"}
    worse = table.assign(second=table["first"] - 0.02)
    supported = {name for name, (right, _) in evaluate_patients.readings_of(worse).items() if right}
    assert supported == {"b"}


@pytest.mark.parametrize("seed", range(100, 130))
def test_a_right_bootstrap_passes_whatever_it_draws(seed):
    """The judge of random means must not refuse what is only chance."""
    other = np.random.default_rng(seed)
    kept = {}

    def means(slices, draws, rng):
        # As if the three generators had other seeds: same in, same out.
        key = (rng.bit_generator.state["state"]["state"], draws)
        return kept.setdefault(key, quick_means(slices, draws, other))

    assert_right(EXERCISES["bootstrap_means"], means)
