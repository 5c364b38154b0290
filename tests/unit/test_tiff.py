import io

import numpy as np
import pytest
import tifffile
from cohort_files import assert_one_line, mask_of, save
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from utils.config import CourseError
from utils.tiff import read_header, read_mask, read_slice


def noise(side=40):
    return np.random.default_rng(0).integers(0, 256, (side, side + 8, 3), np.uint8)


def encoded(array):
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, array, photometric="rgb", metadata=None)
    return buffer.getvalue()


@pytest.mark.parametrize("compression", [None, "tiff_lzw", "tiff_adobe_deflate", "packbits"])
def test_pixels_survive_every_lossless_compression(tmp_path, compression):
    path = tmp_path / "picture.tif"
    Image.fromarray(noise()).save(path, compression=compression)
    np.testing.assert_array_equal(read_slice(path), noise())
    mask = mask_of(pixels=77)
    Image.fromarray(mask).save(path, compression=compression)
    np.testing.assert_array_equal(read_mask(path), mask // 255)


def test_strips_and_tiles_are_read(tmp_path):
    picture = noise(64)
    save(tmp_path / "strips.tif", picture, rowsperstrip=7)
    save(tmp_path / "tiles.tif", picture, tile=(32, 32))
    np.testing.assert_array_equal(read_slice(tmp_path / "strips.tif"), picture)
    np.testing.assert_array_equal(read_slice(tmp_path / "tiles.tif"), picture)


def test_a_header_costs_no_decoding_but_finds_a_short_file(tmp_path):
    path = tmp_path / "picture.tif"
    save(path, noise())
    header = read_header(path)
    assert header.shape == (40, 48, 3)
    assert header.dtype == np.uint8
    path.write_bytes(path.read_bytes()[:-1])
    assert_one_line([path, "damaged or cut short"], read_header, path)


def test_a_compressed_file_cut_short_is_found(tmp_path):
    path = tmp_path / "picture.tif"
    Image.fromarray(noise()).save(path, compression="tiff_lzw")
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    assert_one_line([path, "damaged or cut short"], read_slice, path)


def test_missing_file_and_several_pictures_in_one(tmp_path):
    assert_one_line(["gone.tif", "is missing"], read_slice, tmp_path / "gone.tif")
    path = tmp_path / "stack.tif"
    tifffile.imwrite(path, np.zeros((5, 40, 40), np.uint8), photometric="minisblack")
    assert_one_line([path, "5 pictures", "file of its own"], read_slice, path)


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(damage=st.lists(st.tuples(st.integers(0, 199), st.integers(0, 255)), min_size=1, max_size=4))
def test_a_damaged_header_gives_pixels_or_one_line_never_another_error(tmp_path, damage):
    data = bytearray(encoded(noise(32)))
    for place, value in damage:
        data[place] = value
    path = tmp_path / "damaged.tif"
    path.write_bytes(data)
    try:
        pixels = read_slice(path)
    except CourseError as error:
        assert "\n" not in str(error)
    else:
        assert pixels.dtype == np.uint8
        assert pixels.shape[2] == 3
