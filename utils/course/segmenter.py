"""The segmenter of a run, from training to masks: every step is kept in the run folder."""

from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path

import keras
import pandas as pd

from utils import config
from utils.cohort.table import true_masks
from utils.course.run import Run
from utils.models import losses, resunet, training
from utils.models.batches import BatchPlan, training_batches
from utils.models.files import saving
from utils.models.files.settings import Postprocessing, segmenter_settings
from utils.models.inference import native_probabilities
from utils.models.postprocessing import search_postprocessing
from utils.models.precision import set_precision
from utils.models.validation import validate_segmenter

# One epoch of the segmenter: so many batches, whatever the size of the cohort.
STEPS_PER_EPOCH = 50
BATCH_SIZE = 8
# Share of the slices in a batch that show tumour, against a third in the cohort: tumour-free slices
# teach little once they are right.
TUMOUR_SHARE = 0.75
LEARNING_RATE = 1e-3
LOSSES = {
    "focal_tversky": losses.FocalTversky,
    "dice_cross_entropy": losses.DiceCrossEntropy,
}
THRESHOLDS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8)
# Which connected pieces of a patient's volume are kept: what `Postprocessing` calls minimum_px and
# largest_only, by the name under which figures show it.
PIECES = {
    "all pieces": (0, False),
    "from 50 px": (50, False),
    "from 400 px": (400, False),
    "largest piece": (0, True),
}


def train(run: Run, loss: str = "focal_tversky"):
    """Return the ResUNet trained with one loss and the table of its epochs.

    A training that is found whole in the run folder, with the same cohort, split, seed and
    budget, is read; one that was cut off goes on where it was.

    Parameters
    ----------
    run : Run
    loss : {"focal_tversky", "dice_cross_entropy"}

    Returns
    -------
    keras.Model
        With the weights of the epoch that was best on the validation patients.
    pandas.DataFrame
        One row an epoch.
    """
    return train_with(run, LOSSES[loss](), run.folder / f"segmenter_{loss}")


def train_with(
    run: Run,
    loss: keras.losses.Loss,
    folder: Path,
    rate: float = LEARNING_RATE,
    tumour_share: float = TUMOUR_SHARE,
):
    """Return the ResUNet trained with a loss, in a folder of its own, as `train` does.

    Parameters
    ----------
    run : Run
    loss : keras.losses.Loss
    folder : pathlib.Path
        Belongs to this training alone.
    rate : float
        The highest learning rate, see `training.cosine_schedule`.
    tumour_share : float
        Share of the slices in a batch that show tumour.
    """
    set_precision()
    part, plan = run.part("train"), batch_plan(run, tumour_share)
    model = resunet.resunet(run.parameters.size, seed=run.seed)
    rates = training.cosine_schedule(rate, steps=plan.epochs * STEPS_PER_EPOCH)
    history = training.fit(
        model,
        partial(training_batches, part.images, part.masks, plan),
        optimizer=keras.optimizers.Adam(rates),
        loss=loss,
        folder=folder,
        epochs=plan.epochs,
        configuration=configuration(run, tumour_share),
        validate=dice_by_patient(run),
        monitor="val_dice",
        title=f"ResUNet, {folder.name}",
    )
    return model, history


def batch_plan(run: Run, tumour_share: float = TUMOUR_SHARE) -> BatchPlan:
    """Return which batches the segmenter of a run is trained on."""
    return BatchPlan(
        epochs=run.parameters.segmenter_epochs,
        batch_size=BATCH_SIZE,
        steps_per_epoch=STEPS_PER_EPOCH,
        seed=run.seed,
        tumour_share=tumour_share,
    )


def configuration(run: Run, tumour_share: float = TUMOUR_SHARE) -> dict:
    """Return what decides a training's result, beside network, optimiser, loss and epochs."""
    return run.identity | {
        "batch_size": BATCH_SIZE,
        "steps": STEPS_PER_EPOCH,
        "tumour_share": tumour_share,
    }


def dice_by_patient(run: Run) -> Callable[[keras.Model], dict]:
    """Return a `validate` that tells the mean patient Dice on a run's validation patients.

    Of every second slice, which tells which epoch is best nearly as well as all of them.
    """
    part = run.part("validation")
    return validate_segmenter(part.images[::2], part.masks[::2], part.table["patient"][::2])


def try_postprocessing(run: Run, model) -> pd.DataFrame:
    """Return how each threshold and choice of pieces does on the validation patients.

    Returns
    -------
    pandas.DataFrame
        ``threshold, pieces, minimum_px, largest_only, dice``: mean Dice by patient, best first.
    """
    validation = run.part("validation")
    probabilities = native_probabilities(model, validation)
    truths = {
        patient: true_masks(rows)
        for patient, rows in validation.table.groupby("patient", sort=False)
    }
    scores = search_postprocessing(probabilities, truths, THRESHOLDS, PIECES.values())
    names = {kept: name for name, kept in PIECES.items()}
    tried = [
        (one.threshold, names[kept], *kept, score)
        for one, score in scores.items()
        for kept in [(one.minimum_px, one.largest_only)]
    ]
    columns = ["threshold", "pieces", "minimum_px", "largest_only", "dice"]
    table = pd.DataFrame(tried, columns=columns)
    return table.sort_values("dice", ascending=False, kind="stable", ignore_index=True)


def best_postprocessing(tried: pd.DataFrame) -> Postprocessing:
    """Return the settings in the row of `try_postprocessing`'s table with the highest Dice."""
    best = tried.loc[tried["dice"].idxmax()]
    return Postprocessing(
        float(best["threshold"]), int(best["minimum_px"]), bool(best["largest_only"])
    )


def choose_and_save(
    run: Run, model, loss: str = "focal_tversky", tried: pd.DataFrame | None = None
) -> Postprocessing:
    """Choose the postprocessing on validation, and keep the segmenter of the run.

    Writes ``segmenter.keras`` and, with what was chosen, ``segmenter.json``.

    Parameters
    ----------
    run : Run
    model : keras.Model
    loss : {"focal_tversky", "dice_cross_entropy"}
        It was trained with.
    tried : pandas.DataFrame, optional
        What `try_postprocessing` returned for the model, if that is there already.
    """
    tried = try_postprocessing(run, model) if tried is None else tried
    settings = best_postprocessing(tried)
    saving.save_model(model, segmenter_file(run))
    config.write_json(
        segmenter_file(run).with_suffix(".json"),
        {
            "configuration": _configuration(run, loss),
            "postprocessing": asdict(settings),
            "validation_dice": float(tried["dice"].max()),
        },
    )
    return settings


def segmenter_file(run: Run) -> Path:
    return run.folder / "segmenter.keras"


def _configuration(run: Run, loss: str) -> dict:
    return run.identity | {"loss": loss, "epochs": run.parameters.segmenter_epochs}


def load_or_train(run: Run):
    """Return the finished segmenter of a run and its postprocessing; train what is missing."""
    loss = "focal_tversky"
    kept = config.read_json(segmenter_file(run).with_suffix(".json"))
    if kept.get("configuration") == _configuration(run, loss) and segmenter_file(run).exists():
        return saving.load_model(segmenter_file(run)), segmenter_settings(segmenter_file(run))[0]
    print("No segmenter in the run folder yet: training it, as notebook 03 does.")
    model, _ = train(run, loss)
    return model, choose_and_save(run, model, loss)
