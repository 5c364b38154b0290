"""Mark synthetic submissions, kill the marking at random, go on with it, and compare.

    python tests/helpers/killed_marking.py --submissions 300 --kills 3

The submissions are the course's solutions, in which some answers are left open, wrong or broken.
The marks must be, letter for letter, those of a marking that nobody disturbed. Time and memory of
both are printed; memory is the most that the command and all that it started held at one time.
"""

import argparse
import difflib
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import psutil

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import graded

from utils import check
from utils.config import ROOT
from utils.notebooks.build import SOURCE, read_source
from utils.notebooks.editions import instructors

# Notebooks whose answers need no Keras, the import of which would be most of the time.
NUMBERS = ("01", "04", "06")
SPOILED = (
    "{name} = ...",
    "def {name}(*given):\n    return None",
    "def {name}(*given):\n    raise ValueError('no idea')",
    "{name} = 1 / 0",
)
LOOK_SECONDS, MEMORY_SECONDS = 0.1, 1.0  # adding up memory takes processor time


@dataclass(frozen=True)
class Run:
    """How one command went."""

    seconds: float
    peak_mb: float
    killed: bool


def write_submissions(folder: Path, count: int, chance: random.Random) -> None:
    """Write so many notebooks, one a student."""
    solutions = {number: code_cells(number, instructors) for number in NUMBERS}
    for place in range(count):
        number = NUMBERS[place % len(NUMBERS)]
        names = [each.name for each in check.ALL if each.notebook == number]
        spoiled = {name: chance.choice(SPOILED) for name in names if chance.random() < 0.3}
        cells = [spoil(cell, spoiled) for cell in solutions[number]]
        path = folder / f"student-{place:03d}" / f"{number}.ipynb"
        path.parent.mkdir(parents=True)
        path.write_text(graded.notebook(*cells), encoding="utf-8")


def code_cells(number: str, edition: Callable) -> list[str]:
    """Return the code cells of a notebook in an edition, `editions.instructors` or `students`."""
    (source,) = SOURCE.glob(f"{number}_*.py")
    cells = edition(read_source(source)).cells
    return [cell.source for cell in cells if cell.cell_type == "code"]


def spoil(cell: str, spoiled: dict[str, str]) -> str:
    """Return a cell with another answer before its check, if it checks one of these exercises."""
    for name, how in spoiled.items():
        if f"check.{name}({name})" in cell:
            return how.format(name=name) + "\n" + cell
    return cell


def run(folder: Path, out: Path, jobs: int, kill_after: float | None = None) -> Run:
    """Run the command; kill it after so many seconds, if it runs so long."""
    command = [sys.executable, "-m", "utils.grade", str(folder), "--out", str(out)]
    command += ["--jobs", str(jobs)]
    began, peak, measured = time.monotonic(), 0, 0.0
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL) as process:
        while process.poll() is None:
            if kill_after is not None and time.monotonic() - began > kill_after:
                process.kill()
                return Run(time.monotonic() - began, peak / 2**20, True)
            if time.monotonic() - measured > MEMORY_SECONDS:
                peak, measured = max(peak, _held(process.pid)), time.monotonic()
            time.sleep(LOOK_SECONDS)
    if process.returncode:
        raise SystemExit(f"the marking ended with status {process.returncode}")
    return Run(time.monotonic() - began, peak / 2**20, False)


def _held(pid: int) -> int:
    """Return the memory of a process and its descendants; pages that a fork shares count once."""
    total = 0
    try:
        tree = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    except psutil.NoSuchProcess:
        return 0
    for each in tree:
        try:
            total += each.memory_full_info().pss
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return total


def _differences(calm: Path, disturbed: Path) -> list[str]:
    """Return the lines of two tables that differ, as they stand in each."""
    texts = [path.read_text(encoding="utf-8").splitlines() for path in (calm, disturbed)]
    names = ("undisturbed", "killed")
    return list(difflib.unified_diff(*texts, *names, lineterm="", n=0))


def compare(submissions: int, kills: int, seed: int, jobs: int) -> tuple[Run, list[Run]]:
    """Return how the undisturbed run and the disturbed ones went; their marks are equal.

    The undisturbed one marks one notebook at a time, the others `jobs`.

    Raises
    ------
    AssertionError
        If they are not.
    """
    chance = random.Random(seed)
    with tempfile.TemporaryDirectory() as name:
        folder, calm, disturbed = (Path(name) / each for each in ("in", "calm.csv", "killed.csv"))
        write_submissions(folder, submissions, chance)
        undisturbed = run(folder, calm, 1)
        # The first seconds are those in which the command starts.
        moments = [chance.uniform(0.15, 0.9 / (kills + 1)) for _ in range(kills)]
        runs = [run(folder, disturbed, jobs, moment * undisturbed.seconds) for moment in moments]
        runs.append(run(folder, disturbed, jobs))
        assert not (found := _differences(calm, disturbed)), "\n".join(found)
        assert disturbed.read_bytes() == calm.read_bytes()
        assert calm.read_text(encoding="utf-8").count(",right,1,") > submissions
    return undisturbed, runs


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--submissions", type=int, default=300)
    parser.add_argument("--kills", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=2, help="of the marking that is killed")
    arguments = parser.parse_args()
    undisturbed, runs = compare(
        arguments.submissions, arguments.kills, arguments.seed, arguments.jobs
    )
    print(f"undisturbed: {undisturbed.seconds:.0f} s, {undisturbed.peak_mb:.0f} MiB")
    for each in runs:
        how = "killed after" if each.killed else "finished after"
        print(f"{how} {each.seconds:.0f} s, {each.peak_mb:.0f} MiB")
    print("the marks are equal")


if __name__ == "__main__":
    main()
