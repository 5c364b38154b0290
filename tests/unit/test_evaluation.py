"""Tables about both ways of a run, without any model."""

import numpy as np
import pandas as pd
import pytest

from utils.evaluation import kinds_of_error, telling_slices

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


def test_telling_slices_are_the_most_missed_and_the_most_invented():
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
    assert telling_slices(slices, ["b", "a"]) == [3, 4, 1, 0]
