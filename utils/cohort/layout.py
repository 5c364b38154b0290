"""Where the patients of a cohort folder are, and which files are theirs.

A cohort folder holds a folder a patient, and that `<patient>_<n>.tif` and
`<patient>_<n>_mask.tif` for n = 1..N. Nothing is opened here: names only.
"""

import mimetypes
import os
import re
import unicodedata
from pathlib import Path
from typing import NamedTuple

from utils.config import CourseError
from utils.files import tell_read_errors

# The Kaggle archive holds the cohort twice, under these two names.
COPIES = ("kaggle_3m", "lgg-mri-segmentation/kaggle_3m")
LAYOUT = "<patient>/<patient>_<n>.tif"
# No more digits than a number in a table can hold.
_FILE = re.compile(r"(?P<patient>.+)_(?P<number>[0-9]{1,18})(?P<mask>_mask)?\.tiff?", re.I | re.S)
# Words in the names of files that hold masks, in whatever form.
_MASK_WORDS = {"mask", "masks", "seg", "segmentation", "label", "labels"}
# What `utils.models.predict` writes: a cohort folder may hold the results of an earlier run.
RESULTS_TABLE = "slices.csv"
# By which `utils.config.hold_folder` tells who is, or was, at work in a folder.
_HELD_BY = ".holder"
# A name has at most so many bytes on every common disk; that of a predicted mask is the longest.
LONGEST_NAME = 255
# A TCGA name ends with the day of the examination: what stands before it is the person.
_TCGA = re.compile(r"(?P<person>TCGA_[^_]+_[^_]+)_[0-9]{8}", re.IGNORECASE)


class PatientFiles(NamedTuple):
    """One patient's files: `slices` and `masks` map the slice number to the file's path."""

    patient: str
    folder: Path
    slices: dict[int, str]
    masks: dict[int, str]


class Listings(dict):
    """What lies in each folder, listed once: Path -> list of os.DirEntry.

    A cohort may lie on a slow disk or a network's: whoever finds it and then reads it hands one
    on. What changes in a folder after that is not seen.
    """

    def __missing__(self, folder: Path) -> list[os.DirEntry]:
        with tell_read_errors(folder), os.scandir(folder) as entries:
            self[folder] = list(entries)
        return self[folder]


def find_cohort_folder(path: str | os.PathLike, listings: Listings | None = None) -> Path:
    """Return the folder that holds the patient folders.

    Parameters
    ----------
    path : path-like
        That folder; or its parent; or the folder of the unpacked Kaggle archive, which holds
        the cohort twice (`kaggle_3m` and `lgg-mri-segmentation/kaggle_3m`): it is read once.
    listings : Listings, optional
        Takes what is listed on the way, for `list_patients`.

    Raises
    ------
    CourseError
        If there is no such folder, or more than one that it could be.
    """
    path = Path(path)
    with tell_read_errors(path):
        return _find_cohort_folder(path, Listings() if listings is None else listings)


def _find_cohort_folder(path: Path, listings: Listings) -> Path:
    if not path.is_dir():
        raise CourseError(f"{path}: no such folder; give the folder that holds {LAYOUT}")
    here = _patient_names(path, listings)
    copies = [path / name for name in COPIES if _patient_names(path / name, listings)]
    if here and copies:
        raise CourseError(
            f"{path}: holds the same patient twice, or two cohorts: patient folders of its own "
            f"and more in {copies[0]}; give one of the two, or delete one"
        )
    if here:
        return path
    if len(copies) == 2:
        _check_copies(*copies, listings)
    if copies:
        _check_beside(path, copies, listings)
        return copies[0]
    below = [folder for folder in _subfolders(path, listings) if _patient_names(folder, listings)]
    if len(below) == 1:
        _check_beside(path, below, listings)
        return below[0]
    if below:
        names = ", ".join(folder.name for folder in below[:4])
        raise CourseError(f"{path}: holds {len(below)} cohorts ({names}); give one of them")
    raise CourseError(f"{path}: {_why_no_cohort(path)}")


def _check_beside(path: Path, found: list[Path], listings: Listings) -> None:
    """Refuse to read the cohort found in `path` and pass over pictures that lie beside it."""
    taken = {path / root.relative_to(path).parts[0] for root in found}
    others = [folder for folder in _subfolders(path, listings) if folder not in taken]
    for folder in (path, *others):
        pictures = _pictures(folder, listings)
        if pictures:
            raise CourseError(
                f"{folder / pictures[0]}: lies beside the cohort {found[0]} and would not be read; "
                f"move it there as {LAYOUT}, or give that folder"
            )


def _patient_names(folder: Path, listings: Listings) -> set[str]:
    """Return the names of the subfolders of `folder` that hold a slice named after them."""
    return {child.name for child in _subfolders(folder, listings) if _is_patient(child, listings)}


def list_patients(
    root: str | os.PathLike, masks: bool = True, listings: Listings | None = None
) -> list[PatientFiles]:
    """Return the files of every patient in the cohort folder `root`, sorted by patient's name.

    Parameters
    ----------
    root : path-like
    masks : bool
        False ignores files of masks, whatever they are called, folders that hold only such, and
        the results of an earlier prediction.
    listings : Listings, optional
        What was listed already.

    Raises
    ------
    CourseError
        If a folder or a file does not fit the layout, a patient is there twice, or a slice
        number is missing.
    """
    listings = Listings() if listings is None else listings
    folders = _subfolders(Path(root), listings)
    loose = _pictures(Path(root), listings)
    if folders and loose:
        raise CourseError(
            f"{Path(root) / loose[0]}: lies beside the patients' folders, in none of them; move it "
            "into that of its patient, or out of the cohort"
        )
    if not masks:
        folders = [folder for folder in folders if not _holds_other_things(folder, listings)]
    patients = [_patient_files(folder, masks, listings) for folder in folders]
    seen: dict[str, PatientFiles] = {}
    for found in patients:
        other = seen.setdefault(found.patient.casefold(), found)
        if other is not found:
            raise CourseError(
                f"{found.folder}: the same patient twice, also in {other.folder}; keep one"
            )
    return sorted(patients, key=lambda found: found.patient)


def person_of(patient: str) -> str:
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
    """Return the files of the patient in `folder`; raises as `list_patients`."""
    return _patient_files(folder, True, Listings())


def _patient_files(folder: Path, masks: bool, listings: Listings) -> PatientFiles:
    patient = _composed(folder.name)
    _check_name(folder)
    files: dict[bool, dict[int, str]] = {False: {}, True: {}}
    for name in _tiffs(folder, listings):
        found = slice_of(name, patient)
        path = os.path.join(folder, name)
        if not masks and (found[1] if found else is_called_mask(name)):
            continue
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


def _check_name(folder: Path) -> None:
    """Check that tables and masks can be written under the patient's name."""
    patient = folder.name
    if not can_be_shown(patient):
        raise CourseError(
            f"{folder}: its name holds a line break or another character that cannot be shown; "
            "rename the folder and its files"
        )
    length = len(os.fsencode(f"{patient}_999_mask.tif"))
    if length > LONGEST_NAME:
        raise CourseError(
            f"{folder}: <patient>_<n>_mask.tif would have {length} bytes, a name may have "
            f"{LONGEST_NAME}; give the folder and its files a shorter name"
        )


def can_be_shown(name: str) -> bool:
    """Return whether a name can be printed and stands in one line, as in a table it has to."""
    # Control characters, line breaks, and surrogates, as which bytes that are no letters arrive.
    unshown = {"Cc", "Cs", "Zl", "Zp"}
    return unshown.isdisjoint(map(unicodedata.category, name))


def _check_numbers(folder: Path, slices: dict[int, str], masks: dict[int, str]) -> None:
    if not slices:
        raise CourseError(
            f"{folder}: holds no slice {folder.name}_<n>.tif; copy the patient again, or move the "
            "folder out of the cohort"
        )
    numbers = sorted(slices)
    if numbers[0] == 0:
        raise CourseError(
            f"{folder}: a slice has the number 0, and they are counted from 1; renumber the slices"
        )
    # Not compared with all numbers up to the largest: that may be a time stamp.
    expected = next((n for n, number in enumerate(numbers, 1) if n != number), None)
    if expected is not None:
        raise CourseError(
            f"{folder}: gap in the slice numbers: slice {expected} is missing ({len(numbers)} "
            f"slices, the last one has the number {numbers[-1]}); copy the patient again, or "
            "renumber the slices from 1"
        )
    orphans = sorted(set(masks) - set(slices))
    if orphans:
        raise CourseError(
            f"{masks[orphans[0]]}: a mask without its slice; copy the patient again, or delete it"
        )


def _check_copies(first: Path, second: Path, listings: Listings) -> None:
    different = _patient_names(first, listings) ^ _patient_names(second, listings)
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


def is_passed_over(name: str) -> bool:
    """Return whether a file or folder is hidden, or what macOS puts into archives."""
    return name.startswith(".") or name == "__MACOSX"


def _subfolders(folder: Path, listings: Listings) -> list[Path]:
    """Return the subfolders, sorted, without hidden ones and what macOS puts into archives."""
    if not folder.is_dir():
        return []
    with tell_read_errors(folder):
        names = [
            entry.name
            for entry in listings[folder]
            if not is_passed_over(entry.name) and _is_folder(entry)
        ]
    return [folder / name for name in sorted(names)]


def _is_folder(entry: os.DirEntry) -> bool:
    """Return whether it is one; raise for a link that may stand for a patient but leads nowhere."""
    # What has the ending of a file, such as .csv, is none; .002 may be the end of a patient's name.
    if entry.is_symlink() and not any(mimetypes.guess_type(entry.name)):
        with tell_read_errors(entry.path, "copy the patient there, or remove the link"):
            os.stat(entry.path)
    try:
        return entry.is_dir()
    except OSError:  # a link that leads back to itself, with the name of a file
        return False


def _is_patient(folder: Path, listings: Listings) -> bool:
    return any(slice_of(entry.name, folder.name) for entry in listings[folder])


def _holds_other_things(folder: Path, listings: Listings) -> bool:
    """Return whether a folder is no patient but a prediction's results, or masks only."""
    if _is_patient(folder, listings):
        return False
    names = _tiffs(folder, listings)
    return (
        (folder / RESULTS_TABLE).is_file()
        # Where a prediction was written into the cohort's own folder.
        or _is_predicted_masks(folder, listings)
        or _is_cut_off_prediction(folder, listings)
        or (bool(names) and all(map(is_called_mask, names)))
    )


def _is_predicted_masks(folder: Path, listings: Listings) -> bool:
    """Return whether it is called ``masks``, and no TIFF lies in it or in its subfolders."""
    if folder.name != "masks" or not folder.is_dir():
        return False
    return not any(_tiffs(place, listings) for place in (folder, *_subfolders(folder, listings)))


def _is_cut_off_prediction(folder: Path, listings: Listings) -> bool:
    """Return whether it holds nothing but predicted masks, no table yet, or not even these.

    Hidden files do not count: those by which a run holds the folder, and what systems leave.
    """
    names = {entry.name for entry in listings[folder]}
    shown = {name for name in names if not is_passed_over(name)}
    if not shown:
        return _HELD_BY in names
    return shown == {"masks"} and _is_predicted_masks(folder / "masks", listings)


def is_called_mask(name: str) -> bool:
    """Return whether a file's name says that it holds a mask, in whatever form."""
    name = Path(name).stem.casefold()
    return name.endswith("mask") or bool(_MASK_WORDS & set(re.split(r"[^a-z]+", name)))


def _tiffs(folder: Path, listings: Listings) -> list[str]:
    """Return the names of the TIFFs in a folder, sorted."""
    return sorted(entry.name for entry in listings[folder] if is_tiff(entry.name))


def _pictures(folder: Path, listings: Listings) -> list[str]:
    """Return the names of the TIFFs in a folder that are not called masks, sorted."""
    return sorted(
        entry.name
        for entry in listings[folder]
        if is_tiff(entry.name) and not is_called_mask(entry.name) and not _is_folder(entry)
    )


def is_tiff(name: str) -> bool:
    """Return whether a file is named like a TIFF that is not hidden."""
    return name.lower().endswith((".tif", ".tiff")) and not name.startswith(".")


def _composed(name: str) -> str:
    return unicodedata.normalize("NFC", name)
