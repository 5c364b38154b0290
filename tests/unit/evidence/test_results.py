"""The shipped tables hold together, and what is published follows from their rows.

These tests read results/lgg/ as it is; they need no cohort.
"""

import hashlib

import pandas as pd
import pytest

from utils.evidence.comparisons import experiment
from utils.evidence.recipes import OURS
from utils.evidence.tables import EXPERIMENTS, LGG, OTHERS, fold_names, read_evidence
from utils.evidence.training.folds import write_final_settings


@pytest.fixture(scope="module")
def evidence():
    return read_evidence()


def test_no_patient_is_in_two_folds(evidence):
    folds = pd.read_csv(LGG / "slices.csv").groupby("patient")["fold"].nunique()
    assert folds.max() == 1
    assert len(folds) == 80


def test_every_slice_of_the_80_is_there_once(evidence):
    slices = pd.read_csv(LGG / "slices.csv")
    assert len(slices) == evidence.provenance["slices"] == 2838
    assert not slices.duplicated(["patient", "slice"]).any()
    for _, numbers in slices.groupby("patient")["slice"]:
        assert sorted(numbers) == list(range(1, len(numbers) + 1))


def test_folds_are_those_that_the_cohort_is_dealt_into(evidence):
    lines = sorted(f"{row.patient},{row.fold}" for row in evidence.patients.itertuples())
    assert (
        hashlib.sha256("\n".join(lines).encode()).hexdigest()
        == (evidence.provenance["split_sha256"])
    )
    sizes = evidence.patients["fold"].value_counts()
    assert set(sizes.index) == set("01234")
    assert sizes.max() - sizes.min() <= 1


def test_dice_of_each_patient_follows_from_its_rows(evidence):
    rows = evidence.slices.groupby("patient")[["tumour_px", "predicted_px", "overlap_px"]].sum()
    dice = 2 * rows["overlap_px"] / (rows["tumour_px"] + rows["predicted_px"])
    published = evidence.patients.set_index("patient")["dice"]
    assert (dice - published).abs().max() < 1e-6


def test_nobody_who_is_tested_trained_or_validated(evidence):
    """Folds of 80 patients leave 64: those who trained and those who validated."""
    ours = evidence.folds[evidence.folds["experiment"] == "ours"]
    tested = evidence.patients["fold"].value_counts()
    for row in ours.itertuples():
        assert row.training_patients + row.validation_patients + tested[row.fold] == 80


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_experiment_has_all_its_folds(evidence, name):
    """The text of notebooks 5 and 6 says that nothing is missing."""
    rows = evidence.folds[evidence.folds["experiment"] == name]
    assert sorted(rows["fold"]) == sorted(fold_names(name))
    slices = experiment(evidence, name)
    assert sorted(slices["fold"].unique()) == sorted(fold_names(name))
    if EXPERIMENTS[name].dealt != "institutions":
        assert len(slices) == 2838


@pytest.mark.parametrize("name", OTHERS)
def test_other_experiments_hold_only_slices_of_the_80(evidence, name):
    slices = evidence.others[name]
    ours = set(map(tuple, evidence.slices[["patient", "slice"]].to_numpy()))
    assert set(map(tuple, slices[["patient", "slice"]].to_numpy())) <= ours
    if EXPERIMENTS[name].dealt != "slices":
        assert slices.groupby("patient")["fold"].nunique().max() == 1


def test_the_shipped_settings_are_those_that_the_folds_by_patient_chose(evidence, tmp_path):
    folds = evidence.folds
    folds = folds[folds["experiment"] == "ours"]
    temperature = float(folds["temperature"].median())
    write_final_settings(folds, OURS, evidence.provenance["patients"], temperature, tmp_path)
    for name in ("detector.json", "segmenter.json"):
        assert (tmp_path / name).read_text() == (LGG / name).read_text()


def test_everything_that_is_shipped_stays_small():
    assert sum(file.stat().st_size for file in LGG.iterdir()) < 60e6
