"""Volumes of any axis order come to axial slices in the cohort's frame, and back."""

import itertools

import nibabel
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from nifti_files import affine_of

from utils.patient import axial
from utils.patient.axial import Grid

ORIENTATIONS = [
    "".join(axes[place] for axes, place in zip(("RL", "AP", "SI"), flips, strict=True))
    for flips in itertools.product((0, 1), repeat=3)
]


def grid_of(codes="RAS", shape=(4, 5, 3), mm=(1.0, 1.0, 1.0)):
    """Return a grid whose axes point as the letters say, the millimetres per axis of the file."""
    return Grid(shape, affine_of(codes, mm))


def test_a_slice_shows_the_brow_at_the_top_and_the_right_side_on_the_left():
    values = np.zeros((4, 5, 3), np.uint8)
    values[3, 4, 2] = 9  # RAS: rightmost, foremost, topmost
    slices = axial.to_slices(values, grid_of("RAS"))
    assert slices.shape == (3, 5, 4)
    assert np.argwhere(slices).tolist() == [[2, 0, 0]]


def test_lps_is_the_cohorts_view_transposed():
    values = np.arange(60, dtype=np.uint8).reshape(4, 5, 3)
    assert np.array_equal(axial.to_slices(values, grid_of("LPS")), values.T)


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
@pytest.mark.parametrize("codes", ORIENTATIONS)
def test_every_orientation_is_undone(codes, order):
    grid = grid_of("".join(codes[place] for place in order), shape=(4, 5, 3))
    values = np.arange(60).reshape(4, 5, 3)
    slices = axial.to_slices(values, grid)
    assert np.array_equal(axial.from_slices(slices, grid), values)


def test_voxel_sizes_are_those_of_the_head_not_of_the_file():
    grid = grid_of("SRA", mm=(6.0, 0.5, 2.0))
    assert grid.voxel_mm == (0.5, 2.0, 6.0)
    assert grid.voxel_ml == pytest.approx(0.006)


@given(height=st.integers(1, 40), width=st.integers(1, 40), to=st.tuples(*[st.integers(1, 40)] * 2))
@settings(max_examples=60)
def test_padding_and_cropping_are_undone_where_nothing_was_cropped(height, width, to):
    slices = np.ones((1, height, width), np.uint8)
    there = axial.centred(slices, to)
    assert there.shape == (1, *to)
    back = axial.centred(there, (height, width))
    assert back.sum() == min(height, to[0]) * min(width, to[1])


def test_pixels_of_the_cohorts_size_are_left_alone_and_others_resampled():
    exact = grid_of("LPS", shape=(256, 256, 1), mm=(axial.PIXEL_MM,) * 3)
    slices = np.random.default_rng(0).integers(0, 255, (1, 256, 256), dtype=np.uint8)
    assert np.array_equal(axial.to_frame(slices, exact), slices)
    # 120 voxels of 2 mm fill 240 mm, the whole frame; back again, a square keeps its size.
    coarse = grid_of("LPS", shape=(120, 120, 1), mm=(2.0, 2.0, 5.0))
    mask = np.zeros((1, 120, 120), np.uint8)
    mask[0, 30:60, 40:80] = 1
    framed = (axial.to_frame(mask * np.uint8(255), coarse) >= 128).astype(np.uint8)
    assert framed.shape == (1, 256, 256)
    assert framed.sum() == pytest.approx(30 * 40 * (256 / 120) ** 2, rel=0.02)
    assert np.array_equal(axial.from_frame(framed, coarse), mask)


def turned(grid, codes):
    """Return the same voxels with the axes in another order."""
    start = grid.axes
    change = nibabel.orientations.ornt_transform(start, nibabel.orientations.axcodes2ornt(codes))
    shape = np.empty(3, int)
    shape[change[:, 0].astype(int)] = grid.shape
    back = nibabel.orientations.inv_ornt_aff(change, grid.shape)
    return Grid(tuple(int(length) for length in shape), grid.affine @ back)


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
@pytest.mark.parametrize("codes", ORIENTATIONS)
def test_two_files_with_the_same_voxels_give_the_same_slices(codes, order):
    tilt = np.eye(4)
    angle = np.radians(44)  # so far that the axes of the head are hardly those of the file
    tilt[1:3, 1:3] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    flair = Grid((4, 5, 3), tilt @ grid_of("LPS", mm=(1.0, 2.0, 6.0)).affine)
    other = turned(flair, "".join(codes[place] for place in order))
    values = np.arange(60).reshape(4, 5, 3)
    change = nibabel.orientations.ornt_transform(flair.axes, other.axes)
    stored = nibabel.orientations.apply_orientation(values, change)
    axes = axial.axes_like(other, flair)
    assert np.array_equal(axial.to_slices(stored, other, axes), axial.to_slices(values, flair))


def test_other_voxels_are_not_the_same_grid():
    flair = grid_of("LPS", shape=(4, 5, 3), mm=(1.0, 1.0, 6.0))
    moved, half, coarser = (flair.affine.copy() for _ in range(3))
    moved[0, 3] += 1.0  # by one voxel: as many voxels, but not the same
    half[2, 3] += 3.0
    coarser[0, 0] *= 1.001  # 3 voxels further on: 0.003 mm, which is rounding
    assert axial.axes_like(Grid((4, 5, 3), moved), flair) is None
    assert axial.axes_like(Grid((4, 5, 3), half), flair) is None
    assert axial.axes_like(Grid((4, 5, 2), flair.affine), flair) is None
    assert axial.axes_like(Grid((4, 5, 3), coarser), flair) is not None
    coarser[0, 0] *= 1.1  # 0.3 mm
    assert axial.axes_like(Grid((4, 5, 3), coarser), flair) is None


@given(start=st.tuples(*[st.integers(-30, 30)] * 2), size=st.tuples(*[st.integers(1, 30)] * 2))
def test_a_window_is_undone_where_nothing_was_cropped(start, size):
    slices = np.random.default_rng(0).integers(1, 9, (1, 20, 25), dtype=np.uint8)
    there = axial.window(slices, start, size)
    assert there.shape == (1, *size)
    back = axial.window(there, (-start[0], -start[1]), (20, 25))
    kept = back > 0
    assert np.array_equal(back[kept], slices[kept])
    rows = max(0, min(start[0] + size[0], 20) - max(start[0], 0))
    columns = max(0, min(start[1] + size[1], 25) - max(start[1], 0))
    assert kept.sum() == rows * columns


def test_a_frame_that_lies_elsewhere_is_undone_too():
    grid = grid_of("LPS", shape=(400, 300, 1), mm=(axial.PIXEL_MM,) * 3)
    mask = np.zeros((1, 300, 400), np.uint8)
    mask[0, 200:220, 350:380] = 1
    framed = axial.to_frame(mask, grid, (40, 140))
    assert np.argwhere(framed[0])[0].tolist() == [160, 210]
    assert np.array_equal(axial.from_frame(framed, grid, (40, 140)), mask)
    # About the middle, columns 72 to 327 are kept: the mask is not among them.
    assert not axial.to_frame(mask, grid).any()
