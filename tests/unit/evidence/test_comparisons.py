"""Experiments are compared on what both predicted, in pairs over patients."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, strategies as st

from utils.evaluation import detection
from utils.evidence import comparisons
from utils.evidence.tables import Evidence


def rows(*values):
    columns = ["fold", "patient", "institution", "slice", "tumour_px", "predicted_px",
               "overlap_px", "p_tumour"]  # fmt: skip
    table = pd.DataFrame(values, columns=columns)
    return table.assign(p_detector=1 - table["p_tumour"])


OURS = rows(
    ("0", "A", "DU", 1, 0, 0, 0, 0.5),
    ("0", "A", "DU", 2, 10, 10, 5, 0.4),
    ("0", "A", "DU", 3, 30, 30, 30, 0.9),
    ("1", "B", "HT", 1, 0, 0, 0, 0.2),
    ("1", "B", "HT", 2, 20, 20, 10, 0.8),
    ("1", "C", "HT", 1, 0, 0, 0, 0.1),
    ("1", "C", "HT", 2, 20, 20, 20, 0.7),
)
# In another order, without A's third slice and C's tumour; better where both are.
OTHER = rows(
    ("0", "C", "HT", 1, 0, 5, 0, 0.1),
    ("0", "B", "HT", 2, 20, 20, 20, 0.8),
    ("0", "B", "HT", 1, 0, 0, 0, 0.2),
    ("0", "A", "DU", 2, 10, 10, 10, 0.7),
    ("0", "A", "DU", 1, 0, 0, 0, 0.5),
)


@pytest.fixture(autouse=True)
def few_draws(monkeypatch):
    monkeypatch.setattr(comparisons, "RESAMPLES", 50)


def evidence(**others):
    return Evidence(OURS, pd.DataFrame(), pd.DataFrame(), {}, others)


def test_only_shared_slices_count_and_it_is_said_how_many():
    found = comparisons.compare(OURS, OTHER)
    assert (found.slices, found.patients, found.with_tumour) == (5, 3, 2)
    # On the shared slices A has 2*5/20 and B 2*10/40; C's have no tumour.
    assert found.dice.first == 0.5
    assert found.dice.second == 1.0
    assert found.dice.difference.estimate == 0.5
    assert found.dice.difference.low == found.dice.difference.high == 0.5


def test_auc_is_over_the_shared_slices_of_all_patients():
    found = comparisons.compare(OURS, OTHER)
    # With tumour 0.4 and 0.8, without 0.5, 0.2, 0.1: one of six pairs in wrong order.
    assert found.auc.first == pytest.approx(5 / 6)
    assert found.auc.second == 1.0
    assert found.auc.difference.estimate == pytest.approx(1 / 6)
    # The detector here says the opposite of what is right.
    assert found.detector_auc.first == pytest.approx(1 / 6)
    assert found.detector_auc.second == 0.0


@given(st.lists(st.tuples(st.integers(0, 3), st.booleans(), st.integers(0, 4)), min_size=1))
def test_pairs_of_patients_add_up_to_the_auc(drawn):
    patient, label, score = zip(*drawn, strict=True)
    slices = pd.DataFrame({"patient": patient, "tumour_px": label, "p_tumour": score}).astype(float)
    in_order, with_tumour, without = comparisons.pairs_in_order(slices, "p_tumour")
    total = with_tumour.sum() * without.sum()
    expected = detection.auc(slices["tumour_px"] > 0, slices["p_tumour"])
    found = in_order.sum() / total if total else np.nan
    assert found == pytest.approx(expected, nan_ok=True)


def test_the_order_of_comparison_is_second_minus_first():
    forth, back = comparisons.compare(OURS, OTHER), comparisons.compare(OTHER, OURS)
    assert forth.dice.difference.estimate == -back.dice.difference.estimate
    assert forth.auc.difference.low == pytest.approx(-back.auc.difference.high)


def test_a_table_that_is_not_there_yet_compares_to_nothing():
    assert comparisons.compare(OURS, None) is None
    assert comparisons.compare(None, None) is None
    assert comparisons.compare(OURS.iloc[:1], OTHER) is None  # a shared slice, but no tumour
    assert comparisons.compare(OURS.iloc[[2]], OTHER) is None  # no shared slice
    found = comparisons.compare_named(evidence(ours_random_split=OTHER), comparisons.SPLITS)
    assert found["our recipe"].slices == 5
    assert found["baseline recipe"] is None


def test_the_recipes_are_compared_under_one_split_each():
    found = comparisons.compare_named(evidence(baseline_patient_split=OTHER), comparisons.RECIPES)
    # From the baseline recipe to ours: 1.0 to 0.5.
    assert found["split by patient"].dice.difference.estimate == -0.5
    assert found["random split of slices"] is None


def test_what_the_detector_adds_is_measured_on_the_same_slices():
    # Alone, the segmenter ranks one of two tumour slices below the free one; together both lead.
    slices = pd.DataFrame(
        {
            "patient": ["A", "A", "B"],
            "slice": [1, 2, 1],
            "tumour_px": [5, 0, 5],
            "p_segmenter": [0.9, 0.5, 0.4],
            "p_tumour": [0.9, 0.1, 0.8],
        }
    )
    found = comparisons.what_the_detector_adds(slices)
    assert (found.first, found.second) == (0.5, 1.0)
    assert found.difference.estimate == 0.5


def test_institutions_left_out_are_compared_one_by_one_and_together():
    left_out = OTHER.assign(fold=OTHER["institution"])
    found = comparisons.institutions_left_out(evidence(leave_institution_out=left_out))
    assert list(found) == ["DU", "HT", "all so far"]
    assert [found[name].patients for name in found] == [1, 2, 3]
    only = left_out[left_out["institution"] == "HT"]
    found = comparisons.institutions_left_out(evidence(leave_institution_out=only))
    assert list(found) == ["HT"]
    assert comparisons.institutions_left_out(evidence()) == {}


def test_the_earlier_recipe_is_compared_with_ours_under_the_split_by_patient():
    found = comparisons.compare_named(evidence(earlier_patient_split=OTHER), comparisons.EARLIER)
    # From the earlier recipe to ours: 1.0 to 0.5.
    assert found["split by patient"].dice.difference.estimate == -0.5
    assert found["split by patient"].slices == 5


def test_the_folds_that_are_there():
    some = evidence(baseline_patient_split=OTHER)
    assert comparisons.folds_there(some, "ours") == ["0", "1"]
    assert comparisons.folds_there(some, "baseline_patient_split") == ["0"]
    assert comparisons.folds_there(some, "baseline_random_split") == []


def test_all_comparisons_have_their_names_before_they_are_made():
    found = comparisons.compare_all(evidence())
    assert list(found.splits) == ["our recipe", "baseline recipe"]
    assert list(found.recipes) == ["split by patient", "random split of slices"]
    assert {one for named in found for one in named.values()} == {None}
