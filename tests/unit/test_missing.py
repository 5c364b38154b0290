"""What is missing is trained elsewhere, what is there is left alone, and failures are told."""

import subprocess
from types import SimpleNamespace

import pytest

from utils import missing
from utils.config import CourseError
from utils.course import Parameters


@pytest.fixture
def run(tmp_path):
    """Return all that is used of a run: its folder and its parameters."""
    nowhere = str(tmp_path / "no such cohort")
    return SimpleNamespace(
        folder=tmp_path / "run", parameters=Parameters(cohort="lgg", data=nowhere)
    )


@pytest.fixture
def calls(monkeypatch):
    """Collect what would be trained, and train nothing."""
    names = []

    def train(command, **options):
        names.append(command[3])
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(missing.subprocess, "run", train)
    return names


def test_both_are_trained_one_after_the_other_and_said(run, calls, capsys):
    missing.train_missing(run)
    assert calls == ["detector", "segmenter"]
    told = capsys.readouterr().out.splitlines()
    assert [line.split(" in ")[0] for line in told] == ["No detector", "No segmenter"]


def test_what_is_there_is_left_alone(run, calls, capsys):
    run.folder.mkdir()
    (run.folder / "detector.json").write_text("{}")
    missing.train_missing(run)
    assert calls == ["segmenter"]
    (run.folder / "segmenter.json").write_text("{}")
    capsys.readouterr()
    missing.train_missing(run)
    assert calls == ["segmenter"]
    assert capsys.readouterr().out == ""


def test_a_failure_in_the_other_process_is_one_line_here(run):
    with pytest.raises(CourseError, match=r"training the detector failed: .*no such") as caught:
        missing.train_missing(run)
    assert "\n" not in str(caught.value)
    assert "no such cohort" in str(caught.value)
