"""How many processes simulate a cohort, and what is left of them when the command is killed."""

import os
import subprocess
import sys
import time
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool

import psutil
import pytest

from utils import simulate
from utils.config import ROOT, CourseError, command
from utils.simulation import cohort
from utils.simulation.cohort import PROCESS_BYTES, simulate_cohort


@pytest.mark.parametrize(
    ("cores", "patients", "processes_in_memory", "expected"),
    [
        (2, 60, 99, 2),
        (64, 60, 99, 15),  # four patients each
        (64, 5, 99, 2),
        (64, 60, 3, 3),
        (64, 60, 0, 1),
        (64, 0, 99, 1),
    ],
)
def test_there_is_a_process_a_core_if_it_is_worth_it(
    cores, patients, processes_in_memory, expected, monkeypatch
):
    monkeypatch.setattr(cohort, "cores", lambda: range(cores))
    monkeypatch.setattr(cohort, "available_bytes", lambda: processes_in_memory * PROCESS_BYTES)
    assert cohort._processes(patients) == expected


def test_what_a_killed_run_left_of_a_patient_is_deleted_after_an_hour(tmp_path, monkeypatch):
    monkeypatch.setattr(cohort, "_write_all", lambda *given: iter(()))
    simulate_cohort(tmp_path, 1)
    for name, age in ((".SIM_DU_0001-old", 4000.0), (".SIM_DU_0001-new", 60.0)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "SIM_DU_0001_1.tif").write_bytes(b"half")
        os.utime(tmp_path / name, (time.time() - age,) * 2)
    simulate_cohort(tmp_path, 1)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".SIM_DU_0001-new", "cohort.json"]


def test_a_process_that_the_system_ends_is_told_in_one_line(tmp_path, monkeypatch):
    class Pool:
        def __init__(self, *given, **named):
            pass

        def __enter__(self):
            return self

        def __exit__(self, *error):
            pass

        def submit(self, *given):
            job = Future()
            job.set_exception(BrokenProcessPool("terminated abruptly"))
            return job

    monkeypatch.setattr(cohort, "ProcessPoolExecutor", Pool)
    with pytest.raises(CourseError, match=r"memory ran out.*run again, it goes on.*--processes 1"):
        simulate_cohort(tmp_path, 2, processes=2)


def test_an_error_does_not_stand_behind_the_progress(tmp_path, monkeypatch, capsys):
    def full(*given):
        raise CourseError("the disk is full")
        yield

    monkeypatch.setattr(cohort, "_write_all", full)
    assert command(lambda: simulate.main([str(tmp_path / "cohort"), "--patients", "2"])) == 2
    assert capsys.readouterr().err == "\rsimulating patients: 0/2\nerror: the disk is full\n"
    assert command(lambda: simulate.main([str(tmp_path / "cohort"), "--patients", "0"])) == 2
    assert capsys.readouterr().err.startswith("error: patients=0")


def test_the_processes_end_with_the_command_that_is_killed(tmp_path):
    command = [sys.executable, "-m", "utils.simulate", str(tmp_path / "cohort")]
    with subprocess.Popen([*command, "--processes", "2"], cwd=ROOT) as process:
        while len(left := psutil.Process(process.pid).children(recursive=True)) < 3:
            assert process.poll() is None
            time.sleep(0.05)
        process.kill()
    assert psutil.wait_procs(left, timeout=60)[1] == []
