"""Where things live, how files are written, and how errors are told."""

import contextlib
import errno
import io
import json
import os
import shutil
import stat
import sys
import tempfile
import types
from collections.abc import Callable, Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
DATA = ROOT / "data"
RUNS = ROOT / "runs"
RESULTS = ROOT / "results"

# Settings and records of the course take a few kilobytes; more is another file by that name.
LARGEST_JSON = 2**24
# With less than this free, a file that could not be written has filled the disk.
FULL_DISK = 2**18


class CourseError(Exception):
    """A mistake that the user can mend: one line with what is wrong, where, and what to do.

    It stays one line where the name of a file holds a line break.
    """

    def __init__(self, message: str = ""):
        super().__init__(
            "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in message)
        )


@contextlib.contextmanager
def atomic_path(path: str | os.PathLike) -> Iterator[Path]:
    """Yield a temporary path in the folder of `path`; rename it to `path` on success.

    Whoever reads `path` finds the old content or the new one, never half of it. On an error the
    temporary file is removed and `path` is left as it was.

    Parameters
    ----------
    path : path-like
        The final name. Missing parent folders are made.

    Yields
    ------
    pathlib.Path
        A name that does not exist yet, with the same suffix as `path`.
    """
    path = Path(path)
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # The name of the temporary file must fit where the final one just does.
        handle, name = tempfile.mkstemp(
            prefix=f".{path.stem[:40]}-", suffix=path.suffix, dir=path.parent
        )
        os.close(handle)
        temporary = Path(name)
        temporary.unlink()
        yield temporary
        os.replace(temporary, path)
    except Exception as error:
        # Libraries tell a full disk in many ways: HDF5 as a RuntimeError, NumPy without a number.
        if temporary is not None and _may_mean_full(error) and _is_full(path.parent):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path)) from error
        if isinstance(error, OSError) and error.errno and not error.filename:
            error.filename = str(path)
        raise
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def _may_mean_full(error: Exception) -> bool:
    return isinstance(error, OSError | RuntimeError) and getattr(error, "errno", None) is None


def _is_full(folder: Path) -> bool:
    try:
        return shutil.disk_usage(folder).free < FULL_DISK
    except OSError:
        return False


@contextlib.contextmanager
def hold_folder(
    folder: str | os.PathLike,
    remedy: str,
    inherit: Callable[[list[str]], None] = lambda left: None,
    wait: float = 0,
) -> Iterator[Callable[..., None]]:
    """Hold a folder for this process alone; the system lets go of it when the process ends.

    The file ``.lock`` in it is locked; ``.holder`` tells other processes who holds it.

    Parameters
    ----------
    folder : path-like
        Made if it is not there.
    remedy : str
        What the user can do instead of waiting until the folder is free.
    inherit : callable
        Called first, with the words that the last process to hold the folder left there.
    wait : float
        For how many seconds to wait if another process holds it.

    Yields
    ------
    callable
        `note(*words)` leaves these words to the next one to hold it, instead of those before.

    Raises
    ------
    CourseError
        If another process holds it.
    """
    # Only here: it loads as much as all the rest of this module.
    from filelock import FileLock, Timeout

    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    lock, noted = FileLock(folder / ".lock", timeout=wait, poll_interval=0.5), folder / ".holder"

    def note(*words: object) -> None:
        noted.write_text(" ".join(map(str, (os.getpid(), *words))), encoding="ascii")

    try:
        lock.acquire()
    except Timeout:
        holder, *_ = _noted(noted)
        raise CourseError(
            f"{folder}: another run is at work there (process {holder}); wait for it, or {remedy}"
        ) from None
    try:
        _, *left = _noted(noted)
        inherit(left)
        note()
        yield note
    finally:
        lock.release()


def _noted(path: Path) -> list[str]:
    """Return who holds, or last held, a folder, and the words left there."""
    try:
        # Whatever a disk that lost power has made of it.
        return path.read_text(encoding="ascii", errors="replace").split() or [""]
    except FileNotFoundError:
        return [""]


def prepare_folder(folder: str | os.PathLike) -> Path:
    """Make a folder for results, and see that files can be written there.

    To be called before hours of computing, not after them.

    Raises
    ------
    CourseError
        If there is a file in its place or on the way to it, or it may not be written to.
    """
    folder = Path(folder)
    for place in (folder, *folder.parents):
        if os.path.lexists(place):
            if not place.is_dir():
                what = "a link that leads nowhere" if place.is_symlink() else "a file"
                here = "" if place == folder else f": {place}"
                where = "is" if place == folder else "cannot be made below"
                raise CourseError(f"{folder}: {where} {what}{here}; choose another folder")
            break
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise CourseError(
            f"{folder}: cannot be written to ({reason(error)}); choose another folder"
        ) from error
    return folder


def regular_file(path: str | os.PathLike, missing: str | None = None) -> os.stat_result | None:
    """Return the status of a file that may be opened to be read.

    Of a folder, a pipe or a device, an attempt to read would fail oddly, or wait for ever.

    Parameters
    ----------
    path : path-like
    missing : str, optional
        What to do if there is no such file; by default None is returned then.

    Raises
    ------
    CourseError
        If it is something else than a file, or cannot be reached.
    """
    try:
        status = os.stat(path)
    except OSError as error:
        if missing is None and isinstance(error, FileNotFoundError | NotADirectoryError):
            return None
        raise unreadable(path, error, missing or "") from error
    except ValueError as error:  # a name with a null byte
        raise CourseError(f"{os.fspath(path)!r}: no name of a file ({error})") from error
    kind = other_kind(status)
    if kind:
        raise CourseError(
            f"{path}: is {kind}, where a file is expected; move it away, or give a file"
        )
    return status


def other_kind(status: os.stat_result) -> str:
    """Return what something is that is no regular file, such as "a pipe"; "" for a file."""
    if stat.S_ISREG(status.st_mode):
        return ""
    return next((name for test, name in _KINDS if test(status.st_mode)), "no regular file")


def unreadable(
    path: str | os.PathLike, error: OSError, missing: str = "check the path"
) -> CourseError:
    """Return what to say of what cannot be read.

    Parameters
    ----------
    path : path-like
    error : OSError
        What the system says.
    missing : str
        What to do if there is no such file.
    """
    if isinstance(error, FileNotFoundError):
        what = "a link to a file that is not there" if os.path.islink(path) else "no such file"
        return CourseError(f"{path}: {what}; {missing}")
    said = _WORDS.get(error.errno, ("", ""))[0]
    other = f"cannot be read ({reason(error)}); copy it to another disk and try again"
    return CourseError(f"{path}: {said or other}")


def reason(error: Exception, most: int = 200) -> str:
    """Return in one short line why something failed, in the words of the system or library."""
    if isinstance(error, OSError) and error.errno:
        return os.strerror(error.errno)
    line = " ".join(str(error).split()) or type(error).__name__
    return line if len(line) <= most else f"{line[: most - 3]}..."


def read_json(
    path: str | os.PathLike,
    remedy: str = "delete it and run again",
    missing: dict | None = types.MappingProxyType({}),
) -> dict | None:
    """Return the object in a JSON file.

    Parameters
    ----------
    path : path-like
    remedy : str
        What the user shall do if it cannot be read.
    missing : dict or None
        What is returned, as a copy, if there is no such file: by default an empty object.

    Raises
    ------
    CourseError
        If the file is there but is not a JSON object.
    """
    path = Path(path)
    status = regular_file(path)
    if status is None:
        return missing if missing is None else dict(missing)
    if status.st_size > LARGEST_JSON:
        raise CourseError(
            f"{path}: {status.st_size >> 20} MiB, far more than such a file holds; {remedy}"
        )
    try:
        # Some editors begin a file with a mark of its encoding.
        values = json.loads(path.read_bytes().decode("utf-8-sig"))
    except OSError as error:
        raise unreadable(path, error) from error
    except (ValueError, RecursionError) as error:
        raise CourseError(f"{path}: not readable as JSON ({reason(error)}); {remedy}") from error
    if not isinstance(values, dict):
        raise CourseError(f"{path}: holds no JSON object; {remedy}")
    return values


def absolute(path: str | os.PathLike) -> str:
    """Return a path that means the same in every process, ``~`` being the home folder."""
    return str(user_path(path).absolute())


def user_path(words: str | os.PathLike) -> Path:
    """Return a path that a user typed, with ``~`` as the home folder: no shell may have read it.

    Shells leave it as it is in ``--out=~/results``.
    """
    return Path(os.path.expanduser(words))


def write_json(path: str | os.PathLike, values: dict) -> None:
    """Write `values` as indented JSON, atomically."""
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")


def update_json(path: str | os.PathLike, values: dict) -> dict:
    """Merge `values` into the JSON file at `path`, level by level, and return the result.

    Two notebooks of one run may do so at the same moment: neither loses what the other wrote.
    """
    # Only here: it loads as much as all the rest of this module.
    from filelock import FileLock

    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path.with_name(f".{path.name}.lock")):
        merged = _merge(read_json(path), values)
        write_json(path, merged)
    return merged


def _merge(old: dict, new: dict) -> dict:
    merged = dict(old)
    for key, value in new.items():
        both_are_objects = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = _merge(merged[key], value) if both_are_objects else value
    return merged


def command(main: Callable[[], int | None]) -> int:
    """Run a command-line `main` and return the exit status.

    A `CourseError`, and an operating-system error that a user can mend (a full disk, a folder
    that may not be written, a name too long), end as one line on standard error and status 2.
    Any other exception is a bug of ours and keeps its traceback.
    """
    for stream in (sys.stdout, sys.stderr):
        # A file name that cannot be shown must not end what goes well otherwise.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        return main() or 0
    except CourseError as error:
        message = str(error)
    except MemoryError:
        message = "out of memory; close other notebooks and programs and run again"
    except OSError as error:
        if error.errno not in _WORDS:
            raise
        place = f"{error.filename}: " if error.filename else ""
        message = f"{place}{os.strerror(error.errno)}; {_WORDS[error.errno][1]}"
    except KeyboardInterrupt:
        message = "interrupted; run the same command again to go on"
    print(f"error: {' '.join(message.splitlines())}", file=sys.stderr)
    return 2


_KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)
_NOT_PERMITTED = (
    "may not be read by you; give yourself the right to read it",
    "see who may read and write there, or choose another place",
)
# Of each number of the system: what to say of a file that is read, if more than that it cannot
# be; and what to do wherever the number comes from.
_WORDS = {
    errno.ENOSPC: ("", "free some space and run again"),
    errno.EDQUOT: ("", "your disk quota is used up: free some space and run again"),
    errno.EFBIG: ("", "no file may be that large here (ulimit -f): write elsewhere"),
    errno.EACCES: _NOT_PERMITTED,
    errno.EPERM: _NOT_PERMITTED,
    errno.EROFS: ("", "choose a folder that you may write to"),
    errno.ENAMETOOLONG: (
        "the name is longer than this disk allows; give a shorter one",
        "choose a shorter name",
    ),
    errno.ENOTDIR: (
        "a part of this path is a file, not a folder; check the path",
        "there is a file where a folder is needed: choose another place",
    ),
    errno.EEXIST: ("", "there is a file where a folder is needed: choose another place"),
    errno.EISDIR: ("", "there is a folder where a file is needed: choose another place"),
    errno.ELOOP: (
        "a link that leads back to itself; put the file itself there",
        "the links there lead in a circle: choose another place",
    ),
    errno.EIO: ("", "the disk cannot be read or written there: choose another place"),
    errno.EMFILE: ("", "too many files are open: raise the limit (ulimit -n)"),
    errno.ENOMEM: ("", "close other notebooks and programs and run again"),
}
