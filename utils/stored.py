"""Arrays too large to hold: rows of an .npy file, read when they are asked for."""

import os

import numpy as np


class StoredRows:
    """Some rows of the array in an .npy file.

    A memory map would do, but every page of it that was ever touched counts as memory of the
    process, until nothing is saved at all.

    Parameters
    ----------
    path : path-like
        A C-ordered array, as `numpy.save` writes it.
    rows : array of int, optional
        Which rows of the file, in this order; all of them by default.

    Attributes
    ----------
    shape : tuple of int
    dtype : numpy.dtype
    """

    def __init__(self, path: str | os.PathLike, rows: np.ndarray | None = None):
        mapped = np.load(path, mmap_mode="r")
        self._path = path
        self._offset = mapped.offset
        self._rows = np.arange(len(mapped)) if rows is None else np.asarray(rows)
        self.dtype = mapped.dtype
        self.shape = (len(self._rows), *mapped.shape[1:])

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, which) -> np.ndarray:
        """Return the rows that a slice, an array of indices or an array of bool selects."""
        rows = self._rows[which]
        values = np.empty((len(rows), *self.shape[1:]), self.dtype)
        with open(self._path, "rb", buffering=0) as file:
            for value, row in zip(values, rows, strict=True):
                file.seek(self._offset + int(row) * value.nbytes)
                file.readinto(value)
        return values

    def take(self, which) -> "StoredRows":
        """Return the rows that `which` selects, unread."""
        return StoredRows(self._path, self._rows[which])
