"""What the checks call a supported reading of a figure is what the stored numbers say.

The letters are those of the exercises `similarity_readings` (notebook 01) and `distance_readings`
(notebook 08).
"""

import re

import nbformat
import pytest

from utils import check
from utils.exercises.exercise import Mark
from utils.notebooks.build import NOTEBOOKS


def words(name):
    """Return all that a notebook's cells have put out, as one text."""
    notebook = nbformat.read(NOTEBOOKS / f"{name}.ipynb", as_version=4)
    outputs = [each for cell in notebook.cells for each in cell.get("outputs", ())]
    texts = [each.get("text", "") + each.get("data", {}).get("text/plain", "") for each in outputs]
    texts += [each.get("data", {}).get("text/markdown", "") for each in outputs]
    return "\n".join(texts)


def right(exercise):
    """Return the letters that a check calls right, found by trying all."""
    judged = getattr(check, exercise)
    sets = ["".join(x for k, x in enumerate("abcde") if number >> k & 1) for number in range(32)]
    return [letters for letters in sets if judged.verdict(letters).mark is Mark.RIGHT]


def test_similarity_readings_are_those_of_the_stored_figure():
    told = re.search(r"Medians by distance in one patient: (.+?)\. Same height.+?: (\d\.\d+)\.",
                     words("01_explore"))  # fmt: skip
    medians = [float(value) for value in re.findall(r": (\d\.\d+)", told.group(1))]
    stranger = float(told.group(2))
    assert medians == sorted(medians, reverse=True) and medians[-1] < medians[0]  # (a)
    assert medians[1] > stranger + 0.1  # two slices apart: not (b)
    assert abs(medians[-1] - stranger) < 0.05  # (c)
    assert right("similarity_readings") == ["ac"]


@pytest.mark.parametrize("picture", ["eye (retina)", "photographer", "cup of coffee"])
def test_pictures_of_other_things_lie_beyond_the_limit(picture):
    beyond = re.search(rf"{re.escape(picture)}: (\d+) % beyond", words("08_your_own_patient"))
    assert int(beyond.group(1)) == 100  # (a)


def test_distance_readings_are_those_of_the_stored_table():
    text = words("08_your_own_patient")
    found = re.findall(r"^ *(FLAIR and post exchanged|skull-stripped) +(.+)$", text, re.MULTILINE)
    # The table of five columns; the one of shares further down has two.
    rows = {name: line.split() for name, line in found if len(line.split()) == 5}
    swapped, stripped = rows["FLAIR and post exchanged"], rows["skull-stripped"]
    assert swapped[1] == "False" and float(swapped[4]) < 0.5  # not (b)
    assert float(stripped[0]) > float(swapped[0])  # further away, and yet
    assert float(stripped[4]) > float(swapped[4]) + 0.2  # better: not (c)
    from_training = re.search(r"(\d+) % of the slices of the held-out patients would be", text)
    assert int(from_training.group(1)) > 50  # (d)
    assert right("distance_readings") == ["ad"]
