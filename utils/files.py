"""Open what a user names: a regular file, or one line that says what is there instead."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO

from utils.config import regular_file, unreadable


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
    except OSError as error:
        raise unreadable(path, error, missing) from error


def open_file(path: str | os.PathLike, missing: str = "check the path") -> BinaryIO:
    """Open a regular file for reading bytes.

    A pipe would be waited for without end, so what `path` is is looked at before it is opened.

    Raises
    ------
    CourseError
        If there is no such file, it is no regular one, or it cannot be opened.
    """
    regular_file(path, missing)
    with tell_read_errors(path, missing):
        return open(path, "rb")
