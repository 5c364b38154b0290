"""A run of the course: one cohort, one split, one seed, and the folder that holds its results."""

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import pandas as pd

from utils import config
from utils.cohort import cohort_sha256, open_cohort, read_cohort
from utils.cohort_titles import COHORTS
from utils.config import CourseError
from utils.parameters import check_parameters
from utils.simulate import simulate_cohort
from utils.splits import assert_no_leak, choose_patients, patients_of, split_patients, split_sha256
from utils.tables import write_table
from utils.volumes import Volumes, load_volumes


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
    folder = Path(run_folder) if run_folder else config.RUNS / cohort
    table = _cohort_table(parameters)
    split = split_patients(table, seed)
    assert_no_leak(split)
    volumes = load_volumes(table, size, cache=folder / "cache")
    run = Run(parameters, folder.absolute(), table, split, volumes)
    write_table(run.folder / "split.csv", split)
    _start_metrics(run)
    return run


def _cohort_table(parameters: Parameters) -> pd.DataFrame:
    if parameters.cohort == "lgg":
        table = read_cohort(open_cohort(parameters.data or config.DATA / "lgg"))
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
