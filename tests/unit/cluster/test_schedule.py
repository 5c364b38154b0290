"""Tasks on a real scheduler and two workers, each a process, over TCP."""

import gc
import os
import signal
import threading
import time

import psutil
import pytest
from dask_processes import environment, scheduler_and_workers
from distributed import Client
from small_tasks import task

from utils.cluster.connect import connected
from utils.cluster.schedule import on_workers
from utils.config import CourseError

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    with (
        scheduler_and_workers(tmp_path_factory.mktemp("dask")) as (address, workers),
        Client(address) as client,
    ):
        client.wait_for_workers(2, timeout=60)
        yield client, workers


def done_on(client, tasks, shared):
    done = []
    on_workers(client, tasks, None, shared, done.append)
    return done


def test_tasks_wait_for_those_that_they_need(running, tmp_path):
    notes = tmp_path / "notes"
    tasks = [
        task("a", "note", notes, "a", 0.2),
        task("b", "note", notes, "b", 0.2),
        task("c", "note", notes, "c", after=("a", "b", "not among them")),
    ]
    done = done_on(running[0], tasks, tmp_path)
    assert {one.name for one in done} == {"a", "b", "c"}
    assert notes.read_text().splitlines()[-2:] == ["c begins", "c ends"]


def test_tasks_of_one_folder_are_done_one_by_one(running, tmp_path):
    notes, folder = tmp_path / "notes", tmp_path / "folder"
    tasks = [task(name, "note", notes, name, 0.1, folder=folder) for name in "abc"]
    done_on(running[0], tasks, tmp_path)
    expected = [f"{name} {word}" for name in "abc" for word in ("begins", "ends")]
    assert notes.read_text().splitlines() == expected


def test_a_task_that_fails_stops_only_what_comes_after_it(running, tmp_path, capsys):
    notes = tmp_path / "notes"
    tasks = [
        task("broken", "fail", notes),
        task("after it", "note", notes, "after", after=("broken",)),
        task("other", "note", notes, "other"),
    ]
    with pytest.raises(CourseError) as told:
        done_on(running[0], tasks, tmp_path)
    assert str(told.value) == f"2 of 3 tasks failed; the first, broken: {notes}: is broken"
    assert notes.read_text().splitlines() == ["other begins", "other ends"]
    assert "other: done (1 of 3)" in capsys.readouterr().out.splitlines()
    assert not list(tmp_path.glob(".seen-*"))


def clients():
    """Return which clients of dask in this process have still to be closed."""
    every = [each for each in gc.get_objects() if Client in type(each).__mro__]
    return {id(each) for each in every if each.status != "closed"}


def test_an_address_without_a_scheduler_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr("utils.cluster.connect.PATIENCE", 1)
    before = clients()
    for address in ("tcp://127.0.0.1:9", "nonsense"):
        with (
            pytest.raises(CourseError, match=f"--cluster {address}: no scheduler answers there"),
            connected(address, 1, 1, tmp_path),
        ):
            pass
        # One that is left would be closed at any later time, in whatever thread runs then.
        assert clients() == before


def test_workers_started_on_this_machine_end_with_the_command(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", environment()["PYTHONPATH"])
    with connected("local", 1, 1, tmp_path) as client:
        (worker,) = client.run(os.getpid).values()
        done_on(client, [task("a", "note", tmp_path / "notes", "a")], tmp_path)
        assert psutil.pid_exists(worker)
    assert (tmp_path / "notes").read_text() == "a begins\na ends\n"
    assert not psutil.pid_exists(worker)


# Last: it costs one of the two workers.
def test_what_a_killed_worker_was_at_is_done_by_another(running, tmp_path):
    client, workers = running
    processes = tmp_path / "processes"

    def kill():
        while not processes.exists() or not processes.read_text().endswith("\n"):
            time.sleep(0.05)
        os.kill(int(processes.read_text()), signal.SIGKILL)

    killing = threading.Thread(target=kill)
    killing.start()
    done = done_on(client, [task("hang", "hang_once", processes)], tmp_path)
    killing.join()
    assert [one.name for one in done] == ["hang"]
    first, second = map(int, processes.read_text().split())
    assert {first, second} == {worker.pid for worker in workers}
