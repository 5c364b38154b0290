"""One run at a time in a run folder, also after a run was killed."""

import contextlib
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TextIO

import psutil

from utils.config import CourseError

# How long the kernel of a killed run gets to notice that its parent is gone; it looks every second.
ORPHAN_SECONDS = 10


@contextlib.contextmanager
def exclusive(run_folder: Path) -> Iterator[Callable[[int], None]]:
    """Hold the run folder for this process alone.

    Yields a callable that notes the process id of the kernel at work: if this process is killed,
    the next one waits until that kernel, which notices within a second or two, has ended too.

    Raises
    ------
    CourseError
        If another process holds it.
    """
    run_folder.mkdir(parents=True, exist_ok=True)
    path = run_folder / ".lock"
    with path.open("a+", encoding="utf-8") as stream:
        if not _locked(stream):
            stream.seek(0)
            holder = stream.read().split()[:1]
            raise CourseError(
                f"{run_folder}: another run is at work there (process {' '.join(holder)}); "
                "wait for it, or choose another folder with --run"
            )
        stream.seek(0)
        _await_orphan(stream.read().split())

        def note(*words: object) -> None:
            stream.seek(0)
            stream.truncate()
            stream.write(" ".join(map(str, (os.getpid(), *words))))
            stream.flush()

        note()
        yield lambda kernel: note(kernel, psutil.Process(kernel).create_time())
        note()


def _locked(stream: TextIO) -> bool:
    """Lock an open file for this process; the system unlocks it when the process ends."""
    try:
        if os.name == "nt":
            import msvcrt

            # Beyond the text, which others may read to see who holds the lock.
            stream.seek(4096)
            msvcrt.locking(stream.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _await_orphan(words: Sequence[str]) -> None:
    """Wait for the kernel that a killed run left behind, and end it if it does not end itself."""
    if len(words) != 3:
        return
    with contextlib.suppress(psutil.NoSuchProcess):
        kernel = psutil.Process(int(words[1]))
        if abs(kernel.create_time() - float(words[2])) < 1:  # no later process with that number
            try:
                kernel.wait(timeout=ORPHAN_SECONDS)
            except psutil.TimeoutExpired:
                kernel.kill()
