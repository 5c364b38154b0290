"""Inputs that exercises need a class of their own for, apart from the judges.

`make grade` hands inputs to a process that may not load `utils.check`; what an input is made of
must therefore lie elsewhere, such as here.
"""

import numpy as np


class BeforeRestart(str):
    """Text whose hash is that of one start of Python."""

    def __hash__(self) -> int:
        return hash(("before", str(self)))


class AfterRestart(str):
    """The same text, hashed as another start of Python hashes it: sets get another order."""

    def __hash__(self) -> int:
        return hash(("after", str(self)))


class Layer:
    """A layer as far as freezing goes."""

    def __init__(self):
        self.trainable = True


class Model:
    """A model as far as freezing goes: `count` layers."""

    def __init__(self, count: int):
        self.layers = [Layer() for _ in range(count)]


class Classifier:
    """Say what each picture's first pixel says; refuse more pictures at once than a batch."""

    def __init__(self, batch_size: int):
        self.batch_size = batch_size

    def __call__(self, images):
        if len(images) > self.batch_size:
            raise ValueError(f"{len(images)} pictures at once, {self.batch_size} fit in memory")
        return np.asarray(images)[:, 0, 0] > 0


def as_floats(values: np.ndarray) -> np.ndarray:
    """Return the values as floats: a segmenter whose answer is what it was given."""
    return np.asarray(values, dtype=float)
