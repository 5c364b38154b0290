"""Unpack a cohort's zip: once, safely, and so that a killed run goes on where it was."""

import errno
import hashlib
import os
import re
import shutil
import unicodedata
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from utils import config
from utils.cohort.layout import (
    LAYOUT,
    LONGEST_NAME,
    is_called_mask,
    is_passed_over,
    is_tiff,
    slice_of,
)
from utils.config import CourseError, atomic_path, read_json, reason, write_json
from utils.files import open_file

# Written into the unpacked cohort, so that the same archive is not unpacked again.
SOURCE = "source.json"
# Under which the LGG cohort's patients stand in the archive from Kaggle.
_KAGGLE = re.compile(r"(.*/)?kaggle_3m")
_LARGEST_MEMBER = 256 << 20
_DISK_FULL = (errno.ENOSPC, errno.EDQUOT)
_NOT_WRITABLE = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST)


def unpack_cohort(
    archive: str | os.PathLike,
    target: str | os.PathLike | None = None,
    masks: bool = True,
) -> Path:
    """Unpack the patient folders of a zip into the folder `target`.

    The Kaggle archive holds the cohort twice; one copy is unpacked. Anything else in it (its
    data.csv, whose patient_id is wrong) is left out. Files are unpacked into a hidden folder
    beside `target`, each under a temporary name until it is whole, and the folder is renamed
    when it is complete. What a killed run left there is used by the next one.

    Parameters
    ----------
    archive : path-like
        The zip.
    target : path-like, optional
        The cohort folder to make. If it is there and was made from this archive, nothing is done.
        By default `data/lgg` for the LGG cohort as Kaggle gives it, and for any other a folder in
        `data` that is named after the zip and its contents: `data/lgg` is the real cohort.
    masks : bool
        False leaves the masks in the zip.

    Returns
    -------
    pathlib.Path
        The cohort folder.

    Raises
    ------
    CourseError
        If the zip is cut short, damaged, encrypted, unsafe (names that lead out of the folder),
        holds no cohort, or pictures beside it that are not named like slices; if `target` is
        something else, cannot be written, or the disk is full.
    """
    archive = Path(archive)
    with _open_zip(archive) as source:
        folder, members = _cohort_members(archive, source, masks)
        digest = _digest(members)
        target = _default_target(archive, folder, members, digest) if target is None else target
        target = Path(target)
        with tell_disk_errors(target):
            _unpack(archive, source, members, behind_links(target), digest)
    return target


def behind_links(folder: Path) -> Path:
    """Return the folder that is meant: where a link is given, the one that it leads to.

    Links to a larger disk are common, and a folder cannot be renamed to the name of a link.

    Raises
    ------
    CourseError
        If it leads nowhere: the disk may be missing.
    """
    if folder.is_symlink() and not folder.exists():
        raise CourseError(
            f"{folder}: is a link that leads nowhere; make the folder that it leads to, or remove "
            "the link"
        )
    return Path(os.path.realpath(folder))


def _unpack(archive, source, members, target: Path, digest: str) -> None:
    if _is_unpacked(target, digest):
        return
    _check_target(target, archive)
    # The name holds the digest: what another archive left half done is not mixed in.
    partial = target.with_name(f".{target.name}-{digest[:12]}.partial")
    partial.mkdir(parents=True, exist_ok=True)
    # Only here: it loads as much as all the rest of this module.
    from filelock import FileLock

    # Two commands may begin with the same zip: the second one waits, and then finds it unpacked.
    lock = partial.with_suffix(".lock")
    with FileLock(lock):
        if _is_unpacked(target, digest):
            if partial.is_dir():
                partial.rmdir()  # made above, in vain
            return
        for unfinished in partial.glob("*/.*"):
            unfinished.unlink()
        _check_space(partial, members)
        for name, member in members.items():
            _extract(archive, source, member, partial / name)
        write_json(partial / SOURCE, {"archive": archive.name, "sha256": digest})
        os.replace(partial, target)
        lock.unlink(missing_ok=True)


def _default_target(archive: Path, folder: PurePosixPath, members: dict, digest: str) -> Path:
    patients = {name.split("/")[0] for name in members}
    if _KAGGLE.fullmatch(str(folder)) and all(one.startswith("TCGA_") for one in patients):
        return config.DATA / "lgg"
    return config.DATA / f"{archive.stem[:60]}-{digest[:8]}"


@contextmanager
def tell_disk_errors(target: Path) -> Iterator[None]:
    """Turn a full disk, and a folder that may not be written, into a `CourseError`."""
    try:
        yield
    except OSError as error:
        if error.errno in _DISK_FULL:
            raise CourseError(
                f"{target}: the disk is full; free some space and run again, it goes on from there"
            ) from error
        if error.errno in _NOT_WRITABLE:
            raise CourseError(
                f"{target}: cannot be written ({os.strerror(error.errno).lower()}); choose a "
                "folder that you may write to"
            ) from error
        if error.errno == errno.ENAMETOOLONG:
            place = error.filename or target
            raise CourseError(
                f"{place}: the name is longer than this disk allows; give a shorter one"
            ) from error
        raise


@contextmanager
def _open_zip(archive: Path) -> Iterator[zipfile.ZipFile]:
    """Open a zip, and read its list of files."""
    with open_file(archive, "give the zip as Kaggle gives it") as file:
        with _tell_zip_errors(archive):
            source = zipfile.ZipFile(file)
        with source:
            yield source


@contextmanager
def _tell_zip_errors(archive: Path) -> Iterator[None]:
    """Turn what zipfile raises into one line; nothing but calls of zipfile belongs in here."""
    try:
        yield
    except NotImplementedError as error:
        raise CourseError(
            f"{archive}: cannot be read here ({reason(error)}); unpack it yourself and give "
            "the folder"
        ) from error
    except MemoryError:
        raise
    # Of damaged zips come BadZipFile, the errors of four decompressors, struct.error, OSError
    # from seeking before the beginning, UnicodeDecodeError, OverflowError and more.
    except Exception as error:
        raise CourseError(
            f"{archive}: cut short or not a zip ({reason(error)}); download it again, or zip "
            "the cohort again"
        ) from error


def _cohort_members(
    archive: Path, source: zipfile.ZipFile, masks: bool
) -> tuple[PurePosixPath, dict[str, zipfile.ZipInfo]]:
    """Return a copy's folder, and `<patient>/<file>` -> member of that copy, sorted by name."""
    copies: dict[PurePosixPath, dict[str, zipfile.ZipInfo]] = {}
    other_pictures = []
    for member in source.infolist():
        name = _safe_name(archive, member)
        # As in a folder: what is hidden is no data.
        if any(map(is_passed_over, name.parts)):
            continue
        found = slice_of(name.name, name.parts[-2]) if len(name.parts) > 1 else None
        is_folder = member.orig_filename.endswith(("/", "\\"))
        if is_folder or found is None or (found[1] and not masks):
            if not is_folder and found is None and is_tiff(name.name):
                other_pictures.append(name)
            continue
        _check_member(archive, name, member)
        copy = copies.setdefault(name.parents[1], {})
        own = unicodedata.normalize("NFC", "/".join(name.parts[-2:]))
        if copy.setdefault(own, member) is not member:
            raise CourseError(f"{archive}: holds {name} twice; zip the cohort again")
    if not copies:
        raise CourseError(
            f"{archive}: holds no {LAYOUT}; zip the folder that holds the patients, or download "
            "mateuszbuda/lgg-mri-segmentation from Kaggle"
        )
    first, *others = sorted(copies, key=lambda folder: (len(folder.parts), str(folder)))
    for other in others:
        if _digest(copies[other]) != _digest(copies[first]):
            raise CourseError(
                f"{archive}: holds two different cohorts ({first} and {other}); unpack it "
                "yourself and give the folder of one"
            )
    _check_others(archive, first, other_pictures, masks)
    return first, dict(sorted(copies[first].items()))


def _check_others(
    archive: Path, cohort: PurePosixPath, pictures: list[PurePosixPath], masks: bool
) -> None:
    """Refuse a zip with TIFFs that are no slices where a folder of patients may hold none."""
    for name in pictures:
        if name.parents[1:2] == (cohort,) and (masks or not is_called_mask(name.name)):
            raise CourseError(
                f"{archive}: {name} is not named {name.parent.name}_<n>.tif after its folder; "
                "rename it and zip again"
            )
        loose = name.parent == cohort
        beside = name.parent == cohort.parent or name.parents[1:2] == (cohort.parent,)
        if (loose or beside) and not is_called_mask(name.name):
            raise CourseError(
                f"{archive}: {name} lies beside the patients in {cohort}, in the folder of none; "
                f"name it {LAYOUT} like theirs, or leave it out, and zip again"
            )


def _check_member(archive: Path, name: PurePosixPath, member: zipfile.ZipInfo) -> None:
    if member.flag_bits & 1:
        raise CourseError(
            f"{archive}: is encrypted; unpack it yourself and give the folder as DATA"
        )
    if member.file_size > _LARGEST_MEMBER:
        raise CourseError(
            f"{archive}: {name} would have {member.file_size / 1e6:.0f} MB, more than any slice; "
            "zip the cohort again"
        )


def _safe_name(archive: Path, member: zipfile.ZipInfo) -> PurePosixPath:
    """Return the member's path, refusing the archive if it leads out of the target folder."""
    # orig_filename: what the archive says, before zipfile tidies it up. Some programs for Windows
    # write its backslashes.
    name = member.orig_filename.replace("\\", "/")
    path = PurePosixPath(name)
    drive = any(re.match("[A-Za-z]:", part) for part in path.parts)
    if path.is_absolute() or ".." in path.parts or drive or "\0" in name:
        raise CourseError(
            f"{archive}: unsafe, holds a file named {member.orig_filename[:200]!r} that leads out "
            "of the folder; nothing was unpacked, download the archive again from Kaggle"
        )
    if any(len(os.fsencode(part)) > LONGEST_NAME for part in path.parts):
        raise CourseError(
            f"{archive}: holds a name of more than {LONGEST_NAME} bytes ({name[:60]!r} ...); give "
            "it a shorter one and zip again"
        )
    return path


def _digest(members: dict[str, zipfile.ZipInfo]) -> str:
    """Return the SHA-256 over names, sizes and checksums: the zip's own list, no data read."""
    lines = sorted(f"{name} {member.file_size} {member.CRC}" for name, member in members.items())
    return hashlib.sha256("\n".join(lines).encode(errors="surrogateescape")).hexdigest()


def _is_unpacked(target: Path, digest: str) -> bool:
    return target.is_dir() and read_json(target / SOURCE).get("sha256") == digest


def _check_target(target: Path, archive: Path) -> None:
    if target.is_dir() and not any(target.iterdir()):
        return
    if target.exists():
        raise CourseError(
            f"{target}: is there already and was not made from {archive.name}; give it as DATA "
            "to use it, or move it away to unpack the archive"
        )


def _check_space(partial: Path, members: dict[str, zipfile.ZipInfo]) -> None:
    """Stop before a disk is filled: the archive says how much it needs."""
    there = sum(path.stat().st_size for path in partial.glob("*/*"))
    needed = sum(member.file_size for member in members.values()) - there
    free = shutil.disk_usage(partial).free
    if needed > free:
        raise CourseError(
            f"{partial.parent}: the disk has {free / 1e6:.0f} MB free, {needed / 1e6:.0f} MB are "
            "needed to unpack the cohort; free some space and run again"
        )


def _extract(archive: Path, source: zipfile.ZipFile, member: zipfile.ZipInfo, path: Path) -> None:
    # A file under its final name is whole; its size is looked at in case the disk lost power.
    if path.exists() and path.stat().st_size == member.file_size:
        return
    # Reading all of it makes zipfile compare the checksum.
    with _tell_zip_errors(archive):
        data = source.read(member)
    with atomic_path(path) as temporary:
        temporary.write_bytes(data)
