"""The tables in results/lgg/, put together from the folds that are done."""

import importlib.metadata
import platform
import subprocess
from pathlib import Path

import pandas as pd

from utils import config
from utils.cohort import cohort_sha256
from utils.splits import patient_folds, split_sha256

EXPERIMENTS = (
    "ours",
    "ours_random_split",
    "seed_patient_split",
    "seed_random_split",
    "leave_institution_out",
)
PACKAGES = ("tensorflow", "keras", "numpy", "pandas", "scikit-learn", "scipy")
COLUMNS = ["fold", "patient", "institution", "slice", "tumour_px", "predicted_px", "overlap_px"]
PROBABILITIES = ["p_tumour", "p_detector", "p_segmenter", "flagged"]


def collect(work: Path, out: Path, table: pd.DataFrame, folds: int) -> None:
    """Write the tables of all folds that are done.

    Parameters
    ----------
    work : Path
        Holds ``<experiment>/<fold>/slices.csv, patients.csv, fold.json``. What `out` says of
        experiments and attempts that this folder does not hold stays there.
    out : Path
        Gets ``slices.csv`` and ``patients.csv`` once every fold of ``ours`` is done,
        ``slices_<experiment>.csv`` of the others, ``folds.csv``, ``attempts.csv`` and
        ``provenance.json``.
    table : pandas.DataFrame
        The cohort table.
    folds : int
        How many folds ``ours`` has.
    """
    settings = []
    for experiment in EXPERIMENTS:
        done = sorted(file.parent for file in (work / experiment).glob("*/fold.json"))
        settings += [_setting(experiment, folder) for folder in done]
        if not done or (experiment == "ours" and len(done) < folds):
            continue
        name = "slices" if experiment == "ours" else f"slices_{experiment}"
        slices = _joined(done, "slices", ["patient", "slice"])[COLUMNS + PROBABILITIES]
        _write(slices, out / f"{name}.csv")
        if experiment == "ours":
            patients = _joined(done, "patients", ["patient"])
            _write(patients, out / "patients.csv")
    attempts = [config.read_json(file) for file in sorted(work.glob("attempts/*/attempt.json"))]
    if settings:
        _merge(pd.DataFrame(settings), out / "folds.csv", "experiment")
    if attempts:
        _merge(pd.DataFrame(attempts), out / "attempts.csv", "attempt")
    if settings or attempts:
        seconds = pd.read_csv(out / "folds.csv")["seconds"].sum() if settings else 0
        config.write_json(out / "provenance.json", provenance(table, folds, seconds))


def _merge(rows: pd.DataFrame, path: Path, key: str) -> None:
    """Write rows to a table; of those that stand in it, the ones with other keys stay."""
    if path.exists():
        before = pd.read_csv(path)
        rows = pd.concat([before[~before[key].isin(rows[key])], rows], ignore_index=True)
    _write(rows, path)


def _joined(folders: list[Path], name: str, order: list[str]) -> pd.DataFrame:
    """Return the rows of all folds, the name of the fold in front, sorted."""
    frames = []
    for folder in folders:
        frame = pd.read_csv(folder / f"{name}.csv")
        frame.insert(0, "fold", folder.name)
        frames.append(frame)
    return pd.concat(frames).sort_values(order, ignore_index=True)


def _setting(experiment: str, folder: Path) -> dict:
    fold = config.read_json(folder / "fold.json")
    return {
        "experiment": experiment,
        "fold": folder.name,
        "training_patients": fold["training_patients"],
        "validation_patients": fold["validation_patients"],
        **fold["postprocessing"],
        "detection_threshold": round(fold["detection_threshold"], 6),
        "temperature": round(fold["temperature"], 6),
        **{f"{name}_weight": round(value, 6) for name, value in fold["combination"].items()},
        "epochs": fold["epochs"],
        "validation_dice": round(fold["validation_dice"], 6),
        "seconds": fold["seconds"],
    }


def _write(frame: pd.DataFrame, path: Path) -> None:
    with config.atomic_path(path) as temporary:
        frame.to_csv(temporary, index=False)


def provenance(table: pd.DataFrame, folds: int, seconds: float) -> dict:
    """Return from what, with what and on what the evidence was computed.

    Returns
    -------
    dict
        ``data_sha256, patients, slices, split_sha256, commit, versions, seconds`` (of training),
        ``machine``.
    """
    return {
        "data_sha256": cohort_sha256(table),
        "patients": int(table["patient"].nunique()),
        "slices": len(table),
        "split_sha256": split_sha256(patient_folds(table, folds)),
        "commit": _commit(),
        "versions": {
            "python": platform.python_version(),
            **{name: importlib.metadata.version(name) for name in PACKAGES},
        },
        "seconds": int(seconds),
        "machine": _machine(),
    }


def _commit() -> str:
    """Return the commit of the code, with a + if files differ from it; "unknown" without git."""
    try:
        commit = _git("rev-parse", "HEAD")
        changed = _git("status", "--porcelain", "--untracked-files=no", "--", "utils")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return commit + ("+" if changed else "")


def _git(*words: str) -> str:
    command = ["git", "-C", str(config.ROOT), *words]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def _machine() -> str:
    """Return the processor, its cores and the precision that it computes in."""
    model = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{names[0] if names else model}, {max(1, len(names))} cores"
