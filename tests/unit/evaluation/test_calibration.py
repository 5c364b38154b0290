"""Temperature scaling finds the temperature that was put in; reliability is counted by hand."""

import numpy as np
import pytest
from hypothesis import given, strategies as st
from sklearn.metrics import log_loss

from utils.config import CourseError
from utils.evaluation import calibration


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
    table = calibration.reliability_table(labels, probabilities, list("abccba"), bins=2)
    assert table["slices"].tolist() == [3, 3]
    assert table["patients"].tolist() == [3, 3]
    assert table["predicted"].tolist() == pytest.approx([0.2, 0.8])
    assert table["observed"].tolist() == pytest.approx([1 / 3, 1])
    # Three patients with 0, 1 and 0 of one slice: any share of thirds may be drawn.
    assert table[["low", "high"]].to_numpy().tolist() == [[0, 1], [1, 1]]
    error = calibration.expected_calibration_error(labels, probabilities, bins=2)
    assert error == pytest.approx((abs(0.2 - 1 / 3) + 0.2) / 2)


def test_reliability_intervals_draw_patients_not_slices():
    # Twenty slices, but two patients: one has tumour in all of hers, the other in none. Over
    # slices the interval would be 0.3 to 0.7 (Wilson); drawn twice, either may stand alone.
    labels, patients = np.repeat([1, 0], 10), np.repeat(["a", "b"], 10)
    table = calibration.reliability_table(labels, np.full(20, 0.5), patients, bins=1)
    assert table[["observed", "low", "high"]].iloc[0].tolist() == [0.5, 0.0, 1.0]


def test_a_bin_with_slices_of_one_patient_has_no_interval():
    labels, probabilities = [0, 1, 0, 1], [0.1, 0.2, 0.8, 0.9]
    table = calibration.reliability_table(labels, probabilities, ["a", "a", "b", "c"], bins=2)
    assert table["low"].isna().tolist() == table["high"].isna().tolist() == [True, False]
    assert table["observed"].tolist() == [0.5, 0.5]


@pytest.mark.parametrize("labels", [[0, 0, 1, 1], [0, 1, 0, 1], [1, 1, 0, 0]])
def test_equal_probabilities_stay_in_one_bin_in_whatever_order_the_slices_come(labels):
    # Two bins would hold two slices each; of four with one probability, half come true.
    assert calibration.expected_calibration_error(labels, [0.5] * 4, bins=2) == 0
    # The highest of five is alone, and the four others together: (4 |0.5 - 0.5| + |0.9 - 1|) / 5.
    error = calibration.expected_calibration_error([*labels, 1], [0.5] * 4 + [0.9], bins=5)
    assert error == pytest.approx(0.02)


def test_fewer_slices_than_bins():
    assert len(calibration.reliability_table([0, 1], [0.2, 0.9], ["a", "b"], bins=10)) == 2


@pytest.mark.parametrize(
    ("temperature", "words", "surer"),
    [(0.75, "under-confident", True), (1.8, "over-confident", False)],
)
def test_a_temperature_is_read_in_its_direction(temperature, words, surer):
    assert words in calibration.confidence_words(temperature)
    assert (calibration.apply_temperature([0.9], temperature)[0] > 0.9) == surer
    assert ("surer" in calibration.confidence_words(temperature)) == surer


@pytest.mark.parametrize("temperature", [0.96, 1.0, 1.04])
def test_a_temperature_close_to_1_is_called_so(temperature):
    assert "close to 1" in calibration.confidence_words(temperature)
