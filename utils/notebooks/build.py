"""One notebook made from its source, executed and tidied; and where the two disagree."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import jupytext
import nbformat
from nbformat import NotebookNode

from utils.config import ROOT, RUNS, CourseError, atomic_path
from utils.notebooks.editions import EDITIONS, HIDDEN, students
from utils.notebooks.execute import execute

NOTEBOOKS = ROOT / "notebooks"
SOURCE = NOTEBOOKS / "source"
# The kernel that every Jupyter names so, whatever the reader's environment is called.
KERNEL = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}


def read_source(path: Path) -> NotebookNode:
    """Return the notebook, without outputs, that a percent script describes.

    Cells are named after the notebook and their position, so that the same text makes the same
    file.

    Raises
    ------
    CourseError
        If the file cannot be read.
    """
    try:
        notebook = jupytext.read(path, fmt="py:percent")
    except (OSError, UnicodeDecodeError, SyntaxError) as error:
        raise CourseError(f"{path}: not readable as a percent script ({error})") from error
    notebook.metadata = NotebookNode(kernelspec=KERNEL, language_info={"name": "python"})
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    for position, cell in enumerate(notebook.cells, start=1):
        cell.id = f"{path.stem}-{position:03d}"
    return notebook


def read_notebook(path: Path, remedy: str = "get it anew from git") -> NotebookNode:
    """Return a stored notebook.

    Parameters
    ----------
    path : Path
    remedy : str
        What the user can do if it cannot be read.

    Raises
    ------
    CourseError
        If it is not there or is no notebook.
    """
    try:
        return nbformat.read(path, as_version=4)
    except (OSError, nbformat.reader.NotJSONError, nbformat.ValidationError) as error:
        raise CourseError(f"{path}: not readable as a notebook; {remedy}") from error


def differences(source: NotebookNode, notebook: NotebookNode) -> list[str]:
    """Return where a notebook's cells differ from its source, one line each."""
    found = []
    if len(source.cells) != len(notebook.cells):
        found.append(f"{len(source.cells)} cells in the source, {len(notebook.cells)} stored")
    for position, (ours, theirs) in enumerate(
        zip(source.cells, notebook.cells, strict=False), start=1
    ):
        if ours.cell_type != theirs.cell_type:
            found.append(f"cell {position}: {ours.cell_type} in the source, not {theirs.cell_type}")
        elif ours.source.strip() != theirs.source.strip():
            found.append(f"cell {position}: other text than in the source")
        elif _tags(ours) != _tags(theirs):
            found.append(f"cell {position}: tagged {_tags(theirs)}, in the source {_tags(ours)}")
    return found


def _tags(cell: NotebookNode) -> list[str]:
    return sorted(cell.metadata.get("tags", []))


def tidy(executed: NotebookNode) -> NotebookNode:
    """Return an executed notebook without what changes from one execution to the next.

    Times, and the version of the interpreter, would make every regeneration a change of every
    cell. Text that a cell printed in several pieces is joined.
    """
    executed.metadata = NotebookNode(kernelspec=KERNEL, language_info={"name": "python"})
    for cell in executed.cells:
        tags = _tags(cell)
        cell.metadata = _metadata(tags)
        if cell.cell_type == "code":
            cell.outputs = _joined(cell.outputs)
    return executed


def _metadata(tags: list[str]) -> NotebookNode:
    metadata = NotebookNode(tags=tags) if tags else NotebookNode()
    if HIDDEN in tags:
        metadata.jupyter = NotebookNode(source_hidden=True)  # what JupyterLab folds away
    return metadata


def _joined(outputs: Sequence[NotebookNode]) -> list[NotebookNode]:
    joined: list[NotebookNode] = []
    for output in outputs:
        last = joined[-1] if joined else None
        if output.output_type == "stream" and last is not None and last.get("name") == output.name:
            last.text += output.text
        else:
            joined.append(output)
    return joined


def make(
    source: Path,
    target: Path,
    working: Path = RUNS / "notebooks",
    edition: Callable[[NotebookNode], NotebookNode] = students,
) -> None:
    """Execute one edition of a source with the parameters it has and write the notebook.

    Parameters
    ----------
    source, target : Path
        The percent script, and the notebook to make.
    working : Path
        Where the log goes and, if a cell fails, the notebook up to there.
    edition : callable
        Makes the edition from the source: `utils.notebooks.editions.students` or ``instructors``.

    Raises
    ------
    CourseError
        If a solution in the source is none.
    NotebookError
        If a cell fails; the notebook that was there stays.
    """
    empty = working / f"{target.stem}.empty.ipynb"
    executed = working / f"{target.stem}.ipynb"
    with atomic_path(empty) as temporary:
        nbformat.write(edition(read_source(source)), temporary)
    target.parent.mkdir(parents=True, exist_ok=True)  # the kernel starts in it
    execute(empty, executed, folder=target.parent, log=working / f"{target.stem}.log")
    notebook = tidy(nbformat.read(executed, as_version=4))
    nbformat.validate(notebook)
    with atomic_path(target) as temporary:
        nbformat.write(notebook, temporary)


def sources(only: str | None = None) -> list[Path]:
    """Return the sources in order, or the one that `only` (a number or name) means.

    Raises
    ------
    CourseError
        If there is none.
    """
    found = sorted(SOURCE.glob("[0-9][0-9]_*.py"))
    if only is not None:
        found = [path for path in found if only in (path.stem, path.stem.split("_")[0])]
    if not found:
        raise CourseError(f"{SOURCE}: no source {only or 'NN_name.py'} in it")
    return found


def editions_of(source: Path) -> Iterator[tuple[Path, Path, Callable]]:
    """Yield for each edition of a source the notebook, its working folder, and what makes it.

    The students' edition comes first: what it trains, the instructors' finds in the same run.
    """
    for folder, edition in EDITIONS.items():
        yield NOTEBOOKS / folder / f"{source.stem}.ipynb", RUNS / "notebooks" / folder, edition


def disagreements(source: Path, target: Path, edition: Callable) -> list[str]:
    if not target.is_file():
        return ["not made yet; make it: make notebooks"]
    return differences(edition(read_source(source)), read_notebook(target))
