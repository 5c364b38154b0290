"""Processes that belong together: one that has started another, and ends with it."""

import os
import threading
import time

import psutil

# How a process ends that the system kills for its memory: itself, or beneath a shell.
KILLED = (-9, 128 + 9)


def tree(pid: int) -> list[int]:
    """Return a process and all that it has started, directly or not, as far as they still run."""
    try:
        children = psutil.Process(pid).children(recursive=True)
    except psutil.Error:
        return [pid]
    return [pid, *(child.pid for child in children)]


def end_with_parent() -> None:
    """Have this process end as soon as the one that started it is gone, however that ended.

    What a killed command has started would else go on, and hold the folder that the next one waits
    for. To be called by the process that was started, at its beginning.
    """
    threading.Thread(target=_end_with, args=[os.getppid()], daemon=True).start()


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
