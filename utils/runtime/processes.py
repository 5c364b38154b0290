"""Processes that belong together: one that has started another, and ends with it."""

import os
import threading
import time

import psutil

# How a process ends that the system kills for its memory: itself, or beneath a shell.
KILLED = (-9, 128 + 9)
# In the environment of a process: the number of the one that started it.
STARTED_BY = "COURSE_STARTED_BY"


def tree(pid: int) -> list[int]:
    """Return a process and all that it has started, directly or not, as far as they still run."""
    try:
        children = psutil.Process(pid).children(recursive=True)
    except psutil.Error:
        return [pid]
    return [pid, *(child.pid for child in children)]


def started_from_here() -> dict[str, str]:
    """Return the environment for a process that will call `end_with_parent`."""
    return os.environ | {STARTED_BY: str(os.getpid())}


def end_with_parent() -> None:
    """Have this process end as soon as the one that started it is gone, however that ended.

    What a killed command has started would else go on, and hold the folder that the next one waits
    for. To be called by the process that was started, at its beginning. Was it given the
    environment of `started_from_here`, it ends at once where its parent ended before this call,
    while the modules were loaded.
    """
    parent = int(os.environ.pop(STARTED_BY, os.getppid()))
    threading.Thread(target=_end_with, args=[parent], daemon=True).start()


def _end_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(0.2)
    os._exit(1)


def ended_for_memory(status: int, errors: str) -> bool:
    """Return whether a process most likely ended because memory ran out.

    Parameters
    ----------
    status : int
        Its exit status, negative for the number of a signal.
    errors : str
        What it wrote to its standard error.
    """
    return status in KILLED or "std::bad_alloc" in errors
