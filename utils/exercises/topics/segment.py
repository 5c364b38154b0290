"""Exercises of notebook 03, first half: overlap, the shape of the network, the loss."""

import numpy as np

from utils.exercises.exercise import Case, Exercise
from utils.exercises.judges import Judge, array, mask, number, refusal, same

SQUARE = mask("....", ".##.", ".##.", "....")
SHIFTED = mask("....", "..##", "..##", "....")
LEFT_HALF = mask("....", ".#..", ".#..", "....")
DOUBLE = mask("....", ".##.", ".##.", ".##.") | mask(".##.", "....", "....", "....")
CORNER = mask("#...", "....", "....", "....")
EMPTY = np.zeros((4, 4), dtype=bool)

# --- dice --------------------------------------------------------------------------------------


def _empty_dice(output) -> str | None:
    # 0 and 1 are both in use; what counts is that one was chosen.
    if number(0)(output) is None or number(1)(output) is None:
        return None
    return f"you return {float(output):.6g}; decide what it should be and say why"


_ONE_PIXEL = mask("....", ".#..", "....", "....")
_ONE_OF_BOTH = {
    1.0: "only one of the two areas is in it; swap the masks, and the value has to stay",
    0.25: "are both areas in it, and is the overlap taken twice?",
}
_TOO_HIGH_FOR_NONE = {1.0: "one mask is empty, the other is not; that is no agreement"}
_VALUES = "the values, 255 each, are added up; count the pixels above 0"
_AS_BYTES = {127.5: _VALUES, 4 / 2040: _VALUES}
_PER_SLICE = {
    0.75: "that is a mean over the slices; pool the pixels of all slices, then divide once",
    0.25: "that is a mean over the slices; pool the pixels of all slices, then divide once",
}

DICE = Exercise(
    "dice",
    "03",
    (
        Case("two masks that overlap by half", (SQUARE, SHIFTED), number(0.5, slips={
            1 / 3: "that is the overlap over the union (IoU); Dice divides by both areas added",
            0.25: "the overlap stands there once; Dice takes it twice",
            0.75: "that is the share of pixels that agree; Dice ignores what both leave empty",
        })),
        Case("two masks that agree", (SQUARE, SQUARE), number(1)),
        Case("one pixel found of a tumour of four", (SQUARE, _ONE_PIXEL),
             number(0.4, slips=_ONE_OF_BOTH)),
        Case("four pixels drawn for a tumour of one", (_ONE_PIXEL, SQUARE),
             number(0.4, slips=_ONE_OF_BOTH)),
        Case("two masks apart", (SQUARE, CORNER), number(0)),
        Case("an empty prediction", (SQUARE, EMPTY), number(0, slips=_TOO_HIGH_FOR_NONE)),
        Case("an empty true mask", (EMPTY, SQUARE), number(0, slips=_TOO_HIGH_FOR_NONE)),
        Case("two empty masks", (EMPTY, EMPTY), _empty_dice),
        Case("masks of 0 and 1 (uint8)", (np.uint8(SQUARE), np.uint8(SHIFTED)), number(0.5)),
        Case("masks of 0 and 255 (uint8)", (np.uint8(SQUARE) * 255, np.uint8(SHIFTED) * 255),
             number(0.5, slips=_AS_BYTES)),
        Case("a true mask of 0 and 255 and a prediction of 0 and 1",
             (np.uint8(SQUARE) * 255, np.uint8(SHIFTED)), number(0.5)),
        Case("two volumes of two slices", (np.stack([SQUARE, EMPTY]), np.stack([SHIFTED, EMPTY])),
             number(0.5, slips=_PER_SLICE)),
        Case("masks of the shapes (4, 4) and (1, 4)", (SQUARE, SQUARE[1:2]),
             refusal("NumPy would repeat the one row silently", ValueError, AssertionError),
             refuses=True),
    ),
)  # fmt: skip

# --- coarsest_shape ----------------------------------------------------------------------------


def _coarsest(output) -> str | None:
    shape = tuple(int(length) for length in output)
    if len(shape) != 3:
        return f"you give {len(shape)} lengths; three are asked for: height, width, channels"
    if shape[0] != shape[1]:
        return "height and width differ; the picture is a square and stays one"
    if shape[0] in (4, 16):
        return (
            f"a side of {shape[0]} is one step off: the stem halves once, and how many steps lie "
            "between four levels?"
        )
    if shape[0] != 8:
        return f"a side of {shape[0]} is not what halving 128 leads to"
    if shape[2] in (128, 512):
        return f"the side is right; {shape[2]} channels are one step off"
    if shape[2] != 256:
        return f"the side is right; {shape[2]} channels are not what doubling 32 leads to"
    return None


COARSEST_SHAPE = Exercise("coarsest_shape", "03", (Case("", (), _coarsest),), is_function=False)

# --- tversky_index and focal_tversky -----------------------------------------------------------

_SWAPPED = "fn_weight has to weigh what is missed (FN), fp_weight what is invented (FP)"
_HARD = "take the probabilities as they are, without a threshold"
_NO_S = "s belongs above and below the line"
_UNSURE = np.where(SQUARE, 0.5, 0.2)
_INVENTED = mask("###.", "....", "....", "....")

TVERSKY_INDEX = Exercise(
    "tversky_index",
    "03",
    (
        Case("half of the tumour missed (weights 0.7 and 0.3)", (SQUARE, LEFT_HALF, 0.7, 0.3),
             number(3 / 4.4, slips={3 / 3.6: _SWAPPED, 2 / 3.4: _NO_S, 2 / 4.4: _NO_S})),
        Case("an area twice too large (weights 0.7 and 0.3)", (SQUARE, DOUBLE, 0.7, 0.3),
             number(5 / 6.2, slips={5 / 7.8: _SWAPPED, 4 / 5.2: _NO_S, 4 / 6.2: _NO_S})),
        Case("weights 0.9 and 0.1", (SQUARE, LEFT_HALF, 0.9, 0.1),
             number(3 / 4.8, slips={3 / 3.2: _SWAPPED, 3 / 4.4: "use the weights that are given"})),
        Case("probabilities of 0.5 in the tumour and 0.2 outside", (SQUARE, _UNSURE, 0.7, 0.3),
             number(3 / 5.12, slips={1.0: _HARD, 1 / 3.8: _HARD, 2 / 4.12: _NO_S})),
        Case("a tumour-free picture left empty", (EMPTY, EMPTY, 0.7, 0.3), number(1)),
        Case("three pixels invented in a tumour-free picture", (EMPTY, _INVENTED, 0.7, 0.3),
             number(1 / 1.9, slips={1 / 3.1: _SWAPPED, 0: _NO_S})),
        Case("masks of 0 and 1 (uint8)", (np.uint8(SQUARE), np.uint8(SHIFTED), 0.7, 0.3),
             number(3 / 5)),
    ),
)  # fmt: skip


def _focal(exponent: float, *indices: float) -> Judge:
    """Judge the losses of a batch, one picture for each right Tversky index."""
    lost = 1 - np.array(indices)
    right = lost**exponent
    slips = (
        (
            lost ** (1 / exponent),
            "you take the power 1/p, which points the other way; take p itself",
        ),
        (
            1 - np.array(indices) ** exponent,
            "you take the power of the index; first comes 1 - index, then the power",
        ),
        (lost, "the exponent has no effect"),
    )

    def judge(output) -> str | None:
        if np.asarray(output).dtype.kind not in "biuf":
            raise TypeError
        if np.shape(output) == ():
            how = "the mean" if same(output, right.mean()) else "one number"
            return f"you return {how} of the batch; one loss for each picture is asked for"
        return array(right, slips=slips)(output)

    return judge


_LARGE = np.ones((4, 4), dtype=bool)
# Tversky indices with weights 0.7 (FN) and 0.3 (FP), by hand.
_HALF_INDEX, _MISSED_INDEX = 3 / 4.4, 1 / 1.7

FOCAL_TVERSKY = Exercise(
    "focal_tversky",
    "03",
    (
        Case("two pictures, a large tumour found and a small one missed (p = 2)",
             (np.stack([_LARGE, CORNER]), np.stack([_LARGE, EMPTY]), 2.0),
             _focal(2.0, 1.0, _MISSED_INDEX)),
        Case("p = 1", (np.stack([SQUARE, SQUARE]), np.stack([LEFT_HALF, SQUARE]), 1.0),
             _focal(1.0, _HALF_INDEX, 1.0)),
        Case("p = 4/3", (np.stack([SQUARE, SQUARE]), np.stack([LEFT_HALF, SQUARE]), 4 / 3),
             _focal(4 / 3, _HALF_INDEX, 1.0)),
        Case("three pictures, one of them tumour-free and left empty (p = 4/3)",
             (np.stack([CORNER, EMPTY, SQUARE]), np.stack([EMPTY, EMPTY, LEFT_HALF]), 4 / 3),
             _focal(4 / 3, _MISSED_INDEX, 1.0, _HALF_INDEX)),
        Case("a batch of one picture (p = 2)", (SQUARE[None], LEFT_HALF[None], 2.0),
             _focal(2.0, _HALF_INDEX)),
    ),
)  # fmt: skip

EXERCISES = (DICE, COARSEST_SHAPE, TVERSKY_INDEX, FOCAL_TVERSKY)
