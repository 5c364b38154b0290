"""The exercises of notebook 06: the gap, the fault of a column, neighbours, leaks, a penalty."""

import math

import numpy as np
import pandas as pd

from utils.exercises.commitment import Commitment
from utils.exercises.exercise import Case, Exercise
from utils.exercises.judges import number, shown

NOTEBOOK = "06"


def _predicted(answer) -> str | None:
    if isinstance(answer, bool) or not isinstance(answer, int | float | np.number):
        return f"{shown(answer)} is no number"
    if not math.isfinite(answer) or abs(answer) > 0.5:
        return (
            f"{answer:g} cannot be: chance has an AUC of 0.5 and perfection of 1, so no two useful "
            "scores are further apart than 0.5 (did you give percent?)"
        )
    return None


predicted_gap = Commitment("predicted_gap", NOTEBOOK, (Case("", (), _predicted),))

FAULTS = {
    "A": "the ids were typed by hand and some are misspelt",
    "B": "every id is one row too low",
    "C": "the files were sorted by slice number, and the ids were not moved with them",
    "D": "the ids are in alphabetical order, and the files belong to other patients on purpose",
}


def _fault(answer) -> str | None:
    given = answer.strip().upper() if isinstance(answer, str) else answer
    if given not in FAULTS:
        return f"{shown(answer)} is none of the letters A to D"
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
        Case("rows with other labels than 0, 1, 2",
             (_ids(["SIM_DU_0010"] * 4, _IMAGES).iloc[[2, 0]],),
             number(2, slips={1: "two rows with the id of one patient are two rows"})),
        Case("a name that holds underscores, right",
             (_ids(["TCGA_DU_5851_19950428"], ["TCGA_DU_5851_19950428_7.tif"]),),
             number(0, slips={1: "a patient's name may hold any number of underscores"})),
        Case("no rows", (_ids(["x"], ["x_1.tif"]).iloc[:0],), number(0)),
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
    if slices == 1:
        slips[(1 - share) ** 2] = "a single slice has no neighbour; your formula counts two ends"
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


def _told(leaking: list, others: set):
    shown = ", ".join(map(str, leaking))

    def judge(output) -> str | None:
        if not isinstance(output, ValueError | AssertionError):
            if isinstance(output, Exception):
                return f"it stops with a {type(output).__name__}; raise a ValueError that says why"
            return f"nothing is raised, though {shown} is in more than one part"
        told = str(output)
        missed = [name for name in leaking if str(name) not in told]
        if missed:
            return f"the message does not name {missed[0]}"
        # Letters may be anywhere in a sentence; what holds a # is a name and nothing else.
        right = [name for name in sorted(map(str, others)) if "#" in name and name in told]
        return f"the message names {right[0]}, who is in one part only" if right else None

    return judge


def _empty(output) -> str | None:
    if isinstance(output, ValueError | AssertionError):
        return None if str(output).strip() else "the message is empty"
    if isinstance(output, Exception):
        return f"it stops with a {type(output).__name__}; raise a ValueError that says why"
    return "nothing is raised, though a model without training or test patients is not tested"


def _passed(output) -> str | None:
    if isinstance(output, Exception):
        return f"it stops with {type(output).__name__}: {output}; no patient is in two parts"
    return None if output is None else "you return something; just return if all is well"


def _leak_case(said: str, *slices: tuple) -> Case:
    """Return a case from (patient, part) of each slice; who is in several parts is to be named."""
    patients, parts = map(list, zip(*slices, strict=True))
    sides = {patient: {part for who, part in slices if who == patient} for patient in patients}
    leaking = sorted(patient for patient, found in sides.items() if len(found) > 1)
    judge = _told(leaking, set(sides) - set(leaking)) if leaking else _passed
    return Case(said, (patients, parts), judge, refuses=True)


_MIXED = (("C", "test"), ("A", "test"), ("B", "test"), ("A", "train"), ("C", "train"),
          ("B", "train"), ("D", "train"))  # fmt: skip

assert_no_leak = Exercise(
    "assert_no_leak",
    NOTEBOOK,
    (
        _leak_case("whole patients", ("A", "train"), ("A", "train"), ("C", "test"), ("C", "test"),
                   ("D", "validation")),
        _leak_case("one patient on both sides",
                   ("B", "train"), ("B", "test"), ("A", "train"), ("A", "train")),
        _leak_case("a patient in training and validation only",
                   ("A", "train"), ("B", "test"), ("A", "validation"), ("C", "test")),
        _leak_case("three patients on both sides, in mixed order", *_MIXED),
        _leak_case("names with a #", ("P#1", "train"), ("P#2", "train"), ("P#2", "test")),
        _leak_case("names that begin alike",
                   ("P#1", "train"), ("P#2", "train"), ("P#11", "test"), ("P#21", "test")),
        _leak_case("numbers instead of names", (7, "train"), (9, "train"), (9, "test")),
        Case("pandas columns instead of lists",
             (pd.Series(["A", "B", "B"]), pd.Series(["train", "train", "test"])),
             _told(["B"], set()), refuses=True),
        Case("a split without test slices", (["A", "B"], ["train", "validation"]), _empty,
             refuses=True),
        Case("a split without training slices", (["A", "B"], ["test", "test"]), _empty,
             refuses=True),
        Case("no slices at all", ([], []), _empty, refuses=True),
    ),
)  # fmt: skip


# --- choose_penalty ----------------------------------------------------------------------------

PENALTIES = (0.1, 1.0, 10.0, 100.0)


def _slices_of(patients: int, slices: int, seed: int) -> tuple:
    """Return features (n, 6), labels and patients of slices that carry their patient's mark.

    One feature says a little about the label in every patient. The others are the patient's own,
    and drift slowly from slice to slice, so that whoever remembers single slices does well on
    their neighbours and badly on anybody else.
    """
    random = np.random.default_rng(seed)
    who = np.repeat(np.arange(patients), slices)
    place = np.tile(np.arange(slices), patients)
    first = random.integers(0, slices // 2, patients)[who]
    labels = (place >= first) & (place < first + slices // 2)
    signal = labels + random.normal(0, 1.0, len(who))
    marks = random.normal(0, 2.0, (patients, 5))[who] + 0.25 * place[:, None]
    names = np.array([f"SIM_{number}" for number in who])
    order = random.permutation(len(who))
    return np.column_stack([1.5 * signal, marks])[order], labels[order], names[order]


def _penalty_judge(right: float, by_slice: float):
    def judge(output) -> str | None:
        given = float(output)
        if given not in PENALTIES:
            return f"you return {given:g}, which is none of the penalties {PENALTIES}"
        if given == right:
            return None
        if given == by_slice:
            return (
                f"you return {given:g}: that is best if slices are dealt into the folds one by "
                "one, so that each has its neighbours in training"
            )
        return f"you return {given:g}, but another penalty has a higher mean AUC on new patients"

    return judge


def _penalty_case(said: str, shape: tuple, right: float, by_slice: float) -> Case:
    return Case(said, (*_slices_of(*shape), PENALTIES), _penalty_judge(right, by_slice))


choose_penalty = Exercise(
    "choose_penalty",
    NOTEBOOK,
    (
        # patients, slices, seed; the penalty that four folds of patients choose, then of slices.
        _penalty_case("8 patients of 10 slices", (8, 10, 0), 0.1, 100.0),
        # By two folds 0.1 would be the best, and by one AUC of all folds together 1.
        _penalty_case("8 patients of 12 slices", (8, 12, 2), 10.0, 10.0),
        _penalty_case("12 patients of 8 slices", (12, 8, 1), 100.0, 100.0),
    ),
    seconds=30.0,  # a student may import scikit-learn in the function
)

EXERCISES = (
    predicted_gap,
    column_fault,
    wrong_rows,
    expected_share,
    assert_no_leak,
    choose_penalty,
)
