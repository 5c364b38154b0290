"""The evidence in seconds: two folds, one training an attempt, and all recipes one tiny network.

    python tests/helpers/tiny_evidence.py DATA [...]    as python -m utils.evidence DATA [...]

Its tasks are those of this module, so that the process of each changes the recipes too. Where the
work folder holds a file ``pause``, the first training that is in its second epoch takes the file's
name away, leaves the number of the process that started it in ``paused``, and waits to be killed.
"""

import os
import sys
import time
from pathlib import Path

import utils  # noqa: F401 - first, because it decides how TensorFlow computes

# isort: split
import keras
from tiny_networks import tiny_detector

from utils import config
from utils.course import detector
from utils.evidence import __main__ as evidence, recipes
from utils.evidence.training import experiments, folds, pooling, tasks, trial
from utils.evidence.training.tasks import attempt, choose, final, fold  # noqa: F401 - by name
from utils.models import resnet50
from utils.models.files import imagenet

EPOCHS = 3


def tiny_segmenter(size, seed):
    keras.utils.set_random_seed(seed)
    inputs = keras.Input((size, size, 3))
    x = keras.layers.Rescaling(1 / 255)(inputs)
    x = keras.layers.Conv2D(4, 3, padding="same", activation="relu")(x)
    x = keras.layers.BatchNormalization()(x)
    outputs = keras.layers.Conv2D(1, 1, activation="sigmoid", dtype="float32")(x)
    return keras.Model(inputs, outputs, name="tiny")


def reporter(recipe: recipes.Recipe, folder: Path):
    """Note in ``epochs`` in the fold's folder, for each epoch, which process started this one."""
    count = 0

    def report(epoch, values):
        nonlocal count
        count += 1
        with (folder / "epochs").open("a", encoding="utf-8") as file:
            file.write(f"{os.getppid()}\n")
        work = folder.parents[1]
        if count == 2 and (work / "pause").exists():
            (work / "pause").rename(work / "taken")
            (work / "paused").write_text(f"{os.getppid()}\n")
            time.sleep(600)

    return report


TINY = recipes.Recipe(
    "tiny", tiny_segmenter, size=32, epochs=EPOCHS, steps=1, batch_size=4, pooled=True
)
recipes.OURS = recipes.EARLIER = TINY
recipes.ATTEMPTS["tiny"] = TINY
for module in (experiments, tasks, evidence):
    module.FOLDS = 2
tasks._HERE = "tiny_evidence"
folds.DETECTOR_SIZE, folds.DETECTOR_EPOCHS, folds.reporter = 32, 1, reporter
pooling.REFINEMENTS, trial.FOLDS, trial.SEEDS = (0.0,), ("0",), (0,)
detector.BATCH_SIZE = 4
detector.imagenet_resnet50 = imagenet.imagenet_resnet50 = lambda: None
resnet50.detector = tiny_detector
resnet50.folded_trunk = lambda size, weights: resnet50.trunk_of(resnet50.detector(size))

if __name__ == "__main__":
    sys.exit(config.command(evidence.main))
