"""A run of the course: one cohort, one split, one seed, and the folder that holds its results."""

import ast
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
import yaml

from utils import config
from utils.cohort.splits import (
    assert_no_leak,
    choose_patients,
    patients_of,
    split_patients,
    split_sha256,
)
from utils.cohort.table import cohort_sha256, read_cohort
from utils.cohort.volumes import Volumes, load_volumes
from utils.config import CourseError
from utils.course.titles import COHORTS
from utils.simulation.cohort import simulate_cohort
from utils.tables import write_table

# papermill puts the values it was given in a cell of its own, which opens with this line.
INJECTED = "# Parameters"


def assignments(source: str) -> dict[str, object]:
    """Return the names assigned in `source`, in order, with their literal values.

    A value that is no literal (a call, a sum of names) is given as None. What papermill reads of a
    parameters cell is text, ends at a # within quotes, and lacks values that hold an equals sign.
    """
    values = {}
    for statement in ast.parse(source).body:
        if isinstance(statement, ast.Assign | ast.AnnAssign):
            try:
                value = ast.literal_eval(statement.value)
            except (ValueError, TypeError):
                value = None
            targets = getattr(statement, "targets", None) or [statement.target]
            values |= {target.id: value for target in targets if isinstance(target, ast.Name)}
    return values


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
    path = config.user_path(path)
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise CourseError(f"{path}: no such parameter file; give one that exists") from error
    except (yaml.YAMLError, ValueError) as error:  # a date that there is not is a ValueError
        line = " ".join(str(error).split())
        raise CourseError(f"{path}: not readable as YAML ({line}); mend it") from error
    if not isinstance(values, dict):
        raise CourseError(f"{path}: holds no 'name: value' lines; write one a line")
    for name in values:
        if not isinstance(name, str):  # YAML reads "on: 1" as True: 1
            raise CourseError(f"{path}: {name!r} is no name of a parameter; mend that line")
    return values


def parse_value(text: str) -> object:
    """Return the value that a word of the command line stands for, as `papermill -p` reads it.

    Examples
    --------
    >>> from utils.course.run import parse_value
    >>> parse_value("3"), parse_value("lgg"), parse_value("")
    (3, 'lgg', '')
    """
    try:
        return yaml.safe_load(text) if text else ""
    except (yaml.YAMLError, ValueError):
        return text


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


@dataclass(frozen=True)
class Parameters:
    """What can be set for a notebook; the names of the cell tagged `parameters`.

    Attributes
    ----------
    cohort : str
        ``"simulated"`` or ``"lgg"``.
    data : str
        Where the real cohort lies: its folder, the folder above, or Kaggle's zip. Empty for
        ``data/lgg``.
    run_folder : str
        Where results go; empty for ``runs/<cohort>``.
    seed : int
        Seed of the simulated cohort, the split and every training.
    patients : int
        How many patients; 0 for all that there are (60 in the simulated cohort).
    size : int
        Side of the pictures that the models see, in pixels.
    detector_epochs, segmenter_epochs : int
        Passes of the fine-tuning of the detector; epochs of `SEGMENTER_STEPS` steps of the
        segmenter.
    """

    cohort: str = "simulated"
    data: str = ""
    run_folder: str = ""
    seed: int = 0
    patients: int = 60
    size: int = 128
    detector_epochs: int = 3
    segmenter_epochs: int = 5

    def __post_init__(self) -> None:
        if self.cohort not in COHORTS:
            raise CourseError(f"cohort={self.cohort!r}: unknown; choose one of {tuple(COHORTS)}")
        for name, least in {
            "seed": 0,
            "patients": 0,
            "size": 32,
            "detector_epochs": 1,
            "segmenter_epochs": 1,
        }.items():
            value = getattr(self, name)
            if not isinstance(value, int) or value < least:
                raise CourseError(f"{name}={value!r}: must be a whole number of at least {least}")


@dataclass(frozen=True)
class Run:
    """One cohort, split and seed, and where the results lie. Made by `open_run`.

    Attributes
    ----------
    parameters : Parameters
    folder : pathlib.Path
        The run folder.
    table : pandas.DataFrame
        The cohort table, one row a slice.
    split : pandas.DataFrame
        ``patient, institution, part``.
    volumes : Volumes
        All slices, normalised, at the size that the models see.
    """

    parameters: Parameters
    folder: Path
    table: pd.DataFrame
    split: pd.DataFrame
    volumes: Volumes = field(repr=False)

    @property
    def seed(self) -> int:
        return self.parameters.seed

    @property
    def figures(self) -> Path:
        """The folder in which figures are kept for the report."""
        return self.folder / "figures"

    @property
    def metrics_file(self) -> Path:
        return self.folder / "metrics.json"

    def part(self, part: str) -> Volumes:
        """Return the volumes of ``"train"``, ``"validation"`` or ``"test"``."""
        return self.volumes.of(patients_of(self.split, part))

    def in_part(self, part: str) -> np.ndarray:
        """Return which rows of the run's table belong to a part; bool, shape (n,)."""
        return self.table["patient"].isin(patients_of(self.split, part)).to_numpy()

    def describe(self, part: str | None = None) -> str:
        """Return from which cohort, patients and seed a number or figure comes."""
        number = len(self.split) if part is None else int((self.split["part"] == part).sum())
        kind = {None: "patients", "train": "training patients", "validation": "validation patients"}
        name = COHORTS[self.parameters.cohort].figure
        return f"{name}, {number} {kind.get(part, 'held-out patients')}, seed {self.seed}"

    @cached_property
    def identity(self) -> dict:
        """What decides the input of every training, kept with the files that come out of it."""
        return {
            "cohort": self.parameters.cohort,
            "cohort_sha256": cohort_sha256(self.table),
            "split_sha256": split_sha256(self.split),
            "seed": self.seed,
            "size": self.parameters.size,
        }

    def record(self, values: dict) -> None:
        """Merge `values` into the run's ``metrics.json``."""
        config.update_json(self.metrics_file, values)


def open_run(
    cohort: str = Parameters.cohort,
    data: str = Parameters.data,
    run_folder: str = Parameters.run_folder,
    seed: int = Parameters.seed,
    patients: int = Parameters.patients,
    size: int = Parameters.size,
    detector_epochs: int = Parameters.detector_epochs,
    segmenter_epochs: int = Parameters.segmenter_epochs,
) -> Run:
    """Open a run: make or read its cohort, split it by patient, and load its volumes.

    What an earlier notebook made is found again; what is missing is made, and said.

    Returns
    -------
    Run

    Raises
    ------
    CourseError
        If a parameter is unknown or out of range, or the cohort cannot be read.
    """
    check_parameters()
    parameters = Parameters(
        cohort, data, run_folder, seed, patients, size, detector_epochs, segmenter_epochs
    )
    folder = Path(run_folder).expanduser() if run_folder else config.RUNS / cohort
    table = _cohort_table(parameters)
    split = split_patients(table, seed)
    assert_no_leak(split)
    volumes = load_volumes(table, size, cache=folder / "cache")
    run = Run(parameters, folder.absolute(), table, split, volumes)
    write_table(run.folder / "split.csv", split)
    _start_metrics(run)
    return run


def check_data(cohort: str, data: str) -> None:
    """Refuse data for the simulated cohort, which would not be looked at.

    Raises
    ------
    CourseError
    """
    if data and cohort == "simulated":
        raise CourseError(f"data {data!r} given to the simulated cohort; add COHORT=lgg")


def _cohort_table(parameters: Parameters) -> pd.DataFrame:
    check_data(parameters.cohort, parameters.data)
    if parameters.cohort == "lgg":
        table = read_cohort(parameters.data or config.DATA / "lgg")
        names = choose_patients(table, parameters.patients, parameters.seed)
        return table[table["patient"].isin(names)].reset_index(drop=True)
    number = parameters.patients or Parameters.patients
    root = config.DATA / f"simulated-{number}-patients-seed-{parameters.seed}"
    if not config.read_json(root / "cohort.json").get("complete"):
        print(f"Making the simulated cohort: {number} patients, seed {parameters.seed}.")
    return read_cohort(simulate_cohort(root, number, parameters.seed))


def _start_metrics(run: Run) -> None:
    """Record what the run is; numbers of another cohort, split or size are dropped."""
    parameters = run.parameters
    identity = run.identity | {
        "profile": f"{len(run.split)} patients, {parameters.size} px, "
        f"detector {parameters.detector_epochs} epochs, "
        f"segmenter {parameters.segmenter_epochs} epochs",
        "patients": run.split.groupby("part")["patient"].apply(sorted).to_dict(),
    }
    recorded = config.read_json(run.metrics_file)
    if any(recorded.get(key) != value for key, value in identity.items()):
        config.write_json(run.metrics_file, identity)
