"""A model card: what a run's models are for, how good they are, for whom, and where they fail.

    python -m utils.model_card RUN_FOLDER

The headings follow Mitchell et al. 2019, "Model Cards for Model Reporting" (arXiv 1810.03993).
Everything is read from the run folder, so that the card cannot say anything else than the files.
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from utils.config import CourseError, atomic_path, command, read_json
from utils.tables import read_table

WORST = 3
COHORTS = {
    "simulated": "Simulated cohort: real anatomy (the ICBM152 average brain), invented tumours",
    "lgg": "LGG MRI Segmentation cohort: real patients with lower-grade glioma "
    "([Buda et al. 2019](https://arxiv.org/abs/1906.03720))",
}
DATA_LICENCES = {
    "simulated": "Simulated pictures: made by this course from the ICBM152 2009 template "
    "(McConnell Brain Imaging Centre), which may be used, changed and passed on freely with its "
    "copyright notice.",
    "lgg": "Pictures: The Cancer Imaging Archive, collection TCGA-LGG; masks by Buda et al.; "
    "distributed as `mateuszbuda/lgg-mri-segmentation`, CC BY-NC-SA 4.0. No commercial use; what "
    "is made from the data is shared alike.",
}
COHORT_LIMITS = {
    "simulated": (
        "The patients are simulated. The numbers say whether the method works in principle; they "
        "say nothing about people.",
        "Every tumour comes from the same generator: its rules can be learnt, and a real tumour "
        "keeps to none of them.",
    ),
    "lgg": (
        "One disease: lower-grade glioma in adults, before treatment. Other tumours, operated "
        "brains, children and healthy people were never seen.",
        "Five institutions, with their scanners and settings. Others give other pictures.",
        "One mask a slice: how far two experts differ is not known, and no model can be told from "
        "an expert closer than that.",
    ),
}
LIMITS = (
    "Every patient of the cohort has a tumour, so the specificity is that of tumour-free slices "
    "of patients with a tumour, not that of healthy people.",
    "Slices are looked at one by one, without those above and below.",
    "The mask is the FLAIR abnormality, tumour and swelling together.",
    "Where a sequence is missing, a copy of FLAIR stands in for it.",
)
HD95 = (
    "HD95 of a slice is the 95th percentile of the distances between the two outlines; a slice "
    "with only one mask, missed or invented, counts as the picture's diagonal; the value of a "
    "patient is the mean over the slices with either mask."
)
METHODS = ("detector", "segmenter", "cascade")
# Title, its place under `segmentation` and `cascade`, decimals.
ROWS = (
    ("Dice by patient, mean", "dice_patient_mean", 2),
    ("Dice by patient, median", "dice_patient_median", 2),
    ("HD95, median (px)", "hd95_px_median", 1),
    ("Tumour slices found (share)", "sensitivity", 2),
    ("Tumour-free slices with false tumour (share)", "false_positive_share", 2),
)
DETECTION_ROWS = (
    ("AUC", "auc", 3),
    ("Sensitivity at the threshold", "sensitivity", 2),
    ("Specificity at the threshold", "specificity", 2),
)


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
    cohort = metrics.get("cohort", "")
    sections = (
        _title(metrics),
        _models(metrics, detector, segmenter),
        intended_use(),
        _data(metrics),
        _results(metrics, len(patients)),
        _subgroups(metrics),
        _failures(patients),
        listed("Limits", (*COHORT_LIMITS.get(cohort, ()), *LIMITS)),
        listed(
            "Licences",
            (DATA_LICENCES.get(cohort, "Data: see its source."), "Code: MIT. Text: CC BY 4.0."),
        ),
    )
    return "\n\n".join(sections) + "\n"


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
        read_table(table),
        read_json(run_folder / "detector.json"),
        read_json(run_folder / "segmenter.json"),
    )
    path = run_folder / "model_card.md"
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return path


def _title(metrics: Mapping) -> str:
    return (
        "# Model card: finding brain tumours in MRI slices\n\n"
        "> **Not for clinical use.** These models were trained in a course. They must not be used "
        "to diagnose, to treat, or to decide anything about a person.\n\n"
        f"{COHORTS.get(metrics.get('cohort'), 'Unknown cohort')}. "
        f"Seed {metrics.get('seed', '–')}; {metrics.get('profile', 'unknown profile')}."
    )


def _models(metrics: Mapping, detector: Mapping, segmenter: Mapping) -> str:
    settings = segmenter.get("postprocessing", {})
    loss = str(segmenter.get("configuration", {}).get("loss", "–")).replace("_", " ")
    return listed(
        "The models",
        (
            "**Detector**: ResNet50 trained on ImageNet, its last stage fine-tuned; for each slice "
            "the probability that it shows tumour, calibrated with temperature "
            f"{_number(detector.get('temperature'))}. A slice is flagged from a probability of "
            f"{_number(detector.get('threshold'))} on; the threshold was chosen on validation "
            f"patients for a sensitivity of {_number(detector.get('sensitivity'))}.",
            f"**Segmenter**: a residual U-Net trained with the loss {loss}; a mask for each slice. "
            f"Pixels from a probability of {_number(settings.get('threshold'))} on are tumour; "
            f"{_pieces_kept(settings)}. "
            "This was chosen on validation patients.",
            "**Cascade**: the masks of slices that the detector does not flag are emptied.",
            "**Input**: pre-contrast T1, FLAIR and post-contrast T1 as the channels of a slice, "
            "all slices of a patient together, normalised by volume.",
        ),
    )


def _pieces_kept(settings: dict) -> str:
    """Return which connected pieces of the volume the postprocessing keeps."""
    if settings.get("largest_only"):
        return "only the largest connected piece of the volume is kept"
    if settings.get("minimum_px"):
        return f"connected pieces under {settings['minimum_px']} pixels are dropped"
    return "all connected pieces are kept"


def intended_use() -> str:
    """Return the section that says what the models are for, and what not."""
    return listed(
        "Intended use",
        (
            "For: learning how such models are trained and judged; comparing methods on the same "
            "patients.",
            "Not for: diagnosis, triage, planning or following a treatment, measuring growth, or "
            "any other use on a person.",
        ),
    )


def _data(metrics: Mapping) -> str:
    parts = metrics.get("patients", {})
    titles = {"train": "training", "validation": "validation", "test": "held out (test)"}
    counts = [(titles[part], str(len(parts[part]))) for part in titles if part in parts]
    held_out = ", ".join(f"`{name}`" for name in parts.get("test", [])) or "–"
    return (
        "## Data\n\n"
        + markdown_table(("part", "patients"), counts)
        + "\n\nThe split is by patient: no patient is in two parts, and the same split serves both "
        f"models (fingerprint `{str(metrics.get('split_sha256', '–'))[:12]}`, seed "
        f"{metrics.get('seed', '–')}). Held-out patients: {held_out}."
    )


def _results(metrics: Mapping, number: int) -> str:
    detection, alone, cascade = (
        metrics.get(key, {}) for key in ("detection", "segmentation", "cascade")
    )
    gain = _with_interval(cascade, "difference", 3, sign=True)
    return (
        f"## Results on {number} held-out patients\n\n"
        "In brackets: 95 % intervals, whole patients being drawn (bootstrap).\n\n"
        + markdown_table(
            ("detector", "value"),
            [
                (title, _with_interval(detection, key, digits))
                for title, key, digits in DETECTION_ROWS
            ],
        )
        + "\n\n"
        + markdown_table(
            ("segmentation", "segmenter alone", "cascade"),
            [
                (title, *(_with_interval(values, key, digits) for values in (alone, cascade)))
                for title, key, digits in ROWS
            ],
        )
        + f"\n\n{HD95}\n\nMean Dice by patient, cascade minus segmenter alone, same patients: "
        f"{gain}."
    )


def _subgroups(metrics: Mapping) -> str:
    institutions = [
        (
            name,
            str(values.get("patients", "–")),
            _with_interval(values, "dice_patient_mean", 2),
            _with_interval(values, "dice_patient_mean_cascade", 2),
        )
        for name, values in metrics.get("by_institution", {}).items()
    ]
    sizes = [
        (name, str(values.get("slices", "–")), *(_number(values.get(key)) for key in METHODS))
        for name, values in metrics.get("by_size", {}).items()
    ]
    return (
        "## For whom\n\nMean Dice by patient, by institution; no interval for fewer than five "
        "patients, and no comparison of institutions is meant.\n\n"
        + markdown_table(("institution", "patients", "segmenter alone", "cascade"), institutions)
        + "\n\nTumour slices found, by the tumour's area in the slice (px of the file):\n\n"
        + markdown_table(("area (px)", "slices", *METHODS), sizes)
    )


def _failures(patients: pd.DataFrame) -> str:
    worst = patients.sort_values(["dice", "patient"], na_position="last").head(WORST)
    rows = [
        (
            f"`{row.patient}`",
            row.institution,
            f"{row.tumour_px:,}",
            _number(row.dice),
            _number(row.dice_cascade),
            _number(row.hd95_px, 1),
        )
        for row in worst.itertuples()
    ]
    heads = ("patient", "institution", "tumour (px)", "Dice alone", "Dice cascade", "HD95 (px)")
    return (
        f"## Known failures\n\nThe {len(rows)} held-out patients with the lowest Dice:\n\n"
        + markdown_table(heads, rows)
    )


def listed(title: str, items: Sequence[str]) -> str:
    """Return a section of a card: a heading and a list."""
    return f"## {title}\n\n" + "\n".join(f"- {item}" for item in items)


def markdown_table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table; one row of dashes if there are none."""
    lines = [heads, ["---"] * len(heads), *(rows or [["–"] * len(heads)])]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _with_interval(values: Mapping, key: str, decimals: int, sign: bool = False) -> str:
    text = _number(values.get(key), decimals, sign)
    ends = values.get(f"{key.removesuffix('_mean')}_ci95") or values.get(f"{key}_ci95")
    if text == "–" or not ends:
        return text
    return text + " ({} to {})".format(*(_number(end, decimals, sign) for end in ends))


def _number(value: float | None, decimals: int = 2, sign: bool = False) -> str:
    if value is None or value != value:
        return "–"
    return f"{value:{'+' if sign else ''}.{decimals}f}"


def main() -> None:
    """Write the model card of the run folder given on the command line."""
    parser = argparse.ArgumentParser(prog="python -m utils.model_card", description=main.__doc__)
    parser.add_argument("run_folder", type=Path)
    print(write_model_card(parser.parse_args().run_folder))


if __name__ == "__main__":
    sys.exit(command(main))
