"""Bootstrap intervals: what is drawn, and what happens at the edges."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, strategies as st
from scipy import stats

from utils.config import CourseError
from utils.evaluation.bootstrap import (
    Interval,
    bootstrap_patients,
    clustering,
    paired_bootstrap,
)


def mean_value(table):
    return table["value"].mean()


def table_of(values, rows=1):
    names = [f"p{number:02d}" for number in range(len(values))]
    table = pd.DataFrame({"patient": names, "value": values})
    return table.loc[table.index.repeat(rows)].reset_index(drop=True)


def test_interval_of_a_mean_is_near_the_normal_one():
    values = np.random.default_rng(1).normal(0.8, 0.1, size=60)
    interval = bootstrap_patients(table_of(values), mean_value)
    half = stats.norm.ppf(0.975) * values.std() / np.sqrt(60)
    assert interval.estimate == pytest.approx(values.mean())
    assert interval.low == pytest.approx(values.mean() - half, abs=0.1 * half)
    assert interval.high == pytest.approx(values.mean() + half, abs=0.1 * half)


def test_patients_are_drawn_whole():
    # Repeating every row 50 times adds no information: the interval must not shrink.
    values = np.linspace(0, 1, 12)
    single, repeated = (
        bootstrap_patients(table_of(values, rows), mean_value, resamples=200) for rows in (1, 50)
    )
    assert (single.low, single.high) == pytest.approx((repeated.low, repeated.high))


def test_same_seed_same_interval():
    table = table_of([0.1, 0.5, 0.7, 0.9])
    first, second = (bootstrap_patients(table, mean_value, resamples=50, seed=3) for _ in "ab")
    assert first == second


def test_perfect_scores_have_an_interval_of_no_width():
    assert bootstrap_patients(table_of([1.0] * 5), mean_value, resamples=50) == Interval(1, 1, 1)


def test_one_patient_has_an_estimate_but_no_interval():
    interval = bootstrap_patients(table_of([0.7]), mean_value)
    assert interval.estimate == 0.7
    assert np.isnan([interval.low, interval.high]).all()
    assert str(interval) == "0.70 (no interval)"


def test_undefined_draws_are_left_out():
    # The statistic is undefined in draws without patient 0: (4/5)^5, a third of them.
    def needs_first(table):
        return table["value"].mean() if (table["patient"] == "p00").any() else float("nan")

    interval = bootstrap_patients(table_of([1.0] * 5), needs_first, resamples=100)
    assert (interval.low, interval.high) == (1, 1)


def test_no_patients():
    with pytest.raises(CourseError, match="empty"):
        bootstrap_patients(table_of([]), mean_value)


def test_paired_difference_cancels_what_both_methods_share():
    values = np.linspace(0.1, 0.9, 10)
    first, second = table_of(values), table_of(values + 0.05)
    shuffled = second.sample(frac=1, random_state=0)
    interval = paired_bootstrap(first, shuffled, mean_value, resamples=100)
    assert (interval.estimate, interval.low, interval.high) == pytest.approx((0.05,) * 3)


def test_paired_difference_refuses_different_patients():
    with pytest.raises(CourseError, match="same patients"):
        paired_bootstrap(table_of([1, 2]), table_of([1, 2, 3]), mean_value)


def test_an_interval_reads_well():
    assert str(Interval(0.824, 0.741, 0.88)) == "0.82 (95 % CI 0.74 to 0.88)"


def test_recorded_as_json_takes_it():
    assert Interval(0.8, 0.7, 0.9).record("auc") == {"auc": 0.8, "auc_ci95": [0.7, 0.9]}
    assert Interval(0.8, 0.7, 0.9).record("mean", "ci") == {"mean": 0.8, "ci": [0.7, 0.9]}
    nothing = Interval(float("nan"), float("nan"), float("nan"), level=0.9)
    assert nothing.record("auc") == {"auc": None, "auc_ci90": None}


def test_rows_that_repeat_their_patient_correlate_fully():
    found = clustering(table_of([0.1, 0.5, 0.6], rows=9), "value")
    assert found == pytest.approx((9, 1, 3))


def test_rows_that_have_nothing_to_do_with_their_patient_do_not_correlate():
    table = table_of(np.zeros(200), rows=10)
    table["value"] = np.random.default_rng(0).normal(size=len(table))
    assert clustering(table, "value").correlation == pytest.approx(0, abs=0.03)


def test_the_intraclass_correlation_is_that_of_the_textbook():
    # Means 2 and 6, each 1 off: between (2 * 2 * 4) / 1 = 16, within 4 / 2 = 2; (16-2) / (16+2).
    table = pd.DataFrame({"patient": list("aabb"), "value": [1, 3, 5, 7]})
    assert clustering(table, "value").correlation == pytest.approx(14 / 18)


def test_patients_with_many_rows_count_more():
    table = pd.DataFrame({"patient": list("abbb"), "value": [0.0, 1.0, 1.0, 2.0]})
    assert clustering(table, "value").rows == pytest.approx((1 + 9) / 4)


@given(st.lists(st.integers(0, 11), max_size=8, unique=True))
def test_rows_without_a_value_do_not_count_as_rows_of_their_patient(places):
    # Values 0.1, 0.7, 0.2, 0.9, 0.5, 0.8 of patients a, b, a, b, a, b; more rows have none.
    values = [0.1, 0.7, 0.2, 0.9, 0.5, 0.8]
    table = pd.DataFrame({"patient": list("ababab"), "value": values})
    with_more = table.copy()
    for place in places:
        row = pd.DataFrame({"patient": ["ab"[place % 2]], "value": [np.nan]})
        with_more = pd.concat([with_more[:place], row, with_more[place:]])
    expected = tuple(clustering(table, "value"))
    assert tuple(clustering(with_more, "value")) == pytest.approx(expected)


@pytest.mark.parametrize("value", [1.0, 0.1])  # the mean of nine times 0.1 is not quite 0.1
def test_where_nothing_varies_there_is_no_correlation(value):
    found = clustering(table_of([value] * 3, rows=3), "value")
    assert np.isnan(found.correlation)
    assert np.isnan(found.factor)


def test_the_formula_says_how_much_too_narrow_an_interval_over_rows_is():
    random = np.random.default_rng(2)
    table = table_of(random.normal(size=60), rows=8)
    table["value"] += random.normal(size=len(table))
    rows = table.assign(patient=np.arange(len(table)))
    widths = [
        interval.high - interval.low
        for interval in (bootstrap_patients(each, mean_value) for each in (table, rows))
    ]
    assert widths[0] / widths[1] == pytest.approx(clustering(table, "value").factor, rel=0.15)
