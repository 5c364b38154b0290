"""Notebook 05 needs the shipped tables and nothing else: no TensorFlow, no cohort, no run."""

import ast
import subprocess
import sys

from utils.config import ROOT
from utils.notebooks.build import SOURCE, read_source

CODE = "\n\n".join(
    cell.source for cell in read_source(SOURCE / "05_evidence.py").cells if cell.cell_type == "code"
)


def test_what_it_imports_loads_no_tensorflow():
    imports = [
        ast.unparse(node)
        for node in ast.parse(CODE).body
        if isinstance(node, ast.Import | ast.ImportFrom)
    ]
    assert any("utils.evidence.tables" in line for line in imports)
    script = "\n".join([*imports, "import sys", "print('tensorflow' in sys.modules)"])
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "False"


def test_it_opens_no_run_and_reads_no_picture():
    names = {node.id for node in ast.walk(ast.parse(CODE)) if isinstance(node, ast.Name)}
    names |= {node.attr for node in ast.walk(ast.parse(CODE)) if isinstance(node, ast.Attribute)}
    assert not names & {"open_run", "read_slice", "read_mask", "read_cohort", "load_volumes"}
