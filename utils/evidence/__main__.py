"""The evidence from the real cohort: every number out of fold, every step resumable.

    python -m utils.evidence DATA [--hours 2] [--fold 3] [--experiment ours]

trains what is missing, experiment by experiment and fold by fold, and writes the tables to
``results/lgg/``. A run that was cut off goes on where it was. Several may run at once, each with a
``--fold`` of its own; with ``--cluster`` one run has its folds done side by side, see
docs/cluster.md.
"""

import argparse
import contextlib
import signal
import sys
from collections.abc import Callable, Sequence

import pandas as pd

from utils import config
from utils.cluster.options import add_options, run_tasks
from utils.cohort.splits import choose_patients
from utils.cohort.table import read_cohort
from utils.config import CourseError
from utils.evidence.tables import EXPERIMENTS, FOLDS
from utils.evidence.training.collect import collect
from utils.evidence.training.experiments import SEED
from utils.evidence.training.tasks import Work, check_folders, planned


def _number(kind: type, fits: Callable[[float], bool], words: str) -> Callable[[str], float]:
    """Return what reads a number of an option, and says what is wanted where it does not fit."""

    def read(text: str) -> float:
        with contextlib.suppress(ValueError):
            if fits(value := kind(text)):
                return value
        raise argparse.ArgumentTypeError(f"{text}: {words} is wanted")

    return read


# A timer of the system counts up to 2**63 ns, some 2.6 million hours.
_hours = _number(float, lambda value: 0 < value < 1e6, "a number above 0 and below a million")
_seed = _number(int, lambda value: value >= 0, "a whole number from 0 on")
_count = _number(int, lambda value: value > 0, "a whole number above 0")


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m utils.evidence", description=__doc__)
    parser.add_argument(
        "data", type=config.user_path, help="the real cohort: folder, its parent, or the zip"
    )
    parser.add_argument(
        "--out", type=config.user_path, default=config.RESULTS / "lgg", help="for the tables"
    )
    parser.add_argument(
        "--work", type=config.user_path, default=config.RUNS / "evidence", help="checkpoints"
    )
    parser.add_argument(
        "--experiment", action="append", choices=EXPERIMENTS, help="only this one (repeatable)"
    )
    parser.add_argument("--fold", metavar="K", action="append", help="only this one (repeatable)")
    parser.add_argument("--final", action="store_true", help="train the models to ship, too")
    parser.add_argument(
        "--attempt", metavar="NAME", action="append",
        help="also train a variation, such as 'one slice, three sequences', and score it on "
        "validation (repeatable); a name that is none of them lists all",
    )  # fmt: skip
    parser.add_argument("--seed", metavar="S", type=_seed, action="append", help="of --attempt")
    parser.add_argument("--no-folds", action="store_true", help="only --final and --attempt")
    parser.add_argument("--hours", type=_hours, help="stop after so long; run again to go on")
    parser.add_argument("--patients", type=_count, default=0, help="a subset, to try it out")
    parser.add_argument("--epochs", type=_count, default=0, help="fewer, to try it out")
    add_options(parser)
    arguments = parser.parse_args(argv)
    if arguments.seed and not arguments.attempt:
        parser.error("--seed is that of an --attempt, and none is asked for")
    return arguments


def main(argv: Sequence[str] | None = None) -> int:
    """Run the evidence; exit status 0 also when `--hours` ended it."""
    arguments = _parse(argv)
    trial = bool(arguments.patients or arguments.epochs)
    if trial and arguments.out.resolve() == (config.RESULTS / "lgg").resolve():
        raise CourseError("--patients and --epochs are for trying out: give another --out too")
    table = read_cohort(arguments.data)
    if arguments.patients:
        names = choose_patients(table, arguments.patients, SEED)
        table = table[table["patient"].isin(names)].reset_index(drop=True)
    if arguments.hours is not None:
        signal.signal(signal.SIGALRM, _stop)
        signal.setitimer(signal.ITIMER_REAL, arguments.hours * 3600)
    try:
        run_all(table, arguments)
    except TimeIsUp:
        print("The time is up; the same command goes on from here.")
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    return 0


def run_all(table: pd.DataFrame, arguments: argparse.Namespace) -> None:
    """Do what is missing of what is wanted, and write the tables anew after each part.

    Raises
    ------
    CourseError
        If a folder cannot be written to; if another process is at a fold, an attempt or the models
        to ship when this one comes to it; for a fold or an attempt that is not known; or see
        `check_folders` and `run_tasks`.
    """
    for folder in (arguments.work, arguments.out):
        config.prepare_folder(folder)
    work = Work(table, arguments.work.absolute(), arguments.out.absolute(), arguments.epochs)
    check_folders(work)

    def write_tables(task=None):
        collect(work.folder, work.out, table, FOLDS)

    run_tasks(planned(work, arguments), arguments, work.folder, write_tables)
    write_tables()


class TimeIsUp(BaseException):
    """The slot that `--hours` gave has ended.

    No `Exception`: it may come in the middle of anything, and nothing may take it for its own.
    """


def _stop(number, frame):
    raise TimeIsUp


if __name__ == "__main__":
    sys.exit(config.command(main))
