"""The parameters of a notebook: which it knows, and an error for one that it does not know.

papermill only warns of a parameter that a notebook does not have, so a misspelt name would
quietly run the default. The runner checks before it starts; `check_parameters`, called by the
notebooks themselves, catches the same mistake under plain papermill.
"""

import ast
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import yaml

from utils.config import CourseError

# papermill puts the values it was given in a cell of its own, which opens with this line.
INJECTED = "# Parameters"


def assignments(source: str) -> dict[str, object]:
    """Return the names assigned in `source`, in order, with their literal values.

    A value that is no literal (a call, a sum of names) is given as None.
    """
    values = {}
    for statement in ast.parse(source).body:
        targets = getattr(statement, "targets", [getattr(statement, "target", None)])
        for target in targets:
            if isinstance(target, ast.Name):
                values[target.id] = _literal(statement.value)
    return values


def _literal(node: ast.expr | None) -> object:
    try:
        return ast.literal_eval(node)
    except (ValueError, TypeError):
        return None


def notebook_parameters(notebook: Mapping, name: str) -> dict[str, object]:
    """Return the parameters of a notebook with their defaults.

    Parameters
    ----------
    notebook : nbformat.NotebookNode
        The notebook.
    name : str
        What to call it in an error.

    Raises
    ------
    CourseError
        If there is not exactly one cell tagged ``parameters``.
    """
    cells = [cell for cell in notebook["cells"] if "parameters" in cell["metadata"].get("tags", [])]
    if len(cells) != 1:
        raise CourseError(f"{name}: has {len(cells)} cells tagged 'parameters'; give it one")
    return assignments(cells[0]["source"])


def check_values(values: Mapping[str, object], defaults: Mapping[str, object], name: str) -> None:
    """Raise unless every value belongs to a known parameter and has the kind of its default.

    Parameters
    ----------
    values : mapping
        What the notebook is to be run with.
    defaults : mapping
        Its parameters with their defaults.
    name : str
        The notebook, for the error.

    Raises
    ------
    CourseError
        For an unknown name, or text where the default is a number and the like.
    """
    unknown = [key for key in values if key not in defaults]
    if unknown:
        raise CourseError(_unknown(unknown, defaults, name))
    for key, value in values.items():
        kind = type(defaults[key])
        is_whole_for_real = kind is float and type(value) is int
        if defaults[key] is not None and type(value) is not kind and not is_whole_for_real:
            raise CourseError(
                f"{name}: parameter {key} is {value!r}; it must be of the kind of its default, "
                f"{defaults[key]!r} ({kind.__name__})"
            )


def _unknown(unknown: Sequence[str], known: Sequence[str], name: str) -> str:
    return f"{name}: no parameter {', '.join(unknown)}; the parameters are {', '.join(known)}"


def read_parameters(path: str | os.PathLike) -> dict[str, object]:
    """Read a YAML file of parameters, as `papermill -f` does.

    Raises
    ------
    CourseError
        If it is not there, or holds anything but names with values.
    """
    path = Path(path)
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise CourseError(f"{path}: no such parameter file; give one that exists") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        line = " ".join(str(error).split())
        raise CourseError(f"{path}: not readable as YAML ({line}); mend it") from error
    if not isinstance(values, dict):
        raise CourseError(f"{path}: holds no 'name: value' lines; write one a line")
    return values


def check_parameters(executed: Sequence[str] | None = None) -> None:
    """Raise if papermill was given a parameter that this notebook does not have.

    Called by the notebooks in the first cell after their parameters. Under Jupyter no cell is
    injected and nothing happens.

    Parameters
    ----------
    executed : sequence of str, optional
        Sources of the cells executed so far; by default those of the running IPython.

    Raises
    ------
    CourseError
        Naming the parameter and the known ones.
    """
    if executed is None:
        from IPython import get_ipython

        shell = get_ipython()
        executed = shell.user_ns["In"] if shell else []
    for position, source in enumerate(executed):
        if position and source.split("\n", 1)[0].strip() == INJECTED:
            known = assignments(executed[position - 1])
            unknown = [name for name in assignments(source) if name not in known]
            if unknown:
                raise CourseError(_unknown(unknown, known, "this notebook"))
            return
