"""The exercises of a source: three cells each, found and checked to stand together."""

from dataclasses import dataclass

from nbformat import NotebookNode

from utils.config import CourseError
from utils.notebooks.editions import is_solution


@dataclass(frozen=True)
class Task:
    """The three cells of an exercise.

    Attributes
    ----------
    text, solution, check : NotebookNode
        What is asked and the hints; what is to be written; the cell that calls the check.
    """

    text: NotebookNode
    solution: NotebookNode
    check: NotebookNode


def tasks(source: NotebookNode) -> list[Task]:
    """Return the exercises of a source in order.

    Raises
    ------
    CourseError
        If a solution does not stand between its task and its check.
    """
    found = []
    for place, cell in enumerate(source.cells):
        if not is_solution(cell):
            continue
        before, after = source.cells[:place], source.cells[place + 1 :]
        if not before or not _is(before[-1], "markdown", "### Exercise"):
            raise CourseError(f"cell {place + 1}: put the task, '### Exercise …', right above it")
        if not after or not _is(after[0], "code", "check."):
            raise CourseError(f"cell {place + 1}: put the cell that calls the check right below it")
        found.append(Task(before[-1], cell, after[0]))
    return found


def _is(cell: NotebookNode, kind: str, words: str) -> bool:
    return cell.cell_type == kind and words in cell.source
