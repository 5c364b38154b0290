"""The exercises of notebook 07 on losses and scores: the mended functions."""

import numpy as np

from utils.exercises.exercise import Case, Exercise
from utils.exercises.inputs import Classifier
from utils.exercises.judges import any_number, member


def _focal_judge(output) -> str | None:
    losses = np.asarray(output, dtype=float)
    if losses.shape != FOCAL_INDEX.shape:
        return f"you return shape {losses.shape} for {len(FOCAL_INDEX)} images; give one loss each"
    if not np.isfinite(losses).all():
        return "a loss is no number"
    if abs(losses[-1]) > 1e-5:
        return f"an image that is all right has a loss of {losses[-1]:.2g}, where 0 is wanted"
    slopes = -np.diff(losses) / np.diff(FOCAL_INDEX)
    if (slopes[:-1] < -1e-9).any():
        return "an image that is more right has a higher loss"
    hard, easy = slopes[0], slopes[-3]
    if easy > 1.001 * hard:
        return (
            f"the loss is {easy / hard:.1f} times as steep near an index of 0.9 as near 0.1: "
            "training attends to the images that are nearly right"
        )
    if easy > 0.999 * hard:
        return "the loss is as steep near an index of 0.9 as near 0.1: no image counts more"
    return None


FOCAL_INDEX = np.array([0.1, 0.2, 0.5, 0.8, 0.9, 0.99, 0.9999, 1.0])


def _single_judge(output) -> str | None:
    loss = float(output)
    return None if abs(loss - 1) < 1e-5 else f"the loss is {loss:.2g}, where 1 is wanted"


mend_focal = Exercise(
    "mend_focal",
    "07",
    (
        Case("an index from 0.1 to 1", (FOCAL_INDEX,), _focal_judge),
        Case("an image that is all wrong", (0.0,), _single_judge),
    ),
)


def _blobs(*areas: int) -> np.ndarray:
    """Return one mask (10 x 10, float) for each area in pixels."""
    masks = np.zeros((len(areas), 100))
    for mask, area in zip(masks, areas, strict=True):
        mask[:area] = 1
    return masks.reshape(-1, 10, 10)


def _tversky(truth: np.ndarray, prediction: np.ndarray, alpha: float, beta: float) -> float:
    hits = (truth * prediction).sum()
    misses, false_alarms = truth.sum() - hits, prediction.sum() - hits
    return (hits + 1) / (hits + alpha * misses + beta * false_alarms + 1)


def _tversky_judge(truths, predictions, alpha, beta):
    each = [_tversky(*pair, alpha, beta) for pair in zip(truths, predictions, strict=True)]
    pooled = _tversky(truths, predictions, alpha, beta)
    of_tumours = [index for index, truth in zip(each, truths, strict=True) if truth.any()]

    def judge(output) -> str | None:
        values = np.asarray(output, dtype=float)
        if values.shape != ():
            return f"you return {values.size} values; give their mean"
        if np.isclose(values, np.mean(each)):
            return None
        if np.isclose(values, np.mean(of_tumours)):
            return (
                f"you return {values:.2f}, the mean over the images with tumour; an image without, "
                "in which nothing is drawn, counts 1"
            )
        if np.isclose(values, pooled):
            return (
                f"you return {values:.2f}, one ratio of all pixels, in which a large tumour hides "
                "the small ones that were missed"
            )
        return f"you return {values:.2f}, which is not the mean over the images"

    return judge


def _tversky_case(said, truths, predictions, alpha=0.7, beta=0.3) -> Case:
    arguments = (truths, predictions, alpha, beta)
    return Case(said, arguments, _tversky_judge(*arguments))


mend_tversky = Exercise(
    "mend_tversky",
    "07",
    (
        _tversky_case("a large tumour found and three small ones missed",
                      _blobs(80, 3, 2, 4), _blobs(80, 0, 0, 0)),
        _tversky_case("the same with alpha 0.2 and beta 0.8",
                      _blobs(80, 3, 2, 4), _blobs(90, 0, 5, 9), 0.2, 0.8),
        _tversky_case("an empty mask left empty beside a missed tumour",
                      _blobs(0, 20), _blobs(0, 0)),
        _tversky_case("a batch of one image", _blobs(10), _blobs(5)),
    ),
)  # fmt: skip


def _report_judge(dice: np.ndarray, tumour: np.ndarray, predicted: np.ndarray):
    there = tumour > 0
    right = dice[there].mean() if there.any() else np.nan
    alarms = (predicted[~there] > 0).mean() if not there.all() else np.nan

    def judge(output) -> str | None:
        for name in ("dice", "slices"):
            if name not in output:
                return f"your report has no '{name}'"
        for name in ("dice", "slices", "false_positives"):
            fault = member(any_number, output[name]) if name in output else None
            if fault is not None:
                return f"{name}: {fault}"
        given = float(output["dice"])
        if not np.isclose(given, right, equal_nan=True):
            if np.isnan(right):
                return f"your dice is {given:.2f}, though there is no tumour to outline: say nan"
            return (
                f"your dice is {given:.2f} for {there.sum()} slices with tumour and "
                f"{(~there).sum()} without; only outlines of tumours are to count, as they are"
            )
        if float(output["slices"]) != there.sum():
            return f"you say {output['slices']} slices, but {there.sum()} have a tumour"
        if "false_positives" not in output:
            return "the report says nothing of the tumour-free slices: add `false_positives`"
        if not np.isclose(float(output["false_positives"]), alarms, equal_nan=True):
            return (
                f"your false_positives is {float(output['false_positives']):.2f}; it should be "
                "the share of the tumour-free slices in which something was drawn (nan if there "
                "are none)"
            )
        return None

    return judge


def _report_case(said: str, *slices: tuple[int, int, int]) -> Case:
    """Return a case from traced, predicted and overlapping pixels of each slice."""
    tumour, predicted, overlap = np.transpose(slices)
    total = tumour + predicted
    # 1 for two empty masks, as the broken report has it: what the mended one leaves out.
    dice = np.where(total > 0, 2 * overlap / np.maximum(total, 1), 1.0)
    arguments = (dice, tumour, predicted)
    return Case(said, arguments, _report_judge(*arguments))


mend_report = Exercise(
    "mend_report",
    "07",
    (
        _report_case("two tumours half found and one false positive in four slices",
                     (10, 5, 5), (20, 10, 10), (0, 7, 0), (0, 0, 0), (0, 0, 0), (0, 0, 0)),
        _report_case("two tumours missed and six tumour-free slices left empty",
                     (9, 0, 0), (20, 0, 0), *[(0, 0, 0)] * 6),
        # Dice 1, 2/3 and 1/4, of which mean and median differ.
        _report_case("slices that all have a tumour", (10, 10, 10), (20, 10, 10), (30, 10, 5)),
        _report_case("slices without any tumour", (0, 0, 0), (0, 3, 0)),
    ),
)  # fmt: skip


def _accuracy_judge(right: np.ndarray, batch_size: int):
    whole = len(right) // batch_size * batch_size

    def judge(output) -> str | None:
        value = float(output)
        if np.isclose(value, right.mean()):
            return None
        if (not whole and np.isnan(value)) or (whole and np.isclose(value, right[:whole].mean())):
            return (
                f"you return {value:.2f}, and the last {len(right) - whole} of {len(right)} "
                "images are left out"
            )
        return (
            f"you return {value:.2f}, but {right.sum()} of {len(right)} images are right; every "
            "image counts once, and nothing else counts"
        )

    return judge


def _accuracy_case(said: str, right: list[bool], batch_size: int) -> Case:
    # What is predicted is the first pixel of each image: that of every third one is dark.
    predicted = np.arange(len(right)) % 3 != 1
    images = np.ones((len(right), 2, 2))
    images[:, 0, 0] = predicted
    labels = predicted == np.array(right)
    arguments = (Classifier(batch_size), images, labels, batch_size)
    return Case(said, arguments, _accuracy_judge(np.array(right), batch_size))


mend_batches = Exercise(
    "mend_batches",
    "07",
    (
        _accuracy_case("10 images in batches of 4", [True] * 8 + [False] * 2, 4),
        _accuracy_case("8 images in batches of 4", [True] * 6 + [False] * 2, 4),
        _accuracy_case("3 images in batches of 16", [True, False, False], 16),
        _accuracy_case("9 images in batches of 8", [True] * 8 + [False], 8),
        _accuracy_case("5 images in batches of 2", [True, False, True, True, False], 2),
    ),
)


def _accuracy(labels: np.ndarray, scores: np.ndarray, threshold: float) -> float:
    return float(((scores >= threshold) == labels).mean())


def _tuned_judge(validation: tuple, test: tuple):
    best = max(_accuracy(*validation, score) for score in validation[1])
    best_on_test = max(_accuracy(*test, score) for score in test[1])

    def judge(output) -> str | None:
        threshold, accuracy = (float(each) for each in output)
        on_validation = _accuracy(*validation, threshold)
        if on_validation < best - 1e-9:
            chosen_on_test = np.isclose(_accuracy(*test, threshold), best_on_test)
            reason = "; it was chosen where it is tested" if chosen_on_test else ""
            return (
                f"your threshold is right in {on_validation:.2f} of the validation slices, and "
                f"another in {best:.2f}{reason}"
            )
        if not np.isclose(validation[1], threshold, rtol=0, atol=1e-9).any():
            return (
                f"your threshold {threshold:g} is none of the validation scores; candidates are "
                "the scores themselves"
            )
        if not np.isclose(accuracy, _accuracy(*test, threshold)):
            return (
                f"you report {accuracy:.2f}, but on the test slices your threshold is right in "
                f"{_accuracy(*test, threshold):.2f}"
            )
        return None

    return judge


def _tuned_case(said: str, validation: tuple, test: tuple) -> Case:
    validation, test = (tuple(map(np.array, each)) for each in (validation, test))
    return Case(said, (validation, test), _tuned_judge(validation, test))


_TRUTH = [False, False, False, True, True]

mend_threshold = Exercise(
    "mend_threshold",
    "07",
    (
        _tuned_case("test scores that lie lower than validation scores",
                    (_TRUTH, [0.1, 0.2, 0.5, 0.6, 0.9]), (_TRUTH, [0.1, 0.2, 0.25, 0.3, 0.7])),
        _tuned_case("test scores that lie higher than validation scores",
                    (_TRUTH, [0.1, 0.2, 0.25, 0.3, 0.7]), (_TRUTH, [0.1, 0.2, 0.5, 0.6, 0.9])),
        _tuned_case("parts of different size",
                    (_TRUTH, [0.1, 0.2, 0.5, 0.6, 0.9]), ([True, False], [0.55, 0.65])),
    ),
)  # fmt: skip


def _examples_judge(dice: np.ndarray, count: int):
    def judge(output) -> str | None:
        given = np.asarray(list(output))
        if len(given) and given.dtype.kind not in "iu":
            return f"you return {given.dtype}; the numbers of rows are whole numbers"
        rows = [int(row) for row in given]
        wanted = min(count, len(dice))
        if len(set(rows)) != len(rows):
            return "you show a slice more than once"
        if len(rows) != wanted:
            return f"you show {len(rows)} different slices, where {wanted} are wanted"
        if not set(rows) <= set(range(len(dice))):
            return "you show slices that do not exist"
        shown, low = dice[rows], float(np.min(dice))
        if shown.min() > low:
            return (
                f"the worst slice shown has Dice {shown.min():.2f}, the worst there is "
                f"{low:.2f}: nobody sees the failures"
            )
        if shown.max() < dice.max():
            return f"the best slice, Dice {dice.max():.2f}, is not shown"
        if abs(shown.mean() - dice.mean()) > 0.1:
            return (
                f"the slices shown have a mean Dice of {shown.mean():.2f}, all of them "
                f"{dice.mean():.2f}"
            )
        ranks = np.sort(np.argsort(np.argsort(dice))[rows])
        if wanted > 1 and np.abs(np.diff(ranks) - (len(dice) - 1) / (wanted - 1)).max() > 1.01:
            return (
                "sorted from worst to best, the slices shown have the places "
                f"{', '.join(str(rank + 1) for rank in ranks)} of {len(dice)}; spread them evenly"
            )
        return None

    return judge


def _examples_case(said: str, dice: np.ndarray, count: int) -> Case:
    return Case(said, (dice, count), _examples_judge(dice, count))


_EVEN = np.random.default_rng(0).permutation(np.linspace(0, 1, 41))

mend_gallery = Exercise(
    "mend_gallery",
    "07",
    (
        _examples_case("41 slices with Dice from 0 to 1 and room for 5", _EVEN, 5),
        _examples_case("slices that are mostly good and room for 6", 1 - _EVEN**3, 6),
        _examples_case("3 slices and room for 6", np.array([0.9, 0.1, 0.6]), 6),
    ),
)

EXERCISES = (mend_focal, mend_tversky, mend_report, mend_batches, mend_threshold, mend_gallery)
