"""What the evidence tables say, as numbers with intervals over patients.

Everything is computed from the tables of `utils.evidence.tables`; nothing needs pictures or models.
Comparisons of experiments are in `comparisons`.
"""

import itertools
from typing import NamedTuple

import numpy as np
import pandas as pd

from utils.evaluation import calibration, detection
from utils.evaluation.bootstrap import Interval, bootstrap_patients, paired_bootstrap
from utils.evaluation.segmentation import (
    cascade,
    dice_conventions,
    dice_from_counts,
    lost_dice,
    missed_and_invented,
    patient_table,
)

RESAMPLES = 1000
SEED = 0
# Buda et al. 2019 (arXiv 1906.03720): all 110 patients, by patient, Dice of the volume; and what
# the authors give for the network that they published (github.com/mateuszbuda/brain-segmentation).
BUDA = {"mean": 0.82, "median": 0.85}
BUDA_SITE = {"mean": 0.836, "median": 0.873}
# How far people agree. Two expert readers of tumours of this kind, as the authors' site gives it
# (0.84, with a standard deviation of 0.02 among patients); and four experts for gliomas of grades 2
# and 3 before surgery, Visser et al. 2019 (doi 10.1016/j.nicl.2019.101727): a generalised
# conformity index of 0.77, which for two masks is the Jaccard index J, so that Dice is
# 2 J / (1 + J) = 0.87.
READERS = {
    "two expert readers (the authors' site)": 0.84,
    "four experts (Visser et al. 2019, from a conformity index of 0.77)": 0.87,
}
# What was aimed at before anything was computed; `FAILED` came later, when two of 30 withheld
# patients turned out to fail outright.
AIMS = {"dice_mean": 0.85, "dice_median": 0.90, "auc": 0.98}
# Below this Dice a mask is of no use to anyone, and so many patients may have one.
FAILED, MOST_FAILED = 0.5, 2
SCORES = {
    "p_tumour": "both together",
    "p_detector": "detector alone",
    "p_segmenter": "segmenter alone",
}
# The columns of `segmentation.lost_dice`, in words.
KINDS_OF_LOSS = {
    "too_much": "too much drawn in slices that were met",
    "too_little": "too little drawn in slices that were met",
    "missed": "slices that were missed",
    "false": "false tumour in other slices",
}
WITHIN = 10  # per cent: a mask of about the traced size
CONVENTIONS = (
    "patients, mean",
    "patients, median",
    "all pixels pooled",
    "tumour slices only",
    "slices, empty skipped",
    "slices, empty = 0",
    "slices, empty = 1",
    "batches of 16",
)
AREAS = (1, 100, 500, 2000, 65536)  # px of a tumour in a slice: edges of the classes
FEWEST = 5  # patients of an institution, for an interval to be given


def of_column(patients: pd.DataFrame, column: str, statistic: str = "mean") -> Interval:
    """Return the mean or median of a column with one row a patient; NaN values are left out."""
    rows = patients[["patient", column]].dropna()
    return bootstrap_patients(
        rows, lambda drawn: getattr(drawn[column], statistic)(), resamples=RESAMPLES, seed=SEED
    )


def of_share(slices: pd.DataFrame, right: np.ndarray) -> Interval:
    """Return the share of slices for which `right` (bool, shape (n,)) holds.

    By counts a patient, which gives what drawing the rows would, faster.
    """
    counts = slices[["patient"]].assign(right=np.asarray(right, dtype=bool), slices=1)
    counts = counts.groupby("patient", as_index=False).sum()
    return bootstrap_patients(
        counts,
        lambda drawn: drawn["right"].sum() / drawn["slices"].sum(),
        resamples=RESAMPLES,
        seed=SEED,
    )


def failures(patients: pd.DataFrame) -> pd.DataFrame:
    """Return the patients whose Dice is below `FAILED`, the lowest first.

    Parameters
    ----------
    patients : pandas.DataFrame
        ``patient, institution, dice``, and more.
    """
    return patients[patients["dice"] < FAILED].sort_values("dice", ignore_index=True)


def segmentation(patients: pd.DataFrame) -> dict[str, Interval]:
    """Return mean and median Dice by patient, and the median HD95 (px), with intervals.

    Parameters
    ----------
    patients : pandas.DataFrame
        ``patient, dice, hd95_px``.

    Returns
    -------
    dict of str to Interval
        ``dice_mean, dice_median, hd95_median``.
    """
    return {
        "dice_mean": of_column(patients, "dice"),
        "dice_median": of_column(patients, "dice", "median"),
        "hd95_median": of_column(patients, "hd95_px", "median"),
    }


def aucs(slices: pd.DataFrame) -> dict[str, Interval]:
    """Return the AUC over all slices of each column of `SCORES`, by the column's name."""
    return {
        score: detection.auc_interval(slices, score, resamples=RESAMPLES, seed=SEED)
        for score in SCORES
    }


def operating_point(slices: pd.DataFrame) -> dict[str, Interval]:
    """Return sensitivity and specificity of the column ``flagged``.

    Each fold flags at a threshold of its own, chosen on patients that it does not test.

    Returns
    -------
    dict of str to Interval
        ``sensitivity, specificity``.
    """
    with_tumour, flagged = slices["tumour_px"] > 0, slices["flagged"] == 1
    return {
        "sensitivity": of_share(slices[with_tumour], flagged[with_tumour]),
        "specificity": of_share(slices[~with_tumour], ~flagged[~with_tumour]),
    }


def by_institution(patients: pd.DataFrame, slices: pd.DataFrame) -> pd.DataFrame:
    """Return one row an institution, the lowest mean Dice first.

    Parameters
    ----------
    patients : pandas.DataFrame
        ``patient, institution, dice``.
    slices : pandas.DataFrame
        Of the same patients.

    Returns
    -------
    pandas.DataFrame
        ``institution, patients, dice_mean, low, high, dice_median, auc``; no interval under
        `FEWEST` patients.
    """
    rows = []
    for institution, own in patients.groupby("institution"):
        mean = of_column(own, "dice")
        bounds = (mean.low, mean.high) if len(own) >= FEWEST else (np.nan, np.nan)
        of_them = slices[slices["institution"] == institution]
        rows.append(
            {
                "institution": institution,
                "patients": len(own),
                "dice_mean": mean.estimate,
                "low": bounds[0],
                "high": bounds[1],
                "dice_median": own["dice"].median(),
                "auc": detection.auc(of_them["tumour_px"] > 0, of_them["p_tumour"]),
            }
        )
    return pd.DataFrame(rows).sort_values("dice_mean", ignore_index=True)


def by_volume(patients: pd.DataFrame, groups: int = 3) -> pd.DataFrame:
    """Return Dice by the tumour's size in all slices, in groups of about equally many patients.

    Returns
    -------
    pandas.DataFrame
        ``from_px, to_px, patients, dice_mean, low, high, dice_median``, smallest tumours first.
    """
    ordered = patients.sort_values(["tumour_px", "patient"], ignore_index=True)
    rows = []
    for places in np.array_split(np.arange(len(ordered)), groups):
        own = ordered.iloc[places]
        mean = of_column(own, "dice")
        rows.append(
            {
                "from_px": int(own["tumour_px"].min()),
                "to_px": int(own["tumour_px"].max()),
                "patients": len(own),
                "dice_mean": mean.estimate,
                "low": mean.low,
                "high": mean.high,
                "dice_median": own["dice"].median(),
            }
        )
    return pd.DataFrame(rows)


def by_area(slices: pd.DataFrame, edges: tuple[int, ...] = AREAS) -> pd.DataFrame:
    """Return what becomes of tumour slices, by the tumour's area in the slice.

    Parameters
    ----------
    slices : pandas.DataFrame
        The slices table.
    edges : tuple of int
        Each class goes from one edge to just below the next, in px.

    Returns
    -------
    pandas.DataFrame
        ``from_px, to_px, slices, flagged, low, high`` (share flagged, with interval), ``touched``
        (share in which the mask meets the tumour), ``dice`` (mean over these slices). A class
        without slices is left out.
    """
    rows = []
    for low, high in itertools.pairwise(edges):
        own = slices[(slices["tumour_px"] >= low) & (slices["tumour_px"] < high)]
        if own.empty:
            continue
        flagged = of_share(own, own["flagged"] == 1)
        counts = (own[name] for name in ("tumour_px", "predicted_px", "overlap_px"))
        rows.append(
            {
                "from_px": int(own["tumour_px"].min()),
                "to_px": int(own["tumour_px"].max()),
                "slices": len(own),
                "flagged": flagged.estimate,
                "low": flagged.low,
                "high": flagged.high,
                "touched": float((own["overlap_px"] > 0).mean()),
                "dice": float(np.mean(dice_from_counts(*counts))),
            }
        )
    return pd.DataFrame(rows)


def reliability(slices: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Return the reliability table of each column of `SCORES`, by its words."""
    labels = slices["tumour_px"].to_numpy() > 0
    return {
        words: calibration.reliability_table(
            labels, slices[score], slices["patient"], resamples=RESAMPLES, seed=SEED
        )
        for score, words in SCORES.items()
    }


def calibration_errors(slices: pd.DataFrame) -> dict[str, float]:
    """Return the expected calibration error of each column of `SCORES`, by its words."""
    labels = slices["tumour_px"].to_numpy() > 0
    return {
        words: calibration.expected_calibration_error(labels, slices[score])
        for score, words in SCORES.items()
    }


def conventions(slices: pd.DataFrame) -> pd.DataFrame:
    """Return `convention, dice, explanation`: one table under the eight `CONVENTIONS`."""
    table = dice_conventions(slices)
    return table[table["convention"].isin(CONVENTIONS)].reset_index(drop=True)


def worst(patients: pd.DataFrame, number: int = 8) -> pd.DataFrame:
    """Return the patients with the lowest Dice, the lowest first."""
    return patients.sort_values(["dice", "patient"], ignore_index=True).head(number)


def kinds_of_error(patients: pd.DataFrame, slices: pd.DataFrame) -> pd.DataFrame:
    """Return `patients` with the columns of `segmentation.missed_and_invented`."""
    own = patient_table(slices).set_index("patient").loc[patients["patient"]]
    errors = missed_and_invented(own.reset_index(drop=True))
    return patients.reset_index(drop=True).assign(**errors)


def lost(slices: pd.DataFrame) -> dict[str, Interval]:
    """Return the mean over patients of what Dice lacks to 1, by each of `KINDS_OF_LOSS`."""
    parts = lost_dice(slices)
    return {kind: of_column(parts, kind) for kind in KINDS_OF_LOSS}


class Match(NamedTuple):
    """Patients whose masks have about one relation to the traced ones: how many, and mean Dice."""

    patients: int
    dice: float


def by_match(slices: pd.DataFrame) -> dict[str, Match]:
    """Return Dice of the patients by how large the whole mask is, compared with the traced one.

    Returns
    -------
    dict of str to Match
        ``close`` to within `WITHIN` per cent, ``larger``, ``smaller``. Patients with neither
        traced nor predicted pixels are left out; the mean is NaN where there are no patients.
    """
    patients = patient_table(slices).dropna(subset="dice")
    predicted, traced = patients["predicted_px"], patients["tumour_px"]
    times = 1 + WITHIN / 100
    larger, smaller = predicted > times * traced, traced > times * predicted
    which = {"close": ~(larger | smaller), "larger": larger, "smaller": smaller}
    return {
        name: Match(int(own.sum()), float(patients.loc[own, "dice"].mean()))
        for name, own in which.items()
    }


def cascade_gain(slices: pd.DataFrame) -> tuple[Interval, Interval, Interval]:
    """Return mean Dice by patient of the segmenter alone, of the cascade, and the difference."""
    alone, both = patient_table(slices), patient_table(cascade(slices))
    # Cascade and segmenter pool the same traced pixels: undefined only where neither drew any.
    defined = both["dice"].notna() & alone["dice"].notna()
    alone, both = alone[defined], both[defined]
    difference = paired_bootstrap(
        alone, both, lambda drawn: drawn["dice"].mean(), resamples=RESAMPLES, seed=SEED
    )
    return of_column(alone, "dice"), of_column(both, "dice"), difference


def cascade_misses(slices: pd.DataFrame) -> pd.DataFrame:
    """Return what the cascade loses: tumour slices that the segmenter met but nobody flagged.

    Returns
    -------
    pandas.DataFrame
        One row a patient that loses any, the most tumour first: ``patient, institution,
        tumour_slices, lost, lost_px`` (overlap given up), ``largest_px`` (traced, of the largest
        slice lost).
    """
    tumour = slices[slices["tumour_px"] > 0]
    lost = tumour[(tumour["overlap_px"] > 0) & (tumour["flagged"] == 0)]
    table = lost.groupby(["patient", "institution"], as_index=False).agg(
        lost=("slice", "size"), lost_px=("overlap_px", "sum"), largest_px=("tumour_px", "max")
    )
    number = tumour.groupby("patient").size()
    table.insert(2, "tumour_slices", table["patient"].map(number))
    return table.sort_values(["lost_px", "patient"], ascending=[False, True], ignore_index=True)
