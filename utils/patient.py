"""A patient of one's own: read from a folder of slices or from NIfTI, predicted, saved.

What is read is brought to the cohort's view, so that everything that works on the cohort works
on it: 8 bits, axial, 256 x 256 pixels, pre-contrast, FLAIR and post-contrast as the channels.
"""

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from utils.config import CourseError, atomic_path
from utils.layout import PatientFiles, find_cohort_folder, list_patients, patient_files, slice_of
from utils.nifti import (
    Grid,
    from_frame,
    from_slices,
    is_nifti,
    read_nifti,
    robust_8_bit,
    to_frame,
    to_slices,
    write_nifti,
)
from utils.tiff import read_mask, read_slice
from utils.volumes import normalise_volume, resize_image

# Words in a file's name that tell what it is, such as BraTS and dcm2niix use. The first row that
# fits counts: t1_post is post-contrast.
WORDS = {
    "mask": {"mask", "seg", "segmentation", "label", "labels"},
    "flair": {"flair", "t2f"},
    "post": {"post", "t1ce", "t1c", "t1gd", "gd"},
    "pre": {"pre", "t1", "t1n", "t1w"},
}
SEQUENCES = ("pre", "flair", "post")
NAMES = {"pre": "pre-contrast", "flair": "FLAIR", "post": "post-contrast"}
# Slices cut through a volume whose voxels are longer than this in the plane are blurred.
LONGEST_IN_PLANE_MM = 2.0
# Affines that differ by less lie on one grid: what rounding does to them.
SAME_MM = 0.05


@dataclass(frozen=True)
class Patient:
    """A patient as the cohort has them, and what had to be done to get there.

    Attributes
    ----------
    name : str
    images : ndarray of uint8, shape (slices, height, width, 3)
        Pre-contrast, FLAIR, post-contrast, lowest slice first; not normalised.
    truth : ndarray of uint8, shape (slices, height, width), or None
        1 in the tumour, if somebody has traced it.
    grid : Grid or None
        Of the NIfTI files; None for slices in TIFF, which say nothing about where they lie.
    notes : tuple of str
        What a reader should know before believing anything.
    """

    name: str
    images: np.ndarray
    truth: np.ndarray | None = None
    grid: Grid | None = None
    notes: tuple[str, ...] = ()

    def pictures(self, size: int) -> np.ndarray:
        """Return the slices normalised as a volume, uint8, shape (slices, size, size, 3)."""
        volume = normalise_volume(self.images)
        return np.stack([resize_image(image, (size, size)) for image in volume])


def read_patient(path: str | Path) -> Patient:
    """Read one patient.

    Parameters
    ----------
    path : path-like
        One of: the patient's folder in the cohort layout, or a folder that holds only that one; a
        folder with a NIfTI file a sequence, told apart by their names (``pre`` or ``t1``,
        ``flair``, ``post`` or ``t1ce``, optionally ``mask`` or ``seg``); a NIfTI file with pre,
        FLAIR and post along its fourth axis, or with FLAIR alone.

    Returns
    -------
    Patient
        A sequence that is missing is a copy of FLAIR, and a note says so.

    Raises
    ------
    CourseError
        Naming the file that cannot be used, and the remedy.
    """
    if not str(path):
        raise CourseError("my_patient is empty: give the folder or the file of your patient")
    path = Path(path).expanduser()
    if path.is_file():
        if not is_nifti(path):
            raise CourseError(f"{path}: not a NIfTI volume (.nii, .nii.gz); give one, or a folder")
        return _from_one_file(path)
    if not path.is_dir():
        raise CourseError(f"{path}: no such file or folder; check the path")
    files = sorted(each for each in path.iterdir() if is_nifti(each) and each.name[0] != ".")
    return _from_nifti_files(path, files) if files else _from_slices(_only_patient(path))


def _only_patient(path: Path) -> PatientFiles:
    if any(slice_of(child.name, path.absolute().name) for child in path.iterdir()):
        return patient_files(path.absolute())
    root = find_cohort_folder(path)
    found = list_patients(root)
    if len(found) > 1:
        raise CourseError(
            f"{root}: holds {len(found)} patients; give the folder of one, such as "
            f"{found[0].folder}, or predict all with python -m utils.predict"
        )
    return found[0]


def _from_slices(files: PatientFiles) -> Patient:
    numbers = sorted(files.slices)
    images = [read_slice(files.slices[number]) for number in numbers]
    for number, image in zip(numbers, images, strict=True):
        if image.shape != images[0].shape:
            raise CourseError(
                f"{files.slices[number]}: is {image.shape[0]} x {image.shape[1]} pixels, the first "
                f"slice {images[0].shape[0]} x {images[0].shape[1]}; export all at one size"
            )
    truth = None
    if set(files.masks) == set(files.slices):
        size = images[0].shape[:2]
        truth = np.stack([read_mask(files.masks[number], size) for number in numbers])
    _check_flair(files.folder, np.stack(images)[..., 1])
    notes = ("TIFF slices do not say which side is left, nor how large a pixel is",)
    return Patient(files.patient, np.stack(images), truth, None, notes)


def _from_one_file(path: Path) -> Patient:
    values, grid = read_nifti(path)
    if values.ndim == 4 and values.shape[-1] != 3:
        raise CourseError(
            f"{path}: holds {values.shape[-1]} volumes, 3 are expected (pre-contrast, FLAIR, "
            "post-contrast); keep these, or give a folder with a file each"
        )
    volumes = values[..., np.newaxis] if values.ndim == 3 else values
    names = ("flair",) if values.ndim == 3 else SEQUENCES
    found = {name: volumes[..., place] for place, name in enumerate(names)}
    name = path.name[: path.name.lower().rindex(".nii")]
    return _assemble(name, path, found, None, grid, [])


def _from_nifti_files(folder: Path, files: list[Path]) -> Patient:
    """Read a folder that holds a file a sequence."""
    paths: dict[str, Path] = {}
    notes = []
    for file in files:
        kind = kind_of(file.name)
        if kind is None:
            notes.append(f"{file.name} was not used: its name tells no sequence that we know")
        elif kind in paths:
            raise CourseError(f"{file}: a second file for {kind}, beside {paths[kind].name}; "
                              "keep one")  # fmt: skip
        else:
            paths[kind] = file
    if "flair" not in paths:
        raise CourseError(
            f"{folder}: no FLAIR in it, and the tumour is seen there; name it flair.nii.gz"
        )
    first, grid = read_nifti(paths["flair"])
    found = {"flair": first}
    for kind, file in paths.items():
        if kind != "flair":
            found[kind], other = read_nifti(file)
            _check_same_grid(file, other, paths["flair"], grid)
    for kind, values in found.items():
        if values.ndim != 3:
            raise CourseError(
                f"{paths[kind]}: holds {values.shape[-1]} volumes, one is expected; keep one"
            )
    return _assemble(folder.absolute().name, folder, found, found.pop("mask", None), grid, notes)


def kind_of(name: str) -> str | None:
    """Return ``pre``, ``flair``, ``post`` or ``mask`` by the words in a file's name, or None."""
    words = set(re.split(r"[^a-z0-9]+", name.lower()))
    return next((kind for kind, known in WORDS.items() if words & known), None)


def _check_same_grid(file: Path, grid: Grid, flair_file: Path, flair: Grid) -> None:
    if grid.shape != flair.shape:
        raise CourseError(
            f"{file}: has the shape {grid.shape}, {flair_file.name} has {flair.shape}; register "
            "and resample all sequences to one grid first"
        )
    # How far apart the two files place the same corner voxels.
    corners = np.array([[0, 0, 0, 1], [*flair.shape, 1]], float)
    apart = np.abs(corners @ (grid.affine - flair.affine).T).max()
    if apart > SAME_MM:
        raise CourseError(
            f"{file}: lies elsewhere in space than {flair_file.name}, by up to {apart:.1f} mm; "
            "register and resample all sequences to one grid first"
        )


def _assemble(name, path, found, mask, grid: Grid, notes: list[str]) -> Patient:
    """Bring the volumes of a patient to the cohort's view."""
    _check_flair(path, found["flair"])
    across, down, _ = grid.voxel_mm
    if not grid.stated:
        notes.append("the file does not say how it is oriented; NIfTI's fallback was taken")
    if max(across, down) > LONGEST_IN_PLANE_MM:
        notes.append(
            f"voxels are {across:.1f} x {down:.1f} mm in the axial plane: the volume was not "
            "acquired in axial slices, and the pictures are blurred"
        )
    channels = {}
    for sequence in SEQUENCES:
        if sequence not in found:
            notes.append(f"no {NAMES[sequence]} sequence: a copy of FLAIR stands in for it")
            continue
        channels[sequence] = to_frame(to_slices(robust_8_bit(found[sequence]), grid), grid)
    images = [channels.get(sequence, channels["flair"]) for sequence in SEQUENCES]
    truth = None
    if mask is not None:
        traced = to_slices((mask > 0).astype(np.uint8) * np.uint8(255), grid)
        truth = (to_frame(traced, grid) >= 128).astype(np.uint8)
    return Patient(name, np.stack(images, axis=-1), truth, grid, tuple(notes))


def _check_flair(path: Path, flair: np.ndarray) -> None:
    if np.ptp(flair) == 0:
        raise CourseError(
            f"{path}: its FLAIR is empty, every voxel is {flair.flat[0]:g}; export it again"
        )


def save_masks(patient: Patient, masks: np.ndarray, out: str | Path) -> list[Path]:
    """Write the masks of a patient.

    Parameters
    ----------
    patient : Patient
    masks : ndarray of uint8, shape (slices, height, width)
        1 in the tumour, at the size of `patient.images`.
    out : path-like

    Returns
    -------
    list of pathlib.Path
        ``<out>/<name>/<name>_<n>_mask.png`` (0 or 255) for every slice; for a patient from NIfTI
        then also ``<out>/<name>/<name>_mask.nii.gz`` (0 or 1) on the grid of the patient's files.

    Raises
    ------
    CourseError
        If the masks are not of the patient's size.
    """
    if masks.shape != patient.images.shape[:3]:
        raise CourseError(
            f"masks of shape {masks.shape} for pictures of {patient.images.shape[:3]}; predict the "
            "same patient that you save"
        )
    folder = Path(out) / patient.name
    written = []
    for number, mask in enumerate(masks, start=1):
        file = folder / f"{patient.name}_{number}_mask.png"
        with atomic_path(file) as temporary:
            Image.fromarray(mask * np.uint8(255)).save(temporary)
        written.append(file)
    if patient.grid is not None:
        own = from_slices(from_frame(masks, patient.grid), patient.grid)
        file = folder / f"{patient.name}_mask.nii.gz"
        written.append(write_nifti(file, np.ascontiguousarray(own), patient.grid.affine))
    return written
