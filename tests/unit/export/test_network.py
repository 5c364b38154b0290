"""Keras networks and the ONNX files that are written of them give the same answers."""

import json
from types import SimpleNamespace

import keras
import numpy as np
import onnx
import pytest
from keras import layers
from tiny_networks import tiny_detector

from utils.config import CourseError, write_json
from utils.evidence import recipes
from utils.export import files
from utils.export.files import export_models
from utils.export.network import onnx_of
from utils.models import resnet50, resunet
from utils.models.files.onnx_model import OnnxModel
from utils.models.files.saving import save_half, save_model

pytest.importorskip("onnxruntime")


def pictures(count, side, channels=3):
    random = np.random.default_rng(0)
    return random.integers(0, 256, (count, side, side, channels)).astype(np.float32)


def answers(model, images, folder):
    """Return what Keras and onnxruntime make of some images."""
    file = folder / "network.onnx"
    onnx.save(onnx_of(model), file)
    return np.asarray(model.predict_on_batch(images)), OnnxModel(file).predict_on_batch(images)


def settle(model):
    """Give a network weights under which no normalisation is the identity."""
    random = np.random.default_rng(1)
    for weight in model.weights:
        values = random.normal(0.1, 0.3, weight.shape)
        weight.assign(np.abs(values) + 0.5 if "variance" in weight.name else values)
    return model


def shared_and_mirrored():
    """A network that is used twice, of a picture and of its mirror image, as the segmenter is."""
    inputs = keras.Input((16, 16, 3))
    convolution = layers.Conv2D(1, 3, padding="same", activation="sigmoid")
    inner = keras.Sequential([layers.Rescaling(1 / 255), convolution])
    mirrored = keras.ops.flip(inner(keras.ops.flip(inputs, axis=2)), axis=2)
    return keras.Model(inputs, layers.Average()([inner(inputs), mirrored]))


def of_two_members():
    """What is shipped: the mean of a network that is given FLAIR and one that is given all."""
    members = [
        recipes.flip_averaged(resnet50.pretrained_unet(32, seed=seed, sequences=sequences))
        for seed, sequences in ((0, 1), (1, 3))
    ]
    return recipes.averaged(members, "all")


LAYERS = {
    "even stride": lambda x: layers.Conv2D(4, 3, strides=2, padding="same")(x),
    "dilated": lambda x: layers.Conv2D(4, 3, dilation_rate=2, padding="same", use_bias=False)(x),
    "transposed": lambda x: layers.Conv2DTranspose(4, 3, strides=2, padding="same")(x),
    "transposed valid": lambda x: layers.Conv2DTranspose(4, 2, strides=2)(x),
    "normalised": lambda x: layers.BatchNormalization()(x),
    "not scaled": lambda x: layers.BatchNormalization(scale=False, center=False)(x),
    "normalised row": lambda x: layers.BatchNormalization()(layers.Flatten()(x)),
    "rescaled": lambda x: layers.Rescaling(1 / 255, offset=[1.0, 2.0, 3.0])(x),
    "rescaled within": lambda x: layers.Rescaling([1.0, 2.0, 3.0])(layers.MaxPooling2D(2)(x)),
    "flipped channels": lambda x: keras.ops.flip(layers.ZeroPadding2D(((1, 2), (3, 0)))(x), -1),
    "average pooled": lambda x: layers.AveragePooling2D(3, strides=2, padding="same")(x),
    "max pooled": lambda x: layers.MaxPooling2D(3, strides=2, padding="same")(x),
    "global average": lambda x: layers.Dense(2)(layers.GlobalAveragePooling2D()(x)),
    "global maximum": lambda x: layers.GlobalMaxPooling2D(keepdims=True)(x),
    "nearest": lambda x: layers.UpSampling2D(2)(x),
    "bilinear": lambda x: layers.UpSampling2D(2, interpolation="bilinear")(x),
    "joined": lambda x: layers.Concatenate()([x, layers.Conv2D(2, 1)(x)]),
    "multiplied": lambda x: layers.Multiply()([x, layers.Conv2D(3, 1)(x)]),
    "leaky": lambda x: layers.Dropout(0.5)(layers.LeakyReLU(0.2)(layers.Conv2D(2, 1)(x))),
    "flattened": lambda x: layers.Dense(2)(layers.Flatten()(layers.Conv2D(2, 3)(x))),
    "split": lambda x: layers.Concatenate()(keras.ops.split(x, 3, axis=-1)[::2]),
    "reshaped": lambda x: keras.ops.transpose(layers.Reshape((13, 39))(x), (0, 2, 1)),
}


@pytest.mark.parametrize("kind", LAYERS)
def test_a_layer_computes_in_onnx_what_it_does_in_keras(kind, tmp_path):
    inputs = keras.Input((13, 13, 3))
    model = settle(keras.Model(inputs, LAYERS[kind](inputs)))
    by_keras, by_onnx = answers(model, pictures(5, 13) / 255, tmp_path)
    assert by_keras.std() > 0.001  # something is compared
    np.testing.assert_allclose(by_onnx, by_keras, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    "network",
    [
        lambda: resunet.resunet(32),
        lambda: resnet50.pretrained_unet(32),
        lambda: resnet50.pretrained_unet(32, sequences=3),
        of_two_members,
        lambda: resnet50.calibrated(tiny_detector()),
        shared_and_mirrored,
    ],
    ids=["resunet", "unet on resnet50", "of three sequences", "of two", "detector", "mirrored"],
)
def test_the_networks_of_the_course_answer_alike_in_batches_of_any_length(network, tmp_path):
    model = network()
    _, side, _, channels = model.input_shape
    by_keras, by_onnx = answers(model, pictures(3, side, channels), tmp_path)
    assert by_onnx.shape == by_keras.shape
    # Logits of untrained networks go into the hundreds, with rounding errors to match.
    np.testing.assert_allclose(by_onnx, by_keras, atol=1e-3)
    np.testing.assert_array_equal(by_onnx >= 0.5, by_keras >= 0.5)


def test_weights_of_16_bits_are_stored_so_and_others_are_not():
    inputs = keras.Input((16, 16, 3))
    outputs = layers.Conv2D(1, 1, name="exact")(layers.Conv2D(64, 5, name="half")(inputs))
    model = keras.Model(inputs, outputs)
    kernel, bias = model.get_layer("half").get_weights()
    model.get_layer("half").set_weights([kernel.astype(np.float16).astype(np.float32), bias])
    kinds = {each.name: each.data_type for each in onnx_of(model).graph.initializer}
    assert kinds["half/kernel/half"] == onnx.TensorProto.FLOAT16
    assert kinds["exact/kernel"] == onnx.TensorProto.FLOAT
    model.get_layer("half").set_weights([kernel * np.float32(1.0001), bias])
    kinds = {each.name: each.data_type for each in onnx_of(model).graph.initializer}
    assert kinds["half/kernel"] == onnx.TensorProto.FLOAT


@pytest.mark.parametrize(
    ("layer", "told"),
    [
        (layers.LayerNormalization(name="odd"), "'odd' is a LayerNormalization"),
        (layers.Conv2D(3, 1, activation="gelu", name="odd"), "with the activation 'gelu'"),
        (layers.ReLU(max_value=6.0, name="odd"), "'odd' is a ReLU with max_value=6.0"),
        (layers.UpSampling2D(2, interpolation="bicubic", name="odd"), "interpolation='bicubic'"),
        (layers.BatchNormalization(axis=1, name="odd"), "with axis=1"),
        (lambda x: keras.ops.split(x, [1], axis=-1)[0], "is a Split with parts of any length"),
    ],
)
def test_a_layer_that_cannot_be_written_is_told(layer, told):
    inputs = keras.Input((8, 8, 3))
    with pytest.raises(CourseError, match=r"^a\.keras: .*cannot be written to ONNX") as error:
        onnx_of(keras.Model(inputs, layer(inputs)), "a.keras")
    assert told in str(error.value)


def test_what_is_exported_has_all_settings_beside_it(tmp_path):
    save_half(resunet.resunet(32), tmp_path / "s.keras")
    save_model(resnet50.calibrated(tiny_detector()), tmp_path / "d.keras")
    write_json(tmp_path / "s.json", {"postprocessing": {"threshold": 0.4}, "frame": "head"})
    write_json(tmp_path / "d.json", {"threshold": 0.3})
    written = list(export_models(tmp_path / "s.keras", tmp_path / "d.keras", tmp_path / "out"))
    assert [file.name for file in written] == ["segmenter.onnx", "detector.onnx"]
    segmenter = json.loads((tmp_path / "out" / "segmenter.json").read_text())
    assert segmenter == {
        "postprocessing": {"threshold": 0.4},
        "channels": "sequences",
        "grey_levels": "head_mean",
        "frame": "head",
        "size": 32,
    }
    detector = json.loads((tmp_path / "out" / "detector.json").read_text())
    assert detector == {"threshold": 0.3, "size": 32}


def test_an_export_leaves_the_settings_of_another_model_in_its_folder_alone(tmp_path, monkeypatch):
    model = SimpleNamespace(input_shape=(None, 32, 32, 3))
    found = SimpleNamespace(segmenter=model, detector=model, detector_settings={"threshold": 0.1})
    monkeypatch.setattr(files, "load_networks", lambda *_, **__: found)
    monkeypatch.setattr(files, "onnx_of", lambda *_: onnx.ModelProto())
    for name, threshold in {"segmenter": 0.9, "new": 0.4}.items():
        (tmp_path / f"{name}.keras").touch()
        write_json(tmp_path / f"{name}.json", {"postprocessing": {"threshold": threshold}})
    old, new = tmp_path / "segmenter.keras", tmp_path / "new.keras"
    with pytest.raises(CourseError, match=r"segmenter\.json, would be replaced by those of new"):
        list(export_models(new, new, tmp_path))
    # segmenter.keras would be used with 0.4 from then on, which was chosen for another network.
    kept = json.loads((tmp_path / "segmenter.json").read_text())
    assert kept == {"postprocessing": {"threshold": 0.9}}
    # Its own settings may be written beside it again: they are the same.
    assert [file.name for file in export_models(old, old, tmp_path)] == [
        "segmenter.onnx", "detector.onnx",
    ]  # fmt: skip
    assert json.loads((tmp_path / "segmenter.json").read_text())["postprocessing"] == {
        "threshold": 0.9
    }
