"""The model card of the real cohort, from the evidence tables; it says what is not computed yet.

The headings follow Mitchell et al. 2019, "Model Cards for Model Reporting" (arXiv 1810.03993).
"""

import pandas as pd

from utils import findings
from utils.comparisons import Compared
from utils.evidence_tables import Evidence
from utils.evidence_words import (
    NOT_YET,
    aims,
    bounds,
    comparison_rows,
    folds_sentence,
    hd95_name,
    hd95_words,
)
from utils.findings import BUDA, BUDA_SITE, SCORES, told
from utils.model_card import (
    COHORT_LIMITS,
    DATA_LICENCES,
    intended_use,
    listed,
    markdown_table,
)

LIMITS = (
    "Every patient of the cohort has a tumour, so the specificity is that of tumour-free slices "
    "of patients with a tumour, not that of healthy people.",
    "The mask is the FLAIR abnormality, tumour and swelling together.",
    "The segmenter sees FLAIR only. The detector sees three sequences, and where one is missing, "
    "a copy of FLAIR stands in for it.",
    "The intervals hold the chance in the choice of patients, not that of a training: each fold "
    "was trained once.",
)


def card(evidence: Evidence, compared: Compared) -> str:
    """Return the model card as Markdown; `compared` is from `comparisons.compare_all`."""
    sections = (
        _title(evidence),
        _models(evidence),
        intended_use(),
        _data(evidence),
        _results(evidence),
        _aims(evidence),
        _institutions(evidence),
        _sizes(evidence),
        _cascade(evidence.slices),
        _comparisons(evidence, compared),
        _failures(evidence),
        listed("Limits", (*COHORT_LIMITS["lgg"], *LIMITS)),
        listed("Licences", (DATA_LICENCES["lgg"], "Code: MIT. Text: CC BY 4.0.")),
    )
    return "\n\n".join(sections) + "\n"


def _title(evidence: Evidence) -> str:
    slices = evidence.slices
    return (
        "# Model card: finding lower-grade gliomas in MRI slices of real patients\n\n"
        "> **Not for clinical use.** These models were trained in a course. They must not be used "
        "to diagnose, to treat, or to decide anything about a person.\n\n"
        f"{slices['patient'].nunique()} real patients of the LGG MRI Segmentation cohort "
        "([Buda et al. 2019](https://arxiv.org/abs/1906.03720)). Every number below is out of "
        "fold: the models that predicted a patient never saw that patient, and nothing was chosen "
        "on it. Only the random splits of slices, shown for comparison, break this rule, and one "
        "idea: to leave the grey levels alone in training was first tried with DU left out, and "
        "looked at on its patients; it was then chosen on validation patients. The card is "
        "written by `python -m utils.published` from the tables beside it."
    )


def _models(evidence: Evidence) -> str:
    return listed(
        "The models",
        (
            "**Segmenter**: U-Net on ImageNet's ResNet50, FLAIR of three neighbouring slices, "
            "192 px, Dice + cross-entropy, turned, scaled, shifted and mirrored at random; flips "
            "averaged.",
            "**Detector**: ResNet50 trained on ImageNet, its last stage fine-tuned, 128 px; "
            "calibrated with a temperature.",
            "**Slice probability** (`p_tumour`): a logistic regression on what detector and "
            "segmenter say of the slice.",
            "**Chosen on validation patients of each fold**: the epoch, the threshold and the "
            "cleaning of the masks, the temperature, the regression, and the threshold at which a "
            "slice is flagged (aimed at a sensitivity of 0.95).",
            f"**Shipped models**: {_shipped(evidence.shipped)}",
        ),
    )


def _shipped(settings: dict[str, dict]) -> str:
    """Return what is to be said of the models trained on all patients."""
    segmenter, detector = (settings.get(name, {}) for name in ("segmenter", "detector"))
    if not segmenter or not detector:
        return "not trained yet."
    return (
        f"trained on {segmenter['trained_on']} patients, with the settings that the folds chose "
        f"(tumour from a probability of {segmenter['postprocessing']['threshold']:.2f} on, a slice "
        f"is flagged from {detector['threshold']:.2f} on). Their own performance is not in this "
        "card: they have seen all of its patients."
    )


def _data(evidence: Evidence) -> str:
    slices, provenance = evidence.slices, evidence.provenance
    ours = evidence.folds[evidence.folds["experiment"] == "ours"]
    tested = evidence.patients["fold"].value_counts()
    rows = [
        (
            row.fold,
            str(row.training_patients),
            str(row.validation_patients),
            str(tested[row.fold]),
            str(row.epochs),
            f"{row.validation_dice:.3f}",
            f"{row.detection_threshold:.2f}",
        )
        for row in ours.itertuples()
    ]
    heads = ("fold", "train", "validate", "tested", "best epoch", "validation Dice", "flagged from")
    counts = evidence.patients["institution"].value_counts().sort_index()
    return (
        f"## Data and folds\n\n{provenance['patients']} patients, {provenance['slices']:,} slices, "
        f"{int((slices['tumour_px'] > 0).sum()):,} with tumour. Patients by institution: "
        + ", ".join(f"{name} {count}" for name, count in counts.items())
        + ". Whole patients are dealt into five folds, balanced by institution; detector and "
        "segmenter share them "
        f"(fingerprint of the folds `{provenance['split_sha256'][:12]}`, of the data "
        f"`{provenance['data_sha256'][:12]}`). No patient is in two folds, and every slice is "
        "there once; a test proves it from the tables.\n\n" + markdown_table(heads, rows)
    )


def _results(evidence: Evidence) -> str:
    found = findings.segmentation(evidence.patients)
    aucs, point = findings.aucs(evidence.slices), findings.operating_point(evidence.slices)
    rows = [
        ("Dice by patient, mean", told(found["dice_mean"])),
        ("Dice by patient, median", told(found["dice_median"])),
        (f"{hd95_name(evidence)}, median (px)", told(found["hd95_median"], 1)),
        *((f"AUC, {words}", told(aucs[score])) for score, words in SCORES.items()),
        ("Sensitivity at each fold's threshold", told(point["sensitivity"])),
        ("Specificity at each fold's threshold", told(point["specificity"])),
    ]
    errors = findings.calibration_errors(evidence.slices)
    return (
        "## Results\n\nIn brackets: 95 % intervals, whole patients being drawn (bootstrap). Dice "
        "pools the pixels of all slices of a patient.\n\n"
        + markdown_table(("measure", "value"), rows)
        + f"\n\n{hd95_words(evidence)}\n\n"
        "For comparison, Buda et al. 2019 report a Dice by patient of "
        f"{BUDA['mean']:.2f} (mean) and {BUDA['median']:.2f} (median) over all 110 patients; the "
        f"authors' site gives {BUDA_SITE['mean']:.3f} and {BUDA_SITE['median']:.3f} for their "
        "published network. Those are other patients, other folds and other budgets.\n\n"
        "Expected calibration error of the slice probability: "
        + ", ".join(f"{words} {error:.3f}" for words, error in errors.items())
        + "."
    )


def _aims(evidence: Evidence) -> str:
    rows = [
        (row.measure, f"{row.aim:.2f}", told(row.found), "yes" if row.reached else "**no**")
        for row in aims(evidence).itertuples()
    ]
    text = "## What was aimed at\n\nSet before anything was computed.\n\n" + markdown_table(
        ("measure", "aim", "found", "reached"), rows
    )
    if evidence.attempts is None:
        return text + f"\n\nOther recipes that were tried: {NOT_YET}."
    attempts = [
        (
            row.attempt,
            row.recipe,
            f"{row.dice_mean:.3f}",
            f"{row.dice_median:.3f}",
            f"{row.auc:.3f}",
            f"{row.minutes:.0f}",
        )
        for row in evidence.attempts.itertuples()
    ]
    scored = " and ".join(sorted(set(evidence.attempts["scored_on"])))
    folds = evidence.folds[evidence.folds["experiment"] == "ours"].set_index("fold")
    ours = folds.loc["0", "validation_dice"]  # attempts are made on this fold
    heads = ("attempt", "recipe", "Dice, mean", "median", "AUC", "minutes")
    return (
        text
        + f"\n\nWhat was tried, each scored on {scored} "
        + f"({evidence.attempts['patients'].max()} patients; AUC of the segmenter alone), "
        + f"where the recipe that was taken has a mean of {ours:.3f}. These "
        + "are not the patients above, and differences of a few hundredths among so few are "
        + "chance:\n\n"
        + markdown_table(heads, attempts)
    )


def _institutions(evidence: Evidence) -> str:
    table = findings.by_institution(evidence.patients, evidence.slices)
    rows = [
        (
            row.institution,
            str(row.patients),
            bounds(row.dice_mean, row.low, row.high),
            f"{row.dice_median:.3f}",
            f"{row.auc:.3f}",
        )
        for row in table.itertuples()
    ]
    return (
        "## By institution\n\nThe lowest mean first; no interval for fewer than "
        f"{findings.FEWEST} patients.\n\n"
        + markdown_table(("institution", "patients", "Dice, mean", "median", "AUC"), rows)
    )


def _sizes(evidence: Evidence) -> str:
    volumes = [
        (
            f"{row.from_px:,} to {row.to_px:,}",
            str(row.patients),
            bounds(row.dice_mean, row.low, row.high),
            f"{row.dice_median:.3f}",
        )
        for row in findings.by_volume(evidence.patients).itertuples()
    ]
    areas = [
        (
            f"{row.from_px:,} to {row.to_px:,}",
            str(row.slices),
            bounds(row.flagged, row.low, row.high),
            f"{row.touched:.3f}",
            f"{row.dice:.3f}",
        )
        for row in findings.by_area(evidence.slices).itertuples()
    ]
    return (
        "## By size of the tumour\n\nPatients, by the tumour in all their slices together:\n\n"
        + markdown_table(("tumour (px)", "patients", "Dice, mean", "median"), volumes)
        + "\n\nTumour slices, by the tumour's area in the slice:\n\n"
        + markdown_table(("area (px)", "slices", "flagged", "met by the mask", "Dice, mean"), areas)
    )


def _cascade(slices: pd.DataFrame) -> str:
    alone, both, gain = findings.cascade_gain(slices)
    misses = findings.cascade_misses(slices)
    free = slices[slices["tumour_px"] == 0]
    invented = free["predicted_px"] > 0
    named = [
        (f"`{row.patient}`", f"{row.lost} of {row.tumour_slices}", f"{row.lost_px:,}",
         f"{row.largest_px:,}")
        for row in misses.itertuples()
    ]  # fmt: skip
    heads = ("patient", "tumour slices lost", "overlap lost (px)", "largest tumour lost (px)")
    return (
        "## Cascade or segmenter alone\n\nThe cascade keeps the masks of flagged slices and "
        f"empties the others. Mean Dice by patient: segmenter alone {told(alone)}, cascade "
        f"{told(both)}, cascade minus alone {told(gain, sign=True)}. Tumour-free slices with false "
        f"tumour: alone {invented.sum()} of {len(free):,}, cascade "
        f"{(invented & (free['flagged'] == 1)).sum()}.\n\nIt loses {misses['lost'].sum()} tumour "
        f"slices that the segmenter had met, in {len(misses)} patients:\n\n"
        + markdown_table(heads, named)
    )


def _comparisons(evidence: Evidence, compared: Compared) -> str:
    tables = {
        "By patient or random slices: the same recipe under both splits": (
            compared.splits,
            ("recipe", "measure", "on", "by patient", "random slices", "inflation"),
        ),
        "Our recipe and the seed course's, under the same split": (
            compared.recipes,
            ("split", "measure", "on", "seed", "ours", "ours minus seed"),
        ),
        "An institution that the training never saw": (
            compared.left_out,
            ("left out", "measure", "on", "known", "left out", "difference"),
        ),
        "With intensity augmentation, and our recipe, without": (
            compared.intensity,
            ("patients", "measure", "on", "with", "without", "difference"),
        ),
    }
    text = (
        "## Comparisons\n\nOnly slices that both experiments predicted count, and the intervals "
        "are of the difference in pairs over patients. Without a tumour in its shared slices a "
        f"patient has no Dice. Computed so far: {folds_sentence(evidence)}."
    )
    for title, (named, heads) in tables.items():
        text += f"\n\n### {title}\n\n" + markdown_table(heads, comparison_rows(named))
    return text


def _failures(evidence: Evidence) -> str:
    worst = findings.kinds_of_error(findings.worst(evidence.patients), evidence.slices)
    rows = [
        (
            f"`{row.patient}`",
            row.institution,
            f"{row.tumour_px:,}",
            f"{row.dice:.3f}",
            f"{row.hd95_px:.1f}",
            f"{100 * row.missed:.0f} %",
            f"{100 * row.invented:.0f} %",
        )
        for row in worst.itertuples()
    ]
    distance = f"{hd95_name(evidence)}, px"
    heads = ("patient", "institution", "tumour (px)", "Dice", distance, "missed", "invented")
    return (
        f"## Known failures\n\nThe {len(rows)} patients with the lowest Dice. Missed: share of the "
        "traced tumour that was not predicted; invented: share of the predicted pixels that are "
        "not tumour.\n\n" + markdown_table(heads, rows)
    )
