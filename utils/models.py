"""The two networks of the course: a ResNet50 detector and a ResUNet segmenter.

Both take pictures of values 0..255 (uint8 or float), shape (batch, size, size, 3), and rescale
them inside, so that nobody can forget to. Probabilities come out in float32 under every precision.
Files hold built-in layers only: they load in Keras's safe mode without a list of custom objects.
"""

import warnings
from pathlib import Path

import keras
import numpy as np
from keras import layers

from utils import config, model_files
from utils.precision import resolve_precision

# What keras.applications.resnet50.preprocess_input subtracts, in the order red, green, blue.
IMAGENET_MEAN = (123.68, 116.779, 103.939)
# ResNet50 in three parts: what stays as ImageNet left it, what is fine-tuned, and its fifth stage,
# which is left out: of a 128-pixel picture it keeps 4 x 4 places, too few to see a small tumour.
TRUNK_END, FEATURES_END = "conv4_block3_out", "conv4_block6_out"
# Of a convolution of 1 x 1 with a stride, oneDNN computes the gradient wrongly, or the process
# crashes, if the channels that go in are fewer than the numbers that a register holds:
# https://github.com/uxlfoundation/oneDNN/issues/6035.
FEWEST_CHANNELS = 16
# These layers compute in float32 under every precision.
FLOAT32_LAYERS = (
    "rescale",
    "mean_removed",
    "logit",
    "enlarged",
    "calibrated_logit",
    "probability",
)


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
    # 96 is the mean of a head's pixels and 40 their standard deviation, see utils.volumes.
    x = layers.Rescaling(1 / 40, offset=-96 / 40, name="rescale", dtype="float32")(inputs)
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


def detector(size=128, weights=None, seed=0) -> keras.Model:
    """Return the first four stages of a ResNet50 with the logit of "this slice shows tumour".

    Each of the 1024 features counts where it is strongest: there is tumour in a slice if there is
    tumour anywhere in it.

    Parameters
    ----------
    size : int
        Side of the picture, at least 32.
    weights : path-like or None
        A file that `utils.weights.imagenet_resnet50` returned. None: random weights.
    seed : int
        Same seed, same random weights.

    Returns
    -------
    keras.Model
        (batch, size, size, 3), 0..255 -> (batch, 1) logits, float32. The ImageNet preprocessing
        (means removed, channels in the order blue, green, red) is inside.
    """
    keras.utils.set_random_seed(seed)  # ResNet50 takes no seeds for its layers
    inputs = layers.Input((size, size, 3), name="picture")
    offset = [-value for value in IMAGENET_MEAN]
    x = layers.Rescaling(1.0, offset=offset, name="mean_removed", dtype="float32")(inputs)
    x = keras.ops.flip(x, axis=-1)
    resnet = keras.applications.ResNet50(include_top=False, weights=None, input_tensor=x)
    if weights is not None:
        resnet.load_weights(weights)
    features = resnet.get_layer(FEATURES_END).output
    x = layers.GlobalMaxPooling2D(name="pooled")(features)
    logit = layers.Dense(1, name="logit", dtype="float32")(x)
    return keras.Model(inputs, logit, name="detector")


def trunk_of(model: keras.Model) -> keras.Model:
    """Return the detector up to the middle of its fourth stage.

    (batch, h, w, 3) -> (batch, h / 16, w / 16, 1024) features. It shares its layers with `model`.
    """
    return keras.Model(model.input, model.get_layer(TRUNK_END).output, name="trunk")


def last_blocks_of(model: keras.Model) -> keras.Model:
    """Return the rest of the detector: features of `trunk_of` -> logit. Shares its layers."""
    return keras.Model(model.get_layer(TRUNK_END).output, model.output, name="last_blocks")


def pooled_of(model: keras.Model) -> keras.Model:
    """Return the detector up to its pooled features, (batch, 1024). Shares its layers."""
    return keras.Model(model.input, model.get_layer("pooled").output, name="pooled_features")


def freeze_norms(model: keras.Model) -> None:
    """Keep every batch normalisation at its ImageNet mean and variance, in training too."""
    for layer in model.layers:
        if isinstance(layer, layers.BatchNormalization):
            layer.trainable = False


def settle_norms_early(model: keras.Model) -> None:
    """Let the running means and variances follow a training of few steps.

    With Keras's momentum of 0.99, a good part of them would still be those of the start.
    """
    for layer in model.layers:
        if isinstance(layer, layers.BatchNormalization):
            layer.momentum = 0.9


def calibrated(model: keras.Model, temperature: float = 1.0) -> keras.Model:
    """Return the detector with a probability as output: sigmoid(logit / temperature).

    Parameters
    ----------
    model : keras.Model
        As `detector` returns it; the layers are shared.
    temperature : float
        Above 0, fitted on validation patients (Guo et al., 2017).

    Returns
    -------
    keras.Model
        (batch, size, size, 3), 0..255 -> (batch, 1) probabilities, float32.
    """
    if not temperature > 0:
        raise config.CourseError(f"temperature {temperature}: must be above 0")
    x = layers.Rescaling(1 / temperature, name="calibrated_logit", dtype="float32")(model.output)
    outputs = layers.Activation("sigmoid", name="probability", dtype="float32")(x)
    return keras.Model(model.input, outputs, name="calibrated_detector")


def save_model(model: keras.Model, path) -> Path:
    """Write a model to a `.keras` file, atomically and without its optimiser's state."""
    with config.atomic_path(path) as temporary:
        uncompiled(model).save(temporary)
    return Path(path)


def save_half(model: keras.Model, path) -> Path:
    """Write a model to a `.keras` file in half the space: its weights in 16 bits.

    Its outputs change by about a thousandth. `load_model` brings the weights back to 32 bits.
    """
    saved = keras.saving.serialize_keras_object(uncompiled(model))
    _set_policies(saved, "float16")
    half = keras.saving.deserialize_keras_object(saved)
    half.set_weights([weight.astype("float16") for weight in model.get_weights()])
    with config.atomic_path(path) as temporary:
        half.save(temporary)
    return Path(path)


def uncompiled(model: keras.Model) -> keras.Model:
    """Return the same layers as a model that knows no optimiser, and so neither saves nor loads
    one: for Adam this makes a file three times smaller.
    """
    (inputs,), (outputs,) = model.inputs, model.outputs
    return keras.Model(inputs, outputs, name=model.name)


def load_model(path, precision="auto") -> keras.Model:
    """Read a model that `save_model` wrote, to compute in a precision of this machine's choice.

    Parameters
    ----------
    path : path-like
        A `.keras` file.
    precision : {"auto", "float32", "mixed_bfloat16"}
        Whatever the precision that it was trained in; see `resolve_precision`.

    Returns
    -------
    keras.Model
        Not compiled.

    Raises
    ------
    config.CourseError
        If the file is missing, of another kind, damaged, or holds what is not Keras's own; see
        `utils.model_files`.
    """
    saved, version = model_files.read_archive(path)
    saved.pop("compile_config", None)
    # Keras raises whatever its layers do of a configuration or of weights that are not theirs:
    # every kind of exception has been seen. All of them mean that this file does not serve.
    try:
        _set_policies(saved, resolve_precision(precision))
        model = keras.saving.deserialize_keras_object(saved, safe_mode=True)
    except config.CourseError:
        raise
    except Exception as error:
        raise model_files.cannot_build(path, version, error) from error
    if not isinstance(model, keras.Model) or not model.built:
        raise config.CourseError(f"{path}: holds no whole network, but {type(model).__name__}")
    try:
        with warnings.catch_warnings():
            # Keras only warns of layers that stay untrained because the file has no weights.
            warnings.simplefilter("error", UserWarning)
            model.load_weights(path)
    except Exception as error:
        raise model_files.cannot_fill(path, error) from error
    model_files.check_weights(model, path)
    return model


def _set_policies(node, precision: str) -> None:
    """Give every layer in a model's configuration the dtype policy `precision`."""
    if isinstance(node, dict):
        own = node.get("config")
        if isinstance(own, dict) and isinstance(own.get("dtype"), dict):
            name = "float32" if own.get("name") in FLOAT32_LAYERS else precision
            own["dtype"]["config"] = {"name": name}
            own["dtype"]["class_name"] = "DTypePolicy"
        for value in node.values():
            _set_policies(value, precision)
    elif isinstance(node, list):
        for value in node:
            _set_policies(value, precision)
