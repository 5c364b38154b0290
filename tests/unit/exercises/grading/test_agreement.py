"""What the check in a notebook calls right or wrong, the marker calls so too.

Each notebook is run twice: cell by cell in IPython, with the real checks, as a student runs it; and
in the confined process of the marker.
"""

import json
import subprocess
import sys

import pytest
from answering import marks

from utils.config import ROOT

# Runs cells as a notebook does, and writes down each verdict.
NOTEBOOK = """
import json, sys
sys.path.insert(0, sys.argv[1])
from IPython.core.interactiveshell import InteractiveShell
from utils.exercises import exercise as checking
said = []
spoken = checking.Exercise.__call__
def noted(self, answer):
    verdict = self.verdict(answer)
    said.append((self.name, verdict.mark.value, verdict.message))
checking.Exercise.__call__ = noted
found = []
for cells in json.load(sys.stdin):
    said.clear()
    shell = InteractiveShell()
    for cell in cells:
        shell.run_cell(cell, store_history=True)
    found.append(list(said))
    InteractiveShell.clear_instance()
open(sys.argv[2], "w").write(json.dumps(found))
"""
IMPORT = "import sys\nfrom utils import check"
FIRST = ["import numpy as np\nfrom fractions import Fraction\nfrom decimal import Decimal", IMPORT]
# Answers to exercises of notebook 04 (a dictionary of numbers) and 01 (text, number).
MEANS = "{'empty = 1': 0.82, 'empty = 0': 0.32, 'left out': 0.64}"
NOTEBOOKS = {
    "a dictionary": [f"check.empty_slices({MEANS})"],
    "a wrong one": [f"check.empty_slices({MEANS.replace('0.82', '0.9')})"],
    "changed to a wrong one": [
        f"a = {MEANS}", "a.update({'empty = 1': 0})", "check.empty_slices(a)"
    ],
    "by keyword": [f"check.empty_slices(answer={MEANS})"],
    "in a way that the check does not take": [f"check.empty_slices({MEANS}, 1)"],
    "an ordered dictionary": [
        f"from collections import OrderedDict\ncheck.empty_slices(OrderedDict({MEANS}))"
    ],
    "a dictionary with a default": [
        "from collections import defaultdict\n"
        f"check.empty_slices(defaultdict(float, {MEANS}))"
    ],
    "a counter": [f"from collections import Counter\ncheck.empty_slices(Counter({MEANS}))"],
    "another mapping": [f"from collections import UserDict\ncheck.empty_slices(UserDict({MEANS}))"],
    "fractions": [
        "a = {'empty = 1': Fraction(82, 100), 'empty = 0': Fraction(8, 25),"
        " 'left out': Fraction(64, 100)}",
        "check.empty_slices(a)",
    ],
    "decimals": [
        "a = {'empty = 1': Decimal('0.82'), 'empty = 0': Decimal('0.32'),"
        " 'left out': Decimal('0.64')}",
        "check.empty_slices(a)",
    ],
    "numbers of numpy": [f"check.empty_slices({{k: np.float32(v) for k, v in {MEANS}.items()}})"],
    "arrays of one number": [f"check.empty_slices({{k: np.array(v) for k, v in {MEANS}.items()}})"],
    "a table": [f"import pandas as pd\ncheck.empty_slices(pd.Series({MEANS}))"],
    "only its keys": [f"check.empty_slices({MEANS}.keys())"],
    "a class of one's own": [
        "class Any(float):\n    pass",
        f"check.empty_slices({{k: Any(v) for k, v in {MEANS}.items()}})",
    ],
    "equal to everything": [
        "class Any:\n    def __eq__(self, _): return True\n    def __float__(self): return 0.82",
        "check.empty_slices(Any())",
    ],
    "three lengths as a tuple": ["check.coarsest_shape((8, 8, 256))"],
    "as a list": ["check.coarsest_shape([8, 8, 256])"],
    "as a queue": ["from collections import deque\ncheck.coarsest_shape(deque([8, 8, 256]))"],
    "as an array": ["check.coarsest_shape(np.array([8, 8, 256]))"],
    "as a named tuple": [
        "from typing import NamedTuple",
        "class Shape(NamedTuple):\n    a: int\n    b: int\n    c: int",
        "check.coarsest_shape(Shape(8, 8, 256))",
    ],
    "as the values of a dictionary": ["check.coarsest_shape({1: 8, 2: 8.0, 3: 256}.values())"],
    "as a generator": ["check.coarsest_shape(each for each in (8, 8, 256))"],
    "as a tensor's shape": ["check.coarsest_shape(np.zeros((8, 8, 256)).shape)"],
    "a function": ["def f(path):\n    return str(path).split('/')[-2]", "check.patient_of(f)"],
    "an anonymous one": ["check.patient_of(lambda path: str(path).rsplit('/', 1)[1])"],
    "a method": [
        "class Paths:\n    def of(self, path):\n        return path.parent.name",
        "check.patient_of(Paths().of)",
    ],
    "a stub": ["def f(path):\n    ...", "check.patient_of(f)"],
    "what a function returned": ["check.patient_of('TCGA_CS_4941')"],
    "a function that stops": ["check.patient_of(lambda path: 1 / 0)"],
    "an answer in a cell that is timed": [f"%%time\na = {MEANS}", "check.empty_slices(a)"],
    "in a line that is timed": [f"%time a = {MEANS}", "check.empty_slices(a)"],
    "in a cell that is timed often": [f"%%timeit -n 1 -r 1\na = {MEANS}", "check.empty_slices(a)"],
    "in a line that is timed often": [f"%timeit -n1 -r1 a = {MEANS}", "check.empty_slices(a)"],
    "beside the time that it took": [
        "t = %timeit -o -q -n 1 -r 1 sum([1])", f"check.empty_slices({MEANS} if t.best < 60 else 0)"
    ],
    "in a cell whose output is kept": [f"%%capture\na = {MEANS}", "check.empty_slices(a)"],
    "after an await": [
        "import asyncio",
        f"await asyncio.sleep(0.001)\na = await asyncio.wait_for(asyncio.sleep(0, {MEANS}), 9)",
        "check.empty_slices(a)",
    ],
    "after a return that slipped": [
        "def f(a):\n    return a",
        f"a = {MEANS}\nreturn a\na = 0",
        "check.empty_slices(f(a))",
    ],
    "in a cell with a fault": [f"a = {MEANS}\nprint('a", "check.empty_slices(a)"],
    "deleted": [f"a = {MEANS}", "del a", "check.empty_slices(a)"],
    "a module of one's own": [
        f"%%writefile mine_{{}}.py\nmeans = {MEANS}".replace("{}", "here"),
        "from mine_here import means",
        "check.empty_slices(means)",
    ],
    "shown": [f"a = {MEANS}", "display(a)\na", "check.empty_slices(a)"],
}  # fmt: skip


@pytest.fixture(scope="module")
def verdicts(tmp_path_factory):
    """Return for each notebook what its check says, and what the marker says."""
    folder = tmp_path_factory.mktemp("agreement")
    notebooks = [[*FIRST, *cells] for cells in NOTEBOOKS.values()]
    out = folder / "said.json"
    subprocess.run(
        [sys.executable, "-c", NOTEBOOK, str(ROOT), str(out)],
        input=json.dumps(notebooks).encode(),
        cwd=folder,
        env={"HOME": str(folder), "PATH": "/usr/bin:/bin"},
        stdout=subprocess.DEVNULL,
        check=True,
    )
    said = json.loads(out.read_text())
    jobs = [(_number(cells), cells, ()) for cells in notebooks]
    return dict(zip(NOTEBOOKS, zip(said, marks(jobs, folder), strict=True), strict=True))


def _number(cells):
    text = "\n".join(cells)
    return "04" if "empty_slices" in text else "03" if "coarsest" in text else "01"


@pytest.mark.long
@pytest.mark.parametrize("name", NOTEBOOKS)
def test_the_marker_says_what_the_check_says(name, verdicts):
    said, marked = verdicts[name]
    if not said:  # the notebook stops before the check
        assert "right" not in {mark for mark, _ in marked.values()}
        return
    exercise, *verdict = said[-1]
    assert list(marked[exercise]) == verdict


@pytest.mark.long
def test_both_ways_call_some_right_and_some_wrong(verdicts):
    found = [said[-1][1] for said, _ in verdicts.values() if said]
    assert found.count("right") > 20
    assert found.count("wrong") > 5
