"""What a table or figure shows, in sentences that hold its numbers."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from scipy import stats

from utils.evaluation import segmentation
from utils.evaluation.bootstrap import Interval
from utils.evaluation.text import format_interval

LOST = 0.1  # a patient with a lower Dice is lost
FEW, HANDFUL = 20, 10  # patients: their interval is too narrow; they decide nothing
SMALL = 0.001  # a smaller probability would be written as 0.000
ROUNDING = 1e-12  # differences that cancel leave a mean of up to so much instead of 0


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
    farthest = change.abs().idxmax()
    mean, rest = _mean(change), _mean(change.drop(farthest))
    leader = names[0] if below > above else names[1]
    without = f"Without this patient the mean difference would be {rest:+.3f}"
    if len(change) == 1:
        without = "There is no other patient."
    elif rest * mean == 0:
        without += "."
    elif rest * mean < 0:
        without += ": **one patient turns the mean round.**"
    else:
        without += ", with the same sign."
    if below == above:
        end = "By the count neither is ahead."
    elif mean == 0:
        end = f"By the count {leader} is ahead, by the mean neither."
    elif (mean > 0) == (above > below):
        end = f"By the count and by the mean, {leader} is ahead."
    else:
        end = f"By the count {leader} is ahead, by the mean the other."
    return (
        f"{names[0]} is better in {below} patients and {names[1]} in {above}, counting every "
        "difference, however small. If both were equally good, a count at least as uneven would "
        f"come about with a probability {_of(chance)} (the *sign test*: toss a coin for each "
        f"patient). The mean difference, {names[1]} minus {names[0]}, is "
        f"{format_interval(difference, sign=True)}. The largest single one is that of {farthest}: "
        f"{first[farthest]:.2f} with {names[0]}, {second[farthest]:.2f} with {names[1]}. "
        f"{without} {end}"
    )


def mean_reading(difference: Interval, names: Sequence[str], patients: int) -> str:
    """Say which of two methods the interval of a mean difference calls better, and how surely.

    Parameters
    ----------
    difference : Interval
        Of the mean of the second minus the first.
    names : sequence of two str
    patients : int
        How many there are.

    Examples
    --------
    >>> from utils.evaluation.bootstrap import Interval
    >>> from utils.evaluation.readings import mean_reading
    >>> mean_reading(Interval(0.02, 0.01, 0.03), ("one", "two"), patients=100)
    'two is better than one'
    """
    if patients < HANDFUL:
        return "too few patients to decide"
    if not (difference.low > 0 or difference.high < 0):  # nor is an interval of NaN
        return "these patients do not decide between the two"
    worse, better = names if difference.low > 0 else reversed(names)
    narrow = "; but with so few patients this interval is too narrow" if patients <= FEW else ""
    return f"{better} is better than {worse}{narrow}"


def count_reading(change: pd.Series) -> str:
    """Say how many patients lose and gain by any difference, and how likely a count like that is.

    Parameters
    ----------
    change : Series
        A difference for each patient, of those of whom nothing has changed exactly 0.

    Examples
    --------
    >>> import pandas as pd
    >>> from utils.evaluation.readings import count_reading
    >>> print(count_reading(pd.Series([0.1, 0.2, -0.1, 0.0])).split(". ")[0])
    Counting every difference, however small, the change is below 0 for 1, above 0 for 2 and 0 for 1
    """
    below, above, chance = sign_test(change)
    return (
        f"Counting every difference, however small, the change is below 0 for {below}, above 0 for "
        f"{above} and 0 for {(change == 0).sum()}. If both were equally good, a count at least as "
        f"uneven would come about with a probability {_of(chance)} (*sign test*)."
    )


def _mean(change: pd.Series) -> float:
    mean = float(change.mean())
    return 0.0 if abs(mean) < ROUNDING else mean


def _of(probability: float) -> str:
    return f"of {probability:.3f}" if probability >= SMALL else f"below {SMALL}"


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
    said += (
        f" The baseline loses {', '.join(lost)} (Dice below {LOST:g}), where the network has "
        f"{there}."
    )
    if len(lost) == len(baseline):
        return said + " There are no others."
    return said + (
        f" Among the others the means are {baseline.drop(lost).mean():.2f} and "
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
    named = f"The worst patient is {worst['patient']}, with a Dice of {worst['dice']:.2f}"
    if not worst["tumour_px"]:
        return (
            f"{named}: there is no tumour to be drawn, and the network draws "
            f"{worst['predicted_px']:.0f} pixels."
        )
    missed = 1 - worst["overlap_px"] / worst["tumour_px"]
    extra = (worst["predicted_px"] - worst["overlap_px"]) / worst["tumour_px"]
    verdict = (
        "nothing that is left after post-processing lies on the tumour"
        if worst["overlap_px"] == 0
        else f"all in all, the network draws {'too little' if missed > extra else 'too much'}"
    )
    rank = int((patients["tumour_px"] < worst["tumour_px"]).sum()) + 1
    return (
        f"{named}. Of the tumour's pixels {100 * missed:.0f} % are missed, and an area of "
        f"{100 * extra:.0f} % of its size is drawn beside it: {verdict}. Counted from the "
        f"smallest, this tumour is number {rank} of {len(patients)}."
    )


def pieces_reading(truth: np.ndarray, kept: np.ndarray, every: np.ndarray) -> str:
    """Say, of a patient's mask, what it gained and lost by the pieces that were dropped from it.

    Parameters
    ----------
    truth, kept, every : ndarray, of one shape
        The true mask, with some pixels of tumour; the predicted one; and the predicted one before
        pieces were dropped, with all that lies above the threshold.

    Examples
    --------
    The larger piece of the two was kept, and it is the wrong one.

    >>> import numpy as np
    >>> from utils.evaluation.readings import pieces_reading
    >>> truth, kept = np.array([0, 0, 0, 1]), np.array([1, 1, 0, 0])
    >>> pieces_reading(truth, kept, every=np.array([1, 1, 0, 1])).endswith("throws it away.")
    True
    """
    truth, kept, every = (np.asarray(mask) > 0 for mask in (truth, kept, every))
    if (kept == every).all():
        return "no piece was dropped from it."
    scores = [segmentation.dice(truth, mask) for mask in (every, kept)]
    found = [100 * (mask & truth).sum() / truth.sum() for mask in (every, kept)]
    said = (
        f"with all pieces above the threshold the Dice is {scores[0]:.2f}, and {found[0]:.0f} % of "
        "the tumour's pixels are found; with those that the post-processing keeps, "
        f"{scores[1]:.2f} and {found[1]:.0f} %. "
    )
    if found[0] == found[1]:
        return said + "What was dropped lies beside the tumour."
    if found[1] == 0:
        part = "" if found[0] >= 50 else "a part of "
        return (
            said + f"The network finds {part}this tumour, and the choice of pieces throws it away."
        )
    return said + "Some of what was dropped is tumour."


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
