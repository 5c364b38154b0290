"""The leak lab: how slices are dealt, what a leak does to a score, and how sure the gap is."""

import inspect
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, strategies as st

from utils.config import CourseError
from utils.course import features, leak_lab
from utils.plots import labs as plots_labs

SOURCE = "simulated cohort, 12 patients, seed 0"
RANDOM = np.random.default_rng(0)
TABLE = pd.DataFrame(
    {
        "patient": np.repeat([f"SIM_DU_{number:04d}" for number in range(12)], 10),
        "slice": np.tile(np.arange(1, 11), 12),
        "has_tumour": RANDOM.random(120) < 0.4,
    }
)
# Pairs of neighbours share their label and nearly their features, which mean nothing otherwise.
TABLE["has_tumour"] = TABLE["has_tumour"].to_numpy()[np.arange(120) // 2 * 2]
FEATURES = RANDOM.random((60, 30))[np.arange(120) // 2] + 0.01 * RANDOM.random((120, 30))


@pytest.fixture(scope="module")
def scores():
    return leak_lab.compare_splits(TABLE, leak_lab.kernel(FEATURES), repeats=6)


def test_the_column_goes_wrong_as_the_published_one_did():
    table = pd.DataFrame({"patient": ["A", "A", "B", "B", "B"], "slice": [1, 2, 1, 2, 3]})
    faulty = leak_lab.faulty_table(table)
    assert faulty["patient_id"].tolist() == ["A", "A", "B", "B", "B"]
    assert faulty["image"].tolist() == ["A_1.tif", "B_1.tif", "A_2.tif", "B_2.tif", "B_3.tif"]
    assert faulty["row"].tolist() == [0, 2, 1, 3, 4]
    assert leak_lab.faulty_patient_ids(table).tolist() == ["A", "B", "A", "B", "B"]


@given(
    st.lists(st.integers(0, 8), min_size=2, max_size=40), st.integers(0, 9), st.floats(0.05, 0.6)
)
def test_whole_groups_are_dealt_and_no_more_than_needed(groups, seed, share):
    groups = np.array(groups)
    test = leak_lab.choose_test_slices(groups, np.random.default_rng(seed), share)
    assert not set(groups[test]) & set(groups[~test])
    assert test.sum() >= share * len(groups)
    assert test.sum() - share * len(groups) < np.bincount(groups).max()


def test_likeness_is_one_for_itself_and_ignores_length():
    likeness = leak_lab.kernel(np.array([[1.0, 0], [2, 0], [0, 1], [1, 1]]))
    assert np.allclose(np.diag(likeness), 1)
    assert likeness[0, 1] == pytest.approx(1)
    assert likeness[0, 2] < 1


def test_a_leak_lifts_what_only_remembers(scores):
    means = scores.groupby("split")[["auc", "leaked", "neighbours", "test_slices"]].mean()
    assert means.loc["random slices", "auc"] > means.loc["patients", "auc"] + 0.15
    assert abs(means.loc["patients", "auc"] - 0.5) < 0.15
    assert means.loc["patients", ["leaked", "neighbours"]].tolist() == [0, 0]
    assert means.loc["random slices", "leaked"] > 8
    assert means["test_slices"].tolist() == [30, 30, 30]


def test_the_gap_and_its_interval_by_hand():
    scores = pd.DataFrame(
        {"split": ["a", "a", "patients", "patients"], "repeat": [0, 1] * 2,
         "auc": [0.9, 0.8, 0.7, 0.7]}
    )  # fmt: skip
    found = leak_lab.gap(scores, "a")
    # Differences 0.2 and 0.1; t(0.975, 1) = 12.706; sd 0.0707; sqrt(1/2 + 1/3) = 0.9129.
    assert found.estimate == pytest.approx(0.15)
    assert found.high - found.estimate == pytest.approx(12.706 * 0.070711 * 0.912871, rel=1e-4)
    assert found.estimate - found.low == pytest.approx(found.high - found.estimate)
    with pytest.raises(CourseError, match="at least 2"):
        leak_lab.gap(scores[scores["repeat"] == 0], "a")


def test_the_freer_the_wider():
    means = leak_lab.auc_by_penalty(TABLE, leak_lab.kernel(FEATURES), (0.01, 10), repeats=3)
    assert means.index.tolist() == [0.01, 10]
    assert list(means) == ["random slices", "faulty patient_id", "patients"]
    gap = means["random slices"] - means["patients"]
    assert gap[10] > gap[0.01]


def test_the_means_by_penalty_and_the_comparison_rest_on_the_same_deals(scores):
    """The same repeats everywhere: a mean in one figure is the mean in the other."""
    likeness = leak_lab.kernel(FEATURES)
    means = leak_lab.auc_by_penalty(TABLE, likeness, (0.1, leak_lab.PENALTY), repeats=6)
    expected = scores.groupby("split")["auc"].mean()
    assert means.loc[leak_lab.PENALTY].to_dict() == pytest.approx(expected.to_dict())
    defaults = [
        inspect.signature(function).parameters["repeats"].default
        for function in (leak_lab.auc_by_penalty, leak_lab.compare_splits)
    ]
    assert defaults == [leak_lab.REPEATS] * 2


def test_features_that_the_detector_stored_are_used(tmp_path):
    identity = {"cohort_sha256": "a" * 64, "split_sha256": "b" * 64, "size": 64, "seed": 3}
    run = SimpleNamespace(
        folder=tmp_path,
        identity=identity,
        table=pd.DataFrame({"slice": range(3)}),
        parameters=SimpleNamespace(size=64),
    )
    maps = np.arange(5 * 2 * 2 * 4, dtype=np.float16).reshape(5, 2, 2, 4)
    (tmp_path / "cache").mkdir()
    np.save(tmp_path / "cache" / "conv4_block3_out-aaaaaaaa-bbbbbbbb-64-3-1.npy", maps)
    means = features.slice_features(run)
    assert means.dtype == np.float32
    assert np.array_equal(means, maps[:3].astype(np.float32).mean(axis=(1, 2)))
    assert features.features_file(run).exists()


def test_figures(scores):
    tests = {"patients": np.arange(120) < 30, "slices": np.arange(120) % 4 == 0}
    figures = [
        plots_labs.tested_slices(TABLE, tests, SOURCE),
        plots_labs.split_scores(scores, SOURCE),
        plots_labs.auc_by_penalty(
            pd.DataFrame({"a": [0.6, 0.7], "b": [0.5, 0.6]}, index=[1, 10]), 7, SOURCE
        ),
    ]
    assert "6 times" in figures[1].get_suptitle()
    assert "7 repeats" in figures[2].axes[0].get_ylabel()
    for figure in figures:
        assert figure.get_suptitle()
        assert figure.get_supxlabel() == SOURCE
        assert figure.axes[0].get_xlabel() and figure.axes[0].get_ylabel()
