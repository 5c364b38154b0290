"""Two notebooks that give the same number in their stored outputs give the same value.

The students' edition is run in `make test` (nbval). That of the instructors is not: it differs in
the answers alone, which no other cell uses (see test_exercises.py), and holds the same outputs.
"""

import re

import nbformat
import pytest

from utils.notebooks.build import NOTEBOOKS
from utils.notebooks.editions import COMPARED


def numbers(name, measure):
    """Return what a notebook prints for a measure, such as "0.84 (95 % CI 0.78 to 0.91)"."""
    notebook = nbformat.read(NOTEBOOKS / f"{name}.ipynb", as_version=4)
    outputs = (output for cell in notebook.cells for output in cell.get("outputs", []))
    text = "\n".join(output.get("text", "") for output in outputs)
    return re.findall(rf"^{measure}:? (\d\.\d\d \(95 % CI .*?\))", text, re.MULTILINE)


@pytest.mark.parametrize("measure", ["sensitivity", "specificity"])
@pytest.mark.parametrize("folder", ["", "solutions/"])
def test_the_detector_is_as_good_in_notebook_4_as_in_notebook_2(folder, measure):
    detected, evaluated = (numbers(folder + name, measure) for name in ("02_detect", "04_evaluate"))
    assert detected
    assert set(detected) == set(evaluated)


def compared(path):
    """Return the outputs that nbval compares in a stored notebook, by cell; not of checks."""
    return {
        cell.id: [
            (each.get("text"), each.get("data", {}).get("text/plain")) for each in cell.outputs
        ]
        for cell in nbformat.read(path, as_version=4).cells
        if COMPARED in cell.metadata.get("tags", []) and not cell.source.startswith("check.")
    }


@pytest.mark.parametrize("name", sorted(path.name for path in NOTEBOOKS.glob("*.ipynb")))
def test_both_editions_hold_the_same_outputs(name):
    ours = compared(NOTEBOOKS / name)
    assert ours
    assert ours == compared(NOTEBOOKS / "solutions" / name)
