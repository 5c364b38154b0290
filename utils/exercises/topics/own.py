"""Exercises of notebook 08: axes, grey levels, volumes, and when to believe an answer."""

import math

import numpy as np

from utils.exercises import judges
from utils.exercises.exercise import Case, Exercise
from utils.exercises.readings import readings

NOTEBOOK = "08"
PIXEL_MM, SLICE_MM = 0.9375, 6.0


def _affine(*columns, origin=(0.0, 0.0, 0.0)) -> np.ndarray:
    """Return an affine by what one step along each axis of the array is, in mm."""
    affine = np.eye(4)
    affine[:3, :3] = np.transpose(columns)
    affine[:3, 3] = origin
    return affine


def _tilted(degrees: float) -> np.ndarray:
    """Return thick slices tipped about the axis from ear to ear."""
    cosine, sine = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    forwards, upwards = (0, 0.9 * cosine, 0.9 * sine), (0, -6 * sine, 6 * cosine)
    return _affine((-0.9, 0, 0), forwards, upwards)


SAGITTAL = _affine((0, -1.0, 0), (0, 0, -1.0), (5.0, 0, 0), origin=(-60, 80, 90))


def _axis_letters() -> Exercise:
    def case(said, affine, right, slips):
        judge = judges.text(right, what="where its three axes point", slips=slips)
        return Case(said, (affine,), judge)

    mirror = "but a step along an axis may lead backwards too: look at the sign"
    order = "but the first axis of the array need not run from left to right"
    rows = "but a step along one axis of the array is a column of the affine, not a row"
    return Exercise(
        "axis_letters",
        NOTEBOOK,
        (
            case("the identity", np.eye(4), "RAS", {}),
            case(
                "the axes of our example",
                _affine((-PIXEL_MM, 0, 0), (0, -PIXEL_MM, 0), (0, 0, SLICE_MM)),
                "LPS",
                {"RAS": mirror},
            ),
            case(
                "sagittal slices",
                SAGITTAL,
                "PIR",
                {"RAS": order, "ASR": mirror, "RPI": order, "SLP": rows},
            ),
            case("slices tilted by 20 degrees", _tilted(20), "LAS", {"LIS": rows}),
        ),
    )


def _wild() -> np.ndarray:
    values = np.linspace(0, 2000, 20_001)
    values[7], values[-7] = 1e6, -1e6  # far beyond all others, at either end
    return values


def _scaled(values, low=None, high=None):
    low, high = np.percentile(values, (0.1, 99.9)) if low is None else (low, high)
    return np.clip(np.round((values - low) * (255 / (high - low))), 0, 255)


def _to_8_bit() -> Exercise:
    def judge(values, right, constant=False):
        def verdict(output):
            output = np.asarray(output)
            if output.dtype.kind == "f" and np.isnan(output).any():
                return "you return nan: what do you divide by?"
            if output.shape != values.shape:
                return f"you return the shape {output.shape}, not {values.shape}"
            if output.dtype != np.uint8:
                return f"you return {output.dtype}; 8 bits (uint8) are asked for"
            if constant:
                return None if not output.any() else "there is nothing to see, yet you return grey"
            return _grey_fault(output.astype(int), right, values)

        return verdict

    wild = _wild()
    signed = np.arange(-1000, 3001, dtype=np.int16).reshape(1, -1)
    plain = np.linspace(0, 1, 5_001)
    return Exercise(
        "to_8_bit",
        NOTEBOOK,
        (
            Case("values from 0 to 1", (plain,), judge(plain, _scaled(plain))),
            Case("a volume with a wild voxel at either end", (wild,), judge(wild, _scaled(wild))),
            Case("values below 0 (int16)", (signed,), judge(signed, _scaled(signed))),
            Case(
                "a constant picture",
                (np.full((4, 5), 7.0),),
                judge(np.empty((4, 5)), None, constant=True),
            ),
            Case(
                "a picture of zeros",
                (np.zeros((3, 3, 3)),),
                judge(np.empty((3, 3, 3)), None, constant=True),
            ),
        ),
    )


def _alike(levels: np.ndarray, others: np.ndarray) -> bool:
    """Return whether grey levels agree, but for 1 here and there, where rounding errors decide."""
    off = np.abs(levels - others.astype(int))
    return bool(off.max() <= 1 and off.mean() <= 0.02)


def _grey_fault(output: np.ndarray, right: np.ndarray, values: np.ndarray) -> str | None:
    unclipped = (values - np.percentile(values, 0.1)) / np.ptp(np.percentile(values, (0.1, 99.9)))
    cut = np.floor(np.clip(255 * unclipped, 0, 255))
    # Nearly: where a value is whole, rounding errors decide.
    if (cut != right).mean() > 0.2 and (output == cut).mean() > 0.98:
        return "you cut the digits after the point off; round to the nearest whole number"
    if _alike(output, right):
        return None
    wrapped = np.round(255 * unclipped).astype(np.int64).astype(np.uint8)
    if _alike(output, wrapped):
        return "values outside the percentiles wrap around: clip before you convert"
    if _alike(output, _scaled(values, values.min(), values.max())):
        return "you let the smallest and the largest value set the scale; one voxel can spoil it"
    if output.max() < 250:
        return f"the brightest voxel becomes {output.max()}, not 255"
    if output.min() > 5:
        return f"the darkest voxel becomes {output.min()}, not 0"
    place = int(np.abs(output - right).argmax())
    value, expected = output.flat[place], right.flat[place]
    side = "high" if value > expected else "low"
    return f"the value {values.flat[place]:.6g} becomes {value}, which is too {side}"


def _volume_ml() -> Exercise:
    block = np.zeros((20, 20, 20), np.uint8)
    block[:10, :10, :10] = 1  # 1000 voxels

    def case(said, mask, affine, right):
        named = {
            right * 1000: "that is in mm3; 1 ml is 1000 mm3",
            right * 255: "tumour is marked by 255 here, not by 1: count voxels",
            -right: "a volume is never negative; the affine may turn an axis round",
        }
        diagonal = abs(np.prod(np.diag(affine)[:3])) * np.count_nonzero(mask) / 1000
        named[diagonal] = "the diagonal of the affine is not the size of a voxel"
        named.pop(right, None)
        return Case(said, (mask, affine), judges.number(right, within=1e-6, slips=named))

    thin = _affine((-0.5, 0, 0), (0, 0.5, 0), (0, 0, 2.0))
    tilted_ml = 1000 * 0.9 * 0.9 * 6 / 1000
    return Exercise(
        "volume_ml",
        NOTEBOOK,
        (
            case("1000 voxels of 1 mm", block, np.eye(4), 1.0),
            case("a mask of 0 and 255", block * np.uint8(255), np.diag([2.0, 2, 2, 1]), 8.0),
            case("an axis that runs to the left", block, thin, 0.5),
            case("sagittal slices", block, SAGITTAL, 5.0),
            case("slices tilted by 20 degrees", block, _tilted(20), tilted_ml),
            case("an empty mask", np.zeros((3, 3, 3), np.uint8), np.eye(4), 0.0),
        ),
    )


def _flagged() -> Exercise:
    ten = np.arange(1.0, 11.0)
    shuffled = np.array([3, 9, 1, 7, 10, 2, 8, 4, 6, 5.0])

    def case(said, new, validation, rate, right, *slips):
        def judge(output):
            answer = np.asarray(output)
            if answer.shape != (len(new),) or answer.dtype.kind != "b":
                return f"you return {answer.dtype} of shape {answer.shape}, not a bool for each"
            if (answer == right).all():
                return None
            for slip, words in slips:
                if (answer == np.asarray(slip, bool)).all():
                    return words
            place = int(np.flatnonzero(answer != right)[0])
            word = "flag" if answer[place] else "do not flag"
            return f"you {word} the distance {new[place]:g}"

        return Case(said, (np.array(new), validation, rate), judge)

    inverted = "you flag what is near and pass what is far"
    on_new = "you pass some, and all are far: take the threshold from the validation distances"
    return Exercise(
        "flagged",
        NOTEBOOK,
        (
            case("validation distances 1 to 10 and a rate of 0.1",
                 [0.5, 9.0, 9.5, 10.5, 99], ten, 0.1,
                 np.array([False, False, True, True, True]),
                 ([True, True, False, False, False], inverted),
                 ([False, False, False, True, True],
                  "you let 9.5 pass; from 9 on only 1 of 10 validation slices lies beyond"),
                 ([False, True, True, True, True],
                  "you flag 9; then 2 of 10 validation slices are")),
            case("validation distances in any order", [4.5, 9.0, 10.5], shuffled, 0.1,
                 np.array([False, False, True]),
                 ([False, True, True], "you flag 9: sort them first")),
            case("a rate of 0.05 and ten validation slices", [9.9, 10.0, 10.1], ten, 0.05,
                 np.array([False, False, True]),
                 ([True, True, True], "you let 1 of 10 be a false alarm: more than 5 %"),
                 ([False, True, True], "you let 1 of 10 be a false alarm: more than 5 %")),
            case("many equal distances", [1.5, 5.0, 6.0], np.array([1, 1, 1, 5, 5, 5, 5.0]), 0.5,
                 np.array([False, False, True]),
                 ([False, True, True], "you flag 5; then 4 of 7 validation slices are"),
                 ([True, True, True], "you flag 5; then 4 of 7 validation slices are")),
            case("new slices that are all far", [50, 60.0, 70], ten, 0.1,
                 np.array([True, True, True]),
                 ([False, False, True], on_new), ([False, False, False], on_new)),
            case("a distance that is nan", [1.0, np.nan], ten, 0.1, np.array([False, True]),
                 ([False, False], "you let nan pass; what cannot be measured is not familiar")),
        ),
    )  # fmt: skip


def _distance_readings() -> Exercise:
    # tests/notebooks/test_readings.py compares them with the numbers of the stored notebook.
    judge = readings(
        wrong={
            "b": "look in the table for a row with flagged False whose Dice is bad",
            "c": "compare the skull-stripped head with the exchanged sequences in both columns",
            "e": "compare the row of the held-out patients with that of the validation patients, "
            "and all of them come from one cohort",
        },
        right={
            "a": "look at the lowest rows of the figure, from the retina on",
            "d": "look where the row of the training patients ends and where the other rows begin",
        },
    )
    return Exercise("distance_readings", NOTEBOOK, (Case("", (), judge),), is_function=False)


EXERCISES = (
    _axis_letters(),
    _to_8_bit(),
    _volume_ml(),
    _flagged(),
    _distance_readings(),
)
