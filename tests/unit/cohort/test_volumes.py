import tracemalloc

import numpy as np
import pytest
from hypothesis import given, strategies as st
from PIL import Image

from utils.cohort import volumes as volumes_module
from utils.cohort.table import read_cohort
from utils.cohort.volumes import (
    BRAIN_MODE,
    GREY_LEVELS_PER_SD,
    HEAD_MEAN,
    SliceFiles,
    View,
    _percentile,
    arrange_channels,
    flair_of,
    head_pixels,
    load_volumes,
    mode_normalisation,
    normalisation,
    normalise_image,
    normalise_volume,
    read_views,
    read_volume,
    resize_image,
    resize_mask,
)
from utils.config import CourseError


def head_volume(rng, slices=3, side=40, level=100, spread=10):
    volume = np.zeros((slices, side, side, 3), np.uint8)
    head = rng.normal(level, spread, (slices, side - 16, side - 16, 3))
    volume[:, 8:-8, 8:-8] = np.clip(head, 1, 255).astype(np.uint8)
    return volume


def test_the_head_is_found_and_has_mean_96_and_sd_40():
    volume = head_volume(np.random.default_rng(0))
    head = head_pixels(volume)
    assert head[:, 8:-8, 8:-8].all()
    assert head.sum() == 3 * 24 * 24
    normalised = normalise_volume(volume)
    assert normalised.dtype == np.uint8
    for channel in range(3):
        values = normalised[..., channel][head].astype(float)
        assert abs(values.mean() - HEAD_MEAN) < 1
        assert abs(values.std() - GREY_LEVELS_PER_SD) < 1.5


@given(seed=st.integers(0, 2**32 - 1), highest=st.integers(1, 255))
def test_head_is_where_two_channels_exceed_a_tenth_of_their_percentile(seed, highest):
    volume = np.random.default_rng(seed).integers(0, highest + 1, (2, 8, 8, 3), dtype=np.uint8)
    tenth = 0.1 * np.percentile(volume[:, ::2, ::2].astype(float), 99.5, axis=(0, 1, 2))
    assert np.array_equal(head_pixels(volume), (volume > tenth).sum(axis=-1) >= 2)


@given(scale=st.floats(0.6, 1.5), offset=st.integers(0, 20))
def test_normalisation_undoes_the_scale_of_a_scanner(scale, offset):
    volume = head_volume(np.random.default_rng(1))
    head = volume > 0
    rescaled = np.where(head, np.round(volume * scale + offset), 0).astype(np.uint8)
    difference = normalise_volume(volume)[head].astype(int) - normalise_volume(rescaled)[head]
    # Rounding the input to 8 bits is what remains.
    assert np.abs(difference).max() <= 6


def test_a_whole_volume_is_normalised_not_each_slice():
    volume = head_volume(np.random.default_rng(2))
    volume[0] //= 2
    normalised = normalise_volume(volume)
    head = np.s_[8:-8, 8:-8]
    assert normalised[0][head].mean() < normalised[1][head].mean() - 20


def test_a_constant_or_empty_volume_becomes_the_mean():
    assert (normalise_volume(np.full((2, 32, 32, 3), 7, np.uint8)) == HEAD_MEAN).all()
    assert (normalise_volume(np.zeros((2, 32, 32, 3), np.uint8)) == HEAD_MEAN).all()


def test_resizing_averages_and_masks_stay_binary():
    mask = np.zeros((64, 64), np.uint8)
    mask[:32, :32] = 1
    small = resize_mask(mask, (32, 32))
    assert small.dtype == np.uint8
    assert set(np.unique(small)) == {0, 1}
    assert small[:16, :16].all() and small.sum() == 16 * 16
    assert resize_image(mask, (64, 64)) is mask


def write_cohort(root, patients=2, slices=3, side=64):
    rng = np.random.default_rng(0)
    for number in range(patients):
        name = f"SIM_DU_{number:04d}"
        (root / name).mkdir(parents=True)
        for index, image in enumerate(head_volume(rng, slices, side), start=1):
            mask = np.zeros((side, side), np.uint8)
            if index == 2:
                mask[20:40, 20:40] = 255
            Image.fromarray(image).save(root / name / f"{name}_{index}.tif")
            Image.fromarray(mask).save(root / name / f"{name}_{index}_mask.tif")
    return root


def test_loaded_volumes_follow_the_table_and_the_cache_is_used(tmp_path):
    table = read_cohort(write_cohort(tmp_path / "cohort"))
    volumes = load_volumes(table, size=32, cache=tmp_path / "cache")
    assert volumes.images.shape == (6, 32, 32, 3)
    assert volumes.labels.tolist() == [False, True, False] * 2
    assert volumes.masks.sum(axis=(1, 2)).tolist() == [0, 100, 0] * 2
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "cache").rglob("*.npy")}
    again = load_volumes(table, size=32, cache=tmp_path / "cache")
    after = {path: path.stat().st_mtime_ns for path in (tmp_path / "cache").rglob("*.npy")}
    assert before == after and len(before) == 2
    np.testing.assert_array_equal(again.images, volumes.images)
    np.testing.assert_array_equal(load_volumes(table, size=32).images, volumes.images)


def test_rows_in_any_order_come_from_the_cache_as_they_are_read(tmp_path):
    table = read_cohort(write_cohort(tmp_path / "cohort")).sample(frac=1, random_state=0)
    kept = load_volumes(table, size=32, cache=tmp_path / "cache")
    read = load_volumes(table, size=32)
    np.testing.assert_array_equal(kept.images, read.images)
    np.testing.assert_array_equal(kept.masks, read.masks)
    assert kept.masks.dtype == kept.images.dtype == np.uint8


def test_a_cohort_that_is_written_to_the_cache_is_never_in_memory_as_a_whole(tmp_path):
    table = read_cohort(write_cohort(tmp_path / "cohort", patients=12))
    tracemalloc.start()
    volumes = load_volumes(table, size=256, cache=tmp_path / "cache")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    whole = volumes.images.nbytes + volumes.masks.nbytes  # 36 * 256 * 256 * 4 = 9.4 MB
    assert peak < whole / 3


def test_of_keeps_rows_arrays_and_patients_together(tmp_path):
    volumes = load_volumes(read_cohort(write_cohort(tmp_path)), size=32)
    second = volumes.of([volumes.patients[1]])
    assert len(second) == 3
    assert second.patients == ["SIM_DU_0001"]
    np.testing.assert_array_equal(second.images, volumes.images[3:])
    np.testing.assert_array_equal(second.masks, volumes.masks[3:])


def test_too_small_a_size_is_refused(tmp_path):
    table = read_cohort(write_cohort(tmp_path))
    with pytest.raises(CourseError, match="size=16: too small"):
        load_volumes(table, size=16)


def test_neighbours_show_flair_of_three_slices():
    images = np.arange(3 * 3, dtype=np.uint8).reshape(3, 1, 1, 3)
    arranged = arrange_channels(images, "neighbours")
    assert arranged[:, 0, 0].tolist() == [[1, 1, 4], [1, 4, 7], [4, 7, 7]]
    assert arrange_channels(images, "sequences") is images
    with pytest.raises(ValueError, match="channels='both': unknown"):
        arrange_channels(images, "both")


# One slice at a time: the results are those of the whole volume, in a part of its memory


@given(
    values=st.lists(st.integers(0, 255), min_size=1, max_size=80),
    percent=st.sampled_from([0, 0.1, 25, 50, 99.5, 100]),
)
def test_a_percentile_from_counts_is_numpys_to_the_last_bit(values, percent):
    counts = np.bincount(values, minlength=256)
    assert _percentile(counts, percent) == np.percentile(np.array(values, np.uint8), percent)


@given(
    seed=st.integers(0, 10**6), slices=st.integers(1, 4), levels=st.sampled_from([1, 2, 40, 256])
)
def test_normalising_slice_by_slice_is_normalising_the_volume(seed, slices, levels):
    images = np.random.default_rng(seed).integers(0, levels, (slices, 9, 8, 3)).astype(np.uint8)
    # As the definition has it: z-scores over the head, scaled.
    bright = np.percentile(images[:, ::2, ::2], 99.5, axis=(0, 1, 2))
    head = (images > 0.1 * bright).sum(axis=-1) >= 2
    head = head if head.any() else np.ones_like(head)
    expected = np.full(images.shape, float(HEAD_MEAN))
    for channel in range(3):
        inside = images[..., channel][head]
        if inside.std() > 0:
            scores = (images[..., channel] - inside.mean()) / inside.std()
            expected[..., channel] = np.clip(
                np.round(HEAD_MEAN + GREY_LEVELS_PER_SD * scores), 0, 255
            )
    # A z-score on the edge between two grey levels may fall to either side.
    assert np.abs(normalise_volume(images) - expected).max() <= 1
    assert (np.concatenate([normalise_volume(images)]) == expected).mean() > 0.99
    tables = normalisation(iter_again(images))
    one_by_one = np.stack([normalise_image(image, tables) for image in images])
    np.testing.assert_array_equal(one_by_one, normalise_volume(images))


class iter_again:
    """Gives the slices anew each time, as files do."""

    def __init__(self, images):
        self.images = images

    def __iter__(self):
        return (image.copy() for image in self.images)


def test_a_large_patient_is_never_in_memory_as_a_whole(tmp_path, monkeypatch):
    root = write_cohort(tmp_path, patients=1, slices=12, side=512)
    rows = read_cohort(root)
    volume = normalise_volume(read_volume(rows))  # 9.4 MB
    expected = np.stack([resize_image(image, (64, 64)) for image in volume])
    monkeypatch.setattr(volumes_module, "_KEPT_BYTES", 0)
    view = View(64)
    read_views(rows, [view])
    tracemalloc.start()
    prepared = read_views(rows, [view])[view]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert prepared.shape == (512, 512)
    np.testing.assert_array_equal(prepared.images, expected)
    # A slice takes 0.8 MB, and a few of its kind are made of it.
    assert peak < 6_500_000 < volume.nbytes


def test_a_small_patient_is_read_once_and_a_large_one_again(tmp_path, monkeypatch):
    rows = read_cohort(write_cohort(tmp_path, patients=1, slices=3))
    read = []
    monkeypatch.setattr(
        volumes_module, "read_slice", lambda path: read.append(path) or np.zeros((64, 64, 3), "u1")
    )
    slices = SliceFiles(rows["image_path"])
    assert [len(list(slices)) for _ in range(3)] == [3, 3, 3]
    assert len(read) == 3
    monkeypatch.setattr(volumes_module, "_KEPT_BYTES", 3 * 64 * 64 * 3 - 1)
    slices = SliceFiles(rows["image_path"])
    assert [len(list(slices)) for _ in range(2)] == [3, 3]
    assert len(read) == 9


def test_the_brain_gets_its_brightness_however_bright_scalp_and_tumour_are():
    # A brain of 60 in a scalp of 200, 4 pixels thick; a tumour of 120 in a quarter of the brain.
    image = np.zeros((100, 100, 3), np.uint8)
    image[10:90, 10:90] = 200
    image[14:86, 14:86] = 60
    image[14:50, 14:50] = 120
    tables = mode_normalisation([image])
    assert tables[:, 60].tolist() == [BRAIN_MODE] * 3
    assert tables[:, 120].tolist() == [2 * BRAIN_MODE] * 3
    assert tables[:, 0].tolist() == [0] * 3
    assert tables[:, 200].tolist() == [255] * 3  # 200 / 60 * 85 = 283


@pytest.mark.parametrize("black", [0, 2])
def test_a_black_sequence_changes_nothing_in_the_others(black):
    # The same brain in all: where two of the three are bright, any two are.
    image = np.zeros((100, 100, 3), np.uint8)
    image[10:90, 10:90] = 200
    image[14:86, 14:86] = 60
    image[14:50, 14:50] = 120
    expected = mode_normalisation([image])
    image[..., black] = 0
    found = mode_normalisation([image])
    assert not found[black].any()
    others = [channel for channel in range(3) if channel != black]
    np.testing.assert_array_equal(found[others], expected[others])


@given(st.floats(0.5, 1.5))
def test_a_brighter_patient_looks_the_same(gain):
    rng = np.random.default_rng(0)
    image = np.zeros((80, 80, 3), np.float64)
    image[8:72, 8:72] = rng.normal(100, 3, (64, 64, 1))
    image[30:40, 30:40] *= 1.5
    shown = [
        normalise_image(one, mode_normalisation([one]))
        for one in ((image * factor).round().astype(np.uint8) for factor in (1, gain))
    ]
    difference = np.abs(shown[0].astype(int) - shown[1])
    # The mode of noise is known to a few levels of a hundred.
    assert difference.max() <= 0.1 * BRAIN_MODE


def test_without_a_brain_grey_levels_follow_mean_and_deviation():
    image = np.zeros((40, 40, 3), np.uint8)
    np.testing.assert_array_equal(mode_normalisation([image]), normalisation([image]))


def test_cut_to_the_head_pictures_and_masks_are_of_the_same_square(tmp_path):
    table = read_cohort(write_cohort(tmp_path / "cohort"))
    # A head of 48 pixels: the square has 48 / 0.96 = 50, from row and column 7.
    for _ in range(2):  # computed, then from the cache
        volumes = load_volumes(table, size=100, cache=tmp_path / "cache", frame="head")
        assert volumes.squares == dict.fromkeys(volumes.patients, (7, 7, 50))
        # Of 20 x 20 pixels of the mask, each is shown twice as large.
        assert volumes.masks.sum(axis=(1, 2)).tolist() == [0, 40 * 40, 0] * 2
    whole = load_volumes(table, size=40)
    assert whole.squares is None
    assert load_volumes(table, size=32, cache=tmp_path / "cache").squares is None


def test_all_channels_are_three_slices_of_each_sequence():
    images = np.arange(9, dtype=np.uint8).reshape(3, 1, 1, 3)  # 0 1 2, 3 4 5, 6 7 8
    arranged = arrange_channels(images, "all")
    assert arranged[1].ravel().tolist() == [0, 3, 6, 1, 4, 7, 2, 5, 8]
    assert arranged[0].ravel().tolist() == [0, 0, 3, 1, 1, 4, 2, 2, 5]
    np.testing.assert_array_equal(arranged[..., 3:6], arrange_channels(images, "neighbours"))
    for channels in ("sequences", "neighbours", "all"):
        shown = flair_of(arrange_channels(images, channels))
        np.testing.assert_array_equal(shown, images[..., 1])
