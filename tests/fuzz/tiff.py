"""TIFF slices and masks, and cohort folders that hold one, as they come out of other programs."""

import io
from pathlib import Path

import numpy as np
import tifffile
from mutate import Target
from PIL import Image

from utils.cohort.tiff import read_mask, read_slice

SIDE = 40


def slices() -> list[bytes]:
    """Return one picture in every layout that is read, and in some that are not."""
    picture = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE + 8, 3), np.uint8)
    return [
        *(_pillow(picture, compression=name) for name in (
            None, "tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg", "zstd"
        )),
        _pillow(picture, compression="tiff_lzw", tiffinfo={317: 2, 274: 6}),
        _tifffile(picture, photometric="rgb"),
        _tifffile(picture, photometric="rgb", tile=(32, 32)),
        _tifffile(picture, photometric="rgb", rowsperstrip=7, byteorder=">"),
        _tifffile(picture, photometric="rgb", bigtiff=True),
        _tifffile(picture.transpose(2, 0, 1), photometric="rgb", planarconfig="separate"),
        _tifffile(picture.astype(np.uint16), photometric="rgb"),
        _tifffile(np.stack([picture] * 3), photometric="rgb"),
    ]  # fmt: skip


def masks() -> list[bytes]:
    """Return one mask in every layout that is read, and in some that are not."""
    mask = np.zeros((SIDE, SIDE), np.uint8)
    mask[5:20, 9:30] = 255
    palette = Image.fromarray(mask // 255, "P")
    palette.putpalette([0, 0, 0, 255, 255, 255])
    return [
        *(_pillow(mask, compression=name) for name in (None, "tiff_lzw", "packbits")),
        _tifffile(255 - mask, photometric="miniswhite"),
        _tifffile(mask, photometric="minisblack", tile=(16, 16), bigtiff=True),
        _tifffile(mask.astype(bool)),
        _tifffile(mask.astype(np.float32)),
        _saved(palette),
    ]


def _pillow(array: np.ndarray, **options) -> bytes:
    return _saved(Image.fromarray(array), **options)


def _saved(picture: Image.Image, **options) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "TIFF", **options)
    return buffer.getvalue()


def _tifffile(array: np.ndarray, **options) -> bytes:
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, array, metadata=None, **options)
    return buffer.getvalue()


def _load_slice(path: Path) -> None:
    pixels = read_slice(path)
    assert pixels.dtype == np.uint8
    assert pixels.ndim == 3
    assert pixels.shape[2] == 3


def _load_mask(path: Path) -> None:
    assert set(np.unique(read_mask(path))) <= {0, 1}


TARGETS = [
    Target("tiff-slice", slices, _load_slice, ".tif"),
    Target("tiff-mask", masks, _load_mask, ".tif"),
]
