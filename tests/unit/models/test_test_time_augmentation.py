"""Members of a test-time augmentation: moved there and back, and compared."""

import numpy as np
import pytest
from hypothesis import given, strategies as st

from utils.evaluation import agreement
from utils.models import test_time_augmentation as unc
from utils.models.files.settings import Postprocessing
from utils.models.test_time_augmentation import VIEWS, View

PLAIN = Postprocessing(0.5)


class Thresholding:
    """A model that takes the grey level of FLAIR for a probability."""

    def predict_on_batch(self, batch):
        return batch[..., 1:2].astype(np.float32) / 255


def pictures(slices=3, size=16):
    """Return pictures whose outer pixels are 0, so that small shifts lose nothing."""
    images = np.zeros((slices, size, size, 3), np.uint8)
    inner = np.random.default_rng(0).integers(1, 255, (slices, size - 8, size - 8, 3))
    images[:, 4:-4, 4:-4] = inner
    return images


@pytest.mark.parametrize("view", [view for view in VIEWS if view.gain == 1.0], ids=lambda v: v.name)
def test_moving_a_picture_and_its_map_back_changes_nothing(view):
    images = pictures()
    assert np.array_equal(view.undo(view.apply(images)[..., 1]), images[..., 1])


def test_a_shift_is_down_and_to_the_right():
    image = np.zeros((1, 4, 4, 1), np.uint8)
    image[0, 1, 1] = 7
    assert np.argwhere(unc.shift_slices(image, (2, 1))).tolist() == [[0, 3, 2, 0]]
    assert np.argwhere(unc.shift_slices(image, (-1, 0))).tolist() == [[0, 0, 1, 0]]
    assert not unc.shift_slices(image, (0, 3)).any()


@given(st.integers(-4, 4), st.integers(-4, 4), st.booleans())
def test_undo_brings_every_kept_pixel_home(down, right, mirror):
    view = View("any", mirror, (down, right))
    images = pictures(1)
    assert np.array_equal(view.undo(view.apply(images)[..., 0]), images[..., 0])


def test_contrast_turns_about_the_mean_of_the_head_and_leaves_the_background():
    images = np.array([0, 96, 136, 255], np.uint8).reshape(1, 2, 2, 1)
    assert View("", gain=0.5).apply(images).ravel().tolist() == [0, 96, 116, 176]
    assert View("", gain=2.0).apply(images).ravel().tolist() == [0, 96, 176, 255]


def test_members_of_a_model_without_sense_of_place_differ_by_contrast_only():
    images = pictures()
    maps = unc.predict_views(Thresholding(), images)
    assert maps.shape == (len(VIEWS), 3, 16, 16)
    expected = images[..., 1] / 255
    for view, member in zip(VIEWS, maps, strict=True):
        if view.gain == 1.0:
            assert np.allclose(member, expected, atol=1e-3)
    assert np.abs(maps[4] - maps[0]).max() > 0.05


def test_spread_is_the_mean_and_deviation_over_members():
    maps = np.zeros((2, 1, 2, 2))
    maps[:, 0, 0, 0] = [0.2, 0.8]
    maps[:, 0, 1, 1] = [0.9, 0.9]
    found = unc.spread(maps, PLAIN)
    assert found.mean[0] == pytest.approx(np.array([[0.5, 0], [0, 0.9]]))
    assert found.deviation[0] == pytest.approx(np.array([[0.3, 0], [0, 0]]), abs=1e-6)
    assert found.masks[:, 0].tolist() == [[[0, 0], [0, 1]], [[1, 0], [0, 1]]]


def test_dice_of_each_pair_by_hand():
    masks = np.array([[1, 1, 0, 0], [1, 0, 0, 0], [0, 0, 1, 0]], np.uint8)
    expected = [[1, 2 / 3, 0], [2 / 3, 1, 0], [0, 0, 1]]
    assert agreement.pairwise_dice(masks) == pytest.approx(np.array(expected))
    assert agreement.agreement(masks) == pytest.approx(2 / 9)


def test_empty_masks_agree_with_each_other_only():
    masks = np.array([[0, 0], [0, 0], [1, 0]])
    assert agreement.agreement(masks) == pytest.approx(1 / 3)


def test_volume_in_millilitres():
    assert agreement.volume_ml(np.ones((10, 10, 10)), (1, 1, 1)) == pytest.approx(1.0)
    assert agreement.volume_ml(np.eye(2) * 255, (0.5, 2, 6)) == pytest.approx(0.012)


def test_reliability_counts_the_pixels_of_each_bin():
    maps = np.array([0.0, 0.3, 0.35, 0.7, 0.99])
    truths = np.array([1, 0, 1, 1, 1])
    table = agreement.pixel_reliability(maps, truths, edges=(0.2, 0.5, 0.6, 0.9))
    assert table["pixels"].tolist() == [2, 0, 1]
    assert table["observed"].tolist() == pytest.approx([0.5, np.nan, 1.0], nan_ok=True)
    assert table["predicted"][0] == pytest.approx(0.325)
