"""A patient of one's own: read from a folder of slices or from NIfTI, predicted, saved.

What is read is brought to the cohort's view, so that everything that works on the cohort works
on it: 8 bits, axial, 256 x 256 pixels, pre-contrast, FLAIR and post-contrast as the channels.
"""

import os
import re
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from utils.cohort.layout import (
    Listings,
    PatientFiles,
    can_be_shown,
    find_cohort_folder,
    list_patients,
    patient_files,
    slice_of,
)
from utils.cohort.tiff import read_mask, read_slice
from utils.cohort.volumes import normalisation, normalise_image, resize_image
from utils.config import CourseError, atomic_path, regular_file
from utils.patient import grey_levels
from utils.patient.axial import Grid, from_frame, from_slices, to_frame, to_slices
from utils.patient.grid import (
    FEWEST_GREYS,
    Sequence,
    axes_on_grid,
    check_extent,
    check_truth,
    count_values,
    measure_levels,
    notes_on_levels,
    notes_on_space,
    place_frame,
    read_bytes,
    read_mask_slices,
)
from utils.patient.nifti import is_nifti, open_nifti, stem_of, write_like
from utils.patient.sequences import (
    HOW_TO_NAME,
    NAMES,
    SEQUENCES,
    UNTOLD,
    kind_of,
    read_name,
    says_all,
    says_only_sequence,
    says_when,
    tell_apart,
)

# Bytes of a name, so that what is written for a patient keeps below the 255 of file systems.
LONGEST_NAME = 200
# How deep below the folder given NIfTI files are looked for, and in how many folders.
DEEPEST, MOST_FOLDERS = 4, 200


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
    start : (int, int), optional
        Row and column of the file's slices (at 0.94 mm) at which `images` begin; without it they
        lie about the middle.
    occupied : (int, int), optional
        First and one after the last slice with some of the head: grey levels are normalised by
        these. Without it, by all.
    sources : dict of str to str
        Which file serves as ``pre``, ``flair``, ``post`` and ``mask``; empty for slices in TIFF.
    """

    name: str
    images: np.ndarray
    truth: np.ndarray | None = None
    grid: Grid | None = None
    notes: tuple[str, ...] = ()
    start: tuple[int, int] | None = None
    occupied: tuple[int, int] | None = None
    sources: dict[str, str] = field(default_factory=dict)

    def pictures(self, size: int) -> np.ndarray:
        """Return the slices normalised as a volume, uint8, shape (slices, size, size, 3)."""
        tables = normalisation(self.images[slice(*(self.occupied or (None, None)))])
        pictures = np.empty((len(self.images), size, size, 3), np.uint8)
        for place, image in enumerate(self.images):
            pictures[place] = resize_image(normalise_image(image, tables), (size, size))
        return pictures

    def files(self) -> list[str]:
        """Return a line for each sequence that says which file serves as it."""
        return [f"{NAMES[kind]}: {file}" for kind, file in self.sources.items()]


def read_patient(path: str | Path) -> Patient:
    """Read one patient.

    The scale to 8 bits is measured on the head alone, and the frame of 240 mm lies about the
    middle of the file, or about the head where it would be cut off there.

    Parameters
    ----------
    path : path-like
        One of: the patient's folder in the cohort layout, or a folder that holds only that one; a
        folder with a NIfTI file a sequence, or one above it, told apart by their names (``pre``
        or ``t1``, ``flair``, ``post`` or ``t1ce``, optionally ``mask`` or ``seg``; see
        `utils.patient.sequences`); a NIfTI file with pre, FLAIR and post along its fourth axis, or
        with FLAIR alone.

    Returns
    -------
    Patient
        Named after what was given; where that names nobody, such as ``anat`` or ``flair.nii.gz``,
        after the folder that it lies in. A sequence that is missing is a copy of FLAIR, and a note
        says so.

    Raises
    ------
    CourseError
        Naming the file that cannot be used, and the remedy.
    """
    if not str(path):
        raise CourseError("my_patient is empty: give the folder or the file of your patient")
    path = Path(path).expanduser()
    if _is_folder(path):
        folder, files, notes = _nifti_files(path)
        if not files:
            return _from_slices(_only_patient(path))
        return _from_nifti_files(_name_of(path), folder, files, notes)
    regular_file(path, "check the path")
    if not (is_nifti(path) or path.name.lower().endswith((".img", ".img.gz"))):
        raise CourseError(f"{path}: not a NIfTI volume (.nii, .nii.gz); give one, or a folder")
    return _from_one_file(path)


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:  # such as a name that is too long: regular_file says so
        return False


def _name_of(folder: Path) -> str:
    """Return whose folder it is: masks are saved under this, and two patients' must not meet.

    ``anat`` lies below every subject in BIDS, and its sessions have the same names in all of them.
    """
    folder = Path(os.path.abspath(folder))  # "." and ".." are no names
    if folder.name.lower() == "anat" or says_only_sequence(folder.name):
        return _name_of(folder.parent)
    if folder.name.lower().startswith("ses-"):
        return f"{_name_of(folder.parent)}_{folder.name}"
    return folder.name or "patient"


def _nifti_files(path: Path) -> tuple[Path, list[Path], list[str]]:
    """Return the folder with a patient's FLAIR, all their NIfTI files, and notes on these.

    They lie in `path` or, once, below it; a folder a series is read as one.
    """
    files = _in_folder(path)
    if files:
        return path, files, []
    below = []
    for place, (folder, names, _) in enumerate(os.walk(path)):
        deep = len(Path(folder).relative_to(path).parts)
        names[:] = sorted(name for name in names if name[0] != ".") if deep < DEEPEST else []
        found = _in_folder(Path(folder))
        if found:
            below.append((Path(folder), found))
        if place >= MOST_FOLDERS:
            break
    telling = [each for each in below if any(kind_of(file.name) == "flair" for file in each[1])]
    if len(telling) == 1 or (len(below) == 1 and not telling):
        folder, files = (telling or below)[0]
        others = [file for other, found in below if other != folder for file in found]
        more, notes = _from_other_folders(path, folder, files, others)
        return folder, [*files, *more], notes
    if below:
        words = ", ".join(str(folder.relative_to(path)) for folder, _ in (telling or below)[:3])
        more = "which hold a FLAIR each" if telling else "and no file's name says FLAIR"
        raise CourseError(
            f"{path}: NIfTI files lie in {len(telling or below)} folders below it ({words}), "
            f"{more}; put the files of one patient into one folder and give that; {HOW_TO_NAME}"
        )
    return path, [], []


def _from_other_folders(
    path: Path, folder: Path, files: list[Path], others: list[Path]
) -> tuple[list[Path], list[str]]:
    """Return the T1s that lie beside the folder with FLAIR, and notes on what lies elsewhere.

    They belong to it if each folder is called after the sequence in it, and they can be told apart.
    Other folders may be other patients', those that say when may be of another examination, and a
    mask may be one that was predicted.

    Parameters
    ----------
    path : Path
        The folder that was given.
    folder : Path
        That with FLAIR.
    files, others : list of Path
        The NIfTI files in it, and those in the other folders below `path`.
    """
    lacking = {"pre", "post", "mask"} - {kind_of(file.name) for file in files}
    others = [file for file in others if kind_of(file.name) in lacking]
    beside = [
        file
        for file in others
        if file.parent.parent == folder.parent
        and kind_of(file.parent.name) == kind_of(file.name) != "mask"
    ]
    folders = list(dict.fromkeys([folder.name, *(file.parent.name for file in beside)]))
    is_series = kind_of(folder.name) == "flair" and not any(map(says_when, folders))
    if not is_series or not _can_be_told_apart([*files, *beside]):
        beside = []
    notes = []
    if beside:
        notes.append(
            f"the sequences lie in {len(folders)} folders ({', '.join(folders)}) and were read "
            "together"
        )
    unused = [str(file.relative_to(path)) for file in others if file not in beside]
    if unused:
        more = f" and {len(unused) - 3} more" if len(unused) > 3 else ""
        notes.append(
            f"{', '.join(unused[:3])}{more}: not used, since not in the folder of FLAIR "
            f"({folder.relative_to(path)}); put the files of one examination into one folder"
        )
    return beside, notes


def _can_be_told_apart(files: list[Path]) -> bool:
    names = [file.name for file in files]
    try:
        tell_apart(names)
    except CourseError:
        return False
    return len(set(names)) == len(names)


def _in_folder(folder: Path) -> list[Path]:
    """Return the NIfTI files of a folder; a folder or a link to nowhere so named is refused."""
    try:
        children = sorted(folder.iterdir())
    except OSError as error:
        raise CourseError(
            f"{folder}: cannot be listed ({os.strerror(error.errno)}); check its rights"
        ) from error
    files = []
    for child in children:
        # A folder by such a name is what some programs unpack a file into: looked into later.
        if is_nifti(child) and child.name[0] != "." and not _is_folder(child):
            regular_file(child, "check the path")
            files.append(child)
    return files


def _only_patient(path: Path) -> PatientFiles:
    own = Path(os.path.abspath(path))  # "." and ".." are no names
    if any(slice_of(child.name, own.name) for child in path.iterdir()):
        return patient_files(own)
    listings = Listings()
    root = find_cohort_folder(path, listings)
    found = list_patients(root, listings=listings)
    if len(found) > 1:
        raise CourseError(
            f"{root}: holds {len(found)} patients; give the folder of one, such as "
            f"{found[0].folder}, or predict all with python -m utils.predict"
        )
    return found[0]


def _from_slices(files: PatientFiles) -> Patient:
    check_name(files.folder, files.patient)
    numbers = sorted(files.slices)
    first = read_slice(files.slices[numbers[0]])
    size = first.shape[:2]
    images = np.empty((len(numbers), *first.shape), np.uint8)
    for place, number in enumerate(numbers):
        image = read_slice(files.slices[number])
        if image.shape != first.shape:
            raise CourseError(
                f"{files.slices[number]}: is {image.shape[0]} x {image.shape[1]} pixels, the first "
                f"slice {size[0]} x {size[1]}; export all at one size"
            )
        images[place] = image
    truth = None
    if set(files.masks) == set(files.slices):
        truth = np.empty((len(numbers), *size), np.uint8)
        for place, number in enumerate(numbers):
            truth[place] = read_mask(files.masks[number], size)
    if np.ptp(images[..., 1]) == 0:
        raise CourseError(
            f"{files.folder}: its FLAIR is empty, every voxel is {images[0, 0, 0, 1]}; export it "
            "again"
        )
    notes = ["TIFF slices do not say which side is left, nor how large a pixel is"]
    if files.masks and truth is None:
        notes.append(
            f"masks for {len(files.masks)} of {len(files.slices)} slices: they were not used"
        )
    return Patient(files.patient, images, truth, None, tuple(notes))


def _from_one_file(path: Path) -> Patient:
    file = open_nifti(path)
    if file.volumes not in (1, 3):
        raise CourseError(
            f"{path}: holds {file.volumes} volumes, 3 are expected (pre-contrast, FLAIR, "
            "post-contrast, in this order); keep these, or give a folder with a file each"
        )
    _check_name_says(path, file.volumes)
    if file.volumes == 3:
        sources = {kind: f"{path.name}, volume {place}" for place, kind in enumerate(SEQUENCES, 1)}
    else:
        sources = {"flair": path.name}
    sequences = {kind: Sequence(file, place, file.grid.axes) for place, kind in enumerate(sources)}
    name = stem_of(path.name)
    if not name or says_only_sequence(name):
        name = _name_of(path.parent)
    return _assemble(name, path, sequences, sources, [])


def _check_name_says(path: Path, volumes: int) -> None:
    """Refuse a single file whose name says something else than what its volumes are taken as."""
    reading = read_name(path.name)
    fits = reading.kind == "flair" if volumes == 1 else says_all(path.name)
    if fits or reading.why == UNTOLD:
        return
    said = NAMES.get(reading.kind, reading.why.removeprefix("its name says "))
    taken, remedy = "a single volume is taken as FLAIR", "give the FLAIR"
    if volumes == 3:
        taken = "its 3 volumes are taken as pre-contrast T1, FLAIR and post-contrast T1"
        remedy = "if it holds these, take the word out of its name"
    raise CourseError(
        f"{path}: {taken}, and its name says {said}; {remedy}, or give a folder with a file a "
        "sequence"
    )


def _from_nifti_files(name: str, folder: Path, paths: list[Path], notes: list[str]) -> Patient:
    """Read the files of a patient, one a sequence; `folder` is that with FLAIR."""
    places = {path.name: path for path in paths}
    sources, more = tell_apart(places)
    notes = [*notes, *more]
    if "flair" not in sources:
        taken = [f"{file} as {NAMES[kind]}" for kind, file in sources.items()]
        raise CourseError(
            f"{folder}: no FLAIR in it ({'; '.join([*taken, *notes])}), and the tumour is seen "
            "there; name it flair.nii.gz"
        )
    paths = {kind: places[file] for kind, file in sources.items()}
    files = {kind: open_nifti(path) for kind, path in paths.items()}
    flair = files["flair"]
    for kind, file in files.items():
        if file.volumes != 1:
            raise CourseError(
                f"{paths[kind]}: holds {file.volumes} volumes, one is expected; keep one"
            )
    sequences = {
        kind: Sequence(file, 0, axes_on_grid(paths[kind], file.grid, flair))
        for kind, file in files.items()
    }
    shown = {
        kind: path.name if path.parent == folder else f"{path.parent.name}/{path.name}"
        for kind, path in paths.items()
    }
    ordered = {kind: shown[kind] for kind in (*SEQUENCES, "mask") if kind in shown}
    return _assemble(name, folder, sequences, ordered, notes)


def _assemble(
    name: str, path: Path, sequences: dict[str, Sequence], sources: dict[str, str], notes: list
) -> Patient:
    """Bring the volumes of a patient to the cohort's view."""
    check_name(path, name)
    grid = sequences["flair"].file.grid
    size = check_extent(path, grid)
    notes = [*notes, *notes_on_space(grid)]
    levels = {kind: measure_levels(each) for kind, each in sequences.items() if kind != "mask"}
    if not levels["flair"].white > levels["flair"].black:
        raise CourseError(
            f"{path}: its FLAIR is empty, every voxel is {levels['flair'].white:g}; export it again"
        )
    if count_values(sequences["flair"], FEWEST_GREYS) < FEWEST_GREYS:
        raise CourseError(
            f"{sequences['flair'].path}: holds a handful of values, as a mask does, and is taken "
            "as FLAIR; give the FLAIR, and call a mask mask.nii.gz"
        )
    for kind in ("pre", "post"):
        if kind in levels and not levels[kind].white > levels[kind].black:
            notes.append(f"{sources.pop(kind)} is empty: it is left out")
            del levels[kind]
        elif kind in levels and count_values(sequences[kind], FEWEST_GREYS) < FEWEST_GREYS:
            notes.append(
                f"{sources.pop(kind)} holds a handful of values, as a mask does: it is left out; "
                "if it is one, call it mask.nii.gz"
            )
            del levels[kind]
        elif kind in levels:
            notes += notes_on_levels(sources[kind], levels[kind], sequences[kind])
    notes += notes_on_levels(sources["flair"], levels["flair"], sequences["flair"])
    box = next((levels[kind].box for kind in ("flair", "post", "pre")
                if kind in levels and levels[kind].box), None)  # fmt: skip
    lost = [sources[kind] for kind in levels if levels[kind].box is None]
    if lost:
        notes.append(
            f"no head could be told from the air around it in {', '.join(lost)}: the grey levels "
            "are those of all that is not air"
        )
    start, more = place_frame(size, grid, box)
    notes += more
    channels = {}
    for kind in SEQUENCES:
        if kind not in levels:
            notes.append(f"no {_SHORT[kind]} sequence: a copy of FLAIR stands in for it")
            continue
        bytes_ = read_bytes(sequences[kind], lambda plane, kind=kind: grey_levels.to_8_bit(
            plane, levels[kind]))  # fmt: skip
        channels[kind] = to_frame(to_slices(bytes_, grid, sequences[kind].axes), grid, start)
    images = np.stack([channels.get(kind, channels["flair"]) for kind in SEQUENCES], axis=-1)
    truth = None
    if "mask" in sequences:
        traced, note = read_mask_slices(sequences["mask"], sources["mask"])
        if note:
            notes.append(note)
        if traced is not None:
            truth = (to_frame(traced, grid, start) >= 128).astype(np.uint8)
            truth, note = check_truth(truth, images, levels["flair"], sources["mask"])
            if note:
                notes.append(note)
        if truth is None:
            sources = {kind: file for kind, file in sources.items() if kind != "mask"}
    return Patient(name, images, truth, grid, tuple(notes), start, box and box[0], sources)


_SHORT = {"pre": "pre-contrast", "flair": "FLAIR", "post": "post-contrast"}


def check_name(path: Path, name: str) -> None:
    """Refuse a name that cannot be shown, or leaves no room for what is added to it in files'."""
    if not can_be_shown(name):
        raise CourseError(
            f"{path}: its name holds a line break or another character that cannot be shown; "
            "rename the file or its folder"
        )
    if len(os.fsencode(name)) > LONGEST_NAME:
        raise CourseError(
            f"{path}: a name of {len(os.fsencode(name))} bytes is too long for the files that are "
            f"written for it; shorten it to {LONGEST_NAME}"
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
        Masks of further slices, which an earlier patient of this name had, are removed, and so is
        that patient's ``.nii.gz`` where this one has none.

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
    volume = folder / f"{patient.name}_mask.nii.gz"
    if patient.grid is None:
        volume.unlink(missing_ok=True)
    else:
        own = from_slices(from_frame(masks, patient.grid, patient.start), patient.grid)
        written.append(write_like(volume, own, patient.grid))
    number_of = re.compile(re.escape(patient.name) + r"_([0-9]+)_mask\.png")
    for file in folder.iterdir():
        match = number_of.fullmatch(file.name)
        if match and int(match[1]) > len(masks):
            file.unlink()
    return written
