"""A sweep trains what is missing and chooses by the validation patients alone."""

from dataclasses import replace
from functools import partial

import pandas as pd
import pytest
from cohort_files import write_squares

from utils.config import CourseError, read_json, write_json
from utils.course import segmenter
from utils.course.run import open_run
from utils.models import resunet
from utils.models.training import Diverged
from utils.sweep import __main__ as sweep, training
from utils.sweep.grid import read_grid


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    root = tmp_path_factory.mktemp("cohort") / "kaggle_3m"
    write_squares(root, ["DU" if number % 3 else "HT" for number in range(12)])
    return root


@pytest.fixture
def parameters(cohort, tmp_path):
    return {
        "cohort": "lgg",
        "data": str(cohort),
        "run_folder": str(tmp_path / "run"),
        "patients": 0,
        "size": 32,
        "segmenter_epochs": 1,
    }


@pytest.fixture
def run(parameters):
    return open_run(**parameters)


def result(run, network, label, score, **values):
    """Write what a training of a sweep leaves."""
    folder = training.folder_of(run, network) / label
    scores = {"val_dice": score} if network == "segmenter" else {"val_loss": score, "val_auc": 0.9}
    decided_by = training._decided_by(run, network)
    kept = {"values": values, "epoch": 2, **scores, "seconds": 9, "run": decided_by}
    write_json(folder / training.RESULT, kept | {"made_with": {"threads": 1}})


def test_only_what_is_missing_is_trained(run, parameters):
    grid = read_grid("segmenter", ["rate=0.001,0.01"], None)
    result(run, "segmenter", "rate-0.001", 0.5, rate=0.001)
    (task,) = training.planned(run, "segmenter", grid, parameters)
    assert task.name == "segmenter: rate 0.01"
    assert task.arguments == (parameters, "segmenter", {"rate": 0.01})
    # Of other patients or another split it says nothing.
    other = replace(run, split=run.split.assign(part="train"))
    assert len(training.planned(other, "segmenter", grid, parameters)) == 2
    # Nor of a training of another length, where the values do not say how long it is.
    longer = replace(run, parameters=replace(run.parameters, segmenter_epochs=2))
    assert len(training.planned(longer, "segmenter", grid, parameters)) == 2


def test_trainings_of_the_detector_share_what_the_frozen_part_makes(run, parameters):
    grid = read_grid("detector", ["rate=0.001,0.01"], None)
    first, *others = training.planned(run, "detector", grid, parameters)
    assert first.function == "utils.sweep.training:describe_slices"
    assert [one.after for one in others] == [(first.name,)] * 2


def test_the_table_has_a_row_a_training_and_the_best_first(run):
    result(run, "segmenter", "a", 0.5, rate=0.001)
    result(run, "segmenter", "b", 0.7, rate=0.01, loss="focal_tversky")
    table = training.collect(run, "segmenter")
    written = pd.read_csv(run.folder / "sweep" / "segmenter.csv")
    assert written["rate"].tolist() == [0.01, 0.001]
    assert written["chosen"].tolist() == [1, 0]
    assert list(written)[-5:] == ["epoch", "val_dice", "seconds", "threads", "chosen"]
    assert table["loss"].isna().tolist() == [False, True]
    # The lowest cross-entropy is the best.
    result(run, "detector", "a", 0.5, rate=0.001)
    result(run, "detector", "b", 0.7, rate=0.01)
    assert training.collect(run, "detector")["rate"].tolist() == [0.001, 0.01]


def test_a_training_that_diverged_stands_last_and_is_not_chosen(run):
    result(run, "detector", "a", None, rate=1.0)
    assert training.collect(run, "detector")["chosen"].tolist() == [0]
    result(run, "detector", "b", 0.7, rate=0.01)
    table = training.collect(run, "detector")
    assert table["rate"].tolist() == [0.01, 1.0]
    assert table["chosen"].tolist() == [1, 0]


@pytest.mark.parametrize("network", ["segmenter", "detector"])
def test_a_training_that_diverges_does_not_end_the_sweep(run, parameters, monkeypatch, network):
    def diverges(run, values, folder):
        raise Diverged("epoch 2: loss is nan")

    monkeypatch.setattr(training, f"_{network}", diverges)
    grid = read_grid(network, ["rate=0.9"], None)
    *_, task = training.planned(run, network, grid, parameters)
    training.train(*task.arguments)
    assert training.planned(run, network, grid, parameters) == []
    (row,) = training.collect(run, network).to_dict("records")
    assert row["rate"] == 0.9
    assert pd.isna(row[training.CHOSEN_BY[network][0]])


def test_nothing_to_vary_is_told_before_anything_is_made(tmp_path):
    with pytest.raises(CourseError, match="nothing to vary"):
        sweep.main(["segmenter", "--run", str(tmp_path / "run")])
    assert not (tmp_path / "run").exists()


@pytest.mark.long
def test_a_sweep_trains_with_the_values_and_looks_at_no_held_out_patient(
    run, parameters, monkeypatch
):
    monkeypatch.setattr(segmenter, "STEPS_PER_EPOCH", 1)
    small = partial(resunet.resunet, filters=(4, 8))
    monkeypatch.setattr(segmenter.resunet, "resunet", small)
    grid = read_grid("segmenter", ["rate=0.002", "fn_weight=0.6", "epochs=2"], None)
    (task,) = training.planned(run, "segmenter", grid, parameters)
    looked_at = []
    part = type(run).part
    monkeypatch.setattr(
        type(run), "part", lambda self, name: looked_at.append(name) or part(self, name)
    )
    training.train(*task.arguments)
    assert set(looked_at) == {"train", "validation"}
    kept = read_json(task.folder / "training" / "configuration.json")
    assert kept["loss"]["fn_weight"] == 0.6
    assert kept["loss"]["fp_weight"] == 0.4
    assert kept["epochs"] == 2
    rate = kept["optimizer"]["learning_rate"]["config"]
    assert max(rate["initial_learning_rate"], rate["warmup_target"] or 0) == 0.002
    assert training.planned(run, "segmenter", grid, parameters) == []
    assert training.collect(run, "segmenter")["chosen"].tolist() == [1]
