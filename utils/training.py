"""Training that can be cut off at any point and goes on where it was.

A training has a folder of its own:

    configuration.json          what is trained, on what, how
    state.json                  epochs done, their history, and the names of the next two
    epoch-<n>.weights.h5        weights and optimiser after the last epoch
    best-<n>.weights.h5         weights after the best epoch so far
    model.keras, history.csv    the result, once finished

`state.json` is replaced last, in one move: whatever it names is whole.
"""

import sys
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import pandas as pd

from utils import config, models
from utils.memory import release
from utils.precision import has_gpu, set_precision
from utils.tables import read_table, write_table

__all__ = [
    "cosine_schedule",
    "fit",
    "set_precision",
    "validate_detector",
    "validate_segmenter",
]


def fit(
    model: keras.Model,
    make_batches: Callable,
    *,
    optimizer: keras.optimizers.Optimizer,
    loss: keras.losses.Loss,
    folder,
    epochs: int,
    configuration: dict,
    validate: Callable[[keras.Model], dict],
    monitor: str,
    mode: str = "max",
    title: str = "training",
) -> pd.DataFrame:
    """Train a model, or go on with its training, or load the result if it was finished.

    Afterwards `model` has the weights of its best epoch, in memory and in `folder`/model.keras.

    Parameters
    ----------
    model : keras.Model
        With its initial weights; compiled here.
    make_batches : callable
        `make_batches(first_epoch)` -> (batches, steps an epoch), as `batches.training_batches`
        returns them: from that epoch to the last.
    optimizer : keras.optimizers.Optimizer
        Not used before.
    loss : keras.losses.Loss
        One value an image.
    folder : path-like
        Belongs to this training alone.
    epochs : int
        How many in all.
    configuration : dict
        JSON values that decide the result: data, split, seed, size and so on, and what made the
        initial weights. The optimiser, the loss, the precision and the epochs are added here. A
        folder with another configuration is trained anew.
    validate : callable
        `validate(model)` -> dict of floats, after every epoch.
    monitor : str
        The name in that dict by which the best epoch is chosen; the first of equals wins.
    mode : {"max", "min"}
        Which way is better.
    title : str
        Shown with the progress.

    Returns
    -------
    pandas.DataFrame
        One row an epoch: epoch (from 1), loss, the values of `validate`, seconds.
    """
    if mode not in ("max", "min"):
        raise config.CourseError(f"mode {mode!r}: must be max or min")
    release()
    folder = Path(folder)
    model.compile(optimizer=optimizer, loss=loss, jit_compile=_jit())
    configuration = _whole_configuration(model, epochs, configuration, monitor, mode)
    if config.read_json(folder / "configuration.json") != configuration:
        _discard(folder)
        config.write_json(folder / "configuration.json", configuration)
    if (folder / "model.keras").exists() and (folder / "history.csv").exists():
        _load_weights(models.uncompiled(model), folder / "model.keras")
        return read_table(folder / "history.csv")
    state = _State(folder, monitor, mode)
    first_epoch = state.resume(model)
    if first_epoch < epochs:
        with _Line(title) as line:
            data, steps = make_batches(first_epoch)
            feed = iter(data)
            for epoch in range(first_epoch, epochs):
                line.show(f"epoch {epoch + 1} of {epochs}")
                state.add(model, _train_epoch(model, feed, steps, epoch + 1, validate))
    _load_weights(models.uncompiled(model), state.best_file)
    history = pd.DataFrame(state.history)
    write_table(folder / "history.csv", history)
    models.save_model(model, folder / "model.keras")
    state.discard()
    return history


class _State:
    """The epochs done so far, in memory and in a folder."""

    def __init__(self, folder: Path, monitor: str, mode: str):
        self.folder = folder
        self.monitor = monitor
        self.sign = 1 if mode == "max" else -1
        self.history = []
        self.best_file = None
        self.names = []

    def resume(self, model: keras.Model) -> int:
        """Load what the folder holds into the model and return how many epochs are done."""
        saved = config.read_json(self.folder / "state.json")
        if not saved:
            return 0
        self.history = saved["history"]
        self.names = [saved["last"], saved["best"]]
        self.best_file = self.folder / saved["best"]
        model.optimizer.build(model.trainable_variables)
        _load_weights(model, self.folder / saved["last"])
        return len(self.history)

    def add(self, model: keras.Model, row: dict) -> None:
        """Write the model and the row of an epoch; keep the model too if it is the best."""
        scores = [self.sign * earlier[self.monitor] for earlier in self.history]
        is_best = not scores or self.sign * row[self.monitor] > max(scores)
        self.history.append(row)
        last = self.folder / f"epoch-{row['epoch']}.weights.h5"
        _save_weights(model, last)
        if is_best:
            self.best_file = self.folder / f"best-{row['epoch']}.weights.h5"
            _save_weights(models.uncompiled(model), self.best_file)
        self.names = [last.name, self.best_file.name]
        state = {"history": self.history, "last": last.name, "best": self.best_file.name}
        config.write_json(self.folder / "state.json", state)
        self.discard(keep=self.names)

    def discard(self, keep=()) -> None:
        """Remove checkpoints that are not in `keep`, with what killed writes left behind."""
        if not keep:
            (self.folder / "state.json").unlink(missing_ok=True)
        for pattern in ("*.weights.h5", ".*"):
            for path in self.folder.glob(pattern):
                if path.name not in keep and path.is_file():
                    path.unlink()


def _whole_configuration(model, epochs, configuration, monitor, mode) -> dict:
    own = {
        "model": model.name,
        "parameters": model.count_params(),
        "trained_parameters": int(sum(np.prod(v.shape) for v in model.trainable_variables)),
        "epochs": epochs,
        "optimizer": _serialised(model.optimizer),
        "loss": _serialised(model.loss),
        "precision": keras.config.dtype_policy().name,
        "chosen_by": [monitor, mode],
    }
    clash = own.keys() & configuration.keys()
    if clash:
        raise config.CourseError(f"configuration: {sorted(clash)[0]} is added by fit itself")
    return {**own, **configuration}


def _serialised(thing) -> dict:
    """Return the class and the settings, without the name, which Keras numbers by use."""
    saved = keras.saving.serialize_keras_object(thing)
    return {"class": saved["class_name"], **saved["config"], "name": None}


def _discard(folder: Path) -> None:
    for name in ("state.json", "model.keras", "history.csv", "configuration.json"):
        (folder / name).unlink(missing_ok=True)


def _save_weights(model: keras.Model, path: Path) -> None:
    with config.atomic_path(path.with_name(f"{path.name.split('.')[0]}.weights.h5")) as temporary:
        written = temporary.with_name(f"{temporary.stem}.weights.h5")
        model.save_weights(written)
        written.replace(temporary)


def _load_weights(model: keras.Model, path: Path) -> None:
    try:
        model.load_weights(path)
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise config.CourseError(
            f"{path}: cannot be loaded ({error}); delete its folder and train again"
        ) from error


def _train_epoch(model, feed, steps, epoch, validate) -> dict:
    """Train on the next `steps` batches and return the epoch's row of the history.

    Keras's own `fit` takes a first batch from the feed to build the loss and throws it away: a
    training that goes on after a cut would then see other batches than one that was not cut.
    """
    started = time.perf_counter()
    losses = []
    for _ in range(steps):
        pictures, targets = next(feed)
        losses.append(model.train_on_batch(pictures, targets))
        model.reset_metrics()
    row = {"epoch": epoch, "loss": float(np.mean(losses))}
    row |= {name: float(value) for name, value in validate(model).items()}
    return row | {"seconds": round(time.perf_counter() - started, 2)}


def _jit():
    """Return `compile`'s jit_compile: on a processor, TensorFlow is slower with XLA."""
    return False if keras.backend.backend() == "tensorflow" and not has_gpu() else "auto"


class _Line:
    """One line of progress on a terminal's standard error; nothing where output is stored."""

    def __init__(self, title):
        self.title = title
        self.shown = sys.stderr.isatty()

    def show(self, text):
        if self.shown:
            print(f"\r{self.title}: {text}\x1b[K", end="", file=sys.stderr, flush=True)

    def __enter__(self):
        return self

    def __exit__(self, *error):
        if self.shown:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)


def cosine_schedule(peak, steps, warmup=0.1):
    """Return a learning rate that rises to `peak` and then falls to 0 along half a cosine.

    Parameters
    ----------
    peak : float
        The highest rate.
    steps : int
        Of the whole training.
    warmup : float
        Share of the steps in which the rate rises.
    """
    rising = int(warmup * steps)
    return keras.optimizers.schedules.CosineDecay(
        initial_learning_rate=peak / 10 if rising else peak,
        decay_steps=max(1, steps - rising),
        warmup_target=peak if rising else None,
        warmup_steps=rising,
    )


def validate_segmenter(images, masks, patients, batch_size=32) -> Callable:
    """Return a `validate` for `fit`: the mean over the patients of the Dice of their volumes.

    Parameters
    ----------
    images : array, uint8, shape (n, height, width, 3)
        The validation slices.
    masks : array, uint8, shape (n, height, width)
        0 and 1.
    patients : sequence of str, length n
        Whose slice each is.
    batch_size : int
        Slices predicted at once; the last batch may be smaller.

    Returns
    -------
    callable
        `validate(model)` -> {"val_dice": ...}, at threshold 0.5; a patient without tumour in
        truth and prediction counts 1.
    """
    _, owner = np.unique(np.asarray(patients), return_inverse=True)
    owner = np.asarray(owner)

    def validate(model):
        predicted = _predict(model, images, batch_size)[..., 0] > 0.5
        truth = np.asarray(masks) > 0
        overlap = np.bincount(owner, (predicted & truth).sum(axis=(1, 2)))
        total = np.bincount(owner, predicted.sum(axis=(1, 2)) + truth.sum(axis=(1, 2)))
        dice = np.where(total > 0, 2 * overlap / np.maximum(total, 1), 1.0)
        return {"val_dice": dice.mean()}

    return validate


def validate_detector(inputs, labels, batch_size=32) -> Callable:
    """Return a `validate` for `fit` of a network whose output is a logit.

    Parameters
    ----------
    inputs : array, shape (n, ...)
        Pictures, or features.
    labels : array of bool, shape (n,)
        Whether each shows tumour.
    batch_size : int
        How many are predicted at once.

    Returns
    -------
    callable
        `validate(model)` -> {"val_loss": ..., "val_auc": ...}: mean cross-entropy, and the area
        under the ROC curve (0.5 if the labels are all alike).
    """
    labels = np.asarray(labels, dtype=bool)

    def validate(model):
        logits = _predict(model, inputs, batch_size)[:, 0].astype("float64")
        entropy = np.logaddexp(0.0, np.where(labels, -logits, logits))
        return {"val_loss": entropy.mean(), "val_auc": _auc(labels, logits)}

    return validate


def _auc(labels, scores) -> float:
    """Return the share of (positive, negative) pairs in the right order, ties half."""
    positive, negative = scores[labels], np.sort(scores[~labels])
    if not len(positive) or not len(negative):
        return 0.5
    below = np.searchsorted(negative, positive, side="left")
    not_above = np.searchsorted(negative, positive, side="right")
    return float((below + not_above).mean() / 2 / len(negative))


def _predict(model, inputs, batch_size):
    """Return the model's output for every input, float32."""
    starts = range(0, len(inputs), batch_size)
    parts = [model.predict_on_batch(np.asarray(inputs[i : i + batch_size])) for i in starts]
    return np.concatenate(parts)
