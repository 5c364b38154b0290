"""Broken on purpose: losses and scores that notebook 07 has students find and mend.

See `utils.exercises.bugs`: each docstring says what is meant, none of the functions does it.
"""

from collections.abc import Callable

import numpy as np


def focal_tversky(index):
    """Return the focal Tversky loss, by which training attends most to the hard images.

    `index` is the Tversky index of each image: 0 where all is wrong, 1 where all is right.
    """
    return (1 - np.asarray(index)) ** 0.75


def mean_tversky(truths: np.ndarray, predictions: np.ndarray, alpha=0.7, beta=0.3) -> float:
    """Return the mean Tversky index of the images of a batch; masks (batch, height, width)."""
    hits = (truths * predictions).sum()
    misses = (truths * (1 - predictions)).sum()
    false_positives = ((1 - truths) * predictions).sum()
    return float((hits + 1) / (hits + alpha * misses + beta * false_positives + 1))


def dice_report(truths: np.ndarray, predictions: np.ndarray) -> dict[str, float]:
    """Return how well tumours are outlined: `dice`, the mean over so many `slices`."""
    overlap = (truths * predictions).sum(axis=(1, 2))
    total = truths.sum(axis=(1, 2)) + predictions.sum(axis=(1, 2))
    return {"dice": float(((2 * overlap + 1) / (total + 1)).mean()), "slices": len(truths)}


def accuracy_in_batches(
    predict: Callable, images: np.ndarray, labels: np.ndarray, batch_size: int
) -> float:
    """Return the share of images that are classified rightly; `predict` takes a batch of them."""
    steps = len(images) // batch_size
    right = []
    for step in range(steps):
        here = slice(step * batch_size, (step + 1) * batch_size)
        right.append(predict(images[here]) == labels[here])
    return float(np.mean(right))


def tuned_accuracy(validation: tuple, test: tuple) -> tuple[float, float]:
    """Return a threshold, and the accuracy that a new hospital may expect with it.

    `validation` and `test` are (labels, scores); a slice is flagged if its score is at least the
    threshold. Candidates are the scores themselves.
    """
    labels, scores = test
    candidates = np.unique(scores)
    accuracies = [((scores >= threshold) == labels).mean() for threshold in candidates]
    best = int(np.argmax(accuracies))
    return float(candidates[best]), float(accuracies[best])


def pick_examples(dice: np.ndarray, count: int) -> list[int]:
    """Return which `count` of the slices to show in a paper, so that readers see how it does."""
    return np.argsort(dice)[::-1][:count].tolist()
