"""What a notebook imports is loaded before its first picture: notebooks 1 and 5 load no network."""

import ast
import json
import subprocess
import sys

import pytest

from utils.config import ROOT

# Each takes from half a second to many, and up to 300 MB.
HEAVY = {"keras", "nilearn", "psutil", "skimage", "tensorflow"}


def imports(notebook):
    """Return the imports of a notebook's cells, as code."""
    source = (ROOT / "notebooks/source" / f"{notebook}.py").read_text(encoding="utf-8")
    kinds = ast.Import | ast.ImportFrom
    found = [node for node in ast.walk(ast.parse(source)) if isinstance(node, kinds)]
    return "\n".join(ast.unparse(node) for node in found)


def loaded(code):
    """Return which of the heavy packages a process has loaded after some imports."""
    script = f"{code}\nimport json, sys\nprint(json.dumps([*sys.modules]))"
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return HEAVY & set(json.loads(done.stdout))


@pytest.mark.parametrize("notebook", ["01_explore", "05_evidence"])
def test_the_imports_of_a_notebook_without_networks_load_nothing_heavy(notebook):
    code = imports(notebook)
    assert "from utils import check" in code
    assert loaded(code) == set()


def test_the_imports_of_a_notebook_with_networks_would_be_seen():
    assert "from utils.models" in imports("03_segment")
    assert loaded("import psutil, utils") == {"psutil"}
