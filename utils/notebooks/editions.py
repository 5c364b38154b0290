"""Two editions of one text: the instructors' with solutions, the students' with stubs instead.

A source in notebooks/source/ is complete: what a student is to write stands in code cells tagged
``solution``. `students` puts a stub in the place of each, made from the solution itself, so that
names and signatures can never disagree. `instructors` keeps the solutions and mends what depends
on the folder, since that edition lies one level deeper. Both have the same cells in the same order.

An exercise is three cells in a row: the task (with two folded hints), the solution, the check::

    # %% [markdown]
    # ### Exercise 1.2 · Whose slice is it?

    # %% tags=["solution"]
    def patient_of(path):
        ...

    # %% tags=["nbval-check-output"]
    check.patient_of(patient_of)

Tags say the rest: ``nbval-check-output``, that the stored output is compared; ``hide-input``, that
the code of a cell is folded away, because what it does is not what the course teaches.
"""

import ast
import re
from collections.abc import Callable, Iterator
from copy import deepcopy

from nbformat import NotebookNode

from utils.config import CourseError

SOLUTION, STUB = "solution", "exercise"
COMPARED, HIDDEN = "nbval-check-output", "hide-input"
_TODO = "# Your code here"
_HELPERS = 'sys.path.insert(0, "..")'
# A link to a file of this repository; notebooks link to their neighbours, found in both editions.
_LINK = re.compile(
    r"(\]\()(?!https?:|mailto:|#|attachment:|data:|\d\d_\w+\.ipynb)([^)\s]+)(?=[)\s])"
)
_IMAGE = re.compile(r"""(<img [^>]*?src=["'])(?!https?:|data:|attachment:)([^"']+)""")


def students(source: NotebookNode) -> NotebookNode:
    """Return the edition in which every solution is a stub.

    Parameters
    ----------
    source : NotebookNode
        As `utils.notebooks.build.read_source` returns it; it is not changed.

    Raises
    ------
    CourseError
        If a solution defines no function or value, or cannot be parsed.
    """
    edition = deepcopy(source)
    for cell in edition.cells:
        if is_solution(cell):
            cell.source = stub(cell.source)
            cell.metadata.tags = [STUB if tag == SOLUTION else tag for tag in cell.metadata.tags]
    return edition


def instructors(source: NotebookNode) -> NotebookNode:
    """Return the edition with the solutions, to lie in a folder below the students' edition.

    Parameters
    ----------
    source : NotebookNode
        As `utils.notebooks.build.read_source` returns it; it is not changed.
    """
    edition = deepcopy(source)
    for cell in edition.cells:
        if cell.cell_type == "code":
            cell.source = cell.source.replace(_HELPERS, _HELPERS.replace("..", "../.."))
        elif cell.cell_type == "markdown":
            cell.source = _IMAGE.sub(r"\1../\2", _LINK.sub(r"\1../\2", cell.source))
    return edition


# Folder below notebooks/, and what makes the edition that lies in it.
EDITIONS: dict[str, Callable[[NotebookNode], NotebookNode]] = {
    "": students,
    "solutions": instructors,
}


def is_solution(cell: NotebookNode) -> bool:
    """Return whether a cell of a source holds what the students are to write."""
    return cell.cell_type == "code" and SOLUTION in cell.metadata.get("tags", [])


def stub(solution: str) -> str:
    """Return what a student finds in the place of a solution.

    Comments at the top and imports stay; each function keeps decorators, signature and docstring;
    each value ``name = …`` becomes ``name = ...``. Everything else is left out.

    Parameters
    ----------
    solution : str
        The code of a cell.

    Raises
    ------
    CourseError
        If it defines no function or value, defines a class, or cannot be parsed.
    """
    try:
        body = ast.parse(solution).body
    except SyntaxError as error:
        raise CourseError(f"solution, line {error.lineno}: {error.msg}; mend it") from error
    lines = solution.splitlines()
    pieces, kept, answers = [], _top_comments(lines), 0
    for statement in body:
        if isinstance(statement, ast.ClassDef):
            raise CourseError(f"solution: class {statement.name}; ask for a function or a value")
        if isinstance(statement, ast.FunctionDef):
            pieces += ["\n".join(kept)] if kept else []
            pieces.append(_function_stub(statement, lines))
            kept, answers = [], answers + 1
        elif isinstance(statement, ast.Import | ast.ImportFrom):
            kept += lines[statement.lineno - 1 : statement.end_lineno]
        else:
            names = list(_assigned(statement))
            kept += [f"{name} = ...  {_TODO}" for name in names]
            answers += len(names)
    if not answers:
        raise CourseError("solution: defines no function or value that a student could write")
    return "\n\n\n".join([*pieces, "\n".join(kept)] if kept else pieces)


def _top_comments(lines: list[str]) -> list[str]:
    comments = []
    for line in lines:
        if not line.startswith("#"):
            break
        comments.append(line)
    return comments


def _function_stub(function: ast.FunctionDef, lines: list[str]) -> str:
    opening, first, margin = function.body[0], _first_line(function), "    "
    if ast.get_docstring(function, clean=False) is not None:
        kept, margin = lines[first - 1 : opening.end_lineno], " " * opening.col_offset
    else:
        kept = lines[first - 1 : opening.lineno]
        kept[-1] = kept[-1][: opening.col_offset].rstrip()
        # A comment between signature and body may give the answer away.
        while not kept[-1].strip() or kept[-1].lstrip().startswith("#"):
            kept.pop()
    return "\n".join([*kept, f"{margin}{_TODO}", f"{margin}..."])


def _first_line(function: ast.FunctionDef) -> int:
    return min(each.lineno for each in (function, *function.decorator_list))


def _assigned(statement: ast.stmt) -> Iterator[str]:
    if isinstance(statement, ast.Assign):
        targets = statement.targets
    elif isinstance(statement, ast.AnnAssign):
        targets = [statement.target]
    else:
        return
    for target in targets:
        for each in target.elts if isinstance(target, ast.Tuple | ast.List) else [target]:
            if isinstance(each, ast.Name):
                yield each.id
