"""The evidence as tasks: a fold, the choice that folds make together, an attempt, what is shipped.

Each can be done in a process and on a machine of its own: it is given the cohort table and the
folders, and finds the recipe by its name.
"""

import argparse
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path

import pandas as pd

from utils.cluster.tasks import Task
from utils.cohort.table import cohort_sha256
from utils.config import CourseError, read_json, write_json
from utils.evidence.tables import EXPERIMENTS, FOLDS, fold_names
from utils.evidence.training.collect import check_cohort, collect
from utils.evidence.training.experiments import (
    all_in_training,
    chosen_folds,
    fold_split,
    scaled_epochs,
    slices_as_patients,
)

# The processes of the last two folds may come to their experiment's choice at once.
CHOOSING_SECONDS = 600
_HERE = "utils.evidence.training.tasks"


@dataclass(frozen=True, eq=False)
class Work:
    """What all tasks of the evidence are given.

    Attributes
    ----------
    table : pandas.DataFrame
        The cohort table, with absolute paths.
    folder, out : pathlib.Path
        For the trainings, and for the tables; absolute.
    epochs : int
        Of every segmenter; 0 for what its recipe says.
    """

    table: pd.DataFrame = field(repr=False)
    folder: Path
    out: Path
    epochs: int = 0

    def recipe(self, name: str):
        """Return the recipe of that name in `EXPERIMENTS`, with these epochs."""
        # Here and below: it loads TensorFlow.
        from utils.evidence import recipes

        named = {"ours": recipes.OURS, "baseline": recipes.BASELINE, "earlier": recipes.EARLIER}
        return self.shortened(named[name])

    def attempt(self, name: str):
        """Return the recipe of that name in `recipes.ATTEMPTS`, with these epochs."""
        from utils.evidence import recipes

        return self.shortened(recipes.ATTEMPTS[name])

    def shortened(self, recipe):
        """Return a recipe with these epochs."""
        from utils.evidence import recipes

        return recipes.with_epochs(recipe, lambda _: self.epochs) if self.epochs else recipe


def check_folders(work: Work) -> None:
    """Refuse folders of another cohort, or with trainings of another number of epochs.

    The folder for the trainings notes whose it is. What is done in it would else be taken for done,
    and what is half done be thrown away.

    Raises
    ------
    CourseError
    """
    data = cohort_sha256(work.table)
    check_cohort(work.out, data)
    note = work.folder / "work.json"
    own = {"data_sha256": data, "epochs": work.epochs}
    found = read_json(note, "give another --work", missing=None)
    if found is None:
        write_json(note, own)
    elif found != own:
        differs = "number of --epochs" if found.get("data_sha256") == data else "cohort"
        raise CourseError(
            f"{work.folder}: holds trainings of another {differs}; delete it, or give another "
            "--work"
        )


def planned(work: Work, arguments: argparse.Namespace) -> list[Task]:
    """Return what is to be done of what a command asks for, in order.

    Folds and attempts that are done are left out; the other tasks see for themselves what there is
    to do.

    Parameters
    ----------
    work : Work
    arguments : argparse.Namespace
        Of ``python -m utils.evidence``.

    Raises
    ------
    CourseError
        For a fold or an attempt that is not known.
    """
    from utils.evidence.training.folds import is_done

    pairs = [] if arguments.no_folds else chosen_folds(arguments)
    tasks, of_ours = [], []
    for experiment in dict.fromkeys(name for name, _ in pairs):
        names = [fold for name, fold in pairs if name == experiment]
        folds = [
            _task(f"{experiment}, fold {fold}", "fold", (work, experiment, fold),
                  work.folder / experiment / fold, "choose another fold with --fold")
            for fold in names
            if not is_done(work.folder, experiment, fold)
        ]  # fmt: skip
        if work.recipe(EXPERIMENTS[experiment].recipe).pooled:
            folds.append(
                _task(f"{experiment}, what its folds choose together", "choose",
                      (work, experiment), work.folder / experiment,
                      "choose another experiment with --experiment",
                      tuple(one.name for one in folds), CHOOSING_SECONDS)
            )  # fmt: skip
        tasks += folds
        of_ours += [one.name for one in folds if experiment == "ours"]
    if arguments.final:
        tasks.append(
            _task("models to ship, trained on all patients", "final", (work,),
                  work.folder / "final" / "0", "leave out --final", tuple(of_ours))
        )  # fmt: skip
    return tasks + _attempts(work, arguments)


def _attempts(work: Work, arguments: argparse.Namespace) -> list[Task]:
    from utils.evidence import recipes
    from utils.evidence.training import trial

    names = arguments.attempt or []
    unknown = [name for name in names if name not in recipes.ATTEMPTS]
    if unknown:
        known = ", ".join(recipes.ATTEMPTS)
        raise CourseError(f"--attempt {unknown[0]}: unknown; choose one of {known}")
    for fold in arguments.fold or []:
        if names and fold not in fold_names("ours"):
            raise CourseError(f"--fold {fold}: attempts have the folds 0 to {FOLDS - 1}")
    tasks = []
    for name in names:
        for fold, seed in product(arguments.fold or trial.FOLDS, arguments.seed or trial.SEEDS):
            folder = work.folder / "attempts" / name / f"{fold}-{seed}"
            shared = _shared_training(work, name, fold, seed)
            # Where the training is that of a fold, both hold the folder of the fold.
            held = folder if shared is None else work.folder / shared.experiment / fold
            if not (folder / "attempt.json").exists():
                tasks.append(
                    _task(f"attempt: {name}, fold {fold}, seed {seed}", "attempt",
                          (work, name, fold, seed), held, "leave out --attempt")
                )  # fmt: skip
    return tasks


def _task(name, function, arguments, folder, remedy, after=(), wait=0) -> Task:
    return Task(name, f"{_HERE}:{function}", arguments, folder, remedy, after, wait)


def _shared_training(work: Work, name: str, fold: str, seed: int):
    """Return where the training of an attempt belongs to a fold of an experiment; None if not."""
    from utils.evidence.training import trial

    by_patient = {
        experiment: work.recipe(recipe)
        for experiment, (recipe, dealt) in EXPERIMENTS.items()
        if dealt == "patients"
    }
    return trial.reusable(seed, work.attempt(name), by_patient)


def _units(work: Work, dealt: str) -> pd.DataFrame:
    """Return the cohort table, with each slice as a patient of its own where slices are dealt."""
    return slices_as_patients(work.table) if dealt == "slices" else work.table


def fold(work: Work, experiment: str, fold: str) -> None:
    """Run one fold of an experiment, unless it is done."""
    from utils.evidence.training.folds import is_done, run_fold

    if is_done(work.folder, experiment, fold):
        return  # by another process, meanwhile
    name, dealt = EXPERIMENTS[experiment]
    units = _units(work, dealt)
    split = fold_split(units, dealt, fold)
    folder = work.folder / experiment / fold
    run_fold(units, split, work.recipe(name), name == "baseline", folder)


def choose(work: Work, experiment: str) -> None:
    """Let the folds of an experiment choose together, if all are done and have not yet."""
    from utils.evidence.training.pooling import are_to_choose, choose_together

    recipe, dealt = EXPERIMENTS[experiment]
    folds = {work.folder / experiment / name: name for name in fold_names(experiment)}
    if are_to_choose(folds):
        units = _units(work, dealt)
        splits = {folder: fold_split(units, dealt, name) for folder, name in folds.items()}
        choose_together(units, work.recipe(recipe), splits)


def final(work: Work) -> None:
    """Train the models to ship. What they take over from the folds is in the tables by then."""
    from utils.evidence import recipes
    from utils.evidence.training.folds import train_final

    collect(work.folder, work.out, work.table, FOLDS)
    recipe = recipes.with_epochs(work.recipe("ours"), scaled_epochs)
    split = all_in_training(work.table)
    train_final(work.table, split, recipe, work.folder / "final" / "0", work.out)


def attempt(work: Work, name: str, fold: str, seed: int) -> None:
    """Score a variation of the recipe on the validation patients of a fold, unless it is done."""
    from utils.evidence.training import trial

    folder = work.folder / "attempts" / name / f"{fold}-{seed}"
    if (folder / "attempt.json").exists():
        return
    shared = _shared_training(work, name, fold, seed)
    if shared is None:
        training = folder / "segmenter"
    else:
        training = work.folder / shared.experiment / fold / shared.place
    split = fold_split(work.table, "patients", fold)
    recipe = work.attempt(name)
    trial.run_attempt(work.table, split, recipe, name, fold, seed, folder, training)
