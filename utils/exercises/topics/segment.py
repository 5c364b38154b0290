"""Exercises of notebook 03, first half: overlap, a step of the decoder, its shape, the loss."""

import numpy as np

from utils.exercises.exercise import AnotherKindError, Case, Exercise
from utils.exercises.judges import Judge, any_number, array, mask, member, number, refusal, same

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
_PER_SLICE = "that is a mean over the slices; pool the pixels of all slices, then divide once"
# Slices with a Dice of 1/2, 1 and 0/0; together 2 * 3 / (5 + 5). The mean of the slices is told
# apart from that whatever it makes of 0/0: leave it out, count it as 1, or as 0.
_SLICES = np.stack([SQUARE, CORNER, EMPTY]), np.stack([SHIFTED, CORNER, EMPTY])
_MEANS_OF_SLICES = {0.75: _PER_SLICE, 2.5 / 3: _PER_SLICE, 0.5: _PER_SLICE}

DICE = Exercise(
    "dice",
    "03",
    (
        Case("two masks that overlap by half", (SQUARE, SHIFTED), number(0.5, slips={
            1 / 3: "that is the overlap over the union (IoU); Dice divides by both areas added",
            0.25: "the overlap stands there once; Dice takes it twice",
            0.75: "that is the share of pixels that agree; Dice ignores what both leave empty",
            5 / 9: "what you add above and below the line changes it; look for 0/0 instead",
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
        Case("two volumes of three slices", _SLICES, number(0.6, slips=_MEANS_OF_SLICES)),
        # As many rows: who compares no more than the lengths does not see it.
        Case("masks of the shapes (4, 4) and (4, 1)", (SQUARE, SQUARE[:, 1:2]),
             refusal("NumPy would repeat the one column silently", ValueError, AssertionError),
             refuses=True),
    ),
)  # fmt: skip

# --- decoder_step ------------------------------------------------------------------------------


def _step(filters: int, nothing_left: str, reach: Judge | None = None) -> Judge:
    """Judge the features that a step of the decoder makes of 4 x 4 and 8 x 8 pixels.

    Parameters
    ----------
    filters : int
    nothing_left : str
        What is said of zeros.
    reach : callable, optional
        Takes which pixels have a feature above 0, and returns None or what is wrong with that.
    """

    def judge(output) -> str | None:
        if isinstance(output, str):
            raise TypeError
        # Of 16 bits, where the notebook computes so; NumPy has no such floats of its own.
        features = np.asarray(output, dtype=float)
        if features.ndim != 4 or len(features) != 2:
            return f"you return the shape {features.shape}; 2 images stay 2 images"
        if features.shape[1:3] == (4, 4):
            return "you return 4 x 4 pixels; the coarse features have to be enlarged to the skip's"
        if features.shape[1:3] != (8, 8):
            return (
                f"you return {features.shape[1]} x {features.shape[2]} pixels, the skip has 8 x 8"
            )
        if features.shape[3] != filters:
            return f"you return {features.shape[3]} channels; filters={filters} were asked for"
        if features.min() < 0:
            return "you return values below 0; the last thing is a ReLU"
        if not features.any():
            return f"you return zeros only: {nothing_left}"
        return reach(features.any(axis=-1)) if reach else None

    return judge


def _reach_of_one_pixel(above: np.ndarray) -> str | None:
    """Judge which pixels one pixel of the skip reaches: itself and its neighbours."""
    near = _neighbourhood(1)
    if above[~_neighbourhood(2)].any():
        return (
            "features above 0 stand where nothing was put in: they have to come from the input, by "
            "one 3 x 3 convolution and a ReLU (of 0, that is 0)"
        )
    if above[~near].any():
        return "the one pixel reaches others two away; one 3 x 3 convolution reaches neighbours"
    if not above[near & ~_neighbourhood(0)].any():
        return "the one pixel reaches no other; a 3 x 3 convolution reaches its neighbours"
    return None


def _neighbourhood(steps: int) -> np.ndarray:
    """Return the pixels of 2 images that lie up to so many steps from the one that is not 0."""
    near = np.zeros((2, 8, 8), dtype=bool)
    near[:, 4 - steps : 5 + steps, 3 - steps : 4 + steps] = True
    return near


_COARSE, _SKIP = np.ones((2, 4, 4, 24), dtype="float32"), np.ones((2, 8, 8, 8), dtype="float32")
_ONE_SKIPPED = _SKIP * _neighbourhood(0)[..., None]

DECODER_STEP = Exercise(
    "decoder_step",
    "03",
    (
        Case("coarse features of 4 x 4 and a skip of 8 x 8 pixels", (_COARSE, _SKIP, 16),
             _step(16, "does anything of the input get through?")),
        Case("a skip of zeros, and 12 filters", (_COARSE, 0 * _SKIP, 12),
             _step(12, "the coarse features should get through")),
        Case("coarse features of zeros and a skip with a single pixel above 0",
             (0 * _COARSE, _ONE_SKIPPED, 16),
             _step(16, "the skip should get through", _reach_of_one_pixel)),
    ),
    seconds=60.0,
)  # fmt: skip

# --- coarsest_shape ----------------------------------------------------------------------------


def _coarsest(output) -> str | None:
    if isinstance(output, str):
        raise AnotherKindError("three lengths")
    shape = tuple(output)
    if len(shape) != 3:  # counted first: of a batch's shape, as Keras tells it, one is None
        return f"you give {len(shape)} lengths; three are asked for: height, width, channels"
    for length in shape:
        fault = member(any_number, length, verb="you give")
        if fault is not None:
            return fault
    shape = tuple(float(length) for length in shape)
    if any(length != round(length) for length in shape):
        return "you give a length that is no whole number"
    shape = tuple(round(length) for length in shape)
    if shape[0] != shape[1]:
        return "height and width differ; the image is a square and stays one"
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

# --- focal_tversky -----------------------------------------------------------------------------

_UNSURE = np.where(SQUARE, 0.5, 0.2)
_INVENTED = mask("###.", "....", "....", "....")
_LARGE = np.ones((4, 4), dtype=bool)


def _batch(*masks: np.ndarray) -> np.ndarray:
    """Return masks or probabilities as a loss gets them, float32 (images, height, width, 1)."""
    return np.stack(masks).astype("float32")[..., None]


def _index(truths, predictions, fn_weight, fp_weight, smooth=1.0, extra=None, pixels=1):
    """Return the Tversky index of each image, or what two slips make of it.

    `extra` stands for the false positives; the sums are divided by `pixels`.
    """
    found = (truths * predictions).sum(axis=(1, 2, 3))
    missed = truths.sum(axis=(1, 2, 3)) - found
    if extra is None:
        extra = predictions.sum(axis=(1, 2, 3)) - found
    above = found / pixels + smooth
    return above / (above + (fn_weight * missed + fp_weight * extra) / pixels)


def _focal(truths, predictions, fn_weight, fp_weight, exponent) -> Judge:
    """Judge the losses of a batch, one for each image."""
    batch = truths.astype(float), predictions.astype(float)
    index = _index(*batch, fn_weight, fp_weight)
    lost, swapped = 1 - index, 1 - _index(*batch, fp_weight, fn_weight)
    right = lost**exponent
    together = [each.reshape(1, -1, 1, 1) for each in batch]
    pooled = np.repeat(1 - _index(*together, fn_weight, fp_weight), len(lost))
    drawn = _index(*batch, fn_weight, fp_weight, extra=batch[1].sum(axis=(1, 2, 3)))
    per_pixel = _index(*batch, fn_weight, fp_weight, pixels=batch[0][0].size)
    slips = (
        (swapped**exponent,
         "fn_weight has to weigh what is missed (FN), fp_weight what is invented (FP)"),
        (lost ** (1 / exponent), "you take the power 1/p; take p itself"),
        (1 - index**exponent, "you take the power of the index; first comes 1 - index"),
        (lost, "the exponent has no effect"),
        (lost ** (4 / 3), "use the exponent that is given"),
        (1 - lost, "that is the index; the loss is small where the index is large"),
        (pooled**exponent, "the sums run over the whole batch; each image has an index of its own"),
        ((1 - per_pixel) ** exponent, "take sums over the pixels, not means: s is one pixel"),
        ((1 - drawn) ** exponent, "FP is what is drawn beside the tumour, not all that is drawn"),
        *(((1 - _index(batch[0], hard, fn_weight, fp_weight)) ** exponent,
           "take the probabilities as they are, without a threshold")
          for hard in (batch[1] >= 0.5, batch[1] > 0.5)),
        ((1 - _index(*batch, 0.7, 0.3)) ** exponent, "use the weights that are given"),
        ((1 - _index(*batch, fn_weight, fp_weight, 1e-9)) ** exponent,
         "s belongs above and below the line"),
    )  # fmt: skip

    def judge(output) -> str | None:
        if np.asarray(output).dtype.kind not in "biuf":
            raise TypeError
        if np.shape(output) == () or np.shape(output) == (1,) != right.shape:
            how = "the mean" if same(output, right.mean(), within=1e-5) else "one number"
            return f"you return {how} of the batch; one loss for each image is asked for"
        return array(right, within=1e-5, slips=slips)(output)

    return judge


def _losses(said: str, truths: tuple, predictions: tuple, *settings: float) -> Case:
    arguments = (_batch(*truths), _batch(*predictions), *settings)
    return Case(said, arguments, _focal(*arguments))


FOCAL_TVERSKY = Exercise(
    "focal_tversky",
    "03",
    (
        _losses("two images, a large tumour found and a small one missed (p = 2)",
                (_LARGE, CORNER), (_LARGE, EMPTY), 0.7, 0.3, 2.0),
        _losses("half of the tumour missed, then an area twice too large (p = 1)",
                (SQUARE, SQUARE), (LEFT_HALF, DOUBLE), 0.7, 0.3, 1.0),
        _losses("weights 0.9 and 0.1", (SQUARE, SQUARE), (LEFT_HALF, SQUARE), 0.9, 0.1, 1.0),
        _losses("probabilities of 0.5 in the tumour and 0.2 outside",
                (SQUARE, SQUARE), (_UNSURE, SQUARE), 0.7, 0.3, 4 / 3),
        _losses("a tumour-free image in which three pixels are invented",
                (EMPTY, SQUARE), (_INVENTED, SQUARE), 0.7, 0.3, 1.0),
        _losses("a batch of one image (p = 3/4)", (SQUARE,), (LEFT_HALF,), 0.7, 0.3, 0.75),
    ),
    seconds=60.0,
)  # fmt: skip

EXERCISES = (DICE, DECODER_STEP, COARSEST_SHAPE, FOCAL_TVERSKY)
