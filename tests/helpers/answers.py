"""Answers to exercises: how the tests list them, and what each has to lead to."""

from dataclasses import replace

import pytest

from utils.exercises.exercise import Exercise, Mark

# Answers of one exercise by what is wrong with them: the answer, then words of the message.
Wrong = dict[str, dict[str, tuple]]


def rights(right: dict[str, list]) -> list:
    """Return the parameters (name, answer) of right answers."""
    return [(name, answer) for name, answers in right.items() for answer in answers]


def wrongs(wrong: Wrong) -> list:
    """Return the parameters (name, answer, words) of wrong answers."""
    return [
        pytest.param(name, answer, words, id=f"{name}-{what}")
        for name, answers in wrong.items()
        for what, (answer, *words) in answers.items()
    ]


def assert_right(exercise: Exercise, answer) -> None:
    verdict = exercise.verdict(answer)
    assert verdict.mark is Mark.RIGHT, verdict.message


def assert_told(exercise: Exercise, answer, words: list[str]) -> None:
    """A wrong answer is refused in one line that holds the words."""
    verdict = exercise.verdict(answer)
    assert verdict.mark is Mark.WRONG
    assert "\n" not in verdict.message
    for word in words:
        assert word in verdict.message


def assert_nonsense_is_told(exercise: Exercise) -> None:
    """Exceptions, other types and endless loops are refused; what is open is called open."""
    if not exercise.is_function:
        assert_told(exercise, object(), ["not the kind of value"])
        assert exercise.verdict(...).mark is Mark.OPEN
        return
    assert_told(exercise, broken, ["stops with KeyError: 'no idea'"])
    assert_told(exercise, text, ["str"])
    assert_told(replace(exercise, seconds=0.05), endless, ["not end within 0.05 seconds"])
    assert exercise.verdict(stub).message == "not attempted yet"


def assert_all_are_tried(exercises: dict[str, Exercise], right: dict, wrong: Wrong) -> None:
    assert right.keys() == wrong.keys() == exercises.keys()
    assert all(len(answers) >= 2 for answers in wrong.values())


def broken(*given):
    raise KeyError("no idea")


def text(*given):
    return "0.5"


def endless(*given):
    while True:
        pass


def stub(*given):
    """Say what is asked."""
    ...
