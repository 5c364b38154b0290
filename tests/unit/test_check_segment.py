"""The exercises of notebook 03: right answers pass, typical wrong ones are told by their case."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from utils.check import segment, segment_masks
from utils.checking import Mark

EXERCISES = {each.name: each for each in (*segment.EXERCISES, *segment_masks.EXERCISES)}


# --- right answers, written another way than in the notebook -----------------------------------


def dice(truth, prediction):
    truth, prediction = np.asarray(truth) != 0, np.asarray(prediction) != 0
    if truth.shape != prediction.shape:
        raise ValueError("shapes differ")
    wrong, both = (truth != prediction).sum(), (truth & prediction).sum()
    return 1.0 if wrong + both == 0 else 2 * both / (2 * both + wrong)


def tversky(truth, prediction, alpha=0.7, beta=0.3, smooth=1.0):
    truth, prediction = np.asarray(truth, float), np.asarray(prediction, float)
    found = (truth * prediction).sum()
    missed, invented = truth.sum() - found, prediction.sum() - found
    return (found + smooth) / (found + alpha * missed + beta * invented + smooth)


def focal(truths, predictions, exponent):
    pairs = zip(truths, predictions, strict=True)
    return [(1 - tversky(*pair)) ** exponent for pair in pairs]


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


RIGHT = {
    "dice": [
        dice,
        lambda a, b: 0 if not (a.any() or b.any()) else dice(a, b),
        lambda a, b: np.float32(dice(a, b)),
    ],
    "coarsest_shape": [(8, 8, 256), [8, 8, 256], np.array([8, 8, 256])],
    "tversky_index": [tversky],
    "focal_tversky": [focal, lambda *given: np.float32(focal(*given))],
    "move_together": [move],
    "largest_piece": [
        largest,
        lambda mask: largest(mask, last=True),
        lambda mask: np.uint8(largest(mask)) * 255,
    ],
    "choose_threshold": [threshold],
}

# --- wrong answers, and words that the message has to hold -------------------------------------


def dice_with_guard(truth, prediction):
    """Return NaN for two empty masks, as the formula does."""
    both, total = (
        np.logical_and(truth, prediction).sum(),
        (truth > 0).sum() + (prediction > 0).sum(),
    )
    return 2 * both / total if total else float("nan")


def wrapping_tversky(truth, prediction, alpha, beta):
    """Take differences of uint8 masks, in which 0 - 1 is 255."""
    if truth.dtype == bool:
        return tversky(truth, prediction, alpha, beta)
    missed = np.clip(truth - prediction, 0, None).sum()
    invented = np.clip(prediction - truth, 0, None).sum()
    found = (truth * prediction).sum()
    return (found + 1) / (found + alpha * missed + beta * invented + 1)


def pooled_focal(truths, predictions, exponent):
    return (1 - tversky(truths, predictions)) ** exponent


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


def broken(*given):
    raise KeyError("no idea")


def text(*given):
    return "0.5"


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
            "shapes (4, 4) and (1, 4)", "refuse it with a ValueError",
        ),
    },
    "coarsest_shape": {
        "five halvings": ((4, 4, 512), "one step off"),
        "channels stay": ((8, 8, 16), "16 channels"),
        "side only": ((8, 8), "2 lengths"),
        "no halving": ((128, 128, 256), "128 is not"),
        "one number": (8, "not the kind"),
        "a word": ("8x8", "not the kind"),
    },
    "tversky_index": {
        "weights swapped": (lambda t, p, a, b: tversky(t, p, b, a), "half of the tumour", "alpha"),
        "no s": (lambda t, p, a, b: tversky(t, p, a, b, 1e-9), "half of the tumour", "s belongs"),
        "fixed weights": (lambda t, p, a, b: tversky(t, p), "alpha 0.9", "given"),
        "threshold": (lambda t, p, a, b: tversky(t, p >= 0.5, a, b), "probabilities", "as they"),
        "uint8 wraps": (wrapping_tversky, "(uint8)", "too low"),
    },
    "focal_tversky": {
        "1/p": (lambda t, p, e: focal(t, p, 1 / e), "(p = 2)", "other way"),
        "pooled": (pooled_focal, "two pictures", "one number"),
        "mean": (lambda t, p, e: np.mean(focal(t, p, e)), "two pictures", "the mean"),
        "power first": (
            lambda t, p, e: [1 - tversky(*each) ** e for each in zip(t, p, strict=True)],
            "(p = 2)", "first comes 1 - index",
        ),
        "no power": (lambda t, p, e: focal(t, p, 1), "(p = 2)", "no effect"),
        "squeezed": (lambda t, p, e: np.squeeze(focal(t, p, e)), "one picture", "one loss for"),
    },
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
        "channels": (
            lambda i, m, f, k: (move(i[..., ::-1], m, False, k)[0], move(i, m, f, k)[1])
            if f else move(i, m, f, k),
            "mirroring without", "channels swapped",
        ),
        "always mirrored": (lambda i, m, f, k: move(i, m, True, k), "quarter turn", "not mirrored"),
        "picture only": (lambda i, m, f, k: move(i, m, f, k)[0], "mirroring", "not a picture and"),
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
        "NaN": (
            lambda scores: threshold(scores.fillna({"dice": 0})), "NaN", "leave a NaN out",
        ),
        "first of the best": (
            lambda scores: scores[scores["part"] == "validation"]
            .groupby("threshold", sort=False)["dice"].mean().idxmax(),
            "equally good", "lowest",
        ),
    },
}  # fmt: skip

FUNCTIONS = [name for name, each in EXERCISES.items() if each.is_function]


@pytest.mark.parametrize(
    ("name", "answer"), [(name, answer) for name, answers in RIGHT.items() for answer in answers]
)
def test_right_answers_pass(name, answer):
    verdict = EXERCISES[name].verdict(answer)
    assert verdict.mark is Mark.RIGHT, verdict.message


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # 0/0 is one of the wrong answers
@pytest.mark.parametrize(
    ("name", "answer", "words"),
    [
        pytest.param(name, answer, words, id=f"{name}-{what}")
        for name, answers in WRONG.items()
        for what, (answer, *words) in answers.items()
    ],
)
def test_typical_wrong_answers_are_told_by_their_case(name, answer, words):
    verdict = EXERCISES[name].verdict(answer)
    assert verdict.mark is Mark.WRONG
    assert "\n" not in verdict.message
    for word in words:
        assert word in verdict.message


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize(("answer", "words"), [(broken, "stops with KeyError"), (text, "str")])
def test_nonsense_is_told(name, answer, words):
    verdict = EXERCISES[name].verdict(answer)
    assert verdict.mark is Mark.WRONG
    assert words in verdict.message


@pytest.mark.parametrize("name", EXERCISES)
def test_an_open_answer_is_open(name):
    def stub(*given):
        """Say what is asked."""
        ...

    answer = stub if EXERCISES[name].is_function else ...
    assert EXERCISES[name].verdict(answer).message == "not attempted yet"


def test_an_endless_answer_is_stopped():
    def endless(*given):
        while True:
            pass

    message = replace(EXERCISES["largest_piece"], seconds=0.05).verdict(endless).message
    assert "does not end within 0.05 seconds" in message


def test_every_exercise_is_tested_with_two_wrong_answers_or_more():
    assert RIGHT.keys() == WRONG.keys() == EXERCISES.keys()
    assert all(len(answers) >= 2 for answers in WRONG.values())
    assert {each.notebook for each in EXERCISES.values()} == {"03"}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_inputs_reach_an_answer_as_copies(name):
    """An answer that overwrites its input must not spoil the next try."""

    def spoils(*given):
        for each in given:
            if isinstance(each, np.ndarray):
                each[...] = 0
        return None

    EXERCISES[name].verdict(spoils)
    assert EXERCISES[name].verdict(RIGHT[name][0]).mark is Mark.RIGHT
