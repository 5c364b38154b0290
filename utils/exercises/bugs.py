"""Broken on purpose: how data are dealt out and fed, as notebook 07 has students find and mend it.

Each docstring says what the function is meant to do; none of them does it. The mistakes in losses
and scores are in `utils.exercises.bugs_scores`. Nothing but notebook 07 may use these functions.
"""

import numpy as np
import pandas as pd

# What students choose from, in no particular order; two of them are innocent.
SUSPECTS = {
    "A": "the mask is left behind when the image is moved",
    "B": "the input is not on the scale on which ImageNet's network was trained",
    "C": "the learning rate is too high",
    "D": "slices of one patient are on both sides of the split",
    "E": "the threshold is chosen on the test set",
    "F": "the order of a set is taken for reproducible",
    "G": "tumour-free slices are silently scored as perfect",
    "H": "only successes are shown",
    "I": "detector and segmenter are split independently of each other",
    "J": "the attribute is set on the module instead of on the layers",
    "K": "the focal exponent is below 1",
    "L": "the model gets grey levels that were not normalised as in training",
    "M": "the last, smaller batch is not evaluated",
    "N": "one ratio of all pixels of the batch is reported as a mean over its images",
    "O": "the segmenter is never trained on a tumour-free slice",
    "P": "the network has too few layers",
}


def split_rows(table: pd.DataFrame, seed: int, share: float = 0.25) -> np.ndarray:
    """Return "train" or "test" for each row (slice) of a cohort table, ready for an honest test."""
    order = np.random.default_rng(seed).permutation(len(table))
    return np.where(order < share * len(table), "test", "train")


def deal_stages(patients: list[str], seed: int) -> dict[str, list[str]]:
    """Return the test patients, a quarter of all, of a detector and a segmenter used together."""
    stages = {}
    for number, stage in enumerate(["detector", "segmenter"]):
        random = np.random.default_rng([seed, number])
        shuffled = random.permutation(sorted(patients))
        stages[stage] = sorted(shuffled[: len(patients) // 4].tolist())
    return stages


def names_to_shuffle(ids: list[str]) -> list[str]:
    """Return every id once, in the same order on every computer and in every run."""
    return list(set(ids))


def prepare_for_resnet(images: np.ndarray) -> np.ndarray:
    """Return images (n, height, width, 3), 0..255, as ImageNet's ResNet50 expects them."""
    return images.astype(np.float32) / 255


def standardise(volume: np.ndarray) -> np.ndarray:
    """Return a volume's z-scores over its head (grey level above 0); 0 outside. Nothing is wrong.

    A model trained on what this returns is what `predict_volume` is given.
    """
    head = volume > 0
    if not head.any():
        return np.zeros(volume.shape, np.float32)
    spread = volume[head].std()
    scores = (volume - volume[head].mean()) / (spread if spread > 0 else 1.0)
    return np.where(head, scores, 0).astype(np.float32)


def predict_volume(model, volume: np.ndarray) -> np.ndarray:
    """Return what a model trained on `standardise`d volumes says of a new one, in grey levels."""
    return model(volume.astype(np.float32))


def augment_pair(
    image: np.ndarray, mask: np.ndarray, mirrored: bool, quarter_turns: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return a training image (height, width) and its mask, turned and perhaps then mirrored."""
    image = np.rot90(image, quarter_turns)
    if mirrored:
        image = image[:, ::-1]
    return image, mask


def training_rows(has_tumour: np.ndarray, seed: int) -> np.ndarray:
    """Return which slices (row numbers) the segmenter is trained on."""
    return np.flatnonzero(has_tumour)


def freeze_all_but_last(model):
    """Return the model with only its last layer left to train."""
    import keras

    for _ in model.layers[:-1]:
        keras.layers.trainable = False
    return model
