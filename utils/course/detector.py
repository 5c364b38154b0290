"""The detector of a run, step by step: every step is kept in the run folder.

Most of ResNet50 stays as ImageNet left it, so its output is computed once for every slice and read
again in each epoch. What is trained on top of it takes seconds.
"""

from functools import partial
from pathlib import Path

import keras
import numpy as np
import pandas as pd
from scipy.special import expit
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from utils import config
from utils.cohort.features import simple_features
from utils.cohort.volumes import Volumes
from utils.course.features import BATCH_SIZE, COPIES, StoredRows, trunk_features
from utils.course.run import Run
from utils.evaluation.calibration import apply_temperature, fit_temperature
from utils.evaluation.detection import SENSITIVITY, threshold_at_sensitivity
from utils.models import resnet50, training
from utils.models.batches import BatchPlan, Strength, training_batches
from utils.models.files import saving
from utils.models.files.imagenet import imagenet_resnet50
from utils.models.files.settings import detector_settings
from utils.models.inference import predict_images, predict_stream
from utils.models.precision import set_precision
from utils.models.validation import validate_detector

# Relative, between a probability computed by the network in float32 and one computed outside it.
ROUNDING = 1e-5
# Inverse weight of the penalty in the regression of the last layer.
HEAD_PENALTY = 1e-3
FINE_TUNING_RATE = 1e-4
SCRATCH_RATE = 1e-3
# Training every layer keeps the activations of all of them: smaller batches, for the memory.
SCRATCH_BATCH_SIZE = 8
SCRATCH_SHARE = 0.25


def baseline(run: Run) -> tuple[object, np.ndarray]:
    """Return a logistic regression on `simple_features`, and its probabilities for all slices.

    It is fitted on the training patients.

    Returns
    -------
    sklearn.pipeline.Pipeline
    ndarray of float, shape (n,)
        One probability a row of the run's table.
    """
    features = simple_features(run.volumes)
    train = run.in_part("train")
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000))
    model.fit(features[train], run.volumes.labels[train])
    return model, model.predict_proba(features)[:, 1]


def pretrained(run: Run) -> keras.Model:
    """Return the detector with the weights of ImageNet, but for its untrained last layer."""
    set_precision()
    return resnet50.detector(run.parameters.size, imagenet_resnet50(), seed=run.seed)


def train_head(run: Run, penalty: float = HEAD_PENALTY) -> keras.Model:
    """Return the detector with its last layer trained.

    The last layer is a logistic regression on the pooled features, and is fitted as one: with
    little data for its many weights, a strong penalty on them matters more than anything else.

    Parameters
    ----------
    run : Run
    penalty : float
        Inverse weight of the penalty.
    """
    model = pretrained(run)
    values = pooled_features(run, model, np.flatnonzero(run.in_part("train")))
    scaler = StandardScaler().fit(values)
    regression = LogisticRegression(C=penalty, max_iter=500)
    regression.fit(scaler.transform(values), run.part("train").labels)
    # The regression is of features brought to one scale; the layer takes them as they are.
    weights = regression.coef_[0] / scaler.scale_
    bias = regression.intercept_[0] - weights @ scaler.mean_
    model.get_layer("logit").set_weights([weights[:, None], np.array([bias])])
    return model


def fine_tune(
    run: Run,
    rate: float = FINE_TUNING_RATE,
    penalty: float = HEAD_PENALTY,
    name: str = "detector_fine_tuned",
    last_epoch: bool = False,
) -> tuple[keras.Model, pd.DataFrame]:
    """Return the detector with its last blocks fine-tuned too, and the table of its epochs.

    Parameters
    ----------
    run : Run
    rate : float
        The highest learning rate, see `training.cosine_schedule`.
    penalty : float
        See `train_head`.
    name : str
        Of the folder in the run folder that keeps the training. Another penalty needs another
        folder: it decides what the training begins with.
    last_epoch : bool
        Keep the last epoch rather than the best on validation.
    """
    model = train_head(run, penalty)
    blocks = resnet50.last_blocks_of(model)
    resnet50.freeze_norms(blocks)
    rows, _ = _training_rows(run)
    history = fit_rows(
        run,
        blocks,
        trunk_features(run),
        rows,
        batch_plan(run, run.parameters.detector_epochs, BATCH_SIZE),
        name=name,
        rate=rate,
        last_epoch=last_epoch,
    )
    return model, history


def pooled_features(run: Run, model: keras.Model, rows: np.ndarray | None = None) -> np.ndarray:
    """Return what the last layer of a detector is given for slices of a run.

    For a detector whose layers up to the middle of the fourth stage are ImageNet's: their stored
    output is what is read.

    Parameters
    ----------
    run : Run
    model : keras.Model
        With the names of the layers of `resnet50.detector`.
    rows : ndarray of int, optional
        Of the run's table; by default all.

    Returns
    -------
    ndarray of float32, shape (n, 1024)
        One row for each of these.
    """
    rows = np.arange(len(run.table)) if rows is None else rows
    pooled = keras.Model(
        model.get_layer(resnet50.TRUNK_END).output, model.get_layer("pooled").output
    )
    return _predict_stored(pooled, trunk_features(run).take(rows))


def fine_tuning_batches(run: Run, first_epoch: int = 0) -> tuple:
    """Return the batches of the fine-tuning and how many of them make an epoch.

    Parameters
    ----------
    run : Run
    first_epoch : int
        Counted from 0; a training that goes on starts later.

    Returns
    -------
    tf.data.Dataset
        Of stored maps (batch, size / 16, size / 16, 1024) and labels (batch, 1), both float32.
    int
        An epoch has as many steps as the training patients' slices fill.
    """
    rows, wanted = _training_rows(run)
    plan = batch_plan(run, run.parameters.detector_epochs, BATCH_SIZE)
    # A finished training asks for none, but a dataset is made from its first batch.
    first = min(first_epoch, plan.epochs - 1)
    return training_batches(trunk_features(run).take(rows), wanted, plan, first)


def stored_validation(run: Run) -> tuple[np.ndarray, np.ndarray]:
    """Return the stored maps of the validation patients' slices and their labels, (n, 1)."""
    rows = np.flatnonzero(run.in_part("validation"))
    maps = trunk_features(run)[rows].astype("float32")
    return maps, run.volumes.labels[rows, None].astype("float32")


def _training_rows(run: Run) -> tuple[np.ndarray, np.ndarray]:
    """Return which stored maps are trained on, copies included, and their labels."""
    rows = np.flatnonzero(run.in_part("train"))
    copies = len(run.table) + np.arange(COPIES * len(rows))
    return np.concatenate([rows, copies]), np.tile(run.volumes.labels[rows], 1 + COPIES)


def train_from_scratch(run: Run) -> tuple[keras.Model, pd.DataFrame]:
    """Return the same network trained from random weights, and the table of its epochs.

    It goes through the training slices once for every three epochs of the fine-tuning, at least
    once, and is validated four times in each pass.

    Returns
    -------
    keras.Model
    pandas.DataFrame
        One row a quarter of a pass, with ``images``, how many were seen until then.
    """
    set_precision()
    model = resnet50.detector(run.parameters.size, weights=None, seed=run.seed)
    resnet50.lower_norm_momentum(model)
    passes = max(1, run.parameters.detector_epochs // 3)
    epochs = round(passes / SCRATCH_SHARE)
    plan = batch_plan(run, epochs, SCRATCH_BATCH_SIZE, SCRATCH_SHARE, Strength())
    history = fit_rows(
        run,
        model,
        run.volumes.images,
        np.flatnonzero(run.in_part("train")),
        plan,
        name="detector_from_scratch",
        rate=SCRATCH_RATE,
    )
    images = plan.steps_per_epoch * plan.batch_size
    return model, history.assign(images=history["epoch"] * images)


def batch_plan(
    run: Run,
    epochs: int,
    batch_size: int,
    share: float = 1.0,
    strength: Strength | None = None,
) -> BatchPlan:
    """Return the plan of a training of a run's detector.

    Parameters
    ----------
    run : Run
    epochs, batch_size, strength
        See `BatchPlan`.
    share : float
        An epoch has as many steps as this share of the training patients' slices fills.
    """
    slices = int(share * run.in_part("train").sum())
    steps = max(1, slices // batch_size)
    return BatchPlan(epochs, batch_size, steps, run.seed, strength=strength)


def fit_rows(
    run: Run,
    model,
    inputs,
    rows,
    plan: BatchPlan,
    *,
    name: str,
    rate: float,
    last_epoch: bool = False,
) -> pd.DataFrame:
    """Train a network whose output is a logit on some rows of `inputs`.

    Parameters
    ----------
    run : Run
    model : keras.Model
        Of `inputs`, such as pictures or stored features.
    inputs : array, shape (n, ...)
        Its first rows are those of the run's table; further ones are copies of the training
        patients' slices.
    rows : ndarray of int
        Which rows are trained on.
    plan : BatchPlan
        From `batch_plan`.
    name : str
        Of the folder in the run folder that keeps the training.
    rate : float
        The highest learning rate, see `training.cosine_schedule`.
    last_epoch : bool
        Keep the last epoch rather than the best on validation.

    Returns
    -------
    pandas.DataFrame
        One row an epoch.
    """
    labels, train = run.volumes.labels, run.part("train").labels
    validation = run.in_part("validation")
    wanted = np.concatenate([labels, np.tile(train, COPIES)])[rows]
    given = inputs.take(rows) if isinstance(inputs, StoredRows) else inputs[rows]
    steps = plan.steps(len(rows))
    return training.fit(
        model,
        partial(training_batches, given, wanted, plan),
        optimizer=keras.optimizers.Adam(training.cosine_schedule(rate, steps=steps * plan.epochs)),
        loss=keras.losses.BinaryCrossentropy(from_logits=True),
        folder=run.folder / name,
        epochs=plan.epochs,
        configuration=run.identity
        | {"copies": COPIES, "batch_size": plan.batch_size, "steps": steps, "rate": rate},
        validate=validate_detector(inputs[np.flatnonzero(validation)], labels[validation]),
        monitor=None if last_epoch else "val_loss",
        mode="min",
        title=name.replace("_", " "),
    )


def predict_run(run: Run, model: keras.Model) -> np.ndarray:
    """Return sigmoid(logit) for every slice of the run; float32, shape (n,).

    For a detector whose frozen part is ImageNet's: its stored output is what is read.
    """
    rows = trunk_features(run).take(slice(len(run.table)))
    return expit(_predict_stored(resnet50.last_blocks_of(model), rows))


def _predict_stored(model: keras.Model, features: StoredRows) -> np.ndarray:
    """Return a model's output for stored features, of which only a piece is read at a time."""
    pieces = (features[start : start + 128] for start in range(0, len(features), 128))
    return np.concatenate(list(predict_stream(model, pieces)))


def probabilities(model: keras.Model, volumes: Volumes) -> np.ndarray:
    """Return sigmoid(logit) for every slice; float32, shape (n,)."""
    return expit(predict_images(model, volumes.images))


def calibrate_and_save(run: Run, model: keras.Model) -> dict:
    """Calibrate on validation, choose the threshold there, and keep the detector of the run.

    Writes ``detector.keras``, whose output is the calibrated probability, and ``detector.json``.

    Returns
    -------
    dict
        ``temperature, threshold, sensitivity`` (the one aimed at).
    """
    validation = run.part("validation")
    raw = probabilities(model, validation)
    temperature = fit_temperature(validation.labels, raw)
    # Not from the calibrated network, which would be traced too and keep memory for it.
    calibrated = apply_temperature(raw, temperature)
    threshold = threshold_at_sensitivity(validation.labels, calibrated)
    settings = {
        "temperature": temperature,
        # A little lower, or rounding in the network could lose the slice that it was chosen on.
        "threshold": threshold * (1 - ROUNDING),
        "sensitivity": SENSITIVITY,
    }
    saving.save_model(resnet50.calibrated(model, temperature), detector_file(run))
    config.write_json(
        detector_file(run).with_suffix(".json"), {"configuration": _configuration(run), **settings}
    )
    return settings


def detector_file(run: Run) -> Path:
    return run.folder / "detector.keras"


def _configuration(run: Run) -> dict:
    return run.identity | {"epochs": run.parameters.detector_epochs}


def load_or_train(run: Run) -> tuple[keras.Model, dict]:
    """Return the finished, calibrated detector of a run and its settings; train what is missing."""
    kept = config.read_json(detector_file(run).with_suffix(".json"))
    if kept.get("configuration") != _configuration(run) or not detector_file(run).exists():
        print("No detector in the run folder yet: training it, as notebook 02 does.")
        model, _ = fine_tune(run)
        calibrate_and_save(run, model)
    return saving.load_model(detector_file(run)), detector_settings(detector_file(run))
