"""Keep the memory of a notebook small, and tell how much there is."""

import ctypes
import gc
import os
import platform
from pathlib import Path

import psutil

# Where Linux says what a container may use and uses; "max" without a limit.
CGROUP = Path("/sys/fs/cgroup")

# The number of this parameter in glibc's <malloc.h>.
_ARENA_MAX = -8


def use_one_heap() -> bool:
    """Have all threads take memory from one heap; return whether this system can be told so.

    The GNU allocator gives every thread a heap of its own, and what is free in one is of no use
    to the others. With the dozens of threads that TensorFlow starts, a tenth of a notebook's peak
    is lost to that. Call it before the first thread starts.
    """
    return _has_glibc() and ctypes.CDLL(None).mallopt(_ARENA_MAX, 1) == 1


def release() -> None:
    """Give the memory of deleted networks back to the system.

    The parts of a network refer to each other, so deleting the last name of one frees nothing
    until Python looks for such circles; and the GNU allocator keeps what is freed. In notebook 2
    that was a ninth of the peak.
    """
    gc.collect()
    if _has_glibc():
        ctypes.CDLL(None).malloc_trim(0)


def _has_glibc() -> bool:
    return platform.libc_ver()[0] == "glibc"


def available_bytes() -> int:
    """Return how much memory further processes may take, in bytes.

    What the machine has free; less in a container with a limit, or where JupyterHub, as on Binder,
    names one in ``MEM_LIMIT``.
    """
    free = [psutil.virtual_memory().available]
    limit = os.environ.get("MEM_LIMIT", "")
    if limit.isdigit():
        free.append(int(limit) - psutil.Process().memory_info().rss)
    most, used = (_number(CGROUP / name) for name in ("memory.max", "memory.current"))
    if most is not None and used is not None:
        free.append(most - used)
    return max(0, min(free))


def _number(path: Path) -> int | None:
    """Return the number that a file holds, None if there is no such file or it holds none."""
    try:
        text = path.read_text().strip()
    except OSError:
        return None
    return int(text) if text.isdigit() else None
