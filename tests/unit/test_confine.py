"""What a confined process can and cannot do, and what is said where it cannot be confined."""

import json
import os
import struct
import subprocess
import sys

import pytest

from utils import confine
from utils.config import ROOT

needs_walls = pytest.mark.skipif(bool(confine.lacking()), reason=confine.lacking())
CHILD = """
import json, os, sys
from pathlib import Path
sys.path.insert(0, {root!r})
from utils.confine import Limits, Walls, confine
shared, listed, own = (Path(each) for each in sys.argv[1:])
# Imported before: no library can be read afterwards.
import socket
os.chdir(own)
confine(Walls((shared,), (listed,), (own,), Limits(address_mb=512, cpu_seconds=20)))
def tried(action):
    try:
        action()
        return "done"
    except BaseException as error:
        return type(error).__name__
print(json.dumps({{
    "read shared": tried(lambda: (shared / "file").read_text()),
    "write shared": tried(lambda: (shared / "new").write_text("")),
    "list listed": tried(lambda: os.listdir(listed)),
    "read listed": tried(lambda: (listed / "file").read_text()),
    "write own": tried(lambda: (own / "new").write_text("")),
    "folder": tried(lambda: (own / "folder").mkdir()),
    "link": tried(lambda: os.symlink("/", "link")),
    "read elsewhere": tried(lambda: Path({root!r}, "README.md").read_text()),
    "mode": tried(lambda: (own / "new").chmod(0o777)),
    "time": tried(lambda: os.utime(own / "new", (0, 0))),
    "fork": tried(os.fork),
    "program": tried(lambda: os.execv("/bin/true", ["true"])),
    "socket": tried(socket.socket),
    "signal": tried(lambda: os.kill(os.getppid(), 0)),
    "memory": tried(lambda: bytearray(2**31)),
}}))
"""


@needs_walls
def test_walls(tmp_path):
    folders = [tmp_path / name for name in ("shared", "listed", "own")]
    for folder in folders:
        folder.mkdir()
        (folder / "file").write_text("text")
    command = [sys.executable, "-I", "-c", CHILD.format(root=str(ROOT)), *map(str, folders)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert ended.stderr == ""
    found = json.loads(ended.stdout)
    done = {name for name, result in found.items() if result == "done"}
    assert done == {"read shared", "list listed", "write own"}
    refused = {result for name, result in found.items() if name not in done | {"memory"}}
    assert refused == {"PermissionError"}
    assert found["memory"] == "MemoryError"


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_the_filter_jumps_to_where_it_should(machine):
    """Run the filter by hand for some calls."""
    settings = confine._MACHINES[machine]
    steps = [struct.unpack("=HBBI", step) for step in confine._filter(settings)]
    allowed, refused, unknown, killed = 0x7FFF0000, 0x00050001, 0x00050026, 0x80000000

    def result(number, argument=0, audit=settings["audit"]):
        words, value, place = {0: number, 4: audit, 16: argument}, 0, 0
        while True:
            code, if_so, if_not, operand = steps[place]
            place += 1
            if code == 0x06:
                return operand
            if code == 0x20:
                value = words[operand]
                continue
            holds = {0x15: value == operand, 0x35: value >= operand, 0x45: bool(value & operand)}
            place += if_so if holds[code] else if_not

    read, openat = {"x86_64": (0, 257), "aarch64": (63, 56)}[machine]
    assert result(read) == result(openat) == allowed
    assert {result(number) for number in settings["refused"]} == {refused}
    assert result(settings["clone"], 0x00010000) == allowed
    assert result(settings["clone"], 17) == refused
    assert result(settings["prlimit"], 0) == allowed
    assert result(settings["prlimit"], 4242) == refused
    assert result(435) == result(470) == unknown
    assert result(0x40000001) == killed
    assert result(read, audit=0x40000003) == killed


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
