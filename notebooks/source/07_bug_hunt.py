# %% [markdown]
# # 7 · Bug hunt: fourteen mistakes, and how they look
#
# Nothing crashes here. Every function below runs, returns numbers of the right shape, and is
# wrong; several make the result *better*. All fourteen are mistakes that are easily made with this
# kind of data; some of them you know from the notebooks before. In real work you meet them the way
# you do here: as a number, a curve or a picture that does not look right.
#
# **What you will learn**
#
# - to take a number that is too good as a symptom, and to ask what would explain it;
# - to recognise mistakes in splitting, feeding, training and scoring from what they look like;
# - to mend each of them, and to know which check would have caught it.
#
# **What you need**: notebooks [1](01_explore.ipynb) to [4](04_evaluate.ipynb), or their ideas.
# About a minute of computing, two hours of thinking, and 1.4 GB of memory.

# %% [markdown]
# ## The questions
#
# 1. How does each mistake show, if not by an error message?
# 2. Which of them raise the score, and which lower it?
# 3. Which single line would have prevented each?
#
# How it goes: you see a symptom first. *Predict before you run: at each symptom, write down which
# suspect you would accuse before you read the code.* Then the guilty function is printed; you name
# the mistake by its letter in the list of suspects, and write the function as it should be. The
# check tells you what your version still gets wrong. The bugs can be hunted in any order.

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
import inspect

import numpy as np
import pandas as pd

from utils import check
from utils.course import bug_symptoms
from utils.course.run import open_run
from utils.exercises import bugs, bugs_scores
from utils.plots import labs as plots_labs
from utils.plots.style import show

run = open_run(cohort, data, run_folder, seed, patients, size, detector_epochs, segmenter_epochs)
train, test = run.part("train"), run.part("test")
print(run.describe())

# %% [markdown]
# ## The suspects
#
# Two of them are innocent.

# %% tags=["nbval-check-output"]
for letter, suspect in bugs.SUSPECTS.items():
    print(f"{letter}  {suspect}")

# %% [markdown]
# ## Part I: splits
#
# ### The first symptom: a look-up table that detects tumours
#
# This "detector" knows nothing. For each test slice it finds the training slice that looks most
# like it ([notebook 1](01_explore.ipynb) had the same idea) and copies the answer. Below: how
# often it is right, and three tumour slices that it got right, each beside the slice that was
# copied from.

# %%
parts = bugs.split_rows(run.table, seed)
copied = bug_symptoms.copied_labels(run.volumes, parts == "test", parts == "train")
print(f"{100 * copied['right'].mean():.0f} % of {len(copied)} test slices are right")

found = copied[copied["right"] & run.volumes.labels[copied["row"]]]
shown = found.iloc[[len(found) // 8, len(found) // 2, 7 * len(found) // 8]]
rows = shown[["row", "source"]].to_numpy().ravel()
names = [f"{patient}\nslice {number}" for patient, number in
         run.table.loc[rows, ["patient", "slice"]].itertuples(index=False)]  # fmt: skip
for place in range(1, 6, 2):
    names[place] = "copied from\n" + names[place]
figure = plots_labs.gallery(
    run.volumes.images[rows, ..., 1], run.volumes.masks[rows], None, names,
    "Test slices, each beside the slice it was copied from", run.describe(),
)  # fmt: skip
alt = "Three pairs of FLAIR slices; the two of a pair look nearly the same: " + "; ".join(
    " ".join(name.split()) for name in names
)
show(figure, alt, run.figures, "07_copied")

# %%
print(inspect.getsource(bugs.split_rows))

# %% [markdown]
# ### Exercise 7.1 · A split that tests something
#
# Name the suspect, and write `mend_split(table, seed, share=0.25)`: "train" or "test" for each row
# of a cohort table (columns `patient`, `slice`), for a test of what happens with a *new patient*.
# A `share` of the patients, rounded to whole ones, is tested. The rows of a patient need not stand
# together, and patients may have very different numbers of slices.
#
# <details><summary>Hint 1</summary>
#
# Read the names above the pictures. What is the same within each pair?
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# Shuffle the names of the patients, not the rows; then ask for every row whether its patient was
# drawn (`table["patient"].isin(...)`).
#
# </details>

# %% tags=["solution"]
suspect_01 = "D"


def mend_split(table, seed, share=0.25):
    """Return "train" or "test" for each row (slice) of a cohort table, by patient."""
    patients = np.random.default_rng(seed).permutation(sorted(table["patient"].unique()))
    drawn = patients[: round(share * len(patients))]
    return np.where(table["patient"].isin(drawn), "test", "train")


# %% tags=["nbval-check-output"]
check.suspect_01(suspect_01)
check.mend_split(mend_split)

# %% [markdown]
# ### The second symptom: a detector that is perfect on some patients
#
# A [cascade](../docs/glossary.md#cascade) is two stages, a detector that picks the slices and a
# segmenter that outlines the tumour in them. Both were split by patient, and no patient is on both
# sides of either split. Here the detector is the look-up table again, filled with all slices of
# *its* training patients; it is scored on the patients on which the *cascade* is tested.

# %%
stages = bugs.deal_stages(sorted(run.split["patient"]), seed)
names = run.table["patient"]
asked = names.isin(stages["segmenter"]).to_numpy()
known = ~names.isin(stages["detector"]).to_numpy()
copied = bug_symptoms.copied_labels(run.volumes, asked, known)
shares = copied.groupby("patient")["right"].mean()

figure = plots_labs.share_by_patient(shares, run.describe())
alt = (
    f"Bars, one for each of {len(shares)} test patients. {(shares == 1).sum()} are at 100 %, the "
    f"others between {100 * shares.min():.0f} and {100 * shares[shares < 1].max():.0f} %."
)
show(figure, alt, run.figures, "07_stages")
print(f"mean over the patients: {100 * shares.mean():.0f} %")

# %%
print(inspect.getsource(bugs.deal_stages))

# %% [markdown]
# ### Exercise 7.2 · Two stages, one test
#
# Name the suspect, and write `mend_stages(patients, seed)`: a dictionary with the test patients of
# the `"detector"` and of the `"segmenter"`, a quarter of all (rounded down) in each list, so that
# the two can be tested together. Does the result depend on the order in which the patients come?
#
# <details><summary>Hint 1</summary>
#
# Who taught the detector about the patients with 100 %? Look at what differs between the two turns
# of the loop.
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# A patient on whom the cascade is tested may have trained neither stage. One draw is enough.
#
# </details>

# %% tags=["solution"]
suspect_02 = "I"


def mend_stages(patients, seed):
    """Return the test patients, a quarter of all, of a detector and a segmenter."""
    shuffled = np.random.default_rng(seed).permutation(sorted(patients))
    tested = sorted(shuffled[: len(patients) // 4].tolist())
    return {"detector": tested, "segmenter": tested}


# %% tags=["nbval-check-output"]
check.suspect_02(suspect_02)
check.mend_stages(mend_stages)

# %% [markdown]
# ### The third symptom: the same seed, other patients
#
# The seed is set, and the same code runs twice, each time in a fresh Python process. Yet the first
# patients drawn for the test differ. (To make this repeatable, the two processes get the hash
# seeds 1 and 2, instead of the random ones that Python draws when it starts.)

# %% tags=["nbval-check-output"]
ids = [f"SIM_DU_{number:04d}" for number in range(1, 13)]
for process in (1, 2):
    names = bug_symptoms.in_new_process(bugs.names_to_shuffle, ids * 3, process)
    drawn = np.random.default_rng(0).permutation(names)[:3]
    print(f"process {process}: {len(names)} different ids, tested on", *sorted(drawn.tolist()))

# %%
print(inspect.getsource(bugs.names_to_shuffle))

# %% [markdown]
# ### Exercise 7.3 · An order that stays
#
# Name the suspect, and write `mend_names(ids)`: every id once, as a list, in an order that is the
# same in every process and does not depend on the order in which the files happened to be read.
#
# <details><summary>Hint 1</summary>
#
# A seeded shuffle permutes *places*. Which name stands at which place before the shuffle?
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# Python stores text in a set by its hash, and the hash of text differs from process to process.
# Taking each id once is right; only the order has to be pinned down.
#
# </details>

# %% tags=["solution"]
suspect_03 = "F"


def mend_names(ids):
    """Return every id once, in the same order in every process."""
    return sorted(set(ids))


# %% tags=["nbval-check-output"]
check.suspect_03(suspect_03)
check.mend_names(mend_names)

# %% [markdown]
# ## Part II: what the network is fed, and what it learns
#
# ### The fourth symptom: all slices look the same
#
# ResNet50 was trained on ImageNet, and its layers are used as they are
# ([frozen](../docs/glossary.md#frozen-layer)), to turn a slice into 2048
# [features](../docs/glossary.md#feature). One slice each of sixteen patients goes in (of all, if
# there are fewer). If the features tell slices apart, two slices correlate only so much.

# %%
import keras

from utils.models.imagenet import imagenet_resnet50

network = keras.applications.ResNet50(
    include_top=False, weights=str(imagenet_resnet50()), input_shape=(size, size, 3), pooling="avg"
)
rows = run.table.groupby("patient")["tumour_px"].idxmax().to_numpy()[:16]
pictures = run.volumes.images[rows]
fed = {"as `prepare_for_resnet` makes them": bugs.prepare_for_resnet(pictures),
       "as notebook 2 feeds them": keras.applications.resnet50.preprocess_input(
           pictures.astype("float32"))}  # fmt: skip
for name, values in fed.items():
    alike = bug_symptoms.median_correlation(bug_symptoms.features_of(network, values))
    print(f"slices {name}: two of them have features that correlate {alike:.3f} (median)")

# %%
print(inspect.getsource(bugs.prepare_for_resnet))

# %% [markdown]
# ### Exercise 7.4 · Feed it what it knows
#
# Name the suspect, and write `mend_input(images)`: pictures (n, height, width, 3), red, green,
# blue in 0…255, as the ResNet50 of Keras was trained on them. Keras has a function for it; writing
# it yourself takes one line.
#
# <details><summary>Hint 1</summary>
#
# Most networks are fed 0…1. This one was not: look for "ResNet50" and "preprocess" in the Keras
# documentation.
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# The weights come from Caffe: the channels are in the order blue, green, red, and from each its
# mean over ImageNet is subtracted: 103.939, 116.779 and 123.68. Nothing is divided.
#
# </details>

# %% tags=["solution"]
suspect_04 = "B"


def mend_input(images):
    """Return pictures as ImageNet's ResNet50 expects them."""
    means = np.array([103.939, 116.779, 123.68], dtype=np.float32)
    return images[..., ::-1].astype(np.float32) - means


# %% tags=["nbval-check-output"]
check.suspect_04(suspect_04)
check.mend_input(mend_input)

# %% [markdown]
# ### The fifth symptom: nearly the whole head is tumour
#
# The smallest model that there is: a pixel is called tumour where the z-score of FLAIR is above 2.
# In training it did what one can expect of it. In use, on the files of new patients:

# %%
from utils.cohort.volumes import read_volume


def bright(scores):
    """Call tumour what is clearly brighter than the mean of the head."""
    return scores > 2


lines = []
for patient in test.patients[:5]:
    rows = run.table[run.table["patient"] == patient]
    volume = read_volume(rows)[..., 1]
    called = 100 * bugs.predict_volume(bright, volume)[volume > 0].mean()
    lines.append((patient, called, 100 * rows["tumour_px"].sum() / np.count_nonzero(volume)))
table = pd.DataFrame(lines, columns=["patient", "called tumour, % of head", "tumour, % of head"])
print(run.describe())
table.round(1)

# %%
print(inspect.getsource(bugs.predict_volume))
print(inspect.getsource(bugs.standardise))

# %% [markdown]
# ### Exercise 7.5 · The same road in use as in training
#
# Name the suspect, and write `mend_prediction(model, volume)`. `volume` (slices, height, width)
# holds grey levels as the file has them; `model` is a function that was trained on the output of
# `bugs.standardise` (it is right as it stands, and you may call it). Think of a brighter scanner,
# and of a volume that is black throughout.
#
# <details><summary>Hint 1</summary>
#
# What range of values does the model expect, and what range does it get?
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# What was done to the *whole volume* before training has to be done to the whole volume here, by
# the same function: a copy of it would drift.
#
# </details>

# %% tags=["solution"]
suspect_05 = "L"


def mend_prediction(model, volume):
    """Return what a model trained on `standardise`d volumes says of one in grey levels."""
    return model(bugs.standardise(volume))


# %% tags=["nbval-check-output"]
check.suspect_05(suspect_05)
check.mend_prediction(mend_prediction)

# %% [markdown]
# ### The sixth symptom: outlines beside the tumours
#
# [Augmentation](../docs/glossary.md#augmentation) turns and mirrors training pictures. Whoever only
# looks at the pictures finds nothing wrong. Six training pairs, pictures with their masks:

# %%
rows = train.table.groupby("patient")["tumour_px"].idxmax().to_numpy()[:6]
pairs = [
    bugs.augment_pair(train.images[row, ..., 1], train.masks[row], bool(place % 2), place % 4)
    for place, row in enumerate(rows)
]
pictures, masks = (np.stack(each) for each in zip(*pairs, strict=True))
names = [f"{place % 4} turns" + (", mirrored" if place % 2 else "") for place in range(6)]
figure = plots_labs.gallery(
    pictures, masks, None, names, "Augmented training pairs", run.describe("train")
)
fits = [
    name for name, picture, mask, row in zip(names, pictures, masks, rows, strict=True)
    if np.array_equal(picture[mask > 0], train.images[row, ..., 1][train.masks[row] > 0])
]  # fmt: skip
alt = (
    f"Six FLAIR slices with an outline each: {'; '.join(names)}. In {len(fits)} of them "
    f"({'; '.join(fits)}) the outline runs around the bright tumour, in the others beside it."
)
show(figure, alt, run.figures, "07_augmented")

# %%
print(inspect.getsource(bugs.augment_pair))

# %% [markdown]
# ### Exercise 7.6 · Move both
#
# Name the suspect, and write `mend_augmentation(picture, mask, mirrored, quarter_turns)`, which
# returns picture and mask, both turned by so many quarter turns and *then*, if `mirrored`,
# mirrored left to right. Neither array need be square.
#
# <details><summary>Hint 1</summary>
#
# In which of the six does the outline fit, and what do these have in common?
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# Do the same, in the same order, to both: a small loop over `(picture, mask)` cannot forget one.
#
# </details>

# %% tags=["solution"]
suspect_06 = "A"


def mend_augmentation(picture, mask, mirrored, quarter_turns):
    """Return picture and mask, both turned and then perhaps mirrored."""
    moved = [np.rot90(each, quarter_turns) for each in (picture, mask)]
    if mirrored:
        moved = [each[:, ::-1] for each in moved]
    return tuple(moved)


# %% tags=["nbval-check-output"]
check.suspect_06(suspect_06)
check.mend_augmentation(mend_augmentation)

# %% [markdown]
# ### The seventh symptom: tumours in eyes and skin
#
# A small segmenter, a [logistic regression](../docs/glossary.md#logistic-regression) of fields of
# 4 x 4 pixels and their surroundings, is trained on the slices that `training_rows` picks, and then
# draws in *all* slices of the test patients.

# %%
rows = bugs.training_rows(train.labels, seed)
found = bug_symptoms.segment(train, rows, test)
free = np.flatnonzero(~test.labels)
drawn = found[free].sum(axis=(1, 2))
print(
    f"something is drawn in {100 * (drawn > 0).mean():.0f} % of the {len(free)} tumour-free slices"
)

worst = free[np.argsort(drawn)[::-1][:60:10]]
names = [f"{test.table['patient'][row]}\nslice {test.table['slice'][row]}" for row in worst]
figure = plots_labs.gallery(
    test.images[worst, ..., 1], np.zeros_like(test.masks[worst]), found[worst], names,
    "Tumour-free slices in which tumour was found", run.describe("test"),
)  # fmt: skip
alt = "Six FLAIR slices without tumour. Dashed outlines of predicted tumour: " + "; ".join(
    f"{' '.join(name.split())}, {found[row].sum()} px"
    for name, row in zip(names, worst, strict=True)
)
show(figure, alt, run.figures, "07_false_alarms")

# %%
print(inspect.getsource(bugs.training_rows))

# %% [markdown]
# ### Exercise 7.7 · Show it what is no tumour
#
# Name the suspect, and write `mend_rows(has_tumour, seed)`: the numbers of the rows to train on.
# All slices with tumour, and as many tumour-free ones drawn at random; if there are fewer, all of
# them. No row twice.
#
# <details><summary>Hint 1</summary>
#
# What do all the training slices have in common? What is then the safest guess in a slice that
# looks unlike them?
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# `np.flatnonzero` of `has_tumour` and of `~has_tumour` gives the two kinds; shuffle the second and
# cut it.
#
# </details>

# %% tags=["solution"]
suspect_07 = "O"


def mend_rows(has_tumour, seed):
    """Return row numbers: all slices with tumour, and as many without."""
    positive, negative = np.flatnonzero(has_tumour), np.flatnonzero(~has_tumour)
    drawn = np.random.default_rng(seed).permutation(negative)[: len(positive)]
    return np.sort(np.concatenate([positive, drawn]))


# %% tags=["nbval-check-output"]
check.suspect_07(suspect_07)
check.mend_rows(mend_rows)

# %% [markdown]
# ### The eighth symptom: a frozen network with nothing frozen
#
# All layers but the last are to keep their weights. The numbers that training may change, before
# and after freezing:

# %%
model = keras.Sequential([
    keras.Input((8, 8, 3)), keras.layers.Conv2D(16, 3), keras.layers.Conv2D(32, 3),
    keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(1),
])  # fmt: skip


def trainable(model):
    """Return how many numbers training may change."""
    return sum(int(np.prod(weight.shape)) for weight in model.trainable_weights)


print("before:", trainable(model), "of", model.count_params())
bugs.freeze_all_but_last(model)
print("after: ", trainable(model), "of", model.count_params())

# %%
print(inspect.getsource(bugs.freeze_all_but_last))

# %% [markdown]
# ### Exercise 7.8 · Freeze, and look whether it is frozen
#
# Name the suspect, and write `mend_freezing(model)`: all layers but the last get `trainable =
# False`, and the model is returned. The check uses a make-believe model, with nothing but
# `model.layers`.
#
# <details><summary>Hint 1</summary>
#
# Python lets you set almost any attribute on almost anything, and says nothing if nobody reads it.
# On what is it set here?
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# The loop variable is called `_`, as if it were not needed. It is.
#
# </details>

# %% tags=["solution"]
suspect_08 = "J"


def mend_freezing(model):
    """Return the model with only its last layer left to train."""
    for layer in model.layers[:-1]:
        layer.trainable = False
    return model


# %% tags=["nbval-check-output"]
check.suspect_08(suspect_08)
check.mend_freezing(mend_freezing)

# %% [markdown]
# ## Part III: the loss
#
# ### The ninth symptom: pushing where nothing is left to gain
#
# The [focal Tversky loss](../docs/glossary.md#focal-tversky-loss) should make training attend to
# the hard pictures. How strongly training pulls at a picture is the *steepness* of the loss: by
# how much it falls when the picture's index rises a little. The dashed line is the loss without
# any focus.

# %%
index = np.linspace(0, 0.995, 200)
lines = {"`focal_tversky`": bug_symptoms.loss_slope(bugs_scores.focal_tversky, index),
         "1 - index": bug_symptoms.loss_slope(lambda each: 1 - each, index)}  # fmt: skip
figure = plots_labs.curves(
    index, lines, ("Tversky index of the picture (1 is perfect)", "steepness of the loss"),
    "How strongly training pulls at a picture", "computed, no patients",
)  # fmt: skip
pull = lines["`focal_tversky`"]
alt = (
    f"Two lines. The steepness of focal_tversky rises from {pull[0]:.2f} at an index of 0 to "
    f"{pull[-1]:.1f} at 0.995, and more and more steeply; that of 1 - index is 1 throughout."
)
show(figure, alt, run.figures, "07_focal")

# %%
print(inspect.getsource(bugs_scores.focal_tversky))

# %% [markdown]
# ### Exercise 7.9 · Focus on the hard ones
#
# Name the suspect, and write `mend_focal(index)`: a loss from 1 (index 0) to 0 (index 1) that
# never rises, and is steeper for a hard picture than for an easy one. `index` is a number or an
# array.
#
# <details><summary>Hint 1</summary>
#
# Differentiate x to the power p. For which p does the derivative grow with x = 1 - index?
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# The paper of this loss (Abraham & Khan, below) writes the exponent as 1 / gamma, with gamma = 4/3.
# What exponent is that? Compare with 4/3 itself.
#
# </details>

# %% tags=["solution"]
suspect_09 = "K"


def mend_focal(index):
    """Return the focal Tversky loss of pictures with these Tversky indices."""
    return (1 - np.asarray(index)) ** (4 / 3)


# %% tags=["nbval-check-output"]
check.suspect_09(suspect_09)
check.mend_focal(mend_focal)

# %% [markdown]
# ### The tenth symptom: five of six tumours missed, and a good score
#
# A batch of six pictures. The segmenter outlines one tumour perfectly and draws nothing in the
# other five. It reports, as the mean [Tversky index](../docs/glossary.md#tversky-index) of the
# batch:

# %%
with_tumour = np.flatnonzero(test.labels)
order = with_tumour[np.argsort(test.table["tumour_px"].to_numpy()[with_tumour])]
rows = np.array([order[-1], *order[8:28:4]])
truths = test.masks[rows].astype(float)
drawn = truths * (np.arange(len(rows)) == 0)[:, None, None]
score = bugs_scores.mean_tversky(truths, drawn)
names = [f"{test.table['tumour_px'][row]} px of tumour" for row in rows]
figure = plots_labs.gallery(
    test.images[rows, ..., 1], truths, drawn, names,
    f"A batch with a reported Tversky index of {score:.2f}", run.describe("test"),
)  # fmt: skip
alt = (
    "Six FLAIR slices with the true border of the tumour: one large, five small. Only the large "
    f"one has a predicted border too, which coincides. Reported Tversky index: {score:.2f}."
)
show(figure, alt, run.figures, "07_pooled")

# %%
print(inspect.getsource(bugs_scores.mean_tversky))

# %% [markdown]
# ### Exercise 7.10 · A mean is a mean
#
# Name the suspect, and write `mend_tversky(truths, predictions, alpha=0.7, beta=0.3)`: the mean
# over the pictures of a batch (batch, height, width) of each picture's Tversky index, with 1 added
# above and below as before. A picture without tumour in which nothing is drawn then counts 1.
#
# <details><summary>Hint 1</summary>
#
# How many pixels does the large tumour have, and how many the other five together?
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# `sum()` without `axis` adds up everything. Sum each picture by itself (`axis=(1, 2)`), divide, and
# take the mean last.
#
# </details>

# %% tags=["solution"]
suspect_10 = "N"


def mend_tversky(truths, predictions, alpha=0.7, beta=0.3):
    """Return the mean of the Tversky indices of the pictures of a batch."""
    hits = (truths * predictions).sum(axis=(1, 2))
    misses = (truths * (1 - predictions)).sum(axis=(1, 2))
    false_alarms = ((1 - truths) * predictions).sum(axis=(1, 2))
    index = (hits + 1) / (hits + alpha * misses + beta * false_alarms + 1)
    return float(index.mean())


# %% tags=["nbval-check-output"]
check.suspect_10(suspect_10)
check.mend_tversky(mend_tversky)

# %% [markdown]
# ## Part IV: the score
#
# ### The eleventh symptom: a model that draws nothing
#
# No network, no training: a mask of zeros for every slice of the test patients.

# %%
nothing = np.zeros_like(test.masks)
report = bugs_scores.dice_report(test.masks, nothing)
print(f"Dice {report['dice']:.2f}, mean over {report['slices']} slices; {run.describe('test')}")

# %%
print(inspect.getsource(bugs_scores.dice_report))

# %% [markdown]
# ### Exercise 7.11 · Say what an empty slice counts
#
# Name the suspect, and write `mend_dice(truths, predictions)` for masks (n, height, width). It
# returns a dictionary: `dice`, the mean [Dice](../docs/glossary.md#dice) of the slices *with*
# tumour, nothing added above or below; `slices`, how many these are; and `false_alarms`, the share
# of the tumour-free slices in which anything was drawn. A mean over nothing is `nan`.
#
# <details><summary>Hint 1</summary>
#
# What does the formula give for a slice with neither true nor predicted tumour, and how many of
# the slices are like that?
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# Split the slices first: `there = truths.any(axis=(1, 2))`. Each of the two numbers then has a
# plain meaning, and neither can hide in the other.
#
# </details>

# %% tags=["solution"]
suspect_11 = "G"


def mend_dice(truths, predictions):
    """Return `dice` over `slices` slices with tumour, and the `false_alarms` in the others."""
    true, drawn = truths.sum(axis=(1, 2)), predictions.sum(axis=(1, 2))
    overlap = (truths * predictions).sum(axis=(1, 2))
    there = true > 0
    dice = 2 * overlap[there] / (true + drawn)[there]
    alarms = drawn[~there] > 0
    return {
        "dice": dice.mean() if there.any() else np.nan,
        "slices": int(there.sum()),
        "false_alarms": alarms.mean() if len(alarms) else np.nan,
    }


# %% tags=["nbval-check-output"]
check.suspect_11(suspect_11)
check.mend_dice(mend_dice)

# %% [markdown]
# ### The twelfth symptom: the accuracy depends on the batch size
#
# One model that never changes (the baseline of [notebook 2](02_detect.ipynb), which sees a few
# numbers a slice), one set of slices, in the order of the patients. How many slices are evaluated
# at once is a matter of memory and should change nothing.

# %%
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from utils.cohort.features import simple_features

model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000))
model.fit(simple_features(train), train.labels)
described = simple_features(test)
sizes = [1, 16, 50, 100, 150, 200]
accuracies = [
    100 * bugs_scores.accuracy_in_batches(model.predict, described, test.labels, batch_size)
    for batch_size in sizes
]
print(f"{len(test)} slices; {run.describe('test')}")
pd.DataFrame({"batch size": sizes, "accuracy (%)": accuracies}).round(1)

# %%
print(inspect.getsource(bugs_scores.accuracy_in_batches))

# %% [markdown]
# ### Exercise 7.12 · Every slice once
#
# Name the suspect, and write `mend_batches(predict, images, labels, batch_size)`: the share of the
# pictures that are right. `predict` takes at most `batch_size` pictures. There may be fewer
# pictures than fill one batch.
#
# <details><summary>Hint 1</summary>
#
# Divide the number of slices by each batch size. What is left over, and what happens to it?
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# `range(0, len(images), batch_size)` also starts the last, smaller batch. Beware of a mean of batch
# means, in which the slices of a small batch weigh more; and of padding, which is scored too.
#
# </details>

# %% tags=["solution"]
suspect_12 = "M"


def mend_batches(predict, images, labels, batch_size):
    """Return the share of pictures that are classified rightly."""
    right = []
    for start in range(0, len(images), batch_size):
        here = slice(start, start + batch_size)
        right.extend(predict(images[here]) == labels[here])
    return float(np.mean(right))


# %% tags=["nbval-check-output"]
check.suspect_12(suspect_12)
check.mend_batches(mend_batches)

# %% [markdown]
# ### The thirteenth symptom: dice that detect tumours
#
# The scores are drawn by chance, and half of the slices have a tumour: the accuracy of such a
# detector is 50 %. The experiment is repeated 400 times, each time with 60 new validation slices
# and 60 new test slices. This is what gets reported:

# %%
accuracies = bug_symptoms.chance_accuracies(bugs_scores.tuned_accuracy)
figure = plots_labs.chance_histogram(accuracies, 60, "scores drawn by chance, no patients")
alt = (
    f"Histogram of {len(accuracies)} reported accuracies, from {100 * accuracies.min():.0f} to "
    f"{100 * accuracies.max():.0f} %, mean {100 * accuracies.mean():.0f} %. "
    f"{(accuracies < 0.5).sum()} lie below 50 %, what such scores are worth."
)
show(figure, alt, run.figures, "07_threshold")

# %%
print(inspect.getsource(bugs_scores.tuned_accuracy))

# %% [markdown]
# ### Exercise 7.13 · Choose here, measure there
#
# Name the suspect, and write `mend_threshold(validation, test)`. Each is a pair (labels, scores)
# of arrays; a slice is flagged if its score is at least the threshold. Return the threshold, one
# of the scores, and the accuracy that may be reported.
#
# <details><summary>Hint 1</summary>
#
# What is the argument `validation` used for?
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# Whatever is *chosen* to make a number large may not be judged by that same number. Choose on one
# part, and use the other once.
#
# </details>

# %% tags=["solution"]
suspect_13 = "E"


def mend_threshold(validation, test):
    """Return a threshold chosen on validation, and its accuracy on test."""
    labels, scores = validation
    candidates = np.unique(scores)
    accuracies = [((scores >= threshold) == labels).mean() for threshold in candidates]
    threshold = candidates[int(np.argmax(accuracies))]
    labels, scores = test
    return float(threshold), float(((scores >= threshold) == labels).mean())


# %% tags=["nbval-check-output"]
check.suspect_13(suspect_13)
check.mend_threshold(mend_threshold)

# %% [markdown]
# ### The fourteenth symptom: a gallery without a failure
#
# "Examples of our results": a figure that a paper may well end with. The segmenter is the small
# classifier of the seventh symptom, trained on all slices now. Masks are scored at the size at
# which they are drawn.

# %%
found = bug_symptoms.segment(train, np.arange(len(train)), test)
truths = test.masks > 0
rows = np.flatnonzero(truths.any(axis=(1, 2)))
overlap = (found & truths)[rows].sum(axis=(1, 2))
dice = 2 * overlap / (found[rows].sum(axis=(1, 2)) + truths[rows].sum(axis=(1, 2)))
chosen = bugs_scores.pick_examples(dice, 6)

names = [f"Dice {dice[place]:.2f}" for place in chosen]
figure = plots_labs.gallery(
    test.images[rows[chosen], ..., 1], test.masks[rows[chosen]], found[rows[chosen]], names,
    "Examples of our results", run.describe("test"),
)  # fmt: skip
alt = "FLAIR slices with the true and the predicted border: " + ", ".join(names)
show(figure, alt, run.figures, "07_gallery")
print(f"mean Dice of the {len(chosen)} shown: {dice[chosen].mean():.2f}; "
      f"of all {len(dice)} slices with tumour: {dice.mean():.2f}")  # fmt: skip

# %%
print(inspect.getsource(bugs_scores.pick_examples))

# %% [markdown]
# ### Exercise 7.14 · An honest gallery
#
# Name the suspect, and write `mend_gallery(dice, count)`: the row numbers of `count` slices,
# evenly spaced along the ranking from the worst to the best, both included; all slices if there
# are not more than `count`.
#
# <details><summary>Hint 1</summary>
#
# Put the slices in order of their Dice. Which ranks does the broken function take?
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# `np.argsort` gives the ranking, `np.linspace(0, len(dice) - 1, count)` evenly spaced ranks (to be
# rounded). Without `min(count, len(dice))` a short list is shown twice.
#
# </details>

# %% tags=["solution"]
suspect_14 = "H"


def mend_gallery(dice, count):
    """Return `count` rows, evenly spaced from the worst Dice to the best."""
    ranks = np.linspace(0, len(dice) - 1, min(count, len(dice))).round().astype(int)
    return np.argsort(dice)[ranks].tolist()


# %% tags=["nbval-check-output"]
check.suspect_14(suspect_14)
check.mend_gallery(mend_gallery)

# %% [markdown]
# ## Test yourself
#
# **1.** A colleague's detector scores 0.99 on test slices and 0.80 at the next hospital. Where do
# you look first? (a) the learning rate, (b) the split, (c) the number of layers
#
# <details><summary>Answer</summary>
#
# (b). A gap between one's own test and new patients says that the test was not about new patients.
# A learning rate or a small network would lower both numbers, not one. Other scanners lower the
# second number too, so after the split look at the grey levels.
#
# </details>
#
# **2.** Which of these raises the reported score? (a) forgetting to normalise before prediction,
# (b) moving the picture but not the mask, (c) pooling the batch when large tumours are easy
#
# <details><summary>Answer</summary>
#
# (c). Pooled pixels are mostly pixels of large tumours, so that failures on small ones vanish. The
# other two lower the score, and are therefore found sooner: nobody looks for a mistake in a number
# that is pleasing.
#
# </details>
#
# **3.** `random.seed(0); names = list(set(names)); random.shuffle(names)`. Is the split
# reproducible? (a) yes, it is seeded, (b) only in the same process, (c) only if the names are
# numbers
#
# <details><summary>Answer</summary>
#
# (b). The seed fixes the permutation, not what is permuted: the order of a set of text changes
# from one process to the next. Within one process it stays, which is why it is not noticed in a
# notebook. Small whole numbers do keep their order, but patients have names, and relying on it is
# relying on luck.
#
# </details>
#
# **4.** A paper reports a mean Dice of 0.93 over all slices, two thirds of which have no tumour.
# What do you know about its outlines? (a) they are excellent, (b) nothing yet, (c) they are poor
#
# <details><summary>Answer</summary>
#
# (b). If a tumour-free slice left empty counts 1, drawing nothing at all already gives about two
# thirds. 0.93 may hide a Dice of 0.79 on the tumours, or of 0.95 with some false alarms. Ask for
# the slices with tumour, or better the patients, by themselves.
#
# </details>
#
# **5.** The test set is small, so a colleague tries five thresholds on it and keeps the best.
# Harmless? (a) yes, five are few, (b) no, and least of all with a small test set
#
# <details><summary>Answer</summary>
#
# (b). The best of several noisy numbers is too high on average, and the smaller the set, the
# noisier they are. Five choices are fewer than the sixty of the thirteenth symptom and do less
# harm, but the number is no longer one of unseen patients. Choose on validation patients.
#
# </details>

# %% [markdown]
# ## What you have seen
#
# **Key points**
#
# - A bug that crashes is a gift. The fourteen here only change a number or a picture.
# - What raises a score survives longest: a leak, a choice made on test, a convention for empty
#   slices, a pooled ratio, a gallery of successes.
# - Look at what goes *into* the network and the metric, after all processing: values, outlines,
#   counts.
# - Count: patients on both sides, trainable weights, slices that were scored. A count that should
#   change and does not, or should not and does, finds a bug in one line.
# - A model that cannot work (it copies, it draws nothing, it throws dice) tests the *evaluation*.
#
# ## To think about
#
# 1. Which of the fourteen would a reviewer find who has only the paper, and which only with the
#    code?
# 2. Which of your mended functions would you turn into a test that runs on every change?
# 3. Two of these bugs together can cancel each other out in the score. Can you find a pair?
#
# ## Further reading
#
# - Kapoor & Narayanan (2023), *Leakage and the reproducibility crisis in machine-learning-based
#   science*, [doi:10.1016/j.patter.2023.100804](https://doi.org/10.1016/j.patter.2023.100804).
# - Maier-Hein et al. (2024), *Metrics reloaded: recommendations for image analysis validation*,
#   [doi:10.1038/s41592-023-02151-z](https://doi.org/10.1038/s41592-023-02151-z).
# - Varoquaux & Cheplygina (2022), *Machine learning for medical imaging: methodological failures
#   and recommendations for the future*,
#   [doi:10.1038/s41746-022-00592-y](https://doi.org/10.1038/s41746-022-00592-y).
# - Abraham & Khan (2019), *A novel focal Tversky loss function with improved attention U-Net for
#   lesion segmentation*,
#   [doi:10.1109/ISBI.2019.8759329](https://doi.org/10.1109/ISBI.2019.8759329).
