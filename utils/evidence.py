"""The evidence from the real cohort: every number out of fold, every step resumable.

    python -m utils.evidence DATA [--hours 2] [--fold 3] [--experiment ours]

trains what is missing, experiment by experiment and fold by fold, and writes the tables to
``results/lgg/``. A run that was cut off goes on where it was.
"""

import argparse
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pandas as pd

from utils import config
from utils.cohort import open_cohort, read_cohort
from utils.config import CourseError
from utils.evidence_collect import collect
from utils.evidence_tables import EXPERIMENTS
from utils.splits import choose_patients, patient_folds

FOLDS = 5
VALIDATING = 6  # one part in so many of those that are not tested validates
SEED = 0
INSTITUTIONS = ("CS", "DU", "FG", "HT")  # EZ has one patient


class _TimeIsUp(Exception):
    """The slot that `--hours` gave has ended."""


def fold_names(experiment: str) -> list[str]:
    """Return the names of an experiment's folds: numbers, or the institution left out."""
    if EXPERIMENTS[experiment].dealt == "institutions":
        return list(INSTITUTIONS)
    return [str(fold) for fold in range(FOLDS)]


def fold_split(table: pd.DataFrame, dealt: str, fold: str, seed: int = SEED) -> pd.DataFrame:
    """Return who trains, validates and tests in one fold.

    Parameters
    ----------
    table : pandas.DataFrame
        A cohort table; for `dealt` "slices", as `each_slice_for_itself` returns it.
    dealt : {"patients", "slices", "institutions"}
        What is dealt into folds.
    fold : str
        One of `fold_names`.
    seed : int

    Returns
    -------
    pandas.DataFrame
        ``patient, institution, part``. A sixth of those that are not tested validate.
    """
    patients = patient_folds(table, FOLDS, seed)
    if dealt == "institutions":
        tested = patients["institution"] == fold
    else:
        tested = patients["fold"] == int(fold)
    rest = table[table["patient"].isin(patients.loc[~tested, "patient"])]
    inner = patient_folds(rest, VALIDATING, seed + 1)
    validating = set(inner.loc[inner["fold"] == 0, "patient"])
    patients["part"] = "train"
    patients.loc[patients["patient"].isin(validating), "part"] = "validation"
    patients.loc[tested, "part"] = "test"
    return patients[["patient", "institution", "part"]]


def everyone(table: pd.DataFrame, seed: int = SEED) -> pd.DataFrame:
    """Return the split of the models that are shipped: all train.

    A sixth is in the validation part too, which here only shows how far the training is; what is
    chosen for these models comes from the folds.
    """
    patients = patient_folds(table, VALIDATING, seed + 1)
    repeated = patients[patients["fold"] == 0].assign(part="validation")
    split = pd.concat([patients.assign(part="train"), repeated], ignore_index=True)
    return split[["patient", "institution", "part"]]


def as_often(recipe):
    """Return the recipe with as many epochs as show each of all patients as often as in a fold."""
    share = (1 - 1 / FOLDS) * (1 - 1 / VALIDATING)
    return replace(recipe, epochs=max(1, round(recipe.epochs / share)))


def each_slice_for_itself(table: pd.DataFrame) -> pd.DataFrame:
    """Return the table with every slice as a patient of its own, named ``patient#slice``.

    This is how a random split of slices sees the cohort.
    """
    return table.assign(patient=table["patient"] + "#" + table["slice"].astype(str))


def wanted(arguments: argparse.Namespace) -> list[tuple[str, str]]:
    """Return the (experiment, fold) pairs to run, in order."""
    experiments = arguments.experiment or list(EXPERIMENTS)
    pairs = [(name, fold) for name in experiments for fold in fold_names(name)]
    known = {fold for _, fold in pairs}
    for fold in arguments.fold or []:
        if fold not in known:
            raise CourseError(
                f"--fold {fold}: no such fold of {', '.join(experiments)}; "
                f"choose one of {', '.join(sorted(known))}"
            )
    return [pair for pair in pairs if not arguments.fold or pair[1] in arguments.fold]


def run_all(table: pd.DataFrame, arguments: argparse.Namespace) -> None:
    """Run what is missing of the wanted folds, then train the models to ship."""
    # Only here: it loads TensorFlow.
    from utils import evidence_folds, recipes

    chosen = {"ours": recipes.OURS, "seed": recipes.SEED, "intensity": recipes.INTENSITY}
    if arguments.epochs:
        chosen = {name: replace(one, epochs=arguments.epochs) for name, one in chosen.items()}
    pairs = [] if arguments.no_folds else wanted(arguments)
    todo = [pair for pair in pairs if not evidence_folds.is_done(arguments.work, *pair)]
    started = time.monotonic()
    for done, (experiment, fold) in enumerate(todo):
        spent = time.monotonic() - started
        left = f", about {spent / done * (len(todo) - done) / 60:.0f} min remain" if done else ""
        if evidence_folds.is_done(arguments.work, experiment, fold):
            continue  # by another process, meanwhile
        print(f"{experiment}, fold {fold} ({done + 1} of {len(todo)}{left})", flush=True)
        name, dealt = EXPERIMENTS[experiment]
        units = each_slice_for_itself(table) if dealt == "slices" else table
        split = fold_split(units, dealt, fold)
        evidence_folds.run_fold(
            units, split, chosen[name], name == "seed", arguments.work / experiment / fold
        )
        collect(arguments.work, arguments.out, table, FOLDS)
    if arguments.final:
        print("models to ship, trained on all patients", flush=True)
        recipe = as_often(chosen["ours"])
        evidence_folds.train_final(
            table, everyone(table), recipe, arguments.work / "final" / "0", arguments.out
        )
    for name in arguments.attempt or []:
        if name not in recipes.ATTEMPTS:
            known = ", ".join(recipes.ATTEMPTS)
            raise CourseError(f"--attempt {name}: unknown; choose one of {known}")
        print(f"attempt: {name}", flush=True)
        split = fold_split(table, "patients", recipes.ATTEMPTS_FOLD)
        folder = arguments.work / "attempts" / name
        # What that fold of an experiment trains too is trained once, for both.
        same = [
            arguments.work / experiment / recipes.ATTEMPTS_FOLD
            for experiment, (recipe, dealt) in EXPERIMENTS.items()
            if dealt == "patients" and chosen[recipe] == recipes.ATTEMPTS[name]
        ]
        training = (*same, folder)[0] / "segmenter"
        evidence_folds.run_attempt(table, split, name, folder, training)
    collect(arguments.work, arguments.out, table, FOLDS)


def _parse(words: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m utils.evidence", description=__doc__)
    parser.add_argument("data", type=Path, help="the real cohort: folder, its parent, or the zip")
    parser.add_argument("--out", type=Path, default=config.RESULTS / "lgg", help="for the tables")
    parser.add_argument("--work", type=Path, default=config.RUNS / "evidence", help="checkpoints")
    parser.add_argument(
        "--experiment", action="append", choices=EXPERIMENTS, help="only this one (repeatable)"
    )
    parser.add_argument("--fold", metavar="K", action="append", help="only this one (repeatable)")
    parser.add_argument("--final", action="store_true", help="train the models to ship, too")
    parser.add_argument("--attempt", action="append", help="score a variation on validation, too")
    parser.add_argument("--no-folds", action="store_true", help="only --final and --attempt")
    parser.add_argument("--hours", type=float, help="stop after so long; run again to go on")
    parser.add_argument("--patients", type=int, default=0, help="a subset, to try it out")
    parser.add_argument("--epochs", type=int, default=0, help="fewer, to try it out")
    return parser.parse_args(words)


def main(words: Sequence[str] | None = None) -> int:
    """Run the evidence; exit status 0 also when `--hours` ended it."""
    arguments = _parse(words)
    trial = bool(arguments.patients or arguments.epochs)
    if trial and arguments.out == config.RESULTS / "lgg":
        raise CourseError("--patients and --epochs are for trying out: give another --out too")
    table = read_cohort(open_cohort(arguments.data))
    if arguments.patients:
        names = choose_patients(table, arguments.patients, SEED)
        table = table[table["patient"].isin(names)].reset_index(drop=True)
    if arguments.hours:
        signal.signal(signal.SIGALRM, _stop)
        signal.setitimer(signal.ITIMER_REAL, arguments.hours * 3600)
    try:
        run_all(table, arguments)
    except _TimeIsUp:
        print("The time is up; the same command goes on from here.")
    return 0


def _stop(number, frame):
    raise _TimeIsUp


if __name__ == "__main__":
    sys.exit(config.command(main))
