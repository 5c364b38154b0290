"""The files of a marking: notebooks read safely, marks kept after each, a second call that goes on.

Beside ``marks.csv`` lies ``marks.csv.progress.jsonl``: a digest of everything that decides on
marks, and then, line by line, the rows of each notebook with a digest of its content. What has not
changed is not marked again. ``.marks.csv.lock`` is locked while a marking writes them.
"""

import contextlib
import hashlib
import json
import os
import shutil
import stat
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

import psutil
from filelock import FileLock, Timeout

from utils.config import ROOT, CourseError, atomic_path, other_kind, regular_file
from utils.exercises.exercise import Exercise
from utils.exercises.grading.confine import Limits
from utils.exercises.grading.marks import LARGEST_NOTEBOOK, Row
from utils.exercises.grading.watch import MEBIBYTE

_ABANDONED_SECONDS = 3600.0


@contextlib.contextmanager
def held(out: Path) -> Iterator[None]:
    """Hold a CSV of marks and what lies beside it for this marking alone.

    Raises
    ------
    CourseError
        If another marking holds it, or its folder is not there or may not be written to.
    """
    lock = FileLock(out.with_name(f".{out.name}.lock"), timeout=0)
    try:
        lock.acquire()
    except Timeout as error:
        raise CourseError(
            f"{out}: another marking writes it; wait for it, or give another name: OUT=marks.csv"
        ) from error
    except OSError as error:
        raise _not_writable(out, error) from error
    try:
        yield
    finally:
        lock.release()


def content(folder: Path, path: Path) -> bytes:
    """Return what is in a file below a folder, and follow no link on the way there.

    Raises
    ------
    CourseError
        If it is no regular file (a pipe, a link, a folder), cannot be read, or is larger than
        `LARGEST_NOTEBOOK`.
    """
    *parents, name = path.relative_to(folder).parts
    links = os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        place = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        for parent in parents:
            place = _below(place, parent, os.O_DIRECTORY | links)
        # Not to wait for somebody at the other end of what turns out to be a pipe.
        file = _below(place, name, os.O_NONBLOCK | links)
        kind = other_kind(os.fstat(file))
        if kind:
            os.close(file)
            raise CourseError(f"is {kind}, where a file is expected")
        with os.fdopen(file, "rb") as stream:
            data = stream.read(LARGEST_NOTEBOOK + 1)
    except OSError as error:
        raise CourseError(f"cannot be read: {os.strerror(error.errno)}") from error
    if len(data) > LARGEST_NOTEBOOK:
        raise CourseError(f"larger than {LARGEST_NOTEBOOK // MEBIBYTE} MiB")
    return data


def _below(place: int, name: str, flags: int) -> int:
    """Open what lies in an open folder, and close the folder."""
    try:
        return os.open(name, os.O_RDONLY | flags, dir_fd=place)
    finally:
        os.close(place)


def walked(folder: Path) -> Iterator[tuple[Path, list[str], list[str]]]:
    """Yield folders with the names of the folders and of the other things in them, as `os.walk`.

    However deep they lie (`os.walk` calls itself for each level); a link is no folder. What is
    taken from the list of folders is not entered; what cannot be listed is left out.
    """
    left = [folder]
    while left:
        place = left.pop()
        folders: list[str] = []
        others: list[str] = []
        try:
            with os.scandir(place) as entries:
                for entry in entries:
                    is_folder = entry.is_dir(follow_symlinks=False)
                    (folders if is_folder else others).append(entry.name)
        except OSError:
            continue
        yield place, folders, others
        left += [place / name for name in reversed(folders)]


@contextlib.contextmanager
def scratch() -> Iterator[Path]:
    """Yield a folder for temporary files that is deleted afterwards.

    It is entered, not read, by the user that students' code runs as.
    """
    prefix = f"grade-{os.getpid()}-"
    with tempfile.TemporaryDirectory(prefix=prefix, ignore_cleanup_errors=True) as name:
        os.chmod(name, 0o711)
        yield Path(name)


def sweep() -> None:
    """Delete the temporary folders of markings that were killed."""
    for folder in Path(tempfile.gettempdir()).glob("grade-*-*"):
        number = folder.name.split("-")[1]
        with contextlib.suppress(FileNotFoundError):
            found = folder.lstat()
            old = time.time() - found.st_mtime > _ABANDONED_SECONDS
            own = stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid()
            if number.isdecimal() and own and old and not psutil.pid_exists(int(number)):
                shutil.rmtree(folder, ignore_errors=True)


def version(exercises: Sequence[Exercise], limits: Limits, confined: bool) -> str:
    """Return a digest of all that decides on a mark but the notebook: code, packages, limits."""
    digest = hashlib.sha256()
    for path in [*sorted((ROOT / "utils").rglob("*.py")), ROOT / "requirements.lock"]:
        words = path.read_bytes()
        digest.update(f"{path.relative_to(ROOT)} {len(words)}\n".encode() + words)
    names = [exercise.name for exercise in exercises]
    digest.update(repr((names, limits, confined, sys.version)).encode())
    return digest.hexdigest()


class Progress:
    """The rows of the notebooks that are marked already.

    Parameters
    ----------
    out : Path
        The CSV that the marks go to; this lies beside it.
    decides : str
        From `version`. Rows that were made under another one are not used.

    Raises
    ------
    CourseError
        If `out` cannot be written: that is tried here, before any work.
    """

    def __init__(self, out: Path, decides: str):
        self.path = out.with_name(f"{out.name}.progress.jsonl")
        _assert_writable(out)
        stored = _lines(self.path)
        self.outdated = bool(stored) and stored[0].get("version") != decides
        kept = [] if self.outdated else stored[1:]
        self._kept: dict[str, dict] = {each["notebook"]: each for each in kept}
        with atomic_path(self.path) as temporary:
            lines = map(_line, [{"version": decides}, *self._kept.values()])
            temporary.write_text("".join(lines), encoding="ascii")

    def rows(self, name: str, data: bytes) -> list[Row] | None:
        """Return the rows of a notebook if it was marked with this content, or None."""
        stored = self._kept.get(name)
        if stored is None or stored["digest"] != hashlib.sha256(data).hexdigest():
            return None
        return [Row(**row) for row in stored["rows"]]

    def keep(self, name: str, data: bytes, rows: Sequence[Row]) -> None:
        """Note the rows of a notebook, for good."""
        digest = hashlib.sha256(data).hexdigest()
        noted = {"notebook": name, "digest": digest, "rows": [asdict(row) for row in rows]}
        self._kept[name] = noted
        with self.path.open("a", encoding="ascii") as file:
            file.write(_line(noted))


def _line(noted: dict) -> str:
    return json.dumps(noted) + "\n"


def _lines(path: Path) -> list[dict]:
    """Return what the lines of a file say; one that a kill has cut off at the end is left out.

    Raises
    ------
    CourseError
        If it is something else.
    """
    if regular_file(path) is None:
        return []
    *lines, rest = path.read_bytes().split(b"\n")
    try:
        if rest and not lines:
            raise ValueError
        found = [json.loads(line) for line in lines]
        for each in found[1:]:
            each["notebook"], each["digest"], [Row(**row) for row in each["rows"]]
        if found and "version" not in found[0]:
            raise ValueError
    except (ValueError, TypeError, LookupError) as error:
        raise CourseError(
            f"{path}: not the progress of a marking; delete it, and all is marked anew"
        ) from error
    return found


def _assert_writable(out: Path) -> None:
    """Raise CourseError if a file cannot be written; what it holds stays as it is."""
    try:
        if out.exists() and not out.is_file():
            raise CourseError(f"{out}: no file to write to; give the name of a CSV: OUT=marks.csv")
        if out.exists():
            with atomic_path(out) as temporary:
                shutil.copy(out, temporary)
        else:
            with atomic_path(out) as temporary:
                temporary.write_bytes(b"")
            out.unlink()
    except OSError as error:
        raise _not_writable(out, error) from error


def _not_writable(out: Path, error: OSError) -> CourseError:
    return CourseError(
        f"{out}: cannot be written ({os.strerror(error.errno)}); give another name: OUT=marks.csv"
    )
