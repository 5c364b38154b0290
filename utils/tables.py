"""CSV tables in which names stay names, whatever they look like."""

import os
from pathlib import Path

import pandas as pd

from utils.config import CourseError, atomic_path

# Columns of names: "001", "1e5", "NA" and "True" are text in them, and none of them is missing.
TEXT = ("patient", "institution", "part", "fold", "experiment", "attempt")
_MISSING = ["", "NA", "NaN", "nan"]


def write_table(path: str | os.PathLike, table: pd.DataFrame) -> Path:
    """Write a table without its index, atomically, and return its path."""
    path = Path(path)
    with atomic_path(path) as temporary:
        table.to_csv(temporary, index=False, encoding="utf-8")
    return path


def read_table(path: str | os.PathLike, remedy: str = "make it anew") -> pd.DataFrame:
    """Return a table that `write_table` wrote: the columns in `TEXT` as text, others as numbers.

    Parameters
    ----------
    path : path-like
    remedy : str
        What the user can do if it is damaged.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    CourseError
        If it is no table.
    """
    try:
        columns = pd.read_csv(path, nrows=0, encoding="utf-8").columns
        table = pd.read_csv(
            path,
            dtype={name: str for name in TEXT if name in columns},
            keep_default_na=False,
            na_values={name: _MISSING for name in columns if name not in TEXT},
            encoding="utf-8",
        )
    except ValueError as error:  # those of pandas, and of what is no UTF-8, are ValueErrors
        raise CourseError(f"{path}: not readable as a table; {remedy}") from error
    # Where rows have more fields than the header, pandas takes the first for names of the rows, and
    # every value would stand in the column before its own.
    if not isinstance(table.index, pd.RangeIndex):
        raise CourseError(f"{path}: its rows have more fields than its header has names; {remedy}")
    return table
