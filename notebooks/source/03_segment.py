# %% [markdown]
# # 3 · Segment: where is the tumour?
#
# A **segmenter** looks at a slice and answers for every pixel: tumour or not
# ([segmentation](../docs/glossary.md#segmentation)). In this notebook you build one, a residual
# [U-Net](../docs/glossary.md#u-net), from its smallest part upwards. You first train a small one
# and watch what it draws, then the real one, with a loss that you write yourself as well.
#
# **You will learn**
# - to set a [baseline](../docs/glossary.md#baseline), a threshold on FLAIR that needs no network,
#   and to give it a fair chance;
# - what a residual block, an encoder, a decoder and a skip connection are, by writing them in
#   Keras;
# - to train with `compile`, `fit` and callbacks, so that a training can be interrupted and goes on;
# - how the focal Tversky loss works, and what its exponent and its two weights change when they are
#   tried out rather than argued about;
# - why image and mask must be augmented together, and why tumour-free slices belong in the
#   training;
# - to choose threshold and smallest piece on validation patients, and to read a comparison of two
#   models patient by patient.
#
# **Questions we will answer.** Is the network better than a threshold, and at what? Does the loss
# matter? For which patients does the network fail?
#
# **You need** [notebook 1](01_explore.ipynb) (slices, masks, the split by patient); [notebook
# 2](02_detect.ipynb) helps but is not needed. The notebook takes two to three minutes on two
# processor cores, and 2 GB of memory. With the ten exercises, plan two hours. The top of notebook 1
# explains how exercises work, and the [glossary](../docs/glossary.md) explains the terms.

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
import matplotlib.pyplot as plt
import numpy as np
from IPython.display import Markdown, display

from utils import check
from utils.course.run import open_run

run = open_run(cohort, data, run_folder, seed, patients, size, detector_epochs, segmenter_epochs)
print(run.describe())

# %% [markdown]
# The *run* holds a cohort (unless you say otherwise, a simulated one), split by patient. The split
# is the same in all notebooks, and so are the held-out patients. If detector and segmenter were
# each split on their own, one of them would have been trained on patients with whom the other is
# tested, and a test of both together would be worth nothing.

# %% tags=["nbval-check-output"]
for name in ("train", "validation", "test"):
    part = run.part(name)
    print(f"{name}: {len(part.patients)} patients, {len(part)} slices of {size} x {size} pixels")
print(f"pixels with tumour, training: {100 * run.part('train').masks.mean():.1f} %")

# %% [markdown]
# ## How well do two masks agree?
#
# Tumour pixels are rare. A network that answered "no tumour" everywhere would be right for nearly
# all pixels, so the share of right pixels (accuracy) tells us nothing here. The [**Dice
# coefficient**](../docs/glossary.md#dice) does not count the pixels that both masks leave empty:
# it is twice the overlap, divided by the sum of both areas. 1 is perfect, 0 is no overlap. We pool
# the pixels of each *patient*, then average over patients, as the authors of the LGG cohort did
# ([Buda et al. 2019](https://arxiv.org/abs/1906.03720)).
#
# $$\text{Dice} = \frac{2\,|\text{true} \cap \text{predicted}|}
# {|\text{true}| + |\text{predicted}|}$$
#
# where |…| is the number of pixels.

# %% [markdown]
# ### Exercise 3.1 · Dice
#
# Write `dice_of(truth, prediction)` for two masks of one shape, of a slice or of a whole volume. A
# mask may be bool, or `uint8` with 0 and 1 or with 0 and 255: whatever is above 0 is tumour. Think
# of three cases that the formula leaves to you:
#
# - one of the masks is empty;
# - both are, and the formula says 0/0. Here a plain number is wanted, 0 or 1: decide which, and
#   give your reason in a comment. Notebook 4 shows how much hangs on it;
# - the two masks differ in shape: raise a `ValueError`.
#
# <details><summary>Hint 1</summary>
#
# Make both masks bool first. Then the overlap is one operator, and an area is a sum. By hand: two
# areas of 4 pixels that share 2 have a Dice of 0.5.
# </details>
#
# <details><summary>Hint 2</summary>
#
# Look at the *sum of the areas* before you divide by it. And NumPy does not complain about masks of
# the shapes `(4, 4)` and `(1, 4)`: it repeats the one row, so the shapes have to be compared by
# you.
# </details>


# %% tags=["solution"]
def dice_of(truth, prediction):
    """Return the Dice coefficient of two masks, from 0 to 1.

    Parameters
    ----------
    truth, prediction : ndarray
        Masks of one shape, bool or uint8; above 0 is tumour.

    Raises
    ------
    ValueError
        If the shapes differ.
    """
    truth, prediction = truth > 0, prediction > 0
    if truth.shape != prediction.shape:
        raise ValueError(f"masks of shapes {truth.shape} and {prediction.shape}")
    areas = truth.sum() + prediction.sum()
    if areas == 0:
        return 1.0  # there was nothing to find, and nothing was drawn: they agree
    return 2 * (truth & prediction).sum() / areas


# %% tags=["nbval-check-output"]
check.dice(dice_of)

# %% [markdown]
# ## A baseline without a network
#
# The tumour and the swelling around it are bright in FLAIR. The simplest segmenter therefore says
# that everything above some brightness is tumour. Which brightness? We take the one with the best
# mean Dice on the *training* patients. (The scale is the normalised one of notebook 1: 96 is the
# mean of the patient's head, and 40 grey levels are one standard deviation.)
#
# *Predict before you run: a mean Dice of about 0.2, 0.4 or 0.8? And what happens to Dice when the
# threshold is far too low?*

# %%
from utils.cohort.table import true_masks
from utils.course import flair_baseline, segmenter
from utils.evaluation import readings, segmentation
from utils.models.inference import native_probabilities, predict_images
from utils.plots import detection as plots_detection, segmentation as plots_segmentation
from utils.plots.style import show

tried_plain = flair_baseline.try_thresholds(run, flair_baseline.PLAIN)
plain_threshold = int(tried_plain["threshold"].iloc[0])
tried_plain.head(3).round(3)

# %% tags=["hide-input"]
show(
    plots_segmentation.threshold_curve(
        tried_plain,
        run.describe("train"),
        xlabel="threshold on normalised FLAIR (grey level)",
        title="Baseline: one threshold on FLAIR",
    ),
    f"Mean patient Dice of thresholding FLAIR. The best threshold is {plain_threshold}, with a "
    f"mean Dice of {tried_plain['dice'].iloc[0]:.2f}; it falls off to both sides.",
    run.figures,
    "03_baseline",
)
lowest = tried_plain.loc[tried_plain["threshold"].idxmin()]
display(
    Markdown(
        f"Even the best threshold, {plain_threshold}, reaches a mean Dice of only "
        f"{tried_plain['dice'].iloc[0]:.2f}. At the lowest, {lowest['threshold']:g}, it is "
        f"{lowest['dice']:.2f}: all that is brighter than the middle of the head is drawn. The "
        "tumour is in it, but so is much else, and every such pixel adds to the denominator."
    )
)

# %% [markdown]
# ### A fair baseline
#
# Before you blame the idea, think of what else such a threshold draws: fat is bright in FLAIR as
# well, and the scalp is full of it. A neglected baseline is easily beaten, and beating it shows
# nothing. So we give it what a careful colleague would give it (`utils/course/flair_baseline.py`):
#
# - **only the brain**: a rough mask of it. Everything about as bright as the middle of the head may
#   be brain; we take a rim off, keep the largest piece, and put its rim back;
# - **the brain's own scale**: brightness in standard deviations above the mean of the patient's
#   brain, so that neither the scanner nor the amount of fat in the image shifts it;
# - **one piece**: of all that is brighter than the threshold, the largest connected piece.
#
# The threshold is again the best one on the training patients. Below the curve you see what each
# threshold draws for the patient whose tumour has the median size.
#
# *Predict before you run: by how much will that raise the mean Dice?*

# %%
tried_fair = flair_baseline.try_thresholds(run, flair_baseline.FAIR)
fair_threshold = float(tried_fair["threshold"].iloc[0])
tried_fair.head(3).round(3)

# %% tags=["hide-input"]
show(
    plots_segmentation.threshold_curve(
        tried_fair,
        run.describe("train"),
        xlabel="threshold (standard deviations above the mean of the brain)",
        title="Fair baseline: one threshold within the brain, largest piece",
    ),
    "Mean patient Dice of thresholding FLAIR within the brain and keeping the largest piece. The "
    f"best threshold is {fair_threshold:g} standard deviations above the brain's mean, with a mean "
    f"Dice of {tried_fair['dice'].iloc[0]:.2f}.",
    run.figures,
    "03_fair_baseline",
)
gain = tried_fair["dice"].iloc[0] - tried_plain["dice"].iloc[0]
beside = tried_fair[(tried_fair["threshold"] - fair_threshold).abs() == 0.5]
beside = beside.sort_values("threshold")["dice"]
display(
    Markdown(
        f"Within the brain, the threshold reaches {tried_fair['dice'].iloc[0]:.2f} on the training "
        f"patients, {gain:.2f} more than before, and it still has only one number to choose. That "
        "number matters: half a standard deviation lower or higher, the Dice is "
        + " and ".join(f"{value:.2f}" for value in beside)
        + "."
    )
)

# %%
from utils.cohort.volumes import read_volume, resize_mask

train = run.part("train")
by_size = train.table.groupby("patient")["tumour_px"].sum().sort_values().index
rows = train.table[train.table["patient"] == by_size[len(by_size) // 2]]
place = int(rows["tumour_px"].to_numpy().argmax())
row = rows.index[place]
of_patient = {
    "plain threshold": flair_baseline.masks(rows, flair_baseline.PLAIN, plain_threshold),
    "mask of the brain": flair_baseline.brain_pixels(read_volume(rows)).astype("uint8"),
    "fair baseline": flair_baseline.masks(rows, flair_baseline.FAIR, fair_threshold),
}
drawn = {name: resize_mask(masks[place], (size, size)) for name, masks in of_patient.items()}

# %% tags=["hide-input"]
show(
    plots_segmentation.masks_side_by_side(
        train.images[row],
        {"true mask": train.masks[row], **drawn},
        run.describe("train"),
        f"What a threshold draws: {rows['patient'].iloc[0]}, the slice with most tumour",
    ),
    "Of the training patient whose tumour has the median size, the slice with most of it: FLAIR, "
    "the true mask, and what plain threshold, mask of the brain and fair baseline draw.",
    run.figures,
    "03_thresholds_drawn",
)
overlap = {name: segmentation.dice(train.masks[row], mask) for name, mask in drawn.items()}
plain, tumour = drawn["plain threshold"] > 0, train.masks[row] > 0
beside = (plain & ~tumour).sum() / max(plain.sum(), 1)
display(
    Markdown(
        "On this slice the plain threshold has a Dice of "
        f"{overlap['plain threshold']:.2f}: it draws {plain.sum() / max(tumour.sum(), 1):.1f} "
        f"times the area of the tumour; {100 * beside:.0f} % of what it draws lies beside it, in "
        "the scalp and in other fat, such as that of the eye sockets. The fair baseline has "
        f"{overlap['fair baseline']:.2f}."
    )
)

# %% [markdown]
# Brightness and size are all that this baseline knows. If something else within the rough mask is
# bright and larger than the tumour, such as fat in an eye socket, it draws that and misses the
# tumour altogether. A radiologist looks at shape, place and the other sequences too, and a network
# can do the same. Whether ours does so well enough to beat this baseline, the held-out patients
# will tell.
#
# ## Writing the network
#
# ### A residual block
#
# A [residual block](../docs/glossary.md#residual-block) is two 3 x 3
# [convolutions](../docs/glossary.md#convolution), each after a [batch
# normalisation](../docs/glossary.md#batch-normalisation) and a [ReLU](../docs/glossary.md#relu),
# with a **shortcut** around them, so that the block only has to learn what to *change* about its
# input ([He et al. 2016](https://arxiv.org/abs/1603.05027)). With `stride=2` it halves the
# resolution. Two tensors (as Keras calls its arrays) that are added must have the same shape: where
# resolution or channels change, a 1 x 1 convolution in the shortcut sees to that. To keep the code
# short, ours has one everywhere; the paper leaves the shortcut alone where it can. The convolutions
# need no bias: the normalisation that follows would take it off again.

# %%
import keras
from keras import layers, ops

from utils.models.precision import set_precision

set_precision()  # 16 bits where this processor multiplies them in hardware, else 32


def convolution(x, filters, width, stride=1):
    return layers.Conv2D(filters, width, strides=stride, padding="same", use_bias=False)(x)


def residual_block(x, filters, stride=1):
    """Return x after two convolutions, added to a 1 x 1 convolution of x."""
    shortcut = convolution(x, filters, 1, stride)
    for step in (stride, 1):
        x = layers.BatchNormalization(momentum=0.9)(x)
        x = layers.Activation("relu")(x)
        x = convolution(x, filters, 3, step)
    return layers.Add()([x, shortcut])


# %% [markdown]
# ### Encoder and decoder
#
# On the way **down**, the [encoder](../docs/glossary.md#encoder), blocks with stride 2 see more and
# more of the image at ever coarser resolution: they find out *what* is there. On the way **up**,
# the [decoder](../docs/glossary.md#decoder), the coarse features are enlarged, and a
# [**skip connection**](../docs/glossary.md#skip-connection) brings back the finer level's
# features, which still know exactly *where* it is
# ([Ronneberger et al. 2015](https://arxiv.org/abs/1505.04597)). The encoder returns the features of
# every level, the finest first; the decoder starts from the last of them and works its way back.


# %%
def encoder(x, filters):
    """Return the features of every level, each at half the resolution of the one before."""
    levels = []
    for number, width in enumerate(filters):
        x = residual_block(x, width, stride=1 if number == 0 else 2)
        levels.append(x)
    return levels


def decoder(levels, filters):
    """Return features at the finest resolution."""
    x = levels[-1]
    # Backwards, from the last level but one to the first.
    for skip, width in zip(levels[-2::-1], filters[-2::-1], strict=True):
        x = layers.UpSampling2D()(x)
        x = layers.Concatenate()([x, skip])  # the skip connection
        x = residual_block(x, width)
    return x


# %% [markdown]
# Between the image and the encoder stands a layer that undoes the normalised scale, `(value - 96) /
# 40`, so that the head has mean 0 and standard deviation 1. (Inside the blocks, normalisation comes
# first, before the very first convolution too.) After the decoder, a 1 x 1 convolution and a
# [sigmoid](../docs/glossary.md#sigmoid) give every pixel a probability. The bias of that
# convolution starts at a value that answers 2 % everywhere, which is about the share of tumour
# pixels in a training batch. Without it, training would spend its first steps on unlearning "half
# of it is tumour". (`stem` comes into play further down. The last layers compute in 32 bits, and
# have names by which the course finds them in a saved file.)


# %%
def unet(filters, stem=False):
    """Return an untrained residual U-Net with as many levels as there are `filters`."""
    image = keras.Input((size, size, 3), name="image")
    x = layers.Rescaling(1 / 40, offset=-96 / 40, name="rescale", dtype="float32")(image)
    if stem:
        x = convolution(x, filters[0], 3, stride=2)
    x = decoder(encoder(x, filters), filters)
    x = layers.Activation("relu")(layers.BatchNormalization(momentum=0.9)(x))
    rare = keras.initializers.Constant(np.log(0.02 / 0.98))  # the sigmoid of this is 2 %
    x = layers.Conv2D(1, 1, bias_initializer=rare, name="logit", dtype="float32")(x)
    if stem:
        x = layers.UpSampling2D(interpolation="bilinear", name="enlarged", dtype="float32")(x)
    probability = layers.Activation("sigmoid", name="probability", dtype="float32")(x)
    return keras.Model(image, probability, name="resunet")


# %% [markdown]
# The smallest U-Net has two levels. *Predict before you run: 16 filters at the finer level and 32
# at the coarser one; how many channels do the features have where both are joined?*

# %% tags=["nbval-check-output"]
keras.utils.set_random_seed(seed)  # the same first weights whenever you run this
small = unet((16, 32))
for layer in small.layers:
    if isinstance(layer, layers.Add | layers.UpSampling2D | layers.Concatenate):
        print(f"{type(layer).__name__:13}", *layer.output.shape[1:])
print(f"weights: {small.count_params():,}")

# %% [markdown]
# ### Exercise 3.2 · One step of the decoder
#
# Write `decoder_step(coarse, skip, filters)` with Keras layers: enlarge `coarse` to twice its side,
# join it with `skip` along the channels, and return the result after *one* 3 x 3 convolution with
# `filters` filters and a ReLU. Keras layers take arrays as well as the tensors of a model under
# construction: the check hands in features of 2 images and looks at what comes back. Nothing may be
# lost on the way: neither the coarse features nor the skip.
#
# <details><summary>Hint 1</summary>
#
# Each step is one layer: `layers.UpSampling2D`, `layers.Concatenate`, `layers.Conv2D`. A layer is
# first made and then called: `layers.UpSampling2D()(coarse)`.
# </details>
#
# <details><summary>Hint 2</summary>
#
# `Concatenate` takes a list, and joins along the last axis unless told otherwise. A 3 x 3
# convolution takes a pixel off each border, unless its `padding` is `"same"`.
# </details>


# %% tags=["solution"]
def decoder_step(coarse, skip, filters):
    """Return features of the skip's height and width, with `filters` channels, 0 or above.

    Parameters
    ----------
    coarse : tensor, shape (images, height / 2, width / 2, channels)
    skip : tensor, shape (images, height, width, other channels)
    filters : int
    """
    joined = layers.Concatenate()([layers.UpSampling2D()(coarse), skip])
    return layers.Conv2D(filters, 3, padding="same", activation="relu")(joined)


# %% tags=["nbval-check-output"]
check.decoder_step(decoder_step)

# %% [markdown]
# ## A first training
#
# `compile` says how the network is to learn: with which
# [optimiser](../docs/glossary.md#optimiser), and which number, the
# [loss](../docs/glossary.md#loss), is to become small. We begin with the usual loss,
# [cross-entropy](../docs/glossary.md#cross-entropy), and with nothing but slices that show tumour.
# `fit` then goes through the images, 8 at a time; a pass through all of them is an
# [epoch](../docs/glossary.md#epoch). A *callback* is called after each epoch: this one keeps what
# the network draws on three slices of *validation* patients, of which the third is tumour-free.
#
# *Predict before you run: what will the network draw on the tumour-free slice?*

# %%
from utils.models import training

validation = run.part("validation")
with_tumour = np.flatnonzero(validation.labels)
tumour_free = np.flatnonzero(~validation.labels)
height = validation.table.groupby("patient")["slice"].rank(pct=True).to_numpy()
watched = [*with_tumour[[len(with_tumour) // 3, 2 * len(with_tumour) // 3]]]
watched.append(tumour_free[np.abs(height[tumour_free] - 0.6).argmin()])  # above the middle

drawings = {}


def keep_drawing(epoch, logs):
    drawings[epoch + 1] = np.asarray(small(validation.images[watched]))[..., 0]


# %%
rows_trained = np.flatnonzero(train.labels)[::2]  # every second slice with tumour
small.compile(
    optimizer=keras.optimizers.Adam(0.003),
    loss="binary_crossentropy",
    jit_compile=training.fastest_jit(),  # off on a processor: there it costs more than it saves
)
history = small.fit(
    train.images[rows_trained],
    train.masks[rows_trained][..., None],  # (slices, height, width, 1), like the network's answer
    batch_size=8,
    epochs=8,
    callbacks=[keras.callbacks.LambdaCallback(on_epoch_end=keep_drawing)],
    verbose=0,
)
print(f"{len(rows_trained)} slices, {history.params['steps']} steps per epoch")

# %% [markdown]
# `fit` returns a `History`. Its `history` is a dictionary with one list for each number that was
# followed, here the loss alone. Plot it before you believe anything:

# %%
figure, axes = plt.subplots(figsize=(6, 3), layout="constrained")
losses_seen = history.history["loss"]
axes.plot(range(1, len(losses_seen) + 1), losses_seen, marker="o")
axes.set(xlabel="epoch", ylabel="mean cross-entropy per pixel", ylim=(0, None))
axes.set_title(f"The small U-Net learns ({run.describe('train')})", fontsize=10)
alt = f"The training loss falls from {losses_seen[0]:.3f} to {losses_seen[-1]:.3f} in 8 epochs."
show(figure, alt, run.figures, "03_small_loss")

# %% tags=["hide-input"]
epochs_shown = (1, 3, 8)
watched_rows = np.repeat(watched, len(epochs_shown))
drawn_masks = np.stack([drawings[e][n] > 0.5 for n in range(len(watched)) for e in epochs_shown])
titles = []
for number, (row, mask) in enumerate(zip(watched_rows, drawn_masks, strict=True)):
    epoch, truth = epochs_shown[number % len(epochs_shown)], validation.masks[row]
    found = f"Dice of the slice {segmentation.dice(truth, mask):.2f}"
    titles.append(
        f"after epoch {epoch}\n{found if truth.any() else f'tumour-free, {mask.sum()} px drawn'}"
    )

# %% tags=["hide-input"]
show(
    plots_segmentation.overlays(
        validation.images[watched_rows],
        validation.masks[watched_rows],
        drawn_masks,
        titles,
        run.describe("validation"),
        title="What the small U-Net draws, at a threshold of 0.5",
    ),
    "Three slices of validation patients, each after 1, 3 and 8 epochs of the small U-Net's "
    "training: " + "; ".join(title.replace("\n", ", ") for title in titles) + ".",
    run.figures,
    "03_small_drawings",
)

# %% tags=["hide-input"]
drawn_free = predict_images(small, validation.images[tumour_free]) > 0.5
false_positive = drawn_free.any(axis=(1, 2))
at_end = drawn_masks[len(epochs_shown) - 1 :: len(epochs_shown)]
reached = [segmentation.dice(validation.masks[n], m) for n, m in zip(watched, at_end, strict=True)]
share = train.masks[rows_trained].mean()
guess = -(share * np.log(0.02) + (1 - share) * np.log(0.98))
display(
    Markdown(
        f"A network with {small.count_params():,} weights, trained for a moment, draws the two "
        f"tumours with a Dice of {reached[0]:.2f} and {reached[1]:.2f}. It has never seen a slice "
        "on which there was nothing to draw: on the tumour-free slice above it draws "
        f"{at_end[-1].sum()} pixels, and of all {len(tumour_free)} tumour-free validation slices "
        f"it draws something on {false_positive.sum()} ({100 * false_positive.mean():.0f} %). The "
        "loss would not have told you. An answer of 2 % everywhere, which draws nothing, has a "
        f"cross-entropy of {guess:.3f}, because nearly all pixels are background; after eight "
        f"epochs it is {losses_seen[-1]:.3f}."
    )
)

# %% [markdown]
# ### Epoch by epoch
#
# Here are all eight epochs of these three slices, with the probabilities themselves. Move the
# slider (or the mouse wheel over the image) from epoch to epoch, then move the threshold. *Does the
# mask depend less on the threshold at the end than at the start? And look for a threshold at which
# the tumour-free slice stays empty: what does it do to the other two?*

# %%
from utils.plots.viewer import Case, SliceViewer, Weights

epochs = sorted(drawings)
by_epoch = []
for number, row in enumerate(watched):
    flair = np.repeat(validation.images[row][None, ..., 1:2], len(epochs), axis=0)
    truth = np.repeat(validation.masks[row][None], len(epochs), axis=0)
    maps = np.stack([drawings[epoch][number] for epoch in epochs])
    label = f"{validation.table['patient'][row]}, slice {validation.table['slice'][row]}"
    by_epoch.append(Case(label + (" (tumour-free)" if not truth.any() else ""), flair, truth, maps))
one_slice = {"sequences": ("FLAIR",), "axis": "epoch", "choice": "Slice"}
alt = (
    f"The same three validation slices after five of the {len(epochs)} epochs, with the true "
    "outline and the one that the small U-Net draws at a threshold of 0.5."
)
SliceViewer(by_epoch, run.describe("validation"), alt, **one_slice).show()

# %% tags=["hide-input"]
spans = {
    epoch: [(case.probability[epoch - 1] > t).sum() for case in by_epoch[:2] for t in (0.2, 0.8)]
    for epoch in (epochs[0], epochs[-1])
}
highest = by_epoch[-1].probability[-1].max()
left = [segmentation.dice(case.truth[-1], case.probability[-1] > highest) for case in by_epoch[:2]]
display(
    Markdown(
        "**What you see.** Going from threshold 0.2 to 0.8 takes the area of the two tumours from "
        + " and ".join("{} to {}".format(*spans[epochs[0]][n : n + 2]) for n in (0, 2))
        + f" pixels after epoch {epochs[0]}, and from "
        + " and ".join("{} to {}".format(*spans[epochs[-1]][n : n + 2]) for n in (0, 2))
        + f" after epoch {epochs[-1]}. The smaller such a difference, the fewer pixels lie between "
        "0.2 and 0.8, and the less the threshold has to decide. On the tumour-free slice the "
        f"highest probability at the end is {highest:.2f}; only a threshold above it leaves the "
        f"slice empty. At that one the other two have a Dice of {left[0]:.2f} and {left[1]:.2f}."
    )
)

# %% [markdown]
# From epoch to epoch the masks go back as well as forward, and with another seed they do so on
# other slices. Three slices are for looking, not for measuring. One thing is worth keeping: a loss
# that falls does not yet mean that the masks are good. What is to be drawn, and what is not, has to
# be looked at, and then counted on slices that the training has not seen.
#
# ## The ResUNet
#
# The course's network is built out of the same functions, with four levels ([Zhang, Liu and Wang
# 2018](https://arxiv.org/abs/1711.10684)): 32 filters at the finest, and twice as many at each
# level below. One thing is new. At the full resolution a convolution takes the most time, and it
# decides little, since tumours are many pixels wide. So a first convolution, the **stem**, halves
# the resolution before the first level, as in ResNet. The probabilities are computed at that size
# and enlarged at the end. The network then has a quarter of the multiplications to do.

# %% [markdown]
# ### Exercise 3.3 · At the bottom of the U
#
# Before you look at the diagram: an image of 128 x 128 pixels goes through the stem and down the
# four levels. What shape do the features have at the coarsest? Give a tuple
# `(height, width, channels)`.
#
# <details><summary>Hint 1</summary>
#
# In the table of shapes above, compare the first two lines: what does one level down do to the
# side, and what to the channels?
# </details>
#
# <details><summary>Hint 2</summary>
#
# The stem halves once. Four levels have as many steps between them as four fence posts have gaps.
# </details>

# %% tags=["solution"]
coarsest_shape = (128 // 2 // 2**3, 128 // 2 // 2**3, 32 * 2**3)

# %% tags=["nbval-check-output"]
check.coarsest_shape(coarsest_shape)

# %% tags=["hide-input"]
show(
    plots_segmentation.resunet_diagram(size),
    f"Diagram of the ResUNet: a stem halves the image of {size} x {size} pixels; four levels "
    f"from {size // 2} x {size // 2} with 32 filters down to {size // 16} x {size // 16} with 256, "
    "and up again; each level on the way down is copied to the same level on the way up. Beside "
    "it a residual block: twice normalise, ReLU and a 3 x 3 convolution, and a 1 x 1 convolution "
    "as a shortcut around them.",
    run.figures,
    "03_resunet",
)

# %% [markdown]
# Is what we have written the same network as the one in `utils/models/resunet.py`? First compare
# the number of weights. Then put the other one's first weights into ours: if the two are the same
# function, they now give the same answer for the same image. (We also want to *start* from these
# weights, so that everybody who runs this notebook trains the same network.)

# %% tags=["nbval-check-output"]
from utils.models.resunet import resunet

network = unet((32, 64, 128, 256), stem=True)
reference = resunet(size, seed=seed)
print(f"weights: ours {network.count_params():,}, utils {reference.count_params():,}")
network.set_weights(reference.get_weights())
four = train.images[:4]
apart = np.abs(np.asarray(network(four)) - np.asarray(reference(four))).max()
print("the same answers, pixel by pixel:", bool(apart < 1e-3))

# %% [markdown]
# <details><summary>The whole network in one piece, to copy into work of your own</summary>
#
# ```python
# import keras
# import numpy as np
# from keras import layers
#
#
# def resunet(size=128, filters=(32, 64, 128, 256)):
#     """Return an untrained ResUNet: images (n, size, size, 3) -> probabilities."""
#
#     def convolution(x, width, side, stride=1):
#         return layers.Conv2D(width, side, stride, padding="same", use_bias=False)(x)
#
#     def normalised(x):
#         return layers.Activation("relu")(layers.BatchNormalization(momentum=0.9)(x))
#
#     def block(x, width, stride=1):
#         shortcut = convolution(x, width, 1, stride)
#         for step in (stride, 1):
#             x = convolution(normalised(x), width, 3, step)
#         return layers.Add()([x, shortcut])
#
#     image = keras.Input((size, size, 3))
#     x = layers.Rescaling(1 / 40, offset=-96 / 40)(image)  # the grey levels of this course
#     x = convolution(x, filters[0], 3, stride=2)  # the stem
#     levels = []
#     for number, width in enumerate(filters):  # the encoder
#         x = block(x, width, stride=1 if number == 0 else 2)
#         levels.append(x)
#     for skip, width in zip(levels[-2::-1], filters[-2::-1]):  # the decoder
#         x = block(layers.Concatenate()([layers.UpSampling2D()(x), skip]), width)
#     rare = keras.initializers.Constant(np.log(0.02 / 0.98))
#     x = layers.Conv2D(1, 1, bias_initializer=rare)(normalised(x))
#     x = layers.UpSampling2D(interpolation="bilinear")(x)
#     return keras.Model(image, layers.Activation("sigmoid")(x))
# ```
#
# With `model = resunet()`, `model.compile("adam", "binary_crossentropy")` and
# `model.fit(images, masks)` it trains on any images of that size with masks `(n, size, size, 1)` of
# 0 and 1. Change the line with `Rescaling` if your grey levels are others.
# </details>
#
# ## The loss
#
# Cross-entropy counts every pixel alike, and nearly all of them are background. The [**Tversky
# index**](../docs/glossary.md#tversky-index) ([Salehi et al.
# 2017](https://arxiv.org/abs/1706.05721)) compares areas, as Dice does, but gives the two kinds of
# error a weight each:
#
# $$TI = \frac{TP + s}{TP + \alpha\,FN + \beta\,FP + s}$$
#
# TP is the tumour that is found, FN what is missed, FP what is drawn beside it (false positives),
# each summed over the *pixels of one image*, with probabilities in place of yes and no. $s$ is one
# pixel. It makes the index 1 for a tumour-free slice that is left empty, so that the network can
# learn from such slices too. With $\alpha = \beta = \frac12$ the index is Dice. The [**focal
# Tversky loss**](../docs/glossary.md#focal-tversky-loss) ([Abraham and Khan
# 2019](https://arxiv.org/abs/1810.07842)) is
#
# $$L = (1 - TI)^{p}$$
#
# With $\alpha > \beta$, missing a pixel costs more than drawing one too many: the masks grow,
# sensitivity rises, precision falls. We take $\alpha = 0.7$, $\beta = 0.3$, as the authors did.

# %% tags=["hide-input"]
show(
    plots_segmentation.tversky_weights(),
    "Loss over the share of the tumour that is missed (left) and of the area that is drawn beside "
    "it (right). With alpha 0.7 and beta 0.3, missed tumour costs more and false positives less "
    "than under Dice.",
    run.figures,
    "03_tversky_weights",
)


def loss_of(found, missed, extra, fn_weight, fp_weight):
    return 1 - found / (found + fn_weight * missed + fp_weight * extra)


display(
    Markdown(
        "Read the left panel at 50 %: half of the tumour is missed. With the weights 0.5 and 0.5 "
        f"that costs {loss_of(0.5, 0.5, 0, 0.5, 0.5):.2f}, with 0.7 and 0.3 "
        f"{loss_of(0.5, 0.5, 0, 0.7, 0.3):.2f}. In the right panel at 50 %, an area half the size "
        f"of the tumour drawn beside it costs {loss_of(1, 0, 0.5, 0.5, 0.5):.2f} and "
        f"{loss_of(1, 0, 0.5, 0.7, 0.3):.2f}."
    )
)

# %% [markdown]
# Now weigh what the small U-Net has drawn. Below each of its eight drawings of the three slices
# stand TP, FN and FP, and the index and the loss that follow from the weights and the exponent.
# They are sums of probabilities, so the threshold does not touch them. *Predict: as you raise
# $\alpha$, does the loss of the first epoch, or that of the last, rise more? Then move $\beta$, and
# look at the tumour-free slice.*

# %%
alt = (
    "The three slices and their outlines epoch by epoch once more; in the running notebook, "
    "sliders for both weights and the exponent compute the Tversky index and the loss of each anew."
)
weighed = SliceViewer(
    by_epoch, run.describe("validation"), alt, weights=Weights(0.7, 0.3, 4 / 3), **one_slice
)
weighed.show()

# %% tags=["hide-input"]
lines, rises = [], {}
for epoch in (epochs[0], epochs[-1]):
    found, missed, extra = weighed.data["cases"][0]["sums"][epoch - 1]
    low, high = (1 - (found + 1) / (found + fn * missed + 0.3 * extra + 1) for fn in (0.3, 0.9))
    rises["first" if epoch == epochs[0] else "last"] = high - low
    lines.append(
        f"after epoch {epoch}, {found:.0f} of the tumour's pixels are found, {missed:.0f} missed "
        f"and {extra:.0f} drawn beside it, and from $\\alpha$ = 0.3 to 0.9 the loss $1 - TI$ goes "
        f"from {low:.2f} to {high:.2f}"
    )
display(
    Markdown(
        "**What you see.** On the first slice, with $\\beta$ = 0.3 and $p$ = 1: "
        + "; ".join(lines)
        + f". So the loss of the {max(rises, key=rises.get)} epoch rises more, by "
        f"{max(rises.values()):.2f} against {min(rises.values()):.2f}: the more is missed, the "
        "more its price matters, unless so little is found that the loss is near 1 already. The "
        "weights change that price, never the errors themselves. On the tumour-free slice there "
        "is nothing to miss, so $\\alpha$ does nothing there and "
        "$\\beta$ everything."
    )
)

# %% [markdown]
# ### Exercise 3.4 · The focal Tversky loss in Keras
#
# Write `focal_tversky_of(truths, predictions, fn_weight, fp_weight, exponent)` in `keras.ops`, as a
# loss that Keras could train with: both arrays have the shape `(images, height, width, 1)`,
# `truths` holds 0 and 1, `predictions` probabilities. It returns *one loss for each image*, of the
# shape `(images,)`, with $s = 1$.
#
# Use the probabilities as they are: a threshold has no slope, and nothing could be learned through
# it. Nor through NumPy, which keeps no track of slopes: the check, which hands in arrays, would not
# notice, but a training would. Take care which of the two weights belongs to the *missed* tumour,
# because nothing fails when they are swapped. Here $\alpha$ is `fn_weight`, that of the false
# negatives, as in Abraham and Khan; Salehi et al., Keras and MONAI call the weight of the false
# *positives* alpha. A test of the course holds `FocalTversky` in `utils/models/losses.py` to the
# values that the check expects of yours.
#
# <details><summary>Hint 1</summary>
#
# If a tumour pixel gets 0.8, then 0.8 of it is found and 0.2 is missed. Write TP, FN and FP each as
# the sum of a product; "not tumour" is `1 - truths`.
# </details>
#
# <details><summary>Hint 2</summary>
#
# `ops.sum(values, axis=(1, 2, 3))` sums over everything but the images. The order matters at the
# end: first the distance of the index from 1, then the power.
# </details>


# %% tags=["solution"]
def focal_tversky_of(truths, predictions, fn_weight=0.7, fp_weight=0.3, exponent=4 / 3):
    """Return the focal Tversky loss of each image, with s = 1.

    Parameters
    ----------
    truths, predictions : tensor, shape (images, height, width, 1)
        Masks of 0 and 1, and probabilities.
    fn_weight, fp_weight : float
        Weights of what is missed (FN) and of what is drawn beside the tumour (FP).
    exponent : float
        The power of 1 - index.

    Returns
    -------
    tensor, shape (images,)
    """
    pixels = (1, 2, 3)
    found = ops.sum(truths * predictions, axis=pixels)
    missed = ops.sum(truths * (1 - predictions), axis=pixels)
    extra = ops.sum((1 - truths) * predictions, axis=pixels)
    index = (found + 1) / (found + fn_weight * missed + fp_weight * extra + 1)
    return (1 - index) ** exponent


# %% tags=["nbval-check-output"]
check.focal_tversky(focal_tversky_of)

# %% [markdown]
# ### One index per image, not one per batch
#
# It is a common slip to let the sums run over the whole batch. Then large tumours decide, and small
# ones can be missed at hardly any cost. Two images, a tumour of 1000 pixels found whole and one of
# 20 missed altogether:

# %% tags=["nbval-check-output"]
found, missed = [1000, 0], [0, 20]
each = [(f + 1) / (f + 0.7 * m + 1) for f, m in zip(found, missed, strict=True)]
pooled = (sum(found) + 1) / (sum(found) + 0.7 * sum(missed) + 1)
print(f"index of each image: {each[0]:.2f} and {each[1]:.2f}, mean {sum(each) / 2:.2f}")
print(f"pooled over the batch: {pooled:.2f}")

# %% [markdown]
# ### What the exponent should do
#
# "Focal" means that hard examples count more than easy ones ([Lin et al.
# 2017](https://arxiv.org/abs/1708.02002)). What counts for training is the *slope*, which says how
# strongly an image pulls at the weights: $p\,(1 - TI)^{p-1}$. With $p > 1$ the slope vanishes for
# images that are nearly right. With $p < 1$ it grows without bound just there. The original paper
# writes $p = 1/\gamma$ with $\gamma = 4/3$, that is $p = 0.75$, and so, by this argument, gives
# most weight to the easy images; so does the [authors'
# code](https://github.com/nabsabraham/focal-tversky-unet). This course takes $p = 4/3$.
#
# *Predict before you run: which lines on the right rise towards the right end?*

# %% tags=["hide-input"]
show(
    plots_segmentation.focal_exponents(),
    "Loss and size of its slope over the Tversky index for four exponents. Above 1 the slope "
    "falls to 0 as the index nears 1; at 0.75 it grows without bound there.",
    run.figures,
    "03_exponents",
)


# %% tags=["nbval-check-output"]
def slope(index, exponent):
    return exponent * (1 - index) ** (exponent - 1)


for exponent in (0.75, 1, 4 / 3, 2):
    pull = slope(0.3, exponent) / slope(0.99, exponent)
    print(f"exponent {exponent:.2f}: an image at 0.30 pulls {pull:5.2f} times as hard as at 0.99")

# %% [markdown]
# ### Does it matter? Try it
#
# So far this is an argument about formulas. An argument says in which direction something should
# go, not how far, and often the effect drowns in everything else. So it was tried: five settings of
# the loss, each trained with three seeds (other first weights, other batches), on a simulated
# cohort of its own, with the same budget for all. The threshold was chosen on validation patients,
# separately for each training. To save time the images are smaller than yours (96 pixels) and the
# network too (three levels, from 16 filters on); `results/simulated/losses_provenance.json` holds
# all of it, and `python -m utils.course.loss_lab` computes it anew.
#
# *Predict before you run: by how much will the mean Dice of the exponents 0.75 and 4/3 differ?*

# %% tags=["nbval-check-output"]
from utils.course import loss_lab

tried_losses = loss_lab.losses_table()
weights_and_exponent = ["fn_weight", "fp_weight", "exponent"]
tried_losses.pivot_table(index=weights_and_exponent, columns="seed", values="dice").round(3)

# %% tags=["nbval-check-output"]
at_half = ["sensitivity_half", "precision_half"]
at_chosen = ["threshold", "sensitivity", "precision"]
by_weight = tried_losses[tried_losses["exponent"] > 1]
by_weight.groupby(["fn_weight", "fp_weight"])[[*at_half, *at_chosen, "dice"]].mean().round(3)

# %% tags=["hide-input", "nbval-check-output"]
means = tried_losses.groupby(weights_and_exponent)["dice"].mean()
show(
    plots_segmentation.loss_lab(
        tried_losses, "another simulated cohort, held-out patients, seeds 1 to 3"
    ),
    "Mean patient Dice by exponent and by pair of weights, a line for each of three seeds, and "
    "sensitivity over precision at a threshold of 0.5. Mean Dice over the seeds: "
    + "; ".join(
        f"weights {fn:g} and {fp:g}, exponent {p:.2f}: {dice:.3f}"
        for (fn, fp, p), dice in means.items()
    )
    + ".",
    run.figures,
    "03_loss_lab",
)

# %% tags=["hide-input", "nbval-check-output"]
display(Markdown(readings.losses_reading(tried_losses, loss_lab.patients_table())))

# %% [markdown]
# This is worth remembering. The argument about the slope is right as far as it goes: the slope of
# $p = 0.75$ does grow without bound near the end. Yet "by this argument it must be worse" is a
# prediction, and the table is what came of it. Many papers that introduce a loss show one run of
# each; look for the seeds. If you keep a setting for its reasons and not for its results, say so;
# the course keeps $p = 4/3$ and the weights 0.7 and 0.3 in this way.
#
# It would not keep them everywhere. On real patients, with a larger network, some trainings with
# this very loss stopped drawing anything at all; [notebook 5](05_evidence.ipynb) shows them, says
# why, and what its recipe adds to the loss against it.

# %% [markdown]
# ### Exercise 3.5 · What does the table support?
#
# Look at both tables and the figure. Which of these statements are borne out by the numbers? Give
# the letters of all of them as text, such as `"ab"`.
#
# - **a** In each of the three seeds, the exponent 0.75 gave a lower Dice than 4/3.
# - **b** The means of the three exponents lie closer together than the three seeds of any one
#   exponent.
# - **c** In each seed, going from the weights 0.5 / 0.5 to 0.8 / 0.2 raised sensitivity and lowered
#   precision at a threshold of 0.5.
# - **d** When every loss has its own threshold, chosen on validation, the same step changes
#   sensitivity, on average over the seeds, by less than it does at 0.5.
# - **e** The table shows that the exponent has to be above 1.
#
# <details><summary>Hint 1</summary>
#
# For **a** and **c** you need every seed, not the mean: `tried_losses` has one row per training.
# </details>
#
# <details><summary>Hint 2</summary>
#
# For **b**, take the largest minus the smallest of three means, and the largest minus the smallest
# of three seeds. "Has to be" needs a clear difference in the same direction each time.
# </details>

# %% tags=["solution"]
supported_readings = "bcd"

# %% tags=["nbval-check-output"]
check.loss_readings(supported_readings)

# %% [markdown]
# Further down, focal Tversky is compared with the default of nnU-Net ([Isensee et al.
# 2021](https://doi.org/10.1038/s41592-020-01008-z)), **Dice + cross-entropy**: $(1 - Dice)$ (with
# probabilities, as above) plus the mean cross-entropy of the pixels.
#
# ## What the network is shown
#
# **Tumour-free slices too.** A segmenter that never sees a tumour-free slice is never told to leave
# one empty: the small U-Net above was not, and drew on a part of them. Every batch holds both
# kinds. Slices with tumour come more often than they occur in the cohort, because it is from them
# that the network learns what to draw.
#
# **[Augmentation](../docs/glossary.md#augmentation).** Each time a slice comes up it is mirrored,
# turned by up to 15 degrees, scaled and shifted; the mask goes through *the same* movement, or it
# would no longer match. Brightness and contrast change in the image only. Now and then a channel
# becomes a copy of FLAIR, as happens in the real cohort when a sequence is missing.
#
# *Predict before you run: which of these changes would make the mask wrong if the mask were left as
# it is?*

# %%
from utils.models import batches

largest = int(np.argmax(train.table["tumour_px"]))
parameters = batches.draw_parameters(5, seed=run.seed, epoch=0)
images = np.repeat(train.images[largest : largest + 1], 5, axis=0)
masks = np.repeat(train.masks[largest : largest + 1, ..., None], 5, axis=0)
changed, moved = (np.asarray(each) for each in batches.augment(images, masks, parameters))

# %% tags=["hide-input"]
show(
    plots_segmentation.augmentation(
        train.images[largest],
        train.masks[largest],
        list(zip(changed, moved[..., 0], strict=True)),
        run.describe("train"),
    ),
    "A slice as it is and five times changed at random. The border of the mask follows the "
    "tumour in every one.",
    run.figures,
    "03_augmentation",
)
mirrored = int((parameters["transform"][:, 0] < 0).sum())
areas = moved[..., 0].sum(axis=(1, 2)) / max(train.masks[largest].sum(), 1)
display(
    Markdown(
        f"Mirrored: {mirrored} of these five. Scaling changes the area of the tumour: it is "
        f"{areas.min():.2f} to {areas.max():.2f} of what it was. The mask has to follow every "
        "movement; the changes of brightness, which you see best in the scalp, leave it as it is."
    )
)

# %% tags=["nbval-check-output"]
plan = segmenter.batch_plan(run)
first_epoch = batches.epoch_plan(
    len(train),
    plan.batch_size,
    plan.steps_per_epoch,
    seed=plan.seed,
    epoch=0,
    tumour=train.labels,
    tumour_share=plan.tumour_share,
)
print("batches, slices in each:", first_epoch.shape)
print("slices with tumour in each:", set(train.labels[first_epoch].sum(axis=1).tolist()))
print("masks are still 0 and 1:", set(np.unique(moved).tolist()) == {0.0, 1.0})

# %% [markdown]
# ### Exercise 3.6 · Moved together
#
# Write `move_together(image, mask, mirrored, turns)`, which returns the moved image and the
# moved mask: if `mirrored`, first swap left and right; then turn both by `turns` quarter turns
# *anticlockwise*. The image has the shape `(height, width, 3)`, the mask `(height, width)`.
# `turns` may be any whole number: -1 is a quarter turn clockwise, 5 is the same as 1.
#
# <details><summary>Hint 1</summary>
#
# Columns are axis 1 of both arrays. The channels are the last axis of the image, and no movement
# touches them.
# </details>
#
# <details><summary>Hint 2</summary>
#
# NumPy has a function that flips an array along a given axis and one that turns it in its first two
# axes by any number of quarter turns. Use each on both arrays. Does the order of mirroring and
# turning matter? Try it with a sheet of paper.
# </details>


# %% tags=["solution"]
def move_together(image, mask, mirrored, turns):
    """Return image and mask after the same movement: mirrored first, then turned.

    Parameters
    ----------
    image : ndarray, shape (height, width, 3)
    mask : ndarray, shape (height, width)
    mirrored : bool
        Whether left and right change sides.
    turns : int
        Quarter turns, anticlockwise.
    """
    if mirrored:
        image, mask = np.flip(image, axis=1), np.flip(mask, axis=1)
    return np.rot90(image, turns), np.rot90(mask, turns)


# %% tags=["nbval-check-output"]
check.move_together(move_together)

# %% [markdown]
# ## Training
#
# ### Exercise 3.7 · Can it learn one image by heart?
#
# Before a training that takes minutes, make sure within seconds that network, loss and masks work
# together: a network that cannot even learn a *single* image by heart has a mistake in it. Write
# `learn_by_heart(image, mask, epochs)`: build a tiny network (a 3 x 3 convolution with 16 filters
# and ReLU, then a 1 x 1 convolution with a sigmoid), `compile` it with Adam at a rate of 0.02 and
# binary cross-entropy, `fit` it on this one image, and return the loss of every epoch as a list.
# `image` has the shape `(height, width, 3)` with values from 0 to 1, `mask` `(height, width, 1)`.
#
# <details><summary>Hint 1</summary>
#
# `keras.Sequential([...])` stacks layers; it finds out the shape of its input by itself. `fit`
# wants a *batch*, even of one image: `image[None]` has one axis more, at the front.
# </details>
#
# <details><summary>Hint 2</summary>
#
# A convolution needs `padding="same"`, or its answer is smaller than the mask. `fit` returns a
# `History`, whose `.history["loss"]` is the list that is asked for. `verbose=0` keeps it quiet.
# </details>


# %% tags=["solution"]
def learn_by_heart(image, mask, epochs):
    """Return the loss of every epoch of a training on one image.

    Parameters
    ----------
    image : ndarray, shape (height, width, 3)
        0 to 1.
    mask : ndarray, shape (height, width, 1)
        0 and 1.
    epochs : int
    """
    tiny = keras.Sequential(
        [
            layers.Conv2D(16, 3, padding="same", activation="relu"),
            layers.Conv2D(1, 1, activation="sigmoid"),
        ]
    )
    tiny.compile(optimizer=keras.optimizers.Adam(0.02), loss="binary_crossentropy")
    return tiny.fit(image[None], mask[None], epochs=epochs, verbose=0).history["loss"]


# %% tags=["nbval-check-output"]
check.learn_by_heart(learn_by_heart)

# %% [markdown]
# ### Compile
#
# Now the real network. Its optimiser is Adam, with a
# [learning rate](../docs/glossary.md#learning-rate) that rises to 0.001 in the first tenth of the
# training and then falls to 0. The loss is the one of exercise 3.4, in the course's own edition:
# that one can be saved with its settings, and the check held yours to the same values. (With
# `loss=focal_tversky_of` Keras would take yours.)

# %%
from utils.models.losses import FocalTversky

steps = segmenter_epochs * plan.steps_per_epoch
network.compile(
    optimizer=keras.optimizers.Adam(training.cosine_schedule(0.001, steps)),
    loss=FocalTversky(fn_weight=0.7, fp_weight=0.3, exponent=4 / 3),
    jit_compile=training.fastest_jit(),
)

# %% [markdown]
# ### Callbacks
#
# A training of minutes or hours needs more than a loss. Six callbacks stand by after each epoch,
# and their order matters, because each sees what those before it have noted:
#
# - `EpochScores` takes the mean patient Dice on the *validation* patients, at a threshold of 0.5,
#   and notes it as `val_dice`: that, not the loss, is what we want to be large;
# - `CSVLogger` writes what was noted into a table;
# - `ModelCheckpoint` saves the weights whenever `val_dice` is better than ever before: the
#   [checkpoint](../docs/glossary.md#checkpoint) of the best epoch is what we keep in the end;
# - `EarlyStopping` ends a training that has not improved for ten epochs. In our five it never will;
#   in the thirty of the real cohort it may. Be generous with it when the rate falls to 0 by plan:
#   the last epochs, with their small steps, are often the best;
# - `tell` prints a line, so that you know how far it is;
# - `Resume` saves weights and optimiser, so that an interrupted training goes on from its last
#   epoch. Keras has `BackupAndRestore` for that. It writes the weights and the number of the epoch
#   into two files, one after the other, and a training that is killed between the two goes through
#   an epoch twice. Ours writes one file in one move.
#
# `Resume` also reads what an earlier start of this notebook left behind: `resume.done` says how
# many epochs are done.

# %%
folder = run.folder / "segmenter_focal_tversky"
resume = training.Resume(
    folder, network, segmenter_epochs, segmenter.configuration(run), monitor="val_dice"
)


def tell(epoch, logs):
    print(f"epoch {epoch + 1}: loss {logs['loss']:.3f}, validation Dice {logs['val_dice']:.3f}")


best = {"monitor": "val_dice", "mode": "max"}
callbacks = [
    training.EpochScores(segmenter.dice_by_patient(run)),
    keras.callbacks.CSVLogger(resume.log, append=resume.done > 0),
    keras.callbacks.ModelCheckpoint(
        resume.best_pattern,
        **best,
        save_best_only=True,
        save_weights_only=True,
        initial_value_threshold=resume.best_value,
    ),
    keras.callbacks.EarlyStopping(**best, patience=10),
    keras.callbacks.LambdaCallback(on_epoch_end=tell),
    resume,
]

# %% [markdown]
# ### Fit
#
# An *epoch* here is the 50 batches of 8 slices planned above, six of them with tumour, whatever the
# size of the cohort. Which slices a batch holds and how they are moved follows from the seed and
# the number of the epoch. So a training that goes on at epoch 3 sees what it would have seen.
#
# Its rival, the same network with Dice + cross-entropy, starts from the same weights and sees the
# same batches. It is trained in a process of its own at the same time, by the same `compile` and
# `fit` (`segmenter.train`).
#
# *Predict before you run: after how many epochs will the network be better than the plain threshold
# was, and after how many better than the fair baseline?*

# %%
from utils.course import workers

finish_rival = workers.start_apart(run, "utils.course.segmenter:train dice_cross_entropy")
if resume.done < segmenter_epochs:
    feed, steps_per_epoch = batches.training_batches(
        train.images, train.masks, plan, first_epoch=resume.done
    )
    network.fit(
        feed,
        steps_per_epoch=steps_per_epoch,
        initial_epoch=resume.done,
        epochs=segmenter_epochs,
        callbacks=callbacks,
        verbose=0,
    )
else:
    print("trained before: the result is read from the run folder")

# %%
focal, focal_history = network, resume.finish()  # the best epoch's weights are loaded
focal_history.round(3)

# %%
finish_rival()
entropy, entropy_history = segmenter.train(run, "dice_cross_entropy")
entropy_history.round(3)

# %% tags=["hide-input"]
histories = {"focal Tversky": focal_history, "Dice + cross-entropy": entropy_history}
show(
    plots_detection.training_curves(
        histories,
        {"loss": "loss (its own, not comparable)", "dice": "mean patient Dice, validation"},
        run.describe("validation"),
    ),
    "Loss and validation Dice by epoch. The best epoch reaches a mean patient Dice of "
    + " and ".join(f"{h['val_dice'].max():.2f} with {name}" for name, h in histories.items())
    + ".",
    run.figures,
    "03_training",
)

# %% tags=["hide-input"]
baselines = {
    "plain threshold": tried_plain["dice"].iloc[0],
    "fair baseline": tried_fair["dice"].iloc[0],
}
said = [readings.training_reading(name, *each, baselines) for name, *each in histories.items()]
display(Markdown(" ".join(said)))

# %% [markdown]
# The two losses are numbers of different kinds and cannot be compared with each other; Dice on the
# validation patients can. If the best epoch is the last one or near it, a longer training might
# still gain something: more epochs are one parameter away. If a curve goes up and down from epoch
# to epoch, the small steps at the end usually calm it.
#
# ## From probabilities to masks
#
# Two choices remain, both made on the *[validation](../docs/glossary.md#validation-patients)*
# patients: from which probability on a pixel counts as tumour, and which [connected
# pieces](../docs/glossary.md#connected-component) of the volume (over all slices) are kept: all of
# them, those above some size, or only the largest. Most patients have one tumour. So keeping the
# largest piece alone is a strong choice, and a wrong one for the few who have two. It also loses
# the whole tumour wherever a false piece is larger. (In the simulated cohort every patient has one
# tumour, so that its validation patients cannot show the first of these two harms.)

# %%
tried = segmenter.try_postprocessing(run, focal)
tried_entropy = segmenter.try_postprocessing(run, entropy)
settings = segmenter.choose_and_save(run, focal, tried=tried)
chosen = segmenter.best_postprocessing(tried_entropy)
tried.groupby("pieces", sort=False).first()[["threshold", "dice"]].round(3)

# %% tags=["hide-input"]
show(
    plots_segmentation.threshold_curve(tried, run.describe("validation")),
    "Mean patient Dice on validation over the threshold, one line for each choice of pieces that "
    f"are kept. Best: threshold {settings.threshold:g}, {tried['pieces'].iloc[0]}, with "
    f"{tried['dice'].iloc[0]:.2f}.",
    run.figures,
    "03_threshold",
)
kept = tried[tried["pieces"] == tried["pieces"].iloc[0]]
middle = kept[kept["threshold"].between(0.3, 0.7)]["dice"]
worth = tried["dice"].iloc[0] - tried[tried["pieces"] == "all pieces"]["dice"].max()
display(
    Markdown(
        f"Chosen for focal Tversky: a threshold of {settings.threshold:g} and "
        f"*{tried['pieces'].iloc[0]}*; for Dice + cross-entropy, {chosen.threshold:g} and "
        f"*{tried_entropy['pieces'].iloc[0]}*. Between 0.3 and 0.7 the curve of the chosen pieces "
        f"moves by {np.ptp(middle):.3f} only, so little hangs on the exact threshold. "
        f"The choice of pieces is worth {worth:.3f} over keeping all of them."
    )
)

# %% [markdown]
# A flat curve is good news, and it is what one sees with most seeds. A steep one would mean that
# the threshold fits these validation patients and may not fit the next. A loss that weighs missed
# pixels more gives higher probabilities, and a higher threshold makes up for part of it.

# %% [markdown]
# ### Exercise 3.8 · The largest piece
#
# Write `largest_piece(mask)`: the mask, bool and in the same shape, with only its largest connected
# piece. It has to work for a slice and for a volume `(slices, height, width)`, where a piece goes
# on from slice to slice. Two pixels belong together if they share a side (in the next slice: the
# same place); touching by a corner is not enough. (The course's own `postprocess` counts corners
# too. Both are in use; say which.) Of two equally large pieces keep one, whichever. What is the
# largest piece of an *empty* mask?
#
# <details><summary>Hint 1</summary>
#
# `ndimage.label(mask)` gives every piece a number, 1 and up, and says how many there are. The
# background gets the number 0, and it is no piece.
# </details>
#
# <details><summary>Hint 2</summary>
#
# `np.bincount(numbers.ravel())` counts the pixels of each number, the background's first. The
# largest piece is then a number, and the answer a comparison. For an empty mask there is only the
# background to count.
# </details>

# %% tags=["solution"]
from scipy import ndimage


def largest_piece(mask):
    """Return the largest connected piece of a mask.

    Parameters
    ----------
    mask : ndarray, shape (height, width) or (slices, height, width)
        Above 0 is tumour.

    Returns
    -------
    ndarray of bool, in the shape of `mask`
    """
    numbers, pieces = ndimage.label(mask)
    if pieces == 0:
        return np.zeros(mask.shape, dtype=bool)
    sizes = np.bincount(numbers.ravel())[1:]
    return numbers == 1 + sizes.argmax()


# %% tags=["nbval-check-output"]
check.largest_piece(largest_piece)

# %% [markdown]
# ### Exercise 3.9 · Who may choose the threshold?
#
# `scores` is a table with one row for each patient and threshold: `patient`, `part` (`"train"`,
# `"validation"` or `"test"`), `threshold`, `dice`. Write `choose_threshold(scores)`: the threshold
# with the highest mean Dice over patients. Over *which* patients? The Dice of a patient can be NaN
# (nothing traced and nothing predicted); such a row is left out of the mean. If several thresholds
# are equally good, take the lowest.
#
# <details><summary>Hint 1</summary>
#
# First the rows that may decide, then one mean for each threshold, then the threshold of the
# highest mean. It is the threshold that is asked for, not the Dice.
# </details>
#
# <details><summary>Hint 2</summary>
#
# `table.groupby(column)[other].mean()` skips NaN, sorts by the column, and gives a Series whose
# index are the thresholds; a Series can say at which index its maximum stands.
# </details>


# %% tags=["solution"]
def choose_threshold(scores):
    """Return the best threshold by mean Dice of the patients who may choose it.

    Parameters
    ----------
    scores : pandas.DataFrame
        ``patient, part, threshold, dice``.
    """
    validation = scores[scores["part"] == "validation"]
    return validation.groupby("threshold")["dice"].mean().idxmax()


# %% tags=["nbval-check-output"]
check.choose_threshold(choose_threshold)

# %% [markdown]
# ## The held-out patients
#
# Now, once, the [held-out patients](../docs/glossary.md#held-out-patients), who have decided
# nothing: their Dice with both baselines and with both networks.
#
# *Predict before you run: will the means of the two networks be lower or higher than on the
# validation patients, and why?*

# %%
from utils.evaluation.bootstrap import bootstrap_patients, paired_bootstrap
from utils.models.postprocessing import postprocess

test = run.part("test")
truths = true_masks(test.table)


def masks_of(model, settings):
    """Return the masks that a network and its postprocessing give for the held-out slices."""
    maps = native_probabilities(model, test)
    return np.concatenate([postprocess(one, settings) for one in maps.values()])


predicted = {
    "plain threshold": flair_baseline.masks(test.table, flair_baseline.PLAIN, plain_threshold),
    "fair baseline": flair_baseline.masks(test.table, flair_baseline.FAIR, fair_threshold),
    "Dice + cross-entropy": masks_of(entropy, chosen),
    "focal Tversky": masks_of(focal, settings),
}

# %%
slices = {name: segmentation.score(test.table, truths, masks) for name, masks in predicted.items()}
scores = {name: segmentation.patient_table(table) for name, table in slices.items()}


def mean_dice(rows):
    return rows["dice"].mean()


dice = {name: bootstrap_patients(table, mean_dice) for name, table in scores.items()}
print(f"Dice of the patients, {run.describe('test')}")
for name, interval in dice.items():
    of_patients = scores[name]["dice"]
    lost = f"{(of_patients < 0.1).sum()} of {len(of_patients)} lost (under 0.1)"
    print(f"{name}: mean {interval}, median {of_patients.median():.2f}, {lost}")

# %% tags=["hide-input"]
at_choice = {"focal Tversky": tried, "Dice + cross-entropy": tried_entropy}
both = "; ".join(
    f"{name}: {table['dice'].iloc[0]:.2f} on the validation patients, "
    f"{dice[name].estimate:.2f} on the held-out ones"
    for name, table in at_choice.items()
)
answer = (
    "**The answer to the prediction.** With the threshold chosen on validation, the means are: "
    f"{both}. Epoch, threshold and pieces were chosen to suit the validation patients, which "
    "flatters. But the held-out ones are other patients, and with so few of them that alone may "
    "move a mean by as much."
)
by_patient = {name: table.set_index("patient")["dice"] for name, table in scores.items()}
gain = paired_bootstrap(scores["fair baseline"], scores["focal Tversky"], mean_dice)
reading = readings.baseline_reading(by_patient["fair baseline"], by_patient["focal Tversky"], gain)
display(Markdown(f"{answer}\n\n{reading}"))

# %% [markdown]
# Read mean, median and the patients who are lost altogether side by side. A threshold is nearly all
# or nothing: it follows the brightness, by which the masks of this cohort were drawn too. Where it
# finds the tumour, its outline is mostly close, often closer than that of a network after a few
# epochs. What a network should bring is that hardly any patient is lost. If its mean is hardly
# above that of a threshold, say so: it tells how much of the task is brightness. In the simulated
# cohort that is much, because the tumour is usually the largest bright thing within the brain. Do
# not expect as much of real patients; with `cohort = "lgg"` the same cells tell how far the
# threshold gets there.
#
# ## Two losses, the same patients
#
# The intervals above come from drawing patients with replacement (the
# [bootstrap](../docs/glossary.md#bootstrap), explained in notebook 4). They tell how well a mean is
# known. To compare two losses there is something better, because both networks are tested on the
# *same* patients: take each patient's difference, and ask how its mean would vary with other
# patients.

# %% tags=["hide-input"]
from utils.plots import evaluation as plots_evaluation

names = ("Dice + cross-entropy", "focal Tversky")
difference = paired_bootstrap(scores[names[0]], scores[names[1]], mean_dice)
show(
    plots_evaluation.paired_dice(
        scores[names[0]], scores[names[1]], names, difference, run.describe("test")
    ),
    "Each held-out patient's Dice under both losses, joined by a line. Mean difference, focal "
    f"Tversky minus Dice + cross-entropy: {difference}.",
    run.figures,
    "03_losses",
)

# %% tags=["hide-input"]
first, second = (by_patient[name] for name in names)
display(Markdown(readings.paired_reading(first, second, names, difference)))

# %% [markdown]
# So which loss is better? "By how many patients" and "by how much" are two questions, and they may
# have two answers. The count forgets how large a difference is: a hundredth of Dice is worth as
# much as a tumour found or lost. The mean remembers nothing else: one patient with a large
# difference outweighs a dozen with small ones. Show the patients, as the figure does; report both
# numbers; and when one patient decides, look at that patient, as we will do below. With another
# seed the losses may change places, since this was one training each. Three seeds of every setting,
# as in the table further up, are the least that "this loss is better" takes. The course goes on
# with focal Tversky, whatever came out here: choosing the loss by the held-out patients would be
# fitting to them. By the validation patients one could choose, and with some seeds, the default one
# among them, they prefer the other. But ten patients and one training each do not decide a
# difference of a few hundredths: in the table further up, the three seeds of one and the same
# setting lie up to five hundredths apart.

# %% [markdown]
# ### Exercise 3.10 · On whom does a comparison rest?
#
# Write `who_turns_it(patients, first, second)`. `patients` is a list of names; `first` and `second`
# are arrays with each patient's Dice under two models. Return the names, in their order, of every
# patient without whom the mean of `second - first` would have the *other* sign. An empty list means
# that the sign rests on no single patient.
#
# <details><summary>Hint 1</summary>
#
# First the differences and their mean. Then leave out one patient after the other, and compare
# the sign of the mean that is left with the sign of the whole.
# </details>
#
# <details><summary>Hint 2</summary>
#
# `np.delete(values, place)` returns the values without the one at `place`. Two numbers have
# different signs if their product is below 0.
# </details>


# %% tags=["solution"]
def who_turns_it(patients, first, second):
    """Return the patients each of whom alone decides which model is better on average.

    Parameters
    ----------
    patients : list of str
    first, second : ndarray, shape (patients,)
        Dice of each patient under two models.
    """
    change = second - first
    return [
        patient
        for place, patient in enumerate(patients)
        if np.delete(change, place).mean() * change.mean() < 0
    ]


# %% tags=["nbval-check-output"]
check.who_turns_it(who_turns_it)

# %% [markdown]
# ## Best, median and worst
#
# All held-out patients, from best to worst:

# %%
table = scores["focal Tversky"].sort_values("dice", ascending=False, ignore_index=True)
by_name = {
    name: by_patient[name].loc[table["patient"]].to_numpy()
    for name in ("Dice + cross-entropy", "fair baseline")
}
columns = {"dice": "focal Tversky"}
table[["patient", "slices", "tumour_px", "dice"]].rename(columns=columns).assign(**by_name).round(2)


# %% tags=["hide-input"]
def slices_shown(patient, count=3):
    """Return rows at a quarter, half and three quarters of a patient's tumour."""
    rows = np.flatnonzero((test.table["patient"] == patient) & (test.table["tumour_px"] > 0))
    return rows[np.linspace(0, len(rows) - 1, count + 2).round().astype(int)[1:-1]]


def dice_of_slice(name, row):
    counts = slices[name].iloc[row][["tumour_px", "predicted_px", "overlap_px"]]
    return float(segmentation.dice_from_counts(*counts))


ranked = {"best": 0, "median": (len(table) - 1) // 2, "worst": len(table) - 1}
rows, titles = [], []
for rank, place in ranked.items():
    patient, of_patient = table["patient"][place], table["dice"][place]
    for row in slices_shown(patient):
        rows.append(row)
        titles.append(
            f"{rank}: {patient}, slice {test.table['slice'][row]}\n"
            f"Dice {dice_of_slice('focal Tversky', row):.2f} (patient {of_patient:.2f})"
        )

# %% tags=["hide-input"]
small_masks = np.stack([resize_mask(predicted["focal Tversky"][row], (size, size)) for row in rows])
show(
    plots_segmentation.overlays(
        test.images[rows],
        test.masks[rows],
        small_masks,
        titles,
        run.describe("test"),
        title="Best, median and worst held-out patient",
    ),
    "Three slices each of the best, the median and the worst held-out patient, with the true "
    "border and the predicted one. Patient Dice: "
    + ", ".join(f"{table['dice'][place]:.2f}" for place in ranked.values())
    + ".",
    run.figures,
    "03_overlays",
)
display(Markdown(readings.worst_reading(scores["focal Tversky"])))

# %% [markdown]
# In the worst patient of your run, ask whether the tumour is missed or something else is drawn, and
# whether it is small, faint, or unlike the training patients' tumours. A Dice near 0 deserves a
# second look: if only the largest piece is kept and something else was larger, a tumour that had
# been found is thrown away again. Here is the slice in the middle of the worst patient's tumour,
# enlarged, with what each method draws on it:

# %% tags=["hide-input"]
worst = table["patient"].iloc[-1]
worst_row = slices_shown(worst, 1)[0]
compared = {}
for name in ("fair baseline", "Dice + cross-entropy", "focal Tversky"):
    on_slice, whole = dice_of_slice(name, worst_row), by_patient[name][worst]
    title = f"{name}\nslice {on_slice:.2f}, patient {whole:.2f}"
    compared[title] = resize_mask(predicted[name][worst_row], (size, size))

# %% tags=["hide-input"]
show(
    plots_segmentation.zoomed_contours(
        test.images[worst_row],
        {"true mask": test.masks[worst_row], **compared},
        run.describe("test"),
        f"{worst}, slice {test.table['slice'][worst_row]}: Dice of three methods",
    ),
    "One slice of the worst held-out patient, enlarged around the tumour: FLAIR with the true "
    "border and that of one method each. "
    + "; ".join(name.replace("\n", ": ") for name in compared)
    + ".",
    run.figures,
    "03_worst",
)

# %% tags=["hide-input"]
from dataclasses import replace

of_worst = native_probabilities(focal, test.of([worst]))[worst]
all_pieces = replace(settings, minimum_px=0, largest_only=False)
both = [postprocess(of_worst, choice) for choice in (settings, all_pieces)]
pieces = readings.pieces_reading(truths[test.table["patient"] == worst], *both)
by_method = {name: by_patient[name][worst] for name in list(scores)[1:]}
winner = max(by_method, key=by_method.get)
display(
    Markdown(
        f"For this patient {winner} is best, with {by_method[winner]:.2f}. "
        + (
            "A patient on whom the network fails, or what is done with its maps, need not be hard "
            "for a threshold: the two fail in different ways, which is worth knowing before one "
            "replaces the other."
            if winner == "fair baseline"
            else f"The fair baseline, which knows brightness alone, has "
            f"{by_method['fair baseline']:.2f}."
        )
        + f"\n\nThe mask of focal Tversky: {pieces}"
    )
)

# %% [markdown]
# One image of the worst patient teaches more than nine of the best. [Notebook
# 4](04_evaluate.ipynb) goes on from here, with all held-out patients and more measures.

# %% tags=["hide-input"]
run.record(
    {
        "segmentation_validation": {
            "dice_focal_tversky": tried["dice"].iloc[0],
            "dice_dice_cross_entropy": tried_entropy["dice"].iloc[0],
            "threshold": settings.threshold,
            "pieces": tried["pieces"].iloc[0],
        },
        "segmentation": {
            "dice_patient_mean_focal_tversky": dice["focal Tversky"].estimate,
            "dice_patient_mean_dice_cross_entropy": dice["Dice + cross-entropy"].estimate,
            "dice_patient_mean_flair_threshold": dice["plain threshold"].estimate,
            "flair_threshold": plain_threshold,
            "dice_patient_mean_fair_baseline": dice["fair baseline"].estimate,
            "fair_baseline_threshold": fair_threshold,
        },
    }
)

# %% tags=["hide-input", "nbval-check-output"]
print("held-out patients:", len(table))
print("ResUNet, mean patient Dice at least 0.68:", bool(dice["focal Tversky"].estimate >= 0.68))
print("plain threshold under 0.5:", bool(dice["plain threshold"].estimate < 0.5))
gained = dice["fair baseline"].estimate - dice["plain threshold"].estimate
print("the fair baseline is at least 0.3 above it:", bool(gained >= 0.3))

# %% [markdown]
# ## Test yourself
#
# Answer before you unfold.
#
# **1.** A slice has 16,384 pixels, 300 of them tumour. The prediction is empty. What are accuracy
# and Dice of this slice?
#
# - (a) accuracy 0.98, Dice 0
# - (b) accuracy 0, Dice 0
# - (c) accuracy 0.98, Dice 0.98
# - (d) accuracy 0.98, Dice not defined
#
# <details><summary>Answer</summary>
#
# **(a)**: all but 300 pixels are right, and nothing of the tumour is found: 2 · 0 / (300 + 0) = 0.
# (b) accuracy counts the empty pixels that are rightly left empty; (c) Dice does not count them,
# and that is its point; (d) would be true if the *traced* mask were empty as well.
# </details>
#
# **2.** You raise $\alpha$ from 0.5 to 0.9 and lower $\beta$ to 0.1. What do you expect of the
# masks?
#
# - (a) They shrink; precision rises.
# - (b) They grow; sensitivity rises, precision falls.
# - (c) They stay as they are; only the loss is on another scale.
# - (d) They become smoother.
#
# <details><summary>Answer</summary>
#
# **(b)**: missing a pixel costs nine times as much as drawing one too many, so in doubt it is
# drawn. (a) is what swapped weights would give, and the mistake would show in nothing else. (c)
# would be true of a factor before the whole loss; here it is the *ratio* of two errors that
# changes. (d) no term of the loss looks at the border.
# </details>
#
# **3.** Why does the loss not simply use Dice, with a threshold of 0.5 on the probabilities?
#
# - (a) Dice does not count background.
# - (b) A threshold has slope 0 nearly everywhere: no weight would learn in which direction to go.
# - (c) 0.5 might not be the best threshold.
# - (d) It would be slower.
#
# <details><summary>Answer</summary>
#
# **(b)**: training follows the slope. Moving a probability from 0.3 to 0.4 changes nothing behind a
# threshold, though it is progress. (a) is true, and an advantage; (c) is true as well, and would
# still be so with the best one; (d) it would cost the same.
# </details>
#
# **4.** A skip connection is cut: the way up gets only the enlarged coarse features. What suffers
# most?
#
# - (a) whether a tumour is found at all
# - (b) where exactly its border runs
# - (c) the number of channels of the output
# - (d) the brightness that the network sees
#
# <details><summary>Answer</summary>
#
# **(b)**: the coarse features know *what* is there, for blocks of many pixels; the place within a
# block came over the skip. (a) is decided at the coarse levels, which are still there; (c) the last
# convolution sets it; (d) has nothing to do with it.
# </details>
#
# **5.** On the held-out patients threshold 0.3 would have given a Dice of 0.81, but validation
# chose 0.5, with 0.79 on the held-out ones. What do you report?
#
# - (a) 0.81, since it is the best the network can do
# - (b) 0.79
# - (c) 0.80, the mean of both
# - (d) both, and take 0.3 from now on
#
# <details><summary>Answer</summary>
#
# **(b)**: for the next patient you will have a threshold that was chosen before you saw them, and
# 0.79 is what that way of working gave. (a) uses the answers of the test to improve the test; (c)
# mixes a measurement with that; (d) would make the held-out patients validation patients: then you
# need new ones for the test.
# </details>

# %% [markdown]
# ## What you have seen
#
# **Key points**
#
# - A threshold on FLAIR is a baseline that costs little. Only beating it with its brain masked and
#   its largest piece kept shows that a network is worth its price.
# - A ResUNet is residual blocks on the way down (what?), on the way up (where?), and skips
#   between them.
# - `compile` says what is to become small and how; `fit` does it; callbacks measure, save and stop.
#   First see that a network can learn one image by heart, then train it for an hour.
# - $\alpha$ weighs what is missed, $\beta$ what is drawn beside the tumour, and the Tversky index
#   is taken for each image. What an exponent ought to do is an argument; what it does is a table
#   with several seeds.
# - Image and mask are moved together, and part of what the network sees has no tumour.
# - Two losses are compared with the same budget, on the same patients, with an interval for the
#   difference. How many patients are better and by how much the mean is better can disagree.
# - Threshold and smallest piece are chosen on validation; all held-out patients are named, the
#   worst one shown.

# %% [markdown]
# ## Questions to think about
#
# 1. The loss punishes what is missed more than what is too much, and the threshold is chosen
#    afterwards. How much of the one can the other undo?
# 2. Dropping small pieces helps the mean Dice. Whom might it harm?
# 3. The network sees one slice at a time. What could it learn from the slices above and below?

# %% [markdown]
# ## Further reading
#
# - O. Ronneberger, P. Fischer, T. Brox, *U-Net: convolutional networks for biomedical image
#   segmentation*, MICCAI 2015: six pages, and the figure that gave the network its name.
#   [doi:10.1007/978-3-319-24574-4_28](https://doi.org/10.1007/978-3-319-24574-4_28)
# - F. Isensee et al., *nnU-Net: a self-configuring method for deep learning-based biomedical image
#   segmentation*, Nature Methods 18 (2021): how far a plain U-Net goes when everything around it is
#   done with care. [doi:10.1038/s41592-020-01008-z](https://doi.org/10.1038/s41592-020-01008-z)
# - N. Abraham, N. M. Khan, *A novel focal Tversky loss function with improved attention U-Net for
#   lesion segmentation*, ISBI 2019: read its formula, then look for the seeds.
#   [doi:10.1109/ISBI.2019.8759329](https://doi.org/10.1109/ISBI.2019.8759329)
# - J. Ma et al., *Loss odyssey in medical image segmentation*, Medical Image Analysis 71 (2021):
#   twenty losses on the same tasks.
#   [doi:10.1016/j.media.2021.102035](https://doi.org/10.1016/j.media.2021.102035)
