"""Memory of this process and of others: keep it, give it back, see how much there is.

The GNU allocator is told what to keep; elsewhere the same calls do nothing and say so.
"""

import contextlib
import ctypes
import gc
import os
import platform
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

# Where Linux says what a group of processes, such as a container, may take and has taken.
CGROUP = Path("/sys/fs/cgroup")
OWN_CGROUPS = Path("/proc/self/cgroup")
# The files of a group in both versions of this: the limit, the use, and the line of memory.stat
# with what of it the system may take back when it is short.
GROUP_FILES = (
    ("memory.max", "memory.current", "inactive_file"),
    ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
)

# The numbers of these parameters in glibc's <malloc.h>.
_TRIM_THRESHOLD, _MMAP_THRESHOLD, _MMAP_MAX, _ARENA_MAX = -1, -3, -4, -8
_PARTS = re.compile(r"^(Rss\w+):\s+(\d+) kB", re.MULTILINE)


def use_one_heap() -> bool:
    """Have all threads take memory from one heap; return whether this system can be told so.

    The GNU allocator gives every thread a heap of its own, and what is free in one is of no use
    to the others. With the dozens of threads that TensorFlow starts, a tenth of a notebook's peak
    is lost to that. Call it before the first thread starts.
    """
    return _has_glibc() and ctypes.CDLL(None).mallopt(_ARENA_MAX, 1) == 1


def keep_freed() -> bool:
    """Have freed memory kept for what comes next; return whether this system can be told so.

    A training takes and frees the same few hundred megabytes in every step. The GNU allocator
    would give them back to the system each time, and the system would clear them anew: a sixth
    of a step. What is kept, `release` gives back. Blocks of 32 MiB and more, such as a cohort's
    arrays, are given back at once.
    """
    if not _has_glibc():
        return False
    set_parameter = ctypes.CDLL(None).mallopt
    return bool(set_parameter(_MMAP_THRESHOLD, 2**25) and set_parameter(_TRIM_THRESHOLD, 2**31 - 1))


def keep_all_freed() -> bool:
    """Have freed blocks of any size kept; return whether this system can be told so.

    For a process that trains and ends: the largest blocks of a step have 32 MiB and more, and to
    get those anew each time took two thirds as long as the step itself.
    """
    return keep_freed() and ctypes.CDLL(None).mallopt(_MMAP_MAX, 0) == 1


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

    What the machine has free; less in a container with a limit, of either version of Linux's
    control groups, or where JupyterHub, as on Binder, names one in ``MEM_LIMIT``.
    """
    import psutil  # here and below: a prediction without TensorFlow lacks it

    free = [psutil.virtual_memory().available]
    limit = os.environ.get("MEM_LIMIT", "")
    if limit.isdigit():
        free.append(int(limit) - psutil.Process().memory_info().rss)
    for folder in _own_groups():
        for most_file, used_file, reclaimable in GROUP_FILES:
            most, used = _number(folder / most_file), _number(folder / used_file)
            if most is not None and used is not None:
                free.append(most - used + _line(folder / "memory.stat", reclaimable))
    return max(0, min(free))


def _own_groups() -> list[Path]:
    """Return the folders of the groups that limit this process: its own and all around it.

    In a container, the group's folder may be shown as if it were the outermost one, or not be
    shown by the name that the process is told.
    """
    folders = [CGROUP, CGROUP / "memory"]
    for line in _text(OWN_CGROUPS).splitlines():
        _, kinds, place = line.split(":", 2)
        if kinds == "" or "memory" in kinds.split(","):
            root = CGROUP if kinds == "" else CGROUP / "memory"
            own = root / place.lstrip("/")
            folders += [each for each in (own, *own.parents) if each.is_relative_to(root)]
    return list(dict.fromkeys(folders))


def _number(path: Path) -> int | None:
    """Return the number that a file holds, None if there is no such file or it holds none."""
    text = _text(path).strip()
    return int(text) if text.isdigit() else None


def _line(path: Path, name: str) -> int:
    """Return the number after a name in a file of such lines; 0 if there is none."""
    pairs = (line.split() for line in _text(path).splitlines())
    return next((int(pair[1]) for pair in pairs if len(pair) == 2 and pair[0] == name), 0)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii", errors="replace")
    except OSError:
        return ""


@dataclass(frozen=True)
class Use:
    """What some processes have in memory, in bytes.

    Attributes
    ----------
    own : int
        What each has for itself, summed: what a limit on their memory has to allow.
    files : int
        The largest share of mapped files, most of it code: the processes are of one program, and
        a page that several have read is there once. The system can drop it and read it again.
    """

    own: int
    files: int


def memory_of(pids: Iterable[int]) -> Use:
    """Return what processes have in memory together at this moment; those that ended have none.

    Elsewhere than on Linux files cannot be told from the rest, and count for every process.
    """
    import psutil

    own, files = 0, 0
    for pid in pids:
        status = _text(Path(f"/proc/{pid}/status"))
        parts = {name: int(size) * 1024 for name, size in _PARTS.findall(status)}
        if parts:
            own += parts.get("RssAnon", 0) + parts.get("RssShmem", 0)
            files = max(files, parts.get("RssFile", 0))
        elif not status:
            with contextlib.suppress(psutil.Error):
                own += psutil.Process(pid).memory_info().rss
    return Use(own, files)


def peak_bytes(pid: int) -> int:
    """Return the peak resident size that Linux has kept of a process; 0 elsewhere.

    Its files count too. What `resource.getrusage` says begins with what the process had in memory
    that started this one.
    """
    found = re.search(r"^VmHWM:\s+(\d+) kB", _text(Path(f"/proc/{pid}/status")), re.MULTILINE)
    return int(found.group(1)) * 1024 if found else 0
