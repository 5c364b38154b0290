"""NIfTI volumes: from a file's own axes to slices as the cohort has them, and back.

A NIfTI file says with its affine matrix where each voxel lies in the head; a TIFF does not. The
slices made here are axial, the brow at the top and, as scanners export them, the patient's right
on the left of the picture (radiological convention).
"""

import gzip
import zlib
from dataclasses import dataclass
from pathlib import Path

import nibabel
import numpy as np
from nibabel import orientations
from nibabel.filebasedimages import ImageFileError
from nibabel.spatialimages import HeaderDataError

from utils.config import CourseError, atomic_path
from utils.volumes import resize_image, resize_mask

# The cohort's pictures: 256 pixels over a field of view of 240 mm.
FRAME = 256
PIXEL_MM = 240 / FRAME
# What `robust_8_bit` maps to 0 and to 255. The brightest thousandth is vessels, fat and artefacts.
PERCENTILES = (0.1, 99.9)
SUFFIXES = (".nii", ".nii.gz")


@dataclass(frozen=True)
class Grid:
    """Where the voxels of a file lie.

    Attributes
    ----------
    shape : tuple of int
        Voxels along the file's three axes.
    affine : ndarray of float, shape (4, 4)
        From voxel indices to mm: rightwards, forwards, upwards.
    stated : bool
        Whether the file says so itself; otherwise NIfTI's fallback was taken.
    """

    shape: tuple[int, int, int]
    affine: np.ndarray
    stated: bool = True

    @property
    def axes(self) -> np.ndarray:
        """Which anatomical axis each of the file's axes runs along, and in which direction."""
        return orientations.io_orientation(self.affine)

    @property
    def voxel_mm(self) -> tuple[float, float, float]:
        """Size of a voxel in mm: left to right, back to front, bottom to top."""
        sizes = np.linalg.norm(self.affine[:3, :3], axis=0)
        order = np.argsort(self.axes[:, 0])
        return tuple(float(size) for size in sizes[order])

    @property
    def voxel_ml(self) -> float:
        """Volume of a voxel in ml."""
        return float(abs(np.linalg.det(self.affine[:3, :3])) / 1000)


def is_nifti(path: Path) -> bool:
    """Return whether a file is named like a NIfTI volume (.nii or .nii.gz)."""
    return path.name.lower().endswith(SUFFIXES)


def read_nifti(path: str | Path) -> tuple[np.ndarray, Grid]:
    """Return the values of a NIfTI file and where they lie.

    Parameters
    ----------
    path : path-like
        Of a volume (x, y, z) or of several (x, y, z, n).

    Returns
    -------
    ndarray of float32, shape (x, y, z) or (x, y, z, n)
        In the order of the file; n is at least 2.
    Grid

    Raises
    ------
    CourseError
        If the file is missing, damaged, no NIfTI, empty, has another number of dimensions or
        values that are no numbers.
    """
    path = Path(path)
    try:
        image = nibabel.load(path)
        values = np.asarray(image.dataobj, dtype=np.float32)
    except FileNotFoundError:
        raise CourseError(f"{path}: no such file; check the path") from None
    except (ImageFileError, HeaderDataError) as error:
        raise CourseError(
            f"{path}: is not a NIfTI volume, or only its beginning; copy it again, or convert the "
            "DICOM series with dcm2niix"
        ) from error
    except (OSError, EOFError, zlib.error, ValueError, TypeError) as error:
        raise CourseError(
            f"{path}: damaged or cut short ({_short(error)}); copy it again"
        ) from error
    if values.ndim > 3 and values.shape[-1] == 1:
        values = values[..., 0]
    _check_values(path, values)
    grid = Grid(values.shape[:3], np.asarray(image.affine, float), _is_stated(image.header))
    if not np.isfinite(grid.affine).all() or grid.voxel_ml == 0:
        raise CourseError(f"{path}: its affine does not place the voxels; export it again")
    return values, grid


def _check_values(path: Path, values: np.ndarray) -> None:
    if values.ndim not in (3, 4):
        raise CourseError(
            f"{path}: has {values.ndim} dimensions {values.shape}; a volume has 3, several on one "
            "grid have 4: export it as one"
        )
    if 0 in values.shape:
        raise CourseError(f"{path}: holds no voxels {values.shape}; export it again")
    wrong = np.count_nonzero(~np.isfinite(values))
    if wrong:
        raise CourseError(
            f"{path}: {wrong} voxels are no number (NaN or infinite); replace them by 0 and save "
            "again"
        )


def _is_stated(header) -> bool:
    return bool(header.get("sform_code", 1)) or bool(header.get("qform_code", 1))


def _short(error: Exception) -> str:
    return " ".join(str(error).split())[:80]


def robust_8_bit(values: np.ndarray) -> np.ndarray:
    """Return a volume on the scale 0..255, linearly, without letting single voxels set the scale.

    Parameters
    ----------
    values : ndarray of float
        Of any scale; what lies outside `PERCENTILES` is clipped.

    Returns
    -------
    ndarray of uint8, of the same shape
        All 0 for a constant volume.
    """
    low, high = np.percentile(values, PERCENTILES)
    if high <= low:
        return np.zeros(values.shape, np.uint8)
    scaled = (np.asarray(values, np.float32) - low) * np.float32(255 / (high - low))
    return np.clip(np.round(scaled), 0, 255).astype(np.uint8)


def to_slices(values: np.ndarray, grid: Grid) -> np.ndarray:
    """Return a file's volume (x, y, z) as axial slices (slices, height, width), lowest first.

    Axes are swapped and turned around as far as that goes without interpolating: a tilt of the
    head remains.
    """
    canonical = orientations.apply_orientation(values, grid.axes)
    return canonical.transpose(2, 1, 0)[:, ::-1, ::-1]


def from_slices(slices: np.ndarray, grid: Grid) -> np.ndarray:
    """Return slices as a volume with the axes of the file: undoes `to_slices`."""
    canonical = slices[:, ::-1, ::-1].transpose(2, 1, 0)
    start = orientations.axcodes2ornt("RAS")
    return orientations.apply_orientation(canonical, orientations.ornt_transform(start, grid.axes))


def to_frame(slices: np.ndarray, grid: Grid) -> np.ndarray:
    """Return slices at the cohort's pixel size, padded or cropped about their centre.

    Parameters
    ----------
    slices : ndarray of uint8, shape (slices, height, width)
        From `to_slices`.
    grid : Grid

    Returns
    -------
    ndarray of uint8, shape (slices, 256, 256)
        Pixels of 0.94 mm.
    """
    size = _size_at_pixel_mm(slices.shape[1:], grid)
    return centred(np.stack([resize_image(each, size) for each in slices]), (FRAME, FRAME))


def from_frame(masks: np.ndarray, grid: Grid) -> np.ndarray:
    """Return 0/1 masks (slices, 256, 256) at the size of the file's own slices."""
    x, y, _ = np.asarray(grid.shape)[np.argsort(grid.axes[:, 0])]
    own = centred(masks, _size_at_pixel_mm((y, x), grid))
    return np.stack([resize_mask(each, (int(y), int(x))) for each in own])


def _size_at_pixel_mm(size: tuple[int, int], grid: Grid) -> tuple[int, int]:
    across, down, _ = grid.voxel_mm
    return tuple(
        max(1, round(count * mm / PIXEL_MM)) for count, mm in zip(size, (down, across), strict=True)
    )


def centred(slices: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Pad slices (n, height, width) with 0, or crop them, to `size` about the same centre.

    Doing it again with the first size gives back all that was not cropped.
    """
    for axis, wanted in zip((1, 2), size, strict=True):
        have = slices.shape[axis]
        if wanted >= have:
            before = (wanted - have) // 2
            widths = [(0, 0)] * 3
            widths[axis] = (before, wanted - have - before)
            slices = np.pad(slices, widths)
        else:
            start = (have - wanted) // 2
            slices = slices.take(range(start, start + wanted), axis=axis)
    return slices


def write_nifti(path: str | Path, values: np.ndarray, affine: np.ndarray) -> Path:
    """Write a volume (x, y, z) as .nii.gz, atomically; same values, same bytes."""
    image = nibabel.Nifti1Image(values, affine)
    image.header.set_xyzt_units("mm")
    with atomic_path(path) as temporary:
        temporary.write_bytes(gzip.compress(image.to_bytes(), compresslevel=4, mtime=0))
    return Path(path)
