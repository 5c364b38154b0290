"""The cohort as a table: one row a slice, every file checked."""

import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd

from utils.cohort.archive import tell_disk_errors, unpack_cohort
from utils.cohort.layout import (
    Listings,
    PatientFiles,
    find_cohort_folder,
    institution,
    list_patients,
    person_of,
)
from utils.cohort.tiff import check_slice, read_header, read_mask
from utils.config import CourseError, hold_folder, prepare_folder, regular_file
from utils.files import open_file, tell_read_errors

COLUMNS = [
    "patient",
    "institution",
    "slice",
    "image_path",
    "mask_path",
    "tumour_px",
    "has_tumour",
]
_SAMPLE_BYTES = 4096
# Pixels of a patient, all slices together: 512 slices of 1024 x 1024. The masks of a prediction
# take one byte for each.
LARGEST_PATIENT = 512 * 1024 * 1024
# How the folder begins into which a zip is unpacked to be predicted.
_UNPACKED = ".cohort-"
_NO_COHORT = "give the cohort's folder or its zip, or get it with python -m utils.download"


def open_cohort(
    path: str | os.PathLike,
    target: str | os.PathLike | None = None,
    masks: bool = True,
) -> Path:
    """Return the folder that holds the patient folders.

    Parameters
    ----------
    path : path-like
        That folder; its parent; the folder of the unpacked Kaggle archive, which holds the
        cohort twice (it is read once); or the zip as Kaggle gives it.
    target : path-like, optional
        Where a zip is unpacked, see `utils.cohort.archive.unpack_cohort`.
    masks : bool
        Whether the masks in a zip are unpacked as well.

    Raises
    ------
    CourseError
        If there is no cohort at `path`, more than one, or the zip cannot be unpacked.
    """
    return find_cohort_folder(_unpacked(path, target, masks))


def _unpacked(path: str | os.PathLike, target: str | os.PathLike | None, masks: bool) -> Path:
    """Return the folder to look for the cohort in: `path`, or that into which it was unpacked."""
    path = Path(path).expanduser().absolute()
    if not os.path.lexists(path):
        raise CourseError(f"{path}: no such file or folder; {_NO_COHORT}")
    with tell_read_errors(path, _NO_COHORT):
        is_folder = path.is_dir()
        if not is_folder:
            regular_file(path, _NO_COHORT)
    if not is_folder:
        if path.suffix.lower() != ".zip":
            raise CourseError(f"{path}: neither a folder nor a .zip; give the cohort's folder")
        path = unpack_cohort(path, target, masks)
    return path


@contextmanager
def cohort_to_predict(path: str | os.PathLike, out: str | os.PathLike) -> Iterator[pd.DataFrame]:
    """Hold a folder for predictions, and return the table of the cohort, without masks.

    A zip is unpacked for the time being: one's own patients are not kept a second time, and never
    stand where the real cohort is looked for. What a killed run left of one is removed.

    Parameters
    ----------
    path : path-like
        As `open_cohort` takes it.
    out : path-like
        The folder that the predictions are written to. It is made, unless `path` is a folder that
        cannot be read; no other process can predict into it meanwhile.

    Yields
    ------
    pandas.DataFrame
        See `read_cohort`; what a zip was unpacked into is deleted afterwards.

    Raises
    ------
    CourseError
        If the cohort cannot be read, `out` cannot be written, or another process holds it.
    """
    is_zip = Path(path).expanduser().is_file()
    table = None if is_zip else read_cohort(path, masks="absent")
    out = prepare_folder(out)
    with hold_folder(out, "choose another --out"):
        if table is not None:
            yield table
            return
        for left in out.glob(f"{_UNPACKED}*"):
            shutil.rmtree(left)
        with tell_disk_errors(out):
            unpacked = tempfile.TemporaryDirectory(prefix=_UNPACKED, dir=out)
        with unpacked as folder:
            root = _unpacked(path, Path(folder) / "cohort", masks=False)
            yield read_cohort(root, masks="absent")


def read_cohort(
    root: str | os.PathLike,
    masks: str = "required",
    patients: int | None = None,
) -> pd.DataFrame:
    """Return the cohort table, having checked every file that it names.

    Masks are decoded in full; of the slices only the header and the length of the file are
    looked at, the rest is checked when `read_slice` reads them.

    Parameters
    ----------
    root : path-like
        The cohort, as `open_cohort` takes it.
    masks : {"required", "absent"}
        "required": every slice has a mask, and every patient at least two slices, as learning
        from whole volumes needs. "absent": for prediction; mask files are ignored if there are
        any, whatever they are called and hold, and a single slice is fine.
    patients : int, optional
        Read only the first so many patients, by name.

    Returns
    -------
    pandas.DataFrame
        One row a slice, sorted by patient, then by slice number:

        - ``patient`` (str): the name of the folder
        - ``institution`` (str): second part of that name, "unknown" if it has fewer than three
        - ``slice`` (int64): 1..N
        - ``image_path``, ``mask_path`` (str): ``mask_path`` is "" without masks
        - ``tumour_px`` (int64): tumour pixels in the mask; without masks Int64, all <NA>
        - ``has_tumour`` (bool); without masks boolean, all <NA>

    Raises
    ------
    CourseError
        Naming the first file that is missing, damaged or not as it should be, and the remedy.
    """
    if masks not in ("required", "absent"):
        raise ValueError(f'masks={masks!r}: must be "required" or "absent"')
    listings = Listings()
    root = find_cohort_folder(_unpacked(root, None, True), listings)
    found = _first(root, list_patients(root, masks == "required", listings), patients)
    if masks == "required":
        _check_for_learning(root, found)
    rows = []
    # No threads: what is done with one file is so short that they only wait for each other.
    for one in found:
        rows += _read_patient(one, masks)
    table = pd.DataFrame(rows, columns=COLUMNS)
    if masks == "absent":
        table = table.astype({"tumour_px": "Int64", "has_tumour": "boolean"})
    return table


def summarise_patients(table: pd.DataFrame) -> pd.DataFrame:
    """Return one row a patient of a cohort table with masks, sorted by patient.

    Parameters
    ----------
    table : pandas.DataFrame
        From `read_cohort`; needs `patient, institution, slice, tumour_px, has_tumour`.

    Returns
    -------
    pandas.DataFrame
        ``patient, institution, slices, tumour_slices, tumour_px, largest_tumour_px``:
        the number of slices and of those with tumour, the tumour's pixels in all slices (its
        volume) and in the slice where it is largest.

    Examples
    --------
    >>> import pandas as pd
    >>> from utils.cohort.table import summarise_patients
    >>> table = pd.DataFrame({"patient": "a", "institution": "CS", "slice": [1, 2, 3]})
    >>> table = table.assign(tumour_px=[0, 5, 7], has_tumour=[False, True, True])
    >>> summarise_patients(table).drop(columns="institution")
      patient  slices  tumour_slices  tumour_px  largest_tumour_px
    0       a       3              2         12                  7
    """
    return table.groupby("patient", as_index=False).agg(
        institution=("institution", "first"),
        slices=("slice", "size"),
        tumour_slices=("has_tumour", "sum"),
        tumour_px=("tumour_px", "sum"),
        largest_tumour_px=("tumour_px", "max"),
    )


def cohort_sha256(table: pd.DataFrame) -> str:
    """Return a SHA-256 that tells one cohort from another, wherever the folder stands.

    Over, for every row: the patient, the slice number, ``tumour_px``, of the slice's file its
    length and the 4096 bytes in its middle, and all of the mask's file where there is tumour. Not
    all bytes of the slices: this takes a second or two for the real cohort, and a changed contrast
    or patient still changes it. Of a mask that was shifted or mirrored, no part need differ but
    the tumour's border.
    """
    digest = hashlib.sha256()
    columns = ["patient", "slice", "tumour_px", "image_path", "mask_path", "has_tumour"]
    for *row, path, mask, tumour in table[columns].itertuples(index=False):
        digest.update("".join(f"{value}\t" for value in row).encode())
        with tell_read_errors(path), open_file(path, "read the cohort again") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, (size - _SAMPLE_BYTES) // 2))
            digest.update(f"{size}\t".encode() + file.read(_SAMPLE_BYTES))
        if mask and tumour:
            with tell_read_errors(mask), open_file(mask, "read the cohort again") as file:
                digest.update(file.read())
    return digest.hexdigest()


def _first(root: Path, found: list[PatientFiles], patients: int | None) -> list[PatientFiles]:
    if patients is None:
        return found
    if not 1 <= patients <= len(found):
        raise CourseError(
            f"{root}: has {len(found)} patients, {patients} are asked for; ask for 1 to "
            f"{len(found)}"
        )
    return found[:patients]


def _check_for_learning(root: Path, found: list[PatientFiles]) -> None:
    """Check by names alone what a cohort with masks needs."""
    if not any(one.masks for one in found):
        raise CourseError(
            f"{root}: holds no masks (<patient>_<n>_mask.tif), and learning needs one for every "
            "slice; to predict without masks use python -m utils.predict"
        )
    people: dict[str, PatientFiles] = {}
    for one in found:
        missing = sorted(set(one.slices) - set(one.masks))
        if missing:
            path = Path(one.slices[missing[0]])
            raise CourseError(
                f"{path.with_name(f'{path.stem}_mask{path.suffix}')}: this mask is missing; copy "
                "the patient again, or take the patient out"
            )
        if len(one.slices) < 2:
            raise CourseError(
                f"{one.folder}: has 1 slice, a volume needs at least 2; add the others, or take "
                "the patient out"
            )
        other = people.setdefault(person_of(one.patient), one)
        if other is not one:
            raise CourseError(
                f"{one.folder}: the same patient twice, also examined in {other.folder}, which "
                "could end up on both sides of a split; keep one"
            )


def _check_pixels(one: PatientFiles, size: tuple[int, int]) -> None:
    """Check that a patient is not larger than the memory, before any pixel is read."""
    pixels = len(one.slices) * size[0] * size[1]
    if pixels > LARGEST_PATIENT:
        raise CourseError(
            f"{one.folder}: {len(one.slices)} slices of {size[0]} x {size[1]} are "
            f"{pixels / 1e6:.0f} million pixels, at most {LARGEST_PATIENT / 1e6:.0f} million are "
            "read; export the slices at a smaller size, or every second one"
        )


def _read_patient(one: PatientFiles, masks: str) -> list[tuple]:
    """Return the rows of one patient, having checked the files."""
    rows = []
    first_size = None
    for number, path in sorted(one.slices.items()):
        header = read_header(path)
        check_slice(path, header)
        size = header.shape[:2]
        if first_size is None:
            first_size = size
            _check_pixels(one, size)
        if size != first_size:
            raise CourseError(
                f"{path}: is {size[0]} x {size[1]} pixels, the patient's first slice is "
                f"{first_size[0]} x {first_size[1]}; export all slices of a patient at one size"
            )
        mask_path, tumour_px, has_tumour = "", pd.NA, pd.NA
        if masks == "required":
            mask_path = one.masks[number]
            tumour_px = int(read_mask(mask_path, size).sum(dtype=int))
            has_tumour = tumour_px > 0
        rows.append(
            (one.patient, institution(one.patient), number, path, mask_path, tumour_px, has_tumour)
        )
    return rows


def true_masks(rows: pd.DataFrame) -> np.ndarray:
    """Return the masks of some rows of the cohort table, uint8 0/1, at the size of the files."""
    return np.stack([read_mask(path) for path in rows["mask_path"]])
