"""Mark a student's notebook: ask for what each answer returns, and judge it here.

Judges, and what would be right, never leave this process; what comes back is data
(`utils.grade_wire`), so that no code of a student's has a hand in the mark.
"""

import json
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from utils.checking import OPEN, Exercise, Mark, Verdict
from utils.config import CourseError
from utils.confine import MEBIBYTE, Limits
from utils.grade_apart import apart
from utils.grade_child import DEFINING_SECONDS
from utils.grade_process import Process
from utils.grade_watch import Stopped
from utils.grade_wire import decode

LARGEST_NOTEBOOK = 64 * MEBIBYTE
NOTEBOOK_SECONDS = 240.0
GRACE_SECONDS = 5.0  # for what hides from the alarm that stops an honest endless loop
# Of judging one answer; an honest one takes a few milliseconds and mebibytes.
JUDGING_SECONDS, JUDGING_MB = 30.0, 1024
MISSING = "missing"
_LINE = 300
_CALL = re.compile(r"\bcheck\s*\.\s*(\w+)\s*\(")


@dataclass(frozen=True)
class Row:
    """One line of the marks: `mark` is right, wrong, open or missing."""

    student: str
    notebook: str
    exercise: str
    mark: str
    points: int
    message: str
    file: str


def code_cells(path: Path) -> list[str]:
    """Return the text of a notebook's code cells.

    Raises
    ------
    CourseError
        If it is no notebook.
    """
    try:
        if path.stat().st_size > LARGEST_NOTEBOOK:
            raise CourseError(f"larger than {LARGEST_NOTEBOOK // MEBIBYTE} MiB")
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        sources = [cell["source"] for cell in cells if cell["cell_type"] == "code"]
        return [source if isinstance(source, str) else "".join(source) for source in sources]
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise CourseError("not readable as a notebook") from error


def number_of(path: Path, cells: Sequence[str], exercises: Sequence[Exercise]) -> str:
    """Return which notebook of the course this is, from its name or else from its checks."""
    known = {exercise.notebook for exercise in exercises}
    for found in re.findall(r"(?<!\d)(\d\d)(?!\d)", path.stem):
        if found in known:
            return found
    calls = {name for cell in cells for name in _CALL.findall(cell)}
    votes = [exercise.notebook for exercise in exercises if exercise.name in calls]
    return max(sorted(set(votes)), key=votes.count) if votes else ""


def marked(
    cells: Sequence[str],
    exercises: Sequence[Exercise],
    *,
    limits: Limits,
    confined: bool = True,
    seconds: float = NOTEBOOK_SECONDS,
) -> list[tuple[str, str]]:
    """Return mark and message of each exercise.

    Parameters
    ----------
    cells : sequence of str
        The code cells of the student's notebook.
    exercises : sequence of Exercise
    limits : Limits
        Of the process in which the code runs.
    confined : bool
    seconds : float
        For the whole notebook.

    Raises
    ------
    MarkerError
        If the code cannot be run at all, or judged, through no fault of its own.
    """
    ends = time.monotonic() + seconds
    marks, process = [], None
    try:
        for exercise in exercises:
            left = ends - time.monotonic()
            if left <= 0:
                late = f"not tried: the notebook has used up its {seconds:g} seconds"
                marks.append((Mark.WRONG.value, late))
                continue
            process = process or Process(cells, limits, confined)
            try:
                words = process.ask(_question(exercise), min(left, _allowed(exercise)))
                marks.append(_judged_apart(exercise, words))
            except Stopped as error:
                marks.append((Mark.WRONG.value, f"stopped: {error}"))
                process.close()
                process = None
    finally:
        if process is not None:
            process.close()
    return [(mark, one_line(message)) for mark, message in marks]


def _allowed(exercise: Exercise) -> float:
    """Return the seconds after which the process is killed, if it does not stop by itself."""
    return DEFINING_SECONDS + exercise.seconds * len(exercise.cases) + GRACE_SECONDS


def _question(exercise: Exercise) -> dict:
    return {
        "name": exercise.name,
        "is_function": exercise.is_function,
        "seconds": exercise.seconds,
        "cases": [(case.arguments, case.refuses) for case in exercise.cases],
    }


def _judged_apart(exercise: Exercise, words: bytes) -> tuple[str, str]:
    """Return mark and message for an answer that has not been looked into.

    Raises
    ------
    Stopped
        If it cannot be read, or to judge it takes too much.
    """

    def work() -> list[str] | None:
        try:
            reply = json.loads(words)
        except (ValueError, RecursionError):
            return None
        return list(judged(exercise, reply)) if isinstance(reply, dict) else None

    try:
        found = apart(work, seconds=JUDGING_SECONDS, memory_mb=JUDGING_MB)
    except Stopped as error:
        raise Stopped(f"what it returns cannot be judged: {error}") from error
    if found is None:
        raise Stopped("what it returns is too large, or cannot be read")
    mark, message = found
    return mark, message


def judged(exercise: Exercise, reply: dict) -> tuple[str, str]:
    """Return mark and message for what the other process says; it may say anything."""
    state, text = reply.get("state"), str(reply.get("text", ""))
    if state == "open":
        return Mark.OPEN.value, OPEN
    if state == "missing":
        return MISSING, text or f"no cell calls check.{exercise.name}(…)"
    if state == "no function":
        return Mark.WRONG.value, f"give the function itself, not a {text}"
    if state != "ran":
        return Mark.WRONG.value, text or "what came back cannot be read"
    verdict = _verdict(exercise, reply)
    return verdict.mark.value, verdict.message


def _verdict(exercise: Exercise, reply: dict) -> Verdict:
    sent = reply.get("outputs")
    if not isinstance(sent, list) or len(sent) > len(exercise.cases):
        return Verdict(Mark.WRONG, "what came back cannot be read")
    try:
        verdict = exercise.judged([decode(one) for one in sent])
    except CourseError as error:
        return Verdict(Mark.WRONG, str(error))
    except Exception as error:  # noqa: BLE001 - judges are written for honest answers
        message = f"what came back cannot be judged ({type(error).__name__})"
        return Verdict(Mark.WRONG, message)
    if verdict.mark is Mark.RIGHT and len(sent) < len(exercise.cases):
        return Verdict(Mark.WRONG, _stopped(exercise, len(sent), reply.get("stopped")))
    return verdict


def _stopped(exercise: Exercise, place: int, why: object) -> str:
    said = exercise.cases[place].said
    if why == "endless":
        return f"for {said} it does not end within {exercise.seconds:g} seconds"
    return f"for {said} it stops with {why}" if why else f"for {said} nothing came back"


def one_line(text: str) -> str:
    """Return text without line breaks, control characters and excess, safe in a spreadsheet."""
    plain = "".join(letter if letter.isprintable() else " " for letter in text)
    plain = " ".join(plain.split())
    plain = plain if len(plain) <= _LINE else plain[: _LINE - 1] + "…"
    # A spreadsheet would take these for a formula.
    return "'" + plain if plain.startswith(("=", "+", "-", "@")) else plain
