"""Do a piece of work in a process of its own, so that what it meets can end no more than that.

Reading a student's notebook and judging what an answer returned mean handling data that somebody
may have made to fill the memory or to never end. Each is done in a copy of this process (a fork),
with limits of its own; what comes back is a little JSON.
"""

import contextlib
import faulthandler
import json
import os
import signal
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import psutil

from utils.config import CourseError
from utils.exercises.exercise import describe_exception
from utils.exercises.grading.confine import adopt_orphans, die_with
from utils.exercises.grading.watch import (
    LENGTH_BYTES,
    MEBIBYTE,
    MarkerError,
    Stopped,
    Watch,
    kill_tree,
    receive,
)

_LONGEST = MEBIBYTE
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP) if os.name == "posix" else ()
# How a process ends when something in it goes wrong that Python cannot catch, a stack that
# overflows, say. SIGKILL is not among them: if it does not come from here, it is the system's.
_CRASHES = ("SIGSEGV", "SIGBUS", "SIGABRT", "SIGILL", "SIGFPE", "SIGSYS")


def in_forked_process(
    work: Callable[[], object], *, seconds: float, memory_mb: int, scratch: Path | None = None
):
    """Return what `work` returns, computed in a copy of this process.

    Parameters
    ----------
    work : callable
        What it returns must be JSON of less than a mebibyte. It sees all that this process sees,
        and changes nothing here.
    seconds : float
        Of time and of processor time.
    memory_mb : int
        How much more than this process it may take, MiB.
    scratch : Path, optional
        A folder for its temporary files.

    Raises
    ------
    Stopped
        If it takes more time or memory than that, or crashes; or if it raises that itself.
    MarkerError
        If the fault is of `work` or of the system.
    CourseError
        If `work` raises that.
    """
    parent = os.getpid()
    to_read, to_write = os.pipe()
    try:
        pid = os.fork()
    except OSError as error:
        os.close(to_read)
        os.close(to_write)
        raise MarkerError(f"no process can be started: {error.strerror}") from error
    if pid == 0:
        os.close(to_read)
        _work(work, to_write, parent, (seconds, memory_mb), scratch)
    ended = False
    try:
        os.close(to_write)
        os.set_blocking(to_read, False)
        most = (memory_mb + _resident()) * MEBIBYTE
        reply = json.loads(receive(to_read, _LONGEST, Watch(pid, seconds, most).look))
        ended = True
    except BrokenPipeError as error:
        ended = True
        raise _end(os.waitpid(pid, 0)[1], memory_mb) from error
    finally:
        os.close(to_read)
        if not ended:
            kill_tree(pid)
        with contextlib.suppress(ChildProcessError):  # its end was looked at above
            os.waitpid(pid, 0)
    if "value" in reply:
        return reply["value"]
    raise _KINDS[reply["kind"]](reply["text"])


_KINDS = {"Stopped": Stopped, "MarkerError": MarkerError, "CourseError": CourseError}


def _resident() -> int:
    return psutil.Process().memory_info().rss // MEBIBYTE


def _end(status: int, memory_mb: int) -> Exception:
    """Return what to raise for a process that ended without an answer."""
    number = os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
    name = signal.Signals(number).name if number else ""
    if name == "SIGXCPU":
        return Stopped("it does not end in time")
    if name in _CRASHES:
        return Stopped(f"it crashes the process that reads it ({name})")
    how = f"by {name}" if name else f"with status {os.waitstatus_to_exitcode(status)}"
    return MarkerError(f"the process that reads it was ended {how} (out of memory?)")


def _work(
    work: Callable[[], object],
    pipe: int,
    parent: int,
    limits: tuple[float, int],
    scratch: Path | None,
) -> NoReturn:
    """Do the work in the copy, and leave nothing behind."""
    status = 1
    try:
        _settle(parent, limits, scratch)
        words = json.dumps(_reply(work, limits[1])).encode()
        message = memoryview(len(words).to_bytes(LENGTH_BYTES, "big") + words)
        while message:
            message = message[os.write(pipe, message) :]
        status = 0
    finally:
        # Whatever happened: the copy never goes on with what its original was doing.
        os._exit(status)


def _settle(parent: int, limits: tuple[float, int], scratch: Path | None) -> None:
    """Make the copy independent of its original: signals, output, limits, temporary files."""
    os.setsid()
    for number in _SIGNALS:
        signal.signal(number, signal.SIG_DFL)
    die_with(parent)
    adopt_orphans()
    faulthandler.disable()  # a crash is told in one line
    nowhere = os.open(os.devnull, os.O_RDWR)
    for stream in range(3):
        os.dup2(nowhere, stream)
    if scratch is not None:
        tempfile.tempdir = str(scratch)
    _limit(*limits)


def _limit(seconds: float, memory_mb: int) -> None:
    """Set the soft limits alone: what is started from here sets its own."""
    import resource  # not on Windows, where there is no fork either

    addresses = psutil.Process().memory_info().vms + memory_mb * MEBIBYTE
    values = {"RLIMIT_AS": addresses, "RLIMIT_CPU": int(seconds) + 1, "RLIMIT_CORE": 0}
    for name, value in values.items():
        kind = getattr(resource, name)
        highest = resource.getrlimit(kind)[1]
        if highest != resource.RLIM_INFINITY:
            value = min(value, highest)
        # macOS refuses some values, and watches no addresses; the original watches memory.
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(kind, (value, highest))


def _reply(work: Callable[[], object], memory_mb: int) -> dict:
    try:
        return {"value": work()}
    except MemoryError:
        return {"kind": "Stopped", "text": f"it takes more than {memory_mb} MiB of memory"}
    except (Stopped, CourseError) as error:
        kind = next(kind for kind in _KINDS if isinstance(error, _KINDS[kind]))
        return {"kind": kind, "text": str(error)}
    except Exception as error:  # noqa: BLE001 - a fault of ours must end one piece of work only
        return {"kind": "MarkerError", "text": f"the marker fails with {describe_exception(error)}"}
    finally:
        kill_tree(os.getpid(), itself=False)
