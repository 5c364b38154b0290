"""From the axes of a file to axial slices in the cohort's frame, and back.

The slices made here are axial, the brow at the top and, as scanners export them, the patient's
right on the left of the picture (radiological convention).
"""

import math
from dataclasses import dataclass

import nibabel
import numpy as np
from nibabel import orientations
from nibabel.spatialimages import HeaderDataError

from utils.cohort.volumes import resize_image, resize_mask

# The cohort's pictures: 256 pixels over a field of view of 240 mm.
FRAME = 256
PIXEL_MM = 240 / FRAME
# mm for one unit of length of the header. "unknown" is taken as mm, as nearly all programs do.
UNIT_MM = {"unknown": 1.0, "meter": 1000.0, "mm": 1.0, "micron": 0.001}
# Two placements that differ by less are the same: what rounding does to them, in mm.
SAME_MM = 0.05


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
    header : nibabel.Nifti1Header, optional
        Of the file: a mask written for it gets the same unit, sform and qform.
    """

    shape: tuple[int, int, int]
    affine: np.ndarray
    stated: bool = True
    header: nibabel.Nifti1Header | None = None

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

    @property
    def file_affine(self) -> np.ndarray:
        """The affine in the file's own unit of length, which need not be mm; (4, 4)."""
        return self.affine if self.header is None else np.asarray(self.header.get_best_affine())


def unit_of(header: nibabel.Nifti1Header) -> str:
    """Return the header's unit of length; a code that NIfTI does not have is unknown."""
    return {1: "meter", 2: "mm", 3: "micron"}.get(int(header["xyzt_units"]) & 7, "unknown")


def disagreement_mm(grid: Grid) -> float:
    """Return by how much sform and qform of a file place its corners apart, 0 if both are not set.

    Programs differ in which of the two they follow.
    """
    header = grid.header
    if header is None or not (header["sform_code"] and header["qform_code"]):
        return 0.0
    try:
        apart = header.get_sform() - header.get_qform()
    except (HeaderDataError, ValueError):
        return math.inf
    return float(np.abs(corners(grid.shape) @ apart.T).max() * UNIT_MM[unit_of(header)])


def corners(shape: tuple[int, int, int]) -> np.ndarray:
    """Return the indices of the eight corner voxels, with a 1 behind; (8, 4)."""
    index = np.array(list(np.ndindex(2, 2, 2))) * (np.array(shape) - 1)
    return np.column_stack([index, np.ones(8)])


def axes_like(grid: Grid, other: Grid) -> np.ndarray | None:
    """Return how the axes of `grid` run if it has the voxels of `other`, perhaps in another order.

    Returns
    -------
    ndarray, shape (3, 2), or None
        As `Grid.axes`, so that both files give the same slices; None where the voxels of the two
        are not the same.
    """
    change = np.linalg.inv(other.affine) @ grid.affine
    steps = np.round(change[:3, :3])
    if not (np.abs(steps).sum(axis=0) == 1).all() or not (np.abs(steps).sum(axis=1) == 1).all():
        return None
    onto = np.abs(steps).argmax(axis=0)  # of each axis of `grid`, the axis of `other`
    if tuple(np.asarray(other.shape)[onto]) != tuple(grid.shape):
        return None
    places = corners(grid.shape)
    there = places @ change.T
    exact = places @ np.block([[steps, np.round(change[:3, 3:])], [np.zeros((1, 3)), 1]]).T
    apart = np.linalg.norm((there - exact)[:, :3] * np.linalg.norm(other.affine[:3, :3], axis=0),
                           axis=1).max()  # fmt: skip
    inside = (exact[:, :3] >= 0).all() and (exact[:, :3] < other.shape).all()
    if apart > SAME_MM or not inside:
        return None
    return np.array([[other.axes[to, 0], steps[to, axis] * other.axes[to, 1]]
                     for axis, to in enumerate(onto)])  # fmt: skip


def to_slices(values: np.ndarray, grid: Grid, axes: np.ndarray | None = None) -> np.ndarray:
    """Return a file's volume (x, y, z) as axial slices (slices, height, width), lowest first.

    Axes are swapped and turned around as far as that goes without interpolating: a tilt of the
    head remains. `axes` stand in for those of the grid, see `axes_like`.
    """
    canonical = orientations.apply_orientation(values, grid.axes if axes is None else axes)
    return canonical.transpose(2, 1, 0)[:, ::-1, ::-1]


def from_slices(slices: np.ndarray, grid: Grid) -> np.ndarray:
    """Return slices as a volume with the axes of the file: undoes `to_slices`."""
    canonical = slices[:, ::-1, ::-1].transpose(2, 1, 0)
    start = orientations.axcodes2ornt("RAS")
    return orientations.apply_orientation(canonical, orientations.ornt_transform(start, grid.axes))


def to_frame(slices: np.ndarray, grid: Grid, start: tuple[int, int] | None = None) -> np.ndarray:
    """Return slices at the cohort's pixel size, padded or cropped to its frame.

    Parameters
    ----------
    slices : ndarray of uint8, shape (slices, height, width)
        From `to_slices`.
    grid : Grid
    start : (int, int), optional
        Row and column at which the frame begins, in pixels of 0.94 mm from the upper left corner
        of the slice; without it the frame lies about the middle.

    Returns
    -------
    ndarray of uint8, shape (slices, 256, 256)
        Pixels of 0.94 mm.
    """
    size = size_at_pixel_mm(slices.shape[1:], grid)
    start = start or middle_start(size, (FRAME, FRAME))
    framed = np.empty((len(slices), FRAME, FRAME), slices.dtype)
    for place, each in enumerate(slices):
        resized = resize_image(np.ascontiguousarray(each), size)
        framed[place] = window(resized[np.newaxis], start, (FRAME, FRAME))[0]
    return framed


def from_frame(masks: np.ndarray, grid: Grid, start: tuple[int, int] | None = None) -> np.ndarray:
    """Return 0/1 masks (slices, 256, 256) at the size of the file's slices: undoes `to_frame`."""
    x, y, _ = np.asarray(grid.shape)[np.argsort(grid.axes[:, 0])]
    size = size_at_pixel_mm((y, x), grid)
    row, column = start or middle_start(size, (FRAME, FRAME))
    own = np.empty((len(masks), int(y), int(x)), np.uint8)
    for place, each in enumerate(masks):
        whole = window(each[np.newaxis], (-row, -column), size)[0]
        own[place] = resize_mask(np.ascontiguousarray(whole), (int(y), int(x)))
    return own


def size_at_pixel_mm(size: tuple[int, int], grid: Grid) -> tuple[int, int]:
    """Return the height and width of a slice once its pixels measure 0.94 mm."""
    across, down, _ = grid.voxel_mm
    return tuple(
        max(1, round(count * mm / PIXEL_MM)) for count, mm in zip(size, (down, across), strict=True)
    )


def middle_start(have: tuple[int, int], wanted: tuple[int, int]) -> tuple[int, int]:
    """Return where a window of the size `wanted` begins that has the middle of `have` as its own.

    Taken the other way round it is the same with the other sign.
    """
    return tuple(
        (length - new) // 2 if length > new else -((new - length) // 2)
        for length, new in zip(have, wanted, strict=True)
    )


def window(slices: np.ndarray, start: tuple[int, int], size: tuple[int, int]) -> np.ndarray:
    """Return the part of slices (n, height, width) that begins at `start`, 0 beyond their edges.

    With the negative `start` and the first size it is undone, but for what was cropped.
    """
    out = np.zeros((len(slices), *size), slices.dtype)
    there, here = [slice(None)], [slice(None)]
    for begin, wanted, have in zip(start, size, slices.shape[1:], strict=True):
        first, last = max(begin, 0), min(begin + wanted, have)
        if last <= first:
            return out
        there.append(slice(first - begin, last - begin))
        here.append(slice(first, last))
    out[tuple(there)] = slices[tuple(here)]
    return out


def centred(slices: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Pad slices (n, height, width) with 0, or crop them, to `size` about the same centre.

    Doing it again with the first size gives back all that was not cropped.
    """
    return window(slices, middle_start(slices.shape[1:], size), size)
