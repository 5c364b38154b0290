"""How good a network is after an epoch of its training: what `training.fit` chooses by."""

from collections.abc import Callable

import numpy as np

from utils.evaluation.detection import auc


def validate_segmenter(images, masks, patients, batch_size=32) -> Callable:
    """Return a `validate` for `fit`: the mean over the patients of the Dice of their volumes.

    Parameters
    ----------
    images : array, uint8, shape (n, height, width, 3)
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
    _, owner = np.unique(np.asarray(patients), return_inverse=True)
    owner = np.asarray(owner)

    def validate(model):
        predicted = _predict(model, images, batch_size)[..., 0] > 0.5
        truth = np.asarray(masks) > 0
        overlap = np.bincount(owner, (predicted & truth).sum(axis=(1, 2)))
        total = np.bincount(owner, predicted.sum(axis=(1, 2)) + truth.sum(axis=(1, 2)))
        dice = np.where(total > 0, 2 * overlap / np.maximum(total, 1), 1.0)
        return {"val_dice": dice.mean()}

    return validate


def validate_detector(inputs, labels, batch_size=32) -> Callable:
    """Return a `validate` for `fit` of a network whose output is a logit.

    Parameters
    ----------
    inputs : array, shape (n, ...)
        Pictures, or features.
    labels : array of bool, shape (n,)
        Whether each shows tumour.
    batch_size : int
        How many are predicted at once.

    Returns
    -------
    callable
        `validate(model)` -> {"val_loss": ..., "val_auc": ...}: mean cross-entropy, and the area
        under the ROC curve (0.5 if the labels are all alike).
    """
    labels = np.asarray(labels, dtype=bool)

    def validate(model):
        logits = _predict(model, inputs, batch_size)[:, 0].astype("float64")
        entropy = np.logaddexp(0.0, np.where(labels, -logits, logits))
        ranked = auc(labels, logits)
        return {"val_loss": entropy.mean(), "val_auc": 0.5 if np.isnan(ranked) else ranked}

    return validate


def _predict(model, inputs, batch_size):
    """Return the model's output for every input, float32."""
    starts = range(0, len(inputs), batch_size)
    parts = [model.predict_on_batch(np.asarray(inputs[i : i + batch_size])) for i in starts]
    return np.concatenate(parts)
