"""What the folds of an experiment choose together: each on what the others test.

The eleven validation patients of one fold are too few: a threshold that suits them may not suit
others. Those of all five folds together are twice as many and no more, for much the same patients
validate in each. But every patient is tested once, by a network that never saw it; a fold may use
all of these but those that it tests itself, four fifths of the cohort. Where slices are dealt at
random, it is the slices that the others test: a choice is then made on the tested patients too, as
everything is under such a split, but in the same way and on as many slices.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, replace
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd

from utils.cohort.volumes import flair_of
from utils.config import read_json
from utils.evaluation.detection import threshold_at_sensitivity
from utils.evaluation.segmentation import dice_from_counts
from utils.evidence.recipes import Recipe, patient_of_row
from utils.evidence.training.folds import (
    combined,
    evidence_run,
    read_predicted,
    segmenter_scores,
    write_fold,
)
from utils.models.files.settings import Postprocessing
from utils.models.postprocessing import patient_counts

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
        A cohort table; where slices are dealt into folds, as `slices_as_patients` returns it.
    recipe : Recipe
    folds : mapping of Path to pandas.DataFrame
        Folder -> split of the folds, all of them done.

    Returns
    -------
    pandas.DataFrame
        ``fold, patient`` and Dice with each of `choices`, in the slices of the patient that the
        fold tests.
    """
    tried, counts, rows = choices(), [], []
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
        owner = patient_of_row(run.table).to_numpy()
        for patient in sorted(set(owner[tested])):
            own, counting = owner == patient, (owner == patient) & tested
            pixels = patient_counts(
                maps[patient],
                run.volumes.masks[counting],
                tried,
                flair=flair_of(run.volumes.images[own]),
                kept=tested[own],
            )
            counts.append((folder.name, patient, pixels))
    rows = pd.concat(rows, ignore_index=True)
    for folder, split in folds.items():
        run = replace(shown, split=split)
        maps, detected, settings = read_predicted(folder)
        tested = set(split.loc[split["part"] == "test", "patient"])
        means = _dice(counts, lambda fold, other=folder.name: fold != other).mean()
        fitted = rows[~rows["patient"].isin(tested)]
        weights, _ = combined(fitted, detected, segmenter_scores(run, maps))
        _, p_fitted = combined(fitted, fitted.copy(), fitted["score"].to_numpy())
        threshold = threshold_at_sensitivity(fitted["label"].to_numpy(), p_fitted)
        settings |= {
            "postprocessing": asdict(tried[int(means.idxmax())]),
            "combination": weights,
            "detection_threshold": float(threshold),
            "choosing_patients": patient_of_row(fitted).nunique(),
            "choosing_dice": round(float(means.max()), 6),
        }
        write_fold(folder, run, maps, detected, settings)
    return pd.concat(
        _dice(counts, lambda fold, own=folder.name: fold == own)
        .rename_axis("patient")
        .reset_index()
        .assign(fold=folder.name)
        for folder in folds
    )


def _dice(counts: list[tuple[str, str, np.ndarray]], chosen: Callable[[str], bool]) -> pd.DataFrame:
    """Return Dice with each setting (columns) of each patient, in the slices of some folds."""
    pixels: dict[str, np.ndarray] = {}
    for fold, patient, own in counts:
        if chosen(fold):
            pixels[patient] = pixels.get(patient, 0) + own
    scores = {name: dice_from_counts(*own.T, empty=1.0) for name, own in pixels.items()}
    return pd.DataFrame.from_dict(scores, orient="index")
