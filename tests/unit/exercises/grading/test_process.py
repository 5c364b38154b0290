"""The process that runs students' code: what it can import, and whose fault its faults are."""

import json
import os
import signal
import socket
import sys
import time
from pathlib import Path

import graded
import psutil
import pytest
import slow_server

from utils.config import ROOT
from utils.exercises.grading import process as process_module
from utils.exercises.grading.confine import Limits, lacking
from utils.exercises.grading.encoding import decode
from utils.exercises.grading.marks import marked
from utils.exercises.grading.process import Process, _packages, probe
from utils.exercises.grading.watch import MarkerError, Stopped, Watch
from utils.grade import grade

needs_walls = pytest.mark.skipif(bool(lacking()), reason=f"needs walls: {lacking()}")
LIMITS = Limits(memory_mb=300, cpu_seconds=60)


def package(folder, name, *, installed):
    """Write a module into a folder, with what an installer leaves beside it."""
    folder.mkdir()
    (folder / f"{name}.py").write_text("half = 0.5\n")
    if installed:
        (folder / f"{name}-1.0.dist-info").mkdir()
    return folder


def test_packages_come_from_where_this_python_finds_them(tmp_path, monkeypatch):
    added = package(tmp_path / "added", "added_package", installed=True)
    scripts = package(tmp_path / "scripts", "script", installed=False)
    home = package(tmp_path / "home", "homely", installed=True)
    work = package(tmp_path / "work", "working", installed=True)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.chdir(work)
    places = [added, scripts, home, work, tmp_path, ROOT, ROOT.parent, "", tmp_path / "none"]
    monkeypatch.setattr(sys, "path", [*map(str, places), *sys.path])
    found = _packages()
    assert added in found
    assert not {scripts, home, work, tmp_path, ROOT, ROOT.parent} & set(found)
    assert not any(ROOT.resolve().is_relative_to(place.resolve()) for place in found)
    assert Path(os.__file__).parent in found


@needs_walls
def test_an_answer_may_use_a_package_from_elsewhere(tmp_path, monkeypatch):
    added = package(tmp_path / "added", "added_package", installed=True)
    monkeypatch.setattr(sys, "path", [*sys.path, str(added)])
    halve = "import added_package\n" + graded.RIGHT_HALVE.replace("/ 2", "* added_package.half")
    (found,) = marked(graded.answered(halve), [graded.HALVE], limits=LIMITS)
    assert found == ("right", "right, with 2 inputs")


@needs_walls
def test_all_that_the_course_uses_can_be_imported():
    probe(Limits(), confined=True)


@needs_walls
@pytest.mark.parametrize("names", [(("no_such_package",), ()), ((), ("no_such_package",))])
def test_a_marker_that_cannot_import_blames_no_student(names, tmp_path, monkeypatch):
    (tmp_path / "ada.ipynb").write_text(graded.notebook(*graded.answered()))
    monkeypatch.setattr(process_module, "IMPORTED", names[0])
    monkeypatch.setattr(process_module, "FOUND", names[1])
    out = tmp_path / "marks.csv"
    with pytest.raises(MarkerError, match=r"does not start: it cannot import no_such_package"):
        grade(tmp_path, out, graded.EXERCISES, limits=LIMITS)
    assert not out.exists()


@needs_walls
def test_a_marker_that_does_not_find_itself_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(process_module, "ROOT", tmp_path)
    with pytest.raises(MarkerError, match=r"does not start: ModuleNotFoundError.*utils"):
        Process([], LIMITS)


@needs_walls
@pytest.mark.parametrize("error", [RuntimeError("cannot look"), psutil.AccessDenied(1)])
def test_a_fault_of_the_watch_ends_the_process(error, monkeypatch):
    with Process(["import time\nanswer = time.sleep(99)\ncheck.answer(answer)"], LIMITS) as process:
        pid = process.pid

        def look(self):
            raise error

        monkeypatch.setattr(Watch, "_look_inside", look)
        with pytest.raises(type(error)):
            process.ask({"name": "answer", "is_function": False}, 60.0)
        assert not psutil.pid_exists(pid)


@needs_walls
def test_a_process_that_hears_nothing_is_stopped():
    """A question larger than a pipe holds, and nobody to read it."""
    cells = ["import signal\nanswer = signal.pause()\ncheck.answer(answer)"]
    with Process(cells, LIMITS) as process:
        question = {"name": "answer", "is_function": False, "seconds": 99.0, "cases": []}
        with pytest.raises(Stopped, match="not end in time"):
            process.ask(question | {"filling": b"x" * 2**22}, 0.5)
    assert not process.folder.exists()


LOOKING = """
import os, stat, sys
def opened():
    for number in range(3, 64):
        try:
            yield stat.S_ISFIFO(os.fstat(number).st_mode)
        except OSError:
            pass
hidden = ("utils.check", "utils.exercises.topics", "utils.exercises.judges", "utils.grade")
answer = [list(opened()), [name for name in sys.modules if name.startswith(hidden)]]
check.answer(answer)
"""


def returned(cells, limits=LIMITS):
    """Return what the answer of a notebook is, as its process says it."""
    question = {"name": "answer", "is_function": False, "seconds": 9.0, "cases": []}
    with Process(cells, limits) as process:
        said = json.loads(process.ask(question, 60.0))
    assert "outputs" in said, said
    (output,) = said["outputs"]
    return decode(output)


@needs_walls
def test_a_copy_holds_its_two_pipes_and_nothing_that_judges():
    files, modules = returned(["from utils import check", LOOKING])
    assert files == [True, True]
    assert modules == ["utils.check"]  # the stand-in that judges nothing


@needs_walls
def test_what_one_notebook_changes_the_next_does_not_see():
    change = ["import numpy", "answer = hasattr(numpy, 'changed')", "numpy.changed = answer"]
    assert [returned([*change, "check.answer(answer)"]) for _ in range(2)] == [False, False]


@needs_walls
def test_another_takes_the_place_of_a_fork_server_that_was_killed():
    with process_module.serving():
        killed = process_module.fork_server()
        os.kill(killed._process.pid, signal.SIGKILL)
        killed._process.wait()
        assert returned(["answer = 42", "check.answer(answer)"]) == 42
        assert process_module.fork_server() is not killed


@pytest.fixture
def server_pid(monkeypatch):
    """The process of a server to which the import of `slow_server.SLOW` is slow."""
    ours, theirs = socket.socketpair()
    process = slow_server.started(theirs)
    theirs.close()
    server = object.__new__(process_module.ForkServer)
    server.command, server._requests = process_module._command(), ours
    monkeypatch.setattr(process_module._Served, "server", server)
    yield process.pid
    ours.close()
    process.join()


@needs_walls
def test_slow_imports_lie_in_a_copy_that_is_replaced_when_it_is_killed(server_pid):
    code = (
        "import os, sys\nanswer = ['colorsys' in sys.modules, os.getppid()]\ncheck.answer(answer)"
    )
    there, first = returned(["import keras", code], Limits())
    assert there and first != server_pid
    assert returned(["import keras", code], Limits()) == [True, first]
    assert returned([code], Limits()) == [False, server_pid]
    os.kill(first, signal.SIGKILL)
    while psutil.Process(first).status() != psutil.STATUS_ZOMBIE:
        time.sleep(0.01)
    there, second = returned(["import keras", code], Limits())
    assert there and second not in (first, server_pid)


@needs_walls
@pytest.mark.long
def test_keras_is_there_before_it_is_imported_and_works_in_every_copy():
    code = """
import sys
there = "keras" in sys.modules and "tensorflow" in sys.modules
import keras
answer = [there, float(keras.ops.sum(keras.ops.ones((2, 3))))]
check.answer(answer)
"""
    with process_module.serving():
        assert [returned([code], Limits()) for _ in range(2)] == [[True, 6.0]] * 2
        assert returned(["import sys", "check.answer('keras' in sys.modules)"], Limits()) is True
        # Nor does it take memory where there is no word of it.
        there = "check.answer('ker' + 'as' in __import__('sys').modules)"
        assert returned([there], Limits()) is False


@needs_walls
def test_no_folder_is_left_if_nothing_can_be_started(tmp_path, monkeypatch):
    monkeypatch.setattr(process_module.tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(process_module.sys, "executable", str(tmp_path / "no python"))
    opened = len(os.listdir("/dev/fd"))
    with pytest.raises(MarkerError, match="no process can be started"):
        Process([], LIMITS)
    assert os.listdir(tmp_path) == []
    assert len(os.listdir("/dev/fd")) == opened
