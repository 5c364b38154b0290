"""Exercises of notebook 01: paths, tables, normalisation, neighbours, and a split by patient."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from utils.exercises import judges
from utils.exercises.exercise import Case, Exercise
from utils.exercises.inputs import renamed
from utils.exercises.readings import readings

NOTEBOOK = "01"


def _volume_megabytes() -> Exercise:
    slips = {
        5.89824: "that counts one byte a value, as in the file; a float32 takes more",
        7.86432: "that is a single channel",
        22.5: "that counts 2^20 bytes to the megabyte; 10^6 are asked for",
        24.0: "that is rounded to whole megabytes; give the calculation, or one decimal",
        188.74368: "that counts bits; a byte is 8 of them",
        23592.96: "that is in kilobytes",
        23592960: "that is in bytes",
        47.18592: "a float32 takes 32 bits, not 64",
    }
    judge = judges.number(23.59296, within=0.05, slips=slips, verb="you say")
    return Exercise("volume_megabytes", NOTEBOOK, (Case("", (), judge),), is_function=False)


def _patient_of() -> Exercise:
    def case(said, path, right):
        slips = {
            Path(path).stem: "the file's name, with the number of the slice",
            Path(path).stem.rsplit("_", 1)[0]: "the file's name less its last word",
            Path(path).name: "the file's name",
            str(Path(path).parent): "the folder with all that stands before it",
            Path(path).parts[0]: "the first folder of the path",
            right.split("_")[1]: "the institution",
        }
        slips.pop(right, None)  # a slice's file name less its last word is the patient
        return Case(said, (path,), judges.text(right, what="the patient's folder", slips=slips))

    return Exercise(
        "patient_of",
        NOTEBOOK,
        (
            case("a slice", "cohort/SIM_CS_004/SIM_CS_004_12.tif", "SIM_CS_004"),
            case("a mask", "cohort/SIM_CS_004/SIM_CS_004_12_mask.tif", "SIM_CS_004"),
            case(
                "a real patient",
                "/my_data/lgg_mri/kaggle_3m/TCGA_DU_5851_19950428/TCGA_DU_5851_19950428_7.tif",
                "TCGA_DU_5851_19950428",
            ),
            case(
                "a file that was given another name",
                "cohort/SIM_HT_010/copy of SIM_CS_004_12.tif",
                "SIM_HT_010",
            ),
            _of_a_path(),
        ),
    )


def _of_a_path() -> Case:
    """Return the case of a pathlib.Path, which has no text's methods."""
    judge = judges.text("SIM_FG_001", what="the patient's folder")
    return Case("a pathlib.Path", (Path("SIM_FG_001/SIM_FG_001_3.tif"),), judge)


def _table(**columns) -> pd.DataFrame:
    return pd.DataFrame(columns)


def _tumour_share() -> Exercise:
    # Patient A_10 begins at slice 2: the number of the last slice is not the number of slices.
    table = _table(
        patient=["A_1", "A_1", "A_1", "A_1", "B_1", "B_1", "A_10", "A_10", "A_10"],
        slice=[1, 2, 3, 4, 1, 2, 2, 3, 4],
        tumour_px=[0, 0, 1, 399, 0, 0, 900, 800, 0],
    )
    slips = {
        4 / 9: "that is the share in the whole table",
        2 / 9: "that is the share among all slices of the table; take this patient's",
        4 / 7: "that takes in A_10, whose name begins in the same way",
        2.0: "that is how many slices there are, not their share",
        50.0: "that is in percent",
        100.0: "that is the mean of the areas, not the share of slices",
        0.25: "a slice with a single pixel of tumour has tumour too",
        1.0: "that is tumour-free slices for each with tumour, not of all slices",
    }
    unknown = judges.refusal("there is no such patient", ValueError, KeyError)
    return Exercise(
        "tumour_share",
        NOTEBOOK,
        (
            Case("patient A_1", (table, "A_1"), judges.number(0.5, slips=slips)),
            Case(
                "patient A_10, whose first slice is number 2",
                (table, "A_10"),
                judges.number(
                    2 / 3, slips={0.5: "count slices; the highest number is not a count"}
                ),
            ),
            Case("patient B_1, without tumour", (table, "B_1"), judges.number(0.0)),
            Case("patient Z_9, who is not in the table", (table, "Z_9"), unknown, refuses=True),
        ),
    )


def _normalise() -> Exercise:
    background = "you let the background decide the mean; take the pixels of the head alone"
    by_slice = "you normalise each slice by itself; the whole volume has one mean"
    cut = "you cut grey levels off instead of rounding them"
    less_one = "your deviation divides by n - 1 (ddof=1); divide by n, as NumPy's std does"
    black = "you leave the background black; all pixels go through the same formula"
    divided = "you divide 0 by 0, and nan becomes 0 in 8 bits"
    head_only = "you return 96 in the head alone; 96 everywhere is asked for"
    return Exercise(
        "normalise",
        NOTEBOOK,
        (
            _levels(
                "a head of 10s and 30s on black",
                [[[0, 10], [30, 0]], [[0, 10], [30, 0]]],
                [[[16, 56], [136, 16]], [[16, 56], [136, 16]]],
                [
                    ([[[63, 96], [161, 63]], [[63, 96], [161, 63]]], background),
                    ([[[27, 61], [131, 27]], [[27, 61], [131, 27]]], less_one),
                    ([[[0, 56], [136, 0]], [[0, 56], [136, 0]]], black),
                ],
            ),
            _levels(
                "a dark slice below a bright one",
                [[[10, 20]], [[30, 40]]],
                [[[42, 78]], [[114, 150]]],
                [([[[56, 136]], [[56, 136]]], by_slice), ([[[42, 78]], [[113, 149]]], cut)],
            ),
            *_spots(),
            # In the head 0, 100 and 200: mean 100, deviation 81.65.
            _levels(
                "a black pixel in the head and a bright one outside",
                [[[0, 100, 200, 250]]],
                [[[47, 96, 145, 169]]],
                [([[[0, 43, 107, 139]]], background)],
                head=[[[True, True, True, False]]],
            ),
            _levels(
                "a head with one grey level, on black",
                [[[7, 7, 0]]],
                [[[96, 96, 96]]],
                [([[[0, 0, 0]]], divided), ([[[96, 96, 0]]], head_only)],
            ),
        ),
    )


def _spots() -> tuple[Case, Case]:
    """Return the cases in which a single pixel lies beyond what 8 bits can hold."""
    wrapped = "you let values beyond 255 come out dark; clip before you convert"
    not_clipped = "you let values below 0 come out bright; clip before you convert"
    spot = np.r_[np.full(25, 100), 250]
    return (
        _levels(
            "one very bright spot",
            [[spot]],
            [[[88] * 25 + [255]]],
            [([[[88] * 25 + [40]]], wrapped)],
        ),
        _levels(
            "one very dark spot",
            [[350 - spot]],
            [[[104] * 25 + [0]]],
            [([[[104] * 25 + [152]]], not_clipped)],
        ),
    )


def _levels(said: str, channel, right, slips=(), head=None) -> Case:
    """Return a case whose head is all that is not black, or as given."""
    channel = np.array(channel, dtype=np.uint8)
    head = channel > 0 if head is None else np.array(head)
    known = [(np.array(values, dtype=np.uint8), words) for values, words in slips]
    judge = judges.array(np.array(right, dtype=np.uint8), kind="uint8", slips=known)
    return Case(said, (channel, head), judge)


def _similarity_readings() -> Exercise:
    # tests/notebooks/test_readings.py compares them with the numbers of the stored figure.
    judge = readings(
        wrong={
            "b": "compare the box two slices away with the last box, not with its neighbour",
            "d": "nothing in the figure says why slices are alike, and most slices have no tumour",
            "e": "boxes and whiskers overlap; a difference of medians is not one of every pair",
        },
        right={
            "a": "follow the medians, the thick lines, from left to right",
            "c": "compare the last two boxes with each other",
        },
    )
    return Exercise("similarity_readings", NOTEBOOK, (Case("", (), judge),), is_function=False)


# Two patients: slice 2 of A and slices 2, 4 and 6 of B have a neighbour in training.
_MIXED = [
    ("A", 1, "train"), ("A", 2, "test"), ("A", 3, "test"), ("A", 4, "validation"),
    ("B", 2, "test"), ("B", 3, "train"), ("B", 4, "test"), ("B", 5, "train"), ("B", 6, "test"),
    ("B", 8, "test"),
]  # fmt: skip


def _neighbours_in_training() -> Exercise:
    def case(said, rows, right, slips=None):
        patient, number, part = zip(*rows, strict=True)
        table = _table(patient=list(patient), slice=list(number), part=list(part))
        return Case(said, (table,), judges.number(right, slips=slips))

    twice = {2: "a test slice with two neighbours in training is still one test slice"}
    other = {1: "the slice beside it belongs to another patient"}
    validation = {1: "the slice beside it is a validation slice"}
    near = {1: "its nearest training slice is two slices away"}
    below = {0: "one neighbour is enough, the one below too"}
    above = {0: "one neighbour is enough, the one above too"}
    not_test = {1: "that is a validation slice; count test slices"}
    several = {
        3: "slice 2 of A and slice 2 of B are two slices",
        2: "that counts patients; count test slices",
        5: "a test slice with two neighbours in training is still one test slice",
        4 / 6: "that is a share; count test slices",
    }
    shuffled = {0: "the rows of the table need not be in order"}
    return Exercise(
        "neighbours_in_training",
        NOTEBOOK,
        (
            case(
                "a test slice between two training slices",
                [("A", 1, "train"), ("A", 2, "test"), ("A", 3, "train")],
                1,
                twice,
            ),
            case(
                "a test slice just above a training slice",
                [("A", 2, "train"), ("A", 3, "test")],
                1,
                below,
            ),
            case(
                "a test slice just below a training slice",
                [("A", 3, "test"), ("A", 4, "train")],
                1,
                above,
            ),
            case("slice 2 of A and slice 3 of B", [("A", 2, "test"), ("B", 3, "train")], 0, other),
            case(
                "a neighbour in validation",
                [("A", 2, "test"), ("A", 3, "validation")],
                0,
                validation,
            ),
            case(
                "a validation slice beside a training slice",
                [("A", 1, "train"), ("A", 2, "validation")],
                0,
                not_test,
            ),
            case("slices 1 and 3 of one patient", [("A", 1, "test"), ("A", 3, "train")], 0, near),
            case(
                "rows in no order",
                [("A", 1, "test"), ("B", 5, "train"), ("A", 2, "train")],
                1,
                shuffled,
            ),
            case("two patients", _MIXED, 4, several),
        ),
    )


def _held_out_patients() -> Exercise:
    # Patients have 1 to 4 slices, so that a share of slices is no share of patients.
    names = [f"SIM_{number:02d}" for number in range(40) for _ in range(1 + number % 4)]
    few = ["A", "B", "B", "C"]
    seven = list("ABCDEFGG")
    return Exercise(
        "held_out_patients",
        NOTEBOOK,
        (
            Case("40 patients", (names, 0.25, 3), _patients_among(names, 10)),
            Case("40 patients in reverse", (names[::-1], 0.25, 3), _patients_among(names, 10)),
            *(
                Case("40 patients with other names", (other, 0.25, 3), _patients_among(other, 10))
                for other in renamed(names)
            ),
            Case("another seed", (names, 0.25, 4), _patients_among(names, 10)),
            Case("3 patients and a share of 0.1", (few, 0.1, 0), _patients_among(few, 1)),
            Case("7 patients and a share of 0.4", (seven, 0.4, 0), _patients_among(seven, 3)),
            Case("7 patients and a share of 0.3", (seven, 0.3, 0), _patients_among(seven, 2)),
        ),
        together=_same_whatever_the_order,
    )


def _patients_among(names: Sequence[str], count: int):
    def judge(output):
        if isinstance(output, str | dict | set | frozenset) or len(output) > len(names):
            raise TypeError  # len also keeps an endless generator from being read
        strange = [each for each in output if not isinstance(each, str)]
        if strange:
            return f"you return a {type(strange[0]).__name__} where a patient's name is asked for"
        chosen = [str(name) for name in output]
        if len(set(chosen)) < len(chosen):
            return (
                "you return a patient more than once; take each name once, and put none back when "
                "you draw"
            )
        strangers = sorted(set(chosen) - set(names))
        if strangers:
            return f"you return {strangers[0]!r}, who is not among them"
        if len(chosen) != count:
            return f"you return {len(chosen)} of {len(set(names))} patients: " + _miscounted(
                len(chosen), count, names
            )
        return None if chosen == sorted(chosen) else "you return them unsorted"

    return judge


def _miscounted(chosen: int, count: int, names: Sequence[str]) -> str:
    if chosen == 0:
        return "too few; a test without patients measures nothing"
    if chosen < count:
        return "too few; is the number rounded?"
    if chosen == round(count / len(set(names)) * len(names)):
        return "too many; the share is one of patients, not of slices"
    if chosen == len(set(names)) - count:
        return "too many; are these the ones to keep?"
    return "too many; is the number rounded?"


def _same_whatever_the_order(outputs: list) -> str | None:
    first, reverse, *renamed, other_seed = (list(map(str, each)) for each in outputs[:5])
    if any([name[3:] for name in each] != [name[3:] for name in first] for each in renamed):
        return "the choice changes when Python starts anew; is the seed used, is the order fixed?"
    if first != reverse:
        return "the same patients in reverse order give another choice; sort before you draw"
    if first == other_seed:
        return "seeds 3 and 4 give the same choice; let the seed decide"
    if len(set(first) & set(other_seed)) >= len(first) - 1:
        return "seeds 3 and 4 give the same choice but for one patient; draw at random"
    return None


EXERCISES = (
    _patient_of(),
    _volume_megabytes(),
    _tumour_share(),
    _normalise(),
    _similarity_readings(),
    _neighbours_in_training(),
    _held_out_patients(),
)
