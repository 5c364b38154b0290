"""Exercises of notebook 04, second half: chance between patients, pairs, empty slices."""

import numpy as np
import pandas as pd

from utils.exercises.exercise import Case, Exercise
from utils.exercises.judges import Judge, number, refusal, same
from utils.exercises.topics.evaluate import counts

# --- bootstrap_means ---------------------------------------------------------------------------

DRAWS = 60
# One patient found whole and two missed, with 1, 9 and 2 slices: a mean over three patients is a
# multiple of 1/3, and drawing anything else leads to other values or other shares of them.
_THREE = counts(
    ("A", 10, 10, 10),
    *[("B", 10, 5, 0)] * 9,
    ("C", 20, 5, 0), ("C", 20, 5, 0),
)  # fmt: skip
_POSSIBLE = np.array([0, 1 / 3, 2 / 3, 1])
_SHARES = np.array([8, 12, 6, 1]) / 27
_TOLERANCE = 0.32  # five standard deviations of a share among 60 draws


def _drawn_patients(output) -> str | None:
    """Judge means over drawn patients by the values they may have, and by how often."""
    means = np.asarray(output)
    if means.dtype.kind not in "biuf":
        raise TypeError
    if means.shape != (DRAWS,):
        return f"you return the shape {means.shape}, not ({DRAWS},): one mean for each draw"
    if np.isnan(means).any():
        return "some means are NaN"
    known = np.isclose(means[:, None], _POSSIBLE, rtol=0, atol=1e-6)
    strange = means[~known.any(axis=1)]
    if len(strange) and np.allclose(strange, 1 / 2):
        return "a mean of 1/2 is there; does a patient drawn twice count twice?"
    if len(strange):
        return f"a mean of {strange[0]:.3g} is there, which three whole patients cannot give"
    shares = known.mean(axis=0)
    if shares.max() == 1:
        return "every draw gives the same mean; draw with replacement"
    if (np.abs(shares - _SHARES) > _TOLERANCE).any():
        return (
            "means are too often high or too often low; each patient has the same chance, "
            "however many slices"
        )
    return None


def _depend_on_rng(outputs: list) -> str | None:
    """Judge three calls, with a generator of seed 0 twice and of seed 1."""
    first, again, another = outputs[:3]
    if not same(first, again):
        return "two generators of the same seed give different means; draw from rng, nothing else"
    if same(first, another):
        return "generators of seeds 0 and 1 give the same means; draw from the one that is given"
    return None


_WHOLE = "that patient is drawn each time, so every mean has to be its Dice"

BOOTSTRAP_MEANS = Exercise(
    "bootstrap_means",
    "04",
    (
        Case("three patients with Dice 1, 0 and 0, and 60 draws",
             (_THREE, DRAWS, np.random.default_rng(0)), _drawn_patients),
        Case("the same once more", (_THREE, DRAWS, np.random.default_rng(0)), _drawn_patients),
        Case("a generator with another seed",
             (_THREE, DRAWS, np.random.default_rng(1)), _drawn_patients),
        Case("the same patients mixed up, with another index",
             (_THREE.iloc[[4, 11, 5, 1, 0, 7, 6, 3, 10, 2, 8, 9]].set_axis([3, 3, *range(10)]),
              DRAWS, np.random.default_rng(2)), _drawn_patients),
        Case("a single patient with Dice 1/2, and 3 draws",
             (counts(("A", 30, 10, 10)), 3, np.random.default_rng(0)),
             lambda output: None if same(output, [0.5] * 3) else _WHOLE),
    ),
    seconds=10.0,
    together=_depend_on_rng,
)  # fmt: skip

# --- paired_differences ------------------------------------------------------------------------


def _dice(**of_patients: float) -> pd.DataFrame:
    return pd.DataFrame({"patient": list(of_patients), "dice": list(of_patients.values())})


def _by_patient(right: dict[str, float], by_place: dict[str, float] | None = None) -> Judge:
    def judge(output) -> str | None:
        given = {name: float(value) for name, value in dict(output).items()}
        if set(given) != set(right):
            return f"you return differences for {sorted(map(str, given))}, not {sorted(right)}"
        values, exact = ([each[name] for name in right] for each in (given, right))
        if same(values, exact):
            return None
        if same(values, -np.array(exact)):
            return "you turn the signs round; a gain of the second has to be positive"
        if by_place and same(values, [by_place[name] for name in right]):
            return "you take row from row; the same patient has to be in both"
        wrong = next(name for name in right if not same(given[name], right[name]))
        return f"the difference of patient {wrong} is {given[wrong]:.6g}, which is not right"

    return judge


_ONES = _dice(A=0.5, B=0.9, C=0.7)
_TWOS = _dice(A=0.8, B=0.85, C=0.7)
_GAINS, _ROW_BY_ROW = {"A": 0.3, "B": -0.05, "C": 0}, {"A": 0.2, "B": -0.1, "C": 0.15}

PAIRED_DIFFERENCES = Exercise(
    "paired_differences",
    "04",
    (
        Case("three patients in the same order", (_ONES, _TWOS),
             _by_patient(_GAINS)),
        Case("the second table sorted another way", (_ONES, _TWOS.iloc[[2, 0, 1]]),
             _by_patient(_GAINS, _ROW_BY_ROW)),
        Case("the second table sorted another way and numbered anew",
             (_ONES, _TWOS.iloc[[2, 0, 1]].reset_index(drop=True)),
             _by_patient(_GAINS, _ROW_BY_ROW)),
        Case("a single patient", (_dice(A=0.5), _dice(A=0.25)), _by_patient({"A": -0.25})),
        Case("a second table without patient C", (_ONES, _TWOS.iloc[:2]),
             refusal("C has no partner, and the pairs would be other patients than you report",
                     ValueError, AssertionError), refuses=True),
        Case("a second table with patient D in the place of C", (_ONES, _dice(A=0.8, B=0.8, D=0.7)),
             refusal("C and D have no partner", ValueError, AssertionError), refuses=True),
    ),
)  # fmt: skip

# --- empty_slices ------------------------------------------------------------------------------

_ALARM = "the false alarm is not 0/0: something was predicted, and its Dice is 0"
_RIGHT = {"empty = 1": 0.82, "empty = 0": 0.32, "left out": 0.64}
_HOW = {
    "empty = 1": {0.92: _ALARM, 0.88: "one slice has a false alarm; its Dice is 0",
                  0.64: "the five slices rightly left empty are in it, with 1"},
    "empty = 0": {0.42: _ALARM, 0.8: "all ten slices are in the mean"},
    "left out": {0.8: f"{_ALARM}, so it stays in", 0.32: "divide by the slices that are left"},
}  # fmt: skip


def _conventions(output) -> str | None:
    given = dict(output)
    for name, right in _RIGHT.items():
        if name not in given:
            return f"your dictionary has no {name!r}"
        fault = number(right, within=0.005, slips=_HOW[name], verb="you say")(given[name])
        if fault is not None:
            return f"{name}: {fault}"
    return None


EMPTY_SLICES = Exercise("empty_slices", "04", (Case("", (), _conventions),), is_function=False)

EXERCISES = (BOOTSTRAP_MEANS, PAIRED_DIFFERENCES, EMPTY_SLICES)
