"""AUC, thresholds and error rates against numbers worked out by hand."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, strategies as st
from sklearn.metrics import roc_auc_score

from utils.config import CourseError
from utils.evaluation import detection

FEW = {"resamples": 30}


def slices_table(patients, tumour_px, scores):
    return pd.DataFrame({"patient": patients, "tumour_px": tumour_px, "p_tumour": scores})


def example(patients=8, slices=12, seed=0):
    random = np.random.default_rng(seed)
    tumour_px = np.where(random.random((patients, slices)) < 0.4, 100, 0).ravel()
    tumour_px[::slices], tumour_px[1::slices] = 0, 50
    scores = np.clip(0.35 + 0.3 * (tumour_px > 0) + random.normal(0, 0.2, tumour_px.size), 0, 1)
    return slices_table(np.repeat([f"p{i}" for i in range(patients)], slices), tumour_px, scores)


def test_auc_counts_pairs_and_half_of_the_ties():
    # Pairs: 0.9 beats both, 0.5 ties with one and beats the other: 3.5 of 4.
    assert detection.auc([1, 1, 0, 0], [0.9, 0.5, 0.5, 0.1]) == 3.5 / 4


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 5)), min_size=2, max_size=30))
def test_auc_agrees_with_scikit_learn(pairs):
    labels, scores = zip(*pairs, strict=True)
    value = detection.auc(labels, scores)
    if len(set(labels)) < 2:
        assert np.isnan(value)
    else:
        assert value == pytest.approx(roc_auc_score(labels, scores))


def test_auc_interval_holds_its_estimate():
    interval = detection.auc_interval(example(), **FEW)
    assert 0.5 < interval.low <= interval.estimate <= interval.high <= 1


@pytest.mark.parametrize(
    ("sensitivity", "threshold"), [(0.25, 0.9), (0.5, 0.7), (0.51, 0.4), (0.75, 0.4), (1, 0.2)]
)
def test_threshold_is_the_highest_that_finds_enough(sensitivity, threshold):
    labels, scores = [1, 1, 1, 1, 0, 0], [0.9, 0.7, 0.4, 0.2, 0.95, 0.1]
    assert detection.threshold_at_sensitivity(labels, scores, sensitivity) == threshold


@given(st.lists(st.floats(0, 1), min_size=1, max_size=50), st.floats(0.01, 1))
def test_threshold_reaches_the_sensitivity(scores, sensitivity):
    threshold = detection.threshold_at_sensitivity(np.ones(len(scores)), scores, sensitivity)
    assert np.mean(np.array(scores) >= threshold) >= sensitivity - 1e-9


def test_threshold_needs_tumours_and_a_share():
    with pytest.raises(CourseError, match="no slice with tumour"):
        detection.threshold_at_sensitivity([0, 0], [0.1, 0.2])
    with pytest.raises(CourseError, match="above 0 and at most 1"):
        detection.threshold_at_sensitivity([0, 1], [0.1, 0.2], 95)


def test_operating_point_counts_a_score_at_the_threshold_as_flagged():
    slices = slices_table(list("aabb"), [5, 0, 5, 0], [0.5, 0.4, 0.3, 0.9])
    point = detection.operating_point(slices, 0.5, **FEW)
    assert point.sensitivity.estimate == 0.5
    assert point.specificity.estimate == 0.5
    assert (point.sensitivity.low, point.sensitivity.high) == (0, 1)


@pytest.mark.parametrize("tumour_px", [0, 5])
def test_an_interval_that_there_is_none_of_has_the_level_asked_for_too(tumour_px):
    slices = slices_table(list("ab"), [tumour_px] * 2, [0.9, 0.3])
    point = detection.operating_point(slices, 0.5, level=0.9, **FEW)
    assert point.sensitivity.level == point.specificity.level == 0.9
    missing = point.sensitivity if tumour_px == 0 else point.specificity
    assert missing.record("share") == {"share": None, "share_ci90": None}


def test_roc_band_encloses_the_curve_and_ends_in_the_corners():
    band = detection.roc_band(example(), resamples=50)
    assert (band["low"] <= band["high"]).all()
    inside = (band["low"] <= band["sensitivity"]) & (band["sensitivity"] <= band["high"])
    assert inside.mean() > 0.9
    assert band["sensitivity"].iloc[-1] == 1


def test_curves_need_both_classes():
    with pytest.raises(CourseError, match="both needed"):
        detection.precision_recall_points([1, 1], [0.1, 0.9])


def test_curves_of_a_perfect_detector():
    labels, scores = [0, 0, 1, 1], [0.1, 0.2, 0.8, 0.9]
    assert detection.precision_recall_points(labels, scores)["precision"].iloc[-2] == 1
    assert detection.average_precision(labels, scores) == 1


def test_sensitivity_by_size_in_terciles():
    sizes = [0, 10, 20, 30, 40, 50, 60]
    slices = slices_table(list("abababa"), sizes, np.zeros(7))
    table = detection.sensitivity_by_size(slices, [1, 0, 0, 1, 0, 1, 1], **FEW)
    assert table[["from_px", "to_px"]].to_numpy().tolist() == [[10, 20], [30, 40], [50, 60]]
    assert table["sensitivity"].tolist() == [0, 0.5, 1]
    assert table["found"].tolist() == [0, 1, 2]


def test_sensitivity_by_size_merges_groups_when_all_tumours_are_equal():
    slices = slices_table(list("aabb"), [7, 7, 7, 7], np.zeros(4))
    table = detection.sensitivity_by_size(slices, [1, 1, 1, 0], **FEW)
    assert table[["slices", "found"]].to_numpy().tolist() == [[4, 3]]


def test_false_positives_by_patient():
    slices = slices_table(list("aaabbc"), [0, 0, 9, 0, 0, 9], np.zeros(6))
    table = detection.false_positives(slices, [True, False, True, False, False, True])
    assert table["patient"].tolist() == ["a", "b"]
    assert table["flagged"].tolist() == [1, 0]
    assert table["share"].tolist() == [0.5, 0]
