import pandas as pd
import pytest
from hypothesis import given, strategies as st

from utils.cohort.splits import (
    assert_no_leak,
    patient_folds,
    patients_of,
    split_patients,
    split_sha256,
)
from utils.config import CourseError


def cohort(patients, slices=3):
    return pd.DataFrame(
        [
            {
                "patient": f"SIM_{'DU' if number % 3 else 'HT'}_{number:04d}",
                "institution": "DU" if number % 3 else "HT",
                "slice": slice_number,
                "tumour_px": number * slice_number,
            }
            for number in range(patients)
            for slice_number in range(1, slices + 1)
        ]
    )


@given(patients=st.integers(3, 60), seed=st.integers(0, 100))
def test_every_patient_is_in_one_part_and_every_part_has_one(patients, seed):
    split = split_patients(cohort(patients), seed)
    assert list(split["patient"]) == sorted(set(cohort(patients)["patient"]))
    assert set(split["part"]) == {"train", "validation", "test"}
    assert_no_leak(split)


@given(patients=st.integers(5, 60), seed=st.integers(0, 100))
def test_folds_hold_every_patient_once_and_differ_by_one_at_most(patients, seed):
    folds = patient_folds(cohort(patients), 5, seed)
    assert folds["patient"].is_unique
    assert len(folds) == patients
    sizes = folds["fold"].value_counts()
    assert sorted(sizes.index) == [0, 1, 2, 3, 4]
    assert sizes.max() - sizes.min() <= 1


def test_the_split_depends_on_the_seed_and_not_on_the_order_of_the_rows():
    table = cohort(20)
    split = split_patients(table, seed=1)
    shuffled = split_patients(table.sample(frac=1, random_state=0), seed=1)
    pd.testing.assert_frame_equal(split, shuffled)
    assert not split.equals(split_patients(table, seed=2))


def test_institutions_are_balanced_over_parts_and_folds():
    table = cohort(60)
    shares = (
        split_patients(table)
        .groupby("part")["institution"]
        .apply(lambda part: (part == "HT").mean())
    )
    assert shares.between(0.2, 0.45).all()
    folds = patient_folds(table)
    counts = pd.crosstab(folds["institution"], folds["fold"])
    assert (counts.max(axis=1) - counts.min(axis=1) <= 1).all()


def test_part_sizes_of_sixty_patients():
    sizes = split_patients(cohort(60))["part"].value_counts()
    assert sizes.to_dict() == {"train": 36, "test": 14, "validation": 10}


def test_a_leak_is_named():
    split = pd.DataFrame({"patient": ["a", "a", "b"], "part": ["train", "test", "test"]})
    with pytest.raises(CourseError, match=r"leak: 1 of 2 patients.*\(a\); split by patient"):
        assert_no_leak(split)


def test_too_few_patients():
    with pytest.raises(CourseError, match="2 patients cannot be split"):
        split_patients(cohort(2))
    with pytest.raises(CourseError, match="4 patients cannot fill 5 folds; use at most 4"):
        patient_folds(cohort(4), folds=5)
    with pytest.raises(ValueError, match="at least 2 folds"):
        patient_folds(cohort(4), folds=1)


@given(patients=st.integers(3, 30), validation=st.floats(0, 1), test=st.floats(0, 1))
def test_whatever_the_shares_there_is_somebody_in_every_part_or_an_error(
    patients, validation, test
):
    shares = (1 - validation - test, validation, test)
    try:
        parts = set(split_patients(cohort(patients), shares=shares)["part"])
    except CourseError as error:
        assert "leaves none to train on" in str(error)
        # Rounded up by half a patient each, or to one patient at least.
        assert patients * (validation + test) >= patients - 2
    else:
        assert parts == {"train", "validation", "test"}


def test_shares_that_leave_nobody_to_train_on_are_refused():
    # 4 x 0.4 = 1.6, rounded to 2, twice.
    with pytest.raises(CourseError, match="of 4 patients 2 would validate and 2 be tested"):
        split_patients(cohort(4), shares=(0.2, 0.4, 0.4))


def test_patients_of_and_hash():
    split = pd.DataFrame({"patient": ["b", "a", "c"], "part": ["train", "train", "test"]})
    assert patients_of(split, "train") == ["a", "b"]
    assert split_sha256(split) == split_sha256(split.iloc[::-1])
    moved = split.assign(part=["train", "test", "test"])
    assert split_sha256(split) != split_sha256(moved)
