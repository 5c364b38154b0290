"""The shared judges say what is wrong and never what would be right."""

import itertools
import math

import numpy as np
import pytest

from utils.exercises import judges

NAN = float("nan")


@pytest.mark.parametrize(
    ("output", "fault"),
    [
        (0.75, None),
        (np.float32(0.75), None),
        (np.array(0.75), None),
        (0.25, "you return 0.25: that is the other one"),
        (0.8, "you return 0.8, which is too high"),
        (0, "you return 0, which is too low"),
        (23592960, "you return 23592960, which is too high"),
        (math.inf, "you return inf, which is too high"),
        (NAN, "you return nan; decide what it should be and say why"),
    ],
)
def test_a_number(output, fault):
    assert judges.number(0.75, slips={0.25: "that is the other one"})(output) == fault


def test_of_several_slips_the_closest_is_told():
    judge = judges.number(0.914, within=5e-3, slips={0.9265: "no ties", 0.9286: "ties won"})
    assert judge(0.9265) == "you return 0.9265: no ties"
    assert judge(0.9286) == "you return 0.9286: ties won"
    assert judge(0.91) is None


def test_nan_may_be_right_or_a_known_slip():
    assert judges.number(NAN)(NAN) is None
    assert judges.number(NAN)(0.0) == "you return 0; decide what it should be and say why"
    assert judges.number(0.0, slips={NAN: "0 / 0"})(NAN) == "you return nan: 0 / 0"


@pytest.mark.parametrize("output", ["0.75", True, [0.75], np.array([0.75]), None, {}])
def test_what_is_no_number(output):
    with pytest.raises(TypeError):
        judges.number(0.75)(output)


@pytest.mark.parametrize(
    ("output", "fault"),
    [
        ((0.5, NAN), None),
        ([0.5, NAN], None),
        ((NAN, 0.5), "the wrong way round"),
        ((0.6, NAN), "you return 0.6, which is too high (sensitivity)"),
        ((0.5, 1), "you return 1; decide what it should be and say why (specificity)"),
        ((0.5,), "you return 1 values; 2 are asked for"),
        ((0.5, None), "you return a NoneType, not one number (specificity)"),
        (("0.5", NAN), "you return a str, not one number (sensitivity)"),
    ],
)
def test_numbers_together(output, fault):
    names = ("sensitivity", "specificity")
    judge = judges.numbers((0.5, NAN), names, slips={(NAN, 0.5): "the wrong way round"})
    assert judge(output) == fault


def test_what_is_generated_without_end_is_not_read():
    with pytest.raises(TypeError):
        judges.numbers((0.5, 1), ("a", "b"))(itertools.count())


@pytest.mark.parametrize(
    ("output", "fault"),
    [
        (np.array([[1, 2], [3, 4]], np.uint8), None),
        (np.array([[2, 1], [4, 3]], np.uint8), "the axes are swapped"),
        (np.array([[1, 9], [3, 4]], np.uint8), "you return 9 at (0, 1), too high"),
        (np.array([[1, 2], [3, 4]], float), "you return float64, not uint8"),
        (np.array([1, 2, 3, 4], np.uint8), "you return the shape (4,), not (2, 2)"),
    ],
)
def test_an_array(output, fault):
    right, swapped = np.array([[1, 2], [3, 4]]), np.array([[2, 1], [4, 3]])
    judge = judges.array(right, kind="uint8", slips=[(swapped, "the axes are swapped")])
    assert judge(output) == fault


def test_an_array_with_nan_and_one_of_text():
    judge = judges.array(np.array([1.0, NAN]))
    assert judge(np.array([1.0, NAN])) is None
    assert judge([1.0, 0.0]) == "you return 0 at (1,); decide what it should be and say why"
    with pytest.raises(TypeError):
        judge(["1", "nan"])


def test_text():
    judge = judges.text("A_1", what="a patient", slips={"A": "the institution"})
    assert judge("A_1") is None
    assert judge("A") == "you return 'A', the institution"
    assert judge("B") == "you return 'B', which is not a patient"
    with pytest.raises(TypeError):
        judge(1)


def test_a_refusal():
    judge = judges.refusal("no such patient", ValueError, KeyError)
    assert judge(KeyError("Z")) is None
    words = "refuse it with a ValueError or KeyError: no such patient"
    assert judge(0.5) == f"you return 0.5; {words}"
    assert judge(ZeroDivisionError()) == f"it stops with ZeroDivisionError; {words}"
    assert judge(np.float64(0.5)) == judge(0.5)
    assert judge(np.zeros((3, 3))) == f"you return a ndarray; {words}"
