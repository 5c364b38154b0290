"""What a command asks for becomes tasks, in an order in which each finds what it needs."""

from pathlib import Path

import pandas as pd
import pytest

from utils import config
from utils.evidence import __main__, recipes
from utils.evidence.training import tasks


@pytest.fixture
def planned(tmp_path):
    """Return a function that tells the tasks of some options."""
    work = tasks.Work(pd.DataFrame(), tmp_path / "work", tmp_path / "out")

    def plan(*words):
        return tasks.planned(work, __main__._parse(["data", *words]))

    return plan


def test_folds_come_before_what_they_choose_together_and_that_before_the_models(planned):
    found = planned("--experiment", "ours", "--experiment", "baseline_patient_split", "--final")
    names = [one.name for one in found]
    ours = [f"ours, fold {fold}" for fold in range(5)]
    choice = "ours, what its folds choose together"
    # The baseline's folds choose by themselves.
    others = [f"baseline_patient_split, fold {fold}" for fold in range(5)]
    assert names == [*ours, choice, *others, "models to ship, trained on all patients"]
    after = {one.name: one.after for one in found}
    assert after[choice] == tuple(ours)
    assert after[names[-1]] == (*ours, choice)


def test_what_is_done_is_left_out_and_the_choice_is_not(planned, tmp_path):
    for fold in "0123":
        config.write_json(tmp_path / "work" / "ours" / fold / "fold.json", {"epochs": 1})
    names = [one.name for one in planned("--experiment", "ours")]
    assert names == ["ours, fold 4", "ours, what its folds choose together"]


def test_an_attempt_holds_the_folder_of_the_fold_whose_training_it_shares(planned, tmp_path):
    """Or a fold and an attempt would train in one folder at once."""
    words = ("--no-folds", "--fold", "1", "--attempt")
    work = tmp_path / "work"
    shared, other = planned(*words, "FLAIR alone", "--seed", "0", "--seed", "1")
    assert shared.folder == work / "ours" / "1"
    assert other.folder == work / "attempts" / "FLAIR alone" / "1-1"
    (fold, *_) = planned("--experiment", "ours", "--fold", "1")
    assert fold.folder == shared.folder


def test_what_a_training_clears_away_is_not_the_lock_of_its_task(planned, tmp_path):
    """A training removes the hidden files of its own folder, of writes that were killed."""
    words = ("--final", "--attempt", "from scratch")
    for one in planned(*words):
        trainings = {"segmenter", "detector_fine_tuned", "detector_seed"}
        assert one.folder.name not in trainings


def test_an_unknown_attempt_is_told_before_anything_is_trained(planned):
    known = ", ".join(recipes.ATTEMPTS)
    with pytest.raises(config.CourseError) as told:
        planned("--experiment", "ours", "--attempt", "oars")
    assert str(told.value) == f"--attempt oars: unknown; choose one of {known}"


@pytest.mark.parametrize("fold", ["9", "CS"])
def test_a_fold_that_attempts_lack_is_told_before_anything_is_trained(planned, fold):
    words = ["--no-folds", "--fold", fold, "--attempt", "FLAIR alone"]
    with pytest.raises(config.CourseError, match=f"--fold {fold}: attempts have the folds 0 to 4"):
        planned(*words)


def test_a_place_for_tables_that_cannot_be_is_told_before_anything_is_trained(tmp_path):
    (tmp_path / "file").write_text("something else")
    arguments = __main__._parse(["data", "--work", str(tmp_path), "--out", str(tmp_path / "file")])
    with pytest.raises(config.CourseError, match="file: is a file; choose another folder"):
        __main__.run_all(pd.DataFrame(), arguments)


def test_paths_of_tasks_are_absolute(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    given = []
    monkeypatch.setattr(__main__, "run_tasks", lambda tasks, *rest: given.extend(tasks))
    monkeypatch.setattr(__main__, "collect", lambda *rest: None)
    monkeypatch.setattr(__main__, "check_folders", lambda work: None)
    arguments = __main__._parse(["data", "--work", "work", "--out", "out", "--final"])
    __main__.run_all(pd.DataFrame(), arguments)
    for one in given:
        assert one.folder.is_relative_to(Path.cwd() / "work")
        assert one.arguments[0].out == Path.cwd() / "out"
