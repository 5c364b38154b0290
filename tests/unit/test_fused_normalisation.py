"""Batch normalisation in one operation gives what Keras's own gives."""

import os
import subprocess
import sys

import keras
import numpy as np
import pytest
from keras import layers

from utils.config import ROOT

CLASS = layers.BatchNormalization


@pytest.fixture
def both_ways():
    """Return what runs a function twice: with Keras's own normalisation, and in one operation."""
    fused = CLASS.call

    def run(function):
        CLASS.call = fused.unfused
        try:
            own = function()
        finally:
            CLASS.call = fused
        return own, function()

    return run


def pictures(dtype="float32", shape=(3, 4, 4, 5)):
    return np.random.default_rng(0).normal(2, 3, shape).astype(dtype)


def normalised(layer, x, training):
    """Return the outputs and the moving statistics after one batch."""
    outputs = layer(x, training=training)
    statistics = [weight.numpy() for weight in layer.non_trainable_weights]
    return keras.ops.convert_to_numpy(outputs), *statistics


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("options", [{}, {"scale": False}, {"center": False}, {"momentum": 0.5}])
def test_outputs_and_moving_statistics_are_those_of_keras(both_ways, training, options):
    def once():
        return normalised(CLASS(**options), pictures(), training)

    own, fused = both_ways(once)
    for first, second in zip(own, fused, strict=True):
        np.testing.assert_allclose(second, first, rtol=1e-5, atol=1e-5)


def test_the_variance_is_divided_by_the_count_and_not_by_one_less(both_ways):
    # 1, 3 -> mean 2, variance ((1 - 2)**2 + (3 - 2)**2) / 2 = 1; the moving one, of momentum 0.
    x = np.array([1.0, 3.0], "float32").reshape(2, 1, 1, 1)
    layer = CLASS(momentum=0.0)
    _, mean, variance = normalised(layer, x, training=True)
    assert mean.tolist() == [2.0]
    np.testing.assert_allclose(variance, [1.0], rtol=1e-6)


def test_one_value_a_channel_has_no_variance(both_ways):
    own, fused = both_ways(lambda: normalised(CLASS(), pictures(shape=(1, 1, 1, 2)), True))
    for first, second in zip(own, fused, strict=True):
        np.testing.assert_allclose(second, first, atol=1e-5)


def test_a_frozen_layer_uses_its_moving_statistics_in_training_too(both_ways):
    layer = CLASS()
    layer.trainable = False
    outputs = layer(pictures(), training=True)
    assert layer.moving_mean.numpy().tolist() == [0] * 5
    assert layer.moving_variance.numpy().tolist() == [1] * 5
    np.testing.assert_allclose(outputs, pictures() / np.sqrt(1 + layer.epsilon), rtol=1e-5)


def test_bfloat16_goes_in_and_comes_out(both_ways):
    layer = CLASS(dtype="mixed_bfloat16")

    def once():
        outputs = layer(keras.ops.cast(pictures(), "bfloat16"), training=False)
        assert keras.backend.standardize_dtype(outputs.dtype) == "bfloat16"
        return keras.ops.convert_to_numpy(keras.ops.cast(outputs, "float32"))

    own, fused = both_ways(once)
    np.testing.assert_allclose(fused, own, rtol=2**-7)  # bfloat16 has 8 binary digits


@pytest.mark.parametrize(
    ("options", "shape"),
    [({}, (4, 6)), ({"axis": 1}, (3, 4, 4, 5)), ({"renorm": True}, (3, 4, 4, 5))],
)
def test_what_the_operation_cannot_do_is_left_to_keras(both_ways, options, shape):
    own, fused = both_ways(lambda: normalised(CLASS(**options), pictures(shape=shape), True))
    for first, second in zip(own, fused, strict=True):
        np.testing.assert_array_equal(second, first)


def test_training_steps_give_the_same_losses_and_weights(both_ways):
    x = pictures(shape=(4, 8, 8, 3))
    y = (x.sum(axis=(1, 2, 3)) > 384).astype("float32")  # 192 numbers of mean 2

    def train():
        keras.utils.set_random_seed(0)
        model = keras.Sequential(
            [
                layers.Input((8, 8, 3)),
                layers.Conv2D(4, 3, use_bias=False),
                CLASS(momentum=0.9),
                layers.Activation("relu"),
                layers.GlobalAveragePooling2D(),
                layers.Dense(1),
            ]
        )
        model.compile(keras.optimizers.SGD(0.1), keras.losses.BinaryCrossentropy(from_logits=True))
        return [float(model.train_on_batch(x, y)) for _ in range(3)], model.get_weights()

    (own_losses, own), (fused_losses, fused) = both_ways(train)
    np.testing.assert_allclose(fused_losses, own_losses, rtol=1e-5)
    assert own_losses[0] != own_losses[-1]
    for first, second in zip(own, fused, strict=True):
        np.testing.assert_allclose(second, first, rtol=1e-4, atol=1e-5)


@pytest.mark.long
@pytest.mark.parametrize("imports", ["import utils, keras", "import keras, utils"])
@pytest.mark.parametrize(
    ("setting", "backend", "expected"),
    [(None, "tensorflow", "True"), ("0", "tensorflow", "False"), (None, "jax", "False")],
)
def test_the_users_word_and_the_backend_count(imports, setting, backend, expected):
    environment = os.environ | {"KERAS_BACKEND": backend}
    environment.pop("FUSED_NORMALISATION", None)
    if setting is not None:
        environment["FUSED_NORMALISATION"] = setting
    code = f"{imports}; print(hasattr(keras.layers.BatchNormalization.call, 'unfused'))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == expected
