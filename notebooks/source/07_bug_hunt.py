# %% [markdown]
# # 7 · Bug hunt: fourteen mistakes, and how they look
#
# In this notebook nothing crashes. Each of the fourteen functions that we hunt runs and returns
# numbers of the right shape, and each is wrong; several make the result *better*. All fourteen
# mistakes are easily made with this kind of data, and some of them you know from the notebooks
# before. In real work you meet them as you do here: as a number, a curve or an image that does not
# look right.
#
# **What you will learn**
#
# - to take a number that is too good as a symptom, and to ask what would explain it;
# - to recognise mistakes in splitting, feeding, training and scoring by what they look like;
# - to fix each of them, and to know which check would have caught it.
#
# **What you need**: notebooks [1](01_explore.ipynb) to [4](04_evaluate.ipynb), or their ideas.
# About a minute of computing, two hours for the sixteen exercises, and 1.4 GB of memory.

# %% [markdown]
# ## The questions
#
# 1. How does each mistake show, if not by an error message?
# 2. Which of them raise the score, and which lower it?
# 3. Which single line would have prevented each?
#
# How it works: there are four parts. Each begins with its symptoms; the code behind them is folded
# away, and you should leave it folded. *Predict before you run: at each symptom, write down which
# suspect of the list below would explain it.* Then you name the suspects of the part by their
# letters. Only after that the faulty functions are printed, with what the symptom shows in numbers,
# and you write each function as it should be. The check tells you what your version still gets
# wrong. The four parts can be done in any order.

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
from IPython.display import Markdown, display

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
# There are sixteen of them, for fourteen symptoms: two have nothing to do with it.

# %% tags=["nbval-check-output"]
for letter, suspect in bugs.SUSPECTS.items():
    print(f"{letter}  {suspect}")

# %% [markdown]
# ## Part I: splits
#
# ### The first symptom: a look-up table that detects tumours
#
# This "detector" has learnt nothing. For each test slice it finds the training slice that looks
# most similar ([notebook 1](01_explore.ipynb) had the same idea) and copies its label. Below: how
# often the copied label is right, and three tumour slices for which it is, each beside the slice
# from which it was copied.

# %% tags=["hide-input"]
parts = bugs.split_rows(run.table, seed)
copied = bug_symptoms.copied_labels(run.volumes, parts == "test", parts == "train")
print(f"{100 * copied['right'].mean():.0f} % of {len(copied)} test slices are right")

found = copied[copied["right"] & run.volumes.labels[copied["row"]]]
shown = found.iloc[[len(found) // 8, len(found) // 2, 7 * len(found) // 8]]
rows = shown[["row", "source"]].to_numpy().ravel()
of_rows = run.table.loc[rows, ["patient", "slice"]].itertuples(index=False)
names = [f"{patient}\nslice {number}" for patient, number in of_rows]
for place in range(1, 6, 2):
    names[place] = "copied from\n" + names[place]
title = "Test slices, each beside the slice it was copied from"
images, masks = run.volumes.images[rows, ..., 1], run.volumes.masks[rows]
figure = plots_labs.gallery(images, masks, None, names, title, run.describe())
pairs = "; ".join(" ".join(name.split()) for name in names)
alt = f"Three pairs of FLAIR slices; the two of a pair look nearly the same: {pairs}"
show(figure, alt, run.figures, "07_copied")

# %% [markdown]
# ### The second symptom: a detector that is perfect on some patients
#
# A [cascade](../docs/glossary.md#cascade) has two stages: a detector that picks the slices, and a
# segmenter that outlines the tumour in them. Both were split by patient, and no patient is in both
# parts of either split. Here the detector is the look-up table again, filled with all slices of
# *its* training patients; it is scored on the patients on which the *cascade* is tested.

# %% tags=["hide-input"]
stages = bugs.deal_stages(sorted(run.split["patient"]), seed)
whose = run.table["patient"]
asked = whose.isin(stages["segmenter"]).to_numpy()
known = ~whose.isin(stages["detector"]).to_numpy()
shares = bug_symptoms.copied_labels(run.volumes, asked, known).groupby("patient")["right"].mean()

figure = plots_labs.share_by_patient(shares, run.describe())
rest = shares[shares < 1]
alt = (
    f"Bars, one for each of {len(shares)} test patients. {(shares == 1).sum()} are at 100 %, the "
    f"others between {100 * rest.min():.0f} and {100 * rest.max():.0f} %."
)
show(figure, alt, run.figures, "07_stages")
print(f"mean over the patients: {100 * shares.mean():.0f} %")

# %% [markdown]
# ### The third symptom: the same seed, other patients
#
# The seed is set, and the same code runs twice, each time in a fresh Python process. Yet the first
# patients drawn for the test differ. (To make this repeatable, the two processes get the hash
# seeds 1 and 2, instead of the random ones that Python draws when it starts.)

# %% tags=["nbval-check-output", "hide-input"]
ids = [f"SIM_DU_{number:04d}" for number in range(1, 13)]
drawn_by = {}
for process in (1, 2):
    names = bug_symptoms.in_new_process(bugs.names_to_shuffle, ids * 3, process)
    drawn_by[process] = sorted(np.random.default_rng(0).permutation(names)[:3].tolist())
    print(f"process {process}: {len(names)} different ids, tested on", *drawn_by[process])

# %% [markdown]
# ### Exercise 7.1 · Suspects of Part I
#
# Set `suspects_splits` to a dictionary with the letters of the suspects: the keys are `"first"`,
# `"second"` and `"third"`, the symptoms of this part.
#
# <details><summary>Hint 1</summary>
#
# Read the names above the images of the first symptom. What is the same within each pair? In the
# second symptom, who may have trained the detector on the patients with 100 %?
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# A seeded shuffle permutes *places*. In the third symptom, which name stands at which place before
# the shuffle, and why may that change from one start of Python to the next?
#
# </details>

# %% tags=["solution"]
suspects_splits = {"first": "D", "second": "I", "third": "F"}

# %% tags=["nbval-check-output"]
check.suspects_splits(suspects_splits)

# %% [markdown]
# Here are the three functions. Read each docstring, which says what is meant, and then find the
# line that does something else.

# %%
print(inspect.getsource(bugs.split_rows))
print(inspect.getsource(bugs.deal_stages))
print(inspect.getsource(bugs.names_to_shuffle))

# %% tags=["hide-input"]
own = run.table.loc[copied["source"], "patient"].to_numpy() == copied["patient"].to_numpy()
taught = ~shares.index.isin(stages["detector"])
words = (
    f"**What the symptoms show.** First: for {100 * own.mean():.0f} % of the test slices the most "
    f"similar training slice is one of the same patient. Second: {taught.sum()} of the "
    f"{len(shares)} test patients of the cascade had trained the detector, and on them it is right "
    f"for {100 * shares[taught].mean():.0f} % of the slices; on the other {(~taught).sum()}, whom "
    f"it never saw, for {100 * shares[~taught].mean():.0f} %. Third: the two processes agree in "
    f"{len(set(drawn_by[1]) & set(drawn_by[2]))} of 3 test patients. With another seed the "
    "percentages change by a few points; that the bars fall into two groups does not."
)
display(Markdown(words))

# %% [markdown]
# ### Exercise 7.2 · One split for everything
#
# Write one function that makes none of the three mistakes: `mend_stages(patients, seed,
# share=0.25)`. `patients` holds the name of the patient of each slice, in any order. Return a
# dictionary with the keys `"detector"` and `"segmenter"`; each value has "train" or "test" for each
# slice, such that the two stages can be tested together on *new patients*. A `share` of the
# patients, rounded to a whole number, is tested. The same seed tests the same patients, in whatever
# order the slices come, and in every process.
#
# <details><summary>Hint 1</summary>
#
# Draw names of patients, not slices, and draw once for both stages. Then ask for every slice
# whether its patient was drawn.
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# Python stores text in a set by its hash, and the hash of text differs from process to process.
# Taking each name once with `set` is right; put the names in a fixed order before you shuffle them.
#
# </details>


# %% tags=["solution"]
def mend_stages(patients, seed, share=0.25):
    """Return "train" or "test" for each slice, by patient and the same for both stages."""
    names = sorted(set(patients))
    drawn = np.random.default_rng(seed).permutation(names)[: round(share * len(names))]
    parts = np.where(np.isin(list(patients), drawn), "test", "train")
    return {"detector": parts, "segmenter": parts}


# %% tags=["nbval-check-output"]
check.mend_stages(mend_stages)

# %% [markdown]
# ## Part II: what the network is fed, and what it learns
#
# ### The fourth symptom: all slices look the same
#
# ResNet50 was trained on ImageNet, and its layers are used as they are
# ([frozen](../docs/glossary.md#frozen-layer)), to describe a slice by 2048
# [features](../docs/glossary.md#feature). We feed it one slice each of sixteen patients (of all, if
# there are fewer), once as the broken function prepares them and once as notebook 2 does. If the
# features of two slices are nearly the same, their correlation is near 1: then the network sees
# hardly any difference between the slices.

# %% tags=["hide-input"]
import keras

from utils.models.files.imagenet import imagenet_resnet50

network = keras.applications.ResNet50(
    include_top=False, weights=str(imagenet_resnet50()), input_shape=(size, size, 3), pooling="avg"
)
rows = run.table.groupby("patient")["tumour_px"].idxmax().to_numpy()[:16]
images = run.volumes.images[rows].astype("float32")
fed = {
    "as the broken function prepares them": bugs.prepare_for_resnet(images),
    "as notebook 2 feeds them": keras.applications.resnet50.preprocess_input(images.copy()),
}
for name, values in fed.items():
    alike = bug_symptoms.median_correlation(bug_symptoms.features_of(network, values))
    print(f"slices {name}: median correlation of the features of two slices {alike:.3f}")

# %% [markdown]
# ### The fifth symptom: nearly the whole head is tumour
#
# The smallest model that there is: a pixel is called tumour where the z-score of FLAIR is above 2.
# In training it did what one can expect of it. In use, on the files of new patients:

# %% tags=["hide-input"]
from utils.cohort.volumes import read_volume


def bright(scores):
    """Call tumour what is clearly brighter than the mean of the head."""
    return scores > 2


lines, over = [], []
for patient in test.patients[:5]:
    of_patient = run.table[run.table["patient"] == patient]
    volume = read_volume(of_patient)[..., 1]
    head = volume > 0
    called = 100 * bugs.predict_volume(bright, volume)[head].mean()
    over.append(100 * (bugs.standardise(volume) > 2)[head].mean())
    lines.append((patient, called, 100 * of_patient["tumour_px"].sum() / np.count_nonzero(head)))
columns = ["patient", "called tumour, % of head", "tumour, % of head"]
print(run.describe())
pd.DataFrame(lines, columns=columns).round(1)

# %% [markdown]
# ### The sixth symptom: outlines beside the tumours
#
# [Augmentation](../docs/glossary.md#augmentation) turns and mirrors training images. If you look
# only at the images, you find nothing wrong. Six training pairs, images with their masks:

# %% tags=["hide-input"]
rows = bug_symptoms.standing_out(train, 6)
pairs = [
    bugs.augment_pair(train.images[row, ..., 1], train.masks[row], bool(place % 2), place % 4)
    for place, row in enumerate(rows)
]
images, masks = (np.stack(each) for each in zip(*pairs, strict=True))
turns = ["not turned", "1 turn, mirrored", "2 turns", "3 turns, mirrored"]
names = [turns[place % 4] for place in range(6)]
source = run.describe("train")
figure = plots_labs.gallery(images, masks, None, names, "Augmented training pairs", source)
fits = [
    name
    for name, image, mask, row in zip(names, images, masks, rows, strict=True)
    if np.array_equal(image[mask > 0], train.images[row, ..., 1][train.masks[row] > 0])
]
alt = (
    f"Six FLAIR slices with a bright tumour and an outline each: {'; '.join(names)}. In "
    f"{len(fits)} of them ({'; '.join(dict.fromkeys(fits))}) the outline runs around the tumour, "
    "in the others it does not."
)
show(figure, alt, run.figures, "07_augmented")

# %% [markdown]
# ### The seventh symptom: tumours in eyes and skin
#
# A small segmenter, a [logistic regression](../docs/glossary.md#logistic-regression) on fields of 4
# x 4 pixels and their surroundings, is trained on the slices that the broken function picks, and
# then draws in *all* slices of the test patients.

# %% tags=["hide-input"]
rows = bugs.training_rows(train.labels, seed)
found = bug_symptoms.segment(train, rows, test)
free = np.flatnonzero(~test.labels)
drawn = found[free].sum(axis=(1, 2))
share_free = 100 * (drawn > 0).mean()
print(f"something is drawn in {share_free:.0f} % of the {len(free)} tumour-free slices")

worst = free[np.argsort(drawn)[::-1][:60:10]]
names = [f"{test.table['patient'][row]}\nslice {test.table['slice'][row]}" for row in worst]
title = "Tumour-free slices in which tumour was found"
images = test.images[worst, ..., 1]
figure = plots_labs.gallery(images, None, found[worst], names, title, run.describe("test"))
alt = "Six FLAIR slices without tumour. Dashed outlines of predicted tumour: " + "; ".join(
    f"{' '.join(name.split())}, {found[row].sum()} px"
    for name, row in zip(names, worst, strict=True)
)
show(figure, alt, run.figures, "07_false_alarms")

# %% [markdown]
# ### The eighth symptom: a frozen network with nothing frozen
#
# All layers but the last are to keep their weights. The number of weights that training may change,
# before and after freezing:

# %%
model = keras.Sequential(
    [
        keras.Input((8, 8, 3)),
        keras.layers.Conv2D(16, 3),
        keras.layers.Conv2D(32, 3),
        keras.layers.GlobalAveragePooling2D(),
        keras.layers.Dense(1),
    ]
)


def trainable(model):
    """Return how many numbers training may change."""
    return sum(int(np.prod(weight.shape)) for weight in model.trainable_weights)


print("before:", trainable(model), "of", model.count_params())
bugs.freeze_all_but_last(model)
print("after: ", trainable(model), "of", model.count_params())

# %% [markdown]
# ### Exercise 7.3 · Suspects of Part II
#
# Set `suspects_training` to a dictionary with the letters of the suspects: the keys are `"fourth"`,
# `"fifth"`, `"sixth"`, `"seventh"` and `"eighth"`.
#
# <details><summary>Hint 1</summary>
#
# In the fourth and the fifth symptom: what range of values does the model expect, and what range
# may it get? In the sixth: in which of the six does the outline fit, and what do these have in
# common?
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# In the seventh: what do all the slices have in common that the segmenter was trained on, if it
# finds tumour in eyes? In the eighth: on what was `trainable` set, if no count changes?
#
# </details>

# %% tags=["solution"]
suspects_training = {"fourth": "B", "fifth": "L", "sixth": "A", "seventh": "O", "eighth": "J"}

# %% tags=["nbval-check-output"]
check.suspects_training(suspects_training)

# %% [markdown]
# ### The fourth bug

# %%
print(inspect.getsource(bugs.prepare_for_resnet))

# %% tags=["hide-input"]
ranges = [f"{values.min():.1f} to {values.max():.1f}" for values in fed.values()]
words = (
    f"**What the symptom shows.** The network gets values from {ranges[0]}; it was trained on "
    f"values like those of notebook 2, here {ranges[1]}. Beside these, the differences "
    "between its slices are tiny. No seed changes that: it is a property of the function."
)
display(Markdown(words))

# %% [markdown]
# ### Exercise 7.4 · The input that the network knows
#
# Write `mend_input(images)`: images (n, height, width, 3), red, green, blue in 0…255, are prepared
# as the ResNet50 of Keras was trained on them. Keras has a function for it; writing it yourself
# takes one line.
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
def mend_input(images):
    """Return images as ImageNet's ResNet50 expects them."""
    means = np.array([103.939, 116.779, 123.68], dtype=np.float32)
    return images[..., ::-1].astype(np.float32) - means


# %% tags=["nbval-check-output"]
check.mend_input(mend_input)

# %% [markdown]
# ### The fifth bug

# %%
print(inspect.getsource(bugs.predict_volume))
print(inspect.getsource(bugs.standardise))

# %% tags=["hide-input"]
called = [line[1] for line in lines]
words = (
    f"**What the symptom shows.** Of the head, {min(called):.0f} to {max(called):.0f} % is called "
    "tumour, because most grey levels of a head are above 2. With z-scores, as in training, it "
    f"would be {min(over):.0f} to {max(over):.0f} %. With another seed these are other patients; "
    "most grey levels of their heads are above 2, too."
)
display(Markdown(words))

# %% [markdown]
# ### Exercise 7.5 · The same preparation in use as in training
#
# Write `mend_prediction(model, volume)`. `volume` (slices, height, width) holds grey levels as they
# are in the file; `model` is a function that was trained on the output of `bugs.standardise` (which
# is right as it stands, and which you may call). Think of a brighter scanner, and of a volume that
# is black throughout.
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
# the same function. A second copy of that function may be changed one day without the first.
#
# </details>


# %% tags=["solution"]
def mend_prediction(model, volume):
    """Return what a model trained on `standardise`d volumes says of one in grey levels."""
    return model(bugs.standardise(volume))


# %% tags=["nbval-check-output"]
check.mend_prediction(mend_prediction)

# %% [markdown]
# ### The sixth bug

# %%
print(inspect.getsource(bugs.augment_pair))

# %% tags=["hide-input"]
words = (
    f"**What the symptom shows.** The outline fits in {len(fits)} of 6 pairs, those that are "
    "neither turned nor mirrored. A network trained on such pairs is told that tumour is beside "
    "the tumour. Which patients are shown depends on the seed; which pairs fit does not."
)
display(Markdown(words))

# %% [markdown]
# ### Exercise 7.6 · Move both
#
# Write `mend_augmentation(image, mask, mirrored, quarter_turns)`, which returns image and mask,
# both turned anticlockwise by so many quarter turns and *then*, if `mirrored`, mirrored left to
# right. Neither array need be square.
#
# <details><summary>Hint 1</summary>
#
# In which of the six does the outline fit, and what do these have in common?
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# Do the same, in the same order, to both: a small loop over `(image, mask)` cannot forget one.
#
# </details>


# %% tags=["solution"]
def mend_augmentation(image, mask, mirrored, quarter_turns):
    """Return image and mask, both turned and then perhaps mirrored."""
    moved = [np.rot90(each, quarter_turns) for each in (image, mask)]
    if mirrored:
        moved = [each[:, ::-1] for each in moved]
    return tuple(moved)


# %% tags=["nbval-check-output"]
check.mend_augmentation(mend_augmentation)

# %% [markdown]
# ### The seventh bug

# %%
print(inspect.getsource(bugs.training_rows))

# %% tags=["hide-input"]
with_tumour = np.flatnonzero(train.labels)
others = np.random.default_rng(seed).permutation(np.flatnonzero(~train.labels))
both = np.sort(np.concatenate([with_tumour, others[: len(with_tumour)]]))
again = bug_symptoms.segment(train, both, test)[free].any(axis=(1, 2)).mean()
words = (
    f"**What the symptom shows.** The segmenter was trained on {len(with_tumour)} slices, every "
    f"one with tumour, and draws something in {share_free:.0f} % of the tumour-free slices. With "
    f"as many tumour-free slices added to the training it is {100 * again:.0f} %. Slices of the "
    "eyes and the top of the skull hardly ever show tumour, so without tumour-free slices they "
    "were never seen. With another seed the percentages are others; the order of the two should "
    "be the same."
)
display(Markdown(words))

# %% [markdown]
# ### Exercise 7.7 · Show it what is no tumour
#
# Write `mend_rows(has_tumour, seed)`: the numbers of the rows to train on. All slices with tumour,
# and as many tumour-free ones drawn at random; if there are fewer, all of them. No row twice. The
# same seed takes the same rows, another seed others.
#
# <details><summary>Hint 1</summary>
#
# What do all the training slices have in common? What is then the safest guess in a slice that
# looks different from all of them?
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# `np.flatnonzero` of `has_tumour` and of `~has_tumour` gives the two kinds; shuffle the second and
# take as many as you need.
#
# </details>


# %% tags=["solution"]
def mend_rows(has_tumour, seed):
    """Return row numbers: all slices with tumour, and as many without."""
    positive, negative = np.flatnonzero(has_tumour), np.flatnonzero(~has_tumour)
    drawn = np.random.default_rng(seed).permutation(negative)[: len(positive)]
    return np.sort(np.concatenate([positive, drawn]))


# %% tags=["nbval-check-output"]
check.mend_rows(mend_rows)

# %% [markdown]
# ### The eighth bug

# %%
print(inspect.getsource(bugs.freeze_all_but_last))

# %% [markdown]
# ### Exercise 7.8 · Freeze, and look whether it is frozen
#
# Write `mend_freezing(model)`: all layers but the last get `trainable = False`, and the model is
# returned. The check uses a stand-in for a model, which has nothing but `model.layers`.
#
# <details><summary>Hint 1</summary>
#
# Python lets you set almost any attribute on almost anything, without an error if nobody reads it.
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
def mend_freezing(model):
    """Return the model with only its last layer left to train."""
    for layer in model.layers[:-1]:
        layer.trainable = False
    return model


# %% tags=["nbval-check-output"]
check.mend_freezing(mend_freezing)

# %% [markdown]
# ## Part III: the loss
#
# ### The ninth symptom: attention to the images that are nearly right
#
# The [focal Tversky loss](../docs/glossary.md#focal-tversky-loss) is meant to make training attend
# to the hard images. How strongly training attends to an image is the *steepness* of the loss: by
# how much it falls when the image's index rises a little. The dashed line is a loss that attends to
# all images alike.

# %% tags=["hide-input"]
index = np.linspace(0, 0.995, 200)
lines = {
    "the broken function": bug_symptoms.loss_slope(bugs_scores.focal_tversky, index),
    "1 - index": bug_symptoms.loss_slope(lambda each: 1 - each, index),
}
axis_labels = ("Tversky index of the image (1 is perfect)", "steepness of the loss")
title = "How strongly training attends to an image"
figure = plots_labs.curves(index, lines, axis_labels, title, "computed, no patients")
pull = lines["the broken function"]
alt = (
    f"Two lines. The steepness of the broken function rises from {pull[0]:.2f} at an index of 0 to "
    f"{pull[-1]:.1f} at 0.995, and more and more steeply; that of 1 - index is 1 throughout."
)
show(figure, alt, run.figures, "07_focal")

# %% [markdown]
# ### The tenth symptom: five of six tumours missed, and a good score
#
# A batch of six images. The segmenter outlines one tumour perfectly and draws nothing in the other
# five. The title has the mean [Tversky index](../docs/glossary.md#tversky-index) of the batch as
# the broken function reports it.

# %% tags=["hide-input"]
with_tumour = np.flatnonzero(test.labels)
order = with_tumour[np.argsort(test.table["tumour_px"].to_numpy()[with_tumour])]
rows = np.array([order[-1], *order[8:28:4]])
truths = test.masks[rows].astype(float)
outlined = truths * (np.arange(len(rows)) == 0)[:, None, None]
score = bugs_scores.mean_tversky(truths, outlined)
names = [f"{test.table['tumour_px'][row]} px of tumour" for row in rows]
title = f"A batch with a reported Tversky index of {score:.2f}"
images = test.images[rows, ..., 1]
figure = plots_labs.gallery(images, truths, outlined, names, title, run.describe("test"))
alt = (
    "Six FLAIR slices with the true border of the tumour: one large, five small. Only the large "
    f"one has a predicted border too, which coincides. Reported Tversky index: {score:.2f}."
)
show(figure, alt, run.figures, "07_pooled")

# %% [markdown]
# ### Exercise 7.9 · Suspects of Part III
#
# Set `suspects_loss` to a dictionary with the letters of the suspects: the keys are `"ninth"` and
# `"tenth"`.
#
# <details><summary>Hint 1</summary>
#
# Differentiate x to the power p, where x = 1 - index. For which p does the derivative grow as the
# index nears 1?
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# How many pixels does the large tumour of the tenth symptom have, and how many the other five
# together?
#
# </details>

# %% tags=["solution"]
suspects_loss = {"ninth": "K", "tenth": "N"}

# %% tags=["nbval-check-output"]
check.suspects_loss(suspects_loss)

# %% [markdown]
# ### The ninth bug

# %%
print(inspect.getsource(bugs_scores.focal_tversky))

# %% tags=["hide-input"]
slope = {at: pull[np.abs(index - at).argmin()] for at in (0.1, 0.9)}
words = (
    f"**What the symptom shows.** The steepness is {slope[0.1]:.2f} at an index of 0.1 and "
    f"{slope[0.9]:.2f} at 0.9: an image that is nearly right gets {slope[0.9] / slope[0.1]:.1f} "
    "times as much attention as one that is nearly all wrong, the opposite of what the docstring "
    "says. This follows from the formula, for every seed. Whether it makes a trained network "
    "worse is another question, which only training can answer; notebook 3 shows what was "
    "measured."
)
display(Markdown(words))

# %% [markdown]
# ### Exercise 7.10 · Focus on the hard ones
#
# Write `mend_focal(index)`: a loss from 1 (index 0) to 0 (index 1) that never rises, and is steeper
# for a hard image than for an easy one. `index` is a number or an array.
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
def mend_focal(index):
    """Return the focal Tversky loss of images with these Tversky indices."""
    return (1 - np.asarray(index)) ** (4 / 3)


# %% tags=["nbval-check-output"]
check.mend_focal(mend_focal)

# %% [markdown]
# ### The tenth bug

# %%
print(inspect.getsource(bugs_scores.mean_tversky))

# %% tags=["hide-input"]
each = [bugs_scores.mean_tversky(truths[[k]], outlined[[k]]) for k in range(len(rows))]
areas = truths.sum(axis=(1, 2))
words = (
    f"**What the symptom shows.** The indices of the six images are {each[0]:.2f} for the large "
    f"tumour and at most {max(each[1:]):.2f} for the others; their mean is {np.mean(each):.2f}, "
    f"and {score:.2f} is reported. The large tumour has {100 * areas[0] / areas.sum():.0f} % of "
    "the batch's tumour pixels and weighs as much in the pooled ratio; in a mean it is one image "
    f"of {len(rows)}. With another seed the areas differ, and the two numbers with them; the "
    "larger the largest tumour, the further apart."
)
display(Markdown(words))

# %% [markdown]
# ### Exercise 7.11 · A mean over images
#
# Write `mend_tversky(truths, predictions, alpha=0.7, beta=0.3)`: the mean over the images of a
# batch (batch, height, width) of each image's Tversky index, with 1 added above and below as
# before. An image without tumour in which nothing is drawn then counts 1.
#
# <details><summary>Hint 1</summary>
#
# How many pixels does the large tumour have, and how many the other five together?
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# `sum()` without `axis` adds up everything. Sum each image by itself (`axis=(1, 2)`), divide, and
# take the mean last.
#
# </details>


# %% tags=["solution"]
def mend_tversky(truths, predictions, alpha=0.7, beta=0.3):
    """Return the mean of the Tversky indices of the images of a batch."""
    hits = (truths * predictions).sum(axis=(1, 2))
    misses = (truths * (1 - predictions)).sum(axis=(1, 2))
    false_positives = ((1 - truths) * predictions).sum(axis=(1, 2))
    index = (hits + 1) / (hits + alpha * misses + beta * false_positives + 1)
    return float(index.mean())


# %% tags=["nbval-check-output"]
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

# %% [markdown]
# ### The twelfth symptom: the accuracy depends on the batch size
#
# One model that never changes (the baseline of [notebook 2](02_detect.ipynb), which sees a few
# numbers per slice), one set of slices, in the order of the patients. How many slices are evaluated
# at once is a matter of memory and should not change the result.

# %% tags=["hide-input"]
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from utils.cohort.features import simple_features

model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000))
model.fit(simple_features(train), train.labels)
described = simple_features(test)
sizes = [number for number in (1, 16, 50, 100, 150, 200) if number <= len(test)]
accuracies = [
    100 * bugs_scores.accuracy_in_batches(model.predict, described, test.labels, batch_size)
    for batch_size in sizes
]
print(f"{len(test)} slices; {run.describe('test')}")
pd.DataFrame({"batch size": sizes, "accuracy (%)": accuracies}).round(1)

# %% [markdown]
# ### The thirteenth symptom: random scores that detect tumours
#
# The scores of this "detector" are random numbers, and half of the slices have a tumour, so on new
# slices its accuracy is 50 %. The experiment is repeated 400 times, each time with 60 new
# validation slices and 60 new test slices. This is what gets reported:

# %% tags=["hide-input"]
reported = bug_symptoms.chance_accuracies(bugs_scores.tuned_accuracy)
figure = plots_labs.chance_histogram(reported, 60, "scores drawn by chance, no patients")
alt = (
    f"Histogram of {len(reported)} reported accuracies, from {100 * reported.min():.0f} to "
    f"{100 * reported.max():.0f} %, mean {100 * reported.mean():.0f} %. "
    f"{(reported < 0.5).sum()} lie below 50 %, what such scores are worth."
)
show(figure, alt, run.figures, "07_threshold")

# %% [markdown]
# ### The fourteenth symptom: a gallery without a failure
#
# "Examples of our results": a figure that a paper may well end with. The segmenter is the small
# classifier of the seventh symptom, trained on all slices now. Masks are scored at the size at
# which they are drawn.

# %% tags=["hide-input"]
found = bug_symptoms.segment(train, np.arange(len(train)), test)
truths = test.masks > 0
rows = np.flatnonzero(truths.any(axis=(1, 2)))
overlap = (found & truths)[rows].sum(axis=(1, 2))
dice = 2 * overlap / (found[rows].sum(axis=(1, 2)) + truths[rows].sum(axis=(1, 2)))
chosen = bugs_scores.pick_examples(dice, 6)

names = [f"Dice {dice[place]:.2f}" for place in chosen]
images, masks = test.images[rows[chosen], ..., 1], test.masks[rows[chosen]]
figure = plots_labs.gallery(
    images, masks, found[rows[chosen]], names, "Examples of our results", run.describe("test")
)
alt = "FLAIR slices with the true and the predicted border: " + ", ".join(names)
show(figure, alt, run.figures, "07_gallery")
shown, every = dice[chosen].mean(), dice.mean()
print(f"mean Dice of the {len(chosen)} shown: {shown:.2f}; of all {len(dice)}: {every:.2f}")

# %% [markdown]
# ### Exercise 7.12 · Suspects of Part IV
#
# Set `suspects_scores` to a dictionary with the letters of the suspects: the keys are `"eleventh"`,
# `"twelfth"`, `"thirteenth"` and `"fourteenth"`.
#
# <details><summary>Hint 1</summary>
#
# In the eleventh symptom: most slices have no tumour. What would each of them have to count, for
# that score to come out? In the twelfth: divide the number of slices by each batch size.
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# In the thirteenth: random scores come out better than chance only if something was chosen by
# looking at the slices on which they are scored. In the fourteenth: which slices would you have
# shown?
#
# </details>

# %% tags=["solution"]
suspects_scores = {"eleventh": "G", "twelfth": "M", "thirteenth": "E", "fourteenth": "H"}

# %% tags=["nbval-check-output"]
check.suspects_scores(suspects_scores)

# %% [markdown]
# ### The eleventh bug

# %%
print(inspect.getsource(bugs_scores.dice_report))

# %% tags=["hide-input"]
empty = ~test.labels
words = (
    f"**What the symptom shows.** {100 * empty.mean():.0f} % of the slices have no tumour. Each "
    "of them counts (0 + 1) / (0 + 1) = 1, the slices with tumour hardly more than 0, and so the "
    f"score is {report['dice']:.2f}: the share of the tumour-free slices, and nothing about "
    "outlines. It is another number for another seed or cohort, and always near that share."
)
display(Markdown(words))

# %% [markdown]
# ### Exercise 7.13 · Say what an empty slice counts
#
# Write `mend_report(dice, tumour_px, predicted_px)`. It gets three arrays with one entry per slice:
# the [Dice](../docs/glossary.md#dice) of the slice (1 where both masks are empty), the pixels of
# the tumour and the pixels predicted. It returns a dictionary: `dice`, the mean over the slices
# *with* tumour; `slices`, how many these are; and `false_positives`, the share of the tumour-free
# slices in which anything was drawn. A mean over nothing is `nan`.
#
# <details><summary>Hint 1</summary>
#
# Which slices can say something about the outline of a tumour? Which can have a false positive?
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# Split the slices first: `there = tumour_px > 0`. Each of the two numbers then has a plain meaning,
# and neither is mixed with the other.
#
# </details>


# %% tags=["solution"]
def mend_report(dice, tumour_px, predicted_px):
    """Return `dice` over `slices` with tumour, and the share of `false_positives` in the others."""
    there = tumour_px > 0
    drawn = predicted_px[~there] > 0
    return {
        "dice": dice[there].mean() if there.any() else np.nan,
        "slices": int(there.sum()),
        "false_positives": drawn.mean() if len(drawn) else np.nan,
    }


# %% tags=["nbval-check-output"]
check.mend_report(mend_report)

# %% [markdown]
# ### The twelfth bug

# %%
print(inspect.getsource(bugs_scores.accuracy_in_batches))

# %% tags=["hide-input"]
left = [len(test) % batch_size for batch_size in sizes]
furthest = int(np.argmax(left))
words = (
    f"**What the symptom shows.** All {len(test)} slices are evaluated only with a batch size of "
    f"1, which gives {accuracies[0]:.1f} %. With {sizes[furthest]} the last {left[furthest]} "
    f"slices are left out, and the accuracy is {accuracies[furthest]:.1f} %. The slices are in "
    "the order of the patients, so it is always the last patients who are missing. With another "
    "seed they are others, and leaving them out may raise the accuracy as well as lower it."
)
display(Markdown(words))

# %% [markdown]
# ### Exercise 7.14 · Every slice once
#
# Write `mend_batches(predict, images, labels, batch_size)`: the share of the images that are
# classified rightly. `predict` takes at most `batch_size` images. There may be fewer images than
# fill one batch.
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
def mend_batches(predict, images, labels, batch_size):
    """Return the share of images that are classified rightly."""
    right = []
    for start in range(0, len(images), batch_size):
        here = slice(start, start + batch_size)
        right.extend(predict(images[here]) == labels[here])
    return float(np.mean(right))


# %% tags=["nbval-check-output"]
check.mend_batches(mend_batches)

# %% [markdown]
# ### The thirteenth bug

# %%
print(inspect.getsource(bugs_scores.tuned_accuracy))

# %% tags=["hide-input"]
best, usual = 100 * reported.max(), 100 * reported.mean()
words = (
    f"**What the symptom shows.** Of {len(reported)} reports, {(reported < 0.5).sum()} lie below "
    f"50 %; their mean is {usual:.0f} % and the highest {best:.0f} %. Sixty thresholds are tried "
    "on sixty slices and the best is kept, so chance always helps. With more slices the mean "
    "would be closer to 50 %, but not below it. The random numbers are the same for every seed "
    "of the notebook."
)
display(Markdown(words))

# %% [markdown]
# ### Exercise 7.15 · Choose here, measure there
#
# Write `mend_threshold(validation, test)`. Each is a pair (labels, scores) of arrays; a slice is
# flagged if its score is at least the threshold. Return the threshold, one of the scores among
# which it is chosen, and the accuracy that may be reported.
#
# <details><summary>Hint 1</summary>
#
# What is the argument `validation` used for?
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# If something is *chosen* to make a number large, that same number cannot judge it. Choose on one
# part, and use the other once.
#
# </details>


# %% tags=["solution"]
def mend_threshold(validation, test):
    """Return a threshold chosen on validation, and its accuracy on test."""
    labels, scores = validation
    candidates = np.unique(scores)
    accuracies = [((scores >= threshold) == labels).mean() for threshold in candidates]
    threshold = candidates[int(np.argmax(accuracies))]
    labels, scores = test
    return float(threshold), float(((scores >= threshold) == labels).mean())


# %% tags=["nbval-check-output"]
check.mend_threshold(mend_threshold)

# %% [markdown]
# ### The fourteenth bug

# %%
print(inspect.getsource(bugs_scores.pick_examples))

# %% tags=["hide-input"]
poor = 100 * (dice < 0.5).mean()
words = (
    f"**What the symptom shows.** The {len(chosen)} slices shown have a mean Dice of {shown:.2f}, "
    f"all {len(dice)} slices with tumour one of {every:.2f}; {poor:.0f} % of them are below 0.5, "
    f"and the worst has {dice.min():.2f}. The images are real results, and still the figure "
    "misleads. With another seed other slices are shown; they are the best ones again."
)
display(Markdown(words))

# %% [markdown]
# ### Exercise 7.16 · A representative gallery
#
# Write `mend_gallery(dice, count)`: the row numbers of `count` slices, evenly spaced along the
# ranking from the worst to the best, both included; all slices if there are not more than `count`.
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
def mend_gallery(dice, count):
    """Return `count` rows, evenly spaced from the worst Dice to the best."""
    ranks = np.linspace(0, len(dice) - 1, min(count, len(dice))).round().astype(int)
    return np.argsort(dice)[ranks].tolist()


# %% tags=["nbval-check-output"]
check.mend_gallery(mend_gallery)

# %% [markdown]
# ## Test yourself
#
# **1.** A colleague's detector scores 0.99 on test slices and 0.80 at the next hospital. Where do
# you look first? (a) the learning rate, (b) the split, (c) the number of layers
#
# <details><summary>Answer</summary>
#
# (b). If the score falls from one's own test to new patients, the test was probably not one of new
# patients. A learning rate or a small network would lower both numbers, not one. Other scanners
# lower the second number too, so after the split look at the grey levels.
#
# </details>
#
# **2.** Which of these raises the reported score? (a) forgetting to normalise before prediction,
# (b) moving the image but not the mask, (c) pooling the batch when large tumours are easy
#
# <details><summary>Answer</summary>
#
# (c). Pooled pixels are mostly pixels of large tumours, so that failures on small ones hardly
# count. The other two lower the score, and are therefore found sooner: people look for a mistake
# when a number disappoints them, and seldom when it pleases them.
#
# </details>
#
# **3.** `random.seed(0); names = list(set(names)); random.shuffle(names)`. Is the split
# reproducible? (a) yes, it is seeded, (b) only in the same process, (c) only if the names are
# numbers
#
# <details><summary>Answer</summary>
#
# (b). The seed fixes the permutation, not what is permuted: the order of a set of text changes from
# one process to the next. Within one process it stays, which is why nobody notices it in a
# notebook. (c) is true of small whole numbers, but only by the way Python happens to store them,
# and patients have names.
#
# </details>
#
# **4.** A paper reports a mean Dice of 0.93 over all slices, two thirds of which have no tumour.
# What do you know about its outlines? (a) they are excellent, (b) nothing yet, (c) they are poor
#
# <details><summary>Answer</summary>
#
# (b). If a tumour-free slice left empty counts 1, drawing nothing at all already gives about two
# thirds. With a Dice of 0.79 on the tumours 0.93 is possible, and so it is with 0.95 and some false
# positives. Ask for the slices with tumour, or better the patients, by themselves.
#
# </details>
#
# **5.** The test set is small, so a colleague tries five thresholds on it and keeps the best.
# Harmless? (a) yes, five are few, (b) no, and least of all with a small test set
#
# <details><summary>Answer</summary>
#
# (b). Chance makes some of the five numbers too high, and the best of them is likely to be one of
# these; the smaller the set, the more so. Five choices do less harm than the sixty of the
# thirteenth symptom, but the number is no longer one of unseen patients. Choose on validation
# patients.
#
# </details>

# %% [markdown]
# ## What you have seen
#
# The three questions of the beginning, answered (how each shows is its symptom above):
#
# <details><summary>Which raise the score, which line prevents each? (names all)</summary>
#
# | Bug | The score | What prevents it |
# |---|---|---|
# | 1 slices dealt, not patients | rises | `assert not set(train_patients) & set(test_patients)` |
# | 2 a split for each stage | rises | the same, for *every* stage and the last test |
# | 3 a set is shuffled | neither; it is another one each time | `names = sorted(set(names))` |
# | 4 input not as in the training | falls | print the range of both |
# | 5 prepared otherwise in use | falls | one function that both call |
# | 6 the image moves, its mask does not | falls | look at an augmented pair with its outline |
# | 7 never shown a tumour-free slice | falls, if such are scored | `assert not labels.all()` |
# | 8 a frozen network that is not | either | `print(len(model.trainable_weights))` |
# | 9 the exponent the wrong way round | only training can tell | compare slopes at 0.1 and 0.9 |
# | 10 a pooled ratio | rises, where large tumours are easy | a mean over images |
# | 11 an empty slice counts 1 | rises | score a mask of zeros |
# | 12 the last batch is dropped | either | `assert counted == len(labels)` |
# | 13 chosen on the test set | rises | choose on validation, measure on test |
# | 14 only the best are shown | what one believes rises | draw at random, or from best to worst |
#
# </details>
#
# **Key points**
#
# - A mistake that raises an error is found at once. The fourteen here only change a number, a curve
#   or an image.
# - Mistakes that raise a score stay longest: a leak, a choice made on test, a convention for empty
#   slices, a pooled ratio, a gallery of successes.
# - Look at what goes *into* the network and the metric, after all processing: values, outlines,
#   counts.
# - Count: patients in several parts, trainable weights, slices that were scored. A count that
#   should change and does not, or should not and does, finds a bug in one line.
# - Evaluate a model that cannot work (it copies, it draws nothing, its scores are random). If the
#   score is good, the *evaluation* is wrong.
#
# ## To think about
#
# 1. Which of the fourteen would a reviewer find who has only the paper, and which only with the
#    code?
# 2. Which of your corrected functions would you turn into a test that runs on every change?
# 3. Two of these bugs together may leave the score as it was. Can you find a pair?
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
