"""Unpack a cohort's zip: once, safely, and so that a killed run goes on where it was."""

import errno
import hashlib
import os
import shutil
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from utils.config import CourseError, atomic_path, read_json, write_json
from utils.layout import LAYOUT, slice_of

# Written into the unpacked cohort, so that the same archive is not unpacked again.
SOURCE = "source.json"
_DISK_FULL = (errno.ENOSPC, errno.EDQUOT)
_NOT_WRITABLE = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR)


def unpack_cohort(
    archive: str | os.PathLike,
    target: str | os.PathLike,
    progress: Callable[[int, int], None] | None = None,
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
    target : path-like
        The cohort folder to make. If it is there and was made from this archive, nothing is done.
    progress : callable, optional
        Called as ``progress(files done, all files)``.

    Returns
    -------
    pathlib.Path
        `target`.

    Raises
    ------
    CourseError
        If the zip is cut short, damaged, encrypted, unsafe (names that lead out of the folder)
        or holds no cohort; if `target` is something else, cannot be written, or the disk is full.
    """
    archive, target = Path(archive), Path(target)
    with _open_zip(archive) as source, tell_disk_errors(target):
        members = _cohort_members(archive, source)
        digest = _digest(members)
        if _is_unpacked(target, digest):
            return target
        _check_target(target, archive)
        # The name holds the digest: what another archive left half done is not mixed in.
        partial = target.with_name(f".{target.name}-{digest[:12]}.partial")
        partial.mkdir(parents=True, exist_ok=True)
        for unfinished in partial.glob("*/.*"):
            unfinished.unlink()
        _check_space(partial, members)
        for done, (name, member) in enumerate(members.items(), start=1):
            _extract(source, member, partial / name)
            if progress is not None:
                progress(done, len(members))
        write_json(partial / SOURCE, {"archive": archive.name, "sha256": digest})
        os.replace(partial, target)
    return target


@contextmanager
def tell_disk_errors(target: Path) -> Iterator[None]:
    """Turn a full disk, and a folder that may not be written, into a `CourseError`."""
    try:
        yield
    except OSError as error:
        place = error.filename or target
        if error.errno in _DISK_FULL:
            raise CourseError(
                f"{place}: the disk is full; free some space and run again, it goes on from there"
            ) from error
        if error.errno in _NOT_WRITABLE:
            raise CourseError(
                f"{place}: cannot be written ({os.strerror(error.errno).lower()}); choose a "
                "folder that you may write to"
            ) from error
        raise


@contextmanager
def _open_zip(archive: Path) -> Iterator[zipfile.ZipFile]:
    """Open a zip; what zipfile raises on a damaged one becomes one line."""
    try:
        with zipfile.ZipFile(archive) as source:
            yield source
    except FileNotFoundError:
        raise CourseError(f"{archive}: no such file; give the zip as Kaggle gives it") from None
    except (zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise CourseError(
            f"{archive}: cut short or not a zip ({error}); download it again"
        ) from error
    except NotImplementedError as error:
        raise CourseError(
            f"{archive}: cannot be read here ({error}); unpack it yourself and give the folder"
        ) from error


def _cohort_members(archive: Path, source: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    """Return `<patient>/<file>` -> member of one copy of the cohort, sorted by name."""
    copies: dict[PurePosixPath, dict[str, zipfile.ZipInfo]] = {}
    for member in source.infolist():
        name = _safe_name(archive, member)
        if member.is_dir() or len(name.parts) < 2 or slice_of(name.name, name.parts[-2]) is None:
            continue
        if member.flag_bits & 1:
            raise CourseError(
                f"{archive}: is encrypted; unpack it yourself and give the folder as DATA"
            )
        copies.setdefault(name.parents[1], {})["/".join(name.parts[-2:])] = member
    if not copies:
        raise CourseError(
            f"{archive}: holds no {LAYOUT}; download mateuszbuda/lgg-mri-segmentation from Kaggle"
        )
    first, *others = sorted(copies, key=lambda folder: (len(folder.parts), str(folder)))
    for other in others:
        if _digest(copies[other]) != _digest(copies[first]):
            raise CourseError(
                f"{archive}: holds two different cohorts ({first} and {other}); unpack it "
                "yourself and give the folder of one"
            )
    return dict(sorted(copies[first].items()))


def _safe_name(archive: Path, member: zipfile.ZipInfo) -> PurePosixPath:
    """Return the member's path, refusing the archive if it leads out of the target folder."""
    # orig_filename: what the archive says, before zipfile tidies it up.
    name = member.orig_filename
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\\" in name or ":" in name or "\0" in name:
        raise CourseError(
            f"{archive}: unsafe, holds a file named {name!r} that leads out of the folder; "
            "nothing was unpacked, download the archive again from Kaggle"
        )
    return path


def _digest(members: dict[str, zipfile.ZipInfo]) -> str:
    """Return the SHA-256 over names, sizes and checksums: the zip's own list, no data read."""
    lines = sorted(f"{name} {member.file_size} {member.CRC}" for name, member in members.items())
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


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


def _extract(source: zipfile.ZipFile, member: zipfile.ZipInfo, path: Path) -> None:
    # A file under its final name is whole; its size is looked at in case the disk lost power.
    if path.exists() and path.stat().st_size == member.file_size:
        return
    with (
        atomic_path(path) as temporary,
        source.open(member) as packed,
        open(temporary, "wb") as unpacked,
    ):
        # Reading to the end makes zipfile compare the checksum.
        shutil.copyfileobj(packed, unpacked, 1 << 20)
