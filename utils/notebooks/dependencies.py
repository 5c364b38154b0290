"""Which files of `utils` a notebook reaches, read from its imports and theirs.

A finished notebook is stale when one of them has changed. What only checks its exercises is told
apart: that makes the notebook itself stale, and none of those that build on its results.
"""

import ast
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from IPython.core.inputtransformer2 import TransformerManager

from utils.config import ROOT

# Marks notebooks that are handed in; no notebook's result depends on it.
_GRADING = "utils.exercises.grading"
_TOPICS = "utils.exercises.topics"
_CHECK = "utils.check"
# "utils.course.detector:fine_tune", a function that is called in another process.
_NAMED = re.compile(r"(utils(?:\.\w+)+):\w+(?: .*)?")


@dataclass(frozen=True)
class Reached:
    """The files that a notebook reaches.

    Attributes
    ----------
    results : frozenset of pathlib.Path
        Its numbers, and what it leaves to the notebooks after it, depend on these.
    exercises : frozenset of pathlib.Path
        Only what its checks say depends on these.
    """

    results: frozenset[Path]
    exercises: frozenset[Path]


def reached(cells: Iterable[str], root: Path = ROOT) -> Reached:
    """Return the files of `utils` that a notebook reaches, directly or through others.

    Parameters
    ----------
    cells : iterable of str
        The source of its code cells.
    root : path-like
        The folder that holds `utils`.
    """
    root = Path(root)
    trees = [ast.parse(TransformerManager().transform_cell(cell)) for cell in cells]
    imported = {name for tree in trees for name in _imported(tree, root)}
    results = _closure(imported - {_CHECK}, root)
    topics = set()
    if _CHECK in imported:
        asked = {name for tree in trees for name in _asked(tree)}
        topics = {f"{_TOPICS}.{topic}" for topic in _topics_of(asked, root)} | {_CHECK}
    return Reached(results, _closure(topics, root) - results)


def _closure(names: Iterable[str], root: Path) -> frozenset[Path]:
    """Return the files of some modules, of all that these import, and of the folders around."""
    waiting, files = list(names), {}
    while waiting:
        name = waiting.pop()
        path = _file(name, root)
        if name in files or path is None or name.startswith(_GRADING):
            continue
        files[name] = path
        waiting += _imported_by(path, root)
        waiting += [name.rpartition(".")[0]] if "." in name else []
    return frozenset(files.values())


@cache
def _imported_by(path: Path, root: Path) -> frozenset[str]:
    """Return what a module imports; read once, as the notebooks of a course reach the same ones."""
    return frozenset(_imported(ast.parse(path.read_text(encoding="utf-8")), root))


def _file(name: str, root: Path) -> Path | None:
    place = root.joinpath(*name.split("."))
    for path in (place.with_suffix(".py"), place / "__init__.py"):
        if path.is_file():
            return path
    return None


def _imported(tree: ast.AST, root: Path) -> Iterator[str]:
    """Yield the modules of `utils` that some code imports, wherever in it, or names."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (each.name for each in node.names if each.name.split(".")[0] == "utils")
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "utils":
            yield node.module
            inside = (f"{node.module}.{each.name}" for each in node.names)
            yield from (name for name in inside if _file(name, root))
        elif isinstance(node, ast.Constant) and (named := _NAMED.fullmatch(str(node.value))):
            yield named.group(1)


def _asked(tree: ast.AST) -> Iterator[str]:
    """Yield the exercises that some code checks: `check.name(answer)`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "check":
            yield node.attr


def _topics_of(exercises: set[str], root: Path) -> Iterator[str]:
    """Yield the topics that define some of these exercises: `Exercise("name", ...)`."""
    for path in sorted(root.joinpath(*_TOPICS.split(".")).glob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and node.args]
        made = [call.args[0] for call in calls if ast.unparse(call.func) == "Exercise"]
        if exercises & {name.value for name in made if isinstance(name, ast.Constant)}:
            yield path.stem
