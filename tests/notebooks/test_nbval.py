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


@pytest.fixture
def asked(tmp_path):
    """Return a function that runs the script with a Python that only notes what it is given."""
    python = tmp_path / "a python"
    python.write_text(
        '#!/bin/sh\nprintf "%s\\n" "$@" >> asked\ncase "$*" in *BAD*) exit 1;; esac\n'
    )
    python.chmod(0o755)
    (tmp_path / "runs").mkdir()

    def run(bad):
        for folder in ("notebooks", "notebooks/solutions"):
            (tmp_path / folder).mkdir(parents=True, exist_ok=True)
            for path in (ROOT / folder).glob("*.ipynb"):
                (tmp_path / folder / path.name).touch()
        for path in bad:
            (tmp_path / path).rename(tmp_path / path.replace(".ipynb", "_BAD.ipynb"))
        script = ROOT / "tools" / "stored_notebooks.sh"
        command = ["sh", script, python, "runs/log", "--nbval-lax"]
        status = subprocess.run(command, cwd=tmp_path).returncode
        return status, (tmp_path / "asked").read_text().splitlines()

    return run


def test_every_stored_notebook_is_run_once(asked):
    status, words = asked(bad=[])
    assert status == 0
    given = [word for word in words if word.startswith("notebooks/")]
    here = [f"notebooks/{path.name}" for path in (ROOT / "notebooks").glob("*.ipynb")]
    assert sorted(given) == sorted([*here, "notebooks/solutions"])
    assert words.count("--nbval-lax") == 3


@pytest.mark.parametrize("name", ["02_detect", "06_leak_lab"])
def test_one_bad_notebook_makes_the_script_fail(asked, name):
    assert asked(bad=[f"notebooks/{name}.ipynb"])[0] == 1
