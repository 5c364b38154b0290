"""Pictures and volumes of other people's tests, each read as it is and saved again compressed.

`tiff_corpus.csv` lists the TIFFs under 400 kB in Pillow's source distribution, with their checksum
and what is to become of them. They are no part of its wheel: to run them, download it and name
the folder,

    pip download --no-deps --no-binary :all: pillow==13.0.0 -d FOLDER
    TIFF_CORPUS=FOLDER pytest tests/unit/cohort/test_corpus.py

What is always run are the files that are installed with nibabel, nilearn and scikit-image, and
pictures of every kind that Pillow and tifffile write, made here.
"""

import csv
import hashlib
import os
import tarfile
from importlib.resources import files
from itertools import product
from pathlib import Path

import nibabel
import numpy as np
import pytest
import tifffile
from PIL import Image

from utils.cohort.tiff import read_mask, read_slice
from utils.config import CourseError
from utils.patient.nifti import read_nifti

CORPUS = os.environ.get("TIFF_CORPUS", "")
LISTED = Path(__file__).with_name("tiff_corpus.csv")
SIDE = 48
# Pillow's modes, and what it makes of a TIFF's tags for them.
MODES = ["1", "L", "LA", "P", "I;16", "I", "F", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr", "LAB"]
TYPES = [np.uint8, np.int8, np.uint16, np.int16, np.float32, bool]


def outcome(read, path):
    """Return the array that is read, or the line that refuses, without the file's name."""
    try:
        return read(path)
    except CourseError as error:
        message = str(error)
        assert "\n" not in message
        assert message.startswith(f"{path}: "), message
        return message.removeprefix(f"{path}: ")


def assert_same(first, second):
    if isinstance(first, str) or isinstance(second, str):
        assert first == second
    else:
        np.testing.assert_array_equal(first, second)


def overwrite(path, **tags):
    with tifffile.TiffFile(path, mode="r+") as tif:
        for name, value in tags.items():
            tif.pages[0].tags[name].overwrite(value)


@pytest.mark.parametrize("orientation", [1, 2, 6, 7])
@pytest.mark.parametrize("mode", MODES)
def test_what_pillow_writes_means_the_same_raw_and_compressed(tmp_path, mode, orientation):
    rng = np.random.default_rng(0)
    channels = {"RGBA": 4, "CMYK": 4, "RGBX": 4, "RGB": 3, "YCbCr": 3, "LAB": 3, "LA": 2}.get(mode)
    if channels:
        pixels = rng.integers(0, 256, (SIDE, SIDE + 2, channels), np.uint8)
        picture = Image.fromarray(pixels, mode if mode in ("CMYK", "YCbCr", "LAB") else None)
        picture = Image.merge("RGBX", picture.split()) if mode == "RGBX" else picture
    else:
        grey = Image.fromarray(rng.integers(0, 2, (SIDE, SIDE + 2), np.uint8) * np.uint8(255))
        picture = grey if mode == "L" else Image.new("I;16", grey.size, 700)
        picture = grey.convert(mode) if mode not in ("L", "I;16") else picture
    assert picture.mode == mode
    found = []
    for compression in (None, "tiff_lzw", "tiff_adobe_deflate", "packbits"):
        path = tmp_path / f"{compression}.tif"
        picture.save(path, compression=compression, tiffinfo={274: orientation})
        found.append([outcome(read_slice, path), outcome(read_mask, path)])
        if mode == "L":
            overwrite(path, PhotometricInterpretation=0)
            found[-1].append(outcome(read_mask, path))
    for others in found[1:]:
        for first, second in zip(found[0], others, strict=True):
            assert_same(first, second)
    if mode == "RGB":
        assert found[0][0].shape[:2] == (SIDE, SIDE + 2)[:: -1 if orientation > 4 else 1]
    if mode == "L":
        np.testing.assert_array_equal(found[0][1], 1 - found[0][2])
    if mode not in ("RGB", "L"):
        assert all(isinstance(each, str) for each in found[0])


@pytest.mark.parametrize(
    ("photometric", "planar"),
    list(product(["minisblack", "miniswhite", "rgb"], ["contig", "separate"])),
)
@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("samples", [1, 2, 3, 4])
def test_what_tifffile_writes_means_the_same_raw_and_compressed(
    tmp_path, photometric, planar, dtype, samples
):
    if photometric == "rgb" and samples < 3:
        pytest.skip("RGB has three samples")
    if dtype is bool and (photometric == "rgb" or samples > 1):
        pytest.skip("tifffile writes one bit for one sample only")
    pixels = np.random.default_rng(0).integers(0, 2, (SIDE, SIDE + 2, samples)) * 255
    stored = np.moveaxis(pixels, -1, 0) if planar == "separate" else pixels
    stored = (stored[0] if planar == "separate" else stored[..., 0]) if samples == 1 else stored
    options = {"planarconfig": planar} if samples > 1 else {}
    found = []
    for tile, compression in product((None, (32, 16)), (None, "zlib")):
        path = tmp_path / f"{tile}-{compression}.tif"
        tifffile.imwrite(path, stored.astype(dtype), photometric=photometric, tile=tile,
                         compression=compression, metadata=None, **options)  # fmt: skip
        found.append([outcome(read_slice, path), outcome(read_mask, path)])
    for others in found[1:]:
        for first, second in zip(found[0], others, strict=True):
            assert_same(first, second)
    is_slice = dtype is np.uint8 and samples == 3 and photometric != "miniswhite"
    is_mask = dtype is np.uint8 and samples == 1
    assert isinstance(found[0][0], str) is not is_slice
    assert isinstance(found[0][1], str) is not is_mask
    if is_slice:
        np.testing.assert_array_equal(found[0][0], pixels)
    if is_mask:
        white = photometric == "miniswhite"
        np.testing.assert_array_equal(found[0][1], (pixels[..., 0] == (0 if white else 255)))


@pytest.mark.parametrize("name", ["multipage.tif", "multipage_rgb.tif"])
def test_scikit_images_stacks_are_refused_as_several_pictures(name):
    path = files("skimage") / "data" / name
    assert "pictures, one is expected" in outcome(read_slice, path)


VOLUMES = {
    "anatomical.nii": True,
    "example4d.nii.gz": True,
    "example_nifti2.nii.gz": True,
    "functional.nii": True,
    "reoriented_anat_moved.nii": True,
    "resampled_anat_moved.nii": False,  # has voxels that are no number
    "row_major.dconn.nii": False,  # is a matrix of connections
    "standard.nii.gz": True,
}


@pytest.mark.parametrize("name", VOLUMES)
def test_nibabels_volumes_are_the_same_raw_and_compressed(tmp_path, name):
    original = files("nibabel") / "tests" / "data" / name
    image = nibabel.load(original)
    first = outcome(read_nifti, original)
    assert isinstance(first, str) is not VOLUMES[name]
    # CIFTI, a matrix in the clothes of a volume, is never compressed.
    for suffix in (".nii",) if "dconn" in name else (".nii", ".nii.gz"):
        path = tmp_path / f"again{suffix}"
        nibabel.save(image, path)
        second = outcome(read_nifti, path)
        if isinstance(first, str):
            assert first == second
        else:
            np.testing.assert_array_equal(first[0], second[0])
            np.testing.assert_allclose(first[1].affine, second[1].affine)
            assert first[1].shape == second[1].shape


def listed():
    with LISTED.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def distributions():
    """Return name -> bytes of the pictures in the source distributions in TIFF_CORPUS."""
    found = {}
    for archive in sorted(Path(CORPUS).glob("*.tar.gz")):
        with tarfile.open(archive) as source:
            for member in source:
                if member.isfile() and member.name.lower().endswith((".tif", ".tiff")):
                    found[member.name] = source.extractfile(member).read()
    return found


@pytest.mark.skipif(not CORPUS, reason="set TIFF_CORPUS to a folder with Pillow's sdist")
@pytest.mark.parametrize("row", listed(), ids=lambda row: Path(row["file"]).name)
def test_pillows_own_pictures(tmp_path, distributions, row, capfd):
    data = distributions[row["file"]]
    assert hashlib.sha256(data).hexdigest().startswith(row["sha256"])
    path = tmp_path / "original.tif"
    path.write_bytes(data)
    found = outcome(read_slice, path)
    assert capfd.readouterr() == ("", "")
    if isinstance(found, str):
        assert found.split(";")[0] == row["outcome"]
        return
    assert row["outcome"] == "read"
    # One tag has a type that libtiff refuses and that changes nothing: the picture is the other's.
    named = row["file"].replace("tiled_jpeg_oob_read", "tiled_ycbcr_jpeg_2x2_sampling")
    (tmp_path / "reference.tif").write_bytes(distributions[named])
    with Image.open(tmp_path / "reference.tif") as picture:
        np.testing.assert_array_equal(found, np.asarray(picture.convert("RGB")))
    for compression in (None, "tiff_lzw"):
        Image.fromarray(found).save(tmp_path / "again.tif", compression=compression)
        np.testing.assert_array_equal(read_slice(tmp_path / "again.tif"), found)


def test_the_list_names_what_is_read_and_what_is_not():
    outcomes = [row["outcome"] for row in listed()]
    assert outcomes.count("read") >= 24
    assert len(outcomes) >= 90
    assert all(outcomes)
