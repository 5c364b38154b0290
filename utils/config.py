"""Where things live, how files are written, and how errors are told."""

import contextlib
import errno
import json
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
DATA = ROOT / "data"
RUNS = ROOT / "runs"
RESULTS = ROOT / "results"


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
    path.parent.mkdir(parents=True, exist_ok=True)
    # Of a long name only the beginning: a name has at most 255 bytes.
    prefix = f".{path.stem[:24]}-"
    handle, name = tempfile.mkstemp(prefix=prefix, suffix=path.suffix, dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    temporary.unlink()
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def read_json(path: str | os.PathLike) -> dict:
    """Return the object in a JSON file, or an empty one if there is no such file.

    Raises
    ------
    CourseError
        If the file is there but is not a JSON object.
    """
    path = Path(path)
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise CourseError(f"{path}: not readable as JSON ({error}); delete it and run again") from (
            error
        )
    if not isinstance(values, dict):
        raise CourseError(f"{path}: holds no JSON object; delete it and run again")
    return values


def write_json(path: str | os.PathLike, values: dict) -> None:
    """Write `values` as indented JSON, atomically."""
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")


def update_json(path: str | os.PathLike, values: dict) -> dict:
    """Merge `values` into the JSON file at `path`, level by level, and return the result."""
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
    that may not be written), end as one line on standard error and status 2. Any other exception
    is a bug of ours and keeps its traceback.
    """
    try:
        return main() or 0
    except CourseError as error:
        message = str(error)
    except OSError as error:
        if error.errno not in _REMEDIES:
            raise
        place = f"{error.filename}: " if error.filename else ""
        message = f"{place}{os.strerror(error.errno)}; {_REMEDIES[error.errno]}"
    except KeyboardInterrupt:
        message = "interrupted; run the same command again to go on"
    print(f"error: {message}", file=sys.stderr)
    return 2


_REMEDIES = {
    errno.ENOSPC: "free some space and run again",
    errno.EDQUOT: "your disk quota is used up: free some space and run again",
    errno.EACCES: "choose a folder that you may write to",
    errno.EPERM: "choose a folder that you may write to",
    errno.EROFS: "choose a folder that you may write to",
    errno.ENAMETOOLONG: "give a shorter name",
    errno.ELOOP: "the path holds a link that leads back to itself: remove it",
    errno.ENOTDIR: "a part of this path is a file: choose another folder",
    errno.EISDIR: "this is a folder: give the name of a file",
}
