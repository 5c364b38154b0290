"""The exercises of notebook 02 refuse what students typically write, and say which input shows it.

That the solutions pass is shown by tests/notebooks/test_exercises.py.
"""

import numpy as np
import pytest
from sklearn import metrics
from sklearn.linear_model import LogisticRegression

from utils import check
from utils.config import ROOT
from utils.course.run import assignments
from utils.evaluation import calibration, detection
from utils.exercises.exercise import Mark
from utils.exercises.topics import detect

MEAN = np.array(detect.IMAGENET_MEAN)


def pairs_of(labels, scores):
    return [(a, b) for a in scores[labels == 1] for b in scores[labels == 0]]


def share_won(labels, scores, tie):
    pairs = pairs_of(labels, scores)
    if not pairs:
        return float("nan")
    return sum(1 if a > b else tie if a == b else 0 for a, b in pairs) / len(pairs)


def guessing_alone(labels, scores):
    pairs = pairs_of(labels, scores)
    return share_won(labels, scores, 0.5) if pairs else 0.5


def unguarded(labels, scores):
    return sum((a > b) + (a == b) / 2 for a, b in pairs_of(labels, scores)) / len(
        pairs_of(labels, scores)
    )


def within_0_and_1(labels, scores):
    return share_won(labels, np.clip(scores, 0, 1), 0.5)


def whole_numbers(images):
    return (images - MEAN.astype(np.uint8))[..., ::-1].astype(float)


def by_counting(labels, probabilities, sensitivity, count):
    found = np.sort(probabilities[labels == 1])[::-1]
    if len(found) == 0:
        raise ValueError("no slice with tumour")
    return found[max(1, count(sensitivity * len(found))) - 1]


def once(labels, probabilities):
    found = np.unique(probabilities[labels == 1])
    return np.ones(len(found)), found


def grid(labels, probabilities, sensitivity, step=0.25):
    if not labels.any():
        raise ValueError("no slice with tumour")
    for threshold in np.round(np.arange(1, 0, -step), 2):
        if (probabilities[labels == 1] >= threshold).mean() >= sensitivity:
            return threshold
    return 0.0


def both(labels, flagged):
    labels, flagged = labels.astype(bool), flagged.astype(bool)
    with np.errstate(all="ignore"):
        return (
            np.sum(labels & flagged) / labels.sum(),
            np.sum(~labels & ~flagged) / np.sum(~labels),
        )


def from_flagged(labels, flagged):
    labels, flagged = labels.astype(bool), flagged.astype(bool)
    return labels[flagged].mean(), (~labels[~flagged]).mean()


def bins_of(labels, probabilities, bins, order=True):
    rows = np.argsort(probabilities) if order else np.arange(len(probabilities))
    return [
        (len(part), probabilities[part].mean() - labels[part].mean())
        for part in np.array_split(rows, bins)
        if len(part)
    ]


def equally_wide(labels, probabilities, bins):
    places = np.minimum((probabilities * bins).astype(int), bins - 1)
    return sum(
        abs(probabilities[places == each].mean() - labels[places == each].mean())
        * (places == each).mean()
        for each in np.unique(places)
    )


def with_empty_bins(labels, probabilities, bins):
    order, error = np.argsort(probabilities), 0.0
    for part in np.array_split(order, bins):
        gap = (probabilities[part].sum() - labels[part].sum()) / np.float64(len(part))
        error += abs(gap) * len(part) / len(order)
    return error


def weighted(gaps, absolute=abs):
    return sum(count * absolute(gap) for count, gap in gaps) / sum(count for count, _ in gaps)


def detector_of(
    base, freeze=True, pooling="GlobalMaxPooling2D", activation=None, whole=False, use_bias=True
):
    """Return what a student builds on a base, with one thing wrong or none."""
    import keras

    layers = keras.layers
    base.trainable = not freeze
    x = getattr(layers, pooling)()(base.output)
    dense = layers.Dense(1, activation=activation, use_bias=use_bias)
    model = keras.Model(base.input, dense(x))
    model.trainable = not whole
    return model


def weighed_first(base):
    import keras

    base.trainable = False
    logits = keras.layers.Dense(1)(base.output)
    return keras.Model(base.input, keras.layers.GlobalMaxPooling2D()(logits))


def with_operation(name, after=False):
    """Return a function that pools by an operation of `keras.ops`, or weighs the maps before."""

    def answer(base):
        import keras

        base.trainable = False
        dense, pool = keras.layers.Dense(1), getattr(keras.ops, name)
        steps = [dense, lambda x: pool(x, axis=(1, 2))]
        x = base.output
        for step in steps if after else steps[::-1]:
            x = step(x)
        return keras.Model(base.input, x)

    return answer


def sigmoid_behind(base):
    import keras

    model = detector_of(base)
    return keras.Model(model.input, keras.ops.sigmoid(model.output))


def nested(base):
    import keras

    base.trainable = False
    head = keras.Sequential([keras.layers.GlobalMaxPooling2D(), keras.layers.Dense(1)])
    return keras.Sequential([base, head])


def by_regression(features, labels, penalty):
    """Return what scikit-learn's regression, which is one dense layer, makes of the features."""
    C = 1 / (2 * len(labels) * max(penalty, 1e-3))
    model = LogisticRegression(C=C, max_iter=1000).fit(features, labels)
    return model.predict_proba(features)[:, 1]


def in_bfloat16(features, labels, penalty):
    """Return the same with every intermediate result cut to the eight bits of a bfloat16."""

    def cut(values):
        bits = np.asarray(values, dtype=np.float32).view(np.uint32) & 0xFFFF0000
        return bits.view(np.float32)

    probabilities = by_regression(features, labels, penalty)
    logits = cut(np.log(probabilities / (1 - probabilities)))
    return cut(1 / cut(1 + cut(np.exp(-logits))))


def head_of(features, labels, penalty, epochs=40, logits=False):
    import keras

    dense = keras.layers.Dense(1, kernel_regularizer=keras.regularizers.L2(penalty))
    model = keras.Sequential([keras.Input((features.shape[1],)), dense])
    loss = keras.losses.BinaryCrossentropy(from_logits=True)
    model.compile(optimizer=keras.optimizers.Adam(0.05), loss=loss)
    if epochs:
        model.fit(features, labels[:, None], epochs=epochs, verbose=0)
    found = model.predict(features, verbose=0)[:, 0]
    return found if logits else 1 / (1 + np.exp(-found))


WRONG = {
    "auc_from_pairs": {
        "a tie is lost": (1890 / 2100, "a tie as if it were lost"),
        "a tie is won": (1950 / 2100, "a tie as if it were won"),
        "without ties": (1890 / 2040, "leaves the ties out"),
        "all pairs": (1920 / (100 * 99 / 2), "pairs of two tumour slices"),
        "a count": (1920, "a number of pairs"),
        "percent": (91.4, "in percent"),
        "percent, rounded": (91, "in percent"),
        "the wrong order": (180 / 2100, "the share of pairs in the wrong order"),
        "by slices": (1920 / 100, "30 meet 70"),
        "one decimal too few": (0.92, "too high"),
    },
    "area_under_roc": {
        "a tie is lost": (lambda y, s: share_won(y, s, 0), "equal scores you return 0: a tie"),
        "a tie is won": (lambda y, s: share_won(y, s, 1), "equal scores you return 1: a tie"),
        "swapped": (lambda y, s: share_won(1 - y, s, 0.5), "pairs won and lost are swapped"),
        "a guess": (guessing_alone, "without tumour only you return 0.5: that says"),
        "0 / 0": (unguarded, "without tumour only it stops with ZeroDivisionError"),
        "within 0 and 1": (within_0_and_1, "for scores that may be negative you return"),
        "never below 0.5": (
            lambda y, s: max(share_won(y, s, 0.5), 1 - share_won(y, s, 0.5)),
            "an AUC may lie below 0.5",
        ),
        "rounded scores": (
            lambda y, s: share_won(y, s.round(2), 0.5),
            "for scores that differ little you return",
        ),
        "accuracy": (lambda y, s: ((s > 0.5) == (y == 1)).mean(), "for a tumour slice below"),
    },
    "prepare_for_resnet": {
        "/ 255": (lambda images: images / 255, "you divide by 255"),
        "red first": (lambda images: images - MEAN, "you leave the channels red"),
        "means of the others": (lambda images: images[..., ::-1] - MEAN, "off blue"),
        "means alone": (lambda images: images - MEAN[::-1], "but not the channels, the last axis"),
        "no mean": (lambda images: images[..., ::-1].astype(float), "you leave the means in"),
        "upside down": (lambda images: (images - MEAN)[:, ::-1], "for one pixel"),
        "mirrored": (lambda images: images[:, :, ::-1] - MEAN[::-1], "not the channels"),
        "wrapped": (whole_numbers, "you return 97 at"),
        "clipped": (
            lambda images: np.clip((images - MEAN)[..., ::-1], 0, 255),
            "you lose the values below 0",
        ),
        "one picture": (lambda images: (images - MEAN)[0, ..., ::-1], "you return the shape"),
    },
    "frozen_detector": {
        "not frozen": (
            lambda base: detector_of(base, freeze=False),
            "a bias: what else is trained?",
        ),
        "all frozen": (lambda base: detector_of(base, whole=True), "nothing is left to train"),
        "a mean": (
            lambda base: detector_of(base, pooling="GlobalAveragePooling2D"),
            "the mean over the places",
        ),
        "every place": (lambda base: detector_of(base, pooling="Flatten"), "would change 393"),
        "a probability": (lambda base: detector_of(base, activation="sigmoid"), "a logit has none"),
        "weighed first": (weighed_first, "you weigh the maps before you take the maximum"),
        "a mean of keras.ops": (with_operation("mean"), "the mean over the places"),
        "a sum of keras.ops": (with_operation("sum"), "the maximum of each map is asked for"),
        "weighed before keras.ops": (with_operation("max", after=True), "you weigh the maps"),
        "a probability of keras.ops": (sigmoid_behind, "ends in the activation sigmoid"),
        "no bias": (lambda base: detector_of(base, use_bias=False), "8 numbers"),
        "the base": (lambda base: base, "ends in the shape"),
    },
    "fit_head": {
        "logits": (lambda *given: head_of(*given, logits=True), "a sigmoid makes logits"),
        "no training": (lambda *given: head_of(*given, epochs=0), "hardly told apart"),
        "the labels": (lambda x, y, penalty: 0.1 + 0.8 * y, "yours does something else"),
        "0 and 1": (lambda x, y, penalty: y, "nothing but 0 and 1"),
        "the other kind": (
            lambda *given: 1 - by_regression(*given),
            "the slices with label 1 get the low probabilities",
        ),
        "curved": (
            lambda x, y, penalty: by_regression(x**3, y, penalty),
            "yours does something else",
        ),
        "no penalty": (lambda x, y, penalty: head_of(x, y, 0.0), "does not reach the layer"),
        "a column": (lambda *given: head_of(*given)[:, None], "the shape (60, 1), not (60,)"),
    },
    "penalty_readings": {
        "stronger is better": ("abc", "you take (c): look at the strongest"),
        "best everywhere": ("abde", "you take (e): ten patients"),
        "one missing": ("ab", "one that the numbers support is missing: look at the strongest"),
        "no sentence": ("", "is missing: compare the two curves"),
        "another letter": ("abz", "you name 'z'"),
    },
    "threshold_for": {
        "rounded down": (lambda y, p, s: by_counting(y, p, s, int), "only 1 of the 3"),
        "all": (lambda y, p, s: p[y == 1].min(), "a higher threshold reaches"),
        "0": (lambda y, p, s: 0.0, "a higher threshold reaches"),
        "over all slices": (lambda y, p, s: np.quantile(p, 1 - s), "a higher threshold"),
        "specificity": (lambda y, p, s: np.quantile(p[y == 0], s), "flags only"),
        "a grid": (grid, "a higher threshold"),
        "a fine grid": (
            lambda y, p, s: grid(y, p, s, 0.01),
            "for a probability of 0.7318 you return 0.73: a higher threshold",
        ),
        "rounded": (
            lambda y, p, s: by_counting(y, p, s, round),
            "for three tumour slices and sensitivity 0.4 you return 0.9: it flags only 1",
        ),
        "each value once": (
            lambda y, p, s: by_counting(*once(y, p), s, lambda n: int(np.ceil(n))),
            "for three equal probabilities of five you return 0.1: a higher threshold",
        ),
        "an error that is returned": (
            lambda y, p, s: course_threshold(y, p, s) if y.any() else ValueError("none"),
            "for no slice with tumour you return a ValueError; raise it",
        ),
        "no tumour": (
            lambda y, p, s: by_counting(y, p, s, lambda n: int(np.ceil(n))) if y.any() else 0.5,
            "for no slice with tumour you return 0.5; refuse it",
        ),
    },
    "sensitivity_specificity": {
        "swapped": (lambda y, f: both(y, f)[::-1], "the wrong way round"),
        "false alarms": (lambda y, f: (both(y, f)[0], 1 - both(y, f)[1]), "not left alone"),
        "missed": (lambda y, f: (1 - both(y, f)[0], both(y, f)[1]), "missed, not found"),
        "precision": (from_flagged, "for ten slices you divide by how many were flagged"),
        "0 for nothing": (
            lambda y, f: np.nan_to_num(both(y, f)),
            "no slice with tumour you return 0; decide what it should be and say why (sens",
        ),
        "1 for nothing": (
            lambda y, f: np.nan_to_num(both(y, f), nan=1.0),
            "no slice with tumour you return 1; decide what it should be and say why (sens",
        ),
        "~ of whole numbers": (
            lambda y, f: ((y & f).sum() / y.sum(), (~y & ~f).sum() / (~y).sum()),
            "too high (specificity)",
        ),
        "one number": (lambda y, f: both(y, f)[0], "you return a float64"),
        "a dictionary": (
            lambda y, f: dict(zip(("sensitivity", "specificity"), both(y, f), strict=True)),
            "you return a dict, which is not the kind of value asked for, 2 numbers",
        ),
    },
    "calibration_error": {
        "signed": (lambda y, p, b: weighted(bins_of(y, p, b), float), "a gap up and a gap down"),
        "one bin": (lambda y, p, b: abs(p.mean() - y.mean()), "a gap up and a gap down"),
        "largest": (lambda y, p, b: max(abs(g) for _, g in bins_of(y, p, b)), "the largest gap"),
        "unsorted": (lambda y, p, b: weighted(bins_of(y, p, b, order=False)), "sort first"),
        "labels unsorted": (
            lambda y, p, b: weighted(bins_of(y, np.sort(p), b)),
            "for slices in no order you return 0.775: the labels no longer belong",
        ),
        "probabilities unsorted": (
            lambda y, p, b: weighted(bins_of(y[np.argsort(p)], p, b, order=False)),
            "for slices in no order you return 0.025: the labels no longer belong",
        ),
        "each sorted by itself": (
            lambda y, p, b: weighted(bins_of(np.sort(y), np.sort(p), b)),
            "for slices in no order you return 0.225: the labels no longer belong",
        ),
        "unweighted": (
            lambda y, p, b: np.mean([abs(gap) for _, gap in bins_of(y, p, b)]),
            "for five slices in two bins you return 0.275",
        ),
        "equally wide": (equally_wide, "your bins are equally wide"),
        "empty bins": (with_empty_bins, "for three slices in ten bins you return nan: an empty"),
    },
}
CASES = [(name, what) for name, answers in WRONG.items() for what in answers]


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # what a wrong answer does to itself
@pytest.mark.parametrize(("name", "what"), CASES)
def test_typical_wrong_answers_are_refused_naming_the_case(name, what):
    answer, words = WRONG[name][what]
    verdict = getattr(check, name).verdict(answer)
    assert verdict.mark is Mark.WRONG
    assert words in verdict.message
    assert "\n" not in verdict.message


def test_every_exercise_of_the_notebook_has_wrong_answers():
    assert list(WRONG) == [each.name for each in check.ALL if each.notebook == "02"]


def binary_counts(labels, flagged):
    """Return sensitivity and specificity by scikit-learn, nan where there is nothing to find."""
    return tuple(
        metrics.recall_score(labels, flagged, pos_label=kind, zero_division=float("nan"))
        for kind in (1, 0)
    )


def course_threshold(labels, probabilities, sensitivity):
    if not labels.any():
        raise ValueError("no slice with tumour")
    return detection.threshold_at_sensitivity(labels, probabilities, sensitivity)


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("area_under_roc", detection.auc),
        ("threshold_for", course_threshold),
        ("sensitivity_specificity", binary_counts),
        ("frozen_detector", with_operation("max")),
        ("frozen_detector", nested),
        ("calibration_error", calibration.expected_calibration_error),
        ("fit_head", by_regression),
        ("fit_head", in_bfloat16),
        ("auc_from_pairs", 0.91),
    ],
)
def test_what_the_course_or_a_library_computes_is_right(name, answer):
    verdict = getattr(check, name).verdict(answer)
    assert verdict.mark is Mark.RIGHT, verdict.message


def test_the_mean_taken_off_is_that_of_the_network():
    source = (ROOT / "utils" / "models" / "resnet50.py").read_text(encoding="utf-8")
    assert assignments(source)["IMAGENET_MEAN"] == detect.IMAGENET_MEAN


def raising(*arguments):
    raise RuntimeError("no idea")


VALUES = ("auc_from_pairs", "penalty_readings")


@pytest.mark.parametrize("name", [name for name in WRONG if name not in VALUES])
@pytest.mark.parametrize("answer", [raising, lambda *given: {}, lambda *given: "0.5", "text", 0.5])
def test_nonsense_is_refused_in_one_line(name, answer):
    verdict = getattr(check, name).verdict(answer)
    assert verdict.mark is Mark.WRONG
    assert "\n" not in verdict.message


@pytest.mark.parametrize("answer", [None, "0.914", [0.914], {}])
def test_a_value_of_another_kind_is_refused(answer):
    assert "not the kind of value" in check.auc_from_pairs.verdict(answer).message


@pytest.mark.parametrize("answer", [None, 3, [1, 2], {}])
def test_readings_of_another_kind_are_refused(answer):
    assert "not the kind of value" in check.penalty_readings.verdict(answer).message


@pytest.mark.parametrize("answer", ["abd", "DBA", "a, b, d", "a+b+d", "(a)/(b)/(d)."])
def test_letters_are_read_in_any_order_and_spelling(answer):
    assert check.penalty_readings.verdict(answer).mark is Mark.RIGHT
