"""What batches hold, that it follows from seed and epoch, and that masks move with pictures."""

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from keras import ops

from utils.config import CourseError
from utils.models import batches

LABELS = np.arange(30) % 3 == 0


def cohort(count=12, size=16):
    """Return pictures whose first pixel is their number, and masks of the bright FLAIR pixels."""
    random = np.random.default_rng(0)
    images = random.integers(1, 100, (count, size, size, 3)).astype("uint8")
    images[::2, 4:10, 5:9, 1] = 200
    masks = (images[..., 1] > 150).astype("uint8")
    images[:, 0, 0, 0] = np.arange(count)
    return images, masks


def identity(count):
    """Return parameters that change nothing."""
    return {
        "transform": np.tile(np.float32([1, 0, 0, 0, 1, 0]), (count, 1)),
        "gain": np.ones((count, 3), "float32"),
        "gamma": np.ones((count, 3), "float32"),
        "flair": np.zeros((count, 3), "float32"),
    }


@given(
    count=st.integers(1, 50),
    batch_size=st.integers(1, 8),
    steps=st.integers(1, 9),
    seed=st.integers(0, 2**31),
)
@settings(max_examples=50)
def test_no_slice_comes_again_before_all_have_come(count, batch_size, steps, seed):
    epochs = [
        batches.epoch_plan(count, batch_size, steps, seed=seed, epoch=epoch) for epoch in range(3)
    ]
    assert all(plan.shape == (steps, batch_size) for plan in epochs)
    seen = np.bincount(np.concatenate(epochs).ravel(), minlength=count)
    assert seen.max() - seen.min() <= 1
    again = batches.epoch_plan(count, batch_size, steps, seed=seed, epoch=2)
    np.testing.assert_array_equal(again, epochs[2])


def test_plan_depends_on_seed_and_epoch():
    plans = [
        batches.epoch_plan(30, 5, 6, seed=seed, epoch=epoch).tolist()
        for seed in (0, 1)
        for epoch in (0, 1)
    ]
    assert len({str(plan) for plan in plans}) == 4


def test_every_batch_has_its_share_of_tumour():
    plan = batches.epoch_plan(30, 8, 20, seed=0, epoch=0, tumour=LABELS, tumour_share=0.5)
    assert (LABELS[plan].sum(axis=1) == 4).all()
    assert set(plan.ravel()) == set(range(30))


def test_share_that_cannot_be_had_is_refused():
    with pytest.raises(CourseError, match=r"no slices to draw 4 of 8 in a batch from"):
        batches.epoch_plan(30, 8, 2, seed=0, epoch=0, tumour=np.zeros(30), tumour_share=0.5)


def test_parameters_follow_from_seed_and_epoch_and_stay_within_their_strength():
    first = batches.draw_parameters(200, seed=3, epoch=1)
    again = batches.draw_parameters(200, seed=3, epoch=1)
    other = batches.draw_parameters(200, seed=3, epoch=2)
    for name, values in first.items():
        np.testing.assert_array_equal(values, again[name])
        assert not np.array_equal(values, other[name])
    strength = batches.Strength()
    assert np.abs(np.log(first["gamma"])).max() <= strength.gamma + 1e-6
    assert np.abs(np.log(first["gain"])).max() <= strength.gain + 1e-6
    assert first["flair"][:, 1].sum() == 0
    assert first["flair"].sum(axis=1).max() == 1


def test_nothing_changes_without_strength_but_the_mirror():
    none = batches.Strength(rotation=0, scale=0, shift=0, gain=0, gamma=0, drop=0)
    parameters = batches.draw_parameters(20, seed=0, epoch=0, strength=none)
    mirror = parameters["transform"][:, 0]
    assert set(mirror) == {-1.0, 1.0}
    images, masks = cohort(20)
    moved, moved_masks = batches.augment(images, masks[..., None], parameters)
    expected = np.where((mirror < 0)[:, None, None, None], images[:, :, ::-1], images)
    np.testing.assert_allclose(ops.convert_to_numpy(moved), expected, atol=1e-2)
    expected = np.where((mirror < 0)[:, None, None], masks[:, :, ::-1], masks)
    np.testing.assert_array_equal(ops.convert_to_numpy(moved_masks)[..., 0], expected)


def test_shift_moves_by_that_share_of_the_side():
    images, masks = cohort(1)
    parameters = identity(1)
    parameters["transform"][:, 2] = 0.25
    moved, moved_masks = batches.augment(images, masks[..., None], parameters)
    np.testing.assert_allclose(ops.convert_to_numpy(moved)[0, :, :12], images[0, :, 4:], atol=1e-3)
    assert (ops.convert_to_numpy(moved)[0, :, 12:] == 0).all()
    np.testing.assert_array_equal(ops.convert_to_numpy(moved_masks)[0, :, :12, 0], masks[0, :, 4:])


def test_gamma_gain_and_dropped_channel_by_hand():
    images = np.full((1, 2, 2, 3), 51, "uint8")
    images[0, 0, 0] = 0
    parameters = identity(1)
    parameters["gamma"][0] = (1, 2, 1)
    parameters["gain"][0] = (1, 1, 10)
    moved, masks = batches.augment(images, None, parameters)
    assert masks is None
    np.testing.assert_allclose(ops.convert_to_numpy(moved)[0, 1, 1], [51, 10.2, 255], rtol=1e-4)
    np.testing.assert_array_equal(ops.convert_to_numpy(moved)[0, 0, 0], 0)
    parameters["flair"][0, 2] = 1
    moved, _ = batches.augment(images, None, parameters)
    np.testing.assert_allclose(ops.convert_to_numpy(moved)[0, 1, 1], [51, 10.2, 10.2], rtol=1e-4)


def test_three_channels_of_a_sequence_get_what_is_drawn_for_it():
    images = np.full((1, 2, 2, 9), 51, "uint8")
    parameters = identity(1)
    parameters["gain"][0] = (1, 2, 3)
    moved, _ = batches.augment(images, None, parameters)
    expected = [51] * 3 + [102] * 3 + [153] * 3
    np.testing.assert_allclose(ops.convert_to_numpy(moved)[0, 1, 1], expected, rtol=1e-4)
    parameters["flair"][0, 0] = 1
    moved, _ = batches.augment(images, None, parameters)
    expected = [102] * 6 + [153] * 3
    np.testing.assert_allclose(ops.convert_to_numpy(moved)[0, 1, 1], expected, rtol=1e-4)


def test_shading_is_smooth_and_as_strong_as_drawn():
    strength = batches.Strength(
        rotation=0, scale=0, shift=0, gain=0, gamma=0, drop=0, field=np.log(1.5)
    )
    parameters = batches.draw_parameters(40, seed=0, epoch=0, strength=strength)
    shaded = np.abs(parameters["field"]).max(axis=(1, 2)) > 0
    assert 0.3 < shaded.mean() < 0.7  # half of 120 sequences
    images = np.full((40, 32, 32, 9), 100, "uint8")
    factor = ops.convert_to_numpy(batches.augment(images, None, parameters)[0]) / 100
    # A cubic through values between 1 / 1.5 and 1.5 may leave them a little.
    assert factor.min() > 0.5 and factor.max() < 2
    np.testing.assert_allclose(factor[..., 0], factor[..., 2], rtol=1e-5)  # one sequence
    assert np.abs(np.diff(factor, axis=1)).max() < 0.25
    np.testing.assert_allclose(factor[..., 0][~shaded[:, 0]], 1, rtol=1e-4)


def test_a_cyst_darkens_a_part_of_the_tumour_and_nothing_else():
    strength = batches.Strength(rotation=0, scale=0, shift=0, gain=0, gamma=0, drop=0, cysts=1.0)
    parameters = batches.draw_parameters(20, seed=0, epoch=0, strength=strength)
    images = np.full((20, 64, 64, 3), 100, "uint8")
    masks = np.zeros((20, 64, 64, 1), "uint8")
    masks[:19, 20:44, 12:52] = 1  # the last one shows no tumour
    moved, moved_masks = (
        ops.convert_to_numpy(one) for one in batches.augment(images, masks, parameters)
    )
    np.testing.assert_array_equal(moved_masks, masks)  # the mirror leaves these as they are
    np.testing.assert_allclose(moved[masks[..., 0] == 0], 100, rtol=1e-3)
    darkest = moved[:19].min(axis=(1, 2, 3))
    # At its centre a cyst is 0.3 to 0.8 darker.
    np.testing.assert_allclose(darkest, 100 * (1 - parameters["cyst"][:19, 0]), rtol=0.03)
    dark = (moved[:19, ..., 0] < 90).sum(axis=(1, 2)) / (24 * 40)
    assert dark.min() > 0.03 and dark.max() < 0.9


def test_cysts_come_as_often_as_is_said():
    drawn = batches.draw_parameters(400, seed=0, epoch=0, strength=batches.Strength(cysts=0.5))
    assert 0.4 < (drawn["cyst"][:, 0] > 0).mean() < 0.6
    assert "cyst" not in batches.draw_parameters(4, seed=0, epoch=0, strength=batches.Strength())


@given(seed=st.integers(0, 1000))
@settings(max_examples=10)
def test_picture_and_mask_move_together(seed):
    """A mask that marks the bright square still marks it after any movement."""
    size = 64
    masks = np.zeros((4, size, size), "uint8")
    masks[:, 20:44, 24:40] = 1
    images = np.repeat(masks[..., None] * 200, 3, axis=-1).astype("uint8")
    still = batches.Strength(gain=0, gamma=0, drop=0)
    parameters = batches.draw_parameters(4, seed=seed, epoch=0, strength=still)
    moved, moved_masks = batches.augment(images, masks[..., None], parameters)
    bright = ops.convert_to_numpy(moved)[..., 1] > 100
    marked = ops.convert_to_numpy(moved_masks)[..., 0]
    assert set(np.unique(marked)) <= {0.0, 1.0}
    marked = marked.astype(bool)
    overlap = 2 * (bright & marked).sum() / (bright.sum() + marked.sum())
    assert overlap > 0.98
    assert not np.array_equal(marked, masks.astype(bool))


def feed(targets, first_epoch=0, **options):
    images, _ = cohort()
    plan = batches.BatchPlan(epochs=3, batch_size=4, steps_per_epoch=2, seed=5, **options)
    dataset, steps = batches.training_batches(images, targets, plan, first_epoch)
    parts = [(ops.convert_to_numpy(x), ops.convert_to_numpy(y)) for x, y in dataset]
    return parts, steps


def test_batches_of_masks():
    images, masks = cohort()
    parts, steps = feed(masks, strength=None, tumour_share=0.25)
    assert steps == 2
    assert len(parts) == 6
    for pictures, targets in parts:
        numbers = pictures[:, 0, 0, 0].astype(int)
        assert pictures.dtype == targets.dtype == np.float32
        np.testing.assert_array_equal(pictures, images[numbers])
        np.testing.assert_array_equal(targets[..., 0], masks[numbers])
        assert (targets.max(axis=(1, 2, 3)) > 0).sum() == 1


def test_batches_of_labels():
    parts, _ = feed(cohort()[1].any(axis=(1, 2)))
    for pictures, targets in parts:
        assert targets.shape == (4, 1)
        assert pictures.shape == (4, 16, 16, 3)
        assert 0 <= pictures.min() <= pictures.max() <= 255


def test_features_keep_their_values():
    features = np.random.default_rng(0).normal(size=(6, 2, 2, 5)).astype("float16")
    dataset, _ = batches.training_batches(
        features, np.ones(6), batches.BatchPlan(epochs=1, batch_size=6, strength=None)
    )
    ((fed, _),) = list(dataset)
    np.testing.assert_allclose(
        np.sort(ops.convert_to_numpy(fed), axis=None), np.sort(features, axis=None)
    )


def test_a_resumed_feed_goes_on_with_the_same_batches():
    masks = cohort()[1]
    whole, _ = feed(masks, tumour_share=0.5)
    rest, _ = feed(masks, tumour_share=0.5, first_epoch=1)
    assert len(rest) == 4
    for (pictures, targets), (wanted_pictures, wanted_targets) in zip(rest, whole[2:], strict=True):
        np.testing.assert_array_equal(pictures, wanted_pictures)
        np.testing.assert_array_equal(targets, wanted_targets)


def test_default_steps_use_every_slice_about_once():
    images, masks = cohort(13)
    _, steps = batches.training_batches(images, masks, batches.BatchPlan(epochs=1, batch_size=4))
    assert steps == 3
