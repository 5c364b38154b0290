"""Read and check one TIFF: a slice (three channels) or its mask."""

import logging
import math
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
import tifffile
from PIL import Image

from utils.config import CourseError

SMALLEST_SIDE = 32
UNCOMPRESSED = 1

# tifffile logs what it finds wrong and then raises; we turn what it raises into one line, and
# without a handler of its own Python would print the log as a second one.
logging.getLogger("tifffile").addHandler(logging.NullHandler())


class Header(NamedTuple):
    """What a TIFF says about itself: the array's shape, its number type, its compression."""

    shape: tuple[int, ...]
    dtype: np.dtype
    compression: int


def read_header(path: str | Path) -> Header:
    """Return a TIFF's header, having checked that the file is as long as the header says.

    The pixels are not decoded: this costs about 0.2 ms, and finds a file that was cut short.

    Raises
    ------
    CourseError
        If the file is missing, damaged, cut short, or holds more than one picture.
    """
    with _open_tiff(path) as tif:
        return _header(path, tif)


def check_slice(path: str | Path, header: Header) -> None:
    """Raise a `CourseError` unless `header` is that of an 8-bit picture of three channels."""
    _check_pixel_type(path, header)
    shape = header.shape
    if len(shape) != 3 or shape[2] != 3:
        channels = "one channel" if len(shape) == 2 else f"the shape {shape}"
        raise CourseError(
            f"{path}: has {channels}; a slice is height x width x 3 (pre-contrast, FLAIR, "
            "post-contrast): stack the three sequences, and put FLAIR in place of a missing one"
        )
    if min(shape[:2]) < SMALLEST_SIDE:
        raise CourseError(
            f"{path}: is {shape[0]} x {shape[1]} pixels, at least {SMALLEST_SIDE} x "
            f"{SMALLEST_SIDE} are needed; export the slice at its full size"
        )


def check_mask(path: str | Path, header: Header, size: tuple[int, int] | None = None) -> None:
    """Raise a `CourseError` unless `header` is that of an 8-bit mask (of `size`, if given)."""
    _check_pixel_type(path, header)
    if len(header.shape) != 2:
        raise CourseError(
            f"{path}: has the shape {header.shape}; a mask has one channel (height x width): "
            "save it as a grey picture"
        )
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
    with _open_tiff(path) as tif:
        header = _header(path, tif)
        check_slice(path, header)
        return _pixels(path, tif, header)


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
    with _open_tiff(path) as tif:
        header = _header(path, tif)
        check_mask(path, header, size)
        pixels = _pixels(path, tif, header)
    mask = (pixels == 255).view(np.uint8)
    if np.count_nonzero(pixels) != np.count_nonzero(mask):
        other = int(pixels[(pixels != 0) & (pixels != 255)][0])
        raise CourseError(
            f"{path}: the mask is not binary, it holds the value {other}; masks hold 0 and 255 "
            "only: threshold it"
        )
    return mask


@contextmanager
def _open_tiff(path: str | Path) -> Iterator[tifffile.TiffFile]:
    """Open a TIFF; whatever tifffile raises on a damaged file becomes one line."""
    try:
        with tifffile.TiffFile(path) as tif:
            yield tif
    except FileNotFoundError:
        raise CourseError(
            f"{path}: is missing; copy it there, or unpack the cohort again"
        ) from None
    # What a damaged header can lead to: an impossible tag, offset, count or number type.
    except (
        ValueError,
        TypeError,
        LookupError,
        ArithmeticError,
        MemoryError,
        struct.error,
    ) as error:
        raise _damaged(path, str(error)) from error


def _header(path: str | Path, tif: tifffile.TiffFile) -> Header:
    if len(tif.pages) > 1:
        raise CourseError(
            f"{path}: holds {len(tif.pages)} pictures, one is expected; save every slice as a "
            "file of its own"
        )
    page = tif.pages[0]
    if page.dtype is None or not page.dataoffsets:
        raise _damaged(path, "no pixels of a known type")
    size = Path(path).stat().st_size
    needed = max(map(sum, zip(page.dataoffsets, page.databytecounts, strict=True)))
    if page.compression == UNCOMPRESSED:
        needed = max(needed, math.prod(page.shape) * page.bitspersample // 8)
    if needed > size:
        raise _damaged(path, f"{size} bytes where at least {needed} are needed")
    return Header(tuple(page.shape), page.dtype, int(page.compression))


def _pixels(path: str | Path, tif: tifffile.TiffFile, header: Header) -> np.ndarray:
    if header.compression == UNCOMPRESSED:
        return tif.pages[0].asarray()
    # Pillow knows LZW and the other compressions; tifffile would need one more package for them.
    try:
        with Image.open(path) as picture:
            pixels = np.asarray(picture)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise _damaged(path, str(error)) from error
    if pixels.shape != header.shape or pixels.dtype != header.dtype:
        raise CourseError(f"{path}: its compression cannot be read; save it without compression")
    return pixels


def _check_pixel_type(path: str | Path, header: Header) -> None:
    if header.dtype == np.uint8:
        return
    kind = "float" if header.dtype.kind == "f" else f"{8 * header.dtype.itemsize} bit"
    if header.dtype.kind == "b":
        kind = "1 bit"
    raise CourseError(
        f"{path}: has {kind} pixels ({header.dtype}), 8 bit (uint8) are expected; scale them to "
        "0..255 and save again"
    )


def _damaged(path: str | Path, reason: str) -> CourseError:
    reason = " ".join(reason.split())[:120]
    return CourseError(
        f"{path}: damaged or cut short ({reason}); copy it again, or unpack the cohort again"
    )
