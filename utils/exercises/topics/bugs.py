"""The exercises of notebook 07 on splits: who is guilty, and what was mended."""

from collections import Counter

import numpy as np
import pandas as pd

from utils.exercises.bugs import SUSPECTS
from utils.exercises.exercise import Case, Exercise

# Letter of `SUSPECTS`, and what the symptom of the case asks to explain.
GUILTY = (
    ("D", "why the most similar training slice gives the right answer so often"),
    ("I", "why the detector is faultless on some of the test patients, and only on those"),
    ("F", "why the same seed gives other patients in another process"),
    ("B", "why different slices all look the same to the network"),
    ("L", "why a model that is right in training calls most of the head tumour"),
    ("A", "why the outlines lie beside the tumours"),
    ("O", "why tumours are found where there is nothing but eyes, skin or skull"),
    ("J", "why the count of trainable weights does not change"),
    ("K", "why the loss is steepest for pictures that are nearly right"),
    ("N", "why the score is high although most of the tumours in the batch were missed"),
    ("G", "why a model that never draws anything scores so well"),
    ("M", "why the accuracy of one model depends on the batch size"),
    ("E", "why scores drawn by chance are reported as better than chance"),
    ("H", "why the pictures shown are so much better than the mean"),
)


def _suspect(number: int, letter: str, question: str) -> Exercise:
    def judge(answer) -> str | None:
        if not isinstance(answer, str) or answer.strip().upper() not in SUSPECTS:
            return f"{answer!r} is none of the letters A to P in the list of suspects"
        given = answer.strip().upper()
        if given != letter:
            return f"{given} ({SUSPECTS[given]}) does not explain {question}"
        return None

    return Exercise(f"suspect_{number:02d}", "07", (Case("", (), judge),), is_function=False)


def _cohort(*slices: int) -> pd.DataFrame:
    rows = [
        (f"SIM_DU_{patient:04d}", number)
        for patient, count in enumerate(slices)
        for number in range(1, count + 1)
    ]
    return pd.DataFrame(rows, columns=["patient", "slice"])


def _split_judge(table: pd.DataFrame):
    def judge(output) -> str | None:
        parts = np.asarray(output)
        if parts.shape != (len(table),):
            return f"you return {parts.shape} values for {len(table)} slices; give one a slice"
        if not set(parts.tolist()) <= {"train", "test"}:
            return f"there are parts {sorted(set(map(str, parts.tolist())))}; use train and test"
        sides = table.groupby("patient")["slice"].agg(lambda rows: len(set(parts[rows.index])))
        if (sides > 1).any():
            return (
                f"{(sides > 1).sum()} of {len(sides)} patients are on both sides, so that a copied "
                "answer is right by recognising the patient"
            )
        tested = table["patient"][parts == "test"].nunique()
        wanted = round(0.25 * len(sides))
        if tested != wanted:
            return f"{tested} of {len(sides)} patients are tested, where a quarter is {wanted}"
        return None

    return judge


def _split_case(said: str, table: pd.DataFrame, seed: int) -> Case:
    return Case(said, (table, seed), _split_judge(table))


# The second's patients are not in order, and of very different length.
TWELVE, MIXED = _cohort(*[5] * 12), _cohort(2, 30, 2, 9, 2, 9, 20, 2)
MIXED = MIXED.sample(frac=1, random_state=0).reset_index(drop=True)

mend_split = Exercise(
    "mend_split",
    "07",
    (
        _split_case("12 patients of 5 slices", TWELVE, 0),
        _split_case("12 patients of 5 slices and another seed", TWELVE, 1),
        _split_case("8 patients of 2 to 30 slices in mixed order", MIXED, 0),
    ),
)


def _stages_judge(patients: list[str]):
    def judge(output) -> str | None:
        if set(output) != {"detector", "segmenter"}:
            return f"the stages are {sorted(output)}; they should be detector and segmenter"
        tested = {stage: list(names) for stage, names in output.items()}
        for stage, names in tested.items():
            if len(set(names)) != len(patients) // 4 or not set(names) <= set(patients):
                return (
                    f"the {stage} is tested on {len(set(names))} of the patients, where a quarter "
                    f"is {len(patients) // 4}"
                )
        seen = set(tested["segmenter"]) - set(tested["detector"])
        if seen:
            return (
                f"{len(seen)} of the {len(tested['segmenter'])} patients on which the cascade is "
                "tested were training patients of the detector, which is faultless on them"
            )
        return None

    return judge


def _stages_case(count: int, seed: int) -> Case:
    names = [f"SIM_HT_{number:04d}" for number in range(count)][::-1]
    return Case(f"{count} patients and seed {seed}", (names, seed), _stages_judge(names))


mend_stages = Exercise(
    "mend_stages", "07", (_stages_case(40, 0), _stages_case(40, 7), _stages_case(9, 1))
)


def _names_judge(ids: list[str]):
    def judge(output) -> str | None:
        names = list(output)
        twice = [name for name, count in Counter(names).items() if count > 1]
        if twice:
            return f"{twice[0]} is there twice, and could be drawn for both sides"
        if set(names) != set(ids):
            return f"{len(names)} ids come back, where {len(set(ids))} different ones went in"
        if names != sorted(names):
            return (
                "the ids come back in an order that the next process, or another order of the "
                "files, need not give; then a seeded shuffle deals other patients"
            )
        return None

    return judge


NAMES = [f"SIM_CS_{number:04d}" for number in (7, 3, 11, 5, 2, 19, 13, 1, 8, 4, 17, 6)]

mend_names = Exercise(
    "mend_names",
    "07",
    (
        Case("12 ids, each once", (NAMES,), _names_judge(NAMES)),
        Case("the same ids, each twice", (NAMES + NAMES,), _names_judge(NAMES)),
        Case("the same ids the other way round", (NAMES[::-1],), _names_judge(NAMES)),
        Case("no ids", ([],), _names_judge([])),
    ),
)


EXERCISES = (
    *(_suspect(number, *each) for number, each in enumerate(GUILTY, start=1)),
    mend_split,
    mend_stages,
    mend_names,
)
