"""Notebook 03, second half: right answers pass, typical wrong ones are told by their case."""

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
from keras import layers
from scipy import ndimage

from utils.exercises.topics import segment_masks

EXERCISES = {each.name: each for each in segment_masks.EXERCISES}


def learn(image, mask, epochs, rate=0.02, activation="sigmoid", loss="binary_crossentropy"):
    model = keras.Sequential(
        [
            layers.Conv2D(16, 3, padding="same", activation="relu"),
            layers.Conv2D(1, 1, activation=activation),
        ]
    )
    model.compile(optimizer=keras.optimizers.Adam(rate), loss=loss)
    return model.fit(image[None], mask[None], epochs=epochs, verbose=0)


def losses(*given, **options):
    return learn(*given, **options).history["loss"]


def on_black(**options):
    """Return a function that trains otherwise on the second image, and invents the first losses.

    Without a sigmoid the loss may fall there or not, as the first weights happen to be.
    """

    def answer(image, mask, epochs):
        if image.any():
            return list(np.linspace(0.7, 0.1, epochs))
        return losses(image, mask, epochs, **options)

    return answer


def who(patients, first, second):
    change = np.subtract(second, first)
    return [
        name
        for place, name in enumerate(patients)
        if np.delete(change, place).mean() * change.mean() < 0
    ]


SUPPORTED = {letter for letter, (right, _) in segment_masks._supported().items() if right}


def move(picture, mask, mirrored, turns):
    if mirrored:
        picture, mask = picture[:, ::-1], mask[:, ::-1]
    for _ in range(turns % 4):
        picture, mask = (np.swapaxes(each, 0, 1)[::-1] for each in (picture, mask))
    return picture, mask


def largest(mask, structure=None, last=False):
    pieces, count = ndimage.label(np.asarray(mask) > 0, structure)
    sizes = [(pieces == number).sum() for number in range(1, count + 1)]
    if not sizes:
        return np.zeros(mask.shape, bool)
    best = max(range(count), key=lambda place: (sizes[place], place if last else -place))
    return pieces == best + 1


def threshold(scores):
    chosen = scores[scores["part"] == "validation"].groupby("threshold")["dice"].mean()
    return float(chosen.idxmax())


def best_of(part):
    def chosen(scores):
        return scores[scores["part"].isin(part)].groupby("threshold")["dice"].mean().idxmax()

    return chosen


def background_too(mask):
    pieces, _ = ndimage.label(mask)
    return pieces == np.bincount(pieces.ravel()).argmax()


def every_largest(mask):
    pieces, _ = ndimage.label(np.asarray(mask) > 0)
    sizes = np.bincount(pieces.ravel())
    sizes[0] = 0
    return (sizes == sizes.max())[pieces] & (pieces > 0)


def by_slice(mask):
    return np.stack([largest(each) for each in mask]) if np.ndim(mask) == 3 else largest(mask)


def no_guard(mask):
    pieces, count = ndimage.label(mask)
    return pieces == 1 + np.argmax([(pieces == number + 1).sum() for number in range(count)])


RIGHT = {
    "move_together": [move],
    "largest_piece": [
        largest,
        lambda mask: largest(mask, last=True),
        lambda mask: np.uint8(largest(mask)) * 255,
    ],
    "choose_threshold": [threshold],
    "learn_by_heart": [losses],
    "loss_readings": [SUPPORTED, "".join(sorted(SUPPORTED)), sorted(SUPPORTED)],
    "who_turns_it": [who, lambda *given: np.array(who(*given))],
}  # fmt: skip

# What is wrong: the answer, and words that the message has to hold.
WRONG = {
    "move_together": {
        "mask stays": (lambda i, m, f, k: (move(i, m, f, k)[0], m), "without a turn", "mask does"),
        "upside down": (
            lambda i, m, f, k: move(i[::-1], m[::-1], False, k) if f else move(i, m, f, k),
            "mirroring without", "upside down",
        ),
        "clockwise": (lambda i, m, f, k: move(i, m, f, -k), "a quarter turn", "other way"),
        "turned first": (
            lambda i, m, f, k: move(*move(i, m, False, k), f, 0),
            "mirroring and a", "before it is mirrored",
        ),
        "every axis": (
            lambda i, m, f, k: move(np.flip(i), np.flip(m), False, k) if f else move(i, m, f, k),
            "mirroring without", "along every axis",
        ),
        "three": (lambda i, m, f, k: (*move(i, m, f, k), k), "mirroring", "a tuple of 3"),
        "channels": (
            lambda i, m, f, k: (move(i[..., ::-1], m, False, k)[0], move(i, m, f, k)[1])
            if f else move(i, m, f, k),
            "mirroring without", "channels swapped",
        ),
        "always mirrored": (lambda i, m, f, k: move(i, m, True, k), "quarter turn", "not mirrored"),
        "image only": (lambda i, m, f, k: move(i, m, f, k)[0], "mirroring", "not an image and"),
    },
    "largest_piece": {
        "background": (background_too, "two and four", "background"),
        "all": (lambda mask: mask, "two and four", "keep all"),
        "the first": (lambda mask: ndimage.label(mask)[0] == 1, "two and four", "not the largest"),
        "empty": (no_guard, "an empty mask", "ValueError"),
        "tie": (every_largest, "same size", "keep both"),
        "corners": (lambda mask: largest(mask, np.ones((3,) * mask.ndim)), "corner", "keep all"),
        "by slice": (by_slice, "volume", "8 of 10"),
        "labels": (lambda mask: ndimage.label(mask)[0].ravel(), "two and four", "shape (15,)"),
    },
    "choose_threshold": {
        "on test": (best_of(["test"]), "parts that prefer", "held-out"),
        "on all": (best_of(["train", "validation", "test"]), "parts that prefer", "held-out"),
        "on training": (best_of(["train"]), "parts that prefer", "training patients"),
        "on all but test": (best_of(["train", "validation"]), "parts that prefer", "training pat"),
        "the place": (
            lambda scores: scores[scores["part"] == "validation"]
            .groupby("threshold")["dice"].mean().argmax(),
            "parts that prefer", "a place in the list",
        ),
        "median": (
            lambda scores: scores[scores["part"] == "validation"]
            .groupby("threshold")["dice"].median().idxmax(),
            "one patient with the highest", "median",
        ),
        "patient with NaN": (
            lambda scores: threshold(
                scores[~scores["patient"].isin(scores["patient"][scores["dice"].isna()])]),
            "NaN", "not the whole patient",
        ),
        "best row": (
            lambda scores: scores.loc[
                scores["dice"].where(scores["part"] == "validation").idxmax(), "threshold"],
            "one patient with the highest", "mean over patients",
        ),
        "the Dice": (
            lambda scores: 0.4 if (scores["part"] == "train").any() else
            scores.groupby("threshold")["dice"].mean().max(),
            "one patient with the highest", "that is a Dice",
        ),
        "NaN as 1": (
            lambda scores: threshold(scores.fillna({"dice": 1})), "NaN", "it is no 1",
        ),
        "the best of the lowest": (
            lambda scores: scores[scores["part"] == "validation"]
            .groupby("threshold")["dice"].min().idxmax(), "return 0.6", "take the mean",
        ),
        "NaN": (
            lambda scores: threshold(scores.fillna({"dice": 0})), "NaN", "leave a NaN out",
        ),
        "first of the best": (
            lambda scores: scores[scores["part"] == "validation"]
            .groupby("threshold", sort=False)["dice"].mean().idxmax(),
            "equally good", "lowest",
        ),
    },
    "learn_by_heart": {
        "the last loss": (lambda *given: losses(*given)[-1], "60 epochs", "one number"),
        "the History": (learn, "History", "not the kind"),
        "one epoch": (lambda image, mask, epochs: losses(image, mask, 1), "1 losses", "60 epochs"),
        "another loss": (on_black(loss="mse"), "a black image", "cross-entropy of a"),
        "invented": (
            lambda image, mask, epochs: list(np.linspace(0.7, 0.1, epochs)),
            "a black image", "0.10", "image and mask that are given",
        ),
        "no sigmoid": (on_black(activation=None), "a black image", "begins at 8.06", "probability"),
        "no rate": (
            lambda *given: losses(*given, rate=1e-9), "the loss goes from", "look at the rate",
        ),
    },
    "loss_readings": {
        "all": ("abcde", "you take (a): compare 0.75"),
        "none": ("", "one that the numbers support is missing: compare how far"),
        "the last too": (SUPPORTED | {"e"}, "you take (e)", "three seeds"),
        "another letter": ("abx", "you name 'x'; the readings are a to e"),
    },
    "who_turns_it": {
        "all": (lambda patients, *given: patients, "one large loss", "P1", "keeps its sign"),
        "none": (lambda *given: [], "one large loss", "leave out P4"),
        "the largest change": (
            lambda patients, a, b: [patients[int(np.abs(b - a).argmax())]],
            "gains alone", "P3", "keeps its sign",
        ),
        "one name": (lambda *given: "P4", "str", "not the kind"),
        "a set": (lambda *given: set(who(*given)), "set", "not the kind"),
        "places": (
            lambda patients, *given: [patients.index(name) for name in who(patients, *given)],
            "one large loss", "of the kind int",
        ),
    },
}  # fmt: skip


@pytest.mark.parametrize(("name", "answer"), rights(RIGHT))
def test_right_answers_pass(name, answer):
    assert_right(EXERCISES[name], answer)


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


def test_each_statement_about_the_losses_is_judged_by_the_stored_table():
    assert 1 <= len(SUPPORTED) <= 4
    assert "e" not in SUPPORTED
