"""Inputs that exercises need a class of their own for, apart from the judges.

`make grade` hands inputs to a process that may not load `utils.check`; what an input is made of
must therefore lie elsewhere, such as here.
"""

import sys
from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd


def renamed(names: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return the names twice with other first three letters, in the same order when sorted.

    Sets of other names come in other orders, as after another start of Python.
    """
    first, second = ([letters + name[3:] for name in names] for letters in ("ABC", "XYZ"))
    return first, second


class Layer:
    """A layer as far as freezing goes."""

    def __init__(self):
        self.trainable = True


class Model:
    """A model as far as freezing goes: `count` layers."""

    def __init__(self, count: int):
        self.layers = [Layer() for _ in range(count)]


class Classifier:
    """Say what each image's first pixel says; refuse more images at once than a batch."""

    def __init__(self, batch_size: int):
        self.batch_size = batch_size

    def __call__(self, images):
        if len(images) > self.batch_size:
            raise ValueError(f"{len(images)} images at once, {self.batch_size} fit in memory")
        return np.asarray(images)[:, 0, 0] > 0


class ReadOnly:
    """An array that may be read only; a plain one, made anew each time that it is copied.

    Writing into it raises "assignment destination is read-only", as NumPy does wherever the flag
    is set.

    Parameters
    ----------
    values : ndarray
    """

    def __init__(self, values: np.ndarray):
        self.values = values

    def __deepcopy__(self, memo):
        values = self.values.copy()
        values.flags.writeable = False
        return values


def doubled(values: np.ndarray) -> np.ndarray:
    """Return twice the values and 1: a segmenter whose answer tells what it was given."""
    return 2 * np.asarray(values, dtype=float) + 1


def two_methods() -> pd.DataFrame:
    """Return made-up Dice of 16 patients under two methods, whose figure notebook 04 has read.

    Returns
    -------
    pandas.DataFrame
        ``patient, first, second``: most gain a little from the second, one loses nearly all.
    """
    first = [0.91, 0.89, 0.88, 0.87, 0.86, 0.85, 0.85, 0.84, 0.83, 0.82, 0.81, 0.79, 0.77, 0.75,
             0.74, 0.70]  # fmt: skip
    gain = [0.01, 0.02, 0.01, 0.02, 0.02, 0.03, 0.01, 0.02, -0.02, 0.03, 0.02, 0.02, 0.03, 0.00,
            -0.69, 0.03]  # fmt: skip
    names = [f"patient {number:02d}" for number in range(1, 17)]
    second = np.add(first, gain).round(2)
    return pd.DataFrame({"patient": names, "first": first, "second": second})


class Base:
    """A small network of Keras without a head; made anew each time that it is copied for a call.

    Parameters
    ----------
    side : int
        Of the images, in pixels.
    maps : int
        Feature maps that it ends in.
    """

    def __init__(self, side: int, maps: int):
        self.side, self.maps = side, maps

    def __deepcopy__(self, memo):
        import keras  # takes seconds, and most exercises need none

        layers = keras.layers
        inputs = keras.Input((self.side, self.side, 3))
        x = layers.Conv2D(4, 3, padding="same", name="first")(inputs)
        x = layers.Activation("relu")(layers.BatchNormalization()(x))
        x = layers.Conv2D(self.maps, 3, strides=2, activation="relu", name="last")(x)
        return keras.Model(inputs, x, name="base")


class Network:
    """What a judge is told of a model of Keras that an answer returned.

    Parameters
    ----------
    model : keras.Model

    Attributes
    ----------
    trained, weights : int
        Numbers that training would change, and all.
    output_shape : tuple
    layers : list of str
        The classes of layers and of other operations (`keras.ops`), in order; of a model within
        the model, those that it is made of.
    activation : str
        Of the last layer; empty if it has none.
    """

    def __init__(self, model):
        self.trained = sum(int(np.prod(each.shape)) for each in model.trainable_variables)
        self.weights = int(model.count_params())
        self.output_shape = tuple(model.output_shape)
        steps = list(_steps(model))
        self.layers = [type(step).__name__ for step in steps]
        last = getattr(steps[-1], "activation", None)
        self.activation = getattr(last, "__name__", "")


def _steps(model) -> Iterator:
    """Yield layers and operations of a model; `model.layers` holds nothing of `keras.ops`."""
    for step in getattr(model, "operations", model.layers):
        if hasattr(step, "layers"):
            yield from _steps(step)
        else:
            yield step


def is_network(value) -> bool:
    """Return whether a value is a model of Keras; without loading it for one that is not."""
    keras = sys.modules.get("keras")
    model = getattr(keras, "Model", None)
    return isinstance(model, type) and isinstance(value, model)
