"""The tables in results/lgg/, put together from the folds that are done."""

from pathlib import Path

import pandas as pd

from utils import config
from utils.cohort.splits import patient_folds, split_sha256
from utils.cohort.table import cohort_sha256
from utils.evaluation.segmentation import HD95_BEFORE, HD95_NOW
from utils.evidence.tables import EXPERIMENTS
from utils.runtime import commit, cpuinfo, processor_name, versions
from utils.tables import read_table, write_table

PACKAGES = ("tensorflow", "keras", "numpy", "pandas", "scikit-learn", "scipy")
COLUMNS = ["fold", "patient", "institution", "slice", "tumour_px", "predicted_px", "overlap_px"]
PROBABILITIES = ["p_tumour", "p_detector", "p_segmenter", "flagged"]


def collect(work: Path, out: Path, table: pd.DataFrame, folds: int) -> None:
    """Write the tables of all folds that are done.

    Parameters
    ----------
    work : Path
        Holds ``<experiment>/<fold>/slices.csv, patients.csv, fold.json``.
    out : Path
        Gets ``slices.csv`` and ``patients.csv`` once every fold of ``ours`` is done,
        ``slices_<experiment>.csv`` of the others, ``folds.csv``, ``attempts.csv``,
        ``attempts_patients.csv`` and
        ``provenance.json``, which also tells the seconds of all training and the machines. What
        stands there of other folds and attempts stays, if it was computed from the same cohort:
        the work may be shared among machines. HD95 alone does not stay where it was computed
        under another definition (``hd95`` of ``provenance.json``) than that of newer folds.
    table : pandas.DataFrame
        The cohort table.
    folds : int
        How many folds ``ours`` has.
    """
    data = cohort_sha256(table)
    before = config.read_json(out / "provenance.json")
    kept = before.get("data_sha256") == data
    hd95 = before.get("hd95") if kept else None
    settings = []
    for experiment in EXPERIMENTS:
        done = sorted(file.parent for file in (work / experiment).glob("*/fold.json"))
        if not done:
            continue
        settings += [_setting(experiment, folder) for folder in done]
        ours = experiment == "ours"
        path = out / ("slices.csv" if ours else f"slices_{experiment}.csv")
        columns = COLUMNS + PROBABILITIES
        slices = _merged(_joined(done, "slices")[columns], path, ["fold"], kept)
        if ours and slices["fold"].nunique() < folds:
            continue
        write_table(path, slices.sort_values(["patient", "slice"]))
        if ours:
            path = out / "patients.csv"
            patients = _merged(_joined(done, "patients"), path, ["fold"], kept)
            patients, hd95 = _one_definition(patients, done, hd95 or HD95_BEFORE)
            write_table(path, patients.sort_values("patient"))
    attempts = sorted(work.glob("attempts/*/*/attempt.json"))
    if attempts:
        keys = ["attempt", "fold", "seed"]
        runs = pd.DataFrame([config.read_json(file) for file in attempts])
        patients = pd.concat([read_table(file.parent / "patients.csv") for file in attempts])
        for name, rows in (("attempts", runs), ("attempts_patients", patients)):
            path = out / f"{name}.csv"
            rows = _merged(rows, path, keys, kept)
            by = [*keys, *rows.columns.intersection(["patient"])]
            write_table(path, rows.sort_values(by))
    path = out / "folds.csv"
    if settings:
        rows = _merged(pd.DataFrame(settings), path, ["experiment", "fold"], kept)
        order = rows["experiment"].map(list(EXPERIMENTS).index)
        write_table(
            path, rows.assign(order=order).sort_values(["order", "fold"]).drop(columns="order")
        )
    if settings or attempts:
        seconds = read_table(path)["seconds"].sum() if settings or (kept and path.exists()) else 0
        machines = before["machine"].split("; ") if kept else []
        machines = "; ".join(dict.fromkeys([*machines, _machine()]))
        values = provenance(table, data, folds) | {"seconds": int(seconds), "machine": machines}
        values |= {"hd95": hd95} if hd95 else {}
        config.write_json(out / "provenance.json", values)


def _merged(rows: pd.DataFrame, path: Path, keys: list[str], kept: bool) -> pd.DataFrame:
    """Return the rows and, if `kept`, those of the table at `path` whose keys are not among them.

    Keys are compared, and come back, as text: the names of folds are numbers or institutions.
    """
    rows = rows.astype(dict.fromkeys(keys, str))
    if not kept or not path.exists():
        return rows
    before = read_table(path).astype(dict.fromkeys(keys, str))
    new = set(rows[keys].itertuples(index=False, name=None))
    stay = [each not in new for each in before[keys].itertuples(index=False, name=None)]
    return pd.concat([before[stay], rows], ignore_index=True)


def _one_definition(
    patients: pd.DataFrame, done: list[Path], kept: str
) -> tuple[pd.DataFrame, str]:
    """Return the patients with HD95 under one definition, and which that is.

    Parameters
    ----------
    patients : pandas.DataFrame
        ``fold, hd95_px``, and more.
    done : list of Path
        The folds that are done; a ``fold.json`` of before the definition was noted has the old one.
    kept : str
        The definition of the rows of other folds.

    Returns
    -------
    pandas.DataFrame
        If rows differ, the newest definition alone: ``hd95_px`` of the others is NaN.
    str
        `metrics.HD95_NOW` or `metrics.HD95_BEFORE`.
    """
    noted = {
        folder.name: config.read_json(folder / "fold.json").get("hd95", HD95_BEFORE)
        for folder in done
    }
    definitions = patients["fold"].map(noted).fillna(kept)
    newest = HD95_NOW if (definitions == HD95_NOW).any() else HD95_BEFORE
    return patients.assign(hd95_px=patients["hd95_px"].where(definitions == newest)), newest


def _joined(folders: list[Path], name: str) -> pd.DataFrame:
    """Return the rows of all folds, the name of the fold in front."""
    frames = []
    for folder in folders:
        frame = read_table(folder / f"{name}.csv")
        frame.insert(0, "fold", folder.name)
        frames.append(frame)
    return pd.concat(frames, ignore_index=True)


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


def provenance(table: pd.DataFrame, data: str, folds: int) -> dict:
    """Return from what and with what the evidence was computed.

    Returns
    -------
    dict
        ``data_sha256, patients, slices, split_sha256, commit, versions``.
    """
    return {
        "data_sha256": data,
        "patients": int(table["patient"].nunique()),
        "slices": len(table),
        "split_sha256": split_sha256(patient_folds(table, folds)),
        "commit": commit(),
        "versions": versions(PACKAGES),
    }


def _machine() -> str:
    """Return the processor and its cores."""
    return f"{processor_name()}, {max(1, len(cpuinfo('model name')))} cores"
