"""Exercises of notebook 03, second half: a first training, what a table of losses supports, moving
masks, their pieces, the choice of a threshold, and the patients on whom a comparison rests.
"""

import numpy as np
import pandas as pd

from utils.config import RESULTS
from utils.exercises.exercise import Case, Exercise
from utils.exercises.judges import Judge, mask, number, same
from utils.exercises.readings import judge_readings
from utils.tables import read_table

# --- learn_by_heart ----------------------------------------------------------------------------

_IMAGE = np.full((12, 12, 3), 0.2, dtype="float32")
_IMAGE[3:8, 4:10] = 0.9
_TUMOUR = (_IMAGE[..., :1] > 0.5).astype("float32")
# All pixels alike, and half of them tumour: from zeros a network without biases makes zeros, of
# which a sigmoid makes one half. The cross-entropy of that is log 2 = 0.69, and nothing is better.
_BLACK = np.zeros((12, 12, 3), dtype="float32")
_CHESSBOARD = (np.indices((12, 12)).sum(axis=0) % 2).astype("float32")[..., None]


def _losses(epochs: int, fault: Judge) -> Judge:
    """Judge losses by their number, then by what `fault` finds in them."""

    def judge(output) -> str | None:
        if isinstance(output, str):
            raise TypeError
        losses = np.asarray(output, dtype=float)
        if losses.shape == ():
            return "you return one number; the loss of every epoch is asked for"
        if losses.shape != (epochs,):
            return f"you return {len(losses)} losses; {epochs} epochs were asked for"
        if not np.isfinite(losses).all():
            return "you return losses that are no numbers"
        return fault(losses)

    return judge


def _not_fallen(losses: np.ndarray) -> str | None:
    if losses[-1] <= 0.6 * losses[0]:
        return None
    return (
        f"the loss goes from {losses[0]:.2f} to {losses[-1]:.2f}: a single image can be learned "
        "better than that; look at the rate, and at what the last layer gives"
    )


def _fallen(losses: np.ndarray) -> str | None:
    if losses[0] > 2:
        return (
            f"the loss begins at {losses[0]:.2f}, far above that of tossing a coin, 0.69: does the "
            "last layer give a probability?"
        )
    if losses[-1] >= 0.6:
        return None
    return (
        f"the loss ends at {losses[-1]:.2f}, although nothing in this image tells where its mask "
        "is; is it the binary cross-entropy of a training on the image and mask that are given?"
    )


LEARN_BY_HEART = Exercise(
    "learn_by_heart",
    "03",
    (
        Case("a bright square on 12 x 12 pixels, 60 epochs", (_IMAGE, _TUMOUR, 60),
             _losses(60, _not_fallen)),
        Case("a black image with a chessboard for a mask, 20 epochs",
             (_BLACK, _CHESSBOARD, 20), _losses(20, _fallen)),
    ),
    seconds=120.0,
)  # fmt: skip

# --- loss_readings -----------------------------------------------------------------------------

LOSSES = RESULTS / "simulated" / "losses.csv"


def _supported() -> dict[str, tuple[bool, str]]:
    """Return for each reading of the exercise whether the stored table supports it, and why."""
    table = read_table(LOSSES)
    focal = _by_seed(table[(table["fn_weight"] == 0.7)], "exponent")
    weights = _by_seed(table[table["exponent"] > 1], "fn_weight")
    by_exponent, by_weight = focal["dice"], weights["sensitivity_half"]
    lower = by_exponent[by_exponent.columns[0]] < by_exponent[by_exponent.columns[-1]]
    spread = by_exponent.mean().max() - by_exponent.mean().min()
    half, chosen = (weights[name] for name in ("sensitivity_half", "sensitivity"))
    change = [(each[0.8] - each[0.5]).mean() for each in (half, chosen)]
    drop = weights["precision_half"][0.8] < weights["precision_half"][0.5]
    return {
        "a": (bool(lower.all()), "compare 0.75 with 4/3 within each seed"),
        "b": (
            bool(spread < (by_exponent.max() - by_exponent.min()).min()),
            "compare how far the three means lie apart with how far the seeds do",
        ),
        "c": (
            bool((by_weight[0.8] > by_weight[0.5]).all() and drop.all()),
            "compare the columns at a threshold of 0.5, seed by seed",
        ),
        "d": (
            bool(abs(change[1]) < abs(change[0])),
            "compare the sensitivity at 0.5 with that at the chosen threshold",
        ),
        "e": (False, "nothing in the table says so; three seeds differ more than that"),
    }


def _by_seed(table: pd.DataFrame, name: str) -> pd.DataFrame:
    """Return a column for each value of `name`, below the name of what was measured."""
    values = ["dice", "sensitivity", "sensitivity_half", "precision_half"]
    return table.pivot_table(index="seed", columns=name, values=values)


def _readings(output) -> str | None:
    return judge_readings(output, _supported())


LOSS_READINGS = Exercise("loss_readings", "03", (Case("", (), _readings),), is_function=False)

# --- move_together -----------------------------------------------------------------------------

_IMAGE_OF_18 = np.arange(18, dtype=np.uint8).reshape(2, 3, 3)
_MASK = mask("##.", ".#.")


def _moved(pixels: np.ndarray, mirrored: bool, turns: int) -> np.ndarray:
    return np.rot90(np.flip(pixels, axis=1) if mirrored else pixels, turns)


# Other movements, and how they differ from the one asked for. Turning before mirroring comes out
# as turning the other way does; plain turns are tried first, and tell the two apart.
_OTHER_MOVES = (
    (lambda pixels, mirrored, turns: pixels, "does not move"),
    (lambda pixels, mirrored, turns: _moved(np.rot90(pixels, turns), mirrored, 0),
     "is turned before it is mirrored"),
    (lambda pixels, mirrored, turns: _moved(pixels, mirrored, -turns), "turns the other way"),
    (lambda pixels, mirrored, turns: np.rot90(np.flip(pixels, 0) if mirrored else pixels, turns),
     "stands upside down: left and right have to change sides"),
    (lambda pixels, mirrored, turns: np.rot90(np.flip(pixels) if mirrored else pixels, turns),
     "is mirrored along every axis: only left and right change sides"),
    (lambda pixels, mirrored, turns: _moved(pixels, not mirrored, turns),
     "is not mirrored when it should be, or when it should not"),
    (lambda pixels, mirrored, turns: _moved(pixels[..., ::-1], False, turns),
     "has its channels swapped: the channel is the last axis"),
)  # fmt: skip


def _told(output) -> str:
    kind = type(output).__name__
    return f"a {kind} of {len(output)}" if isinstance(output, tuple | list) else f"a {kind}"


def _move(mirrored: bool, turns: int) -> Judge:
    def judge(output) -> str | None:
        if not isinstance(output, tuple | list) or len(output) != 2:
            return f"you return {_told(output)}, not an image and a mask"
        for name, pixels, result in zip(
            ("image", "mask"), (_IMAGE_OF_18, _MASK), output, strict=True
        ):
            if same(result, _moved(pixels, mirrored, turns)):
                continue
            for other, how in _OTHER_MOVES:
                if same(result, other(pixels, mirrored, turns)):
                    return f"the {name} {how}"
            return f"the {name} has shape {np.shape(result)} and pixels in other places"
        return None

    return judge


MOVE_TOGETHER = Exercise(
    "move_together",
    "03",
    tuple(
        Case(said, (_IMAGE_OF_18, _MASK, mirrored, turns), _move(mirrored, turns))
        for said, mirrored, turns in (
            ("mirroring without a turn", True, 0),
            ("a quarter turn", False, 1),
            ("mirroring and a quarter turn", True, 1),
            ("no mirroring and no turn", False, 0),
            ("half a turn", False, 2),
            ("-1 quarter turns", False, -1),
            ("mirroring and 5 quarter turns", True, 5),
        )
    ),
)

# --- largest_piece -----------------------------------------------------------------------------


def _piece(given: np.ndarray, *right: np.ndarray) -> Judge:
    """Judge the largest piece of a mask; with several, each is right."""

    def judge(output) -> str | None:
        kept = np.asarray(output)
        if kept.dtype.kind not in "biuf":
            raise TypeError
        if kept.shape != given.shape:
            return f"you return the shape {kept.shape}, not {given.shape}"
        kept = kept > 0
        if any(np.array_equal(kept, each) for each in right):
            return None
        if (kept & ~given).any():
            return "you return pixels that were not in the mask; is the background a piece too?"
        if len(right) > 1 and np.array_equal(kept, right[0] | right[1]):
            return "you keep both; one has to go, whichever"
        if np.array_equal(kept, given):
            return "you keep all of it"
        return f"you keep {kept.sum()} of {given.sum()} pixels, which are not the largest piece"

    return judge


_ONE = mask("....", ".##.", ".##.", "....")
_EMPTY, _FULL = np.zeros((3, 4), dtype=bool), np.ones((3, 4), dtype=bool)
_TWO = mask("##...", "....#", "..###")
_TIE = mask("##...", ".....", "...##")
_AT_A_CORNER = mask("##..", "#...", ".##.")
# One piece of 2 + 2 + 2 pixels through three slices, beside one of 4 in the middle slice.
_VOLUME = np.stack([mask("##...", "....."), mask("##.##", "...##"), mask("##...", ".....")])
_LONG = _VOLUME & mask("##...", "##...")

LARGEST_PIECE = Exercise(
    "largest_piece",
    "03",
    (
        Case("pieces of two and four pixels", (_TWO,),
             _piece(_TWO, _TWO & mask(".....", "#####", "#####"))),
        Case("a single piece", (_ONE,), _piece(_ONE, _ONE)),
        Case("an empty mask", (_EMPTY,), _piece(_EMPTY, _EMPTY)),
        Case("a mask without background", (_FULL,), _piece(_FULL, _FULL)),
        Case("two pieces of the same size", (_TIE,),
             _piece(_TIE, _TIE & mask("#####", ".....", "....."),
                    _TIE & mask(".....", ".....", "#####"))),
        Case("pieces that touch by a corner only", (_AT_A_CORNER,),
             _piece(_AT_A_CORNER, _AT_A_CORNER & mask("####", "####", "...."))),
        Case("a volume of three slices", (_VOLUME,), _piece(_VOLUME, _LONG)),
        Case("a mask of 0 and 255 (uint8)", (np.uint8(_TWO) * 255,),
             _piece(_TWO, _TWO & mask(".....", "#####", "#####"))),
    ),
)  # fmt: skip

# --- choose_threshold --------------------------------------------------------------------------


def _scores(rows: dict[tuple[str, str], tuple[float, ...]], thresholds=(0.2, 0.4, 0.6)):
    return pd.DataFrame(
        [
            {"patient": patient, "part": part, "threshold": threshold, "dice": dice}
            for (patient, part), values in rows.items()
            for threshold, dice in zip(thresholds, values, strict=True)
        ]
    )


_A_DICE = "that is a Dice; the threshold is asked for"
_PARTS = _scores(
    {
        ("A", "train"): (0.99, 0.5, 0.3),
        ("B", "validation"): (0.6, 0.8, 0.7),
        ("C", "validation"): (0.7, 0.8, 0.6),
        ("D", "test"): (0.2, 0.3, 0.95),
        ("E", "test"): (0.2, 0.3, 0.95),
    }
)
_ON_PARTS = {
    0.2: "training patients have a say in that, and the network was fitted on them",
    0.6: "held-out patients have a say in that, and they must not decide anything",
    1.0: "that is a place in the list; the threshold that stands there is asked for",
    0.8: _A_DICE,
}
# The means are 0.53, 0.63 and 0.4, the medians 0.7, 0.65 and 0.5.
_ONE_STAR = _scores(
    {
        ("B", "validation"): (0.9, 0.6, 0.1),
        ("C", "validation"): (0.7, 0.65, 0.6),
        ("D", "validation"): (0.0, 0.65, 0.5),
    }
)
# The means are 0.54, 0.65 and 0.61. With 0 for NaN they would be 0.54, 0.43 and 0.2, with 1 for NaN
# 0.54, 0.77 and 0.87; of patient B alone, who has no NaN, the first Dice is the highest.
_NAN = float("nan")
_UNDEFINED = _scores(
    {
        ("B", "validation"): (0.62, 0.6, 0.61),
        ("C", "validation"): (0.5, _NAN, _NAN),
        ("D", "validation"): (0.5, 0.7, _NAN),
    }
)
_EQUAL = _scores({("B", "validation"): (0.7, 0.8, 0.8)}, thresholds=(0.9, 0.5, 0.3))

CHOOSE_THRESHOLD = Exercise(
    "choose_threshold",
    "03",
    (
        Case("parts that prefer different thresholds", (_PARTS,), number(0.4, slips=_ON_PARTS)),
        Case("one patient with the highest Dice of all", (_ONE_STAR,), number(0.4, slips={
            0.2: "take the mean over patients, neither the best row nor the median",
            0.9: _A_DICE, 1.9 / 3: _A_DICE,
        })),
        Case("patients of whom two have a NaN for a Dice", (_UNDEFINED,), number(0.4, slips={
            0.2: "leave a NaN out of the mean, so that it neither spoils nor lowers it; the row, "
            "not the whole patient",
            0.6: "take the mean, and leave a NaN out of it: it is no 1",
        })),
        Case("thresholds 0.5 and 0.3 being equally good", (_EQUAL,), number(0.3, slips={
            0.5: "the lowest of the best is asked for",
        })),
    ),
)  # fmt: skip

# --- who_turns_it ------------------------------------------------------------------------------


def _turning(*right: str) -> Judge:
    def judge(output) -> str | None:
        if isinstance(output, str | set | frozenset):
            raise TypeError  # text would be read letter by letter, and a set has no order
        names = list(output)
        kinds = [type(name).__name__ for name in names if not isinstance(name, str)]
        if kinds:
            return f"what you list is of the kind {kinds[0]}; list the patients' names"
        extra, lacking = sorted(set(names) - set(right)), sorted(set(right) - set(names))
        if extra:
            return f"you name {extra[0]}; without that patient the mean keeps its sign"
        if lacking:
            return f"you leave out {lacking[0]}, without whom the mean has the other sign"
        return None if names == list(right) else "each name once, in the order of the patients"

    return judge


def _compared(said: str, first: list, second: list, *right: str) -> Case:
    names = [f"P{number}" for number in range(1, len(first) + 1)]
    return Case(said, (names, np.array(first), np.array(second)), _turning(*right))


WHO_TURNS_IT = Exercise(
    "who_turns_it",
    "03",
    (
        _compared("three small gains and one large loss",
                  [0.7, 0.8, 0.6, 0.7], [0.75, 0.85, 0.65, 0.1], "P4"),
        _compared("gains alone", [0.5, 0.6, 0.7], [0.6, 0.7, 0.9]),
        _compared("a large loss that the others do not outweigh",
                  [0.9, 0.8, 0.9, 0.9], [0.2, 0.82, 0.7, 0.8]),
        _compared("one large gain among losses",
                  [0.2, 0.8, 0.7], [0.9, 0.75, 0.6], "P1"),
        _compared("two patients, either of whom turns it",
                  [0.8, 0.8, 0.5, 0.5], [0.79, 0.4, 0.72, 0.71], "P3", "P4"),
    ),
)  # fmt: skip

EXERCISES = (
    LEARN_BY_HEART,
    LOSS_READINGS,
    MOVE_TOGETHER,
    LARGEST_PIECE,
    CHOOSE_THRESHOLD,
    WHO_TURNS_IT,
)
