"""Losses and scores for masks: one value an image, defined for empty masks, in keras.ops only.

Truth and prediction have shape (batch, height, width, 1) with values 0..1. With TP, FN and FP the
sums over one image of truth * prediction, truth * (1 - prediction) and (1 - truth) * prediction,

    Tversky index = (TP + smooth) / (TP + fn_weight * FN + fp_weight * FP + smooth)

With both weights at 0.5 it is the Dice coefficient. `smooth`, in pixels, makes it 1 for an empty
mask predicted empty. In formulas the weight of the false negatives (missed tumour) is alpha and
that of the false positives beta, as in Abraham & Khan, "A novel focal Tversky loss function"
(2019); Salehi et al., who brought the index to segmentation (2017), Keras and MONAI have the two
letters the other way round, so the code has neither.
"""

import keras
from keras import ops

PACKAGE = "brain_tumour_course"


def tversky_index(truth, prediction, fn_weight=0.7, fp_weight=0.3, smooth=1.0):
    """Return the Tversky index of each image.

    As a loss for segmentation: Salehi et al. 2017 (arXiv 1706.05721).

    Parameters
    ----------
    truth : tensor, shape (batch, ...)
        1 inside the tumour, 0 outside.
    prediction : tensor, shape (batch, ...)
        Probabilities, 0..1, in the shape of `truth`.
    fn_weight, fp_weight : float
        Weights of the false negatives and of the false positives.
    smooth : float
        Pixels added to the numerator and the denominator; above 0.

    Returns
    -------
    tensor, shape (batch,), float32
        Above 0, at most 1; 1 where every pixel is right.

    Examples
    --------
    A pixel that was missed costs more than one that was invented: (1 + 1) / (1 + 0.7 + 1) against
    (2 + 1) / (2 + 0.3 + 1).

    >>> from utils.models.losses import tversky_index
    >>> round(float(tversky_index([[1, 1, 0]], [[1, 0, 0]])[0]), 3)
    0.741
    >>> round(float(tversky_index([[1, 1, 0]], [[1, 1, 1]])[0]), 3)
    0.909
    """
    truth = _flat(truth)
    prediction = _flat(prediction)
    hits = ops.sum(truth * prediction, axis=1)
    misses = ops.sum(truth * (1.0 - prediction), axis=1)
    false_alarms = ops.sum((1.0 - truth) * prediction, axis=1)
    return (hits + smooth) / (hits + fn_weight * misses + fp_weight * false_alarms + smooth)


def soft_dice(truth, prediction, smooth=1.0):
    """Return the Dice coefficient of each image, from probabilities.

    Parameters
    ----------
    truth, prediction, smooth
        As `tversky_index` takes them.

    Returns
    -------
    tensor, shape (batch,), float32
        Above 0, at most 1.

    Examples
    --------
    Without smoothing 2 * 1 / (2 + 2); with it, 1 is added above and below, (1 + 1) / (2 + 1).

    >>> from utils.models.losses import soft_dice
    >>> round(float(soft_dice([[1, 1, 0, 0]], [[0, 1, 1, 0]])[0]), 3)
    0.667
    """
    return tversky_index(truth, prediction, fn_weight=0.5, fp_weight=0.5, smooth=smooth)


def _flat(values):
    values = ops.cast(values, "float32")
    return ops.reshape(values, (ops.shape(values)[0], -1))


@keras.saving.register_keras_serializable(package=PACKAGE)
class FocalTversky(keras.losses.Loss):
    """Focal Tversky loss: (1 - Tversky index) ** exponent, for each image.

    With an exponent above 1 the slope vanishes where an image is nearly right, so that by the
    formula hard images pull more; this is what "focal" means in Lin et al. (2017, arXiv
    1708.02002). Abraham & Khan (arXiv 1810.07842) write the exponent as 1 / gamma with gamma = 4/3,
    that is 0.75, with which the slope grows without bound as an image becomes right. The loss is
    therefore held constant where 1 - index is below `FLOOR`. Which exponent gives better masks
    does not follow from this.

    Parameters
    ----------
    fn_weight, fp_weight : float
        Weights of the false negatives and of the false positives.
    exponent : float
        Above 1 the slope is largest for hard images, below 1 for easy ones.
    smooth : float
        See `tversky_index`.

    Examples
    --------
    The index is (1 + 1) / (1 + 0.7 + 0.3 + 1), so the loss is (1 / 3) ** 2.

    >>> from utils.models.losses import FocalTversky
    >>> round(float(FocalTversky(exponent=2)([[1, 1, 0, 0]], [[0, 1, 1, 0]])), 3)
    0.111
    """

    FLOOR = 1e-6

    def __init__(
        self,
        fn_weight=0.7,
        fp_weight=0.3,
        exponent=4 / 3,
        smooth=1.0,
        name="focal_tversky",
        **options,
    ):
        super().__init__(name=name, **options)
        self.fn_weight = fn_weight
        self.fp_weight = fp_weight
        self.exponent = exponent
        self.smooth = smooth

    def call(self, y_true, y_pred):
        """Return the loss of each image, shape (batch,)."""
        index = tversky_index(y_true, y_pred, self.fn_weight, self.fp_weight, self.smooth)
        return ops.power(ops.maximum(1.0 - index, self.FLOOR), self.exponent)

    def get_config(self):
        """Return the constructor's arguments."""
        own = {
            name: getattr(self, name) for name in ("fn_weight", "fp_weight", "exponent", "smooth")
        }
        return {**super().get_config(), **own}


@keras.saving.register_keras_serializable(package=PACKAGE)
class DiceCrossEntropy(keras.losses.Loss):
    """1 - soft Dice, plus the mean binary cross-entropy of the pixels, for each image.

    Parameters
    ----------
    entropy_weight : float
        Weight of the cross-entropy beside that of the Dice part, which is 1.
    smooth : float
        See `tversky_index`.
    """

    def __init__(self, entropy_weight=1.0, smooth=1.0, name="dice_cross_entropy", **options):
        super().__init__(name=name, **options)
        self.entropy_weight = entropy_weight
        self.smooth = smooth

    def call(self, y_true, y_pred):
        """Return the loss of each image, shape (batch,)."""
        entropy = ops.mean(ops.binary_crossentropy(_flat(y_true), _flat(y_pred)), axis=1)
        overlap = soft_dice(y_true, y_pred, self.smooth)
        return 1.0 - overlap + self.entropy_weight * entropy

    def get_config(self):
        """Return the constructor's arguments."""
        own = {"entropy_weight": self.entropy_weight, "smooth": self.smooth}
        return {**super().get_config(), **own}
