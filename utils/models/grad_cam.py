"""Which part of a picture a detector's answer rests on: Grad-CAM.

Selvaraju et al. 2017, "Grad-CAM: visual explanations from deep networks via gradient-based
localization" (arXiv 1610.02391).
"""

from typing import NamedTuple

import keras
import numpy as np
from keras import ops

from utils.config import CourseError
from utils.evaluation.detection import peaks

LAYER = "conv4_block6_out"  # the last output of ResNet50's stage 4: 8 x 8 for a 128 x 128 picture


class PeakShare(NamedTuple):
    """How often a map's peak lies in the tumour, and how often a blind guess would."""

    share: float
    chance: float
    slices: int


def grad_cam(
    model: keras.Model, images: np.ndarray, layer: str = LAYER, batch_size: int = 4
) -> np.ndarray:
    """Return a map for each picture: where the features speak for the model's answer.

    Each feature map of `layer` is weighted by the mean gradient of the answer with respect to it
    (eq. 1), the weighted maps are added up, negative values become 0 (eq. 2), and the result is
    enlarged to the picture bilinearly and divided by its maximum. If the model ends in a
    sigmoid, the gradient is taken before it, where it does not vanish for a sure answer.

    Parameters
    ----------
    model : keras.Model
        Functional model (n, height, width, channels) -> (n, 1).
    images : ndarray (n, height, width, channels)
        As the model takes them.
    layer : str
        Name of a layer of `model` with output (n, rows, columns, features).
    batch_size : int
        Pictures at a time; the gradient keeps the output of every layer in memory.

    Returns
    -------
    ndarray of float32 (n, height, width)
        0..1; a map is 0 everywhere, and has no peak, if nothing speaks for the answer.

    Raises
    ------
    ValueError
        If the model has no such layer.
    CourseError
        If the backend is neither TensorFlow nor JAX.
    """
    try:
        features = model.get_layer(layer).output
    except ValueError as error:
        raise ValueError(f"the model {model.name} has no layer {layer} to explain") from error
    trunk = keras.Model(model.inputs, features)
    head = keras.Model(features, _before_sigmoid(model))
    height, width = images.shape[1:3]
    maps = [np.zeros((0, height, width), np.float32)]
    for first in range(0, len(images), batch_size):
        values = ops.convert_to_tensor(trunk.predict_on_batch(images[first : first + batch_size]))
        weights = ops.mean(_gradient(head, values), axis=(1, 2), keepdims=True)
        coarse = ops.relu(ops.sum(ops.cast(weights * values, "float32"), axis=-1, keepdims=True))
        fine = ops.image.resize(coarse, (height, width), interpolation="bilinear")
        maps.append(ops.convert_to_numpy(fine)[..., 0])
    return _to_unit_range(np.concatenate(maps))


def peak_hits(maps: np.ndarray, masks: np.ndarray) -> np.ndarray:
    """Return for each map whether its highest pixel lies in the mask.

    A map that is the same everywhere has no peak and counts as a miss.

    Parameters
    ----------
    maps : ndarray (n, height, width)
    masks : ndarray (n, height, width), above 0 in the tumour

    Returns
    -------
    ndarray of bool, shape (n,)
    """
    places = zip(peaks(maps), np.asarray(masks) > 0, strict=True)
    return np.array([place is not None and mask[place] for place, mask in places], dtype=bool)


def peaks_in_words(maps: np.ndarray, masks: np.ndarray) -> list[str]:
    """Return for each map where its peak lies, in words for a figure.

    Parameters
    ----------
    maps : ndarray (n, height, width)
    masks : ndarray (n, height, width), above 0 in the tumour

    Returns
    -------
    list of str
        "peak inside", "peak outside" (of the mask) or "no peak".

    Examples
    --------
    >>> import numpy as np
    >>> from utils.models.grad_cam import peaks_in_words
    >>> maps = np.array([[[0.2, 1.0]], [[1.0, 0.2]], [[0.0, 0.0]]])
    >>> peaks_in_words(maps, masks=np.array([[[0, 1]], [[0, 1]], [[0, 1]]]))
    ['peak inside', 'peak outside', 'no peak']
    """
    words = {True: "peak inside", False: "peak outside"}
    return [
        "no peak" if place is None else words[bool(hit)]
        for place, hit in zip(peaks(maps), peak_hits(maps, masks), strict=True)
    ]


def peak_in_mask_share(
    maps: np.ndarray, masks: np.ndarray, heads: np.ndarray | None = None
) -> PeakShare:
    """Return how often the peak lies in the tumour, and how often it would by chance.

    Parameters
    ----------
    maps : ndarray (n, height, width)
        From `grad_cam`.
    masks : ndarray (n, height, width)
        Above 0 in the tumour; slices without tumour are left out.
    heads : ndarray of bool (n, height, width), optional
        Where the head is; the whole picture if not given.

    Returns
    -------
    PeakShare
        `share`; `chance`, the tumour's mean share of the head's area, which is what a point put
        anywhere in the head would get, both 0..1; and the number of `slices` both rest on.

    Raises
    ------
    CourseError
        If no slice has a tumour.

    Examples
    --------
    One peak of two lies in the tumour, which has a quarter of the pixels.

    >>> import numpy as np
    >>> from utils.models.grad_cam import peak_in_mask_share
    >>> maps = np.array([[[0.1, 1.0, 0.0, 0.0]], [[1.0, 0.1, 0.0, 0.0]]])
    >>> peak_in_mask_share(maps, masks=np.array([[[0, 1, 0, 0]], [[0, 1, 0, 0]]]))
    PeakShare(share=0.5, chance=0.25, slices=2)
    """
    masks = np.asarray(masks) > 0
    with_tumour = masks.any(axis=(1, 2))
    if not with_tumour.any():
        raise CourseError("no slice with tumour: give maps of slices that have one")
    # Tumour at the head's rim counts as head, so that the chance level never passes 1.
    heads = np.ones_like(masks) if heads is None else np.asarray(heads, dtype=bool) | masks
    areas = masks.sum(axis=(1, 2))[with_tumour] / heads.sum(axis=(1, 2))[with_tumour]
    hits = peak_hits(maps[with_tumour], masks[with_tumour])
    return PeakShare(float(hits.mean()), float(areas.mean()), int(with_tumour.sum()))


def _before_sigmoid(model: keras.Model):
    """Return the model's output, or what goes into its final sigmoid if it has one."""
    last = model.layers[-1]
    if getattr(last, "activation", None) is not keras.activations.sigmoid:
        return model.output
    if isinstance(last, keras.layers.Activation):
        return last.input
    if isinstance(last, keras.layers.Dense):
        linear = keras.layers.Dense(last.units, use_bias=last.use_bias, dtype="float32")
        answer = linear(last.input)
        linear.set_weights(last.get_weights())
        return answer
    return model.output


def _gradient(head: keras.Model, features):
    """Return the gradient of the sum of the answers with respect to the features.

    Keras has no call for it that works on every backend, hence the two branches.
    """
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        with tf.GradientTape() as tape:
            tape.watch(features)
            answer = tf.reduce_sum(head(features, training=False))
        return tape.gradient(answer, features)
    if keras.backend.backend() == "jax":
        import jax

        return jax.grad(lambda values: ops.sum(head(values, training=False)))(features)
    raise CourseError(f"Grad-CAM needs TensorFlow or JAX, not {keras.backend.backend()}")


def _to_unit_range(maps: np.ndarray) -> np.ndarray:
    highest = maps.max(axis=(1, 2), keepdims=True, initial=0)
    return np.divide(maps, highest, out=np.zeros_like(maps), where=highest > 0)
