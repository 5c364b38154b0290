"""The exercises of notebook 01 refuse what students typically write, and say which input shows it.

That the solutions pass is shown by tests/notebooks/test_exercises.py.
"""

import itertools
import math
import os
import random
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from utils import check
from utils.cohort.statistics import neighbour_in_training
from utils.exercises.exercise import Mark


def share_of_rows(rows):
    return float((rows["tumour_px"] > 0).mean())


def standardised(channel, inside):
    deviation = inside.std()
    return 96 + 40 * (channel - inside.mean()) / (deviation if deviation else 1)


def eight_bits(levels):
    return np.clip(np.round(levels), 0, 255).astype(np.uint8)


def by_slice(channel, head):
    pairs = zip(channel, head, strict=True)
    return np.stack([eight_bits(standardised(one, one[inside])) for one, inside in pairs])


def over_everything(channel, head):
    return eight_bits(standardised(channel, channel.astype(float)))


def unclipped(channel, head):
    return np.round(standardised(channel, channel[head])).astype(np.int64).astype(np.uint8)


def cut_off(channel, head):
    return np.clip(standardised(channel, channel[head]), 0, 255).astype(np.uint8)


def without_a_look_at_zero(channel, head):
    inside = channel[head].astype(float)
    with np.errstate(all="ignore"):
        levels = 96 + 40 * (channel - inside.mean()) / inside.std()
        return np.clip(np.round(np.nan_to_num(levels)), 0, 255).astype(np.uint8)


def as_float(channel, head):
    return standardised(channel, channel[head])


def by_n_less_one(channel, head):
    inside = channel[head].astype(float)
    return eight_bits(96 + 40 * (channel - inside.mean()) / (inside.std(ddof=1) or 1))


def black_outside(channel, head):
    return np.where(head, eight_bits(standardised(channel, channel[head])), 0).astype(np.uint8)


def share_or(refuse, table, patient):
    """Return the share of a patient's slices, or what `refuse` makes of one who is not there."""
    rows = table[table["patient"] == patient]
    return share_of_rows(rows) if len(rows) else refuse(patient)


def over_the_last_number(table, patient):
    rows = table[table["patient"] == patient]
    return (rows["tumour_px"] > 0).sum() / rows["slice"].max()


def neighbours(table, near=(-1, 1), parts=("train",), patients=True, ones=False, of=("test",)):
    """Count in the wrong ways that the options name."""
    rows = list(table.itertuples(index=False))
    found = [
        sum(
            other.part in parts
            and (other.patient == row.patient or not patients)
            and other.slice - row.slice in near
            for other in rows
        )
        for row in rows
        if row.part in of
    ]
    return sum(found) if ones else sum(map(bool, found))


def numbers_beside(table):
    """Count the numbers of slices, which two patients share."""
    pairs = table[table["part"] == "test"].merge(table[table["part"] == "train"], on="patient")
    return pairs["slice_x"][(pairs["slice_x"] - pairs["slice_y"]).abs() == 1].nunique()


def beside_in_the_table(table):
    known = np.zeros(len(table), dtype=bool)
    for step in (-1, 1):
        other = table.shift(step)
        near = (other["slice"] - table["slice"]).abs() == 1
        known |= near & (other["part"] == "train") & (other["patient"] == table["patient"])
    return int((known & (table["part"] == "test")).sum())


def drawn(patients, share, seed, least=1, whole=round):
    count = max(least, whole(share * len(patients)))
    return sorted(random.Random(seed).sample(list(patients), count))


def last_ones(names, share, seed):
    patients = sorted(set(names))
    return patients[-max(1, round(share * len(patients))) :]


def one_after_the_other(names, share, seed):
    patients = sorted(set(names))
    return sorted((patients * 2)[seed : seed + max(1, round(share * len(patients)))])


VALUES = ("volume_megabytes", "similarity_readings")
WRONG = {
    "patient_of": {
        "the file's name": (lambda path: Path(path).stem, "a slice you return 'SIM_CS_004_12'"),
        "the file's name less a word": (
            lambda path: Path(path).stem.rsplit("_", 1)[0],
            "for a mask you return 'SIM_CS_004_12'",
        ),
        "the first folder": (lambda path: Path(path).parts[0], "the first folder of the path"),
        "three words": (
            lambda path: "_".join(Path(path).name.split("_")[:3]),
            "for a real patient you return 'TCGA_DU_5851', which is not",
        ),
        "the file's name, twice cut": (
            lambda path: Path(path).stem.removesuffix("_mask").rsplit("_", 1)[0],
            "for a file that was given another name",
        ),
        "text only": (lambda path: path.split("/")[-2], "for a pathlib.Path it stops with"),
        "a Path": (
            lambda path: Path(path).parent,
            "return a PosixPath, which is not the kind of value asked for, one text",
        ),
        "no return": (lambda path: print(end=Path(path).name), "is a `return` missing?"),
    },
    "volume_megabytes": {
        "one byte a value": (30 * 256 * 256 * 3 / 1e6, "one byte a value"),
        "one channel": (30 * 256 * 256 * 4 / 1e6, "a single channel"),
        "2 ** 20": (30 * 256 * 256 * 3 * 4 / 2**20, "2^20"),
        "bytes": (30 * 256 * 256 * 3 * 4, "that is in bytes"),
        "one slice": (256 * 256 * 3 * 4 / 1e6, "too low"),
        "bits": (30 * 256 * 256 * 3 * 32 / 1e6, "that counts bits"),
        "whole megabytes": (24, "rounded to whole megabytes"),
        "text": ("23.6 MB", "you give a str, which is not the kind of value asked for, one number"),
        "imaginary": (23.59296j, "you give a complex"),
    },
    "tumour_share": {
        "the whole table": (lambda table, patient: share_of_rows(table), "in the whole table"),
        "the mean area": (
            lambda table, patient: table.loc[table.patient == patient, "tumour_px"].mean(),
            "mean of the areas",
        ),
        "the beginning of the name": (
            lambda table, patient: share_of_rows(table[table.patient.str.startswith(patient)]),
            "for patient A_1 you return 0.571429: that takes in A_10",
        ),
        "a count": (
            lambda table, patient: ((table.patient == patient) & (table.tumour_px > 0)).sum(),
            "how many slices",
        ),
        "more than one pixel": (
            lambda table, patient: (table[table.patient == patient].tumour_px > 1).mean(),
            "a single pixel",
        ),
        "nan for a stranger": (
            lambda table, patient: share_of_rows(table[table.patient == patient]),
            "for patient Z_9, who is not in the table you return nan; refuse it",
        ),
        "an error that is returned": (
            lambda table, patient: share_or(ValueError, table, patient),
            "for patient Z_9, who is not in the table you return a ValueError; raise it",
        ),
        "among all slices": (
            lambda table, patient: share_of_rows(
                table.assign(tumour_px=table["tumour_px"].where(table["patient"] == patient, 0))
            ),
            "the share among all slices of the table",
        ),
        "over the last number": (over_the_last_number, "the highest number is not a count"),
    },
    "normalise": {
        "over everything": (over_everything, "you let the background decide"),
        "by slice": (by_slice, "for a dark slice below a bright one you normalise each slice"),
        "not clipped": (unclipped, "for one very bright spot you let values beyond 255"),
        "cut off": (cut_off, "you cut grey levels off"),
        "0 / 0": (without_a_look_at_zero, "with one grey level, on black you divide 0 by 0"),
        "1 instead of 0": (
            lambda channel, head: eight_bits(standardised(channel, channel[head])),
            "you return 96 in the head alone",
        ),
        "n - 1": (by_n_less_one, "your deviation divides by n - 1"),
        "black outside": (black_outside, "you leave the background black"),
        "float": (as_float, "you return float64, not uint8"),
        "flat": (lambda channel, head: channel[head], "you return the shape"),
    },
    "similarity_readings": {
        "a gap of one": ("abc", "you take (b): compare the box two slices away"),
        "the tumour": ("acd", "you take (d): nothing in the figure says why"),
        "every pair": ("ace", "you take (e): boxes and whiskers overlap"),
        "no fall": ("c", "is missing: follow the medians"),
        "no end": ("a", "is missing: compare the last two boxes"),
        "words": ("a and c", "you name 'n'; the readings are a to e"),
        "a dictionary": ({"a": True}, "you give a dict"),
    },
    "neighbours_in_training": {
        "twice": (lambda table: neighbours(table, ones=True), "is still one test slice"),
        "any patient": (lambda table: neighbours(table, patients=False), "another patient"),
        "validation too": (
            lambda table: neighbours(table, parts=("train", "validation")),
            "a validation slice",
        ),
        "two away": (lambda table: neighbours(table, near=(-2, -1, 1, 2)), "two slices away"),
        "by row": (beside_in_the_table, "rows of the table need not be in order"),
        "above only": (lambda table: neighbours(table, near=(1,)), "the one below too"),
        "below only": (lambda table: neighbours(table, near=(-1,)), "the one above too"),
        "all but training": (
            lambda table: neighbours(table, of=("test", "validation")),
            "for a validation slice beside a training slice you return 1: that is a validation",
        ),
        "numbers": (numbers_beside, "slice 2 of A and slice 2 of B are two slices"),
        "a share": (
            lambda table: neighbours(table) / max(1, (table["part"] == "test").sum()),
            "for two patients you return 0.666667: that is a share",
        ),
        "patients": (
            lambda table: sum(min(neighbours(rows), 1) for _, rows in table.groupby("patient")),
            "for two patients you return 2: that counts patients",
        ),
        "the slices": (lambda table: list(table["slice"]), "you return a list"),
    },
    "held_out_patients": {
        "slices": (lambda names, share, seed: drawn(names, share, seed), "more than once"),
        "with replacement": (
            lambda names, share, seed: sorted(
                np.random.default_rng(seed).choice(sorted(set(names)), round(share * 40))
            ),
            "a patient more than once; take each name once, and put none back when you draw",
        ),
        "a share of slices": (
            lambda names, share, seed: sorted(set(names))[: round(share * len(names))],
            "you return 25 of 40 patients: too many",
        ),
        "no order": (
            lambda names, share, seed: drawn(dict.fromkeys(names), share, seed),
            "reverse order give another choice",
        ),
        "a set": (
            lambda names, share, seed: drawn(set(names), share, seed),
            "the choice changes when Python starts anew",
        ),
        "no seed": (lambda names, share, seed: last_ones(names, share, seed), "let the seed"),
        "the global seed": (
            lambda names, share, seed: drawn(sorted(set(names)), share, None),
            "is the seed used",
        ),
        "nobody": (
            lambda names, share, seed: drawn(sorted(set(names)), share, seed, least=0),
            "a test without patients",
        ),
        "unsorted": (
            lambda names, share, seed: drawn(sorted(set(names)), share, seed)[::-1],
            "unsorted",
        ),
        "rounded down": (
            lambda names, share, seed: drawn(sorted(set(names)), share, seed, whole=math.floor),
            "for 7 patients and a share of 0.4 you return 2 of 7 patients: too few; is the number",
        ),
        "rounded up": (
            lambda names, share, seed: drawn(sorted(set(names)), share, seed, whole=math.ceil),
            "for 7 patients and a share of 0.3 you return 3 of 7 patients: too many; is the number",
        ),
        "the others": (
            lambda names, share, seed: drawn(sorted(set(names)), 1 - share, seed),
            "you return 30 of 40 patients: too many; are these the ones to keep?",
        ),
        "one after the other": (one_after_the_other, "but for one patient; draw at random"),
        "two lists": (
            lambda names, share, seed: [sorted(set(names)), []],
            "you return a list where a patient's name is asked for",
        ),
        "an endless one": (
            lambda names, share, seed: itertools.cycle(names),
            "you return a cycle, which is not the kind",
        ),
        "an unordered set": (lambda names, share, seed: set(names), "you return a set"),
    },
}
CASES = [(name, what) for name, answers in WRONG.items() for what in answers]


@pytest.mark.parametrize(("name", "what"), CASES)
def test_typical_wrong_answers_are_refused_naming_the_case(name, what):
    answer, words = WRONG[name][what]
    verdict = getattr(check, name).verdict(answer)
    assert verdict.mark is Mark.WRONG
    assert words in verdict.message
    assert "\n" not in verdict.message


def test_every_exercise_of_the_notebook_has_wrong_answers():
    assert list(WRONG) == [each.name for each in check.ALL if each.notebook == "01"]


def by_group(table, patient):
    return table.groupby("patient").get_group(patient)["tumour_px"].gt(0).mean()


def by_merging(table):
    train = table[table["part"] == "train"]
    test = table[table["part"] == "test"]
    near = [train.assign(slice=train["slice"] + step) for step in (-1, 1)]
    beside = pd.concat(near)[["patient", "slice"]].drop_duplicates()
    return len(test.merge(beside, on=["patient", "slice"]))


def by_two_steps(channel, head):
    inside = np.where(head, channel, np.nan).astype(float)
    mean, deviation = np.nanmean(inside), np.nanstd(inside)
    z = (channel - mean) / deviation if deviation else np.zeros(channel.shape)
    return np.rint(40 * z + 96).clip(0, 255).astype("uint8")


def counted(names, share):
    return max(1, round(share * len(set(names))))


OTHERS = {
    "patient_of": [lambda path: os.path.basename(os.path.dirname(path)),
                   lambda path: str(path).split("/")[-2]],
    "tumour_share": [by_group],
    "normalise": [by_two_steps],
    "neighbours_in_training": [
        by_merging,
        lambda table: neighbour_in_training(table)[table["part"] == "test"].sum(),
    ],
    "held_out_patients": [
        lambda names, share, seed: sorted(
            random.Random(seed).sample(sorted(set(names)), counted(names, share))
        ),
        lambda names, share, seed: np.sort(
            np.random.default_rng(seed).permutation(np.unique(names))[: counted(names, share)]
        ),
        lambda names, share, seed: pd.Series(sorted(set(names)))
        .sample(n=counted(names, share), random_state=seed).sort_values(),
    ],
}  # fmt: skip


@pytest.mark.parametrize(
    ("name", "place"), [(name, place) for name in OTHERS for place in range(len(OTHERS[name]))]
)
def test_other_ways_to_the_right_answer_are_right(name, place):
    verdict = getattr(check, name).verdict(OTHERS[name][place])
    assert verdict.mark is Mark.RIGHT, verdict.message


def raising(*arguments):
    raise RuntimeError("no idea")


@pytest.mark.parametrize("name", [name for name in WRONG if name not in VALUES])
@pytest.mark.parametrize("answer", [raising, lambda *given: {}, lambda *given: object(), "text"])
def test_nonsense_is_refused_in_one_line(name, answer):
    verdict = getattr(check, name).verdict(answer)
    assert verdict.mark is Mark.WRONG
    assert "\n" not in verdict.message


@pytest.mark.parametrize("answer", [None, "23.6", [23.59296], {}])
def test_a_value_of_another_kind_is_refused(answer):
    assert "not the kind of value" in check.volume_megabytes.verdict(answer).message
