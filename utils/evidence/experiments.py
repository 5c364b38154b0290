"""The experiments of the evidence: which folds each has, and all of them in order."""

import argparse
import time
from itertools import product
from pathlib import Path

import pandas as pd

from utils.cohort.splits import patient_folds
from utils.config import CourseError, hold_folder
from utils.evidence.collect import collect
from utils.evidence.tables import EXPERIMENTS

FOLDS = 5
VALIDATING = 6  # one part in so many of those that are not tested validates
SEED = 0
INSTITUTIONS = ("CS", "DU", "FG", "HT")  # EZ has one patient


class TimeIsUp(Exception):
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
        A cohort table; for `dealt` "slices", as `slices_as_patients` returns it.
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


def all_in_training(table: pd.DataFrame, seed: int = SEED) -> pd.DataFrame:
    """Return the split of the models that are shipped: all train.

    A sixth is in the validation part too, which here only shows how far the training is; what is
    chosen for these models comes from the folds.
    """
    patients = patient_folds(table, VALIDATING, seed + 1)
    repeated = patients[patients["fold"] == 0].assign(part="validation")
    split = pd.concat([patients.assign(part="train"), repeated], ignore_index=True)
    return split[["patient", "institution", "part"]]


def scaled_epochs(epochs: int) -> int:
    """Return how many epochs show each of all patients as often as so many do in a fold."""
    share = (1 - 1 / FOLDS) * (1 - 1 / VALIDATING)
    return max(1, round(epochs / share))


def slices_as_patients(table: pd.DataFrame) -> pd.DataFrame:
    """Return the table with every slice as a patient of its own, named ``patient#slice``.

    This is how a random split of slices sees the cohort.
    """
    return table.assign(patient=table["patient"] + "#" + table["slice"].astype(str))


def chosen_folds(arguments: argparse.Namespace) -> list[tuple[str, str]]:
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
    """Run what is missing of the wanted folds, then train the models to ship.

    Several processes may share a work folder, each at a fold of its own.

    Raises
    ------
    CourseError
        If another process is at a fold, or at the models to ship, when this one comes to it; or
        for an attempt that is not known.
    """
    # Only here: it loads TensorFlow.
    from utils.evidence import recipes, trial
    from utils.evidence.folds import is_done, run_fold, train_final

    chosen = {"ours": recipes.OURS, "baseline": recipes.BASELINE, "earlier": recipes.EARLIER}
    if arguments.epochs:
        chosen = {
            name: recipes.with_epochs(one, lambda _: arguments.epochs)
            for name, one in chosen.items()
        }
    pairs = [] if arguments.no_folds else chosen_folds(arguments)
    todo = [pair for pair in pairs if not is_done(arguments.work, *pair)]
    for experiment in dict.fromkeys(name for name, _ in pairs):
        _choose_together(table, chosen, experiment, arguments.work)  # if that was cut off before
    started = time.monotonic()
    for done, (experiment, fold) in enumerate(todo):
        spent = time.monotonic() - started
        left = f", about {spent / done * (len(todo) - done) / 60:.0f} min remain" if done else ""
        folder = arguments.work / experiment / fold
        with hold_folder(folder, "choose another fold with --fold"):
            if is_done(arguments.work, experiment, fold):
                continue  # by another process, meanwhile
            print(f"{experiment}, fold {fold} ({done + 1} of {len(todo)}{left})", flush=True)
            name, dealt = EXPERIMENTS[experiment]
            units = slices_as_patients(table) if dealt == "slices" else table
            split = fold_split(units, dealt, fold)
            run_fold(units, split, chosen[name], name == "baseline", folder)
            _choose_together(table, chosen, experiment, arguments.work)
        collect(arguments.work, arguments.out, table, FOLDS)
    if arguments.final:
        print("models to ship, trained on all patients", flush=True)
        recipe = recipes.with_epochs(chosen["ours"], scaled_epochs)
        folder = arguments.work / "final" / "0"
        with hold_folder(folder, "leave out --final"):
            train_final(table, all_in_training(table), recipe, folder, arguments.out)
    for name in arguments.attempt or []:
        if name not in recipes.ATTEMPTS:
            known = ", ".join(recipes.ATTEMPTS)
            raise CourseError(f"--attempt {name}: unknown; choose one of {known}")
        for fold, seed in product(arguments.fold or trial.FOLDS, arguments.seed or trial.SEEDS):
            _attempt(table, name, fold, seed, chosen, arguments.work)
    collect(arguments.work, arguments.out, table, FOLDS)


def _attempt(table, name: str, fold: str, seed: int, chosen: dict, work: Path) -> None:
    from utils.evidence import recipes, trial

    folder = work / "attempts" / name / f"{fold}-{seed}"
    # What that fold of an experiment trains too is trained once, for both.
    by_patient = {
        experiment: chosen[recipe]
        for experiment, (recipe, dealt) in EXPERIMENTS.items()
        if dealt == "patients"
    }
    recipe = recipes.ATTEMPTS[name]
    training = trial.reusable(work, fold, seed, recipe, by_patient) or folder / "segmenter"
    with hold_folder(training, "leave out --attempt"):
        if not (folder / "attempt.json").exists():
            print(f"attempt: {name}, fold {fold}, seed {seed}", flush=True)
            split = fold_split(table, "patients", fold)
            trial.run_attempt(table, split, name, fold, seed, folder, training)


def _choose_together(table: pd.DataFrame, chosen: dict, experiment: str, work: Path) -> None:
    """Let the folds of an experiment choose together, if they are to, are done and have not yet."""
    from utils.evidence.pooling import are_to_choose, choose_together

    recipe, dealt = EXPERIMENTS[experiment]
    folds = {work / experiment / name: name for name in fold_names(experiment)}
    if not chosen[recipe].pooled or dealt == "slices" or not are_to_choose(folds):
        return
    with hold_folder(work / experiment, "choose another experiment with --experiment"):
        splits = {folder: fold_split(table, dealt, name) for folder, name in folds.items()}
        choose_together(table, chosen[recipe], splits)
