"""The other end of `utils.grade_child`: start it, ask it, stop it, and believe nothing it says."""

import json
import os
import pickle
import shutil
import signal
import subprocess
import sys
import sysconfig
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import psutil

from utils import grade_child
from utils.config import ROOT, CourseError
from utils.confine import MEBIBYTE, Limits, Walls, user_for

LARGEST_REPLY = 16 * MEBIBYTE
MOST_FILES, LARGEST_FOLDER = 200, 32 * MEBIBYTE
STARTING_SECONDS = 60.0
_BOOT = (
    "import sys; sys.path.insert(0, sys.argv[1]); "
    "from utils.grade_child import main; main(sys.argv[2:])"
)
# Where the C library, the fonts' and the time zones' files lie. What is not there is left out.
_SYSTEM = (
    *("/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/local/lib", "/etc/ld.so.cache"),
    *("/etc/localtime", "/usr/share/zoneinfo", "/dev/urandom"),
    # TensorFlow asks for its own command line and for the processor, or it ends.
    *("/proc/self/cmdline", "/proc/cpuinfo", "/proc/meminfo", "/sys/devices/system/cpu"),
)


class Stopped(Exception):
    """The process had to be stopped, or ended by itself; the words say why."""


class Process:
    """A process that tries the answers of one notebook; a context manager.

    It works in an empty folder of its own, with an environment of its own, and reads no more than
    Python, its packages and the modules of `utils`; not `utils.check`, which judges.

    Parameters
    ----------
    cells : sequence of str
        The code cells of the notebook.
    limits : Limits
    confined : bool
        Whether the kernel's walls are put up, or only the limits.

    Raises
    ------
    CourseError
        If it does not start, or cannot be confined.
    """

    def __init__(self, cells: Sequence[str], limits: Limits, confined: bool = True):
        self.folder = Path(tempfile.mkdtemp(prefix="grade-"))
        self._most_bytes = limits.memory_mb * MEBIBYTE
        walls = _walls(self.folder, limits)
        if confined and walls.user is not None:
            os.chown(self.folder, walls.user, walls.user)
        self._start()
        settings = {"cells": list(cells), "walls": walls, "confined": confined}
        try:
            reply = self.ask(settings, STARTING_SECONDS)
        except Stopped as error:
            self.close()
            raise CourseError(
                f"the process that runs students' code does not start: {error}"
            ) from (error)
        if reply.get("state") != "ready":
            self.close()
            raise CourseError(str(reply.get("text")))

    def __enter__(self) -> "Process":
        return self

    def __exit__(self, *error) -> None:
        self.close()

    def ask(self, question: dict, seconds: float) -> dict:
        """Return the answer to a question, which has so many seconds.

        Raises
        ------
        Stopped
            If there is none; the process is of no more use then.
        """
        words = pickle.dumps(question)
        with _Watch(self._process, self.folder, seconds, self._most_bytes) as watch:
            try:
                _write(self._questions, words)
                reply = json.loads(_read(self._answers))
                if not isinstance(reply, dict):
                    raise ValueError("not an object")
            except (OSError, ValueError, RecursionError) as error:
                self.kill()
                raise Stopped(watch.reason or _fault(error)) from error
        return reply

    def kill(self) -> None:
        """Stop the process and all that it started."""
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def close(self) -> None:
        """Stop the process and remove its folder."""
        self.kill()
        os.close(self._questions)
        os.close(self._answers)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _start(self) -> None:
        to_read, self._questions = os.pipe()
        self._answers, to_write = os.pipe()
        command = [sys.executable, "-I", "-B", "-c", _BOOT, str(ROOT), str(to_read), str(to_write)]
        try:
            self._process = subprocess.Popen(
                command,
                cwd=self.folder,
                env=_environment(self.folder),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=(to_read, to_write),
                start_new_session=True,
            )
        finally:
            os.close(to_read)
            os.close(to_write)


class _Watch(threading.Thread):
    """Kills a process that takes too long or too much; a context manager."""

    def __init__(self, process: subprocess.Popen, folder: Path, seconds: float, most_bytes: int):
        super().__init__(daemon=True)
        self.process, self.folder, self.most_bytes = process, folder, most_bytes
        self.ends = time.monotonic() + seconds
        self.reason = ""
        self._done = threading.Event()

    def __enter__(self) -> "_Watch":
        self.start()
        return self

    def __exit__(self, *error) -> None:
        self._done.set()
        self.join()

    def run(self) -> None:
        """Look ten times a second."""
        while not self._done.wait(0.1):
            if time.monotonic() > self.ends:
                self.reason = "it does not end in time"
            elif _too_full(self.folder):
                self.reason = "it writes too many or too large files"
            elif _resident(self.process.pid) > self.most_bytes:
                self.reason = f"it takes more than {self.most_bytes // MEBIBYTE} MiB of memory"
            if self.reason:
                os.killpg(self.process.pid, signal.SIGKILL)
                return


def _resident(pid: int) -> int:
    try:
        return psutil.Process(pid).memory_info().rss
    except psutil.Error:
        return 0  # it has just ended


def _too_full(folder: Path) -> bool:
    sizes = [entry.stat(follow_symlinks=False).st_size for entry in os.scandir(folder)]
    return len(sizes) > MOST_FILES or sum(sizes) > LARGEST_FOLDER


def _walls(folder: Path, limits: Limits) -> Walls:
    """Return what the child may read: Python, its packages, `utils` without the exercises."""
    helpers = Path(grade_child.__file__).parent
    python = [sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")]
    library = sysconfig.get_config_var("LIBDIR")  # where libpython lies, if it is shared
    python += [library] if library else []
    cached = helpers / "__pycache__"
    readable = [Path(place) for place in dict.fromkeys([*python, *_SYSTEM])]
    readable += [*sorted(helpers.glob("*.py")), cached]
    there = tuple(path for path in readable if path.exists())
    return Walls(there, (helpers,), (folder, Path(os.devnull)), limits, user_for(there))


def _environment(folder: Path) -> dict[str, str]:
    home = str(folder)
    one = dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    places = dict.fromkeys(("HOME", "TMPDIR", "MPLCONFIGDIR"), home)
    return {"PATH": os.defpath, "LANG": "C.UTF-8", "MPLBACKEND": "agg", **places, **one}


def _write(pipe: int, words: bytes) -> None:
    message = memoryview(len(words).to_bytes(grade_child.LENGTH_BYTES, "big") + words)
    while message:
        message = message[os.write(pipe, message) :]


def _read(pipe: int) -> bytes:
    length = int.from_bytes(_exactly(pipe, grade_child.LENGTH_BYTES), "big")
    if length > LARGEST_REPLY:
        raise ValueError("too long")
    return _exactly(pipe, length)


def _exactly(pipe: int, count: int) -> bytes:
    parts = bytearray()
    while len(parts) < count:
        part = os.read(pipe, min(count - len(parts), MEBIBYTE))
        if not part:
            raise BrokenPipeError
        parts += part
    return bytes(parts)


def _fault(error: Exception) -> str:
    if isinstance(error, OSError):
        return "its process ends before it answers (out of memory or time?)"
    return "what it returns is too large, or cannot be read"
