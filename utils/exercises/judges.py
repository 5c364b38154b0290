"""How answers are compared with what is right, and small masks to try them on."""

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from utils.exercises.exercise import AnotherKindError
from utils.exercises.grading.encoding import Unknown


def mask(*lines: str) -> np.ndarray:
    """Return a mask (bool, height x width) from rows such as ``".##."``."""
    return np.array([[pixel == "#" for pixel in line] for line in lines])


def same(values, others, within: float = 1e-6) -> bool:
    """Return whether two arrays have one shape and, but for rounding, the same values."""
    values, others = np.asarray(values, dtype=float), np.asarray(others, dtype=float)
    return values.shape == others.shape and bool(
        np.allclose(values, others, rtol=0, atol=within, equal_nan=True)
    )


Judge = Callable[[object], str | None]


def number(
    right: float,
    *,
    within: float = 1e-6,
    slips: Mapping[float, str] | None = None,
    verb: str = "you return",
) -> Judge:
    """Judge one number.

    Parameters
    ----------
    right : float
        May be nan.
    within : float
        How far off an answer may be, and how close to a slip it is taken for that slip, or for
        the closest of several.
    slips : mapping
        From a value that a typical mistake leads to (nan too) to what is said about it.
    verb : str
        How a message begins; ``"you say"`` where the answer is a value.
    """

    def judge(output):
        value = _number(output)
        if _alike(value, right, within):
            return None
        near = [slip for slip in slips or {} if _alike(value, slip, within)]
        if near:
            words = slips[min(near, key=lambda slip: abs(slip - value))]
            return f"{verb} {_shown(value)}: {words}"
        if math.isnan(value) or math.isnan(right):
            return f"{verb} {_shown(value)}; decide what it should be and say why"
        return f"{verb} {_shown(value)}, which is too {'high' if value > right else 'low'}"

    return judge


def member(judge: Judge, value, verb: str = "you return") -> str | None:
    """Judge one of several values that came back together.

    If it is of another kind, that is said of it alone: what holds it is of the kind asked for.
    """
    try:
        return judge(value)
    except AnotherKindError as error:
        return f"{verb} a {type(value).__name__}, not {error}"


def any_number(output) -> None:
    """Judge nothing but that it is one number."""
    _number(output)


def numbers(
    right: Sequence[float],
    names: Sequence[str],
    *,
    within: float = 1e-6,
    slips: Mapping[tuple, str] | None = None,
) -> Judge:
    """Judge a fixed number of values that are returned together.

    Parameters
    ----------
    right : sequence of float
    names : sequence of str
        What each of them is called in a message.
    within : float
    slips : mapping
        From the values, all together, that a typical mistake leads to.
    """

    def judge(output):
        if isinstance(output, str | Mapping):
            raise AnotherKindError(f"{len(right)} numbers")
        if len(output) != len(right):
            return f"you return {len(output)} values; {len(right)} are asked for"
        for value, name in zip(output, names, strict=True):
            fault = member(any_number, value)
            if fault is not None:
                return f"{fault} ({name})"
        values = [float(value) for value in output]
        for slip, words in (slips or {}).items():
            if all(_alike(*pair, within) for pair in zip(values, slip, strict=True)):
                return words
        for value, one, name in zip(values, right, names, strict=True):
            fault = number(one, within=within)(value)
            if fault is not None:
                return f"{fault} ({name})"
        return None

    return judge


def array(
    right: np.ndarray,
    *,
    within: float = 1e-6,
    kind: str | None = None,
    slips: Sequence[tuple[np.ndarray, str]] = (),
) -> Judge:
    """Judge an array: its shape, the kind of its values, then the values.

    Parameters
    ----------
    right : ndarray
    within : float
    kind : str, optional
        Name of the dtype that is asked for; by default any number will do.
    slips : sequence of (ndarray, str)
        What a typical mistake leads to, and what is said about it.
    """
    right = np.asarray(right)

    def judge(output):
        values = np.asarray(output)
        if values.dtype.kind not in "biuf":
            raise AnotherKindError("an array of numbers")
        if values.shape != right.shape:
            return f"you return the shape {values.shape}, not {right.shape}"
        if kind is not None and values.dtype != kind:
            return f"you return {values.dtype}, not {kind}"
        wrong = ~_near(values, right, within)
        if not wrong.any():
            return None
        for slip, words in slips:
            if _near(values, np.asarray(slip), within).all():
                return words
        return _first_fault(values, right, wrong)

    return judge


def _first_fault(values: np.ndarray, right: np.ndarray, wrong: np.ndarray) -> str:
    place = tuple(int(each) for each in np.argwhere(wrong)[0])
    value, expected = float(values[place]), float(right[place])
    if math.isnan(value) or math.isnan(expected):
        return f"you return {value:.6g} at {place}; decide what it should be and say why"
    return f"you return {value:.6g} at {place}, too {'high' if value > expected else 'low'}"


def text(right: str, *, what: str, slips: Mapping[str, str] | None = None) -> Judge:
    """Judge a piece of text; `what` says what it should have been, without giving it away."""

    def judge(output):
        if not isinstance(output, str):
            raise AnotherKindError("one text")
        if output == right:
            return None
        return f"you return {output!r}, {(slips or {}).get(output, f'which is not {what}')}"

    return judge


def refusal(why: str, *kinds: type[Exception]) -> Judge:
    """Judge an input that has to be refused (`Case.refuses`): with one of these exceptions.

    Parameters
    ----------
    why : str
        Why it should be refused, as it stands after "refuse it:".
    *kinds : type
        Exceptions that count; by default ValueError.
    """
    kinds = kinds or (ValueError,)
    names = " or ".join(kind.__name__ for kind in kinds)

    def judge(output):
        if isinstance(output, kinds):
            return None
        if type(output).__name__ in names.split(" or "):
            return f"you return a {type(output).__name__}; raise it: {why}"
        done = "it stops with" if isinstance(output, Exception) else "you return"
        if isinstance(output, Exception):
            what = type(output).__name__
        elif isinstance(output, int | float | np.number):  # np.float64(0.5) is 0.5 to a student
            what = f"{output:.6g}"
        else:
            what = shown(output)
        return f"{done} {what}; refuse it with a {names}: {why}"

    return judge


def shown(value) -> str:
    """Return a value as part of a line; a table, an array, or what was not sent, as its kind."""
    words = repr(value)
    if isinstance(value, Unknown) or "\n" in words or len(words) > 40:
        return f"a {type(value).__name__}"
    return words


def _shown(value: float) -> str:
    return f"{value:.0f}" if 1e6 <= abs(value) < 1e15 else f"{value:.6g}"


def _number(output) -> float:
    """Return a single number as float; text, bool, containers and None are of another kind."""
    strange = str | bytes | bool | np.bool_ | complex | np.complexfloating | None
    if isinstance(output, strange) or np.ndim(output) != 0:
        raise AnotherKindError("one number")
    try:
        return float(output)
    except TypeError as error:  # an object that is no number at all
        raise AnotherKindError("one number") from error


def _alike(value: float, right: float, within: float) -> bool:
    both_nan = math.isnan(value) and math.isnan(right)
    return both_nan or value == right or abs(value - right) <= within


def _near(values: np.ndarray, right: np.ndarray, within: float) -> np.ndarray:
    return np.isclose(
        values.astype(float), right.astype(float), rtol=0, atol=within, equal_nan=True
    )
