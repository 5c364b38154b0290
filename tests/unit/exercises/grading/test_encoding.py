"""What an answer returned arrives as it was, and nothing else arrives."""

import array
import json
import pickle
from collections import Counter, OrderedDict, UserDict, UserList, defaultdict, deque, namedtuple
from copy import deepcopy
from datetime import date, datetime, timedelta
from decimal import Decimal
from enum import IntEnum
from fractions import Fraction
from itertools import count
from pathlib import Path, PurePosixPath

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, strategies as st
from hypothesis.extra import numpy as arrays

from utils.config import CourseError
from utils.exercises import inputs
from utils.exercises.grading.encoding import DEEPEST, Unknown, decode, encode


def sent(value):
    """Return a value as it arrives."""
    return decode(json.loads(json.dumps(encode(value))))


SIMPLE = st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text()
NESTED = st.recursive(
    SIMPLE,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.tuples(inner, inner)
        | st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=8,
)


@pytest.mark.long
@given(NESTED)
def test_plain_values_arrive(value):
    assert repr(sent(value)) == repr(value)


@given(
    arrays.arrays(
        st.sampled_from(["u1", "<i4", ">f8", "f4", "?", "c8", "<U3"]),
        arrays.array_shapes(min_dims=0, min_side=0, max_side=3),
    )
)
def test_arrays_arrive_with_their_kind_and_shape(values):
    found = sent(values)
    assert found.dtype == values.dtype
    np.testing.assert_array_equal(found, values)


@pytest.mark.parametrize("value", [np.float32(0.1), np.int64(3), np.bool_(True), np.str_("a")])
def test_numpy_numbers_stay_what_they_are(value):
    found = sent(value)
    assert type(found) is type(value)
    assert found == value


class Colour(IntEnum):
    RED = 1


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"b", "a"}, {"a", "b"}),
        (frozenset({1}), frozenset({1})),
        (range(3), [0, 1, 2]),
        (Colour.RED, 1),
        (1j, np.complex128(1j)),
        (PurePosixPath("a/b"), Path("a/b")),
        (Path("a/b"), Path("a/b")),
        ({(1, "a"): [None]}, {(1, "a"): [None]}),
        (deque([1, 2]), deque([1, 2])),
        ({"a": 1}.keys(), {"a"}),
        ({"a": 1}.items(), {("a", 1)}),
        (Fraction(1, 3), Fraction(1, 3)),
        (Decimal("0.10"), Decimal("0.10")),
        (OrderedDict(b=1, a=2), OrderedDict(b=1, a=2)),
        (Counter("aab"), Counter("aab")),
        (UserDict(a=1), {"a": 1}),
        (UserList([1]), [1]),
        (namedtuple("Pair", "a b")(1, 2), (1, 2)),
        (b"ab", b"ab"),
        (date(2024, 2, 29), date(2024, 2, 29)),
        (datetime(2024, 2, 29, 1), datetime(2024, 2, 29, 1)),
        (timedelta(1, 2), np.timedelta64(86_402_000_000, "us")),
        (pd.Timestamp("2024-02-29 01:02:03.4"), pd.Timestamp("2024-02-29 01:02:03.4")),
        (pd.Timedelta("1h"), pd.Timedelta("1h")),
        (pd.NaT, pd.NaT),
        (pd.NA, pd.NA),
    ],
)
def test_other_values(value, expected):
    found = sent(value)
    assert found is expected or found == expected


@pytest.mark.parametrize(
    "value", [(each for each in (1, 2)), map(int, "12"), iter([1, 2]), zip([1, 2], strict=True)]
)
def test_what_yields_is_read_to_its_end(value):
    found = sent(value)
    assert [each[0] if isinstance(each, tuple) else each for each in found] == [1, 2]
    assert list(found) == []


def test_whole_numbers_longer_than_python_writes_in_tens():
    assert sent([10**5000, -(10**5000), Fraction(1, 10**5000)]) == [
        10**5000, -(10**5000), Fraction(1, 10**5000),
    ]  # fmt: skip


def test_what_yields_without_end_is_not_sent():
    assert isinstance(sent(count()), Unknown)


def test_other_values_of_a_dictionary_and_keys_that_it_lacks():
    assert list(sent({"a": 3}.values())) == [3]
    assert sent(Counter("a"))["b"] == 0
    assert sent(defaultdict(float, a=1.0))["b"] == 0.0
    with pytest.raises(KeyError):
        sent(defaultdict(lambda: 0))["b"]


def test_numbers_in_a_row_become_an_array():
    for value in (array.array("d", [1, 2]), memoryview(array.array("d", [1, 2]))):
        np.testing.assert_array_equal(sent(value), [1.0, 2.0])


def test_a_value_whose_methods_fail_is_told_by_its_name():
    class Broken(dict):
        def items(self):
            raise RuntimeError

    assert type(sent(Broken())).__name__ == "Broken"


def test_tables_arrive():
    table = pd.DataFrame(
        {"patient": ["A", "B"], "px": [3, 4], "p": [0.5, np.nan]},
        index=pd.Index([7, 8], name="row"),
    )
    pd.testing.assert_frame_equal(sent(table), table, check_dtype=False)
    pd.testing.assert_series_equal(sent(table["px"]), table["px"])
    counts = table.groupby(["patient", "px"])["p"].size()
    pd.testing.assert_series_equal(sent(counts), counts)
    assert sent(table.iloc[:0]).shape == (0, 3)


def test_tables_keep_the_types_that_arrays_lose():
    table = pd.DataFrame({"n": pd.array([1, None], dtype="Int64"), "s": ["a", None]}, index=[3, 3])
    pd.testing.assert_frame_equal(sent(table), table)
    dates = pd.Series([1, 2], index=pd.to_datetime(["2024-01-01", "2024-01-02"]))
    pd.testing.assert_series_equal(sent(dates), dates, check_index_type=False)


def test_exceptions_arrive_by_name():
    class Refused(ValueError):
        """A student's own."""

    assert type(sent(KeyError("x"))) is KeyError
    assert str(sent(KeyError("x"))) == "'x'"
    refused = sent(Refused("no"))
    assert isinstance(refused, ValueError)
    assert type(refused).__name__ == "Refused"
    assert type(sent(CourseError("one line"))) is CourseError
    assert isinstance(sent(UnicodeDecodeError("utf-8", b"", 0, 1, "bad")), ValueError)
    assert not isinstance(sent(SystemExit(1)), SystemExit)


def test_inputs_that_are_returned_arrive():
    model = inputs.Model(2)
    model.layers[0].trainable = False
    found = sent(model)
    assert type(found) is inputs.Model
    assert [layer.trainable for layer in found.layers] == [False, True]


def test_what_is_not_sent_is_known_by_its_name():
    class Trick:
        def __eq__(self, other):
            return True

        __hash__ = None

        def __reduce__(self):
            raise AssertionError("nothing is pickled")

    found = sent([Trick(), len])
    assert [type(each).__name__ for each in found] == ["Trick", "builtin_function_or_method"]
    assert all(isinstance(each, Unknown) for each in found)
    assert found[0] != 1


def test_what_lies_too_deep_is_cut_off():
    value = []
    value.append(value)
    found = sent(value)
    for _ in range(DEEPEST + 1):
        found = found[0]
    assert isinstance(found, Unknown)


@pytest.mark.parametrize(
    "data",
    [
        [1],
        {},
        {"kind": "pickle", "raw": ""},
        {"kind": "array", "dtype": "O", "shape": [1], "raw": "AAAAAAAAAAA="},
        {"kind": "array", "dtype": "f8", "shape": [2**40], "raw": ""},
        {"kind": "array", "dtype": "V0", "shape": [1], "raw": ""},
        {"kind": "array", "dtype": "f8", "shape": "x", "raw": "!"},
        {"kind": "set", "items": [{"kind": "list", "items": []}]},
        {"kind": "dict", "items": [1]},
        {"kind": "objects", "shape": [3], "items": [1]},
        {"kind": "frame", "columns": [], "index": 3},
        {"kind": "error", "names": [], "text": ""},
        {"kind": "input", "name": "np", "attributes": {"kind": "dict", "items": []}},
        {"kind": "input", "name": "two_methods", "attributes": {"kind": "dict", "items": []}},
        {"kind": "input", "name": "Model", "attributes": 3},
    ],
)
def test_what_is_no_description_is_refused(data):
    with pytest.raises(CourseError, match="cannot be read"):
        decode(data)


def test_of_a_network_its_numbers_and_its_shape_are_told():
    import keras

    base = deepcopy(inputs.Base(16, 5))
    base.trainable = False
    pooled = keras.layers.GlobalMaxPooling2D()(base.output)
    logit = keras.layers.Dense(1, activation="sigmoid")(pooled)
    told = sent(keras.Model(base.input, logit))
    assert type(told) is inputs.Network
    assert (told.trained, told.output_shape) == (6, (None, 1))
    # 4 filters of 3 x 3 x 3, their normalisation, 5 filters of 3 x 3 x 4, and the last layer.
    assert told.weights == (27 * 4 + 4) + 4 * 4 + (36 * 5 + 5) + 6
    assert told.layers[-2:] == ["GlobalMaxPooling2D", "Dense"]
    assert told.activation == "sigmoid"


def test_an_input_to_be_read_only_is_one_in_the_process_that_runs_an_answer():
    there = pickle.loads(pickle.dumps(inputs.ReadOnly(np.ones(2))))
    for _ in range(2):  # each call gets a copy
        given_to_answer = deepcopy(there)
        assert type(given_to_answer) is np.ndarray
        with pytest.raises(ValueError, match="read-only"):
            given_to_answer[0] = 0
        given_to_answer.copy()[0] = 0


def test_a_base_is_a_new_network_each_time_and_the_same_one():
    first, second = deepcopy(inputs.Base(16, 5)), deepcopy(inputs.Base(16, 5))
    first.trainable = False
    assert second.trainable
    assert first.output_shape == second.output_shape == (None, 7, 7, 5)
