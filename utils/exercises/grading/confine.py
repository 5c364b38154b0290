"""Confine this process, for good, before it runs code that nobody has read (Linux).

Three walls, each of which the kernel keeps for the rest of the process's life:

- Landlock: files can be opened only below the paths that are named, and no signal leaves.
- seccomp (`utils.exercises.grading.confine_calls`): no new process, no network, no signal, no look
  into another process, no change of a file's owner or mode, and what older versions of Landlock let
  through.
- Limits on memory, processor time, and the size and number of files.

Landlock: https://docs.kernel.org/userspace-api/landlock.html. It needs no rights of root.
"""

import ctypes
import os
import platform
import signal
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from utils.config import CourseError
from utils.exercises.grading.confine_calls import MACHINES, program

NOBODY = 65534
MEBIBYTE = 2**20

# Landlock. Its system calls have the same numbers everywhere.
_CREATE, _ADD, _RESTRICT = 444, 445, 446
_ASK_VERSION, _PATH_BENEATH = 1, 1
_EXECUTE, _WRITE, _READ, _READ_DIR, _REMOVE_FILE, _MAKE_FILE = 1, 2, 4, 8, 1 << 5, 1 << 8
_TRUNCATE, _DEVICE = 1 << 14, 1 << 15
# What each version of Landlock can forbid, by the number of its highest bit.
_FILE_RIGHTS = {1: 13, 2: 14, 3: 15, 4: 15, 5: 16}
_NO_TCP, _NO_OUTSIDE_SOCKET_OR_SIGNAL = 3, 3

_SET_DEATH_SIGNAL, _GET_DEATH_SIGNAL, _SET_SUBREAPER = 1, 2, 36
_NO_NEW_PRIVILEGES, _SET_SECCOMP, _FILTER = 38, 22, 2


@dataclass(frozen=True)
class Limits:
    """What a process may use.

    Attributes
    ----------
    memory_mb : int
        Resident memory, MiB; `utils.exercises.grading.process` watches it.
    address_mb : int
        Addresses, MiB: of these TensorFlow takes much more than memory.
    cpu_seconds : int
    file_mb : int
        One file, MiB.
    landlock : int, optional
        The newest version of Landlock to use, if not the kernel's: how the walls hold on an older
        kernel is tried with it.
    """

    memory_mb: int = 2048
    address_mb: int = 8192
    cpu_seconds: int = 300
    file_mb: int = 1
    landlock: int | None = None


def lacking() -> str:
    """Return what this system lacks to confine a process, or nothing."""
    if sys.platform != "linux":
        return f"{platform.system()} has neither Landlock nor seccomp"
    if platform.machine() not in MACHINES or ctypes.sizeof(ctypes.c_void_p) != 8:
        return f"no list of system calls for {platform.machine()}"
    if landlock_version() < 1:
        return "this kernel has no Landlock (Linux 5.13 or later, switched on)"
    if not os.path.exists("/proc/sys/kernel/seccomp"):
        return "this kernel has no seccomp filters"
    return ""


@dataclass(frozen=True)
class Walls:
    """What a confined process may still do.

    Attributes
    ----------
    readable : tuple of Path
        Files, and folders with all that is below them, that can be read.
    listable : tuple of Path
        Folders in which names can be seen, but no file read.
    writable : tuple of Path
        Folders in which files (no folders, no links) can be made, and single files.
    limits : Limits
    user : int, optional
        A user to become; only root can.
    """

    readable: tuple[Path, ...]
    listable: tuple[Path, ...]
    writable: tuple[Path, ...]
    limits: Limits
    user: int | None = None


def confine(walls: Walls) -> None:
    """Shut this process in. It cannot be undone.

    Raises
    ------
    CourseError
        If the system lacks something, or a wall cannot be put up.
    """
    if missing := lacking():
        raise CourseError(missing)
    if len(os.listdir("/proc/self/task")) > 1:
        # The walls stand around this thread and those that it starts, not around older ones.
        raise CourseError("this process cannot be confined: it has more than one thread")
    try:
        set_limits(walls.limits)
        _drop_rights(walls.user)
        _call("prctl", _NO_NEW_PRIVILEGES, 1, 0, 0, 0)
        _restrict_files(walls)
        _restrict_calls()
    except OSError as error:
        raise CourseError(f"this process cannot be confined: {error}") from error


def user_for(readable: Sequence[Path]) -> int | None:
    """Return the user to become: nobody, where this is root and nobody can read these paths too."""
    if os.name != "posix" or os.geteuid() != 0:
        return None
    for path in readable:
        bits = 0o5 if path.is_dir() else 0o4
        if path.stat().st_mode & bits != bits:
            return None
        if any(not parent.stat().st_mode & 0o1 for parent in path.resolve().parents):
            return None
    return NOBODY


def set_limits(limits: Limits) -> None:
    """Limit memory, time and files of this process, where the system can."""
    try:
        import resource  # not on Windows
    except ImportError:
        return
    values = {
        "RLIMIT_AS": limits.address_mb * MEBIBYTE,
        "RLIMIT_CPU": limits.cpu_seconds,
        "RLIMIT_FSIZE": limits.file_mb * MEBIBYTE,
        "RLIMIT_NOFILE": 64,
        "RLIMIT_CORE": 0,
        "RLIMIT_MSGQUEUE": 0,
    }
    for name, value in values.items():
        kind = getattr(resource, name, None)
        if kind is not None:
            highest = resource.getrlimit(kind)[1]
            value = value if highest == resource.RLIM_INFINITY else min(value, highest)
            resource.setrlimit(kind, (value, value))


def _drop_rights(user: int | None) -> None:
    if os.geteuid() != 0:
        return
    if user is not None:
        kept = ctypes.c_int()
        _call("prctl", _GET_DEATH_SIGNAL, ctypes.byref(kept), 0, 0, 0)
        os.setgroups([])
        os.setresgid(user, user, user)
        os.setresuid(user, user, user)
        # The kernel forgets it when the user changes.
        _call("prctl", _SET_DEATH_SIGNAL, ctypes.c_ulong(kept.value), 0, 0, 0)
    # Also where root stays root, because nobody else can read the course: it keeps no power.
    version, none = (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()
    _call("capset", version, none)


def die_with(parent: int) -> None:
    """Have the kernel kill this process as soon as its parent ends, however that ends (Linux).

    Parameters
    ----------
    parent : int
        The process that started this one. If it has ended already, so does this one.
    """
    if sys.platform == "linux":
        _call("prctl", _SET_DEATH_SIGNAL, ctypes.c_ulong(signal.SIGKILL), 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)


def adopt_orphans() -> None:
    """Become the parent of what this process's children leave behind (Linux)."""
    if sys.platform == "linux":
        _call("prctl", _SET_SUBREAPER, ctypes.c_ulong(1), 0, 0, 0)


def landlock_version() -> int:
    """Return which version of Landlock the kernel has, -1 for none."""
    return ctypes.CDLL(None).syscall(_CREATE, None, ctypes.c_size_t(0), _ASK_VERSION)


def _restrict_files(walls: Walls) -> None:
    version = landlock_version()
    if walls.limits.landlock is not None:
        version = min(version, walls.limits.landlock)
    handled = (1 << _FILE_RIGHTS[min(version, max(_FILE_RIGHTS))]) - 1
    fields = [handled, _NO_TCP if version >= 4 else 0]
    if version >= 6:
        fields.append(_NO_OUTSIDE_SOCKET_OR_SIGNAL)
    attributes = (ctypes.c_uint64 * len(fields))(*fields)
    # Older kernels know a shorter structure.
    size = ctypes.sizeof(attributes) if version >= 4 else 8
    rules = _call("syscall", _CREATE, attributes, ctypes.c_size_t(size), 0)
    write = _READ | _READ_DIR | _WRITE | _REMOVE_FILE | _MAKE_FILE | _TRUNCATE
    allowed = (
        (walls.readable, _READ | _READ_DIR | _EXECUTE),
        (walls.listable, _READ_DIR),
        (walls.writable, write),
    )
    for paths, rights in allowed:
        for path in paths:
            _allow(rules, path, rights & handled)
    _call("syscall", _RESTRICT, rules, 0)
    os.close(rules)


def _allow(rules: int, path: Path, rights: int) -> None:
    if not path.is_dir():
        rights &= _READ | _WRITE | _EXECUTE | _TRUNCATE
    place = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        rule = rights.to_bytes(8, sys.byteorder) + place.to_bytes(4, sys.byteorder)
        _call("syscall", _ADD, rules, _PATH_BENEATH, ctypes.create_string_buffer(rule, 12), 0)
    finally:
        os.close(place)


def _restrict_calls() -> None:
    steps = program(platform.machine())
    held = ctypes.create_string_buffer(steps, len(steps))
    # struct sock_fprog: the number of steps, then (aligned) where they are.
    filled = (ctypes.c_uint64 * 2)(len(steps) // 8, ctypes.addressof(held))
    _call("prctl", _SET_SECCOMP, _FILTER, ctypes.byref(filled), 0, 0)


def _call(name: str, *arguments) -> int:
    """Call a function of the C library; raise OSError if it fails."""
    library = ctypes.CDLL(None, use_errno=True)
    result = getattr(library, name)(*arguments)
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")
    return result
