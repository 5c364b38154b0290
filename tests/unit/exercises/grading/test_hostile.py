"""One notebook never destroys the marking of the others, on old kernels and on new ones."""

import csv
import hashlib
import os

import graded
import hostile
import psutil
import pytest

from utils.config import ROOT
from utils.exercises.grading import marks
from utils.exercises.grading.confine import Limits, lacking, landlock_version
from utils.grade import grade

pytestmark = pytest.mark.skipif(bool(lacking()), reason=f"needs walls: {lacking()}")
VERSIONS = [] if lacking() else list(range(1, landlock_version() + 1))


@pytest.fixture(autouse=True)
def short(monkeypatch):
    monkeypatch.setattr(marks, "DEFINING_SECONDS", 1.0)
    monkeypatch.setattr(marks, "GRACE_SECONDS", 0.5)
    monkeypatch.setattr(marks, "JUDGING_MB", 256)


def digests(*folders):
    """Return what lies below some folders, as it is."""
    return {
        path: hashlib.sha256(path.read_bytes()).hexdigest()
        for folder in folders
        for path in folder.rglob("*")
        if path.is_file()
    }


def assert_marking_survives(tmp_path, version):
    folder, out = tmp_path / "in", tmp_path / "out" / "marks.csv"
    outside, secret = tmp_path / "outside", tmp_path / "outside" / "secret.txt"
    for place in (folder, outside):
        place.mkdir()
    secret.write_text("the secret")
    hostile.write(folder, secret, out, ROOT)
    before = digests(outside, ROOT / "utils")
    processes = set(psutil.Process().children(recursive=True))

    limits = Limits(memory_mb=300, cpu_seconds=30, landlock=version)
    grade(folder, out, graded.EXERCISES, limits=limits)

    assert digests(outside, ROOT / "utils") == before
    assert set(psutil.Process().children(recursive=True)) == processes
    kept = ["marks.csv", "marks.csv.progress.jsonl"]
    assert sorted(os.listdir(out.parent)) == [".marks.csv.lock", *kept]
    assert "the secret" not in out.read_text(encoding="utf-8")
    with out.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    points = {student: [] for student in (row["student"] for row in rows)}
    for row in rows:
        points[row["student"]].append(int(row["points"]))
    assert points[hostile.RIGHT] == [1, 1, 1]
    assert [row for row in rows if row["mark"] == "unmarked"] == []
    for name in hostile.BODIES:
        assert points[name][0] == 0, name
        assert points[name][2] in (0, 1), name
    # An attack in one answer leaves the others alone, unless it has sent answers in their place.
    alone = {"files_that_vanish", "sleeper", "array_without_columns", "fork_bomb", "thread_bomb"}
    alone |= {"kills_all", "empties", "reads", "links", "fills", "eats_memory", "crashes"}
    assert {name: points[name] for name in alone} == {name: [0, 1, 1] for name in alone}
    return rows


@pytest.mark.long
def test_hostile_notebooks_beside_a_perfect_one(tmp_path):
    """On the oldest kernel: what holds there, later versions of Landlock only add to."""
    assert_marking_survives(tmp_path, 1)


@pytest.mark.slow
@pytest.mark.parametrize("version", VERSIONS)
def test_hostile_notebooks_at_every_version_of_landlock(version, tmp_path):
    assert_marking_survives(tmp_path, version)
