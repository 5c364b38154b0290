"""The course's own exercises can be marked: solutions are right, stubs are open."""

import pytest

from utils import check
from utils.exercises.grading.confine import Limits, lacking
from utils.exercises.grading.marks import marked
from utils.notebooks.build import SOURCE, read_source
from utils.notebooks.editions import instructors, students

NUMBERS = sorted({exercise.notebook for exercise in check.ALL})
SOURCES = {path.stem[:2]: path for path in SOURCE.glob("[0-9][0-9]_*.py")}


@pytest.mark.long
@pytest.mark.skipif(bool(lacking()), reason=f"needs walls: {lacking()}")
@pytest.mark.parametrize("number", [number for number in NUMBERS if number in SOURCES])
@pytest.mark.parametrize(("edition", "mark"), [(instructors, "right"), (students, "open")])
def test_both_editions_get_their_marks(number, edition, mark):
    notebook = edition(read_source(SOURCES[number]))
    cells = [cell.source for cell in notebook.cells if cell.cell_type == "code"]
    exercises = [exercise for exercise in check.ALL if exercise.notebook == number]
    found = marked(cells, exercises, limits=Limits())
    names = (exercise.name for exercise in exercises)
    assert {name: one for name, one in zip(names, found, strict=True) if one[0] != mark} == {}
