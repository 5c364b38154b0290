"""Work that is done in a fork ends, whatever it meets, and ends nothing else."""

import ctypes
import os
import signal
import subprocess
import sys
import time

import psutil
import pytest

from utils.config import CourseError
from utils.exercises.grading import forked, watch
from utils.exercises.grading.forked import in_forked_process
from utils.exercises.grading.watch import MarkerError, Stopped, Watch, kill_tree

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
linux_only = pytest.mark.skipif(sys.platform != "linux", reason="limits of addresses, orphans")


def endless():
    while True:
        pass


def overflowing():
    ctypes.string_at(0)


def killed():
    os.kill(os.getpid(), signal.SIGKILL)


def raising(error):
    def work():
        raise error

    return work


def done(work, seconds=20.0, memory_mb=256, **options):
    return in_forked_process(work, seconds=seconds, memory_mb=memory_mb, **options)


def test_what_is_computed_comes_back():
    kept = []
    found = done(lambda: kept.append(1) or {"a": [1, "\ud800", None]})
    assert found == {"a": [1, "\ud800", None]}
    assert kept == []  # in the copy alone


@pytest.mark.long
@linux_only
def test_memory_has_a_limit():
    with pytest.raises(Stopped, match="more than 256 MiB of memory"):
        done(lambda: len(bytearray(2**30)), seconds=120)
    with pytest.raises(Stopped, match="more than 64 MiB of memory"):
        done(lambda: len([[] for _ in range(10**8)]), seconds=120, memory_mb=64)


@pytest.mark.parametrize("work", [endless, lambda: time.sleep(60)])
def test_time_has_a_limit(work):
    began = time.monotonic()
    with pytest.raises(Stopped, match="does not end in time"):
        done(work, seconds=0.3)
    assert time.monotonic() - began < 20


def test_a_crash_is_told():
    with pytest.raises(Stopped, match="crashes the process that reads it"):
        done(overflowing)


@pytest.mark.parametrize(
    ("work", "words"),
    [
        (killed, "ended by SIGKILL"),
        (lambda: os._exit(3), "ended with status 3"),
        (raising(ZeroDivisionError("no")), "the marker fails with ZeroDivisionError: no"),
        (lambda: object(), "ended with status 1"),  # no JSON
        (raising(MarkerError("broken")), "broken"),
    ],
)
def test_what_is_no_fault_of_the_data_is_told_as_such(work, words):
    with pytest.raises(MarkerError, match=words):
        done(work)


@pytest.mark.parametrize("error", [Stopped("as it was"), CourseError("as it was")])
def test_what_the_work_raises_is_raised_here(error):
    with pytest.raises(type(error), match="as it was") as raised:
        done(raising(error))
    assert type(raised.value) is type(error)


def test_an_answer_is_short():
    with pytest.raises(Stopped, match="too large"):
        done(lambda: "x" * 2**21)


def test_a_fault_of_the_watch_ends_the_process(monkeypatch):
    watched = []

    def look(self):
        watched.append(self._process)
        raise RuntimeError("cannot look")

    monkeypatch.setattr(Watch, "look", look)
    with pytest.raises(RuntimeError, match="cannot look"):
        done(lambda: time.sleep(60))
    assert not watched[0].is_running()


def test_no_process_can_be_started(monkeypatch):
    def fork():
        raise BlockingIOError(11, "Resource temporarily unavailable")

    before = len(os.listdir("/dev/fd"))
    monkeypatch.setattr(forked.os, "fork", fork)
    with pytest.raises(MarkerError, match="no process can be started"):
        done(lambda: 1)
    assert len(os.listdir("/dev/fd")) == before


@pytest.mark.long
@linux_only
@pytest.mark.parametrize("seconds", [20.0, 1.0])
def test_what_it_has_started_ends_with_it(seconds, tmp_path):
    """Also what has left its session and lost its parent, however the work ends."""
    noted = tmp_path / "pid"
    code = f"import os, time; open({str(noted)!r}, 'w').write(str(os.getpid())); time.sleep(99)"

    def work():
        first = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {code!r}], "
        subprocess.run([sys.executable, "-c", f"{first} start_new_session=True)"], check=True)
        while not noted.exists() or not noted.read_text():
            time.sleep(0.01)
        if seconds < 10:
            time.sleep(99)

    if seconds < 10:
        with pytest.raises(Stopped):
            done(work, seconds=5.0)
    else:
        done(work, seconds=60.0)
    assert not psutil.pid_exists(int(noted.read_text())) or is_dead(int(noted.read_text()))


def is_dead(pid):
    """Return whether a process has ended, though nobody has asked for its status yet."""
    try:
        psutil.Process(pid).wait(10)
    except psutil.NoSuchProcess:
        return True
    except psutil.TimeoutExpired:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    return True


def test_a_tree_that_grows_is_killed():
    code = """
import subprocess, sys, time
while True:
    subprocess.Popen([sys.executable, "-c", "import time; time.sleep(99)"])
    time.sleep(0.05)
"""
    with subprocess.Popen([sys.executable, "-c", code]) as process:
        root = psutil.Process(process.pid)
        while not (children := root.children()):
            time.sleep(0.01)
        kill_tree(process.pid)
    assert all(is_dead(child.pid) for child in children)
    kill_tree(process.pid)  # nothing is there any more


class Vanished:
    """An entry of a folder whose file has gone."""

    def stat(self, follow_symlinks):
        raise FileNotFoundError


def test_files_that_vanish_are_counted_not_feared(tmp_path, monkeypatch):
    class Entries(list):
        def __enter__(self):
            return self

        def __exit__(self, *error):
            """Nothing is open."""

    monkeypatch.setattr(watch.os, "scandir", lambda folder: Entries([Vanished()] * 3))
    assert not watch._too_full(tmp_path)
    monkeypatch.setattr(watch.os, "scandir", lambda folder: Entries([Vanished()] * 201))
    assert watch._too_full(tmp_path)
