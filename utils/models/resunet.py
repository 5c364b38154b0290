"""The course's own segmenter: a U-Net whose blocks are residual."""

import keras
import numpy as np
from keras import layers

from utils import config
from utils.cohort.volumes import GREY_LEVELS_PER_SD, HEAD_MEAN

# Of a convolution of 1 x 1 with a stride, oneDNN computes the gradient wrongly, or the process
# crashes, if the channels that go in are fewer than the numbers that a register holds:
# https://github.com/uxlfoundation/oneDNN/issues/6035.
FEWEST_CHANNELS = 16


def resunet(size=128, filters=(32, 64, 128, 256), seed=0, prior=0.02, stem=True) -> keras.Model:
    """Return an untrained residual U-Net.

    Zhang, Liu & Wang, "Road extraction by deep residual U-Net" (2018): a U-Net whose blocks are
    residual, with batch normalisation and ReLU before each convolution. Half of its time would go
    into the full resolution, where there is least to decide. So a first convolution, the stem,
    halves it, as in ResNet; masks are computed there and enlarged bilinearly.

    Parameters
    ----------
    size : int
        Side of the picture; a multiple of 2 ** len(filters), without the stem of half that.
    filters : sequence of int
        Filters at each level, from the finest down.
    seed : int
        Same seed, same weights.
    prior : float
        The probability that the untrained network gives to a pixel, about the share of tumour.
    stem : bool
        False: the finest level has the resolution of the picture.

    Returns
    -------
    keras.Model
        (batch, size, size, 3), 0..255 -> (batch, size, size, 1) probabilities, float32.
    """
    step = 2 ** (len(filters) - 1) * (2 if stem else 1)
    if size % step:
        raise config.CourseError(f"size {size}: must be a multiple of {step} for this network")
    builder = _Residual(seed)
    inputs = layers.Input((size, size, 3), name="picture")
    x = layers.Rescaling(
        1 / GREY_LEVELS_PER_SD,
        offset=-HEAD_MEAN / GREY_LEVELS_PER_SD,
        name="rescale",
        dtype="float32",
    )(inputs)
    if stem:
        x = builder.conv(x, filters[0], 3, 2, "stem")
    skips = []
    for level, width in enumerate(filters):
        # Without a stem, the picture itself goes into the first convolution, as it is.
        raw = level == 0 and not stem
        x = builder.block(x, width, f"down{level}", stride=1 if level == 0 else 2, raw=raw)
        skips.append(x)
    for level in reversed(range(len(filters) - 1)):
        x = layers.UpSampling2D(2, name=f"up{level}_resize")(x)
        x = layers.Concatenate(name=f"up{level}_join")([x, skips[level]])
        x = builder.block(x, filters[level], f"up{level}")
    x = layers.BatchNormalization(momentum=0.9, name="final_norm")(x)
    x = layers.Activation("relu", name="final_relu")(x)
    bias = keras.initializers.Constant(float(np.log(prior / (1 - prior))))
    x = layers.Conv2D(
        1,
        1,
        kernel_initializer=builder.initializer(),
        bias_initializer=bias,
        name="logit",
        dtype="float32",
    )(x)
    if stem:
        x = layers.UpSampling2D(2, interpolation="bilinear", name="enlarged", dtype="float32")(x)
    outputs = layers.Activation("sigmoid", name="probability", dtype="float32")(x)
    return keras.Model(inputs, outputs, name="resunet")


class _Residual:
    """Builds residual blocks whose convolutions each have a seed of their own."""

    def __init__(self, seed):
        self.seed = 1000 * seed

    def initializer(self):
        self.seed += 1
        return keras.initializers.HeNormal(seed=self.seed)

    def conv(self, x, width, size, stride, name):
        if size == 1 and stride > 1 and x.shape[-1] < FEWEST_CHANNELS:
            # The same numbers: every second pixel first, then the convolution.
            x = layers.MaxPooling2D(1, strides=stride, name=f"{name}_every{stride}")(x)
            stride = 1
        return layers.Conv2D(
            width,
            size,
            strides=stride,
            padding="same",
            use_bias=False,
            kernel_initializer=self.initializer(),
            name=name,
        )(x)

    def block(self, x, width, name, stride=1, raw=False):
        shortcut = self.conv(x, width, 1, stride, f"{name}_shortcut")
        for number, strides in ((1, stride), (2, 1)):
            if not (raw and number == 1):
                x = layers.BatchNormalization(momentum=0.9, name=f"{name}_norm{number}")(x)
                x = layers.Activation("relu", name=f"{name}_relu{number}")(x)
            x = self.conv(x, width, 3, strides, f"{name}_conv{number}")
        return layers.Add(name=f"{name}_add")([x, shortcut])
