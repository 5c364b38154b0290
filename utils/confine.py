"""Confine this process, for good, before it runs code that nobody has read (Linux).

Three walls, each of which the kernel keeps for the rest of the process's life:

- Landlock: files can be opened only below the paths that are named, and no signal leaves.
- seccomp: no new process, no network, no look into another process, no change of a file's owner
  or mode.
- Limits on memory, processor time, and the size and number of files.

Landlock: https://docs.kernel.org/userspace-api/landlock.html; seccomp filters:
https://docs.kernel.org/userspace-api/seccomp_filter.html. Neither needs the rights of root.
"""

import ctypes
import errno
import os
import platform
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from utils.config import CourseError

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

_NO_NEW_PRIVILEGES, _SET_SECCOMP, _FILTER = 38, 22, 2
_ALLOW, _KILL, _REFUSE = 0x7FFF0000, 0x80000000, 0x00050000
_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_CLONE_THREAD = 0x00010000
_FIRST_UNKNOWN, _FIRST_X32 = 467, 0x40000000

# The name of a machine's kernel interface, and the numbers of its system calls that are refused:
# new processes, sockets, signals, other processes' memory, owner and mode of files, mounts and
# name spaces, kernel keys and rings, shared memory, watching files, priorities.
_SAME_EVERYWHERE = (424, 425, 426, 427, 428, 429, 430, 432, 434, 438, 440, 442, 447, 452, 463, 466)
_MACHINES = {
    "x86_64": {
        "audit": 0xC000003E,
        "clone": 56,
        "prlimit": 302,
        "refused": (
            *(57, 58, 59, 322, 41, 53, 49, 50, 43, 288, 42, 62, 200, 234, 129, 297),
            *(101, 310, 311, 312, 90, 91, 268, 92, 93, 94, 260, 132, 235, 261, 280),
            *(188, 189, 190, 197, 198, 199, 165, 166, 155, 161, 272, 308, 321, 298, 323),
            *(250, 248, 249, 303, 304, 29, 68, 64, 240, 319, 253, 294, 300),
            *(141, 203, 144, 142, 314, 251, 135),
        ),
    },
    "aarch64": {
        "audit": 0xC00000B7,
        "clone": 220,
        "prlimit": 261,
        "refused": (
            *(221, 281, 198, 199, 200, 201, 202, 242, 203, 129, 130, 131, 138, 240),
            *(117, 270, 271, 272, 52, 53, 55, 54, 88, 5, 6, 7, 14, 15, 16),
            *(40, 39, 41, 51, 97, 268, 280, 241, 282, 219, 217, 218, 264, 265),
            *(194, 186, 190, 180, 279, 26, 262, 140, 122, 119, 118, 274, 30, 92),
        ),
    },
}
_CLONE3 = 435


@dataclass(frozen=True)
class Limits:
    """What a process may use.

    Attributes
    ----------
    memory_mb : int
        Resident memory, MiB; `utils.grade_process` watches it.
    address_mb : int
        Addresses, MiB: of these TensorFlow takes much more than memory.
    cpu_seconds : int
    file_mb : int
        One file, MiB.
    """

    memory_mb: int = 2048
    address_mb: int = 8192
    cpu_seconds: int = 300
    file_mb: int = 1


def lacking() -> str:
    """Return what this system lacks to confine a process, or nothing."""
    if sys.platform != "linux":
        return f"{platform.system()} has neither Landlock nor seccomp"
    if platform.machine() not in _MACHINES or ctypes.sizeof(ctypes.c_void_p) != 8:
        return f"no list of system calls for {platform.machine()}"
    if _landlock_version() < 1:
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
        os.setgroups([])
        os.setresgid(user, user, user)
        os.setresuid(user, user, user)
    # Also where root stays root, because nobody else can read the course: it keeps no power.
    version, none = (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()
    _call("capset", version, none)


def _landlock_version() -> int:
    return ctypes.CDLL(None).syscall(_CREATE, None, ctypes.c_size_t(0), _ASK_VERSION)


def _restrict_files(walls: Walls) -> None:
    version = _landlock_version()
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
    steps = b"".join(_filter(_MACHINES[platform.machine()]))
    held = ctypes.create_string_buffer(steps, len(steps))
    # struct sock_fprog: the number of steps, then (aligned) where they are.
    program = (ctypes.c_uint64 * 2)(len(steps) // 8, ctypes.addressof(held))
    _call("prctl", _SET_SECCOMP, _FILTER, ctypes.byref(program), 0, 0)


def _filter(machine: dict) -> Iterator[bytes]:
    """Yield the filter's steps; a jump says how many steps are skipped if it holds, and if not."""
    yield from (_step(_LOAD, 4), _step(_EQUAL, machine["audit"], 1, 0), _step(_RETURN, _KILL))
    yield _step(_LOAD, 0)
    yield from (_step(_AT_LEAST, _FIRST_X32, 0, 1), _step(_RETURN, _KILL))
    # Calls that were invented after this list was written; and a way to make processes whose
    # arguments a filter cannot see: the C library then takes the older way, which is below.
    yield from (_step(_AT_LEAST, _FIRST_UNKNOWN, 0, 1), _step(_RETURN, _REFUSE | errno.ENOSYS))
    yield from (_step(_EQUAL, _CLONE3, 0, 1), _step(_RETURN, _REFUSE | errno.ENOSYS))
    for number in (*machine["refused"], *_SAME_EVERYWHERE):
        yield from (_step(_EQUAL, number, 0, 1), _step(_RETURN, _REFUSE | errno.EPERM))
    # A thread, but no process.
    yield from (_step(_EQUAL, machine["clone"], 0, 4), _step(_LOAD, 16))
    yield from (_step(_ANY_BIT, _CLONE_THREAD, 0, 1), _step(_RETURN, _ALLOW))
    yield _step(_RETURN, _REFUSE | errno.EPERM)
    # Limits of this process, not of another.
    yield from (_step(_EQUAL, machine["prlimit"], 0, 3), _step(_LOAD, 16))
    yield from (_step(_EQUAL, 0, 1, 0), _step(_RETURN, _REFUSE | errno.EPERM))
    yield _step(_RETURN, _ALLOW)


def _step(code: int, value: int, if_so: int = 0, if_not: int = 0) -> bytes:
    order = sys.byteorder
    return code.to_bytes(2, order) + bytes([if_so, if_not]) + value.to_bytes(4, order)


def _call(name: str, *arguments) -> int:
    """Call a function of the C library; raise OSError if it fails."""
    library = ctypes.CDLL(None, use_errno=True)
    result = getattr(library, name)(*arguments)
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")
    return result
