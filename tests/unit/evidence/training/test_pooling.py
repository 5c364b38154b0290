"""Folds choose together, and no fold on a patient that it tests."""

import shutil
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from cohort_files import write_squares

from utils import config
from utils.cohort.table import read_cohort
from utils.evidence import recipes
from utils.evidence.training import experiments, folds as folds_module, pooling
from utils.models.files.settings import Postprocessing

RECIPE = recipes.Recipe("tiny", None, size=32, pooled=True)


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """Twelve patients of four slices, 48 px; slices 2 and 3 have a square bright in FLAIR."""
    root = tmp_path_factory.mktemp("cohort") / "kaggle_3m"
    write_squares(root, ["DU" if number % 3 else "HT" for number in range(12)])
    return read_cohort(root)


def predicted(table, folder, fold, dealt="patients"):
    """Write what networks would leave of a fold: probabilities high in the squares, and noise."""
    split = experiments.fold_split(table, dealt, fold)
    run = folds_module.evidence_run(table, split, RECIPE.size, folder, RECIPE)
    random = np.random.default_rng(int(fold))
    parts = run.in_part("validation") | run.in_part("test")
    owner, maps = recipes.patient_of_row(run.table), {}
    for patient in sorted(set(owner[parts])):
        truth = run.volumes.masks[(owner == patient).to_numpy()]
        noise = random.uniform(0, 0.2, truth.shape)
        maps[patient] = np.float32(0.65 * truth + noise)
    folder.mkdir(parents=True, exist_ok=True)
    np.savez(folder / "maps.npz", **maps)
    rows = run.table[["patient", "institution", "slice"]].copy()
    rows["p_detector"] = np.where(run.volumes.labels, 0.8, 0.3) + random.uniform(
        -0.2, 0.2, len(rows)
    )
    rows.to_csv(folder / "detector.csv", index=False)
    config.write_json(folder / "fold.json", {"temperature": 1.0, "epochs": 1})
    return split


@pytest.fixture(scope="module")
def written(table, tmp_path_factory):
    work = tmp_path_factory.mktemp("work")
    splits = {work / "ours" / fold: predicted(table, work / "ours" / fold, fold) for fold in "012"}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pooling, "REFINEMENTS", (0.0,))
        scores = pooling.choose_together(table, RECIPE, splits)
    return splits, scores


@pytest.mark.long
def test_a_fold_chooses_on_the_patients_that_the_others_test(written):
    splits, scores = written
    by_fold = [set(split.loc[split["part"] == "test", "patient"]) for split in splits.values()]
    assert sorted(scores["patient"]) == sorted(set.union(*by_fold))  # each once
    for folder, tested in zip(splits, by_fold, strict=True):
        settings = config.read_json(folder / "fold.json")
        assert settings["choosing_patients"] == len(scores) - len(tested)
        own = scores[~scores["patient"].isin(tested)].drop(columns=["fold", "patient"]).mean()
        assert settings["choosing_dice"] == pytest.approx(own.max(), abs=1e-6)
        assert settings["temperature"] == 1.0  # what the fold knew stays


@pytest.mark.long
def test_the_rows_of_the_tested_patients_follow_the_choice(written):
    for folder, split in written[0].items():
        slices = pd.read_csv(folder / "slices.csv")
        assert set(slices["patient"]) == set(split.loc[split["part"] == "test", "patient"])
        # Probabilities of 0.65 to 0.85 in the squares, below 0.2 elsewhere: a threshold of 0.6 or
        # less finds all, and the maps are smaller than the files by a third.
        assert pd.read_csv(folder / "patients.csv")["dice"].min() > 0.9
        with_tumour = slices["tumour_px"] > 0
        assert (
            slices.loc[with_tumour, "p_tumour"].min() > slices.loc[~with_tumour, "p_tumour"].max()
        )


@pytest.mark.long
def test_what_a_fold_chooses_does_not_depend_on_whom_it_tests(table, written, tmp_path):
    """Another fold's answers about the patients that fold 0 tests change nothing for fold 0."""
    splits, _ = written
    there = {tmp_path / folder.name: split for folder, split in splits.items()}
    for folder in splits:
        shutil.copytree(folder, tmp_path / folder.name)
    tested = set(splits[next(iter(splits))].query("part == 'test'")["patient"])
    for folder in list(there)[1:]:
        with np.load(folder / "maps.npz") as kept:
            maps = {name: 1 - one if name in tested else one for name, one in kept.items()}
        np.savez(folder / "maps.npz", **maps)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pooling, "REFINEMENTS", (0.0,))
        pooling.choose_together(table, RECIPE, there)
    before, after = (config.read_json(next(iter(each)) / "fold.json") for each in (splits, there))
    assert before == after


@pytest.mark.long
def test_a_fold_with_rows_of_two_choices_is_not_done(table, written, tmp_path, monkeypatch):
    """Killed after it has written the slices anew, and before the patients."""
    splits, _ = written
    folder, split = next(iter(splits.items()))
    copy = tmp_path / "ours" / folder.name
    shutil.copytree(folder, copy)
    run = folds_module.evidence_run(table, split, RECIPE.size, copy, RECIPE)
    maps, rows, settings = folds_module.read_predicted(copy)
    rows = rows.assign(p_tumour=0.5, p_segmenter=0.5)

    def killed(path, frame):
        if path.name == "patients.csv":
            raise KeyboardInterrupt

    monkeypatch.setattr(folds_module, "write_table", killed)
    with pytest.raises(KeyboardInterrupt):
        folds_module.write_fold(copy, run, maps, rows, settings)
    assert not folds_module.is_done(tmp_path, "ours", folder.name)


@pytest.mark.long
def test_where_slices_are_dealt_a_fold_chooses_on_the_slices_that_the_others_test(table, tmp_path):
    units = experiments.slices_as_patients(table)
    place = tmp_path / "ours_random_split"
    splits = {place / fold: predicted(units, place / fold, fold, "slices") for fold in "012"}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pooling, "REFINEMENTS", (0.0,))
        scores = pooling.choose_together(units, RECIPE, splits)
    for folder, split in splits.items():
        tested = set(split.loc[split["part"] == "test", "patient"])
        slices = pd.read_csv(folder / "slices.csv")
        assert set(slices["patient"] + "#" + slices["slice"].astype(str)) == tested
        own = scores[scores["fold"] == folder.name]
        assert set(own["patient"]) == set(slices["patient"])
        # All squares are found at a threshold of 0.6 or less, and nothing else.
        assert own.drop(columns=["fold", "patient"]).max(axis=1).min() == 1
        assert config.read_json(folder / "fold.json")["choosing_dice"] == 1


def test_every_setting_is_tried_once():
    tried = pooling.choices()
    assert len(tried) == len(set(tried)) == 5 * 2 * 5 * 5
    assert replace(Postprocessing(), threshold=0.5) in tried
