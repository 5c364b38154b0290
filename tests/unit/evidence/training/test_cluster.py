"""The evidence of a tiny recipe by one process, and by two workers of which one is killed."""

import csv
import os
import signal
import subprocess
import sys
import time

import pytest
from cohort_files import write_squares
from dask_processes import HELPERS, environment, scheduler_and_workers

from utils.config import ROOT, read_json

pytestmark = pytest.mark.slow

TINY = HELPERS / "tiny_evidence.py"
WORDS = ("--experiment", "ours", "--attempt", "tiny", "--threads", "1")
EPOCHS = 3  # of the tiny recipe


def evidence(*words):
    return subprocess.Popen(
        [sys.executable, str(TINY), *map(str, words)],
        cwd=ROOT,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def result(process):
    out, _ = process.communicate()
    assert process.returncode == 0, out
    return out


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    """Return the folders of one process and of the cluster, each with ``work`` and ``out``."""
    folder = tmp_path_factory.mktemp("evidence")
    data = folder / "kaggle_3m"
    write_squares(data, ["DU" if number % 3 else "HT" for number in range(12)])
    one, many = folder / "one", folder / "many"

    def words(place):
        return data, "--work", place / "work", "--out", place / "out", *WORDS

    alone = evidence(*words(one))
    with scheduler_and_workers(folder / "dask") as (address, workers):
        work = many / "work"
        work.mkdir(parents=True)
        (work / "pause").touch()
        together = evidence(*words(many), "--cluster", address)
        while together.poll() is None and not (
            (work / "paused").exists() and (work / "paused").read_text().endswith("\n")
        ):
            time.sleep(0.1)
        killed = int((work / "paused").read_text())
        assert killed in {worker.pid for worker in workers}
        os.kill(killed, signal.SIGKILL)
        result(together)
    result(alone)
    return one, many, killed


def test_tables_do_not_depend_on_how_many_processes_made_them_and_which_were_killed(both):
    one, many, _ = both
    names = sorted(path.name for path in (one / "out").glob("[!.]*"))
    assert names == sorted(path.name for path in (many / "out").glob("[!.]*"))
    assert set(names) == {
        *("slices.csv", "patients.csv", "folds.csv", "provenance.json"),
        *("attempts.csv", "attempts_patients.csv"),
    }
    timed = {"folds.csv": "seconds", "attempts.csv": "minutes"}
    for name in set(names) - {"provenance.json"}:
        first, second = ((place / "out" / name).read_bytes() for place in (one, many))
        if name in timed:
            first, second = (without(timed[name], text) for text in (first, second))
        assert first == second, name
    first, second = (read_json(place / "out" / "provenance.json") for place in (one, many))
    timed = {"seconds": 0, "commit": ""}  # somebody may commit meanwhile
    assert first | timed == second | timed


def without(column: str, table: bytes) -> list[dict]:
    """Return the rows of a table but for what tells how long something took."""
    rows = list(csv.DictReader(table.decode().splitlines()))
    return [{name: value for name, value in row.items() if name != column} for row in rows]


def test_a_fold_goes_on_elsewhere_from_its_checkpoint(both):
    _, many, killed = both
    of_fold = [(many / "work" / "ours" / fold / "epochs").read_text().split() for fold in "01"]
    (cut,) = (each for each in of_fold if str(killed) in each)
    # The killed one had finished its first epoch, and was at the end of the second.
    assert cut[:2] == [str(killed)] * 2
    assert len(cut[2:]) == EPOCHS - 1
    assert len(set(cut[2:])) == 1 and str(killed) not in cut[2:]
    (whole,) = (each for each in of_fold if each is not cut)
    assert len(whole) == EPOCHS


def test_each_fold_tells_with_what_it_was_computed(both):
    one, many, _ = both
    for place in (one, many):
        files = [place / "work" / "ours" / fold / "fold.json" for fold in "01"]
        files.append(place / "work" / "attempts" / "tiny" / "0-0" / "attempt.json")
        for file in files:
            note = read_json(file)["made_with"]
            assert note["threads"] == 1
            assert set(note) == {"commit", "versions", "machine", "threads"}
        told = read_json(place / "out" / "provenance.json")
        assert all(told[name] == note[name] for name in ("versions", "machine"))
        with (place / "out" / "folds.csv").open() as file:
            rows = list(csv.DictReader(file))
        assert [row["threads"] for row in rows] == ["1", "1"]
        assert {row["machine"] for row in rows} == {note["machine"]}
