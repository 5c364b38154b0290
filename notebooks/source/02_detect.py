# %% [markdown]
# # 2 · Detect: which slices show tumour?
#
# A **detector** looks at one slice and answers with one number: the probability that there is
# tumour in it. In this notebook you build one yourself, in Keras. You start with a simple
# baseline, then take a network that was trained on everyday photographs, give it a new last
# layer, train that layer, and fine-tune what lies below it. Then you ask how far its answers can
# be trusted.
#
# **You will learn**
# - to start with a baseline that is simple enough to be understood, and to keep it as a
#   yardstick;
# - transfer learning in Keras: load ResNet50, take off its last layer, freeze the rest, add a
#   layer of your own, `compile`, `fit`, look at the history; then unfreeze, compile again, fit;
# - why the preprocessing has to be the one that the network was trained with;
# - to choose a threshold on validation patients, for a sensitivity that is stated beforehand;
# - to read ROC and precision-recall curves, and to check whether a probability of 0.8 means
#   80 per cent;
# - to ask a network where it looked, and to look at its errors.
#
# **The way there, and what to expect**
# 1. *A baseline*: a few brightness measures and a logistic regression. It does better than you may
#    think.
# 2. *ResNet50 as it comes*: its answer about a brain is of no use, what it has measured is.
# 3. *Preprocessing*: done wrongly, nothing fails, and the score falls.
# 4. *Freeze and build*: of many million weights about a thousand are left to train.
# 5. *Compile and fit* the last layer: seconds. The network learns its training patients by heart.
# 6. *Unfreeze and fine-tune*: about a minute, and worth measuring against all that came before.
# 7. *Threshold, curves, calibration, errors*: from a score to an answer that one can rely on, or
#    not.
#
# **Questions we will answer.** Does a deep network find more than a few brightness measures do?
# How much does it owe to ImageNet? If it says 0.8, is there tumour in eight slices of ten?
#
# **You need** [notebook 1](01_explore.ipynb) (slices, channels, the split by patient), NumPy, and
# what a probability is; terms are explained in the [glossary](../docs/glossary.md). It takes about
# 3 minutes on two processor cores, and 2 GB of memory. With the nine exercises, plan two hours.

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

# %% tags=["hide-input"]
from IPython.display import Markdown, display

from utils.runtime.memory import release


def say(text):
    """Show a sentence whose numbers were computed."""
    display(Markdown(text))


# %% [markdown]
# The first cell opened the *run*: a cohort (unless you say otherwise, a simulated one), its split
# into training, validation and held-out patients, and a folder for the results. Each part has a
# task of its own. The training patients teach the network. The validation patients decide
# everything else: which [epoch](../docs/glossary.md#epoch), which threshold. The held-out patients,
# called *test* in the code, decide nothing: they are scored when all choices are made.

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
# person can name? For each slice we take the share of the image that is head, the mean, the
# standard deviation and the 95th percentile of each channel, the share of the head that is bright
# in FLAIR, and how one-sided that brightness is. A [logistic
# regression](../docs/glossary.md#logistic-regression) weighs them: it adds up the weighted numbers
# and turns the sum into a probability.
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

# %% tags=["hide-input"]
first, second = weights.abs().sort_values().index[::-1][:2]
say(
    f"**The answer to the prediction.** *{first}* has the largest weight ({weights[first]:+.1f}), "
    f"*{second}* the next ({weights[second]:+.1f})."
)

# %% [markdown]
# The features were brought to one scale, so the weights can be compared: with a weight of 1, a
# slice one standard deviation above the mean has *e* = 2.7 times the odds of showing tumour, if
# all other features stay the same. Two features that carry nearly the same information, such as a
# channel's mean and its 95th percentile, share their weight between them: one may even come out
# negative because the other is large. Do not read such weights one at a time.
#
# The **[AUC](../docs/glossary.md#auc)**, the area under the ROC curve, is the chance that a slice
# with tumour gets a higher probability than a slice without: 0.5 is guessing, 1 is perfect order.

# %%
in_validation, in_test = run.in_part("validation"), run.in_part("test")
auc_baseline = auc(validation.labels, p_baseline[in_validation])
print(f"baseline, {run.describe('validation')}: AUC {auc_baseline:.2f}")

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
# tumour), `scores` an array of as many numbers, the higher the surer of tumour: probabilities, or
# others, which may be negative. Ties count half. What is the AUC of slices that are all of one
# kind? There is no pair to order: return `nan` rather than a number that looks like a result.
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
# **ResNet50** ([He et al. 2016](https://arxiv.org/abs/1512.03385)) is called after the 50 layers
# that an image passes on its way through it: 49 [convolutions](../docs/glossary.md#convolution), in
# five stages, and the last layer. (Keras gives every step a layer of its own, additions too, and so
# counts more.) `keras.applications` has the network, and weights that were trained on ImageNet: 1.3
# million photographs of dogs, ships and teapots. `weights="imagenet"` would download them; we give
# the path of a file, because the course keeps them on your machine.
#
# What is all of that worth? To know it, the same network is also trained from random weights. That
# takes longest, so `start_apart` begins it now, in a process of its own, and we go on meanwhile; we
# come back to the result when there is something to compare it with. (It keeps the output of every
# layer in memory. Where that is short, the next cell waits until it is done.)

# %%
from utils.course import workers

finish_from_scratch = workers.start_apart(run, "utils.course.detector:train_from_scratch")

# %%
import keras
from keras import layers

from utils.models.files.imagenet import imagenet_names, imagenet_resnet50
from utils.models.precision import set_precision

set_precision()  # half precision where the processor is fast at it
resnet = keras.applications.ResNet50(weights=str(imagenet_resnet50(top=True)))
print(f"{resnet.count_params():,} weights in {len(resnet.layers)} layers")
print("from", resnet.input_shape[1:], "to", resnet.output_shape[1:])

# %% [markdown]
# As it is, the network takes an image of 224 x 224 pixels and gives 1000 probabilities, one for
# each kind of thing in ImageNet. What does it say of an MRI slice?
#
# *Predict before you run: which kind of thing will it see? There is none for a brain.*

# %%
preprocess = keras.applications.resnet50.preprocess_input
example = train.images[int(np.argmax(train.table["tumour_px"]))].astype("float32")
enlarged = np.array(keras.ops.image.resize(example[None], (224, 224)))
answer = pd.Series(
    resnet.predict(preprocess(enlarged), verbose=0)[0].astype(float),
    index=imagenet_names(),
    name="probability",
)
answer.nlargest(5).round(2).to_frame()

# %% tags=["hide-input"]
say(
    f"**The answer to the prediction.** It gives its highest probability, {answer.max():.2f}, to "
    f"*{answer.idxmax()}*. None of its 1000 answers is of use to us. But to choose among them it "
    "has measured the image in thousands of ways, and these measurements we can use."
)
del resnet
release()  # its memory is needed below

# %% [markdown]
# ### Take off the last layer
#
# Early stages of the network find edges, textures and shapes, and these serve for brains as well:
# to start from them is [transfer learning](../docs/glossary.md#transfer-learning). Only the last
# layer belongs to ImageNet's 1000 classes. `include_top=False` leaves it out, and then the image
# may have any size. What is left gives [feature maps](../docs/glossary.md#feature-map), one set
# after each stage:

# %% tags=["nbval-check-output"]
base_model = keras.applications.ResNet50(
    include_top=False, weights=str(imagenet_resnet50()), input_shape=(size, size, 3)
)
ends = ["conv2_block3_out", "conv3_block4_out", "conv4_block6_out", "conv5_block3_out"]
for stage, name in enumerate(ends, start=2):
    height, width, maps = base_model.get_layer(name).output.shape[1:]
    print(f"stage {stage} ends in {maps:4} maps of {height:2} x {width:2} values")

# %% [markdown]
# We stop after the fourth stage. Each of its 1024 maps still has one value for every 16 x 16
# pixels; the fifth has one for every 32 x 32, too coarse for a small tumour. Of each map we take
# the **maximum** (`GlobalMaxPooling2D`): there is tumour in a slice if there is tumour *anywhere*
# in it. The 1024 maxima are the [features](../docs/glossary.md#feature) of the slice.

# %%
maps = base_model.get_layer("conv4_block6_out").output
extractor = keras.Model(base_model.input, layers.GlobalMaxPooling2D()(maps))
print("from", extractor.input_shape[1:], "to", extractor.output_shape[1:])

# %% [markdown]
# ### Preprocessing: what the network expects
#
# Weights make sense only for inputs of the kind they were trained on. This ResNet50 was trained
# on values from 0 to 255, with the channels in the order blue, green, red, and the mean of all
# ImageNet images taken off. `preprocess_input` does that. Dividing by 255, as other networks want
# it, is a mistake easily made: nothing fails, no warning is given, and the network sees an almost
# even grey.

# %%
from utils.models import resnet50
from utils.models.inference import predict_images
from utils.plots import detection as plots_detection
from utils.plots.style import new_figure, show, styled

rightly = "means removed, blue-green-red\n(right)"
prepared = {
    "0 to 255, as stored": example,
    "divided by 255\n(wrong for this network)": example / 255,
    rightly: preprocess(example.copy()),
}
figure = plots_detection.preprocessing(prepared, run.describe("train"), turned_round=[rightly])

# %% tags=["hide-input"]
show(
    figure,
    "One slice prepared in three ways, with histograms of the values. Divided by 255, all values "
    "lie between 0 and 1, a thin line beside the others, which reach over "
    f"{np.ptp(example):.0f} grey levels as stored and over "
    f"{np.ptp(preprocess(example.copy())):.0f} with the means removed.",
    run.figures,
    "02_preprocessing",
)

# %% [markdown]
# The three images look alike, because a plotting program stretches whatever it is given. (On the
# right the channels were turned back for the drawing, so that a colour means the same sequence
# everywhere.) The network does not: compare the ranges above the images and the histograms below
# them. Divided by 255, the whole slice lies between 0 and 1, where the network was trained on
# differences of hundreds.
#
# What does the mistake do to the features? We send a sample of slices through the network both
# ways. (`preprocess_input` changes an array of floats in place, so we give it a copy.)

# %%
random = np.random.default_rng(seed)
chosen = np.sort(random.permutation(len(train))[:120])
judged = np.sort(random.permutation(len(validation))[:120])
sample = np.concatenate([train.images[chosen], validation.images[judged]]).astype("float32")
right = predict_images(extractor, preprocess(sample.copy()))
wrong = predict_images(extractor, sample / 255)

# %% [markdown]
# Two measures. First, how much the features tell two slices apart: their standard deviation over
# the slices as a share of their mean. Second, the AUC on the validation patients of a logistic
# regression trained on the features of the sampled training slices. The regression brings every
# feature to one scale first, which makes up for some of the mistake, but cannot bring back what
# is lost. Its `C` is the inverse of the penalty on large weights; more about that below.

# %%
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

of_sample = np.concatenate([train.labels[chosen], validation.labels[judged]])
in_sample, rows = np.arange(len(of_sample)) < len(chosen), {}
for name, features in (("right", right), ("divided by 255", wrong)):
    regression = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=2000))
    regression.fit(features[in_sample], of_sample[in_sample])
    scores = regression.predict_proba(features[~in_sample])[:, 1]
    rows[name] = {
        "standard deviation / mean": features.std(axis=0).mean() / features.mean(),
        "AUC, validation": auc(of_sample[~in_sample], scores),
    }
pd.DataFrame(rows).T.round(2)

# %% tags=["nbval-check-output", "hide-input"]
told_apart = {name: row["standard deviation / mean"] for name, row in rows.items()}
print("features:", right.shape[1])
print(
    "divided by 255, slices are told apart less than half as well:",
    bool(told_apart["divided by 255"] < told_apart["right"] / 2),
)

# %% tags=["hide-input"]
less = told_apart["right"] / told_apart["divided by 255"]
right_auc, wrong_auc = (round(row["AUC, validation"], 2) for row in rows.values())
lost = right_auc - wrong_auc  # of the numbers as the table shows them
say(
    f"**Reading the table.** Prepared rightly, the features differ {less:.1f} times as much from "
    f"slice to slice. With the wrong preprocessing the AUC is {abs(lost):.2f} "
    f"{'lower' if lost > 0 else 'higher'} on these 120 slices. Another seed draws other slices: "
    "the second number changes by a few hundredths."
)
del extractor, sample
release()

# %% [markdown]
# ### Exercise 2.3 · Prepare images by hand
#
# Write `prepare_for_resnet(images)`: what `preprocess_input` does. `images` has the
# shape `(n, height, width, 3)`, channels in the order red, green, blue, values from 0 to 255, as
# `uint8` or float. Return floats of the same shape, the channels in the order blue, green, red,
# with the mean of ImageNet taken off: 123.68 in red, 116.779 in green, 103.939 in blue.
#
# <details><summary>Hint 1</summary>
#
# The order of the two steps matters: after the channels are turned round, which mean belongs to the
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
    """Return images as ResNet50 was trained on them: blue, green, red, less the mean.

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
# **frozen**: they stay as ImageNet left them. In Keras, every layer and every model has an
# attribute `trainable`, and what counts is the list `model.trainable_variables`. Count it, before
# and after.
#
# *Predict before you run: which of the two assignments below freezes the network? Look closely at
# the names.*


# %% tags=["nbval-check-output"]
def trained(model):
    """Return how many numbers training would change."""
    return sum(int(np.prod(each.shape)) for each in model.trainable_variables)


print(f"as loaded:               {trained(base_model):>10,} numbers")
layers.trainable = False
print(f"layers.trainable = …     {trained(base_model):>10,}")
del layers.trainable  # undone
base_model.trainable = False
print(f"base_model.trainable = … {trained(base_model):>10,}")

# %% [markdown]
# The first changes nothing: `layers` is the module `keras.layers`, and Python lets you set any
# attribute of a module. No error is raised, and the training that follows changes all 23 million
# weights. That is why we count.
#
# ### A detector: preprocessing, base, pooling, one weight for each feature
#
# Now put the parts together. The preprocessing goes into the network as its first layers, so that
# nobody can forget it. The base is frozen. The last layer weighs the 1024 maxima and gives one
# number, the [*logit*](../docs/glossary.md#logit); a [sigmoid](../docs/glossary.md#sigmoid) makes
# it a probability.
#
# In the call of `ResNet50`, `include_top=False` leaves out ImageNet's classes, `weights` is the
# file of what ImageNet taught, and `input_tensor` puts our preprocessing in front. Each layer of
# the base has a name, and `get_layer` takes the one at which we cut.


# %%
def build_detector(weights, frozen=True):
    """Return the detector: images (n, size, size, 3), 0 to 255 -> logits (n, 1)."""
    inputs = keras.Input((size, size, 3), name="picture")
    mean = [-123.68, -116.779, -103.939]
    x = layers.Rescaling(1.0, offset=mean, name="mean_removed", dtype="float32")(inputs)
    x = keras.ops.flip(x, axis=-1)  # red, green, blue -> blue, green, red
    base = keras.applications.ResNet50(include_top=False, weights=weights, input_tensor=x)
    base.trainable = not frozen
    x = layers.GlobalMaxPooling2D(name="pooled")(base.get_layer("conv4_block6_out").output)
    logit = layers.Dense(1, name="logit", dtype="float32")(x)
    return keras.Model(inputs, logit, name="detector")


# %% tags=["nbval-check-output"]
del base_model
keras.utils.set_random_seed(seed)
model = build_detector(str(imagenet_resnet50()))
print(f"{model.count_params():,} numbers, of which {trained(model):,} are trained")

# %% [markdown]
# `model.summary()`, in a cell of your own, lists all layers, and there are many. The first ones are
# your preprocessing, the last two your pooling and your dense layer; all between them is ResNet50.
# Below the list stand the same two numbers.
#
# ### Exercise 2.4 · Freeze a base and give it a new last layer
#
# Write `frozen_detector(base_model)`. You are given a network that ends in feature maps (a small
# one, with the preprocessing inside). Return a `keras.Model` from the same input to one logit: the
# base frozen, the maximum of each map, and one dense layer with one output and no activation. How
# many numbers will training change if the base ends in 8 maps?
#
# <details><summary>Hint 1</summary>
#
# `base_model.output` is what the next layer is called with, `base_model.input` is the input of the
# new model. Which of `base_model` and the new model is to be frozen?
# </details>
#
# <details><summary>Hint 2</summary>
#
# `layers.GlobalMaxPooling2D()(base_model.output)` gives one number for each map. A dense layer has
# one weight for each of them, and a bias.
# </details>


# %% tags=["solution"]
def frozen_detector(base_model):
    """Return a network from the base's input to one logit, of which the last layer is trained.

    Parameters
    ----------
    base_model : keras.Model
        Images -> feature maps (n, height, width, maps).

    Returns
    -------
    keras.Model
        Images -> logits (n, 1).
    """
    base_model.trainable = False
    x = layers.GlobalMaxPooling2D()(base_model.output)
    return keras.Model(base_model.input, layers.Dense(1)(x))


# %% tags=["nbval-check-output"]
check.frozen_detector(frozen_detector)

# %% [markdown]
# ### Frozen features are computed once
#
# What is frozen gives the same output for the same image, in every epoch. So the frozen part, up
# to the middle of the fourth stage, runs over the cohort once, and the output is stored; what is
# trained on top reads it. The price: images cannot be changed at random in every epoch
# ([augmented](../docs/glossary.md#augmentation)), because the stored output belongs to one version
# of each. So each training slice is stored twice: as it is, and in a copy that was mirrored,
# turned, shifted, and made brighter or darker at random.
#
# A frozen [batch normalisation](../docs/glossary.md#batch-normalisation) is one factor and one
# offset for each channel. For the stored output both were multiplied into the convolution before
# it, which halves the time and changes the result by no more than rounding.

# %% tags=["nbval-check-output"]
from scipy.spatial.distance import cdist

workers.train_apart(run, "utils.course.features:trunk_features")
stored = trunk_features(run)
again = resnet50.trunk_of(model).predict_on_batch(run.volumes.images[:32].astype("float32"))
print("stored:", stored.shape, stored.dtype)
print("slices:", len(run.table), "and", COPIES, "x", len(train), "changed copies")
flat = [each.astype("float32").reshape(32, -1) for each in (stored[:32], again)]
itself = (cdist(*flat).argmin(axis=1) == np.arange(32)).sum()
print(f"nearest to the same slice computed again: {itself} of 32")
del again, flat

# %% [markdown]
# ## Train the last layer: `compile`, `fit`, look at the history
#
# From the stored maps we compute the 1024 features of every slice, and bring each feature to mean
# 0 and standard deviation 1 over the training patients. What is to be trained is then a network of
# a single dense layer, so one epoch takes a fraction of a second.

# %%
features = detector.pooled_features(run, model)
in_training = run.in_part("train")
scaler = StandardScaler().fit(features[in_training])
scaled = scaler.transform(features)
labels = run.volumes.labels[:, None].astype("float32")
print(scaled[in_training].shape, "to train on,", scaled[in_validation].shape, "to validate on")

# %% [markdown]
# A model is trained in three steps. **Build** it. **Compile** it: say which
# [optimiser](../docs/glossary.md#optimiser) changes the weights, how far it moves them in a step
# (the [learning rate](../docs/glossary.md#learning-rate)), which
# [loss](../docs/glossary.md#loss) it makes smaller, and which metrics are reported. **Fit** it to
# the training data. The loss is the [cross-entropy](../docs/glossary.md#cross-entropy): small if
# the probability of what is true is high.
#
# A penalty on large weights ([regularisation](../docs/glossary.md#regularisation)) can be added to
# the loss: `penalty` times the sum of the squared weights. Because the loss then holds more than
# the cross-entropy, we have the cross-entropy reported by itself as well.


# %%
def new_head(penalty):
    """Return a compiled network of one dense layer: 1024 features -> one logit."""
    keras.utils.set_random_seed(seed)
    regularizer = keras.regularizers.L2(penalty)
    dense = layers.Dense(1, kernel_regularizer=regularizer, dtype="float32")
    head = keras.Sequential([keras.Input((1024,)), dense])
    head.compile(
        optimizer=keras.optimizers.Adam(learning_rate=0.005),
        loss=keras.losses.BinaryCrossentropy(from_logits=True),
        metrics=[
            keras.metrics.BinaryCrossentropy(from_logits=True, name="cross_entropy"),
            keras.metrics.AUC(from_logits=True, name="auc"),
        ],
        jit_compile=False,  # compiling would take longer than it saves here
    )
    return head


# %% [markdown]
# `fit` goes through the training slices `epochs` times, 64 at a step, and after each epoch
# evaluates the network on the validation patients. The *callback* `EarlyStopping` ends the training
# when the validation loss has not fallen for five epochs, and takes the weights of the best one.

# %%
head = new_head(penalty=0.0)
print(f"{trained(head):,} numbers are trained")


# %%
def fit(head):
    """Train a head on the training patients; return a table with one row per epoch."""
    stop = keras.callbacks.EarlyStopping("val_loss", patience=5, restore_best_weights=True)
    history = head.fit(
        scaled[in_training],
        labels[in_training],
        validation_data=(scaled[in_validation], labels[in_validation]),
        epochs=20,
        batch_size=64,
        callbacks=[stop],
        verbose=0,
    )
    return pd.DataFrame(history.history).rename_axis("epoch")


history = fit(head)
history.iloc[[0, len(history) // 2, -1]].round(3)

# %% [markdown]
# `model.fit` returns a *history*: each metric after each epoch, on the training patients and, with
# `val_` before its name, on the validation patients. The first epoch has the number 0 in this
# table, and 1 in figures. Always plot it.
#
# *Predict before you run: we now train the same layer with a penalty of 0.5 as well. Which of the
# two will come closer to the training patients? And which to the validation patients?*

# %%
heads = {0.0: head, 0.5: new_head(penalty=0.5)}
histories = {0.0: history, 0.5: fit(heads[0.5])}


@styled
def plot_histories():
    """Return a figure of the cross-entropies, one panel for each penalty."""
    figure = new_figure("Training the last layer", run.describe("validation"), 8, 3.4)
    for axes, penalty in zip(figure.subplots(1, 2, sharey=True), histories, strict=True):
        epochs = np.arange(1, len(histories[penalty]) + 1)
        axes.plot(epochs, histories[penalty]["cross_entropy"], "--", label="training")
        axes.plot(epochs, histories[penalty]["val_cross_entropy"], label="validation")
        axes.set(title=f"penalty {penalty}", xlabel="epoch", ylabel="cross-entropy", ylim=(0, 0.8))
        axes.legend()
    return figure


figure = plot_histories()

# %% tags=["hide-input"]
last = {penalty: rows.iloc[-1] for penalty, rows in histories.items()}
gap = {p: row["val_cross_entropy"] - row["cross_entropy"] for p, row in last.items()}
show(
    figure,
    "Cross-entropy over epochs in two panels. "
    + "; ".join(
        f"penalty {p}: training {row['cross_entropy']:.2f}, validation "
        f"{row['val_cross_entropy']:.2f} at the end"
        for p, row in last.items()
    ),
    run.figures,
    "02_head",
)

# %% tags=["hide-input"]
ends = {p: row["val_cross_entropy"] for p, row in last.items()}
closer = "without" if ends[0.0] < ends[0.5] else "with"
say(
    f"**Reading the figure.** Without a penalty the cross-entropy on the training patients falls "
    f"to {last[0.0]['cross_entropy']:.3f}, on the validation patients it ends at {ends[0.0]:.3f}: "
    f"the layer has {scaled.shape[1]} weights for {in_training.sum()} slices and learns its "
    "training patients by heart (*overfitting*). With the penalty of 0.5 the two end at "
    f"{last[0.5]['cross_entropy']:.3f} and {ends[0.5]:.3f}: the gap is {gap[0.5]:.3f} instead of "
    f"{gap[0.0]:.3f}."
)
say(
    "**The answer to the prediction.** The layer without a penalty comes closer to the training "
    f"patients; that holds for any seed. To the validation patients the one {closer} the penalty "
    f"comes closer here ({ends[0.0]:.2f} without, {ends[0.5]:.2f} with it). A small gap is not the "
    "aim by itself: a penalty can also be too strong."
)

# %% [markdown]
# ### Exercise 2.5 · Build, compile and fit a layer yourself
#
# Write `fit_head(features, labels, penalty)`: a network of one dense layer from the features to one
# logit, with an L2 penalty on its weights, compiled with Adam at a learning rate of 0.05 and the
# cross-entropy, fitted for 40 epochs. Return the **probabilities** of all slices, shape `(n,)`.
# `features` is float, `(n, number of features)`, `labels` holds 0 and 1, shape `(n,)`.
#
# <details><summary>Hint 1</summary>
#
# `new_head` and `fit` above hold all you need. Different are the number of features, the rate and
# the number of epochs; and without validation there is no `EarlyStopping`. `labels[:, None]` gives
# the labels the shape of the logits.
# </details>
#
# <details><summary>Hint 2</summary>
#
# `np.asarray(model(features))` gives logits of the shape `(n, 1)`. `model.predict` would, too, but
# it is meant for data that does not fit into memory at once. It prepares itself anew for each new
# network, and after several in a row TensorFlow warns of that ("retracing"). The warning is
# harmless, and calling the model avoids it. A probability is `1 / (1 + np.exp(-logit))`.
# </details>


# %% tags=["solution"]
def fit_head(features, labels, penalty):
    """Return the probabilities of a dense layer that was fitted to features.

    Parameters
    ----------
    features : ndarray of float, shape (n, number of features)
    labels : ndarray of 0 and 1, shape (n,)
    penalty : float
        Factor of the squared weights in the loss.

    Returns
    -------
    ndarray of float, shape (n,)
    """
    regularizer = keras.regularizers.L2(penalty)
    dense = layers.Dense(1, kernel_regularizer=regularizer, dtype="float32")
    model = keras.Sequential([keras.Input((features.shape[1],)), dense])
    model.compile(
        optimizer=keras.optimizers.Adam(0.05),
        loss=keras.losses.BinaryCrossentropy(from_logits=True),
    )
    model.fit(features, labels[:, None], epochs=40, verbose=0)
    return 1 / (1 + np.exp(-np.asarray(model(features))[:, 0]))


# %% tags=["nbval-check-output"]
check.fit_head(fit_head)

# %% [markdown]
# ### How strong a penalty?
#
# What the layer without a penalty does is [overfitting](../docs/glossary.md#overfitting). A number
# that is chosen before the training, such as the penalty, is a
# [hyperparameter](../docs/glossary.md#hyperparameter). We try two more and put all four side by
# side, as they are after their last epoch. (`EarlyStopping` kept the weights of the best epoch:
# some epochs earlier where the validation loss had risen again, as easily happens without a
# penalty; the last one where it was still falling.)

# %%
for penalty in (0.05, 5.0):
    heads[penalty] = new_head(penalty)
    histories[penalty] = fit(heads[penalty])
columns = ["cross_entropy", "val_cross_entropy", "val_auc"]
tried = pd.DataFrame({p: histories[p][columns].iloc[-1] for p in sorted(histories)}).T
tried["gap"] = tried["val_cross_entropy"] - tried["cross_entropy"]
tried.rename_axis("penalty").round(3)

# %% [markdown]
# ### Exercise 2.6 · Which sentences do the numbers support?
#
# Look at the table and at the figure above. Which of these sentences do they support? Give their
# letters as one text, such as `"ce"`.
#
# - (a) Without a penalty, the layer fits its training patients far better than the validation
#   patients.
# - (b) The stronger the penalty, the smaller the gap between the two.
# - (c) The stronger the penalty, the better the layer does on new patients.
# - (d) A penalty can be so strong that the layer does worse on the training patients, too.
# - (e) The penalty with the lowest validation cross-entropy is the best one for patients
#   everywhere.
#
# <details><summary>Hint 1</summary>
#
# Each sentence is about one or two columns. Cover the others.
# </details>
#
# <details><summary>Hint 2</summary>
#
# How many validation patients are behind each number, and how far would the numbers move with ten
# others?
# </details>

# %% tags=["solution"]
penalty_readings = "abd"

# %% tags=["nbval-check-output"]
check.penalty_readings(penalty_readings)

# %% tags=["hide-input"]
chosen_here = tried["val_cross_entropy"].idxmin()
say(
    f"For this layer alone, these validation patients would choose the penalty {chosen_here:g} "
    f"(cross-entropy {tried['val_cross_entropy'].min():.2f}). We go on with 0.5, which was fixed "
    "for this course before the table was made: the layer is not the end, it is where the "
    "fine-tuning starts, and the notebooks that follow rest on that recipe."
)

# %% [markdown]
# The layer was trained on scaled features, and the detector's last layer is given them as they
# are. Since scaling is linear, it can be multiplied into the weights:
# *w* (*x* - mean) / deviation + *b* is again a weight times *x*, plus a number.

# %%
kernel, bias = heads[0.5].get_weights()
kernel = kernel / scaler.scale_[:, None]
model.get_layer("logit").set_weights([kernel, bias - scaler.mean_ @ kernel])
p_frozen = detector.predict_run(run, model)
auc_frozen = auc(validation.labels, p_frozen[in_validation])
print(f"AUC, {run.describe('validation')}: {auc_frozen:.2f}")

# %% [markdown]
# ## Fine-tune the last blocks
#
# Now the three blocks of layers below the last layer are trained as well, from the middle of the
# fourth stage on ([fine-tuning](../docs/glossary.md#fine-tuning)). Three rules go with it:
#
# - **First the last layer, then the rest.** A random last layer would send random
#   [gradients](../docs/glossary.md#gradient), the slopes that training follows, into weights that
#   were worth keeping.
# - **A smaller learning rate**: 0.0001 instead of 0.005, because the blocks start from something
#   good. It rises over the first steps and then falls to 0 along a cosine.
# - **Batch normalisations stay frozen**: they keep ImageNet's means and variances. Those of small
#   batches would be noise.

# %%
blocks = keras.Model(model.get_layer("conv4_block3_out").output, model.output, name="last_blocks")
for layer in blocks.layers:
    layer.trainable = not isinstance(layer, layers.BatchNormalization)
print(f"{trained(blocks):,} numbers are trained")

# %% [markdown]
# **Compile again**, always, after a change of `trainable`: the optimiser keeps a list of what it
# trains.

# %%
from utils.models import training

steps = detector.fine_tuning_batches(run)[1]
blocks.compile(
    optimizer=keras.optimizers.Adam(training.cosine_schedule(1e-4, steps * detector_epochs)),
    loss=keras.losses.BinaryCrossentropy(from_logits=True),
    metrics=[keras.metrics.AUC(from_logits=True, name="auc")],
    jit_compile=False,
)
at_start = blocks.evaluate(*detector.stored_validation(run), verbose=0, return_dict=True)
print({name: round(value, 3) for name, value in at_start.items()})

# %% [markdown]
# `evaluate` gives loss and AUC before the first step: this is where the fine-tuning starts. (Keras
# takes its AUC from 200 thresholds only, so it may differ a little from the one above, which is
# exact.) The training itself is one call of `fit`, with batches of stored maps.
#
# A training that takes long should survive a crash. `progress` gives `fit` callbacks that write a
# log (`CSVLogger`), the weights of the epoch with the lowest validation loss (`ModelCheckpoint`),
# and the state after each epoch; if the notebook is run again, it goes on from there. With the
# default budget this takes about a minute, with the real cohort many.

# %%
progress = training.Resume(
    run.folder / "detector_fine_tuned",
    blocks,
    detector_epochs,
    run.identity | {"penalty": 0.5},
    monitor="val_loss",
    mode="min",
)
batches, steps = detector.fine_tuning_batches(run, progress.done)
blocks.fit(
    batches,
    steps_per_epoch=steps,
    initial_epoch=progress.done,
    epochs=detector_epochs,
    validation_data=detector.stored_validation(run),
    callbacks=progress.callbacks(),
    shuffle=False,  # the batches come shuffled
    verbose=0,
)
fine_tuned_history = progress.finish()
fine_tuned_history.round(3)

# %% [markdown]
# `model` shares its layers with `blocks`, so it is fine-tuned too. From here on we give it images,
# as in use.

# %%
p_fine_tuned = detector.probabilities(model, test)
settings = detector.calibrate_and_save(run, model)  # explained below
del batches, progress, blocks, model, heads, head

# %% [markdown]
# ### What does it owe to ImageNet?
#
# The same network again, from random weights, with nothing frozen:

# %%
keras.utils.set_random_seed(seed)
from_scratch = build_detector(weights=None, frozen=False)
print(f"{trained(from_scratch):,} numbers are trained")
from_scratch.compile(
    optimizer=keras.optimizers.Adam(1e-3),
    loss=keras.losses.BinaryCrossentropy(from_logits=True),
)
del from_scratch

# %% [markdown]
# The next line would be `from_scratch.fit(...)`, as before. You do not see it here: the process
# that we started has run it meanwhile, in batches of 8, with a learning rate that falls along a
# cosine again. One more thing it has changed: the running means of the normalisations follow faster
# (momentum 0.9 instead of Keras's 0.99), or after so few steps they would still be those of the
# start. Every image was changed anew whenever it came up, and nothing could be stored, so each one
# cost many times as much. The network went through the training slices once and was validated four
# times on the way. The next cell waits for it, if it must, and reads the result.
#
# *Predict before you run: will it beat the baseline?*

# %%
finish_from_scratch()
from_scratch, from_scratch_history = detector.train_from_scratch(run)
p_from_scratch = detector.probabilities(from_scratch, test)
del from_scratch
from_scratch_history.round(3)

# %% [markdown]
# To compare the two fairly, we plot them against the number of images that each has been shown. The
# fine-tuning starts at 0 with the last layer already trained.

# %%
start = pd.DataFrame([{"images": 0, "val_loss": at_start["loss"], "val_auc": auc_frozen}])
images = fine_tuned_history["epoch"] * steps * detector.BATCH_SIZE
curves = {
    "fine-tuned": pd.concat([start, fine_tuned_history.assign(images=images)]),
    "from scratch": from_scratch_history,
}


@styled
def plot_against_images():
    """Return a figure of both trainings: cross-entropy and AUC over images seen."""
    figure = new_figure("With and without ImageNet", run.describe("validation"), 8, 3.6)
    left, right = figure.subplots(1, 2)
    for (name, rows), look in zip(curves.items(), ("o-", "s--"), strict=True):
        left.plot(rows["images"], rows["val_loss"], look, label=name)
        right.plot(rows["images"], rows["val_auc"], look, label=name)
    left.set(xlabel="images seen", ylabel="cross-entropy, validation")
    right.set(xlabel="images seen", ylabel="AUC, validation", ylim=(0.4, 1.01))
    right.axhline(auc_baseline, color="0.5", linestyle=":", label="baseline")
    right.legend(loc="lower right")
    return figure


figure = plot_against_images()

# %% tags=["hide-input"]
seen = int(from_scratch_history["images"].iloc[-1])
scratch_end = from_scratch_history["val_auc"].iloc[-1]
nearest = (curves["fine-tuned"]["images"] - seen).abs().to_numpy().argmin()
same = curves["fine-tuned"].iloc[nearest]
show(
    figure,
    "Validation cross-entropy and AUC over images seen, for the fine-tuned network and the one "
    f"from scratch. After {seen} images the AUC is {scratch_end:.2f} from scratch; fine-tuned, "
    f"after {same['images']:.0f} images, it is {same['val_auc']:.2f}.",
    run.figures,
    "02_training",
)
beats = "beats" if scratch_end > auc_baseline else "does not reach"
if abs(scratch_end - auc_baseline) < 0.02:
    beats = "is level with"
say(
    f"**Reading the figure.** After {seen} images, one pass over the training slices, the network "
    f"from scratch has a validation AUC of {scratch_end:.2f} and {beats} the baseline "
    f"({auc_baseline:.2f}); fine-tuned, after {same['images']:.0f} images, it is "
    f"{same['val_auc']:.2f}. The fine-tuned one began at {auc_frozen:.2f} before its first step: "
    f"of its lead of {same['val_auc'] - scratch_end:+.2f}, {auc_frozen - scratch_end:+.2f} was "
    "there from the start, in the frozen features."
)

# %% [markdown]
# What one pass can show: with this budget, starting from ImageNet is far better, and its first
# features are worth more than everything that the other network learns from as many images. What
# it cannot show: that a network from scratch would never catch up. Its curve has not flattened; it
# jumps from one point to the next, because its learning rate is high and it has seen each slice
# only once, and where it ends varies with the seed. To know, one would train it for dozens of
# passes. Nor have the two had the same training: the last layer of the fine-tuned network had been
# fitted to the stored features of the same slices before, in up to 20 epochs. That took seconds,
# because the features are frozen.
#
# Slices of one patient resemble each other, so a few hundred slices from a few dozen patients are a
# small training set, however many files there are. From each training, the epoch with the lowest
# validation loss is kept.
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
# ### Exercise 2.7 · Choose a threshold
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
    # Without the small number, 0.55 of 100 slices would be 56: 0.55 * 100 is 55.00000000000001.
    return found[int(np.ceil(sensitivity * len(found) - 1e-9)) - 1]


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

# %% tags=["hide-input"]
aimed, reached = settings["sensitivity"], point.sensitivity.estimate
kept = "lies inside" if point.sensitivity.low <= aimed <= point.sensitivity.high else "lies outside"
say(
    f"**Reading the numbers.** The threshold was chosen for a sensitivity of {aimed:.0%}; on the "
    f"held-out patients it is {reached:.0%}. {aimed:.0%} {kept} the interval. Of the tumour-free "
    f"slices, {1 - point.specificity.estimate:.0%} are flagged."
)

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

# %% tags=["hide-input"]
narrow = [f"{name} ({widths['ratio'][name]:.1f} times)" for name in widths.index]
narrow = [words for words, ratio in zip(narrow, widths["ratio"], strict=True) if ratio >= 1.25]
say(
    "**Reading the table.** Clearly too narrow, by a quarter or more, when slices are drawn: "
    + (", ".join(narrow) or "none of the four")
    + ". For all others the two intervals are about equally wide."
)

# %% [markdown]
# Where a detector is good with some patients and bad with others, all slices of a patient are
# judged well or badly together, and the interval over slices claims far too much. Where it is about
# equally good with all of them, both intervals come out alike; with so few patients either may then
# be the wider one, by chance. And two detectors that are close, such as the baseline and the
# network from scratch, may change places between validation and held-out patients: so few do not
# separate them. You cannot know beforehand which case you are in, so draw patients. [Notebook
# 4](04_evaluate.ipynb) comes back to it.

# %%
bands = {
    name: detection.roc_band(slices, column, resamples=300) for name, column in compared.items()
}
figure = plots_detection.roc_curves(bands, aucs, run.describe("test"), point)

# %% tags=["hide-input"]
show(
    figure,
    "ROC curves of four detectors. "
    + "; ".join(f"{name}: AUC {interval}" for name, interval in aucs.items())
    + f". At the chosen threshold, sensitivity is {point.sensitivity.estimate:.2f} and "
    f"specificity {point.specificity.estimate:.2f}.",
    run.figures,
    "02_roc",
)

# %% [markdown]
# Each point of an [ROC curve](../docs/glossary.md#roc-curve) is a threshold. To the left few slices
# are flagged, to the right nearly all. The marked point is our threshold. Whether two detectors
# really differ is better judged on the same draws of patients, by the difference, than by whether
# two intervals overlap:


# %%
def auc_of(rows):
    return auc(rows["tumour_px"] > 0, rows["score"])


gains = {}
for name, column in list(compared.items())[1:]:
    other, ours = (slices.assign(score=slices[each]) for each in (column, "p_tumour"))
    gains[name] = paired_bootstrap(other, ours, auc_of, resamples=1000)
    print(f"AUC gained over the {name}: {gains[name]}")

# %% tags=["hide-input"]
certain = [name for name, gain in gains.items() if gain.low > 0]
open_still = [name for name in gains if name not in certain]
best = aucs["fine-tuned ResNet50"]
say(
    f"**Reading figure and differences.** The fine-tuned ResNet50 has the highest curve, with an "
    f"AUC of {best.estimate:.3f}. Its gain is above 0 in the whole interval over "
    + (", ".join(f"the {name} ({gains[name].estimate:+.3f})" for name in certain) or "none of them")
    + (
        f"; over {', '.join(f'the {name}' for name in open_still)} these "
        f"{slices['patient'].nunique()} patients do not decide it."
        if open_still
        else ". Another seed gives other patients: the order of the first two may then change."
    )
)

# %% [markdown]
# ### Exercise 2.8 · Sensitivity and specificity
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
figure = plots_detection.precision_recall(curves, averages, has_tumour.mean(), run.describe("test"))

# %% tags=["hide-input"]
show(
    figure,
    "Precision over sensitivity. Average precision: "
    + "; ".join(f"{name} {value:.2f}" for name, value in averages.items())
    + f". Guessing would reach {has_tumour.mean():.2f}, the share of tumour slices.",
    run.figures,
    "02_precision_recall",
)
flagged = (slices["p_tumour"] >= settings["threshold"]).to_numpy()
precision = has_tumour[flagged].mean()
base = has_tumour.mean()
odds = precision / (1 - precision) * (0.02 / 0.98) / (base / (1 - base))
say(
    f"**Reading the figure.** At our threshold {flagged.sum()} slices are flagged, and "
    f"{precision:.0%} of them have tumour; guessing would give {base:.0%}, the share of tumour "
    "slices here. If only 2 % of the slices had tumour, with the same sensitivity and specificity, "
    f"{odds / (1 + odds):.0%} of the flagged slices would."
)

# %% [markdown]
# ## Does 0.8 mean 80 %?
#
# A network may order the slices well and still be too sure of itself, or not sure enough: its
# [calibration](../docs/glossary.md#calibration) is poor. A **reliability diagram**
# sorts the slices into bins by predicted probability and compares with the share that does have
# tumour. If the points lie on the diagonal, a probability of 0.8 does mean 80 per cent. Their mean
# distance from it, each bin counted with its slices, is the
# [expected calibration error](../docs/glossary.md#expected-calibration-error).
#
# **[Temperature scaling](../docs/glossary.md#temperature-scaling)** ([Guo et al.
# 2017](https://arxiv.org/abs/1706.04599)) is the simplest correction: divide the logit, the number
# before the sigmoid, by one number T, fitted on validation. The order of the slices, and with it
# the AUC, stays exactly as it is. If T comes out above 1, the network was over-confident, and
# scaling moves its probabilities towards 0.5; below 1 it was under-confident, and they move towards
# 0 and 1. Above, where the threshold was chosen, T was printed.
#
# *Predict before you run: will the gap on the held-out patients get smaller?*

# %%
from utils.evaluation import calibration
from utils.evaluation.text import format_interval

rescaled = f"after, temperature {settings['temperature']:.2f}"
stages = {"before": slices["p_raw"], rescaled: slices["p_tumour"]}
tables = {
    name: calibration.reliability_table(has_tumour, p, slices["patient"], 8)
    for name, p in stages.items()
}
errors = {
    name: calibration.expected_calibration_error(has_tumour, p, 8) for name, p in stages.items()
}
figure = plots_detection.reliability(tables, errors, run.describe("test"))

# %% tags=["hide-input"]
show(
    figure,
    "Share of slices with tumour over predicted probability, before and after temperature "
    f"scaling. The mean gap is {errors['before']:.3f} before and {errors[rescaled]:.3f} after.",
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
print("change of the calibration error:", format_interval(change, sign=True, label="95 % CI"))

# %% tags=["hide-input"]
became = "better" if change.estimate < 0 else "worse"
sure = change.low > 0 or change.high < 0
say(
    f"**The answer to the prediction.** T was {settings['temperature']:.2f}, {words}. On the "
    f"held-out patients the calibration error goes from {errors['before']:.3f} to "
    f"{errors[rescaled]:.3f}, which is {became}"
    + (
        "."
        if sure
        else "; but the interval of the change includes 0, so these patients leave open "
    )
    + ("" if sure else "whether scaling helped at all.")
)

# %% tags=["nbval-check-output", "hide-input"]
same = np.isclose(auc(has_tumour, slices["p_raw"]), auc(has_tumour, slices["p_tumour"]))
print("scaling leaves the AUC as it is:", bool(same))

# %% [markdown]
# One number fitted on a few patients corrects a general over- or under-confidence and no more, and
# on other patients it may make matters worse. The network keeps its T all the same, because it was
# chosen before the held-out patients were looked at.
#
# The bars in the reliability diagram come from drawing whole patients, like every interval here. A
# bin whose slices all come from one patient has no bar. Where all slices of a bin are alike the bar
# has no length; that does not mean that the value is certain, only that these patients cannot show
# how much it varies.

# %% [markdown]
# ### Exercise 2.9 · The gap in a reliability diagram
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
# the answer towards "tumour". One or two convincing images prove nothing, so we measure: on how
# many of the tumour slices does the map's *peak* lie inside the tumour? And how often would a point
# put anywhere in the head land there, by chance?
#
# *Predict before you run: only a few per cent of a head are tumour. In how many tumour slices of a
# hundred will the peak lie inside?*

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
figure = plots_detection.grad_cam_panels(
    images[places], masks[places], maps[places], names, run.describe("test")
)

# %% tags=["hide-input"]
show(
    figure,
    f"Grad-CAM maps of six tumour slices, from the surest answer to the least sure: "
    f"{', '.join(said[i] for i in places)}.",
    run.figures,
    "02_grad_cam",
)
sure, unsure = order[: len(order) // 2], order[len(order) // 2 :]
inside = np.array([each == "peak inside" for each in said])
empty = sum(each == "no peak" for each in said)
say(
    f"**Reading the maps.** Over all {peaks.slices} tumour slices the peak lies inside the tumour "
    f"in {peaks.share:.0%}; a point put anywhere in the head would in {peaks.chance:.0%}. In the "
    f"half with the higher probabilities it is {inside[sure].mean():.0%}, in the other half "
    f"{inside[unsure].mean():.0%}. "
    f"Slices whose map is 0 everywhere, so that no place speaks for tumour: {empty}."
)

# %% [markdown]
# The six are spread evenly from the surest answer to the least sure; nobody chose them. The maps
# are coarse, one value for each 16 x 16 pixels, so a peak just outside the border may mean the
# tumour all the same. They say where the evidence was, not whether it was good evidence.
#
# ## Its errors
#
# The images that teach most are those that it gets wrong: the missed tumour slices with the lowest
# probability, and the false positives, tumour-free slices, with the highest.

# %%
p = slices["p_tumour"].to_numpy()


def worst(wrong, order, count=6):
    """Return images, masks and titles of the `count` worst slices of one kind of error."""
    rows = sorted(np.flatnonzero(wrong), key=lambda row: order * p[row])[:count]
    patients, numbers = slices["patient"].iloc[rows], slices["slice"].iloc[rows]
    titles = [
        f"{patient}, {number}\np = {p[row]:.2f}"
        for row, patient, number in zip(rows, patients, numbers, strict=True)
    ]
    return test.images[rows], test.masks[rows], titles


missed, false_positives = has_tumour & ~flagged, ~has_tumour & flagged
found = {"missed": worst(missed, 1), "false positives": worst(false_positives, -1)}
count = f"{missed.sum()} tumour slices missed, {false_positives.sum()} false positives"
print(f"{run.describe('test')}, {len(slices)} slices: {count}")
figure = plots_detection.error_gallery(found, run.describe("test"))

# %% tags=["hide-input"]
show(
    figure,
    f"The worst errors of the detector among {len(slices)} held-out slices: {count}. Shown are at "
    "most six of each kind, with the border of the true tumour.",
    run.figures,
    "02_errors",
)

# %% [markdown]
# Are the missed slices special? Two numbers for each group: how large the tumour is in the slice,
# and whether the slice is one of the two outermost of its tumour, at its upper or lower end. For
# the false positives: whether the slice above or below shows tumour.

# %%
neighbours = slices.assign(has_tumour=has_tumour).groupby("patient")["has_tumour"]
below, above = (neighbours.shift(step, fill_value=False).to_numpy() for step in (1, -1))
at_end = has_tumour & ~(above & below)
groups = {"found": has_tumour & flagged, "missed": missed, "false positives": false_positives}
described = pd.DataFrame(
    {
        name: {
            "slices": rows.sum(),
            "median tumour, px": slices["tumour_px"][rows].median(),
            "at an end of the tumour": at_end[rows].mean(),
            "tumour in a neighbour": (above | below)[rows].mean(),
        }
        for name, rows in groups.items()
    }
).T
described.round(2)

# %% tags=["hide-input"]
say(
    f"**Reading figure and table.** A missed tumour slice has a median of "
    f"{described.loc['missed', 'median tumour, px']:.0f} pixels of tumour, a found one "
    f"{described.loc['found', 'median tumour, px']:.0f}. Of the missed slices "
    f"{described.loc['missed', 'at an end of the tumour']:.0%} lie at an end of their tumour, of "
    f"the found ones {described.loc['found', 'at an end of the tumour']:.0%}. Of the false "
    f"positives {described.loc['false positives', 'tumour in a neighbour']:.0%} are next to a "
    "slice with tumour."
)

# %% [markdown]
# At the ends of a tumour little of it is in view, and two people tracing it would also disagree
# about where it ends. A slice that is flagged just beyond the end is an error by the mask, and
# would hardly mislead a reader who scrolls through the volume; brightness in FLAIR far from any
# tumour would.

# %% tags=["hide-input"]
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
            "calibration_error": errors[rescaled],
            "gradcam_peak_share": peaks.share,
            "gradcam_chance_share": peaks.chance,
        }
    }
)

# %% tags=["nbval-check-output", "hide-input"]
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
# **2.** An ImageNet ResNet50 expects values from 0 to 255. What happens if the images are divided
# by 255 before?
#
# - (a) An error: the values are out of range.
# - (b) Nothing; the first batch normalisation undoes it.
# - (c) It runs, and its features tell less than they could.
# - (d) Training takes longer, the result is the same.
#
# <details><summary>Answer</summary>
#
# **(c)**: to the network all images are nearly the same even grey, and what little differs is all
# that the table of preparations above had to go by. (a) floats of any size are
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
# - A regression on a few named features is a baseline worth having. A network has to be measured
#   against it, on the same patients.
# - Preprocessing belongs to the weights. The wrong one raises no error; it only makes the
#   features poor.
# - Transfer learning in Keras: load with `include_top=False`, freeze, add a layer, `compile`,
#   `fit`, look at the history; then unfreeze, `compile` again with a smaller rate, `fit`.
# - Frozen means that the list of trained variables is short: count it. What is frozen is computed
#   once.
# - What a network owes to ImageNet is measured by training the same network from scratch.
# - Threshold and temperature come from validation patients; the held-out ones decide nothing.
# - Every number has an interval over patients, and every gallery shows failures.
#
# ## Questions to think about
#
# 1. Every patient of this cohort has a tumour. What would have to change before the detector's
#    precision meant anything for people who are being examined for a headache?
# 2. Augmenting the images would change the stored features. How could you still augment, and
#    what would it cost?
# 3. A detector can be right for the wrong reason, for instance because images with tumour come
#    from one scanner. Which of the checks in this notebook would notice, and which would not?

# %% [markdown]
# ## Further reading
#
# - K. He, X. Zhang, S. Ren, J. Sun, *Deep residual learning for image recognition*, CVPR 2016: the
#   network. [doi:10.1109/CVPR.2016.90](https://doi.org/10.1109/CVPR.2016.90)
# - M. Raghu, C. Zhang, J. Kleinberg, S. Bengio, *Transfusion: understanding transfer learning for
#   medical imaging*, NeurIPS 2019: what medical images owe to ImageNet, and what not.
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
