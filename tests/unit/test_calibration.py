"""Temperature scaling finds the temperature that was put in; reliability is counted by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import log_loss

from utils import calibration
from utils.config import CourseError


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_fit_temperature_finds_what_was_put_in(temperature):
    random = np.random.default_rng(0)
    honest = random.uniform(0.02, 0.98, size=20000)
    labels = random.random(honest.size) < honest
    distorted = calibration.apply_temperature(honest, 1 / temperature)
    assert calibration.fit_temperature(labels, distorted) == pytest.approx(temperature, rel=0.05)


def test_fit_temperature_never_worsens_the_likelihood():
    labels, sure = np.array([1, 0, 1, 0, 1]), np.array([0.99, 0.01, 0.02, 0.03, 1.0])
    cooled = calibration.apply_temperature(sure, calibration.fit_temperature(labels, sure))
    assert log_loss(labels, cooled) < log_loss(labels, sure)


def test_fit_temperature_needs_both_classes():
    with pytest.raises(CourseError, match="with tumour and without"):
        calibration.fit_temperature([1, 1], [0.4, 0.6])


@given(st.lists(st.floats(0, 1), min_size=2, max_size=20), st.floats(0.1, 10))
def test_temperature_keeps_the_order_and_the_range(probabilities, temperature):
    scaled = calibration.apply_temperature(probabilities, temperature)
    assert ((scaled >= 0) & (scaled <= 1)).all()
    assert (np.diff(scaled[np.argsort(probabilities)]) >= 0).all()


def test_temperature_two_halves_the_log_odds():
    # Odds 9 : 1 become 3 : 1.
    assert calibration.apply_temperature([0.9], 2.0) == pytest.approx([0.75])


def test_reliability_table_by_hand():
    labels, probabilities = [0, 1, 0, 1, 1, 1], [0.1, 0.3, 0.2, 0.9, 0.7, 0.8]
    table = calibration.reliability_table(labels, probabilities, bins=2)
    assert table["slices"].tolist() == [3, 3]
    assert table["predicted"].tolist() == pytest.approx([0.2, 0.8])
    assert table["observed"].tolist() == pytest.approx([1 / 3, 1])
    assert ((table["low"] <= table["observed"]) & (table["observed"] <= table["high"])).all()
    # Wilson's lower bound for 3 of 3 is 3 / (3 + 1.96^2).
    assert table["low"].iloc[1] == pytest.approx(3 / (3 + 1.959964**2), rel=1e-4)
    error = calibration.expected_calibration_error(labels, probabilities, bins=2)
    assert error == pytest.approx((abs(0.2 - 1 / 3) + 0.2) / 2)


def test_fewer_slices_than_bins():
    assert len(calibration.reliability_table([0, 1], [0.2, 0.9], bins=10)) == 2
