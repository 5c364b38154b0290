"""The square around a patient's head: pictures cut down to it, and maps put back."""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

# A row or column belongs to the head if it holds more than this share of the head's pixels that
# the fullest one holds: single bright pixels in the background do not widen the square.
_LEAST_SHARE = 0.02
# Left free on all sides together, as a share of the square.
_MARGIN = 0.04


class Square(NamedTuple):
    """A square of pixels, the same in every slice of a patient; it may reach out of the picture."""

    top: int
    left: int
    side: int


def whole_picture(shape: tuple[int, int]) -> Square:
    """Return the smallest square, around the centre, that holds a picture of this shape."""
    side = max(shape)
    return Square((shape[0] - side) // 2, (shape[1] - side) // 2, side)


def head_square(heads: Iterable[np.ndarray]) -> Square:
    """Return the square around the head in all slices of a patient.

    Parameters
    ----------
    heads : iterable of ndarray of bool, each of shape (height, width)
        Where the head is in each slice, see `volumes.head_pixels`.

    Returns
    -------
    Square
        A little larger than the head; the whole picture where there is none.

    Examples
    --------
    A head of 50 rows and 30 columns: the square has 50 / 0.96 = 52.08, rounded up to 53.

    >>> import numpy as np
    >>> from utils.cohort.framing import head_square
    >>> head = np.zeros((100, 100), bool)
    >>> head[40:90, 20:50] = True
    >>> head_square([head])
    Square(top=38, left=8, side=53)
    """
    rows = columns = 0
    for head in heads:
        rows = rows + head.sum(axis=1)
        columns = columns + head.sum(axis=0)
    shape = len(rows), len(columns)
    if not rows.any():
        return whole_picture(shape)
    ends = []
    for counts in (rows, columns):
        within = np.flatnonzero(counts > _LEAST_SHARE * counts.max())
        ends.append((int(within[0]), int(within[-1]) + 1))
    longest = max(last - first for first, last in ends)
    side = int(np.ceil(longest / (1 - _MARGIN)))
    top, left = ((first + last - side) // 2 for first, last in ends)
    return Square(top, left, side)


def cut_out(picture: np.ndarray, square: Square) -> np.ndarray:
    """Return what a square shows of a picture; 0 where it reaches out of it.

    Parameters
    ----------
    picture : ndarray, shape (height, width) or (height, width, channels)
    square : Square

    Returns
    -------
    ndarray, shape (side, side) or (side, side, channels)

    Examples
    --------
    >>> import numpy as np
    >>> from utils.cohort.framing import Square, cut_out
    >>> cut_out(np.array([[1, 2], [3, 4]]), Square(top=1, left=0, side=2)).tolist()
    [[3, 4], [0, 0]]
    """
    result = np.zeros((square.side, square.side, *picture.shape[2:]), picture.dtype)
    inside, outside = _overlap(picture.shape[:2], square)
    result[inside] = picture[outside]
    return result


def put_back(shown: np.ndarray, square: Square, shape: tuple[int, int]) -> np.ndarray:
    """Return a picture of a shape with what a square shows of it; 0 outside the square.

    The inverse of `cut_out`, for pixels inside the square.

    Examples
    --------
    >>> import numpy as np
    >>> from utils.cohort.framing import Square, put_back
    >>> put_back(np.array([[3, 4], [9, 9]]), Square(top=1, left=0, side=2), (2, 2)).tolist()
    [[0, 0], [3, 4]]
    """
    result = np.zeros((*shape, *shown.shape[2:]), shown.dtype)
    inside, outside = _overlap(shape, square)
    result[outside] = shown[inside]
    return result


def _overlap(shape: tuple[int, int], square: Square):
    """Return the part that square and picture share, counted in the square and in the picture."""
    inside, outside = [], []
    for start, length in zip((square.top, square.left), shape, strict=True):
        first, last = max(0, start), max(0, min(length, start + square.side))
        first = min(first, last)
        outside.append(slice(first, last))
        inside.append(slice(first - start, last - start))
    return tuple(inside), tuple(outside)
