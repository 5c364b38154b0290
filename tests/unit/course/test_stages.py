"""Detector, segmenter and their evaluation, trained for a moment on six tiny patients."""

from dataclasses import fields

import numpy as np
import pandas as pd
import pytest
from cohort_files import write_squares
from tiny_networks import tiny_detector

from utils import config
from utils.cohort.features import simple_features
from utils.cohort.table import true_masks
from utils.course import cascade, detector, segmenter
from utils.course.run import Parameters, Run, open_run
from utils.evaluation import segmentation
from utils.models import resnet50, resunet as resunet_module
from utils.models.files import imagenet
from utils.models.files.settings import Postprocessing


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    """Six patients of four slices, 48 px; slices 2 and 3 have a square that is bright in FLAIR."""
    root = tmp_path_factory.mktemp("cohort") / "kaggle_3m"
    write_squares(root, ["DU" if number % 2 else "HT" for number in range(6)])
    return root


@pytest.fixture(scope="module")
def small_budget():
    """The real training code with small networks, batches and budgets."""
    with pytest.MonkeyPatch.context() as patch:
        for module in (detector, imagenet):
            patch.setattr(module, "imagenet_resnet50", lambda: None)
        patch.setattr(resnet50, "detector", tiny_detector)
        patch.setattr(
            resnet50,
            "folded_trunk",
            lambda size, weights: resnet50.trunk_of(tiny_detector(size)),
        )
        resunet = resunet_module.resunet
        patch.setattr(resunet_module, "resunet", lambda size, seed: resunet(size, (4, 8), seed))
        for module in (detector, segmenter):
            patch.setattr(module, "BATCH_SIZE", 4)
        patch.setattr(segmenter, "STEPS_PER_EPOCH", 1)
        yield


@pytest.fixture(scope="module")
def run(cohort, small_budget, tmp_path_factory):
    return open_run(
        cohort="lgg",
        data=str(cohort),
        run_folder=str(tmp_path_factory.mktemp("run")),
        patients=0,
        size=32,
        detector_epochs=1,
        segmenter_epochs=1,
    )


def test_simple_features_describe_the_slice(run):
    features = simple_features(run.volumes)
    with_tumour = run.volumes.labels
    assert len(features) == len(run.table)
    assert features["bright in FLAIR"][with_tumour].min() > 0.05
    assert features["bright in FLAIR"][~with_tumour].max() == 0
    assert np.isfinite(features.to_numpy()).all()


def test_the_baseline_separates_what_brightness_separates(run):
    _, probabilities = detector.baseline(run)
    held_out = run.in_part("test")
    labels = run.volumes.labels[held_out]
    assert probabilities[held_out][labels].min() > probabilities[held_out][~labels].max()


def test_scores_count_pixels_at_the_size_of_the_files(run):
    truths = true_masks(run.table)
    shifted = np.roll(truths, 6, axis=2)
    slices = segmentation.score(run.table, truths, shifted, part="test")
    tumour = slices[slices["slice"].isin([2, 3])]
    assert (tumour["tumour_px"] == 144).all() and (tumour["predicted_px"] == 144).all()
    assert (tumour["overlap_px"] == 72).all()
    assert (slices.loc[slices["slice"].isin([1, 4]), "predicted_px"] == 0).all()


@pytest.mark.long
def test_models_are_trained_once_and_found_again(run, capsys):
    first = cascade.evaluate(run)
    told = capsys.readouterr().out
    assert "No detector in the run folder" in told and "No segmenter in the run folder" in told
    again = cascade.evaluate(run)
    assert capsys.readouterr().out == ""
    pd.testing.assert_frame_equal(first.slices, again.slices)


@pytest.mark.long
def test_another_budget_is_trained_anew(run, capsys):
    segmenter.load_or_train(run)
    capsys.readouterr()
    parameters = Parameters(**(run.parameters.__dict__ | {"segmenter_epochs": 2}))
    more = Run(parameters, run.folder, run.table, run.split, run.volumes)
    segmenter.load_or_train(more)
    assert "training it" in capsys.readouterr().out


@pytest.mark.long
def test_the_cascade_empties_slices_that_the_detector_leaves_out(run, monkeypatch):
    model, settings = detector.load_or_train(run)
    segmenting, _ = segmenter.load_or_train(run)
    everything = Postprocessing(threshold=0.0)
    monkeypatch.setattr(segmenter, "load_or_train", lambda run: (segmenting, everything))

    scores = iter([np.array([0.9, 0.1, 0.9, 0.1], np.float32)])
    monkeypatch.setattr(
        detector, "load_or_train", lambda run: (model, settings | {"threshold": 0.5})
    )
    monkeypatch.setattr(cascade, "predict_images", lambda model, images: next(scores))
    found = cascade.evaluate(run)

    assert found.slices["flagged"].tolist() == [True, False, True, False]
    assert (found.alone == 1).all()
    assert found.slices["cascade_px"].tolist() == [48 * 48, 0, 48 * 48, 0]
    assert found.slices["cascade_overlap_px"].tolist() == [0, 0, 144, 0]
    assert found.cascade_slices["predicted_px"].tolist() == [48 * 48, 0, 48 * 48, 0]
    written = pd.read_csv(run.folder / "predictions.csv")
    assert set(written["part"]) == {"test"}
    assert written["patient"].unique().tolist() == found.volumes.patients

    patients = cascade.patient_results(run, found)
    assert patients["dice"].tolist() == pytest.approx([2 * 288 / (288 + 4 * 48 * 48)])
    assert patients["dice_cascade"].tolist() == pytest.approx([2 * 144 / (288 + 2 * 48 * 48)])
    kept = pd.read_csv(run.folder / "patients.csv")
    pd.testing.assert_frame_equal(kept, patients)


@pytest.mark.long
def test_what_was_decided_lies_beside_the_models(run):
    detector.load_or_train(run)
    segmenter.load_or_train(run)
    decided = config.read_json(run.folder / "detector.json")
    assert 0 <= decided["threshold"] <= 1 and decided["temperature"] > 0
    kept = config.read_json(run.folder / "segmenter.json")["postprocessing"]
    assert list(kept) == [one.name for one in fields(Postprocessing)]
