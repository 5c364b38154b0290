"""Where the patients of a cohort folder are, and which files are theirs.

A cohort folder holds a folder a patient, and that `<patient>_<n>.tif` and
`<patient>_<n>_mask.tif` for n = 1..N. Nothing is opened here: names only.
"""

import os
import re
import unicodedata
from pathlib import Path
from typing import NamedTuple

from utils.config import CourseError

# The Kaggle archive holds the cohort twice, under these two names.
COPIES = ("kaggle_3m", "lgg-mri-segmentation/kaggle_3m")
LAYOUT = "<patient>/<patient>_<n>.tif"
_FILE = re.compile(r"(?P<patient>.+)_(?P<number>[0-9]+)(?P<mask>_mask)?\.tiff?", re.IGNORECASE)
# A TCGA name ends with the day of the examination: what stands before it is the person.
_TCGA = re.compile(r"(?P<person>TCGA_[^_]+_[^_]+)_[0-9]{8}", re.IGNORECASE)


class PatientFiles(NamedTuple):
    """One patient's files: `slices` and `masks` map the slice number to the file's path."""

    patient: str
    folder: Path
    slices: dict[int, str]
    masks: dict[int, str]


def find_cohort_folder(path: str | os.PathLike) -> Path:
    """Return the folder that holds the patient folders.

    Parameters
    ----------
    path : path-like
        That folder; or its parent; or the folder of the unpacked Kaggle archive, which holds
        the cohort twice (`kaggle_3m` and `lgg-mri-segmentation/kaggle_3m`): it is read once.

    Raises
    ------
    CourseError
        If there is no such folder, or more than one that it could be.
    """
    path = Path(path)
    if not path.is_dir():
        raise CourseError(f"{path}: no such folder; give the folder that holds {LAYOUT}")
    here = patient_names(path)
    copies = [path / name for name in COPIES if patient_names(path / name)]
    if here and copies:
        raise CourseError(
            f"{path}: holds the same patient twice, or two cohorts: patient folders of its own "
            f"and more in {copies[0]}; give one of the two, or delete one"
        )
    if here:
        return path
    if len(copies) == 2:
        _check_copies(*copies)
    if copies:
        return copies[0]
    below = [folder for folder in _subfolders(path) if patient_names(folder)]
    if len(below) == 1:
        return below[0]
    if below:
        names = ", ".join(folder.name for folder in below[:4])
        raise CourseError(f"{path}: holds {len(below)} cohorts ({names}); give one of them")
    raise CourseError(f"{path}: {_why_no_cohort(path)}")


def patient_names(folder: str | os.PathLike) -> set[str]:
    """Return the names of the subfolders of `folder` that hold a slice named after them."""
    return {child.name for child in _subfolders(Path(folder)) if _is_patient(child)}


def list_patients(root: str | os.PathLike) -> list[PatientFiles]:
    """Return the files of every patient in the cohort folder `root`, sorted by patient's name.

    Raises
    ------
    CourseError
        If a folder or a file does not fit the layout, a patient is there twice, or a slice
        number is missing.
    """
    patients = [patient_files(folder) for folder in _subfolders(Path(root))]
    seen: dict[str, PatientFiles] = {}
    for found in patients:
        other = seen.setdefault(found.patient.casefold(), found)
        if other is not found:
            raise CourseError(
                f"{found.folder}: the same patient twice, also in {other.folder}; keep one"
            )
    return sorted(patients, key=lambda found: found.patient)


def person(patient: str) -> str:
    """Return who a patient's name stands for: a TCGA name without the day of the examination."""
    match = _TCGA.fullmatch(patient)
    return (match["person"] if match else patient).casefold()


def institution(patient: str) -> str:
    """Return the second part of a patient's name (`TCGA_DU_...` -> "DU"), or "unknown"."""
    parts = patient.split("_")
    return parts[1] if len(parts) > 2 and parts[1] else "unknown"


def slice_of(name: str, patient: str) -> tuple[int, bool] | None:
    """Return (slice number, is it a mask) of a file of this patient, None for any other name.

    Parameters
    ----------
    name : str
        A file's name without its folder.
    patient : str
        The name of the patient's folder. Composed and decomposed letters (macOS) are the same.
    """
    match = _FILE.fullmatch(_composed(name))
    if match is None or match["patient"] != _composed(patient):
        return None
    return int(match["number"]), match["mask"] is not None


def patient_files(folder: Path) -> PatientFiles:
    """Return the files of the patient in `folder`; raises like `list_patients`."""
    patient = _composed(folder.name)
    files: dict[bool, dict[int, str]] = {False: {}, True: {}}
    with os.scandir(folder) as entries:
        names = sorted(entry.name for entry in entries if _is_tiff(entry.name))
    for name in names:
        found = slice_of(name, patient)
        path = os.path.join(folder, name)
        if found is None:
            raise CourseError(
                f"{path}: is not named {patient}_<n>.tif or {patient}_<n>_mask.tif after its "
                "folder; rename it, or move it to its own patient"
            )
        number, is_mask = found
        other = files[is_mask].setdefault(number, path)
        if other != path:
            raise CourseError(f"{path}: slice {number} is there twice, also in {other}; keep one")
    _check_numbers(folder, files[False], files[True])
    return PatientFiles(patient, folder, files[False], files[True])


def _check_numbers(folder: Path, slices: dict[int, str], masks: dict[int, str]) -> None:
    if not slices:
        raise CourseError(
            f"{folder}: holds no slice {folder.name}_<n>.tif; copy the patient again, or move the "
            "folder out of the cohort"
        )
    missing = sorted(set(range(1, max(slices) + 1)) - set(slices))
    if missing or 0 in slices:
        problem = f"slice {missing[0]} is missing" if missing else "a slice has the number 0"
        raise CourseError(
            f"{folder}: gap in the slice numbers: {problem} (they run from 1 to "
            f"{max(slices)}); copy the patient again, or renumber the slices"
        )
    orphans = sorted(set(masks) - set(slices))
    if orphans:
        raise CourseError(
            f"{masks[orphans[0]]}: a mask without its slice; copy the patient again, or delete it"
        )


def _check_copies(first: Path, second: Path) -> None:
    different = patient_names(first) ^ patient_names(second)
    if different:
        raise CourseError(
            f"{first} and {second}: the two copies of the cohort differ ({min(different)} is in "
            "one only); delete the incomplete one"
        )


def _why_no_cohort(path: Path) -> str:
    if any(slice_of(child.name, path.name) for child in path.iterdir()):
        return f"is the folder of one patient; give its parent, {path.resolve().parent}"
    archives = sorted(child.name for child in path.glob("*.zip"))
    if archives:
        return f"holds no patient folders but {archives[0]}; give {path / archives[0]}"
    return f"no patients in this folder; give the folder that holds {LAYOUT}"


def _subfolders(folder: Path) -> list[Path]:
    """Return the subfolders, sorted, without hidden ones and what macOS puts into archives."""
    if not folder.is_dir():
        return []
    with os.scandir(folder) as entries:
        names = [entry.name for entry in entries if entry.is_dir()]
    return [folder / name for name in sorted(names) if name[0] != "." and name != "__MACOSX"]


def _is_patient(folder: Path) -> bool:
    with os.scandir(folder) as entries:
        return any(slice_of(entry.name, folder.name) for entry in entries)


def _is_tiff(name: str) -> bool:
    return name.lower().endswith((".tif", ".tiff")) and not name.startswith(".")


def _composed(name: str) -> str:
    return unicodedata.normalize("NFC", name)
