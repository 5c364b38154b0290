"""NIfTI files: read within bounds, checked, and written.

A NIfTI file says with its affine matrix where each voxel lies in the head; a TIFF does not. What
follows from that is in `utils.patient.axial`.

The header is read with nibabel. The voxels are read here, one plane after the other, so that a
small file cannot ask for more memory or time than a head needs.
"""

import gzip
import logging
import math
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import nibabel
import numpy as np
from nibabel import nifti1, nifti2
from nibabel.filebasedimages import ImageFileError
from nibabel.spatialimages import HeaderDataError
from nibabel.wrapstruct import WrapStructError

from utils.config import CourseError, atomic_path, reason, regular_file, unreadable
from utils.patient.axial import UNIT_MM, Grid, unit_of

SUFFIXES = (".nii", ".nii.gz", ".hdr", ".hdr.gz", ".img", ".img.gz")

# What a scan of a head can be. An edge of a voxel, in mm: scanners of the highest field reach
# 0.1 mm, the distance of thick slices is 10 mm, coarse localisers have 20 mm.
VOXEL_MM = (0.05, 30.0)
# No volume of a head is as long, in mm, however much air was added to it.
LONGEST_MM = 5000.0
# Voxels along one axis, in one volume, and in one array of floats (1 GiB).
LONGEST_AXIS = 2048
MOST_VOXELS = 2**29
MOST_FLOATS = 2**28
# No value of a scanner is as large, and with all of them 32 bits can be computed with.
LARGEST = 1e30
# No gzip stream becomes longer than this by unpacking.
MOST_BY_GZIP = 1032
# What lies behind the last voxel is read for the check sum up to here.
TAIL_BYTES = 2**26

# Of NIfTI-1 and NIfTI-2: bytes of the header, where its mark stands, the digit in it, and nibabel's
# header of a single file and of a pair.
_KINDS = (
    (348, slice(344, 347), b"1", nifti1.Nifti1Header, nifti1.Nifti1PairHeader),
    (540, slice(4, 7), b"2", nifti2.Nifti2Header, nifti2.Nifti2PairHeader),
)

# nibabel tells what it mends in a header on standard error; what cannot be mended is raised.
_SILENT = logging.getLogger("utils.patient.nifti.header")
_SILENT.addHandler(logging.NullHandler())
_SILENT.propagate = False


@dataclass(frozen=True)
class Nifti:
    """A NIfTI file whose header has been read and checked, and its voxels not.

    Attributes
    ----------
    path : pathlib.Path
        The file that holds the voxels.
    grid : Grid
    volumes : int
        How many volumes lie on the grid: 1 for (x, y, z), n for (x, y, z, n).
    dtype : numpy.dtype
        As stored, with its byte order.
    offset : int
        Bytes before the first voxel.
    slope, inter : float
        A value is what is stored times `slope` plus `inter`.
    """

    path: Path
    grid: Grid
    volumes: int
    dtype: np.dtype
    offset: int
    slope: float
    inter: float

    def planes(self, volume: int = 0) -> Iterator[np.ndarray]:
        """Yield the planes of a volume, one for each index of the file's third axis.

        Parameters
        ----------
        volume : int
            Which of the volumes.

        Yields
        ------
        ndarray of float32, shape (x, y)
            NaN where a value is infinite, or as large as no scanner's (1e30).

        Raises
        ------
        CourseError
            If the file is damaged or cut short; for a packed file also where its check sum says
            so, after the last plane.
        """
        x, y, z = self.grid.shape
        count = x * y * self.dtype.itemsize
        with _explained(self.path), _open_bytes(self.path) as stream:
            _skip(stream, self.path, self.offset + volume * z * count)
            for _ in range(z):
                raw = np.frombuffer(_exactly(stream, self.path, count), self.dtype)
                with np.errstate(all="ignore"):
                    if (self.slope, self.inter) != (1.0, 0.0):
                        raw = raw * np.float64(self.slope) + self.inter
                    values = raw.astype(np.float32)
                    values[~(np.abs(values) < LARGEST)] = np.nan
                yield values.reshape((x, y), order="F")
            # Only at its end does a packed stream prove that it came through unharmed.
            extra = _bytes_left(stream) - (self.volumes - 1 - volume) * z * count
        if extra >= max(count, 4096):
            raise CourseError(
                f"{self.path}: holds more than its header says, at least {extra} bytes; its size "
                "is stated wrongly: export it again"
            )


def is_nifti(path: Path) -> bool:
    """Return whether a file is named like a NIfTI volume: .nii or a header of a pair, .hdr.

    Both may be packed (.gz). The .img of a pair does not count: it is read with its header.
    """
    return path.name.lower().endswith((".nii", ".nii.gz", ".hdr", ".hdr.gz"))


def stem_of(name: str) -> str:
    """Return the name of a file without the suffixes of NIfTI."""
    for suffix in sorted(SUFFIXES, key=len, reverse=True):
        if name.lower().endswith(suffix):
            return name[: -len(suffix)]
    return name


def open_nifti(path: str | Path) -> Nifti:
    """Read the header of a NIfTI file and check all that can be checked without the voxels.

    Parameters
    ----------
    path : path-like
        Of a single file (.nii), or of the header or the data of a pair (.hdr and .img); packed
        with gzip or not, whatever the name says.

    Returns
    -------
    Nifti

    Raises
    ------
    CourseError
        If the file is missing, no regular file, damaged, no NIfTI, empty, has another number of
        dimensions, holds no grey values, is larger than a scan of a head can be, or is shorter
        than it says.
    """
    path = _header_file(Path(path))
    regular_file(path, "check the path")
    with _explained(path):
        header, single = _read_header(path)
        data = path if single else _data_file(path)
        shape = _squeezed(path, header.get_data_shape())
        dtype = _grey_dtype(path, header)
        slope, inter = header.get_slope_inter()
        offset = header.get_data_offset()
        if single and offset == 0:
            offset = header.single_vox_offset
        grid = _grid(path, header, shape[:3])
    volumes = shape[3] if len(shape) == 4 else 1
    if offset < 0:
        raise CourseError(f"{path}: its header says that the voxels begin before the file does; "
                          "copy it again, or export it again")  # fmt: skip
    volume = Nifti(
        data, grid, volumes, dtype, offset, 1.0 if slope is None else slope, inter or 0.0
    )
    _check_length(volume)
    return volume


def read_nifti(path: str | Path) -> tuple[np.ndarray, Grid]:
    """Return the values of a NIfTI file and where they lie.

    Parameters
    ----------
    path : path-like
        Of a volume (x, y, z) or of several (x, y, z, n).

    Returns
    -------
    ndarray of float32, shape (x, y, z) or (x, y, z, n)
        In the order of the file; n is at least 2. Axes of length 1 after the third are dropped.
    Grid

    Raises
    ------
    CourseError
        As `open_nifti`; and if values are no numbers, or there are more than 2**28.
    """
    file = open_nifti(path)
    count = math.prod(file.grid.shape) * file.volumes
    if count > MOST_FLOATS:
        raise CourseError(
            f"{path}: holds {count / 1e6:.0f} million values, too many to hold in memory at once; "
            "keep fewer volumes in it, or crop it"
        )
    volumes = np.empty((*file.grid.shape, file.volumes), np.float32, order="F")
    for volume in range(file.volumes):
        for place, plane in enumerate(file.planes(volume)):
            volumes[:, :, place, volume] = plane
    wrong = sum(np.count_nonzero(~np.isfinite(volumes[..., v])) for v in range(file.volumes))
    if wrong:
        raise CourseError(
            f"{path}: {wrong} voxels are no number (NaN, infinite or absurd); replace them by 0 "
            "and save again"
        )
    return (volumes if file.volumes > 1 else volumes[..., 0]), file.grid


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    """Turn whatever nibabel, gzip or numpy raise on a damaged file into one line."""
    try:
        with np.errstate(all="ignore"):
            yield
    except (ImageFileError, HeaderDataError, WrapStructError) as error:
        raise CourseError(
            f"{path}: its header is damaged ({reason(error, 80)}); copy it again, or convert the "
            "DICOM series with dcm2niix"
        ) from error
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise _damaged(path, reason(error, 80)) from error
    except OSError as error:
        raise unreadable(path, error) from error
    except MemoryError as error:
        raise CourseError(f"{path}: not enough memory for it; close other programs") from error
    # What a damaged header can lead to: an impossible size, offset, code or matrix.
    except (ValueError, TypeError, LookupError, ArithmeticError) as error:
        raise _damaged(path, reason(error, 80)) from error


def _damaged(path: Path, how: str) -> CourseError:
    return CourseError(f"{path}: damaged or cut short ({how}); copy it again")


def _header_file(path: Path) -> Path:
    """Return the header of a pair where its data was given, otherwise the path itself."""
    for data, header in ((".img.gz", ".hdr.gz"), (".img", ".hdr")):
        if path.name.lower().endswith(data):
            return _beside(path, header) or path.with_name(stem_of(path.name) + header)
    return path


def _data_file(path: Path) -> Path:
    """Return the data of a pair, whose header is `path`."""
    found = _beside(path, ".img") or _beside(path, ".img.gz")
    if found is None:
        raise CourseError(
            f"{path}: the header of a pair, and {stem_of(path.name)}.img is not beside it; copy "
            "both, or convert them to one .nii file"
        )
    regular_file(found, "check the path")
    return found


def _beside(path: Path, suffix: str) -> Path | None:
    """Return the file of the same stem and this suffix, small or capital, or None."""
    names = [stem_of(path.name) + each for each in (suffix, suffix.upper())]
    return next((path.with_name(name) for name in names if path.with_name(name).exists()), None)


@contextmanager
def _open_bytes(path: Path) -> Iterator[BinaryIO]:
    """Open a file for reading, unpacked if it begins like a gzip stream, whatever its name."""
    with path.open("rb") as file:
        # With the method of packing, always 8: a voxel may be the first two.
        packed = file.read(3) == b"\x1f\x8b\x08"
        file.seek(0)
        if packed:
            with gzip.GzipFile(fileobj=file) as stream:
                yield stream
        else:
            yield file


def _exactly(stream: BinaryIO, path: Path, count: int) -> bytes:
    data = stream.read(count)
    if len(data) < count:
        raise _damaged(path, f"it ends {count - len(data)} bytes before a plane of voxels does")
    return data


def _bytes_left(stream: BinaryIO) -> int:
    """Read on to the end, but no further than `TAIL_BYTES`; return how many bytes there were."""
    count = 0
    while count < TAIL_BYTES and (piece := stream.read(2**20)):
        count += len(piece)
    return count


def _skip(stream: BinaryIO, path: Path, count: int) -> None:
    while count > 0:
        count -= len(_exactly(stream, path, min(count, 2**20)))


def _read_header(path: Path) -> tuple[nibabel.Nifti1Header, bool]:
    """Return the header of a file, and whether the voxels are in the same file."""
    with _open_bytes(path) as stream:
        block = stream.read(540)
    if not block:
        raise CourseError(f"{path}: is empty; copy it again")
    for size, place, digit, single, pair in _KINDS:
        if block[place] in (b"n+" + digit, b"ni" + digit):
            if len(block) < size:
                raise _damaged(path, "it ends within its header")
            is_single = block[place] == b"n+" + digit
            header = (single if is_single else pair)(block[:size], check=False)
            header.check_fix(logger=_SILENT)
            return header, is_single
    if len(block) >= 348 and 348 in (int.from_bytes(block[:4], end) for end in ("little", "big")):
        raise CourseError(
            f"{path}: is Analyze 7.5 or has lost the mark of NIfTI, and does not say which side is "
            "left; convert the DICOM series with dcm2niix"
        )
    raise CourseError(
        f"{path}: is not a NIfTI volume, or only its beginning; copy it again, or convert the "
        "DICOM series with dcm2niix"
    )


def _squeezed(path: Path, shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return (x, y, z) or (x, y, z, n), without axes of length 1 after the third."""
    shape = tuple(int(length) for length in shape)
    wanted = (*shape[:3], *(length for length in shape[3:] if length != 1))
    if any(length < 1 for length in shape):
        raise CourseError(f"{path}: holds no voxels {shape}; export it again")
    if len(wanted) not in (3, 4):
        raise CourseError(
            f"{path}: has {len(wanted)} dimensions {shape}; a volume has 3, several on one grid "
            "have 4: export it as one"
        )
    if len(wanted) == 4 and shape[0] <= 5 < min(wanted[1:]):
        raise CourseError(
            f"{path}: has the shape {shape}, as if the channels came first; save it as "
            f"{(*shape[1:], shape[0])} (np.moveaxis(values, 0, -1))"
        )
    if max(wanted[:3]) > LONGEST_AXIS or math.prod(wanted[:3]) > MOST_VOXELS:
        raise CourseError(
            f"{path}: its header says {' x '.join(map(str, wanted[:3]))} voxels, more than a scan "
            f"of a head has (at most {LONGEST_AXIS} along an axis, {MOST_VOXELS / 1e6:.0f} "
            "million in all); crop it to the head, or export it again"
        )
    return wanted


def _grey_dtype(path: Path, header: nibabel.Nifti1Header) -> np.dtype:
    try:
        dtype = header.get_data_dtype()
    except HeaderDataError as error:
        raise CourseError(
            f"{path}: stores its voxels in a type that cannot be read ({reason(error, 80)}); "
            "save it as 16 bit whole numbers or as 32 bit floats"
        ) from error
    if dtype.names:
        raise CourseError(
            f"{path}: holds colours (RGB), a picture for display and no grey values of a scanner; "
            "export the sequence itself"
        )
    if dtype.kind == "c":
        raise CourseError(f"{path}: holds complex numbers; save their magnitude")
    if dtype.kind not in "iuf" or dtype.itemsize == 0:
        raise CourseError(
            f"{path}: holds no grey values (type {dtype}); export the sequence itself"
        )
    return dtype


def _grid(path: Path, header: nibabel.Nifti1Header, shape: tuple[int, int, int]) -> Grid:
    unit = unit_of(header)
    affine = np.array(header.get_best_affine(), float)
    affine[:3] *= UNIT_MM[unit]
    grid = Grid(shape, affine, bool(header["sform_code"]) or bool(header["qform_code"]), header)
    if not np.isfinite(affine).all() or not grid.voxel_ml > 0:
        raise CourseError(f"{path}: its affine does not place the voxels; export it again")
    edges = np.linalg.norm(affine[:3, :3], axis=0)
    # Flat boxes: two axes of the file that run nearly the same way.
    if np.isnan(grid.axes).any() or grid.voxel_ml * 1000 < 0.1 * edges.prod():
        raise CourseError(f"{path}: its affine does not place the voxels; export it again")
    if edges.min() < VOXEL_MM[0] or edges.max() > VOXEL_MM[1]:
        words = " x ".join(f"{edge:.3g}" for edge in edges)
        said = "names no unit of length" if unit == "unknown" else f"has {unit} as unit of length"
        raise CourseError(
            f"{path}: its voxels would measure {words} mm, which cannot be a head's (the header "
            f"{said}); put the right unit and voxel size into the header, or export it again"
        )
    if (edges * shape).max() > LONGEST_MM:
        raise CourseError(
            f"{path}: its volume would be {(edges * shape).max() / 1000:.3g} m long, which cannot "
            "be a head's; put the right voxel size into the header, or crop it"
        )
    return grid


def _check_length(file: Nifti) -> None:
    """Raise a `CourseError` if a file cannot hold what its header says, before reading it."""
    needed = file.offset + math.prod(file.grid.shape) * file.volumes * file.dtype.itemsize
    size = file.path.stat().st_size
    with _open_bytes(file.path) as stream:
        packed = isinstance(stream, gzip.GzipFile)
    if needed > size * (MOST_BY_GZIP if packed else 1):
        raise _damaged(file.path, f"{size} bytes{' packed' if packed else ''}, its header says "
                                  f"{needed}")  # fmt: skip


def write_nifti(path: str | Path, values: np.ndarray, affine: np.ndarray) -> Path:
    """Write a volume (x, y, z) in mm as .nii.gz, atomically; same values, same bytes."""
    image = nibabel.Nifti1Image(values, affine)
    image.header.set_xyzt_units("mm")
    return _write(path, image)


def write_like(path: str | Path, values: np.ndarray, grid: Grid) -> Path:
    """Write a volume (x, y, z) on the grid of a file, with its unit, sform and qform."""
    image = nibabel.Nifti1Image(values, grid.file_affine)
    if grid.header is None:
        image.header.set_xyzt_units("mm")
    else:
        for field in ("xyzt_units", "sform_code", "qform_code", "srow_x", "srow_y", "srow_z",
                      "quatern_b", "quatern_c", "quatern_d", "qoffset_x", "qoffset_y",
                      "qoffset_z"):  # fmt: skip
            image.header[field] = grid.header[field]
        image.header["pixdim"][:4] = grid.header["pixdim"][:4]
    return _write(path, image)


def _write(path: str | Path, image: nibabel.Nifti1Image) -> Path:
    # Without a name and a time of its own, so that the bytes depend on the values alone.
    with (
        atomic_path(path) as temporary,
        temporary.open("wb") as file,
        gzip.GzipFile("", "wb", compresslevel=4, fileobj=file, mtime=0) as packed,
    ):
        image.to_stream(packed)
    return Path(path)
