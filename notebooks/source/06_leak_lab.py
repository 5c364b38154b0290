# %% [markdown]
# # 6 · Leak lab: one model, one budget, three splits
#
# Deal out a cohort slice by slice, and most tested slices have a neighbour of the same patient in
# training. The score comes out high. How much of that is the model, and how much is the split? You
# will measure it: the same model, the same number of training slices, tested under three splits.
# Nothing changes but who is dealt where.
#
# **What you will learn**
#
# - how large the gap between a split by slice and a split by patient is, with an interval;
# - that a column called `patient_id` proves nothing, and how to find its fault;
# - to predict how many test slices have a neighbour in training;
# - to write a check that no leak passes;
# - how a model's freedom to remember changes what a [leak](../docs/glossary.md#leakage) is worth.
#
# **What you need**: notebook [1](01_explore.ipynb); of notebook [2](02_detect.ipynb) what a frozen
# network and an [AUC](../docs/glossary.md#auc) are. About a minute of computing (two, if notebook
# 2 was not run before), one hour of thinking, and 0.7 GB of memory.

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

from utils import check
from utils.course import leak_lab
from utils.course.features import slice_features
from utils.course.run import open_run
from utils.evidence import comparisons
from utils.evidence.comparisons import comparison_rows, split_verdicts
from utils.evidence.tables import read_evidence
from utils.plots import labs as plots_labs
from utils.plots.style import show

run = open_run(cohort, data, run_folder, seed, patients, size, detector_epochs, segmenter_epochs)
print(run.describe())

# %% [markdown]
# ## The model, and its budget
#
# The question for the model is that of notebook 2: does this slice show a tumour? The frozen part
# of ResNet50 describes each slice in 1024 numbers ([features](../docs/glossary.md#feature)); it
# has seen no slice of this cohort. What learns is a *support vector machine*. Training gives every
# training slice a weight, which is 0 for those that are told apart easily; the others are the
# *support vectors*. The answer for a new slice is a sum over all support vectors, however alike or
# unlike: each adds its weight times its likeness to the new slice if it shows a tumour, and
# subtracts it if not. The penalty C is the most that a single slice may weigh, and so says how far
# the machine may bend to get every training slice right. It stays at 10 in all three splits. Three
# quarters of the slices are trained on.
#
# Frozen features with a small classifier on top are also the first network of notebook 2.

# %%
features = slice_features(run)
likeness = leak_lab.kernel(features)

# %% tags=["nbval-check-output"]
print("slices, features:", *features.shape)
print("likeness of every slice with every other:", *likeness.shape)

# %% [markdown]
# ## Three splits
#
# - **random slices**: every slice is dealt by itself, as `train_test_split` would do;
# - **faulty patient_id**: whole patients, as a table in circulation for the real cohort names them.
#   We rebuild that table below, with the mistake that was made in it;
# - **patients**: whole patients, by the names of the folders.
#
# *Predict before you run: by how much will the AUC of random slices exceed that of patients? Write
# your number down in the first exercise; you will be asked for no more than a number that is
# possible.*

# %% [markdown]
# ### Exercise 6.1 · Your bet
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
# An AUC lies between 0.5 (chance) and 1 (perfect). If patients give 0.9, how much room is left?
#
# </details>

# %% tags=["solution"]
predicted_gap = 0.05

# %% tags=["nbval-check-output"]
check.predicted_gap(predicted_gap)

# %%
tests = {
    split: leak_lab.choose_test_slices(groups, np.random.default_rng(seed))
    for split, groups in leak_lab.three_splits(run.table).items()
}
figure = plots_labs.tested_slices(run.table, tests, run.describe())
alt = (
    "Three maps of the first 20 patients' slices, test slices in orange. Split by random slices, "
    "orange is strewn all over; by the faulty patient_id it comes in scattered upright streaks "
    "through all patients; by patients, whole rows are orange or blue."
)
show(figure, alt, run.figures, "06_tested_slices")

# %% [markdown]
# ## Count first
#
# Before any training: how many patients are on both sides? This count takes one line, and no leak
# in this notebook survives it.

# %% [markdown]
# ### Exercise 6.2 · Who is on both sides?
#
# Write `leaking_patients(patients, parts)`. It gets two lists of equal length, with an entry a
# slice: the patient, and the part ("train", "validation" or "test"). Return the sorted list of
# patients that are in more than one part. Validation counts: a threshold chosen on a training
# patient is chosen too well.
#
# <details><summary>Hint 1</summary>
#
# For each patient, collect the *set* of parts. How large is it?
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# A dictionary from patient to set of parts (`setdefault(patient, set()).add(part)`) does it in one
# pass; `pandas` does it with `groupby` and `nunique`.
#
# </details>


# %% tags=["solution"]
def leaking_patients(patients, parts):
    """Return the sorted names of the patients that are in more than one part."""
    found = {}
    for patient, part in zip(patients, parts, strict=True):
        found.setdefault(patient, set()).add(part)
    return sorted(patient for patient, sides in found.items() if len(sides) > 1)


# %% tags=["nbval-check-output"]
check.leaking_patients(leaking_patients)

# %% [markdown]
# ## The measurement
#
# Each split is dealt many times anew (how many times, every output and figure says), and each time
# the machine is trained and tested. That takes a few seconds, because the features are there
# already.

# %%
scores = leak_lab.compare_splits(run.table, likeness, seed=seed)
columns = ["auc", "test_slices", "leaked", "neighbours"]
means = scores.groupby("split", sort=False)[columns].mean()
print(f"means of {leak_lab.REPEATS} repeats; {run.describe()}")
means.rename(columns={
    "auc": "AUC", "test_slices": "test slices", "leaked": "patients on both sides",
    "neighbours": "share with a neighbour in training"}).round(3)  # fmt: skip

# %%
figure = plots_labs.split_scores(scores, run.describe())
alt = (
    "Dots, one a repeat, in three rows. Mean AUC: "
    + ", ".join(f"{split} {means.loc[split, 'auc']:.3f}" for split in means.index)
    + ". The rows of random slices and of the faulty patient_id lie close together on the right."
)
show(figure, alt, run.figures, "06_scores")

# %%
gaps = {split: leak_lab.gap(scores, split) for split in ("random slices", "faulty patient_id")}
for split, one in gaps.items():
    print(f"{split} minus patients: {one.estimate:+.3f} AUC "
          f"(95 % interval {one.low:+.3f} to {one.high:+.3f}); {run.describe()}")  # fmt: skip
run.record({"leak_lab": {
    **{f"auc_{split.replace(' ', '_')}": float(means.loc[split, "auc"]) for split in means.index},
    **{key: value for split, one in gaps.items()
       for key, value in one.record(f"gap_{split.replace(' ', '_')}").items()},
}})  # fmt: skip

# %% tags=["nbval-check-output"]
for split, one in gaps.items():
    print(f"{split}: above patients by more than 0.02: {one.estimate > 0.02}, "
          f"interval above 0: {one.low > 0}")  # fmt: skip
print("patients on both sides:", means["leaked"].round().astype(int).to_dict())
spread = scores.groupby("split", sort=False)["auc"].std()
print("the AUC by patients scatters over the repeats at least twice as much as the others:",
      spread["patients"] > 2 * spread.drop("patients").max())  # fmt: skip

# %% [markdown]
# Look at what is *not* there: no error, no warning, and no sign in the scores themselves. A high
# AUC with hardly any spread looks more trustworthy than a lower one that jumps from repeat to
# repeat. The jumping is the honest part: with a quarter of the patients in the test, it matters who
# they are.
#
# About the interval: the repeats share most of their slices, so the usual standard error would
# be far too small. This one is widened for it (Nadeau & Bengio 2003). It says how sure the gap is
# for *this* cohort; another cohort is another draw of patients.
#
# Why is the gap there? The test asks "is there a tumour in this slice?", and the next slice of the
# same patient, whose answer is known, is nearly the same picture. Nothing has to be understood; it
# has to be recognised.
#
# ## The column that was trusted
#
# The second split *was* made by patient, and by the same code as the third. Only its column of
# patients was another one. Here is the table it comes from, rebuilt for our cohort by the mistake
# in a real one: `data_mask.csv`, a list of the LGG cohort's slices that notebooks on it are handed
# on with. In [a public
# copy](https://github.com/Aryavir07/From-Detection-To-The-Segmentation-Of-Brain-Tumors/blob/776312a5799f7b2f81c72534f59ee1b18f5925e1/data_mask.csv)
# you can see it in the first rows: one `patient_id` for the first slices of twenty patients. We
# counted 3894 wrong rows of 3929.

# %%
faulty = leak_lab.faulty_table(run.table)[["patient_id", "image"]]
faulty.head(8)

# %%
faulty.iloc[len(faulty) // 2 :].head(8)

# %% [markdown]
# ### Exercise 6.3 · What went wrong?
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
# ### Exercise 6.4 · How many rows are wrong?
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
print("believed patients:", len(set(believed)), " patients:", run.table["patient"].nunique())
first = faulty["patient_id"].iloc[0]
print(f"slices that {first} is believed to have come from",
      run.table["patient"][believed == first].nunique(), "patients")  # fmt: skip

# %% [markdown]
# The number of patients is right, each has a plausible number of slices, and every name exists.
# Only comparing the column with something *independent* of it, the name of the file, shows the
# fault. That is why this course takes the patient from the path, and never from a column.
#
# ## How many neighbours to expect
#
# The table of scores has a column with the share of test slices whose slice above or below is in
# training. You can work out for random slices what it must be.

# %% [markdown]
# ### Exercise 6.5 · Neighbours by chance
#
# Write `expected_share(test_share, slices)`. Every slice is tested with probability `test_share`,
# independently of the others; a patient has so many `slices` (1 or more). Return the expected
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
# ## A check that no leak passes
#
# A rule that lives in a text is forgotten. Write it as code that *stops*.

# %% [markdown]
# ### Exercise 6.6 · assert_no_leak
#
# Write `assert_no_leak(train, test)`. It gets the patients of the two parts, one entry a slice, as
# lists or pandas columns; the same patient comes many times. If all is well it returns nothing.
# Otherwise it raises a `ValueError` whose message names the patients that are on both sides. Names
# may hold any character (`P#1` and `P#11` are two people), or be numbers. And what if a part is
# empty: is that a split that you would let pass?
#
# <details><summary>Hint 1</summary>
#
# Sets know `&`. What do you have to do to numbers before they can be put into a message?
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# Compare whole names, never pieces of text. An empty part shares nobody with the other, so it
# needs a test of its own: a model without test patients has not been tested.
#
# </details>


# %% tags=["solution"]
def assert_no_leak(train, test):
    """Raise a ValueError that names the patients on both sides, or says which part is empty."""
    for name, part in (("training", train), ("test", test)):
        if len(part) == 0:
            raise ValueError(f"the {name} part has no patients")
    both = sorted(set(train) & set(test))
    if both:
        names = ", ".join(str(each) for each in both)
        raise ValueError(f"{len(both)} patients are in training and in test: {names}")


# %% tags=["nbval-check-output"]
check.assert_no_leak(assert_no_leak)

# %% [markdown]
# ## Who profits from a leak?
#
# So far the machine was one. Now its freedom changes. It is set by C, the penalty for a training
# slice on the wrong side: with a low C the machine is stiff and may get many training slices
# wrong, with a high one it bends until all are right. *Predict before you run: which way do the
# lines go, and which split would you look at to choose the penalty?*

# %%
penalties = (0.1, 0.3, 1, 3, 10, 30, 100)
means_by_penalty = leak_lab.auc_by_penalty(run.table, likeness, penalties, seed=seed)
figure = plots_labs.auc_by_penalty(means_by_penalty, leak_lab.REPEATS, run.describe())
widths = means_by_penalty["random slices"] - means_by_penalty["patients"]
lines = [
    f"{split}: {line.iloc[0]:.3f} at the left, {line.iloc[-1]:.3f} at the right, highest at "
    f"C = {line.idxmax():g}." for split, line in means_by_penalty.items()
]  # fmt: skip
alt = (
    f"Three lines of AUC, mean of {leak_lab.REPEATS} repeats, against the freedom of the machine. "
    f"{' '.join(lines)} Random slices minus patients: {widths.iloc[0]:.3f} at the left, "
    f"{widths.iloc[-1]:.3f} at the right."
)
show(figure, alt, run.figures, "06_auc_by_penalty")

# %%
for split in ("random slices", "patients"):
    best = means_by_penalty[split].idxmax()
    on_patients = means_by_penalty.loc[best, "patients"]
    print(f"best by {split}: C = {best:g}, which gives {on_patients:.3f} on new patients")
print(run.describe())

# %% tags=["nbval-check-output"]
print("the gap is at least twice as wide for the freest machine as for the stiffest:",
      widths.iloc[-1] > 2 * widths.iloc[0])  # fmt: skip
print("at C = 10 the means are those of the first figure:",
      np.allclose(means_by_penalty.loc[10, means.index], means["auc"]))  # fmt: skip
lost = means_by_penalty.max() - means_by_penalty.iloc[-1]
print(
    "from its best to the freest machine, patients lose more than 0.005:", lost["patients"] > 0.005
)
print("random slices lose less than 0.001:", lost["random slices"] < 0.001)

# %% [markdown]
# The leak does not lift every machine alike: it lifts the one that remembers best. So a leaking
# split is worse than optimistic. It *chooses badly*: on the right, where the line of random slices
# is flat or still rising, that of patients is already falling. Whoever picks the penalty, the
# network or the number of epochs by a leaking split is told that memory costs nothing.
#
# Where would a deep network stand on this axis? The figure cannot say. Networks *can* remember:
# trained long enough, they fit even labels that were drawn by chance ([Zhang et al.
# 2017](https://arxiv.org/abs/1611.03530)). How much a given one does depends on its size, where it
# starts from, augmentation, and how long it learns. So it has to be measured, recipe by recipe.
#
# ## On real patients
#
# Training real networks under both splits takes hours, so it is not part of this notebook: the
# numbers come from tables computed beforehand on patients of the real LGG cohort; [notebook
# 5](05_evidence.ipynb) shows the same comparisons, with how many folds each rests on. "Our recipe"
# is the larger one described there, which no notebook teaches; "with intensity augmentation" is the
# same, trained on pictures whose grey levels are changed at random; the "seed recipe" is rebuilt
# from the course that this one grew from. Each gap is computed over the slices that both models
# predicted, with an interval over patients. Where the table says "not computed yet", that training
# is still to be done.
#
# *Predict before you run: will the gap of these networks lie above 0, too?*

# %% tags=["nbval-check-output"]
compared = comparisons.compare_named(read_evidence(), comparisons.SPLITS)
columns = ["", "measure", "on", "by patient", "random", "random minus by patient"]
print("real LGG cohort, split by slice against split by patient (95 % intervals)")
print(pd.DataFrame(comparison_rows(compared), columns=columns).to_string(index=False))
print()
print("\n".join(split_verdicts(compared)))

# %% [markdown]
# Read the verdicts line by line. The gap is no constant that could be subtracted: it belongs to a
# recipe and its patients. "Do not decide" is no acquittal either. It says that these patients are
# too few to tell a small leak from none, and that is known only because the split by patient was
# made.

# %% [markdown]
# ## Test yourself
#
# **1.** A split by slice gives AUC 0.99, a split by patient 0.91. What will the model score at a
# new hospital? (a) about 0.99, (b) about 0.91 or less, (c) about 0.95, their mean
#
# <details><summary>Answer</summary>
#
# (b). New patients are what the split by patient imitates, and another scanner can only make it
# harder. 0.99 answers a question that nobody has: how well are slices recognised whose neighbours
# were learnt. A mean of a right and a wrong answer is no answer.
#
# </details>
#
# **2.** Slices are split by patient, but the *augmented copies* of all slices were made before.
# Leak? (a) yes, (b) no, if a copy goes with its patient, (c) only if copies are rotated
#
# <details><summary>Answer</summary>
#
# (b). What matters is who is on which side, not when copies were made: a copy that stays with its
# patient tells training nothing about the test. Dealt out one by one, copies would leak even more
# than neighbours do, rotated or not.
#
# </details>
#
# **3.** The faulty `patient_id` column has 60 ids with about 26 slices each, as the true one.
# Which test finds the fault? (a) counting ids, (b) counting slices an id, (c) comparing ids with
# the names of files
#
# <details><summary>Answer</summary>
#
# (c). The column is a rearrangement of the right one, so every count that looks at the column
# alone comes out right, (a) and (b) included. Only a second, independent source can contradict it.
#
# </details>
#
# **4.** A colleague leaves out every second slice, "so that no test slice has its neighbour in
# training". Is a random split of the rest safe? (a) yes, (b) no
#
# <details><summary>Answer</summary>
#
# (b). The next slice but one is nearly as alike (notebook 1 measures it), and the scanner, the
# missing sequences and the anatomy of a patient are the same in all slices. The patient leaks, not
# just the neighbour.
#
# </details>
#
# **5.** Under a random split, model P beats model Q by 0.03. What follows for new patients? (a) P
# is better, (b) P is better, by less, (c) nothing
#
# <details><summary>Answer</summary>
#
# (c). The last figure has machines whose order under a random split is not that by patient. "By
# less" would be right if the leak were a constant added to both; it is not, it rewards memory.
#
# </details>

# %% [markdown]
# ## What you have seen
#
# **Key points**
#
# - Same model, same budget: dealing out slices instead of patients raised the AUC by an amount
#   whose interval lies above 0. You have measured it, on this cohort and with this seed; try
#   another.
# - A split by patient is worth as much as its column of patients. A faulty one leaks like no split
#   at all, and every count of the column alone looks right.
# - The inflated score is not only higher but also steadier. It gives itself away by nothing.
# - In this lab, the freer the machine was to remember, the more the leak lifted it, and the leaking
#   split chose another penalty than the split by patient. For networks it has to be measured,
#   recipe by recipe.
# - Take the patient from an independent source, count who is on both sides, and let code stop the
#   work.
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
