"""Which heavy packages a piece of code loads with its imports."""

import ast
import json
import subprocess
import sys

from utils.config import ROOT

# Each takes from half a second to many, and up to 300 MB.
HEAVY = {"keras", "nilearn", "psutil", "skimage", "tensorflow"}


def imports(source: str) -> str:
    """Return the imports in some code, within functions too, as code."""
    kinds = ast.Import | ast.ImportFrom
    found = [node for node in ast.walk(ast.parse(source)) if isinstance(node, kinds)]
    return "\n".join(ast.unparse(node) for node in found)


def loaded(code: str) -> set[str]:
    """Return which of the heavy packages a process has loaded after running some code."""
    script = f"{code}\nimport json, sys\nprint(json.dumps([*sys.modules]))"
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return HEAVY & set(json.loads(done.stdout))
