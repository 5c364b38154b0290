"""The README's table of ratios is that of the figures that are kept, also when some are new."""

import pytest

from tools.bench_table import (
    FIGURES,
    README,
    read_rows,
    readme_part,
    row,
    with_new,
    write_readme,
    write_rows,
)
from utils.config import CourseError

FUSED = row("fused", "a / b", "above 1", [2.0, 1.0, 4.0], "one machine")
GRADER = row("grader", "c / d", "", [1.25], "one machine")
ORDER = ["fused", "grader"]


def test_the_readme_shows_the_figures_that_are_kept(tmp_path):
    copy = tmp_path / "README.md"
    copy.write_bytes(README.read_bytes())
    write_readme(read_rows(FIGURES), copy)
    assert copy.read_text(encoding="utf-8") == README.read_text(encoding="utf-8")


def test_a_row_has_median_and_range():
    assert (FUSED.median, FUSED.low, FUSED.high, FUSED.repeats) == (2.0, 1.0, 4.0, 3)


@pytest.mark.parametrize(
    ("aim", "median", "reached"),
    [
        ("", 7, True),
        ("at least 1.3", 1.3, True),
        ("at least 1.3", 1.29, False),
        ("above 1", 1.0, False),
        ("above 1", 1.1, True),
        ("at most 1.05", 1.05, True),
        ("at most 1.05", 1.06, False),
    ],
)
def test_an_aim_that_is_not_reached_is_told(aim, median, reached):
    one = row("grader", "c / d", aim, [median], "one machine")
    assert one.reached == reached
    assert ("**not reached**" in readme_part([one])) != reached


def test_what_is_kept_is_read_again(tmp_path):
    write_rows([FUSED, GRADER], tmp_path / "bench.csv")
    assert read_rows(tmp_path / "bench.csv") == [FUSED, GRADER]
    assert read_rows(tmp_path / "none.csv") == []


def test_a_file_that_is_no_such_table_is_told(tmp_path):
    (tmp_path / "bench.csv").write_text("ratio,other\na,1\n")
    with pytest.raises(CourseError, match=r"bench\.csv: no table of ratios; delete it"):
        read_rows(tmp_path / "bench.csv")


def test_one_measure_alone_leaves_the_others_as_they_are():
    new = [
        row("fused", "a / b", "above 1", [3.0], "another"),
        row("fused", "e / f", "", [5.0], "another"),
    ]
    assert with_new([GRADER, FUSED], new, ORDER) == [*new, GRADER]
    assert with_new([], [GRADER], ORDER) == [GRADER]
    # What no measure is called any more goes.
    assert with_new([FUSED, GRADER], [], ["grader"]) == [GRADER]


def test_the_machine_is_told_once_or_for_each_measure():
    assert readme_part([FUSED, GRADER]) == (
        "| Measured by | Ratio | Median | Range | Aim |\n| --- | --- | --- | --- | --- |\n"
        "| `fused` | a / b | 2.00 | 1.00 to 4.00 | above 1 |\n"
        "| `grader` | c / d | 1.25 | 1.25 to 1.25 |  |\n\n"
        "Measured on: one machine."
    )
    other = row("grader", "c / d", "", [1.25], "another")
    assert readme_part([FUSED, other]).endswith(
        "\n\nfused measured on: one machine.\n\ngrader measured on: another."
    )
