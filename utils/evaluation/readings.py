"""What a table or figure shows, in sentences that hold its numbers."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from scipy import stats

from utils.evaluation.bootstrap import Interval
from utils.evaluation.text import format_interval

LOST = 0.1  # a patient with a lower Dice is lost


def sign_test(change: pd.Series) -> tuple[int, int, float]:
    """Return for how many patients a difference is below 0 and above 0, and how likely that is.

    Parameters
    ----------
    change : Series
        A difference for each patient; those that are 0 are left out.

    Returns
    -------
    tuple of int, int, float
        The last is the probability, 0 to 1, that tossing a coin for each patient gives a count at
        least as uneven.

    Examples
    --------
    All four the same way: two of 16 sequences of tosses are as uneven.

    >>> import pandas as pd
    >>> from utils.evaluation.readings import sign_test
    >>> sign_test(pd.Series([0.1, 0.2, 0.1, 0.3]))
    (0, 4, 0.125)
    """
    below, above = int((change < 0).sum()), int((change > 0).sum())
    if below + above == 0:
        return 0, 0, 1.0
    return below, above, float(stats.binomtest(max(below, above), below + above).pvalue)


def paired_reading(
    first: pd.Series, second: pd.Series, names: Sequence[str], difference: Interval
) -> str:
    """Say how two models compare by count and by mean, and whether one patient decides the mean.

    Parameters
    ----------
    first, second : Series
        Dice by patient, 0..1, with the same index.
    names : sequence of two str
    difference : Interval
        Of the mean of `second - first`.
    """
    change = second - first
    below, above, chance = sign_test(change)
    probability = f"of {chance:.3f}" if chance >= 0.001 else "below 0.001"
    farthest = change.abs().idxmax()
    rest = change.drop(farthest).mean()
    leader = names[0] if below > above else names[1]
    turns = rest * change.mean() < 0
    disagree = (change.mean() > 0) != (above > below)
    return (
        f"{names[0]} is better in {below} patients and {names[1]} in {above}, counting every "
        "difference, however small. If both were equally good, a count at least as uneven would "
        f"come about with a probability {probability} (the *sign test*: toss a coin for each "
        f"patient). The mean difference, {names[1]} minus {names[0]}, is "
        f"{format_interval(difference, sign=True)}. The largest single one is that of {farthest}: "
        f"{first[farthest]:.2f} with {names[0]}, {second[farthest]:.2f} with {names[1]}. Without "
        f"this patient the mean difference would be {rest:+.3f}"
        + (": **one patient turns the mean round.**" if turns else ", with the same sign.")
        + (
            f" By the count {leader} is ahead, by the mean the other."
            if disagree
            else f" By the count and by the mean, {leader} is ahead."
        )
    )


def training_reading(name: str, history: pd.DataFrame, baselines: Mapping[str, float]) -> str:
    """Say which epoch of a training is best, and from which on it is above some baselines.

    Parameters
    ----------
    name : str
        Of the training.
    history : DataFrame
        ``epoch`` from 1, ``val_dice``.
    baselines : mapping of str to float
        Their Dice.
    """
    best = history.loc[history["val_dice"].idxmax()]
    said = []
    for baseline, dice in baselines.items():
        above = history["epoch"][history["val_dice"] > dice]
        when = f"first in epoch {above.iloc[0]}" if len(above) else "in no epoch"
        said.append(f"above the {baseline} ({dice:.2f} on training patients) {when}")
    return (
        f"**{name}** is {' and '.join(said)}. Its best epoch is {best['epoch']:.0f} of "
        f"{len(history)}, with {best['val_dice']:.3f}."
    )


def baseline_reading(baseline: pd.Series, model: pd.Series, gain: Interval) -> str:
    """Say whether a model is better than a baseline, and whom the baseline loses.

    Parameters
    ----------
    baseline, model : Series
        Dice by patient, 0..1, with the same index.
    gain : Interval
        Of the mean of `model - baseline`.
    """
    verdict = "these patients do not decide which is better on average"
    if gain.low > 0:
        verdict = "the network is better on average"
    elif gain.high < 0:
        verdict = "the fair baseline is better on average"
    said = (
        f"Network minus fair baseline, mean Dice: {format_interval(gain, sign=True)}; {verdict}. "
        f"The network is better in {(model > baseline).sum()} of {len(model)} patients. The median "
        f"of the baseline is {baseline.median():.2f}, that of the network {model.median():.2f}."
    )
    lost = baseline[baseline < LOST].index
    if not len(lost):
        return said + f" The baseline loses nobody: its lowest Dice is {baseline.min():.2f}."
    there = ", ".join(f"{value:.2f}" for value in model[lost])
    return said + (
        f" The baseline loses {', '.join(lost)} (Dice below {LOST:g}), where the network has "
        f"{there}. Among the others the means are {baseline.drop(lost).mean():.2f} and "
        f"{model.drop(lost).mean():.2f}."
    )


def worst_reading(patients: pd.DataFrame) -> str:
    """Say of the patient with the lowest Dice what is missed and what is drawn beside the tumour.

    Parameters
    ----------
    patients : DataFrame
        ``patient, tumour_px, predicted_px, overlap_px, dice``, as `patient_table` returns them.
    """
    worst = patients.loc[patients["dice"].idxmin()]
    missed = 1 - worst["overlap_px"] / worst["tumour_px"]
    extra = (worst["predicted_px"] - worst["overlap_px"]) / worst["tumour_px"]
    rank = int((patients["tumour_px"] < worst["tumour_px"]).sum()) + 1
    return (
        f"The worst patient is {worst['patient']}, with a Dice of {worst['dice']:.2f}. Of the "
        f"tumour's pixels {100 * missed:.0f} % are missed, and an area of {100 * extra:.0f} % of "
        f"its size is drawn beside it: all in all, the network draws "
        f"{'too little' if missed > extra else 'too much'}. Counted from the smallest, this tumour "
        f"is number {rank} of {len(patients)}."
    )


def losses_reading(table: pd.DataFrame, patients: pd.DataFrame) -> str:
    """Say what the exponent and the weights of the focal Tversky loss changed.

    Parameters
    ----------
    table, patients : DataFrame
        As `utils.course.loss_lab.losses_table` and `patients_table` return them.
    """
    settings = ["fn_weight", "fp_weight", "exponent"]
    pairs = patients[patients["fn_weight"] == 0.7].pivot_table(
        index=["seed", "patient"], columns="exponent", values="dice"
    )
    low, high = pairs.columns.min(), pairs.columns.max()
    change = pairs[high] - pairs[low]
    by_seed = ", ".join(f"{value:+.3f}" for value in change.groupby("seed").mean())
    means = change.groupby("seed").mean()
    error = means.std() / len(means) ** 0.5
    spread = table.groupby(settings)["dice"].agg(np.ptp).max()
    weights = table[table["exponent"] > 1].groupby("fn_weight")
    ends = weights[["sensitivity_half", "precision_half", "sensitivity", "precision"]].mean()
    step = ends.iloc[-1] - ends.iloc[0]
    dice = ", ".join(f"{value:.3f}" for value in weights["dice"].mean())
    same_way = (np.sign(means) == np.sign(means.iloc[0])).all()
    return (
        f"**The exponent.** 4/3 minus 0.75 is {change.mean():+.3f} mean Dice; by seed {by_seed} "
        f"(standard error over the seeds {error:.3f}). "
        + (
            "All three seeds point the same way, but three are few. "
            if same_way
            else "The seeds do not even agree on the sign. "
        )
        + f"With one and the same setting, the three seeds lie up to {spread:.3f} apart.\n\n"
        "**The weights.** From 0.5 / 0.5 to 0.8 / 0.2, at a threshold of 0.5, sensitivity changes "
        f"by {step['sensitivity_half']:+.3f} and precision by {step['precision_half']:+.3f}. After "
        "each loss has got the threshold that suits it, the two changes are "
        f"{step['sensitivity']:+.3f} and {step['precision']:+.3f}, and the mean Dice of the three "
        f"pairs is {dice}."
    )
