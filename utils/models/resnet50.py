"""Networks on a ResNet50 that ImageNet trained: the detector and the U-Net around it.

The detector takes pictures of values 0..255 (uint8 or float), shape (batch, size, size, 3), and
rescales them inside, so that nobody can forget to. It is the first four stages of ResNet50 with
one logit. `pretrained_unet`, the segmenter of the evidence, has the same stages as its encoder.
Most of a ResNet50 stays as ImageNet left it; its batch normalisations then only scale and shift,
which the convolution before each can do by itself: `folded_trunk`."""

import keras
import numpy as np
from keras import layers

# What keras.applications.resnet50.preprocess_input subtracts, in the order red, green, blue.
IMAGENET_MEAN = (123.68, 116.779, 103.939)
# ResNet50 in three parts: what stays as ImageNet left it, what is fine-tuned, and its fifth stage,
# which is left out: of a 128-pixel picture it keeps 4 x 4 places, too few to see a small tumour.
TRUNK_END, FEATURES_END = "conv4_block3_out", "conv4_block6_out"
# Residual blocks of each stage of ResNet50, and the filters inside them. The last block of the
# fourth stage is left out, so that the trained models fit into the repository.
STAGES = {2: (3, 64), 3: (4, 128), 4: (5, 256)}
# Channels of what the last block of the trunk gives.
TRUNK_FEATURES = 4 * STAGES[4][1]
# Stages up to this one are not trained.
FROZEN_STAGES = 2
# How the convolutions that join several sequences are named.
JOIN = "join"
# Filters of the decoder, at a sixteenth, an eighth, a quarter and half of the resolution.
WIDTHS = (256, 128, 64, 32)
# Deviation of the last convolution's first weights. What comes out of a decoder without
# normalisation is large and never negative: with Keras's own, ten times as large, the first logits
# of one draw were -6 to -39, where the sigmoid is flat, and two of twelve trainings learned nothing
# for six epochs and more.
LOGIT_DEVIATION = 0.02
# About the probability that an untrained segmenter gives to a pixel: the share of tumour.
PRIOR = 0.02


def detector(size=128, weights=None, seed=0) -> keras.Model:
    """Return the first four stages of a ResNet50 with the logit of "this slice shows tumour".

    Each of the 1024 features counts where it is strongest: there is tumour in a slice if there is
    tumour anywhere in it.

    Parameters
    ----------
    size : int
        Side of the picture, at least 32.
    weights : path-like or None
        A file that `utils.models.files.imagenet.imagenet_resnet50` returned. None: random weights.
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


def lower_norm_momentum(model: keras.Model) -> None:
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

    Raises
    ------
    ValueError
        If the temperature is not above 0.
    """
    if not temperature > 0:
        raise ValueError(f"temperature {temperature}: must be above 0")
    x = layers.Rescaling(1 / temperature, name="calibrated_logit", dtype="float32")(model.output)
    outputs = layers.Activation("sigmoid", name="probability", dtype="float32")(x)
    return keras.Model(model.input, outputs, name="calibrated_detector")


def pretrained_unet(size=192, weights=None, seed=0, sequences=1) -> keras.Model:
    """Return a residual U-Net with the first stages of ResNet50 as its encoder.

    The decoder adds a skip connection at each resolution and a residual block after it, without
    normalisation. The first two stages of the encoder, the dearest to train, stay as they are.
    Masks are computed at half the resolution and enlarged bilinearly.

    Of several sequences, each goes through those first two stages by itself, as three channels of
    its own; a convolution of one pixel then joins them. At the start it lets FLAIR through as it
    is and nothing of the others.

    Parameters
    ----------
    size : int
        Side of the picture; a multiple of 16.
    weights : path-like or None
        A file that `utils.models.files.imagenet.imagenet_resnet50` returned. None: random weights.
    seed : int
        Same seed, same random weights.
    sequences : {1, 3}
        How many the picture holds, see `volumes.arrange_channels`.

    Returns
    -------
    keras.Model
        (batch, size, size, 3 sequences), 0..255 -> (batch, size, size, 1) probabilities, float32.

    References
    ----------
    He et al., "Deep residual learning for image recognition", 2016,
    https://doi.org/10.1109/CVPR.2016.90. Lin et al., "Feature pyramid networks", 2017,
    https://doi.org/10.1109/CVPR.2017.106, for a decoder without normalisation.
    """
    keras.utils.set_random_seed(seed)
    inputs = layers.Input((size, size, 3 * sequences), name="picture")
    skips = _encoder(inputs, sequences)
    x = _convolution(skips.pop(), WIDTHS[0], 1, "up_from", relu=True)
    for width in WIDTHS[1:]:
        x = _decoder_level(x, skips.pop(), width)
    x = layers.Conv2D(
        1,
        1,
        kernel_initializer=keras.initializers.RandomNormal(stddev=LOGIT_DEVIATION),
        bias_initializer=keras.initializers.Constant(float(np.log(PRIOR / (1 - PRIOR)))),
        name="logit",
        dtype="float32",
    )(x)
    x = layers.UpSampling2D(2, interpolation="bilinear", name="enlarged", dtype="float32")(x)
    outputs = layers.Activation("sigmoid", name="probability", dtype="float32")(x)
    model = keras.Model(inputs, outputs, name="pretrained_unet")
    for layer in model.layers:
        if isinstance(layer, layers.Conv2D) and layer.name.startswith(JOIN):
            _let_flair_through(layer, sequences)
    if weights is not None:
        fold_into(model, _imagenet(weights))
    return model


def folded_trunk(size, weights) -> keras.Model:
    """Return ResNet50 with ImageNet's weights up to the middle of its fourth stage.

    It computes what `trunk_of` the detector does, up to rounding.

    Parameters
    ----------
    size : int
        Side of the picture.
    weights : path-like
        A file that `utils.models.files.imagenet.imagenet_resnet50` returned.

    Returns
    -------
    keras.Model
        (batch, size, size, 3), 0..255 -> (batch, size / 16, size / 16, 1024) features.
    """
    return _folded_trunk(size, _imagenet(weights))


def fold(detector: keras.Model) -> keras.Model:
    """Return a detector that answers the same, up to rounding, in less time.

    Parameters
    ----------
    detector : keras.Model
        `detector`, or what `calibrated` makes of it, with any weights. The layers
        after its trunk are shared. A network of another kind comes back as it is.

    Returns
    -------
    keras.Model
        As `detector`, with the normalisations of its trunk folded into the convolutions.
    """
    # By the preprocessing too: another ResNet50 may be given other numbers than ImageNet's.
    if not {TRUNK_END, "mean_removed"} <= {layer.name for layer in detector.layers}:
        return detector
    trunk = _folded_trunk(detector.input_shape[1], detector)
    rest = keras.Model(detector.get_layer(TRUNK_END).output, detector.output)
    return keras.Model(trunk.input, rest(trunk.output), name=detector.name)


def _imagenet(weights) -> keras.Model:
    resnet = keras.applications.ResNet50(include_top=False, weights=None)
    resnet.load_weights(weights)
    return resnet


def _folded_trunk(size, source: keras.Model) -> keras.Model:
    """Return the trunk with what the layers of `source`, named as in ResNet50, hold."""
    inputs = layers.Input((size, size, 3), name="picture")
    whole = keras.Model(inputs, _encoder(inputs)[-1])
    trunk = keras.Model(inputs, whole.get_layer(TRUNK_END).output, name="folded_trunk")
    fold_into(trunk, source)
    return trunk


def _let_flair_through(join, sequences):
    """Make a joining convolution the identity for the middle sequence and 0 for the others."""
    kernel, bias = join.get_weights()
    count = kernel.shape[-1]
    kernel = np.zeros((sequences, count, count), kernel.dtype)
    kernel[sequences // 2] = np.eye(count)
    join.set_weights([kernel.reshape(1, 1, sequences * count, count), bias])


def _convolution(x, width, size, name, stride=1, relu=False, trainable=True, padding="same"):
    x = layers.Conv2D(
        width,
        size,
        strides=stride,
        padding=padding,
        kernel_initializer="he_normal",
        trainable=trainable,
        name=name,
    )(x)
    return layers.Activation("relu", name=f"{name}_relu")(x) if relu else x


def _encoder(inputs, sequences=1):
    """Return the output of the first convolution and of each stage, named as in Keras."""
    frozen = {"trainable": False}
    inputs = _one_by_one(inputs, sequences)
    offset = [-value for value in IMAGENET_MEAN]
    x = layers.Rescaling(1.0, offset=offset, name="mean_removed", dtype="float32")(inputs)
    x = keras.ops.flip(x, axis=-1)
    x = layers.ZeroPadding2D(3, name="conv1_pad")(x)
    x = _convolution(x, 64, 7, "conv1_conv", stride=2, relu=True, padding="valid", **frozen)
    outputs = [x]
    x = layers.ZeroPadding2D(1, name="pool1_pad")(x)
    x = layers.MaxPooling2D(3, strides=2, name="pool1_pool")(x)
    for stage, (blocks, width) in STAGES.items():
        for block in range(1, blocks + 1):
            stride = 2 if block == 1 and stage > 2 else 1
            x = _bottleneck(x, width, stride, f"conv{stage}_block{block}", block == 1, stage)
        outputs.append(x)
        if stage == FROZEN_STAGES and sequences > 1:
            outputs = [_joined(one, sequences) for one in outputs]
            x = outputs[-1]
    return outputs


def _one_by_one(pictures, sequences):
    """Return every sequence as a picture of its own: (batch sequences, height, width, 3)."""
    if sequences == 1:
        return pictures
    height, width = pictures.shape[1:3]
    x = keras.ops.reshape(pictures, (-1, height, width, sequences, 3))
    x = keras.ops.transpose(x, (0, 3, 1, 2, 4))
    return keras.ops.reshape(x, (-1, height, width, 3))


def _joined(features, sequences):
    """Return the features of a picture's sequences as one map with as many channels as each."""
    height, width, count = features.shape[1:]
    x = keras.ops.reshape(features, (-1, sequences, height, width, count))
    x = keras.ops.transpose(x, (0, 2, 3, 1, 4))
    x = keras.ops.reshape(x, (-1, height, width, sequences * count))
    x = layers.Conv2D(count, 1, kernel_initializer="zeros", name=f"{JOIN}{height}")(x)
    return layers.Activation("relu", name=f"{JOIN}{height}_relu")(x)


def _bottleneck(x, width, stride, name, widen, stage):
    options = {"trainable": stage > FROZEN_STAGES}
    shortcut = _convolution(x, 4 * width, 1, f"{name}_0_conv", stride, **options) if widen else x
    y = _convolution(x, width, 1, f"{name}_1_conv", stride, relu=True, **options)
    y = _convolution(y, width, 3, f"{name}_2_conv", relu=True, **options)
    y = _convolution(y, 4 * width, 1, f"{name}_3_conv", **options)
    x = layers.Add(name=f"{name}_add")([shortcut, y])
    return layers.Activation("relu", name=f"{name}_out")(x)


def _decoder_level(x, skip, width):
    """Return `x` at twice its resolution, joined with the encoder's output there."""
    name = f"up{skip.shape[1]}"
    x = layers.UpSampling2D(2, name=f"{name}_resize")(_convolution(x, width, 1, f"{name}_narrow"))
    skip = _convolution(skip, width, 1, f"{name}_skip")
    x = layers.Activation("relu", name=f"{name}_join_relu")(
        layers.Add(name=f"{name}_join")([x, skip])
    )
    y = _convolution(x, width, 3, f"{name}_conv1", relu=True)
    y = _convolution(y, width, 3, f"{name}_conv2")
    return layers.Activation("relu", name=f"{name}_out")(layers.Add(name=f"{name}_add")([x, y]))


def fold_into(model: keras.Model, source: keras.Model) -> None:
    """Give the encoder the weights of `source`, each normalisation folded into its convolution.

    gamma (w x + b - mean) / sqrt(variance + epsilon) + beta is a convolution again, with the
    kernel w gamma / sqrt(variance + epsilon).

    Parameters
    ----------
    model : keras.Model
        With convolutions named as in Keras's ResNet50, such as `pretrained_unet`; changed.
    source : keras.Model
        A ResNet50 of Keras, or the first stages of one.
    """
    for layer in model.layers:
        if not (isinstance(layer, layers.Conv2D) and layer.name.startswith("conv")):
            continue
        kernel, bias = source.get_layer(layer.name).get_weights()
        norm = source.get_layer(layer.name.replace("_conv", "_bn"))
        gamma, beta, mean, variance = norm.get_weights()
        factor = gamma / np.sqrt(variance + norm.epsilon)
        layer.set_weights([kernel * factor, (bias - mean) * factor + beta])
