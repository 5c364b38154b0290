"""How good a network is after an epoch of its training: what `training.fit` chooses by."""

from collections.abc import Callable

import numpy as np

from utils.evaluation.detection import auc
from utils.evaluation.segmentation import count_pixels, patient_table

# How many are predicted at once.
BATCH_SIZE = 32


def validate_segmenter(images, masks, patients, batch_size=BATCH_SIZE) -> Callable:
    """Return a `validate` for `fit`: the mean over the patients of the Dice of their volumes.

    Parameters
    ----------
    images : array, uint8, shape (n, height, width, channels)
        The validation slices.
    masks : array, uint8, shape (n, height, width)
        0 and 1.
    patients : sequence of str, length n
        Whose slice each is.
    batch_size : int
        Slices predicted at once; the last batch may be smaller.

    Returns
    -------
    callable
        `validate(model)` -> {"val_dice": ...}, at threshold 0.5; a patient without tumour in
        truth and prediction counts 1.
    """
    owners = np.asarray(patients)

    def validate(model):
        predicted = _predict(model, images, batch_size)[..., 0] >= 0.5
        slices = count_pixels(masks, predicted).assign(patient=owners)
        return {"val_dice": patient_table(slices)["dice"].fillna(1.0).to_numpy().mean()}

    return validate


def validate_detector(inputs, labels) -> Callable:
    """Return a `validate` for `fit` of a network whose output is a logit.

    Parameters
    ----------
    inputs : array, shape (n, ...)
        Pictures, or features.
    labels : array of bool, shape (n,)
        Whether each shows tumour.

    Returns
    -------
    callable
        `validate(model)` -> {"val_loss": ..., "val_auc": ...}: mean cross-entropy, and the area
        under the ROC curve (0.5 if the labels are all alike).
    """
    labels = np.asarray(labels, dtype=bool)

    def validate(model):
        logits = _predict(model, inputs, BATCH_SIZE)[:, 0].astype("float64")
        entropy = np.logaddexp(0.0, np.where(labels, -logits, logits))
        ranked = auc(labels, logits)
        return {"val_loss": entropy.mean(), "val_auc": 0.5 if np.isnan(ranked) else ranked}

    return validate


def _predict(model, inputs, batch_size):
    """Return the model's output for every input, float32.

    Not `predict_images`: it fills up the last batch, and a matrix of another length is multiplied
    in another order, so that logits differ in their last digit; and it copies all inputs.
    """
    starts = range(0, len(inputs), batch_size)
    parts = [model.predict_on_batch(np.asarray(inputs[i : i + batch_size])) for i in starts]
    return np.concatenate(parts)
