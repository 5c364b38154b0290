"""Batch normalisation in one operation of TensorFlow, where Keras takes several."""

import contextlib
import functools
import os
import sys
from collections.abc import Iterator

from utils.runtime.imports import WrappingFinder


def fuse_normalisation() -> None:
    """Arrange that Keras's batch normalisation is one operation of TensorFlow.

    Keras 3 makes float32 of what comes in and computes mean, variance, scale and shift one by
    one, each with a pass over the memory. TensorFlow's fused operation reads 16-bit numbers as
    they are, sums them in float32, and gives the same results; docs/keras-batch-normalisation.md
    has the figures. Layers and files stay Keras's own: only how `BatchNormalization` computes a
    batch of pictures changes, in this process. Other backends are left as they are, and so is
    TensorFlow where ``FUSED_NORMALISATION`` is 0 in the environment.
    """
    if os.environ.get("FUSED_NORMALISATION") == "0":
        return
    if sys.modules.get("keras") is not None:  # None: where a test lets nobody import it
        _fuse_now()
    else:
        sys.meta_path.insert(0, WrappingFinder("keras", _then_fused))


@contextlib.contextmanager
def _then_fused() -> Iterator[None]:
    yield
    _fuse_now()


def _fuse_now() -> None:
    import keras

    layer = keras.layers.BatchNormalization
    if keras.backend.backend() == "tensorflow" and not hasattr(layer.call, "unfused"):
        layer.call = _fused(layer.call)


def _fused(unfused):
    """Return what computes as `BatchNormalization.call` does, where it can in one operation."""
    import tensorflow as tf

    @functools.wraps(unfused)
    def call(self, inputs, training=None, mask=None):
        by_channel = len(inputs.shape) == 4 and self.axis in (-1, 3)
        plain = mask is None and not self.renorm and not self.synchronized
        if not (by_channel and plain) or self.compute_dtype == "float64":
            return unfused(self, inputs, training=training, mask=mask)
        x = tf.cast(inputs, self.compute_dtype)
        channels = x.shape[-1]
        scale = self.gamma if self.scale else tf.ones([channels])
        offset = self.beta if self.center else tf.zeros([channels])
        operation = tf.compat.v1.nn.fused_batch_norm
        if not (training and self.trainable):
            return operation(
                x,
                scale,
                offset,
                mean=self.moving_mean,
                variance=self.moving_variance,
                epsilon=self.epsilon,
                is_training=False,
            )[0]
        outputs, mean, variance = operation(x, scale, offset, epsilon=self.epsilon)
        # Its variance is divided by one less than the count, after Bessel; Keras's is not.
        count = tf.cast(tf.size(x) // channels, "float32")
        variance *= (count - 1) / count
        for moving, now in ((self.moving_mean, mean), (self.moving_variance, variance)):
            moving.assign(moving * self.momentum + now * (1 - self.momentum))
        return outputs

    call.unfused = unfused
    return call
