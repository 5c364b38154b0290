"""One training of a variation of our recipe, scored on the validation patients of a fold.

The tested patients of the fold stay unseen: what is chosen by attempts is not chosen on them. What
the tables then say is in `utils.evidence.attempts`.
"""

from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from utils import config
from utils.cluster.provenance import made_with
from utils.cohort.volumes import flair_of
from utils.evaluation.detection import auc
from utils.evidence import recipes
from utils.evidence.tables import CHOICES
from utils.evidence.training.folds import (
    evidence_run,
    forget_models,
    patient_maps,
    reporter,
    segmenter_scores,
)
from utils.models.postprocessing import patient_scores
from utils.tables import write_table

FOLDS, SEEDS = ("0", "1", "4"), (0, 1)


def run_attempt(
    table: pd.DataFrame,
    split: pd.DataFrame,
    recipe: recipes.Recipe,
    name: str,
    fold: str,
    seed: int,
    folder: Path,
    training: Path,
) -> None:
    """Train a variation of the recipe and write how it does on the validation patients.

    Parameters
    ----------
    table, split : pandas.DataFrame
        See `folds.run_fold`.
    recipe : recipes.Recipe
    name, fold : str
        Of the attempt: one of `recipes.ATTEMPTS`.
    seed : int
        Of the training; the split does not depend on it.
    folder : Path
        Gets ``patients.csv`` (Dice with each of `tables.CHOICES`), then ``attempt.json``.
    training : Path
        Of the segmenter. One that is found whole there is read, not repeated.
    """
    note = made_with()
    run = evidence_run(table, split, recipe.size, folder, recipe, folder.parents[2] / "cache")
    run = replace(run, parameters=replace(run.parameters, seed=seed))
    model, history = recipes.train_segmenter(run, recipe, training, report=reporter(recipe, folder))
    maps = patient_maps(run, model, ("validation",))
    key = {"attempt": name, "fold": fold, "seed": seed}
    rows = []
    for patient, own in maps.items():
        here = (run.table["patient"] == patient).to_numpy()
        images, masks = run.volumes.images[here], run.volumes.masks[here]
        scores = patient_scores(own, masks, CHOICES.values(), flair=flair_of(images), empty=1.0)
        rows.append(key | {"patient": patient} | dict(zip(CHOICES, scores, strict=True)))
    write_table(folder / "patients.csv", pd.DataFrame(rows).round(6))
    chosen = run.in_part("validation")
    found = auc(run.volumes.labels[chosen], segmenter_scores(run, maps)[chosen])
    minutes = history["seconds"].sum() / 60
    config.write_json(
        folder / "attempt.json",
        key
        | {"recipe": recipe.description, "auc": round(found, 4), "minutes": round(minutes, 1)}
        | {"made_with": note},
    )
    forget_models()


class Shared(NamedTuple):
    """A training that belongs to each fold of an experiment: its place in the fold's folder."""

    experiment: str
    place: str


def reusable(seed: int, recipe: recipes.Recipe, trained: dict) -> Shared | None:
    """Return where the training of an attempt is one of each fold of an experiment, if anywhere.

    Parameters
    ----------
    seed : int
    recipe : recipes.Recipe
    trained : dict of str to recipes.Recipe
        Recipes of the experiments whose folds are dealt by patient, by experiment.
    """
    for experiment, other in trained.items():
        if seed == 0 and recipe == other:
            return Shared(experiment, "segmenter")
        for number, member in enumerate(other.members):
            if recipe == member and seed == number:
                return Shared(experiment, f"segmenter/{number}")
    return None
