"""The options with which `make test` runs nbval see a changed output, in marked cells only."""

import re
import subprocess
import sys

import pytest

from utils.config import ROOT
from utils.notebooks.build import make

SOURCE = """# %%
import random
random.random()

# %% tags=["nbval-check-output"]
print("14 patients")
"""


def nbval(folder):
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    options = re.search(r"^NBVAL := (.*)$", makefile, re.MULTILINE).group(1)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *options.split()]
    return subprocess.run([*command, folder], cwd=folder, capture_output=True, text=True)


@pytest.fixture
def notebook(tmp_path):
    source = tmp_path / "source" / "01_a.py"
    source.parent.mkdir()
    source.write_text(SOURCE, encoding="utf-8")
    target = tmp_path / "the notebooks" / "01_a.ipynb"
    target.parent.mkdir()
    make(source, target, tmp_path / "working")
    return target


def test_stored_outputs_hold_and_a_changed_number_does_not(notebook):
    result = nbval(notebook.parent)
    assert result.returncode == 0, result.stdout
    assert "2 passed" in result.stdout

    text = notebook.read_text(encoding="utf-8")
    stored = '"14 patients\\n"'
    assert text.count(stored) == 1
    notebook.write_text(text.replace(stored, '"15 patients\\n"'), encoding="utf-8")
    result = nbval(notebook.parent)
    assert result.returncode == 1
    assert "1 failed, 1 passed" in result.stdout
    assert "15 patients" in result.stdout


def test_make_test_runs_every_notebook_of_the_students():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert re.search(r"^NOTEBOOKS := (.*)$", makefile, re.MULTILINE).group(1) == "notebooks/*.ipynb"
    assert "-m pytest $(NBVAL) $(NOTEBOOKS) > $(STORED)" in makefile
