"""Small masks to try answers on, drawn as text, and how two are compared."""

import numpy as np


def mask(*lines: str) -> np.ndarray:
    """Return a mask (bool, height x width) from rows such as ``".##."``."""
    return np.array([[pixel == "#" for pixel in line] for line in lines])


def same(values, others, within: float = 1e-6) -> bool:
    """Return whether two arrays have one shape and, but for rounding, the same values."""
    values, others = np.asarray(values, dtype=float), np.asarray(others, dtype=float)
    return values.shape == others.shape and bool(
        np.allclose(values, others, rtol=0, atol=within, equal_nan=True)
    )
