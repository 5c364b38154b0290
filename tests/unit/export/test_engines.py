"""Both engines of `utils.predict` give the same table, the same masks and the same error lines."""

import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from utils import config
from utils.config import ROOT, CourseError, write_json
from utils.models.predict import default_models, predict_cohort

pytest.importorskip("onnxruntime")

# What the group "predict" of pyproject.toml does without.
ABSENT = ("tensorflow", "keras", "onnx", "sklearn", "skimage", "nibabel", "nilearn", "psutil")
# Runs the command in a process in which these cannot be imported.
WITHOUT = f"""
import runpy, sys
for name in {ABSENT}:
    sys.modules[name] = None
sys.argv[0] = "predict"
runpy.run_module("utils.predict", run_name="__main__")
"""


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """A detector and a segmenter, small and not trained, in files of both kinds."""
    import keras

    from utils.export.files import export_models

    folder = tmp_path_factory.mktemp("models")
    keras.utils.set_random_seed(0)
    inputs = keras.Input((32, 32, 3))
    bright = keras.layers.Rescaling(1 / 40, offset=-4.0)(inputs)
    texture = keras.layers.Conv2D(4, 3, padding="same", activation="relu")(bright)
    maps = keras.layers.Conv2D(1, 1, activation="sigmoid")(texture)
    pooled = keras.layers.GlobalMaxPooling2D()(texture)
    keras.Model(inputs, maps).save(folder / "segmenter.keras")
    answer = keras.layers.Dense(1, activation="sigmoid")(pooled)
    keras.Model(inputs, answer).save(folder / "detector.keras")
    write_json(folder / "segmenter.json", {"postprocessing": {"threshold": 0.5, "neighbours": 0.2}})
    weights = {"detector": 0.5, "segmenter": 0.5, "intercept": 0.1}
    write_json(
        folder / "detector.json", {"threshold": 0.5, "combination": weights, "neighbours": 0.25}
    )
    list(export_models(folder / "segmenter.keras", folder / "detector.keras", folder))
    return folder


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    """Two patients of other sizes and lengths; 35 slices are more than a batch."""
    root, random = tmp_path_factory.mktemp("cohort"), np.random.default_rng(0)
    for name, slices, side in (("TCGA_DU_0001", 32, 40), ("TCGA_HT_0002", 3, 64)):
        (root / name).mkdir()
        for number in range(1, slices + 1):
            coarse = Image.fromarray(random.integers(0, 256, (5, 5, 3), dtype=np.uint8))
            coarse.resize((side, side)).save(root / name / f"{name}_{number}.tif")
    return root


def named(models, suffix):
    return models / f"detector{suffix}", models / f"segmenter{suffix}"


def without_tensorflow(*arguments):
    return subprocess.run(
        [sys.executable, "-c", WITHOUT, *map(str, arguments)],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )


def options(models):
    detector, segmenter = named(models, ".onnx")
    return "--engine", "onnx", "--detector", detector, "--segmenter", segmenter


def test_without_tensorflow_the_same_is_written_as_with_keras(
    models, cohort, tmp_path, monkeypatch
):
    # The ONNX files compute in float32 everywhere; Keras in bfloat16 where that is faster.
    monkeypatch.setattr("utils.models.precision._multiplies_bfloat16", lambda: False)
    ended = without_tensorflow(cohort, "--out", tmp_path / "onnx", *options(models))
    assert ended.returncode == 0, ended.stderr
    by_onnx = pd.read_csv(tmp_path / "onnx/slices.csv")
    by_keras = pd.read_csv(predict_cohort(cohort, tmp_path / "keras", *named(models, ".keras")))
    assert list(by_onnx.columns) == ["patient", "slice", "p_tumour", "tumour_px"]
    pd.testing.assert_frame_equal(by_onnx, by_keras, rtol=0, atol=1e-4)
    assert (by_keras["tumour_px"] > 0).any()
    assert by_keras["p_tumour"].nunique() > 20
    masks = sorted((tmp_path / "keras/masks").rglob("*.png"))
    assert len(masks) == len(by_keras) == 35
    for mask in masks:
        other = tmp_path / "onnx" / mask.relative_to(tmp_path / "keras")
        np.testing.assert_array_equal(Image.open(mask), Image.open(other))


def told(*arguments):
    with pytest.raises(CourseError) as error:
        predict_cohort(*arguments)
    return str(error.value)


def test_both_engines_refuse_the_same_in_the_same_words(models, cohort, tmp_path):
    for engine in ("keras", "onnx"):
        detector, segmenter = named(models, f".{engine}")
        nowhere = told(tmp_path / "nowhere", tmp_path / "out", detector, segmenter, engine)
        assert str(tmp_path / "nowhere") in nowhere
        exchanged = told(cohort, tmp_path / "out", segmenter, segmenter, engine)
        assert "so it is no detector; give a segmenter as --segmenter" in exchanged
        exchanged = told(cohort, tmp_path / "out", detector, detector, engine)
        assert "draws nothing, so it is no segmenter" in exchanged


def test_files_of_the_other_engine_are_told(models, cohort, tmp_path):
    wrong = told(cohort, tmp_path / "out", *named(models, ".onnx"), "keras")
    assert "an ONNX file (`utils.predict` takes it with --engine onnx)" in wrong
    wrong = told(cohort, tmp_path / "out", *named(models, ".keras"), "onnx")
    assert "`python -m utils.export`, where TensorFlow is installed, makes them" in wrong


def test_where_nothing_is_exported_yet_it_is_told_how(tmp_path, monkeypatch):
    monkeypatch.setattr("utils.models.predict.RUNS", tmp_path)
    with pytest.raises(CourseError, match=r"`python -m utils\.export`") as error:
        default_models("onnx")
    assert "where TensorFlow is installed" in str(error.value)
    (tmp_path / "export").mkdir()
    for name in ("detector.onnx", "segmenter.onnx"):
        (tmp_path / "export" / name).touch()
    assert [file.name for file in default_models("onnx")] == ["detector.onnx", "segmenter.onnx"]


@pytest.mark.long
def test_the_shipped_segmenter_answers_alike_in_both(tmp_path):
    import onnx

    from utils.export.network import onnx_of
    from utils.models.files.onnx_model import OnnxModel
    from utils.models.files.saving import load_model

    model = load_model(config.RESULTS / "lgg/segmenter.keras", "float32")
    onnx.save(onnx_of(model), tmp_path / "segmenter.onnx")
    assert (tmp_path / "segmenter.onnx").stat().st_size < 40e6
    # Grey heads with a brighter round place, of which the network draws some.
    side, channels = model.input_shape[2:]
    y, x = np.mgrid[:side, :side] / side
    pictures = np.zeros((3, side, side, channels), np.float32)
    pictures[:, np.hypot(y - 0.5, x - 0.5) < 0.36] = 85
    for picture, radius in zip(pictures, (0, 0.06, 0.13), strict=True):
        picture[np.hypot(y - 0.42, x - 0.62) < radius] = 170
    by_keras = np.asarray(model.predict_on_batch(pictures))
    by_onnx = OnnxModel(tmp_path / "segmenter.onnx").predict_on_batch(pictures)
    assert by_keras.max() > 0.5
    np.testing.assert_allclose(by_onnx, by_keras, atol=1e-4)
    np.testing.assert_array_equal(by_onnx >= 0.4, by_keras >= 0.4)


def test_a_killed_export_leaves_no_model_beside_the_settings_of_another(tmp_path, monkeypatch):
    from utils.export import files

    target = tmp_path / "segmenter.onnx"
    target.write_bytes(b"the old model")
    target.with_suffix(".json").write_text('{"threshold": 0.5}')

    def killed(*given):
        raise KeyboardInterrupt

    monkeypatch.setattr(files, "onnx_of", lambda model, file: None)
    monkeypatch.setattr(files.onnx, "save", killed)
    model = SimpleNamespace(input_shape=(None, 32, 32, 3))
    with pytest.raises(KeyboardInterrupt):
        files._write(model, tmp_path / "segmenter.keras", target, {"threshold": 0.4})
    assert not target.exists()
