"""Losses for masks: values worked out by hand, edge cases, two backends."""

import json
import os
import subprocess
import sys

import keras
import numpy as np
import pytest
from keras import ops

from utils.config import ROOT
from utils.models import losses

# Two pictures of four pixels. First: TP = 1.5, FN = 0.5, FP = 0.25. Second: an empty mask, FP = 1.
TRUTH = np.array([[1, 1, 0, 0], [0, 0, 0, 0]], dtype="float32").reshape(2, 2, 2, 1)
PREDICTION = np.array([[1, 0.5, 0.25, 0], [0.5, 0.5, 0, 0]], dtype="float32").reshape(2, 2, 2, 1)


def numpy(tensor):
    return ops.convert_to_numpy(tensor)


def test_tversky_index_by_hand():
    index = losses.tversky_index(TRUTH, PREDICTION, fn_weight=0.7, fp_weight=0.3, smooth=1.0)
    first = 2.5 / (2.5 + 0.7 * 0.5 + 0.3 * 0.25)
    np.testing.assert_allclose(numpy(index), [first, 1 / 1.3], rtol=1e-6)


def test_one_weight_is_of_missed_tumour_and_the_other_of_false_alarms():
    mask = np.zeros((1, 4, 4, 1), "float32")
    mask[0, :2, :2] = 1
    missed, invented = mask.copy(), mask.copy()
    missed[0, 0, 0] = 0
    invented[0, 3, 3] = 1
    score = {
        name: float(numpy(losses.tversky_index(mask, p, fn_weight=0.7, fp_weight=0.3))[0])
        for name, p in (("missed", missed), ("invented", invented))
    }
    assert score["missed"] == pytest.approx(4 / 4.7)
    assert score["invented"] == pytest.approx(5 / 5.3)


def test_soft_dice_is_dice():
    dice = losses.soft_dice(TRUTH, PREDICTION, smooth=1e-7)
    # 2 * 1.5 / (2 + 1.75), and nothing in common with an empty mask.
    np.testing.assert_allclose(numpy(dice), [0.8, 0.0], atol=1e-6)


def test_focal_tversky_by_hand():
    loss = losses.FocalTversky(fn_weight=0.5, fp_weight=0.5, exponent=2.0, smooth=1.0)
    first, second = 1 - 2.5 / 2.875, 1 - 1 / 1.5
    assert float(loss(TRUTH, PREDICTION)) == pytest.approx((first**2 + second**2) / 2, rel=1e-5)


def test_dice_cross_entropy_by_hand():
    loss = losses.DiceCrossEntropy(entropy_weight=2.0, smooth=1.0)
    first = -(np.log(0.5) + np.log(0.75)) / 4
    second = -2 * np.log(0.5) / 4
    expected = [1 - 2.5 / 2.875 + 2 * first, 1 - 1 / 1.5 + 2 * second]
    np.testing.assert_allclose(numpy(loss.call(TRUTH, PREDICTION)), expected, rtol=1e-5)


@pytest.mark.parametrize("loss", [losses.FocalTversky(), losses.DiceCrossEntropy()])
def test_one_value_an_image_whatever_is_beside_it(loss):
    together = numpy(loss.call(TRUTH, PREDICTION))
    alone = [numpy(loss.call(TRUTH[i : i + 1], PREDICTION[i : i + 1]))[0] for i in range(2)]
    np.testing.assert_allclose(together, alone, rtol=1e-6)


def test_empty_mask_predicted_empty_is_perfect():
    empty = np.zeros((1, 8, 8, 1), "float32")
    assert float(numpy(losses.tversky_index(empty, empty))[0]) == 1.0
    assert float(losses.FocalTversky()(empty, empty)) == pytest.approx(0, abs=1e-6)
    assert float(losses.DiceCrossEntropy()(empty, empty)) == pytest.approx(0, abs=1e-5)


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="gradients by TensorFlow")
@pytest.mark.parametrize("exponent", [0.75, 1.0, 4 / 3])
@pytest.mark.parametrize("truth", [0.0, 1.0])
@pytest.mark.parametrize("predicted", [0.0, 1.0])
def test_gradients_are_finite_at_the_extremes(exponent, truth, predicted):
    import tensorflow as tf

    mask = np.full((1, 4, 4, 1), truth, "float32")
    for loss in (losses.FocalTversky(exponent=exponent), losses.DiceCrossEntropy()):
        prediction = tf.Variable(np.full((1, 4, 4, 1), predicted, "float32"))
        with tf.GradientTape() as tape:
            value = loss(mask, prediction)
        assert np.isfinite(numpy(tape.gradient(value, prediction))).all()


def test_exponent_above_one_weighs_hard_images_more():
    mask = np.zeros((1, 10, 10, 1), "float32")
    mask[0, :5] = 1
    easy, hard = 0.95 * mask, 0.2 * mask

    def ratio(exponent):
        loss = losses.FocalTversky(exponent=exponent)
        return float(loss(mask, hard)) / float(loss(mask, easy))

    assert ratio(4 / 3) > ratio(1.0) > ratio(0.75)


@pytest.mark.parametrize(
    "thing",
    [
        losses.FocalTversky(fn_weight=0.6, fp_weight=0.4, exponent=2.0, smooth=3.0),
        losses.DiceCrossEntropy(entropy_weight=0.5, smooth=2.0),
    ],
)
def test_serialised_and_back_without_custom_objects(thing):
    saved = json.loads(json.dumps(keras.saving.serialize_keras_object(thing)))
    again = keras.saving.deserialize_keras_object(saved)
    assert type(again) is type(thing)
    assert again.get_config() == thing.get_config()
    assert float(again(TRUTH, PREDICTION)) == pytest.approx(float(thing(TRUTH, PREDICTION)))


LOSSES_BY_BACKEND = """
import json, numpy as np
from keras import ops
from utils.models import losses
random = np.random.default_rng(0)
truth = (random.random((3, 8, 8, 1)) > 0.7).astype("float32")
prediction = random.random((3, 8, 8, 1)).astype("float32")
truth[2] = 0
kinds = (losses.FocalTversky(), losses.DiceCrossEntropy(), losses.FocalTversky(exponent=0.75))
values = [ops.convert_to_numpy(kind.call(truth, prediction)).tolist() for kind in kinds]
"""


@pytest.mark.long
@pytest.mark.skipif(keras.backend.backend() == "jax", reason="compares another backend with JAX")
def test_same_values_with_jax():
    done = subprocess.run(
        [sys.executable, "-c", LOSSES_BY_BACKEND + "print(json.dumps(values))"],
        cwd=ROOT,
        env={**os.environ, "KERAS_BACKEND": "jax"},
        capture_output=True,
        text=True,
        check=True,
    )
    here = {}
    exec(LOSSES_BY_BACKEND, here)
    np.testing.assert_allclose(json.loads(done.stdout), here["values"], rtol=1e-5)
