"""Mark a folder of students' notebooks: one line an exercise in one CSV.

    python -m utils.grade SUBMISSIONS [--out marks.csv] [--jobs N] [--trust]

SUBMISSIONS holds a folder for each student, with their notebooks in it, or the notebooks
themselves, which are then named after the students. Whoever handed something in has a row. See
docs/instructors.md.
"""

import argparse
import contextlib
import csv
import errno
import importlib
import io
import itertools
import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent import futures
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, astuple, fields, replace
from pathlib import Path

from tqdm import tqdm

from utils.config import CourseError, atomic_path, command, user_path
from utils.exercises.exercise import Exercise, Mark
from utils.exercises.grading.confine import Limits, die_with, lacking
from utils.exercises.grading.files import Progress, content, held, scratch, sweep, version
from utils.exercises.grading.forked import in_forked_process
from utils.exercises.grading.marks import (
    MISSING,
    NOTEBOOK_SECONDS,
    Row,
    checked,
    code_cells,
    marked,
    number_of,
    one_line,
)
from utils.exercises.grading.process import fork_server, probe, serving
from utils.exercises.grading.submissions import HandedIn, final_rows, handed_in, named, student_rows
from utils.exercises.grading.watch import Stopped

# Of the process that reads one notebook, asks for its answers and has them judged: its time beside
# that of the answers, and its memory, MiB, which the JSON of 64 MiB can fill.
READING_SECONDS, READING_MB = 180.0, 2048
UNMARKED = "unmarked"
ENDED = (
    "a process that marks was ended (out of memory?); the notebooks marked so far are kept: run "
    "the same command again, with a smaller --jobs"
)


class _Bar(tqdm):
    """A progress bar without a thread of its own: this process makes copies of itself."""

    monitor_interval = 0


def rows_of(
    student: str, path: Path, exercises: Sequence[Exercise], limits: Limits, confined: bool
) -> list[Row]:
    """Return the marks of one notebook; one that cannot be read has none, and says so."""
    row = Row(one_line(student), "", "", MISSING, 0, "", one_line(path.name))
    try:
        cells = code_cells(path)
    except CourseError as error:
        cells, row = [], replace(row, message=str(error))
    number = number_of(path, cells, exercises)
    called = checked(cells, exercises)
    asked = [each for each in exercises if each.notebook == number or each in called]
    if not asked:
        return [replace(row, message=row.message or "no exercise of the course in it")]
    if not cells:
        marks = [(MISSING, row.message or "no code in it")] * len(asked)
    else:
        marks = marked(
            cells, asked, limits=limits, confined=confined, seconds=float(limits.cpu_seconds)
        )
    return [
        replace(
            row,
            notebook=exercise.notebook,
            exercise=exercise.name,
            mark=mark,
            points=int(mark == Mark.RIGHT.value),
            message=message,
        )
        for exercise, (mark, message) in zip(asked, marks, strict=True)
    ]


class Marks:
    """The table of all marks. Of a student's rows the text is kept until one of them changes.

    Parameters
    ----------
    out : Path
        The CSV.
    listed : sequence of HandedIn
    tables : mapping
        Path -> the rows of a notebook; None if it is not marked yet.
    """

    def __init__(
        self, out: Path, listed: Sequence[HandedIn], tables: Mapping[Path, list[Row] | None]
    ):
        self._out, self._listed, self._tables = out, listed, dict(tables)
        self._files = named(listed)
        self._student = {one.path: name for name, files in self._files.items() for one in files}
        self._text = {name: self._written(name) for name in self._files}

    def take(self, path: Path, rows: list[Row]) -> None:
        """Enter the rows of a notebook, and write the table, all or nothing."""
        self._tables[path] = rows
        name = self._student[path]
        self._text[name] = self._written(name)
        self.write()

    def write(self) -> None:
        """Write the table, all or nothing."""
        head = _csv([[field.name for field in fields(Row)]])
        with (
            atomic_path(self._out) as temporary,
            temporary.open("w", encoding="utf-8", errors="backslashreplace", newline="") as file,
        ):
            file.writelines([head, *self._text.values()])

    def rows(self) -> list[Row]:
        """Return all rows."""
        return final_rows(self._listed, self._tables)

    def _written(self, name: str) -> str:
        return _csv(map(astuple, student_rows(name, self._files[name], self._tables)))


def _csv(lines: Iterable[Iterable]) -> str:
    text = io.StringIO()
    csv.writer(text).writerows(lines)
    return text.getvalue()


def rows_apart(
    student: str,
    name: str,
    data: bytes,
    exercises: Sequence[Exercise],
    limits: Limits,
    confined: bool,
) -> list[Row]:
    """Return the marks of one notebook, found in a process of its own; nothing is raised.

    Parameters
    ----------
    student : str
    name : str
        Of the notebook's file.
    data : bytes
        What is in it.
    exercises, limits, confined
        As for `rows_of`.
    """
    row = Row(one_line(student), "", "", MISSING, 0, "", one_line(name))
    try:
        fork_server()  # here, so that it is there for the next notebook too
        with scratch() as folder:
            # A copy that nobody else can change while it is read.
            copied = folder / "notebook" / name
            copied.parent.mkdir(mode=0o700)
            copied.write_bytes(data)
            found = in_forked_process(
                lambda: [
                    asdict(one) for one in rows_of(student, copied, exercises, limits, confined)
                ],
                seconds=limits.cpu_seconds + READING_SECONDS,
                memory_mb=READING_MB,
                scratch=folder,
            )
    except Stopped as error:
        return [replace(row, message=one_line(f"stopped: {error}"))]
    except CourseError as error:
        return [replace(row, mark=UNMARKED, message=one_line(str(error)))]
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS):
            raise  # it would be the same for every other notebook
        return [replace(row, mark=UNMARKED, message=one_line(str(error)))]
    return [Row(**one) for one in found]


def grade(
    folder: Path,
    out: Path,
    exercises: Sequence[Exercise],
    *,
    limits: Limits | None = None,
    trust: bool = False,
    jobs: int = 1,
) -> list[Row]:
    """Mark all notebooks of a folder, write the marks after each, and return them.

    What an earlier call has marked is not marked again, if neither the notebook nor the course has
    changed (`utils.exercises.grading.files`). The marks do not depend on `jobs`.

    Parameters
    ----------
    folder, out : Path
        Where the notebooks lie, and the CSV to write.
    exercises : sequence of Exercise
    limits : Limits, optional
        Of the process in which a notebook's code runs; its time is that of one notebook.
    trust : bool
        Run students' code without walls where this system has none.
    jobs : int
        How many notebooks are marked at a time, each in a process of its own.

    Raises
    ------
    CourseError
        If there is nothing to mark, the CSV cannot be written, the code that marks does not work
        here, or this system cannot confine a process and `trust` is not set.
    """
    confined = _confined(trust)
    limits = limits or Limits(cpu_seconds=int(NOTEBOOK_SECONDS))
    out = Path(os.path.realpath(out))  # not to replace a link by a file
    listed = [one for one in handed_in(folder) if not _is_ours(one.path, out)]
    with held(out):
        progress = Progress(out, version(exercises, limits, confined))
        sweep()
        with serving():
            probe(limits, confined)
            return _graded(folder, out, listed, progress, jobs, (exercises, limits, confined))


def _graded(
    folder: Path,
    out: Path,
    listed: Sequence[HandedIn],
    progress: Progress,
    jobs: int,
    how: tuple,
) -> list[Row]:
    """Mark what is not marked yet, as `how` says (`_marked`), and return all rows."""
    importlib.import_module("pandas")  # once here, and not in every process that judges a table
    if progress.outdated:
        _say("The course has changed since the last call: all is marked anew.")
    notebooks = [(one.student, one.path) for one in listed if not one.reason]
    tables = {path: _known(student, path, folder, progress) for student, path in notebooks}
    left = [(student, path) for student, path in notebooks if tables[path] is None]
    if len(left) < len(notebooks):
        done = len(notebooks) - len(left)
        _say(f"{done} of {len(notebooks)} notebooks need no marking (any more).")
    table = Marks(out, listed, tables)
    table.write()
    given = _with_content(left, folder)
    with _Bar(total=len(left), unit="notebook", disable=None, leave=False) as bar:
        for path, data, found in _marked(given, jobs, how):
            if data is not None and all(row.mark != UNMARKED for row in found):
                progress.keep(str(path.relative_to(folder)), data, found)
            right = sum(row.points for row in found)
            name = f"{found[0].student}, {found[0].notebook or path.name}"
            with bar.external_write_mode():
                _say(f"{name}: {right} of {len(found)} right")
            bar.update()
            table.take(path, found)
    rows = table.rows()
    for row in rows:
        if not row.exercise:
            _say(f"{row.student}: {row.message}")
    return rows


def _is_ours(path: Path, out: Path) -> bool:
    """Return whether a file is the CSV that is written, or lies beside it for the next call."""
    place = Path(os.path.realpath(path.parent))  # of the folder: a link may lead round in a loop
    return place == out.parent and path.name.startswith(out.name)


def _known(student: str, path: Path, folder: Path, progress: Progress) -> list[Row] | None:
    """Return the rows of a notebook that needs no marking: it was marked, or cannot be read."""
    try:
        return progress.rows(str(path.relative_to(folder)), content(folder, path))
    except CourseError as error:
        return [Row(one_line(student), "", "", MISSING, 0, str(error), one_line(path.name))]


def _with_content(
    notebooks: Sequence[tuple[str, Path]], folder: Path
) -> Iterator[tuple[str, Path, bytes | CourseError]]:
    """Yield student, path and what is in the file, or why it cannot be read; one at a time."""
    for student, path in notebooks:
        try:
            yield student, path, content(folder, path)
        except CourseError as error:
            yield student, path, error


def _marked(
    notebooks: Iterable[tuple[str, Path, bytes | CourseError]], jobs: int, how: tuple
) -> Iterator[tuple[Path, bytes | None, list[Row]]]:
    """Yield path, content and rows of each notebook as soon as it is marked.

    Parameters
    ----------
    notebooks : iterable
        From `_with_content`; of no more than twice `jobs` is the content held.
    jobs : int
    how : tuple
        Exercises, limits, and whether code is shut in.
    """
    left = iter(notebooks)
    at_work: dict[futures.Future, tuple[Path, bytes]] = {}
    ahead = 1 if jobs == 1 else 2 * jobs
    with _processes(jobs, how) as submit:
        while (taken := list(itertools.islice(left, ahead - len(at_work)))) or at_work:
            for student, path, data in taken:
                if isinstance(data, CourseError):
                    row = Row(one_line(student), "", "", MISSING, 0, str(data), one_line(path.name))
                    yield path, None, [row]
                else:
                    with _pool_told():
                        at_work[submit(_mark, student, path.name, data)] = path, data
            done, _ = futures.wait(at_work, return_when=futures.FIRST_COMPLETED)
            for future in done:
                yield *at_work.pop(future), _result(future)


@contextlib.contextmanager
def _pool_told() -> Iterator[None]:
    """Tell in one line that a process which marks was ended."""
    try:
        yield
    except BrokenProcessPool as error:
        raise CourseError(ENDED) from error


def _result(future: futures.Future) -> list[Row]:
    with _pool_told():
        rows = future.result()
    if not rows:  # told to end before it had begun, see `_mark`; every notebook has a row
        raise CourseError(ENDED)
    return rows


@contextlib.contextmanager
def _processes(jobs: int, how: tuple) -> Iterator[Callable[..., futures.Future]]:
    """Yield what has `_mark` called in one of `jobs` processes; all have ended afterwards.

    One job needs no process beside those that every notebook has.
    """
    if jobs == 1:
        _Marker.how = how
        yield _at_once
        return
    # Copies of this process: the exercises hold functions that cannot be sent to another.
    context = multiprocessing.get_context("fork")
    pool = futures.ProcessPoolExecutor(jobs, context, _become_marker, (os.getpid(), how))
    try:
        yield pool.submit
    except BaseException:
        for child in multiprocessing.active_children():
            child.terminate()
        raise
    finally:
        pool.shutdown(cancel_futures=True)


def _at_once(work: Callable, *given) -> futures.Future:
    future: futures.Future = futures.Future()
    future.set_result(work(*given))
    return future


class _Marker:
    """What one of the processes that mark knows."""

    how: tuple = ()
    busy = False
    ended = False


def _become_marker(parent: int, how: tuple) -> None:
    """Prepare a process that marks: it ends with its parent, and cleans up when told to end."""
    die_with(parent)
    _Marker.how = how
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        signal.signal(getattr(signal, name), _end_marker)


def _end_marker(number, frame) -> None:
    _Marker.ended = True
    if _Marker.busy:
        raise KeyboardInterrupt


def _mark(student: str, name: str, data: bytes) -> list[Row]:
    """Return `rows_apart`, in a process that marks."""
    if _Marker.ended:
        return []
    _Marker.busy = True
    try:
        return rows_apart(student, name, data, *_Marker.how)
    finally:
        _Marker.busy = False


def _confined(trust: bool) -> bool:
    """Return whether students' code is shut in; raise CourseError if it must be and cannot."""
    if not hasattr(os, "fork"):
        raise CourseError("marking needs Linux or macOS; on Windows use WSL or a virtual machine")
    missing = lacking()
    if missing and not trust:
        raise CourseError(
            f"students' code cannot be shut in here: {missing}. Mark on Linux, or, if you have "
            "read the notebooks and trust them with all your files, add --trust (make: TRUST=1)"
        )
    if missing:
        print(f"warning: students' code runs with your rights: {missing}", file=sys.stderr)
    return not missing


def _say(line: str) -> None:
    """Print a line, whatever letters are in it and whether or not anybody still reads it."""
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    try:
        print(line.encode(encoding, "backslashreplace").decode(encoding), flush=True)
    except BrokenPipeError:
        # Marking goes on without a reader. What is still in the buffer has to go somewhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@contextlib.contextmanager
def _interruptible() -> Iterator[None]:
    """Have SIGTERM and SIGHUP end the block as SIGINT does, which leaves nothing behind."""

    def interrupt(number, frame):
        raise KeyboardInterrupt

    numbers = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
    before = [signal.signal(number, interrupt) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)


def main(argv: Sequence[str] | None = None) -> int:
    """Mark students' notebooks: run the checks over their answers and write one CSV."""
    parser = argparse.ArgumentParser(prog="python -m utils.grade", description=main.__doc__)
    parser.add_argument("submissions", type=user_path, help="folder with the students' notebooks")
    parser.add_argument("--out", type=user_path, default=Path("marks.csv"), help="CSV to write")
    parser.add_argument(
        "--trust", action="store_true", help="run students' code even where it cannot be shut in"
    )
    parser.add_argument(
        "--jobs",
        type=int,
        default=1,
        metavar="N",
        help="notebooks that are marked at a time; each may take up to 3 GB, a usual one 0.4",
    )
    arguments = parser.parse_args(argv)
    if arguments.jobs < 1:
        raise CourseError(f"--jobs {arguments.jobs}: must be at least 1")
    from utils import check  # takes a second or two; not needed for --help

    with _interruptible():
        rows = grade(
            arguments.submissions,
            arguments.out,
            check.ALL,
            trust=arguments.trust,
            jobs=arguments.jobs,
        )
    students = len({row.student for row in rows})
    _say(
        f"{students} student{'s' * (students != 1)}, {len(rows)} row{'s' * (len(rows) != 1)}: "
        f"{arguments.out}"
    )
    unmarked = sum(row.mark == UNMARKED for row in rows)
    if unmarked:
        print(
            f"error: {unmarked} notebook{'s are' if unmarked != 1 else ' is'} not marked, through "
            f"no fault of the students (mark {UNMARKED!r} in {arguments.out}); run the same "
            "command again",
            file=sys.stderr,
        )
    return 1 if unmarked else 0


if __name__ == "__main__":
    sys.exit(command(main))
