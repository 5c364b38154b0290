# %% [markdown]
# # 4 · Evaluate: how good, for whom, and how sure?
#
# Two models are trained: a detector that says which slices show tumour, and a segmenter that draws
# its outline. In this notebook you evaluate them as a critical reader would. We use the
# [held-out patients](../docs/glossary.md#held-out-patients): no model was trained on them, and no
# threshold was chosen on them.
#
# **What you will learn**
#
# - to judge a model by patient, with an interval that says how much the number depends on which
#   patients came;
# - when an interval over slices is too narrow, and by how much;
# - to compare two methods on the same patients, in pairs, and to read the figure of such a
#   comparison;
# - that "Dice" has about a dozen meanings, and how far apart they lie;
# - to study failures, and to write down in a model card what a model is for.
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
# 3. For which patients do the models fail, and is there a pattern?
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
from IPython.display import Markdown, display

from utils import check
from utils.cohort import statistics
from utils.cohort.tiff import read_slice
from utils.course import model_card, workers
from utils.course.run import open_run
from utils.evaluation import bootstrap, detection, readings, segmentation
from utils.evaluation.bootstrap import Interval, bootstrap_patients, paired_bootstrap
from utils.evaluation.text import format_interval
from utils.exercises.inputs import two_methods
from utils.plots import evaluation as plots_evaluation, segmentation as plots_segmentation
from utils.plots.style import show

run = open_run(cohort, data, run_folder, seed, patients, size, detector_epochs, segmenter_epochs)
SOURCE = run.describe("test")

# %% [markdown]
# ## Two ways to use two models
#
# - **Segmenter alone**: it draws on every slice.
# - **[Cascade](../docs/glossary.md#cascade)**: the detector goes first. On slices that it does not
#   flag, the mask is emptied; on the others the segmenter's mask stays as it is.
#
# Both models use the same split. If each had a split of its own, a patient held out from one could
# have trained the other, and the cascade would have no patient left on whom it could be tested.
#
# *Predict before you run: the cascade can only take pixels away. What can that improve, and what
# can it make worse?*

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
# The table has one row for each slice. `p_tumour` is the detector's probability after temperature
# scaling, and `flagged` says whether it reaches the threshold. `tumour_px`, `predicted_px` and
# `overlap_px` are all that is needed for every Dice in this notebook: the pixels of the tumour as
# traced, the pixels predicted, and the pixels in both. `cascade_px` and `cascade_overlap_px` are
# the same counts after the detector has emptied the slices that it does not flag. The table is kept
# as `predictions.csv` in the run folder. The masks themselves are there too, in the order of the
# rows: `result.alone` and `result.cascade` are what the two ways draw, `result.truths` is what was
# traced.

# %% tags=["nbval-check-output"]
slices = result.slices
print("held-out patients:", slices["patient"].nunique(), "of", len(run.split))
print("held-out slices:", len(slices), "with tumour:", int((slices["tumour_px"] > 0).sum()))
print("masks:", result.alone.shape, result.alone.dtype)
print("the cascade only takes away:", bool((result.cascade <= result.alone).all()))
print("seen in training:", len(set(slices["patient"]) & set(run.part("train").patients)))

# %% [markdown]
# ### Exercise 4.1 · The cascade
#
# Write `veto(masks, p_tumour, threshold)`, the cascade in a few lines. `masks` has the shape
# `(slices, height, width)`, `p_tumour` holds one probability per slice. Return the masks, with
# those of the slices that are *not* flagged emptied; a slice is flagged if its probability is at
# least the threshold. Leave the given array as it is: the segmenter's own answer is still needed.
#
# <details><summary>Hint 1</summary>
#
# Comparing `p_tumour` with a number gives one True or False per slice. Such an array, used as an
# index on the first axis, picks whole slices.
# </details>
#
# <details><summary>Hint 2</summary>
#
# `masks * flagged` looks right, but NumPy matches the *last* axes: with as many columns as slices
# it would empty columns, without an error. Copy first, then write 0 into the slices chosen.
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
# On the held-out patients, at the threshold that was chosen on *validation* patients, we look at
# the [AUC](../docs/glossary.md#auc), the [sensitivity](../docs/glossary.md#sensitivity) (the share
# of tumour slices that are flagged) and the [specificity](../docs/glossary.md#specificity) (the
# share of tumour-free slices that are not). Each has an interval, which is explained further below.

# %%
auc = detection.auc_interval(slices, seed=seed, resamples=1000)
point = detection.operating_point(slices, result.threshold, seed=seed, resamples=1000)
print("AUC:        ", auc)
print("sensitivity:", point.sensitivity)
print("specificity:", point.specificity)
print(f"{SOURCE}; threshold {point.threshold:.3f}, from {run.describe('validation')}")

# %% tags=["hide-input"]
record = auc.record("auc") | {"threshold": point.threshold}
record |= point.sensitivity.record("sensitivity") | point.specificity.record("specificity")
run.record({"detection": record})
tumour = slices["tumour_px"] > 0
lost = int((tumour & ~slices["flagged"]).sum())
wrong = int((~tumour & slices["flagged"]).sum())
words = (
    f"In counts: of the {int(tumour.sum())} slices with tumour the detector misses {lost}, and of "
    f"the {int((~tumour).sum())} without it flags {wrong}. Keep the first number in mind: on these "
    f"{lost} slices the cascade will be empty, however well the segmenter has drawn."
)
display(Markdown(words))

# %% [markdown]
# ## How good is the segmenter? One number per patient
#
# Patients are treated, not slices. So we pool the pixels of all slices of a patient and compute
# **one Dice per patient**, as the authors of the LGG cohort do
# ([Buda et al. 2019](https://arxiv.org/abs/1906.03720)):
#
# $$\text{Dice} = \frac{2\,\sum_\text{slices} |\text{traced} \cap \text{predicted}|}
# {\sum_\text{slices} |\text{traced}| + \sum_\text{slices} |\text{predicted}|}$$
#
# Pixels drawn on a tumour-free slice enter the denominator, so false positives lower it.
#
# Dice says little about *where* the border is wrong, so we add
# [**HD95**](../docs/glossary.md#hd95). In a slice, every pixel of each outline has a distance to
# the nearest pixel of the other outline; HD95 is the 95th percentile of all these distances. We
# give it in pixels, because the files of this cohort do not tell the spacing of the slices; where
# it is known, distances are measured in the volume, in mm.
#
# What if one of the masks is empty? Then there is no distance. But if such slices were left out, a
# model would gain by drawing nothing where it is in doubt. So a slice in which only one mask has
# pixels (a tumour missed whole, or one invented) counts with **the diagonal of the image**, which
# is longer than any distance within it. A slice in which neither mask has pixels is left out, and
# the HD95 of a patient is the mean over the others. The BraTS challenges use the same idea per
# lesion: each one missed or invented [counts as 374
# mm](https://www.synapse.org/Synapse:syn51156910/discussion/threadId=10357).
#
# In the next table, `missed_slices` and `invented_slices` count the slices that got the diagonal,
# and `_cascade` marks the same measures for the cascade.
#
# *Predict before you run: can a patient have a high Dice and a high HD95 as well? And what does the
# cascade do to HD95?*

# %%
by_patient = patient_results(run, result)
by_patient.drop(columns=["slices", "predicted_px", "overlap_px"]).round(2)

# %%
charged = by_patient["missed_slices"] + by_patient["invented_slices"]
for any_charged, distances in by_patient["hd95_px"].groupby(charged > 0):
    which = "with a slice missed or invented" if any_charged else "without"
    print(f"{len(distances)} patients {which}: median HD95 {distances.median():.1f} px")
rises = by_patient["hd95_px_cascade"] > by_patient["hd95_px"] + 1e-9
print(f"HD95 is higher with the cascade for {rises.sum()} of {len(rises)} patients ({SOURCE})")

# %% tags=["hide-input"]
good = by_patient[by_patient["dice"] >= by_patient["dice"].median()]
far = good.loc[good["hd95_px"].idxmax()]
words = (
    f"**Answers to the predictions.** Yes: {far['patient']} has a Dice of {far['dice']:.2f}, not "
    f"below the median, and an HD95 of {far['hd95_px']:.0f} px. Of this patient's slices, "
    f"{far['missed_slices']} were missed whole and {far['invented_slices']} invented, and each "
    f"counts with the diagonal, {np.hypot(*result.truths.shape[1:]):.0f} px. The cascade empties "
    "slices, so it adds missed slices and takes invented ones away: HD95 rises for "
    f"{rises.sum()} patients and does not for the other {(~rises).sum()}."
)
display(Markdown(words))

# %% [markdown]
# Dice counts pixels and HD95, as defined here, counts slices as well: if the small end of a tumour
# is missed, Dice hardly changes, but HD95 gets a whole diagonal for each such slice. So read HD95
# together with the two counts. Where both are 0 it describes the border; where they are not, it
# mostly describes missed and invented slices.


# %%
def mean_dice(rows):
    return rows["dice"].mean()


mean = bootstrap_patients(by_patient, mean_dice, seed=seed)
figure = plots_evaluation.dice_by_patient(by_patient, mean, SOURCE)

# %% tags=["hide-input"]
ranked = by_patient.sort_values("dice", ignore_index=True)
median, worst = ranked["dice"].median(), ranked.iloc[0]
alt = (
    f"Dice of each held-out patient, sorted, from {worst['dice']:.2f} ({worst['patient']}) to "
    f"{ranked['dice'].max():.2f}. Mean {mean}, median {median:.2f}."
)
show(figure, alt, run.figures, "04_dice_by_patient")

# %% tags=["hide-input"]
below = ranked[ranked["dice"] < mean.low]
rest = ranked["dice"].iloc[len(below) :].mean()
words = (
    f"**What this figure shows.** The mean is {mean.estimate:.2f}, the median {median:.2f}. "
    f"{len(below)} of {len(ranked)} patients lie below the band ({', '.join(below['patient'])}); "
    f"without them the mean would be {rest:.2f}. The band reaches from {mean.low:.2f} to "
    f"{mean.high:.2f}, the patients themselves from {worst['dice']:.2f} to "
    f"{ranked['dice'].max():.2f}."
)
display(Markdown(words))

# %% [markdown]
# Begin with the lowest dots. A few bad patients pull the mean down, and the median does not show
# them: that is why we report both, and show every patient as well. The band says where the *mean*
# could lie with other patients. It does not say where the next patient will lie; for that, look at
# the dots. With another seed other patients are held out and the models are trained anew, so the
# order changes; that the mean lies below the median is common, because there is more room for bad
# results below the middle than for good ones above it.

# %% [markdown]
# ### Exercise 4.2 · One table, three means
#
# Write `three_dice(slices)` for a slices table with the columns `patient, tumour_px, predicted_px,
# overlap_px`. It returns a dictionary with
#
# - `"patients"`: one Dice per patient, as in the formula above, then the mean over patients. A
#   patient with nothing traced and nothing predicted (0/0) is left out;
# - `"slices"`: one Dice per slice, then the mean over slices. Slices with nothing traced and
#   nothing predicted are left out;
# - `"pooled"`: a single ratio for all pixels of all patients.
#
# Before you write: which of the three will a large, easy tumour raise most?
#
# <details><summary>Hint 1</summary>
#
# The ratio is the same each time, `2 * overlap / (traced + predicted)`. What differs is which rows
# you *add up* before you divide: those of one patient, a single row, or all.
# </details>
#
# <details><summary>Hint 2</summary>
#
# `groupby("patient")[columns].sum()` has one row per patient. In pandas 0/0 is NaN, and `.mean()`
# of a column leaves NaN out, which is what we want here for patients and for slices. (`np.mean` of
# an array does not leave NaN out.)
# </details>


# %% tags=["solution"]
def three_dice(slices):
    """Return the Dice of the same predictions under three conventions.

    Parameters
    ----------
    slices : pandas.DataFrame
        One row per slice: ``patient, tumour_px, predicted_px, overlap_px``.

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
# A large, easy tumour raises the *pooled* Dice most: it brings most of the pixels. Over patients it
# counts like any other patient, over slices once for each of its slices.
#
# ### Exercise 4.3 · How far is the border off?
#
# Write `hd95_of(truth, prediction)` for two masks (bool) of one slice, by the definition above:
# distances from each outline pixel to the nearest outline pixel of the other mask, *both ways*, all
# of them together, and of these the 95th percentile, in pixels. `segmentation.outline(mask)` gives
# you the outline as a mask; please do not use `segmentation.hd95` itself.
#
# If only one mask has pixels, return the length of the image's diagonal in pixels, whatever size
# the image has. If neither has any, there is nothing to judge: return `nan`, which a mean over the
# slices (`np.nanmean`) leaves out. Then no model gets a better score by leaving a tumour undrawn.
# Would that still hold if you returned `nan` for a missed slice as well?
#
# <details><summary>Hint 1</summary>
#
# `np.argwhere(mask)` lists the places of a mask's pixels. In a table of all distances between two
# lists, what are the smallest values of each row and of each column?
# </details>
#
# <details><summary>Hint 2</summary>
#
# `cdist` makes that table. It cannot do so for an empty mask, so ask for `.any()` first. (For large
# masks the table becomes big; `scipy.ndimage.distance_transform_edt` does the same with less
# memory.) Put the distances of both ways into one array before you take the percentile: the larger
# of two percentiles is another measure, in use under the same name.
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
# With other held-out patients the mean would be another. How different could it be? The
# **[bootstrap](../docs/glossary.md#bootstrap)** answers by taking our patients for the population:
# draw as many patients *with replacement*, compute the mean again, and repeat that a thousand times
# or more. The middle 95 % of the results is the [confidence
# interval](../docs/glossary.md#confidence-interval) ([Efron and Tibshirani
# 1993](https://doi.org/10.1201/9780429246593); here `scipy.stats.bootstrap`).
#
# What we draw decides what the interval means. Slices of one patient resemble each other: the same
# tumour, the same scanner, the same radiologist. If you draw **slices**, the computer takes
# hundreds of slices for hundreds of independent cases. How much is the interval then too narrow? We
# try it on five quantities. Two describe the cohort: the tumour's area where there is tumour, and
# the share of slices whose patient has no post-contrast sequence. Three describe the models: the
# detector's specificity, the Dice of single slices, and the *error of the area*, predicted minus
# traced pixels, which a doctor who follows the volume of a tumour would ask for.
#
# *Predict before you run: for which of the five does it matter most whether patients or slices are
# drawn, and for which least?*

# %%
is_tumour = slices["tumour_px"] > 0
lacks = statistics.missing_sequences(run.part("test")).set_index("patient")["post_contrast"]
table = slices.assign(
    dice=segmentation.dice_from_counts(
        slices["tumour_px"], slices["predicted_px"], slices["overlap_px"]
    ),
    error_px=slices["predicted_px"] - slices["tumour_px"],
    correct=~slices["flagged"],
    lacks_post_contrast=slices["patient"].map(lacks),
)
quantities = {
    "specificity": (table[~is_tumour], "correct"),
    "Dice, tumour slices": (table[is_tumour], "dice"),
    "tumour area (px)": (table[is_tumour], "tumour_px"),
    "error of the area (px)": (table[is_tumour], "error_px"),
    "no post-contrast": (table, "lacks_post_contrast"),
}


# %%
def both_intervals(rows, column):
    """Return the interval of a mean, drawing patients, and drawing slices."""
    as_patients = rows.assign(patient=np.arange(len(rows)))  # as if each slice were a patient
    return {
        kind: bootstrap_patients(drawn, lambda some: some[column].mean(), seed=seed, resamples=1000)
        for kind, drawn in {"over patients": rows, "over slices": as_patients}.items()
    }


intervals = {name: both_intervals(rows, column) for name, (rows, column) in quantities.items()}
for name, both in intervals.items():
    print(name)
    for kind, one in both.items():
        print(f"    {kind}: {format_interval(one, 2)}")
print(SOURCE)

# %% [markdown]
# The quantities have different units. So that they fit into one figure, each interval is drawn as
# its distance from the estimate, in units of half the width of the interval over slices: the
# interval over slices then reaches from about -1 to 1.

# %% tags=["hide-input"]
scaled = {}
for name, both in intervals.items():
    half = (both["over slices"].high - both["over slices"].low) / 2
    if half == 0:
        continue  # with another seed every patient may have all sequences
    scaled[name] = {
        kind: Interval(0.0, (one.low - one.estimate) / half, (one.high - one.estimate) / half)
        for kind, one in both.items()
    }
figure = plots_evaluation.compare_intervals(
    scaled,
    SOURCE,
    "How far two kinds of interval reach",
    "distance from the estimate (1: half the width of the interval over slices)",
)
ratios = {
    name: (both["over patients"].high - both["over patients"].low)
    / (both["over slices"].high - both["over slices"].low)
    for name, both in scaled.items()
}
alt = "Two intervals for each of five quantities. Over patients, they are wider by the factors: "
alt += ", ".join(f"{name} {ratio:.2f}" for name, ratio in ratios.items()) + "."
show(figure, alt, run.figures, "04_intervals")

# %% [markdown]
# How much too narrow an interval over slices is depends on how similar the slices of a patient are.
# If a patient has $m$ slices whose values correlate by $\rho$, the interval is too narrow by the
# factor $\sqrt{1 + (m - 1)\rho}$, the root of the
# [design effect](../docs/glossary.md#design-effect) (Kish, *Survey Sampling*, Wiley 1965). We can
# estimate $m$ (a mean in which patients with many slices count more) and $\rho$ from the table and
# compare the formula with what the bootstrap found:

# %%
found = {name: bootstrap.clustering(*quantity) for name, quantity in quantities.items()}
columns = {"rows": "slices of a patient (m)", "correlation": "ρ", "factor": "factor by the formula"}
comparison = pd.DataFrame.from_dict(found, orient="index").rename(columns=columns)
comparison.assign(**{"factor by the bootstrap": pd.Series(ratios)}).round(2)

# %% tags=["hide-input"]
wide, narrow = max(ratios, key=ratios.get), min(ratios, key=ratios.get)
error, errors = intervals["error of the area (px)"], found["error of the area (px)"]
words = (
    f"**What this figure shows.** The two intervals differ most for *{wide}*, by a factor of "
    f"{ratios[wide]:.1f}, and least for *{narrow}*, by {ratios[narrow]:.1f}. A missing sequence is "
    "missing in all slices of a patient: one slice tells everything, the others add nothing. For "
    f"the error of the area ρ is {errors.correlation:.2f}: where the segmenter draws too much in "
    "one slice of a patient, it tends to do so in the others. Over slices its interval reaches "
    f"from {error['over slices'].low:+.0f} to {error['over slices'].high:+.0f} px, over patients "
    f"from {error['over patients'].low:+.0f} to {error['over patients'].high:+.0f} px. An interval "
    f"that is {ratios['error of the area (px)']:.1f} times too narrow claims the knowledge of a "
    f"study with {ratios['error of the area (px)'] ** 2:.0f} times as many patients."
)
display(Markdown(words))

# %% tags=["nbval-check-output", "hide-input"]
areas = intervals["tumour area (px)"]
for kind, area in areas.items():
    print(f"mean area {kind}: {area.estimate:.0f} px, {area.low:.0f} to {area.high:.0f}")
over_patients, over_slices = (area.high - area.low for area in areas.values())
print(f"{over_patients / over_slices:.2f} times as wide over patients; {SOURCE}")

# %% [markdown]
# Where patients differ little, as they often do in specificity, $\rho$ is near 0 and the two
# intervals agree up to chance; with another seed the factor may even fall below 1. For the Dice of
# a slice it depends on the training: one patient who is lost in all slices is enough for a large
# $\rho$. You cannot know beforehand which case you are in. The interval over patients allows for
# the likeness in all of them.
#
# Mind also what the interval over patients does *not* contain. It describes only which patients
# happened to come. Another training with another seed, another hospital and another expert's masks
# are not in it. With twenty patients or fewer even this interval is too narrow (notebook 5 measures
# by how much), and with a handful, as in a short trial run, it means next to nothing. And an
# interval without width, "1.00 to 1.00", says that nothing varied among these patients, not that
# nothing ever will.

# %% [markdown]
# ### Exercise 4.4 · Draw patients yourself
#
# Write `bootstrap_means(slices, draws, rng)` for a table with the columns `patient` and `value`,
# one row per slice. It returns an array of `draws` means. For each of them, draw as many patients
# as there are, with replacement, each with the same chance however many slices it has. All slices
# of a drawn patient come along, twice if the patient is drawn twice, and the mean is that of all
# their values. Take every random number from `rng`, a `numpy.random.Generator`: the same generator
# has to give the same means.
#
# <details><summary>Hint 1</summary>
#
# The mean over the slices of drawn patients is the sum of their values divided by the number of
# their slices. What does each patient contribute to the two, and what can be computed once, before
# anything is drawn?
# </details>
#
# <details><summary>Hint 2</summary>
#
# `groupby("patient")["value"].agg(["sum", "count"])` has both for each patient. `rng.integers(0, n,
# size=(draws, n))` draws the places of patients with replacement. If you put drawn tables together
# and group by name instead: two copies of one patient fall into one group.
# </details>


# %% tags=["solution"]
def bootstrap_means(slices, draws, rng):
    """Return the means over all slices of patients drawn with replacement.

    Parameters
    ----------
    slices : pandas.DataFrame
        One row per slice: ``patient, value``.
    draws : int
    rng : numpy.random.Generator

    Returns
    -------
    ndarray, shape (draws,)
    """
    of_patients = slices.groupby("patient")["value"].agg(["sum", "count"])
    drawn = rng.integers(0, len(of_patients), size=(draws, len(of_patients)))
    sums, counts = (of_patients[name].to_numpy()[drawn].sum(axis=1) for name in ("sum", "count"))
    return sums / counts


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
of_cascade = bootstrap_patients(cascade, mean_dice, seed=seed)
print(f"segmenter alone: {mean}\ncascade:         {of_cascade}")
print(f"difference, in pairs: {format_interval(gain, sign=True)} ({SOURCE})")

figure = plots_evaluation.paired_dice(
    by_patient, cascade, ("segmenter alone", "cascade"), gain, SOURCE
)

# %% tags=["hide-input"]
change = cascade["dice"] - by_patient["dice"]
better, worse = int((change > 0.005).sum()), int((change < -0.005).sum())
alt = (
    "Dice of each patient with the segmenter alone and with the cascade, joined by lines, and the "
    f"differences sorted. Better with the cascade: {better}, worse: {worse} of {len(change)}. Mean "
    f"difference {gain.estimate:+.3f}, 95 % interval {gain.low:+.3f} to {gain.high:+.3f}."
)
show(figure, alt, run.figures, "04_cascade")

# %% tags=["hide-input"]
verdict = readings.mean_reading(gain, ("the segmenter alone", "the cascade"), len(change))
place = change.abs().idxmax()
invented = by_patient.loc[place, "invented_slices"]
words = (
    f"**What this figure shows.** With the cascade, Dice rises by more than 0.005 for {better} and "
    f"falls by more for {worse} of {len(change)} patients; the median change is "
    f"{change.median():+.3f}, the mean {gain.estimate:+.3f} ({gain.low:+.3f} to {gain.high:+.3f}). "
    f"By the interval of the mean: {verdict}. {readings.count_reading(change)} The largest change "
    f"is that of {by_patient.loc[place, 'patient']}, {change[place]:+.3f}. In {invented} slices of "
    "this patient the segmenter alone had invented a tumour. Without this patient the mean would "
    f"be {change.drop(place).mean():+.3f}."
)
display(Markdown(words))

# %% tags=["hide-input"]
ratio = (gain.high - gain.low) / (mean.high - mean.low)
words = (
    f"**Answer to the prediction.** The interval of the difference is {ratio:.2f} times as wide as "
    f"that of the segmenter's mean ({gain.high - gain.low:.3f} and {mean.high - mean.low:.3f})."
)
display(Markdown(words))

# %% [markdown]
# The two means' intervals overlap widely, and that says little: a paired difference may be clear
# all the same. "The intervals overlap, so there is no difference" is a common mistake.
#
# "These patients do not decide" is a result too, and it is not the same as "equal": look at how
# large a difference the interval still allows. Nor is "better by the interval" the last word. If
# most patients lose a little with the cascade and one gains a lot, that one alone may bring 0 into
# the interval; with another seed the same patient may be in the training part, and the interval
# excludes 0. So much can a comparison on a few patients depend on one of them: look for such a
# patient in the figure before you believe either.

# %% [markdown]
# ### Exercise 4.5 · In pairs
#
# Write `differences_of(first, second)` for two tables with the columns `patient` and `dice`, one
# row per patient: what each patient *gains* from the first method to the second, as a Series with
# the patients as index (or as a dictionary). The rows of the two tables may stand in another order.
# If the patients differ, raise a `ValueError`.
#
# <details><summary>Hint 1</summary>
#
# If one table is sorted by Dice and the other by name, pandas or NumPy will subtract them without
# an error, and the differences belong to no patient. By what should the rows be matched?
# </details>
#
# <details><summary>Hint 2</summary>
#
# pandas matches two Series by their index when it subtracts them, so make the patient the index.
# For someone who is in only one of them the result is NaN, without a warning: compare the two sets
# of names before.
# </details>


# %% tags=["solution"]
def differences_of(first, second):
    """Return the Dice gained by each patient, second minus first.

    Parameters
    ----------
    first, second : pandas.DataFrame
        ``patient, dice``, one row per patient.

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
# The next figure is for reading. Its numbers are made up: sixteen patients and two methods, of
# which the second is new.

# %%
trial = two_methods()
first = trial[["patient"]].assign(dice=trial["first"])
second = trial[["patient"]].assign(dice=trial["second"])
difference = paired_bootstrap(first, second, mean_dice, seed=0)
figure = plots_evaluation.paired_dice(
    first, second, ("old method", "new method"), difference, "made-up numbers, no patients"
)

# %% tags=["hide-input"]
gains = trial["second"] - trial["first"]
alt = (
    f"Dice of 16 made-up patients under an old and a new method. {(gains > 0).sum()} gain up to "
    f"{gains.max():.2f}, {(gains < 0).sum()} lose, one of them {-gains.min():.2f}. Mean difference "
    f"{format_interval(difference, sign=True)}."
)
show(figure, alt)

# %% [markdown]
# ### Exercise 4.6 · What does the figure say?
#
# Set `supported` to the letters of all readings that the numbers of the figure support, as a text
# such as `"bf"`.
#
# - (a) More than half of the patients gain with the new method.
# - (b) The mean difference is below 0, so the new method is worse for the typical patient.
# - (c) A single patient decides the sign of the mean difference.
# - (d) The interval of the mean difference includes 0, so the two methods are equally good.
# - (e) These patients do not decide whether the mean difference is above or below 0.
# - (f) The patient at the bottom is an outlier and should be left out; then the new method is
#   better.
#
# <details><summary>Hint 1</summary>
#
# The title of the right-hand panel has the counts, the mean and its interval. The *typical* patient
# is in the middle of the sorted dots; where is that?
# </details>
#
# <details><summary>Hint 2</summary>
#
# "Includes 0" says that 0 is one of the values which the data allow. Which other values do they
# allow? And what would you have to know about a patient, other than the result, to leave it out?
# </details>

# %% tags=["solution"]
supported = "ace"

# %% tags=["nbval-check-output"]
check.supported_readings(supported)

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

# %% tags=["hide-input"]
shares = {name: table["sensitivity"].tolist() for name, table in by_size.items()}
alt = "Share of tumour slices found, from the smallest third of the areas to the largest. "
alt += " ".join(
    f"{name}: {', '.join(f'{share:.2f}' for share in values)}." for name, values in shares.items()
)
show(figure, alt, run.figures, "04_sensitivity_by_size")

# %% tags=["hide-input"]
smallest = {name: values[0] for name, values in shares.items()}
order = sorted(smallest, key=smallest.get, reverse=True)
third = by_size["detector"].iloc[0]
words = (
    f"**What this figure shows.** In the smallest third ({third['from_px']:.0f} to "
    f"{third['to_px']:.0f} px) the {order[0]} finds {smallest[order[0]]:.2f} of the slices, the "
    f"{order[1]} {smallest[order[1]]:.2f} and the {order[2]} {smallest[order[2]]:.2f}. In the "
    "largest third the lowest of the three shares is "
    f"{min(values[-1] for values in shares.values()):.2f}."
)
display(Markdown(words))

# %% [markdown]
# Two conclusions. A sensitivity means little without the sizes of the tumours, since it depends on
# how many small ones happen to be in the test. And the cascade can find a slice only if *both*
# models find it, so within each third its point can never lie above another one, whatever the seed.
#
# ## False positives
#
# What is drawn on slices without tumour? The mean Dice shows it only where much is drawn, but a
# radiologist who has to check every flagged slice would notice all of it.

# %%
alarms = {
    "detector": slices["flagged"],
    "segmenter": slices["predicted_px"] > 0,
    "cascade": slices["cascade_px"] > 0,
}
false_positives = {name: detection.false_positives(slices, hits) for name, hits in alarms.items()}
figure = plots_evaluation.false_positives(false_positives, SOURCE)

# %% tags=["hide-input"]
totals = {name: int(hits[~is_tumour].sum()) for name, hits in alarms.items()}
free = int((~is_tumour).sum())
alt = "Share of each patient's tumour-free slices on which something was found. Over all: "
alt += ", ".join(f"{name} {total} of {free} slices" for name, total in totals.items()) + "."
show(figure, alt, run.figures, "04_false_positives")

# %% tags=["hide-input"]
of_patients = pd.DataFrame(
    {name: table.set_index("patient")["flagged"] for name, table in false_positives.items()}
)
none = int((of_patients.sum(axis=1) == 0).sum())
most = of_patients["segmenter"].idxmax()
words = (
    f"**What this figure shows.** Of {free} tumour-free slices the detector flags "
    f"{totals['detector']}, the segmenter draws on {totals['segmenter']}, and the cascade draws on "
    f"{totals['cascade']}. {none} of {len(of_patients)} patients have no false positive of any "
    f"kind; {of_patients.loc[most, 'segmenter']} of the segmenter's {totals['segmenter']} are "
    f"slices of {most}."
)
display(Markdown(words))

# %% [markdown]
# Here the cascade can win: it draws on a tumour-free slice only if both models are wrong about the
# same slice. Whether that is worth the tumour slices that it loses depends on what a miss costs and
# what a false positive costs. That is a question for a doctor, and no number in this notebook
# answers it. With another seed the bars belong to other patients; that they are spread unevenly
# stays.
#
# ## One set of predictions, eleven Dice scores
#
# Remember this part when you read a paper. The masks stay exactly as they are; only the way of
# averaging changes, and each of these ways may stand behind the plain name "Dice". *Predict: how
# far apart are the highest and the lowest?*

# %%
conventions = segmentation.dice_conventions(slices)
figure = plots_evaluation.dice_conventions(conventions, SOURCE)

# %% tags=["hide-input"]
lowest = conventions.loc[conventions["dice"].idxmin()]
highest = conventions.loc[conventions["dice"].idxmax()]
alt = (
    f"The same predictions under {len(conventions)} conventions, from {lowest['dice']:.2f} "
    f"({lowest['convention']}) to {highest['dice']:.2f} ({highest['convention']}). The course's "
    f"own, mean over patients, gives {conventions['dice'].iloc[0]:.2f}."
)
show(figure, alt, run.figures, "04_conventions")

# %% tags=["hide-input"]
named = conventions.set_index("convention")["dice"]
words = (
    f"**What this figure shows.** The highest is {highest['dice']:.2f} ({highest['convention']}), "
    f"the lowest {lowest['dice']:.2f} ({lowest['convention']}); they are "
    f"{highest['dice'] - lowest['dice']:.2f} apart. Compare *slices, empty = 1* "
    f"({named['slices, empty = 1']:.2f}) with *tumour slices only* "
    f"({named['tumour slices only']:.2f}): the same model and the same masks. The course's own, "
    f"one Dice per patient and then the mean, gives {named.iloc[0]:.2f}."
)
display(Markdown(words))

# %% tags=["nbval-check-output", "hide-input"]
spread = conventions["dice"].max() - conventions["dice"].min()
print("conventions:", len(conventions))
print("further apart than 0.1:", bool(spread > 0.1))

# %% [markdown]
# Most of the spread comes from the **empty slice**. Where nothing is traced and nothing predicted,
# Dice is 0/0. If it counts as 1, every tumour-free slice that is left empty is a full success, and
# most slices are tumour-free. If it counts as 0, every such slice is a failure. If it is skipped,
# the false positives on other slices weigh more. How far apart the conventions are changes with the
# share of tumour-free slices, so it is another number for another cohort.
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
# For how many of the ten slices is Dice 0/0? The one with the false positive is not among them: put
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
# With few patients from an institution, their mean says little, and their interval is too narrow.
# We show the counts, and an interval only from five patients on; take it for the least that is
# unknown. ([Notebook 1](01_explore.ipynb) spells out the institutions' letters.)

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

# %% tags=["hide-input"]
of_institution = pd.DataFrame.from_dict(by_institution, orient="index")
low = of_institution["dice_patient_mean"].idxmin()
lowest_there = by_patient.loc[by_patient["institution"] == low, "dice"].min()
lowest_mean, count = of_institution.loc[low, ["dice_patient_mean", "patients"]]
words = (
    f"**What this table shows.** The lowest mean, {lowest_mean:.2f}, is that of {low}. It rests on "
    f"{count:.0f} of {len(by_patient)} patients, of whom one has a Dice of {lowest_there:.2f}: at "
    "most a suspicion about an institution, not a finding."
)
display(Markdown(words))

# %% [markdown]
# ## Where it fails
#
# A gallery of successes teaches nothing. We take the three patients with the lowest Dice, and of
# each the slice in which most tumour was missed and the one in which most was invented. The
# pictures show what lies around the two borders, with a bar of 20 pixels; the small one in the
# corner says where in the head that is. In the table, `missed` is the share of the tumour's pixels
# that were not found, `invented` the share of the predicted pixels that are no tumour, and
# `without` names the sequences that the patient lacks.

# %%
errors = kinds_of_error(by_patient, statistics.missing_sequences(run.part("test")))
print(SOURCE)
errors.head(5).round(2)

# %%
rows = example_slices(slices, errors["patient"].head(3).tolist())
rows = rows[::2] + rows[1::2]  # above: most missed; below: most invented
images = np.stack([read_slice(path) for path in result.volumes.table.loc[rows, "image_path"]])
names = [
    f"{row.patient}, slice {row.slice}\nmissed {row.tumour_px - row.overlap_px} px, "
    f"invented {row.predicted_px - row.overlap_px} px"
    for row in slices.loc[rows].itertuples()
]
masks = result.truths[rows], result.alone[rows]
title = "The patients with the lowest Dice"
columns = len(rows) // 2
figure = plots_segmentation.overlays(images, *masks, names, SOURCE, title, columns, zoomed=True)

# %% tags=["hide-input"]
alt = (
    "FLAIR around the tumour in slices of the patients with the lowest Dice, with the true and the "
    "predicted border, a bar of 20 pixels, and the whole slice small in a corner: for each patient "
    "the slice with most tumour missed and the one with most invented. "
    + "; ".join(name.replace("\n", ": ") for name in names)
    + "."
)
show(figure, alt, run.figures, "04_worst")

# %% tags=["hide-input"]
grey_levels = statistics.head_grey_levels(run.part("test").table, seed=seed)
phase = errors["patient"].isin(statistics.even_images(grey_levels))
phase &= ~errors["without"].str.contains("pre-contrast")
useless = "its pre-contrast image is an even grey (a phase image, see notebook 1)"
sentences = []
for row in errors.head(3).itertuples():
    lacks = [f"without {row.without}"] * bool(row.without) + [useless] * bool(phase[row.Index])
    sentences.append(
        f"- {row.patient} (Dice {row.dice:.2f}): {100 * row.missed:.0f} % of the tumour is missed, "
        f"{100 * row.invented:.0f} % of what is drawn is no tumour; "
        f"{'; '.join(lacks) or 'all sequences are there'}."
    )
lacking = int((errors["without"] != "").sum())
words = "\n".join(["**What this figure shows.**", "", *sentences, ""])
words += (
    f"\nOf all {len(errors)} held-out patients, {lacking} lack a sequence; of the three worst, "
    f"{int((errors['without'].head(3) != '').sum())} do. The image before contrast agent is an "
    f"even grey in {phase.sum()} of all and in {phase.head(3).sum()} of the three worst."
)
display(Markdown(words))

# %% [markdown]
# Two slices of a patient do not show what happens between them. Scroll through the whole of the
# worst patient, and through the median and the best one to compare, and move the threshold. *Look
# where the outline leaves the tumour from one slice to the next, and whether any threshold would
# have saved the worst patient.* The viewer draws all that lies above the threshold. From the
# masks above, notebook 3's post-processing may also have removed pieces: small ones, or all but the
# largest. Where a Dice differs from that in the table, this is why.

# %%
from utils.cohort.table import true_masks
from utils.cohort.volumes import read_volume
from utils.course import segmenter
from utils.models.inference import native_probabilities
from utils.plots.viewer import Case, SliceViewer

network, postprocessing = segmenter.load_or_train(run)
scored = errors.dropna(subset="dice")  # the lowest first
places = {"worst": 0, "median": len(scored) // 2, "best": len(scored) - 1}
chosen = {rank: scored["patient"].iloc[place] for rank, place in places.items()}
test = run.part("test").of(chosen.values())
maps = native_probabilities(network, test)
cases = []
for rank, patient in chosen.items():
    rows = test.table[test.table["patient"] == patient]
    truth = true_masks(rows)
    cases.append(Case(f"{patient} ({rank})", read_volume(rows), truth, maps[patient]))

# %% tags=["hide-input"]
alt = (
    "FLAIR slices, from the first to the last on which an outline is drawn, of "
    + ", ".join(f"{patient} ({rank})" for rank, patient in chosen.items())
    + f", with the true outline and the predicted one at a threshold of "
    f"{postprocessing.threshold:g}."
)
viewer = SliceViewer(cases, SOURCE, alt, threshold=postprocessing.threshold)
viewer.show(run.figures, "04_viewer")
viewer.keep(run.figures, "04_viewer")  # the report of the run has it too

# %% tags=["hide-input"]
tried = np.r_[np.arange(5, 96, 5) / 100, 0.97, 0.98, 0.99, 0.995, 0.999]
found = [
    [segmentation.dice(case.truth, case.probability >= threshold) for threshold in tried]
    for case in cases
]
best = [f"{max(scores):.2f} at {tried[int(np.argmax(scores))]:g}" for scores in found]
at_ours = [segmentation.dice(c.truth, c.probability >= postprocessing.threshold) for c in cases]
words = (
    f"**What you see.** At {postprocessing.threshold:g}, the threshold chosen on validation, the "
    f"viewer gives the worst, the median and the best patient a Dice of {at_ours[0]:.2f}, "
    f"{at_ours[1]:.2f} and {at_ours[2]:.2f}. The best of the thresholds from {tried[0]:g} to "
    f"{tried[-1]:g} gives them {best[0]}, {best[1]} and {best[2]}. These are for understanding an "
    "error, never for choosing: a threshold chosen on held-out patients would be fitted to them."
)
display(Markdown(words))

# %% [markdown]
# What to look for, in this run or any other:
#
# - **Missed or invented?** The columns `missed` and `invented` tell the two apart. A segmenter that
#   misses needs to see more such tumours, or a lower threshold; one that invents needs to see more
#   healthy slices, or a higher one.
# - **Is the tumour small?** Compare `tumour_px` with the other patients. A border that is off by
#   one pixel costs a small tumour much more Dice than a large one.
# - **Is it the border or the place?** If the predicted line follows the tumour a little further in
#   or out, it is a question of definition, about which experts differ too. A line around something
#   else is an error of another kind. A high HD95 without missed or invented slices points to it.
# - **Found and thrown away?** If the viewer outlines the tumour and the mask above does not, the
#   network has found it, and the post-processing dropped it. Then look for the false piece that was
#   kept in its place, and at the rule by which it was chosen.
# - **Is a sequence missing?** See the column `without`. Then a copy of FLAIR takes its place. A
#   sequence can also be there and be useless, like the phase images of notebook 1; the column does
#   not show that.
# - **Is it something bright that is no tumour?** Skin, eyes, the rim of the ventricles, noise in
#   the lowest slices.
# - **Is the traced border plausible?** Masks are made by people. But if you look for wrong masks
#   only where the model fails, you will find them only there; look where it succeeds as well.
#
# Three patients are too few for a pattern. They give you a suspicion, which needs other patients to
# be tested. With another seed the three will be others.
#
# ## A model card
#
# Whoever uses these models in a year, or in another group, has the files but cannot ask you. A
# **[model card](../docs/glossary.md#model-card)** ([Mitchell et al.
# 2019](https://arxiv.org/abs/1810.03993)) says on one page what they are for, what they were
# trained on, how good they are, for whom, and where they fail. The numbers of this notebook are
# kept in the run's `metrics.json`, and the card is *generated* from the files of the run, so that
# text and numbers cannot disagree.

# %% tags=["hide-input"]
sizes = {}
for row in by_size["detector"].itertuples():
    found_there = {name: float(table["sensitivity"][row.Index]) for name, table in by_size.items()}
    sizes[f"{row.from_px} to {row.to_px}"] = {"slices": row.slices} | found_there
record = {
    "segmentation": segmentation_record(by_patient, slices, seed),
    "cascade": segmentation_record(cascade, result.cascade_slices, seed)
    | gain.record("difference"),
    "by_institution": by_institution,
    "by_size": sizes,
    "dice_conventions": conventions.set_index("convention")["dice"].astype(float).to_dict(),
}
run.record(record)

# %%
card = model_card.write_model_card(run.folder)
Markdown(card.read_text(encoding="utf-8"))

# %% tags=["nbval-check-output", "hide-input"]
print("detection AUC at least 0.9:", bool(auc.estimate >= 0.9))
print("mean Dice by patient at least 0.68:", bool(mean.estimate >= 0.68))
print("sections of the model card:", card.read_text(encoding="utf-8").count("\n## "))

# %% [markdown]
# ## Test yourself
#
# Answer before you unfold.
#
# **1.** There are twelve held-out patients with 24 slices each. How many independent cases is the
# interval of a mean based on?
#
# - (a) 288, the slices
# - (b) 12, the patients
# - (c) about 96, the slices with tumour
# - (d) 1000, the draws of the bootstrap
#
# <details><summary>Answer</summary>
#
# **(b)**: chance decides which patients come to the scanner. (a) and (c) treat the slices of one
# patient as independent, although they show the same tumour from the same scanner; the interval
# gets too narrow wherever they are similar. (d) more draws make the bounds of the interval
# *steadier*, not the interval narrower: they add no patient.
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
# **(c)**: two thirds of the slices count 1, the others 0. (a) is its Dice by patient, and by tumour
# slice; (b) mixes up the two kinds of slices; (d) would be true if 0/0 were left as it is. A model
# that does nothing gets 0.67: that is why the convention has to be told.
# </details>
#
# **4.** In one slice with tumour, Dice is 0.93 and HD95 25 pixels; the image's diagonal is 362
# pixels long. What does the prediction most likely look like?
#
# - (a) Its border is off by 25 pixels everywhere.
# - (b) The tumour is outlined well, and a second, smaller area far away is marked as well.
# - (c) The tumour is missed.
# - (d) Both masks are empty.
#
# <details><summary>Answer</summary>
#
# **(b)**: a small area far away costs little overlap, but if it has more than 5 % of the outline
# pixels, it decides the 95th percentile. (a) is not possible with that Dice; in (c) Dice would be 0
# and HD95 the diagonal, 362; in (d) neither number exists. For a *patient* with 15 tumour slices
# the same two numbers may mean something else: one small slice missed, which adds 362 / 15, about
# 24.
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
# that draws if *either* finds something; it would have more false positives instead. (d) nothing is
# averaged here.
# </details>

# %% [markdown]
# ## What you have seen
#
# **Key points**
#
# - The patient is the unit: one Dice per patient, intervals that draw patients, splits by patient.
# - Intervals over slices are too narrow where the slices of one patient resemble each other; the
#   design effect says by how much.
# - Two methods are compared on the same patients, by the interval of the difference. Look at every
#   patient too: one may decide the mean.
# - A cascade loses tumour slices and has fewer false positives; which is better depends on their
#   cost.
# - A Dice score can be compared only with another of the same convention.
# - Failures are looked at one by one, and what is known goes into a model card.
#
# Next, [5 · Evidence](05_evidence.ipynb) shows such numbers on real patients. Or run the whole
# course again with other seeds: a statement that holds for three of them is worth more than one
# that holds for one.

# %% [markdown]
# ## To think about
#
# 1. The held-out patients come from the same institutions as the training patients. How would you
#    split to estimate the performance at an institution that the models have never seen?
# 2. You try ten variants of the segmenter and report the best one's result on these held-out
#    patients. What is wrong with its interval?
# 3. Suppose a missed tumour slice costs ten times as much as a false positive. Where would you move
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
