"""Which system calls a confined process may make: the steps of a seccomp filter.

What is refused is listed by name, with the reason. Calls that carry their danger in an argument
(`open`, `fcntl`, `ioctl`, `prctl`, `clone`, `prlimit64`) are looked into; of the commands of
`fcntl` and `ioctl` the harmless ones are listed, and all others refused. Landlock before version 3
lets files be truncated that may only be read, before 5 it knows no `ioctl`, before 6 no signal:
the filter refuses these on every kernel.

https://docs.kernel.org/userspace-api/seccomp_filter.html
"""

import errno
import sys
from collections.abc import Iterator, Sequence

# The name of a machine's kernel interface in the audit system, and its place in the table below.
MACHINES = {"x86_64": (0xC000003E, 0), "aarch64": (0xC00000B7, 1)}

# Number on x86_64 and on aarch64; None where there is no such call.
NUMBERS: dict[str, tuple[int | None, int | None]] = {
    # new processes and programs
    "fork": (57, None), "vfork": (58, None), "execve": (59, 221), "execveat": (322, 281),
    # sockets
    "socket": (41, 198), "socketpair": (53, 199), "bind": (49, 200), "listen": (50, 201),
    "accept": (43, 202), "accept4": (288, 242), "connect": (42, 203),
    # signals to others
    "kill": (62, 129), "tkill": (200, 130), "tgkill": (234, 131), "rt_sigqueueinfo": (129, 138),
    "rt_tgsigqueueinfo": (297, 240), "pidfd_send_signal": (424, 424),
    # other processes
    "ptrace": (101, 117), "process_vm_readv": (310, 270), "process_vm_writev": (311, 271),
    "kcmp": (312, 272), "move_pages": (279, 239), "migrate_pages": (256, 238),
    "pidfd_open": (434, 434), "pidfd_getfd": (438, 438), "process_madvise": (440, 440),
    "process_mrelease": (448, 448),
    # length, owner, mode, times and attributes of files that need not be open for writing
    "truncate": (76, 45), "chmod": (90, None), "fchmod": (91, 52), "fchmodat": (268, 53),
    "fchmodat2": (452, 452), "chown": (92, None), "fchown": (93, 55), "lchown": (94, None),
    "fchownat": (260, 54), "utime": (132, None), "utimes": (235, None), "futimesat": (261, None),
    "utimensat": (280, 88), "setxattr": (188, 5), "lsetxattr": (189, 6), "fsetxattr": (190, 7),
    "getxattr": (191, 8), "lgetxattr": (192, 9), "fgetxattr": (193, 10), "listxattr": (194, 11),
    "llistxattr": (195, 12), "flistxattr": (196, 13), "removexattr": (197, 14),
    "lremovexattr": (198, 15), "fremovexattr": (199, 16), "setxattrat": (463, 463),
    "getxattrat": (464, 464), "listxattrat": (465, 465), "removexattrat": (466, 466),
    "name_to_handle_at": (303, 264), "open_by_handle_at": (304, 265),
    # mounts and name spaces
    "mount": (165, 40), "umount2": (166, 39), "pivot_root": (155, 41), "chroot": (161, 51),
    "unshare": (272, 97), "setns": (308, 268), "open_tree": (428, 428), "move_mount": (429, 429),
    "fsopen": (430, 430), "fsconfig": (431, 431), "fsmount": (432, 432), "fspick": (433, 433),
    "mount_setattr": (442, 442), "statmount": (457, 457), "listmount": (458, 458),
    # the kernel's log, keys, rings, quotas and programs
    "syslog": (103, 116), "add_key": (248, 217), "request_key": (249, 218), "keyctl": (250, 219),
    "io_uring_setup": (425, 425), "io_uring_enter": (426, 426), "io_uring_register": (427, 427),
    "quotactl": (179, 60), "quotactl_fd": (443, 443), "bpf": (321, 280),
    "perf_event_open": (298, 241), "userfaultfd": (323, 282),
    # memory, queues and semaphores that processes share, also those that are there already
    "shmget": (29, 194), "shmat": (30, 196), "shmctl": (31, 195), "msgget": (68, 186),
    "msgsnd": (69, 189), "msgrcv": (70, 188), "msgctl": (71, 187), "semget": (64, 190),
    "semop": (65, 193), "semctl": (66, 191), "semtimedop": (220, 192), "mq_open": (240, 180),
    "mq_unlink": (241, 181), "memfd_create": (319, 279), "memfd_secret": (447, 447),
    # watching files
    "inotify_init": (253, None), "inotify_init1": (294, 26), "fanotify_init": (300, 262),
    # priorities
    "setpriority": (141, 140), "sched_setaffinity": (203, 122), "sched_setscheduler": (144, 119),
    "sched_setparam": (142, 118), "sched_setattr": (314, 274), "ioprio_set": (251, 30),
    "personality": (135, 92),
}  # fmt: skip

# Those whose arguments are looked into, and two that hide theirs behind a pointer.
LOOKED_INTO: dict[str, tuple[int | None, int | None]] = {
    "open": (2, None), "openat": (257, 56), "fcntl": (72, 25), "ioctl": (16, 29),
    "prctl": (157, 167), "clone": (56, 220), "prlimit64": (302, 261),
}  # fmt: skip
HIDDEN = {"clone3": 435, "openat2": 437}

# DUPFD, GETFD, SETFD, GETFL, SETFL, GETLK, SETLK, SETLKW, the OFD locks, DUPFD_CLOEXEC,
# GETPIPE_SZ, GET_SEALS. Not among them: SETOWN, SETOWN_EX and SETSIG, which have the kernel send
# a signal to any process, leases, and the size of pipes, of which a user has only so many.
FCNTL_COMMANDS = (0, 1, 2, 3, 4, 5, 6, 7, 36, 37, 38, 1030, 1032, 1034)
# TCGETS, TIOCGWINSZ, FIONREAD, FIONBIO, FIONCLEX, FIOCLEX. Not among them: FIOSETOWN, SIOCSPGRP
# and FIOASYNC (signals), TIOCSTI (keys typed into a terminal), and the flags of a file.
IOCTL_COMMANDS = (0x5401, 0x5413, 0x541B, 0x5421, 0x5450, 0x5451)
_SET_DEATH_SIGNAL = 1
_ACCESS_MODE, _READ_ONLY, _NO_ACCESS, _TRUNCATE = 3, 0, 3, 0x200

_ALLOW, _KILL, _REFUSE = 0x7FFF0000, 0x80000000, 0x00050000
_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _AND, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x54, 0x06
_CLONE_THREAD = 0x00010000
_FIRST_UNKNOWN, _FIRST_X32 = 467, 0x40000000
# Where the filter finds the number of the call, the machine, and the low half of each argument.
_NUMBER, _MACHINE, _ARGUMENT = 0, 4, (16, 24, 32)


def program(machine: str) -> bytes:
    """Return the filter for a machine, a key of `MACHINES`: eight bytes a step."""
    return b"".join(_filter(machine))


def _filter(machine: str) -> Iterator[bytes]:
    """Yield the filter's steps; a jump says how many steps are skipped if it holds, and if not."""
    audit, place = MACHINES[machine]
    yield from (_step(_LOAD, _MACHINE), _step(_EQUAL, audit, 1, 0), _step(_RETURN, _KILL))
    yield _step(_LOAD, _NUMBER)
    yield from (_step(_AT_LEAST, _FIRST_X32, 0, 1), _step(_RETURN, _KILL))
    # Calls that were invented after this list was written, and those whose arguments a filter
    # cannot see: libraries then take the older way, which is below.
    yield from (_step(_AT_LEAST, _FIRST_UNKNOWN, 0, 1), _refused(errno.ENOSYS))
    for number in HIDDEN.values():
        yield from (_step(_EQUAL, number, 0, 1), _refused(errno.ENOSYS))
    for numbers in NUMBERS.values():
        if numbers[place] is not None:
            yield from (_step(_EQUAL, numbers[place], 0, 1), _refused())
    looks = {
        "open": _opening(_ARGUMENT[1]),
        "openat": _opening(_ARGUMENT[2]),
        "fcntl": _one_of(_ARGUMENT[1], FCNTL_COMMANDS),
        "ioctl": _one_of(_ARGUMENT[1], IOCTL_COMMANDS),
        # The signal at its parent's death stays as it is.
        "prctl": [
            *(_step(_LOAD, _ARGUMENT[0]), _step(_EQUAL, _SET_DEATH_SIGNAL, 0, 1), _refused()),
            _step(_RETURN, _ALLOW),
        ],
        # A thread, but no process.
        "clone": [
            *(_step(_LOAD, _ARGUMENT[0]), _step(_ANY_BIT, _CLONE_THREAD, 1, 0), _refused()),
            _step(_RETURN, _ALLOW),
        ],
        # Limits of this process, not of another.
        "prlimit64": _one_of(_ARGUMENT[0], (0,)),
    }
    for name, steps in looks.items():
        number = LOOKED_INTO[name][place]
        if number is not None:
            yield from (_step(_EQUAL, number, 0, len(steps)), *steps)
    yield _step(_RETURN, _ALLOW)


def _opening(flags: int) -> list[bytes]:
    """Return the steps for opening a file: no truncation without the right to write.

    Mode 3 opens a file neither for reading nor for writing, which Landlock takes for no access at
    all; with O_TRUNC it empties the file nevertheless, as reading with O_TRUNC does.
    """
    return [
        *(_step(_LOAD, flags), _step(_AND, _ACCESS_MODE)),
        *(_step(_EQUAL, _NO_ACCESS, 0, 1), _refused()),
        *(_step(_EQUAL, _READ_ONLY, 1, 0), _step(_RETURN, _ALLOW)),
        *(_step(_LOAD, flags), _step(_ANY_BIT, _TRUNCATE, 0, 1), _refused()),
        _step(_RETURN, _ALLOW),
    ]


def _one_of(argument: int, allowed: Sequence[int]) -> list[bytes]:
    """Return the steps for a call of which only some commands are allowed."""
    left = range(len(allowed), 0, -1)
    checks = [_step(_EQUAL, value, skip, 0) for value, skip in zip(allowed, left, strict=True)]
    return [_step(_LOAD, argument), *checks, _refused(), _step(_RETURN, _ALLOW)]


def _refused(reason: int = errno.EPERM) -> bytes:
    return _step(_RETURN, _REFUSE | reason)


def _step(code: int, value: int, if_so: int = 0, if_not: int = 0) -> bytes:
    order = sys.byteorder
    return code.to_bytes(2, order) + bytes([if_so, if_not]) + value.to_bytes(4, order)
