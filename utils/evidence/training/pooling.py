"""What the folds of an experiment choose together: each on the patients that the others test.

The eleven validation patients of one fold are too few: a threshold that suits them may not suit
others. Those of all five folds together are twice as many and no more, for much the same patients
validate in each. But every patient is tested once, by a network that never saw it; a fold may use
all of these but those that it tests itself, four fifths of the cohort.
"""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, replace
from itertools import product
from pathlib import Path

import pandas as pd

from utils.cohort.volumes import flair_of
from utils.config import read_json
from utils.evaluation.detection import threshold_at_sensitivity
from utils.evidence.recipes import Recipe
from utils.evidence.training.folds import (
    combined,
    evidence_run,
    read_predicted,
    segmenter_scores,
    write_fold,
)
from utils.models.files.settings import Postprocessing
from utils.models.postprocessing import patient_scores

THRESHOLDS = (0.4, 0.5, 0.6, 0.7, 0.8)
NEIGHBOURS = (0.0, 0.25)
REFINEMENTS = (0.0, 0.4, 0.8, 1.2, 1.6)
# All pieces; those with a tenth or a third of the strongest one's evidence; the strongest alone;
# the largest alone.
PIECES = ((0.0, False), (0.1, False), (0.3, False), (1.0, False), (0.0, True))


def choices() -> list[Postprocessing]:
    """Return all settings that are tried."""
    return [
        Postprocessing(threshold, 0, largest, neighbours, refinement, share)
        for refinement, neighbours, threshold, (share, largest) in product(
            REFINEMENTS, NEIGHBOURS, THRESHOLDS, PIECES
        )
    ]


def are_to_choose(folders: Iterable[Path]) -> bool:
    """Return whether the folds in these folders are all done, but have not all chosen together."""
    settings = [read_json(folder / "fold.json") for folder in folders]
    return all(settings) and not all("choosing_patients" in one for one in settings)


def choose_together(
    table: pd.DataFrame, recipe: Recipe, folds: Mapping[Path, pd.DataFrame]
) -> pd.DataFrame:
    """Choose for every fold of an experiment anew, on what the others test, and write its rows.

    Parameters
    ----------
    table : pandas.DataFrame
        A cohort table.
    recipe : Recipe
    folds : mapping of Path to pandas.DataFrame
        Folder -> split of the folds, all of them done.

    Returns
    -------
    pandas.DataFrame
        ``patient`` and Dice with each of `choices`, of every patient that a fold tests.
    """
    tried, scores, rows = choices(), [], []
    shown = evidence_run(table, None, recipe.size, next(iter(folds)), recipe)
    for folder, split in folds.items():
        run = replace(shown, split=split)
        maps, detected, _ = read_predicted(folder)
        tested = run.in_part("test")
        rows.append(
            detected[tested].assign(
                label=run.volumes.labels[tested], score=segmenter_scores(run, maps)[tested]
            )
        )
        owner = run.table["patient"].to_numpy()
        for patient in sorted(set(owner[tested])):
            own = owner == patient
            flair = flair_of(run.volumes.images[own])
            values = patient_scores(
                maps[patient], run.volumes.masks[own], tried, flair=flair, empty=1.0
            )
            scores.append([patient, *values])
    scores = pd.DataFrame(scores, columns=["patient", *range(len(tried))])
    rows = pd.concat(rows, ignore_index=True)
    for folder, split in folds.items():
        run = replace(shown, split=split)
        maps, detected, settings = read_predicted(folder)
        tested = set(split.loc[split["part"] == "test", "patient"])
        means = scores[~scores["patient"].isin(tested)].drop(columns="patient").mean()
        fitted = rows[~rows["patient"].isin(tested)]
        weights, _ = combined(fitted, detected, segmenter_scores(run, maps))
        _, p_fitted = combined(fitted, fitted.copy(), fitted["score"].to_numpy())
        threshold = threshold_at_sensitivity(fitted["label"].to_numpy(), p_fitted)
        settings |= {
            "postprocessing": asdict(tried[int(means.idxmax())]),
            "combination": weights,
            "detection_threshold": float(threshold),
            "choosing_patients": len(set(fitted["patient"])),
            "choosing_dice": round(float(means.max()), 6),
        }
        write_fold(folder, run, maps, detected, settings)
    return scores
