"""The exercises of notebook 06: the gap, leaking patients, the fault of a column, neighbours."""

import math

import numpy as np
import pandas as pd

from utils.exercises.exercise import Case, Exercise
from utils.exercises.judges import number

NOTEBOOK = "06"


def _predicted(answer) -> str | None:
    if isinstance(answer, bool) or not isinstance(answer, int | float | np.number):
        return f"{answer!r} is no number"
    if not math.isfinite(answer) or abs(answer) > 0.5:
        return (
            f"{answer:g} cannot be: chance has an AUC of 0.5 and perfection of 1, so no two useful "
            "scores are further apart than 0.5 (did you give percent?)"
        )
    if answer <= 0:
        return (
            f"{answer:g} says that the machine is no better on slices whose neighbours it has "
            "learnt from; would you bet on that?"
        )
    return None


predicted_gap = Exercise("predicted_gap", NOTEBOOK, (Case("", (), _predicted),), is_function=False)


def _names_judge(right: list):
    def judge(output) -> str | None:
        if isinstance(output, str):
            return "you return text; give a list of names, one entry a patient"
        names = list(output)
        if len(set(names)) != len(names):
            return f"a patient is listed more than once: {names}"
        missed, invented = set(right) - set(names), set(names) - set(right)
        if missed:
            return f"you return {names}, but there are more who are in two parts"
        if invented:
            return f"you return {names}, but {min(invented)!r} is in one part only"
        if names != right:
            return f"you return {names}, which is not sorted"
        return None

    return judge


def _leaking_case(said: str, patients: list, parts: list, right: list) -> Case:
    return Case(said, (patients, parts), _names_judge(right))


leaking_patients = Exercise(
    "leaking_patients",
    NOTEBOOK,
    (
        _leaking_case("two patients of whom one is on both sides",
                      ["B", "B", "A", "A"], ["train", "test", "train", "train"], ["B"]),
        _leaking_case("a patient in training and validation only",
                      ["A", "B", "A", "C"], ["train", "test", "validation", "test"], ["A"]),
        _leaking_case("three leaking patients in mixed order",
                      ["C", "A", "B", "A", "C", "B", "D"],
                      ["test", "test", "test", "train", "train", "train", "train"],
                      ["A", "B", "C"]),
        _leaking_case("whole patients", ["A", "A", "B"], ["train", "train", "test"], []),
        _leaking_case("no slices", [], [], []),
    ),
)  # fmt: skip

FAULTS = {
    "A": "the ids were typed by hand and some are misspelt",
    "B": "every id is one row too low",
    "C": "the files were sorted by slice number, and the ids were not moved with them",
    "D": "the ids are in alphabetical order, and the files belong to other patients on purpose",
}


def _fault(answer) -> str | None:
    given = answer.strip().upper() if isinstance(answer, str) else answer
    if given not in FAULTS:
        return f"{answer!r} is none of the letters A to D"
    if given != "C":
        reason = {
            "A": "every id is spelt as the name of a folder is",
            "B": "moving the column by one row mends hardly any row",
            "D": "nobody hid anything: every file says whose it is",
        }[given]
        return f"{given} does not fit, because {reason}; look at the order of the slice numbers"
    return None


column_fault = Exercise("column_fault", NOTEBOOK, (Case("", (), _fault),), is_function=False)


def _ids(ids: list[str], images: list[str]) -> pd.DataFrame:
    return pd.DataFrame({"patient_id": ids, "image": images})


_IMAGES = ["SIM_DU_0001_1.tif", "SIM_DU_0010_1.tif", "SIM_DU_0001_2.tif", "SIM_DU_0010_12.tif"]
_OWN = ["SIM_DU_0001", "SIM_DU_0010", "SIM_DU_0001", "SIM_DU_0010"]

wrong_rows = Exercise(
    "wrong_rows",
    NOTEBOOK,
    (
        Case("4 rows of which 2 are wrong", (_ids(sorted(_OWN), _IMAGES),),
             number(2, slips={4: "a right row is counted too", 0: "no row is found"})),
        Case("4 rows that are right", (_ids(_OWN, _IMAGES),), number(0)),
        Case("a patient whose id begins like another's",
             (_ids(["SIM_DU_1", "SIM_DU_1"], ["SIM_DU_11_3.tif", "SIM_DU_1_13.tif"]),),
             number(1, slips={0: "SIM_DU_1 is not the patient of SIM_DU_11_3.tif"})),
        Case("rows with other labels than 0, 1, 2", (_ids(_OWN[::-1], _IMAGES).iloc[2:],),
             number(2)),
        Case("no rows", (_ids([], []),), number(0)),
    ),
)  # fmt: skip


def _expected(share: float, slices: int) -> float:
    inner, ends = max(0, slices - 2), min(2, slices)
    at_ends = 1 - share if slices > 1 else 0.0
    return (inner * (1 - share**2) + ends * at_ends) / slices


def _expected_case(share: float, slices: int) -> Case:
    slips = {
        1 - share**2: "the first and the last slice have only one neighbour",
        1 - share: "most slices have two neighbours, and one in training is enough",
        (1 - share) ** 2: "one neighbour in training is enough, it need not be both",
        share: "that is the share of the slices that are tested",
    }
    right = _expected(share, slices)
    slips = {value: words for value, words in slips.items() if abs(value - right) > 1e-6}
    said = f"a test share of {share:g} and {slices} slice{'s' if slices > 1 else ''} a patient"
    return Case(said, (share, slices), number(right, slips=slips))


expected_share = Exercise(
    "expected_share",
    NOTEBOOK,
    (
        _expected_case(0.25, 26),
        _expected_case(0.5, 3),
        _expected_case(0.1, 2),
        _expected_case(0.25, 1),
    ),
)


def _silent(leaking: list):
    shown = ", ".join(map(str, leaking))

    def judge(output) -> str | None:
        if not isinstance(output, ValueError | AssertionError):
            if isinstance(output, Exception):
                return f"it stops with a {type(output).__name__}; raise a ValueError that says why"
            return f"nothing is raised, though {shown} is on both sides"
        told = str(output)
        missed = [name for name in leaking if str(name) not in told]
        return f"the message does not name {missed[0]}" if missed else None

    return judge


def _empty(output) -> str | None:
    if isinstance(output, ValueError | AssertionError):
        return None if str(output).strip() else "the message is empty"
    if isinstance(output, Exception):
        return f"it stops with a {type(output).__name__}; raise a ValueError that says why"
    return "nothing is raised, though a part without patients tests nothing"


def _passed(output) -> str | None:
    return None if output is None else "you return something; just return if all is well"


def _leak_case(said: str, train: list, test: list) -> Case:
    both = sorted(set(train) & set(test))
    return Case(said, (train, test), _silent(both), refuses=True)


assert_no_leak = Exercise(
    "assert_no_leak",
    NOTEBOOK,
    (
        Case("parts that share nobody", (["A", "A", "B"], ["C", "C"]), _passed),
        _leak_case("one patient on both sides", ["A", "B", "B"], ["B", "C"]),
        _leak_case("three patients on both sides", ["A", "B", "C", "D"], ["D", "A", "B", "E"]),
        _leak_case("names with a #", ["P#1", "P#2"], ["P#2", "P#3"]),
        Case("names that begin alike", (["P#1", "P#2"], ["P#11", "P#21"]), _passed),
        _leak_case("numbers instead of names", [7, 8, 9], [9, 10]),
        _leak_case("pandas columns instead of lists", pd.Series(["A", "B"]), pd.Series(["B"])),
        Case("an empty test part", (["A", "B"], []), _empty, refuses=True),
        Case("an empty training part", ([], ["A"]), _empty, refuses=True),
    ),
)

EXERCISES = (
    predicted_gap,
    leaking_patients,
    column_fault,
    wrong_rows,
    expected_share,
    assert_no_leak,
)
