"""The tables in results/lgg/, put together from the folds that are done."""

from pathlib import Path

import pandas as pd
from filelock import FileLock

from utils import config
from utils.cluster.provenance import joined, joined_versions, made_with
from utils.cohort.splits import patient_folds, split_sha256
from utils.cohort.table import cohort_sha256
from utils.evaluation.segmentation import HD95_BEFORE, HD95_NOW
from utils.evidence.tables import EXPERIMENTS, SLICE_COLUMNS
from utils.tables import read_table, write_table

# Where a fold's or attempt's own file tells with what it was computed.
MADE_WITH = "made_with"
ATTEMPTS = "attempts/*/*/attempt.json"


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
        ``provenance.json``, which also tells the seconds of all folds, and with what they were
        computed. What stands there of other folds and attempts stays: the work may be shared
        among machines. HD95 alone does not stay where it
        was computed under another definition (``hd95`` of ``provenance.json``) than that of newer
        folds. Held while it is read and written, so that of two processes neither loses what the
        other adds.
    table : pandas.DataFrame
        The cohort table.
    folds : int
        How many folds ``ours`` has.

    Raises
    ------
    CourseError
        If the tables in `out` are of another cohort.
    """
    out.mkdir(parents=True, exist_ok=True)
    with FileLock(out / ".tables.lock"):
        _collect(work, out, table, folds)


def _collect(work: Path, out: Path, table: pd.DataFrame, folds: int) -> None:
    data = cohort_sha256(table)
    before = config.read_json(out / "provenance.json")
    check_cohort(out, data)
    kept = bool(before)
    hd95 = before.get("hd95") if kept else None
    settings, notes = [], []
    for experiment in EXPERIMENTS:
        done = sorted(file.parent for file in (work / experiment).glob("*/fold.json"))
        if not done:
            continue
        told = [config.read_json(folder / "fold.json") for folder in done]
        notes += [fold.get(MADE_WITH) for fold in told]
        settings += [
            _setting(experiment, folder.name, fold) for folder, fold in zip(done, told, strict=True)
        ]
        ours = experiment == "ours"
        path = out / ("slices.csv" if ours else f"slices_{experiment}.csv")
        slices = _merged(_joined(done, "slices")[SLICE_COLUMNS], path, ["fold"], kept)
        if ours and slices["fold"].nunique() < folds:
            continue
        write_table(path, slices.sort_values(["patient", "slice"]))
        if ours:
            path = out / "patients.csv"
            patients = _merged(_joined(done, "patients"), path, ["fold"], kept)
            patients, hd95 = _one_definition(patients, done, hd95 or HD95_BEFORE)
            write_table(path, patients.sort_values("patient"))
    attempts = [(file, config.read_json(file)) for file in sorted(work.glob(ATTEMPTS))]
    stays = False
    if attempts:
        keys = ["attempt", "fold", "seed"]
        runs = [{name: one for name, one in values.items() if name != MADE_WITH}
                for _, values in attempts]  # fmt: skip
        patients = pd.concat([read_table(file.parent / "patients.csv") for file, _ in attempts])
        for name, rows in (("attempts", pd.DataFrame(runs)), ("attempts_patients", patients)):
            path = out / f"{name}.csv"
            merged = _merged(rows, path, keys, kept)
            by = [*keys, *rows.columns.intersection(["patient"])]
            write_table(path, merged.sort_values(by))
            stays |= len(merged) > len(rows)
    path = out / "folds.csv"
    if settings:
        rows = _merged(pd.DataFrame(settings), path, ["experiment", "fold"], kept)
        stays |= len(rows) > len(settings)
        order = rows["experiment"].map(list(EXPERIMENTS).index)
        rows = rows.assign(order=order).sort_values(["order", "fold"]).drop(columns="order")
        # Whole numbers, also where a fold of before they were noted has none.
        write_table(path, rows.astype(dict.fromkeys(("threads", "choosing_patients"), "Int64")))
    if settings or attempts:
        stays |= kept and not settings and path.exists()
        seconds = read_table(path)["seconds"].sum() if settings or (kept and path.exists()) else 0
        notes += [values.get(MADE_WITH) for _, values in attempts]
        values = provenance(table, data, folds) | _made_with(notes, before if kept else {}, stays)
        values |= {"seconds": int(seconds)} | ({"hd95": hd95} if hd95 else {})
        config.write_json(out / "provenance.json", values)


def check_cohort(out: Path, data: str) -> None:
    """Refuse a folder whose tables were computed from another cohort.

    Parameters
    ----------
    out : Path
    data : str
        From `cohort_sha256`.

    Raises
    ------
    CourseError
    """
    before = config.read_json(out / "provenance.json")
    if before and before["data_sha256"] != data:
        raise config.CourseError(
            f"{out}: the tables there were computed from other files ({before['patients']} "
            "patients), and those of two cohorts do not mix; move them away, or give another --out"
        )


def _made_with(notes: list[dict | None], before: dict, stays: bool) -> dict:
    """Return commit, versions and machine of all that the tables hold, different ones joined.

    Parameters
    ----------
    notes : list of dict or None
        What `made_with` returned for each fold and attempt in the work folder; None for one of
        before this was noted. That may be from any machine of before, or from this one.
    before : dict
        The provenance of the tables so far; empty if nothing of them is kept.
    stays : bool
        Whether the tables hold rows of other work folders.
    """
    whole = [note for note in notes if note is not None]
    if before and (stays or None in notes):
        whole.insert(0, before)
    if None in notes:
        whole.append(made_with())
    return {
        "commit": joined(note["commit"] for note in whole),
        "versions": joined_versions(note["versions"] for note in whole),
        "machine": joined(note["machine"] for note in whole),
    }


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
        `HD95_NOW` or `HD95_BEFORE`.
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


def _setting(experiment: str, name: str, fold: dict) -> dict:
    """Return the row of a fold, of what its ``fold.json`` holds."""
    note = fold.get(MADE_WITH) or {}
    return {
        "experiment": experiment,
        "fold": name,
        "training_patients": fold["training_patients"],
        "validation_patients": fold["validation_patients"],
        **fold["postprocessing"],
        "detection_threshold": round(fold["detection_threshold"], 6),
        "temperature": round(fold["temperature"], 6),
        **{f"{name}_weight": round(value, 6) for name, value in fold["combination"].items()},
        "epochs": fold["epochs"],
        "validation_dice": round(fold["validation_dice"], 6),
        **{key: fold.get(key) for key in ("choosing_patients", "choosing_dice")},
        "seconds": fold["seconds"],
        **{key: note.get(key) for key in ("commit", "machine", "threads")},
    }


def provenance(table: pd.DataFrame, data: str, folds: int) -> dict:
    """Return from what the evidence was computed.

    Returns
    -------
    dict
        ``data_sha256, patients, slices, split_sha256``.
    """
    return {
        "data_sha256": data,
        "patients": int(table["patient"].nunique()),
        "slices": len(table),
        "split_sha256": split_sha256(patient_folds(table, folds)),
    }
