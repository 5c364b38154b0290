"""NIfTI files, packed and not, read like a patient of one's own."""

import gzip
import random
import warnings
from collections.abc import Sequence
from pathlib import Path

import nibabel
import numpy as np
from mutate import Target

from utils.patient.read import read_patient

# Where the fields of a NIfTI-1 header lie, and with which numbers they are overwritten.
FIELDS = {
    "sizeof_hdr": (0, "i4"), "dim": (40, "8i2"), "intent": (56, "3f4"), "datatype": (70, "i2"),
    "bitpix": (72, "i2"), "pixdim": (76, "8f4"), "vox_offset": (108, "f4"), "slope": (112, "f4"),
    "inter": (116, "f4"), "units": (123, "u1"), "codes": (252, "2i2"), "quaternion": (256, "6f4"),
    "srow": (280, "12f4"), "magic": (344, "4u1"), "extension": (348, "4u1"), "esize": (352, "2i4"),
}  # fmt: skip
WHOLE = [-32768, -1, 0, 1, 2, 3, 4, 7, 16, 64, 128, 255, 256, 512, 1024, 2304, 32767]
FLOATS = [0.0, -1.0, 1e-6, 1e-3, 0.5, 1e3, 1e6, 1e30, -1e30, np.nan, np.inf, -np.inf]


def volumes() -> list[bytes]:
    """Return one small head in every kind of NIfTI that is read."""
    y, x = np.mgrid[:40, :40] / 40 - 0.5
    rng = np.random.default_rng(0)
    head = 100.0 * (np.hypot(x / 0.3, y / 0.4) < 1) * (1 + 0.3 * np.sin(20 * x))
    volume = np.repeat(head.T[..., np.newaxis], 5, axis=2) + rng.random((40, 40, 5)) * 5
    affine = np.diag([-5.0, -5.0, 6.0, 1.0])
    small = volume.astype(np.uint8)
    swapped = nibabel.Nifti1Image(small.astype(np.int16), affine, nibabel.Nifti1Header(
        endianness=">"))  # fmt: skip
    scaled = nibabel.Nifti1Image(small.astype(np.int16), affine)
    scaled.header["scl_slope"], scaled.header["scl_inter"] = 0.5, -100
    told = nibabel.Nifti1Image(small, affine)
    told.header.extensions.append(nibabel.nifti1.Nifti1Extension("comment", b"a patient" * 20))
    images = {
        "bytes": nibabel.Nifti1Image(small, affine),
        "floats": nibabel.Nifti1Image(volume.astype(np.float32), affine),
        "doubles": nibabel.Nifti1Image(volume, affine),
        "swapped": swapped,
        "scaled": scaled,
        "told": told,
        "channels": nibabel.Nifti1Image(np.stack([small] * 3, axis=-1), affine),
        "second": nibabel.Nifti2Image(small.astype(np.int32), affine),
    }
    return [image.to_bytes() for image in images.values()]


def _packed() -> list[bytes]:
    return [gzip.compress(content, mtime=0) for content in volumes()]


def _mutate(draw: random.Random, seeds: Sequence[bytes]) -> bytes:
    with np.errstate(all="ignore"):  # numbers that no header can hold
        return _mutant(draw.choice(seeds), np.random.default_rng(draw.getrandbits(64)))


def _mutant(content: bytes, rng: np.random.Generator) -> bytes:
    """Return a file changed in one to four ways, within its packing or outside."""
    packed = content[:2] == b"\x1f\x8b"
    if packed and rng.random() < 0.7:
        return gzip.compress(_mutant(gzip.decompress(content), rng), 1, mtime=0)
    data = bytearray(content)
    for _ in range(rng.integers(1, 5)):
        if not packed and rng.random() < 0.6:
            _change_field(data, rng)
        else:
            _change_bytes(data, rng)
    return bytes(data)


def _change_field(data: bytearray, rng: np.random.Generator) -> None:
    offset, kind = FIELDS[str(rng.choice(list(FIELDS)))]
    number = np.dtype(kind)
    base = number.base
    place = offset + base.itemsize * int(rng.integers(max(1, int(np.prod(number.shape)))))
    choices = FLOATS if base.kind == "f" else WHOLE
    value = np.array(choices[rng.integers(len(choices))]).astype(base, casting="unsafe")
    if rng.random() < 0.3:
        value = np.frombuffer(rng.bytes(base.itemsize), base)[0]
    order = ">" if rng.random() < 0.15 else "<"
    stored = np.array(value).astype(base.newbyteorder(order)).tobytes()
    if place + base.itemsize <= len(data):
        data[place : place + base.itemsize] = stored


def _change_bytes(data: bytearray, rng: np.random.Generator) -> None:
    place = int(rng.integers(max(1, len(data))))
    way = rng.integers(6)
    if way == 0:
        del data[place:]
    elif way == 1:
        del data[place : place + int(rng.integers(1, 400))]
    elif way == 2:
        data[place:place] = rng.bytes(int(rng.integers(1, 400)))
    elif way == 3:
        data[place : place + 16] = bytes(16)
    elif way == 4 and data:
        data[place % min(len(data), 352)] ^= 1 << int(rng.integers(8))
    elif data:
        data[place] = int(rng.integers(256))


def _load(path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        person = read_patient(path)
        person.pictures(64)
    assert person.images.shape[1:] == (256, 256, 3)


TARGETS = [
    Target("nifti", volumes, _load, ".nii", _mutate),
    Target("nifti-gz", _packed, _load, ".nii.gz", _mutate),
]
