"""The volumes of a patient in NIfTI: on one grid, in 8 bits, in the cohort's frame.

Voxels are read plane by plane, and as bytes from then on: three sequences of 400 slices of
1024 x 1024 pixels take well under 1 GiB.
"""

import math
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from utils.config import CourseError
from utils.patient import grey_levels
from utils.patient.axial import (
    FRAME,
    PIXEL_MM,
    SAME_MM,
    Grid,
    axes_like,
    corners,
    disagreement_mm,
    middle_start,
    size_at_pixel_mm,
    to_slices,
)
from utils.patient.grey_levels import Levels
from utils.patient.nifti import Nifti

# Slices cut through a volume whose voxels are longer than this in the plane are blurred.
LONGEST_IN_PLANE_MM = 2.0
# Slices that a patient may have, and how wide they may be, in mm.
MOST_SLICES = 1024
WIDE_MM = (20.0, 2000.0)
# Values that are looked at to find the head and its grey levels; of larger volumes, a part.
MOST_SAMPLED = 2**25
# A mask that covers more of the head is no tumour's.
MOST_OF_HEAD = 0.5
# Whole numbers above 0 that a mask may hold: labels of the tumour's parts, or of its pieces.
MOST_LABELS = 16
# A picture of a head holds more values above 0 than this, a mask of labels as in BraTS does not.
FEWEST_GREYS = 5
# The head may reach so far beyond the frame before a note says so: what its edge is uncertain by.
CUT_MM = 5.0


class Sequence(NamedTuple):
    """One volume of a file: which, and how its axes run."""

    file: Nifti
    volume: int
    axes: np.ndarray

    @property
    def path(self) -> Path:
        return self.file.path


def axes_on_grid(path: Path, grid: Grid, flair: Nifti) -> np.ndarray:
    """Return how a file's axes run; raise a `CourseError` if its voxels are not those of FLAIR."""
    axes = axes_like(grid, flair.grid)
    if axes is not None:
        return axes
    if sorted(grid.shape) != sorted(flair.grid.shape):
        raise CourseError(
            f"{path}: has the shape {grid.shape}, {flair.path.name} has {flair.grid.shape}; "
            "register and resample all sequences to one grid first"
        )
    # How far apart the two files place the middle and the ends of what they show.
    apart = np.abs(_extent(grid) - _extent(flair.grid)).max()
    said = f"by up to {apart:.1f} mm" if apart > SAME_MM else "its voxels lie between the others"
    raise CourseError(
        f"{path}: lies elsewhere in space than {flair.path.name}, {said}; "
        "register and resample all sequences to one grid first"
    )


def _extent(grid: Grid) -> np.ndarray:
    """Return the lowest and the highest place of a grid's corners along each axis, in mm."""
    places = (corners(grid.shape) @ grid.affine.T)[:, :3]
    return np.stack([places.min(axis=0), places.max(axis=0)])


def check_extent(path: Path, grid: Grid) -> tuple[int, int]:
    """Return height and width of the slices at 0.94 mm; refuse what can be no scan of a head."""
    x, y, z = np.asarray(grid.shape)[np.argsort(grid.axes[:, 0])]
    across, down, _ = grid.voxel_mm
    if z > MOST_SLICES:
        raise CourseError(
            f"{path}: has {z} axial slices, at most {MOST_SLICES} are read; crop it to the head"
        )
    narrow, wide = sorted((x * across, y * down))
    if (narrow < WIDE_MM[0] and min(x, y) > 1) or wide > WIDE_MM[1]:
        raise CourseError(
            f"{path}: its axial slices would measure {x * across:.3g} x {y * down:.3g} mm, which "
            "cannot be a head's; put the right voxel size and unit into the header"
        )
    return size_at_pixel_mm((y, x), grid)


def notes_on_space(grid: Grid) -> list[str]:
    notes = []
    across, down, _ = grid.voxel_mm
    if not grid.stated:
        notes.append("the file does not say how it is oriented; NIfTI's fallback was taken")
    apart = disagreement_mm(grid)
    if apart > 1.0:
        # Not told where the qform places nothing at all.
        told = f" that lie up to {apart:.0f} mm apart" if math.isfinite(apart) else ""
        notes.append(
            f"the header places the voxels in two ways{told}; its sform was taken: check left and "
            "right"
        )
    if max(across, down) > LONGEST_IN_PLANE_MM:
        notes.append(
            f"voxels are {across:.1f} x {down:.1f} mm in the axial plane: the volume was not "
            "acquired in axial slices, and the pictures are blurred"
        )
    return notes


def notes_on_levels(file: str, levels: Levels, sequence: Sequence) -> list[str]:
    if levels.inverted:
        raise CourseError(
            f"{sequence.path}: the air is brighter than the head, its grey levels are inverted; "
            "save the largest value minus each value"
        )
    notes = []
    if levels.no_number:
        notes.append(f"{file}: some voxels are no number (NaN, infinite or absurd); they are black")
    if levels.bright_padding is not None:
        notes.append(
            f"{file}: what lies around the head is {levels.bright_padding:g}, as bright as the "
            "brightest tissue; it was made black. Are the grey levels inverted?"
        )
    return notes


def measure_levels(sequence: Sequence) -> Levels:
    """Measure the grey levels of a sequence, on a part of the voxels if there are very many."""
    shape = sequence.file.grid.shape
    steps = [1, 1, 1]
    while math.prod(-(-length // step) for length, step in zip(shape, steps, strict=True)) > (
        MOST_SAMPLED
    ):
        steps[max(range(3), key=lambda axis: shape[axis] // steps[axis])] *= 2
    thinned = [-(-length // step) for length, step in zip(shape, steps, strict=True)]
    sample = np.empty(thinned, np.float32, order="F")
    for place, plane in enumerate(sequence.file.planes(sequence.volume)):
        if place % steps[2] == 0:
            sample[:, :, place // steps[2]] = plane[:: steps[0], :: steps[1]]
    # Steps and edges in the order of the slices: upwards, downwards in the picture, across.
    order = [int(np.flatnonzero(sequence.axes[:, 0] == axis)[0]) for axis in (2, 1, 0)]
    edges = np.linalg.norm(sequence.file.grid.affine[:3, :3], axis=0) * steps
    return grey_levels.measure(
        to_slices(sample, sequence.file.grid, sequence.axes),
        tuple(float(edges[axis]) for axis in order),
        tuple(steps[axis] for axis in order),
    )


def read_bytes(sequence: Sequence, convert: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """Return a volume with the file's axes as bytes, converted plane by plane."""
    out = np.empty(sequence.file.grid.shape, np.uint8, order="F")
    for place, plane in enumerate(sequence.file.planes(sequence.volume)):
        out[:, :, place] = convert(plane)
    return out


def count_values(sequence: Sequence, most: int) -> int:
    """Return how many different values beside 0 a volume holds, counted up to `most` + 1."""
    found = np.empty(0, np.float32)
    for plane in sequence.file.planes(sequence.volume):
        found = np.union1d(found, plane[(plane != 0) & np.isfinite(plane)])
        if len(found) > most:
            return most + 1
    return len(found)


def place_frame(size: tuple[int, int], grid: Grid, box) -> tuple[tuple[int, int], list[str]]:
    """Return where the frame begins: about the middle of the file, unless that cuts the head.

    Returns
    -------
    (int, int)
        Row and column, in pixels of 0.94 mm.
    list of str
        A note if some of the head, or of a file without one, lies beyond the frame.
    """
    start = list(middle_start(size, (FRAME, FRAME)))
    across, down, _ = grid.voxel_mm
    cut = 0.0
    for axis, mm in ((0, down), (1, across)):
        if size[axis] <= FRAME:
            continue
        if box is None:
            cut = max(cut, (size[axis] - FRAME) * PIXEL_MM)
            continue
        first, last = (edge * mm / PIXEL_MM for edge in box[axis + 1])
        last = min(last, size[axis])
        if first < start[axis] or last > start[axis] + FRAME:
            middle = round((first + last - FRAME) / 2)
            start[axis] = min(max(middle, 0), size[axis] - FRAME)
        beyond = max(start[axis] - first, 0) + max(last - start[axis] - FRAME, 0)
        cut = max(cut, beyond * PIXEL_MM)
    notes = []
    if cut > CUT_MM:
        what = "the file" if box is None else "the head"
        notes.append(
            f"{what} is larger than the frame of 240 mm: up to {cut:.0f} mm of it are cut off, "
            "and nothing is predicted there"
        )
    return (int(start[0]), int(start[1])), notes


def read_mask_slices(sequence: Sequence, file: str) -> tuple[np.ndarray | None, str]:
    """Return the slices of a mask as bytes (0 or 255), or None and why it cannot be one."""
    grid = sequence.file.grid
    least, most, whole, numbers = math.inf, -math.inf, True, True
    for plane in sequence.file.planes():
        numbers &= bool(np.isfinite(plane).all())
        if not numbers:
            return None, f"{file} was not used: it holds voxels that are no number"
        least, most = min(least, float(plane.min())), max(most, float(plane.max()))
        whole &= bool((plane == np.round(plane)).all())
    if least < 0 or (not whole and most > 1):
        return None, (
            f"{file} was not used: its values run from {least:g} to {most:g}, and a mask is 0 "
            "outside the tumour and a whole number inside"
        )
    if whole and count_values(sequence, MOST_LABELS) > MOST_LABELS:
        return None, (
            f"{file} was not used: it holds more than {MOST_LABELS} different values, as a "
            "probability map or a picture does; threshold it"
        )
    above = np.float32(0) if whole else np.float32(0.5)
    bytes_ = read_bytes(sequence, lambda plane: (plane > above) * np.uint8(255))
    note = "" if whole else f"{file} holds shares between 0 and 1: tumour is what exceeds 0.5"
    return to_slices(bytes_, grid, sequence.axes), note


def check_truth(
    truth: np.ndarray, images: np.ndarray, levels: Levels, file: str
) -> tuple[np.ndarray | None, str]:
    """Return the truth, or None and why it is no tumour's."""
    # What is not black in FLAIR is the head and some noise: at least as much as the head.
    head = images[..., 1] > 25
    share = np.count_nonzero(truth) / max(1, np.count_nonzero(head))
    if share > MOST_OF_HEAD and levels.white > levels.black:
        return None, (
            f"{file} was not used: it covers {100 * min(share, 1):.0f} % of the head, as a mask of "
            "the brain does"
        )
    return truth, ""
