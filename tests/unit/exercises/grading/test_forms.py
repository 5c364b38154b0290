"""Whatever is right in the notebook gets its point, in whatever form it is written.

All solutions of the course are rewritten into each form. The code of a form is answered in one
process for all notebooks, by what runs in the confined child; `test_grade_course` puts up the
walls.
"""

import re

import pytest
from answering import marks

from utils import check
from utils.notebooks.build import SOURCE, read_source
from utils.notebooks.editions import instructors, is_solution, stub

NUMBERS = sorted({exercise.notebook for exercise in check.ALL})
SOURCES = {path.stem[:2]: path for path in SOURCE.glob("[0-9][0-9]_*.py")}
CHECKED = re.compile(r"check\.(\w+)\((\w+)\)")
# Answers notebook after notebook: the replies go into a file, because students print.
CALLS = {
    "as it is": "check.{x}({y})",
    "by keyword": "check.{x}(answer={y})",
    "appended": "kept = []\n---\nkept.append({y})\n---\ncheck.{x}(kept[0])",
    "updated": "kept = dict()\nkept.update(it={y})\n---\ncheck.{x}(kept['it'])",
    "put by a helper": (
        "def put(into, key, value):\n    into[key] = value\n---\n"
        "kept = {{}}\nput(kept, 'it', {y})\n---\ncheck.{x}(kept['it'])"
    ),
    "under another name": "kept = []\nother = kept\nother.append({y})\n---\ncheck.{x}(kept[-1])",
    "in a loop": "kept = []\nfor each in [{y}]:\n    kept.append(each)\n---\ncheck.{x}(*kept)",
    "in a with": "import contextlib\nwith contextlib.suppress(ValueError):\n    check.{x}({y})",
    "walrus": "print(given := {y})\n---\ncheck.{x}(given)",
    "attribute of a class": "class Box:\n    pass\nBox.held = {y}\n---\ncheck.{x}(Box.held)",
    "setattr": "class Box:\n    pass\nsetattr(Box, 'held', {y})\n---\ncheck.{x}(Box.held)",
    "method of an object": (
        "class Box:\n    def keep(self, one):\n        self.one = one\n---\n"
        "box = Box()\nbox.keep({y})\n---\ncheck.{x}(box.one)"
    ),
    "decorator": (
        "kept = []\ndef keep(one):\n    kept.append(one)\n    return one\n---\n"
        "@lambda made: keep({y})\ndef nothing(): ...\n---\ncheck.{x}(kept.pop())"
    ),
    "comprehension": "kept = []\n[kept.append(each) for each in ({y},)]\n---\ncheck.{x}(kept[0])",
    "augmented, deleted": "kept = [None]\nkept += [{y}]\ndel kept[0]\n---\ncheck.{x}(kept[0])",
    "global": (
        "def give():\n    global given\n    given = {y}\n---\ngiven = ...\ngive()\n---\n"
        "check.{x}(given)"
    ),
    "into a module": "import math as m\nm.{x} = {y}\n---\ncheck.{x}(m.{x})",
    "into a module by another name": (
        "import math\nimport math as m\nm.{x} = {y}\n---\ncheck.{x}(math.{x})"
    ),
    "by globals()": "globals()['given'] = {y}\n---\ncheck.{x}(given)",
    "by exec": "exec('given = {y}')\n---\ncheck.{x}(given)",
    "from an iterator": "kept = iter([None, {y}])\nnext(kept)\n---\ncheck.{x}(next(kept))",
    "sorted": "kept = [(1, {y}), (0, None)]\nkept.sort(key=len)\nkept.sort(key=lambda p: p[0])\n"
    "---\ncheck.{x}(kept[1][1])",
    "in a function": "def ask(given):\n    check.{x}(given)\n---\nask({y})",
    "check by another name": "from utils import check as c\n---\nc.{x}({y})",
    "check by the name of its module": "import utils.check\n---\nutils.check.{x}({y})",
    "the check alone": "from utils.check import {x} as asked\n---\nasked({y})",
    "from a list of checks": "for one in [check.{x}]:\n    one({y})",
    "by getattr": "for name, one in {{'{x}': {y}}}.items():\n    getattr(check, name)(one)",
    "shown": "display({y})\n---\n{y}\n---\n{y}?\n---\nprint({y})\ncheck.{x}({y})",
    "timed": "%time given = {y}\n---\n%%time\ncheck.{x}(given)",
    "timed often": "t = %timeit -o -n 1 -r 1 len('')\n---\ncheck.{x}({y} if t.best < 9 else None)",
    "captured": "%%capture\ngiven = {y}\n---\ncheck.{x}(given)",
    "awaited": (
        "import asyncio\nasync def give():\n    await asyncio.sleep(0.001)\n    return {y}\n---\n"
        "given = await give()\n---\ncheck.{x}(given)"
    ),
    "with the prompts of a console": ">>> given = {y}\n>>> check.{x}(given)",
    "below": "check.{x}(given_{x})\n---\ngiven_{x} = {y}",
    "after a wrong one": "check.{x}('nonsense')\n---\ncheck.{x}({y})",
    "beside a cell that fails": "1 / 0\n---\nundefined.call({y})\n---\ncheck.{x}({y})",
    "beside a slipped return": "def f(a):\n    b = a\nreturn b\n---\ncheck.{x}({y})",
}


def cells_of(number):
    """Return (is a solution, text) of the code cells of a notebook of the course."""
    notebook = read_source(SOURCES[number])
    return [
        (is_solution(cell), edited.source)
        for cell, edited in zip(notebook.cells, instructors(notebook).cells, strict=True)
        if cell.cell_type == "code"
    ]


def called(number, form):
    """Return the cells of a notebook with another form of calling its checks."""
    rewritten = []
    for _, text in cells_of(number):
        if not CHECKED.search(text):
            rewritten.append(text)
            continue
        for line in text.splitlines():
            found = CHECKED.fullmatch(line)
            if found:
                rewritten += CALLS[form].format(x=found[1], y=found[2]).split("\n---\n")
    return rewritten


def reversed_cells(number):
    return [text for _, text in cells_of(number)][::-1]


def solutions_last(number):
    cells = cells_of(number)
    return [text for last in (False, True) for solution, text in cells if solution == last]


def with_stubs(number):
    """Keep each stub, and the check of it, above the solution."""
    found = []
    for solution, text in cells_of(number):
        found += [stub(text), text] if solution else [text]
    return found


def with_broken_cells(number):
    broken = ["print('a", "def f(a):\n    b = 2 * a\nreturn b", "yield 1", "x = '\0'", "f() = 3"]
    cells = [text for _, text in cells_of(number)]
    return [one for pair in zip(cells, broken * len(cells), strict=False) for one in pair[::-1]]


def with_magics(number):
    timed = [f"%%time\n{text}" if solution else text for solution, text in cells_of(number)]
    return ["%matplotlib inline\n%load_ext autoreload", "!ls", "files = !ls", "pip list", *timed]


ORDERS = {
    each.__name__: each
    for each in (
        reversed_cells,
        solutions_last,
        with_stubs,
        with_broken_cells,
        with_magics,
    )
}


# They train a network for seconds, whose form makes no difference: asked as they are alone.
TRAINING = {"fit_head", "learn_by_heart"}


def assert_all_right(forms, folder):
    left_out = {name: set() if name == "as it is" else TRAINING for name in forms}
    jobs = [(name, number, cells(number)) for name, cells in forms.items() for number in NUMBERS]
    found = marks([(number, cells, left_out[name]) for name, number, cells in jobs], folder)
    wrong = {
        (form, number, name): one
        for (form, number, _), of_notebook in zip(jobs, found, strict=True)
        for name, one in of_notebook.items()
        if one[0] != "right"
    }
    assert wrong == {}
    asked = len(forms) * len(check.ALL) - sum(map(len, left_out.values()))
    assert sum(map(len, found)) == asked


FORMS = {**{name: lambda number, name=name: called(number, name) for name in CALLS}, **ORDERS}


# The kinds of form: the others are more of the same, and take minutes.
SOME = (
    *("as it is", "by keyword", "appended", "put by a helper", "under another name", "global"),
    *("check by another name", "the check alone", "shown", "timed", "awaited", "below"),
    *("beside a slipped return", "reversed_cells", "with_broken_cells", "with_magics"),
)


@pytest.mark.long
def test_every_solution_is_right_in_some_forms(tmp_path):
    assert_all_right({name: FORMS[name] for name in SOME}, tmp_path)


@pytest.mark.slow
def test_every_solution_is_right_in_all_other_forms(tmp_path):
    assert_all_right({name: FORMS[name] for name in FORMS if name not in SOME}, tmp_path)


def test_a_form_that_changes_the_answer_is_not_right(tmp_path):
    """The tests above can fail."""
    cells = [text for _, text in cells_of("04")]
    wrong = [CHECKED.sub(r"\2 = None\ncheck.\1(\2)", text) for text in cells]
    (found,) = marks([("04", wrong, set())], tmp_path)
    assert {mark for mark, _ in found.values()} == {"wrong"}
