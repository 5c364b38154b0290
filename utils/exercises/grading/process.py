"""The other end of `utils.exercises.grading.child`: start it, ask, stop it, believe nothing."""

import atexit
import contextlib
import functools
import importlib.util
import json
import os
import pickle
import re
import shutil
import site
import socket
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from utils.config import ROOT
from utils.exercises.grading import child
from utils.exercises.grading.child import IMPORTS, PLACES, SLOW_IMPORTS, TRUSTED
from utils.exercises.grading.confine import MEBIBYTE, Limits, Walls, user_for
from utils.exercises.grading.watch import (
    MOST_THREADS,
    MarkerError,
    Stopped,
    Watch,
    receive,
    send,
)

LARGEST_REPLY = 16 * MEBIBYTE
STARTING_SECONDS, ENDING_SECONDS = 120.0, 10.0
# Packages that the exercises and their judges take for granted; the rest of what the course
# installs need only be found, because importing all of it takes long.
IMPORTED, FOUND = IMPORTS, ("scipy", "skimage", "sklearn", "matplotlib", "keras")
# What knows the right answers, within `utils`: no student's code may read it.
JUDGING = (Path("exercises/topics"), Path("exercises/judges.py"))
# The course's folder is no place for packages, but `utils` is found in it.
_BOOT = """
import json, os, socket, sys
course, given = sys.argv[1], sys.argv[3:]
packages = [each for each in sys.argv[2].split(os.pathsep) if each]
sys.path[:] = [course, *packages, *(each for each in sys.path if each not in packages)]
try:
    from utils.exercises.grading.child import main
except BaseException as error:
    text = f"{type(error).__name__}: {error}"[:300]
    words = json.dumps({"state": "refused", "text": text}).encode()
    files = socket.recv_fds(socket.socket(fileno=int(given[0])), 1, 3)[1]
    os.write(files[1], len(words).to_bytes(8, "big") + words)
    sys.exit(1)
main(given)
"""
# Code that may import what is slow to import. Where it does not, only memory is lost: what has been
# imported counts as its own, and is not imported in advance where it has less than so many MiB.
_SLOW_MB = 1024
_SLOW = re.compile(r"\b(keras|tensorflow|sklearn|scipy|utils\.(course|evidence|models))\b")
# Where the C library, the fonts' and the time zones' files lie. What is not there is left out.
_SYSTEM = (
    *("/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/local/lib", "/etc/ld.so.cache"),
    *("/etc/localtime", "/usr/share/zoneinfo", "/dev/urandom"),
    # TensorFlow asks for its own command line and for the processor, or it ends.
    *("/proc/self/cmdline", "/proc/cpuinfo", "/proc/meminfo", "/sys/devices/system/cpu"),
)


class Process:
    """A process that tries the answers of one notebook; a context manager.

    It is a copy of the fork server. It works in an empty folder of its own, with an environment of
    its own, and reads no more than Python, its packages and the modules of `utils` but for
    `JUDGING`. It ends with this process, however that ends.

    Parameters
    ----------
    cells : sequence of str
        The code cells of the notebook.
    limits : Limits
    confined : bool
        Whether the kernel's walls are put up, or only the limits.
    needs : sequence of sequences of str
        Names of modules that must be there: those to import, and those to find.

    Attributes
    ----------
    folder : Path
    pid : int

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
        self.pid: int | None = None
        self._most_bytes = limits.memory_mb * MEBIBYTE
        try:
            walls = _walls(self.folder, limits)
            if confined and walls.user is not None:
                os.chown(self.folder, walls.user, walls.user)
            slow = limits.memory_mb >= _SLOW_MB and any(map(_SLOW.search, cells))
            self._start((0 if confined else TRUSTED) | (SLOW_IMPORTS if slow else 0))
        except BaseException:
            shutil.rmtree(self.folder, ignore_errors=True)
            raise
        settings = {"cells": list(cells), "walls": walls, "confined": confined, "needs": needs}
        settings["folder"] = str(self.folder)
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
        self.pid = reply["pid"]

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
        watch = Watch(self.pid, seconds, self._most_bytes, self.folder, MOST_THREADS)
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
        with contextlib.suppress(OSError):
            self._line.shutdown(socket.SHUT_WR)
            self._line.recv(1)  # the server closes its end when that is done

    def close(self) -> None:
        """Stop the process and remove its folder."""
        try:
            self.kill()
        finally:
            self._line.close()
            os.close(self._questions)
            os.close(self._answers)
            shutil.rmtree(self.folder, ignore_errors=True)

    def _start(self, wants: int) -> None:
        to_read, self._questions = os.pipe()
        self._answers, to_write = os.pipe()
        self._line, line = socket.socketpair()
        self._line.settimeout(ENDING_SECONDS)
        try:
            os.set_blocking(self._questions, False)
            os.set_blocking(self._answers, False)
            fork_server().ask(wants, (to_read, to_write, line.fileno()))
        except BaseException:
            self._line.close()
            os.close(self._questions)
            os.close(self._answers)
            raise
        finally:
            line.close()
            os.close(to_read)
            os.close(to_write)


class ForkServer:
    """A process that is copied for each notebook: what it has imported, the copies need not.

    It ends when all have gone that could ask it, and with the process that started it.

    Raises
    ------
    MarkerError
        If it cannot be started.
    """

    def __init__(self):
        self.command = _command()
        self._folder = tempfile.mkdtemp(prefix=f"grade-{os.getpid()}-")
        self._requests, theirs = socket.socketpair()
        given = [str(theirs.fileno()), str(os.getpid())]
        try:
            self._process = subprocess.Popen(
                [*self.command, *given],
                cwd=self._folder,
                env=_environment(self._folder),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=(theirs.fileno(),),
                start_new_session=True,
            )
        except OSError as error:
            self._requests.close()
            shutil.rmtree(self._folder, ignore_errors=True)
            raise MarkerError(f"no process can be started: {error.strerror}") from error
        finally:
            theirs.close()

    def ask(self, wants: int, files: Sequence[int]) -> None:
        """Ask for a copy (`utils.exercises.grading.child.Server`).

        Raises
        ------
        MarkerError
            If the server has ended.
        """
        try:
            socket.send_fds(self._requests, [bytes([wants])], files)
        except OSError as error:
            raise MarkerError(
                "the process that is copied to run students' code has ended (out of memory?)"
            ) from error

    def is_there(self) -> bool:
        """Return whether it has not ended."""
        try:
            self._requests.send(b"\0")
        except OSError:
            return False
        return True

    def close(self) -> None:
        """End it, and all its copies."""
        self._requests.close()
        try:
            self._process.wait(ENDING_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        shutil.rmtree(self._folder, ignore_errors=True)


class _Served:
    """The fork server of this process and of those that are copied from it."""

    server: ForkServer | None = None
    owner = 0


def fork_server() -> ForkServer:
    """Return the fork server, which is started if there is none, or if it would now be another.

    Raises
    ------
    MarkerError
        If it cannot be started.
    """
    before, owner = _Served.server, _Served.owner
    if before is None or before.command != _command() or not before.is_there():
        _Served.server, _Served.owner = ForkServer(), os.getpid()
        if before is not None and owner == os.getpid():
            before.close()
    return _Served.server


@contextlib.contextmanager
def serving() -> Iterator[None]:
    """End the fork server after the block, if it was not there before."""
    there = _Served.server is not None
    try:
        yield
    finally:
        if not there:
            _stop_serving()


@atexit.register
def _stop_serving() -> None:
    server, owner = _Served.server, _Served.owner
    _Served.server = None
    if server is not None and owner == os.getpid():
        server.close()


def probe(limits: Limits, confined: bool) -> None:
    """Start a process and have it import what answers use, before any notebook is blamed.

    Raises
    ------
    MarkerError
        If that fails.
    """
    Process([], limits, confined, needs=(IMPORTED, FOUND)).close()


def _command() -> tuple[str, ...]:
    """Return how the fork server is started, but for what is another in each call."""
    packages = os.pathsep.join(map(str, _packages()))
    # Isolated (-I) but for the variables for Python, which are those of `_environment` alone.
    return sys.executable, "-s", "-P", "-B", "-c", _BOOT, str(ROOT), packages


def _walls(folder: Path, limits: Limits) -> Walls:
    """Return what the child may read: Python, its packages, `utils` without what judges."""
    helpers = Path(child.__file__).parents[2]
    readable, user = _readable(helpers, tuple(_packages()))
    return Walls(readable, (helpers,), (folder, Path(os.devnull)), limits, user)


@functools.cache  # nothing of it changes while notebooks are marked
def _readable(helpers: Path, packages: tuple[Path, ...]) -> tuple[tuple[Path, ...], int | None]:
    """Return what can be read, and the user that can read it."""
    library = sysconfig.get_config_var("LIBDIR")  # where libpython lies, if it is shared
    python = [*packages, *([Path(library)] if library else [])]
    readable = list(dict.fromkeys([*python, *map(Path, _SYSTEM)]))
    readable += _modules(helpers)
    there = tuple(path for path in readable if os.path.exists(path))
    return there, user_for(there)


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


def _environment(home: str) -> dict[str, str]:
    one = dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    places = dict.fromkeys(PLACES, home)
    # Sets have the same order in every call, so that the same notebook has the same marks.
    same = {"LANG": "C.UTF-8", "PYTHONHASHSEED": "0"}
    return {"PATH": os.defpath, "MPLBACKEND": "agg", **same, **places, **one}
