"""Mark synthetic submissions of all notebooks once, and tell what that takes.

    python tests/helpers/many_submissions.py --submissions 300 --jobs 2

Half of the students hand in the solutions and a fifth the untouched notebooks; the others have
answers left open, wrong or broken. No two notebooks are the same. Processor time is that of the
command and all that it started; memory is the most that these held at one time.
"""

import argparse
import csv
import random
import resource
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import graded
from killed_marking import SPOILED, code_cells, run, spoil

from utils import check
from utils.notebooks.editions import instructors, students


def write_submissions(folder: Path, count: int, chance: random.Random) -> set[str]:
    """Write all notebooks of so many students, and return who handed in the solutions."""
    numbers = sorted({each.notebook for each in check.ALL})
    solved = {number: code_cells(number, instructors) for number in numbers}
    stubs = {number: code_cells(number, students) for number in numbers}
    right = set()
    for place in range(count):
        student, kind = f"student-{place:03d}", chance.random()
        if kind < 0.5:
            right.add(student)
        (folder / student).mkdir()
        for number in numbers:
            names = [each.name for each in check.ALL if each.notebook == number]
            often = 0.3 if kind >= 0.7 else 0.0
            spoiled = {name: chance.choice(SPOILED) for name in names if chance.random() < often}
            given = stubs if 0.5 <= kind < 0.7 else solved
            cells = [f"# {student}", *(spoil(cell, spoiled) for cell in given[number])]
            path = folder / student / f"{number}.ipynb"
            path.write_text(graded.notebook(*cells), encoding="utf-8")
    return right


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--submissions", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=2)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder, out = Path(name) / "in", Path(name) / "marks.csv"
        folder.mkdir()
        right = write_submissions(folder, arguments.submissions, random.Random(arguments.seed))
        done = run(folder, out, arguments.jobs)
        spent = resource.getrusage(resource.RUSAGE_CHILDREN)
        with out.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
    lost = [row for row in rows if row["student"] in right and row["mark"] != "right"]
    if lost:
        raise SystemExit(f"{len(lost)} right answers were not found right, the first: {lost[0]}")
    seconds = spent.ru_utime + spent.ru_stime
    print(
        f"{arguments.submissions} submissions of {len(rows) / arguments.submissions:.0f} answers, "
        f"{len(right)} of them the solutions: {done.seconds:.0f} s, {seconds:.0f} s of processor "
        f"time, {done.peak_mb:.0f} MiB"
    )


if __name__ == "__main__":
    main()
