"""Tables about both ways of a run, without any model."""

import numpy as np
import pandas as pd
import pytest

from utils.course.cascade import example_slices, kinds_of_error, segmentation_record

PATIENTS = pd.DataFrame(
    {
        "patient": ["a", "b", "c"],
        "institution": "DU",
        "tumour_px": [100, 200, 50],
        "predicted_px": [80, 0, 100],
        "overlap_px": [60, 0, 50],
        "dice": [120 / 180, 0.0, 100 / 150],
    }
)
MISSING = pd.DataFrame(
    {"patient": ["c", "b", "a"], "pre_contrast": [False, True, False],
     "post_contrast": [False, True, False]}
)  # fmt: skip


def test_errors_are_told_apart_worst_first():
    errors = kinds_of_error(PATIENTS, MISSING)
    assert errors["patient"].tolist() == ["b", "a", "c"]
    assert errors["missed"].tolist() == pytest.approx([1, 0.4, 0])
    assert np.isnan(errors["invented"][0])
    assert errors["invented"][1:].tolist() == pytest.approx([0.25, 0.5])
    assert errors["without"].tolist() == ["pre-contrast, post-contrast", "", ""]


def test_example_slices_are_the_most_missed_and_the_most_invented():
    slices = pd.DataFrame(
        {
            "patient": list("aaabb"),
            "tumour_px": [10, 90, 0, 0, 5],
            "predicted_px": [40, 95, 20, 0, 5],
            "overlap_px": [10, 50, 0, 0, 5],
        }
    )
    # a: 40 px are missed in row 1 (where 45 are invented), and 30 invented in row 0.
    # b: nothing is wrong, so its slices are taken in order.
    assert example_slices(slices, ["b", "a"]) == [3, 4, 1, 0]


def test_record_of_one_way():
    slices = pd.DataFrame(
        {
            "tumour_px": [10, 20, 0, 0, 0, 0],
            "predicted_px": [10, 5, 0, 0, 0, 7],
            "overlap_px": [5, 0, 0, 0, 0, 0],
        }
    )
    patients = PATIENTS.assign(dice=[0.9, 0.6, 0.3], hd95_px=[2.0, 4.0, np.nan])
    record = segmentation_record(patients, slices)
    low, high = record.pop("dice_patient_ci95")
    assert low < 0.6 < high
    assert len(record.pop("dice_patient_median_ci95")) == 2
    assert record == pytest.approx(
        {
            "dice_patient_mean": 0.6,
            "dice_patient_median": 0.6,
            "hd95_px_median": 3.0,
            "hd95_patients": 2,
            "sensitivity": 0.5,
            "false_positive_share": 0.25,
        }
    )


def test_what_cannot_be_had_is_none():
    slices = pd.DataFrame({"tumour_px": [10], "predicted_px": [0], "overlap_px": [0]})
    record = segmentation_record(PATIENTS[1:2].assign(hd95_px=np.nan), slices)
    assert record["hd95_px_median"] is None
    assert record["false_positive_share"] is None
    assert record["dice_patient_ci95"] is None
