"""What may be varied, and the combinations that a sweep is made of."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import NamedTuple

from utils.config import CourseError
from utils.course.run import read_parameters


class Hyperparameter(NamedTuple):
    """What a value may be: its kind, a test, and the test in words."""

    kind: type
    fits: Callable[[object], bool]
    words: str


def _between(low: float, high: float) -> Hyperparameter:
    return Hyperparameter(float, lambda value: low < value < high, f"between {low:g} and {high:g}")


_RATE = _between(0, 1)
_EPOCHS = Hyperparameter(int, lambda value: value >= 1, "a whole number of at least 1")
# Those of Tversky's loss mean nothing for the other one.
LOSSES = ("focal_tversky", "dice_cross_entropy")
OF_TVERSKY = ("fn_weight", "exponent")
# Of the segmenter of notebook 3 and the detector of notebook 2.
HYPERPARAMETERS = {
    "segmenter": {
        "rate": _RATE,
        "epochs": _EPOCHS,
        "loss": Hyperparameter(str, LOSSES.__contains__, " or ".join(LOSSES)),
        "fn_weight": _between(0, 1),
        "exponent": _between(0, 10),
        "tumour_share": _between(0, 1),
    },
    "detector": {"rate": _RATE, "epochs": _EPOCHS, "penalty": _between(0, 1e6)},
}


def read_grid(network: str, words: Sequence[str], path: Path | None) -> dict[str, list]:
    """Return which values of which hyper-parameters are tried.

    Parameters
    ----------
    network : {"segmenter", "detector"}
    words : sequence of str
        Such as ``"rate=3e-4,1e-3"``.
    path : path-like, optional
        A YAML file of lines such as ``rate: [3e-4, 1e-3]``, which the words add to or replace.

    Raises
    ------
    CourseError
        For an unknown name, a value that it may not have, or a file that cannot be read.

    Examples
    --------
    >>> from utils.sweep.grid import read_grid
    >>> read_grid("detector", ["rate=1e-4,3e-4", "epochs=2"], None)
    {'rate': [0.0001, 0.0003], 'epochs': [2]}
    """
    given = {} if path is None else dict(read_parameters(path))
    for word in words:
        name, equals, values = word.partition("=")
        if not equals:
            raise CourseError(f"{word}: write NAME=VALUE,VALUE, such as rate=3e-4,1e-3")
        given[name] = values.split(",")
    if not given:
        known = ", ".join(HYPERPARAMETERS[network])
        raise CourseError(
            f"nothing to vary: give NAME=VALUE,VALUE or --grid FILE; of the {network}: {known}"
        )
    read = {name: _values(network, name, values) for name, values in given.items()}
    # In one order, however they were given: the names of the trainings' folders follow from it.
    return {name: read[name] for name in HYPERPARAMETERS[network] if name in read}


def _values(network: str, name: str, values: object) -> list:
    if name not in HYPERPARAMETERS[network]:
        known = ", ".join(HYPERPARAMETERS[network])
        raise CourseError(f"{name}: no hyper-parameter of the {network}; choose among {known}")
    kind, fits, words = HYPERPARAMETERS[network][name]
    values = values if isinstance(values, list) else [values]
    if not values:
        raise CourseError(f"{name}: no value; give at least one")
    found = []
    for value in values:
        try:
            # Of text: YAML takes 3e-4 for a word, and int() would cut 2.5.
            read = kind(str(value))
        except ValueError:
            read = None
        if read is None or not fits(read):
            raise CourseError(f"{name}={value}: must be {words}")
        found.append(read)
    return list(dict.fromkeys(found))


def combinations(grid: Mapping[str, Iterable]) -> list[dict]:
    """Return every combination of the values of a grid, in order, each once.

    Where the loss is not Tversky's, its hyper-parameters are left out.

    Examples
    --------
    >>> from utils.sweep.grid import combinations
    >>> combinations({"rate": [0.1, 0.2], "epochs": [3]})
    [{'rate': 0.1, 'epochs': 3}, {'rate': 0.2, 'epochs': 3}]
    """
    found = []
    for values in product(*grid.values()):
        one = dict(zip(grid, values, strict=True))
        if one.get("loss", LOSSES[0]) != LOSSES[0]:
            one = {name: value for name, value in one.items() if name not in OF_TVERSKY}
        if one not in found:
            found.append(one)
    return found


def label(values: Mapping) -> str:
    """Return the name of a combination, which its folder has.

    Examples
    --------
    >>> from utils.sweep.grid import label
    >>> label({"rate": 0.001, "loss": "focal_tversky"})
    'rate-0.001_loss-focal_tversky'
    """
    return "_".join(f"{name}-{value}" for name, value in values.items())
