"""Patients to try things on: one written as NIfTI, and pictures that a model should not believe.

Every function takes and returns a `Patient`, so that whatever reads one reads the others too.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np
from scipy import ndimage
from skimage import data

from utils.cohort.volumes import head_pixels, resize_image
from utils.patient.axial import FRAME, PIXEL_MM, centred
from utils.patient.nifti import write_nifti
from utils.patient.read import Patient
from utils.patient.sequences import SEQUENCES

# Pictures that come with scikit-image, without a download.
FOREIGN = {
    "eye (retina)": data.retina,
    "colon (microscope)": data.immunohistochemistry,
    "cells (microscope)": data.cell,
    "photographer": data.camera,
    "cup of coffee": data.coffee,
}


def write_example(
    images: np.ndarray, masks: np.ndarray, folder: str | Path, slice_mm: float = 6.0
) -> Path:
    """Write a patient of the cohort as NIfTI: one file a sequence, and the mask.

    TIFF slices do not say where they lie; here they are declared to be 0.94 mm x 0.94 mm x
    `slice_mm`, the patient's right on the left of the picture. The axes of the files run to the
    patient's left, back and top, as scanners store them.

    Parameters
    ----------
    images : ndarray of uint8, shape (slices, height, width, 3)
    masks : ndarray of uint8, shape (slices, height, width)
        1 in the tumour.
    folder : path-like
    slice_mm : float

    Returns
    -------
    pathlib.Path
        The folder.
    """
    affine = np.diag([-PIXEL_MM, -PIXEL_MM, slice_mm, 1.0])
    # The middle of the volume is the origin.
    middle = (np.array([images.shape[2], images.shape[1], len(images)]) - 1) / 2
    affine[:3, 3] = -affine[:3, :3] @ middle
    for place, sequence in enumerate(SEQUENCES):
        write_nifti(Path(folder) / f"{sequence}.nii.gz", images[..., place].T, affine)
    write_nifti(Path(folder) / "mask.nii.gz", masks.T, affine)
    return Path(folder)


def from_picture(picture: np.ndarray, name: str = "picture") -> Patient:
    """Return any picture as if it were a slice, to see what a model makes of it.

    Parameters
    ----------
    picture : ndarray of uint8, shape (height, width) or (height, width, 3)
        The colours become the three sequences.
    name : str

    Returns
    -------
    Patient
        With one slice of 256 x 256; the sides are cut so that it is square.
    """
    if picture.ndim == 2:
        picture = np.stack([picture] * 3, axis=-1)
    height, width = picture.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    square = np.ascontiguousarray(picture[top : top + side, left : left + side])
    return Patient(name, resize_image(square, (FRAME, FRAME))[np.newaxis])


def without(patient: Patient, *sequences: str) -> Patient:
    """Return a patient in whom a copy of FLAIR stands in for the sequences named."""
    images = patient.images.copy()
    for sequence in sequences:
        images[..., _place(sequence)] = images[..., _place("flair")]
    return replace(patient, name=f"{patient.name} without {' and '.join(sequences)}", images=images)


def exchanged(patient: Patient, first: str, second: str) -> Patient:
    """Return a patient in whom two sequences have been taken for each other."""
    images = patient.images.copy()
    places = [_place(first), _place(second)]
    images[..., places] = images[..., places[::-1]]
    return replace(patient, name=f"{patient.name}, {first} for {second}", images=images)


def _place(sequence: str) -> int:
    if sequence not in SEQUENCES:
        raise ValueError(f"sequence {sequence!r}: unknown; choose one of {SEQUENCES}")
    return SEQUENCES.index(sequence)


def mirrored(patient: Patient) -> Patient:
    """Return a patient whose left and right have been exchanged, as a wrong header does."""
    truth = None if patient.truth is None else patient.truth[:, :, ::-1]
    return replace(
        patient, name=f"{patient.name} mirrored", images=patient.images[:, :, ::-1], truth=truth
    )


def skull_stripped(patient: Patient, depth_mm: float = 18.0) -> Patient:
    """Return a patient without what lies less than `depth_mm` below the skin.

    A crude stand-in for a brain extraction: scalp and skull go, and some of the brain's rim.
    """
    stripped = patient.images.copy()
    for image, head in zip(stripped, head_pixels(patient.images), strict=True):
        filled = ndimage.binary_fill_holes(ndimage.binary_closing(head, iterations=4))
        image[ndimage.distance_transform_edt(filled) * PIXEL_MM < depth_mm] = 0
    return replace(patient, name=f"{patient.name} skull-stripped", images=stripped)


def other_plane(
    patient: Patient, plane: str, voxel_mm: tuple[float, float, float], count: int = 26
) -> Patient:
    """Return the same head cut in another plane, as if somebody had mistaken the axes.

    Parameters
    ----------
    patient : Patient
    plane : {"coronal", "sagittal"}
    voxel_mm : tuple of float
        Size of a voxel: width, height and distance of the slices.
    count : int
        How many slices, evenly spaced over the middle two thirds of the head.

    Returns
    -------
    Patient
        `count` slices of 256 x 256 pixels of 0.94 mm, the top of the head at the top; thick
        slices are interpolated linearly. No truth.

    Raises
    ------
    ValueError
        If `plane` is neither.
    """
    if plane not in ("coronal", "sagittal"):
        raise ValueError(f"plane {plane!r}: unknown; choose coronal or sagittal")
    across, down, up = voxel_mm
    axis, along_mm = (1, across) if plane == "coronal" else (2, down)
    occupied = np.flatnonzero(head_pixels(patient.images).any(axis=tuple({0, 1, 2} - {axis})))
    first, last = occupied[0], occupied[-1]
    margin = (last - first) / 6
    chosen = np.linspace(first + margin, last - margin, count).round().astype(int)
    cuts = np.moveaxis(patient.images.take(chosen, axis=axis), axis, 0)[:, ::-1]
    zoom = (1, up / PIXEL_MM, along_mm / PIXEL_MM, 1)
    enlarged = ndimage.zoom(cuts, zoom, order=1, grid_mode=True, mode="nearest")
    channels = [centred(enlarged[..., channel], (FRAME, FRAME)) for channel in range(3)]
    images = np.stack(channels, axis=-1)
    return Patient(f"{patient.name}, {plane}", images)
