"""One fold of the evidence: both networks trained, everything chosen on validation, rows written.

A fold has a folder of its own. ``fold.json`` is written last: where it is, the fold is done. The
maps of its patients and the detector's answers stay in it too, so that what is chosen can be
chosen again without training anew, see `utils.evidence.training.pooling`.
"""

import shutil
from collections.abc import Iterable
from dataclasses import asdict, fields, replace
from pathlib import Path

import keras
import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression

from utils import config
from utils.cluster.provenance import made_with
from utils.cohort.table import true_masks
from utils.cohort.volumes import View, flair_of, load_volumes
from utils.course import detector
from utils.course.run import Parameters, Run
from utils.evaluation import segmentation
from utils.evaluation.calibration import apply_temperature, fit_temperature, logits
from utils.evaluation.detection import threshold_at_sensitivity
from utils.evaluation.segmentation import HD95_NOW, patient_table
from utils.evidence import recipes
from utils.evidence.recipes import (
    DETECTOR_EPOCHS,
    DETECTOR_SIZE,
    Recipe,
    patient_of_row,
)
from utils.models import resnet50
from utils.models.files import saving
from utils.models.files.settings import Postprocessing
from utils.models.inference import predict_images
from utils.models.postprocessing import (
    combine,
    postprocess,
    search_postprocessing,
    slice_scores,
    smooth_slices,
)
from utils.models.refinement import refine
from utils.runtime.memory import release
from utils.tables import read_table, write_table

# What is tried on validation: thresholds, which pieces are kept, and the weight of the
# neighbouring slices.
THRESHOLDS = (0.3, 0.4, 0.5, 0.6, 0.7)
PIECES = ((0, False), (100, False), (0, True))
NEIGHBOURS = (0.0, 0.25)
SHIPPED = ("segmenter.keras", "segmenter.json", "detector.keras", "detector.json")
# For the slice probability, the maps are always averaged over neighbouring slices.
SCORE_NEIGHBOURS = 0.25


def is_done(work: Path, experiment: str, fold: str) -> bool:
    """Return whether a fold has been run to its end."""
    return (work / experiment / fold / "fold.json").exists()


def run_fold(
    table: pd.DataFrame, split: pd.DataFrame, recipe: Recipe, baseline_detector: bool, folder: Path
) -> None:
    """Train both networks on one fold and write the rows of its tested part.

    Parameters
    ----------
    table : pandas.DataFrame
        A cohort table; where slices are dealt into folds, each is a patient of its own, named
        ``patient#slice``.
    split : pandas.DataFrame
        ``patient, institution, part``.
    recipe : Recipe
        Of the segmenter.
    baseline_detector : bool
        Whether the detector is the baseline's instead of ours.
    folder : Path
        Gets ``slices.csv``, ``patients.csv`` and ``fold.json``, and ``maps.npz`` and
        ``detector.csv`` for `read_predicted`; the checkpoints stay in it.
    """
    note = made_with()  # before hours in which files may be changed
    rows, settings = _detect(evidence_run(table, split, DETECTOR_SIZE, folder), baseline_detector)
    forget_models()
    run = evidence_run(table, split, recipe.size, folder, recipe)
    model, history = recipes.train_segmenter(
        run, recipe, folder / "segmenter", report=reporter(recipe, folder)
    )
    maps = patient_maps(run, model, ("validation", "test"))
    del model
    write_table(folder / "detector.csv", rows)
    with config.atomic_path(folder / "maps.npz") as temporary:
        np.savez(temporary, **maps)
    settings |= _choose_on_validation(run, maps, rows)
    settings |= {
        "training_patients": len(set(patient_of_row(run.part("train").table))),
        "validation_patients": len(set(patient_of_row(run.part("validation").table))),
        # Of several networks, each of which keeps its best epoch, that of the one that is best.
        "epochs": int(history["epoch"][history["val_dice"].idxmax()]),
        "seconds": round(settings["seconds"] + history["seconds"].sum()),
        "hd95": HD95_NOW,
        "made_with": note,
    }
    write_fold(folder, run, maps, rows, settings)
    forget_models()


def write_fold(folder: Path, run: Run, maps: dict, rows: pd.DataFrame, settings: dict) -> None:
    """Write the rows of a fold's tested part, with what was chosen, and ``fold.json`` last.

    One of before goes first: with rows of two choices, a fold is not done.

    Parameters
    ----------
    folder : Path
    run : Run
        With pictures as the recipe takes them.
    maps : dict
        Patient -> float32 (slices, size, size), of all tested patients.
    rows : pandas.DataFrame
        One row a slice of the run: ``p_tumour, p_detector, p_segmenter``.
    settings : dict
        ``postprocessing``, ``detection_threshold`` and what else ``fold.json`` holds.
    """
    slices, patients = _tested(run, maps, rows, settings)
    (folder / "fold.json").unlink(missing_ok=True)
    for name, frame in (("slices", slices), ("patients", patients)):
        write_table(folder / f"{name}.csv", frame)
    config.write_json(folder / "fold.json", settings)


def read_predicted(folder: Path) -> tuple[dict[str, np.ndarray], pd.DataFrame, dict]:
    """Return what a fold that is done left: its maps, the detector's answers and ``fold.json``.

    Returns
    -------
    dict
        Patient -> float32 (slices, size, size), of its validation and tested patients.
    pandas.DataFrame
        One row a slice of the run: ``patient, institution, slice, p_detector``.
    dict
    """
    with np.load(folder / "maps.npz") as kept:
        maps = dict(kept)
    return maps, read_table(folder / "detector.csv"), config.read_json(folder / "fold.json")


def forget_models() -> None:
    """Give the memory of the networks that are done back."""
    keras.utils.clear_session()
    release()


def evidence_run(
    table: pd.DataFrame,
    split: pd.DataFrame | None,
    size: int,
    folder: Path,
    recipe: Recipe | None = None,
    cache: Path | None = None,
) -> Run:
    """Return the run that a fold is, with pictures as a recipe takes them.

    Parameters
    ----------
    table, split : pandas.DataFrame
        See `run_fold`.
    size : int
        Side of the pictures.
    folder : Path
        Of the fold.
    recipe : Recipe, optional
        None for the pictures of the detector.
    cache : Path, optional
        Holds the pictures for all folds; by default beside the folders of the experiments.
    """
    parameters = Parameters(cohort="lgg", patients=0, size=size, detector_epochs=DETECTOR_EPOCHS)
    named = table.assign(patient=patient_of_row(table))
    view = View(size) if recipe is None else recipe.view
    volumes = load_volumes(named, cache=cache or folder.parents[1] / "cache", **asdict(view))
    if recipe is not None:
        volumes = recipes.prepare(recipe, volumes)
    volumes = replace(volumes, table=table.reset_index(drop=True))
    return Run(parameters, folder, volumes.table, split, volumes)


def reporter(recipe: Recipe, folder: Path):
    """Return a function that prints one line an epoch, with the name of the training's folder.

    Epochs are counted through all networks of the recipe.
    """
    epochs = sum(one.epochs for one in recipe.members or [recipe])
    name = f"{folder.parent.name}/{folder.name}"

    def report(epoch: int, values: dict) -> None:
        dice = f"{values['val_dice']:.3f}"
        print(f"  {name}, epoch {epoch} of {epochs}: validation Dice {dice}", flush=True)

    return report


def _detect(run: Run, baseline_detector: bool) -> tuple[pd.DataFrame, dict]:
    """Return the detector's calibrated probability of every slice, and what was chosen."""
    if baseline_detector:
        model, history = recipes.train_baseline_detector(run)
        raw = detector.probabilities(model, run.volumes)
    else:
        model, history = detector.fine_tune(run)
        raw = detector.predict_run(run, model)
    validation = run.in_part("validation")
    temperature = fit_temperature(run.volumes.labels[validation], raw[validation])
    rows = run.table[["patient", "institution", "slice"]].copy()
    rows["p_detector"] = apply_temperature(raw, temperature)
    return rows, {"temperature": temperature, "seconds": history["seconds"].sum()}


def patient_maps(run: Run, model, parts: Iterable[str]) -> dict[str, np.ndarray]:
    """Return the probability maps of all slices of the patients with a slice in these parts.

    Where slices are dealt into folds, the neighbours of a tested slice are predicted too: they
    are averaged with it, as they would be in use.
    """
    owner = patient_of_row(run.table)
    wanted = np.zeros(len(run.table), bool)
    for part in parts:
        wanted |= run.in_part(part)
    patients = sorted(set(owner[wanted]))
    rows = np.flatnonzero(owner.isin(patients))
    predicted = predict_images(model, run.volumes.images[rows])
    names = owner.to_numpy()[rows]
    return {patient: predicted[names == patient] for patient in patients}


def _choose_on_validation(run: Run, maps: dict, rows: pd.DataFrame) -> dict:
    """Return postprocessing, combination of the probabilities and threshold of detection."""
    in_validation = run.in_part("validation")
    best, score = choose_postprocessing(run, maps, in_validation)
    weights, p_tumour = fit_combination(run, maps, rows, in_validation)
    labels = run.volumes.labels[in_validation]
    return {
        "postprocessing": asdict(best),
        "validation_dice": score,
        "combination": weights,
        "detection_threshold": float(threshold_at_sensitivity(labels, p_tumour[in_validation])),
    }


def choose_postprocessing(run: Run, maps: dict, chosen: np.ndarray):
    """Return the settings with the best mean patient Dice on some rows, and that Dice.

    At the size of the maps, which is faster than at that of the files. A ``minimum_px`` is counted
    in pixels of the maps here and in those of the files later, where a piece has more of them.

    Parameters
    ----------
    run : Run
    maps : dict
        Patient -> float32 (slices, size, size).
    chosen : ndarray of bool, shape (n,)
        The rows that count.

    Returns
    -------
    Postprocessing
    float
    """
    owner = patient_of_row(run.table).to_numpy()
    patients = sorted(set(owner[chosen]))
    truths = {
        name: run.volumes.masks[np.flatnonzero((owner == name) & chosen)] for name in patients
    }
    kept = {name: chosen[owner == name] for name in patients}
    tried = search_postprocessing(
        maps, truths, THRESHOLDS, PIECES, NEIGHBOURS, kept=kept, empty=1.0
    )
    best = max(tried, key=tried.get)
    return best, tried[best]


def segmenter_scores(run: Run, maps: dict) -> np.ndarray:
    """Return `slice_scores` of the averaged maps for each row of the run; NaN without a map."""
    owner = patient_of_row(run.table).to_numpy()
    scores = np.full(len(owner), np.nan)
    for patient, own in maps.items():
        scores[owner == patient] = slice_scores(smooth_slices(own, SCORE_NEIGHBOURS))
    return scores


def fit_combination(run: Run, maps: dict, rows: pd.DataFrame, chosen: np.ndarray):
    """Return the weights of detector and segmenter, fitted on some rows; and the probabilities.

    Adds ``p_segmenter``, the segmenter's score calibrated alone, and ``p_tumour`` to `rows`.
    """
    scores = segmenter_scores(run, maps)
    fitted = rows[chosen].assign(label=run.volumes.labels[chosen], score=scores[chosen])
    return combined(fitted, rows, scores)


def combined(fitted: pd.DataFrame, rows: pd.DataFrame, scores: np.ndarray):
    """Return the weights of detector and segmenter, and the probabilities of all rows.

    Adds ``p_segmenter``, the segmenter's score calibrated alone, and ``p_tumour`` to `rows`.

    Parameters
    ----------
    fitted : pandas.DataFrame
        What is fitted on: ``p_detector, score, label``.
    rows : pandas.DataFrame
        With ``p_detector``.
    scores : ndarray, shape (n,)
        `segmenter_scores` of `rows`.
    """
    labels, known = fitted["label"], ~np.isnan(scores)
    both = np.stack([logits(fitted["p_detector"]), logits(fitted["score"])], axis=1)
    alone = LogisticRegression().fit(both[:, 1:], labels)
    rows["p_segmenter"] = np.nan
    own = logits(scores[known])[:, None]
    rows.loc[known, "p_segmenter"] = alone.predict_proba(own)[:, 1]
    regression = LogisticRegression().fit(both, labels)
    names = ("detector", "segmenter")
    weights = dict(zip(names, map(float, regression.coef_[0]), strict=True))
    weights |= {"intercept": float(regression.intercept_[0])}
    rows["p_tumour"] = combine(rows["p_detector"].to_numpy(), scores, weights)
    return weights, rows["p_tumour"].to_numpy()


def _tested(run: Run, maps: dict, rows: pd.DataFrame, settings: dict):
    """Return the rows of the tested part, with pixels counted at the size of the files."""
    tested = run.in_part("test")
    owner = patient_of_row(run.table).to_numpy()
    choice = Postprocessing(**settings["postprocessing"])
    squares = run.volumes.squares or {}
    slices, truths, masks = [], [], []
    for patient in sorted(set(owner[tested])):
        own = np.flatnonzero((owner == patient) & tested)
        table = run.table.iloc[own].assign(patient=patient)
        truth = true_masks(table)
        shown = flair_of(run.volumes.images[owner == patient])
        refined = refine(maps[patient], shown, choice.refinement)
        mask = postprocess(refined, choice, truth.shape[1:], squares.get(patient))
        mask = mask[tested[owner == patient]]
        probabilities = {
            name: np.round(rows[name].to_numpy()[own], 6)
            for name in ("p_tumour", "p_detector", "p_segmenter")
        }
        scored = segmentation.score(table, truth, mask)
        scored = scored.assign(**probabilities)
        scored["flagged"] = (scored["p_tumour"] >= settings["detection_threshold"]).astype(int)
        slices.append(scored)
        truths.append(truth)
        masks.append(mask)
    slices = pd.concat(slices, ignore_index=True)
    patients = patient_table(slices, np.concatenate(truths), np.concatenate(masks))
    return slices, patients[["patient", "institution", "dice", "hd95_px", "tumour_px"]].round(6)


def train_final(
    table: pd.DataFrame, split: pd.DataFrame, recipe: Recipe, folder: Path, out: Path
) -> None:
    """Train the models that are shipped, on all patients, and write them with their settings.

    Parameters
    ----------
    table : pandas.DataFrame
        A cohort table.
    split : pandas.DataFrame
        From `experiments.all_in_training`.
    recipe : Recipe
        Of the segmenter.
    folder : Path
        Belongs to these trainings alone.
    out : Path
        Holds ``folds.csv``: these models take over what the folds of our recipe chose, the median
        of each number and the most frequent of what is no number. Gets ``segmenter.keras``,
        ``detector.keras`` and a ``.json`` beside each.

    Raises
    ------
    CourseError
        If no fold of our recipe is done yet.
    """
    temperature = float(_choices(out / "folds.csv", "temperature")["temperature"].median())
    made = folder / "shipped"
    made.mkdir(parents=True, exist_ok=True)
    train_final_detector(table, split, temperature, folder, made / "detector.keras")
    forget_models()
    run = evidence_run(table, split, recipe.size, folder, recipe)
    model, _ = recipes.train_segmenter(
        run, recipe, folder / "segmenter", last_epoch=True, report=reporter(recipe, folder)
    )
    saving.save_half(model, made / "segmenter.keras")
    # Read anew: other processes may have finished more of them meanwhile.
    folds = _choices(out / "folds.csv", "segmenter_weight")
    patients = split["patient"].nunique()
    write_final_settings(folds, recipe, patients, temperature, made)
    # Only now, all four: for hours, a new model would else stand beside the settings of an old one.
    for name in SHIPPED:
        with config.atomic_path(out / name) as temporary:
            shutil.copyfile(made / name, temporary)


def train_final_detector(
    table: pd.DataFrame, split: pd.DataFrame, temperature: float, folder: Path, file: Path
) -> None:
    """Train the detector that is shipped, on all patients, and write it.

    Parameters
    ----------
    table, split, folder
        See `train_final`.
    temperature : float
        That it is calibrated with.
    file : Path
        Gets the model.
    """
    run = evidence_run(table, split, DETECTOR_SIZE, folder)
    model, _ = detector.fine_tune(run, last_epoch=True)
    saving.save_half(resnet50.calibrated(resnet50.last_blocks_of(model), temperature), file)


def write_final_settings(
    folds: pd.DataFrame, recipe: Recipe, patients: int, temperature: float, folder: Path
) -> None:
    """Write ``detector.json`` and ``segmenter.json``: what the models that are shipped take over.

    Parameters
    ----------
    folds : pandas.DataFrame
        What the folds of our recipe chose.
    recipe : Recipe
        Of the segmenter.
    patients : int
        How many the models are trained on.
    temperature : float
        That the detector is calibrated with.
    folder : Path
    """
    combination = {
        name: float(folds[f"{name}_weight"].median())
        for name in ("detector", "segmenter", "intercept")
    }
    config.write_json(
        folder / "detector.json",
        {
            "trained_on": patients,
            "temperature": temperature,
            "threshold": float(folds["detection_threshold"].median()),
            "combination": combination,
            "neighbours": SCORE_NEIGHBOURS,
        },
    )
    config.write_json(
        folder / "segmenter.json",
        {
            "trained_on": patients,
            "recipe": recipe.description,
            "channels": recipe.channels,
            "grey_levels": recipe.grey_levels,
            "frame": recipe.frame,
            "postprocessing": {
                one.name: _usual(folds[one.name], one.type) for one in fields(Postprocessing)
            },
        },
    )


def _usual(chosen: pd.Series, kind: type) -> float | int | bool:
    """Return the median of a setting's values, or the most frequent one if it is no number."""
    return bool(chosen.mode()[0]) if kind is bool else kind(chosen.median())


def _choices(path: Path, needed: str) -> pd.DataFrame:
    """Return what the folds by patient of our recipe chose.

    Not those that leave out an institution: what is shipped has seen patients of all.
    """
    found = read_table(path) if path.exists() else pd.DataFrame({"experiment": []})
    found = found[found["experiment"] == "ours"]
    if needed not in found or found[needed].isna().all():
        raise config.CourseError(f"{path}: no fold done; run the experiment ours first")
    return found
