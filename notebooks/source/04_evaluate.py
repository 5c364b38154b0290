# %% [markdown]
# # 4 · Evaluate: how good, for whom, and how sure?
#
# Two models are trained: a detector that says which slices show tumour, and a segmenter that draws
# it. This notebook asks of them what a critical reader would ask. It uses the held-out patients,
# whom no model has seen and on whom nothing was chosen.
#
# **What you will learn**
#
# - to judge a model by patient, with an interval that says how much chance there is in a number;
# - why an interval over slices may claim far too much;
# - to compare two methods on the same patients, in pairs;
# - that "Dice" means a dozen different things, and how far apart they lie;
# - to read failures, and to write down what a model is for in a model card.
#
# **What you need**: notebooks 2 and 3 (their models; if they are missing they are trained first,
# which takes a few minutes). Otherwise under a minute, and 1.7 GB of memory.

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
detector_epochs = 4
segmenter_epochs = 5

# %%
import sys

sys.path.insert(0, "..")  # the helpers lie beside this folder
import numpy as np
import pandas as pd
from IPython.display import Markdown

from utils import (
    course,
    detection,
    exploration,
    metrics,
    missing,
    model_card,
    plots,
    plots_evaluation,
    plots_segmentation,
)
from utils.cohort import read_slice
from utils.intervals import bootstrap_patients, paired_bootstrap

run = course.open_run(
    cohort, data, run_folder, seed, patients, size, detector_epochs, segmenter_epochs
)
SOURCE = run.describe("test")

# %% [markdown]
# ## Two ways to use two models
#
# - **Segmenter alone**: it draws on every slice.
# - **Cascade**: the detector goes first. On slices that it does not flag, the mask is emptied; on
#   the others the segmenter's mask stands.
#
# Both use the same split. If detector and segmenter were split separately, as in the course from
# which this one grew, a patient held out from one would have trained the other.
#
# *Predict before you run: the cascade can only take pixels away. What can that improve, and what
# can it spoil?*

# %%
missing.train_missing(run)  # nothing to do after notebooks 2 and 3

from utils import evaluation  # loads TensorFlow

result = evaluation.evaluate(run)
print(SOURCE)
result.slices.drop(columns="part").sample(5, random_state=seed).sort_index().round(3)

# %% [markdown]
# One row a slice, and three counts that are enough for every Dice below: the pixels of the tumour
# as traced, the pixels predicted, and those in both. `cascade_px` and `cascade_overlap_px` are the
# same counts after the detector's veto. The table is kept as `predictions.csv` in the run folder.

# %%
# NBVAL_CHECK_OUTPUT
slices = result.slices
print("held-out patients:", slices["patient"].nunique(), "of", len(run.split))
print("held-out slices:", len(slices), "with tumour:", int((slices["tumour_px"] > 0).sum()))
print("masks:", result.alone.shape, result.alone.dtype)
print("the cascade only takes away:", bool((result.cascade <= result.alone).all()))
print("seen in training:", len(set(slices["patient"]) & set(run.part("train").patients)))

# %% [markdown]
# ## How good is the detector?
#
# On the held-out patients, at the threshold that was chosen on *validation* patients. The interval
# behind each number is explained in a moment.

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
# about *where* the border is wrong, so we add **HD95**: of the distances from each outline to the
# other, the 95th percentile, in pixels.

# %%
by_patient = evaluation.patient_results(run, result)
by_patient.drop(columns=["slices", "predicted_px", "overlap_px"]).round(2)


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
plots.show(figure, alt, run.figures, "04_dice_by_patient")

# %% [markdown]
# Read the figure from below. A few bad patients pull the mean down, and the median hides them: that
# is why both are reported, and why neither replaces the picture. The band says where the *mean*
# could lie with other patients. It does not say where the next patient will lie: for that, look at
# the dots.
#
# ## How sure are we? The bootstrap over patients
#
# With other held-out patients the mean would be another. How different? The **bootstrap** answers
# by pretending that our patients are the population: draw as many patients *with replacement*,
# compute the mean again, do that a thousand times or more. The middle 95 % of the results is the
# interval ([Efron and Tibshirani 1993](https://doi.org/10.1201/9780429246593); here
# `scipy.stats.bootstrap`).
#
# What is drawn decides what the interval means. Slices of one patient rise and fall together: same
# tumour, same scanner. If you draw **slices**, the computer believes it has hundreds of independent
# cases. *Predict: for which of the three numbers below does that matter most?*

# %%
is_tumour = slices["tumour_px"] > 0
slices["dice"] = metrics.dice_from_counts(
    slices["tumour_px"], slices["predicted_px"], slices["overlap_px"]
)
measures = {
    "Dice, tumour slices": (slices[is_tumour], mean_dice),
    "specificity": (slices[~is_tumour], lambda rows: 1 - rows["flagged"].mean()),
    "AUC": (slices, lambda rows: detection.auc(rows["tumour_px"] > 0, rows["p_tumour"])),
}
intervals = {}
for name, (rows, measure) in measures.items():
    alone = rows.assign(patient=np.arange(len(rows)))  # as if each slice were a patient
    intervals[name] = {
        kind: bootstrap_patients(drawn, measure, seed=seed, resamples=1000)
        for kind, drawn in {"over patients": rows, "over slices": alone}.items()
    }

# %%
figure = plots_evaluation.compare_intervals(
    intervals, SOURCE, "The same numbers, two intervals", "value"
)
alt = "Two intervals for each number. " + " ".join(
    f"{name}: {both['over patients']} over patients, {both['over slices']} over slices."
    for name, both in intervals.items()
)
plots.show(figure, alt, run.figures, "04_intervals")

# %%
widths = {
    name: {kind: interval.high - interval.low for kind, interval in both.items()}
    for name, both in intervals.items()
}
print(f"width of the interval; {SOURCE}")
table = pd.DataFrame(widths).T
table.assign(ratio=table["over patients"] / table["over slices"]).round(3)

# %% [markdown]
# How much too narrow the interval over slices is depends on how alike the slices of a patient are.
# With $m$ slices a patient whose values correlate by $\rho$, it is too narrow by the factor
# $\sqrt{1 + (m - 1)\rho}$, the root of the *design effect* (Kish, *Survey Sampling*, Wiley 1965).
# With ten slices and $\rho = 0.3$ that is 1.9: it claims what a study with nearly four times as
# many patients would. Where patients hardly differ, $\rho$ is near 0, and the two agree up to
# chance; in an AUC much of it cancels, because each patient brings slices of both kinds. You cannot
# know beforehand which case you are in. The interval over patients is right in all of them.
#
# Mind also what the interval over patients does *not* hold. It knows only chance in the choice of
# patients; another training with another seed, another hospital, another expert's masks are not in
# it. With fewer than 20 patients or so even this one is a little too narrow, and with a handful, as
# in a short trial run, it means next to nothing: the ratio may then even fall below 1. And an
# interval without width, "1.00 to 1.00", says that nothing varied among these patients, not that
# nothing ever will.
#
# ## Cascade or segmenter alone? In pairs
#
# Some patients are hard for both ways. To compare them we look at the **difference within each
# patient**, so that what makes a patient hard cancels out. The interval of the mean difference
# draws patients too, the same ones for both ways.

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
plots.show(figure, alt, run.figures, "04_cascade")

# %%
of_cascade = bootstrap_patients(cascade, mean_dice, seed=seed)
print(f"segmenter alone: {mean}\ncascade:         {of_cascade}")
print(f"difference, in pairs: {gain.estimate:+.3f} ({gain.low:+.3f} to {gain.high:+.3f})")
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
#
# ## Small tumours
#
# A slice counts as found if the detector flags it, or if the predicted mask touches the tumour. We
# split the tumour slices into thirds by the tumour's area.

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
plots.show(figure, alt, run.figures, "04_sensitivity_by_size")

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
plots.show(figure, alt + ".", run.figures, "04_false_positives")

# %% [markdown]
# Here the cascade can win: both models have to be wrong about the same slice. Whether that is worth
# the tumour slices it loses depends on what a miss costs and what a false alarm costs, and no
# number in this notebook can tell you that.
#
# ## One set of predictions, a dozen Dice scores
#
# Now the part to remember when you read a paper. The masks stay exactly as they are; only the way
# of averaging changes. Each of these ways is in use under the plain name "Dice". *Predict: how far
# apart are the highest and the lowest?*

# %%
conventions = metrics.dice_conventions(slices)
figure = plots_evaluation.dice_conventions(conventions, SOURCE)
lowest = conventions.loc[conventions["dice"].idxmin()]
highest = conventions.loc[conventions["dice"].idxmax()]
alt = (
    f"The same predictions under {len(conventions)} conventions, from {lowest['dice']:.2f} "
    f"({lowest['convention']}) to {highest['dice']:.2f} ({highest['convention']}). The course's "
    f"own, mean over patients, gives {conventions['dice'].iloc[0]:.2f}."
)
plots.show(figure, alt, run.figures, "04_conventions")

# %%
# NBVAL_CHECK_OUTPUT
spread = conventions["dice"].max() - conventions["dice"].min()
print("conventions:", len(conventions))
print("further apart than 0.1:", bool(spread > 0.1))

# %% [markdown]
# The trick is the **empty slice**. Where nothing is traced and nothing predicted, Dice is 0/0. Call
# it 1 and every tumour-free slice is a full success, and most slices are tumour-free; call it 0 and
# every correct silence is a failure; skip it and false alarms on other slices weigh more. One
# published model has a Dice of 0.93 over all slices and 0.79 over the slices with tumour.
#
# So: never compare two Dice scores before you know both conventions. And in your own work write the
# convention next to the number.
#
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
# each the slice in which most tumour was missed and the one in which most was invented.

# %%
errors = evaluation.kinds_of_error(by_patient, exploration.missing_sequences(run.part("test")))
print(SOURCE)
errors.head(5).round(2)

# %%
rows = evaluation.telling_slices(slices, errors["patient"].head(3).tolist())
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
plots.show(figure, alt, run.figures, "04_worst")

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
#   is an error of another kind. High HD95 points to the second.
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
# memory. A **model card** ([Mitchell et al. 2019](https://arxiv.org/abs/1810.03993)) says in one
# page what they are for, what they were trained on, how good they are, for whom, and where they
# fail. We record the numbers of this notebook in the run's `metrics.json`; the card is then
# *generated* from the files of the run, so that it cannot say anything else.

# %%
run.record(
    {
        "segmentation": evaluation.segmentation_record(by_patient, slices, seed),
        "cascade": evaluation.segmentation_record(cascade, result.cascade_slices, seed)
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

# %%
# NBVAL_CHECK_OUTPUT
print("detection AUC at least 0.9:", bool(auc.estimate >= 0.9))
print("mean Dice by patient at least 0.68:", bool(mean.estimate >= 0.68))
print("an interval over slices is too narrow by a tenth or more:",
      bool((table["over patients"] > 1.1 * table["over slices"]).any()))  # fmt: skip
print("sections of the model card:", card.read_text(encoding="utf-8").count("\n## "))

# %% [markdown]
# ## What you have seen
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
