"""The folds hold every patient once, choose nothing on the tested part, and make whole tables."""

import os
import shutil
from dataclasses import asdict, replace
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import pytest
from cohort_files import write_squares
from holding import held_elsewhere
from tiny_networks import tiny_detector

from utils import config
from utils.cohort.table import read_cohort
from utils.cohort.volumes import Volumes, arrange_channels
from utils.course import detector
from utils.evaluation import segmentation
from utils.evidence import __main__, recipes
from utils.evidence.tables import CHOICES
from utils.evidence.training import (
    collect,
    experiments,
    folds as folds_module,
    pooling,
    tasks,
    trial,
)
from utils.evidence.training.folds import THRESHOLDS, is_done, run_fold, train_final
from utils.models import resnet50, resunet
from utils.models.files import imagenet, saving
from utils.models.files.settings import read_settings
from utils.models.precision import set_precision
from utils.models.resnet50 import pretrained_unet


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    """Twelve patients of four slices, 48 px; slices 2 and 3 have a square bright in FLAIR."""
    root = tmp_path_factory.mktemp("cohort") / "kaggle_3m"
    write_squares(root, ["DU" if number % 3 else "HT" for number in range(12)])
    return root


@pytest.fixture(scope="module")
def table(cohort):
    return read_cohort(cohort)


@pytest.mark.parametrize("kind", ["patients", "slices"])
def test_everything_is_tested_once_and_never_beside_its_training(table, kind):
    units = experiments.slices_as_patients(table) if kind == "slices" else table
    splits = [experiments.fold_split(units, kind, str(fold)) for fold in range(experiments.FOLDS)]
    tested = pd.concat([split[split["part"] == "test"] for split in splits])
    assert sorted(tested["patient"]) == sorted(units["patient"].unique())
    for split in splits:
        assert split["patient"].is_unique
        assert set(split["part"]) == {"train", "validation", "test"}


def test_a_random_split_of_slices_has_patients_on_both_sides(table):
    split = experiments.fold_split(experiments.slices_as_patients(table), "slices", "0")
    owner = split["patient"].str.split("#").str[0]
    sides = split.groupby(owner)["part"].nunique()
    assert (sides > 1).mean() > 0.5


def test_leaving_an_institution_out_tests_all_of_it(table):
    split = experiments.fold_split(table, "institutions", "HT")
    assert set(split.loc[split["part"] == "test", "institution"]) == {"HT"}
    assert "HT" not in set(split.loc[split["part"] != "test", "institution"])


def test_shipped_models_learn_from_everyone(table):
    split = experiments.all_in_training(table)
    assert set(split.loc[split["part"] == "train", "patient"]) == set(table["patient"])
    assert not (split["part"] == "test").any()


def test_an_unknown_fold_is_told():
    arguments = __main__._parse(["data", "--experiment", "ours", "--fold", "7"])
    with pytest.raises(config.CourseError, match="--fold 7: no such fold of ours; choose one of 0"):
        experiments.chosen_folds(arguments)
    arguments = __main__._parse(["data", "--experiment", "ours", "--fold", "4", "--fold", "1"])
    assert experiments.chosen_folds(arguments) == [("ours", "1"), ("ours", "4")]


def test_a_trial_never_overwrites_the_evidence():
    shipped = config.RESULTS / "lgg"
    for place in ([], ["--out", os.path.relpath(shipped)], ["--out", f"{shipped}/../lgg"]):
        with pytest.raises(config.CourseError, match="give another --out"):
            __main__.main(["nowhere", "--patients", "10", *place])


@pytest.mark.parametrize(
    "words",
    [
        ["--hours", "0"],
        ["--hours", "-1"],
        ["--hours", "nan"],
        ["--hours", "1e9"],  # 3.6e12 s; the system counts up to 2**63 ns, 9.2e9 s
        ["--epochs", "-1"],
        ["--patients", "0"],
        ["--seed", "-1", "--attempt", "ours"],
        ["--seed", "1"],
    ],
)
def test_an_option_that_cannot_be_meant_is_refused(words, capsys):
    with pytest.raises(SystemExit) as told:
        __main__.main(["nowhere", *words])
    assert told.value.code == 2
    assert words[0] in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "place", "remedy"),
    [
        (["--experiment", "ours", "--fold", "1"], "ours/1", "choose another fold with --fold"),
        (["--no-folds", "--final"], "final/0", "leave out --final"),
        (
            ["--no-folds", "--attempt", "tiny", "--fold", "4", "--seed", "1"],
            "attempts/tiny/4-1",
            "leave out --attempt",
        ),
    ],
)
def test_a_fold_is_trained_by_one_process_at_a_time(
    table, tmp_path, monkeypatch, words, place, remedy
):
    work, trained = tmp_path / "work", []
    monkeypatch.setitem(recipes.ATTEMPTS, "tiny", recipes.Recipe("tiny", tiny_unet, size=32))
    for module, name in (
        (folds_module, "run_fold"),
        (folds_module, "train_final"),
        (trial, "run_attempt"),
    ):
        monkeypatch.setattr(module, name, lambda *given: trained.append(given))
    folders = ["data", "--work", str(work), "--out", str(tmp_path)]
    arguments = __main__._parse([*folders, *words])
    with held_elsewhere(work / place) as number:
        with pytest.raises(config.CourseError) as told:
            __main__.run_all(table, arguments)
        assert str(told.value) == (
            f"{work / place}: another run is at work there (process {number}); wait for it, or "
            f"{remedy}"
        )
        assert trained == []
        free = __main__._parse([*folders, "--experiment", "ours", "--fold", "2"])
        __main__.run_all(table, free)
        assert len(trained) == 1
    __main__.run_all(table, arguments)
    assert len(trained) == 2


def tiny_unet(size, seed):
    return resunet.resunet(size, (4, 8), seed)


@pytest.fixture(scope="module")
def done(table, tmp_path_factory):
    """Two folds of `ours`, one of random slices, and the final models: tiny networks, one step.

    Only the detector to ship is the real network, because its file has a shape to be checked.
    """
    work, out = tmp_path_factory.mktemp("work"), tmp_path_factory.mktemp("out")
    recipe = recipes.Recipe("tiny", tiny_unet, size=32, epochs=1, steps=1, batch_size=4)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(folds_module, "DETECTOR_SIZE", 32)
        patch.setattr(folds_module, "DETECTOR_EPOCHS", 1)
        patch.setattr(detector, "BATCH_SIZE", 4)
        for module in (detector, imagenet):
            patch.setattr(module, "imagenet_resnet50", lambda: None)
        patch.setattr(
            resnet50,
            "folded_trunk",
            lambda size, weights: resnet50.trunk_of(resnet50.detector(size)),
        )
        real = resnet50.detector
        patch.setattr(resnet50, "detector", tiny_detector)
        slices = experiments.slices_as_patients(table)
        for name, units, kind, fold in [
            ("ours", table, "patients", "0"),
            ("ours", table, "patients", "1"),
            ("ours_random_split", slices, "slices", "0"),
        ]:
            split = experiments.fold_split(units, kind, fold)
            run_fold(units, split, recipe, False, work / name / fold)
        collect.collect(work, out, table, folds=2)
        patch.setattr(resnet50, "detector", real)
        everyone = experiments.all_in_training(table)
        train_final(table, everyone, recipe, work / "final" / "0", out)
    return work, out


@pytest.mark.long
def test_the_tables_hold_the_tested_slices_of_every_fold(done, table):
    work, out = done
    assert is_done(work, "ours", "1")
    assert not is_done(work, "ours", "2")
    slices = pd.read_csv(out / "slices.csv")
    for fold in (0, 1):
        split = experiments.fold_split(table, "patients", str(fold))
        tested = set(split.loc[split["part"] == "test", "patient"])
        assert set(slices.loc[slices["fold"] == fold, "patient"]) == tested
    merged = slices.merge(table, on=["patient", "slice"])
    assert len(merged) == len(slices)
    assert (merged["tumour_px_x"] == merged["tumour_px_y"]).all()
    assert (slices["overlap_px"] <= slices[["tumour_px", "predicted_px"]].min(axis=1)).all()
    for column in ("p_tumour", "p_detector", "p_segmenter"):
        assert slices[column].between(0, 1).all()
    patients = pd.read_csv(out / "patients.csv")
    counts = slices.groupby("patient")[["tumour_px", "predicted_px", "overlap_px"]].sum()
    dice = 2 * counts["overlap_px"] / (counts["tumour_px"] + counts["predicted_px"])
    np.testing.assert_allclose(patients["dice"], dice.to_numpy(), atol=1e-6)


@pytest.mark.long
def test_slices_of_a_random_split_keep_their_patients(done, table):
    slices = pd.read_csv(done[1] / "slices_ours_random_split.csv")
    assert set(slices["patient"]) <= set(table["patient"])
    assert not slices.duplicated(["patient", "slice"]).any()


@pytest.mark.long
def test_what_was_chosen_is_told(done):
    folds = pd.read_csv(done[1] / "folds.csv")
    assert folds["experiment"].tolist() == ["ours", "ours", "ours_random_split"]
    assert folds["threshold"].isin(THRESHOLDS).all()
    provenance = config.read_json(done[1] / "provenance.json")
    assert provenance["patients"] == 12
    assert provenance["slices"] == 48


@pytest.mark.long
def test_experiments_of_another_work_folder_stay_in_the_tables(done, table, tmp_path):
    work, out = done
    here, there = tmp_path / "out", tmp_path / "work"
    shutil.copytree(out, here)
    shutil.copytree(work / "ours_random_split", there / "ours_random_split")
    before = pd.read_csv(here / "folds.csv")
    collect.collect(there, here, table, folds=2)
    pd.testing.assert_frame_equal(pd.read_csv(here / "folds.csv"), before)
    assert (here / "slices.csv").read_bytes() == (out / "slices.csv").read_bytes()


@pytest.mark.long
def test_a_fold_computed_again_leaves_the_others(done, table, tmp_path):
    work, out = done
    here, there = tmp_path / "out", tmp_path / "work"
    shutil.copytree(out, here)
    shutil.copytree(work / "ours" / "1", there / "ours" / "1")
    collect.collect(there, here, table, folds=2)
    for name in ("slices.csv", "patients.csv", "folds.csv"):
        assert (here / name).read_bytes() == (out / name).read_bytes()


def noted(folder, definition):
    """Write a definition of HD95 into a fold.json; None stands for a fold of before it was told."""
    values = config.read_json(folder / "fold.json")
    values.pop("hd95", None)
    config.write_json(folder / "fold.json", values | ({"hd95": definition} if definition else {}))


@pytest.mark.long
def test_one_column_of_hd95_has_one_definition(done, table, tmp_path):
    work, out = done
    assert config.read_json(out / "provenance.json")["hd95"] == segmentation.HD95_NOW
    here, there = tmp_path / "out", tmp_path / "work"
    shutil.copytree(work / "ours", there / "ours")
    noted(there / "ours" / "0", None)
    noted(there / "ours" / "1", None)
    collect.collect(there, here, table, folds=2)
    assert config.read_json(here / "provenance.json")["hd95"] == segmentation.HD95_BEFORE
    before = pd.read_csv(here / "patients.csv")
    pd.testing.assert_frame_equal(before, pd.read_csv(out / "patients.csv"))

    # Fold 1 is trained again elsewhere: what fold 0 holds is not the same measure any more.
    again = tmp_path / "again"
    shutil.copytree(work / "ours" / "1", again / "ours" / "1")
    noted(again / "ours" / "1", segmentation.HD95_NOW)
    collect.collect(again, here, table, folds=2)
    assert config.read_json(here / "provenance.json")["hd95"] == segmentation.HD95_NOW
    after = pd.read_csv(here / "patients.csv")
    old = after["fold"] == 0
    assert after.loc[old, "hd95_px"].isna().all()
    pd.testing.assert_frame_equal(after[~old], before[~old])
    pd.testing.assert_series_equal(after["dice"], before["dice"])


@pytest.mark.long
def test_an_attempt_alone_leaves_what_the_folds_took(done, table, tmp_path):
    here, there = tmp_path / "out", tmp_path / "work"
    shutil.copytree(done[1], here)
    before = config.read_json(here / "provenance.json")["seconds"]
    key = {"attempt": "one", "fold": "0", "seed": 1}
    folder = there / "attempts" / "one" / "0-1"
    config.write_json(folder / "attempt.json", key)
    pd.DataFrame([key | {"patient": "P"}]).to_csv(folder / "patients.csv", index=False)
    collect.collect(there, here, table, folds=2)
    assert config.read_json(here / "provenance.json")["seconds"] == before > 0
    for name in ("attempts", "attempts_patients"):
        assert pd.read_csv(here / f"{name}.csv")["seed"].tolist() == [1]


@pytest.mark.long
def test_tables_of_another_cohort_are_not_mixed_with(done, table, tmp_path):
    work, out = done
    here = tmp_path / "out"
    shutil.copytree(out, here)
    config.update_json(here / "provenance.json", {"data_sha256": "of other patients"})
    before = {file.name: file.read_bytes() for file in here.iterdir()}
    with pytest.raises(config.CourseError, match=r"computed from other files .* another --out$"):
        collect.collect(work, here, table, folds=2)
    assert {name: (here / name).read_bytes() for name in before} == before
    arguments = __main__._parse(["data", "--work", str(tmp_path / "work"), "--out", str(here)])
    with pytest.raises(config.CourseError, match="computed from other files"):
        __main__.run_all(table, arguments)


def test_trainings_of_another_cohort_or_of_fewer_epochs_do_not_count(table, tmp_path):
    def check(cohort, epochs):
        tasks.check_folders(tasks.Work(cohort, tmp_path / "work", tmp_path / "out", epochs))

    check(table, 0)
    check(table, 0)
    with pytest.raises(config.CourseError, match="another number of --epochs; delete it, or give"):
        check(table, 1)
    with pytest.raises(config.CourseError, match="another cohort; delete it, or give another --w"):
        check(table[table["patient"] != table["patient"].iloc[0]], 0)


def test_no_model_is_shipped_before_a_fold_is_done(table, tmp_path):
    recipe = recipes.Recipe("tiny", tiny_unet, size=32)
    with pytest.raises(config.CourseError, match="no fold done"):
        train_final(
            table, experiments.all_in_training(table), recipe, tmp_path / "work", tmp_path / "out"
        )


@pytest.mark.long
def test_models_to_ship_come_with_their_settings_or_not_at_all(done, table, tmp_path, monkeypatch):
    out = tmp_path / "out"
    shutil.copytree(done[1], out)
    before = {name: (out / name).read_bytes() for name in ("detector.keras", "detector.json")}
    monkeypatch.setattr(detector, "fine_tune", lambda run, last_epoch: (None, None))
    monkeypatch.setattr(resnet50, "last_blocks_of", lambda model: None)
    monkeypatch.setattr(resnet50, "calibrated", lambda model, temperature: None)
    monkeypatch.setattr(saving, "save_half", lambda model, path: path.write_bytes(b"new"))

    def interrupted(*given, **named):
        raise KeyboardInterrupt

    given = table, experiments.all_in_training(table), recipes.Recipe("tiny", None, size=32)
    monkeypatch.setattr(recipes, "train_segmenter", interrupted)
    with pytest.raises(KeyboardInterrupt):
        train_final(*given, tmp_path / "work" / "0", out)
    assert {name: (out / name).read_bytes() for name in before} == before
    monkeypatch.setattr(recipes, "train_segmenter", lambda *given, **named: (None, None))
    # What a process that was killed while it wrote left in the folder of the trainings.
    (tmp_path / "work" / "0" / "shipped" / ".detector-12345678.keras").write_bytes(b"ne")
    train_final(*given, tmp_path / "work" / "0", out)
    assert (out / "detector.keras").read_bytes() == b"new" == (out / "segmenter.keras").read_bytes()
    assert not list(out.glob(".detector*"))


@pytest.mark.long
def test_shipped_models_load_with_their_settings(done):
    _, out = done
    chosen = read_settings(out / "segmenter.json")["postprocessing"]
    assert chosen["threshold"] in THRESHOLDS
    assert set(read_settings(out / "detector.json")["combination"]) == {
        "detector",
        "segmenter",
        "intercept",
    }
    segmenter = saving.load_model(out / "segmenter.keras", "float32")
    pictures = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3)).astype("float32")
    left, right = (np.asarray(segmenter(each)) for each in (pictures, pictures[:, :, ::-1]))
    np.testing.assert_allclose(left, right[:, :, ::-1], atol=1e-3)
    assert saving.load_model(out / "detector.keras").input_shape == (None, 2, 2, 1024)


@pytest.mark.long
def test_half_precision_halves_the_file_and_keeps_the_output(tmp_path):
    set_precision("float32")  # the fold before may have trained in another
    model = pretrained_unet(64)
    whole = saving.save_model(model, tmp_path / "whole.keras")
    half = saving.save_half(model, tmp_path / "half.keras")
    assert half.stat().st_size < 0.55 * whole.stat().st_size
    pictures = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3)).astype("float32")
    again = saving.load_model(half, "float32")
    assert again.get_layer("logit").kernel.dtype == "float32"
    # Before the sigmoid: untrained, this network saturates it, and rounding may flip a pixel.
    ours, theirs = (
        keras.Model(each.input, each.get_layer("logit").output)(pictures) for each in (again, model)
    )
    assert np.linalg.norm(ours - theirs) < 0.01 * np.linalg.norm(theirs)


def test_each_slice_is_standardised_by_itself():
    random = np.random.default_rng(0)
    images = np.stack([random.normal(60, 5, (40, 40, 3)), random.normal(150, 20, (40, 40, 3))])
    result = recipes.standardise_slices(images.astype(np.uint8)).astype(float)
    np.testing.assert_allclose(result.mean(axis=(1, 2)), 96, atol=1)
    np.testing.assert_allclose(result.std(axis=(1, 2)), 40, atol=2)
    assert (recipes.standardise_slices(np.full((1, 4, 4, 3), 7, np.uint8)) == 96).all()


@pytest.mark.parametrize("channels", ["neighbours", "all"])
def test_pictures_stay_in_their_rows_where_patients_take_turns(channels):
    images = np.random.default_rng(0).integers(0, 256, (6, 4, 4, 3)).astype(np.uint8)
    recipe = replace(recipes.FLAIR_MEMBER, channels=channels)
    volumes = Volumes(pd.DataFrame({"patient": list("ababab")}), images, None)
    found = recipes.prepare(recipe, volumes).images
    for first in (0, 1):  # patient a has the rows 0, 2, 4, and b the others
        np.testing.assert_array_equal(found[first::2], arrange_channels(images[first::2], channels))


def test_the_baseline_network_is_of_the_described_size():
    network = recipes.BASELINE.network(64, 0)
    assert abs(network.count_params() / 1.21e6 - 1) < 0.02


@pytest.mark.long
def test_a_flip_averaged_model_sees_both_sides_and_brings_no_optimiser(tmp_path):
    set_precision("float32")
    model = tiny_unet(32, 0)
    model.compile("adam", "binary_crossentropy")
    pictures = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3)).astype("float32")
    model.train_on_batch(pictures, np.zeros((2, 32, 32, 1)))
    both = recipes.flip_averaged(model)
    expected = (model(pictures) + model(pictures[:, :, ::-1])[:, :, ::-1]) / 2
    np.testing.assert_allclose(both(pictures), expected, atol=1e-6)
    np.testing.assert_allclose(
        both(pictures[:, :, ::-1]), both(pictures)[:, :, ::-1], atol=1e-6, rtol=0
    )
    alone = saving.save_model(model, tmp_path / "alone.keras").stat().st_size
    assert saving.save_model(both, tmp_path / "both.keras").stat().st_size < 1.2 * alone


@pytest.mark.long
def test_an_attempt_reads_a_training_that_is_there(done, table, tmp_path, monkeypatch):
    training = done[0] / "ours" / "0" / "segmenter"
    written = (training / "history.csv").stat().st_mtime_ns
    recipe = recipes.Recipe("tiny", tiny_unet, size=32, epochs=1, steps=1, batch_size=4)
    monkeypatch.setitem(recipes.ATTEMPTS, "tiny", recipe)
    split = experiments.fold_split(table, "patients", "0")
    trial.run_attempt(table, split, recipe, "tiny", "0", 0, tmp_path, training)
    found = pd.read_csv(tmp_path / "patients.csv")
    assert sorted(found["patient"]) == sorted(split.loc[split["part"] == "validation", "patient"])
    assert found[list(CHOICES)].apply(lambda dice: dice.between(0, 1)).all(axis=None)
    assert config.read_json(tmp_path / "attempt.json")["seed"] == 0
    assert (training / "history.csv").stat().st_mtime_ns == written
    assert sorted(path.name for path in tmp_path.iterdir()) == ["attempt.json", "patients.csv"]


def test_the_epochs_of_all_networks_of_a_recipe_are_counted_together(capsys):
    members = tuple(recipes.Recipe("", None, epochs=epochs) for epochs in (2, 3))
    report = folds_module.reporter(recipes.Recipe("", None, members=members), Path("ours/4"))
    report(2, {"val_dice": 0.5})
    assert capsys.readouterr().out == "  ours/4, epoch 2 of 5: validation Dice 0.500\n"


@pytest.mark.long
def test_the_members_of_a_recipe_are_trained_one_by_one_and_averaged(table, tmp_path):
    def nine(size, seed):
        keras.utils.set_random_seed(seed)
        inputs = keras.Input((size, size, 9))
        outputs = keras.layers.Conv2D(1, 1, activation="sigmoid", dtype="float32")(inputs)
        return keras.Model(inputs, outputs)

    flair = recipes.Recipe(
        "", tiny_unet, size=32, epochs=1, steps=1, batch_size=4, channels="neighbours"
    )
    both = replace(
        flair,
        network=None,
        channels="all",
        members=(flair, replace(flair, network=nine, channels="all")),
    )
    split = experiments.fold_split(table, "patients", "0")
    run = folds_module.evidence_run(table, split, 32, tmp_path, both)
    told = []
    model, history = recipes.train_segmenter(
        run, both, tmp_path / "segmenter", report=lambda epoch, values: told.append(epoch)
    )
    assert history["member"].tolist() == [0, 1]
    assert told == [1, 2]
    configuration = config.read_json(tmp_path / "segmenter" / "0" / "configuration.json")
    assert configuration["view"] == asdict(flair.view)  # the words of a recipe may not tell it
    pictures = run.volumes.images[:2].astype("float32")
    members = [saving.load_model(tmp_path / "segmenter" / n / "model.keras") for n in "01"]
    expected = [
        np.asarray(recipes.flip_averaged(member)(given))
        for member, given in zip(members, (pictures[..., 3:6], pictures), strict=True)
    ]
    np.testing.assert_allclose(model(pictures), np.mean(expected, axis=0), atol=1e-2)
    again = saving.load_model(saving.save_half(model, tmp_path / "both.keras"))
    np.testing.assert_allclose(again(pictures), model(pictures), atol=1e-2)


@pytest.mark.long
def test_folds_that_were_cut_off_before_they_chose_together_do_so_with_the_next_call(
    table, tmp_path, monkeypatch
):
    chosen = []

    def choose(table, recipe, folds):
        chosen.append([folder.name for folder in folds])
        for folder in folds:
            config.update_json(folder / "fold.json", {"choosing_patients": 5})

    monkeypatch.setattr(pooling, "choose_together", choose)
    monkeypatch.setattr(__main__, "collect", lambda *given: None)
    names = experiments.fold_names("ours")
    folders = ["--work", str(tmp_path), "--out", str(tmp_path / "out")]
    arguments = __main__._parse(["data", *folders, "--experiment", "ours"])
    monkeypatch.setattr(
        folds_module,
        "run_fold",
        lambda *given: config.write_json(given[-1] / "fold.json", {"a": 1}),
    )
    for name in names[:-1]:
        config.write_json(tmp_path / "ours" / name / "fold.json", {"choosing_patients": 5})
    __main__.run_all(table, arguments)  # the last fold: chosen with it
    assert chosen == [names]
    config.write_json(tmp_path / "ours" / "2" / "fold.json", {"a": 1})
    __main__.run_all(table, arguments)  # nothing to train, but one has not chosen
    __main__.run_all(table, arguments)
    assert chosen == [names, names]
