"""Which cells of a notebook show what was read from `results/`: found from their code.

A definition in `utils` reads the folder if it refers to `config.RESULTS`, or to a definition that
does. A cell shows results if it uses such a definition, or a name that was assigned from one.
"""

import ast
import functools
from collections.abc import Iterable, Iterator, Sequence

from utils.config import ROOT

FOLDER = "utils.config.RESULTS"
BINDING = ast.FunctionDef | ast.ClassDef | ast.Assign | ast.AnnAssign | ast.AugAssign


def shows_results(cells: Sequence[str]) -> list[bool]:
    """Return for each code cell, in order, whether it uses what comes from `results/`."""
    imported: dict[str, str] = {}
    tainted: set[str] = set()
    found = []
    for cell in cells:
        shown = False
        for statement in ast.parse(cell).body:
            imported |= imports(statement)
            if _uses(statement, imported, tainted):
                shown = True
                tainted |= _bound(statement) | _changed(statement, imported)
            elif isinstance(statement, BINDING):
                tainted -= _bound(statement)
        found.append(shown)
    return found


@functools.cache
def readers() -> frozenset[str]:
    """Return the dotted names of everything in `utils` that reads `results/`, `FOLDER` included."""
    refers = dict(_definitions())
    found = {FOLDER}
    while more := {name for name, to in refers.items() if name not in found and to & found}:
        found |= more
    return frozenset(found)


def imports(tree: ast.AST) -> dict[str, str]:
    """Return what each imported name stands for: `{"np": "numpy", "dice": "utils...dice"}`."""
    names = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                first = alias.name.split(".")[0]
                names[alias.asname or first] = alias.name if alias.asname else first
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names |= {each.asname or each.name: f"{node.module}.{each.name}" for each in node.names}
    return names


def _definitions() -> Iterator[tuple[str, set[str]]]:
    for path in sorted((ROOT / "utils").rglob("*.py")):
        module = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        tree = ast.parse(path.read_text(encoding="utf-8"))
        own = {name: f"{module}.{name}" for node in tree.body for name in _bound(node)}
        known = own | imports(tree)
        for node in tree.body:
            for name in _bound(node):
                yield f"{module}.{name}", _references(node, known)


def _references(tree: ast.AST, known: dict[str, str]) -> set[str]:
    """Return the dotted names that a piece of code refers to: `config.RESULTS` as `utils...`."""
    dotted = (_dotted(node, known) for node in ast.walk(tree))
    return {name for name in dotted if name}


def _dotted(node: ast.AST, known: dict[str, str]) -> str:
    if isinstance(node, ast.Name):
        return known.get(node.id, "")
    if isinstance(node, ast.Attribute) and (base := _dotted(node.value, known)):
        return f"{base}.{node.attr}"
    return ""


def _uses(statement: ast.stmt, imported: dict[str, str], tainted: set[str]) -> bool:
    if _references(statement, imported) & readers():
        return True
    nodes = list(ast.walk(statement))
    loaded = {n.id for n in nodes if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load)}
    if isinstance(statement, ast.AugAssign):
        loaded |= _bound(statement)
    texts = (node.value for node in nodes if isinstance(node, ast.Constant))
    return bool((loaded - _local(nodes)) & tainted) or any(
        isinstance(text, str) and "results/" in text for text in texts
    )


def _local(nodes: Iterable[ast.AST]) -> set[str]:
    """Return the names that stand for something new inside a statement: of loops, arguments."""
    targets = [node.target for node in nodes if isinstance(node, ast.For | ast.comprehension)]
    names = {n.id for each in targets for n in ast.walk(each) if isinstance(n, ast.Name)}
    return names | {node.arg for node in nodes if isinstance(node, ast.arg)}


def _bound(statement: ast.AST) -> set[str]:
    """Return the names that a statement sets, those in its loops and branches included."""
    if isinstance(statement, ast.FunctionDef | ast.ClassDef):
        return {statement.name}
    return {
        node.id
        for node in ast.walk(statement)
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
    }


def _changed(statement: ast.stmt, imported: dict[str, str]) -> set[str]:
    """Return what a statement changes in place: `rows` of `rows.append(x)` and `rows[0] = x`."""
    names = set()
    for node in ast.walk(statement):
        stored = isinstance(getattr(node, "ctx", None), ast.Store)
        if stored and isinstance(node, ast.Subscript | ast.Attribute):
            names.add(_root(node))
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            names.add(_root(node.func))
    return names - set(imported) - {""}


def _root(node: ast.AST) -> str:
    while isinstance(node, ast.Subscript | ast.Attribute):
        node = node.value
    return node.id if isinstance(node, ast.Name) else ""
