"""What a confined process can and cannot do, and what is said where it cannot be confined."""

import json
import os
import re
import struct
import subprocess
import sys
import time
from pathlib import Path

import pytest

from utils.config import ROOT
from utils.exercises.grading import confine, confine_calls

needs_walls = pytest.mark.skipif(bool(confine.lacking()), reason=confine.lacking())
# Every version that this kernel can be held down to: what an older kernel would have.
VERSIONS = [] if confine.lacking() else list(range(1, confine.landlock_version() + 1))
CHILD = """
import ctypes, errno, fcntl, json, os, shutil, struct, sys, threading
from pathlib import Path
sys.path.insert(0, {root!r})
from utils.exercises.grading.confine import Limits, Walls, confine
shared, listed, own, outside = (Path(each) for each in sys.argv[1:5])
# Imported before: no library can be read afterwards.
import signal, socket, subprocess
os.chdir(own)
limits = Limits(address_mb=512, cpu_seconds=20, landlock=int(sys.argv[5]))
confine(Walls((shared,), (listed,), (own,), limits))
library = ctypes.CDLL(None, use_errno=True)

def tried(action):
    try:
        action()
        return "done"
    except BaseException as error:
        return type(error).__name__

def called(name, *arguments):
    if getattr(library, name)(*arguments) < 0:
        raise OSError(ctypes.get_errno(), name)

def commanded(command, argument=0):
    fcntl.fcntl(open(shared / "file"), command, argument)

def controlled(request):
    fcntl.ioctl(open(shared / "file"), request, struct.pack("i", os.getppid()))

def opened(path, flags):
    os.close(os.open(path, flags))

def joined():
    thread = threading.Thread(target=lambda: None)
    thread.start()
    thread.join()

parent = os.getppid()
print(json.dumps({{
    "read shared": tried(lambda: (shared / "file").read_text()),
    "list listed": tried(lambda: os.listdir(listed)),
    "write own": tried(lambda: (own / "new").write_text("")),
    "empty own": tried(lambda: open(own / "new", "w").close()),
    "cut own": tried(lambda: open(own / "new", "r+").truncate(0)),
    "rename own": tried(lambda: os.rename("new", "newer")),
    "copy own": tried(lambda: shutil.copyfile("newer", "copy")),
    "remove own": tried(lambda: os.remove("newer")),
    "duplicate": tried(lambda: os.close(os.dup(1))),
    "is a terminal": tried(lambda: os.isatty(1)),
    "thread": tried(joined),
    # -- all that follows is refused
    "write shared": tried(lambda: (shared / "new").write_text("")),
    "read listed": tried(lambda: (listed / "file").read_text()),
    "read elsewhere": tried(lambda: Path({root!r}, "README.md").read_text()),
    "read outside": tried(lambda: (outside / "file").read_text()),
    "write outside": tried(lambda: (outside / "file").write_text("")),
    "truncate shared": tried(lambda: os.truncate(shared / "file", 0)),
    "truncate outside": tried(lambda: os.truncate(outside / "file", 0)),
    "empty shared": tried(lambda: opened(shared / "file", os.O_RDONLY | os.O_TRUNC)),
    "empty outside": tried(lambda: opened(outside / "file", os.O_RDONLY | os.O_TRUNC)),
    "empty outside, mode 3": tried(lambda: opened(outside / "file", 3 | os.O_TRUNC)),
    "open outside, mode 3": tried(lambda: opened(outside / "file", 3)),
    "make outside": tried(lambda: opened(outside / "new", os.O_WRONLY | os.O_CREAT)),
    "remove outside": tried(lambda: os.remove(outside / "file")),
    "rename outside": tried(lambda: os.rename(outside / "file", outside / "other")),
    "folder": tried(lambda: (own / "folder").mkdir()),
    "link": tried(lambda: os.symlink("/", "link")),
    "pipe": tried(lambda: os.mkfifo("pipe")),
    "mode": tried(lambda: (own / "file").chmod(0o777)),
    "owner": tried(lambda: os.chown(own / "file", os.getuid(), os.getgid())),
    "time": tried(lambda: os.utime(own / "file", (0, 0))),
    "attribute": tried(lambda: os.setxattr(own / "file", "user.a", b"")),
    "read attribute": tried(lambda: os.listxattr(shared / "file")),
    "fork": tried(os.fork),
    "program": tried(lambda: os.execv("/bin/true", ["true"])),
    "subprocess": tried(lambda: subprocess.run(["/bin/true"])),
    "socket": tried(socket.socket),
    "local socket": tried(lambda: socket.socket(socket.AF_UNIX)),
    "socket pair": tried(socket.socketpair),
    "signal": tried(lambda: os.kill(parent, 0)),
    "signal to all": tried(lambda: os.kill(-1, 0)),
    "queued signal": tried(lambda: called("sigqueue", parent, 0, None)),
    "signals of a file to another": tried(lambda: commanded(fcntl.F_SETOWN, parent)),
    "signals of a file to another (2)": tried(lambda: commanded(15, struct.pack("ii", 1, parent))),
    "another signal of a file": tried(lambda: commanded(fcntl.F_SETSIG, 9)),
    "lease": tried(lambda: commanded(fcntl.F_SETLEASE, fcntl.F_RDLCK)),
    "pipe size": tried(lambda: commanded(1031, 2**20)),
    "FIOSETOWN": tried(lambda: controlled(0x8901)),
    "SIOCSPGRP": tried(lambda: controlled(0x8902)),
    "FIOASYNC": tried(lambda: controlled(0x5452)),
    "TIOCSTI": tried(lambda: controlled(0x5412)),
    "flags of a file": tried(lambda: controlled(0x40086602)),
    "outlive the parent": tried(lambda: called("prctl", 1, 0, 0, 0, 0)),
    "limits of another": tried(lambda: called("prlimit", parent, 7, None, bytes(16))),
    "shared memory": tried(lambda: called("shmget", 0, 4096, 0o1600)),
    "remove shared memory": tried(lambda: called("shmctl", 0, 0, None)),
    "remove semaphores": tried(lambda: called("semctl", 0, 0, 0)),
    "remove a queue": tried(lambda: called("msgctl", 0, 0, None)),
    "kernel's log": tried(lambda: called("klogctl", 10, None, 0)),
    "priority": tried(lambda: os.setpriority(os.PRIO_PROCESS, parent, 19)),
    "processors": tried(lambda: os.sched_setaffinity(0, [0])),
    "memory": tried(lambda: bytearray(2**31)),
}}))
"""
ALLOWED = {
    *("read shared", "list listed", "write own", "empty own", "cut own", "rename own"),
    *("copy own", "remove own", "duplicate", "is a terminal", "thread"),
}


@needs_walls
@pytest.mark.parametrize("version", VERSIONS)
def test_walls_at_every_version_of_landlock(version, tmp_path):
    folders = [tmp_path / name for name in ("shared", "listed", "own", "outside")]
    for folder in folders:
        folder.mkdir()
        (folder / "file").write_text("text")
    command = [sys.executable, "-I", "-c", CHILD.format(root=str(ROOT)), *map(str, folders)]
    ended = subprocess.run(
        [*command, str(version)], capture_output=True, text=True, check=False, timeout=60
    )
    assert ended.stderr == ""
    found = json.loads(ended.stdout)
    done = {name for name, result in found.items() if result == "done"}
    assert done == ALLOWED
    assert found.pop("memory") == "MemoryError"
    refused = {name: result for name, result in found.items() if name not in done}
    assert set(refused.values()) == {"PermissionError"}, refused
    for folder in folders:
        assert (folder / "file").read_text() == "text"
    assert sorted(os.listdir(tmp_path / "own")) == ["copy", "file"]
    assert os.listdir(tmp_path / "outside") == ["file"]


@needs_walls
def test_a_process_with_threads_is_not_confined():
    code = """
import sys, threading
sys.path.insert(0, sys.argv[1])
from utils.exercises.grading.confine import Limits, Walls, confine
threading.Thread(target=threading.Event().wait, daemon=True).start()
confine(Walls((), (), (), Limits()))
"""
    command = [sys.executable, "-I", "-c", code, str(ROOT)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert "it has more than one thread" in ended.stderr


ORPHAN = """
import os, sys, time
sys.path.insert(0, sys.argv[1])
from utils.exercises.grading.confine import Limits, Walls, confine, die_with
parent = os.getpid()
child = os.fork()
if child == 0:
    die_with(parent)
    user = int(sys.argv[2]) if sys.argv[2] else None
    if user is not None or sys.argv[3]:
        confine(Walls((), (), (), Limits(), user))
    print(os.getpid(), flush=True)
    time.sleep(60)
    os._exit(0)
time.sleep(60)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells of a parent's death")
@pytest.mark.parametrize("case", ["free", "confined", "another user"])
def test_a_process_ends_with_its_parent(case):
    if case != "free" and confine.lacking():
        pytest.skip(confine.lacking())
    if case == "another user" and os.geteuid() != 0:
        pytest.skip("only root can become another")
    user = str(confine.NOBODY) if case == "another user" else ""
    command = [sys.executable, "-I", "-c", ORPHAN, str(ROOT), user, "" if case == "free" else "y"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        child = int(parent.stdout.readline())
        parent.kill()
    assert ended_within(child, 10)


def ended_within(pid, seconds):
    """Return whether a process, not a child of this one, ends in that time."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            return True
        if state in "ZX":
            return True
        time.sleep(0.05)
    return False


@pytest.mark.skipif(os.name != "posix", reason="there is no fork")
def test_a_process_whose_parent_has_ended_already_ends_too():
    pid = os.fork()
    if pid == 0:
        confine.die_with(1 << 30)  # not the parent of anything
        os._exit(7)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 1


def results(machine):
    """Return a function that runs a machine's filter by hand: number, arguments -> what is done."""
    program = confine_calls.program(machine)
    steps = [struct.unpack("=HBBI", program[at : at + 8]) for at in range(0, len(program), 8)]
    audit = confine_calls.MACHINES[machine][0]

    def result(number, *arguments, audit=audit):
        words = {0: number, 4: audit} | {16 + 8 * at: each for at, each in enumerate(arguments)}
        value, place = 0, 0
        while True:
            code, if_so, if_not, operand = steps[place]
            place += 1
            if code == 0x06:
                return operand
            if code == 0x20:
                value = words.get(operand, 0)
                continue
            if code == 0x54:
                value &= operand
                continue
            holds = {0x15: value == operand, 0x35: value >= operand, 0x45: bool(value & operand)}
            place += if_so if holds[code] else if_not

    return result


ALLOWS, REFUSES, UNKNOWN, KILLS = 0x7FFF0000, 0x00050001, 0x00050026, 0x80000000


@pytest.mark.parametrize(("machine", "place", "read"), [("x86_64", 0, 0), ("aarch64", 1, 63)])
def test_the_filter_jumps_to_where_it_should(machine, place, read):
    result = results(machine)
    calls = {name: number[place] for name, number in confine_calls.LOOKED_INTO.items()}
    assert result(read) == ALLOWS
    refused = [numbers[place] for numbers in confine_calls.NUMBERS.values()]
    assert {result(number) for number in refused if number is not None} == {REFUSES}
    assert result(calls["clone"], 0x00010000) == ALLOWS
    assert result(calls["clone"], 17) == REFUSES
    assert result(calls["prlimit64"], 0) == ALLOWS
    assert result(calls["prlimit64"], 4242) == REFUSES
    assert result(calls["prctl"], 15) == ALLOWS  # PR_SET_NAME
    assert result(calls["prctl"], 1) == REFUSES  # PR_SET_PDEATHSIG
    assert result(435) == result(437) == result(470) == UNKNOWN  # clone3, openat2, a new one
    assert result(0x40000001) == KILLS
    assert result(read, audit=0x40000003) == KILLS


# O_RDONLY, O_WRONLY, O_RDWR, and O_TRUNC (0x200) and O_CREAT (0x40) with them.
OPENINGS = {
    0: ALLOWS, 1: ALLOWS, 2: ALLOWS, 3: REFUSES,
    0x200: REFUSES, 0x201: ALLOWS, 0x202: ALLOWS, 0x203: REFUSES,
    0x80000: ALLOWS, 0x80241: ALLOWS, 0x80240: REFUSES,
}  # fmt: skip


@pytest.mark.parametrize("flags", OPENINGS)
def test_no_file_is_opened_to_be_emptied_without_the_right_to_write(flags):
    assert results("x86_64")(2, 0, flags) == OPENINGS[flags]
    assert results("x86_64")(257, 0, 0, flags) == OPENINGS[flags]
    assert results("aarch64")(56, 0, 0, flags) == OPENINGS[flags]


@pytest.mark.parametrize(("machine", "fcntl", "ioctl"), [("x86_64", 72, 16), ("aarch64", 25, 29)])
def test_only_harmless_commands_of_fcntl_and_ioctl(machine, fcntl, ioctl):
    result = results(machine)
    # F_DUPFD … F_SETLKW, F_DUPFD_CLOEXEC; TCGETS, TIOCGWINSZ, FIOCLEX
    assert {result(fcntl, 3, each) for each in (*range(8), 1030)} == {ALLOWS}
    assert {result(ioctl, 3, each) for each in (0x5401, 0x5413, 0x5451)} == {ALLOWS}
    # F_SETOWN, F_GETOWN, F_SETSIG, F_SETOWN_EX, F_SETLEASE, F_NOTIFY, F_SETPIPE_SZ
    assert {result(fcntl, 3, each) for each in (8, 9, 10, 15, 1024, 1026, 1031)} == {REFUSES}
    # FIOSETOWN, SIOCSPGRP, FIOASYNC, TIOCSTI, FS_IOC_SETFLAGS, FICLONE
    refused = (0x8901, 0x8902, 0x5452, 0x5412, 0x40086602, 0x40049409)
    assert {result(ioctl, 3, each) for each in refused} == {REFUSES}


HEADERS = Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h")


@pytest.mark.skipif(not HEADERS.exists(), reason="the kernel's headers are not installed")
def test_the_numbers_are_those_of_the_kernels_headers():
    known = dict(re.findall(r"__NR_(\w+)\s+(\d+)", HEADERS.read_text()))
    listed = confine_calls.NUMBERS | confine_calls.LOOKED_INTO
    compared = {name: numbers[0] for name, numbers in listed.items() if name in known}
    assert len(compared) > 100
    assert compared == {name: int(known[name]) for name in compared}


def test_what_a_system_lacks_is_said(monkeypatch):
    monkeypatch.setattr(confine.platform, "machine", lambda: "vax")
    monkeypatch.setattr(sys, "platform", "linux")
    assert "vax" in confine.lacking()
    monkeypatch.setattr(sys, "platform", "darwin")
    assert "neither Landlock nor seccomp" in confine.lacking()


@pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="only root can become another")
def test_root_becomes_nobody_only_where_nobody_can_read_the_files_too(tmp_path):
    tmp_path.chmod(0o700)
    path = tmp_path / "file"
    path.write_text("")
    assert confine.user_for([path]) is None
    assert confine.user_for([confine.Path("/usr/lib"), confine.Path(os.devnull)]) == confine.NOBODY
