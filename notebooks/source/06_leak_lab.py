# %% [markdown]
# # 6 · Leak lab: one model, one budget, three splits
#
# If a cohort is split slice by slice, most slices of the test have a neighbour of the same patient
# in training, and the score comes out high. How much of that score is the model, and how much is
# the split? In this notebook you measure it: the same model and nearly the same number of training
# slices, under three splits. Only one thing changes between them: how the slices are dealt into
# training and test.
#
# **What you will learn**
#
# - how large the gap between a split by slice and a split by patient is, with an interval;
# - why a column called `patient_id` has to be checked, and how its fault is found;
# - to predict how many test slices have a neighbour in training;
# - to write a check that stops the work when a patient is in two parts;
# - how [regularisation](../docs/glossary.md#regularisation) changes what a
#   [leak](../docs/glossary.md#leakage) is worth, and how to choose it without one.
#
# **What you need**: notebook [1](01_explore.ipynb); of notebook [2](02_detect.ipynb) what a frozen
# network and an [AUC](../docs/glossary.md#auc) are. About a minute of computing (two, if notebook
# 2 was not run before), one hour for reading and the six exercises, and 0.7 GB of memory.

# %% [markdown]
# ## The questions
#
# 1. By how much does a score rise if slices of the test patients are in training?
# 2. Does a split by a `patient_id` column help, if the column is wrong?
# 3. Can you see from a score that it is inflated?

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
from utils.course import leak_lab
from utils.course.features import slice_features
from utils.course.run import open_run
from utils.evidence import comparisons
from utils.evidence.comparisons import comparison_rows, split_verdicts
from utils.evidence.tables import read_evidence
from utils.exercises.commitment import compare_prediction
from utils.plots import labs as plots_labs
from utils.plots.style import show

run = open_run(cohort, data, run_folder, seed, patients, size, detector_epochs, segmenter_epochs)
print(run.describe())

# %% [markdown]
# ## The model, and its budget
#
# The task is that of notebook 2: does this slice show a tumour? The frozen part of ResNet50, which
# has never seen a slice of this cohort, describes each slice by 1024 numbers, its
# [features](../docs/glossary.md#feature). On these features we train a small classifier, a *support
# vector machine* (SVM).
#
# An SVM compares a new slice with the training slices. Each training slice has a weight; slices
# that are easily told apart get the weight 0, the others are the *support vectors*. For a new slice
# the SVM adds up the weights, each multiplied by how similar the two slices are: with a plus for
# training slices with tumour, with a minus for those without. The number C limits how large a
# single weight may become. With a small C no single slice can decide much (strong regularisation);
# with a large C the SVM may give a slice as much weight as it takes to classify it rightly (weak
# regularisation). Until the section on regularisation C stays at 10, and three quarters of the
# slices are trained on, in all three splits.
#
# Why an SVM and not the network of notebook 2? Because it trains in a fraction of a second, so that
# we can repeat each split many times and see how much chance there is in a score.

# %%
features = slice_features(run)
likeness = leak_lab.kernel(features)

# %% tags=["nbval-check-output"]
print("slices, features:", *features.shape)
print("similarity of every slice with every other:", *likeness.shape)

# %% [markdown]
# ## Three splits
#
# - **random slices**: every slice is drawn by itself, as `train_test_split` does it;
# - **faulty patient_id**: whole patients, but by a column of names that is wrong. A table with this
#   column is handed around for the real cohort; we rebuild it further below;
# - **patients**: whole patients, by the names of their folders.
#
# *Predict before you run: how much higher will the AUC be with random slices than with whole
# patients? Write down a number before you go on. There is no wrong number here; the notebook keeps
# it, and after the measurement it tells you how far you were off.*

# %% [markdown]
# ### Exercise 6.1 · Your prediction
#
# Set `predicted_gap` to the difference that you expect: AUC under the random split minus AUC under
# the split by patient.
#
# <details><summary>Hint 1</summary>
#
# Notebook 1 has a detector that copies the answer of the most similar slice. How did it fare?
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# An AUC lies between 0.5 (chance) and 1 (perfect). If the split by patient gives 0.9, how much can
# the random split be above it?
#
# </details>

# %% tags=["solution"]
predicted_gap = 0.05

# %% tags=["nbval-check-output"]
check.predicted_gap(predicted_gap)

# %% [markdown]
# The next figure shows which slices are tested: a row for each patient, from the lowest slice at
# the left to the highest at the right.

# %%
tests = {
    split: leak_lab.choose_test_slices(groups, np.random.default_rng(seed))
    for split, groups in leak_lab.three_splits(run.table).items()
}
figure = plots_labs.tested_slices(run.table, tests, run.describe())

# %% tags=["hide-input"]
alt = (
    "Three maps of the first 20 patients' slices, test slices in orange. Split by random slices, "
    "orange is scattered over nearly all rows; by the faulty patient_id it forms vertical stripes, "
    "each through many patients; by patients, whole rows are orange or blue."
)
show(figure, alt, run.figures, "06_tested_slices")

# %% [markdown]
# Look at one row. On the left, nearly every orange slice has a blue neighbour. In the middle the
# stripes are vertical: what the column calls one patient is one slice number (near the end of the
# list, several) of many patients. On the right every row is of one colour, as hardly any is on the
# left. With another seed other slices and patients are orange; the three patterns stay.
#
# ## Count first
#
# Before any training: how many patients are in training *and* in test? It takes one line, and it
# finds every leak of this notebook.

# %% tags=["nbval-check-output"]
names = run.table["patient"]
for split, test in tests.items():
    both = set(names[test]) & set(names[~test])
    print(f"{split}: {len(both)} of {names.nunique()} patients are in training and in test")

# %% [markdown]
# ## The measurement
#
# Each split is drawn several times with new random numbers, and each time the SVM is trained and
# tested. The `AUC` below is the mean over these repeats.

# %%
scores = leak_lab.compare_splits(run.table, likeness, seed=seed)
means = scores.groupby("split", sort=False)[["auc", "test_slices", "leaked", "neighbours"]].mean()
words = {
    "auc": "AUC",
    "test_slices": "test slices",
    "leaked": "patients in both",
    "neighbours": "share with a neighbour in training",
}
print(f"means of {leak_lab.REPEATS} repeats; {run.describe()}")
means.rename(columns=words).round(3)

# %%
gaps = {split: leak_lab.gap(scores, split) for split in ("random slices", "faulty patient_id")}
for split, one in gaps.items():
    print(f"{split} minus patients: {one.estimate:+.3f} AUC")
    print(f"    95 % interval {one.low:+.3f} to {one.high:+.3f}; {run.describe()}")

# %% [markdown]
# And your prediction:

# %%
measured = gaps["random slices"]
compare_prediction("predicted_gap", measured.estimate, measured.low, measured.high)

# %% tags=["hide-input"]
record = {f"auc_{split.replace(' ', '_')}": float(row["auc"]) for split, row in means.iterrows()}
for split, one in gaps.items():
    record |= one.record(f"gap_{split.replace(' ', '_')}")
run.record({"leak_lab": record})
figure = plots_labs.split_scores(scores, run.describe())
alt = (
    "Dots, one for each repeat, in three rows. Mean AUC: "
    + ", ".join(f"{split} {means.loc[split, 'auc']:.3f}" for split in means.index)
    + ". The rows of random slices and of the faulty patient_id lie close together on the right."
)
show(figure, alt, run.figures, "06_scores")

# %% tags=["hide-input"]
of_split = scores.groupby("split", sort=False)["auc"].agg(["min", "max", "std", "mean"])
random, whole = of_split.loc["random slices"], of_split.loc["patients"]
of_random = scores.loc[scores["split"] == "random slices", "auc"]
above = 100 * (of_random > whole["max"]).mean()
errors = 1 - whole["mean"], 1 - random["mean"]
words = (
    f"**What this figure shows.** With random slices the AUC lies between {random['min']:.3f} "
    f"and {random['max']:.3f} (standard deviation {random['std']:.3f}), with whole patients "
    f"between {whole['min']:.3f} and {whole['max']:.3f} (standard deviation {whole['std']:.3f}). "
    f"{above:.0f} % of the repeats with random slices lie above the best repeat by patient. Seen "
    f"as an error, 1 - AUC is {errors[1]:.3f} with random slices and {errors[0]:.3f} with whole "
    f"patients, {errors[0] / errors[1]:.1f} times as large. The faulty column gives a mean of "
    f"{of_split.loc['faulty patient_id', 'mean']:.3f}, although it was used to split by patient."
)
display(Markdown(words))

# %% tags=["nbval-check-output", "hide-input"]
for split, one in gaps.items():
    print(f"{split}: above patients by more than 0.02: {one.estimate > 0.02}")
    print(f"{split}: interval above 0: {one.low > 0}")
print("patients in both parts:", means["leaked"].round().astype(int).to_dict())
spread = scores.groupby("split", sort=False)["auc"].std()
twice = spread["patients"] > 2 * spread.drop("patients").max()
print("the AUC by patients varies over the repeats at least twice as much as the others:", twice)

# %% [markdown]
# Nothing in the two upper rows looks wrong. There is no error and no warning, and the inflated
# scores vary less from repeat to repeat than the correct ones, which makes them look more
# trustworthy. The larger variation of the split by patient is real: a quarter of the patients is
# tested, and it matters who they are. If you had to report one of the three rows, you would be
# tempted by the wrong one.
#
# Two remarks about the interval of the gap. The repeats share most of their training slices, so
# they are not independent, and the usual standard error would be far too small; this interval is
# widened for that (Nadeau & Bengio 2003). And it says how sure the gap is for *this* cohort. With
# another seed the slices are drawn anew and the gap changes a little; with another cohort the
# patients are others, and it may change a lot.
#
# Why is there a gap at all? The question is "is there a tumour in this slice?", and for a slice
# whose neighbour was in training the classifier has seen the answer for nearly the same image. It
# needs to recognise the neighbour; it needs to know nothing about tumours.
#
# ## The column that was trusted
#
# The second split *was* made by patient, by the same code as the third. Only the column of names
# was another one. Here it is, rebuilt for our cohort with the mistake that was made in a real
# table: `data_mask.csv`, a list of the LGG cohort's slices that many public notebooks use. In [a
# public
# copy](https://github.com/Aryavir07/From-Detection-To-The-Segmentation-Of-Brain-Tumors/blob/776312a5799f7b2f81c72534f59ee1b18f5925e1/data_mask.csv)
# you can see it in the first rows: one `patient_id` for the first slices of twenty patients. We
# counted 3894 wrong rows of 3929.

# %%
faulty = leak_lab.faulty_table(run.table)[["patient_id", "image"]]
faulty.head(8)

# %%
faulty.iloc[len(faulty) // 2 :].head(8)

# %% [markdown]
# ### Exercise 6.2 · What went wrong?
#
# Set `column_fault` to the letter of the explanation that fits both pieces of the table.
#
# - A: the ids were typed by hand and some are misspelt
# - B: every id is one row too low
# - C: the files were sorted by slice number, and the ids were not moved with them
# - D: the ids are in alphabetical order, and the files belong to other patients on purpose
#
# <details><summary>Hint 1</summary>
#
# Read the last number in the names of the files down the table, then the ids down the table. In
# which order is each?
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# How would the two columns look if both had been sorted by patient? Which of them was moved after?
#
# </details>

# %% tags=["solution"]
column_fault = "C"

# %% tags=["nbval-check-output"]
check.column_fault(column_fault)

# %% [markdown]
# ### Exercise 6.3 · How many rows are wrong?
#
# Write `wrong_rows(table)`: the number of rows of a table with the columns `patient_id` and
# `image` in which the id is not the patient of the file. A file is called `<patient>_<slice
# number>.tif`, and a patient's name may hold underscores itself. Beware of `SIM_DU_1` and
# `SIM_DU_11`, and of tables whose row labels do not start at 0.
#
# <details><summary>Hint 1</summary>
#
# Take the name of the file apart from the right: `rsplit("_", 1)`.
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# Compare the two as text, row by row, and add up the differences. `startswith` would be fooled.
#
# </details>


# %% tags=["solution"]
def wrong_rows(table):
    """Return in how many rows `patient_id` is not the patient in the name of `image`."""
    pairs = zip(table["patient_id"], table["image"], strict=True)
    return sum(patient != image.rsplit("_", 1)[0] for patient, image in pairs)


# %% tags=["nbval-check-output"]
check.wrong_rows(wrong_rows)

# %% tags=["nbval-check-output"]
believed = leak_lab.faulty_patient_ids(run.table)
wrong = (believed != run.table["patient"]).sum()
print(f"wrong: {wrong} of {len(run.table)} rows")
print("different ids:", len(set(believed)), " patients:", run.table["patient"].nunique())
first = faulty["patient_id"].iloc[0]
owners = run.table["patient"][believed == first].nunique()
print(f"the slices that the column gives to {first} come from {owners} patients")

# %% [markdown]
# The number of different ids is right, each has a plausible number of slices, and every name
# exists. The fault shows only when the column is compared with something *independent* of it, here
# the name of the file. That is why this course takes the patient from the path and never from a
# column.
#
# ## How many neighbours to expect
#
# The table of scores has a column with the share of test slices whose neighbour, the slice above or
# below, is in training. For random slices you can work out what it must be.

# %% [markdown]
# ### Exercise 6.4 · Neighbours by chance
#
# Write `expected_share(test_share, slices)`. Every slice is tested with probability `test_share`,
# independently of the others; each patient has `slices` slices (1 or more). Return the expected
# share of the tested slices that have at least one neighbour (the slice above or below, of the
# same patient) in training. The first and the last slice have only one neighbour; a single slice
# has none.
#
# <details><summary>Hint 1</summary>
#
# For a slice in the middle, what is the probability that *neither* neighbour is in training?
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# In the middle: 1 minus the probability that both neighbours are tested. At the ends: the
# probability that the one neighbour is trained on. Then average over the places.
#
# </details>


# %% tags=["solution"]
def expected_share(test_share, slices):
    """Return the expected share of tested slices with a neighbour in training."""
    if slices == 1:
        return 0.0
    middle, end = 1 - test_share**2, 1 - test_share
    return ((slices - 2) * middle + 2 * end) / slices


# %% tags=["nbval-check-output"]
check.expected_share(expected_share)

# %% tags=["nbval-check-output"]
near = means["neighbours"]
print("random slices, over 85 % with a neighbour in training:", near["random slices"] > 0.85)
print("faulty patient_id, over 80 %:", near["faulty patient_id"] > 0.8)
print("patients:", near["patients"])

# %% [markdown]
# ## A check that stops the work
#
# A leak does not show in the score. A rule in a text will be forgotten sooner or
# later; code that raises an error will not. The check also has to look at the validation part: if a
# threshold is chosen on patients whom the model was trained on, it is chosen too well.

# %% [markdown]
# ### Exercise 6.5 · assert_no_leak
#
# Write `assert_no_leak(patients, parts)`. It gets two lists (or pandas columns) of equal length
# with one entry for each slice: the patient, and the part, "train", "validation" or "test". If
# every patient is in one part only, it returns nothing. Otherwise it raises a `ValueError` whose
# message names all the patients that are in more than one part. Names may hold any character (`P#1`
# and `P#11` are two people), or be numbers. And if no slice is in "train", or none in "test"? Is
# that a split that you would let pass?
#
# <details><summary>Hint 1</summary>
#
# For each patient, collect the *set* of parts (`setdefault(patient, set()).add(part)`), or use
# `groupby` and `nunique` of pandas. How large is the set of a patient who leaks?
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# Compare whole names, never pieces of text, and turn numbers into text before you join them. A
# missing part shares nobody with the others, so it needs a test of its own.
#
# </details>


# %% tags=["solution"]
def assert_no_leak(patients, parts):
    """Raise a ValueError that names who is in several parts, or says which part is missing."""
    found = {}
    for patient, part in zip(patients, parts, strict=True):
        found.setdefault(patient, set()).add(part)
    for part in ("train", "test"):
        if not any(part in sides for sides in found.values()):
            raise ValueError(f"no slice is in {part}")
    leaking = sorted(patient for patient, sides in found.items() if len(sides) > 1)
    if leaking:
        names = ", ".join(str(patient) for patient in leaking)
        raise ValueError(f"{len(leaking)} patients are in more than one part: {names}")


# %% tags=["nbval-check-output"]
check.assert_no_leak(assert_no_leak)

# %% [markdown]
# ## What regularisation has to do with it
#
# So far C was fixed. Now it changes from 0.1, strong regularisation, under which no training slice
# can have much weight, to 100, weak regularisation, under which nearly every training slice is
# classified rightly. *Predict before you run: for which of them is the gap between the splits
# largest? And which of the curves would you look at to choose C?*

# %%
penalties = (0.1, 0.3, 1, 3, 10, 30, 100)
means_by_penalty = leak_lab.auc_by_penalty(run.table, likeness, penalties, seed=seed)
figure = plots_labs.auc_by_penalty(means_by_penalty, leak_lab.REPEATS, run.describe())

# %% tags=["hide-input"]
widths = means_by_penalty["random slices"] - means_by_penalty["patients"]
lines = [
    f"{split}: {line.iloc[0]:.3f} at the left, {line.iloc[-1]:.3f} at the right, highest at "
    f"C = {line.idxmax():g}."
    for split, line in means_by_penalty.items()
]
alt = (
    f"Three lines of AUC, mean of {leak_lab.REPEATS} repeats, against the regularisation C. "
    f"{' '.join(lines)} Random slices minus patients: {widths.iloc[0]:.3f} at the left, "
    f"{widths.iloc[-1]:.3f} at the right."
)
show(figure, alt, run.figures, "06_auc_by_penalty")

# %%
for split in ("random slices", "patients"):
    best = means_by_penalty[split].idxmax()
    on_patients = means_by_penalty.loc[best, "patients"]
    print(f"C chosen by {split}: {best:g}; mean AUC by patient with this C: {on_patients:.3f}")
print(run.describe())

# %% tags=["hide-input"]
best = {split: line.idxmax() for split, line in means_by_penalty.items()}
by_slice, by_patient = best["random slices"], best["patients"]
reached = means_by_penalty.loc[by_slice, "patients"]
words = (
    f"**What this figure shows.** With C = {penalties[0]:g} random slices are {widths.iloc[0]:.3f} "
    f"above whole patients, with C = {penalties[-1]:g} they are {widths.iloc[-1]:.3f} above: the "
    f"weaker the regularisation, the larger the gap. The best C by random slices is "
    f"{by_slice:g}, by patients {by_patient:g}. Whoever chose C by the random split would report "
    f"{means_by_penalty['random slices'].max():.3f} and reach {reached:.3f} on new patients, "
    f"{means_by_penalty['patients'].max() - reached:.3f} less than with the C chosen by patients. "
    "(The C by patients was chosen on these same test patients, so its value flatters a little. To "
    "report it, one would choose in folds of training patients, as in exercise 6.6, and test once.)"
)
display(Markdown(words))

# %% tags=["nbval-check-output", "hide-input"]
wider = widths.iloc[-1] > 2 * widths.iloc[0]
print("the gap is at least twice as wide for the largest C as for the smallest:", wider)
same = np.allclose(means_by_penalty.loc[10, means.index], means["auc"])
print("at C = 10 the means are those of the first figure:", same)
loss = means_by_penalty.max() - means_by_penalty.iloc[-1]
print("from its best C to the largest, patients lose more than 0.005:", loss["patients"] > 0.005)
print("random slices lose less than 0.001:", loss["random slices"] < 0.001)

# %% [markdown]
# So a leak does more than raise the score: it raises most the models that memorise most. That makes
# a leaking split a bad guide for *choices*. On the right of the figure the line of random slices is
# flat or still rises where that of whole patients already falls. With another seed all values
# move a little, and the best C may move to its neighbour. We ran the seeds 0 to 3: the gap widened
# towards the right under each of them, and each time the random split chose a much larger C.
#
# Would a deep network sit at the left or at the right of this figure? The figure cannot tell.
# Networks *can* memorise: trained long enough, they fit even labels that were drawn by chance
# ([Zhang et al. 2017](https://arxiv.org/abs/1611.03530)). How much a given one does depends on its
# size, where its weights start from, augmentation, and how long it is trained. It has to be
# measured for each recipe, and *On real patients*, below, does that.

# %% [markdown]
# ### Exercise 6.6 · Tune without a leak
#
# Write `choose_penalty(features, labels, patients, penalties)`, which tunes C by cross-validation
# *by patient*. `features` has the shape `(slices, numbers)`, `labels` says which slices show a
# tumour, `patients` holds the name of the patient of each slice. Divide the slices with
# `GroupKFold(4)` into four folds. For each C in `penalties`, train `SVC(C=C)` (everything else as
# it is) on three folds and compute the AUC of its `decision_function` on the fourth, for each of
# the four in turn. Return the C with the highest mean AUC. The rows come in mixed order.
#
# <details><summary>Hint 1</summary>
#
# `GroupKFold(4).split(features, labels, patients)` gives four pairs of row numbers, training and
# test. `sklearn.metrics.roc_auc_score(labels, scores)` is the AUC.
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# `GridSearchCV(SVC(), {"C": list(penalties)}, scoring="roc_auc", cv=GroupKFold(4))` does the loops
# for you. Do not forget to give its `fit` the patients, as `groups=`. Its answer is in
# `best_params_`.
#
# </details>

# %% tags=["solution"]
from sklearn.model_selection import GridSearchCV, GroupKFold
from sklearn.svm import SVC


def choose_penalty(features, labels, patients, penalties):
    """Return the C with the highest mean AUC over four folds of whole patients.

    Parameters
    ----------
    features : ndarray, shape (slices, numbers)
    labels : ndarray of bool, shape (slices,)
    patients : ndarray of str, shape (slices,)
    penalties : sequence of float
    """
    folds = GroupKFold(4)
    search = GridSearchCV(SVC(), {"C": list(penalties)}, scoring="roc_auc", cv=folds)
    search.fit(features, labels, groups=patients)
    return search.best_params_["C"]


# %% tags=["nbval-check-output"]
check.choose_penalty(choose_penalty)

# %% [markdown]
# ## On real patients
#
# Training real networks under both splits takes hours, so it is not part of this notebook. The
# numbers below come from tables computed beforehand on patients of the real LGG cohort; [notebook
# 5](05_evidence.ipynb) shows the same comparisons. Each recipe was trained under both splits. "Our
# recipe" is the one described in notebook 5; the baseline recipe is rebuilt from an earlier public
# course that this one started from: a smaller network, trained from scratch on slices with tumour
# only. Each gap is computed over the same slices under both splits, with an interval over patients.
#
# *Predict before you run: will the gap of these networks lie above 0, too? For all recipes?*

# %% tags=["nbval-check-output"]
compared = comparisons.compare_named(read_evidence(), comparisons.SPLITS)
columns = ["", "measure", "on", "by patient", "random", "random minus by patient"]
print("real LGG cohort, split by slice against split by patient (95 % intervals)")
print(pd.DataFrame(comparison_rows(compared), columns=columns).to_string(index=False))

# %% tags=["nbval-check-output"]
print("\n".join(split_verdicts(compared)))
known = {name: one.dice.difference for name, one in compared.items() if one is not None}
above = [name for name, gap in known.items() if gap.low > 0]
print("\nrecipes whose whole interval of the Dice gap lies above 0:", ", ".join(above) or "none")

# %% [markdown]
# Compare the verdicts: a gap belongs to a recipe, a measure and the patients. So there is
# no number that one could subtract from a leaking score to make it right. Where the verdict is that
# these patients do not decide, the interval includes 0; look at its upper end to see how large a
# leak it still allows. And we know all this only because the split by patient was made as well.

# %% [markdown]
# ## Test yourself
#
# **1.** A split by slice gives AUC 0.99, a split by patient 0.91. What will the model score at a
# new hospital? (a) about 0.99, (b) about 0.91 or less, (c) about 0.95, their mean
#
# <details><summary>Answer</summary>
#
# (b). The split by patient imitates new patients, and another scanner usually makes the task harder
# still. The 0.99 tells how well the model classifies slices whose neighbours it was trained on,
# which is not what happens at the hospital. The mean of the two has no meaning.
#
# </details>
#
# **2.** Slices are split by patient, but the *augmented copies* of all slices were made before.
# Leak? (a) yes, (b) no, if a copy goes with its patient, (c) only if copies are rotated
#
# <details><summary>Answer</summary>
#
# (b). What matters is which part a copy is in, not when it was made: a copy that stays with its
# patient tells the training nothing about the test patients. If copies were dealt out one by one,
# they would leak even more than neighbours do, rotated or not.
#
# </details>
#
# **3.** The faulty `patient_id` column has 60 ids with about 26 slices each, as the true one. Which
# test finds the fault? (a) counting the ids, (b) counting the slices of each id, (c) comparing the
# ids with the names of the files
#
# <details><summary>Answer</summary>
#
# (c). The column holds the right names in the wrong order, so everything that is counted in the
# column alone comes out right, (a) and (b) included. Only a second, independent source shows the
# fault.
#
# </details>
#
# **4.** A colleague leaves out every second slice, "so that no test slice has its neighbour in
# training". Is a random split of the rest safe? (a) yes, (b) no
#
# <details><summary>Answer</summary>
#
# (b). The next slice but one is less similar, but still far more so than a slice of somebody else
# (notebook 1 measures it), and the scanner, the missing sequences and the anatomy are the same in
# all slices of a patient. What leaks is the patient, not only the neighbouring slice.
#
# </details>
#
# **5.** Under a random split, model P beats model Q by 0.03. What follows for new patients? (a) P
# is better, (b) P is better, by less, (c) nothing
#
# <details><summary>Answer</summary>
#
# (c). In the last figure the order of two values of C under a random split is not their order by
# patient. (a) would be right, and the lead the same, if the leak added the same amount to both
# models; but it adds more to the one that memorises more, which may be P. Then P's lead shrinks, as
# (b) says, or turns into a lag, and the random split does not tell which.
#
# </details>

# %% [markdown]
# ## What you have seen
#
# **Key points**
#
# - Same model, same budget: dealing out slices instead of patients raised the AUC, by an amount
#   whose interval lies above 0. You have measured it on this cohort with this seed; try another.
# - A split by patient is only as good as its column of patients. A faulty column leaks as much as a
#   random split, and everything counted in the column alone looks right.
# - An inflated score is higher and varies less. Nothing in the score itself shows that it is wrong.
# - In this lab, the weaker the regularisation, the more the leak raised the AUC, and the leaking
#   split chose another C than the split by patient. For networks it has to be measured for each
#   recipe.
# - Take the patient from an independent source, count who is in several parts, and let an error
#   stop the work. Tune in folds of whole patients, too.
#
# ## To think about
#
# 1. What besides the patient could leak in a cohort of several hospitals?
# 2. You review a paper with "a random 80/20 split of 3929 slices". What would you ask for?
# 3. When would a split by slice be the right one?
#
# ## Further reading
#
# - Zhang et al. (2017), *Understanding deep learning requires rethinking generalization*,
#   [arXiv:1611.03530](https://arxiv.org/abs/1611.03530).
# - Nadeau & Bengio (2003), *Inference for the generalization error*,
#   [doi:10.1023/A:1024068626366](https://doi.org/10.1023/A:1024068626366).
# - Yagis et al. (2021), *Effect of data leakage in brain MRI classification using 2D convolutional
#   neural networks*, [doi:10.1038/s41598-021-01681-w](https://doi.org/10.1038/s41598-021-01681-w).
# - Kapoor & Narayanan (2023), *Leakage and the reproducibility crisis in machine-learning-based
#   science*, [doi:10.1016/j.patter.2023.100804](https://doi.org/10.1016/j.patter.2023.100804).
# - Buda, Saha & Mazurowski (2019), *Association of genomic subtypes of lower-grade gliomas with
#   shape features automatically extracted by a deep learning algorithm*,
#   [doi:10.1016/j.compbiomed.2019.05.002](https://doi.org/10.1016/j.compbiomed.2019.05.002).
