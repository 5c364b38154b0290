"""Exercises of notebook 02: AUC, preprocessing, a frozen network, its head, and its answers."""

import numpy as np

from utils.exercises import judges
from utils.exercises.exercise import AnotherKindError, Case, Exercise
from utils.exercises.inputs import Base, Network
from utils.exercises.readings import readings

NOTEBOOK = "02"
NAN = float("nan")
# For one input, where Keras has to build and train.
KERAS_SECONDS = 60.0
LINEAR_WITHIN = 0.04
# What the network's preprocessing takes off, in the order red, green, blue. Said here again,
# because utils.models.resnet50 loads TensorFlow; a test compares.
IMAGENET_MEAN = (123.68, 116.779, 103.939)


def _auc_from_pairs() -> Exercise:
    # 30 x 70 pairs, of which 1890 are in the right order and 60 have equal scores.
    slips = {
        0.9: "that counts a tie as if it were lost",
        1950 / 2100: "that counts a tie as if it were won",
        1890 / 2040: "that leaves the ties out; they are pairs too",
        1920 / 4950: "that counts pairs of two tumour slices and of two others among all pairs",
        1890 / 4950: "that counts pairs of two tumour slices and of two others among all pairs",
        1920.0: "that is a number of pairs, not a share of them",
        180 / 2100: "that is the share of pairs in the wrong order",
        18.9: "a pair has one slice of each kind: 30 meet 70",
        19.2: "a pair has one slice of each kind: 30 meet 70",
    }
    slips |= {round(100 * 1920 / 2100, digits): "that is in percent" for digits in (0, 1, 2)}
    # Two decimals will do, as everywhere in the notebook.
    judge = judges.number(1920 / 2100, within=5e-3, slips=slips, verb="you say")
    return Exercise("auc_from_pairs", NOTEBOOK, (Case("", (), judge),), is_function=False)


def _ordered(said: str, labels, scores, right: float, slips=None) -> Case:
    arguments = (np.array(labels), np.array(scores, dtype=float))
    return Case(said, arguments, judges.number(right, slips=slips))


def _area_under_roc() -> Exercise:
    lost, won = "a tie counts as lost", "a tie counts as won"
    only_one = {
        0.0: "that says everything is in the wrong order, but there is no pair to order",
        0.5: "that says the model guesses, but there is no pair to order",
        1.0: "that says everything is in order, but there is no pair to order",
    }
    return Exercise(
        "area_under_roc",
        NOTEBOOK,
        (
            _ordered(
                "scores in perfect order",
                [0, 0, 1, 1],
                [0.1, 0.4, 0.6, 0.9],
                1.0,
                {0.0: "pairs won and lost are swapped", 4.0: "that is a number of pairs"},
            ),
            _ordered(
                "a tumour slice below one without",
                [1, 0, 1, 0, 0],
                [0.9, 0.8, 0.7, 0.3, 0.2],
                5 / 6,
                {1 / 6: "pairs won and lost are swapped"},
            ),
            _ordered(
                "scores in the wrong order",
                [1, 0, 1, 0],
                [0.2, 0.7, 0.1, 0.8],
                0.0,
                {1.0: "every pair is in the wrong order, and an AUC may lie below 0.5"},
            ),
            _ordered("two equal scores", [1, 0], [0.5, 0.5], 0.5, {0.0: lost, 1.0: won}),
            _ordered(
                "one tie among four pairs",
                [1, 1, 0, 0],
                [0.9, 0.4, 0.4, 0.1],
                0.875,
                {0.75: lost, 1.0: won},
            ),
            _ordered(
                "scores that differ little",
                [1, 0, 1],
                [0.8104, 0.8102, 0.8103],
                1.0,
                {0.5: "what differs by little is no tie"},
            ),
            _ordered("scores that may be negative", [1, 0, 1], [-3.0, -5.0, 2.0], 1.0),
            _ordered("slices without tumour only", [0, 0, 0], [0.2, 0.9, 0.4], NAN, only_one),
            _ordered("slices with tumour only", [1, 1], [0.2, 0.9], NAN, only_one),
        ),
    )


def _prepare_for_resnet() -> Exercise:
    one = np.array([[[[100, 150, 200]]]], dtype=np.uint8)
    black = np.zeros((1, 2, 2, 3), dtype=np.uint8)
    several = np.arange(2 * 2 * 4 * 3).reshape(2, 2, 4, 3) * 5.0
    return Exercise(
        "prepare_for_resnet",
        NOTEBOOK,
        (
            _pictures("one pixel of red 100, green 150, blue 200", one),
            _pictures("a black picture", black),
            _pictures("two pictures of 2 x 4 pixels", several.astype(np.uint8)),
            _pictures("float pictures", several.astype(np.float32) / 2 + 0.25),
        ),
    )


def _pictures(said: str, images: np.ndarray) -> Case:
    values, mean = images.astype(float), np.array(IMAGENET_MEAN)
    right = (values - mean)[..., ::-1]
    slips = [
        (values - mean, "you leave the channels red, green, blue"),
        (values[..., ::-1] - mean, "you take the mean of red off blue; which step comes first?"),
        (values / 255, "you divide by 255, which this network was not trained on"),
        ((values / 255)[..., ::-1], "you divide by 255, which this network was not trained on"),
        (right / 255, "you divide by 255, which this network was not trained on"),
        (values[..., ::-1], "you leave the means in"),
        (values - mean[::-1], "you turn the means round, but not the channels, the last axis"),
        (
            np.clip(right, 0, None),
            "you lose the values below 0; what is darker than the mean is below",
        ),
        ((values - mean)[:, ::-1], "you turn the pictures upside down; the last axis is the one"),
        ((values - mean)[:, :, ::-1], "you mirror the pictures; the last axis is the one"),
        ((values - mean)[::-1], "you reverse the order of the pictures; the last axis is the one"),
    ]
    return Case(said, (images,), judges.array(right, within=0.01, slips=slips))


def _frozen_detector() -> Exercise:
    cases = tuple(
        Case(f"a base of {maps} feature maps", (Base(side, maps),), _network_judge(maps))
        for side, maps in ((16, 8), (20, 5))
    )
    return Exercise("frozen_detector", NOTEBOOK, cases, seconds=KERAS_SECONDS)


def _network_judge(maps: int) -> judges.Judge:
    def judge(output):
        if not isinstance(output, Network):
            raise TypeError
        if output.output_shape != (None, 1):
            return f"your network ends in the shape {output.output_shape}, not (None, 1)"
        if output.trained == 0:
            return "nothing is left to train: freeze the base, not the whole network"
        if any("Average" in layer or layer == "Mean" for layer in output.layers):
            return "you take the mean over the places: a small tumour in one of them hardly counts"
        if output.trained != maps + 1:
            return (
                f"training would change {output.trained} numbers; the last layer has {maps} "
                "weights and a bias: what "
                + ("else is trained?" if output.trained > maps + 1 else "is missing?")
            )
        pooled = {"Sum", "Min", "GetItem"} & set(output.layers)
        if pooled and not any("Max" in layer for layer in output.layers):
            return f"the maximum of each map is asked for, not {min(pooled)}"
        if any("Max" in layer for layer in output.layers[_place(output.layers, "Dense") :]):
            return "you weigh the maps before you take the maximum; of each map it is asked for"
        activation = output.activation or output.layers[-1].lower()
        if activation in ("sigmoid", "softmax", "tanh", "relu"):
            return f"your network ends in the activation {activation}; a logit has none"
        return None

    return judge


def _place(layers: list[str], name: str) -> int:
    """Return where a layer stands last, or how many there are if it is not among them."""
    return max((place for place, layer in enumerate(layers) if layer == name), default=len(layers))


def _fit_head() -> Exercise:
    random = np.random.default_rng(0)
    labels = np.arange(60) % 3 == 0
    features = random.normal(size=(60, 4)) + np.array([3.0, 0, 0, 0]) * labels[:, None]
    given = features.astype("float32"), labels.astype("float32")
    return Exercise(
        "fit_head",
        NOTEBOOK,
        (
            Case("60 slices and no penalty", (*given, 0.0), _probabilities(*given, strong=False)),
            Case("a penalty of 10", (*given, 10.0), _probabilities(*given, strong=True)),
        ),
        seconds=KERAS_SECONDS,
    )


def _probabilities(features: np.ndarray, labels: np.ndarray, strong: bool) -> judges.Judge:
    labels = labels.astype(bool)

    def judge(output):
        values = np.asarray(output, dtype=float)
        if values.shape != labels.shape:
            return f"you return the shape {values.shape}, not {labels.shape}"
        if not (values >= 0).all() or not (values <= 1).all():
            return "not all values lie between 0 and 1; a sigmoid makes logits probabilities"
        if np.isin(values, (0, 1)).all():
            return "you return nothing but 0 and 1; probabilities are asked for"
        apart = values[labels].mean() - values[~labels].mean()
        if not strong and apart < -0.5:
            return "the slices with label 1 get the low probabilities"
        if strong and apart > 0.25:
            return "the two kinds lie as far apart as without: the penalty does not reach the layer"
        if not strong and apart < 0.5:
            return (
                "the two kinds are hardly told apart: is it trained for 40 epochs, at a rate of "
                "0.05, with a loss that expects what the layer gives?"
            )
        # A notebook may compute in bfloat16, which moves a probability by less than 0.01.
        if _not_linear(values, features) > LINEAR_WITHIN:
            return (
                "one dense layer weighs the features and adds a number; yours does something else"
            )
        return None

    return judge


def _not_linear(probabilities: np.ndarray, features: np.ndarray) -> float:
    """Return how far the probabilities are, at most, from those of one dense layer.

    Logits are compared with the nearest weighted sum of the features; p (1 - p) turns a difference
    of logits into one of probabilities, so that what is near 0 or 1, and rounded, hardly counts.
    """
    clipped = np.clip(probabilities, 1e-6, 1 - 1e-6)
    slope = clipped * (1 - clipped)
    logits = np.log(clipped / (1 - clipped))
    inputs = np.c_[features, np.ones(len(features))]
    weights = np.linalg.lstsq(inputs * slope[:, None], logits * slope)[0]
    return float((np.abs(logits - inputs @ weights) * slope).max())


def _penalty_readings() -> Exercise:
    judge = readings(
        wrong={
            "c": "look at the strongest penalty's validation column",
            "e": "ten patients and one number each, without an interval, do not carry that far",
        },
        right={
            "a": "compare the two curves without penalty at their ends",
            "b": "take the difference of the two cross-entropies in each row",
            "d": "look at the strongest penalty's cross-entropy on the training patients",
        },
    )
    return Exercise("penalty_readings", NOTEBOOK, (Case("", (), judge),), is_function=False)


def _threshold_for() -> Exercise:
    found = [0.95, 0.9, 0.85, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.1]
    others = [0.65, 0.35, 0.2, 0.05, 0.02]
    none = judges.refusal("without a tumour slice no threshold has a sensitivity")
    nothing = (np.zeros(3, dtype=int), np.array([0.2, 0.5, 0.9]), 0.9)
    return Exercise(
        "threshold_for",
        NOTEBOOK,
        (
            _highest("ten tumour slices and sensitivity 0.9", found, others, 0.9),
            _highest("ten tumour slices and sensitivity 1", found, others, 1.0),
            _highest("three tumour slices and sensitivity 0.5", [0.9, 0.6, 0.2], [0.4], 0.5),
            _highest("three tumour slices and sensitivity 0.4", [0.9, 0.6, 0.2], [0.4], 0.4),
            _highest("equal probabilities", [0.5, 0.2, 0.8, 0.5], [0.5], 0.5),
            _highest("three equal probabilities of five", [0.5, 0.9, 0.5, 0.1, 0.5], [0.3], 0.8),
            _highest("a probability of 0.7318", [0.9, 0.7318, 0.1], [0.3], 0.6),
            _highest("ten tumour slices and sensitivity 0.91", found, others, 0.91),
            _highest("tumour slices below all others", [0.2, 0.1], [0.9, 0.8, 0.7], 1.0),
            Case("no slice with tumour", nothing, none, refuses=True),
        ),
    )


def _highest(said: str, positives: list, negatives: list, sensitivity: float) -> Case:
    """Return a case that is judged by what the threshold flags."""
    probabilities = np.array(negatives + positives)
    labels = np.arange(len(probabilities)) >= len(negatives)
    asked = [value for value in positives if _share(positives, value) >= sensitivity]

    def judge(output):
        if isinstance(output, bool | str) or np.ndim(output) != 0:
            raise AnotherKindError("one number")
        value = float(output)
        if abs(value - max(asked)) < 1e-9:
            return None
        share = _share(positives, value)
        if share < sensitivity:
            count = round(share * len(positives))
            return f"you return {value:.6g}: it flags only {count} of the {len(positives)}"
        return f"you return {value:.6g}: a higher threshold reaches the sensitivity too"

    return Case(said, (labels.astype(int), probabilities, sensitivity), judge)


def _share(positives: list, threshold: float) -> float:
    return sum(value >= threshold for value in positives) / len(positives)


def _sensitivity_specificity() -> Exercise:
    def case(said, labels, flagged, right, slips=None):
        judge = judges.numbers(right, ("sensitivity", "specificity"), slips=slips)
        return Case(said, (np.array(labels), np.array(flagged)), judge)

    counted = {
        (2 / 3, 0.75): "you return the two the wrong way round",
        (0.75, 1 / 3): "you give the share of tumour-free slices flagged, not left alone",
        (0.25, 2 / 3): "you give the share of tumour slices missed, not found",
        (0.6, 0.8): "you divide by how many were flagged or not; divide by how many have tumour "
        "or have none",
        (0.3, 0.4): "you divide by all slices",
        (3.0, 4.0): "you count; divide by how many there are of each kind",
    }
    return Exercise(
        "sensitivity_specificity",
        NOTEBOOK,
        (
            case("ten slices", [1, 1, 1, 1] + [0] * 6, [1, 1, 1, 0, 1, 1, 0, 0, 0, 0],
                 (0.75, 2 / 3), counted),
            case("labels of True and False", [True, False, False], [True, False, True], (1, 0.5)),
            case("labels of True and False, flags of 0 and 1", [True, False, True, False],
                 [0, 0, 1, 0], (0.5, 1)),
            case("no slice with tumour", [0, 0, 0], [0, 1, 0], (NAN, 2 / 3)),
            case("slices with tumour only", [1, 1], [1, 0], (0.5, NAN)),
        ),
    )  # fmt: skip


def _calibration_error() -> Exercise:
    def case(said, labels, probabilities, bins, right, slips=None):
        arguments = (np.array(labels), np.array(probabilities), bins)
        return Case(said, arguments, judges.number(right, slips=slips))

    cancelled = "a gap up and a gap down cancel"
    apart = "the labels no longer belong to their probabilities; put both into one order"
    unsorted = "slices of unlike probability are in one bin; sort first"
    width = "your bins are equally wide; they should hold equally many slices"
    first = {-0.05: cancelled, 0.05: cancelled, 0.3: "that is the largest gap, not the mean"}
    return Exercise(
        "calibration_error",
        NOTEBOOK,
        (
            case("four slices in two bins", [0, 1, 0, 1], [0.1, 0.3, 0.6, 0.8], 2, 0.25, first),
            # In order 1, 0, 0, 1: gaps of 0.3 and 0.25. Labels sorted by themselves give 0.225.
            case("slices in no order", [1, 1, 0, 0], [0.9, 0.1, 0.6, 0.3], 2, 0.275,
                 {0.475: unsorted, 0.775: apart, 0.025: apart, 0.225: apart}),
            case("five slices in two bins", [0, 0, 0, 1, 0], [0.1, 0.2, 0.3, 0.8, 0.9], 2, 0.26,
                 {0.275: "the two bins do not hold equally many slices, so weigh them"}),
            case("most probabilities near 0", [0, 0, 0, 0, 1, 1],
                 [0.01, 0.02, 0.03, 0.04, 0.05, 0.95], 2, 0.17, {0.15: width}),
            case("three slices in ten bins", [0, 1, 1], [0.2, 0.4, 0.9], 10, 0.3,
                 {NAN: "an empty bin has no mean"}),
            case("probabilities that come true", [1, 0], [0.5, 0.5], 1, 0.0),
        ),
    )  # fmt: skip


EXERCISES = (
    _auc_from_pairs(),
    _area_under_roc(),
    _prepare_for_resnet(),
    _frozen_detector(),
    _fit_head(),
    _penalty_readings(),
    _threshold_for(),
    _sensitivity_specificity(),
    _calibration_error(),
)
