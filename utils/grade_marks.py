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

from utils.checking import ENDLESS, OPEN, Exercise, Mark, Verdict
from utils.config import CourseError
from utils.confine import MEBIBYTE, Limits
from utils.grade_child import ALL_SECONDS
from utils.grade_process import Process, Stopped
from utils.grade_run import DEFINING_SECONDS
from utils.grade_wire import decode

LARGEST_NOTEBOOK = 64 * MEBIBYTE
NOTEBOOK_SECONDS = 240.0
GRACE_SECONDS = 5.0  # for what hides from the alarm that stops an honest endless loop
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
    CourseError
        If the code cannot be run at all on this system.
    """
    ends = time.monotonic() + seconds
    marks, process, more = [], None, True
    try:
        for place, exercise in enumerate(exercises):
            left = ends - time.monotonic()
            if left <= 0:
                late = f"not tried: the notebook has used up its {seconds:g} seconds"
                marks.append((Mark.WRONG.value, late))
                continue
            process = process or Process(cells, limits, confined)
            try:
                reply = process.ask(_question(exercise), min(left, _allowed(exercise)))
                marks.append(judged(exercise, reply))
                if more and _may_be_better(reply, marks[-1][0]):
                    left = ends - time.monotonic()
                    seconds_all = min(left, ALL_SECONDS + _allowed(exercise))
                    reply = process.ask(_question(exercise) | {"all": True}, seconds_all)
                    marks[-1] = _better(marks[-1], judged(exercise, reply), reply)
            except Stopped as error:
                if len(marks) == place:
                    marks.append((Mark.WRONG.value, f"stopped: {error}"))
                else:
                    more = False  # what was found with less stands
                process.close()
                process = None
    finally:
        if process is not None:
            process.close()
    return [(mark, one_line(message)) for mark, message in marks]


def _allowed(exercise: Exercise) -> float:
    """Return the seconds after which the process is killed, if it does not stop by itself."""
    return DEFINING_SECONDS + exercise.seconds * len(exercise.cases) + GRACE_SECONDS


def _may_be_better(reply: dict, mark: str) -> bool:
    """Return whether running all cells up to the check may find what was missed."""
    hopeless = reply.get("stopped") == ENDLESS
    return bool(reply.get("more")) and not hopeless and mark in (Mark.WRONG.value, MISSING)


def _better(first: tuple[str, str], second: tuple[str, str], reply: dict) -> tuple[str, str]:
    """Return the second mark if it is right, or if only then there was an answer at all."""
    if second[0] == Mark.RIGHT.value:
        return second
    return second if first[0] == MISSING and reply.get("state") == "ran" else first


def _question(exercise: Exercise) -> dict:
    return {
        "name": exercise.name,
        "is_function": exercise.is_function,
        "seconds": exercise.seconds,
        "cases": [(case.arguments, case.refuses) for case in exercise.cases],
    }


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
        why = reply.get("stopped")
        nothing = f"for {exercise.cases[len(sent)].said} nothing came back"
        return Verdict(Mark.WRONG, exercise.stopped(len(sent), str(why)) if why else nothing)
    return verdict


def one_line(text: str) -> str:
    """Return text without line breaks, control characters and excess, safe in a spreadsheet."""
    plain = "".join(letter if letter.isprintable() else " " for letter in text)
    plain = " ".join(plain.split())
    plain = plain if len(plain) <= _LINE else plain[: _LINE - 1] + "…"
    # A spreadsheet would take these for a formula.
    return "'" + plain if plain.startswith(("=", "+", "-", "@")) else plain
