import numpy as np
import pytest

from utils.config import CourseError
from utils.evaluation.bootstrap import Interval
from utils.evaluation.text import (
    format_bounds,
    format_interval,
    format_number,
    listed,
    markdown_table,
    put_between_marks,
)

NONE = float("nan")


@pytest.mark.parametrize(
    ("value", "options", "text"),
    [
        (0.81049, {}, "0.810"),
        (1, {"decimals": 2}, "1.00"),
        (0.02, {"decimals": 2, "sign": True}, "+0.02"),
        (-0.0004, {"sign": True}, "-0.000"),
        (1234.56, {"decimals": 1}, "1,234.6"),
        (None, {}, "–"),
        (np.nan, {"sign": True}, "–"),
    ],
)
def test_numbers(value, options, text):
    assert format_number(value, **options) == text


def test_bounds():
    assert format_bounds(0.7834, 0.8368) == "0.783 to 0.837"
    assert format_bounds(-0.01, 0.05, 2, sign=True) == "-0.01 to +0.05"


def test_an_interval_is_told_with_its_bounds_if_it_has_any():
    assert format_interval(Interval(0.81042, 0.7834, 0.8368)) == "0.810 (0.783 to 0.837)"
    assert format_interval(Interval(0.02, -0.01, 0.05), 2, sign=True) == "+0.02 (-0.01 to +0.05)"
    assert format_interval(Interval(0.5, np.nan, np.nan), 1) == "0.5"


def test_an_interval_may_say_what_its_bounds_are():
    assert (
        format_interval(Interval(0.8, 0.7, 0.9), 1, label="95 % CI") == "0.8 (95 % CI 0.7 to 0.9)"
    )
    assert format_interval(Interval(0.8, NONE, NONE), 1, label="95 % CI") == "0.8"


def test_without_an_estimate_there_is_a_dash_whatever_the_bounds():
    assert format_interval(Interval(NONE, 0.7, 0.9)) == "–"


def test_lists_and_tables():
    assert listed(["one", "two"]) == "- one\n- two"
    table = "| a | b |\n| --- | --- |\n"
    assert markdown_table(("a", "b"), [("1", "2"), ("3", "4")]) == f"{table}| 1 | 2 |\n| 3 | 4 |"
    assert markdown_table(("a", "b"), []) == f"{table}| – | – |"


BEGIN, END = "<!-- part: begin -->", "<!-- part: end -->"


def test_what_stands_between_the_marks_is_replaced():
    text = f"# Title\n\n{BEGIN}\nold\n{END}\n\nrest\n"
    assert put_between_marks(text, "new", "part") == f"# Title\n\n{BEGIN}\nnew\n{END}\n\nrest\n"


@pytest.mark.parametrize(
    "text", ["no marks", BEGIN, END + BEGIN, BEGIN + END + END, BEGIN + BEGIN + END]
)
def test_marks_must_be_there_once_each(text):
    with pytest.raises(CourseError, match=r"README.md: needs the lines"):
        put_between_marks(text, "new", "part")
