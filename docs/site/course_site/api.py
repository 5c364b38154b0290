"""The API page, read from the source: nothing is imported, so that TensorFlow is not needed."""

import ast
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

# The list of what students meet; a test there holds it against the notebooks.
LISTED_IN = "tests/unit/test_examples.py"
_EXERCISE = re.compile(r"^#+ (Exercise .+)$", re.MULTILINE)
_CHECK = re.compile(r"^\s*check\.(\w+)\(", re.MULTILINE)


@dataclass(frozen=True)
class Function:
    """A function as its source describes it.

    Attributes
    ----------
    module, name : str
    signature : str
        ``name(argument: type = value) -> type``, as it is written.
    docstring : str
    """

    module: str
    name: str
    signature: str
    docstring: str


def students_functions(root: Path) -> dict[str, list[str]]:
    """Return module -> names of the functions that students meet, in alphabetical order."""
    tree = ast.parse((root / LISTED_IN).read_text(encoding="utf-8"))
    modules = {
        alias.name: node.module
        for node in tree.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    (listed,) = (
        node.value
        for node in tree.body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "STUDENTS"
    )
    found: dict[str, list[str]] = {}
    for name in sorted(each.id for each in listed.elts):
        found.setdefault(modules[name], []).append(name)
    return dict(sorted(found.items()))


def read_module(root: Path, module: str) -> tuple[str, dict[str, Function]]:
    """Return the first paragraph of a module's docstring, and its functions by name."""
    tree = ast.parse((root / (module.replace(".", "/") + ".py")).read_text(encoding="utf-8"))
    functions = {
        node.name: Function(module, node.name, signature(node), ast.get_docstring(node) or "")
        for node in tree.body
        if isinstance(node, ast.FunctionDef)
    }
    return (ast.get_docstring(tree) or "").split("\n\n")[0], functions


def signature(node: ast.FunctionDef) -> str:
    """Return the signature of a function as it is written.

    Examples
    --------
    >>> import ast
    >>> from course_site.api import signature
    >>> signature(ast.parse("def f(a: int, *, b=2) -> float: pass").body[0])
    'f(a: int, *, b=2) -> float'
    """
    returns = f" -> {ast.unparse(node.returns)}" if node.returns else ""
    return f"{node.name}({ast.unparse(node.args)}){returns}"


def exercises(root: Path) -> list[tuple[str, str, str]]:
    """Return page of the notebook, heading and name of each exercise, in the order of the course.

    Both are taken from the stored notebooks: the heading is the last one before the cell that
    calls ``check.<name>``.
    """
    found = []
    for path in sorted((root / "notebooks").glob("[0-9][0-9]_*.ipynb")):
        heading, seen = "", set()
        for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
            text = "".join(cell["source"])
            if cell["cell_type"] == "markdown":
                heading = (_EXERCISE.findall(text) or [heading])[-1]
                continue
            for name in _CHECK.findall(text):
                if name not in seen:
                    seen.add(name)
                    found.append((f"notebooks/{path.stem}", heading, name))
    return found


def page(root: Path, converted: Callable[[str], str]) -> str:
    """Return the API page as reStructuredText.

    Parameters
    ----------
    root : Path
        The folder of the repository.
    converted : callable
        Takes a NumPy docstring and returns it as reStructuredText.
    """
    parts = [
        _heading("Functions that students meet", "="),
        "What the notebooks call, and what some exercises ask you to write. Every example can be\n"
        "pasted: it imports what it uses, and what it shows was compared with what comes out.\n"
        'In the notebooks the helpers lie beside the folder: ``sys.path.insert(0, "..")``.',
        _heading("check", "-"),
        "``check.<name>(answer)`` tries an answer on several inputs and says in one line what is\n"
        "wrong with which. It never shows the solution.",
        ">>> from utils import check\n>>> check.patient_of(lambda name: name)  # doctest: +SKIP",
        _table(exercises(root)),
    ]
    for module, names in students_functions(root).items():
        about, functions = read_module(root, module)
        parts += [
            _heading(module.removeprefix("utils."), "-"),
            about,
            f".. py:currentmodule:: {module}",
        ]
        parts += [_function(functions[name], converted) for name in names]
    return "\n\n".join(parts) + "\n"


def escaped(docstring: str) -> str:
    """Return a docstring whose bars, and letters right after a name in backticks, are only text.

    reStructuredText would take ``|x|`` for a substitution. Examples stay as they are.

    Examples
    --------
    >>> from course_site.api import escaped
    >>> escaped("Return |a - b| of `Interval`s.") == r"Return \\|a - b\\| of `Interval`\\ s."
    True
    """
    lines, example = [], False
    for line in docstring.split("\n"):
        example = line.lstrip().startswith(">>>") or (example and bool(line.strip()))
        if not example:
            line = re.sub(r"(?<!`)(`[^`\s]+`)(?=\w)", r"\1\\ ", line.replace("|", r"\|"))
        lines.append(line)
    return "\n".join(lines)


def _heading(words: str, line: str) -> str:
    return f"{words}\n{line * len(words)}"


def _table(rows: list[tuple[str, str, str]]) -> str:
    lines = [".. list-table::", "   :header-rows: 1", "", "   * - Exercise", "     - Its check"]
    for notebook, heading, name in rows:
        lines += [f"   * - :doc:`{heading} <{notebook}>`", f"     - ``check.{name}``"]
    return "\n".join(lines)


def _function(function: Function, converted: Callable[[str], str]) -> str:
    lines = converted(escaped(function.docstring)).splitlines()
    body = "\n".join(f"   {line}".rstrip() for line in lines)
    return f".. py:function:: {function.signature}\n\n{body}"
