"""The other end of `utils.exercises.grading.child`: start it, ask, stop it, believe nothing."""

import contextlib
import importlib.util
import json
import os
import pickle
import shutil
import signal
import site
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from utils.config import ROOT
from utils.exercises.grading import child
from utils.exercises.grading.confine import MEBIBYTE, Limits, Walls, user_for
from utils.exercises.grading.watch import (
    MOST_THREADS,
    MarkerError,
    Stopped,
    Watch,
    kill_tree,
    receive,
    send,
)

LARGEST_REPLY = 16 * MEBIBYTE
STARTING_SECONDS, ENDING_SECONDS = 60.0, 10.0
# Packages that the exercises and their judges take for granted; the rest of what the course
# installs need only be found, because importing all of it takes long.
IMPORTED, FOUND = ("numpy", "pandas"), ("scipy", "skimage", "sklearn", "matplotlib", "keras")
# What knows the right answers, within `utils`: no student's code may read it.
JUDGING = (Path("exercises/topics"), Path("exercises/judges.py"))
# The course's folder is no place for packages, but `utils` is found in it.
_BOOT = """
import json, os, sys
course, pipes = sys.argv[1], sys.argv[3:]
packages = [each for each in sys.argv[2].split(os.pathsep) if each]
sys.path[:] = [course, *packages, *(each for each in sys.path if each not in packages)]
try:
    from utils.exercises.grading.child import main
except BaseException as error:
    text = f"{type(error).__name__}: {error}"[:300]
    words = json.dumps({"state": "refused", "text": text}).encode()
    os.write(int(pipes[1]), len(words).to_bytes(8, "big") + words)
    sys.exit(1)
main(pipes)
"""
# Where the C library, the fonts' and the time zones' files lie. What is not there is left out.
_SYSTEM = (
    *("/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/local/lib", "/etc/ld.so.cache"),
    *("/etc/localtime", "/usr/share/zoneinfo", "/dev/urandom"),
    # TensorFlow asks for its own command line and for the processor, or it ends.
    *("/proc/self/cmdline", "/proc/cpuinfo", "/proc/meminfo", "/sys/devices/system/cpu"),
)


class Process:
    """A process that tries the answers of one notebook; a context manager.

    It works in an empty folder of its own, with an environment of its own, and reads no more than
    Python, its packages and the modules of `utils` but for `JUDGING`. It ends with this process,
    however that ends (on Linux).

    Parameters
    ----------
    cells : sequence of str
        The code cells of the notebook.
    limits : Limits
    confined : bool
        Whether the kernel's walls are put up, or only the limits.
    needs : sequence of sequences of str
        Names of modules that must be there: those to import, and those to find.

    Raises
    ------
    MarkerError
        If it does not start, or cannot be confined, or a module is missing.
    """

    def __init__(
        self,
        cells: Sequence[str],
        limits: Limits,
        confined: bool = True,
        needs: tuple[Sequence[str], Sequence[str]] = ((), ()),
    ):
        self.folder = Path(tempfile.mkdtemp(prefix="grade-"))
        self._most_bytes, self._confined = limits.memory_mb * MEBIBYTE, confined
        try:
            walls = _walls(self.folder, limits)
            if confined and walls.user is not None:
                os.chown(self.folder, walls.user, walls.user)
            self._start()
        except BaseException:
            shutil.rmtree(self.folder, ignore_errors=True)
            raise
        settings = {"cells": list(cells), "walls": walls, "confined": confined, "needs": needs}
        try:
            reply = json.loads(self.ask(settings, STARTING_SECONDS))
        except Stopped as error:
            self.close()
            raise MarkerError(
                f"the process that runs students' code does not start: {error}"
            ) from error
        except BaseException:
            self.close()
            raise
        if reply.get("state") != "ready":
            self.close()
            raise MarkerError(
                f"the process that runs students' code does not start: {reply.get('text')}"
            )

    def __enter__(self) -> "Process":
        return self

    def __exit__(self, *error) -> None:
        self.close()

    def ask(self, question: dict, seconds: float) -> bytes:
        """Return the answer to a question, which has so many seconds; nobody has looked into it.

        Raises
        ------
        Stopped
            If there is none; the process is of no more use then.
        """
        words = pickle.dumps(question)
        watch = Watch(self._process.pid, seconds, self._most_bytes, self.folder, MOST_THREADS)
        try:
            send(self._questions, words, watch.look)
            return receive(self._answers, LARGEST_REPLY, watch.look)
        except OSError as error:
            self.kill()
            raise Stopped("its process ends before it answers (out of memory or time?)") from error
        except BaseException:
            # Also where looking at it fails: what cannot be watched does not go on.
            self.kill()
            raise

    def kill(self) -> None:
        """Stop the process and all that it started."""
        if not self._confined:  # otherwise it can start nothing
            kill_tree(self._process.pid)
        if self._process.poll() is None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(ENDING_SECONDS)

    def close(self) -> None:
        """Stop the process and remove its folder."""
        try:
            self.kill()
        finally:
            os.close(self._questions)
            os.close(self._answers)
            shutil.rmtree(self.folder, ignore_errors=True)

    def _start(self) -> None:
        to_read, self._questions = os.pipe()
        self._answers, to_write = os.pipe()
        packages = os.pathsep.join(map(str, _packages()))
        pipes = [str(to_read), str(to_write), str(os.getpid())]
        # Isolated (-I) but for the variables for Python, which are those of `_environment` alone.
        command = [sys.executable, "-s", "-P", "-B", "-c", _BOOT, str(ROOT), packages, *pipes]
        try:
            os.set_blocking(self._questions, False)
            os.set_blocking(self._answers, False)
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
        except OSError as error:
            os.close(self._questions)
            os.close(self._answers)
            raise MarkerError(f"no process can be started: {error.strerror}") from error
        finally:
            os.close(to_read)
            os.close(to_write)


def probe(limits: Limits, confined: bool) -> None:
    """Start a process and have it import what answers use, before any notebook is blamed.

    Raises
    ------
    MarkerError
        If that fails.
    """
    Process([], limits, confined, needs=(IMPORTED, FOUND)).close()


def _walls(folder: Path, limits: Limits) -> Walls:
    """Return what the child may read: Python, its packages, `utils` without what judges."""
    helpers = Path(child.__file__).parents[2]
    library = sysconfig.get_config_var("LIBDIR")  # where libpython lies, if it is shared
    python = [*_packages(), *([Path(library)] if library else [])]
    readable = list(dict.fromkeys([*python, *map(Path, _SYSTEM)]))
    readable += _modules(helpers)
    there = tuple(path for path in readable if os.path.exists(path))
    return Walls(there, (helpers,), (folder, Path(os.devnull)), limits, user_for(there))


def _modules(helpers: Path) -> list[Path]:
    """Return the modules below a folder that do not judge, as text and as Python keeps them."""
    modules = [
        path
        for path in sorted(helpers.rglob("*.py"))
        if not any(path.is_relative_to(helpers / each) for each in JUDGING)
    ]
    return modules + [Path(importlib.util.cache_from_source(path)) for path in modules]


def _packages() -> list[Path]:
    """Return where this Python finds its packages: the places in `sys.path` that hold some.

    What lies there can be read by students' code. So neither the course itself is among them, nor
    the folder that one works in, nor what holds one of these or the home folder.
    """
    own = [ROOT, Path.cwd(), Path(os.path.expanduser("~"))]
    private = {each for place in own for each in (place.resolve(), *place.resolve().parents)}
    return [
        place
        for place in dict.fromkeys(Path(entry).absolute() for entry in sys.path if entry)
        if os.path.exists(place) and place.resolve() not in private and _holds_packages(place)
    ]


def _holds_packages(place: Path) -> bool:
    named = [sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")]
    if str(place) in (*named, *site.getsitepackages(), site.getusersitepackages()):
        return True
    if place.parent == Path(sysconfig.get_path("stdlib")) or place.suffix == ".zip":
        return True
    return any(_installed(place))


def _installed(place: Path) -> Iterator[Path]:
    """Yield what says that packages were installed into a folder."""
    for pattern in ("*.dist-info", "*.egg-info"):
        yield from place.glob(pattern)


def _environment(folder: Path) -> dict[str, str]:
    home = str(folder)
    one = dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    places = dict.fromkeys(("HOME", "TMPDIR", "MPLCONFIGDIR"), home)
    # Sets have the same order in every call, so that the same notebook has the same marks.
    same = {"LANG": "C.UTF-8", "PYTHONHASHSEED": "0"}
    return {"PATH": os.defpath, "MPLBACKEND": "agg", **same, **places, **one}
