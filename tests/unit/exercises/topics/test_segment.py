"""Notebook 03, first half: right answers pass, typical wrong ones are told by their case."""

import keras
import numpy as np
import pytest
from answers import (
    assert_all_are_tried,
    assert_nonsense_is_told,
    assert_right,
    assert_told,
    rights,
    wrongs,
)
from keras import layers, ops

from utils.exercises.topics import segment
from utils.models.losses import FocalTversky

EXERCISES = {each.name: each for each in segment.EXERCISES}
NAN = float("nan")


def dice(truth, prediction):
    truth, prediction = np.asarray(truth) != 0, np.asarray(prediction) != 0
    if truth.shape != prediction.shape:
        raise ValueError("shapes differ")
    wrong, both = (truth != prediction).sum(), (truth & prediction).sum()
    return 1.0 if wrong + both == 0 else 2 * both / (2 * both + wrong)


def slice_mean(truth, prediction, empty):
    """Return the mean over the slices of a volume, with `empty` where a slice has nothing."""
    if truth.ndim == 2:
        return dice(truth, prediction)
    slices = zip(truth, prediction, strict=True)
    return np.nanmean([dice(a, b) if a.any() or b.any() else empty for a, b in slices])


def decoder_step(coarse, skip, filters, side=3, activation="relu"):
    joined = ops.concatenate([ops.repeat(ops.repeat(coarse, 2, 1), 2, 2), skip], -1)
    return layers.Conv2D(filters, side, padding="same", activation=activation)(joined)


def decoder_step_of_layers(coarse, skip, filters):
    """Join the skip first, enlarge by a convolution, and have the ReLU in a layer of its own."""
    enlarged = layers.Conv2DTranspose(8, 2, strides=2)(coarse)
    joined = layers.Concatenate()([skip, enlarged])
    return layers.ReLU()(layers.Conv2D(filters, 3, padding="same")(joined))


def skip_left_out(coarse, skip, filters):
    return layers.Conv2D(filters, 3, padding="same", activation="relu")(np.repeat(
        np.repeat(coarse, 2, 1), 2, 2))  # fmt: skip


def index_of(truths, predictions, fn_weight=0.7, fp_weight=0.3, smooth=1.0, axis=(1, 2, 3)):
    found = ops.sum(truths * predictions, axis=axis)
    missed = ops.sum(truths * (1 - predictions), axis=axis)
    invented = ops.sum((1 - truths) * predictions, axis=axis)
    return (found + smooth) / (found + fn_weight * missed + fp_weight * invented + smooth)


def focal(truths, predictions, fn_weight, fp_weight, exponent):
    return (1 - index_of(truths, predictions, fn_weight, fp_weight)) ** exponent


def focal_of_all_drawn(truths, predictions, fn_weight, fp_weight, exponent):
    """Take all that is predicted for the false positives."""
    found = ops.sum(truths * predictions, axis=(1, 2, 3))
    missed = ops.sum(truths * (1 - predictions), axis=(1, 2, 3))
    drawn = ops.sum(predictions, axis=(1, 2, 3))
    return (1 - (found + 1) / (found + fn_weight * missed + fp_weight * drawn + 1)) ** exponent


def focal_of_the_course(truths, predictions, *settings):
    return FocalTversky(*settings, reduction="none")(truths, predictions)


def dice_with_guard(truth, prediction):
    """Return NaN for two empty masks, as the formula does."""
    both, total = (
        np.logical_and(truth, prediction).sum(),
        (truth > 0).sum() + (prediction > 0).sum(),
    )
    return 2 * both / total if total else float("nan")


RIGHT = {
    "dice": [
        dice,
        lambda a, b: 0 if not (a.any() or b.any()) else dice(a, b),
        lambda a, b: np.float32(dice(a, b)),
    ],
    "coarsest_shape": [(8, 8, 256), [8, 8, 256], np.array([8, 8, 256])],
    "decoder_step": [decoder_step, decoder_step_of_layers],
    "focal_tversky": [focal, focal_of_the_course, lambda *given: np.float32(focal(*given))],
}  # fmt: skip

# What is wrong: the answer, and words that the message has to hold.
WRONG = {
    "dice": {
        "IoU": (lambda a, b: (a & b).sum() / max((a | b).sum(), 1), "overlap by half", "IoU"),
        "no factor 2": (lambda a, b: dice(a, b) / 2, "overlap by half", "twice"),
        "accuracy": (lambda a, b: (a == b).mean(), "overlap by half", "share of pixels"),
        "sensitivity": (lambda a, b: (a & b).sum() / max(a.sum(), 1), "one pixel found", "both"),
        "0/0": (dice_with_guard, "two empty masks", "decide what it should be and say why"),
        "1 for one empty": (
            lambda a, b: dice(a, b) if a.any() and b.any() else 1.0,
            "an empty prediction", "no agreement",
        ),
        "ZeroDivisionError": (
            lambda a, b: 2 * int((a & b).sum()) / int(a.sum() + b.sum()),
            "two empty masks", "ZeroDivisionError",
        ),
        "bytes added up": (
            lambda a, b: 2.0 * np.sum(a.astype(float) * b) / max(a.sum() + b.sum(), 1)
            if a.any() or b.any() else 0,
            "masks of 0 and 255", "count the pixels",
        ),
        "repeats a row": (
            lambda a, b: dice(*np.broadcast_arrays(a, b)),
            "shapes (4, 4) and (4, 1)", "refuse it with a ValueError",
        ),
        "compares lengths": (
            lambda a, b: dice(*np.broadcast_arrays(a, b)) if len(a) == len(b) else dice(a, b),
            "shapes (4, 4) and (4, 1)", "refuse it with a ValueError",
        ),
        "1 added": (
            lambda a, b: (2 * (a & b).sum() + 1) / (a.sum() + b.sum() + 1),
            "overlap by half", "look for 0/0",
        ),
        "mean of slices, 0/0 left out": (
            lambda a, b: slice_mean(a, b, NAN), "three slices", "pool the pixels",
        ),
        "mean of slices, 0/0 as 1": (
            lambda a, b: slice_mean(a, b, 1.0), "three slices", "pool the pixels",
        ),
        "mean of slices, 0/0 as 0": (
            lambda a, b: slice_mean(a, b, 0.0), "three slices", "pool the pixels",
        ),
    },
    "coarsest_shape": {
        "five halvings": ((4, 4, 512), "one step off"),
        "channels stay": ((8, 8, 32), "32 channels"),
        "side only": ((8, 8), "2 lengths"),
        "of a batch, as Keras tells it": ((None, 8, 8, 256), "4 lengths"),
        "no halving": ((128, 128, 256), "128 is not"),
        "one number": (8, "not the kind"),
        "a word": ("8x8", "not the kind"),
        "the batch too": ((None, 8, 8, 256), "you give 4 lengths; three are asked for"),
        "open lengths": ((None, None, 256), "you give a NoneType, not one number"),
        "texts": (("8", "8", "256"), "you give a str, not one number"),
        "a fraction": ((8.5, 8.5, 256), "no whole number"),
    },
    "decoder_step": {
        "not enlarged": (
            lambda coarse, skip, filters: layers.Conv2D(filters, 1)(coarse), "4 x 4", "enlarged",
        ),
        "no filters": (
            lambda coarse, skip, filters: decoder_step(coarse, skip, 8), "8 channels", "16",
        ),
        "always 16 filters": (
            lambda coarse, skip, filters: decoder_step(coarse, skip, 16), "16 channels", "12",
        ),
        "a constant": (
            lambda coarse, skip, filters: np.ones((2, 8, 8, filters)),
            "a single pixel", "from the input",
        ),
        "sigmoid": (
            lambda *given: decoder_step(*given, activation="sigmoid"), "a single pixel", "ReLU",
        ),
        "1 x 1": (lambda *given: decoder_step(*given, side=1), "a single pixel", "no other"),
        "5 x 5": (lambda *given: decoder_step(*given, side=5), "a single pixel", "two away"),
        "no ReLU": (
            lambda coarse, skip, filters: decoder_step(coarse, skip, filters) - 1.0, "ReLU",
        ),
        "no skip": (skip_left_out, "coarse features of zeros", "the skip should"),
        "skip alone": (
            lambda coarse, skip, filters: decoder_step(0 * coarse, skip, filters),
            "a skip of zeros", "the coarse features should",
        ),
        "one image": (
            lambda coarse, skip, filters: decoder_step(coarse[:1], skip[:1], filters), "2 images",
        ),
        "a model": (lambda *given: keras.Sequential(), "Sequential", "not the kind"),
    },
    "focal_tversky": {
        "weights swapped": (lambda t, p, a, b, e: focal(t, p, b, a, e), "two images", "fn_weight"),
        "fixed weights": (lambda t, p, a, b, e: focal(t, p, 0.7, 0.3, e), "weights 0.9", "given"),
        "threshold": (
            lambda t, p, *more: focal(t, np.float32(p >= 0.5), *more), "probabilities", "as they",
        ),
        "above a threshold": (
            lambda t, p, *more: focal(t, np.float32(p > 0.5), *more), "probabilities", "as they",
        ),
        "no s": (
            lambda t, p, a, b, e: (1 - index_of(t, p, a, b, 1e-9)) ** e, "two images", "s belongs",
        ),
        "1/p": (lambda t, p, a, b, e: focal(t, p, a, b, 1 / e), "(p = 2)", "1/p"),
        "pooled": (
            lambda t, p, a, b, e: (1 - index_of(t, p, a, b, axis=None)) ** e,
            "two images", "one number",
        ),
        "mean": (lambda *given: ops.mean(focal(*given)), "two images", "the mean"),
        "pooled for each": (
            lambda t, p, a, b, e: (1 - index_of(t, p, a, b, axis=None)) ** e * np.ones(len(t)),
            "two images", "over the whole batch",
        ),
        "means of pixels": (
            lambda t, p, a, b, e: (1 - index_of(t, p, a, b, t[0].size)) ** e,
            "two images", "not means",
        ),
        "the index": (lambda t, p, a, b, e: index_of(t, p, a, b), "p = 2", "the index"),
        "fixed exponent": (lambda t, p, a, b, e: focal(t, p, a, b, 4 / 3), "p = 2", "is given"),
        "all that is drawn": (
            lambda t, p, a, b, e: focal_of_all_drawn(t, p, a, b, e), "two images", "beside",
        ),
        "power first": (
            lambda t, p, a, b, e: 1 - index_of(t, p, a, b) ** e, "(p = 2)", "first comes 1 - index",
        ),
        "no power": (lambda t, p, a, b, e: focal(t, p, a, b, 1), "(p = 2)", "no effect"),
        "squeezed": (lambda *given: np.squeeze(focal(*given)), "one image", "one loss for"),
    },
}  # fmt: skip


@pytest.mark.parametrize(("name", "answer"), rights(RIGHT))
def test_right_answers_pass(name, answer):
    assert_right(EXERCISES[name], answer)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # 0/0 is one of the wrong answers
@pytest.mark.parametrize(("name", "answer", "words"), wrongs(WRONG))
def test_typical_wrong_answers_are_told_by_their_case(name, answer, words):
    assert_told(EXERCISES[name], answer, words)


@pytest.mark.parametrize("name", EXERCISES)
def test_nonsense_is_told(name):
    assert_nonsense_is_told(EXERCISES[name])


def test_every_exercise_is_tried_with_two_wrong_answers_or_more():
    assert_all_are_tried(EXERCISES, RIGHT, WRONG)


@pytest.mark.parametrize("name", [name for name, each in EXERCISES.items() if each.is_function])
def test_inputs_reach_an_answer_as_copies(name):
    """An answer that overwrites its input must not spoil the next try."""

    def spoils(*given):
        for each in given:
            if isinstance(each, np.ndarray):
                each[...] = 0

    EXERCISES[name].verdict(spoils)
    assert_right(EXERCISES[name], RIGHT[name][0])
