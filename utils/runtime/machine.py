"""What the machine is: its processor and its cores."""

import os
import platform
from pathlib import Path

CPUINFO = Path("/proc/cpuinfo")


def cpuinfo(name: str) -> list[str]:
    """Return the values of a field of ``/proc/cpuinfo``, such as "flags", one a core.

    None where there is no such field, or no such file, as outside Linux.
    """
    try:
        lines = CPUINFO.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
    fields = (line.partition(":") for line in lines)
    return [value.strip() for field, _, value in fields if field.strip() == name]


def processor_name() -> str:
    """Return what the processor is called; its architecture where the system does not tell."""
    names = cpuinfo("model name")
    return names[0] if names else platform.processor() or platform.machine()


def cores() -> list[int]:
    """Return the numbers of the cores that this process may use.

    Where the system cannot restrict a process to some of them, those of all.
    """
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))
