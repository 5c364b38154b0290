"""One page about a run, made of what the run left in its folder: runs/<name>/report.html.

    python -m utils.notebooks.report RUN_FOLDER

The page is one file: figures are embedded, and it loads nothing from elsewhere. The viewer of
notebook 4 works in it; without JavaScript its picture is there instead.
"""

import argparse
import base64
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import quote

from utils.config import CourseError, atomic_path, command, read_json, user_path
from utils.course.titles import COHORTS, UNKNOWN_COHORT
from utils.evaluation.segmentation import patient_table
from utils.evaluation.text import format_bounds, format_number
from utils.notebooks.build import read_notebook
from utils.plots import viewer
from utils.rendering import render
from utils.tables import read_table

MISSING = "not computed in this run"
PARTS = {"train": "Training", "validation": "Validation", "test": "Held-out test"}
# Shown at the top: title, where in metrics.json, decimals, what it means.
HEADLINES = (
    ("Detection AUC", "detection.auc", 3, "finding the slices with tumour; chance is 0.5"),
    ("Sensitivity", "detection.sensitivity", 3, "share of the tumour slices found"),
    ("Specificity", "detection.specificity", 3, "share of the tumour-free slices left alone"),
    ("Mean patient Dice", "segmentation.dice_patient_mean", 3, "overlap with the traced tumour"),
    ("Median patient Dice", "segmentation.dice_patient_median", 3, "half the patients lie above"),
    ("Median HD95", "segmentation.hd95_px_median", 1, "px off; the diagonal for a slice missed"),
)
# Shown elsewhere on the page, so left out of the table of all recorded numbers.
ELSEWHERE = {"patients", "seconds", "peak_rss_mb"}


def lookup(metrics: Mapping, path: str) -> object:
    """Return the value at a dotted path of nested mappings, None if it is not there."""
    value: object = metrics
    for key in path.split("."):
        if not isinstance(value, Mapping) or key not in value:
            return None
        value = value[key]
    return value


def number(value: object, decimals: int = 3) -> str:
    """Return a value as text for a person; `MISSING` for None or NaN."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return MISSING if value is None else _text(value)
    if value != value:
        return MISSING
    return f"{value:,}" if isinstance(value, int) else format_number(value, decimals)


def _text(value: object) -> str:
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ", ".join(number(each) for each in value)
    return str(value)


def headlines(metrics: Mapping) -> list[dict[str, str]]:
    """Return title, value, interval and meaning of the figures that open the page."""
    cards = []
    for title, path, decimals, meaning in HEADLINES:
        ends = lookup(metrics, "segmentation.dice_patient_ci95")
        has_interval = path.endswith("dice_patient_mean") and ends is not None
        interval = f"95 % interval {format_bounds(*ends)}" if has_interval else ""
        value = number(lookup(metrics, path), decimals)
        cards.append({"title": title, "value": value, "interval": interval, "meaning": meaning})
    return cards


def flatten(metrics: Mapping, prefix: str = "") -> list[tuple[str, str]]:
    """Return the recorded numbers not shown elsewhere on the page, as (dotted name, text)."""
    rows = []
    for key, value in metrics.items():
        name = f"{prefix}{key}"
        if name in ELSEWHERE:
            continue
        rows += (
            flatten(value, f"{name}.") if isinstance(value, Mapping) else [(name, number(value, 4))]
        )
    return rows


def patients_by_part(metrics: Mapping) -> list[dict[str, object]]:
    """Return for each part of the split its title and its patients' names."""
    recorded = metrics.get("patients", {})
    return [
        {"title": title, "names": recorded.get(part, [])}
        for part, title in PARTS.items()
        if part in recorded
    ]


def held_out_patients(run_folder: Path) -> list[dict[str, str]]:
    """Return one row a held-out patient, from ``predictions.csv``; none without that file.

    Raises
    ------
    CourseError
        If the file is no table, or lacks a column.
    """
    path = run_folder / "predictions.csv"
    if not path.is_file():
        return []
    again = "make it again: python -m utils.run --only 04"
    slices = read_table(path, again)
    needed = {"patient", "institution", "part", "tumour_px", "predicted_px", "overlap_px"}
    if missing := needed - set(slices.columns):
        raise CourseError(f"{path}: lacks {', '.join(sorted(missing))}; {again}")
    table = patient_table(slices[slices["part"] == "test"]).sort_values("dice", ascending=False)
    return [
        {
            "patient": row.patient,
            "institution": row.institution,
            "slices": number(row.slices),
            "tumour_px": number(int(row.tumour_px)),
            "predicted_px": number(int(row.predicted_px)),
            "dice": "no tumour" if row.dice != row.dice else number(row.dice),
        }
        for row in table.itertuples()
    ]


def notebooks(run_folder: Path, metrics: Mapping) -> list[dict[str, object]]:
    """Return the executed notebooks: number, title, link, seconds, memory, figures."""
    found = []
    for path in sorted(run_folder.glob("[0-9][0-9]_*.ipynb")):
        if path.stem.endswith(".failed"):
            continue
        found.append(
            {
                "number": path.stem.split("_")[0],
                "name": path.stem,
                "title": _title(path),
                "link": quote(path.name),
                "seconds": number(lookup(metrics, f"seconds.{path.stem}"), 0),
                "memory": number(lookup(metrics, f"peak_rss_mb.{path.stem}"), 0),
                "figures": figures(run_folder / "figures", path.stem.split("_")[0]),
            }
        )
    return found


def _title(path: Path) -> str:
    """Return the first heading of a notebook, its name if it has none."""
    again = f"run it again: python -m utils.run --only {path.stem.split('_')[0]}"
    for cell in read_notebook(path, again).cells:
        heading = re.search(r"^# +(.+)$", cell.source, re.MULTILINE)
        if cell.cell_type == "markdown" and heading:
            return heading.group(1).strip()
    return path.stem


def _drawn(path: Path) -> tuple[int, str]:
    return path.stat().st_mtime_ns, path.name


def figures(folder: Path, start: str) -> list[dict[str, str]]:
    """Return description and embedded picture of the figures whose names open with `start`.

    In the order in which they were drawn, which is that of the notebook. A viewer that was kept
    beside its picture is given as JSON, otherwise empty.

    Raises
    ------
    CourseError
        If a figure has no description beside it.
    """
    shown = []
    for path in sorted(folder.glob(f"{start}_*.png"), key=_drawn):
        description = path.with_suffix(".txt")
        if not description.is_file():
            raise CourseError(
                f"{path}: no description {description.name} beside it; make both with plots.show"
            )
        kept = path.with_suffix(".json")
        shown.append(
            {
                "name": path.stem,
                "viewer": viewer.kept(kept) if kept.is_file() else "",
                "alt": description.read_text(encoding="utf-8").strip(),
                "source": "data:image/png;base64," + base64.b64encode(path.read_bytes()).decode(),
            }
        )
    return shown


def write_report(run_folder: Path) -> Path:
    """Write ``report.html`` into a run folder and return its path.

    Numbers and figures that the run has not made are shown as missing.

    Raises
    ------
    CourseError
        If there is no ``metrics.json``, or a file of the run cannot be read.
    """
    metrics = read_json(run_folder / "metrics.json")
    if not metrics:
        raise CourseError(f"{run_folder}: no metrics.json in it; run the notebooks: make course")
    page = render(
        "report.html",
        simulated=metrics.get("cohort") == "simulated",
        cohort=COHORTS.get(metrics.get("cohort"), UNKNOWN_COHORT).page,
        seed=number(metrics.get("seed")),
        profile=number(metrics.get("profile")),
        split=number(metrics.get("split_sha256"))[:12],
        tested=len(metrics.get("patients", {}).get("test", [])),
        headlines=headlines(metrics),
        parts=patients_by_part(metrics),
        patients=held_out_patients(run_folder),
        notebooks=notebooks(run_folder, metrics),
        recorded=flatten(metrics),
        viewer=viewer.page_parts(),
        missing=MISSING,
    )
    path = run_folder / "report.html"
    with atomic_path(path) as temporary:
        temporary.write_text(page, encoding="utf-8")
    return path


def summary_table(run_folder: Path, names: Sequence[str]) -> str:
    """Return the short table that ends a run: notebook, seconds, peak memory, headline figure."""
    metrics = read_json(run_folder / "metrics.json")
    rows = [("notebook", "seconds", "peak MiB", "headline")]
    for name in names:
        seconds = lookup(metrics, f"seconds.{name}")
        memory = lookup(metrics, f"peak_rss_mb.{name}")
        times = ("-" if value is None else number(value, 0) for value in (seconds, memory))
        rows.append((name, *times, _headline(name, metrics)))
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    return "\n".join(
        f"{name:<{widths[0]}}  {seconds:>{widths[1]}}  {memory:>{widths[2]}}  {headline}".rstrip()
        for name, seconds, memory, headline in rows
    )


def _headline(name: str, metrics: Mapping) -> str:
    """Return the figure to remember a notebook by, told by its number."""
    part_sizes = [f"{len(names)} {part}" for part, names in metrics.get("patients", {}).items()]
    auc = lookup(metrics, "detection.auc")
    mean = lookup(metrics, "segmentation.dice_patient_mean")
    ends = lookup(metrics, "segmentation.dice_patient_ci95")
    interval = "" if ends is None else f" (95 % interval {format_bounds(*ends)})"
    figure = {
        "01": ", ".join(part_sizes) + " patients" if part_sizes else "",
        "02": "" if auc is None else f"detection AUC {auc:.3f}",
        "03": "" if mean is None else f"mean patient Dice {mean:.3f}",
        "04": "" if mean is None else f"mean patient Dice {mean:.3f}{interval}",
    }
    return figure.get(name.split("_")[0], "")


def main() -> None:
    """Write the report of the run folder given on the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m utils.notebooks.report", description=main.__doc__
    )
    parser.add_argument("run_folder", type=user_path)
    print(write_report(parser.parse_args().run_folder))


if __name__ == "__main__":
    sys.exit(command(main))
