"""Open what a user names: a regular file, or one line that says what is there instead."""

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from utils.config import CourseError

_KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)
_REASONS = {
    errno.ELOOP: "a link that leads back to itself; put the file itself there",
    errno.ENAMETOOLONG: "the name is longer than this disk allows; give a shorter one",
    errno.EACCES: "may not be read by you; give yourself the right to read it",
    errno.EPERM: "may not be read by you; give yourself the right to read it",
    errno.ENOTDIR: "a part of this path is a file, not a folder; check the path",
}


@contextmanager
def tell_read_errors(path: str | os.PathLike, missing: str = "check the path") -> Iterator[None]:
    """Turn what the system says when `path` cannot be read into a `CourseError`.

    Parameters
    ----------
    path : path-like
    missing : str
        What to do if there is no such file.
    """
    try:
        yield
    except FileNotFoundError:
        if Path(path).is_symlink():
            raise CourseError(f"{path}: a link to a file that is not there; {missing}") from None
        raise CourseError(f"{path}: is missing; {missing}") from None
    except OSError as error:
        reason = _REASONS.get(error.errno)
        if reason is None:
            reason = f"cannot be read ({_strerror(error)}); copy it to another disk and try again"
        raise CourseError(f"{path}: {reason}") from error


def open_file(path: str | os.PathLike, missing: str = "check the path") -> BinaryIO:
    """Open a regular file for reading bytes.

    A pipe would be waited for without end, so what `path` is is looked at before it is opened.

    Raises
    ------
    CourseError
        If there is no such file, it is no regular one, or it cannot be opened.
    """
    with tell_read_errors(path, missing):
        check_regular(path)
        return open(path, "rb")


def check_regular(path: str | os.PathLike) -> None:
    """Raise a `CourseError` if `path` is a folder, a pipe or a device, an OSError if nothing."""
    mode = os.stat(path).st_mode
    if not stat.S_ISREG(mode):
        kind = next((name for test, name in _KINDS if test(mode)), "no regular file")
        raise CourseError(f"{path}: is {kind}, where a file is expected; move it away")


def _strerror(error: OSError) -> str:
    return os.strerror(error.errno).lower() if error.errno else " ".join(str(error).split())
