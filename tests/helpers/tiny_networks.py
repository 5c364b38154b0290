"""Networks with the named parts of the real ones, small enough to train in a moment."""

import keras

from utils.models import resnet50


def tiny_detector(size=32, weights=None, seed=0):
    """Return what `resnet50.detector` does, of two convolutions."""
    keras.utils.set_random_seed(seed)
    inputs = keras.Input((size, size, 3))
    x = keras.layers.Rescaling(1 / 255)(inputs)
    x = keras.layers.Conv2D(4, 3, strides=4, activation="relu", name=resnet50.TRUNK_END)(x)
    x = keras.layers.BatchNormalization()(keras.layers.Conv2D(8, 3, name="last_stage")(x))
    x = keras.layers.GlobalAveragePooling2D(name="pooled")(x)
    logit = keras.layers.Dense(1, name="logit", dtype="float32")(x)
    return keras.Model(inputs, logit, name="tiny")
