"""Mark a folder of students' notebooks: one line an exercise in one CSV.

    python -m utils.grade SUBMISSIONS [--out marks.csv] [--trust]

SUBMISSIONS holds a folder for each student, with their notebooks in it, or the notebooks
themselves, which are then named after the students. See docs/instructors.md.
"""

import argparse
import csv
import sys
from collections.abc import Sequence
from dataclasses import asdict, fields, replace
from pathlib import Path

from utils.checking import Exercise, Mark
from utils.config import CourseError, atomic_path, command
from utils.confine import Limits, lacking
from utils.grade_marks import (
    MISSING,
    NOTEBOOK_SECONDS,
    Row,
    code_cells,
    marked,
    number_of,
    one_line,
)


def submissions(folder: Path) -> list[tuple[str, Path]]:
    """Return student and path of each notebook below a folder, sorted.

    Links are left out, because they could lead anywhere; so are hidden files and folders.

    Raises
    ------
    CourseError
        If there is no such folder, or no notebook in it.
    """
    if not folder.is_dir():
        raise CourseError(f"{folder}: no such folder; give the one that holds the notebooks")
    found = []
    for path in sorted(folder.rglob("*.ipynb")):
        parts = path.relative_to(folder).parts
        hidden = any(part.startswith(".") for part in parts)
        links = any(
            (folder / Path(*parts[: depth + 1])).is_symlink() for depth in range(len(parts))
        )
        if path.is_file() and not hidden and not links:
            found.append((parts[0] if len(parts) > 1 else path.stem, path))
    if not found:
        raise CourseError(f"{folder}: no notebook (*.ipynb) in it")
    return found


def rows_of(
    student: str, path: Path, exercises: Sequence[Exercise], limits: Limits, confined: bool
) -> list[Row]:
    """Return the marks of one notebook; one that cannot be read has none, and says so."""
    row = Row(one_line(student), "", "", MISSING, 0, "", one_line(path.name))
    try:
        cells = code_cells(path)
    except CourseError as error:
        cells, row = [], replace(row, message=str(error))
    number = number_of(path, cells, exercises)
    asked = [exercise for exercise in exercises if exercise.notebook == number]
    if not asked:
        return [replace(row, message=row.message or "no exercise of the course in it")]
    if not cells:
        marks = [(MISSING, row.message or "no code in it")] * len(asked)
    else:
        marks = marked(
            cells, asked, limits=limits, confined=confined, seconds=float(limits.cpu_seconds)
        )
    return [
        replace(
            row,
            notebook=number,
            exercise=exercise.name,
            mark=mark,
            points=int(mark == Mark.RIGHT.value),
            message=message,
        )
        for exercise, (mark, message) in zip(asked, marks, strict=True)
    ]


def write_marks(rows: Sequence[Row], out: Path) -> None:
    """Write the rows as CSV, all or nothing."""
    with atomic_path(out) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, [field.name for field in fields(Row)])
        writer.writeheader()
        writer.writerows(asdict(row) for row in rows)


def grade(
    folder: Path,
    out: Path,
    exercises: Sequence[Exercise],
    *,
    limits: Limits | None = None,
    trust: bool = False,
) -> list[Row]:
    """Mark all notebooks of a folder, write the marks, and return them.

    Parameters
    ----------
    folder, out : Path
        Where the notebooks lie, and the CSV to write.
    exercises : sequence of Exercise
    limits : Limits, optional
        Of the process in which a notebook's code runs; its time is that of one notebook.
    trust : bool
        Run students' code without walls where this system has none.

    Raises
    ------
    CourseError
        If there is nothing to mark, or this system cannot confine a process and `trust` is not
        set.
    """
    missing = lacking()
    if missing and not trust:
        raise CourseError(
            f"students' code cannot be shut in here: {missing}. Mark on Linux, or, if you have "
            "read the notebooks and trust them with all your files, add --trust (make: TRUST=1)"
        )
    if missing:
        print(f"warning: students' code runs with your rights: {missing}", file=sys.stderr)
    limits = limits or Limits(cpu_seconds=int(NOTEBOOK_SECONDS))
    rows = []
    for student, path in submissions(folder):
        of_notebook = rows_of(student, path, exercises, limits, confined=not missing)
        right = sum(row.points for row in of_notebook)
        name = f"{of_notebook[0].student}, {of_notebook[0].notebook or path.name}"
        print(f"{name}: {right} of {len(of_notebook)} right", flush=True)
        rows += of_notebook
    write_marks(rows, out)
    return rows


def main(words: Sequence[str] | None = None) -> int:
    """Mark students' notebooks: run the checks over their answers and write one CSV."""
    parser = argparse.ArgumentParser(prog="python -m utils.grade", description=main.__doc__)
    parser.add_argument("submissions", type=Path, help="folder with the students' notebooks")
    parser.add_argument("--out", type=Path, default=Path("marks.csv"), help="CSV to write")
    parser.add_argument(
        "--trust", action="store_true", help="run students' code even where it cannot be shut in"
    )
    arguments = parser.parse_args(words)
    from utils import check  # takes a second or two; not needed for --help

    rows = grade(arguments.submissions, arguments.out, check.ALL, trust=arguments.trust)
    print(f"{len({row.student for row in rows})} students, {len(rows)} marks: {arguments.out}")
    return 0


if __name__ == "__main__":
    sys.exit(command(main))
