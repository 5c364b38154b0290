"""A model card: what a run's models are for, how good they are, for whom, and where they fail.

    python -m utils.course.model_card RUN_FOLDER

Everything is read from the run folder, so that the card cannot say anything else than the files.
Its words are in utils/templates/model_card.md.
"""

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from utils.config import CourseError, atomic_path, command, read_json, user_path
from utils.course.titles import COHORTS, UNKNOWN_COHORT
from utils.evaluation.bootstrap import Interval
from utils.evaluation.segmentation import HD95_WORDS
from utils.evaluation.text import UNKNOWN
from utils.rendering import render
from utils.tables import read_table

WORST = 3
PARTS = ("train", "validation", "test")


def model_card(
    metrics: Mapping, patients: pd.DataFrame, detector: Mapping, segmenter: Mapping
) -> str:
    """Return the model card of a run as Markdown.

    Parameters
    ----------
    metrics : mapping
        ``metrics.json``: `cohort, seed, profile, split_sha256, patients`, and what notebook 04
        records: `detection, segmentation, cascade, by_institution, by_size`. What is missing
        there is shown as a dash.
    patients : pandas.DataFrame
        The held-out patients: ``patient, institution, tumour_px, dice, dice_cascade, hd95_px``.
    detector, segmenter : mapping
        ``detector.json`` and ``segmenter.json``.
    """
    cohort, parts = metrics.get("cohort", ""), metrics.get("patients", {})
    loss = segmenter.get("configuration", {}).get("loss", UNKNOWN)
    worst = patients.sort_values(["dice", "patient"], na_position="last").head(WORST)
    return render(
        "model_card.md",
        cohort=cohort,
        title=COHORTS.get(cohort, UNKNOWN_COHORT).card,
        seed=metrics.get("seed", UNKNOWN),
        profile=metrics.get("profile", "unknown profile"),
        split=str(metrics.get("split_sha256", UNKNOWN)),
        patients_by_part={part: parts[part] for part in PARTS if part in parts},
        detector=detector,
        loss=str(loss).replace("_", " "),
        postprocessing=segmenter.get("postprocessing", {}),
        tested=len(patients),
        recorded=_recorded,
        hd95_words=HD95_WORDS,
        worst=list(worst.itertuples()),
        **{
            name: metrics.get(name, {})
            for name in ("detection", "segmentation", "cascade", "by_institution", "by_size")
        },
    )


def write_model_card(run_folder: Path) -> Path:
    """Write ``model_card.md`` into a run folder and return its path.

    Raises
    ------
    CourseError
        If ``metrics.json`` or ``patients.csv`` is missing: notebook 04 writes both.
    """
    run_folder = Path(run_folder)
    metrics = read_json(run_folder / "metrics.json")
    table = run_folder / "patients.csv"
    if not metrics or not table.is_file():
        raise CourseError(
            f"{run_folder}: no results in it (metrics.json, patients.csv); run notebook 04 first"
        )
    text = model_card(
        metrics,
        read_table(table, "run notebook 04 again"),
        read_json(run_folder / "detector.json"),
        read_json(run_folder / "segmenter.json"),
    )
    path = run_folder / "model_card.md"
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return path


def _recorded(values: Mapping, key: str) -> Interval:
    """Return what `Interval.record` has written as `key`; NaN for what is not there."""
    ends = values.get(f"{key.removesuffix('_mean')}_ci95") or values.get(f"{key}_ci95")
    low, high = ends or (float("nan"), float("nan"))
    estimate = values.get(key)
    return Interval(float("nan") if estimate is None else estimate, low, high)


def main() -> None:
    """Write the model card of the run folder given on the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m utils.course.model_card", description=main.__doc__
    )
    parser.add_argument("run_folder", type=user_path)
    print(write_model_card(parser.parse_args().run_folder))


if __name__ == "__main__":
    sys.exit(command(main))
