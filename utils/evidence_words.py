"""Rows and words that the model card, the README and notebook 05 share."""

import pandas as pd

from utils import comparisons, detection, findings
from utils.comparisons import Comparison
from utils.evidence_tables import EXPERIMENTS, OTHERS, Evidence
from utils.findings import AIMS, RESAMPLES, SEED
from utils.intervals import Interval
from utils.metrics import HD95_NOW, HD95_WORDS, one_mask
from utils.text import UNKNOWN, format_interval, format_number

NOT_YET = "not computed yet"
FOLDS = {"patients": 5, "slices": 5, "institutions": 4}
NAMES = {
    "ours_random_split": "our recipe, random split of slices",
    "seed_patient_split": "seed recipe, split by patient",
    "seed_random_split": "seed recipe, random split of slices",
    "leave_institution_out": "our recipe, one institution left out",
    "intensity_patient_split": "with intensity augmentation, split by patient",
    "intensity_random_split": "with intensity augmentation, random split of slices",
    "intensity_institution_out": "with intensity augmentation, one institution left out",
}


def aims(evidence: Evidence) -> pd.DataFrame:
    """Return what was aimed at and what came out.

    Returns
    -------
    pandas.DataFrame
        ``measure, aim, found`` (Interval), ``reached`` (whether the estimate is at least the aim).
    """
    found = findings.segmentation(evidence.patients)
    found["auc"] = detection.auc_interval(evidence.slices, resamples=RESAMPLES, seed=SEED)
    words = {"dice_mean": "Dice by patient, mean", "dice_median": "Dice by patient, median",
             "auc": "AUC over all slices"}  # fmt: skip
    return pd.DataFrame(
        [
            {
                "measure": words[key],
                "aim": aim,
                "found": found[key],
                "reached": bool(found[key].estimate >= aim),
            }
            for key, aim in AIMS.items()
        ]
    )


def hd95_name(evidence: Evidence) -> str:
    """Return what HD95 is called where its value stands: told if its definition is not today's."""
    return "HD95" if evidence.hd95_definition == HD95_NOW else "HD95 (earlier definition)"


def hd95_words(evidence: Evidence) -> str:
    """Return under which definition the tables hold HD95, and what that means for its value."""
    slices = evidence.slices
    missed, invented = (int(which.sum()) for which in one_mask(slices).values())
    counts = (
        f"{missed + invented} of the {len(slices):,} slices have only one mask "
        f"({missed} missed, {invented} invented)"
    )
    if evidence.hd95_definition == HD95_NOW:
        known = int(evidence.patients["hd95_px"].notna().sum())
        lacking = "" if known == len(evidence.patients) else f" It is known of {known} patients."
        return f"{HD95_WORDS} Here {counts}.{lacking}"
    return (
        "HD95 was computed under an earlier definition: the 95th percentile of the distances "
        f"within the slices that have both masks, all slices together. {counts}; these are left "
        "out, so that an emptied mask could lower the value. The predicted masks were not kept: "
        "HD95 as notebook 4 defines it will be there when the folds are trained again. Until "
        "then, do not compare the two."
    )


def folds_sentence(evidence: Evidence) -> str:
    """Return how many folds of each experiment beside "ours" are computed."""
    return "; ".join(
        f"{NAMES[name]}, {len(comparisons.folds_there(evidence, name))} of "
        f"{FOLDS[EXPERIMENTS[name].dealt]} folds"
        for name in OTHERS
    )


def comparison_rows(named: dict[str, Comparison | None]) -> list[tuple[str, ...]]:
    """Return the cells of a table of comparisons: three rows each, Dice and two AUCs.

    Each row is (name, measure, on what, first, second, difference).
    """
    rows = []
    for name, found in named.items():
        if found is None:
            rows.append((name, NOT_YET, *[UNKNOWN] * 4))
            continue
        patients, slices = f"{found.with_tumour} patients", f"{found.slices:,} slices"
        for measure, on, pair in (
            ("Dice", patients, found.dice),
            ("AUC", slices, found.auc),
            ("AUC, detector alone", slices, found.detector_auc),
        ):
            difference = format_interval(pair.difference, sign=True)
            scores = (format_number(score) for score in (pair.first, pair.second))
            rows.append((name, measure, on, *scores, difference))
    return rows


def split_verdicts(named: dict[str, Comparison | None]) -> list[str]:
    """Return what the intervals of comparisons of splits decide, a line a measure."""
    lines = []
    for name, found in named.items():
        if found is None:
            lines.append(f"{name}: {NOT_YET}")
            continue
        for measure, pair in (
            ("Dice", found.dice),
            ("AUC", found.auc),
            ("AUC of the detector alone", found.detector_auc),
        ):
            lines.append(f"{name}: {_split_verdict(measure, pair.difference)}")
    return lines


def _split_verdict(measure: str, gap: Interval) -> str:
    if gap.low > 0:
        return f"the random split flatters the {measure}, by {gap.estimate:.3f}"
    if gap.high < 0:
        return f"the random split makes the {measure} look worse, by {-gap.estimate:.3f}"
    return f"these patients do not decide whether the {measure} is inflated"
