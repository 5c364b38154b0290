# %% [markdown]
# # 4 · Evaluate: how good, for whom, and how sure?
#
# Two models are trained: a detector that says which slices show tumour, and a segmenter that draws
# it. This notebook asks of them what a critical reader would ask. It uses the
# [held-out patients](../docs/glossary.md#held-out-patients), whom no model has seen and on whom
# nothing was chosen.
#
# **What you will learn**
#
# - to judge a model by patient, with an interval that says how much chance there is in a number;
# - when an interval over slices claims too much;
# - to compare two methods on the same patients, in pairs;
# - that "Dice" means a dozen different things, and how far apart they lie;
# - to read failures, and to write down what a model is for in a model card.
#
# **What you need**: notebooks 2 and 3 (their models; if they are missing they are trained first,
# which takes a few minutes). Otherwise under a minute, and 1.7 GB of memory. With the seven
# exercises, plan 90 minutes; how they work stands at the top of
# [notebook 1](01_explore.ipynb), and terms are explained in the
# [glossary](../docs/glossary.md).

# %% [markdown]
# ## The questions
#
# 1. Should the segmenter draw on every slice, or only on those that the detector flags?
# 2. How different could our numbers be with other patients?
# 3. Whom do the models fail, and is there a pattern?
#
# By default all of this is about a **simulated cohort**; each number and figure says whose it is.
# With `cohort = "lgg"` the patients are real. Either way: **not for clinical use**.

# %% tags=["parameters"]
cohort = "simulated"
data = ""
run_folder = ""
seed = 0
patients = 60
size = 128
detector_epochs = 3
segmenter_epochs = 5

# %%
import sys

sys.path.insert(0, "..")  # the helpers lie beside this folder
import numpy as np
import pandas as pd

from utils import check
from utils.cohort import statistics
from utils.cohort.tiff import read_slice
from utils.course import model_card, workers
from utils.course.run import open_run
from utils.evaluation import detection, segmentation
from utils.evaluation.bootstrap import bootstrap_patients, paired_bootstrap
from utils.evaluation.text import format_interval
from utils.plots import evaluation as plots_evaluation, segmentation as plots_segmentation
from utils.plots.style import show

run = open_run(cohort, data, run_folder, seed, patients, size, detector_epochs, segmenter_epochs)
SOURCE = run.describe("test")

# %% [markdown]
# ## Two ways to use two models
#
# - **Segmenter alone**: it draws on every slice.
# - **[Cascade](../docs/glossary.md#cascade)**: the detector goes first. On slices that it does not
#   flag, the mask is emptied; on the others the segmenter's mask stands.
#
# Both use the same split. If detector and segmenter were split separately, as in the course from
# which this one grew, a patient held out from one would have trained the other.
#
# *Predict before you run: the cascade can only take pixels away. What can that improve, and what
# can it spoil?*

# %%
workers.train_missing(run)  # nothing to do after notebooks 2 and 3

from utils.course.cascade import (  # loads TensorFlow
    evaluate,
    example_slices,
    kinds_of_error,
    patient_results,
    segmentation_record,
)

result = evaluate(run)
print(SOURCE)
result.slices.drop(columns="part").sample(5, random_state=seed).sort_index().round(3)

# %% [markdown]
# One row a slice. `p_tumour` is the detector's probability, after temperature scaling, and
# `flagged` says whether it reaches the threshold. Then three counts that are enough for every Dice
# below: the pixels of the tumour as traced, the pixels predicted, and those in both. `cascade_px`
# and `cascade_overlap_px` are the same counts after the detector's veto. The table is kept as
# `predictions.csv` in the run folder.

# %% tags=["nbval-check-output"]
slices = result.slices
print("held-out patients:", slices["patient"].nunique(), "of", len(run.split))
print("held-out slices:", len(slices), "with tumour:", int((slices["tumour_px"] > 0).sum()))
print("masks:", result.alone.shape, result.alone.dtype)
print("the cascade only takes away:", bool((result.cascade <= result.alone).all()))
print("seen in training:", len(set(slices["patient"]) & set(run.part("train").patients)))

# %% [markdown]
# ### Exercise 4.1 · The detector's veto
#
# Write `veto(masks, p_tumour, threshold)`, the cascade in a few lines. `masks` has the shape
# `(slices, height, width)`, `p_tumour` one probability a slice. Return the masks with those of the
# slices that are *not* flagged emptied; a slice is flagged if its probability is at least the
# threshold. Leave the given array as it is: someone may still need the segmenter's own answer.
#
# <details><summary>Hint 1</summary>
#
# Comparing `p_tumour` with a number gives one True or False a slice. An array of them, used as an
# index on the first axis, picks whole slices.
# </details>
#
# <details><summary>Hint 2</summary>
#
# `masks * flagged` looks tempting, but NumPy matches the *last* axes: with as many columns as
# slices it would empty columns, without a word. Copy first, then write 0 into the slices chosen.
# </details>


# %% tags=["solution"]
def veto(masks, p_tumour, threshold):
    """Return the masks, emptied where the detector does not flag the slice.

    Parameters
    ----------
    masks : ndarray, shape (slices, height, width)
    p_tumour : ndarray, shape (slices,)
        The detector's probabilities.
    threshold : float
        From this probability on a slice is flagged.
    """
    left = masks.copy()
    left[p_tumour < threshold] = 0
    return left


# %% tags=["nbval-check-output"]
check.cascade(veto)

# %% [markdown]
# ## How good is the detector?
#
# On the held-out patients, at the threshold that was chosen on *validation* patients:
# [AUC](../docs/glossary.md#auc), [sensitivity](../docs/glossary.md#sensitivity) (the share of
# tumour slices that are flagged) and [specificity](../docs/glossary.md#specificity) (the share of
# tumour-free slices that are not). The interval behind each number is explained in a moment.

# %%
auc = detection.auc_interval(slices, seed=seed, resamples=1000)
point = detection.operating_point(slices, result.threshold, seed=seed, resamples=1000)
run.record(
    {
        "detection": auc.record("auc")
        | point.sensitivity.record("sensitivity")
        | point.specificity.record("specificity")
        | {"threshold": point.threshold}
    }
)
print("AUC:        ", auc)
print("sensitivity:", point.sensitivity)
print("specificity:", point.specificity)
print(f"{SOURCE}; threshold {point.threshold:.3f}, from {run.describe('validation')}")

# %% [markdown]
# ## How good is the segmenter? One number a patient
#
# A patient is the unit that matters, so we pool the pixels of all slices of a patient and compute
# **one Dice a patient**, as the authors of the LGG cohort do
# ([Buda et al. 2019](https://arxiv.org/abs/1906.03720)):
#
# $$\text{Dice} = \frac{2\,\sum_\text{slices} |\text{traced} \cap \text{predicted}|}
# {\sum_\text{slices} |\text{traced}| + \sum_\text{slices} |\text{predicted}|}$$
#
# Pixels drawn on a tumour-free slice enter the denominator, so false alarms count. Dice says little
# about *where* the border is wrong, so we add [**HD95**](../docs/glossary.md#hd95). In a slice,
# every pixel of each outline has a distance to the nearest pixel of the other outline; HD95 is the
# 95th percentile of all these distances, in pixels. And where one of the masks is empty? There is
# no distance to nothing, but leaving such slices out would reward a model for drawing nothing where
# it is in doubt. So a slice in which only one mask has pixels, missed whole or invented whole, is
# charged **the picture's diagonal**, which is farther than any two of its pixels are apart. A slice
# in which neither has any is left out, and the HD95 of a patient is the mean over the others. The
# BraTS challenges do the same by lesion: each one missed or invented [counts as 374
# mm](https://www.synapse.org/Synapse:syn51156910/discussion/threadId=10357). (Where the spacing of
# the slices is known, distances are measured in the volume, in mm; the files of our cohort do not
# tell it.)
#
# In the next table, `missed_slices` and `invented_slices` count the slices that were charged, and
# `_cascade` marks the same measures with the detector's veto.
#
# *Predict before you run: can a patient have a high Dice and a high HD95 as well? And what does the
# veto do to HD95?*

# %%
by_patient = patient_results(run, result)
by_patient.drop(columns=["slices", "predicted_px", "overlap_px"]).round(2)

# %%
charged = by_patient["missed_slices"] + by_patient["invented_slices"]
rises = by_patient["hd95_px_cascade"] > by_patient["hd95_px"] + 1e-9
print(f"charged the diagonal, {np.hypot(*result.truths.shape[1:]):.0f} px: {charged.sum()} slices "
      f"of {(charged > 0).sum()} patients")  # fmt: skip
for any_charged, distances in by_patient["hd95_px"].groupby(charged > 0):
    which = "with such a slice" if any_charged else "without"
    print(f"median HD95 of the {len(distances)} patients {which}: {distances.median():.1f} px")
print(f"HD95 rises with the veto for {rises.sum()} of {len(rises)} patients ({SOURCE})")

# %% [markdown]
# Dice weighs what is missed by its pixels, HD95 by its slices: a faint end of a tumour that nobody
# found costs next to nothing of the one and a whole diagonal of the other. So read HD95 together
# with the two counts. If they are 0, it speaks of the border; if not, mostly of slices.


# %%
def mean_dice(rows):
    return rows["dice"].mean()


mean = bootstrap_patients(by_patient, mean_dice, seed=seed)
figure = plots_evaluation.dice_by_patient(by_patient, mean, SOURCE)
worst = by_patient.sort_values("dice").iloc[0]
alt = (
    f"Dice of each held-out patient, sorted, from {by_patient['dice'].min():.2f} "
    f"({worst['patient']}) to {by_patient['dice'].max():.2f}. Mean {mean}, median "
    f"{by_patient['dice'].median():.2f}."
)
show(figure, alt, run.figures, "04_dice_by_patient")

# %% [markdown]
# Read the figure from below. A few bad patients pull the mean down, and the median hides them: that
# is why both are reported, and why neither replaces the picture. The band says where the *mean*
# could lie with other patients. It does not say where the next patient will lie: for that, look at
# the dots.

# %% [markdown]
# ### Exercise 4.2 · One table, three means
#
# Write `three_dice(slices)` for a slices table with the columns `patient, tumour_px, predicted_px,
# overlap_px`. It returns a dictionary with
#
# - `"patients"`: one Dice a patient, as in the formula above, then the mean over patients. A
#   patient with nothing traced and nothing predicted (0/0) is left out;
# - `"slices"`: one Dice a slice, then the mean over slices. Slices with nothing traced and nothing
#   predicted are left out;
# - `"pooled"`: a single ratio for all pixels of all patients.
#
# Before you write: which of the three will a large, easy tumour raise most?
#
# <details><summary>Hint 1</summary>
#
# The ratio is the same each time, `2 * overlap / (traced + predicted)`. What differs is over which
# rows you *add up* before you divide: those of a patient, one, or all.
# </details>
#
# <details><summary>Hint 2</summary>
#
# `groupby("patient")[columns].sum()` has one row a patient. In pandas 0/0 is NaN, and `.mean()` of
# a column leaves NaN out: just what is wanted here, twice. (`np.mean` of an array does not.)
# </details>


# %% tags=["solution"]
def three_dice(slices):
    """Return the Dice of the same predictions under three conventions.

    Parameters
    ----------
    slices : pandas.DataFrame
        One row a slice: ``patient, tumour_px, predicted_px, overlap_px``.

    Returns
    -------
    dict
        ``patients, slices, pooled``.
    """

    def ratio(rows):
        return 2 * rows["overlap_px"] / (rows["tumour_px"] + rows["predicted_px"])

    counts = ["tumour_px", "predicted_px", "overlap_px"]
    of_patients = slices.groupby("patient")[counts].sum()
    return {
        "patients": ratio(of_patients).mean(),
        "slices": ratio(slices).mean(),
        "pooled": ratio(slices[counts].sum()),
    }


# %% tags=["nbval-check-output"]
check.three_dice(three_dice)

# %% [markdown]
# ### Exercise 4.3 · How far is the border off?
#
# Write `hd95_of(truth, prediction)` for two masks (bool) of one slice, by the definition above:
# distances from each outline pixel to the nearest outline pixel of the other mask, *both ways*, all
# of them together, and of these the 95th percentile, in pixels. `segmentation.outline(mask)` gives
# you the outline as a mask; `segmentation.hd95` itself would be too easy.
#
# Charge a slice in which only one mask has pixels: return the length of the picture's diagonal, in
# pixels, whatever size the picture has. If neither has any, there is nothing to judge: return
# `nan`, which a mean over the slices (`np.nanmean`) leaves out. Then no mask gets better by being
# emptied where there is tumour. Would that hold if you returned `nan` for a missed slice as well?
#
# <details><summary>Hint 1</summary>
#
# `np.argwhere(mask)` lists the places of a mask's pixels. Of a table of all distances between two
# lists, what are the smallest of each row, and of each column?
# </details>
#
# <details><summary>Hint 2</summary>
#
# `cdist` makes that table; of an empty mask it cannot, so ask for `.any()` first. (For large masks
# it becomes big; `scipy.ndimage.distance_transform_edt`
# does the same with less memory.) Put the distances of both ways into one array before you take the
# percentile: the larger of two percentiles is another measure, in use under the same name.
# </details>

# %% tags=["solution"]
from scipy.spatial.distance import cdist


def hd95_of(truth, prediction):
    """Return the 95th percentile of the distances between two outlines.

    Parameters
    ----------
    truth, prediction : ndarray of bool, shape (height, width)

    Returns
    -------
    float
        In pixels. The diagonal if only one mask has pixels, nan if neither has.
    """
    if not truth.any() and not prediction.any():
        return float("nan")  # rightly left empty: there is no border to judge
    if not truth.any() or not prediction.any():
        return float(np.hypot(*truth.shape))  # missed or invented: worse than anything drawn
    outlines = [np.argwhere(segmentation.outline(mask)) for mask in (truth, prediction)]
    distances = cdist(*outlines)
    nearest = [distances.min(axis=0), distances.min(axis=1)]
    return float(np.percentile(np.concatenate(nearest), 95))


# %% tags=["nbval-check-output"]
check.hd95(hd95_of)

# %% [markdown]
# ## How sure are we? The bootstrap over patients
#
# With other held-out patients the mean would be another. How different? The
# **[bootstrap](../docs/glossary.md#bootstrap)** answers by pretending that our patients are the
# population: draw as many patients *with replacement*, compute the mean again, do that a thousand
# times or more. The middle 95 % of the results is the [confidence
# interval](../docs/glossary.md#confidence-interval) ([Efron and Tibshirani
# 1993](https://doi.org/10.1201/9780429246593); here `scipy.stats.bootstrap`).
#
# What is drawn decides what the interval means. Slices of one patient rise and fall together: same
# tumour, same scanner. If you draw **slices**, the computer believes it has hundreds of independent
# cases. *Predict: for which of the three numbers below does that matter most?*

# %%
is_tumour = slices["tumour_px"] > 0
slices["dice"] = segmentation.dice_from_counts(
    slices["tumour_px"], slices["predicted_px"], slices["overlap_px"]
)
measures = {
    "Dice, tumour slices": (slices[is_tumour], mean_dice),
    "specificity": (slices[~is_tumour], lambda rows: 1 - rows["flagged"].mean()),
    "AUC": (slices, lambda rows: detection.auc(rows["tumour_px"] > 0, rows["p_tumour"])),
}


def both_intervals(rows, measure):
    alone = rows.assign(patient=np.arange(len(rows)))  # as if each slice were a patient
    return {
        kind: bootstrap_patients(drawn, measure, seed=seed, resamples=1000)
        for kind, drawn in {"over patients": rows, "over slices": alone}.items()
    }


intervals = {name: both_intervals(*measure) for name, measure in measures.items()}

# %%
figure = plots_evaluation.compare_intervals(
    intervals, SOURCE, "The same numbers, two intervals", "value"
)
alt = "Two intervals for each number. " + " ".join(
    f"{name}: {both['over patients']} over patients, {both['over slices']} over slices."
    for name, both in intervals.items()
)
show(figure, alt, run.figures, "04_intervals")

# %%
widths = {
    name: {kind: interval.high - interval.low for kind, interval in both.items()}
    for name, both in intervals.items()
}
print(f"width of the interval; {SOURCE}")
table = pd.DataFrame(widths).T
table.assign(ratio=table["over patients"] / table["over slices"]).round(3)

# %% [markdown]
# Where the `ratio` is well above 1, the interval over slices claims too much; around 1 the two
# agree, and with so few patients it falls below 1 by chance as easily as above. How much too narrow
# an interval over slices is depends on how alike the slices of a patient are.
# With $m$ slices a patient whose values correlate by $\rho$, it is too narrow by the factor
# $\sqrt{1 + (m - 1)\rho}$, the root of the *design effect* (Kish, *Survey Sampling*, Wiley 1965).
# With ten slices and $\rho = 0.3$ that is 1.9: it claims what a study with nearly four times as
# many patients would. Where patients hardly differ, $\rho$ is near 0, and the two agree up to
# chance; in an AUC much of it cancels, because each patient brings slices of both kinds. You cannot
# know beforehand which case you are in. The interval over patients is right in all of them.
#
# It needs no model to see a case where it matters. The mean area of the tumour, where there is one,
# is a property of the masks; and a patient with a large tumour has it in many slices:

# %% tags=["nbval-check-output"]
areas = both_intervals(slices[is_tumour], lambda rows: rows["tumour_px"].mean())
print(f"mean tumour area in slices with tumour; {SOURCE}")
for kind, area in areas.items():
    print(f"{kind:13}: {area.estimate:.0f} px, {area.low:.0f} to {area.high:.0f}")
over_patients, over_slices = (area.high - area.low for area in areas.values())
print(f"{over_patients / over_slices:.2f} times as wide over patients")

# %% [markdown]
# Mind also what the interval over patients does *not* hold. It knows only chance in the choice of
# patients; another training with another seed, another hospital, another expert's masks are not in
# it. With fewer than 20 patients or so even this one is a little too narrow, and with a handful, as
# in a short trial run, it means next to nothing: the ratio may then even fall below 1. And an
# interval without width, "1.00 to 1.00", says that nothing varied among these patients, not that
# nothing ever will.

# %% [markdown]
# ### Exercise 4.4 · Draw patients yourself
#
# Write `bootstrap_means(slices, draws, rng)`: an array of `draws` means. For each, draw as many
# patients as there are, with replacement, each with the same chance however many slices it has; all
# slices of a drawn patient come along. The mean is that of the Dice by patient (pooled, as above),
# and a patient drawn twice counts twice. Take every random number from `rng`, a
# `numpy.random.Generator`: the same generator has to give the same means.
#
# <details><summary>Hint 1</summary>
#
# What does a patient contribute to the mean? Always the same number. So what has to be drawn, and
# what can be computed once, before?
# </details>
#
# <details><summary>Hint 2</summary>
#
# `rng.choice(values, size=…)` draws with replacement unless told otherwise, and `size` may be a
# pair. If you put drawn tables together and group by name instead: two copies of one patient fall
# into one group.
# </details>


# %% tags=["solution"]
def bootstrap_means(slices, draws, rng):
    """Return the mean Dice by patient of patients drawn with replacement.

    Parameters
    ----------
    slices : pandas.DataFrame
        One row a slice: ``patient, tumour_px, predicted_px, overlap_px``.
    draws : int
    rng : numpy.random.Generator

    Returns
    -------
    ndarray, shape (draws,)
    """
    of_patients = slices.groupby("patient")[["tumour_px", "predicted_px", "overlap_px"]].sum()
    areas = of_patients["tumour_px"] + of_patients["predicted_px"]
    dice = (2 * of_patients["overlap_px"] / areas).to_numpy()
    return rng.choice(dice, size=(draws, len(dice))).mean(axis=1)


# %% tags=["nbval-check-output"]
check.bootstrap_means(bootstrap_means)

# %% [markdown]
# ## Cascade or segmenter alone? In pairs
#
# Some patients are hard for both ways. To compare them we look at the **difference within each
# patient** ([paired comparison](../docs/glossary.md#paired-comparison)), so that what makes a
# patient hard cancels out. The interval of the mean difference draws patients too, the same ones
# for both ways.
#
# *Predict before you run: will it be wider or narrower than the interval of each mean?*

# %%
cascade = by_patient.assign(dice=by_patient["dice_cascade"], hd95_px=by_patient["hd95_px_cascade"])
gain = paired_bootstrap(by_patient, cascade, mean_dice, seed=seed)

figure = plots_evaluation.paired_dice(
    by_patient, cascade, ("segmenter alone", "cascade"), gain, SOURCE
)
change = cascade["dice"] - by_patient["dice"]
alt = (
    "Dice of each patient with the segmenter alone and with the cascade, joined by lines, and the "
    f"differences sorted. Better with the cascade: {(change > 0.005).sum()}, worse: "
    f"{(change < -0.005).sum()} of {len(change)}. Mean difference {gain.estimate:+.3f}, 95 % "
    f"interval {gain.low:+.3f} to {gain.high:+.3f}."
)
show(figure, alt, run.figures, "04_cascade")

# %%
of_cascade = bootstrap_patients(cascade, mean_dice, seed=seed)
print(f"segmenter alone: {mean}\ncascade:         {of_cascade}")
print(f"difference, in pairs: {format_interval(gain, sign=True)}")
if len(change) < 10:
    verdict = "too few patients to decide"
elif gain.low > 0:
    verdict = "the cascade is better than the segmenter alone"
elif gain.high < 0:
    verdict = "the segmenter alone is better than the cascade"
else:
    verdict = "these patients do not decide between the two"
print(f"{verdict} ({SOURCE})")

# %% [markdown]
# Compare the width of the interval of the *difference* with those of the two means above: the two
# means' intervals may overlap widely although the paired difference is clear. "The intervals
# overlap, so there is no difference" is a mistake, and a common one.
#
# "Do not decide" is a result too. It is not the same as "equal": look at how large a difference the
# interval still allows.

# %% [markdown]
# ### Exercise 4.5 · In pairs
#
# Write `differences_of(first, second)` for two tables with the columns `patient` and `dice`, one
# row a patient: what each patient *gains* from the first method to the second, as a Series with the
# patients as index (or as a dictionary). The rows of the two tables may stand in another order. If
# the patients differ, raise a `ValueError`.
#
# <details><summary>Hint 1</summary>
#
# A table sorted by Dice and another sorted by name can be subtracted without any complaint, and the
# result is about no patient at all. What should the rows be matched by?
# </details>
#
# <details><summary>Hint 2</summary>
#
# pandas matches two Series by their index when it subtracts them, so make the patient the index.
# For someone who is in only one of them it quietly returns NaN: compare the two sets of names
# before.
# </details>


# %% tags=["solution"]
def differences_of(first, second):
    """Return the Dice gained by each patient, second minus first.

    Parameters
    ----------
    first, second : pandas.DataFrame
        ``patient, dice``, one row a patient.

    Raises
    ------
    ValueError
        If the two tables hold different patients.
    """
    first, second = (table.set_index("patient")["dice"] for table in (first, second))
    unmatched = set(first.index) ^ set(second.index)
    if unmatched:
        raise ValueError(f"patients in one table only: {sorted(unmatched)}")
    return second - first


# %% tags=["nbval-check-output"]
check.paired_differences(differences_of)

# %% [markdown]
# ## Small tumours
#
# A slice counts as found if the detector flags it, or if the predicted mask touches the tumour. We
# split the tumour slices into thirds by the tumour's area.
#
# *Predict before you run: which of the three finds most in the smallest third, and which least?*

# %%
found = {
    "detector": slices["flagged"],
    "segmenter": slices["overlap_px"] > 0,
    "cascade": slices["cascade_overlap_px"] > 0,
}
by_size = {
    name: detection.sensitivity_by_size(slices, hits, seed=seed, resamples=500)
    for name, hits in found.items()
}
figure = plots_evaluation.sensitivity_by_size(by_size, SOURCE)
alt = (
    "Share of tumour slices found, from the smallest third of the areas to the largest. "
    + " ".join(
        f"{name}: {', '.join(f'{share:.2f}' for share in table['sensitivity'])}."
        for name, table in by_size.items()
    )
)
show(figure, alt, run.figures, "04_sensitivity_by_size")

# %% [markdown]
# Two things to take from it. A sensitivity without a size says little: it depends on how many small
# tumours happen to be in the test. And the cascade finds at most what *both* models find; its
# misses are those of the detector and those of the segmenter together.
#
# ## False alarms
#
# What is drawn on slices without tumour? The mean Dice hardly shows it, but a reader who has to
# check every flagged slice would notice.

# %%
alarms = {
    "detector": slices["flagged"],
    "segmenter": slices["predicted_px"] > 0,
    "cascade": slices["cascade_px"] > 0,
}
false_positives = {name: detection.false_positives(slices, hits) for name, hits in alarms.items()}
figure = plots_evaluation.false_positives(false_positives, SOURCE)
shares = {name: hits[~is_tumour].mean() for name, hits in alarms.items()}
alt = (
    "Share of each patient's tumour-free slices on which something was found. Over all: "
    + ", ".join(f"{name} {100 * share:.0f} %" for name, share in shares.items())
)
show(figure, alt + ".", run.figures, "04_false_positives")

# %% [markdown]
# ### Exercise 4.6 · The rate of false alarms
#
# Write `false_alarm_rate(slices)` for a table with `tumour_px` and `predicted_px`, one row a slice:
# the share of the tumour-free slices on which anything, were it one pixel, was predicted. And if
# there is no tumour-free slice among them? Is 0, "no false alarms", true then?
#
# <details><summary>Hint 1</summary>
#
# First choose the rows that *can* hold a false alarm. Every other row has no say, neither above the
# line nor below it.
# </details>
#
# <details><summary>Hint 2</summary>
#
# The mean of a column of True and False is a share. The mean of an empty column is NaN, which here
# says what is the case: nothing was there to measure.
# </details>


# %% tags=["solution"]
def false_alarm_rate(slices):
    """Return the share of tumour-free slices with something predicted; NaN without such slices.

    Parameters
    ----------
    slices : pandas.DataFrame
        One row a slice: ``tumour_px, predicted_px``.
    """
    free = slices[slices["tumour_px"] == 0]
    return (free["predicted_px"] > 0).mean()


# %% tags=["nbval-check-output"]
check.false_positive_rate(false_alarm_rate)

# %% [markdown]
# Here the cascade can win: both models have to be wrong about the same slice. Whether that is worth
# the tumour slices it loses depends on what a miss costs and what a false alarm costs, and no
# number in this notebook can tell you that.
#
# ## One set of predictions, a dozen Dice scores
#
# Now the part to remember when you read a paper. The masks stay exactly as they are; only the way
# of averaging changes, and each of these ways may stand behind the plain name "Dice". *Predict: how
# far apart are the highest and the lowest?*

# %%
conventions = segmentation.dice_conventions(slices)
figure = plots_evaluation.dice_conventions(conventions, SOURCE)
lowest = conventions.loc[conventions["dice"].idxmin()]
highest = conventions.loc[conventions["dice"].idxmax()]
alt = (
    f"The same predictions under {len(conventions)} conventions, from {lowest['dice']:.2f} "
    f"({lowest['convention']}) to {highest['dice']:.2f} ({highest['convention']}). The course's "
    f"own, mean over patients, gives {conventions['dice'].iloc[0]:.2f}."
)
show(figure, alt, run.figures, "04_conventions")

# %% tags=["nbval-check-output"]
spread = conventions["dice"].max() - conventions["dice"].min()
print("conventions:", len(conventions))
print("further apart than 0.1:", bool(spread > 0.1))

# %% [markdown]
# The trick is the **empty slice**. Where nothing is traced and nothing predicted, Dice is 0/0. Call
# it 1 and every tumour-free slice is a full success, and most slices are tumour-free; call it 0 and
# every correct silence is a failure; skip it and false alarms on other slices weigh more. Compare
# "slices, empty = 1" with "tumour slices only" in the figure: same model, same masks.
#
# So: never compare two Dice scores before you know both conventions. And in your own work write the
# convention next to the number.

# %% [markdown]
# ### Exercise 4.7 · By hand: what an empty slice is worth
#
# Ten slices. Four show tumour, and the model has a Dice of 0.8 on each of them. Six are free of
# tumour; on five of these it draws nothing, on the sixth it draws a few pixels. What is the mean
# Dice over slices if 0/0 counts as 1, if it counts as 0, and if such slices are left out? Put your
# three numbers, to two decimals, in a dictionary with the keys `"empty = 1"`, `"empty = 0"` and
# `"left out"`.
#
# <details><summary>Hint 1</summary>
#
# For how many of the ten slices is Dice 0/0? The one with the false alarm is not among them: put
# its counts into the formula.
# </details>
#
# <details><summary>Hint 2</summary>
#
# Each mean is a sum divided by a number of slices. Between the first two only the sum changes; in
# the third the number does as well.
# </details>

# %% tags=["solution"]
means_by_convention = {
    "empty = 1": (4 * 0.8 + 5 * 1 + 0) / 10,
    "empty = 0": (4 * 0.8 + 5 * 0 + 0) / 10,
    "left out": (4 * 0.8 + 0) / 5,
}

# %% tags=["nbval-check-output"]
check.empty_slices(means_by_convention)

# %% [markdown]
# ## By institution
#
# With few patients at an institution its mean says little, and no interval can be trusted. We show
# the counts, and an interval only from five patients on.

# %%
by_institution = {}
for institution, rows in by_patient.groupby("institution"):
    entry = {
        "patients": len(rows),
        "dice_patient_mean": float(rows["dice"].mean()),
        "dice_patient_mean_cascade": float(rows["dice_cascade"].mean()),
    }
    if len(rows) >= 5:
        interval = bootstrap_patients(rows, mean_dice, seed=seed)
        entry |= interval.record("dice_patient_mean", "dice_patient_ci95")
    by_institution[institution] = entry
print(SOURCE)
pd.DataFrame.from_dict(by_institution, orient="index").map(lambda value: np.round(value, 2))

# %% [markdown]
# ## Where it fails
#
# A gallery of successes teaches nothing. We take the three patients with the lowest Dice, and of
# each the slice in which most tumour was missed and the one in which most was invented. In the
# table, `missed` is the share of the tumour's pixels that were not found, `invented` the share of
# the predicted pixels that are no tumour, and `without` names sequences that the patient lacks.

# %%
errors = kinds_of_error(by_patient, statistics.missing_sequences(run.part("test")))
print(SOURCE)
errors.head(5).round(2)

# %%
rows = example_slices(slices, errors["patient"].head(3).tolist())
rows = rows[::2] + rows[1::2]  # above: most missed; below: most invented
pictures = np.stack([read_slice(path) for path in result.volumes.table.loc[rows, "image_path"]])
names = [
    f"{row.patient}, slice {row.slice}\nmissed {row.tumour_px - row.overlap_px} px, "
    f"invented {row.predicted_px - row.overlap_px} px"
    for row in slices.loc[rows].itertuples()
]
figure = plots_segmentation.overlays(
    pictures, result.truths[rows], result.alone[rows], names, SOURCE,
    "The patients with the lowest Dice", columns=len(rows) // 2,
)  # fmt: skip
alt = (
    "FLAIR slices of the patients with the lowest Dice, with the true and the predicted border: "
    "for each the slice with most tumour missed and the one with most invented. "
    + "; ".join(name.replace("\n", ": ") for name in names)
    + "."
)
show(figure, alt, run.figures, "04_worst")

# %% [markdown]
# What to look for, in this run or any other:
#
# - **Missed or invented?** The columns `missed` and `invented` tell the two apart. A segmenter that
#   misses needs to see more such tumours, or a lower threshold; one that invents needs to see more
#   healthy slices, or a higher one.
# - **Is the tumour small?** Compare `tumour_px` with the other patients. A border that is off by
#   one pixel ruins the Dice of a small tumour.
# - **Is it the border or the place?** A predicted line that follows the tumour a little further in
#   or out is a question of definition, about which experts differ too. A line around something else
#   is an error of another kind. A high HD95 without missed or invented slices points to the second.
# - **Is a sequence missing?** See the column `without`. Then a copy of FLAIR stood in.
# - **Is it something bright that is no tumour?** Skin, eyes, the rim of the ventricles, noise in
#   the lowest slices.
# - **Is the traced border plausible?** Masks are made by people. But do not conclude "the mask is
#   wrong" only where the model fails; you would have to check where it succeeds as well.
#
# Three patients show no pattern. They give you a suspicion, which needs other patients to be
# tested.
#
# ## A model card
#
# Whoever meets these models later, in a year or in another group, has the files and not your
# memory. A **[model card](../docs/glossary.md#model-card)** ([Mitchell et al.
# 2019](https://arxiv.org/abs/1810.03993)) says in one page what they are for, what they were
# trained on, how good they are, for whom, and where they fail. We record the numbers of this
# notebook in the run's `metrics.json`; the card is then *generated* from the files of the run, so
# that it cannot say anything else.

# %%
from IPython.display import Markdown

run.record(
    {
        "segmentation": segmentation_record(by_patient, slices, seed),
        "cascade": segmentation_record(cascade, result.cascade_slices, seed)
        | gain.record("difference"),
        "by_institution": by_institution,
        "by_size": {
            f"{row.from_px} to {row.to_px}": {"slices": row.slices}
            | {name: float(table["sensitivity"][row.Index]) for name, table in by_size.items()}
            for row in by_size["detector"].itertuples()
        },
        "dice_conventions": conventions.set_index("convention")["dice"].astype(float).to_dict(),
    }
)
card = model_card.write_model_card(run.folder)
Markdown(card.read_text(encoding="utf-8"))

# %% tags=["nbval-check-output"]
print("detection AUC at least 0.9:", bool(auc.estimate >= 0.9))
print("mean Dice by patient at least 0.68:", bool(mean.estimate >= 0.68))
print("sections of the model card:", card.read_text(encoding="utf-8").count("\n## "))

# %% [markdown]
# ## Test yourself
#
# Answer before you unfold.
#
# **1.** Twelve held-out patients, 24 slices each. Over how many independent cases does the interval
# of a mean have to be formed?
#
# - (a) 288, the slices
# - (b) 12, the patients
# - (c) about 96, the slices with tumour
# - (d) 1000, the draws of the bootstrap
#
# <details><summary>Answer</summary>
#
# **(b)**: what varies freely is who comes to the scanner. (a) and (c) treat slices of one patient
# as if they knew nothing of each other; the interval gets too narrow wherever they resemble each
# other. (d) more draws make the
# interval *steadier*, not narrower: they add no patient.
# </details>
#
# **2.** Method A has a mean Dice of 0.80 (0.74 to 0.86), method B of 0.83 (0.77 to 0.89), on the
# same patients. Which statement is right?
#
# - (a) The intervals overlap, so there is no difference.
# - (b) B is better, since 0.83 is more than 0.80.
# - (c) It takes the interval of the differences within the patients to tell.
# - (d) It takes a larger number of draws to tell.
#
# <details><summary>Answer</summary>
#
# **(c)**: if B gains 0.03 with nearly every patient, that is clear evidence, although both means
# vary widely from one group of patients to another. (a) is the common mistake; (b) forgets that the
# means vary; (d) draws do not bring new patients.
# </details>
#
# **3.** A segmenter leaves every slice empty. What is its mean Dice *over all slices*, with 0/0 =
# 1, if a third of the slices show tumour?
#
# - (a) 0
# - (b) 0.33
# - (c) 0.67
# - (d) not defined
#
# <details><summary>Answer</summary>
#
# **(c)**: two thirds of the slices are "perfect", the others 0. (a) is its Dice by patient, and by
# tumour slice; (b) mixes up the two kinds of slices; (d) would be true if 0/0 were left as it is. A
# score of 0.67 for a model that does nothing: that is why the convention has to be told.
# </details>
#
# **4.** In one slice with tumour, Dice is 0.93 and HD95 25 pixels; the picture's diagonal is 362
# pixels long. What does the prediction most likely look like?
#
# - (a) Its border is off by 25 pixels everywhere.
# - (b) The tumour is outlined well, and a second, smaller area far away is marked as well.
# - (c) The tumour is missed.
# - (d) Both masks are empty.
#
# <details><summary>Answer</summary>
#
# **(b)**: a far-off island costs little overlap, but if it has more than 5 % of the outline pixels,
# it decides the 95th percentile. (a) is not possible with that Dice; in (c) Dice would be 0 and
# HD95 the diagonal, 362; in (d) neither number exists. Of a *patient* with 15 tumour slices, the
# same two numbers may mean something else: one small slice missed, which adds 362 / 15, about 24.
# </details>
#
# **5.** The detector misses 8 % of the tumour slices and the segmenter 5 %. How many does the
# cascade miss?
#
# - (a) 5 %, since it uses the better of the two
# - (b) 3 %, since the two correct each other
# - (c) between 8 % and 13 %
# - (d) 6.5 %, the mean of both
#
# <details><summary>Answer</summary>
#
# **(c)**: a slice is found only if both find it. If the segmenter's misses are among the
# detector's, 8 % are missed; if they are all different slices, 13 %. (a) and (b) describe a model
# that draws if *either* finds something; it would raise the false alarms instead. (d) nothing is
# averaged here.
# </details>

# %% [markdown]
# ## What you have seen
#
# **Key points**
#
# - The patient is the unit: one Dice a patient, intervals that draw patients, splits by patient.
# - Intervals over slices are too narrow where slices of one patient resemble each other.
# - Two methods are compared on the same patients, by the interval of the difference.
# - A cascade trades missed tumour slices for fewer false alarms; which is better depends on their
#   cost.
# - "Dice" without its convention is not a number that can be compared.
# - Failures are looked at one by one, and what is known goes into a model card.
#
# Back to [1 · Explore](01_explore.ipynb), or run the whole course again with another seed: what you
# would still claim with three seeds is what you have found out.

# %% [markdown]
# ## To think about
#
# 1. The held-out patients come from the same institutions as the training patients. How would you
#    split to estimate the performance at an institution that the models have never seen?
# 2. You try ten variants of the segmenter and report the best one's result on these held-out
#    patients. What is wrong with its interval?
# 3. Suppose a missed tumour slice costs ten times as much as a false alarm. Where would you move
#    the detector's threshold, and on which patients would you choose it?

# %% [markdown]
# ## Further reading
#
# - L. Maier-Hein et al., *Metrics reloaded: recommendations for image analysis validation*, Nature
#   Methods 21 (2024): which measure answers which question.
#   [doi:10.1038/s41592-023-02151-z](https://doi.org/10.1038/s41592-023-02151-z)
# - A. Reinke et al., *Understanding metric-related pitfalls in image analysis validation*, Nature
#   Methods 21 (2024): Dice, HD95 and their traps in pictures.
#   [doi:10.1038/s41592-023-02150-0](https://doi.org/10.1038/s41592-023-02150-0)
# - G. Varoquaux, V. Cheplygina, *Machine learning for medical imaging: methodological failures and
#   recommendations for the future*, npj Digital Medicine 5 (2022).
#   [doi:10.1038/s41746-022-00592-y](https://doi.org/10.1038/s41746-022-00592-y)
# - B. Efron, R. J. Tibshirani, *An introduction to the bootstrap*, Chapman & Hall 1993: readable
#   from the first page. [doi:10.1201/9780429246593](https://doi.org/10.1201/9780429246593)
# - M. Mitchell et al., *Model cards for model reporting*, FAT* 2019.
#   [doi:10.1145/3287560.3287596](https://doi.org/10.1145/3287560.3287596)
