"""The detector of a run, step by step: every step is kept in the run folder.

The first four stages of ResNet50 stay as ImageNet left them, so their output is computed once
for every slice and read again in each epoch. What is trained on top of it takes seconds.
"""

from pathlib import Path

import keras
import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from utils import batches, config, models, training
from utils.calibration import fit_temperature
from utils.course import Run
from utils.detection import threshold_at_sensitivity
from utils.precision import set_precision
from utils.predict import predict_images
from utils.splits import patients_of
from utils.volumes import Volumes, head_pixels
from utils.weights import imagenet_resnet50

# The threshold is the highest that finds this share of the validation patients' tumour slices.
SENSITIVITY = 0.9
BATCH_SIZE = 16
HEAD_RATE, HEAD_EPOCHS = 1e-2, 20
FINE_TUNING_RATE = 1e-4
SCRATCH_RATE = 1e-3


def simple_features(volumes: Volumes) -> pd.DataFrame:
    """Return a few numbers about each slice, for a baseline without any network.

    Returns
    -------
    pandas.DataFrame
        One row a slice: the share of the picture that is head; for each channel its mean,
        standard deviation and 95th percentile over the head; the share of the head that is
        brighter in FLAIR than two standard deviations above the mean; and how much of that lies
        more on one side than on the other, over the whole. All 0 for a slice without head.
    """
    images = np.asarray(volumes.images)
    heads = head_pixels(images)
    rows = [_slice_features(image, head) for image, head in zip(images, heads, strict=True)]
    return pd.DataFrame(rows)


def _slice_features(image: np.ndarray, head: np.ndarray) -> dict:
    row = {"head": head.mean()}
    for channel, name in enumerate(("pre", "flair", "post")):
        values = image[..., channel][head].astype(float) if head.any() else np.zeros(1)
        row |= {
            f"{name} mean": values.mean(),
            f"{name} sd": values.std(),
            f"{name} 95 %": np.percentile(values, 95),
        }
    bright = head & (image[..., 1] > 96 + 2 * 40)
    halves = np.array_split(bright, 2, axis=1)
    left, right = (half.sum() for half in halves)
    row["bright in FLAIR"] = bright.sum() / max(1, head.sum())
    row["one-sidedness"] = abs(int(left) - int(right)) / max(1, bright.sum())
    return row


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
    train = in_part(run, "train")
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000))
    model.fit(features[train], run.volumes.labels[train])
    return model, model.predict_proba(features)[:, 1]


def in_part(run: Run, part: str) -> np.ndarray:
    """Return which rows of the run's table belong to a part; bool, shape (n,)."""
    return run.table["patient"].isin(patients_of(run.split, part)).to_numpy()


def trunk_features(run: Run) -> np.ndarray:
    """Return what the frozen first four stages of ResNet50 make of every slice.

    Computed once, then mapped from a file of the run folder.

    Returns
    -------
    ndarray of float16, shape (n, size / 16, size / 16, 1024)
        One row for each row of the run's table.
    """
    identity = run.identity
    file = run.folder / "cache" / f"trunk-{identity['cohort_sha256'][:12]}-{identity['size']}.npy"
    if not file.exists():
        set_precision()
        trunk = models.trunk_of(_pretrained(run))
        with config.atomic_path(file) as temporary:
            features = np.lib.format.open_memmap(
                temporary, "w+", np.float16, (len(run.table), *trunk.output_shape[1:])
            )
            # In pieces, so that the features of the whole cohort never stand in memory at once.
            for start in range(0, len(features), 8 * BATCH_SIZE):
                piece = slice(start, start + 8 * BATCH_SIZE)
                features[piece] = predict_images(trunk, run.volumes.images[piece])
            features.flush()
    return np.load(file, mmap_mode="r")


def _pretrained(run: Run) -> keras.Model:
    return models.detector(run.parameters.size, imagenet_resnet50(), seed=run.seed)


def train_head(run: Run) -> tuple[keras.Model, pd.DataFrame]:
    """Return the detector with only its last layer trained, and the table of its epochs."""
    set_precision()
    model = _pretrained(run)
    pooled = keras.Model(model.get_layer(models.TRUNK_END).output, model.get_layer("pooled").output)
    values = predict_images(pooled, trunk_features(run))
    head = keras.Sequential([keras.Input(values.shape[1:]), model.get_layer("logit")], name="head")
    history = _fit(run, head, values, "detector_head", HEAD_EPOCHS, HEAD_RATE)
    return model, history


def fine_tune(run: Run) -> tuple[keras.Model, pd.DataFrame]:
    """Return the detector with its last stage fine-tuned too, and the table of its epochs."""
    model, _ = train_head(run)
    stage = models.last_stage_of(model)
    for layer in stage.layers:
        layer.trainable = True
    models.freeze_norms(stage)
    epochs = run.parameters.detector_epochs
    features = trunk_features(run)
    history = _fit(run, stage, features, "detector_fine_tuned", epochs, FINE_TUNING_RATE)
    return model, history


def train_from_scratch(run: Run) -> tuple[keras.Model, pd.DataFrame]:
    """Return the same network trained from random weights for as many epochs."""
    set_precision()
    model = models.detector(run.parameters.size, weights=None, seed=run.seed)
    epochs = run.parameters.detector_epochs
    history = _fit(run, model, run.volumes.images, "detector_from_scratch", epochs, SCRATCH_RATE)
    return model, history


def _fit(run: Run, model, inputs: np.ndarray, name: str, epochs: int, rate: float):
    """Train a network whose output is a logit on the rows of the training patients."""
    train, validation = in_part(run, "train"), in_part(run, "validation")
    labels = run.volumes.labels
    given, wanted = inputs[train], labels[train]
    steps = len(given) // BATCH_SIZE * epochs
    schedule = training.cosine_schedule(rate, steps=max(1, steps))
    return training.fit(
        model,
        lambda first_epoch: batches.training_batches(
            given,
            wanted,
            batch_size=BATCH_SIZE,
            epochs=epochs,
            first_epoch=first_epoch,
            seed=run.seed,
            augment=False,
        ),
        optimizer=keras.optimizers.Adam(schedule),
        loss=keras.losses.BinaryCrossentropy(from_logits=True),
        folder=run.folder / name,
        epochs=epochs,
        configuration=run.identity,
        validate=training.validate_detector(inputs[validation], labels[validation]),
        monitor="val_loss",
        mode="min",
        title=name.replace("_", " "),
    )


def probabilities(model: keras.Model, volumes: Volumes) -> np.ndarray:
    """Return sigmoid(logit) for every slice; float32, shape (n,)."""
    return predict_images(models.calibrated(model), volumes.images)


def finish(run: Run, model: keras.Model) -> dict:
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
    final = models.calibrated(model, temperature)
    threshold = threshold_at_sensitivity(
        validation.labels, predict_images(final, validation.images), SENSITIVITY
    )
    settings = {
        "temperature": temperature,
        "threshold": float(threshold),
        "sensitivity": SENSITIVITY,
    }
    models.save_model(final, detector_file(run))
    config.write_json(
        detector_file(run).with_suffix(".json"), {"configuration": _configuration(run), **settings}
    )
    return settings


def detector_file(run: Run) -> Path:
    return run.folder / "detector.keras"


def _configuration(run: Run) -> dict:
    return run.identity | {"epochs": run.parameters.detector_epochs}


def obtain(run: Run) -> tuple[keras.Model, dict]:
    """Return the finished, calibrated detector of a run and its settings; train what is missing."""
    kept = config.read_json(detector_file(run).with_suffix(".json"))
    if kept.get("configuration") != _configuration(run) or not detector_file(run).exists():
        print("No detector in the run folder yet: training it, as notebook 02 does.")
        model, _ = fine_tune(run)
        finish(run, model)
        kept = config.read_json(detector_file(run).with_suffix(".json"))
    return models.load_model(detector_file(run)), kept
