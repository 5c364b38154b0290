"""How a student's answer is tried and judged, whatever it does."""

import threading
import time
from dataclasses import replace

import pytest

from utils.exercises import judges
from utils.exercises.exercise import (
    OPEN,
    Case,
    Exercise,
    Mark,
    describe_exception,
    is_open,
    time_limit,
)


def half(output):
    """Judge the half of 10."""
    return None if output == 5 else f"you return {output}"


def refused(output):
    """Judge what should have been refused with a ValueError."""
    return None if isinstance(output, ValueError) else "you do not refuse it"


HALF = Exercise("half", "99", (Case("ten", (10,), half),))
STRICT = Exercise("strict", "99", (Case("minus one", (-1,), refused, refuses=True),))
VALUE = Exercise("value", "99", (Case("", (), half),), is_function=False)


def stub(number):
    """Return half of it."""
    ...


def bare(number): ...


def constant(number):
    """Return half of it."""
    return 4


def bare_constant(number):
    return 4


def endless(number):
    while True:
        pass


def broken(number):
    raise RuntimeError("no idea\nsecond line")


def strict(number):
    if number < 0:
        raise ValueError("negative")
    return number


def test_right_wrong_and_open():
    assert HALF.verdict(lambda number: number / 2).message == "right, with 1 input"
    assert HALF.verdict(lambda number: number * 2).message == "for ten you return 20"
    assert HALF.verdict(stub).message == OPEN
    assert VALUE.verdict(...).mark is Mark.OPEN
    assert VALUE.verdict(5).message == "right"
    assert VALUE.verdict(6).message == "you return 6"


def test_a_function_that_returns_a_constant_is_an_answer():
    assert is_open(stub) and is_open(bare)
    assert not is_open(constant) and not is_open(bare_constant)
    assert HALF.verdict(constant).message == "for ten you return 4"


def test_nonsense_is_told_in_one_line():
    assert HALF.verdict(broken).message == "for ten it stops with RuntimeError: no idea"
    assert HALF.verdict(7).message == "give the function itself, not a int"
    quick = replace(HALF, seconds=0.05)
    assert quick.verdict(endless).message == "for ten it does not end within 0.05 seconds"


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (strict, "right, with 1 input"),
        (abs, "for minus one you do not refuse it"),
        (broken, "for minus one you do not refuse it"),
    ],
)
def test_an_input_that_has_to_be_refused(answer, message):
    assert STRICT.verdict(answer).message == message


def test_an_exception_where_none_is_due_is_wrong():
    mixed = replace(HALF, cases=(*HALF.cases, *STRICT.cases))
    assert mixed.verdict(broken).mark is Mark.WRONG
    assert mixed.verdict(broken).message.startswith("for ten it stops with")


def test_calling_prints_the_verdict(capsys):
    HALF(stub)
    assert capsys.readouterr().out == "half: not attempted yet\n"


def test_what_came_back_is_judged_together_once_each_is_right():
    def equal(outputs):
        return None if len(set(outputs)) == 1 else f"you return {outputs}"

    ten = (Case("ten", (10,), lambda output: None), Case("twelve", (12,), lambda output: None))
    both = Exercise("both", "99", ten, together=equal)
    assert both.verdict(lambda number: 3).message == "right, with 2 inputs"
    assert both.verdict(lambda number: number).message == "you return [10, 12]"
    refusing = replace(both, cases=HALF.cases + ten)
    assert refusing.verdict(lambda number: number).message == "for ten you return 10"


def test_an_answer_cannot_change_the_input_of_the_next():
    def emptying(numbers):
        total = sum(numbers)
        numbers.clear()
        return total

    total = Exercise("total", "99", (Case("a list", ([2, 3],), half),))
    assert total.verdict(emptying).mark is total.verdict(emptying).mark is Mark.RIGHT


@pytest.mark.parametrize("output", ["5", [5], {}, object()])
def test_another_kind_of_value_is_named(output):
    def strictly(output):
        return None if output + 0 == 5 else "wrong"

    exercise = Exercise("strictly", "99", (Case("ten", (10,), strictly),))
    message = exercise.verdict(lambda number: output).message
    kind = type(output).__name__
    assert message == f"for ten you return a {kind}, which is not the kind of value asked for"


def test_a_function_that_returns_nothing_is_asked_for_its_return():
    message = replace(HALF, cases=(Case("ten", (10,), judges.number(5)),)).verdict(print).message
    words = "which is not the kind of value asked for, one number; is a `return` missing?"
    assert message == f"for ten you return a NoneType, {words}"


def test_a_value_is_given_and_not_returned():
    value = replace(VALUE, cases=(Case("", (), judges.number(5)),))
    words = "which is not the kind of value asked for, one number"
    assert value.verdict("5").message == f"you give a str, {words}"
    assert value.verdict(None).message == f"you give a NoneType, {words}"


def test_an_exception_that_is_returned_is_not_raised():
    refusing = Case("minus one", (-1,), judges.refusal("it is negative"), refuses=True)
    exercise = replace(HALF, cases=(refusing,))
    assert exercise.verdict(strict).mark is Mark.RIGHT
    message = exercise.verdict(lambda number: ValueError("negative")).message
    assert message == "for minus one you return a ValueError; raise it: it is negative"
    assert "a TypeError; refuse it" in exercise.verdict(lambda number: TypeError()).message


def test_what_cannot_even_be_read_is_of_another_kind():
    class Rude:
        def __float__(self):
            raise RuntimeError("no")

    exercise = replace(HALF, cases=(Case("ten", (10,), lambda output: str(float(output))),))
    for output in (Rude(), 10**400):
        message = exercise.verdict(lambda number, output=output: output).message
        assert message.startswith(f"for ten you return a {type(output).__name__}, which is not")


def test_the_time_limit_ends_with_the_block_and_is_left_out_beside_the_main_thread():
    with pytest.raises(TimeoutError), time_limit(0.01):
        time.sleep(1)
    with time_limit(0.01):
        pass
    time.sleep(0.03)

    done = []

    def beside():
        with time_limit(0.001):
            time.sleep(0.01)
            done.append(True)

    thread = threading.Thread(target=beside)
    thread.start()
    thread.join()
    assert done == [True]


def test_an_error_is_told_in_one_line():
    assert describe_exception(ValueError("first\nsecond")) == "ValueError: first"
    assert describe_exception(ValueError()) == "ValueError"


def test_of_an_exception_of_keras_the_message_is_told_and_not_the_layer():
    told = (
        "Exception encountered when calling Sequential.call().\n\n\x1b[1mBad shape\x1b[0m\n\nArgs"
    )
    assert describe_exception(ValueError(told)) == "ValueError: Bad shape"
    alone = "Exception encountered when calling Sequential.call()."
    assert describe_exception(ValueError(alone)) == f"ValueError: {alone}"
