"""The ratios that `make bench` measures: kept in a table, of which a part of the README is made."""

import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from operator import ge, gt, le
from pathlib import Path

import pandas as pd

from utils import config
from utils.config import CourseError
from utils.evaluation.text import format_bounds, format_number, markdown_table, put_between_marks
from utils.tables import read_table, write_table

FIGURES = config.RESULTS / "bench.csv"
README = config.ROOT / "README.md"
MARK = "bench"
HEADS = ("Measured by", "Ratio", "Median", "Range", "Aim")


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Attributes
    ----------
    measure : str
        What `--only` takes; a measure may have several rows.
    ratio : str
        What is compared.
    aim : str
        ``at least 1.3``, ``above 1``, ``at most 1``, or nothing.
    median, low, high : float
        Of the repeats.
    repeats : int
    machine : str
        Where they were measured: processor, cores, versions.
    """

    measure: str
    ratio: str
    aim: str
    median: float
    low: float
    high: float
    repeats: int
    machine: str

    @property
    def reached(self) -> bool:
        """Whether the median is where it was aimed at; without an aim, it is."""
        *words, bound = self.aim.split() or [""]
        compare = {"": lambda *_: True, "at least": ge, "above": gt, "at most": le}
        return compare[" ".join(words)](self.median, float(bound or 0))


def row(measure: str, ratio: str, aim: str, ratios: Sequence[float], machine: str) -> Row:
    """Return the row of these repeats, with ratios to three decimals."""
    numbers = (statistics.median(ratios), min(ratios), max(ratios))
    return Row(measure, ratio, aim, *(round(one, 3) for one in numbers), len(ratios), machine)


def read_rows(path: Path = FIGURES) -> list[Row]:
    """Return the rows that are kept, none if there is no such file.

    Raises
    ------
    CourseError
        If it is not such a table.
    """
    if not path.exists():
        return []
    remedy = "delete it, and run make bench"
    table = read_table(path, remedy)
    try:
        return [Row(**one) for one in table.fillna("").to_dict("records")]
    except TypeError as error:
        raise CourseError(f"{path}: no table of ratios; {remedy}") from error


def with_new(kept: Sequence[Row], new: Sequence[Row], order: Sequence[str]) -> list[Row]:
    """Return all rows, the new ones in the place of the older ones of the same measure.

    Parameters
    ----------
    kept, new : sequence of Row
    order : sequence of str
        All measures. A row of another one is dropped: nothing measures it any more.
    """
    replaced = {one.measure for one in new}
    rows = [*(one for one in kept if one.measure not in replaced), *new]
    return sorted(
        (one for one in rows if one.measure in order), key=lambda one: order.index(one.measure)
    )


def write_rows(rows: Sequence[Row], path: Path = FIGURES) -> None:
    """Keep the rows."""
    names = [field.name for field in fields(Row)]
    write_table(path, pd.DataFrame([asdict(one) for one in rows], columns=names))


def readme_part(rows: Sequence[Row]) -> str:
    """Return the README's table of the rows, and on which machine they were measured."""
    lines = [
        (
            f"`{one.measure}`",
            one.ratio,
            format_number(one.median, 2),
            format_bounds(one.low, one.high, 2),
            one.aim if one.reached else f"{one.aim}, **not reached**",
        )
        for one in rows
    ]
    measures: dict[str, list[str]] = {}
    for one in rows:
        names = measures.setdefault(one.machine, [])
        if one.measure not in names:
            names.append(one.measure)
    alone = len(measures) == 1
    told = [
        f"Measured on: {machine}." if alone else f"{', '.join(names)} measured on: {machine}."
        for machine, names in measures.items()
    ]
    return "\n\n".join([markdown_table(HEADS, lines), *told])


def write_readme(rows: Sequence[Row], path: Path = README) -> None:
    """Put the table of the rows into the README.

    Raises
    ------
    CourseError
        If the README lacks the marks.
    """
    text = put_between_marks(path.read_text(encoding="utf-8"), readme_part(rows), MARK, path.name)
    with config.atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
