"""What else was tried, from the tables: variations of our recipe, on validation patients.

One training says little, since another seed may change its Dice by a few hundredths; each
variation is therefore trained on several folds, with several seeds where there was time.
"""

from collections.abc import Iterable

import pandas as pd

from utils.evaluation.bootstrap import Interval
from utils.evidence.statistics import FAILED, of_column
from utils.evidence.tables import CHOICES

# What the others are compared with.
REFERENCE = "FLAIR alone"
# Of these two, steps after the networks and seeds are compared as well.
LOOKED_INTO = (REFERENCE, "ours")
# A part of the recipe -> the attempts without it and with it.
PARTS = {
    "encoder from ImageNet": ("from scratch", REFERENCE),
    "neighbouring slices": ("one slice, three sequences", REFERENCE),
    "cut to the head": ("whole image", REFERENCE),
    "128 px, not 96": ("96 px", REFERENCE),
    "128 px, not 192": ("192 px", REFERENCE),
    "16 epochs, not 8": ("half as long", REFERENCE),
    "16 epochs, not 32": ("twice as long", REFERENCE),
    "grey levels by the brain's mode": ("mean of the head", REFERENCE),
    "grey levels by the brain's mode, in 8 epochs": (
        "half as long, mean of the head",
        "half as long",
    ),
    "Dice + cross-entropy": ("focal Tversky", REFERENCE),
    "moved further, tumours darkened": ("gentle augmentation", REFERENCE),
    "tumours darkened": ("no dark parts", REFERENCE),
    "tumour-free slices in training": ("tumour slices only", REFERENCE),
    "all sequences, coil shading": (REFERENCE, "all sequences"),
    "mean of both networks": (REFERENCE, "ours"),
    "all since the earlier recipe": ("earlier recipe", "ours"),
}
# A part that comes after the networks -> what is done with the same maps without it and with it.
STEPS = {
    "refinement": ("t0.5 r0.0 tenth", "t0.5 r0.8 tenth"),
    "pieces by evidence, not the largest": ("t0.5 r0.8 largest", "t0.5 r0.8 tenth"),
    "threshold 0.4, not 0.5": ("t0.5 r0.8 tenth", "t0.4 r0.8 tenth"),
    "threshold 0.6, not 0.5": ("t0.5 r0.8 tenth", "t0.6 r0.8 tenth"),
}


def summary(runs: pd.DataFrame, patients: pd.DataFrame) -> pd.DataFrame:
    """Return one row an attempt, best first.

    What becomes of the maps is chosen for each attempt: the one of `tables.CHOICES` with the best
    mean over all its trainings and validation patients.

    Parameters
    ----------
    runs : pandas.DataFrame
        ``attempt, fold, seed, recipe, auc, minutes``.
    patients : pandas.DataFrame
        ``attempt, fold, seed, patient`` and the Dice with each of `tables.CHOICES`.

    Returns
    -------
    pandas.DataFrame
        ``attempt, recipe, trainings, patients, dice_mean, dice_median, under_half, auc, minutes,
        choice``: Dice of a patient is the mean over folds and seeds; ``under_half`` how many
        patients a seed has below `statistics.FAILED` in one of its folds, on average.
    """
    rows = []
    for name, own in patients.groupby("attempt", sort=False):
        of_name = runs[runs["attempt"] == name]
        choice = _best_choice(own)
        by_patient = own.groupby("patient")[choice].mean()
        seeds, failed = own["seed"].nunique(), own[own[choice] < FAILED]
        rows.append(
            {
                "attempt": name,
                "recipe": of_name["recipe"].iloc[0],
                "trainings": len(of_name),
                "patients": len(by_patient),
                "dice_mean": by_patient.mean(),
                "dice_median": by_patient.median(),
                "under_half": failed.groupby("seed")["patient"].nunique().sum() / seeds,
                "auc": of_name["auc"].mean(),
                "minutes": of_name["minutes"].mean(),
                "choice": choice,
            }
        )
    return pd.DataFrame(rows).sort_values("dice_mean", ascending=False, ignore_index=True)


def by_training(patients: pd.DataFrame) -> pd.DataFrame:
    """Return the mean Dice of each training, each attempt with the choice that suits it best.

    Parameters
    ----------
    patients : pandas.DataFrame
        See `summary`.

    Returns
    -------
    pandas.DataFrame
        ``attempt, fold, seed, dice``.
    """
    rows = []
    for name, own in patients.groupby("attempt", sort=False):
        means = own.groupby(["fold", "seed"])[_best_choice(own)].mean()
        rows.append(means.rename("dice").reset_index().assign(attempt=name))
    return pd.concat(rows, ignore_index=True)[["attempt", "fold", "seed", "dice"]]


def difference(patients: pd.DataFrame, first: str, second: str) -> pd.DataFrame:
    """Return both attempts' Dice of the patients and folds that both have, side by side.

    Returns
    -------
    pandas.DataFrame
        ``patient, first, second``: means over the shared folds, and over the seeds of each. No row
        where one of them was not tried, or no fold is shared.
    """
    keys = ["fold", "patient"]
    both = []
    for attempt in (first, second):
        own = patients[patients["attempt"] == attempt]
        if own.empty:
            return pd.DataFrame({"patient": [], "first": [], "second": []})
        choice = _best_choice(own)
        both.append(
            own.groupby(keys, as_index=False)[choice].mean().set_axis([*keys, "dice"], axis=1)
        )
    shared = both[0].merge(both[1], on=keys, suffixes=("_first", "_second"))
    means = shared.groupby("patient")[["dice_first", "dice_second"]].mean()
    return means.set_axis(["first", "second"], axis=1).reset_index()


def differences(patients: pd.DataFrame, names: Iterable[str]) -> list[Interval | None]:
    """Return what each attempt has more than `REFERENCE`, in pairs over patients; None for itself.

    None also where the two share no training of a fold.
    """
    found = []
    for name in names:
        pairs = difference(patients, REFERENCE, name)
        if name == REFERENCE or pairs.empty:
            found.append(None)
            continue
        gap = pairs.assign(dice=pairs["second"] - pairs["first"])
        found.append(of_column(gap, "dice"))
    return found


def worth(patients: pd.DataFrame) -> pd.DataFrame:
    """Return what each part of the recipe was worth: Dice with it minus Dice without it, in pairs.

    Parameters
    ----------
    patients : pandas.DataFrame
        See `summary`.

    Returns
    -------
    pandas.DataFrame
        ``part, without, with_it, trainings, patients, better, gain``: first those of `PARTS` that
        were tried on both sides in a fold, each attempt with the choice that suits it best; then
        `STEPS`, on the maps of `REFERENCE` and of "ours"; then what another seed alone changed in
        these two. ``trainings`` are those of both sides together, ``better`` how many patients
        gain.
    """
    rows = []
    for part, (without, with_it) in PARTS.items():
        trainings = patients.loc[patients["attempt"].isin([without, with_it]),
                                 ["attempt", "fold", "seed"]].drop_duplicates()  # fmt: skip
        both = trainings.groupby("fold")["attempt"].nunique()
        shared = trainings["fold"].isin(both.index[both == 2])
        if shared.any():
            pairs = difference(patients, without, with_it)
            rows.append(_worth(part, without, with_it, int(shared.sum()), pairs))
    for part, choices in STEPS.items():
        for name in LOOKED_INTO:
            own = patients[patients["attempt"] == name]
            if own.empty:
                continue
            pairs = own.groupby("patient")[list(choices)].mean()
            pairs = pairs.set_axis(["first", "second"], axis=1).reset_index()
            trainings = len(own[["fold", "seed"]].drop_duplicates())
            rows.append(_worth(f"{part} ({name})", name, name, trainings, pairs))
    for name in LOOKED_INTO:
        pairs, trainings = _between_seeds(patients[patients["attempt"] == name])
        if trainings:
            rows.append(_worth(f"another seed, {name}", name, name, trainings, pairs))
    columns = "part", "without", "with_it", "trainings", "patients", "better", "gain"
    return pd.DataFrame(rows, columns=columns)


def _between_seeds(own: pd.DataFrame) -> tuple[pd.DataFrame, int]:
    """Return the pairs of an attempt's first seed and its last, and how many trainings these are.

    The yardstick for all the others: between the two nothing was changed.
    """
    if own.empty:
        return own, 0
    seeds = own.groupby("fold")["seed"].agg(["min", "max"])
    seeds = seeds[seeds["min"] < seeds["max"]]
    choice, sides = _best_choice(own), {}
    for side, which in {"first": "min", "second": "max"}.items():
        of_side = own[own["seed"] == own["fold"].map(seeds[which])]
        sides[side] = of_side.groupby("patient")[choice].mean()
    return pd.DataFrame(sides).reset_index(), 2 * len(seeds)


def _worth(part, without, with_it, trainings, pairs) -> dict:
    row = {"part": part, "without": without, "with_it": with_it, "trainings": trainings}
    gap = pairs.assign(dice=pairs["second"] - pairs["first"])
    better = int((gap["dice"] > 0).sum())
    return row | {"patients": len(gap), "better": better, "gain": of_column(gap, "dice")}


def _best_choice(own: pd.DataFrame) -> str:
    return own[list(CHOICES)].mean().idxmax()
