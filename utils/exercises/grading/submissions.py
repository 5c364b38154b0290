"""Who handed in what, in whatever form, and one row for each student and exercise.

Nothing is run or parsed here: files are told apart by their names and first bytes.
"""

import os
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

from utils.config import ROOT, CourseError
from utils.exercises.exercise import Mark
from utils.exercises.grading.files import walked
from utils.exercises.grading.marks import LARGEST_NOTEBOOK, MISSING, Row, one_line

EXTRA = "extra"
_EMPTY, _OTHER = "a folder without a notebook", "no notebook"
_NOTEBOOK = re.compile(r"\.ipynb(?![a-z])", re.IGNORECASE)
_COPY = re.compile(r"( ?\(\d+\)| ?-? ?(copy|kopie)[ \d]*)$", re.IGNORECASE)
# What may be a notebook under another name; of these the content decides.
_PERHAPS = frozenset((".json", ".txt", ".nb", ""))
_FORMS = {
    ".py": "a Python script, not a notebook",
    ".html": "a web page, not a notebook",
    ".pdf": "a PDF, not a notebook",
    **dict.fromkeys((".zip", ".rar", ".7z", ".gz", ".tgz", ".tar", ".xz"), "an archive: unpack it"),
}
_RANK = (Mark.RIGHT.value, Mark.WRONG.value, Mark.OPEN.value, MISSING)


@dataclass(frozen=True)
class HandedIn:
    """A file, or a folder that has none.

    Attributes
    ----------
    student : str
        Name of the folder, or of the file without what names the notebook.
    path : Path
    reason : str
        Why it is not marked; empty for a notebook.
    label : str
        Its path within the student's folder.
    noted : bool
        Whether it is told beside notebooks: somebody may have meant it to be marked.
    """

    student: str
    path: Path
    label: str
    reason: str = ""
    noted: bool = True


def handed_in(folder: Path) -> list[HandedIn]:
    """Return all that lies in a folder of submissions, sorted by path.

    Links are not followed, because they could lead anywhere. Hidden files and folders are left
    out: Jupyter keeps its checkpoints there.

    Raises
    ------
    CourseError
        If there is no such folder, or nothing in it.
    """
    if not folder.is_dir():
        raise CourseError(f"{folder}: no such folder; give the one that holds the notebooks")
    paths = sorted(_visible(folder))
    stems = {_stem(path.name) for path in paths if path.parent == folder}
    found = []
    for path in paths:
        parts = path.relative_to(folder).parts
        alone = len(parts) == 1 and not _is_folder(path)
        student = _student(path.name, stems) if alone else parts[0]
        reason = _reason(path)
        label = "/".join(parts[1:]) or path.name
        found.append(HandedIn(student, path, label, reason, _is_noted(path, reason)))
    # A folder counts only if nothing else of the student's was found.
    others = {one.student for one in found if one.reason != _EMPTY}
    found = [one for one in found if one.reason != _EMPTY or one.student not in others]
    if not found:
        raise CourseError(f"{folder}: no notebook (*.ipynb) in it")
    return found


def final_rows(listed: Sequence[HandedIn], tables: Mapping[Path, list[Row] | None]) -> list[Row]:
    """Return one row a student and exercise, and at most one more a student for all the rest.

    Of several attempts at a notebook the better one counts, exercise by exercise. What else was
    handed in is told in a row without an exercise, marked `EXTRA`, or `MISSING` where there is
    nothing to mark.

    Parameters
    ----------
    listed : sequence of HandedIn
    tables : mapping
        Path -> the rows of a notebook; None, or no entry, if it is not marked yet.
    """
    return [
        row for name, files in named(listed).items() for row in student_rows(name, files, tables)
    ]


def named(listed: Sequence[HandedIn]) -> dict[str, list[HandedIn]]:
    """Return what each student handed in, by their name as one line, no two the same."""
    of_student = defaultdict(list)
    for one in listed:
        of_student[one.student].append(one)
    names = _names(of_student)
    return {names[student]: files for student, files in of_student.items()}


def student_rows(
    name: str, files: Sequence[HandedIn], tables: Mapping[Path, list[Row] | None]
) -> list[Row]:
    """Return the rows of one student; `final_rows` says how."""
    return [replace(row, student=name) for row in _rows(files, tables)]


def _rows(files: Sequence[HandedIn], tables: Mapping[Path, list[Row] | None]) -> Iterator[Row]:
    """Yield the rows of one student."""
    names = Counter(one.path.name for one in files)
    best: dict[tuple[str, str], Row] = {}
    attempts: dict[str, list[str]] = defaultdict(list)
    loose: list[Row] = []
    nothing = all(one.reason for one in files)
    for one in files:
        label = one_line(one.path.name if names[one.path.name] == 1 else one.label)
        if one.reason:
            if one.noted or nothing:
                loose.append(Row("", "", "", MISSING, 0, one.reason, label))
            continue
        for row in tables.get(one.path) or ():
            row = replace(row, file=label)
            if not row.exercise:
                loose.append(row)
                continue
            if label not in attempts[row.notebook]:
                attempts[row.notebook].append(label)
            key = row.notebook, row.exercise
            if key not in best or _rank(row) < _rank(best[key]):
                best[key] = row
    yield from sorted(best.values(), key=lambda row: row.notebook)
    told = [
        f"{len(tried)} attempts at {number} ({_listed(tried)}): the better counts, exercise by "
        "exercise"
        for number, tried in sorted(attempts.items())
        if len(tried) > 1
    ]
    single = len(loose) == 1 and not told and not best
    told += [row.message if single else f"{row.file}: {row.message}" for row in loose[:5]]
    told += [f"and {len(loose) - 5} more files"] if len(loose) > 5 else []
    if told:
        unusual = {row.mark for row in loose} - {MISSING}
        mark = min(unusual) if unusual else EXTRA if best else MISSING
        file = loose[0].file if len(loose) == 1 else ""
        yield Row("", "", "", mark, 0, one_line("; ".join(told)), file)


def _rank(row: Row) -> tuple[int, int]:
    return -row.points, _RANK.index(row.mark) if row.mark in _RANK else len(_RANK)


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names) if len(names) <= 3 else f"{', '.join(names[:3])}, …"


def _names(students: Sequence[str]) -> dict[str, str]:
    """Return each student's name as one line, no two the same."""
    names: dict[str, str] = {}
    taken: set[str] = set()
    for student in students:
        name, count = one_line(student) or "(no name)", 1
        while name in taken:
            count += 1
            name = f"{one_line(student)[:280]} ({count})"
        names[student] = name
        taken.add(name)
    return names


def _visible(folder: Path) -> Iterator[Path]:
    """Yield files, links, and the folders of the first level, which may hold nothing."""
    for here, folders, others in walked(folder):
        folders[:] = sorted(name for name in folders if not name.startswith((".", "__MACOSX")))
        yield from (here / name for name in others if not name.startswith("."))
        if here == folder:
            yield from (here / name for name in folders)


def _is_folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()


def _reason(path: Path) -> str:
    """Return why a file is not marked, or nothing if it is a notebook, or is called one."""
    try:
        return _look(path)
    except OSError as error:  # also if it has gone meanwhile
        return f"cannot be read: {os.strerror(error.errno)}"


def _look(path: Path) -> str:
    if path.is_symlink():
        return "a link, which is not followed"
    if path.is_dir():
        return _EMPTY
    if not path.is_file():
        return "no regular file"
    if path.parent.name == "solutions" and path.stem in _official():
        return "the course's own solutions"
    if _NOTEBOOK.search(path.name):
        return ""
    suffix = path.suffix.lower()
    if suffix in _FORMS:
        return _FORMS[suffix]
    if not path.stat().st_size:
        return "an empty file"
    if suffix not in _PERHAPS:
        return _OTHER
    with path.open("rb") as file:
        data = file.read(LARGEST_NOTEBOOK)
    if data.startswith(b"PK\x03\x04"):
        return _FORMS[".zip"]
    words = ('"cell_type"'.encode(encoding) for encoding in ("utf-8", "utf-16-le", "utf-16-be"))
    return "" if any(word in data for word in words) else _OTHER


def _is_noted(path: Path, reason: str) -> bool:
    if path.suffix.lower() in (".py", ".html", ".pdf"):
        return path.stem in _official() and path.parent.name != "source"
    return reason not in (_EMPTY, _OTHER)


@cache
def _official() -> set[str]:
    return {path.stem for path in (ROOT / "notebooks").glob("[0-9][0-9]_*.ipynb")}


def _stem(name: str) -> str:
    """Return a file's name up to ``.ipynb``, or without its ending."""
    found = _NOTEBOOK.search(name)
    return name[: found.start()] if found else Path(name).stem


def _student(name: str, stems: set[str]) -> str:
    """Return whose a file is that lies in no folder: what is left without the notebook's name.

    What a browser or Jupyter adds to a second copy is left out if there is a first.
    """
    stem = _stem(name)
    first = _COPY.sub("", stem)
    stem = first if first in stems else stem
    for official in _official():
        found = re.search(rf"(^|[ _.-]+){re.escape(official)}(?![a-z0-9])", stem)
        rest = stem[: found.start()] + stem[found.end() :] if found else ""
        if rest.strip(" _.-"):
            return rest.strip(" _.-")
    return stem
