"""Stubs are made from solutions, and the instructors' edition works one folder deeper."""

import nbformat
import pytest
from hypothesis import given, strategies as st

from utils.config import CourseError
from utils.exercises.exercise import is_open
from utils.notebooks.editions import EDITIONS, instructors, stub, students


def markdown(text):
    return nbformat.v4.new_markdown_cell(text)


def code(text, *tags):
    return nbformat.v4.new_code_cell(text, metadata={"tags": list(tags)} if tags else {})


def notebook(*cells):
    return nbformat.v4.new_notebook(cells=list(cells))


SOLUTION = '''# Careful with the mask's name.
from pathlib import Path


def patient_of(path: str, *, strict: bool = False) -> str:
    """Return the patient's name.

    Parameters
    ----------
    path : str
    """
    # the folder, not the file
    folder = Path(path).parent
    return folder.name


print(patient_of("a/b_1.tif"))
answer = 3'''
STUB = '''# Careful with the mask's name.
from pathlib import Path


def patient_of(path: str, *, strict: bool = False) -> str:
    """Return the patient's name.

    Parameters
    ----------
    path : str
    """
    # Your code here
    ...


answer = ...  # Your code here'''


def test_a_stub_keeps_what_is_asked_and_drops_how_it_is_done():
    assert stub(SOLUTION) == STUB


@pytest.mark.parametrize(
    ("solution", "expected"),
    [
        ("x = 3", "x = ...  # Your code here"),
        ("x: int = 3", "x = ...  # Your code here"),
        ("a, b = 1, 2", "a = ...  # Your code here\nb = ...  # Your code here"),
        ("a = b = 1", "a = ...  # Your code here\nb = ...  # Your code here"),
        ("def f(x): return x", "def f(x):\n    # Your code here\n    ..."),
        ("def f(x):\n    return x", "def f(x):\n    # Your code here\n    ..."),
        (
            "def f(\n    x,\n    y,\n):\n    # the sum\n\n    return x",
            "def f(\n    x,\n    y,\n):\n    # Your code here\n    ...",
        ),
        ('def f():\n  """Say."""\n  return 1', 'def f():\n  """Say."""\n  # Your code here\n  ...'),
        (
            "import math\nimport cmath\n\ndef f():\n    return math.pi\n\ndef g():\n    return 2",
            "import math\nimport cmath\n\n\ndef f():\n    # Your code here\n    ...\n\n\n"
            "def g():\n    # Your code here\n    ...",
        ),
        (
            "from functools import cache\n\n@cache\ndef f():\n    return 1",
            "from functools import cache\n\n\n@cache\ndef f():\n    # Your code here\n    ...",
        ),
        ("from os import (\n    path,\n)\nx = path",
         "from os import (\n    path,\n)\nx = ...  # Your code here"),
        ("table = {}\ntable['a'] = 1\nfor i in 'ab':\n    table[i] = i",
         "table = ...  # Your code here"),
    ],
)  # fmt: skip
def test_stubs(solution, expected):
    assert stub(solution) == expected


@pytest.mark.parametrize(
    ("solution", "message"),
    [
        ("print(1)", "defines no function or value"),
        ("import math", "defines no function or value"),
        ("", "defines no function or value"),
        ("class A:\n    x = 1", "class A; ask for a function or a value"),
        ("x =", "line 1: invalid syntax"),
    ],
)
def test_a_solution_that_is_none_is_refused(solution, message):
    with pytest.raises(CourseError, match=message):
        stub(solution)


names = st.sampled_from(["f", "dice", "patient_of"])
arguments = st.lists(st.sampled_from("abcde"), unique=True).map(", ".join)
docstrings = st.sampled_from(["", '    """Say."""\n', '    """Say.\n\n    More: text.\n    """\n'])
bodies = st.sampled_from(["return 1", "pass", "x = 2\n    return x", "if 1:\n        return 2"])


@given(names, arguments, docstrings, bodies)
def test_every_stub_runs_and_counts_as_open(name, signature, docstring, body):
    solution = f"def {name}({signature}):\n{docstring}    {body}\n"
    solved, space = {}, {}
    exec(solution, solved)
    exec(stub(solution), space)
    assert is_open(space[name])
    assert space[name].__doc__ == solved[name].__doc__
    assert space[name].__code__.co_varnames == tuple(filter(None, signature.split(", ")))


def test_the_students_edition_has_stubs_tagged_as_exercises_and_the_source_is_untouched():
    source = notebook(markdown("text"), code("x = 3", "solution", "slow"), code("x = 3"))
    before = nbformat.writes(source)
    edition = students(source)
    assert [cell.source for cell in edition.cells] == ["text", "x = ...  # Your code here", "x = 3"]
    assert edition.cells[1].metadata.tags == ["exercise", "slow"]
    assert nbformat.writes(source) == before


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[a](../docs/glossary.md#dice)", "[a](../../docs/glossary.md#dice)"),
        ("[a](../docs/a.md) [b](../b.md)", "[a](../../docs/a.md) [b](../../b.md)"),
        ('[a](../docs/a.md "title")', '[a](../../docs/a.md "title")'),
        ("![alt](params/a.png)", "![alt](../params/a.png)"),
        ('<img alt="x" src="../data/a.png">', '<img alt="x" src="../../data/a.png">'),
        ("[a](02_detect.ipynb), [b](02_detect.ipynb#part)", None),
        ("[a](https://doi.org/10.1/x), [b](#here), <img src='https://a.b/c.png'>", None),
        ("`sys.path` and f(../x)", None),
    ],
)
def test_links_lead_to_the_same_place_from_one_folder_deeper(text, expected):
    (cell,) = instructors(notebook(markdown(text))).cells
    assert cell.source == (expected or text)


def test_the_instructors_edition_finds_the_helpers_and_has_the_solution():
    helpers = 'import sys\n\nsys.path.insert(0, "..")  # beside this folder'
    edition = instructors(notebook(code(helpers), code("x = 3", "solution")))
    assert edition.cells[0].source == helpers.replace("..", "../..")
    assert edition.cells[1].source == "x = 3"
    assert edition.cells[1].metadata.tags == ["solution"]


def test_editions_by_folder():
    assert [*EDITIONS.items()] == [("", students), ("solutions", instructors)]
