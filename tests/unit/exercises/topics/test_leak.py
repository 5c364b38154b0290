"""The exercises of notebook 06 refuse what students typically write, and name the case.

That the solutions pass is shown by tests/notebooks/test_exercises.py.
"""

import numpy as np
import pytest

from utils import check
from utils.exercises.exercise import Mark


def on_two_sides(patients, parts):
    trained = {who for who, part in zip(patients, parts, strict=True) if part == "train"}
    tested = {who for who, part in zip(patients, parts, strict=True) if part == "test"}
    return sorted(trained & tested)


def one_a_slice(patients, parts):
    sides = set(zip(patients, parts, strict=True))
    return [who for who in sorted(patients) if sum(who == other for other, _ in sides) > 1]


def unsorted_names(patients, parts):
    return list(dict.fromkeys(reversed(one_a_slice(patients, parts))))


def refuse(train, test, *, empty=True, show=None, kind=ValueError):
    """Check for a leak in the wrong ways that the options name."""
    if empty and (len(train) == 0 or len(test) == 0):
        raise ValueError("an empty part")
    both = sorted(set(train) & set(test))
    if both:
        raise kind(f"leak: {both[:show]}")


def by_text(train, test):
    if len(train) == 0 or len(test) == 0:
        raise ValueError("an empty part")
    text = " ".join(map(str, test))
    both = [name for name in sorted(set(train)) if str(name) in text]
    if both:
        raise ValueError(f"leak: {both}")


def joined(train, test):
    if len(train) == 0 or len(test) == 0:
        raise ValueError("an empty part")
    both = sorted(set(train) & set(test))
    if both:
        raise ValueError("leak: " + ", ".join(both))


WRONG = {
    "predicted_gap": {
        "percent": (8, "did you give percent?"),
        "the other way": (-0.05, "would you bet on that?"),
        "none": (0, "no better on slices whose neighbours"),
        "words": ("large", "'large' is no number"),
        "nan": (float("nan"), "nan cannot be"),
    },
    "leaking_patients": {
        "validation forgotten": (on_two_sides, "for a patient in training and validation only"),
        "one a slice": (one_a_slice, "listed more than once"),
        "unsorted": (unsorted_names, "for three leaking patients in mixed order"),
        "everybody": (lambda patients, parts: sorted(set(patients)), "'A' is in one part only"),
        "count": (lambda patients, parts: 1, "not the kind of value asked for"),
    },
    "column_fault": {
        "misspelt": ("A", "every id is spelt as the name of a folder is"),
        "shifted": ("b", "moving the column by one row mends hardly any"),
        "on purpose": ("D", "every file says whose it is"),
        "words": ("sorted", "none of the letters A to D"),
        "number": (3, "none of the letters A to D"),
    },
    "wrong_rows": {
        "right ones": (
            lambda table: sum(
                patient == image.rsplit("_", 1)[0]
                for patient, image in zip(table["patient_id"], table["image"], strict=True)
            ),
            "for 4 rows that are right",
        ),
        "startswith": (
            lambda table: sum(
                not image.startswith(patient)
                for patient, image in zip(table["patient_id"], table["image"], strict=True)
            ),
            "SIM_DU_1 is not the patient of SIM_DU_11_3.tif",
        ),
        "row labels": (
            lambda table: sum(
                table["patient_id"][row] != table["image"][row].rsplit("_", 1)[0]
                for row in range(len(table))
            ),
            "for rows with other labels than 0, 1, 2 it stops with KeyError",
        ),
    },
    "expected_share": {
        "middle only": (lambda share, slices: 1 - share**2, "have only one neighbour"),
        "one neighbour": (lambda share, slices: 1 - share, "most slices have two neighbours"),
        "both": (lambda share, slices: (1 - share) ** 2, "it need not be both"),
        "single slice": (
            lambda share, slices: ((slices - 2) * (1 - share**2) + 2 * (1 - share)) / slices,
            "for a test share of 0.25 and 1 slice a patient",
        ),
    },
    "assert_no_leak": {
        "prints": (lambda train, test: print("leak"), "for one patient on both sides nothing is"),
        "one name": (
            lambda train, test: refuse(train, test, show=1),
            "for three patients on both sides the message does not name B",
        ),
        "pieces of text": (by_text, "for names that begin alike it stops with ValueError"),
        "join": (joined, "for numbers instead of names it stops with a TypeError"),
        "empty": (lambda train, test: refuse(train, test, empty=False), "for an empty test part"),
        "another error": (
            lambda train, test: refuse(train, test, kind=KeyError),
            "it stops with a KeyError",
        ),
    },
}
CASES = [
    pytest.param(name, *answer, id=f"{name}: {what}")
    for name, answers in WRONG.items()
    for what, answer in answers.items()
]


@pytest.mark.parametrize(("name", "answer", "words"), CASES)
def test_wrong(name, answer, words):
    verdict = getattr(check, name).verdict(answer)
    assert verdict.mark is Mark.WRONG
    assert words in verdict.message
    assert "\n" not in verdict.message


@pytest.mark.parametrize("name", WRONG)
@pytest.mark.parametrize("nonsense", [lambda *given: 1 / 0, lambda *given: object(), "nothing"])
def test_nonsense(name, nonsense):
    assert getattr(check, name).verdict(nonsense).mark is Mark.WRONG


def test_every_exercise_has_wrong_answers():
    assert {each.name for each in check.ALL if each.notebook == "06"} == set(WRONG)


@pytest.mark.parametrize("gap", [0.001, 0.05, np.float64(0.3), 0.5])
def test_any_possible_bet_is_accepted(gap):
    assert check.predicted_gap.verdict(gap).mark is Mark.RIGHT
