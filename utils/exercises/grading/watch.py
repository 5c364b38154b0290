"""Watch a process whose work cannot be trusted: read what it says, and no longer than agreed.

There is no thread: whoever waits for an answer looks at the process ten times a second, so that a
fault of looking ends the waiting, and with it the process, like any other fault.
"""

import contextlib
import os
import select
import signal
import time
from collections.abc import Callable
from pathlib import Path

import psutil

from utils.config import CourseError

MEBIBYTE = 2**20
LENGTH_BYTES = 8
MOST_FILES, LARGEST_FOLDER, MOST_THREADS = 200, 32 * MEBIBYTE, 512
_LOOK_SECONDS = 0.1


class Stopped(Exception):
    """A process had to be stopped, or ended by itself; the words say why."""


class MarkerError(CourseError):
    """The marker itself fails, not the notebook; the words say how."""


class Watch:
    """What a process may take while it is waited for.

    Parameters
    ----------
    pid : int, optional
        None for a process of which only the time is watched.
    seconds : float
        From now on.
    most_bytes : int
        Resident memory.
    folder : Path, optional
        The folder in which it writes.
    most_threads : int, optional
    """

    def __init__(
        self,
        pid: int | None,
        seconds: float,
        most_bytes: int,
        folder: Path | None = None,
        most_threads: int | None = None,
    ):
        self._ends = time.monotonic() + seconds
        self._most_bytes, self._most_threads = most_bytes, most_threads
        self._folder = folder
        self._next = 0.0
        try:
            self._process = None if pid is None else psutil.Process(pid)
        except psutil.NoSuchProcess:
            self._process = None  # ended already; the end of its pipe tells

    def look(self) -> None:
        """Look at the process, unless that was done just now.

        Raises
        ------
        Stopped
            If it takes more than it may.
        """
        now = time.monotonic()
        if now > self._ends:
            raise Stopped("it does not end in time")
        if now < self._next:
            return
        if self._folder is not None and _too_full(self._folder):
            raise Stopped("it writes too many or too large files")
        try:
            self._look_inside()
        except psutil.NoSuchProcess:
            self._process = None
        self._next = time.monotonic() + _LOOK_SECONDS

    def _look_inside(self) -> None:
        if self._process is None:
            return
        if self._process.memory_info().rss > self._most_bytes:
            raise Stopped(f"it takes more than {self._most_bytes // MEBIBYTE} MiB of memory")
        if self._most_threads is not None and self._process.num_threads() > self._most_threads:
            raise Stopped(f"it starts more than {self._most_threads} threads")


def _too_full(folder: Path) -> bool:
    """Return whether too much lies in a folder, in which files come and go meanwhile."""
    count = total = 0
    with os.scandir(folder) as entries:
        for entry in entries:
            count += 1
            with contextlib.suppress(FileNotFoundError):
                total += entry.stat(follow_symlinks=False).st_size
            if count > MOST_FILES or total > LARGEST_FOLDER:
                return True
    return False


def send(pipe: int, words: bytes, look: Callable[[], None]) -> None:
    """Write a message with its length before it into a pipe that does not block."""
    message = memoryview(len(words).to_bytes(LENGTH_BYTES, "big") + words)
    while message:
        _await(pipe, select.POLLOUT, look)
        with contextlib.suppress(BlockingIOError):
            message = message[os.write(pipe, message) :]


def receive(pipe: int, longest: int, look: Callable[[], None]) -> bytes:
    """Return a message that has its length before it, out of a pipe that does not block.

    Raises
    ------
    Stopped
        If it is longer than `longest` bytes.
    BrokenPipeError
        If the other end is closed before it is complete.
    """
    length = int.from_bytes(_exactly(pipe, LENGTH_BYTES, look), "big")
    if length > longest:
        raise Stopped("what it returns is too large, or cannot be read")
    return _exactly(pipe, length, look)


def _exactly(pipe: int, count: int, look: Callable[[], None]) -> bytes:
    parts = bytearray()
    while len(parts) < count:
        _await(pipe, select.POLLIN, look)
        with contextlib.suppress(BlockingIOError):
            part = os.read(pipe, min(count - len(parts), MEBIBYTE))
            if not part:
                raise BrokenPipeError
            parts += part
    return bytes(parts)


def _await(pipe: int, event: int, look: Callable[[], None]) -> None:
    """Wait until a pipe is ready, or broken, which reading or writing then tells."""
    ready = select.poll()
    ready.register(pipe, event)
    while True:
        look()
        if ready.poll(_LOOK_SECONDS * 1000):
            return


def kill_tree(pid: int, *, itself: bool = True) -> None:
    """Kill a process and all that descends from it, also while it starts more.

    Parameters
    ----------
    pid : int
    itself : bool
        False to kill only what descends from it.
    """
    with contextlib.suppress(psutil.NoSuchProcess):
        root = psutil.Process(pid)
        found: list[psutil.Process] = []
        if itself:
            _signal(root, signal.SIGSTOP)
        # What is stopped starts nothing more, so that a round finds nothing new in the end.
        while new := [each for each in root.children(recursive=True) if each not in found]:
            for each in new:
                _signal(each, signal.SIGSTOP)
            found += new
        for each in [*found, *([root] if itself else [])]:
            _signal(each, signal.SIGKILL)


def _signal(process: psutil.Process, number: signal.Signals) -> None:
    with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):
        process.send_signal(number)
