"""Normalised volumes: the slices of a cohort as arrays that a model can be trained on.

Every patient is normalised as a whole, not slice by slice: the brightness of one slice compared
with its neighbours says something about the tissue, and that is kept.
"""

import contextlib
import math
import threading
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image
from scipy import ndimage

from utils.cohort.framing import Square, cut_out, head_square
from utils.cohort.table import cohort_sha256
from utils.cohort.tiff import read_mask, read_slice
from utils.config import CourseError, atomic_path, read_json, write_json

# Where the mean of the head lands, and how many grey levels one standard deviation takes, on the
# scale 0..255: from 2.4 standard deviations below the mean to 4.0 above it is kept.
HEAD_MEAN = 96
GREY_LEVELS_PER_SD = 40
# A pixel is head if it is brighter than this share of this percentile of its channel.
_HEAD_SHARE, _HEAD_PERCENTILE = 0.1, 99.5
# Whose neighbouring slices are channels, see `arrange_channels`.
SEQUENCES = {"neighbours": (1,), "all": (0, 1, 2)}
# How many channels each arrangement has.
CHANNELS = {"sequences": 3, "neighbours": 3, "all": 9}
# Where the mode of the brain lands on that scale: three times its brightness is the brightest.
BRAIN_MODE = 85
# What is nearer to the edge of the head, as a share of the picture's side, is scalp and skull
# rather than brain; and over how many grey levels a histogram is smoothed before its mode is taken.
_SCALP, _SMOOTHED_LEVELS = 0.05, 3.0
# A patient's slices are kept in memory between two readings if they take no more than this.
_KEPT_BYTES = 128 << 20


def head_pixels(images: np.ndarray) -> np.ndarray:
    """Return where the head is in a volume.

    A pixel counts as head if at least two of the three channels exceed a tenth of their 99.5th
    percentile. Two, because single channels with a bright background occur.

    Parameters
    ----------
    images : ndarray of uint8, shape (slices, height, width, 3)

    Returns
    -------
    ndarray of bool, shape (slices, height, width)

    Examples
    --------
    The right half is bright in all channels; on the left, one channel has noise.

    >>> import numpy as np
    >>> from utils.cohort.volumes import head_pixels
    >>> images = np.zeros((1, 2, 4, 3), np.uint8)
    >>> images[:, :, 2:] = 100
    >>> images[:, :, :2, 0] = 30
    >>> head_pixels(images)[0].astype(int)
    array([[0, 0, 1, 1],
           [0, 0, 1, 1]])
    """
    return _brighter(images, _head_floors(images))


def _head_floors(slices: Iterable[np.ndarray]) -> list[np.uint8]:
    """Return for each channel the grey level that a pixel of the head exceeds."""
    # Every second pixel is enough for a percentile, and four times as fast.
    counts = sum(_grey_levels(image[::2, ::2]) for image in slices)
    bright = [_percentile(channel, _HEAD_PERCENTILE) for channel in counts]
    # Grey levels are whole: to exceed a number is to exceed its floor, which a byte can hold.
    return [np.uint8(np.floor(_HEAD_SHARE * one)) for one in bright]


def _percentile(counts: np.ndarray, percent: float) -> float:
    """Return what `numpy.percentile` does for the values that were counted, to the last bit."""
    place = (counts.sum() - 1) * (percent / 100)
    below = int(np.floor(place))
    low, high = np.searchsorted(np.cumsum(counts), [below, below + 1], side="right").tolist()
    high = min(high, len(counts) - 1)
    part = place - below
    # The two forms of the same line that numpy uses, each exact at its end.
    return low + (high - low) * part if part < 0.5 else high - (high - low) * (1 - part)


def _brighter(images: np.ndarray, floors: list[np.uint8]) -> np.ndarray:
    first, second, third = (images[..., channel] > floors[channel] for channel in range(3))
    return (first & second) | (first & third) | (second & third)


def _grey_levels(image: np.ndarray, where: np.ndarray | None = None) -> np.ndarray:
    """Return how often each channel has each grey level, (3, 256); `where` it is True."""
    channels = (np.ascontiguousarray(image[..., channel]) for channel in range(3))
    return np.stack(
        [
            np.bincount(one.ravel() if where is None else one[where], minlength=256)
            for one in channels
        ]
    )


def normalisation(slices: Iterable[np.ndarray]) -> np.ndarray:
    """Return what each grey level of a patient becomes, see `normalise_volume`.

    Parameters
    ----------
    slices : iterable of ndarray of uint8, each of shape (height, width, 3)
        All slices of the patient. It is gone through twice (three times if there is no head), one
        slice at a time, so that a large volume need not be in memory.

    Returns
    -------
    ndarray of uint8, shape (3, 256)
        One table for each channel.
    """
    floors = _head_floors(slices)
    counts = sum(_grey_levels(image, _brighter(image, floors)) for image in slices)
    if not counts[0].sum():
        counts = sum(map(_grey_levels, slices))
    levels = np.arange(256)
    tables = np.empty((3, 256), np.uint8)
    for table, count in zip(tables, counts, strict=True):
        mean = (count * levels).sum() / count.sum()
        deviation = np.sqrt((count * (levels - mean) ** 2).sum() / count.sum())
        scores = (levels - mean) / deviation if deviation > 0 else np.zeros(256)
        table[:] = np.clip(np.round(HEAD_MEAN + GREY_LEVELS_PER_SD * scores), 0, 255)
    return tables


def mode_normalisation(slices: Iterable[np.ndarray]) -> np.ndarray:
    """Return what each grey level of a patient becomes if its brain is to have one brightness.

    The most frequent grey level of the brain becomes `BRAIN_MODE`, and all others in proportion,
    so that 0 stays 0. Unlike mean and deviation of the head, it depends neither on how much scalp
    is in the picture nor on how large the tumour is.

    Parameters
    ----------
    slices : iterable of ndarray of uint8, each of shape (height, width, 3)
        All slices of the patient. It is gone through twice, one slice at a time.

    Returns
    -------
    ndarray of uint8, shape (3, 256)
        One table for each channel; of zeros for a channel that is black in the brain. Without a
        brain in any channel as `normalisation` has them.
    """
    floors = _head_floors(slices)
    counts = np.zeros((3, 256))
    for image in slices:
        thin = image[::2, ::2]  # enough for a mode, and a quarter of the time
        depth = ndimage.distance_transform_edt(ndimage.binary_fill_holes(_brighter(thin, floors)))
        counts += _grey_levels(thin, depth > _SCALP * max(thin.shape[:2]))
    for count, floor in zip(counts, floors, strict=True):
        count[: max(1, int(floor))] = 0
    if not counts.any():
        return normalisation(slices)
    levels = np.arange(256)
    tables = np.zeros((3, 256), np.uint8)
    for channel in np.flatnonzero(counts.any(axis=1)):
        count = counts[channel]
        mode = ndimage.gaussian_filter1d(count, _SMOOTHED_LEVELS, mode="constant").argmax()
        tables[channel] = np.clip(np.round(levels * (BRAIN_MODE / max(1, mode))), 0, 255)
    return tables


def normalise_image(image: np.ndarray, tables: np.ndarray) -> np.ndarray:
    """Return a slice or a volume with its grey levels replaced.

    Parameters
    ----------
    image : ndarray of uint8, shape (..., 3)
    tables : ndarray of uint8, shape (3, 256)
        For each channel, what each grey level becomes; from `normalisation`.

    Returns
    -------
    ndarray of uint8, in the shape of `image`

    Examples
    --------
    A table that turns dark into bright:

    >>> import numpy as np
    >>> from utils.cohort.volumes import normalise_image
    >>> tables = np.tile(np.arange(255, -1, -1, dtype=np.uint8), (3, 1))
    >>> normalise_image(np.array([[[0, 55, 255]]], np.uint8), tables).tolist()
    [[[255, 200, 0]]]
    """
    normalised = np.empty_like(image)
    for channel, table in enumerate(tables):
        # The input has 256 possible values, so one table of 256 results does all the pixels.
        normalised[..., channel] = np.take(table, np.ascontiguousarray(image[..., channel]))
    return normalised


def normalise_volume(images: np.ndarray) -> np.ndarray:
    """Return a volume with each channel standardised over the pixels of the head.

    The z-score (value - mean) / standard deviation is stored in 8 bits, which saves three
    quarters of the memory: ``96 + 40 z``, rounded and clipped to 0..255. A channel that is
    constant over the head becomes 96 throughout.

    Parameters
    ----------
    images : ndarray of uint8, shape (slices, height, width, 3)
        All slices of one patient: pre-contrast, FLAIR, post-contrast.

    Returns
    -------
    ndarray of uint8, shape (slices, height, width, 3)

    Examples
    --------
    The mean is 100 and the standard deviation 50, so z is -1 and 1: 96 - 40 and 96 + 40.

    >>> import numpy as np
    >>> from utils.cohort.volumes import normalise_volume
    >>> images = np.array([50, 50, 150, 150], np.uint8).reshape(1, 1, 4, 1).repeat(3, axis=-1)
    >>> normalise_volume(images)[0, 0, :, 1].tolist()
    [56, 56, 136, 136]
    """
    return normalise_image(images, normalisation(images))


def arrange_channels(images: np.ndarray, channels: str) -> np.ndarray:
    """Return the channels that a model sees of each slice.

    Parameters
    ----------
    images : ndarray, shape (slices, height, width, 3)
        All slices of one patient, in order: pre-contrast, FLAIR, post-contrast.
    channels : {"sequences", "neighbours", "all"}
        ``"sequences"``: as they are. ``"neighbours"``: FLAIR of the slice before, of the slice
        itself and of the one after; the first and the last slice stand in for what they lack.
        ``"all"``: so for each of the three sequences, one after the other.

    Returns
    -------
    ndarray, shape (slices, height, width, 3), for ``"all"`` (slices, height, width, 9)

    Raises
    ------
    ValueError
        If `channels` is none of these.

    Examples
    --------
    Three slices of one pixel; FLAIR is 10, 20 and 30.

    >>> import numpy as np
    >>> from utils.cohort.volumes import arrange_channels
    >>> images = np.array([[1, 10, 100], [2, 20, 200], [3, 30, 255]], np.uint8).reshape(3, 1, 1, 3)
    >>> arrange_channels(images, "neighbours").reshape(3, 3).tolist()
    [[10, 10, 20], [10, 20, 30], [20, 30, 30]]
    """
    if channels == "sequences":
        return images
    if channels not in SEQUENCES:
        raise ValueError(f"channels={channels!r}: unknown; choose sequences, neighbours or all")
    padded = np.concatenate([images[:1], images, images[-1:]])
    result = np.empty((*images.shape[:-1], 3 * len(SEQUENCES[channels])), images.dtype)
    for place, sequence in enumerate(SEQUENCES[channels]):
        for offset in range(3):
            result[..., 3 * place + offset] = padded[offset : offset + len(images), ..., sequence]
    return result


def flair_of(images: np.ndarray) -> np.ndarray:
    """Return FLAIR of each slice itself, whatever the channels are: the middle one of them."""
    return images[..., images.shape[-1] // 2]


def resize_image(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Return a picture at another size.

    Shrinking averages over the pixels that fall together; enlarging interpolates linearly.

    Parameters
    ----------
    image : ndarray of uint8, shape (height, width) or (height, width, 3)
    size : (int, int)
        Height and width, in pixels.

    Returns
    -------
    ndarray of uint8, shape (*size) or (*size, 3)
        `image` itself if it has that size.
    """
    if image.shape[:2] == tuple(size):
        return image
    resized = Image.fromarray(image).resize(size[::-1], Image.Resampling.BILINEAR)
    return np.asarray(resized)


def resize_mask(mask: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Return a mask at another size: 1 where at least half of what falls together is tumour.

    Parameters
    ----------
    mask : ndarray of 0 and 1, shape (height, width)
    size : (int, int)
        Height and width, in pixels.

    Returns
    -------
    ndarray of uint8, shape `size`
        0 and 1.

    Examples
    --------
    >>> import numpy as np
    >>> from utils.cohort.volumes import resize_mask
    >>> resize_mask(np.array([[0, 0, 1, 1], [0, 0, 1, 1]], np.uint8), (1, 2)).tolist()
    [[0, 1]]
    """
    return (resize_image(mask * np.uint8(255), size) >= 128).astype(np.uint8)


def read_volume(rows: pd.DataFrame) -> np.ndarray:
    """Return the pictures of one patient, as they are in the files.

    Parameters
    ----------
    rows : pandas.DataFrame
        The patient's rows of the cohort table; needs `image_path`.

    Returns
    -------
    ndarray of uint8, shape (slices, height, width, 3)

    Raises
    ------
    CourseError
        If a file cannot be read.
    """
    return np.stack([read_slice(path) for path in rows["image_path"]])


class SliceFiles:
    """The slices of one patient, read one by one, as often as they are gone through.

    Kept in memory where they are small; an honest patient of 400 slices of 1024 x 1024 pixels has
    1.3 GB.
    """

    def __init__(self, paths: Iterable[str]):
        self._paths = list(paths)
        self._kept: list[np.ndarray] | None = None

    def __iter__(self) -> Iterator[np.ndarray]:
        if self._kept is not None:
            yield from self._kept
            return
        kept = []
        for path in self._paths:
            image = read_slice(path)
            if image.nbytes * len(self._paths) <= _KEPT_BYTES:
                kept.append(image)
            yield image
        if len(kept) == len(self._paths):
            self._kept = kept


@dataclass(frozen=True)
class View:
    """How a model is shown the slices of a patient.

    Attributes
    ----------
    size : int
        Side of the pictures, in pixels.
    grey_levels : {"head_mean", "brain_mode"}
        What is made alike in all patients, see `normalise_volume` and `mode_normalisation`.
    frame : {"picture", "head"}
        Whether the whole picture is shown, or the square around the head.
    """

    size: int
    grey_levels: str = "head_mean"
    frame: str = "picture"


NORMALISATIONS = {"head_mean": normalisation, "brain_mode": mode_normalisation}
FRAMES = ("picture", "head")


@dataclass(frozen=True)
class Prepared:
    """The slices of one patient as a model is shown them, and where that is in the files.

    Attributes
    ----------
    shape : (int, int)
        Height and width of the pictures in the files.
    square : Square or None
        What is shown of them; None: the whole picture, stretched to a square if it is none.
    images : ndarray of uint8, shape (slices, size, size, 3)
    """

    shape: tuple[int, int]
    square: Square | None
    images: np.ndarray


def read_views(rows: pd.DataFrame, views: Iterable[View]) -> dict[View, Prepared]:
    """Return one patient's normalised pictures in one or more views, read slice by slice.

    Parameters
    ----------
    rows : pandas.DataFrame
        The patient's rows of the cohort table.
    views : iterable of View

    Returns
    -------
    dict
        View -> Prepared.
    """
    slices, views = SliceFiles(rows["image_path"]), list(dict.fromkeys(views))
    tables = {name: NORMALISATIONS[name](slices) for name in {one.grey_levels for one in views}}
    square = None
    if any(view.frame == "head" for view in views):
        floors = _head_floors(slices)
        square = head_square(_brighter(image, floors) for image in slices)
    images = {view: np.empty((len(rows), view.size, view.size, 3), np.uint8) for view in views}
    for place, image in enumerate(slices):
        shown = {}  # views that differ in their size alone share what is shown
        for view, pictures in images.items():
            key = view.grey_levels, view.frame
            if key not in shown:
                whole = image if view.frame == "picture" else cut_out(image, square)
                shown[key] = normalise_image(whole, tables[view.grey_levels])
            pictures[place] = resize_image(shown[key], (view.size, view.size))
    return {
        view: Prepared(image.shape[:2], square if view.frame == "head" else None, pictures)
        for view, pictures in images.items()
    }


@dataclass(frozen=True)
class Volumes:
    """The slices of a cohort, row by row as in its table.

    Attributes
    ----------
    table : pandas.DataFrame
        The cohort table, rows 0..n-1.
    images : ndarray of uint8, shape (n, size, size, 3)
        Normalised pictures, see `normalise_volume`.
    masks : ndarray of uint8, shape (n, size, size), or None
        1 in the tumour; None for a cohort without masks.
    squares : dict of str to Square, or None
        Patient -> what of the files is shown; None: the whole pictures.
    """

    table: pd.DataFrame
    images: np.ndarray
    masks: np.ndarray | None
    squares: dict[str, Square] | None = None

    def __len__(self) -> int:
        return len(self.table)

    @property
    def patients(self) -> list[str]:
        """The patients, in the order of the table."""
        return list(self.table["patient"].unique())

    @property
    def labels(self) -> np.ndarray:
        """True for the slices with tumour, by the full-size masks; shape (n,)."""
        return self.table["has_tumour"].to_numpy(dtype=bool)

    def of(self, patients: Iterable[str]) -> "Volumes":
        """Return the volumes of these patients only."""
        return self.rows(self.table["patient"].isin(list(patients)).to_numpy())

    def rows(self, chosen: np.ndarray) -> "Volumes":
        """Return some of the slices; `chosen` is bool, shape (n,)."""
        return Volumes(
            table=self.table[chosen].reset_index(drop=True),
            images=self.images[chosen],
            masks=None if self.masks is None else self.masks[chosen],
            squares=self.squares,
        )


def load_volumes(
    table: pd.DataFrame,
    size: int = 128,
    cache: str | Path | None = None,
    *,
    grey_levels: str = View.grey_levels,
    frame: str = View.frame,
) -> Volumes:
    """Return the normalised slices of a cohort at `size` x `size` pixels.

    Parameters
    ----------
    table : pandas.DataFrame
        A cohort table, see `utils.cohort.table.read_cohort`.
    size : int
        Side of the pictures that are returned, in pixels.
    cache : path-like, optional
        Folder in which the arrays are kept; they are found again by the contents of the cohort
        and the view, and then mapped into memory instead of read.
    grey_levels, frame : str
        See `View`.

    Returns
    -------
    Volumes

    Raises
    ------
    CourseError
        If a file cannot be read, or `size` is under 32.
    """
    if size < 32:
        raise CourseError(f"size={size}: too small to show a tumour; choose at least 32 pixels")
    view = View(size, grey_levels, frame)
    table = table.reset_index(drop=True)
    if cache is None:
        shapes = _shapes(table, view)
        arrays = {name: np.zeros(shape, np.uint8) for name, shape in shapes.items()}
        squares = _fill(arrays, table, view)
        return Volumes(table, arrays["images"], arrays.get("masks"), squares)
    folder = Path(cache) / f"volumes-{cohort_sha256(table)[:12]}-{_name(view)}"
    files = {name: folder / f"{name}.npy" for name in _shapes(table, view)}
    kept = folder / "squares.json"  # written last
    if not all(file.exists() for file in files.values()) or not kept.exists():
        _write(files, kept, table, view)
    arrays = {name: np.load(file, mmap_mode="r") for name, file in files.items()}
    squares = {patient: Square(*values) for patient, values in read_json(kept).items()}
    return Volumes(table, arrays["images"], arrays.get("masks"), squares or None)


def _name(view: View) -> str:
    """Return what the cache of a view is called."""
    values = [str(view.size), view.grey_levels, view.frame]
    usual = [None, View.grey_levels, View.frame]
    return "-".join(one for one, other in zip(values, usual, strict=True) if one != other)


def _has_masks(table: pd.DataFrame) -> bool:
    return bool(table["tumour_px"].notna().all())


def _shapes(table: pd.DataFrame, view: View) -> dict[str, tuple[int, ...]]:
    """Return the shapes of the arrays of a cohort, by name."""
    shapes = {"images": (len(table), view.size, view.size, 3)}
    if _has_masks(table):
        shapes["masks"] = (len(table), view.size, view.size)
    return shapes


def _write(files: dict[str, Path], kept: Path, table: pd.DataFrame, view: View) -> None:
    """Write the arrays of a cohort row by row, and its squares last.

    So a cohort may be larger than the memory of this machine.
    """
    shapes = _shapes(table, view)
    with contextlib.ExitStack() as stack:
        arrays = {}
        for name, file in files.items():
            temporary = stack.enter_context(atomic_path(file))
            arrays[name] = stack.enter_context(contextlib.closing(_Rows(temporary, shapes[name])))
        squares = _fill(arrays, table, view)
    write_json(kept, {} if squares is None else squares)


class _Rows:
    """A ``.npy`` file of zeros, uint8, whose rows can be set, by several threads too.

    Written to rather than mapped into memory: where the disk is full, that raises an error,
    and a mapped page would end the process.
    """

    def __init__(self, path: Path, shape: tuple[int, ...]):
        self._lock = threading.Lock()
        self._file = path.open("wb")
        header = {"descr": "|u1", "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(self._file, header)
        self._start, self._size = self._file.tell(), math.prod(shape[1:])
        self._file.truncate(self._start + math.prod(shape))

    def __setitem__(self, rows: Sequence[int], values: np.ndarray) -> None:
        with self._lock:
            for row, value in zip(rows, values, strict=True):
                self._file.seek(self._start + row * self._size)
                self._file.write(np.ascontiguousarray(value, np.uint8).data)

    def close(self) -> None:
        self._file.close()


def _fill(arrays: dict[str, "np.ndarray | _Rows"], table: pd.DataFrame, view: View):
    """Read all slices into arrays of zeros, by patient with two threads; return the squares.

    They are None where pictures are not cut to the head.
    """

    def read_patient(rows: pd.DataFrame) -> Square | None:
        prepared = read_views(rows, [view])[view]
        arrays["images"][rows.index] = prepared.images
        if "masks" in arrays:
            for row, path in rows.loc[rows["has_tumour"].astype(bool), "mask_path"].items():
                mask = read_mask(path)
                shown = mask if prepared.square is None else cut_out(mask, prepared.square)
                resized = resize_mask(shown, (view.size, view.size))
                arrays["masks"][[row]] = resized[None]
        return prepared.square

    groups = dict(iter(table.groupby("patient", sort=False)))
    with ThreadPoolExecutor(max_workers=2) as pool:
        squares = dict(zip(groups, pool.map(read_patient, groups.values()), strict=True))
    return squares if view.frame == "head" else None
