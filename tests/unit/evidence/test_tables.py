"""Tables that do not hold together are refused, with a line that says what is wrong."""

import json

import pandas as pd
import pytest

from utils.cohort.splits import split_sha256
from utils.config import CourseError
from utils.evaluation.segmentation import HD95_BEFORE
from utils.evidence.tables import read_evidence

NAMES = ("TCGA_DU_0001_19990101", "TCGA_HT_0002_19990101")


def make_tables(folder):
    """Write two patients of three slices in two folds; Dice 2*6/(8+8) and 2*10/(10+10)."""
    slices = pd.DataFrame(
        {
            "fold": [0, 0, 0, 1, 1, 1],
            "patient": [name for name in NAMES for _ in range(3)],
            "institution": ["DU"] * 3 + ["HT"] * 3,
            "slice": [1, 2, 3] * 2,
            "tumour_px": [0, 8, 0, 0, 10, 0],
            "predicted_px": [2, 6, 0, 0, 10, 0],
            "overlap_px": [0, 6, 0, 0, 10, 0],
            "p_tumour": [0.3, 0.9, 0.1, 0.2, 0.8, 0.1],
            "p_detector": [0.3, 0.9, 0.1, 0.2, 0.8, 0.1],
            "p_segmenter": [0.3, 0.9, 0.1, 0.2, 0.8, 0.1],
            "flagged": [0, 1, 0, 0, 1, 0],
        }
    )
    patients = pd.DataFrame(
        {
            "fold": [0, 1],
            "patient": NAMES,
            "institution": ["DU", "HT"],
            "dice": [0.75, 1.0],
            "hd95_px": [1.0, 0.0],
            "tumour_px": [8, 10],
        }
    )
    folds = pd.DataFrame(
        {
            "experiment": ["ours", "ours", "ours_random_split", "leave_institution_out"],
            "fold": ["0", "1", "0", "DU"],
            "training_patients": 1,
            "validation_patients": 0,
            "detection_threshold": 0.5,
            "epochs": 1,
            "validation_dice": 0.8,
            "seconds": 1,
        }
    )
    slices.to_csv(folder / "slices.csv", index=False)
    patients.to_csv(folder / "patients.csv", index=False)
    folds.to_csv(folder / "folds.csv", index=False)
    provenance = {"patients": 2, "slices": 6, "split_sha256": split_sha256(patients)}
    (folder / "provenance.json").write_text(json.dumps(provenance), encoding="utf-8")
    slices.iloc[[1, 4]].assign(fold=0).to_csv(folder / "slices_ours_random_split.csv", index=False)
    left_out = slices.iloc[:3].assign(fold="DU")
    left_out.to_csv(folder / "slices_leave_institution_out.csv", index=False)
    return folder


def change(path, row, column, value):
    table = pd.read_csv(path).astype({column: object})
    table.loc[row, column] = value
    table.to_csv(path, index=False)


@pytest.fixture
def tables(tmp_path):
    return make_tables(tmp_path)


def test_whole_tables_are_read(tables):
    evidence = read_evidence(tables)
    assert len(evidence.slices) == 6
    assert evidence.patients["dice"].tolist() == [0.75, 1.0]
    assert sorted(evidence.others) == ["leave_institution_out", "ours_random_split"]
    assert evidence.attempts is None
    assert evidence.slices["fold"].tolist() == list("000111")


@pytest.mark.parametrize(
    ("file", "row", "column", "value", "said"),
    [
        ("slices.csv", 2, "fold", 1, "1 of 2 patients are in more than one fold"),
        ("slices.csv", 2, "slice", 2, "slice 2 of TCGA_DU_0001_19990101 is there twice"),
        ("slices.csv", 2, "slice", 4, "are not numbered 1 to N"),
        ("slices.csv", 0, "institution", "HT", "not the one in the patient's name"),
        ("slices.csv", 1, "overlap_px", 7, "not in each of them"),
        ("slices.csv", 0, "overlap_px", -1, "not in each of them"),
        ("slices.csv", 0, "p_detector", 1.2, "not between 0 and 1"),
        ("slices.csv", 0, "flagged", 2, "neither 0 nor 1"),
        ("slices.csv", 0, "flagged", 1, "not those above the fold's threshold"),
        ("slices.csv", 0, "p_tumour", None, "rows or values are missing"),
        ("slices.csv", 1, "overlap_px", 5, "dice of TCGA_DU_0001_19990101 does not follow"),
        ("patients.csv", 1, "dice", 0.99, "dice of TCGA_HT_0002_19990101 does not follow"),
        ("patients.csv", 0, "tumour_px", 9, "tumour_px of TCGA_DU_0001_19990101 does not follow"),
        ("patients.csv", 0, "fold", 1, "fold of TCGA_DU_0001_19990101 does not follow"),
        ("patients.csv", 0, "patient", "TCGA_DU_0009_1", "other patients than in slices.csv"),
        ("folds.csv", 1, "fold", 3, "no fold 1 of ours"),
        ("slices_ours_random_split.csv", 0, "tumour_px", 9, "traced tumours differ"),
        ("slices_ours_random_split.csv", 0, "slice", 9, "slice 9 of TCGA_DU_0001_19990101 is not"),
        ("slices_leave_institution_out.csv", slice(0, 2), "fold", "HT", "another institution"),
    ],
)
def test_a_changed_value_is_refused(tables, file, row, column, value, said):
    change(tables / file, row, column, value)
    with pytest.raises(CourseError, match=said) as caught:
        read_evidence(tables)
    assert "\n" not in str(caught.value)


def test_a_missing_patient_is_refused(tables):
    rows = pd.read_csv(tables / "slices.csv")
    rows.iloc[:3].to_csv(tables / "slices.csv", index=False)
    with pytest.raises(CourseError, match=r"1 patients, but provenance.json counts 2"):
        read_evidence(tables)


def test_a_missing_last_slice_is_refused(tables):
    rows = pd.read_csv(tables / "slices.csv")
    rows.iloc[:-1].to_csv(tables / "slices.csv", index=False)
    with pytest.raises(CourseError, match=r"5 slices, but provenance.json counts 6"):
        read_evidence(tables)


def test_folds_that_were_dealt_otherwise_are_refused(tables):
    for name in ("slices.csv", "patients.csv"):
        rows = pd.read_csv(tables / name)
        rows.assign(fold=1 - rows["fold"]).to_csv(tables / name, index=False)
    with pytest.raises(CourseError, match="not those whose fingerprint is recorded"):
        read_evidence(tables)


@pytest.mark.parametrize("name", ["slices.csv", "patients.csv", "folds.csv", "provenance.json"])
def test_a_missing_table_is_told(tables, name):
    (tables / name).unlink()
    with pytest.raises(CourseError, match=r"get the folder anew"):
        read_evidence(tables)


@pytest.mark.parametrize("content", ["", "no,such\n1,2\n", '"open\n'])
def test_a_file_that_is_no_such_table_is_told(tables, content):
    (tables / "slices.csv").write_text(content, encoding="utf-8")
    with pytest.raises(CourseError, match=r"slices.csv: (not readable|no column)"):
        read_evidence(tables)


def test_a_definition_of_hd95_that_nobody_knows_is_refused(tables):
    provenance = json.loads((tables / "provenance.json").read_text(encoding="utf-8"))
    provenance["hd95"] = "some slices"
    (tables / "provenance.json").write_text(json.dumps(provenance), encoding="utf-8")
    with pytest.raises(CourseError, match=r"provenance.json: hd95 is 'some slices'"):
        read_evidence(tables)


def test_tables_that_do_not_tell_their_definition_of_hd95_have_the_earlier_one(tables):
    assert read_evidence(tables).hd95_definition == HD95_BEFORE
