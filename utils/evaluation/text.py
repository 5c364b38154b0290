"""Numbers, intervals, lists and tables as text; Markdown where it is markup."""

from collections.abc import Sequence

from utils.config import CourseError

UNKNOWN = "–"


def format_number(value: float | None, decimals: int = 3, sign: bool = False) -> str:
    """Return ``0.810``, or a dash for None and NaN.

    Parameters
    ----------
    value : float or None
    decimals : int
    sign : bool
        Whether a plus is written too, as for a difference.
    """
    if value is None or value != value:
        return UNKNOWN
    return f"{value:{'+' if sign else ''},.{decimals}f}"


def format_bounds(low: float, high: float, decimals: int = 3, sign: bool = False) -> str:
    """Return ``0.783 to 0.836``; the parameters are those of `format_number`."""
    return f"{format_number(low, decimals, sign)} to {format_number(high, decimals, sign)}"


def format_interval(interval, decimals: int = 3, sign: bool = False, label: str = "") -> str:
    """Return ``0.810 (0.783 to 0.836)``.

    The estimate alone where there is no interval, and a dash where there is no estimate.

    Parameters
    ----------
    interval : utils.evaluation.bootstrap.Interval
    decimals, sign
        See `format_number`.
    label : str
        What the bounds are, written before them: ``"95 % CI"``.
    """
    estimate = format_number(interval.estimate, decimals, sign)
    if estimate == UNKNOWN or interval.low != interval.low:
        return estimate
    bounds = format_bounds(interval.low, interval.high, decimals, sign)
    return f"{estimate} ({label}{' ' if label else ''}{bounds})"


def listed(items: Sequence[str]) -> str:
    """Return a Markdown list."""
    return "\n".join(f"- {item}" for item in items)


def markdown_table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table; one row of dashes if there are none."""
    lines = [heads, ["---"] * len(heads), *(rows or [[UNKNOWN] * len(heads)])]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def marks(name: str) -> tuple[str, str]:
    """Return the two lines between which a part of a Markdown file is written by a command."""
    return f"<!-- {name}: begin -->", f"<!-- {name}: end -->"


def put_between_marks(text: str, part: str, mark: str, file: str = "README.md") -> str:
    """Return a text with another part between its marks.

    Parameters
    ----------
    text, part : str
    mark : str
        Name of the marks (`marks`).
    file : str
        Name of the file that the text is of, for the error.

    Raises
    ------
    CourseError
        If the marks are not there once each, in order.
    """
    first, last = marks(mark)
    head, begin, rest = text.partition(first)
    _, end, tail = rest.partition(last)
    if not begin or not end or first in rest or last in tail or last in head:
        raise CourseError(f"{file}: needs the lines {first} and {last}, once each, in this order")
    return f"{head}{begin}\n{part}\n{end}{tail}"
