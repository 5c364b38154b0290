"""Sentences about tables: the numbers worked out by hand, and what is said about them."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, strategies as st

from utils.evaluation import readings
from utils.evaluation.bootstrap import Interval

PATIENTS = ["a", "b", "c", "d"]
FIRST = pd.Series([0.8, 0.8, 0.8, 0.0], PATIENTS)
SECOND = pd.Series([0.7, 0.7, 0.7, 0.7], PATIENTS)
UNSURE = Interval(0.1, -0.2, 0.4)


def test_the_sign_test_counts_and_leaves_ties_out():
    # 3 against 0 tosses: 2 of 8 sequences are as uneven.
    assert readings.sign_test(pd.Series([0.1, 0.2, 0.0, 0.3])) == (0, 3, 0.25)
    assert readings.sign_test(pd.Series([0.0, 0.0])) == (0, 0, 1.0)


def test_one_patient_who_turns_the_mean_round_is_named():
    said = readings.paired_reading(FIRST, SECOND, ("one", "two"), UNSURE)
    assert "one is better in 3 patients and two in 1" in said
    # As uneven as 3 of 4 are 10 of 16 sequences of tosses.
    assert "with a probability of 0.625" in said
    assert "that of d: 0.00 with one, 0.70 with two" in said
    assert "-0.100: **one patient turns the mean round.**" in said
    assert "By the count one is ahead, by the mean the other." in said


def test_a_mean_that_one_patient_makes_alone_is_not_said_to_keep_its_sign_without_them():
    second = FIRST.replace(0.0, 0.4)  # of d
    said = readings.paired_reading(FIRST, second, ("one", "two"), UNSURE)
    assert "Without this patient the mean difference would be +0.000. By the count" in said
    said = readings.paired_reading(FIRST[3:], SECOND[3:], ("one", "two"), UNSURE)
    assert "0.70 with two. There is no other patient. By the count" in said


def test_where_count_and_mean_agree_nobody_turns_it():
    said = readings.paired_reading(FIRST[:3], SECOND[:3], ("one", "two"), UNSURE)
    assert "turns the mean round" not in said and "with the same sign" in said
    assert "By the count and by the mean, one is ahead." in said


@pytest.mark.parametrize("gains", [[0.3, -0.1, 0.0], [0.1, -0.3, 0.0], [0.0, 0.0, 0.0]])
def test_where_as_many_gain_as_lose_neither_is_ahead_by_the_count(gains):
    first = pd.Series([0.5, 0.5, 0.5], index=list("abc"))
    said = readings.paired_reading(
        first, first + gains, ("one", "two"), Interval(np.mean(gains), -1, 1)
    )
    assert said.endswith("By the count neither is ahead.")


@given(st.floats(0.01, 0.2), st.floats(0.01, 0.2), st.booleans())
def test_where_gains_and_losses_cancel_nobody_is_ahead_by_the_mean(one, other, more_gain):
    # One patient by one + other, two the other way by one and by other: 0 in all, but for rounding.
    gains = np.array([one + other, -one, -other]) * (-1 if more_gain else 1)
    first = pd.Series([0.5, 0.5, 0.5], index=list("abc"))
    said = readings.paired_reading(first, first + gains, ("one", "two"), Interval(0, -1, 1))
    leader = "two" if more_gain else "one"
    assert said.endswith(f". By the count {leader} is ahead, by the mean neither.")
    assert "turns the mean round" not in said and "same sign" not in said


def test_a_probability_too_small_for_three_decimals_is_not_called_0():
    first = pd.Series(0.8, range(13))
    said = readings.paired_reading(first, first - 0.1, ("one", "two"), UNSURE)  # 2 of 8192
    assert "with a probability below 0.001" in said


@pytest.mark.parametrize(
    ("gain", "words"),
    [
        (UNSURE, "do not decide"),
        (Interval(0.1, 0.05, 0.2), "the network is better on average"),
        (Interval(-0.1, -0.2, -0.05), "the fair baseline is better on average"),
    ],
)
def test_a_baseline_is_compared_with_its_lost_patients_named(gain, words):
    said = readings.baseline_reading(FIRST, SECOND, gain)
    assert words in said
    assert "better in 1 of 4 patients" in said
    assert "loses d (Dice below 0.1), where the network has 0.70" in said
    assert "Among the others the means are 0.80 and 0.70" in said


def test_a_baseline_that_loses_nobody_is_said_to():
    said = readings.baseline_reading(FIRST[:3], SECOND[:3], UNSURE)
    assert "loses nobody: its lowest Dice is 0.80" in said


def test_a_baseline_that_loses_everybody_leaves_no_others_to_take_a_mean_of():
    said = readings.baseline_reading(FIRST[3:], SECOND[3:], Interval(0.7, np.nan, np.nan))
    assert said.endswith("where the network has 0.70. There are no others.")
    assert "nan" not in said


def test_the_worst_patient_is_told_with_what_is_missed_and_what_is_extra():
    table = pd.DataFrame(
        [("a", 100, 100, 90, 0.9), ("b", 50, 30, 20, 0.5)],
        columns=["patient", "tumour_px", "predicted_px", "overlap_px", "dice"],
    )
    said = readings.worst_reading(table)
    assert "The worst patient is b, with a Dice of 0.50" in said
    assert "60 % are missed" in said and "20 % of its size" in said and "too little" in said
    assert "number 1 of 2" in said


def test_a_worst_patient_whose_tumour_is_in_no_mask_is_not_called_drawn_too_much():
    table = pd.DataFrame(
        [("a", 100, 100, 90, 0.9), ("b", 50, 200, 0, 0.0)],
        columns=["patient", "tumour_px", "predicted_px", "overlap_px", "dice"],
    )
    said = readings.worst_reading(table)
    assert "100 % are missed" in said and "400 % of its size" in said
    assert "nothing that is left after post-processing lies on the tumour" in said
    assert "too much" not in said


def test_a_worst_patient_without_tumour_has_no_shares_of_it():
    table = pd.DataFrame(
        [("a", 100, 100, 90, 0.9), ("b", 0, 200, 0, 0.0)],
        columns=["patient", "tumour_px", "predicted_px", "overlap_px", "dice"],
    )
    assert readings.worst_reading(table) == (
        "The worst patient is b, with a Dice of 0.00: there is no tumour to be drawn, and the "
        "network draws 200 pixels."
    )


@pytest.mark.parametrize(
    ("kept", "words"),
    [
        ([1, 1, 1, 0, 0], "0.00 and 0 %. The network finds this tumour, and the choice of "
         "pieces throws it away."),
        ([0, 0, 0, 1, 1], "1.00 and 100 %. What was dropped lies beside the tumour."),
        ([1, 1, 1, 0, 1], "0.33 and 50 %. Some of what was dropped is tumour."),
    ],
)  # fmt: skip
def test_what_dropping_pieces_costs_is_told(kept, words):
    truth, every = np.array([0, 0, 0, 1, 1]), np.ones(5, np.uint8)
    said = readings.pieces_reading(truth, np.array(kept), every)
    assert "the Dice is 0.57, and 100 % of the tumour's pixels are found" in said and words in said
    found = np.array([1, 0, 0, 0, 0, 0, 0, 0])
    said = readings.pieces_reading(np.array([1, 1, 1, 0, 0, 0, 0, 0]), 0 * found, found)
    assert "33 % of" in said and "finds a part of this tumour" in said
    assert readings.pieces_reading(truth, every, every) == "no piece was dropped from it."


def test_the_interval_of_a_mean_says_which_is_better_and_how_surely():
    names, up, down = ("one", "two"), Interval(0.1, 0.05, 0.2), Interval(-0.1, -0.2, -0.05)
    assert readings.mean_reading(up, names, 21) == "two is better than one"
    narrow = "; but with so few patients this interval is too narrow"
    assert readings.mean_reading(up, names, 20) == "two is better than one" + narrow
    assert readings.mean_reading(down, names, 20) == "one is better than two" + narrow
    assert "do not decide" in readings.mean_reading(UNSURE, names, 100)
    assert "do not decide" in readings.mean_reading(Interval(*[np.nan] * 3), names, 100)
    assert "too few patients" in readings.mean_reading(up, names, 9)


def test_every_difference_is_counted_and_patients_without_one_are_named():
    said = readings.count_reading(pd.Series([-0.1] * 6 + [1e-9] + [0.0] * 7))
    # 7 tosses that come out 6 to 1, or more unevenly: 16 of 128.
    assert "the change is below 0 for 6, above 0 for 1 and 0 for 7." in said
    assert "with a probability of 0.125" in said
    assert "with a probability below 0.001" in readings.count_reading(pd.Series([0.1] * 13))


def test_a_training_is_told_from_when_on_it_beats_what():
    history = pd.DataFrame({"epoch": [1, 2, 3], "val_dice": [0.3, 0.7, 0.6]})
    said = readings.training_reading("it", history, {"low": 0.1, "high": 0.65, "top": 0.9})
    assert "above the low (0.10 on training patients) first in epoch 1" in said
    assert "high (0.65 on training patients) first in epoch 2" in said
    assert "top (0.90 on training patients) in no epoch" in said
    assert "best epoch is 2 of 3, with 0.700" in said


def losses(by_seed):
    """Return tables of two exponents and two weights; `by_seed`: 4/3 minus 0.75."""
    rows, patients = [], []
    for seed, change in by_seed.items():
        for fn_weight, exponent, dice in ((0.7, 0.75, 0.7), (0.7, 1.3333, 0.7 + change),
                                          (0.5, 1.3333, 0.6)):  # fmt: skip
            setting = {"seed": seed, "fn_weight": fn_weight, "fp_weight": 1 - fn_weight,
                       "exponent": exponent, "dice": dice}  # fmt: skip
            measured = {"sensitivity_half": fn_weight, "precision_half": 0.9 - fn_weight,
                        "sensitivity": 0.8, "precision": 0.8}  # fmt: skip
            rows.append(setting | measured)
            patients += [setting | {"patient": patient} for patient in "ab"]
    return pd.DataFrame(rows), pd.DataFrame(patients)


def test_losses_are_read_seed_by_seed():
    said = readings.losses_reading(*losses({1: 0.03, 2: -0.01}))
    assert "4/3 minus 0.75 is +0.010 mean Dice; by seed +0.030, -0.010" in said
    assert "do not even agree on the sign" in said
    assert "sensitivity changes by +0.200 and precision by -0.200" in said
    assert "the same way" in readings.losses_reading(*losses({1: 0.03, 2: 0.01}))
