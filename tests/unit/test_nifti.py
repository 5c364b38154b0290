"""NIfTI volumes come to the cohort's view and back; what cannot be read is told in one line."""

import itertools

import nibabel
import numpy as np
import pytest
from cohort_files import assert_one_line, cut
from hypothesis import given, settings
from hypothesis import strategies as st

from utils import nifti
from utils.nifti import Grid

ORIENTATIONS = [
    "".join(axes[place] for axes, place in zip(("RL", "AP", "SI"), flips, strict=True))
    for flips in itertools.product((0, 1), repeat=3)
]


def grid_of(codes="RAS", shape=(4, 5, 3), mm=(1.0, 1.0, 1.0)):
    """Return a grid whose axes point as the letters say, the millimetres per axis of the file."""
    turned = nibabel.orientations.axcodes2ornt(codes)
    affine = np.zeros((4, 4))
    for axis, (target, sign) in enumerate(turned):
        affine[int(target), axis] = sign * mm[axis]
    affine[3, 3] = 1
    return Grid(shape, affine)


def save(path, values, affine=None):
    nibabel.save(nibabel.Nifti1Image(values, np.eye(4) if affine is None else affine), path)
    return path


def test_a_slice_shows_the_brow_at_the_top_and_the_right_side_on_the_left():
    values = np.zeros((4, 5, 3), np.uint8)
    values[3, 4, 2] = 9  # RAS: rightmost, foremost, topmost
    slices = nifti.to_slices(values, grid_of("RAS"))
    assert slices.shape == (3, 5, 4)
    assert np.argwhere(slices).tolist() == [[2, 0, 0]]


def test_lps_is_the_cohorts_view_transposed():
    values = np.arange(60, dtype=np.uint8).reshape(4, 5, 3)
    assert np.array_equal(nifti.to_slices(values, grid_of("LPS")), values.T)


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
@pytest.mark.parametrize("codes", ORIENTATIONS)
def test_every_orientation_is_undone(codes, order):
    grid = grid_of("".join(codes[place] for place in order), shape=(4, 5, 3))
    values = np.arange(60).reshape(4, 5, 3)
    slices = nifti.to_slices(values, grid)
    assert np.array_equal(nifti.from_slices(slices, grid), values)


def test_voxel_sizes_are_those_of_the_head_not_of_the_file():
    grid = grid_of("SRA", mm=(6.0, 0.5, 2.0))
    assert grid.voxel_mm == (0.5, 2.0, 6.0)
    assert grid.voxel_ml == pytest.approx(0.006)


@given(height=st.integers(1, 40), width=st.integers(1, 40), to=st.tuples(*[st.integers(1, 40)] * 2))
@settings(max_examples=60)
def test_padding_and_cropping_are_undone_where_nothing_was_cropped(height, width, to):
    slices = np.ones((1, height, width), np.uint8)
    there = nifti.centred(slices, to)
    assert there.shape == (1, *to)
    back = nifti.centred(there, (height, width))
    assert back.sum() == min(height, to[0]) * min(width, to[1])


def test_pixels_of_the_cohorts_size_are_left_alone_and_others_resampled():
    exact = grid_of("LPS", shape=(256, 256, 1), mm=(nifti.PIXEL_MM,) * 3)
    slices = np.random.default_rng(0).integers(0, 255, (1, 256, 256), dtype=np.uint8)
    assert np.array_equal(nifti.to_frame(slices, exact), slices)
    # 120 voxels of 2 mm fill 240 mm, the whole frame; back again, a square keeps its size.
    coarse = grid_of("LPS", shape=(120, 120, 1), mm=(2.0, 2.0, 5.0))
    mask = np.zeros((1, 120, 120), np.uint8)
    mask[0, 30:60, 40:80] = 1
    framed = (nifti.to_frame(mask * np.uint8(255), coarse) >= 128).astype(np.uint8)
    assert framed.shape == (1, 256, 256)
    assert framed.sum() == pytest.approx(30 * 40 * (256 / 120) ** 2, rel=0.02)
    assert np.array_equal(nifti.from_frame(framed, coarse), mask)


def test_one_wild_voxel_does_not_set_the_scale():
    values = np.tile(np.linspace(0, 1000, 10_000, dtype=np.float32), 2)
    values[0] = 1e7
    scaled = nifti.robust_8_bit(values)
    assert scaled.dtype == np.uint8
    assert float(scaled[10_000 + 5000]) == pytest.approx(127, abs=2)
    assert (scaled[0], scaled[1], scaled[9_999]) == (255, 0, 255)


@pytest.mark.parametrize("value", [0, -3, 1e6])
def test_a_constant_volume_becomes_black(value):
    assert not nifti.robust_8_bit(np.full((3, 3, 3), value)).any()


@given(st.floats(0.01, 1e4), st.floats(-1e3, 1e3))
@settings(max_examples=30)
def test_the_scale_of_the_scanner_does_not_matter(gain, offset):
    values = np.random.default_rng(1).normal(size=500)
    difference = nifti.robust_8_bit(gain * values + offset).astype(int) - nifti.robust_8_bit(values)
    assert np.abs(difference).max() <= 1


def test_what_is_written_is_read_again_and_like_values_make_like_files(tmp_path):
    values = np.arange(60, dtype=np.uint8).reshape(4, 5, 3)
    affine = grid_of("PIR", mm=(1.0, 2.0, 3.0)).affine
    first = nifti.write_nifti(tmp_path / "a" / "one.nii.gz", values, affine)
    second = nifti.write_nifti(tmp_path / "two.nii.gz", values, affine)
    found, grid = nifti.read_nifti(first)
    assert np.array_equal(found, values)
    assert np.array_equal(grid.affine, affine)
    assert grid.stated
    assert first.read_bytes() == second.read_bytes()


def test_a_header_without_orientation_is_noticed(tmp_path):
    image = nibabel.Nifti1Image(np.ones((3, 3, 3), np.uint8), None)
    nibabel.save(image, tmp_path / "plain.nii")
    assert not nifti.read_nifti(tmp_path / "plain.nii")[1].stated


def test_a_fourth_axis_of_one_volume_is_dropped(tmp_path):
    file = save(tmp_path / "one.nii", np.ones((3, 4, 5, 1), np.uint8))
    assert nifti.read_nifti(file)[0].shape == (3, 4, 5)


def test_unusable_files_are_told_in_one_line(tmp_path):
    nan = np.zeros((3, 3, 3), np.float32)
    nan[0, 0, :2] = [np.nan, np.inf]
    cases = {
        "nan.nii": (nan, ("nan.nii", "2 voxels are no number", "replace")),
        "flat.nii": (np.ones((3, 3), np.uint8), ("flat.nii", "2 dimensions", "export")),
        "five.nii": (np.ones((2, 2, 2, 2, 2), np.uint8), ("five.nii", "5 dimensions", "export")),
        "none.nii": (np.zeros((0, 3, 3), np.uint8), ("none.nii", "no voxels", "export")),
    }
    for name, (values, words) in cases.items():
        assert_one_line(words, nifti.read_nifti, save(tmp_path / name, values))
    image = nibabel.Nifti1Image(np.ones((3, 3, 3), np.uint8), np.eye(4))
    image.header["srow_z"] = 0  # all slices at one height
    image.header["sform_code"] = 2
    file = tmp_path / "place.nii"
    file.write_bytes(image.header.binaryblock + bytes(4) + bytes(27))
    assert_one_line(("place.nii", "affine"), nifti.read_nifti, file)


def test_missing_foreign_and_damaged_files_are_told_in_one_line(tmp_path):
    assert_one_line(("gone.nii", "no such file"), nifti.read_nifti, tmp_path / "gone.nii")
    text = tmp_path / "text.nii"
    text.write_text("no picture at all")
    assert_one_line(("text.nii", "not a NIfTI", "dcm2niix"), nifti.read_nifti, text)
    for name, length in (("short.nii.gz", 600), ("short.nii", 500)):
        values = np.random.default_rng(0).integers(0, 255, (9, 9, 9), dtype=np.uint8)
        file = save(tmp_path / name, values)
        cut(file, length)
        assert_one_line((name, "copy it again"), nifti.read_nifti, file)
