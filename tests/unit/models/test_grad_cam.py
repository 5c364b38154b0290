"""Grad-CAM on a network whose answer is known, and the share of peaks in the tumour."""

import keras
import numpy as np
import pytest

from utils.config import CourseError
from utils.evaluation import detection
from utils.models.grad_cam import grad_cam, peak_hits, peak_in_mask_share, peaks_in_words


def bright_spot_detector(activation=None, bias=0.0, gain=1.0):
    """Average the picture over 4 x 4 blocks; the answer is the mean of the blocks."""
    images = keras.Input((16, 16, 1))
    blocks = keras.layers.AveragePooling2D(4)(images)
    features = keras.layers.Conv2D(2, 1, use_bias=False, name="features")(blocks)
    pooled = keras.layers.GlobalAveragePooling2D()(features)
    answer = keras.layers.Dense(1, activation=activation)(pooled)
    model = keras.Model(images, answer)
    model.get_layer("features").set_weights([np.array([[[[1.0, -1.0]]]])])
    model.layers[-1].set_weights([np.array([[gain], [0.0]]), np.array([bias])])
    return model


def pictures():
    images = np.zeros((2, 16, 16, 1), np.float32)
    images[0, 4:8, 8:12] = 200  # block (1, 2)
    images[1, 12:16, 0:4] = 100  # block (3, 0)
    return images


@pytest.mark.parametrize("batch_size", [1, 32])
def test_map_lights_up_where_the_features_speak_for_the_answer(batch_size):
    maps = grad_cam(bright_spot_detector(), pictures(), "features", batch_size)
    assert maps.shape == (2, 16, 16)
    assert maps.dtype == np.float32
    assert maps.min() == 0
    assert maps.max(axis=(1, 2)) == pytest.approx([1, 1])
    assert peak_hits(maps, pictures()[..., 0]).all()


def test_map_is_empty_where_the_features_speak_against_it():
    maps = grad_cam(bright_spot_detector(gain=-1.0), pictures(), "features")
    assert not maps.any()


@pytest.mark.parametrize("activation", ["sigmoid", None])
def test_a_sure_answer_has_a_map_too(activation):
    # Sigmoid of 100 is 1 in float32, with gradient 0.
    model = bright_spot_detector(activation, bias=100.0)
    expected = grad_cam(bright_spot_detector(), pictures(), "features")
    assert grad_cam(model, pictures(), "features") == pytest.approx(expected)


def test_no_pictures():
    maps = grad_cam(bright_spot_detector(), np.zeros((0, 16, 16, 1)), "features")
    assert maps.shape == (0, 16, 16)


def test_unknown_layer():
    with pytest.raises(ValueError, match="no layer conv9"):
        grad_cam(bright_spot_detector(), pictures(), "conv9")


def test_share_of_peaks_beside_chance():
    masks = np.zeros((4, 4, 4), np.uint8)
    masks[:3, :2, :2] = 1  # 4 of 16 pixels; the fourth slice has no tumour
    maps = np.zeros((4, 4, 4), np.float32)
    maps[0, 1, 1] = maps[1, 3, 3] = maps[3, 0, 0] = 1  # a hit, a miss, not counted; 2 is flat
    share = peak_in_mask_share(maps, masks)
    assert share == pytest.approx((1 / 3, 4 / 16, 3))
    heads = np.zeros((4, 4, 4), bool)
    heads[:, :, :2] = True
    assert peak_in_mask_share(maps, masks, heads).chance == pytest.approx(4 / 8)


def test_a_map_without_a_peak_is_not_given_one():
    maps, masks = np.zeros((3, 4, 4)), np.zeros((3, 4, 4), np.uint8)
    masks[:, :2, :2] = 1  # the corner where argmax looks first
    maps[1, 1, 0] = maps[2, 3, 2] = 0.4
    assert detection.peaks(maps) == [None, (1, 0), (3, 2)]
    assert detection.peaks(maps + 1) == [None, (1, 0), (3, 2)]
    assert peak_hits(maps, masks).tolist() == [False, True, False]
    assert peaks_in_words(maps, masks) == ["no peak", "peak inside", "peak outside"]
    assert detection.peaks(maps[:0]) == peaks_in_words(maps[:0], masks[:0]) == []


def test_share_needs_tumours():
    with pytest.raises(CourseError, match="no slice with tumour"):
        peak_in_mask_share(np.ones((1, 4, 4)), np.zeros((1, 4, 4)))
