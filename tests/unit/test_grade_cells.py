"""What an answer needs is found, and nothing else."""

import ast

import pytest

from utils.grade_cells import answer_to, needed, read, without_magics


def slice_for(name, *cells):
    """Return the statements, as text, that the answer to an exercise needs."""
    statements = read(cells).statements
    place, answer = answer_to(name, statements)
    return [ast.unparse(node) for node in needed(answer, statements[:place])]


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        (["import numpy as np, os", "a = 1", "check.one(a)"], ["a = 1"]),
        (["from x import b, c", "check.one(c)"], ["from x import c"]),
        (["from x import *", "check.one(c)"], ["from x import *"]),
        (["a = 1", "a = a + 1", "check.one(a)", "a = 3"], ["a = 1", "a = a + 1"]),
        (["a = {}", "a['k'] = 1", "print(a)", "check.one(a)"], ["a = {}", "a['k'] = 1"]),
        (["import m", "m.deep.name = 2", "check.one(m)"], ["import m", "m.deep.name = 2"]),
        (["for i in range(3):\n    a = i", "check.one(a)"], ["for i in range(3):\n    a = i"]),
        (["a, *b = 1, 2", "check.one(b)"], ["a, *b = (1, 2)"]),
        (["a = 1", "del a", "check.one(len)"], []),
        (["k = 2", "check.one(lambda x: x * k)"], ["k = 2"]),
        (["a = 1; check.one(a)", "a = 2", "check.one(a)"], ["a = 1", "a = 2"]),
    ],
)
def test_what_an_answer_needs(cells, expected):
    assert slice_for("one", *cells) == expected


def test_functions_are_followed_through_their_bodies_but_not_their_own_names():
    cells = [
        "table = load()",
        "limit = 3",
        "def outer(values):\n    table = inner(values)\n    return table",
        "def inner(values):\n    return [each for each in values if each < limit]",
        "check.one(outer)",
    ]
    assert [line.split("\n")[0] for line in slice_for("one", *cells)] == [
        "limit = 3",
        "def outer(values):",
        "def inner(values):",
    ]


def test_an_exercise_that_is_not_checked_is_not_found():
    statements = read(["a = 1", "check.other(a)", "check.one()", "mine.one(a)"]).statements
    assert answer_to("one", statements) is None


def test_a_cell_that_cannot_be_read_leaves_the_others():
    reading = read(["a = 1", "def f(:\n    pass", "b = '\\0'", "x = \0"])
    assert [ast.unparse(each.node) for each in reading.statements] == ["a = 1", "b = '\\x00'"]
    assert len(reading.faults) == 2
    assert reading.faults[0] == "a cell cannot be read: invalid syntax, line 1"


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("%matplotlib inline\na = 1", "pass\na = 1"),
        ("if a:\n    !ls\n    b = 2", "if a:\n    pass\n    b = 2"),
        ("len?\na = 1", "pass\na = 1"),
        ("%%time\na = 1", "a = 1"),
        ("%%bash\nrm -r x", ""),
    ],
)
def test_commands_of_the_notebook_are_left_out(source, expected):
    assert without_magics(source) == expected
