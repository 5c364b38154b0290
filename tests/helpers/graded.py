"""Exercises and submitted notebooks for the tests of `make grade`."""

import json
from pathlib import Path

import numpy as np

from utils.exercises.exercise import Case, Exercise
from utils.exercises.grading.submissions import handed_in
from utils.exercises.judges import number, refusal

_REFUSED = refusal("a negative number has no place here")
HALVE = Exercise(
    "halve",
    "01",
    (Case("ten", (10,), number(5)), Case("minus one", (-1,), _REFUSED, refuses=True)),
    seconds=1.0,
)
TOTAL = Exercise(
    "total",
    "01",
    (Case("0 to 3", (np.arange(4),), number(6)), Case("no values", (np.array([]),), number(0))),
    seconds=1.0,
)
ANSWER = Exercise("answer", "01", (Case("", (), number(42)),), is_function=False)
OTHER = Exercise("other", "02", (Case("one", (1,), number(1)),))
EXERCISES = (HALVE, TOTAL, ANSWER)

IMPORTS = "import sys\n\nsys.path.insert(0, '..')\nfrom utils import check"
RIGHT_HALVE = """
def halve(number):
    if number < 0:
        raise ValueError("negative")
    return number / 2
"""
RIGHT_TOTAL = "import numpy as np\n\ndef total(values):\n    return adding(np.asarray(values))"
RIGHT_HELPER = "def adding(values):\n    return values.sum()"
RIGHT_ANSWER = "half = 21\nanswer = 2 * half"


def notebook(*cells):
    """Return the text of a notebook with these code cells."""
    stored = [
        {"cell_type": "code", "source": cell, "metadata": {}, "outputs": [], "id": f"c{place}"}
        for place, cell in enumerate(cells)
    ]
    return json.dumps({"cells": stored, "metadata": {}, "nbformat": 4, "nbformat_minor": 5})


def answered(halve=RIGHT_HALVE, total=RIGHT_TOTAL, answer=RIGHT_ANSWER):
    """Return the code cells of a notebook with these answers; None leaves the exercise out."""
    cells = [IMPORTS, RIGHT_HELPER]
    for name, source in (("halve", halve), ("total", total), ("answer", answer)):
        if source is not None:
            cells += [source, f"check.{name}({name})"]
    return cells


def submissions(folder: Path) -> list[tuple[str, Path]]:
    """Return student and path of each notebook below a folder, sorted."""
    return [(one.student, one.path) for one in handed_in(folder) if not one.reason]
