"""The exercises of notebook 07 on what a network is fed and which of its layers learn."""

import numpy as np

from utils.exercises.bugs import standardise
from utils.exercises.exercise import Case, Exercise
from utils.exercises.inputs import Model, doubled


def _resnet_judge(images: np.ndarray):
    mean = np.array([103.939, 116.779, 123.68])
    right = images[..., ::-1].astype(float) - mean

    def judge(output) -> str | None:
        values = np.asarray(output, dtype=float)
        if values.shape != images.shape:
            return f"you return shape {values.shape} for images of shape {images.shape}"
        if np.abs(values).max() <= 2:
            return (
                f"your values reach from {values.min():.2f} to {values.max():.2f}: to a network "
                "used to about -120 to 150 all images look like one and the same grey"
            )
        if np.allclose(values, right, atol=0.01):
            return None
        if np.allclose(values, right[..., ::-1] + (mean[::-1] - mean), atol=0.01) or np.allclose(
            values, right[..., ::-1], atol=0.01
        ):
            return "the channels come in another order than the network was trained with"
        return "the values are not those that the network was trained with; look at its docs"

    return judge


def _resnet_case(said: str, images: np.ndarray) -> Case:
    return Case(said, (images,), _resnet_judge(images))


_RAMP = np.arange(2 * 4 * 4 * 3).reshape(2, 4, 4, 3)

mend_input = Exercise(
    "mend_input",
    "07",
    (
        _resnet_case("two images of 0..255 in uint8", (_RAMP * 2).astype(np.uint8)),
        _resnet_case("a black image", np.zeros((1, 4, 4, 3), np.uint8)),
        _resnet_case("an image in float32", (_RAMP[:1] * 4).astype(np.float32)),
    ),
    seconds=30.0,  # a student may import Keras in the function
)


def _volume_judge(volume: np.ndarray):
    right = standardise(volume)

    def judge(output) -> str | None:
        answer = np.asarray(output, dtype=float)
        if volume.any() and answer.shape == volume.shape and np.allclose(answer, right):
            return "you return what the model should be given; call it, and return its answer"
        if not volume.any() and answer.shape == volume.shape and not answer.any():
            return "you answer in the model's place; a black volume is the model's to judge, too"
        seen = (answer - 1) / 2  # undoes `doubled`
        if seen.shape != volume.shape:
            return f"you return shape {seen.shape} for a volume of shape {volume.shape}"
        if not np.isfinite(seen).all():
            return "the model is given values that are no numbers"
        if volume.any() and np.allclose(seen, volume):
            return (
                f"the model is given grey levels up to {seen.max():.0f}; it was trained on values "
                "around 0, and calls everything bright tumour"
            )
        if not np.allclose(seen, right, atol=1e-4):
            return (
                "you return something else than what the model says of the whole volume after "
                "`standardise`"
            )
        return None

    return judge


def _volume_case(said: str, volume: np.ndarray) -> Case:
    return Case(said, (doubled, volume), _volume_judge(volume))


_LEVELS = np.arange(3 * 4 * 4, dtype=np.uint8).reshape(3, 4, 4)

mend_prediction = Exercise(
    "mend_prediction",
    "07",
    (
        _volume_case("a volume of three slices", _LEVELS),
        _volume_case("the same volume from a brighter scanner", _LEVELS * np.uint8(4)),
        _volume_case("a volume without a head", np.zeros((2, 4, 4), np.uint8)),
    ),
)


def _pair_judge(image: np.ndarray, mirrored: bool, turns: int):
    right = np.rot90(image, turns)
    right = right[:, ::-1] if mirrored else right

    def judge(output) -> str | None:
        moved, mask = (np.asarray(each) for each in output)
        if mask.shape != moved.shape or not np.array_equal(mask, moved > 5):
            return "the outline lies beside the tumour: image and mask are not moved alike"
        if not np.array_equal(moved, right):
            return "the image itself is not turned, then mirrored, as before"
        return None

    return judge


def _pair_case(said: str, mirrored: bool, turns: int) -> Case:
    image = np.arange(12).reshape(3, 4)
    mask = (image > 5).astype(np.uint8)
    return Case(said, (image, mask, mirrored, turns), _pair_judge(image, mirrored, turns))


mend_augmentation = Exercise(
    "mend_augmentation",
    "07",
    (
        _pair_case("an image left as it is", False, 0),
        _pair_case("an image that is mirrored", True, 0),
        _pair_case("an image turned once", False, 1),
        _pair_case("an image turned three times and mirrored", True, 3),
    ),
)


def _rows_judge(has_tumour: np.ndarray):
    def judge(output) -> str | None:
        rows = np.asarray(output)
        if rows.dtype == bool:
            return "you return True and False; the numbers of the rows are asked for"
        with_tumour, without = np.count_nonzero(has_tumour), np.count_nonzero(~has_tumour)
        if len(rows) and rows.dtype.kind not in "iu":
            return f"you return {rows.dtype}; the numbers of rows are whole numbers"
        if len(np.unique(rows)) != len(rows):
            return "some slices are taken twice"
        if len(rows) and not set(rows.tolist()) <= set(range(len(has_tumour))):
            return "there are row numbers that do not exist"
        taken = np.zeros(len(has_tumour), bool)
        taken[rows.astype(int)] = True
        if not taken[has_tumour].all():
            return f"only {taken[has_tumour].sum()} of {with_tumour} slices with tumour are used"
        wanted = min(with_tumour, without)
        if wanted and not taken[~has_tumour].any():
            return (
                "no tumour-free slice is used, so that the segmenter never learns to leave eyes, "
                "skin and skull alone"
            )
        if np.count_nonzero(taken[~has_tumour]) != wanted:
            return (
                f"{np.count_nonzero(taken[~has_tumour])} tumour-free slices are used; as many as "
                f"there are with tumour, or all if they are fewer, would be {wanted}"
            )
        return None

    return judge


def _rows_case(said: str, tumour: int, free: int, seed: int = 0) -> Case:
    has_tumour = np.random.default_rng(0).permutation([True] * tumour + [False] * free)
    return Case(said, (has_tumour, seed), _rows_judge(has_tumour))


def _other_rows(outputs: list) -> str | None:
    """Judge whether the seed decides which tumour-free slices are used (the first three)."""
    first, again, second = (set(np.asarray(output).tolist()) for output in outputs[:3])
    if first != again:
        return "seed 0 takes other tumour-free slices the second time; draw them by the seed"
    if first == second:
        return "seeds 0 and 1 take the same tumour-free slices; draw them at random"
    return None


mend_rows = Exercise(
    "mend_rows",
    "07",
    (
        _rows_case("10 slices with tumour and 30 without", 10, 30),
        _rows_case("the same once more", 10, 30),
        _rows_case("the same slices and another seed", 10, 30, seed=1),
        _rows_case("10 slices with tumour and 4 without", 10, 4),
        _rows_case("slices that all have a tumour", 6, 0),
    ),
    together=_other_rows,
)


def _freezing_judge(output) -> str | None:
    left = [bool(layer.trainable) for layer in output.layers]
    if not left[-1]:
        return "the last layer is frozen too: nothing is left to train"
    if len(left) > 1 and all(left):
        return f"all {len(left)} layers are still trainable, as the unchanged count showed"
    if any(left[:-1]):
        return f"{sum(left[:-1])} of the {len(left) - 1} layers before the last are not frozen"
    return None


mend_freezing = Exercise(
    "mend_freezing",
    "07",
    (
        Case("a model of five layers", (Model(5),), _freezing_judge),
        Case("a model of two layers", (Model(2),), _freezing_judge),
        Case("a model of one layer", (Model(1),), _freezing_judge),
    ),
    seconds=30.0,  # a student may import Keras in the function
)

EXERCISES = (
    mend_input,
    mend_prediction,
    mend_augmentation,
    mend_rows,
    mend_freezing,
)
