"""The model card of the real cohort, from the evidence tables; it says what is not computed yet.

Its words are in utils/templates/evidence_card.md; those about the segmenter come from its recipe.
"""

import pandas as pd

from utils.course.titles import LGG, LGG_SOURCE
from utils.evaluation.bootstrap import Interval
from utils.evaluation.detection import SENSITIVITY
from utils.evidence import statistics
from utils.evidence.attempts import differences, summary
from utils.evidence.comparisons import (
    NOT_YET,
    AllComparisons,
    aims,
    comparison_rows,
    folds_sentence,
    hd95_name,
    hd95_words,
)
from utils.evidence.recipes import DETECTOR_SIZE, OURS, Recipe
from utils.evidence.tables import CHOICES, Evidence
from utils.rendering import render


def card(evidence: Evidence, compared: AllComparisons, recipe: Recipe = OURS) -> str:
    """Return the model card as Markdown.

    Parameters
    ----------
    evidence : Evidence
    compared : AllComparisons
        From `comparisons.compare_all`.
    recipe : Recipe
        With which the segmenters were trained.
    """
    slices, patients = evidence.slices, evidence.patients
    folds = evidence.folds[evidence.folds["experiment"] == "ours"]
    worst = statistics.kinds_of_error(statistics.worst(patients), slices)
    return render(
        "evidence_card.md",
        cohort_name=LGG,
        cohort_source=LGG_SOURCE,
        patients=slices["patient"].nunique(),
        recipe=recipe,
        detector_size=DETECTOR_SIZE,
        shipped_segmenter=evidence.shipped.get("segmenter"),
        shipped_detector=evidence.shipped.get("detector"),
        provenance=evidence.provenance,
        tumour_slices=(slices["tumour_px"] > 0).sum(),
        patients_by_institution=patients["institution"].value_counts().sort_index(),
        folds=_rows(folds),
        tested=patients["fold"].value_counts(),
        found=statistics.segmentation(patients),
        hd95_name=hd95_name(evidence),
        hd95_words=hd95_words(evidence),
        scores=statistics.SCORES,
        aucs=statistics.aucs(slices),
        point=statistics.operating_point(slices),
        sensitivity=SENSITIVITY,
        buda=statistics.BUDA,
        buda_site=statistics.BUDA_SITE,
        calibration_errors=statistics.calibration_errors(slices),
        aims=_rows(aims(evidence)),
        attempts=_attempts(evidence),
        choices=len(CHOICES),
        failures=_rows(statistics.failures(patients)),
        failed=statistics.FAILED,
        most_failed=statistics.MOST_FAILED,
        readers=statistics.READERS,
        not_yet=NOT_YET,
        fewest=statistics.FEWEST,
        by_institution=_rows(statistics.by_institution(patients, slices), "dice_mean"),
        by_volume=_rows(statistics.by_volume(patients), "dice_mean"),
        by_area=_rows(statistics.by_area(slices), "flagged"),
        lost=statistics.lost(slices),
        kinds_of_loss=statistics.KINDS_OF_LOSS,
        within=statistics.WITHIN,
        by_match=statistics.by_match(slices),
        gain=dict(
            zip(("alone", "cascade", "difference"), statistics.cascade_gain(slices), strict=True)
        ),
        invented=_invented(slices),
        misses=_rows(statistics.cascade_misses(slices)),
        folds_sentence=folds_sentence(evidence),
        compared=compared,
        rows=comparison_rows,
        worst=_rows(worst),
    )


def _attempts(evidence: Evidence) -> list:
    """Return the rows of `attempts.summary`, each with what it has more than `REFERENCE`."""
    if evidence.attempts is None or evidence.attempt_patients is None:
        return []
    table = summary(evidence.attempts, evidence.attempt_patients)
    return _rows(table.assign(difference=differences(evidence.attempt_patients, table["attempt"])))


def _rows(table: pd.DataFrame, estimate: str | None = None) -> list:
    """Return the rows of a table, with an `interval` made of a column and its bounds."""
    if estimate is not None:
        bounds = zip(table[estimate], table["low"], table["high"], strict=True)
        table = table.assign(interval=[Interval(*each) for each in bounds])
    return list(table.itertuples())


def _invented(slices: pd.DataFrame) -> dict[str, int]:
    """Return how many slices are free of tumour, and in how many of them there is false tumour."""
    free = slices[slices["tumour_px"] == 0]
    false = free["predicted_px"] > 0
    return {
        "free": len(free),
        "alone": int(false.sum()),
        "cascade": int((false & (free["flagged"] == 1)).sum()),
    }
