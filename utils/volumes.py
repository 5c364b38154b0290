"""Normalised volumes: the slices of a cohort as arrays that a model can be trained on.

Every patient is normalised as a whole, not slice by slice: the brightness of one slice compared
with its neighbours says something about the tissue, and that is kept.
"""

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from utils.cohort import cohort_sha256, read_mask, read_slice
from utils.config import CourseError, atomic_path

# Where the mean of the head lands, and how many grey levels one standard deviation takes, on the
# scale 0..255: from 2.4 standard deviations below the mean to 4.0 above it is kept.
HEAD_MEAN = 96
GREY_LEVELS_PER_SD = 40


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
    """
    # Every second pixel is enough for a percentile, and four times as fast.
    bright = np.percentile(images[:, ::2, ::2], 99.5, axis=(0, 1, 2))
    # Grey levels are whole: to exceed a number is to exceed its floor, which a byte can hold.
    floors = np.floor(0.1 * bright).astype(np.uint8)
    first, second, third = (images[..., channel] > floors[channel] for channel in range(3))
    return (first & second) | (first & third) | (second & third)


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
    """
    head = head_pixels(images)
    if not head.any():
        head = np.ones_like(head)
    normalised = np.empty_like(images)
    levels = np.arange(256)
    for channel in range(images.shape[-1]):
        # The input has 256 possible values, so one table of 256 results does all the pixels.
        grey_levels = np.ascontiguousarray(images[..., channel])
        counts = np.bincount(grey_levels[head], minlength=256)
        mean = (counts * levels).sum() / counts.sum()
        deviation = np.sqrt((counts * (levels - mean) ** 2).sum() / counts.sum())
        scores = (levels - mean) / deviation if deviation > 0 else np.zeros(256)
        table = np.clip(np.round(HEAD_MEAN + GREY_LEVELS_PER_SD * scores), 0, 255)
        normalised[..., channel] = np.take(table.astype(np.uint8), grey_levels)
    return normalised


def arrange_channels(images: np.ndarray, pictures: str) -> np.ndarray:
    """Return the three channels that a model sees of each slice.

    Parameters
    ----------
    images : ndarray, shape (slices, height, width, 3)
        All slices of one patient, in order: pre-contrast, FLAIR, post-contrast.
    pictures : {"sequences", "neighbours"}
        ``"sequences"``: as they are. ``"neighbours"``: FLAIR of the slice before, of the slice
        itself and of the one after; the first and the last slice stand in for what they lack.

    Returns
    -------
    ndarray, shape (slices, height, width, 3)

    Raises
    ------
    CourseError
        If `pictures` is neither.
    """
    if pictures == "sequences":
        return images
    if pictures != "neighbours":
        raise CourseError(f"pictures={pictures!r}: unknown; choose sequences or neighbours")
    flair = images[..., 1]
    padded = np.concatenate([flair[:1], flair, flair[-1:]])
    return np.stack([padded[:-2], flair, padded[2:]], axis=-1)


def resize_image(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Return a uint8 picture, (height, width) or (height, width, 3), at `size` (height, width).

    Shrinking averages over the pixels that fall together; enlarging interpolates linearly.
    """
    if image.shape[:2] == tuple(size):
        return image
    resized = Image.fromarray(image).resize(size[::-1], Image.Resampling.BILINEAR)
    return np.asarray(resized)


def resize_mask(mask: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Return a 0/1 mask at `size`: 1 where at least half of what falls together is tumour."""
    return (resize_image(mask * np.uint8(255), size) >= 128).astype(np.uint8)


def read_volume(rows: pd.DataFrame) -> np.ndarray:
    """Return the pictures of one patient as uint8, shape (slices, height, width, 3)."""
    return np.stack([read_slice(path) for path in rows["image_path"]])


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
    """

    table: pd.DataFrame
    images: np.ndarray
    masks: np.ndarray | None

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
        chosen = self.table["patient"].isin(list(patients)).to_numpy()
        return Volumes(
            table=self.table[chosen].reset_index(drop=True),
            images=self.images[chosen],
            masks=None if self.masks is None else self.masks[chosen],
        )


def load_volumes(
    table: pd.DataFrame,
    size: int = 128,
    cache: str | Path | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Volumes:
    """Return the normalised slices of a cohort at `size` x `size` pixels.

    Parameters
    ----------
    table : pandas.DataFrame
        A cohort table, see `utils.cohort.read_cohort`.
    size : int
        Side of the pictures that are returned, in pixels.
    cache : path-like, optional
        Folder in which the arrays are kept; they are found again by the contents of the cohort
        and the size, and then mapped into memory instead of read.
    progress : callable, optional
        Called as ``progress(patients done, all patients)``.

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
    table = table.reset_index(drop=True)
    if cache is None:
        return Volumes(table, *_read_arrays(table, size, progress))
    folder = Path(cache) / f"volumes-{cohort_sha256(table)[:12]}-{size}"
    names = ["images", "masks"] if _has_masks(table) else ["images"]
    if not all((folder / f"{name}.npy").exists() for name in names):
        for name, array in zip(names, _read_arrays(table, size, progress), strict=False):
            with atomic_path(folder / f"{name}.npy") as temporary:
                np.save(temporary, array)
    arrays = [np.load(folder / f"{name}.npy", mmap_mode="r") for name in names]
    return Volumes(table, arrays[0], arrays[1] if _has_masks(table) else None)


def _has_masks(table: pd.DataFrame) -> bool:
    return bool(table["tumour_px"].notna().all())


def _read_arrays(table, size, progress):
    """Return images and masks (or None), read by patient with two threads."""
    images = np.empty((len(table), size, size, 3), np.uint8)
    with_masks = _has_masks(table)
    masks = np.zeros((len(table), size, size), np.uint8) if with_masks else None

    def read_patient(rows: pd.DataFrame) -> None:
        for row, image in zip(rows.index, normalise_volume(read_volume(rows)), strict=True):
            images[row] = resize_image(image, (size, size))
        if with_masks:
            for row, path in rows.loc[rows["has_tumour"].astype(bool), "mask_path"].items():
                masks[row] = resize_mask(read_mask(path), (size, size))

    groups = [rows for _, rows in table.groupby("patient", sort=False)]
    with ThreadPoolExecutor(max_workers=2) as pool:
        for done, _ in enumerate(pool.map(read_patient, groups), start=1):
            if progress is not None:
                progress(done, len(groups))
    return images, masks
