"""Distances to the training slices: by hand, invariant where they should be, told in one line."""

import numpy as np
import pytest
from cohort_files import assert_one_line
from hypothesis import given, strategies as st

from utils.cohort.features import picture_features
from utils.evaluation import out_of_distribution as fam


def cloud(rows=400, seed=0):
    """Return features of very unequal scale, of which two go together."""
    first, second = np.random.default_rng(seed).normal(size=(2, rows))
    return np.column_stack([first, 100 * (first + 0.1 * second)])


def test_the_distance_by_hand():
    """Two features that do not go together, mean 0 and deviation 1: sqrt((3² + 4²) / 2)."""
    corners = np.array([[1.0, 1], [-1, -1], [1, -1], [-1, 1]])
    familiar = fam.fit_familiar(np.tile(corners, (50, 1)))
    assert familiar.distance(np.array([[3.0, 4.0]])) == pytest.approx([np.sqrt(12.5)])
    # In units of the feature: 10 + 2 * 3 and -5 + 0.5 * 4 are as far off.
    scaled = fam.fit_familiar(np.tile([10.0, -5.0] + corners * [2, 0.5], (50, 1)))
    assert scaled.distance(np.array([[16.0, -3.0]])) == pytest.approx([np.sqrt(12.5)])


def test_training_rows_lie_closer_than_others_where_they_are_few():
    random = np.random.default_rng(0)
    causes = random.normal(size=(120, 5)) @ random.normal(size=(5, 100))
    features = causes + 0.3 * random.normal(size=(120, 100))  # 60 rows to learn 100 features from
    distances = fam.fit_familiar(features[:60]).distance(features)
    known, new = (np.sqrt((part**2).mean()) for part in (distances[:60], distances[60:]))
    assert known < 0.7
    assert new > 1.1 * known


def test_a_training_row_has_distance_one_if_there_are_many():
    features = np.random.default_rng(0).normal(size=(500, 6)) * [1, 5, 0.1, 3, 1, 1]
    distances = fam.fit_familiar(features).distance(features)
    assert np.sqrt((distances**2).mean()) == pytest.approx(1, abs=0.05)


def test_what_breaks_the_pattern_is_farther_than_what_is_merely_large():
    familiar = fam.fit_familiar(cloud())
    along, across = familiar.distance(np.array([[2.0, 200.0], [2.0, -200.0]]))
    assert across > 5 * along


@given(st.floats(0.01, 100), st.floats(-50, 50))
def test_units_do_not_matter(gain, offset):
    features = cloud(60)
    other = features * [gain, 1] + [offset, 0]
    expected = fam.fit_familiar(features).distance(features)
    assert fam.fit_familiar(other).distance(other) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("value", [7.0, 0.1])  # the mean of fifty times 0.1 is not quite 0.1
def test_a_constant_feature_counts_in_its_own_unit(value):
    features = np.column_stack([cloud(50), np.full(50, value)])
    familiar = fam.fit_familiar(features)
    assert np.isfinite(familiar.distance(features)).all()
    assert familiar.scale[2] == 1
    assert familiar.distance(features[:1] + np.array([0, 0, 0.1]))[0] < 10


def test_more_features_than_slices_can_be_inverted():
    features = np.random.default_rng(0).normal(size=(20, 100))
    familiar = fam.fit_familiar(features)
    far = familiar.distance(features + 20)
    assert np.isfinite(far).all()
    assert (far > 3 * familiar.distance(features)).all()


def test_features_that_cannot_be_learnt_from_are_told():
    assert_one_line(("(1, 3)", "at least two"), fam.fit_familiar, np.ones((1, 3)))
    assert_one_line(("numbers",), fam.fit_familiar, np.array([[1.0, np.nan], [1.0, 2.0]]))
    # No feature varies: whatever is asked about would have the distance 0.
    assert_one_line(("(2, 2)", "all slices"), fam.fit_familiar, np.array([[1.0, 2], [1, 2]]))


@pytest.mark.parametrize(
    ("rate", "threshold"), [(0.0, 10), (0.05, 10), (0.1, 9), (0.25, 8), (0.3, 7), (0.99, 1)]
)
def test_the_threshold_lets_through_what_was_asked(rate, threshold):
    distances = np.array([3, 1, 10, 2, 9, 4, 8, 5, 7, 6.0])
    assert fam.threshold_at(distances, rate) == threshold
    assert (distances > threshold).mean() <= rate


@given(st.lists(st.floats(0, 10), min_size=1, max_size=40), st.floats(0, 1, exclude_max=True))
def test_never_more_false_alarms_than_asked_also_with_ties(values, rate):
    distances = np.array(values)
    assert (distances > fam.threshold_at(distances, rate)).mean() <= rate + 1e-9


def test_a_rate_out_of_range_is_told():
    assert_one_line(("rate=1",), fam.threshold_at, np.ones(3), 1)
    assert_one_line(("0 distances",), fam.threshold_at, np.array([]), 0.1)


def test_picture_features_by_hand():
    images = np.zeros((2, 16, 16, 3), np.uint8)
    images[0, :, :8, 1] = 200  # FLAIR bright on the left
    images[0, :, :8, 0] = 100
    features = picture_features(images)
    assert features.shape == (2, 33)
    assert features[0, :4].tolist() == [200, 200, 0, 0]
    names = {"pre and FLAIR": 28, "pre and post": 29, "left and right": 31, "upside down": 32}
    found = [features[0, place] for place in names.values()]
    assert found == pytest.approx([1, 0, -1, 1], abs=1e-5)
    assert np.isfinite(features[1]).all()
    assert features[1, 28:].tolist() == [0] * 5
