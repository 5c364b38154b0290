"""The exercises of notebook 08 refuse what students typically write, and say which input shows it.

That the solutions pass is shown by tests/notebooks/test_exercises.py.
"""

import numpy as np
import pytest
from answers import assert_told

from utils import check

LETTERS = np.array([list("LR"), list("PA"), list("IS")])


def letters_of(matrix):
    steepest = np.abs(matrix).argmax(axis=0)
    return "".join(
        LETTERS[row, int(matrix[row, column] > 0)] for column, row in enumerate(steepest)
    )


def scaled(values, low, high):
    return (values.astype(float) - low) * (255 / (high - low))


def by_percentiles(values):
    return scaled(values, *np.percentile(values, (0.1, 99.9)))


def eight_bits(levels):
    return np.clip(np.round(levels), 0, 255).astype(np.uint8)


def quietly(function):
    """Do it as students see it, without the warnings of a division by zero."""

    def answer(*arguments):
        with np.errstate(all="ignore"):
            return function(*arguments)

    return answer


def above(threshold):
    return lambda new, validation, rate: new > threshold(new, validation, rate)


WRONG = {
    "axis_letters": {
        "always the same": (lambda affine: "RAS", "for the axes of our example you return 'RAS'"),
        "no signs": (lambda affine: letters_of(np.abs(affine[:3, :3])), "look at the sign"),
        "the diagonal": (
            lambda affine: letters_of(np.diag(np.diag(affine)[:3])),
            "for sagittal slices",
        ),
        "rows": (lambda affine: letters_of(affine[:3, :3].T), "not a row"),
        "where it points from": (
            lambda affine: letters_of(-affine[:3, :3]),
            "for the identity you return 'LPI'",
        ),
        "a list": (lambda affine: list(letters_of(affine[:3, :3])), "you return a list"),
    },
    "to_8_bit": {
        "smallest and largest": (
            lambda values: eight_bits(scaled(values, values.min(), values.max())),
            "you let the smallest and the largest value set the scale",
        ),
        "no clipping": (
            lambda values: np.round(by_percentiles(values)).astype(np.int64).astype(np.uint8),
            "wrap around",
        ),
        "cut off": (
            quietly(lambda values: np.clip(by_percentiles(values), 0, 255).astype(np.uint8)),
            "you cut the digits after the point off",
        ),
        "from zero": (
            lambda values: eight_bits(values * (255 / np.percentile(values, 99.9))),
            "which is too",
        ),
        "the smallest value": (
            lambda values: eight_bits(
                scaled(values, values.min(), np.percentile(values, 99.9))
                if np.ptp(values)
                else np.zeros(values.shape)
            ),
            "which is too",
        ),
        "rounded up": (
            quietly(lambda values: np.ceil(np.clip(by_percentiles(values), 0, 255)).astype("u1")),
            "which is too high",
        ),
        "256 levels": (
            lambda values: eight_bits(by_percentiles(values) * (256 / 255)),
            "which is too high",
        ),
        "0 divided by 0": (
            quietly(lambda values: np.clip(by_percentiles(values), 0, 255).round()),
            "you return float64; 8 bits",
        ),
        "nan for a constant": (
            quietly(
                lambda values: (
                    eight_bits(by_percentiles(values)) if np.ptp(values) else by_percentiles(values)
                )
            ),
            "for a constant picture you return nan",
        ),
        "a constant becomes white": (
            lambda values: (
                eight_bits(by_percentiles(values))
                if np.ptp(values)
                else np.full(values.shape, 255, np.uint8)
            ),
            "for a constant picture there is nothing to see",
        ),
        "from 0 to 1": (
            lambda values: (eight_bits(by_percentiles(values)) // 255).astype(np.uint8),
            "the brightest voxel becomes 1",
        ),
        "wider percentiles": (
            lambda values: eight_bits(scaled(values, *np.percentile(values, (5, 95)))),
            "which is too",
        ),
    },
    "volume_ml": {
        "cubic millimetres": (
            lambda mask, affine: np.count_nonzero(mask) * np.linalg.det(affine[:3, :3]),
            "for 1000 voxels of 1 mm you return 1000: that is in mm3",
        ),
        "the sum of 255": (
            lambda mask, affine: mask.sum(dtype=float) * abs(np.linalg.det(affine[:3, :3])) / 1000,
            "for a mask of 0 and 255",
        ),
        "a negative volume": (
            lambda mask, affine: np.count_nonzero(mask) * np.linalg.det(affine[:3, :3]) / 1000,
            "for an axis that runs to the left you return -0.5: a volume is never negative",
        ),
        "the diagonal": (
            lambda mask, affine: np.count_nonzero(mask) * abs(np.prod(np.diag(affine)[:3])) / 1000,
            "for sagittal slices you return 0: the diagonal",
        ),
        "row lengths": (
            lambda mask, affine: (
                np.count_nonzero(mask) * np.prod(np.linalg.norm(affine[:3, :3], axis=1)) / 1000
            ),
            "for slices tilted by 20 degrees",
        ),
        "nan for nothing": (
            lambda mask, affine: (
                np.count_nonzero(mask) * abs(np.linalg.det(affine[:3, :3])) / 1000
                if mask.any()
                else np.nan
            ),
            "for an empty mask you return nan",
        ),
    },
    "flagged": {
        "what is near": (
            lambda new, validation, rate: new <= np.sort(validation)[-2],
            "you flag what is near",
        ),
        "no false alarm at all": (
            lambda new, validation, rate: ~(new <= validation.max()),
            "you let 9.5 pass",
        ),
        "at the threshold too": (
            lambda new, validation, rate: (
                new >= np.sort(validation)[len(validation) - 1 - int(rate * len(validation))]
            ),
            "and a rate of 0.1 you flag 9",
        ),
        "unsorted": (
            above(lambda new, validation, rate: validation[-1 - int(rate * len(validation))]),
            "for validation distances in any order",
        ),
        "a quantile in between": (
            above(lambda new, validation, rate: np.quantile(validation, 1 - rate)),
            "for a rate of 0.05 and ten validation slices you let 1 of 10",
        ),
        "from the new ones": (
            above(lambda new, validation, rate: np.quantile(new, 1 - rate, method="higher")),
            "you",
        ),
        "nan passes": (
            above(
                lambda new, validation, rate: np.sort(validation)[
                    len(validation) - 1 - int(rate * len(validation))
                ]
            ),
            "for a distance that is nan",
        ),
        "a number": (lambda new, validation, rate: float(max(validation)), "you return float64"),
    },
    "distance_readings": {
        "below the limit is right": ("abd", "you take (b): look in the table"),
        "the further the worse": ("acd", "you take (c): compare the skull-stripped"),
        "the rate holds elsewhere": ("ade", "you take (e): compare the row of the held-out"),
        "the photographs left out": ("d", "is missing: look at the lowest rows"),
        "the training patients left out": ("a", "is missing: look where the row of the training"),
        "nothing": ("", "one that the numbers support is missing"),
    },
}
CASES = [(name, what) for name, answers in WRONG.items() for what in answers]


@pytest.mark.parametrize(("name", "what"), CASES)
def test_typical_wrong_answers_are_refused_naming_the_case(name, what):
    answer, words = WRONG[name][what]
    assert_told(getattr(check, name), answer, [words])


def test_every_exercise_of_the_notebook_has_wrong_answers():
    assert list(WRONG) == [each.name for each in check.ALL if each.notebook == "08"]


def raising(*arguments):
    raise RuntimeError("no idea")


@pytest.mark.parametrize("name", [name for name in WRONG if name != "distance_readings"])
@pytest.mark.parametrize("answer", [raising, lambda *given: {}, lambda *given: object(), "text"])
def test_nonsense_is_refused_in_one_line(name, answer):
    assert_told(getattr(check, name), answer, [])


@pytest.mark.parametrize("answer", [None, 4, ["a", 4], {}])
def test_readings_of_another_kind_are_refused(answer):
    assert "not the kind of value" in check.distance_readings.verdict(answer).message


@pytest.mark.parametrize("answer", ["da", "a, d", "(A) (D)", ["a", "D"], {"a", "d"}])
def test_readings_may_be_written_in_several_ways(answer):
    assert check.distance_readings.verdict(answer).message == "right"


def test_a_letter_that_names_no_reading_is_told():
    assert check.distance_readings.verdict("adx").message == (
        "you name 'x'; the readings are a to e"
    )
