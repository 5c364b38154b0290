"""The exercises of notebook 06 refuse what students typically write, and name the case.

That the solutions pass is shown by tests/notebooks/test_exercises.py.
"""

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GridSearchCV, GroupKFold, KFold, cross_val_predict
from sklearn.svm import SVC

from utils import check
from utils.exercises.commitment import Commitment, compare_prediction
from utils.exercises.exercise import Case, Mark


def refuse(patients, parts, *, empty=True, show=None, kind=ValueError, sides=("train", "test")):
    """Check for a leak in the wrong ways that the options name."""
    if empty and not {"train", "test"} <= set(parts):
        raise ValueError("an empty part")
    found = {}
    for patient, part in zip(patients, parts, strict=True):
        if part in sides:
            found.setdefault(patient, set()).add(part)
    both = sorted(patient for patient, where in found.items() if len(where) > 1)
    if both:
        raise kind(f"leak: {both[:show]}")


ALL = {"sides": ("train", "validation", "test")}


def by_text(patients, parts):
    if not {"train", "test"} <= set(parts):
        raise ValueError("an empty part")
    text = " ".join(str(who) for who, part in zip(patients, parts, strict=True) if part != "train")
    trained = {who for who, part in zip(patients, parts, strict=True) if part == "train"}
    both = [name for name in sorted(trained) if str(name) in text]
    if both:
        raise ValueError(f"leak: {both}")


def joined(patients, parts):
    if not {"train", "test"} <= set(parts):
        raise ValueError("an empty part")
    sides = set(zip(patients, parts, strict=True))
    names = [who for who, _ in sides]
    both = sorted({name for name in names if names.count(name) > 1})
    if both:
        raise ValueError("leak: " + ", ".join(both))


def searched(features, labels, patients, penalties, folds=None):
    """Choose the penalty by a grid search, over folds of patients unless told otherwise."""
    search = GridSearchCV(SVC(), {"C": penalties}, scoring="roc_auc", cv=folds or GroupKFold(4))
    return search.fit(features, labels, groups=patients).best_params_["C"]


def by_slice(features, labels, patients, penalties):
    folds = KFold(4, shuffle=True, random_state=0).split(features)
    return searched(features, labels, None, penalties, list(folds))


def in_two_folds(features, labels, patients, penalties):
    return searched(features, labels, patients, penalties, GroupKFold(2))


def of_all_folds(features, labels, patients, penalties):
    """Choose by one AUC of all slices, whose scores come from four models."""

    def score(penalty):
        model, folds = SVC(C=penalty), GroupKFold(4)
        scores = cross_val_predict(
            model, features, labels, groups=patients, cv=folds, method="decision_function"
        )
        return roc_auc_score(labels, scores)

    return max(penalties, key=score)


def on_training(features, labels, patients, penalties):
    def score(penalty):
        return SVC(C=penalty).fit(features, labels).score(features, labels)

    return max(penalties, key=score)


WRONG = {
    "predicted_gap": {
        "percent": (8, "did you give percent?"),
        "words": ("large", "'large' is no number"),
        "nan": (float("nan"), "nan cannot be"),
        "a column": (pd.Series([0.1, 0.2]), "a Series is no number"),
    },
    "column_fault": {
        "misspelt": ("A", "every id is spelt as the name of a folder is"),
        "shifted": ("b", "moving the column by one row mends hardly any"),
        "on purpose": ("D", "every file says whose it is"),
        "words": ("sorted", "none of the letters A to D"),
        "number": (3, "none of the letters A to D"),
    },
    "wrong_rows": {
        "three pieces": (
            lambda table: sum(
                patient != "_".join(image.split("_")[:3])
                for patient, image in zip(table["patient_id"], table["image"], strict=True)
            ),
            "any number of underscores",
        ),
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
        "patients": (
            lambda table: len({
                patient
                for patient, image in zip(table["patient_id"], table["image"], strict=True)
                if patient != image.rsplit("_", 1)[0]
            }),
            "two rows with the id of one patient are two rows",
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
        "prints": (lambda *given: print("leak"), "for one patient on both sides nothing is"),
        "validation forgotten": (refuse, "for a patient in training and validation only nothing"),
        "one name": (
            lambda *given: refuse(*given, show=1, **ALL),
            "for three patients on both sides, in mixed order the message does not name B",
        ),
        "pieces of text": (by_text, "for names that begin alike it stops with ValueError"),
        "join": (joined, "for numbers instead of names it stops with a TypeError"),
        "empty": (
            lambda *given: refuse(*given, empty=False, **ALL), "for a split without test slices",
        ),
        "another error": (
            lambda *given: refuse(*given, kind=KeyError, **ALL), "it stops with a KeyError",
        ),
        "returns": (lambda *given: "fine", "for whole patients you return something"),
    },
    "choose_penalty": {
        "folds of slices": (
            by_slice,
            "for 8 patients of 10 slices you return 100: that is best if slices are dealt",
        ),
        "on training": (on_training, "has its neighbours in training"),
        "two folds": (in_two_folds, "for 8 patients of 12 slices you return 0.1, but"),
        "one AUC of all folds": (
            of_all_folds, "for 8 patients of 12 slices you return 1, but",
        ),
        "always the smallest": (lambda *given: 0.1, "for 8 patients of 12 slices"),
        "another number": (lambda *given: 5, "none of the penalties"),
    },
}  # fmt: skip
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


@pytest.mark.parametrize("gap", [-0.05, 0, 0.001, 0.05, np.float64(0.3), 0.5])
def test_any_possible_prediction_is_noted(gap):
    verdict = check.predicted_gap.verdict(gap)
    assert verdict.mark is Mark.RIGHT
    assert f"{float(gap):+g} is noted" in verdict.message


def test_a_grid_search_over_folds_of_patients_is_right():
    assert check.choose_penalty.verdict(searched).mark is Mark.RIGHT


def told(capsys):
    return capsys.readouterr().out


def test_a_prediction_is_compared_with_what_was_measured(capsys):
    prediction = Commitment("gap", "06", (Case("", (), lambda answer: None),))
    prediction(0.05)
    assert told(capsys) == "gap: +0.05 is noted; the measurement comes below\n"
    compare_prediction("gap", 0.08, 0.06, 0.10)
    assert "0.030 too low, and outside the interval (+0.060 to +0.100)" in told(capsys)
    prediction(0.09)
    compare_prediction("gap", 0.08, 0.06, 0.10)
    assert "0.010 too high, and inside the interval" in told(capsys).splitlines()[-1]


def test_a_prediction_that_was_left_open_is_not_compared(capsys):
    prediction = Commitment("gap", "06", (Case("", (), lambda answer: None),))
    prediction(0.05)
    prediction(...)
    assert "not attempted yet" in told(capsys)
    compare_prediction("gap", 0.08, 0.06, 0.10)
    assert told(capsys) == "gap: measured +0.080; no prediction was noted above\n"
