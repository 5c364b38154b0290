"""What an answer may rest on is found, and little else."""

import ast
import sys

import pytest

from utils.exercises.grading.cells import parsed, read
from utils.exercises.grading.needs import check_statements, needed


def slice_for(name, *cells):
    """Return the statements, as text, that the checks of an exercise may rest on."""
    statements = read(cells).statements
    checks = check_statements(name, statements)
    found = needed(checks, statements[: checks[-1] + 1])
    return [ast.unparse(statements[place].node) for place in found if place not in checks]


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
        (["k = 2", "check.one(lambda x: x * k)"], ["k = 2"]),
        # What is set anew is not needed before.
        (["a = []", "a.append(1)", "a = [2]", "check.one(a)"], ["a = [2]"]),
        (["a = 1; check.one(a)", "a = 2", "check.one(a)"], ["a = 1", "a = 2"]),
        # What changes it in place, under whatever name, is.
        (["a = []", "a.append(1)", "check.one(a)"], ["a = []", "a.append(1)"]),
        (["a = []", "b = a", "b += [1]", "check.one(a)"], ["a = []", "b = a", "b += [1]"]),
        (["a = []", "put(a)", "n = len(a)", "check.one(a)"], ["a = []", "put(a)"]),
        (["a = z()", "np.put(a, 0, 1)", "check.one(a)"], ["a = z()", "np.put(a, 0, 1)"]),
        (["a = [1]", "del a[0]", "check.one(a)"], ["a = [1]", "del a[0]"]),
        (["import m", "setattr(m, 'x', 1)", "check.one(m.x)"], ["import m", "setattr(m, 'x', 1)"]),
        (["import np", "np.random.seed(1)", "check.one(np.a)"], ["import np", "np.random.seed(1)"]),
        (["def f():\n    global a\n    a = 1", "f()", "check.one(a)"],
         ["def f():\n    global a\n    a = 1", "f()"]),
        # What has nothing to do with it, is not.
        (["import m", "m.fit(data)", "b = []", "b.append(1)", "check.one(3)"], []),
        (["c = (1, 2)", "train(c)", "check.one(c)"], ["c = (1, 2)"]),
        (["a = 1", "%timeit a = 2", "check.one(a)"], ["a = 1"]),
        (["a = 1", "%time a = 2", "check.one(a)"], ["a = 2"]),
    ],
)  # fmt: skip
def test_what_an_answer_may_rest_on(cells, expected):
    assert slice_for("one", *cells) == expected


@pytest.mark.skipif(sys.version_info < (3, 12), reason="type parameters came with Python 3.12")
@pytest.mark.parametrize(
    "definition",
    [
        "class A:\n\n    def f[T](self, x: K) -> T:\n        return x",
        "class A[T](K):\n    pass",
        "def A[T](x: K) -> T:\n    return x",
        "type A = list[K]",
    ],
)
def test_names_in_the_scopes_of_type_parameters_are_found(definition):
    assert slice_for("one", "K = int", definition, "check.one(A)") == ["K = int", definition]


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


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        (["check.other(a)", "mine.one(a)", "one(a)"], []),
        (["check.one(a)", "check.one(answer=a)", "check.one()"], [0, 1, 2]),
        (["def ask(a):\n    check.one(a)", "ask(3)", "def ask(a): ...", "ask(4)"], [0, 1]),
        (["from utils import check as c", "c.one(3)", "c.two(3)"], [1]),
        (["import utils.check", "utils.check.one(3)"], [1]),
        (["from utils.check import one as o", "o(3)", "from utils.check import two as o", "o(3)"],
         [1]),
        (["from utils.check import *", "one(3)"], [1]),
        (["ask = check.one", "ask(3)"], [0, 1]),
        (["getattr(check, 'one')(3)", "getattr(check, 'two')(3)", "getattr(check, n)(3)"], [0, 2]),
    ],
)  # fmt: skip
def test_where_an_exercise_is_checked(cells, expected):
    assert check_statements("one", read(cells).statements) == expected


@pytest.mark.parametrize(
    ("cell", "fault"),
    [
        ("def f(:\n    pass", "invalid syntax, line 1"),
        ("b = 1\ndef f(a):\n    b = a\nreturn b", "'return' outside function, line 4"),
        ("b = 1\nbreak", "'break' outside loop, line 2"),
        ("b = 1\nyield 1", "'yield' outside function, line 2"),
        ("b = 1\nnonlocal q", "nonlocal declaration not allowed at module level, line 2"),
        ("b = 1\ndef f(x):\n    global x", "name 'x' is parameter and global, line 3"),
        ("x = \0", "source code string cannot contain null bytes"),
        ("x = " + "(" * 300 + ")" * 300, "too many nested parentheses, line 1"),
    ],
)
def test_a_cell_that_python_refuses_leaves_the_others(cell, fault):
    reading = read(["a = 1", cell, "c = '\\0'"])
    kept = [ast.unparse(each.node) for each in reading.statements]
    assert kept[0] == "a = 1"
    assert kept[-1] == "c = '\\x00'"
    assert ("b = 1" in kept) == cell.startswith("b = 1")
    assert reading.faults == [f"code cell 2 is left out: {fault}"]


@pytest.mark.parametrize(
    "cell",
    ["x = " + "-" * 100_000 + "1", "x = " + "9" * 5000, "x = " + "[" * 5000, "f(" * 5000, "\ud800"],
)
def test_a_cell_that_overwhelms_python_is_left_out(cell):
    reading = read(["a = 1", cell])
    assert len(reading.statements) == 1
    assert len(reading.faults) == 1


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("%matplotlib inline\na = 1", ["pass", "a = 1"]),
        ("if a:\n    !ls\n    b = 2", ["if a:\n    pass\n    b = 2"]),
        ("len?\na = 1", ["pass", "a = 1"]),
        ("%%time\na = 1\nb = 2", ["a = 1", "b = 2"]),
        ("%time a = 1", ["a = 1"]),
        ("time a = 1", ["a = 1"]),
        ("a = %time f(3)", ["a = f(3)"]),
        ("%%capture out\n%time a = 1", ["a = 1"]),
        ("%%timeit\na = 1", ["pass"]),
        ("%%bash\nrm -r x", ["pass"]),
        (">>> a = 1\n>>> b = 2", ["a = 1", "b = 2"]),
        ("In [3]: a = 1", ["a = 1"]),
        ("  a = 1\n  b = 2", ["a = 1", "b = 2"]),
        ("await f()", ["await f()"]),
    ],
)
def test_commands_of_a_notebook_become_python(source, expected):
    reading = read([source])
    assert [ast.unparse(each.node) for each in reading.statements] == expected
    assert reading.faults == []


def test_plain_python_is_taken_as_it_is():
    text = "a = 5 % 3\nb = '%time'\nc = 'what?'"
    assert parsed(text)[1] == text
