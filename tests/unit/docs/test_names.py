"""What is written outside the code names files, commands and functions that are there."""

import ast
import importlib.util
import pkgutil
import re

import pytest

from utils.config import ROOT

KINDS = (
    *("*.md", "Makefile", ".ci/run", ".github/**/*.yml", "binder/*", "data/*.md", "docs/*.md"),
    *("notebooks/source/*.py", "notebooks/params/*", "tests/**/*.py", "tools/*"),
    *("utils/**/*.py", "utils/templates/*"),
)
# The first makes a `utils` of its own, the second is this one.
OTHERS = {"tests/unit/notebooks/test_dependencies.py", "tests/unit/docs/test_names.py"}
TEXTS = sorted(
    {
        path.relative_to(ROOT).as_posix()
        for kind in KINDS
        for path in ROOT.glob(kind)
        if path.is_file()
    }
    - OTHERS
)
PLACE = re.compile(
    r"(?<![\w/.])(?:utils|tests|tools|notebooks|docs|data)/(?!(?:\w+/)?NN_)[\w/]+\.(?:py|md|sh)\b"
)
COMMAND = re.compile(r"-m (utils(?:\.\w+)+|tools\.\w+)")
CODE = re.compile(r"python -c '([^']+)'")


# "`training.fit`": a module without its folder, and what it defines.
MEMBER = re.compile(r"`(\w+)\.(\w+)(?:\([^`]*\))?`")
# What is not code, though it is written like a member of a module.
FILES = {"json", "keras", "md", "html", "csv", "h5", "png", "tif", "npy", "onnx"}


def written() -> dict[str, set[str]]:
    """Return the words in the modules of each name; a text may speak of parameters too."""
    words = {}
    for path in (ROOT / "utils").rglob("*.py"):
        found = re.findall(r"\w+", path.read_text(encoding="utf-8"))
        words.setdefault(path.stem, set()).update(found)
    return words


def found(pattern):
    """Return (file, what the pattern finds in it), each once."""
    pairs = {
        (path, match)
        for path in TEXTS
        for match in pattern.findall((ROOT / path).read_text(encoding="utf-8"))
    }
    return sorted(pairs)


def test_the_patterns_find_something():
    assert ("data/README.md", "utils/simulation/head.py") in found(PLACE)
    assert ("Makefile", "tools.benchmark") in found(COMMAND)
    assert {path for path, _ in found(CODE)} == {"binder/postBuild"}


@pytest.mark.parametrize(("path", "place"), found(PLACE))
def test_a_file_that_is_named_is_there(path, place):
    assert (ROOT / place).is_file()


@pytest.mark.parametrize(("path", "module"), found(COMMAND))
def test_a_command_that_is_named_is_there(path, module):
    spec = importlib.util.find_spec(module)
    if spec.submodule_search_locations:
        spec = importlib.util.find_spec(f"{module}.__main__")
    with open(spec.origin, encoding="utf-8") as file:
        assert '\nif __name__ == "__main__":\n' in file.read()


@pytest.mark.parametrize(("path", "code"), found(CODE))
def test_what_a_script_imports_is_there(path, code):
    for node in ast.parse(code).body:
        if isinstance(node, ast.ImportFrom):
            for each in node.names:
                pkgutil.resolve_name(f"{node.module}:{each.name}")


def test_a_member_of_a_module_that_is_named_is_there():
    words = written()
    missing = [
        f"{path}: {module}.{member}"
        for path, (module, member) in found(MEMBER)
        if module in words and member not in words[module] | FILES
    ]
    assert missing == []
