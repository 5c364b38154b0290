"""A task holds its folder; the options say in one line what cannot be done."""

import argparse
import importlib.util
import threading
import time
from dataclasses import replace

import pytest
from holding import held_elsewhere
from small_tasks import task

from utils.cluster.options import add_options, run_tasks
from utils.cluster.tasks import in_order, perform
from utils.config import CourseError, hold_folder


def options(*words):
    parser = argparse.ArgumentParser()
    add_options(parser)
    return parser.parse_args(words)


def test_tasks_are_done_in_order_and_told_when_done(tmp_path, capsys):
    notes = tmp_path / "notes"
    tasks = [task(name, "note", notes, name) for name in ("a", "b")]
    done = []
    in_order(tasks, None, done.append)
    assert notes.read_text().splitlines() == ["a begins", "a ends", "b begins", "b ends"]
    assert done == tasks
    first, second = capsys.readouterr().out.splitlines()
    assert first == "a (1 of 2)"
    assert second == "b (2 of 2, about 0 min remain)"


def test_a_task_whose_folder_is_held_elsewhere_is_not_done(tmp_path):
    one = task("a", "note", tmp_path / "notes", "a")
    with (
        held_elsewhere(one.folder) as number,
        pytest.raises(CourseError, match=rf"process {number}\); wait for it, or wait"),
    ):
        perform(one)
    assert not (tmp_path / "notes").exists()


@pytest.mark.parametrize("by_itself", [False, True])
def test_a_task_that_may_wait_is_done_when_the_folder_is_free(by_itself, tmp_path):
    one = task("a", "note", tmp_path / "notes", "a")
    one = replace(one, wait=60) if by_itself else one
    with hold_folder(one.folder, ""):
        waiting = threading.Thread(target=perform, args=[one, None, 0 if by_itself else 60])
        waiting.start()
        time.sleep(0.2)
        assert not (tmp_path / "notes").exists()
    waiting.join()
    assert (tmp_path / "notes").read_text() == "a begins\na ends\n"


def test_a_folder_held_by_a_process_that_was_killed_is_free(tmp_path):
    one = task("a", "note", tmp_path / "notes", "a")
    with held_elsewhere(one.folder):
        pass  # it is killed here, with the folder in its hands
    perform(one)
    assert (tmp_path / "notes").exists()


def test_a_worker_on_another_disk_is_told(tmp_path):
    one = task("a", "note", tmp_path / "notes", "a")
    with pytest.raises(CourseError, match="this worker does not see the files") as told:
        perform(one, shared=tmp_path / "elsewhere" / "mark")
    assert str(told.value).startswith(f"{tmp_path / 'elsewhere'}: ")
    assert not (tmp_path / "notes").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--workers", "2"], "--workers: of which cluster? Give --cluster local or slurm too"),
        (["--threads", "0"], "--threads 0: must be at least 1"),
        (["--cluster", "local", "--workers", "0"], "--workers 0: must be at least 1"),
        (["--cluster", "slurm"], "--cluster slurm: say with --threads how many threads"),
        (["--cluster", "tcp://h:1"], "--cluster tcp://h:1: say with --threads how many"),
        (
            ["--cluster", "tcp://h:1", "--workers", "2"],
            "--workers: those of a scheduler that runs are not started here",
        ),
    ],
)
def test_options_that_cannot_be_followed_are_told_in_one_line(words, said, tmp_path):
    with pytest.raises(CourseError) as told:
        run_tasks([], options(*words), tmp_path)
    assert str(told.value).startswith(said)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize("cluster", ["local", "slurm", "tcp://127.0.0.1:8786"])
def test_without_dask_a_cluster_is_refused_and_says_what_to_install(cluster, tmp_path, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    tasks = [task("a", "note", tmp_path / "notes", "a")]
    with pytest.raises(CourseError) as told:
        run_tasks(tasks, options("--cluster", cluster, "--threads", "1"), tmp_path)
    assert str(told.value) == (
        f"--cluster {cluster} needs dask, which is not installed: .venv/bin/python -m pip install "
        "'.[cluster]' brings it"
    )
    run_tasks(tasks, options(), tmp_path)  # here none is needed
    assert (tmp_path / "notes").exists()
