"""What the system says of the processor."""

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
