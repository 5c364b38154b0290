"""NIfTI files are read in every form that they come in; what cannot be is told in one line."""

import gzip
import os

import nibabel
import numpy as np
import pytest
from cohort_files import assert_one_line, cut
from nifti_files import affine_of, save

from utils.patient import nifti

VALUES = np.arange(60, dtype=np.uint8).reshape(4, 5, 3)


def test_what_is_written_is_read_again_and_like_values_make_like_files(tmp_path):
    values = np.arange(60, dtype=np.uint8).reshape(4, 5, 3)
    affine = affine_of("PIR", (1.0, 2.0, 3.0))
    first = nifti.write_nifti(tmp_path / "a" / "one.nii.gz", values, affine)
    second = nifti.write_nifti(tmp_path / "two.nii.gz", values, affine)
    found, grid = nifti.read_nifti(first)
    assert np.array_equal(found, values)
    assert np.array_equal(grid.affine, affine)
    assert grid.stated
    assert first.read_bytes() == second.read_bytes()


def test_voxels_that_begin_like_a_packed_file_are_voxels(tmp_path):
    # 1f 8b begins every gzip stream; 35615 is 8b 1f in hexadecimal, written with 1f first.
    values = np.full((4, 5, 3), 35615, np.uint16)
    nibabel.save(nibabel.Nifti1Pair(values, np.eye(4)), tmp_path / "pair.img")
    assert (tmp_path / "pair.img").read_bytes()[:2] == b"\x1f\x8b"
    assert np.array_equal(nifti.read_nifti(tmp_path / "pair.hdr")[0], values)


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
        "first.nii": (np.ones((3, 9, 8, 7), np.uint8), ("channels came first", "(9, 8, 7, 3)")),
        "lead.nii": (np.ones((1, 9, 8, 7), np.uint8), ("channels came first", "(9, 8, 7, 1)")),
        "complex.nii": (np.ones((3, 3, 3), np.complex64), ("complex", "magnitude")),
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


@pytest.mark.parametrize("shape", [(4, 5, 3), (4, 5, 3, 1), (4, 5, 3, 1, 1), (4, 5, 3, 1, 1, 1, 1)])
def test_axes_of_length_1_behind_the_third_are_dropped(tmp_path, shape):
    file = save(tmp_path / "one.nii", VALUES.reshape(shape))
    assert np.array_equal(nifti.read_nifti(file)[0], VALUES)


@pytest.mark.parametrize("shape", [(4, 5, 1, 3), (4, 5, 1, 1, 3), (4, 5, 1, 1, 3, 1)])
def test_three_channels_are_found_on_whatever_axis_behind_the_third(tmp_path, shape):
    file = save(tmp_path / "three.nii", VALUES.reshape(shape))
    found = nifti.read_nifti(file)[0]
    assert np.array_equal(found, VALUES.reshape((4, 5, 1, 3)))


@pytest.mark.parametrize("dtype", ["u1", "i1", "<i2", ">i2", "u2", ">i4", "u4", "i8", "f4", ">f8"])
@pytest.mark.parametrize("name", ["plain.nii", "packed.nii.gz"])
def test_every_type_of_numbers_and_either_byte_order_is_read(tmp_path, dtype, name):
    dtype = np.dtype(dtype)
    header = nibabel.Nifti1Header(endianness=">" if dtype.byteorder == ">" else "<")
    header.set_data_dtype(dtype)
    image = nibabel.Nifti1Image(VALUES.astype(dtype), affine_of(mm=(1, 1, 1)), header)
    nibabel.save(image, tmp_path / name)
    found, grid = nifti.read_nifti(tmp_path / name)
    assert np.array_equal(found, VALUES)
    assert np.array_equal(grid.affine, affine_of(mm=(1, 1, 1)))


def test_slope_and_intercept_are_applied_and_a_slope_of_0_is_none(tmp_path):
    file = save(tmp_path / "a.nii", VALUES.astype(np.int16), scl_slope=0.5, scl_inter=-10)
    assert np.array_equal(nifti.read_nifti(file)[0], VALUES * 0.5 - 10)
    file = save(tmp_path / "b.nii", VALUES.astype(np.int16), scl_slope=0, scl_inter=-10)
    assert np.array_equal(nifti.read_nifti(file)[0], VALUES)


def test_a_name_may_lie_about_the_packing(tmp_path):
    plain = save(tmp_path / "a.nii", VALUES)
    (tmp_path / "b.nii.gz").write_bytes(plain.read_bytes())
    (tmp_path / "c.nii").write_bytes(gzip.compress(plain.read_bytes()))
    for name in ("b.nii.gz", "c.nii"):
        assert np.array_equal(nifti.read_nifti(tmp_path / name)[0], VALUES)


@pytest.mark.parametrize("kind", [nibabel.Nifti1Pair, nibabel.Nifti2Image, nibabel.Nifti2Pair])
def test_pairs_and_nifti_2_are_read_from_either_file(tmp_path, kind):
    names = ("a.hdr", "a.img") if "Pair" in kind.__name__ else ("a.nii",)
    nibabel.save(kind(VALUES, affine_of("PIR", (1.0, 2.0, 3.0))), tmp_path / names[0])
    for name in names:
        found, grid = nifti.read_nifti(tmp_path / name)
        assert np.array_equal(found, VALUES)
        assert nibabel.aff2axcodes(grid.affine) == ("P", "I", "R")
    if len(names) == 2:
        (tmp_path / "a.img").unlink()
        assert_one_line(("a.hdr", "a.img", "beside"), nifti.read_nifti, tmp_path / "a.hdr")


def test_analyze_does_not_say_which_side_is_left(tmp_path):
    nibabel.save(nibabel.AnalyzeImage(VALUES.astype(np.int16), np.eye(4)), tmp_path / "a.img")
    assert_one_line(("a.hdr", "Analyze", "left", "dcm2niix"), nifti.read_nifti, tmp_path / "a.img")


def test_colours_are_told(tmp_path):
    colours = np.zeros((4, 4, 4), [("R", "u1"), ("G", "u1"), ("B", "u1")])
    nibabel.save(nibabel.Nifti1Image(colours, np.eye(4)), tmp_path / "rgb.nii")
    assert_one_line(("rgb.nii", "colours", "sequence"), nifti.read_nifti, tmp_path / "rgb.nii")


@pytest.mark.parametrize(("unit", "factor"), [("mm", 1), ("micron", 1000), ("meter", 0.001),
                                              ("unknown", 1)])  # fmt: skip
def test_units_are_applied_and_a_mask_gets_the_files_own(tmp_path, unit, factor):
    affine = affine_of("PIR", (1.0, 2.0, 3.0))
    affine[:3, 3] = [7, 8, 9]
    scaled = np.diag([factor, factor, factor, 1]) @ affine
    grid = nifti.read_nifti(save(tmp_path / "a.nii", VALUES, scaled, unit))[1]
    assert np.allclose(grid.affine, affine, rtol=1e-6)
    assert grid.voxel_ml == pytest.approx(0.006)
    written = nibabel.load(nifti.write_like(tmp_path / "mask.nii.gz", VALUES, grid))
    assert np.array_equal(written.affine, nibabel.load(tmp_path / "a.nii").affine)
    assert written.header.get_xyzt_units()[0] == unit


def test_a_mask_gets_both_placements_of_the_file(tmp_path):
    image = nibabel.Nifti1Image(VALUES, None)
    image.set_qform(affine_of("RAS", (1.0, 2.0, 3.0)), 1)
    image.set_sform(affine_of("LAS", (1.0, 2.0, 3.0)), 3)
    nibabel.save(image, tmp_path / "a.nii")
    grid = nifti.read_nifti(tmp_path / "a.nii")[1]
    assert nibabel.aff2axcodes(grid.affine) == ("L", "A", "S")  # as nibabel, FSL and ITK 5
    written = nibabel.load(nifti.write_like(tmp_path / "mask.nii.gz", VALUES, grid)).header
    for name in ("qform", "sform"):
        mine, theirs = (getattr(h, f"get_{name}")(coded=True) for h in (written, image.header))
        assert np.allclose(mine[0], theirs[0])
        assert mine[1] == theirs[1]


@pytest.mark.parametrize(("unit", "edge"), [("mm", 937.5), ("micron", 0.9375), ("meter", 0.9375),
                                            ("unknown", 937.5), ("mm", 0.0009)])  # fmt: skip
def test_voxels_that_cannot_be_a_heads_are_told_with_the_unit(tmp_path, unit, edge):
    file = save(tmp_path / "a.nii", VALUES, np.diag([edge, edge, edge, 1]), unit)
    words = ("a.nii", "mm", "no unit" if unit == "unknown" else unit, "header")
    assert_one_line(words, nifti.read_nifti, file)


def test_extents_are_bounded_from_the_header_and_from_the_length_of_the_file(tmp_path):
    zeros = gzip.compress(bytes(2**20))
    for dim, words in {
        (3, 4000, 4, 4): ("4000 x 4 x 4", "2048"),
        (3, 2048, 2048, 2048): ("2048 x 2048 x 2048", "million"),
        # 2**29 bytes, which no gzip stream of 1.4 kB can hold.
        (3, 1024, 1024, 512): ("cut short", "536871264"),
        # 2**20 bytes are there, 51424 fewer than two planes of 550 x 1000.
        (3, 550, 1000, 2): ("cut short", "ends 51424 bytes"),
        # Three more planes than the header says.
        (3, 512, 512, 1): ("holds more", "stated wrongly"),
    }.items():
        header = nibabel.Nifti1Header()
        header["dim"] = [*dim, 1, 1, 1, 1]
        header["datatype"], header["bitpix"] = 2, 8
        header["magic"], header["vox_offset"] = b"n+1", 352
        block = gzip.compress(header.binaryblock + bytes(4), mtime=0)
        (tmp_path / "a.nii.gz").write_bytes(block + zeros)
        assert_one_line(words, nifti.read_nifti, tmp_path / "a.nii.gz")


def test_a_packed_file_that_was_changed_on_its_way_is_noticed(tmp_path):
    values = np.random.default_rng(0).integers(0, 255, (9, 9, 9), dtype=np.uint8)
    content = bytearray(gzip.compress(save(tmp_path / "a.nii", values).read_bytes(), 0))
    content[-300] ^= 1  # one bit of one voxel: only the check sum shows it
    (tmp_path / "b.nii.gz").write_bytes(content)
    assert_one_line(("b.nii.gz", "CRC", "copy it again"), nifti.read_nifti, tmp_path / "b.nii.gz")


def test_what_is_no_regular_file_is_told(tmp_path):
    (tmp_path / "folder.nii").mkdir()
    (tmp_path / "loop.nii").symlink_to(tmp_path / "loop.nii")
    (tmp_path / "nowhere.nii").symlink_to(tmp_path / "gone")
    os.mkfifo(tmp_path / "pipe.nii")
    (tmp_path / "empty.nii").touch()
    for name, words in {
        "folder.nii": ("is a folder",),
        "loop.nii": ("link that leads back",),
        "nowhere.nii": ("a link to a file that is not there",),
        "pipe.nii": ("pipe",),
        "empty.nii": ("is empty",),
        "x" * 300 + ".nii": ("give a shorter one",),
        "a\0b.nii": ("null",),
    }.items():
        assert_one_line(words, nifti.read_nifti, tmp_path / name)
