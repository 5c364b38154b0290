"""Read and check one TIFF: a slice (three channels) or its mask.

What the tags mean is decided here, once, for every way of storing the pixels: orientation, and
masks in which white is zero, are brought to what every viewer shows; what could be understood in
two ways is refused, by the name of the tag. Pillow then only unpacks: it is given a header of our
own, without the tags that readers disagree about.
"""

import ctypes
import io
import math
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from utils.cohort import tiff_tags as tags
from utils.config import CourseError
from utils.files import open_file, tell_read_errors

SMALLEST_SIDE = 32
# No scanner makes larger slices; three of 9000 x 9000 pixels, 0.3 MB deflated, took 3.9 GB.
LARGEST_SIDE = 4096
_LARGEST_FILE = 256 << 20
_MISSING = "copy it there, or unpack the cohort again"

UNCOMPRESSED, JPEG = 1, 7
_COMPRESSIONS = {
    UNCOMPRESSED: "none", 5: "LZW", JPEG: "JPEG", 8: "deflate", 32773: "PackBits",
    32946: "deflate", 34925: "LZMA", 50000: "Zstandard",
}  # fmt: skip
_PREDICTABLE = (5, 8, 32946, 34925, 50000)
_UNREADABLE = {
    2: "CCITT", 3: "CCITT fax 3", 4: "CCITT fax 4", 6: "old JPEG", 33003: "JPEG 2000",
    33005: "JPEG 2000", 34712: "JPEG 2000", 34887: "LERC", 50001: "WebP", 50002: "JPEG XL",
}  # fmt: skip
WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, PALETTE, YCBCR = 0, 1, 2, 3, 6
_PHOTOMETRIC = {
    WHITE_IS_ZERO: "white is zero", BLACK_IS_ZERO: "black is zero", RGB: "RGB", PALETTE: "palette",
    4: "transparency mask", 5: "CMYK", YCBCR: "YCbCr", 8: "CIELab", 9: "ICCLab", 10: "ITULab",
    32803: "colour filter array", 32844: "LogL", 32845: "LogLuv", 34892: "linear raw",
}  # fmt: skip
# What the extra samples tag calls transparency, premultiplied or not; 0 is any other channel.
_ALPHA = (1, 2)
# The orientation tag says where the first row and column of the file belong.
_UPRIGHT: dict[int, Callable[[np.ndarray], np.ndarray]] = {
    1: lambda stored: stored,
    2: lambda stored: stored[:, ::-1],
    3: lambda stored: stored[::-1, ::-1],
    4: lambda stored: stored[::-1],
    5: lambda stored: stored.swapaxes(0, 1),
    6: lambda stored: stored[::-1].swapaxes(0, 1),
    7: lambda stored: stored[::-1, ::-1].swapaxes(0, 1),
    8: lambda stored: stored[:, ::-1].swapaxes(0, 1),
}


def _silence_libtiff() -> None:
    """Keep libtiff from printing: what it finds wrong is raised by Pillow as well.

    A redirection of standard error would swallow what other threads write at that moment.
    """
    library = ctypes.CDLL(Image.core.__file__)
    for name in ("TIFFSetErrorHandler", "TIFFSetWarningHandler"):
        # Not to be found where libtiff is linked into Pillow itself (Windows): it prints, then.
        if hasattr(library, name):
            setter = getattr(library, name)
            setter.argtypes, setter.restype = [ctypes.c_void_p], ctypes.c_void_p
            setter(None)


_silence_libtiff()


class Header(NamedTuple):
    """What a TIFF says about itself, its tags understood.

    Attributes
    ----------
    shape : tuple of int
        Of the picture as it is shown: (height, width) or (height, width, samples).
    dtype : numpy.dtype
    compression : int
    photometric : int
    tags : dict
        Code -> values, see `utils.cohort.tiff_tags`.
    """

    shape: tuple[int, ...]
    dtype: np.dtype
    compression: int
    photometric: int
    tags: dict

    def value(self, code: int, default: int) -> int:
        """Return the only value of a tag, or what a file without the tag means."""
        return self.tags.get(code, (default,))[0]


def read_header(path: str | Path) -> Header:
    """Return a TIFF's header, having checked that the file is as long as the header says.

    The pixels are not decoded: this costs about 0.1 ms, and finds a file that was cut short.

    Raises
    ------
    CourseError
        If the file is missing, damaged, cut short, larger than any slice, holds more than one
        picture, or is stored in a way that can be understood in two ways.
    """
    with tell_read_errors(path, _MISSING), open_file(path, _MISSING) as file:
        return _header(path, file)


def check_slice(path: str | Path, header: Header) -> None:
    """Raise a `CourseError` unless `header` is that of an 8-bit picture of three channels."""
    _check_pixel_type(path, header)
    shape, remedy = header.shape, "save it as plain RGB: pre-contrast, FLAIR, post-contrast"
    three = len(shape) == 3 and shape[2] == 3
    if header.photometric in (WHITE_IS_ZERO, BLACK_IS_ZERO) and not three:
        if tags.EXTRA_SAMPLES in header.tags and shape[2:] == (2,):
            raise CourseError(f"{path}: is grey with an alpha channel (extra samples); {remedy}")
        channels = f"{shape[2]} channels, {shape}" if len(shape) == 3 else "one channel"
        raise CourseError(
            f"{path}: has {channels}; a slice is height x width x 3 (pre-contrast, FLAIR, "
            "post-contrast): stack the three sequences, and put FLAIR in place of a missing one"
        )
    if header.photometric == RGB and len(shape) == 3 and shape[2] > 3:
        what = "an alpha channel" if shape[2] == 4 else f"{shape[2]} channels"
        raise CourseError(
            f"{path}: is RGB with {what} (extra samples), three channels are expected; remove "
            "the fourth, in Pillow with convert('RGB')"
        )
    if three and set(_ALPHA) & set(header.tags.get(tags.EXTRA_SAMPLES, ())):
        raise CourseError(
            f"{path}: has an alpha channel among its three (extra samples), so no post-contrast; "
            f"{remedy}"
        )
    from_jpeg = header.photometric == YCBCR and header.compression == JPEG
    # Three grey samples: how programs for microscopes store channels.
    if not three or not (header.photometric in (BLACK_IS_ZERO, RGB) or from_jpeg):
        raise CourseError(f"{path}: {_stored_as(header)}; {remedy}")
    if min(shape[:2]) < SMALLEST_SIDE:
        raise CourseError(
            f"{path}: is {shape[0]} x {shape[1]} pixels, at least {SMALLEST_SIDE} x "
            f"{SMALLEST_SIDE} are needed; export the slice at its full size"
        )


def check_mask(path: str | Path, header: Header, size: tuple[int, int] | None = None) -> None:
    """Raise a `CourseError` unless `header` is that of an 8-bit mask (of `size`, if given)."""
    if header.photometric == PALETTE:
        raise CourseError(
            f"{path}: is a palette picture (photometric interpretation 3); a mask holds 0 and 255 "
            "in grey: convert it, in Pillow with convert('L')"
        )
    _check_pixel_type(path, header)
    if len(header.shape) != 2:
        raise CourseError(
            f"{path}: has the shape {header.shape}; a mask has one channel (height x width): "
            "save it as a grey picture"
        )
    if header.photometric not in (WHITE_IS_ZERO, BLACK_IS_ZERO):
        raise CourseError(f"{path}: {_stored_as(header)}; save the mask as a grey picture")
    if size is not None and header.shape != tuple(size):
        raise CourseError(
            f"{path}: the mask is {header.shape[0]} x {header.shape[1]} pixels, its slice "
            f"{size[0]} x {size[1]}; export both at the same size"
        )


def read_slice(path: str | Path) -> np.ndarray:
    """Return the pixels of a slice.

    Parameters
    ----------
    path : path-like
        A TIFF of height x width x 3, 8 bit: pre-contrast, FLAIR, post-contrast.

    Returns
    -------
    numpy.ndarray
        uint8, (height, width, 3), 0..255.

    Raises
    ------
    CourseError
        If the file is missing, damaged, cut short, or not such a picture.
    """
    with tell_read_errors(path, _MISSING), open_file(path, _MISSING) as file:
        header = _header(path, file)
        check_slice(path, header)
        return _pixels(path, file, header)


def read_mask(path: str | Path, size: tuple[int, int] | None = None) -> np.ndarray:
    """Return a mask as zeros and ones.

    Parameters
    ----------
    path : path-like
        A TIFF of height x width, 8 bit, holding 0 and 255 only.
    size : (int, int), optional
        Height and width of the slice that the mask belongs to.

    Returns
    -------
    numpy.ndarray
        uint8, (height, width), 0 or 1 (tumour).

    Raises
    ------
    CourseError
        If the file is missing, damaged, cut short, of another size, or holds other values.
    """
    with tell_read_errors(path, _MISSING), open_file(path, _MISSING) as file:
        header = _header(path, file)
        check_mask(path, header, size)
        pixels = _pixels(path, file, header)
    if header.photometric == WHITE_IS_ZERO:
        pixels = 255 - pixels
    mask = (pixels == 255).view(np.uint8)
    if np.count_nonzero(pixels) != np.count_nonzero(mask):
        other = int(pixels[(pixels != 0) & (pixels != 255)][0])
        raise CourseError(
            f"{path}: the mask is not binary, it holds the value {other}; masks hold 0 and 255 "
            "only: threshold it"
        )
    return mask


def _header(path: str | Path, file) -> Header:
    """Return the header of an open file, with all that slices and masks have in common checked."""
    size = file.seek(0, io.SEEK_END)
    try:
        found, pictures = tags.read_tags(file, size)
        _check_pictures(path, found, pictures)
        header = _understood(path, found)
        _check_length(path, header, size)
    except tags.TagError as error:
        raise _damaged(path, str(error)) from error
    return header


def _check_pictures(path: str | Path, found: dict, pictures: int) -> None:
    inside = pictures
    described = found.get(tags.DESCRIPTION, b"")
    if described.startswith(b"ImageJ="):
        # ImageJ writes a large stack as one picture and says in words how many follow it.
        lines = dict(line.split(b"=", 1) for line in described.split(b"\n") if b"=" in line)
        images = lines.get(b"images", b"1").strip(b"\0 \r")
        inside = max(pictures, int(images) if images.isdigit() and len(images) < 10 else 1)
    if inside > 1:
        width = found.get(tags.WIDTH, (0,))[0]
        remedy = (
            "with tifffile, write it with photometric='rgb'"
            if width in (3, 4)
            else "save every slice as a file of its own"
        )
        raise CourseError(f"{path}: holds {inside} pictures, one is expected; {remedy}")
    if found.get(tags.DEPTH, (1,))[0] != 1:
        raise CourseError(
            f"{path}: holds a volume (image depth {found[tags.DEPTH][0]}); save every slice as a "
            "file of its own"
        )


def _understood(path: str | Path, found: dict) -> Header:
    """Return what the tags mean; raise where they can mean two things."""
    for code in (tags.WIDTH, tags.HEIGHT):
        if code not in found:
            raise tags.TagError(f"the tag {tags.NAMES[code]} is missing")
    [height], [width] = found[tags.HEIGHT], found[tags.WIDTH]
    if max(height, width) > LARGEST_SIDE:
        raise CourseError(
            f"{path}: is {height} x {width} pixels, at most {LARGEST_SIDE} x {LARGEST_SIDE} are "
            "read; export the slice as the scanner made it"
        )
    if not height or not width:
        raise tags.TagError(f"it has {height} x {width} pixels")
    if tags.PHOTOMETRIC not in found:
        raise CourseError(
            f"{path}: has no photometric interpretation tag, so that nobody knows whether white "
            "is zero; save it again as plain RGB, or grey for a mask"
        )
    samples = found.get(tags.SAMPLES, (1,))[0]
    compression = found.get(tags.COMPRESSION, (UNCOMPRESSED,))[0]
    _check_storage(path, found, compression)
    orientation = found.get(tags.ORIENTATION, (1,))[0]
    if orientation >= 5:
        height, width = width, height
    shape = (height, width) if samples == 1 else (height, width, samples)
    dtype = _pixel_type(path, found, samples)
    return Header(shape, dtype, compression, found[tags.PHOTOMETRIC][0], found)


def _check_storage(path: str | Path, found: dict, compression: int) -> None:
    """Check the tags that say how the pixels are packed, naming what is not understood."""
    if compression not in _COMPRESSIONS:
        name = _UNREADABLE.get(compression, "unknown")
        raise CourseError(
            f"{path}: its compression ({compression}, {name}) is not read; save it without "
            "compression, or with LZW"
        )
    allowed = {
        tags.ORIENTATION: tuple(_UPRIGHT),
        tags.FILL_ORDER: (1,),
        tags.PLANAR: (1, 2),
        tags.PREDICTOR: (1, 2) if compression in _PREDICTABLE else (1,),
    }
    for code, values in allowed.items():
        value = found.get(code, (1,))[0]
        if value not in values:
            raise CourseError(
                f"{path}: its {tags.NAMES[code]} tag is {value}, which programs read in different "
                f"ways; save it again with {tags.NAMES[code]} 1"
            )


def _pixel_type(path: str | Path, found: dict, samples: int) -> np.dtype:
    bits = set(found.get(tags.BITS, (1,)))
    formats = set(found.get(tags.SAMPLE_FORMAT, (1,)))
    if len(bits) > 1 or len(formats) > 1:
        raise CourseError(
            f"{path}: its channels differ in bits per sample or sample format; save all with 8 bit"
        )
    for code in (tags.BITS, tags.SAMPLE_FORMAT):
        if len(found.get(code, (0,))) not in (1, samples):
            raise tags.TagError(f"the tag {tags.NAMES[code]} does not fit {samples} samples")
    [bit], [form] = bits, formats
    letter = {1: "u", 2: "i", 3: "f"}.get(form)
    if bit == 1 and form == 1:
        return np.dtype(bool)
    if letter is None or bit not in (8, 16, 32, 64) or (letter == "f" and bit == 8):
        raise CourseError(
            f"{path}: has {bit} bit pixels (sample format {form}), 8 bit (uint8) are expected; "
            "scale them to 0..255 and save again"
        )
    return np.dtype(f"{letter}{bit // 8}")


def _check_length(path: str | Path, header: Header, size: int) -> None:
    """Check that every strip or tile is there, and lies inside the file."""
    found = header.tags
    tiled = tags.TILE_OFFSETS in found
    if tiled == (tags.STRIP_OFFSETS in found):
        raise tags.TagError("it has strips and tiles" if tiled else "it has no pixels")
    if tiled and not (tags.TILE_WIDTH in found and tags.TILE_HEIGHT in found):
        raise tags.TagError("its tiles have no size")
    [height], [width] = found[tags.HEIGHT], found[tags.WIDTH]
    rows, columns, number = tags.pieces(height, width, found)
    if max(rows, columns) > LARGEST_SIDE + 256:
        raise tags.TagError(f"its tiles are {rows} x {columns} pixels")
    samples = header.value(tags.SAMPLES, 1)
    planes = samples if header.value(tags.PLANAR, 1) == 2 else 1
    offsets = found[tags.TILE_OFFSETS if tiled else tags.STRIP_OFFSETS]
    counts = found.get(tags.TILE_BYTES if tiled else tags.STRIP_BYTES)
    if len(offsets) != number * planes or counts is None or len(counts) != len(offsets):
        raise tags.TagError(f"{number * planes} strips or tiles are expected")
    needed = max(map(sum, zip(offsets, counts, strict=True)))
    if header.compression == UNCOMPRESSED:
        line = math.ceil(columns * (samples // planes) * _bits(header) / 8)
        last = rows if tiled else height - rows * (number - 1)
        expected = [line * rows] * (number - 1) + [line * last]
        if any(have < need for have, need in zip(counts, expected * planes, strict=True)):
            raise tags.TagError("its strips or tiles hold fewer bytes than their pixels need")
    if needed > size:
        raise tags.TagError(f"{size} bytes where at least {needed} are needed")
    if min(counts) == 0:
        raise tags.TagError("a strip or tile is empty")
    if min(offsets) < 8:
        raise tags.TagError("a strip or tile lies in the header")
    if size > _LARGEST_FILE:
        raise CourseError(
            f"{path}: has {size / 1e6:.0f} MB for {height} x {width} pixels; save it again"
        )


def _bits(header: Header) -> int:
    return header.value(tags.BITS, 1)


def _pixels(path: str | Path, file, header: Header) -> np.ndarray:
    """Return the pixels upright, uint8, of `header.shape`; those of a checked header."""
    file.seek(0)
    data = file.read()
    plain = header.compression == UNCOMPRESSED and tags.STRIP_OFFSETS in header.tags
    stored = _unpacked(data, header) if plain else _decoded(path, data, header)
    return _UPRIGHT[header.value(tags.ORIENTATION, 1)](stored)


def _unpacked(data: bytes, header: Header) -> np.ndarray:
    """Return the pixels of uncompressed strips, as they are stored; five times as fast as Pillow.

    A strip may be followed by bytes that are no pixels.
    """
    found = header.tags
    [height], [width] = found[tags.HEIGHT], found[tags.WIDTH]
    samples = header.value(tags.SAMPLES, 1)
    planar = header.value(tags.PLANAR, 1) == 2
    rows, columns, number = tags.pieces(height, width, found)
    line = columns * (1 if planar else samples)
    heights = [rows] * (number - 1) + [height - rows * (number - 1)]
    heights = heights * (samples if planar else 1)
    strips = [
        np.frombuffer(data, np.uint8, line * rows, offset)
        for offset, rows in zip(found[tags.STRIP_OFFSETS], heights, strict=True)
    ]
    flat = strips[0] if len(strips) == 1 else np.concatenate(strips)
    if samples == 1:
        return flat.reshape(height, width)
    if planar:
        return np.ascontiguousarray(np.moveaxis(flat.reshape(samples, height, width), 0, -1))
    return flat.reshape(height, width, samples)


def _decoded(path: str | Path, data: bytes, header: Header) -> np.ndarray:
    """Return the pixels as they are stored, unpacked by Pillow."""
    mode = "L" if header.value(tags.SAMPLES, 1) == 1 else "RGB"
    kept = (
        tags.WIDTH, tags.HEIGHT, tags.BITS, tags.COMPRESSION, tags.SAMPLES, tags.PLANAR,
        tags.ROWS_PER_STRIP, tags.STRIP_OFFSETS, tags.STRIP_BYTES, tags.PREDICTOR,
        tags.TILE_WIDTH, tags.TILE_HEIGHT, tags.TILE_OFFSETS, tags.TILE_BYTES, tags.JPEG_TABLES,
        tags.SUBSAMPLING,
    )  # fmt: skip
    own = {code: header.tags[code] for code in kept if code in header.tags}
    own[tags.PHOTOMETRIC] = BLACK_IS_ZERO if mode == "L" else RGB
    if header.photometric == YCBCR:
        own[tags.PHOTOMETRIC] = YCBCR
    try:
        with Image.open(io.BytesIO(tags.canonical(data, own)), formats=["TIFF"]) as picture:
            if picture.mode != mode:
                raise ValueError(f"unpacked as {picture.mode}")
            return np.array(picture)
    except MemoryError:
        raise
    # Whatever a decoder meets in damaged data, it is the file that is damaged.
    except Exception as error:
        name = _COMPRESSIONS[header.compression]
        raise _damaged(path, f"its pixels, compression {name}: {error}") from error


def _check_pixel_type(path: str | Path, header: Header) -> None:
    if header.dtype == np.uint8:
        return
    kind = f"{8 * header.dtype.itemsize} bit"
    kind = {"f": "float", "b": "1 bit", "i": f"signed {kind}"}.get(header.dtype.kind, kind)
    raise CourseError(
        f"{path}: has {kind} pixels ({header.dtype}), 8 bit (uint8) are expected; scale them to "
        "0..255 and save again"
    )


def _stored_as(header: Header) -> str:
    name = _PHOTOMETRIC.get(header.photometric, "unknown")
    samples = header.value(tags.SAMPLES, 1)
    return (
        f"is stored as {name} (photometric interpretation {header.photometric}, {samples} "
        f"sample{'s' * (samples != 1)}), which is not read"
    )


def _damaged(path: str | Path, reason: str) -> CourseError:
    reason = " ".join(reason.split())[:120]
    return CourseError(
        f"{path}: damaged or cut short ({reason}); copy it again, or unpack the cohort again"
    )
