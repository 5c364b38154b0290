"""Which grey levels of a volume are black and white, and where the head is in it.

Scanners and programs agree on nothing: the air around a head may be noise, 0, -1024, the largest
number, or no number at all, and there may be much of it or none. The scale to 8 bits is therefore
measured on the head alone.
"""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

# What becomes 255: the brightest thousandth of the head is vessels, fat and artefacts.
WHITE_PERCENTILE = 99.9
BLACK_PERCENTILE = 0.1
# Voxels in which the air and the head are looked for; a larger volume is thinned out.
MOST_COARSE = 2**21
# Less, in mm, across or from front to back, is no head.
SMALLEST_HEAD_MM = 50.0
# A value is padding if so much of a rim has it exactly, and no other value nearly as often.
PADDING_SHARE = 0.2
# Layers of padding of different value, such as a circle of -1024 in a square of -3024.
MOST_LAYERS = 3
# Air is taken to reach so many times its own spread above its level; pieces of less than this
# share of the largest one are specks.
AIR_SPREADS = 6
SPECK = 0.1
# The share of voxels that may be darker than air after all.
DARKER_THAN_AIR = 0.005

_THICK = np.ones((1, 5, 5), bool)
_CROSS = ndimage.generate_binary_structure(2, 1)[np.newaxis]


@dataclass(frozen=True)
class Levels:
    """How a volume is brought to 8 bits, and where its head lies.

    Attributes
    ----------
    black, white : float
        The values that become 0 and 255; equal for a volume in which nothing is to be seen.
    padding : tuple of float
        Constant values around the head; areas of them become 0, whatever they are.
    box : tuple of three (int, int), or None
        First and one after the last voxel of the head: slices, rows, columns. None where no head
        can be told from what is around it.
    inverted : bool
        Whether the air is brighter than the head, and is not just one constant value.
    no_number : bool
        Whether some values are not finite.
    bright_padding : float or None
        The padding that is as bright as the brightest tissue, if there is one.
    """

    black: float
    white: float
    padding: tuple[float, ...] = ()
    box: tuple[tuple[int, int], ...] | None = None
    inverted: bool = False
    no_number: bool = False
    bright_padding: float | None = None


@dataclass(frozen=True)
class _Air:
    """Noise around a head: the value that it stays below, and its darkest."""

    ceiling: float
    floor: float


def measure(
    volume: np.ndarray,
    voxel_mm: tuple[float, float, float],
    steps: tuple[int, int, int] = (1, 1, 1),
) -> Levels:
    """Return the grey levels of a volume and where its head is.

    Parameters
    ----------
    volume : ndarray of float32, shape (slices, height, width)
        Axial slices of one sequence; every `steps`-th voxel is enough. What is not finite counts
        as padding.
    voxel_mm : tuple of float
        Distance of the slices, height and width of a voxel as given, in mm.
    steps : tuple of int
        How many voxels of the whole volume lie between two of these, along each axis.

    Returns
    -------
    Levels
    """
    thin = _thinning(volume.shape)
    coarse = volume[tuple(slice(None, None, step) for step in thin)]
    padding, inside = _padding(coarse)
    air, sign = _air(coarse, inside), 1
    if air is None:
        air, sign = _air(-coarse, inside), -1
    signed = volume if sign == 1 else -volume
    chosen = _foreground(signed, volume, padding, air)
    if not chosen.any():
        finite = volume[np.isfinite(volume)]
        black, white = _percentiles(finite) if finite.size else (0.0, 0.0)
        return Levels(black, white, padding, no_number=finite.size < volume.size)
    tissue = volume[chosen]
    black, white = _percentiles(tissue)
    if air is not None and sign == 1:
        black = min(black, air.floor)
    black = _natural_black(black, white, padding)
    high = [value for value in padding if value >= np.percentile(tissue, 95) and value > black]
    scale = np.multiply(thin, steps)
    box = _box(_foreground(coarse if sign == 1 else -coarse, coarse, padding, air), scale,
               np.multiply(voxel_mm, thin))  # fmt: skip
    inverted = air is not None and sign == -1
    holes = not np.isfinite(volume).all()
    return Levels(black, white, padding, box, inverted, holes, max(high, default=None))


def to_8_bit(values: np.ndarray, levels: Levels) -> np.ndarray:
    """Return values on the scale 0..255: linear from black to white, clipped, padding 0.

    Parameters
    ----------
    values : ndarray of float32, shape (..., height, width)
        What is no number becomes 0.
    levels : Levels

    Returns
    -------
    ndarray of uint8, of the same shape
        All 0 where black and white are the same.
    """
    if not levels.white > levels.black:
        return np.zeros(values.shape, np.uint8)
    outside = ~np.isfinite(values)
    for value in levels.padding:
        same = values == np.float32(value)
        # What is darker than black is cut off anyway. A single voxel of that value is tissue.
        if value > levels.black and same.any():
            solid = ndimage.binary_opening(same, _square(values.ndim))
            outside |= ndimage.binary_propagation(solid, mask=same)
    # In double precision, in which no difference of two floats overflows.
    scaled = (values.astype(np.float64) - levels.black) * (255 / (levels.white - levels.black))
    scaled[outside] = 0
    return np.round(np.clip(scaled, 0, 255)).astype(np.uint8)


def _square(dimensions: int) -> np.ndarray:
    """Return the 3 x 3 voxels of the last two axes."""
    return np.ones((*[1] * (dimensions - 2), 3, 3), bool)


def _percentiles(values: np.ndarray) -> tuple[float, float]:
    low, high = np.percentile(values, (BLACK_PERCENTILE, WHITE_PERCENTILE))
    return float(low), float(high)


def _thinning(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return which steps leave at most `MOST_COARSE` voxels: the longest axis is thinned first."""
    steps = np.ones(len(shape), int)
    while np.prod(-(-np.array(shape) // steps)) > MOST_COARSE:
        steps[np.argmax(np.array(shape) // steps)] *= 2
    return tuple(int(step) for step in steps)


def _padding(volume: np.ndarray) -> tuple[tuple[float, ...], np.ndarray]:
    """Return the constant values around a volume, and where they are not, as bool."""
    inside = np.isfinite(volume)
    found = []
    for _ in range(MOST_LAYERS):
        constant = _constant(volume[_rim(inside)])
        if constant is None:
            break
        # Scattered voxels of noise have the value of the padding by chance; padding is solid.
        solid = ndimage.binary_opening(volume == constant, _square(3))
        if not solid.any():
            break
        found.append(float(constant))
        inside &= ~solid
    return tuple(found), inside


def _rim(inside: np.ndarray) -> np.ndarray:
    """Return the voxels of a region that lie at its edge within their slice."""
    return inside & ~ndimage.binary_erosion(inside, _CROSS)


def _constant(values: np.ndarray):
    """Return the value that many of `values` have exactly, and far more than any other; or None."""
    if not values.size:
        return None
    distinct, counts = np.unique(values, return_counts=True)
    order = np.argsort(counts)
    most = counts[order[-1]]
    second = counts[order[-2]] if len(order) > 1 else 0
    return distinct[order[-1]] if most >= max(PADDING_SHARE * values.size, 3 * second) else None


def _air(volume: np.ndarray, inside: np.ndarray) -> _Air | None:
    """Return the noise at the rim of a region; None if what lies there is no dark, even noise."""
    edge = _rim(inside)
    rim = volume[edge]
    if not rim.size:
        return None
    # The rim may cut through the neck, or through the ears: the darker part of it is the air.
    floor, low, level = (float(value) for value in np.percentile(rim, (1, 5, 25)))
    # From the 5th to the 25th percentile there is about one standard deviation.
    reach = level + AIR_SPREADS * (level - low)
    values = volume[inside]
    brighter = values[values > reach]
    if brighter.size < 50:
        return None
    bright = float(np.percentile(brighter, 99))
    if reach - floor > 0.5 * (bright - floor):
        return None
    # Nothing is darker than air: around a brain without its skull lies brain, and fluid in it.
    if np.count_nonzero(values < level - 4 * (level - low)) > DARKER_THAN_AIR * values.size:
        return None
    ceiling = max(reach, level + 0.1 * (bright - level))
    # Air is a thick layer; the dark outermost voxels of a head or of a brain are a thin one.
    dark = inside & (volume <= ceiling)
    thick = ndimage.binary_opening(dark, _THICK)
    if np.count_nonzero(edge & thick) < 0.5 * np.count_nonzero(edge & dark):
        return None
    return _Air(ceiling, floor)


def _foreground(signed, volume, padding, air: _Air | None) -> np.ndarray:
    """Return which voxels are neither padding nor air; `signed` is `volume` or its negative."""
    chosen = np.isfinite(volume)
    for value in padding:
        chosen &= volume != np.float32(value)
    if air is not None:
        chosen &= signed > air.ceiling
    return chosen


def _natural_black(black: float, white: float, padding: tuple[float, ...]) -> float:
    """Return the padding as black where it is that, and not a number from elsewhere.

    0 is what a scanner gives where there is no signal, so more of the scale is left to it.
    """
    for value in sorted(padding, reverse=True):
        share = 1.0 if value == 0 else 0.25
        if value < black and black - value <= share * (white - black):
            return value
    return black


def _box(head: np.ndarray, scale, edges_mm) -> tuple[tuple[int, int], ...] | None:
    """Return the box around the large pieces of `head`, in voxels of the whole volume."""
    pieces, count = ndimage.label(head, np.ones((3, 3, 3)))
    # Where all is head, nothing shows that it is one.
    if not count or head.all():
        return None
    sizes = np.bincount(pieces.ravel())[1:]
    large = [place for place, size in enumerate(sizes) if size >= SPECK * sizes.max()]
    places = ndimage.find_objects(pieces)
    box = []
    for axis in range(3):
        first = min(places[piece][axis].start for piece in large)
        last = max(places[piece][axis].stop for piece in large)
        if axis > 0 and (last - first) * edges_mm[axis] < SMALLEST_HEAD_MM:
            return None
        box.append((int(first * scale[axis]), int(last * scale[axis])))
    return tuple(box)
