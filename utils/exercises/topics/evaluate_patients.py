"""Exercises of notebook 04, second half: chance between patients, pairs, a figure, empty slices."""

import itertools

import numpy as np
import pandas as pd

from utils.exercises.exercise import Case, Exercise
from utils.exercises.inputs import two_methods
from utils.exercises.judges import Judge, any_number, member, number, refusal, same
from utils.exercises.readings import judge_readings

# --- bootstrap_means ---------------------------------------------------------------------------

DRAWS = 200


def _values(*rows: tuple[str, float]) -> pd.DataFrame:
    """Return a table from rows of patient and value, one row per slice."""
    return pd.DataFrame(rows, columns=["patient", "value"])


# One slice of 12, nine of 0, two of 6: what three drawn patients can give is few and known, and
# drawing anything else leads to other means or to other shares of them.
_THREE = _values(("A", 12.0), *[("B", 0.0)] * 9, ("C", 6.0), ("C", 6.0))
_SUMS, _SLICES = np.array([12.0, 0.0, 12.0]), np.array([1, 9, 2])
_TOLERANCE = 0.16  # five standard deviations of a share among 200 draws


def _possible() -> dict[float, float]:
    """Return every mean that three drawn patients may have, and how often it comes (0..1)."""
    shares: dict[float, float] = {}
    for drawn in itertools.product(range(3), repeat=3):
        mean = round(float(_SUMS[list(drawn)].sum() / _SLICES[list(drawn)].sum()), 9)
        shares[mean] = shares.get(mean, 0) + 1 / 27
    return shares


_SHARES = _possible()


def _drawn_patients(output) -> str | None:
    """Judge means over drawn patients by the values they may have, and by how often."""
    means = np.asarray(output)
    if means.dtype.kind not in "biuf":
        raise TypeError
    if means.shape != (DRAWS,):
        return f"you return the shape {means.shape}, not ({DRAWS},): one mean for each draw"
    if np.isnan(means).any():
        return "some means are NaN"
    known = np.isclose(means[:, None], list(_SHARES), rtol=0, atol=1e-6)
    strange = means[~known.any(axis=1)]
    if len(strange) and np.isin(means.round(6), [0, 2, 4, 6, 8, 10, 12]).all():
        return "each drawn patient counts once; its slices have to come along, each with its value"
    without_copies = [12 / 10, 24 / 3, 12 / 11]  # of A and B, A and C, B and C
    if len(strange) and np.isclose(strange[:, None], without_copies, atol=1e-6).any(axis=1).all():
        return f"a mean of {strange[0]:.3g} is there: a patient drawn twice brings its slices twice"
    if len(strange):
        return f"a mean of {strange[0]:.3g} is there, which three whole patients cannot give"
    shares = known.mean(axis=0)
    if shares.max() == 1:
        return "every draw gives the same mean; draw with replacement"
    if (np.abs(shares - list(_SHARES.values())) > _TOLERANCE).any():
        return "some means come too often; each patient has the same chance, however many slices"
    return None


def _depend_on_rng(outputs: list) -> str | None:
    """Judge three calls, with a generator of seed 0 twice and of seed 1."""
    first, again, another = outputs[:3]
    if not same(first, again):
        return "two generators of the same seed give different means; draw from rng, nothing else"
    if same(first, another):
        return "generators of seeds 0 and 1 give the same means; draw from the one that is given"
    return None


_WHOLE = "that patient is drawn each time, so every mean has to be that of its slices"

BOOTSTRAP_MEANS = Exercise(
    "bootstrap_means",
    "04",
    (
        Case("three patients with 1, 9 and 2 slices, and 200 draws",
             (_THREE, DRAWS, np.random.default_rng(0)), _drawn_patients),
        Case("the same once more", (_THREE, DRAWS, np.random.default_rng(0)), _drawn_patients),
        Case("a generator with another seed",
             (_THREE, DRAWS, np.random.default_rng(1)), _drawn_patients),
        Case("the same patients mixed up, with another index",
             (_THREE.iloc[[4, 11, 5, 1, 0, 7, 6, 3, 10, 2, 8, 9]].set_axis([3, 3, *range(10)]),
              DRAWS, np.random.default_rng(2)), _drawn_patients),
        Case("a single patient with two slices, and 3 draws",
             (_values(("A", 2.0), ("A", 5.0)), 3, np.random.default_rng(0)),
             lambda output: None if same(output, [3.5] * 3) else _WHOLE),
    ),
    seconds=10.0,
    together=_depend_on_rng,
)  # fmt: skip

# --- paired_differences ------------------------------------------------------------------------


def _dice(**of_patients: float) -> pd.DataFrame:
    return pd.DataFrame({"patient": list(of_patients), "dice": list(of_patients.values())})


def _by_patient(right: dict[str, float], by_place: dict[str, float] | None = None) -> Judge:
    def judge(output) -> str | None:
        given = dict(output)
        if set(given) != set(right):
            return f"you return differences for {sorted(map(str, given))}, not {sorted(right)}"
        for name, value in given.items():
            fault = member(any_number, value)
            if fault is not None:
                return f"{fault} (patient {name})"
        given = {name: float(value) for name, value in given.items()}
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
        Case("a first table without patient C", (_ONES.iloc[:2], _TWOS),
             refusal("C has no partner; see who is missing on either side",
                     ValueError, AssertionError), refuses=True),
        Case("a second table with patient D in the place of C", (_ONES, _dice(A=0.8, B=0.8, D=0.7)),
             refusal("C and D have no partner", ValueError, AssertionError), refuses=True),
    ),
)  # fmt: skip

# --- supported_readings ------------------------------------------------------------------------


def _interval(gains: np.ndarray) -> tuple[float, float]:
    """Return the middle 95 % of the mean gains of 2000 draws of patients."""
    drawn = np.random.default_rng(0).choice(gains, size=(2000, len(gains))).mean(axis=1)
    return tuple(np.quantile(drawn, (0.025, 0.975)))


def readings_of(table: pd.DataFrame) -> dict[str, tuple[bool, str]]:
    """Return for each reading of a paired figure whether its numbers support it, and what to say.

    Parameters
    ----------
    table : pandas.DataFrame
        ``patient, first, second``: the Dice of each patient under two methods.

    Returns
    -------
    dict
        As `utils.exercises.readings.judge_readings` takes it. Of a reading that is supported, the
        words say where to look; of another one, what speaks against it.
    """
    gains = (table["second"] - table["first"]).to_numpy()
    without = np.delete(gains, np.abs(gains).argmax())
    low, high = _interval(gains)
    more, mean, median = int((gains > 0).sum()), gains.mean(), np.median(gains)
    bounds = f"the interval of the mean gain goes from {low:+.3f} to {high:+.3f}"
    rest = f"the mean gain is {mean:+.3f}, and {without.mean():+.3f} without that patient"
    most, worse = more > len(gains) / 2, mean < 0 and median < 0
    turns, undecided = mean * without.mean() < 0, low <= 0 <= high
    equal = max(abs(low), abs(high)) < 0.01
    look = {
        "a": "count the dots on either side of 0 in the right-hand panel",
        "b": "compare mean and median",
        "c": "work out the mean gain again without the lowest dot",
        "d": "compare the bounds of the interval with a difference that would matter",
        "e": "hold the interval in the title against 0",
    }
    against = {
        "a": f"{more} of {len(gains)} patients gain",
        "b": f"the mean is {mean:+.3f}, but the median {median:+.3f}",
        "c": rest,
        "d": f"{bounds}: it allows a loss and a gain of a size that matters, not only 0",
        "e": bounds,
    }
    found = dict(zip(look, (most, worse, turns, equal, undecided), strict=True))
    chosen = "nothing is known against this patient but the result, and the next may be like it"
    return {
        letter: (bool(is_right), (look if is_right else against)[letter])
        for letter, is_right in found.items()
    } | {"f": (False, chosen)}


def _read(answer) -> str | None:
    return judge_readings(answer, readings_of(two_methods()))


SUPPORTED_READINGS = Exercise("supported_readings", "04", (Case("", (), _read),), is_function=False)

# --- empty_slices ------------------------------------------------------------------------------

_ALARM = "the false positive is not 0/0: something was predicted, and its Dice is 0"
_RIGHT = {"empty = 1": 0.82, "empty = 0": 0.32, "left out": 0.64}
_HOW = {
    "empty = 1": {0.92: _ALARM, 0.88: "one slice has a false positive; its Dice is 0",
                  0.64: "the five slices rightly left empty are in it, with 1"},
    "empty = 0": {0.42: _ALARM, 0.8: "all ten slices are in the mean"},
    "left out": {0.8: f"{_ALARM}, so it stays in", 0.32: "divide by the slices that are left"},
}  # fmt: skip


def _conventions(output) -> str | None:
    given = dict(output)
    for name, right in _RIGHT.items():
        if name not in given:
            return f"your dictionary has no {name!r}"
        judged = number(right, within=0.005, slips=_HOW[name], verb="you say")
        fault = member(judged, given[name], verb="you give")
        if fault is not None:
            return f"{name}: {fault}"
    return None


EMPTY_SLICES = Exercise("empty_slices", "04", (Case("", (), _conventions),), is_function=False)

EXERCISES = (BOOTSTRAP_MEANS, PAIRED_DIFFERENCES, SUPPORTED_READINGS, EMPTY_SLICES)
