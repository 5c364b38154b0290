"""Training that can be cut off at any point and goes on where it was.

A training has a folder of its own:

    configuration.json          what is trained, on what, how
    log.csv                     the epochs so far, as Keras writes them
    best-<n>.weights.h5         the state after the best epoch so far
    last-<n>.weights.h5         the state after the last epoch: weights and optimiser
    model.keras, history.csv    the result, once finished

An epoch is done when its `last-<n>.weights.h5` is there, which is written last and in one move.
What there is of a later epoch is thrown away, and that epoch trained again.
"""

import math
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import keras
import numpy as np
import pandas as pd
from tqdm import tqdm

from utils import config
from utils.models.files import saving
from utils.models.precision import has_gpu
from utils.runtime.memory import release
from utils.tables import read_table, write_table

CONFIGURATION, LOG, HISTORY, MODEL = "configuration.json", "log.csv", "history.csv", "model.keras"
# What a training may find in its folder; the configuration first, since nothing is of use without
# it. The last pattern is for what killed writes left behind.
FILES = (CONFIGURATION, MODEL, HISTORY, LOG, "*.weights.h5", ".*")
TRAIN_AGAIN = "delete its folder and train again"


class Diverged(config.CourseError):
    """The loss or a score of a training is no longer a number: its steps are too large."""


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
    monitor: str | None,
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
        `validate(model)` -> dict of floats, after every epoch, such as `utils.models.validation`
        makes. Their names start with "val_".
    monitor : str or None
        The name in that dict by which the best epoch is chosen. Keras compares in float32; the
        first of equals wins. None: the last epoch counts as the best.
    mode : {"max", "min"}
        Which way is better.
    title : str
        Shown with the progress.

    Returns
    -------
    pandas.DataFrame
        One row an epoch: epoch (from 1), loss, the values of `validate` (`monitor` first),
        seconds.

    Raises
    ------
    Diverged
        If the loss or a value of `validate` is infinite or no number.
    config.CourseError
        If a file of the training cannot be loaded or written.
    ValueError
        If `mode` is neither, or `configuration` holds what is added here.
    """
    release()
    model.compile(optimizer=optimizer, loss=loss, jit_compile=fastest_jit())
    resume = Resume(folder, model, epochs, configuration, monitor=monitor, mode=mode)
    if not resume.finished:
        # Whatever meets a full disk in there, the error then names the file of the result.
        with config.atomic_path(resume.folder / MODEL) as whole:
            _train(model, make_batches, resume, validate, title)
            resume.write_result(whole)
    return resume.finish()


def _train(model, make_batches, resume, validate, title) -> None:
    """Train from where it was left to the last epoch."""
    scores, log, keep_best, _ = resume.callbacks(validate)
    if resume.done < resume.epochs:
        data, steps = make_batches(resume.done)
        bar = tqdm(
            desc=title,
            initial=resume.done,
            total=resume.epochs,
            unit="epoch",
            leave=False,
            disable=None,
        )
        show = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: bar.update())
        try:
            model.fit(
                data,
                steps_per_epoch=steps,
                initial_epoch=resume.done,
                epochs=resume.epochs,
                shuffle=False,
                verbose=0,
                callbacks=[scores, log, keep_best, resume, show],
            )
        finally:
            log.on_train_end()  # Keras leaves the file open if the training is cut off
            bar.close()


class EpochScores(keras.callbacks.Callback):
    """Puts what `validate` returns, and the seconds, among the values of the epoch.

    Stands before the callbacks that write or compare these values. A training whose loss or score
    is infinite or no number ends there with `Diverged`: none of its later weights is of any use.

    Parameters
    ----------
    validate : callable
        `validate(model)` -> dict of floats; their names start with "val_".
    """

    def __init__(self, validate):
        super().__init__()
        self.validate = validate

    def on_epoch_begin(self, epoch, logs=None):
        self.started = time.perf_counter()

    def on_epoch_end(self, epoch, logs=None):
        _check_finite(epoch, logs)
        scores = {name: float(value) for name, value in self.validate(self.model).items()}
        _check_finite(epoch, scores)
        logs.update(scores, seconds=round(time.perf_counter() - self.started, 2))


def _check_finite(epoch: int, values: dict) -> None:
    for name, value in values.items():
        if not math.isfinite(value):
            raise Diverged(
                f"epoch {epoch + 1}: {name} is {value}, and so the training can go no further; "
                "take a smaller learning rate"
            )


class Resume(keras.callbacks.Callback):
    """Lets a training go on where it was cut off: restores its state when made, writes it after
    each epoch in one move, then removes the checkpoints before it. Stands last among the callbacks.

    Keras's BackupAndRestore writes the weights and the number of the epoch in two files, one after
    the other: a training killed between the two goes through an epoch twice.

    Parameters
    ----------
    folder : path-like
        Belongs to this training alone. Emptied if what lies there has another configuration.
    model : keras.Model
        Compiled. Gets the weights and the optimiser's state after the last epoch that is done.
    epochs : int
        How many in all.
    configuration : dict
        See `fit`.
    monitor, mode
        See `fit`.

    Attributes
    ----------
    done, best : int
        How many epochs are done, and which of them was the best; 0 for none.
    best_value : float or None
        Of `monitor` in the best epoch so far.
    finished : bool
        Whether there is nothing left to train.
    log : pathlib.Path
        The file for CSVLogger.
    best_pattern : str
        The file for ModelCheckpoint.

    Raises
    ------
    config.CourseError
        If a file of the training cannot be loaded.
    ValueError
        If `mode` is neither, or `configuration` holds what is added here.
    """

    def __init__(self, folder, model, epochs, configuration, *, monitor, mode="max"):
        super().__init__()
        if mode not in ("max", "min"):
            raise ValueError(f"mode {mode!r}: must be max or min")
        self.folder, self.trained, self.epochs = Path(folder), model, epochs
        self.monitor, self.mode, self.best_value = monitor, mode, None
        self.log = self.folder / LOG
        # Keras formats the path.
        pattern = str(folder).replace("{", "{{").replace("}", "}}")
        self.best_pattern = f"{pattern}/best-{{epoch}}.weights.h5"
        configuration = _whole_configuration(model, epochs, configuration, monitor, mode)
        if config.read_json(self.folder / CONFIGURATION) != configuration:
            _remove_all_but(self.folder)
            config.write_json(self.folder / CONFIGURATION, configuration)
        self.finished = (self.folder / MODEL).exists() and (self.folder / HISTORY).exists()
        self.clear()
        if self.finished:
            self.done = epochs
        elif self.done:
            self._restore()

    def callbacks(
        self, validate: Callable[[keras.Model], dict] = lambda model: {}
    ) -> list[keras.callbacks.Callback]:
        """Return what `Model.fit` needs for a training that can be cut off, in this order.

        The scores of `validate` and the seconds (`EpochScores`), the log (`CSVLogger`), the weights
        of the best epoch (`ModelCheckpoint`), and the state after the last one (this callback).
        """
        return [
            EpochScores(validate),
            keras.callbacks.CSVLogger(self.log, append=self.done > 0),
            keras.callbacks.ModelCheckpoint(
                self.best_pattern,
                monitor=self.monitor,
                mode=self.mode,
                save_best_only=self.monitor is not None,
                save_weights_only=True,
                initial_value_threshold=self.best_value,
            ),
            self,
        ]

    def _restore(self) -> None:
        self.trained.optimizer.build(self.trained.trainable_variables)
        _load_weights(self.trained, self.path("last", self.done))
        with _loading(self.log):
            rows = read_table(self.log, TRAIN_AGAIN).head(self.done)
            if self.monitor is not None:
                self.best_value = float(rows[self.monitor][self.best - 1])
        write_table(self.log, rows)

    def on_epoch_end(self, epoch, logs=None):
        with config.atomic_path(self.path("last", epoch + 1)) as temporary:
            written = temporary.with_suffix(".weights.h5")  # Keras takes no other
            self.model.save_weights(written)
            written.replace(temporary)
        self.clear()

    def path(self, kind: str, epoch: int) -> Path:
        return self.folder / f"{kind}-{epoch}.weights.h5"

    def clear(self) -> None:
        """Find the newest checkpoints and remove all others."""
        last, best = (
            [int(path.name[5:].split(".")[0]) for path in self.folder.glob(f"{kind}-*.weights.h5")]
            for kind in ("last", "best")
        )
        self.done = max(last, default=0)
        self.best = max((epoch for epoch in best if epoch <= self.done), default=0)
        kept = (self.path("last", self.done).name, self.path("best", self.best).name)
        result = (HISTORY, MODEL) if self.finished else ()
        _remove_all_but(self.folder, CONFIGURATION, LOG, *result, *kept)

    def write_result(self, whole: Path) -> None:
        """Write the history, give the model its best epoch's weights, and save it as `whole`."""
        with _loading(self.log):
            rows = read_table(self.log, TRAIN_AGAIN)
        place = {"epoch": 0, "loss": 1, self.monitor: 2, "seconds": 4}
        columns = sorted(rows, key=lambda name: place.get(name, 3))
        write_table(self.folder / HISTORY, rows.assign(epoch=rows["epoch"] + 1)[columns])
        _load_weights(self.trained, self.path("best", self.best))
        saving.uncompiled(self.trained).save(whole)

    def finish(self) -> pd.DataFrame:
        """Keep the result alone, in the folder and in the model; return one row an epoch.

        To be called after `Model.fit`, or instead of it if the training was `finished`.

        Returns
        -------
        pandas.DataFrame
            As `fit` does.
        """
        if not (self.folder / MODEL).exists():
            with config.atomic_path(self.folder / MODEL) as whole:
                self.write_result(whole)
        self.finished = True
        _remove_all_but(self.folder, CONFIGURATION, HISTORY, MODEL)
        _load_weights(saving.uncompiled(self.trained), self.folder / MODEL)
        with _loading(self.folder / HISTORY):
            return read_table(self.folder / HISTORY, TRAIN_AGAIN)


def _remove_all_but(folder: Path, *kept: str) -> None:
    for pattern in FILES:
        for path in folder.glob(pattern):
            if path.name not in kept and path.is_file():
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
        "chosen_by": [monitor or "epoch", mode],
    }
    clash = own.keys() & configuration.keys()
    if clash:
        raise ValueError(f"configuration: {sorted(clash)[0]} is added by fit itself")
    return {**own, **configuration}


def _serialised(thing) -> dict:
    """Return the class and the settings, without the name, which Keras numbers by use."""
    saved = keras.saving.serialize_keras_object(thing)
    return {"class": saved["class_name"], **saved["config"], "name": None}


def _load_weights(model: keras.Model, path: Path) -> None:
    with _loading(path):
        model.load_weights(path)


@contextmanager
def _loading(path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise config.CourseError(
            f"{path}: cannot be loaded ({config.reason(error)}); {TRAIN_AGAIN}"
        ) from error


def fastest_jit():
    """Return `compile`'s jit_compile: on a processor, TensorFlow is slower with XLA."""
    return False if keras.backend.backend() == "tensorflow" and not has_gpu() else "auto"


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
