"""What is missing is trained elsewhere, what is there is left alone, and failures are told."""

import json
import os
import subprocess
import sys
import threading
from types import SimpleNamespace

import pytest

from utils.config import ROOT, CourseError
from utils.course import workers
from utils.course.run import Parameters


@pytest.fixture
def run(tmp_path):
    """Return all that is used of a run: its folder and its parameters."""
    nowhere = str(tmp_path / "no such cohort")
    return SimpleNamespace(
        folder=tmp_path / "run", parameters=Parameters(cohort="lgg", data=nowhere)
    )


@pytest.fixture
def commands(monkeypatch):
    """Collect what would be started, and start nothing."""
    started = []

    def start(command, **options):
        started.append(command)
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(workers.subprocess, "run", start)
    return started


@pytest.fixture
def calls(commands):
    """Return a function that tells what would have been trained, in order."""
    return lambda: [command[3].split(":")[0].split(".")[-1] for command in commands]


def test_both_are_trained_one_after_the_other_and_said(run, calls, capsys):
    workers.train_missing(run)
    assert calls() == ["detector", "segmenter"]
    told = capsys.readouterr().out.splitlines()
    assert [line.split(" in ")[0] for line in told] == ["No detector", "No segmenter"]


def test_what_is_there_is_left_alone(run, calls, capsys):
    run.folder.mkdir()
    (run.folder / "detector.json").write_text("{}")
    workers.train_missing(run)
    assert calls() == ["segmenter"]
    (run.folder / "segmenter.json").write_text("{}")
    capsys.readouterr()
    workers.train_missing(run)
    assert calls() == ["segmenter"]
    assert capsys.readouterr().out == ""


@pytest.mark.long
def test_a_failure_in_the_other_process_is_one_line_here(run):
    with pytest.raises(
        CourseError, match=r"utils.course.detector:load_or_train failed: .*no such"
    ) as caught:
        workers.train_missing(run)
    assert "\n" not in str(caught.value)
    assert "no such cohort" in str(caught.value)


@pytest.mark.parametrize(
    ("status", "printed"),
    [(-9, ""), (137, "Epoch 1"), (-6, "terminate called after throwing 'std::bad_alloc'")],
)
def test_a_training_that_the_system_ended_is_told_as_memory(status, printed, run, monkeypatch):
    monkeypatch.setattr(
        workers.subprocess,
        "run",
        lambda command, **options: subprocess.CompletedProcess(command, status, "", printed),
    )
    with pytest.raises(
        CourseError, match=r"utils.course.detector:load_or_train .* memory ran out: close other"
    ):
        workers.train_apart(run, "utils.course.detector:load_or_train")


@pytest.mark.parametrize(
    ("cores", "gigabytes", "expected"),
    [
        ([0, 1], 8, [[0], [1]]),
        ([2, 3, 5, 7], 8, [[2, 5], [3, 7]]),
        ([0, 1], 3, [[], []]),
        ([0], 8, [[], []]),
        ([], 8, [[], []]),
    ],
)
def test_two_trainings_share_the_cores_if_memory_allows(
    cores, gigabytes, expected, run, commands, monkeypatch
):
    monkeypatch.setattr(workers, "_cores", lambda: cores)
    monkeypatch.setattr(workers, "available_bytes", lambda: gigabytes * 2**30)
    workers.train_apart(run, "one:train", "two:train again")
    assert sorted(command[3] for command in commands) == ["one:train", "two:train again"]
    assert sorted(json.loads(command[5]) for command in commands) == expected


def test_a_path_from_home_is_the_same_one_in_the_other_process(
    run, commands, monkeypatch, tmp_path
):
    monkeypatch.setenv("HOME", str(tmp_path))
    run.parameters = Parameters(cohort="lgg", data="~/lgg")
    workers.train_apart(run, "one:train")
    assert json.loads(commands[0][4])["data"] == str(tmp_path / "lgg")


@pytest.fixture
def held(monkeypatch):
    """Return an event: what is started ends when it is set, and tells so in a list."""
    goes_on, ended = threading.Event(), []

    def start(command, **options):
        assert goes_on.wait(30)
        ended.append(command[3])
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(workers.subprocess, "run", start)
    return goes_on, ended


def test_a_stage_goes_on_beside_the_notebook_until_it_is_asked_for(run, held, monkeypatch):
    goes_on, ended = held
    monkeypatch.setattr(workers, "available_bytes", lambda: 2 * workers.TRAINING_BYTES)
    finish = workers.start_apart(run, "one:train")
    assert ended == []
    goes_on.set()
    finish()
    assert ended == ["one:train"]


def test_where_memory_is_short_a_stage_is_done_before_the_notebook_goes_on(run, held, monkeypatch):
    goes_on, ended = held
    threading.Timer(0.2, goes_on.set).start()
    monkeypatch.setattr(workers, "available_bytes", lambda: 2 * workers.TRAINING_BYTES - 1)
    finish = workers.start_apart(run, "one:train")
    assert ended == ["one:train"]
    finish()


def test_a_stage_that_fails_beside_the_notebook_is_told_when_it_is_asked_for(run):
    finish = workers.start_apart(run, "utils.course.detector:load_or_train")
    with pytest.raises(CourseError, match=r"detector:load_or_train failed: .*no such cohort"):
        finish()


@pytest.mark.long
@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="cores cannot be chosen here")
def test_a_stage_runs_on_the_cores_that_it_is_given():
    code = (
        "import os; from utils.course import workers\n"
        "workers.open_run = lambda: 'a run'\n"
        "workers.tell = lambda run, word: print(run, word, os.sched_getaffinity(0))\n"
        "workers.main()"
    )
    core = sorted(os.sched_getaffinity(0))[0]
    ended = subprocess.run(
        [sys.executable, "-c", code, "utils.course.workers:tell aloud", "{}", json.dumps([core])],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ended.stdout == f"a run aloud {{{core}}}\n", ended.stderr
