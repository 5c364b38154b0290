"""Students' notebooks: their cells, found in a JSON file, and the statements in these."""

import json
from pathlib import Path

from mutate import Target, mutate_json

from utils import check
from utils.exercises.grading.cells import read
from utils.exercises.grading.marks import code_cells, number_of


def notebooks() -> list[bytes]:
    """Return small notebooks of the present format and of an old one."""
    cells = [
        {"cell_type": "markdown", "metadata": {}, "source": ["# Text"]},
        *(
            {
                "cell_type": "code", "metadata": {}, "source": source, "outputs": [],
                "execution_count": None,
            }
            for source in (
                ["from utils import check\n", "import numpy as np"],
                "def area(mask):\n    return int(mask.sum())\n",
                "%time x = [1, 2]\n!ls\ncheck.empty_slices({'empty = 1': 0.82})",
            )
        ),
    ]  # fmt: skip
    new = {"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
    old = [{"cell_type": "code", "input": ["x = 1\n", "check.slice_area(x)"], "outputs": []}]
    third = {"metadata": {}, "nbformat": 3, "worksheets": [{"cells": old}]}
    return [json.dumps(one).encode() for one in (new, third)]


def _load(path: Path) -> None:
    cells = code_cells(path)
    assert all(isinstance(cell, str) for cell in cells)
    assert isinstance(number_of(path, cells, check.ALL), str)
    assert all(isinstance(fault, str) for fault in read(cells).faults)


TARGETS = [Target("notebook", notebooks, _load, ".ipynb", mutate_json)]
