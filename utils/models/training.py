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
from utils.runtime import release
from utils.tables import read_table, write_table

CONFIGURATION, LOG, HISTORY, MODEL = "configuration.json", "log.csv", "history.csv", "model.keras"
# What a training may find in its folder; the configuration first, since nothing is of use without
# it. The last pattern is for what killed writes left behind.
FILES = (CONFIGURATION, MODEL, HISTORY, LOG, "*.weights.h5", ".*")


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
    config.CourseError
        If a file of the training cannot be loaded or written.
    ValueError
        If `mode` is neither, or `configuration` holds what is added here.
    """
    if mode not in ("max", "min"):
        raise ValueError(f"mode {mode!r}: must be max or min")
    release()
    folder = Path(folder)
    model.compile(optimizer=optimizer, loss=loss, jit_compile=_jit())
    _use_folder(folder, _whole_configuration(model, epochs, configuration, monitor, mode))
    if not _is_finished(folder):
        # Whatever meets a full disk in there, the error then names the file of the result.
        with config.atomic_path(folder / MODEL) as whole:
            _train(model, make_batches, folder, epochs, validate, monitor, mode, title)
            saving.uncompiled(model).save(whole)
    return _result(model, folder)


class Progress:
    """How far a `model.fit` of one's own has got, and the callbacks that keep that in a folder.

    For a notebook in which `compile` and `fit` are seen; `fit` of this module does the same::

        progress = Progress(model, folder, epochs, configuration)
        model.fit(..., initial_epoch=progress.done, epochs=epochs, callbacks=progress.callbacks)
        history = progress.finish()

    Parameters
    ----------
    model : keras.Model
        Compiled, with its initial weights; the state after the last epoch that was kept is loaded
        into it.
    folder : path-like
        Belongs to this training alone.
    epochs : int
        How many in all.
    configuration : dict
        See `fit`.
    monitor, mode : str
        By which value of an epoch's log the best epoch is chosen, and which way is better.

    Attributes
    ----------
    done : int
        How many epochs are done.
    callbacks : list of keras.callbacks.Callback
        They write the log, the weights of the best epoch, and the state after the last one. Empty
        if the training is finished.

    Raises
    ------
    config.CourseError
        If a file of the training cannot be loaded.
    """

    def __init__(self, model, folder, epochs, configuration, monitor="val_loss", mode="min"):
        self._model, self._folder, self._monitor = model, Path(folder), monitor
        _use_folder(self._folder, _whole_configuration(model, epochs, configuration, monitor, mode))
        self._finished = _is_finished(self._folder)
        self.done, self.callbacks = epochs, []
        if not self._finished:
            self._resume = _Resume(self._folder)  # throws away what is of no use for going on
            self.done = self._resume.done
            best_so_far = _restore(model, self._resume, monitor)
            self.callbacks = [
                _Seconds(),
                keras.callbacks.CSVLogger(self._folder / LOG, append=self.done > 0),
                _best_kept(self._folder, monitor, mode, best_so_far),
                self._resume,
            ]

    def finish(self) -> pd.DataFrame:
        """Load the weights of the best epoch, keep them as the result, and return all epochs.

        Returns
        -------
        pandas.DataFrame
            As `fit` returns it.
        """
        if not self._finished:
            with config.atomic_path(self._folder / MODEL) as whole:
                _write_history(self._folder, self._monitor)
                _load_weights(self._model, self._resume.path("best", self._resume.best))
                saving.uncompiled(self._model).save(whole)
        return _result(self._model, self._folder)


def _use_folder(folder: Path, configuration: dict) -> None:
    """Empty the folder of another training's files."""
    if config.read_json(folder / CONFIGURATION) != configuration:
        _remove_all_but(folder)
        config.write_json(folder / CONFIGURATION, configuration)


def _is_finished(folder: Path) -> bool:
    return (folder / MODEL).exists() and (folder / HISTORY).exists()


def _result(model, folder: Path) -> pd.DataFrame:
    """Load what a finished training came to, and return its epochs."""
    _remove_all_but(folder, CONFIGURATION, HISTORY, MODEL)
    _load_weights(saving.uncompiled(model), folder / MODEL)
    with _loading(folder / HISTORY):
        return read_table(folder / HISTORY)


def _restore(model, resume: "_Resume", monitor: str | None) -> float | None:
    """Load the state after the last whole epoch, if there is one; return the best value so far."""
    done, best_so_far = resume.done, None
    if done:
        model.optimizer.build(model.trainable_variables)
        _load_weights(model, resume.path("last", done))
        with _loading(resume.folder / LOG):
            rows = read_table(resume.folder / LOG).head(done)
            if monitor is not None:
                best_so_far = float(rows[monitor][resume.best - 1])
        write_table(resume.folder / LOG, rows)
    return best_so_far


def _best_kept(folder: Path, monitor: str | None, mode: str, best_so_far: float | None):
    pattern = str(folder).replace("{", "{{").replace("}", "}}")  # Keras formats the path
    return keras.callbacks.ModelCheckpoint(
        f"{pattern}/best-{{epoch}}.weights.h5",
        monitor=monitor,
        mode=mode,
        save_best_only=monitor is not None,
        save_weights_only=True,
        initial_value_threshold=best_so_far,
    )


def _write_history(folder: Path, monitor: str | None) -> None:
    rows = read_table(folder / LOG)
    place = {"epoch": 0, "loss": 1, monitor: 2, "seconds": 4}
    columns = sorted(rows, key=lambda name: place.get(name, 3))
    write_table(folder / HISTORY, rows.assign(epoch=rows["epoch"] + 1)[columns])


def _train(model, make_batches, folder, epochs, validate, monitor, mode, title) -> None:
    """Train to the last epoch, write the history, and load the best epoch into the model."""
    resume = _Resume(folder)
    done = resume.done
    best_so_far = _restore(model, resume, monitor)
    log = keras.callbacks.CSVLogger(folder / LOG, append=done > 0)
    keep_best = _best_kept(folder, monitor, mode, best_so_far)
    if done < epochs:
        data, steps = make_batches(done)
        bar = tqdm(desc=title, initial=done, total=epochs, unit="epoch", leave=False, disable=None)
        show = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: bar.update())
        try:
            model.fit(
                data,
                steps_per_epoch=steps,
                initial_epoch=done,
                epochs=epochs,
                shuffle=False,
                verbose=0,
                callbacks=[_Validation(validate), log, keep_best, resume, show],
            )
        finally:
            log.on_train_end()  # Keras leaves the file open if the training is cut off
            bar.close()
    _write_history(folder, monitor)
    _load_weights(model, resume.path("best", resume.best))


class _Seconds(keras.callbacks.Callback):
    """Puts the time among the values of the epoch."""

    def on_epoch_begin(self, epoch, logs=None):
        self.started = time.perf_counter()

    def on_epoch_end(self, epoch, logs=None):
        logs["seconds"] = round(time.perf_counter() - self.started, 2)


class _Validation(_Seconds):
    """Puts what `validate` returns, and the time, among the values of the epoch."""

    def __init__(self, validate):
        super().__init__()
        self.validate = validate

    def on_epoch_end(self, epoch, logs=None):
        logs.update((name, float(value)) for name, value in self.validate(self.model).items())
        super().on_epoch_end(epoch, logs)


class _Resume(keras.callbacks.Callback):
    """Writes the state after each epoch in one move, then removes the checkpoints before it.

    Keras's BackupAndRestore writes the weights and the number of the epoch in two files, one after
    the other: a training killed between the two goes through an epoch twice.

    Attributes
    ----------
    done, best : int
        How many epochs are done, and which of them was the best; 0 for none.
    """

    def __init__(self, folder: Path):
        super().__init__()
        self.folder = folder
        self.clear()

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
        _remove_all_but(self.folder, CONFIGURATION, LOG, *kept)


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
            f"{path}: cannot be loaded ({config.reason(error)}); delete its folder and train again"
        ) from error


def _jit():
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
