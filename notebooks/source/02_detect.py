# %% [markdown]
# # 2 · Detect: which slices show tumour?
#
# A **detector** looks at one slice and answers with one number: the probability that there is
# tumour in it. This notebook builds one, from a simple baseline to a fine-tuned ResNet50, and
# then asks how far its answers can be trusted.
#
# **You will learn**
# - to start with a baseline that is simple enough to be understood, and to keep it as a
#   yardstick;
# - what transfer learning is: a network that learnt on everyday photographs is put to a new task;
# - why its preprocessing has to be the one it was trained with, and what *frozen* means;
# - to choose a threshold on validation patients, for a sensitivity that is stated beforehand;
# - to read ROC and precision-recall curves, and to check whether probabilities mean what they
#   say;
# - to ask a network where it looked, and to look at its errors.
#
# **Questions we will answer.** Does a deep network find more than a few brightness measures do?
# How much does it owe to ImageNet? If it says 0.8, is there tumour in eight slices of ten?
#
# **You need** [notebook 1](01_explore.ipynb) (slices, channels, the split by patient), NumPy, and
# what a probability is; terms are explained in the [glossary](../docs/glossary.md). It takes about
# 3 minutes on two processor cores, and 2 GB of memory. With the six exercises, plan 90 minutes.

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

from utils import check
from utils.course.run import open_run

run = open_run(cohort, data, run_folder, seed, patients, size, detector_epochs, segmenter_epochs)
print(run.describe())

# %% [markdown]
# The cell above opened the *run*: a cohort (unless you say otherwise, a simulated one), its split
# into training, validation and held-out patients, and a folder for the results. Each part has a
# task of its own. The training patients teach the network. The validation patients decide
# everything else: which [epoch](../docs/glossary.md#epoch), which threshold. The held-out patients,
# called *test* in the code, are used once, at the end.

# %% tags=["nbval-check-output"]
train, validation, test = (run.part(name) for name in ("train", "validation", "test"))
for name, part in (("train", train), ("validation", validation), ("test", test)):
    print(
        f"{name}: {len(part.patients)} patients, {len(part)} slices, {part.labels.sum()} with "
        "tumour"
    )
print("one slice:", train.images.shape[1:], train.images.dtype)

# %% [markdown]
# ## A baseline first
#
# Before any network, a [baseline](../docs/glossary.md#baseline): how far do a few numbers go that a
# person can name? For each slice we take how much of the picture is head, the mean, spread and 95th
# percentile of each channel, how much of the head is bright in FLAIR, and how one-sided that
# brightness is. A logistic regression weighs them.
#
# *Predict before you run: which of these numbers will weigh most?*

# %%
import pandas as pd

from utils.cohort.features import simple_features
from utils.course import detector
from utils.course.features import COPIES, trunk_features
from utils.evaluation.detection import auc

baseline, p_baseline = detector.baseline(run)
weights = pd.Series(baseline[-1].coef_[0], index=simple_features(train).columns, name="weight")
weights.sort_values(key=abs, ascending=False).round(2).to_frame()

# %% [markdown]
# The features were brought to one scale, so the weights can be compared: a weight of 1 means that
# a slice one standard deviation above the mean has *e* times the odds of showing tumour. Features
# that carry nearly the same information (a channel's mean and its 95th percentile) share their
# weight between them in ways that should not be read too closely.
#
# The **[AUC](../docs/glossary.md#auc)**, the area under the ROC curve, is the chance that a slice
# with tumour gets a higher probability than a slice without: 0.5 is guessing, 1 is perfect order.

# %%
in_validation, in_test = run.in_part("validation"), run.in_part("test")
print(f"baseline, {run.describe('validation')}:")
print(f"AUC {auc(validation.labels, p_baseline[in_validation]):.2f}")

# %% [markdown]
# ### Exercise 2.1 · The AUC from pairs
#
# A detector is tried on 30 slices with tumour and 70 without. In 1890 of the pairs (one slice of
# each kind) the slice with tumour has the higher score, in 60 pairs the scores are equal, in the
# rest it is the other way round. What is the AUC? A tie is what you would get by tossing a coin.
#
# <details><summary>Hint 1</summary>
#
# How many pairs are there? Each of the 30 meets each of the 70.
# </details>
#
# <details><summary>Hint 2</summary>
#
# The AUC is the share of pairs in the right order. A coin is right half of the time.
# </details>

# %% tags=["solution"]
auc_from_pairs = (1890 + 60 / 2) / (30 * 70)

# %% tags=["nbval-check-output"]
check.auc_from_pairs(auc_from_pairs)

# %% [markdown]
# ### Exercise 2.2 · The AUC as a function
#
# Write `area_under_roc(labels, scores)` by counting pairs. `labels` is an array of 0 and 1 (1: with
# tumour), `scores` an array of as many numbers, probabilities or logits. Ties count half. What is
# the AUC of slices that are all of one kind? There is no pair to order: return `nan` rather than a
# number that looks like a result.
#
# <details><summary>Hint 1</summary>
#
# `scores[labels == 1]` are the scores of the slices with tumour. Two loops over the two groups are
# fine for a start.
# </details>
#
# <details><summary>Hint 2</summary>
#
# Without loops: `a[:, None] - b` is the table of all differences. Which share of them is positive,
# and which is 0?
# </details>


# %% tags=["solution"]
def area_under_roc(labels, scores):
    """Return the share of pairs in the right order, ties counting half.

    Parameters
    ----------
    labels : ndarray of 0 and 1, shape (n,)
    scores : ndarray, shape (n,)

    Returns
    -------
    float
        nan if there is no pair.
    """
    with_tumour, without = scores[labels == 1], scores[labels == 0]
    if len(with_tumour) == 0 or len(without) == 0:
        return float("nan")
    differences = with_tumour[:, None] - without
    return (differences > 0).mean() + (differences == 0).mean() / 2


# %% tags=["nbval-check-output"]
check.area_under_roc(area_under_roc)

# %% [markdown]
# ## A network that has seen a million photographs
#
# **ResNet50** ([He et al. 2016](https://arxiv.org/abs/1512.03385)) has 50 layers with weights,
# arranged in five stages, and its published weights come from ImageNet: 1.3 million photographs of
# dogs, ships and teapots. Its early stages find edges, textures and shapes, and these serve for
# brains as well: to start from them is [transfer learning](../docs/glossary.md#transfer-learning).
# What it says at its end, which of 1000 kinds of things is in the picture, does not serve.
#
# So we stop after the fourth stage. Each of its 1024 *feature maps* still has one value for every
# 16 x 16 pixels; the fifth would have one for every 32 x 32, too coarse to see a small tumour. Of
# each map we take the **maximum**: there is tumour in a slice if there is tumour *anywhere* in it.
# A last layer weighs the 1024 maxima and gives one number, the
# [*logit*](../docs/glossary.md#logit); a sigmoid makes it a probability.
#
# ### Preprocessing: what the network expects
#
# Weights make sense only for inputs of the kind they were trained on. This ResNet50 was trained
# on values from 0 to 255, with the channels in the order blue, green, red, and the mean of all
# ImageNet pictures taken off. Dividing by 255, as other networks want it, is a mistake easily made:
# nothing fails, no warning is given, and the network sees an almost even grey.

# %%
from utils.course import workers
from utils.models import resnet50
from utils.models.inference import predict_images
from utils.plots import detection as plots_detection
from utils.plots.style import show

example = train.images[int(np.argmax(train.table["tumour_px"]))].astype("float32")
prepared = {
    "0 to 255, as stored": example,
    "divided by 255\n(wrong for this network)": example / 255,
    "means removed, blue-green-red\n(right)": (example - resnet50.IMAGENET_MEAN)[..., ::-1],
}
show(
    plots_detection.preprocessing(prepared, run.describe("train")),
    "One slice prepared in three ways, with histograms of the values. Divided by 255, all values "
    "lie between 0 and 1, a thin line beside the others, which reach over about 255 grey levels.",
    run.figures,
    "02_preprocessing",
)

# %% [markdown]
# The pictures look alike, because a plotting program stretches whatever it is given. The network
# does not: compare the ranges above the pictures and the histograms below them.
#
# What does the mistake cost? We send a sample of slices through the untouched ImageNet network
# both ways and take the 1024 maxima, the *features*, that come out. Our networks have the right
# preprocessing inside, as their first layers, so that nobody can forget it; to make the mistake
# on purpose, the pictures are prepared so that these layers undo themselves.

# %%
random = np.random.default_rng(seed)
chosen = np.sort(random.permutation(len(train))[:120])
judged = np.sort(random.permutation(len(validation))[:120])
labels = np.concatenate([train.labels[chosen], validation.labels[judged]])
sample = np.concatenate([train.images[chosen], validation.images[judged]]).astype("float32")
network = resnet50.pooled_of(detector.pretrained(run))


def wrongly(images):
    """Return pictures that reach the first layer divided by 255, red first."""
    return (images / 255)[..., ::-1] + np.float32(resnet50.IMAGENET_MEAN)


right = predict_images(network, sample)
wrong = predict_images(network, wrongly(sample))

# %% [markdown]
# Two measures. First, how much the features tell two slices apart: their standard deviation over
# the slices as a share of their mean. Second, the AUC on the validation patients of a logistic
# regression trained on the features of the sampled training slices. The regression brings every
# feature to one scale first, which makes up for some of the mistake, but cannot bring back what
# is lost.

# %%
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

in_training, rows = np.arange(len(labels)) < len(chosen), {}
for name, features in (("right", right), ("divided by 255", wrong)):
    regression = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=2000))
    regression.fit(features[in_training], labels[in_training])
    scores = regression.predict_proba(features[~in_training])[:, 1]
    rows[name] = {
        "standard deviation / mean": features.std(axis=0).mean() / features.mean(),
        "AUC, validation": auc(labels[~in_training], scores),
    }
pd.DataFrame(rows).T.round(2)

# %% tags=["nbval-check-output"]
told_apart = {name: row["standard deviation / mean"] for name, row in rows.items()}
print("features:", right.shape[1])
print(
    "divided by 255, slices are told apart less than half as well:",
    bool(told_apart["divided by 255"] < told_apart["right"] / 2),
)

# %% [markdown]
# ### Exercise 2.3 · Prepare pictures by hand
#
# Write `prepare_for_resnet(images)`: what our networks do in their first layers. `images` has the
# shape `(n, height, width, 3)`, channels in the order red, green, blue, values from 0 to 255, as
# `uint8` or float. Return floats of the same shape, the channels in the order blue, green, red,
# with the mean of ImageNet taken off: 123.68 in red, 116.779 in green, 103.939 in blue.
#
# <details><summary>Hint 1</summary>
#
# Two steps, and they do not commute: after the channels are turned round, which mean belongs to the
# first of them?
# </details>
#
# <details><summary>Hint 2</summary>
#
# Subtracting an array of three numbers works along the last axis. `[..., ::-1]` turns the last axis
# round and leaves all others alone.
# </details>


# %% tags=["solution"]
def prepare_for_resnet(images):
    """Return pictures as ResNet50 was trained on them: blue, green, red, less the mean.

    Parameters
    ----------
    images : ndarray of uint8 or float, shape (n, height, width, 3)
        Red, green, blue, 0 to 255.

    Returns
    -------
    ndarray of float, same shape
    """
    return (images.astype(float) - np.array([123.68, 116.779, 103.939]))[..., ::-1]


# %% tags=["nbval-check-output"]
check.prepare_for_resnet(prepare_for_resnet)

# %% [markdown]
# ### Frozen: what is trained and what is not
#
# With a few dozen patients we cannot train millions of weights well. So most of them are
# **frozen**: they stay as ImageNet left them. In Keras, each layer has an attribute `trainable`,
# and what counts is the list `model.trainable_variables`. Count it, always: the following
# mistake, one letter long, raises no error and freezes nothing.

# %%
from keras import layers
from scipy.spatial.distance import cdist


def trained(model):
    """Return how many numbers training would change."""
    return sum(int(np.prod(each.shape)) for each in model.trainable_variables)


network = detector.pretrained(run)

# %% [markdown]
# *Predict before you run: what does the loop freeze? Look closely at the two names in it.*

# %% tags=["nbval-check-output"]
print(f"as loaded:          {trained(network):>10,} numbers")
for layer in network.layers:  # noqa: B007
    layers.trainable = False  # the mistake: this is the module keras.layers, not the layer
print(f"after the mistake:  {trained(network):>10,}")
del layers.trainable
for layer in network.layers:
    layer.trainable = layer.name == "logit"
print(f"all but the last:   {trained(network):>10,} (1024 weights and a bias)")

# %% [markdown]
# ### Frozen features are computed once
#
# What is frozen gives the same output for the same picture, in every epoch. So the frozen part,
# all but the last three blocks of layers, runs over the cohort once; what is trained on top of it
# reads the stored output. The price: pictures cannot be changed at random in every epoch
# (augmented), or the stored output would not fit. So each training slice is stored twice: as it
# is, and in a copy that was mirrored, turned, shifted, made brighter or darker at random. Each
# epoch sees half of what is stored.
#
# A frozen [batch normalisation](../docs/glossary.md#batch-normalisation) is one factor and one
# offset for each channel. For the stored output both were multiplied into the convolution before
# it, which halves the time and changes the result by no more than rounding.

# %% tags=["nbval-check-output"]
workers.train_apart(run, "utils.course.features:trunk_features")
stored = trunk_features(run)
again = resnet50.trunk_of(network).predict_on_batch(run.volumes.images[:32].astype("float32"))
print("stored:", stored.shape, stored.dtype)
print("slices:", len(run.table), "and", COPIES, "x", len(train), "changed copies")
flat = [each.astype("float32").reshape(32, -1) for each in (stored[:32], again)]
distances = cdist(*flat)
itself = (distances.argmin(axis=1) == np.arange(32)).sum()
print(f"nearest to the same slice computed again: {itself} of 32")
del network, sample, again, flat  # their memory is needed below

# %% [markdown]
# ### Fit the last layer, then fine-tune the last blocks
#
# 1. **The last layer** is a logistic regression on 1024 features, so we fit it as one. There are
#    nearly as many weights as training slices, so a strong penalty on large weights is essential.
# 2. **Fine-tuning.** Then the last three blocks are set free as well, with a small learning rate,
#    because they start from something good. Their batch normalisations keep ImageNet's means and
#    variances: those of small batches would be noise. Starting from a fitted last layer matters:
#    a random one would send random gradients into weights that were worth keeping.

# %%
head = detector.train_head(run)
p_frozen = detector.predict_run(run, head)
del head
print(f"AUC, {run.describe('validation')}: {auc(validation.labels, p_frozen[in_validation]):.2f}")

# %%
workers.train_apart(run, "utils.course.detector:fine_tune")
fine_tuned, fine_tuned_history = detector.fine_tune(run)
p_fine_tuned = detector.probabilities(fine_tuned, test)  # from the pictures, as in use
fine_tuned_history.round(3)

# %% [markdown]
# ### What does it owe to ImageNet?
#
# The same network again, from random weights: every layer is trained, on pictures that are
# changed anew whenever they come up. Nothing can be stored, so every slice costs many times as
# much. With about as much time, it gets through half of the training slices once where the
# fine-tuned network went through its stored output three times.
#
# `train_apart` lets it happen in a process of its own, whose memory is given back at its end; the
# line after it reads the result.
#
# *Predict before you run: will it beat the baseline?*

# %%
settings = detector.calibrate_and_save(run, fine_tuned)  # explained below
del fine_tuned
workers.train_apart(run, "utils.course.detector:train_from_scratch")
from_scratch, from_scratch_history = detector.train_from_scratch(run)
p_from_scratch = detector.probabilities(from_scratch, test)
del from_scratch
from_scratch_history.round(3)

# %%
show(
    plots_detection.training_curves(
        {"fine-tuned": fine_tuned_history, "from scratch": from_scratch_history},
        {"loss": "cross-entropy", "auc": "AUC"},
        run.describe("validation"),
    ),
    "Cross-entropy and validation AUC by epoch. The best validation AUC was "
    f"{fine_tuned_history['val_auc'].max():.2f} with the last blocks fine-tuned and "
    f"{from_scratch_history['val_auc'].max():.2f} from scratch.",
    run.figures,
    "02_training",
)

# %% [markdown]
# The loss is the [cross-entropy](../docs/glossary.md#cross-entropy): small if the probabilities of
# what is true are high. Read the two lines of one colour together. Where the training loss falls on
# and the validation loss does not, the network learns its training patients by heart. From each
# training, the epoch with the lowest validation loss is kept. Slices of one patient resemble each
# other, so a few hundred slices from a few dozen patients are a small training set, however many
# files there are.
#
# ## A threshold, for a stated sensitivity
#
# The detector is to find **90 %** of the slices with tumour, its
# [sensitivity](../docs/glossary.md#sensitivity): this we state first. The
# [threshold](../docs/glossary.md#threshold) is then the highest that reaches it *on the validation
# patients*. Chosen on the held-out patients, it would be fitted to them, and its sensitivity there
# would mean nothing.

# %%
print(f"chosen on: {run.describe('validation')}")
print(f"threshold {settings['threshold']:.2f} for sensitivity {settings['sensitivity']:.0%}")
print(f"temperature {settings['temperature']:.2f} (explained below)")

# %% [markdown]
# ### Exercise 2.4 · Choose a threshold
#
# Write `threshold_for(labels, probabilities, sensitivity)`: the highest threshold at which at least
# this share of the slices with tumour is flagged, that is, has a probability at or above it.
# `labels` holds 0 and 1, `sensitivity` is above 0 and at most 1. What do the slices without tumour
# have to do with it? And if there is no slice with tumour? Then no threshold has a sensitivity:
# raise a `ValueError`.
#
# <details><summary>Hint 1</summary>
#
# As the threshold falls, tumour slices are flagged one by one. It only has to be looked for among
# their own probabilities.
# </details>
#
# <details><summary>Hint 2</summary>
#
# Sort the probabilities of the tumour slices from high to low. How many of them do you need? Half
# of three is not one: round up.
# </details>


# %% tags=["solution"]
def threshold_for(labels, probabilities, sensitivity):
    """Return the highest threshold that reaches a sensitivity.

    Parameters
    ----------
    labels : ndarray of 0 and 1, shape (n,)
    probabilities : ndarray, shape (n,)
    sensitivity : float
        Above 0, at most 1.

    Raises
    ------
    ValueError
        If there is no slice with tumour.
    """
    found = np.sort(probabilities[labels == 1])[::-1]
    if len(found) == 0:
        raise ValueError("no slice with tumour to choose a threshold on")
    return found[int(np.ceil(sensitivity * len(found))) - 1]


# %% tags=["nbval-check-output"]
check.threshold_for(threshold_for)

# %% [markdown]
# Now, for the first time, the held-out patients.

# %%
from utils.evaluation import detection
from utils.evaluation.bootstrap import paired_bootstrap
from utils.evaluation.calibration import apply_temperature

slices = test.table[["patient", "institution", "slice", "tumour_px"]].assign(
    p_tumour=apply_temperature(p_fine_tuned, settings["temperature"]),
    p_raw=p_fine_tuned,
    p_frozen=p_frozen[in_test],
    p_from_scratch=p_from_scratch,
    p_baseline=p_baseline[in_test],
)
compared = {
    "fine-tuned ResNet50": "p_tumour",
    "frozen ResNet50": "p_frozen",
    "ResNet50 from scratch": "p_from_scratch",
    "baseline": "p_baseline",
}
aucs = {
    name: detection.auc_interval(slices, column, resamples=1000)
    for name, column in compared.items()
}
point = detection.operating_point(slices, settings["threshold"], resamples=1000)
print(f"{run.describe('test')}\nsensitivity {point.sensitivity}\nspecificity {point.specificity}")

# %% [markdown]
# The intervals come from drawing whole patients with replacement, 1000 times: what another set of
# as many patients might have given. Drawing slices would be wrong, because those of one patient are
# no independent evidence. How wrong? Here are the widths of the intervals of the AUC both ways.

# %%
widths = {}
for name, column in compared.items():
    alone = slices.assign(patient=np.arange(len(slices)))  # as if each slice were a patient
    over_slices = detection.auc_interval(alone, column, resamples=1000)
    widths[name] = {
        "over patients": aucs[name].high - aucs[name].low,
        "over slices": over_slices.high - over_slices.low,
    }
widths = pd.DataFrame(widths).T
widths["ratio"] = widths["over patients"] / widths["over slices"]
print(f"width of the 95 % interval of the AUC; {run.describe('test')}")
widths.round(2)

# %%
narrow = list(widths.index[widths["ratio"] >= 1.25])
alike = [name for name in widths.index if name not in narrow]
print("over slices clearly too narrow:", ", ".join(narrow) or "none")
print("about as wide, or wider:", ", ".join(alike) or "none")

# %% [markdown]
# Where a detector is good with some patients and bad with others, the slices of a patient rise and
# fall together, and the interval over slices claims far too much. Where it is about equally good
# with all of them, both come out alike; with so few patients either may then be the wider one, by
# chance. You cannot know beforehand which case you are in, so draw patients.
# [Notebook 4](04_evaluate.ipynb) comes back to it.

# %%
bands = {
    name: detection.roc_band(slices, column, resamples=300) for name, column in compared.items()
}
show(
    plots_detection.roc_curves(bands, aucs, run.describe("test"), point),
    "ROC curves of four detectors. "
    + "; ".join(f"{name}: AUC {interval}" for name, interval in aucs.items())
    + f". At the chosen threshold, sensitivity is {point.sensitivity.estimate:.2f} and "
    f"specificity {point.specificity.estimate:.2f}.",
    run.figures,
    "02_roc",
)

# %% [markdown]
# Each point of an [ROC curve](../docs/glossary.md#roc-curve) is a threshold. To the left few slices
# are flagged, to the right nearly all. The marked point is our threshold: its sensitivity on new
# patients need not be the 90 % that it had on validation. Whether two detectors really differ is
# better judged patient by patient, on the same draws, than by whether two intervals overlap:


# %%
def auc_of(rows):
    return auc(rows["tumour_px"] > 0, rows["score"])


for name, column in list(compared.items())[1:]:
    other, ours = (slices.assign(score=slices[each]) for each in (column, "p_tumour"))
    gain = paired_bootstrap(other, ours, auc_of, resamples=1000)
    print(f"AUC gained over the {name}: {gain}")

# %% [markdown]
# ### Exercise 2.5 · Sensitivity and specificity
#
# Write `sensitivity_specificity(labels, flagged)`, which returns the two numbers: the share of
# slices with tumour that are flagged, and the share of slices without tumour that are *not*. Both
# arguments are arrays of as many slices, of 0 and 1 or of True and False. What if no slice has
# tumour, as among healthy people? There is nothing to find, so the sensitivity is `nan`, neither 0
# nor 1; and likewise for the specificity.
#
# <details><summary>Hint 1</summary>
#
# Sensitivity looks at the slices with tumour only, specificity at the others only. The detector's
# mistakes on the one kind do not change the other number.
# </details>
#
# <details><summary>Hint 2</summary>
#
# Convert both arrays with `.astype(bool)` first: `~` on whole numbers is something else. The mean
# of True and False is a share; the mean of nothing is what you have to look out for.
# </details>


# %% tags=["solution"]
def sensitivity_specificity(labels, flagged):
    """Return the share of tumour slices flagged, and of tumour-free slices left alone.

    Parameters
    ----------
    labels, flagged : ndarray of bool or of 0 and 1, shape (n,)

    Returns
    -------
    sensitivity, specificity : float
        nan where there is no slice of that kind.
    """
    labels, flagged = labels.astype(bool), flagged.astype(bool)
    sensitivity = flagged[labels].mean() if labels.any() else float("nan")
    specificity = (~flagged[~labels]).mean() if not labels.all() else float("nan")
    return sensitivity, specificity


# %% tags=["nbval-check-output"]
check.sensitivity_specificity(sensitivity_specificity)

# %% [markdown]
# A **[precision-recall](../docs/glossary.md#precision-recall-curve)** curve asks what a flagged
# slice is worth: how many of those flagged have tumour. Unlike the ROC curve it depends on how
# common tumour is. In this cohort every patient has one; among the scans of an ordinary hospital
# day, precision would be far lower at the same ROC curve.

# %%
has_tumour = slices["tumour_px"].to_numpy() > 0
curves = {
    name: detection.precision_recall_points(has_tumour, slices[column])
    for name, column in compared.items()
}
averages = {
    name: detection.average_precision(has_tumour, slices[column])
    for name, column in compared.items()
}
show(
    plots_detection.precision_recall(curves, averages, has_tumour.mean(), run.describe("test")),
    "Precision over sensitivity. Average precision: "
    + "; ".join(f"{name} {value:.2f}" for name, value in averages.items())
    + f". Guessing would reach {has_tumour.mean():.2f}, the share of tumour slices.",
    run.figures,
    "02_precision_recall",
)

# %% [markdown]
# ## Does 0.8 mean 80 %?
#
# A network may order the slices well and still be too sure of itself, or not sure enough: its
# [calibration](../docs/glossary.md#calibration) is poor. A **reliability diagram**
# sorts the slices into bins by predicted probability and compares with the share that does have
# tumour. If the points lie on the diagonal, the probabilities can be taken at their word.
#
# **[Temperature scaling](../docs/glossary.md#temperature-scaling)** ([Guo et al.
# 2017](https://arxiv.org/abs/1706.04599)) is the simplest correction: divide the logit, the number
# before the sigmoid, by one number T, fitted on validation. The order of the slices, and with it
# the AUC, stays exactly as it is. If T comes out above 1, the network was over-confident, and
# scaling moves its probabilities towards 0.5; below 1 it was under-confident, and they move towards
# 0 and 1.
#
# *Predict before you run: above, where the threshold was chosen, T was printed. Which was it? And
# will the gap on the held-out patients get smaller?*

# %%
from utils.evaluation import calibration
from utils.evaluation.text import format_interval

scaled = f"after, temperature {settings['temperature']:.2f}"
stages = {"before": slices["p_raw"], scaled: slices["p_tumour"]}
tables = {
    name: calibration.reliability_table(has_tumour, p, slices["patient"], 8)
    for name, p in stages.items()
}
errors = {
    name: calibration.expected_calibration_error(has_tumour, p, 8) for name, p in stages.items()
}
show(
    plots_detection.reliability(tables, errors, run.describe("test")),
    "Share of slices with tumour over predicted probability, before and after temperature "
    f"scaling. The mean gap is {errors['before']:.3f} before and {errors[scaled]:.3f} after.",
    run.figures,
    "02_reliability",
)

# %%
words = calibration.confidence_words(settings["temperature"])
print(f"T = {settings['temperature']:.2f} on {run.describe('validation')}: {words}")


def calibration_error_of(rows):
    return calibration.expected_calibration_error(rows["tumour_px"] > 0, rows["score"], 8)


before, after = (slices.assign(score=slices[column]) for column in ("p_raw", "p_tumour"))
change = paired_bootstrap(before, after, calibration_error_of, resamples=1000)
became = "better" if change.estimate < 0 else "worse"
sure = "" if change.low > 0 or change.high < 0 else ", but these patients do not decide it"
print(
    f"calibration error on {run.describe('test')}: {errors['before']:.3f} before, "
    f"{errors[scaled]:.3f} after\n"
    f"change {format_interval(change, sign=True, label='95 % CI')}: {became}{sure}"
)

# %% tags=["nbval-check-output"]
same = np.isclose(auc(has_tumour, slices["p_raw"]), auc(has_tumour, slices["p_tumour"]))
print("scaling leaves the AUC as it is:", bool(same))

# %% [markdown]
# One number fitted on a few patients mends a general over- or under-confidence and no more, and on
# other patients it may make matters worse: read the lines above for what it did here. The
# network keeps its T all the same, because it was chosen before the held-out patients were looked
# at. The bars draw whole patients, like every interval here; a bin whose slices come from one
# patient has none, and where all slices of a bin are alike the bar has no length, which does not
# mean that nothing could be otherwise. With few patients, they say how little each bin knows.

# %% [markdown]
# ### Exercise 2.6 · The gap in a reliability diagram
#
# The number above the panels is the *expected calibration error*. Write `calibration_error(labels,
# probabilities, bins)`: sort the slices by probability, cut them into `bins` bins of as nearly
# equally many slices as possible (`np.array_split` does that), take in each bin the gap between the
# mean probability and the share with tumour, without its sign, and average the gaps, each bin
# weighted by its number of slices. There may be more bins than slices.
#
# <details><summary>Hint 1</summary>
#
# `np.argsort` gives the order in which to take labels *and* probabilities. What does
# `np.array_split` give for 3 slices and 10 bins?
# </details>
#
# <details><summary>Hint 2</summary>
#
# A bin's weight is its number of slices divided by all slices. Leave empty bins out: they have no
# mean, and a weight of 0 does not save you from nan.
# </details>


# %% tags=["solution"]
def calibration_error(labels, probabilities, bins):
    """Return the mean gap between predicted and observed, over bins of equally many slices.

    Parameters
    ----------
    labels : ndarray of 0 and 1, shape (n,)
    probabilities : ndarray, shape (n,)
    bins : int
    """
    order = np.argsort(probabilities)
    error = 0.0
    for members in np.array_split(order, min(bins, len(order))):
        gap = abs(probabilities[members].mean() - labels[members].mean())
        error += gap * len(members) / len(order)
    return error


# %% tags=["nbval-check-output"]
check.calibration_error(calibration_error)

# %% [markdown]
# ## Where does it look?
#
# **[Grad-CAM](../docs/glossary.md#grad-cam)** ([Selvaraju et al.
# 2017](https://arxiv.org/abs/1610.02391)) asks which places in the last layers' feature maps push
# the answer towards "tumour". A convincing picture or two prove nothing, so we measure: on how many
# of the tumour slices does the map's *peak* lie inside the tumour? And how often would a point put
# anywhere in the head land there, by chance?

# %%
from utils.cohort.volumes import head_pixels
from utils.models.grad_cam import grad_cam, peak_in_mask_share, peaks_in_words

final, _ = detector.load_or_train(run)
with_tumour = np.flatnonzero(has_tumour)
images, masks = test.images[with_tumour], test.masks[with_tumour]
maps = grad_cam(final, images)
peaks = peak_in_mask_share(maps, masks, head_pixels(images))
print(f"peak in the tumour: {peaks.share:.0%} of {peaks.slices} slices; chance {peaks.chance:.0%}")

# %%
p_shown = slices["p_tumour"].to_numpy()[with_tumour]
order = np.argsort(p_shown)[::-1]
places = order[np.linspace(0, len(order) - 1, min(6, len(order))).round().astype(int)]
said = peaks_in_words(maps, masks)
names = [
    f"{slices['patient'].iloc[with_tumour[i]]}, {slices['slice'].iloc[with_tumour[i]]}\np = "
    f"{p_shown[i]:.2f}, {said[i]}"
    for i in places
]
share = f"peak in the tumour in {peaks.share:.0%} of {peaks.slices} slices; by chance"
show(
    plots_detection.grad_cam_panels(
        images[places], masks[places], maps[places], names, run.describe("test"),
        f"{share} {peaks.chance:.0%}",
    ),
    f"Grad-CAM maps of six tumour slices, from the surest answer to the least sure: "
    f"{', '.join(said[i] for i in places)}. The {share} in {peaks.chance:.0%}.",
    run.figures,
    "02_grad_cam",
)  # fmt: skip

# %% [markdown]
# The six are spread evenly from the surest answer to the least sure, not picked. The maps are
# coarse, one value for each 16 x 16 pixels, and say where the evidence was, not whether it was
# good evidence.
#
# ## Its errors
#
# The most telling pictures are those it gets wrong: the missed tumour slices with the lowest
# probability, and the tumour-free slices with the highest.

# %%
flagged = (slices["p_tumour"] >= settings["threshold"]).to_numpy()
p = slices["p_tumour"].to_numpy()


def worst(wrong, order, count=6):
    """Return pictures, masks and titles of the `count` worst slices of one kind of error."""
    rows = sorted(np.flatnonzero(wrong), key=lambda row: order * p[row])[:count]
    patients, numbers = slices["patient"].iloc[rows], slices["slice"].iloc[rows]
    titles = [
        f"{patient}, {number}\np = {p[row]:.2f}"
        for row, patient, number in zip(rows, patients, numbers, strict=True)
    ]
    return test.images[rows], test.masks[rows], titles


missed, false_alarms = has_tumour & ~flagged, ~has_tumour & flagged
found = {"missed": worst(missed, 1), "false alarms": worst(false_alarms, -1)}
count = f"{missed.sum()} tumour slices missed, {false_alarms.sum()} false alarms"
print(f"{run.describe('test')}, {len(slices)} slices: {count}")

# %%
show(
    plots_detection.error_gallery(found, run.describe("test")),
    f"The worst errors of the detector among {len(slices)} held-out slices: {count}. Shown are at "
    "most six of each kind, with the border of the true tumour.",
    run.figures,
    "02_errors",
)

# %% [markdown]
# Look at where the missed tumour slices lie in their patient. Most often a slice is missed at the
# upper or lower end of a tumour, where little of it is in view and where two people tracing it
# would also disagree. False alarms tend to be slices next to a tumour, or brightness in FLAIR
# that is no tumour.

# %%
size_of_errors = slices.assign(found=flagged)[has_tumour].groupby("found")["tumour_px"]
size_of_errors.agg(["size", "median"]).rename(columns={"size": "slices", "median": "median px"})

# %%
run.record(
    {
        "detection": {
            "auc": aucs["fine-tuned ResNet50"].estimate,
            "auc_ci95": [aucs["fine-tuned ResNet50"].low, aucs["fine-tuned ResNet50"].high],
            "auc_frozen": aucs["frozen ResNet50"].estimate,
            "auc_from_scratch": aucs["ResNet50 from scratch"].estimate,
            "auc_baseline": aucs["baseline"].estimate,
            "sensitivity": point.sensitivity.estimate,
            "specificity": point.specificity.estimate,
            "threshold": settings["threshold"],
            "temperature": settings["temperature"],
            "calibration_error": errors[scaled],
            "gradcam_peak_share": peaks.share,
            "gradcam_chance_share": peaks.chance,
        }
    }
)

# %% tags=["nbval-check-output"]
best = aucs["fine-tuned ResNet50"].estimate
print("held-out patients:", slices["patient"].nunique())
print("fine-tuned AUC at least 0.93:", bool(best >= 0.93))
print("above the baseline:", bool(best > aucs["baseline"].estimate))
print("above the network from scratch:", bool(best > aucs["ResNet50 from scratch"].estimate))
print("Grad-CAM peaks in the tumour more often than chance:", bool(peaks.share > peaks.chance))

# %% [markdown]
# ## Test yourself
#
# Answer before you unfold.
#
# **1.** Of 40 slices with tumour a detector flags 36, of 160 without it flags 24. What is its
# precision?
#
# - (a) 0.90
# - (b) 0.85
# - (c) 0.60
# - (d) 0.86
#
# <details><summary>Answer</summary>
#
# **(c)**: 60 slices are flagged, 36 of them with tumour. (a) is the sensitivity, 36 of 40; (b) the
# specificity, 136 of 160; (d) the accuracy, 172 of 200. With ten times as many tumour-free slices
# and the same sensitivity and specificity, precision would fall to 36 of 276.
# </details>
#
# **2.** An ImageNet ResNet50 expects values from 0 to 255. What happens if the pictures are divided
# by 255 before?
#
# - (a) An error: the values are out of range.
# - (b) Nothing; the first batch normalisation undoes it.
# - (c) It runs, and its features hardly tell the pictures apart.
# - (d) Training takes longer, the result is the same.
#
# <details><summary>Answer</summary>
#
# **(c)**: to the network all pictures are nearly the same even grey. (a) floats of any size are
# accepted; (b) would be true if its means were those of the batch, but frozen ones stay those of
# ImageNet; (d) what the frozen layers lose cannot be trained back on top of them.
# </details>
#
# **3.** You choose the threshold so that 90 % of the tumour slices are found on the *validation*
# patients. On the held-out patients 84 % are found. What now?
#
# - (a) Lower the threshold until it is 90 % there too.
# - (b) Report 84 %, with its interval.
# - (c) Report 90 %, as chosen.
# - (d) Train again with another seed.
#
# <details><summary>Answer</summary>
#
# **(b)**: that is what this threshold gives on new patients. (a) fits the threshold to the test,
# and the 90 % would mean nothing for the next patients; (c) is the number it was fitted to; (d)
# repeated until the number pleases, is (a) with more computing.
# </details>
#
# **4.** Temperature scaling with T = 2 is applied to all probabilities. What changes?
#
# - (a) the AUC
# - (b) the order of the slices
# - (c) how sure the answers are
# - (d) the sensitivity at a threshold of 0.5
#
# <details><summary>Answer</summary>
#
# **(c)**: all probabilities move towards 0.5. Dividing the logit by 2 keeps the order, so (b) and
# (a), which depends on nothing but the order, stay. (d) is tempting, but 0.5 is a logit of 0, and
# half of 0 is 0: what lay above still does. At another threshold it may change.
# </details>
#
# **5.** A Grad-CAM map has its peak inside the tumour in 80 % of the tumour slices. What does that
# show?
#
# - (a) In 80 % of the slices the network is right for the right reason.
# - (b) The evidence lay in the tumour more often than chance would put it there.
# - (c) The network can outline tumours.
# - (d) The network is calibrated.
#
# <details><summary>Answer</summary>
#
# **(b)**, if chance is much lower, which is why it is computed. (a) a peak says where, not why: the
# same place may be used for a wrong reason; (c) the maps have one value for 16 x 16 pixels; (d) has
# to do with how sure it is, not with where it looks.
# </details>

# %% [markdown]
# ## What you have seen
#
# **Key points**
#
# - A regression on a few named features is a serious opponent. A network has to be measured
#   against it, on the same patients.
# - Preprocessing belongs to the weights. The wrong one raises no error; it only makes the
#   features poor.
# - Frozen means that the list of trained variables is short: count it. What is frozen is computed
#   once.
# - What a network owes to ImageNet is measured by training the same network from scratch.
# - Threshold and temperature come from validation patients; the held-out ones are used once.
# - Every number has an interval over patients, and every gallery shows failures.
#
# ## Questions to think about
#
# 1. Every patient of this cohort has a tumour. What would have to change before the detector's
#    precision meant anything for people who are being examined for a headache?
# 2. Augmenting the pictures would change the stored features. How could you still augment, and
#    what would it cost?
# 3. A detector can be right for the wrong reason, for instance because pictures with tumour come
#    from one scanner. Which of the checks in this notebook would notice, and which would not?

# %% [markdown]
# ## Further reading
#
# - K. He, X. Zhang, S. Ren, J. Sun, *Deep residual learning for image recognition*, CVPR 2016: the
#   network. [doi:10.1109/CVPR.2016.90](https://doi.org/10.1109/CVPR.2016.90)
# - M. Raghu, C. Zhang, J. Kleinberg, S. Bengio, *Transfusion: understanding transfer learning for
#   medical imaging*, NeurIPS 2019: what medical pictures owe to ImageNet, and what not.
#   [doi:10.48550/arXiv.1902.07208](https://doi.org/10.48550/arXiv.1902.07208)
# - J. A. Hanley, B. J. McNeil, *The meaning and use of the area under a receiver operating
#   characteristic (ROC) curve*, Radiology 143 (1982): the AUC as a share of pairs.
#   [doi:10.1148/radiology.143.1.7063747](https://doi.org/10.1148/radiology.143.1.7063747)
# - T. Saito, M. Rehmsmeier, *The precision-recall plot is more informative than the ROC plot when
#   evaluating binary classifiers on imbalanced datasets*, PLOS ONE 10 (2015).
#   [doi:10.1371/journal.pone.0118432](https://doi.org/10.1371/journal.pone.0118432)
# - C. Guo, G. Pleiss, Y. Sun, K. Q. Weinberger, *On calibration of modern neural networks*, ICML
#   2017. [doi:10.48550/arXiv.1706.04599](https://doi.org/10.48550/arXiv.1706.04599)
# - R. R. Selvaraju et al., *Grad-CAM: visual explanations from deep networks via gradient-based
#   localization*, ICCV 2017. [doi:10.1109/ICCV.2017.74](https://doi.org/10.1109/ICCV.2017.74)
