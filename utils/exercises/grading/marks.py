"""Mark a student's notebook: ask for what each answer returns, and judge it here.

Judges, and what would be right, never leave this process; what comes back is data
(`utils.exercises.grading.encoding`), so that no code of a student's has a hand in the mark.
"""

import json
import re
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from utils.config import CourseError
from utils.exercises.exercise import ENDLESS, OPEN, Exercise, Mark, Verdict
from utils.exercises.grading.child import ALL_SECONDS
from utils.exercises.grading.confine import MEBIBYTE, Limits
from utils.exercises.grading.encoding import decode
from utils.exercises.grading.forked import in_forked_process
from utils.exercises.grading.process import Process
from utils.exercises.grading.run import DEFINING_SECONDS
from utils.exercises.grading.watch import Stopped

LARGEST_NOTEBOOK = 64 * MEBIBYTE
NOTEBOOK_SECONDS = 240.0
GRACE_SECONDS = 5.0  # for what hides from the alarm that stops an honest endless loop
# Of judging one answer; an honest one takes a few milliseconds and mebibytes.
JUDGING_SECONDS, JUDGING_MB = 30.0, 1024
# What Python prints of an object that has no text of its own; another in every run.
_ADDRESS = re.compile(r" at 0x[0-9a-f]+\b")
MISSING = "missing"
_LINE = 300
_WORD = re.compile(r"\w+")
_CALL = re.compile(r"\b(utils\.check|\w+)\s*\.\s*(\w+)")
_MODULE_AS = re.compile(r"\bcheck\s+as\s+(\w+)")
_IMPORTED = re.compile(r"\bfrom\s+utils\.check\s+import\s*(\([^)]*\)|[^\n]*)")
# A cell that begins with one of these, in full width too, is computed by a spreadsheet; and so is
# what stands after a semicolon, where that is what a spreadsheet parts cells at.
_COMPUTED = re.compile(r"(^|;)([\s\"]*)(?=[=+\-@＝＋－＠﹦﹢﹣﹫])")


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
        data = path.read_bytes()
        if not data.strip():
            raise CourseError("an empty file")
        if data.startswith(b"PK\x03\x04"):
            raise CourseError("an archive: unpack it")
        found = list(_code(_json(data)))
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise CourseError("not readable as a notebook") from error
    return found


def _json(data: bytes):
    """Return what a JSON file holds, in any encoding of Unicode or else that of old Windows."""
    try:
        text = data.decode(json.detect_encoding(data), "surrogatepass")
    except UnicodeDecodeError:
        text = data.decode("cp1252", "replace")
    return json.loads(text, strict=False)


def _code(notebook: dict) -> Iterator[str]:
    """Yield the text of code cells, as nbformat 1 to 4 keep it; what is no cell is left out."""
    sheets = notebook["worksheets"] if "cells" not in notebook else [notebook]
    for cell in (cell for sheet in sheets for cell in sheet["cells"]):
        if not isinstance(cell, dict) or cell.get("cell_type") != "code":
            continue
        source = next((cell[key] for key in ("source", "input", "code") if key in cell), "")
        lines = source if isinstance(source, list) else [source]
        yield "".join(line for line in lines if isinstance(line, str))


def number_of(path: Path, cells: Sequence[str], exercises: Sequence[Exercise]) -> str:
    """Return which notebook of the course this is.

    That of most of the exercises that it checks; where these are equal, or none, that whose number
    stands in the name of the file.
    """
    called = checked(cells, exercises)
    votes = Counter(exercise.notebook for exercise in called)
    most = max(votes.values(), default=0)
    known = {exercise.notebook for exercise in exercises}
    tied = {number for number in known if votes[number] == most}
    named = [found for found in re.findall(r"(?<!\d)(\d\d)(?!\d)", path.stem) if found in tied]
    return named[0] if named else min(tied) if votes else ""


def checked(cells: Sequence[str], exercises: Sequence[Exercise]) -> list[Exercise]:
    """Return the exercises that some code checks, as far as its text tells."""
    text = "\n".join(cells)
    modules = {"check", "utils.check", *_MODULE_AS.findall(text)}
    imported = {word for names in _IMPORTED.findall(text) for word in _WORD.findall(names)}
    called = {name for module, name in _CALL.findall(text) if module in modules} | imported
    return [exercise for exercise in exercises if exercise.name in called]


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
    marks, process, more = [], None, True
    try:
        for place, exercise in enumerate(exercises):
            left = ends - time.monotonic()
            if left <= 0:
                late = f"not tried: the notebook has used up its {seconds:g} seconds"
                marks.append((Mark.WRONG.value, late))
                continue
            if process is None:
                began = time.monotonic()
                process = Process(cells, limits, confined)
                ends += time.monotonic() - began  # what the marker takes is not the notebook's
            try:
                words = process.ask(_question(exercise), min(left, _allowed(exercise)))
                found, hopeful = _judged_apart(exercise, words)
                marks.append(found)
                if hopeful and more:
                    left = min(ends - time.monotonic(), ALL_SECONDS + _allowed(exercise))
                    words = process.ask(_question(exercise) | {"all": True}, max(left, 0.0))
                    marks[place] = _better(found, _judged_apart(exercise, words)[0])
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
    return [(mark, one_line(_ADDRESS.sub("", message))) for mark, message in marks]


def _allowed(exercise: Exercise) -> float:
    """Return the seconds after which the process is killed, if it does not stop by itself."""
    return DEFINING_SECONDS + exercise.seconds * len(exercise.cases) + GRACE_SECONDS


def _is_hopeful(reply: dict, mark: str) -> bool:
    endless = reply.get("stopped") == ENDLESS
    return bool(reply.get("more")) and not endless and mark in (Mark.WRONG.value, MISSING)


def _better(first: tuple[str, str], second: tuple[str, str]) -> tuple[str, str]:
    """Return the second mark if it is right, or if only then there was an answer at all."""
    found = first[0] == MISSING != second[0]
    return second if found or second[0] == Mark.RIGHT.value else first


def _question(exercise: Exercise) -> dict:
    return {
        "name": exercise.name,
        "is_function": exercise.is_function,
        "seconds": exercise.seconds,
        "cases": [(case.arguments, case.refuses) for case in exercise.cases],
    }


def _judged_apart(exercise: Exercise, words: bytes) -> tuple[tuple[str, str], bool]:
    """Return mark and message for an answer that has not been looked into.

    Also whether running all cells up to the check may find what was missed.

    Raises
    ------
    Stopped
        If it cannot be read, or to judge it takes too much.
    """

    def work() -> list | None:
        try:
            reply = json.loads(words)
        except (ValueError, RecursionError):
            return None
        if not isinstance(reply, dict):
            return None
        mark, message = judged(exercise, reply)
        return [mark, message, _is_hopeful(reply, mark)]

    try:
        found = in_forked_process(work, seconds=JUDGING_SECONDS, memory_mb=JUDGING_MB)
    except Stopped as error:
        raise Stopped(f"what it returns cannot be judged: {error}") from error
    if found is None:
        raise Stopped("what it returns is too large, or cannot be read")
    mark, message, hopeful = found
    return (mark, message), hopeful


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
        nothing = f"for {exercise.cases[len(sent)].description} nothing came back"
        return Verdict(Mark.WRONG, exercise.stopped(len(sent), str(why)) if why else nothing)
    return verdict


def one_line(text: str) -> str:
    """Return text without line breaks, control characters and excess, safe in a spreadsheet."""
    plain = "".join(letter if letter.isprintable() else " " for letter in text)
    plain = " ".join(plain.split())
    plain = plain if len(plain) <= _LINE else plain[: _LINE - 1] + "…"
    return _COMPUTED.sub(r"\1\2'", plain)
