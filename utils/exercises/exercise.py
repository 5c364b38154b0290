"""What an exercise is: inputs to try a student's answer on, and a judgement of what comes back.

An answer is a function, or a value such as a number or a name. A judgement never says what would
have been right; it says what is wrong with which input. `utils.check` holds the exercises.

The check in a notebook and `make grade` call an answer by the same function (`tried`) and judge
what is left of it after `encode` and `decode`, so that one never calls right what the other calls
wrong.
"""

import re
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from enum import Enum

from utils.exercises.grading.encoding import decode, encode

_BOLD = re.compile(r"\x1b\[\d*m")
OPEN = "not attempted yet"
ENDLESS = "endless"


class AnotherKindError(TypeError):
    """A value is not even of the kind that a judge compares; the message says what is asked for.

    It is not among the judges, which the process that runs a student's answers must not read.
    """


class Mark(Enum):
    """How an answer did."""

    OPEN = "open"
    RIGHT = "right"
    WRONG = "wrong"


@dataclass(frozen=True)
class Verdict:
    """A mark, and the line that a student reads.

    Attributes
    ----------
    mark : Mark
    message : str
        One line.
    """

    mark: Mark
    message: str


@dataclass(frozen=True)
class Case:
    """One input that an answer is tried on.

    Attributes
    ----------
    description : str
        What the input is, as it stands after "for": ``"two empty masks"``. Empty for an answer
        that is a value.
    arguments : tuple
        What a function is called with; copied for every call.
    judge : callable
        Takes what came back and returns None if that is right; otherwise what is wrong with it,
        as it stands after the input: ``"you return nan; decide what it should be and say why"``.
    refuses : bool
        Whether a right answer may raise here. The judge then gets the exception, or what came back
        instead of one.
    """

    description: str
    arguments: tuple
    judge: Callable[[object], str | None]
    refuses: bool = False


@dataclass(frozen=True)
class Exercise:
    """A name, the inputs, and how long an answer may take for all of them.

    Calling it prints the verdict.

    Attributes
    ----------
    name : str
        As a notebook calls it: ``check.<name>(answer)``.
    notebook : str
        Number of the notebook that sets it, ``"04"``.
    cases : tuple of Case
        In the order in which they are tried; the first wrong one is told.
    is_function : bool
        Whether the answer is a function; otherwise it is a value, with one case.
    seconds : float
    together : callable, optional
        Takes what came back for all cases, each right by itself, and returns None or what is wrong
        with them together: ``"the same patients in another order give another result"``.
    """

    name: str
    notebook: str
    cases: tuple[Case, ...]
    is_function: bool = True
    seconds: float = 5.0
    together: Callable[[list], str | None] | None = None

    def __call__(self, answer) -> None:
        """Print one line that says how the answer does."""
        print(f"{self.name}: {self.verdict(answer).message}")

    def verdict(self, answer) -> Verdict:
        """Return how the answer does; whatever the answer is, nothing is raised."""
        if is_open(answer):
            return Verdict(Mark.OPEN, OPEN)
        if not self.is_function:
            return self.judged([decode(encode(answer))])
        if not callable(answer):
            return Verdict(Mark.WRONG, f"give the function itself, not a {_kind(answer)}")
        sent, verdict = [], self.judged([])
        for case in self.cases:
            output, stopped = call_answer(answer, case.arguments, case.refuses, self.seconds)
            if stopped:
                return Verdict(Mark.WRONG, self.stopped(len(sent), stopped))
            sent.append(output)
            # Read anew each time: a judge may use up what came back.
            verdict = self.judged([decode(each) for each in sent])
            if verdict.mark is Mark.WRONG:
                break
        return verdict

    def stopped(self, place: int, why: str) -> str:
        """Return the message about an answer that did not get through a case (`tried`)."""
        said = self.cases[place].description
        if why == ENDLESS:
            return f"for {said} it does not end within {self.seconds:g} seconds"
        return f"for {said} it stops with {why}"

    def judged(self, outputs: list) -> Verdict:
        """Return the verdict on what came back for the first `len(outputs)` cases."""
        for case, output in zip(self.cases, outputs, strict=False):
            try:
                fault = case.judge(output)
            except Exception as error:  # noqa: BLE001 - methods of what came back may raise anything
                # The judge could not even read it: an answer of another kind than was asked for.
                fault = self._of_another_kind(output, error)
            if fault is not None:
                return Verdict(
                    Mark.WRONG, f"for {case.description} {fault}" if case.description else fault
                )
        if self.together is not None and len(outputs) == len(self.cases):
            fault = self.together(outputs)
            if fault is not None:
                return Verdict(Mark.WRONG, fault)
        if not self.is_function:
            return Verdict(Mark.RIGHT, "right")
        count = len(self.cases)
        return Verdict(Mark.RIGHT, f"right, with {count} input{'s' if count > 1 else ''}")

    def _of_another_kind(self, output, error: Exception) -> str:
        """Return what is said about a value that a judge could not read."""
        verb = "return" if self.is_function else "give"
        fault = f"you {verb} a {_kind(output)}, which is not the kind of value asked for"
        if isinstance(error, AnotherKindError):
            fault += f", {error}"
        if output is None and self.is_function:
            fault += "; is a `return` missing?"
        return fault


def call_answer(
    answer: Callable, arguments: tuple, refuses: bool, seconds: float
) -> tuple[object, str | None]:
    """Call an answer with one input.

    Parameters
    ----------
    answer : callable
    arguments : tuple
        Copied before.
    refuses : bool
        Whether it may raise here; what it raises then came back.
    seconds : float

    Returns
    -------
    output : object
        What came back, as `utils.exercises.grading.encoding.encode` describes it: as it was at this
        moment.
    stopped : str or None
        `ENDLESS`, or what it was stopped by.
    """
    try:
        with time_limit(seconds):
            output = answer(*deepcopy(arguments))
            if isinstance(output, BaseException):
                # As an exception it would count as raised; only its name is sent.
                output = type(type(output).__name__, (), {})()
            return encode(output), None
    except TimeoutError:
        return None, ENDLESS
    except Exception as error:  # noqa: BLE001 - a student's function may raise anything
        return (encode(error), None) if refuses else (None, describe_exception(error))


def is_open(answer) -> bool:
    """Return whether an answer is as the students' edition leaves it: `...`, or an empty body."""
    if answer is Ellipsis:
        return True
    code = getattr(answer, "__code__", None)
    if code is None or code.co_code not in {each.__code__.co_code for each in _EMPTY}:
        return False
    # `return 1` compiles to the same steps as `...`; the two differ in the constants.
    return set(code.co_consts) <= {None, answer.__doc__}


def _described():
    """Do nothing."""
    ...


def _undescribed(): ...


# What a function compiles to whose body is `...`: a docstring moves the constant that is returned.
_EMPTY = (_described, _undescribed)


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Raise TimeoutError in the block after so many seconds; limits may lie in one another.

    It rests on an alarm signal, which only the main thread of a Unix process gets; elsewhere the
    block runs without a limit.
    """
    if not hasattr(signal, "SIGALRM") or threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(number, frame):
        raise TimeoutError

    began = time.monotonic()
    previous = signal.signal(signal.SIGALRM, stop)
    around, _ = signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)
        if around:
            left = around - (time.monotonic() - began)
            signal.setitimer(signal.ITIMER_REAL, max(left, 1e-3))


def describe_exception(error: BaseException) -> str:
    """Return an exception as part of a line: its kind and the first line of its message.

    Keras puts a line that names a layer before the message, which is set in bold.
    """
    lines = [line for line in _BOLD.sub("", str(error)).splitlines() if line.strip()]
    if len(lines) > 1 and lines[0].startswith("Exception encountered when calling "):
        lines = lines[1:]
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


def _kind(value) -> str:
    return type(value).__name__
