"""What a notebook imports is loaded before its first picture: notebook 1 loads no network.

Of notebook 5, see `test_evidence_notebook.py`.
"""

from heavy_imports import imports, loaded

from utils.notebooks.build import SOURCE


def imports_of(notebook):
    return imports((SOURCE / f"{notebook}.py").read_text(encoding="utf-8"))


def test_the_imports_of_notebook_1_load_nothing_heavy():
    code = imports_of("01_explore")
    assert "from utils import check" in code
    assert loaded(code) == set()


def test_the_imports_of_a_notebook_with_networks_would_be_seen():
    assert "from utils.models" in imports_of("03_segment")
    assert loaded("import psutil, utils") == {"psutil"}
