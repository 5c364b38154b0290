# %% [markdown]
# # 5 · Evidence: what real numbers look like
#
# The notebooks before this one ran on simulated patients, where we know that the method works. What
# do real patients give? Tables of that are stored with the course: a detector and a segmenter were
# trained and tested on patients of the LGG cohort, in five folds by patient. This notebook reads
# them the way you would read a paper, with one difference: here you have every row.
#
# **Whose numbers these are.** Not those of the notebooks' models. The detector was fine-tuned as in
# notebook 2, but the segmenter comes from a larger recipe that no notebook of this course teaches:
# it starts from ImageNet's weights, is shown FLAIR of three neighbouring slices at 192 pixels, and
# learns for longer. The [model card](../results/lgg/model_card.md) describes that recipe, and
# `utils/evidence/recipes.py` holds it; "our recipe" below means that one. What the segmenter of
# notebook 3 would reach on these patients is not in the tables.
#
# **What you will learn**
#
# - to recompute a published number from its rows, and to hold it against one from the literature;
# - what an interval over patients promises, and whether it keeps the promise;
# - how much a random split of slices flatters a model, and when such a comparison is fair;
# - to find for whom a model fails: institution, size of the tumour, single patients with a name;
# - to say how one set of predictions becomes eight different "Dice".
#
# **What you need**: nothing but the tables in `results/lgg/`; no data, no training. Half a minute,
# and 0.4 GB of memory. With the five exercises, plan 60 minutes. Notebook
# [4](04_evaluate.ipynb) explains the measures; terms are in the [glossary](../docs/glossary.md).

# %% [markdown]
# ## The questions
#
# 1. Is this segmenter better or worse than the published one, or can we not tell?
# 2. Would a split by slices have told us something else?
# 3. Which patients would have been failed, and could we have known?
#
# Everything below is about **real patients**, and about numbers only: no picture is shown. Names
# such as `TCGA_DU_7018_19911220` are those under which the cohort is published.
#
# > **Not for clinical use.** This is a course. Nothing in it may be used to diagnose or treat
# > anyone.

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
import textwrap

sys.path.insert(0, "..")  # the helpers lie beside this folder
from pathlib import Path

import numpy as np
import pandas as pd

from utils import check, config
from utils.course.run import Parameters, check_parameters

check_parameters()  # the same as everywhere; here they only decide where figures are kept
Parameters(cohort, data, run_folder, seed, patients, size, detector_epochs, segmenter_epochs)
FIGURES = Path(run_folder or config.RUNS / cohort) / "figures"

# %%
from utils.evaluation import detection, segmentation
from utils.evaluation.bootstrap import Interval
from utils.evaluation.text import format_interval
from utils.evidence import comparisons, statistics
from utils.evidence.comparisons import (
    NOT_YET,
    aims,
    comparison_rows,
    folds_sentence,
    hd95_name,
    hd95_words,
    split_verdicts,
)
from utils.evidence.statistics import BUDA, BUDA_SITE, FAILED, MOST_FAILED, READERS
from utils.evidence.tables import read_evidence
from utils.plots import (
    detection as plots_detection,
    evaluation as plots_evaluation,
    evidence as plots_evidence,
)
from utils.plots.style import show

# %% [markdown]
# ## The tables, and why you may believe them
#
# `read_evidence` does not only read. It checks, from the tables alone, what a reader usually has to
# take on trust: no patient is in two [folds](../docs/glossary.md#fold); every slice of every
# patient is there once; the folds have the recorded fingerprint; each patient's Dice follows from
# the rows of its slices. If one number were changed, the next cell would stop.
#
# Every prediction is **[out of fold](../docs/glossary.md#out-of-fold)**: it comes from a model that
# never saw the patient, and nothing (epoch, threshold, cleaning of the mask) was chosen on it.

# %% tags=["nbval-check-output"]
evidence = read_evidence()
slices, by_patient = evidence.slices, evidence.patients
SOURCE = f"LGG cohort (real), {len(by_patient)} patients, out of fold"
has_tumour = slices["tumour_px"] > 0
print(SOURCE)
print(f"slices: {len(slices)}, with tumour: {has_tumour.sum()}")
print("patients tested in each fold:", *by_patient["fold"].value_counts().sort_index())
print("patients by institution:", by_patient["institution"].value_counts().sort_index().to_dict())
print("a patient in two folds:", bool(slices.groupby("patient")["fold"].nunique().max() > 1))

# %% tags=["nbval-check-output"]
one = slices[slices["patient"] == "TCGA_CS_6188_20010812"]
columns = ["slice", "tumour_px", "predicted_px", "overlap_px", "p_tumour", "flagged"]
print(one.loc[one["tumour_px"] + one["predicted_px"] > 0, columns].to_string(index=False))

# %% [markdown]
# These are all the slices of one patient in which anything was traced or predicted. `tumour_px` are
# the pixels that the expert traced, `predicted_px` those that the segmenter drew, `overlap_px`
# those in both. `p_tumour` is the probability that the slice shows tumour, from detector and
# segmenter together, and `flagged` whether it reached the threshold of its fold.
#
# ### Exercise 5.1 · One Dice for a patient
#
# Write `dice_of_patient(rows)`: the [Dice](../docs/glossary.md#dice) of a patient from a table of
# its slices with the columns `tumour_px`, `predicted_px` and `overlap_px`. Pool the pixels of all
# slices first. What if the patient has slices in which nothing is traced and nothing predicted?
# What if that is so for all slices? Let the second be `nan`.
#
# <details><summary>Hint 1</summary>
#
# Three sums are all you need. Only then comes the one division.
# </details>
#
# <details><summary>Hint 2</summary>
#
# The pixels in both masks are in `tumour_px` and again in `predicted_px`. What has to stand above
# so that a perfect prediction gives 1? Ask for the sum below before you divide by it.
# </details>


# %% tags=["solution"]
def dice_of_patient(rows):
    """Return the Dice of one patient's volume, nan if nothing is traced or predicted.

    Parameters
    ----------
    rows : pandas.DataFrame
        `tumour_px, predicted_px, overlap_px`, one row a slice.
    """
    total = rows["tumour_px"].sum() + rows["predicted_px"].sum()
    return 2 * rows["overlap_px"].sum() / total if total else float("nan")


# %% tags=["nbval-check-output"]
check.dice_of_patient(dice_of_patient)

# %% [markdown]
# ## How good, and compared with whom?
#
# The cohort's authors published what they reached by patient: [Buda et al.
# 2019](https://doi.org/10.1016/j.compbiomed.2019.05.002), Dice 0.82 (mean) and 0.85 (median) over
# 110 patients. Before we trained, we wrote down what we aimed at: more than that.
#
# *Predict before you run: how wide is the 95 % interval of a mean over so many patients as the cell
# above counts? ± 0.005, ± 0.03, or ± 0.1?*

# %% tags=["nbval-check-output"]
result = statistics.segmentation(by_patient)
for name in ("mean", "median"):
    print(f"Dice by patient, {name}: {format_interval(result[f'dice_{name}'])}")
    print(f"    Buda et al.: {BUDA[name]}, authors' site: {BUDA_SITE[name]}")
print(f"{hd95_name(evidence)}, median: {format_interval(result['hd95_median'], 1)} px")
print(textwrap.fill(hd95_words(evidence), 100))

# %% tags=["nbval-check-output"]
for row in aims(evidence).itertuples():
    verdict = "reached" if row.reached else "NOT reached"
    print(f"aim {row.aim:.2f} for {row.measure}: {row.found.estimate:.3f}, {verdict}")
failed = statistics.failures(by_patient)
verdict = "reached" if len(failed) <= MOST_FAILED else "NOT reached"
print(f"aim at most {MOST_FAILED} patients with a Dice below {FAILED}: {len(failed)}, {verdict}")
print(failed[["patient", "institution", "dice"]].round(3).to_string(index=False))
for words, agreement in READERS.items():
    print(f"Dice of people with each other, {words}: {agreement}")

# %% tags=["hide-input", "nbval-check-output"]
references = {"Buda, mean": BUDA["mean"], "Buda, median": BUDA["median"]}
figure = plots_evidence.dice_of_many(by_patient, result["dice_mean"], references, SOURCE)
lowest = statistics.worst(by_patient, 3)
alt = (
    f"Dice of {len(by_patient)} patients, sorted, from {by_patient['dice'].min():.2f} to "
    f"{by_patient['dice'].max():.2f}. Mean {format_interval(result['dice_mean'])}, drawn as a line "
    f"with its band; Buda's mean {BUDA['mean']} and median {BUDA['median']} as dashed and dotted "
    f"lines. The three lowest come from {', '.join(lowest['institution'])}."
)
show(figure, alt, FIGURES, "05_dice")

# %% tags=["nbval-check-output"]
for name, key in {"mean": "dice_mean", "median": "dice_median"}.items():
    inside = result[key].low <= BUDA[name] <= result[key].high
    words = "inside" if inside else "outside"
    print(f"Buda's {name}, {BUDA[name]}, lies {words} our interval")
below = (by_patient["dice"] < 0.6).sum()
print(f"patients below 0.6: {below} of {len(by_patient)}")

# %% [markdown]
# A published value inside our interval means: with other patients of the same kind we might as well
# have got theirs. It does **not** mean that both methods are equal. Buda's value has an interval
# too, which was not published; the patients overlap but are not the same (we had not all of
# theirs); and a comparison in pairs, which could decide, needs their Dice for each patient.
#
# People do not agree fully either: two experts who outline the same tumour reach the Dice in the
# last lines above, not 1. Read our mean beside that. It does not make the network an expert,
# because an expert does not fail outright: the patients listed above were given masks that are of
# no use to anyone, and a mean over many patients hides a handful of them. That is why their number
# has an aim of its own.
#
# Where an aim was not reached, the honest sentence is "not reached", with the number. To lower the
# aim once the result is known would make it worthless: any result would reach it.
#
# ## Does a 95 % interval keep its promise?
#
# The promise is about the procedure: if the study were repeated many times, with other patients
# each time, 95 % of the intervals would hold the true value. On real data we never know the truth.
# But we can play it: let our patients *be* the population, so that their mean is the truth. Draw
# a study of 10, 20 or 40 of them, compute its bootstrap interval, and look whether it holds the
# truth. Do that 400 times.

# %% tags=["nbval-check-output"]
random = np.random.default_rng(0)
population = by_patient["dice"].to_numpy()
for number in (5, 10, 20, 40, 80):
    held, widths = [], []
    for _ in range(400):
        study = random.choice(population, number)
        means = random.choice(study, (500, number)).mean(axis=1)
        low, high = np.quantile(means, [0.025, 0.975])
        held.append(low <= population.mean() <= high)
        widths.append(high - low)
    print(
        f"{number:2} patients: {100 * np.mean(held):.0f} % of the intervals hold the truth, "
        f"width {np.mean(widths):.2f}"
    )

# %% [markdown]
# With five patients the interval promises more than it keeps: a handful of patients often holds no
# bad one, and then the [bootstrap](../docs/glossary.md#bootstrap) cannot know that there are any.
# With more it comes near, though even then it falls a little short: a few very bad patients make
# the distribution lopsided. So read "95 %" as "not quite 95 %", and with few patients as clearly
# less. The width falls with the root of the number of patients: four times the patients for about
# half the width.
#
# ### Exercise 5.2 · Coverage
#
# Write `coverage(intervals, truth)`: the share of intervals that hold the true value. `intervals`
# is an array with a row for each, its lower and upper bound. A bound that equals the truth holds
# it. An interval that could not be computed is `nan, nan`: it says nothing, so leave it out of the
# count. If none is left, return `nan`.
#
# <details><summary>Hint 1</summary>
#
# First keep the rows that have bounds, then compare both columns with the truth.
# </details>
#
# <details><summary>Hint 2</summary>
#
# A comparison with nan is False, so that such a row would count as a miss: `np.isnan` finds it. The
# mean of True and False is a share.
# </details>


# %% tags=["solution"]
def coverage(intervals, truth):
    """Return the share of intervals that hold the truth, nan if there are none.

    Parameters
    ----------
    intervals : ndarray of float, shape (n, 2)
        Lower and upper bounds; nan where there is no interval.
    truth : float
    """
    known = intervals[~np.isnan(intervals).any(axis=1)]
    if len(known) == 0:
        return float("nan")
    return ((known[:, 0] <= truth) & (truth <= known[:, 1])).mean()


# %% tags=["nbval-check-output"]
check.coverage(coverage)

# %% [markdown]
# ## Which slices show tumour?
#
# We know of no published AUC under a split by patient for this cohort, so there is nothing to
# compare with. Three scores tell slices with tumour from slices without: the detector's, the
# segmenter's (how sure it is of its surest pixels), and both together.
#
# *Predict before you run: which is better, the detector, made for the question, or the segmenter?*

# %% tags=["hide-input", "nbval-check-output"]
aucs = statistics.aucs(slices)
bands = {
    words: detection.roc_band(slices, score, resamples=200)
    for score, words in statistics.SCORES.items()
}
by_words = {words: aucs[score] for score, words in statistics.SCORES.items()}
figure = plots_detection.roc_curves(bands, by_words, SOURCE)
alt = "ROC curves over all slices, the first with its band over patients. " + " ".join(
    f"{words}: AUC {format_interval(auc)}." for words, auc in by_words.items()
)
show(figure, alt, FIGURES, "05_roc")

# %% tags=["nbval-check-output"]
for words, auc in by_words.items():
    print(f"AUC, {words}: {format_interval(auc)}")
added = comparisons.what_the_detector_adds(slices).difference
verdict = "worth its place" if added.low > 0 else "not shown to be worth its place"
print(f"what the detector adds to the segmenter: {format_interval(added, sign=True)}, {verdict}")

# %% tags=["nbval-check-output"]
point = statistics.operating_point(slices)
aim = detection.SENSITIVITY
print(f"at each fold's threshold, chosen for a sensitivity of {aim:.2f} on validation patients:")
print(f"  sensitivity {format_interval(point['sensitivity'])}")
print(f"  specificity {format_interval(point['specificity'])}")
missed = has_tumour & (slices["flagged"] == 0)
print(f"  tumour slices not flagged: {missed.sum()} of {has_tumour.sum()}")

# %% [markdown]
# Two lessons.
#
# The segmenter's score detects better than the network that was made for detection. It was taught
# pixel by pixel, which is far more to learn from than one yes or no per slice, and it sees the
# neighbouring slices. Whether the detector still adds anything to it, the line above says: if its
# interval includes 0, a hospital could leave the detector out and lose nothing that these patients
# show. We keep it in the course, because it is where you learn to fine-tune a classifier.
#
# And compare the sensitivity with the one for which the thresholds were chosen: a threshold chosen
# on some patients does not hold exactly what it promises on others. That is why it must be *tested*
# on others.
#
# ## Do the probabilities mean what they say?

# %% tags=["hide-input", "nbval-check-output"]
tables, errors = statistics.reliability(slices), statistics.calibration_errors(slices)
figure = plots_detection.reliability(tables, errors, SOURCE)
alt = "Share of slices with tumour over the mean predicted probability, ten bins each. " + " ".join(
    f"{words}: calibration error {error:.3f}." for words, error in errors.items()
)
show(figure, alt, FIGURES, "05_calibration")

# %% tags=["nbval-check-output"]
print("calibration error:", {words: round(error, 3) for words, error in errors.items()})
for words, table in tables.items():
    print(f"\n{words}")
    print(table.round(3).to_string(index=False))

# %% [markdown]
# Most slices are easy, and lie at the far ends: the few bins in the middle hold what is hard. A
# small mean error, such as these, says little about them; the tables do.
#
# ## A random split of slices, or a split by patient?
#
# Now to the mistake from [notebook 1](01_explore.ipynb). Each recipe was trained again with the
# slices dealt at random, so that every tested slice has neighbours of the same patient in training.
# The **inflation** is what that adds. To be fair, both are scored on **the same slices**: those
# that both experiments have predicted. (A training costs hours, so that not every experiment has
# all its folds; the table says on how much each comparison rests.)
#
# *Predict before you run: how much does the random split add to the mean Dice? And to the AUC?*

# %% tags=["nbval-check-output"]
compared = comparisons.compare_all(evidence)
columns = ["", "measure", "on", "by patient", "random", "inflation (95 % interval)"]


def show_rows(named, columns):
    print(pd.DataFrame(comparison_rows(named), columns=columns).to_string(index=False))


print("computed:", folds_sentence(evidence).replace("; ", "\n          "))
print()
show_rows(compared.splits, columns)


# %% tags=["nbval-check-output"]
def gains(named, measure):
    """Return the differences of the comparisons that can be made, by name."""
    return {name: getattr(found, measure).difference for name, found in named.items() if found}


def draw_differences(named, title, label, file):
    found = {f"{name}, Dice": gap for name, gap in gains(named, "dice").items()}
    found |= {f"{name}, AUC": gap for name, gap in gains(named, "auc").items()}
    if not found:
        print(f"{title}: {NOT_YET}")
        return
    figure = plots_evidence.differences(found, title, label, SOURCE.split(",")[0] + ", in pairs")
    alt = f"{title}: {label}. " + "; ".join(
        f"{name} {format_interval(gap, sign=True)}" for name, gap in found.items()
    )
    show(figure, alt + ".", FIGURES, file)


draw_differences(
    compared.splits, "Inflation by a random split", "random slices minus patients", "05_splits"
)

# %% tags=["nbval-check-output"]
print("\n".join(split_verdicts(compared.splits)))

# %% [markdown]
# Whatever the size of the inflation here, mind what kind of number it is. A score under a random
# split answers "how well are slices of *known* patients filled in?", and nobody asks that. How far
# it lies from the score for new patients depends on the model: the better a network can memorise,
# and the fewer patients there are, the further. An inflation near 0 is not a licence for the random
# split either, because you only know it after you have done the split by patient.
#
# ### Exercise 5.3 · Inflation, in pairs
#
# Write `inflation(by_patient, random)`. Both are dictionaries from a patient's name to its Dice,
# under the split by patient and under the random split. Return the mean of *random minus by
# patient* over the patients that have a Dice in both. A patient may be missing in one, or its Dice
# may be `nan`. With no patient left, return `nan`.
#
# <details><summary>Hint 1</summary>
#
# Go through the names that are in both dictionaries, not through their places.
# </details>
#
# <details><summary>Hint 2</summary>
#
# `by_patient.keys() & random.keys()` are the shared names. A difference with nan is nan, so drop
# those differences before you take the mean.
# </details>


# %% tags=["solution"]
def inflation(by_patient, random):
    """Return the mean of random minus by_patient over the patients that have both.

    Parameters
    ----------
    by_patient, random : dict of str to float
        Dice by the patient's name; may be nan.
    """
    shared = sorted(by_patient.keys() & random.keys())
    gaps = np.array([random[name] - by_patient[name] for name in shared])
    gaps = gaps[~np.isnan(gaps)]
    return gaps.mean() if len(gaps) else float("nan")


# %% tags=["nbval-check-output"]
check.inflation(inflation)

# %% [markdown]
# ## Against a simpler recipe
#
# The course that this one grew from used a smaller network, trained from scratch on tumour slices
# only; its detector gets images prepared otherwise than ImageNet's weights expect. Rebuilt from its
# description and trained with a similar budget, it is our **baseline recipe**, compared with ours
# on the same patients under the same split.

# %% tags=["nbval-check-output"]
columns = ["split", "measure", "on", "baseline", "ours", "ours minus baseline"]
show_rows(compared.recipes, columns)

# %% tags=["nbval-check-output"]
draw_differences(
    compared.recipes, "Our recipe and the baseline", "ours minus baseline", "05_recipes"
)


# %% tags=["nbval-check-output"]
def say_who_leads(named, other):
    """Print for each comparison which recipe has the higher mean Dice, and if that is decided."""
    for name, found in named.items():
        if found is None:
            print(f"{name}: {NOT_YET}")
            continue
        gap = found.dice.difference
        ahead = "ours" if gap.estimate > 0 else other
        decided = "" if gap.low > 0 or gap.high < 0 else ", which these patients do not decide"
        print(f"{name} ({found.slices} slices of {found.patients} patients):")
        print(f"  higher mean Dice for {ahead}, by {abs(gap.estimate):.3f}{decided}")


say_who_leads(compared.recipes, "the baseline")

# %% [markdown]
# Which recipe would you have taken if you had seen one of these results only? They rest on
# different slices: each takes what both recipes predicted under that split. Still, the table of
# inflation above, for each recipe on its own slices, says that a leak does not add the same to
# every model. Presumably it pays most to the one that memorises best; that is an explanation, not
# something that these tables measure. Either way a leak can spoil more than a number: it can spoil
# the choice between two models.
#
# The interval belongs to the *difference* within patients
# ([paired comparison](../docs/glossary.md#paired-comparison)).
#
# ## A hospital that the training never saw
#
# A model that is given away meets scanners that it has never seen: a
# [domain shift](../docs/glossary.md#domain-shift). To know what that costs, one institution at a
# time was [left out](../docs/glossary.md#leave-one-institution-out) of the training, and its
# patients were predicted by the model that knew none of them.
#
# *Predict before you run: look up, in the first output, how many patients each institution has. For
# which will leaving them out cost the most Dice?* (Who is not in the table is not computed yet.)

# %% tags=["nbval-check-output"]
columns = ["left out", "measure", "on", "known", "left out ", "difference"]
show_rows(compared.left_out, columns)

# %% tags=["nbval-check-output"]
draw_differences(
    compared.left_out, "An institution left out", "left out minus known", "05_left_out"
)

# %% [markdown]
# Two things change at once: the models have not seen the institution's scanners, and they have
# fewer patients to learn from, most of all without DU. A loss here is the sum of both.
#
# ## What made it better
#
# The recipe before the present one saw FLAIR alone, scaled by the mean and the standard deviation
# of the whole head, and kept the largest piece of what it found. On most patients it did well. On a
# few it failed outright: a bright stretch at the edge of FLAIR, which is only the coil's shading,
# was taken for tumour, and as it was the larger piece, the true one was thrown away. The pre- and
# the post-contrast image showed the tumour plainly, but the network never saw them. The present
# recipe
#
# - averages two networks, one that sees FLAIR and one that sees all three sequences, each with the
#   slices above and below;
# - scales the grey levels so that the most frequent one of the brain is the same in everybody;
# - trains on images shaded as coils do it, and on tumours with a darkened part, as fluid has it;
# - refines the map by the patient's own grey levels: how bright is *this* tumour, and the brain
#   around it?
# - keeps the pieces for which the most speaks, not the largest;
# - chooses threshold, refinement and pieces on the validation patients of all folds, those of one
#   fold being too few.
#
# *Predict before you run: by how much does all of this raise the mean Dice? And which patients
# gain, all of them a little or a few of them much?*

# %% tags=["nbval-check-output"]
columns = ["patients", "measure", "on", "earlier", "ours", "ours minus earlier"]
show_rows(compared.earlier, columns)
say_who_leads(compared.earlier, "the earlier recipe")

# %% tags=["nbval-check-output"]
before = segmentation.patient_table(evidence.others["earlier_patient_split"])
pairs = before[["patient", "dice"]].merge(by_patient, on="patient", suffixes=("_before", ""))
gain = pairs["dice"] - pairs["dice_before"]
print(f"patients better than before: {(gain > 0).sum()} of {len(pairs)}")
print(f"median gain {gain.median():+.3f}, mean gain {gain.mean():+.3f}")
ten = gain.sort_values().tail(10).sum()
print(f"the ten largest gains make {100 * ten / gain.sum():.0f} % of the sum of all changes")
print(f"below {FAILED}: {(pairs['dice_before'] < FAILED).sum()} before, {len(failed)} now")

# %% [markdown]
# Read the interval before the mean, and the failures before both: a recipe can help most patients a
# little and still lose some of them altogether.
#
# The table cannot choose between the recipes: its patients are tested patients, and whoever chooses
# by them has none left to test on. Threshold, refinement and pieces were chosen on
# [validation patients](../docs/glossary.md#validation-patients). The *ideas*, however, came from
# looking at tested patients whom the earlier recipe had failed, and were first tried on one of the
# folds. How much that flatters the result nobody can say; the only clean judge would be patients
# that nobody has looked at.
#
# ## For whom? Institutions

# %% tags=["hide-input", "nbval-check-output"]
table = statistics.by_institution(by_patient, slices)
values = {
    name: by_patient.loc[by_patient["institution"] == name, "dice"].to_numpy()
    for name in table["institution"]
}
means = {row.institution: Interval(row.dice_mean, row.low, row.high) for row in table.itertuples()}
figure = plots_evidence.dice_by_group(values, means, "Dice by institution", SOURCE)
alt = "Dice of each patient by institution, with means, intervals and numbers of patients. "
alt += " ".join(
    f"{name}: {format_interval(mean)}; {len(values[name])}." for name, mean in means.items()
)
show(figure, alt, FIGURES, "05_institutions")

# %% tags=["nbval-check-output"]
print(table.round(3).to_string(index=False))
worst = table["institution"].iloc[0]
tenth = statistics.worst(by_patient, 10)
print(
    f"lowest mean: {worst}; of the ten lowest patients, "
    f"{(tenth['institution'] == worst).sum()} are from there"
)
here, rest = (by_patient[(by_patient["institution"] == worst) == flag] for flag in (True, False))
print(
    f"median tumour there {here['tumour_px'].median():.0f} px, elsewhere "
    f"{rest['tumour_px'].median():.0f} px"
)

# %% [markdown]
# Apart from EZ's only patient, the models have met each institution in training, and still do not
# serve them alike. The
# table does not say why. Scanner, choice of patients, the hand that traced, the size of the
# tumours: all of these differ between institutions, and each would be a study of its own. The size
# is at hand, so we look at it.
#
# ## For whom? Size
#
# *Predict before you run: a border that is off by one pixel costs a small tumour more Dice than a
# large one. Does that show?*

# %% tags=["hide-input", "nbval-check-output"]
volumes = statistics.by_volume(by_patient)
values, means = {}, {}
for row in volumes.itertuples():
    name = f"{row.from_px:,} to {row.to_px:,} px"
    between = by_patient["tumour_px"].between(row.from_px, row.to_px)
    values[name] = by_patient.loc[between, "dice"].to_numpy()
    means[name] = Interval(row.dice_mean, row.low, row.high)
figure = plots_evidence.dice_by_group(values, means, "Dice by the tumour's size", SOURCE)
alt = "Dice of each patient, by thirds of the tumour's size in all slices. " + " ".join(
    f"{name}: {format_interval(mean)}." for name, mean in means.items()
)
show(figure, alt, FIGURES, "05_size")

# %% tags=["nbval-check-output"]
print("tumour slices, by the tumour's area in the slice:")
print(statistics.by_area(slices).round(3).to_string(index=False))

# %% [markdown]
# `flagged` is the share of slices at or above the threshold, with its interval; `touched` the share
# in which the mask meets the tumour; `dice` the mean over these slices. Read the first line with
# care: it is a handful of slices. But a screening tool that is sold with the sensitivity over *all*
# slices would hide it.
#
# ## Cascade or segmenter alone?
#
# In the [cascade](../docs/glossary.md#cascade) the masks of slices that are not flagged are
# emptied.

# %% tags=["hide-input", "nbval-check-output"]
alone, cascade, gain = statistics.cascade_gain(slices)
second = segmentation.patient_table(segmentation.cascade(slices))
figure = plots_evaluation.paired_dice(
    by_patient[["patient", "dice"]],
    second[["patient", "dice"]],
    ("segmenter", "cascade"),
    gain,
    SOURCE,
)
alt = (
    "Dice of each patient with the segmenter alone and with the cascade, joined by lines, and the "
    f"differences sorted. Mean difference {format_interval(gain, sign=True)}."
)
show(figure, alt, FIGURES, "05_cascade")

# %% tags=["nbval-check-output"]
print(f"segmenter alone {format_interval(alone)}, cascade {format_interval(cascade)}")
print(f"cascade minus alone: {format_interval(gain, sign=True)}")
invented = ~has_tumour & (slices["predicted_px"] > 0)
print(
    f"tumour-free slices with false tumour: {invented.sum()} alone, "
    f"{(invented & (slices['flagged'] == 1)).sum()} with the cascade"
)
change = second.set_index("patient")["dice"] - by_patient.set_index("patient")["dice"]
hardest = change.idxmin()
print(f"largest loss: {hardest}, {change.min():+.3f}")
print(
    f"its share of the whole loss: {100 * change.min() / change.sum():.0f} %, "
    f"being one patient of {len(change)}"
)
print(f"mean change of all others: {change.drop(hardest).mean():+.3f}")

# %% tags=["nbval-check-output"]
misses = statistics.cascade_misses(slices)
print(
    f"tumour slices lost: {misses['lost'].sum()}, in {len(misses)} patients; the ten most costly:"
)
print(misses.head(10).to_string(index=False))

# %% [markdown]
# `lost_px` are the correct pixels given up, `largest_px` the traced area of the largest slice lost.
# The names are there so that somebody can look: a list of failures without names cannot be followed
# up. Here is the patient with the largest loss:

# %% tags=["nbval-check-output"]
rows = slices[(slices["patient"] == hardest) & (slices["tumour_px"] > 0)]
of_ours = evidence.folds[evidence.folds["experiment"] == "ours"].set_index("fold")
drawn = rows[rows["overlap_px"] > 0]
print(f"{hardest}: {len(rows)} tumour slices, {len(drawn)} of them drawn")
print("p_tumour of those drawn:", *drawn["p_tumour"].round(3))
print("threshold of its fold:", of_ours.loc[rows["fold"].iloc[0], "detection_threshold"].round(3))
print("of those drawn, flagged:", drawn["flagged"].sum())

# %% [markdown]
# What was drawn in slices below the threshold is emptied, however right it was. And do not think
# that one patient cannot move a mean over so many: the cell above the list says what share of the
# whole loss this one has. So ask of every mean difference how many patients made it. For the
# patient it is everything.
#
# ### Exercise 5.4 · Count what the cascade loses
#
# Write `lost_to_cascade(slices)`: how many tumour slices had the segmenter met (at least one pixel
# in both masks) that the cascade empties because they are not flagged? `slices` has the columns
# `tumour_px`, `predicted_px`, `overlap_px` and `flagged` (0 or 1). Which slices are *not* lost to
# the cascade although they end without a correct mask?
#
# <details><summary>Hint 1</summary>
#
# Two conditions on the row, and one of them already implies that there is tumour.
# </details>
#
# <details><summary>Hint 2</summary>
#
# Combine two columns of True and False with `&`, each comparison in brackets; the sum counts.
# </details>


# %% tags=["solution"]
def lost_to_cascade(slices):
    """Return how many tumour slices the segmenter met and the cascade empties.

    Parameters
    ----------
    slices : pandas.DataFrame
        `tumour_px, predicted_px, overlap_px, flagged`, one row a slice.
    """
    return int(((slices["overlap_px"] > 0) & (slices["flagged"] == 0)).sum())


# %% tags=["nbval-check-output"]
check.lost_to_cascade(lost_to_cascade)

# %% [markdown]
# ## The patients who were failed
#
# The lowest eight, with what went wrong: `missed` is the share of the traced tumour that was not
# drawn, `invented` the share of what was drawn that is no tumour.

# %% tags=["nbval-check-output"]
lowest = statistics.kinds_of_error(statistics.worst(by_patient), slices)
columns = ["patient", "dice", "hd95_px", "tumour_px", "missed", "invented"]
named = lowest[columns].rename(columns={"hd95_px": f"{hd95_name(evidence)}, px"})
print(named.round(2).to_string(index=False))
print(
    f"more missed than invented: {(lowest['missed'] > lowest['invented']).sum()} of {len(lowest)}"
)

# %% [markdown]
# ## Eight ways to say Dice
#
# The masks stay as they are, pixel by pixel. Only the averaging changes, and whoever writes "Dice"
# and no more may mean any of these. *Predict before you run: how far apart are the highest and
# the lowest?*

# %% tags=["hide-input", "nbval-check-output"]
conventions = statistics.conventions(slices)
figure = plots_evaluation.dice_conventions(conventions, SOURCE)
ranked = conventions.sort_values("dice")
alt = (
    f"The same predictions under {len(conventions)} conventions, from "
    f"{ranked['dice'].iloc[0]:.2f} ({ranked['convention'].iloc[0]}) to "
    f"{ranked['dice'].iloc[-1]:.2f} ({ranked['convention'].iloc[-1]})."
)
show(figure, alt, FIGURES, "05_conventions")

# %% tags=["nbval-check-output"]
print(conventions[["convention", "dice"]].round(3).to_string(index=False))
print(f"from lowest to highest: {conventions['dice'].max() - conventions['dice'].min():.3f}")

# %% [markdown]
# ### Exercise 5.5 · What does silence score?
#
# A model that never draws anything is tried on these slices. How many they are, and how many of
# them show tumour, stands in the first output of this notebook. What is its Dice under the
# convention "slices, empty = 1": the mean over all slices, where a slice with nothing traced and
# nothing predicted counts as 1? Give the number `dice_of_silence`, to two decimals or as a
# calculation.
#
# <details><summary>Hint 1</summary>
#
# There are only two kinds of slices. What is the Dice of each?
# </details>
#
# <details><summary>Hint 2</summary>
#
# With tumour traced and nothing drawn, the overlap is empty. Without tumour, the convention
# decides. Then take the mean.
# </details>

# %% tags=["solution"]
dice_of_silence = (2838 - 960) / 2838

# %% tags=["nbval-check-output"]
check.dice_of_silence(dice_of_silence)

# %% [markdown]
# ## Test yourself
#
# Answer before you unfold.
#
# **1.** A paper reports a Dice of 0.91 on this cohort, "mean over all test slices". Ours, by
# patient, is lower. What follows?
#
# - (a) Their model is better.
# - (b) Their model is overfitted.
# - (c) Nothing yet: empty slices may count as 1, and the split may be one of slices.
# - (d) Ours has more false alarms.
#
# <details><summary>Answer</summary>
#
# **(c)**: the convention alone moves one and the same prediction by more than the gap. (a) compares
# two different quantities; (b) and (d) may or may not be so, but the number does not tell.
# </details>
#
# **2.** Suppose that the interval of a mean goes from 0.70 to 0.76. What does it say?
#
# - (a) 95 % of the patients have a Dice between 0.70 and 0.76.
# - (b) The next patient's Dice lies there with 95 % probability.
# - (c) Intervals made like this one hold the mean of all such patients in about 95 % of studies.
# - (d) Another training would give a mean in this range.
#
# <details><summary>Answer</summary>
#
# **(c)**. (a) and (b) are about single patients, who scatter far more widely: look at the first
# figure. (d) is about chance in the training, which the interval does not know, since each fold was
# trained once.
# </details>
#
# **3.** The thresholds were chosen for one sensitivity on validation patients, and found less on
# the tested ones. What should one do?
#
# - (a) Choose the threshold on the tested patients until it finds as much.
# - (b) Report what was found.
# - (c) Report the sensitivity that was aimed at.
# - (d) Leave out the patients that spoil it.
#
# <details><summary>Answer</summary>
#
# **(b)**. (a) turns tested patients into validation patients, and nobody is left to test on; (c)
# reports a wish; (d) is fraud. If the loss matters, choose on more validation patients, or aim
# higher there.
# </details>
#
# **4.** Two methods have overlapping intervals on the same patients. Is there a difference?
#
# - (a) No, because the intervals overlap.
# - (b) Yes, if one mean is higher.
# - (c) Look at the interval of the difference within patients.
# - (d) That needs a second test cohort.
#
# <details><summary>Answer</summary>
#
# **(c)**: most of each interval's width comes from easy and hard patients, whom both methods share;
# it cancels in the difference. (a) is the common mistake; (b) forgets chance; (d) would be good to
# have and is not needed for this question.
# </details>
#
# **5.** One institution has a lower mean than the others. What may be said?
#
# - (a) Its scanners are bad.
# - (b) The model serves its patients worse, and the reason is not known from these tables.
# - (c) The model should be trained without it.
# - (d) With more epochs it would go away.
#
# <details><summary>Answer</summary>
#
# **(b)**. (a) is one of many explanations: smaller tumours or another hand that traced would do as
# well; (c) would make it worse for these patients; (d) is a guess that a validation set can test.
# </details>

# %% [markdown]
# ## You have seen
#
# **Key points**
#
# - A number can be trusted as far as its rows can be checked: here, all of them.
# - Even this many patients give a mean to a few hundredths only. Smaller differences need pairs.
# - An aim that was not reached is reported as not reached.
# - Compare two experiments on the same slices of the same patients, and say on how many.
# - Averages hide whom a model fails. Name institutions, sizes and patients.
# - A cascade can only take away; count what it takes, and from how many patients.
# - "Dice" without its convention cannot be compared, and under one of them silence scores well.
#
# ## Further reading
#
# - Buda, Saha and Mazurowski 2019, the cohort and its masks:
#   [doi:10.1016/j.compbiomed.2019.05.002](https://doi.org/10.1016/j.compbiomed.2019.05.002).
# - Maier-Hein et al. 2024, "Metrics reloaded", which measure for which question:
#   [doi:10.1038/s41592-023-02151-z](https://doi.org/10.1038/s41592-023-02151-z).
# - Varoquaux and Cheplygina 2022, how machine learning for medical imaging fools itself:
#   [doi:10.1038/s41746-022-00592-y](https://doi.org/10.1038/s41746-022-00592-y).
# - Kapoor and Narayanan 2023, leakage across many fields:
#   [doi:10.1016/j.patter.2023.100804](https://doi.org/10.1016/j.patter.2023.100804).
#
# The same numbers, with all names, are in the [model card](../results/lgg/model_card.md).

# %% [markdown]
# ## To think about
#
# 1. Which one further column in the tables would help you most to explain why an institution does
#    worse?
# 2. You may run one more training that takes three hours. Which comparison above would you spend it
#    on, and which result would change your mind?
# 3. What would you have to know about a hospital before you believed that these numbers hold there?
