"""What was decided with a model: the settings file beside it, read and checked.

`detector.keras` has a `detector.json`, `segmenter.keras` a `segmenter.json`. A threshold that is
missing, or not a number, would make masks all the same, of every pixel or of none.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import NamedTuple

from utils.cohort.volumes import CHANNELS, FRAMES, NORMALISATIONS, View
from utils.config import CourseError, read_json


@dataclass(frozen=True)
class Postprocessing:
    """How a map of probabilities becomes a mask; every choice is made on validation patients.

    Attributes
    ----------
    threshold : float
        Pixels with at least this probability are tumour.
    minimum_px : int
        Connected pieces of the volume with fewer pixels than this are dropped.
    largest_only : bool
        Keep the largest piece of the volume only.
    neighbours : float
        Weight of each of the two neighbouring slices in the mean that replaces a slice's map, see
        `postprocessing.smooth_slices`; 0 leaves the maps as they are.
    refinement : float
        How far the patient's own grey levels correct the maps, see `refinement.refine`; 0: not.
    least_share : float
        Connected pieces with less than this share of the strongest one's evidence are dropped,
        see `postprocessing.postprocess`; 0 keeps all.
    """

    threshold: float = 0.5
    minimum_px: int = 0
    largest_only: bool = False
    neighbours: float = 0.0
    refinement: float = 0.0
    least_share: float = 0.0


def read_settings(model_file: Path) -> dict:
    """Return what was decided with a model: the JSON file of the same name beside it.

    Raises
    ------
    CourseError
        If there is no such file, or it is not a JSON object.
    """
    file = settings_file(model_file)
    settings = read_json(file, remedy="get it anew from where the model came from", missing=None)
    if settings is None:
        raise CourseError(
            f"{file}: missing; it holds the threshold that belongs to {Path(model_file).name}: "
            "keep the two files together"
        )
    return settings


def settings_file(model_file: Path) -> Path:
    """Return where the settings of a model lie."""
    return Path(model_file).with_suffix(".json")


def detector_settings(model_file: Path) -> dict:
    """Return the checked settings of a detector.

    Returns
    -------
    dict
        ``threshold``, 0..1; where the answer is made from detector and segmenter together, also
        ``combination`` (``detector, segmenter, intercept``) and ``neighbours``, 0..0.5. What else
        the file holds comes along unchecked.

    Raises
    ------
    CourseError
        If the file is missing, or lacks one of these, or a value is out of its range.
    """
    check = _Checked(read_settings(model_file), settings_file(model_file), "a detector")
    check.has("threshold", _probability, "a number from 0 to 1")
    if "combination" in check.values:
        inner = check.object("combination", "the weights of detector and segmenter")
        for name in ("detector", "segmenter", "intercept"):
            inner.has(name, _number, "a number")
        check.has("neighbours", _share, "a number from 0 to 0.5")
    return check.values


class SegmenterSettings(NamedTuple):
    """What was decided with a segmenter.

    Attributes
    ----------
    postprocessing : Postprocessing
        How its maps become masks.
    channels : str
        Which channels it takes, see `volumes.arrange_channels`.
    grey_levels, frame : str
        How it is shown the slices, see `volumes.View`.
    """

    postprocessing: Postprocessing
    channels: str = "sequences"
    grey_levels: str = View.grey_levels
    frame: str = View.frame


def segmenter_settings(model_file: Path) -> SegmenterSettings:
    """Return what was decided with a segmenter, checked.

    Raises
    ------
    CourseError
        If the file is missing, or lacks the threshold, or a value is out of its range.
    """
    check = _Checked(read_settings(model_file), settings_file(model_file), "a segmenter")
    inner = check.object("postprocessing", '{"threshold": 0.5} at least')
    inner.has("threshold", _threshold, "a number above 0 and up to 1")
    inner.may_have("minimum_px", _count, "a whole number of at least 0")
    inner.may_have("largest_only", lambda value: isinstance(value, bool), "true or false")
    inner.may_have("neighbours", _share, "a number from 0 to 0.5")
    inner.may_have("refinement", _strength, "a number from 0 to 10")
    inner.may_have("least_share", _probability, "a number from 0 to 1")
    names = [field.name for field in fields(Postprocessing)]
    inner.has_only(names)
    if "pictures" in check.values:  # left out of account, the segmenter would be given others
        raise CourseError(f'{check.file}: "pictures" is called "channels" now; rename it there')
    given = {}
    for name, known in (
        ("channels", CHANNELS),
        ("grey_levels", NORMALISATIONS),
        ("frame", FRAMES),
    ):
        check.may_have(name, known.__contains__, " or ".join(known))
        if name in check.values:
            given[name] = check.values[name]
    return SegmenterSettings(Postprocessing(**inner.values), **given)


class _Checked:
    """The values of an object in a settings file, told by file and name where one is wrong."""

    def __init__(self, values: dict, file: Path, whose: str, place: str = ""):
        self.values = values
        self.file = file
        self.whose = whose
        self.place = place

    def has(self, name: str, fits: Callable[[object], bool], wanted: str) -> None:
        """Check a value that must be there."""
        if name not in self.values:
            raise CourseError(
                f'{self.file}: lacks "{self.place}{name}" ({wanted}), which the settings of '
                f"{self.whose} hold; add it, or get the file that belongs to the model"
            )
        self.may_have(name, fits, wanted)

    def may_have(self, name: str, fits: Callable[[object], bool], wanted: str) -> None:
        """Check a value that may be left out."""
        if name in self.values and not _fits(self.values[name], fits):
            raise CourseError(
                f'{self.file}: "{self.place}{name}" is {_shown(self.values[name])}; it must be '
                f"{wanted}"
            )

    def has_only(self, names: list[str]) -> None:
        """Refuse names that nothing reads: most often one that is misspelt."""
        unknown = [name for name in self.values if name not in names]
        if unknown:
            raise CourseError(
                f'{self.file}: unknown "{self.place}{_shown(unknown[0])[1:-1]}"; known are '
                f"{', '.join(names)}"
            )

    def object(self, name: str, wanted: str) -> "_Checked":
        """Return the values of an object within this one."""
        self.has(name, lambda value: isinstance(value, dict), f"an object, {wanted}")
        return _Checked(self.values[name], self.file, self.whose, f"{name}.")


def _fits(value: object, fits: Callable[[object], bool]) -> bool:
    try:
        return bool(fits(value))
    except (TypeError, OverflowError):  # a list where a name is looked up; 10 ** 400 as a float
        return False


def _shown(value: object) -> str:
    """Return a value as a message shows it: one line, not a page."""
    text = ascii(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _probability(value: object) -> bool:
    return _number(value) and 0 <= value <= 1


def _threshold(value: object) -> bool:
    # At 0 every pixel would be tumour.
    return _number(value) and 0 < value <= 1


def _share(value: object) -> bool:
    return _number(value) and 0 <= value <= 0.5


def _strength(value: object) -> bool:
    return _number(value) and 0 <= value <= 10


def _count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**31
