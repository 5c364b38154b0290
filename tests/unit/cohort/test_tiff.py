import io
import os
import tracemalloc

import numpy as np
import pytest
import tifffile
from cohort_files import assert_one_line, mask_of, picture, save
from hypothesis import HealthCheck, given, settings, strategies as st
from PIL import Image

from utils.cohort import tiff_tags as tags
from utils.cohort.tiff import check_slice, read_header, read_mask, read_slice
from utils.config import CourseError

LOSSLESS = [None, "tiff_lzw", "tiff_adobe_deflate", "tiff_deflate", "packbits", "lzma", "zstd"]


def noise(side=40):
    return np.random.default_rng(0).integers(0, 256, (side, side + 8, 3), np.uint8)


def encoded(array):
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, array, photometric="rgb", metadata=None)
    return buffer.getvalue()


def write_tags(path, pixels, **changed):
    """Write a TIFF of one uncompressed strip; `changed` by the names of `tags`, None leaves out."""
    shape = pixels.shape
    samples = shape[2] if pixels.ndim == 3 else 1
    own = {
        "WIDTH": shape[1], "HEIGHT": shape[0], "BITS": (8 * pixels.itemsize,) * samples,
        "COMPRESSION": 1, "PHOTOMETRIC": 2 if samples == 3 else 1, "STRIP_OFFSETS": 8,
        "SAMPLES": samples, "ROWS_PER_STRIP": shape[0], "STRIP_BYTES": pixels.nbytes,
    } | changed  # fmt: skip
    own = {getattr(tags, name): value for name, value in own.items() if value is not None}
    path.write_bytes(tags.canonical(b"\0" * 8 + pixels.tobytes(), own))
    return path


@pytest.mark.parametrize("compression", LOSSLESS)
def test_pixels_survive_every_lossless_compression(tmp_path, compression):
    path = tmp_path / "picture.tif"
    Image.fromarray(noise()).save(path, compression=compression)
    np.testing.assert_array_equal(read_slice(path), noise())
    mask = mask_of(pixels=77)
    Image.fromarray(mask).save(path, compression=compression)
    np.testing.assert_array_equal(read_mask(path), mask // 255)


def test_jpeg_is_read_within_a_few_grey_levels(tmp_path):
    y, x = np.mgrid[:64, :64]
    smooth = np.stack([2 * x, 3 * y, x + y], axis=-1).astype(np.uint8)
    for mode, photometric in (("RGB", 2), ("YCbCr", 6)):
        path = tmp_path / f"{mode}.tif"
        Image.fromarray(smooth).convert(mode).save(path, compression="jpeg", quality=98)
        assert read_header(path).photometric == photometric
        assert np.abs(read_slice(path).astype(int) - smooth).max() <= 8


# What the orientation tag says, as NumPy turns arrays (TIFF 6.0, page 36).
UPRIGHT = {
    1: lambda stored: stored,
    2: np.fliplr,
    3: lambda stored: np.rot90(stored, 2),
    4: np.flipud,
    5: lambda stored: np.swapaxes(stored, 0, 1),
    6: lambda stored: np.rot90(stored, -1),
    7: lambda stored: np.swapaxes(np.rot90(stored, 2), 0, 1),
    8: lambda stored: np.rot90(stored, 1),
}


@pytest.mark.parametrize("compression", LOSSLESS)
@pytest.mark.parametrize("orientation", UPRIGHT)
def test_the_orientation_tag_is_honoured_whatever_the_compression(
    tmp_path, orientation, compression
):
    path, stored = tmp_path / "a.tif", noise()
    Image.fromarray(stored).save(path, compression=compression, tiffinfo={274: orientation})
    upright = UPRIGHT[orientation](stored)
    np.testing.assert_array_equal(read_slice(path), upright)
    assert read_header(path).shape == upright.shape
    mask = np.zeros((40, 48), np.uint8)
    mask[:3, :7] = 255
    Image.fromarray(mask).save(path, compression=compression, tiffinfo={274: orientation})
    upright = UPRIGHT[orientation](mask) // 255
    np.testing.assert_array_equal(read_mask(path, upright.shape), upright)


@pytest.mark.parametrize(("extra", "is_read"), [((0, 0), True), ((0, 2), False), ((1, 0), False)])
@pytest.mark.parametrize("photometric", [1, 2])
def test_an_alpha_channel_is_no_post_contrast(tmp_path, photometric, extra, is_read):
    path = write_tags(tmp_path / "a.tif", noise(), PHOTOMETRIC=photometric, EXTRA_SAMPLES=extra)
    if is_read:
        np.testing.assert_array_equal(read_slice(path), noise())
    else:
        assert_one_line([path, "alpha channel among its three", "plain RGB"], read_slice, path)


def test_a_description_may_be_of_any_length(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", noise(), photometric="rgb", metadata=None,
                     description="x" * 250_000)  # fmt: skip
    np.testing.assert_array_equal(read_slice(tmp_path / "a.tif"), noise())


def test_orientation_2_exchanges_left_and_right(tmp_path):
    pixels = np.zeros((32, 32, 3), np.uint8)
    pixels[:, 0] = 200  # the file's first column
    read = read_slice(write_tags(tmp_path / "a.tif", pixels, ORIENTATION=2))
    assert (read[:, 31] == 200).all()
    assert (read[:, :31] == 0).all()


@pytest.mark.parametrize("compression", LOSSLESS)
def test_a_mask_in_which_white_is_zero_is_read_as_every_viewer_shows_it(tmp_path, compression):
    path, mask = tmp_path / "a_mask.tif", mask_of(pixels=10)
    Image.fromarray(255 - mask).save(path, compression=compression)
    with tifffile.TiffFile(path, mode="r+") as tif:
        tif.pages[0].tags[262].overwrite(0)
    assert read_mask(path).sum() == 10
    np.testing.assert_array_equal(read_mask(path), mask // 255)


@given(
    height=st.integers(32, 50),
    width=st.integers(32, 50),
    rows=st.integers(1, 80),
    order=st.sampled_from("<>"),
    bigtiff=st.booleans(),
    planar=st.booleans(),
    tile=st.sampled_from([None, (16, 16), (32, 48), (64, 16), (128, 128)]),
    compression=st.sampled_from([None, "zlib", "lzma"]),
    predictor=st.booleans(),
)
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_pixels_are_the_same_in_every_layout(
    tmp_path, height, width, rows, order, bigtiff, planar, tile, compression, predictor
):
    pixels = np.random.default_rng(height + 100 * width).integers(
        0, 256, (height, width, 3), np.uint8
    )
    options = {"byteorder": order, "bigtiff": bigtiff, "metadata": None}
    options |= {"tile": tile} if tile else {"rowsperstrip": rows}
    if compression:
        options |= {"compression": compression, "predictor": predictor}
    path = tmp_path / "picture.tif"
    if planar:
        options |= {"planarconfig": "separate"}
    stored = np.moveaxis(pixels, -1, 0) if planar else pixels
    tifffile.imwrite(path, stored, photometric="rgb", **options)
    np.testing.assert_array_equal(read_slice(path), pixels)
    mask = (pixels[..., 0] > 128) * np.uint8(255)
    options.pop("planarconfig", None)
    tifffile.imwrite(path, mask, photometric="minisblack", **options)
    np.testing.assert_array_equal(read_mask(path), mask // 255)


def test_three_grey_samples_are_three_channels(tmp_path):
    pixels = noise()
    for place, planar in enumerate(("contig", "separate")):
        path = tmp_path / f"{place}.tif"
        stored = pixels if planar == "contig" else np.moveaxis(pixels, -1, 0)
        tifffile.imwrite(path, stored, photometric="minisblack", planarconfig=planar)
        np.testing.assert_array_equal(read_slice(path), pixels)


def test_what_stands_beside_the_pixels_changes_nothing(tmp_path):
    path = tmp_path / "a.tif"
    thumbnail = np.zeros((40, 40, 3), np.uint8)
    with tifffile.TiffWriter(path) as tif:
        tif.write(noise(), photometric="rgb", subifds=1, description="ImageJ? no")
        tif.write(thumbnail, photometric="rgb", subfiletype=1)
    np.testing.assert_array_equal(read_slice(path), noise())


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"ORIENTATION": 0}, ["orientation tag is 0", "with orientation 1"]),
        ({"ORIENTATION": 9}, ["orientation tag is 9"]),
        ({"FILL_ORDER": 2}, ["fill order tag is 2"]),
        ({"PLANAR": 3}, ["planar configuration tag is 3"]),
        ({"PREDICTOR": 2}, ["predictor tag is 2"]),
        ({"COMPRESSION": 34712}, ["compression (34712, JPEG 2000) is not read"]),
        ({"COMPRESSION": 6}, ["compression (6, old JPEG) is not read"]),
        ({"COMPRESSION": 4}, ["compression (4, CCITT fax 4)"]),
        ({"COMPRESSION": 12345}, ["compression (12345, unknown)"]),
        ({"PHOTOMETRIC": 0}, ["white is zero (photometric interpretation 0, 3 samples)"]),
        ({"PHOTOMETRIC": 3}, ["palette (photometric interpretation 3"]),
        ({"PHOTOMETRIC": 5}, ["CMYK (photometric interpretation 5"]),
        ({"PHOTOMETRIC": 6}, ["YCbCr (photometric interpretation 6"]),
        ({"PHOTOMETRIC": 8}, ["CIELab"]),
        ({"PHOTOMETRIC": 99}, ["unknown (photometric interpretation 99"]),
        ({"PHOTOMETRIC": None}, ["no photometric interpretation tag", "white is zero"]),
        ({"WIDTH": None}, ["the tag width is missing"]),
        ({"HEIGHT": 0}, ["0 x 48 pixels"]),
        ({"WIDTH": 5000}, ["is 40 x 5000 pixels, at most 4096 x 4096", "as the scanner made it"]),
        ({"BITS": (8, 8, 16)}, ["channels differ in bits per sample"]),
        ({"BITS": (8, 8)}, ["bits per sample does not fit 3 samples"]),
        ({"BITS": 12}, ["12 bit pixels", "8 bit (uint8)"]),
        ({"BITS": 4}, ["4 bit pixels"]),
        ({"SAMPLE_FORMAT": 2}, ["signed 8 bit pixels (int8)"]),
        ({"SAMPLE_FORMAT": (1, 1, 2)}, ["sample format"]),
        ({"SAMPLE_FORMAT": 4}, ["8 bit pixels (sample format 4)"]),
        ({"DEPTH": 5}, ["a volume (image depth 5)", "file of its own"]),
        ({"DESCRIPTION": None, "STRIP_OFFSETS": None}, ["no pixels"]),
        ({"STRIP_OFFSETS": 4}, ["lies in the header"]),
        ({"STRIP_BYTES": 0, "COMPRESSION": 5}, ["a strip or tile is empty"]),
        ({"STRIP_OFFSETS": 200}, ["where at least 5960 are needed"]),
        ({"STRIP_BYTES": 100}, ["fewer bytes than their pixels need"]),
        ({"STRIP_BYTES": None}, ["1 strips or tiles are expected"]),
        ({"ROWS_PER_STRIP": 20}, ["2 strips or tiles are expected"]),
        ({"ROWS_PER_STRIP": 0}, ["have no size"]),
    ],
)
def test_a_tag_that_can_be_understood_in_two_ways_is_refused_by_name(tmp_path, changed, words):
    path = write_tags(tmp_path / "a.tif", noise(), **changed)
    assert_one_line([path, *words], read_slice, path)


@pytest.mark.parametrize("compression", [None, "tiff_lzw"])
@pytest.mark.parametrize(
    ("mode", "words"),
    [
        ("RGBA", ["RGB with an alpha channel (extra samples)", "convert('RGB')"]),
        ("LA", ["grey with an alpha channel"]),
        ("CMYK", ["CMYK (photometric interpretation 5, 4 samples)", "plain RGB"]),
        ("P", ["palette (photometric interpretation 3, 1 sample)"]),
        ("LAB", ["CIELab"]),
        ("L", ["one channel", "stack the three sequences"]),
        ("1", ["1 bit pixels"]),
        ("I;16", ["16 bit pixels (uint16)"]),
        ("F", ["float pixels (float32)"]),
        ("I", ["signed 32 bit pixels (int32)"]),
    ],
)
def test_a_slice_in_another_mode_is_refused_for_its_own_reason(tmp_path, mode, words, compression):
    path = tmp_path / "a.tif"
    Image.new(mode, (64, 64)).save(path, compression=compression)
    assert_one_line([path, *words], read_slice, path)


@pytest.mark.parametrize("compression", [None, "tiff_lzw"])
@pytest.mark.parametrize(
    ("mode", "words"),
    [
        ("P", ["palette picture (photometric interpretation 3)", "convert('L')"]),
        ("1", ["1 bit pixels", "8 bit (uint8)"]),
        ("LA", ["the shape (64, 64, 2)", "one channel"]),
        ("RGB", ["the shape (64, 64, 3)", "grey picture"]),
    ],
)
def test_a_mask_in_another_mode_is_refused_for_its_own_reason(tmp_path, mode, words, compression):
    path = tmp_path / "a_mask.tif"
    Image.new(mode, (64, 64)).save(path, compression=compression)
    assert_one_line([path, *words], read_mask, path)


def test_a_tag_that_is_there_twice_is_refused(tmp_path):
    path = write_tags(tmp_path / "a.tif", noise(), ORIENTATION=1, PLANAR=1)
    data = bytearray(path.read_bytes())
    place = data.index((284).to_bytes(2, "little") + b"\4\0", 8 + noise().nbytes)
    data[place : place + 2] = (274).to_bytes(2, "little")
    path.write_bytes(data)
    assert_one_line([path, "the tag orientation is there twice"], read_slice, path)


def test_strips_may_be_followed_by_bytes_that_are_no_pixels(tmp_path):
    pixels = noise()
    line = pixels[0].nbytes
    data = b"\0" * 8 + b"".join(row.tobytes() + b"\xff\xff" for row in pixels)
    own = {256: 48, 257: 40, 258: (8, 8, 8), 259: 1, 262: 2, 277: 3, 278: 1}
    own |= {273: tuple(8 + (line + 2) * row for row in range(40)), 279: (line + 2,) * 40}
    path = tmp_path / "a.tif"
    path.write_bytes(tags.canonical(data, own))
    np.testing.assert_array_equal(read_slice(path), pixels)


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


@pytest.mark.parametrize(
    ("compression", "junk"),
    # PackBits has no check: only too few pixels are noticed. 128 makes none.
    [
        ("tiff_lzw", b"\xff" * 200),
        ("tiff_adobe_deflate", b"\xff" * 200),
        ("packbits", b"\x80" * 3000),
        ("jpeg", b"\xff" * 200),
    ],
)
def test_damaged_pixels_are_one_line_and_libtiff_is_silent(tmp_path, compression, junk, capfd):
    path = tmp_path / "picture.tif"
    Image.fromarray(noise()).save(path, compression=compression)
    start = read_header(path).tags[tags.STRIP_OFFSETS][0]
    data = bytearray(path.read_bytes())
    data[start : start + len(junk)] = junk
    path.write_bytes(data)
    assert_one_line([path, "damaged or cut short", "its pixels"], read_slice, path)
    assert capfd.readouterr() == ("", "")


def test_a_small_file_that_would_unpack_to_a_large_picture_is_refused_by_its_header(tmp_path):
    path = tmp_path / "bomb.tif"
    tifffile.imwrite(path, np.zeros((9000, 9000, 3), np.uint8), photometric="rgb",
                     compression="zlib", metadata=None)  # fmt: skip
    assert path.stat().st_size < 1_000_000
    tracemalloc.start()
    words = [path, "9000 x 9000 pixels, at most 4096 x 4096", "as the scanner made it"]
    assert_one_line(words, read_slice, path)
    assert tracemalloc.get_traced_memory()[1] < 5_000_000
    tracemalloc.stop()


def test_missing_file_and_several_pictures_in_one(tmp_path):
    assert_one_line(["gone.tif", "no such file"], read_slice, tmp_path / "gone.tif")
    path = tmp_path / "stack.tif"
    tifffile.imwrite(path, np.zeros((5, 40, 40), np.uint8), photometric="minisblack")
    assert_one_line([path, "5 pictures", "file of its own"], read_slice, path)
    # What tifffile makes of height x width x 3 without being told that these are colours.
    tifffile.imwrite(path, noise(), photometric="minisblack")
    if len(tifffile.TiffFile(path).pages) > 1:
        assert_one_line([path, "40 pictures", "photometric='rgb'"], read_slice, path)


def test_an_imagej_stack_in_one_picture_is_several(tmp_path):
    pixels = noise()
    path = tmp_path / "stack.tif"
    described = tuple(b"ImageJ=1.54f\nimages=20\nslices=20\n\0")
    write_tags(path, pixels)
    with tifffile.TiffWriter(path) as tif:
        tif.write(pixels, photometric="rgb", metadata=None, description=bytes(described[:-1]))
    assert_one_line([path, "holds 20 pictures", "file of its own"], read_slice, path)


def test_what_is_no_regular_file_is_refused_at_once(tmp_path):
    folder = tmp_path / "folder.tif"
    folder.mkdir()
    assert_one_line([folder, "is a folder, where a file is expected"], read_slice, folder)
    pipe = tmp_path / "pipe.tif"
    os.mkfifo(pipe)
    assert_one_line([pipe, "is a pipe"], read_header, pipe)
    loop = tmp_path / "loop.tif"
    loop.symlink_to(loop)
    assert_one_line([loop, "a link that leads back to itself"], read_mask, loop)
    nowhere = tmp_path / "nowhere.tif"
    nowhere.symlink_to(tmp_path / "gone.tif")
    assert_one_line([nowhere, "a link to a file that is not there"], read_mask, nowhere)
    long = tmp_path / f"{'x' * 300}.tif"
    assert_one_line(["the name is longer than this disk allows"], read_slice, long)
    save(tmp_path / "a.tif", picture())
    below = tmp_path / "a.tif" / "b.tif"
    assert_one_line([below, "a part of this path is a file"], read_slice, below)
    assert_one_line(["/dev/zero: is a device"], read_slice, "/dev/zero")


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


def test_whoever_checks_a_header_gets_the_same_answer_as_whoever_reads(tmp_path):
    path = write_tags(tmp_path / "a.tif", noise(), PHOTOMETRIC=5)
    assert_one_line(["CMYK"], check_slice, path, read_header(path))
