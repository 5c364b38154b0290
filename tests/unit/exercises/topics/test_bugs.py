"""Notebook 07: what is mended passes; what is broken is refused, in words that name the symptom."""

import math
import sys
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from utils import check
from utils.exercises import bugs, bugs_scores
from utils.exercises.bugs import standardise
from utils.exercises.exercise import Mark
from utils.exercises.topics.bugs import CASES as CASES_BY_SYMPTOM, GUILTY, ORDINALS, PARTS


def parts_of(patients, drawn):
    return ["test" if patient in drawn else "train" for patient in patients]


def stages(patients, seed, share=0.25, names=None):
    names = sorted(set(patients)) if names is None else names
    drawn = np.random.default_rng(seed).permutation(names)[: round(share * len(names))].tolist()
    return dict.fromkeys(["detector", "segmenter"], parts_of(patients, drawn))


def by_slice(patients, seed):
    frame = pd.DataFrame({"patient": patients})
    return dict.fromkeys(["detector", "segmenter"], bugs.split_rows(frame, seed))


def apart(patients, seed):
    dealt = bugs.deal_stages(sorted(set(patients)), seed)
    return {stage: parts_of(patients, drawn) for stage, drawn in dealt.items()}


def tilted(patients, seed):
    """Deal out whole patients, but by tossing a coin for each."""
    names = sorted(set(patients))
    heads = np.random.default_rng(seed).random(len(names)) < 0.6
    drawn = [name for name, head in zip(names, heads, strict=True) if head]
    return dict.fromkeys(["detector", "segmenter"], parts_of(patients, drawn))


def rounded(how):
    """Return a function that makes a whole number of the share in another way."""

    def answer(patients, seed, share=0.25):
        count = len(set(patients))
        return stages(patients, seed, share=how(share * count) / count)

    return answer


def with_replacement(patients, seed, share=0.25):
    names = sorted(set(patients))
    drawn = np.random.default_rng(seed).choice(names, round(share * len(names)))
    return dict.fromkeys(["detector", "segmenter"], parts_of(patients, drawn))


def for_resnet(images):
    return images[..., ::-1].astype(np.float32) - [103.939, 116.779, 123.68]


def with_both_kinds(has_tumour, seed):
    positive, negative = np.flatnonzero(has_tumour), np.flatnonzero(~has_tumour)
    drawn = np.random.default_rng(seed).permutation(negative)[: len(positive)]
    return np.concatenate([positive, drawn])


def move_both(image, mask, mirrored, turns):
    moved = [np.rot90(each, turns) for each in (image, mask)]
    return tuple(each[:, ::-1] if mirrored else each for each in moved)


def mirror_both_turn_one(image, mask, mirrored, turns):
    return move_both(image, mask, mirrored, 0) if mirrored else (np.rot90(image, turns), mask)


def turn_after_mirror(image, mask, mirrored, turns):
    pair = [each[:, ::-1] if mirrored else each for each in (image, mask)]
    return tuple(np.rot90(each, turns) for each in pair)


def freeze(model, up_to=-1):
    for layer in model.layers[:up_to]:
        layer.trainable = False
    return model


def freeze_class(model):
    """Set the attribute on the class of the layers, which the layers' own one hides."""
    type(model.layers[0]).trainable = False
    return model


def mean_of_each(truths, predictions, alpha=0.7, beta=0.3):
    pairs = zip(truths, predictions, strict=True)
    return np.mean([bugs_scores.mean_tversky(*pair, alpha, beta) for pair in pairs])


def pooled_without_smoothing(truths, predictions, alpha=0.7, beta=0.3):
    return (truths * predictions).sum() / max(truths.sum(), 1)


def report(dice, tumour_px, predicted_px, empty=np.nan, alarms=True):
    there = tumour_px > 0
    result = {"dice": dice[there].mean() if there.any() else empty, "slices": int(there.sum())}
    if alarms:
        free = predicted_px[~there]
        result["false_positives"] = (free > 0).mean() if len(free) else np.nan
    return result


def batches(predict, images, labels, size):
    for start in range(0, len(images), size):
        yield predict(images[start : start + size]) == labels[start : start + size]


def accuracy(*arguments):
    return np.concatenate(list(batches(*arguments))).mean()


def mean_of_batches(*arguments):
    return np.mean([right.mean() for right in batches(*arguments)])


def zero_padded(predict, images, labels, size):
    missing = -len(images) % size
    images = np.concatenate([images, np.zeros((missing, *images.shape[1:]))])
    return accuracy(predict, images, np.concatenate([labels, np.zeros(missing, bool)]), size)


def all_at_once(predict, images, labels, size):
    return (predict(images) == labels).mean()


def right_share(labels, scores, threshold):
    return ((scores >= threshold) == labels).mean()


def tuned(validation, test, of=None):
    threshold = max(validation[1], key=lambda each: right_share(*validation, each))
    return threshold, right_share(*(of or test), threshold)


def along_the_ranks(dice, count):
    ranks = np.linspace(0, len(dice) - 1, min(count, len(dice))).round().astype(int)
    return np.argsort(dice)[ranks].tolist()


RIGHT = {
    "mend_stages": stages,
    "mend_input": for_resnet,
    "mend_prediction": lambda model, volume: model(standardise(volume)),
    "mend_augmentation": move_both,
    "mend_rows": with_both_kinds,
    "mend_freezing": freeze,
    "mend_focal": lambda index: (1 - index) ** 2,
    "mend_tversky": mean_of_each,
    "mend_report": report,
    "mend_batches": accuracy,
    "mend_threshold": tuned,
    "mend_gallery": along_the_ranks,
}

# Exercise -> what is wrong -> (answer, words that the message must hold).
WRONG = {
    "mend_stages": {
        "the first ones, whatever the seed": (
            lambda patients, seed, share=0.25: dict.fromkeys(
                ("detector", "segmenter"),
                np.where(
                    np.isin(patients, np.unique(patients)[: round(share * len(set(patients)))]),
                    "test",
                    "train",
                ),
            ),
            "seeds 7 and 8 test the same patients",
        ),
        "by slice": (by_slice, "9 of 12 patients are on both sides of the detector's split"),
        "stages apart": (apart, "were training patients of the detector"),
        "the order of a set": (
            lambda patients, seed, share=0.25: stages(patients, seed, share, list(set(patients))),
            "the patients that are tested depend on",
        ),
        "as they come": (
            lambda patients, seed, share=0.25: stages(
                patients, seed, share, list(dict.fromkeys(patients))
            ),
            "depend on in which order the slices come",
        ),
        "share": (tilted, "patients, where a share of 0.25 is 3"),
        "no test": (
            lambda patients, seed: stages(patients, seed, share=0),
            "tested on 0 of 12 patients",
        ),
        "cut off": (rounded(int), "is tested on 2 of 7 patients, where a share of 0.4 is 3"),
        "rounded up": (rounded(math.ceil), "17 of 27 patients, where a share of 0.6 is 16"),
        "always a quarter": (
            lambda patients, seed, share=0.25: stages(patients, seed),
            "tested on 2 of 7 patients",
        ),
        "somebody drawn twice": (with_replacement, "of 27 patients, where a share of 0.6 is 16"),
        "a stage alone": (
            lambda patients, seed: stages(patients, seed)["detector"],
            "you return a list, which is not the kind of value asked for, a dictionary",
        ),
        "one a patient": (
            lambda patients, seed: dict.fromkeys(["detector", "segmenter"], ["train"] * 12),
            "(12,) values for the detector and 60 slices",
        ),
        "one stage": (
            lambda patients, seed: {"detector": stages(patients, seed)["detector"]},
            "should be detector and segm",
        ),
    },
    "mend_input": {
        "broken": (bugs.prepare_for_resnet, "from 0.00 to 0.75"),
        "minus one to one": (lambda images: images / 127.5 - 1, "one and the same grey"),
        "red first": (lambda images: for_resnet(images)[..., ::-1], "in another order"),
        "mean by channel": (lambda images: images - [123.68, 116.779, 103.939], "another order"),
        "z-scores": (lambda images: 9 * (images - images.mean()), "not those that the network"),
    },
    "mend_prediction": {
        "without the model": (
            lambda model, volume: standardise(volume),
            "call it, and return its answer",
        ),
        "broken": (bugs.predict_volume, "the model is given grey levels up to 47"),
        "by slice": (
            lambda model, volume: model(np.stack([standardise(each) for each in volume])),
            "for a volume of three slices you return something else than what the model says",
        ),
        "0 to 1": (lambda model, volume: model(volume / 255), "after `standardise`"),
        "a threshold behind it": (
            lambda model, volume: model(standardise(volume)) > 0,
            "something else than what the model says",
        ),
        "black is no tumour": (
            lambda model, volume: (
                model(standardise(volume)) if volume.any() else np.zeros(volume.shape)
            ),
            "for a volume without a head you answer in the model's place",
        ),
        "divides by 0": (
            lambda model, volume: model(
                standardise(volume) / (1.0 if volume.any() else np.float64("nan"))
            ),
            "for a volume without a head",
        ),
    },
    "mend_augmentation": {
        "broken": (bugs.augment_pair, "for an image that is mirrored the outline lies beside"),
        "one turned": (mirror_both_turn_one, "for an image turned once the outline lies beside"),
        "nothing moved": (lambda *given: given[:2], "the image itself is not turned"),
        "other order": (turn_after_mirror, "turned three times and mirrored the image itself"),
    },
    "mend_rows": {
        "the first ones": (
            lambda has_tumour, seed: np.r_[
                np.flatnonzero(has_tumour), np.flatnonzero(~has_tumour)[: has_tumour.sum()]
            ],
            "seeds 0 and 1 take the same",
        ),
        "no seed": (
            lambda has_tumour, seed: with_both_kinds(has_tumour, None),
            "seed 0 takes other tumour-free slices the second time",
        ),
        "floats": (
            lambda has_tumour, seed: with_both_kinds(has_tumour, seed).astype(float),
            "you return float64; the numbers of rows are whole numbers",
        ),
        "a mask": (lambda has_tumour, seed: has_tumour, "you return True and False"),
        "broken": (bugs.training_rows, "never learns to leave eyes, skin and skull alone"),
        "all": (lambda has_tumour, seed: np.arange(len(has_tumour)), "30 tumour-free slices are"),
        "drawn twice": (
            lambda has_tumour, seed: np.concatenate(
                [with_both_kinds(has_tumour, seed), np.flatnonzero(has_tumour)]
            ),
            "taken twice",
        ),
        "only free": (lambda has_tumour, seed: np.flatnonzero(~has_tumour), "only 0 of 10 slices"),
    },
    "mend_freezing": {
        "broken": (bugs.freeze_all_but_last, "all 5 layers are still trainable"),
        "on the class": (freeze_class, "all 5 layers are still trainable"),
        "all": (lambda model: freeze(model, None), "nothing is left to train"),
        "one too few": (lambda model: freeze(model, -2), "1 of the 4 layers"),
    },
    "mend_focal": {
        "broken": (bugs_scores.focal_tversky, "times as steep near an index of 0.9 as near 0.1"),
        "linear": (lambda index: 1 - index, "as steep near an index of 0.9 as near 0.1"),
        "upside down": (lambda index: index**2, "an image that is all right has a loss of 1"),
        "mean": (lambda index: np.mean((1 - index) ** 2), "one loss each"),
    },
    "mend_tversky": {
        "broken": (bugs_scores.mean_tversky, "in which a large tumour hides the small ones"),
        "no mean": (
            lambda truths, predictions, alpha, beta: truths.mean(axis=(1, 2)),
            "you return 4 values; give their mean",
        ),
        "weights ignored": (
            lambda truths, predictions, alpha, beta: mean_of_each(truths, predictions),
            "for the same with alpha 0.2 and beta 0.8",
        ),
        "images with tumour": (
            lambda truths, predictions, alpha, beta: mean_of_each(
                *(each[truths.any(axis=(1, 2))] for each in (truths, predictions)), alpha, beta
            ),
            "an empty mask left empty beside a missed tumour you return 0.07, the mean over the",
        ),
        "another ratio": (pooled_without_smoothing, "which is not the mean over the images"),
    },
    "mend_report": {
        "all slices": (
            lambda dice, tumour_px, predicted_px: {"dice": dice.mean(), "slices": len(dice)},
            "for 2 slices with tumour and 4 without",
        ),
        "failures": (
            lambda dice, tumour_px, predicted_px: {
                "dice": (dice * (tumour_px > 0)).mean(),
                "slices": len(dice),
            },
            "your dice is 0.22 for 2 slices with tumour",
        ),
        "silent": (lambda *given: report(*given, alarms=False), "says nothing of the tumour-free"),
        "the median": (
            lambda dice, tumour_px, predicted_px: (
                report(dice, tumour_px, predicted_px)
                | {"dice": np.median(dice[tumour_px > 0]) if tumour_px.any() else np.nan}
            ),
            "for slices that all have a tumour your dice is 0.67",
        ),
        "each dice": (
            lambda dice, tumour_px, predicted_px: (
                report(dice, tumour_px, predicted_px) | {"dice": dice[tumour_px > 0]}
            ),
            "dice: you return a ndarray, not one number",
        ),
        "no tumour is 0": (lambda *given: report(*given, empty=0.0), "for slices without any tum"),
    },
    "mend_batches": {
        "without the model": (
            lambda predict, images, labels, batch_size: float(np.mean(labels)),
            "images are right",
        ),
        "broken": (bugs_scores.accuracy_in_batches, "the last 2 of 10 images are left out"),
        "mean of means": (mean_of_batches, "for 10 images in batches of 4 you return 0.67"),
        "batches of 4": (
            lambda predict, images, labels, batch_size: accuracy(predict, images, labels, 4),
            "for 5 images in batches of 2 it stops with ValueError: 4 images at once, 2 fit",
        ),
        "zero-padded": (zero_padded, "8 of 10 images are right"),
        "all at once": (all_at_once, "10 images at once, 4 fit in memory"),
    },
    "mend_threshold": {
        "broken": (bugs_scores.tuned_accuracy, "it was chosen where it is tested"),
        "scored on validation": (
            lambda validation, test: tuned(validation, test, of=validation),
            "you report 1.00, but on the test slices",
        ),
        "between the scores": (
            lambda validation, test: (
                threshold := tuned(validation, test)[0] - 0.01,
                right_share(*test, threshold),
            ),
            "your threshold 0.59 is none of the validation scores",
        ),
        "a half": (
            lambda validation, test: (0.5, right_share(*test, 0.5)),
            "for test scores that lie lower than validation scores your threshold is right in 0.80",
        ),
    },
    "mend_gallery": {
        "around the median": (
            lambda dice, count: [
                *(ranks := np.argsort(dice))[[0, -1]],
                *ranks[len(dice) // 2 :][: min(count, len(dice)) - 2],
            ],
            "spread them evenly",
        ),
        "broken": (bugs_scores.pick_examples, "nobody sees the failures"),
        "the worst": (
            lambda dice, count: np.argsort(dice)[:count].tolist(),
            "the best slice, Dice 1.00, is not shown",
        ),
        "the first": (lambda dice, count: list(range(min(count, len(dice)))), "nobody sees"),
        "too many": (lambda dice, count: along_the_ranks(dice, count + 1), "6 different slices"),
        "a short list twice": (
            lambda dice, count: np.argsort(dice)[
                np.linspace(0, len(dice) - 1, count).round().astype(int)
            ],
            "for 3 slices and room for 6 you show a slice more than once",
        ),
        "their dice": (
            lambda dice, count: dice[along_the_ranks(dice, count)],
            "you return float64; the numbers of rows",
        ),
        "a mask": (
            lambda dice, count: np.isin(np.arange(len(dice)), along_the_ranks(dice, count)),
            "you return bool; the numbers of rows",
        ),
        "best and worst": (
            lambda dice, count: (
                along_the_ranks(dice, count)
                if len(dice) < count
                else [*np.argsort(dice)[: count - 1], np.argmax(dice)]
            ),
            "all of them 0.50",
        ),
    },
}
CASES = [
    pytest.param(name, *answer, id=f"{name}: {what}")
    for name, answers in WRONG.items()
    for what, answer in answers.items()
]


@pytest.fixture(autouse=True)
def light_keras(monkeypatch):
    """Give the broken freezing a module to set its attribute on, without loading TensorFlow."""
    monkeypatch.setitem(sys.modules, "keras", SimpleNamespace(layers=SimpleNamespace()))


def test_every_bug_has_a_suspect_and_every_mending_wrong_answers():
    assert len(GUILTY) == len(ORDINALS) == 14
    assert RIGHT.keys() == WRONG.keys()
    ours = {exercise.name for exercise in check.ALL if exercise.notebook == "07"}
    assert ours == {*RIGHT, *PARTS}


@pytest.mark.parametrize("name", RIGHT)
def test_mended(name):
    exercise = getattr(check, name)
    verdict = exercise.verdict(RIGHT[name])
    assert verdict.mark is Mark.RIGHT, verdict.message


@pytest.mark.parametrize("name", RIGHT)
@pytest.mark.parametrize(
    "nonsense", [lambda *given: {"no": "sense"}, lambda *given: 1 / 0, 7, "nothing"]
)
def test_nonsense_is_refused(name, nonsense):
    assert getattr(check, name).verdict(nonsense).mark is Mark.WRONG


@pytest.mark.parametrize("name", RIGHT)
def test_a_stub_is_open(name):
    def stub(*given):
        """Do what is asked."""
        ...

    assert getattr(check, name).verdict(stub).mark is Mark.OPEN


@pytest.mark.parametrize(("name", "answer", "words"), CASES)
def test_wrong(name, answer, words):
    verdict = getattr(check, name).verdict(answer)
    assert verdict.mark is Mark.WRONG
    assert words in verdict.message
    assert "\n" not in verdict.message


def named(part):
    return {symptom: CASES_BY_SYMPTOM[symptom][0] for symptom in PARTS[part]}


@pytest.mark.parametrize("part", PARTS)
def test_the_suspects_of_a_part_are_named_together(part):
    exercise = getattr(check, part)
    assert exercise.verdict(...).mark is Mark.OPEN
    assert exercise.verdict(named(part)).mark is Mark.RIGHT
    lower = {symptom: f" {letter.lower()} " for symptom, letter in named(part).items()}
    assert exercise.verdict(lower).mark is Mark.RIGHT
    for nonsense in ("D", 4, [], {"last": "D"}):
        assert exercise.verdict(nonsense).mark is Mark.WRONG


@pytest.mark.parametrize(
    ("part", "symptom"), [(part, one) for part in PARTS for one in PARTS[part]]
)
def test_a_wrong_suspect_is_told_with_its_symptom(part, symptom):
    letter, question = CASES_BY_SYMPTOM[symptom]
    count = len(PARTS[part])
    for other in set(bugs.SUSPECTS) - {letter}:
        verdict = getattr(check, part).verdict(named(part) | {symptom: other})
        assert verdict.mark is Mark.WRONG
        assert verdict.message == (
            f"{count - 1} of {count} are right; {symptom}: {other} ({bugs.SUSPECTS[other]}) does "
            f"not explain {question}"
        )
    for nonsense in ("Z", 4, None):
        verdict = getattr(check, part).verdict(named(part) | {symptom: nonsense})
        assert "none of the letters A to P" in verdict.message


def test_a_suspect_that_is_still_open_is_told_in_words():
    message = check.suspects_loss.verdict(named("suspects_loss") | {"tenth": ...}).message
    assert message == "tenth: a ellipsis is none of the letters A to P in the list of suspects"


def test_each_suspect_is_guilty_of_one_thing_at_most():
    letters = [letter for letter, _ in GUILTY]
    assert len(set(letters)) == len(letters) == len(bugs.SUSPECTS) - 2
