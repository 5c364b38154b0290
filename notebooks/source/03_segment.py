# %% [markdown]
# # 3 · Segment: where is the tumour?
#
# A **segmenter** looks at a slice and answers for every pixel: tumour or not
# ([segmentation](../docs/glossary.md#segmentation)). This notebook builds one, a residual
# [U-Net](../docs/glossary.md#u-net), from its smallest part upwards, and trains it with two losses
# side by side.
#
# **You will learn**
# - to set a [baseline](../docs/glossary.md#baseline), a threshold on FLAIR, which needs no network,
#   and to give it a fair chance;
# - what a residual block, an encoder, a decoder and a skip connection are, by building a small
#   ResUNet;
# - how the focal Tversky loss works, in which direction its exponent has to point, and what its
#   two weights trade;
# - why picture and mask must be augmented together, and why tumour-free slices belong in the
#   training;
# - to choose threshold and smallest piece on validation patients, and to look at the worst
#   results.
#
# **Questions we will answer.** Is the network better than a threshold, and at what? Does the loss
# matter with the same budget? For which patients does it fail?
#
# **You need** [notebook 1](01_explore.ipynb) (slices, masks, the split by patient); [notebook
# 2](02_detect.ipynb) helps but is not needed. It takes about 3 minutes on two processor cores,
# and 2 GB of memory. With the seven exercises, plan 90 minutes; how they work stands at the top of
# notebook 1, and terms are explained in the [glossary](../docs/glossary.md).

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
# The *run* holds a cohort (unless you say otherwise, a simulated one), split by patient as in the
# other notebooks. The same patients are held out here and there; if the two stages were split
# each on its own, one stage would have trained on what the other is tested with.

# %% tags=["nbval-check-output"]
for name in ("train", "validation", "test"):
    part = run.part(name)
    print(
        f"{name}: {len(part.patients)} patients, {len(part)} slices, masks {part.masks.shape[1:]}"
    )
print(f"pixels with tumour, training: {100 * run.part('train').masks.mean():.1f} %")

# %% [markdown]
# ## How well do two masks agree?
#
# Tumour pixels are rare. A network that answers "no tumour" everywhere would be right for nearly
# all pixels, so the share of right pixels (accuracy) tells nothing here. The [**Dice
# coefficient**](../docs/glossary.md#dice) does not count the pixels that both masks leave empty:
# twice the overlap, divided by the sum of both areas. 1 is perfect, 0 is no overlap. We pool the
# pixels of each *patient*, then average over patients, as the authors of the LGG cohort did ([Buda
# et al. 2019](https://arxiv.org/abs/1906.03720)).
#
# $$\text{Dice} = \frac{2\,|\text{traced} \cap \text{predicted}|}
# {|\text{traced}| + |\text{predicted}|}$$
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
# The tumour and the swelling around it are bright in FLAIR. So: everything above some brightness
# is tumour. Which brightness? The one with the best mean Dice on the *training* patients. (The
# scale is the normalised one: 96 is the mean of the patient's head, 40 is one standard
# deviation.)
#
# *Predict before you run: a mean Dice of about 0.2, 0.4 or 0.8? And what happens to Dice when the
# threshold is far too low?*

# %%
from utils.cohort.table import true_masks
from utils.course import flair_baseline, segmenter
from utils.evaluation import segmentation
from utils.models.inference import native_probabilities
from utils.plots import detection as plots_detection, segmentation as plots_segmentation
from utils.plots.style import show

tried_plain = flair_baseline.try_thresholds(run, flair_baseline.PLAIN)
plain_threshold = int(tried_plain["threshold"].iloc[0])
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

# %% [markdown]
# ### A fair baseline
#
# Before you blame the idea, look at what such a threshold draws: fat is bright in FLAIR as well,
# and the scalp is full of it. A baseline that nobody took care of is easily beaten, and beating it
# shows nothing. So let us give it what anyone would give it (`utils/course/flair_baseline.py`):
#
# - **only the brain**: a rough mask of it. What is about as bright as the middle of the head may be
#   brain; take a rim off everything, keep the largest piece, give it its rim back;
# - **the brain's own scale**: brightness in standard deviations above the mean of the patient's
#   brain, so that neither the scanner nor the amount of fat in the picture moves it;
# - **one piece**: of all that is brighter than the threshold, the largest connected piece.
#
# The threshold is again the best one on the training patients. Below the curve, the patient whose
# tumour has the median size shows what each threshold draws.
#
# *Predict before you run: by how much will that raise the mean Dice?*

# %%
tried_fair = flair_baseline.try_thresholds(run, flair_baseline.FAIR)
fair_threshold = float(tried_fair["threshold"].iloc[0])
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
print(f"mean Dice, plain to fair: {gain:+.2f} ({run.describe('train')})")

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
shown = {name: resize_mask(masks[place], (size, size)) for name, masks in of_patient.items()}
show(
    plots_segmentation.masks_side_by_side(
        train.images[row],
        {"true mask": train.masks[row], **shown},
        run.describe("train"),
        f"What a threshold draws: {rows['patient'].iloc[0]}, the slice with most tumour",
    ),
    "Of the training patient whose tumour has the median size, the slice with most of it: FLAIR, "
    "the true mask, and what plain threshold, mask of the brain and fair baseline draw.",
    run.figures,
    "03_thresholds_drawn",
)

# %% [markdown]
# What is left to gain? Brightness and size are all that this baseline knows. Where something else
# in the mask is bright and larger than the tumour, such as fat in an eye socket that the rough mask
# left in, it draws that and misses the tumour altogether; a faint tumour it finds in part. A
# person looks at shape, place and the other sequences too, and so can a network. Whether ours does
# it well enough to beat this, the held-out patients will tell.
#
# ## The ResUNet, built step by step
#
# ### A residual block
#
# A [residual block](../docs/glossary.md#residual-block) is two 3 x 3
# [convolutions](../docs/glossary.md#convolution), each after a
# [batch normalisation](../docs/glossary.md#batch-normalisation) and a
# [ReLU](../docs/glossary.md#relu), and a **shortcut** around them, so that the block only has to
# learn what to *change* about its input ([He et al. 2016](https://arxiv.org/abs/1603.05027)). With
# `stride=2` it halves the resolution. The shortcut is a 1 x 1 convolution, because the two that are
# added must have the same shape.

# %%
import keras
from keras import layers


def residual_block(x, filters, stride=1):
    """Return x after two convolutions, added to a 1 x 1 convolution of x."""
    shortcut = layers.Conv2D(filters, 1, strides=stride, padding="same")(x)
    for step in (stride, 1):
        x = layers.BatchNormalization()(x)
        x = layers.Activation("relu")(x)
        x = layers.Conv2D(filters, 3, strides=step, padding="same")(x)
    return layers.Add()([x, shortcut])


# %% [markdown]
# ### Two levels make a U
#
# On the way **down**, the [encoder](../docs/glossary.md#encoder), blocks with stride 2 see more and
# more of the picture at ever coarser resolution: they find out *what* is there. On the way **up**,
# the [decoder](../docs/glossary.md#decoder), the coarse answer is enlarged, and a
# [**skip connection**](../docs/glossary.md#skip-connection) brings back the finer level's
# features, which still know exactly *where*
# ([Ronneberger et al. 2015](https://arxiv.org/abs/1505.04597)). Here is the smallest such
# network, with two levels. Its first layer undoes the normalised scale, `(value - 96) / 40`, so
# that the head has mean 0 and standard deviation 1; its last one gives every pixel a probability.

# %%
picture = keras.Input((size, size, 3))
fine = residual_block(layers.Rescaling(1 / 40, offset=-96 / 40)(picture), 8)
coarse = residual_block(fine, 16, stride=2)
enlarged = layers.UpSampling2D()(coarse)
joined = layers.Concatenate()([enlarged, fine])  # the skip connection
probability = layers.Conv2D(1, 1, activation="sigmoid")(residual_block(joined, 8))
small = keras.Model(picture, probability)

# %% [markdown]
# *Predict before you run: how many channels does `joined` have?*

# %% tags=["nbval-check-output"]
for name, tensor in (
    ("fine", fine), ("coarse", coarse), ("enlarged", enlarged),
    ("joined", joined), ("probability", probability),
):  # fmt: skip
    print(f"{name:12}", *tensor.shape[1:])
print(f"weights: {small.count_params():,}")

# %% [markdown]
# The course's network is the same idea with four levels ([Zhang, Liu and Wang
# 2018](https://arxiv.org/abs/1711.10684)): 32 filters at the finest, and twice as many at each
# level below. One thing is new. At the full resolution a convolution costs most and decides least,
# so a first convolution, the **stem**, halves the resolution before the first level, as in ResNet;
# the answer is computed at that size and enlarged at the end. A step of the training then takes
# two thirds of the time. Look at `resunet` in `utils/models/resunet.py`: three dozen lines. Its
# last layer starts out with a bias that answers 2 % everywhere, about the share of tumour pixels in
# a training batch (more than the share printed above, because a batch holds more slices with
# tumour), so that training does not have to spend its first steps on unlearning "half of it is
# tumour".

# %% [markdown]
# ### Exercise 3.2 · At the bottom of the U
#
# Before you look at the diagram: a picture of 128 x 128 pixels goes through the stem and down the
# four levels. What shape do the features have at the coarsest? Give a tuple
# `(height, width, channels)`.
#
# <details><summary>Hint 1</summary>
#
# In the table of shapes above, compare `fine` with `coarse`: what does one level down do to the
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

# %%
show(
    plots_segmentation.resunet_diagram(size),
    f"Diagram of the ResUNet: a stem halves the picture of {size} x {size} pixels; four levels "
    f"from {size // 2} x {size // 2} with 32 filters down to {size // 16} x {size // 16} with 256, "
    "and up again; each level on the way down is copied to the same level on the way up.",
    run.figures,
    "03_resunet",
)

# %% tags=["nbval-check-output"]
from utils.models.resunet import resunet

network = resunet(size)
print("in", network.input_shape[1:], "out", network.output_shape[1:])
times = network.count_params() // small.count_params()
print(f"weights: {network.count_params():,}, {times} times as many as the small network")

# %% [markdown]
# ## The loss
#
# A [loss](../docs/glossary.md#loss) is the number that training makes small.
# [Cross-entropy](../docs/glossary.md#cross-entropy), the usual one, counts every pixel alike, and
# nearly all are background. The [**Tversky index**](../docs/glossary.md#tversky-index) ([Salehi et
# al. 2017](https://arxiv.org/abs/1706.05721)) compares areas, as Dice does, but weighs the two
# kinds of error differently:
#
# $$TI = \frac{TP + s}{TP + \alpha\,FN + \beta\,FP + s}$$
#
# TP is the tumour that is found, FN what is missed, FP what is invented, all summed over the
# *pixels of one picture* with probabilities in place of yes and no. $s$ is one pixel; it makes
# the index 1 for a tumour-free slice that is left empty, so that such slices can be trained on.
# With $\alpha = \beta = \frac12$ the index is Dice. The [**focal Tversky
# loss**](../docs/glossary.md#focal-tversky-loss) ([Abraham and Khan
# 2019](https://arxiv.org/abs/1810.07842)) is
#
# $$L = (1 - TI)^{p}$$
#
# ### What the weights trade
#
# With $\alpha > \beta$, missing a pixel costs more than inventing one: the masks grow,
# sensitivity rises, precision falls. We take $\alpha = 0.7$, $\beta = 0.3$, since small tumours
# are missed more easily than large ones are invented.

# %%
show(
    plots_segmentation.tversky_weights(),
    "Loss over the share of the tumour that is missed (left) and of the area that is invented "
    "(right). With alpha 0.7 and beta 0.3, missed tumour costs more and invented area less than "
    "under Dice.",
    run.figures,
    "03_tversky_weights",
)

# %% [markdown]
# ### Exercise 3.3 · The Tversky index of one picture
#
# Write `tversky_of(truth, prediction, fn_weight, fp_weight)` with $s = 1$, for one picture. `truth`
# holds 0 and 1 (bool or `uint8`), `prediction` the network's answer: probabilities from 0 to 1. Use
# them as they are; a threshold would have no slope, and nothing could be trained with it. Be
# careful which of the two weights belongs to the *missed* tumour: nothing fails when they are
# swapped. Here $\alpha$ is `fn_weight`, that of the false negatives, as in Abraham and Khan; Salehi
# et al., Keras and MONAI call the weight of the false *positives* alpha.
#
# <details><summary>Hint 1</summary>
#
# If a tumour pixel gets 0.8, then 0.8 of it is found and 0.2 is missed. Write each of TP, FN and FP
# as the sum of a product.
# </details>
#
# <details><summary>Hint 2</summary>
#
# "Not tumour" is `1 - truth`. Differences such as `truth - prediction` go wrong in `uint8`, which
# has no numbers below 0; turning both into `float` first is safe.
# </details>


# %% tags=["solution"]
def tversky_of(truth, prediction, fn_weight=0.7, fp_weight=0.3):
    """Return the Tversky index of one picture, with s = 1.

    Parameters
    ----------
    truth : ndarray of bool or uint8
        1 in the tumour.
    prediction : ndarray
        Probabilities, in the shape of `truth`.
    fn_weight, fp_weight : float
        Weights of what is missed (FN) and of what is invented (FP).
    """
    truth, prediction = truth.astype(float), prediction.astype(float)
    found = (truth * prediction).sum()
    missed = (truth * (1 - prediction)).sum()
    invented = ((1 - truth) * prediction).sum()
    return (found + 1) / (found + fn_weight * missed + fp_weight * invented + 1)


# %% tags=["nbval-check-output"]
check.tversky_index(tversky_of)

# %% [markdown]
# ### Which way the exponent points
#
# "Focal" means that hard examples count more than easy ones ([Lin et al.
# 2017](https://arxiv.org/abs/1708.02002)). What counts for training is the *slope*, how hard a
# picture pulls at the weights: $p\,(1 - TI)^{p-1}$. With $p > 1$ it vanishes for pictures that
# are nearly right. With $p < 1$ it does the opposite: it grows without bound just where nothing
# is left to learn. The original paper writes $p = 1/\gamma$ with $\gamma = 4/3$, that is $p =
# 0.75$, and so points the other way, as does the [authors'
# code](https://github.com/nabsabraham/focal-tversky-unet). This course takes $p = 4/3$.
#
# *Predict before you run: which lines on the right rise towards the right end?*

# %%
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
    print(
        f"exponent {exponent:.2f}: a picture at 0.30 pulls {pull:5.2f} times as hard as one at 0.99"
    )

# %% [markdown]
# ### One index a picture, not one a batch
#
# Another common slip: the sums run over the whole batch. Then large tumours decide, and small
# ones can be missed for free. Two pictures, a tumour of 1000 pixels found whole and one of 20
# missed altogether:

# %% tags=["nbval-check-output"]
found, missed = [1000, 0], [0, 20]
each = [(f + 1) / (f + 0.7 * m + 1) for f, m in zip(found, missed, strict=True)]
pooled = (sum(found) + 1) / (sum(found) + 0.7 * sum(missed) + 1)
print(f"index of each picture: {each[0]:.2f} and {each[1]:.2f}, mean {sum(each) / 2:.2f}")
print(f"pooled over the batch: {pooled:.2f}")

# %% [markdown]
# ### Exercise 3.4 · The focal Tversky loss of a batch
#
# Write `focal_tversky_of(truths, predictions, exponent)` for a batch: arrays of the shape
# `(pictures, height, width)`. It returns one loss for each picture, an array of the shape
# `(pictures,)`, with $\alpha = 0.7$, $\beta = 0.3$, $s = 1$ and the exponent $p$ of the formula
# above, not $1/p$. You may call `tversky_of`, once it is right.
#
# <details><summary>Hint 1</summary>
#
# Going over the batch gives one picture after the other. What would the sums hold if you gave the
# whole batch to `tversky_of` at once?
# </details>
#
# <details><summary>Hint 2</summary>
#
# Collect one index a picture in a list, make an array of it, then use the formula on the array. The
# order matters: first the distance from 1, then the power.
# </details>


# %% tags=["solution"]
def focal_tversky_of(truths, predictions, exponent=4 / 3):
    """Return the focal Tversky loss of each picture of a batch.

    Parameters
    ----------
    truths, predictions : ndarray, shape (pictures, height, width)
        Masks, and probabilities.
    exponent : float
        The power of 1 - index.

    Returns
    -------
    ndarray, shape (pictures,)
    """
    pairs = zip(truths, predictions, strict=True)
    indices = np.array([tversky_of(truth, prediction, 0.7, 0.3) for truth, prediction in pairs])
    return (1 - indices) ** exponent


# %% tags=["nbval-check-output"]
check.focal_tversky(focal_tversky_of)

# %% [markdown]
# The rival in the comparison below is **Dice + cross-entropy**, the default of nnU-Net ([Isensee
# et al. 2021](https://doi.org/10.1038/s41592-020-01008-z)): $(1 - Dice)$ (with probabilities, as
# above) plus the mean cross-entropy of the pixels.
#
# ## What the network is shown
#
# **Tumour-free slices too.** A segmenter that never sees a slice without tumour learns that there
# always is one, and will draw it. Every batch holds both kinds, slices with tumour more often
# than they occur, because it is from them that the network learns what to draw.
#
# **[Augmentation](../docs/glossary.md#augmentation).** Each time a slice comes up it is mirrored,
# turned by up to 15 degrees, scaled and shifted; the mask goes through *the same* movement, or it
# would no longer fit. Brightness and contrast change in the picture only. Now and then a channel
# becomes a copy of FLAIR, as happens in the real cohort when a sequence is missing.
#
# *Predict before you run: which of these changes would make the mask wrong if the mask were left as
# it is?*

# %%
from utils.models import batches

train = run.part("train")
largest = int(np.argmax(train.table["tumour_px"]))
parameters = batches.draw_parameters(5, seed=run.seed, epoch=0)
pictures = np.repeat(train.images[largest : largest + 1], 5, axis=0)
masks = np.repeat(train.masks[largest : largest + 1, ..., None], 5, axis=0)
changed, moved = (np.asarray(each) for each in batches.augment(pictures, masks, parameters))
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

# %% tags=["nbval-check-output"]
plan = batches.epoch_plan(
    len(train),
    segmenter.BATCH_SIZE,
    segmenter.STEPS_PER_EPOCH,
    seed=run.seed,
    epoch=0,
    tumour=train.labels,
    tumour_share=segmenter.TUMOUR_SHARE,
)
print("batches, slices in each:", plan.shape)
print("slices with tumour in each:", set(train.labels[plan].sum(axis=1).tolist()))
print("masks are still 0 and 1:", set(np.unique(moved).tolist()) == {0.0, 1.0})

# %% [markdown]
# ### Exercise 3.5 · Moved together
#
# Write `move_together(picture, mask, mirrored, turns)`, which returns the moved picture and the
# moved mask: if `mirrored`, first swap left and right; then turn both by `turns` quarter turns
# *anticlockwise*. The picture has the shape `(height, width, 3)`, the mask `(height, width)`.
# `turns` may be any whole number: -1 is a quarter turn clockwise, 5 is the same as 1.
#
# <details><summary>Hint 1</summary>
#
# Columns are axis 1 of both arrays. The channels are the last axis of the picture, and no movement
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
def move_together(picture, mask, mirrored, turns):
    """Return picture and mask after the same movement: mirrored first, then turned.

    Parameters
    ----------
    picture : ndarray, shape (height, width, 3)
    mask : ndarray, shape (height, width)
    mirrored : bool
        Whether left and right change sides.
    turns : int
        Quarter turns, anticlockwise.
    """
    if mirrored:
        picture, mask = np.flip(picture, axis=1), np.flip(mask, axis=1)
    return np.rot90(picture, turns), np.rot90(mask, turns)


# %% tags=["nbval-check-output"]
check.move_together(move_together)

# %% [markdown]
# ## Training with two losses
#
# Same network, same first weights, same batches in the same order, same number of steps; only the
# loss differs. An *epoch* here is the 50 batches of 8 slices planned above, six of them with
# tumour, whatever the size of the cohort. The [optimiser](../docs/glossary.md#optimiser) is Adam,
# with a [learning rate](../docs/glossary.md#learning-rate) that rises to 0.001 in the first tenth
# of the training and then falls to 0; `segmenter.train` holds it all. After each epoch the mean
# patient Dice on the validation patients is taken (column `val_dice`), from every second slice at a
# threshold of 0.5, and the weights of the best epoch are kept. Each training takes place in a
# process of its own, whose memory is given back at its end, both at the same time if there are
# cores and memory for it; the lines after it read the results.
#
# *Predict before you run: after how many epochs will the network be better than the plain threshold
# was, and after how many better than the fair baseline?*

# %%
from utils.course import workers

workers.train_apart(
    run,
    "utils.course.segmenter:train focal_tversky",
    "utils.course.segmenter:train dice_cross_entropy",
)
focal, focal_history = segmenter.train(run, "focal_tversky")
focal_history.round(3)

# %%
entropy, entropy_history = segmenter.train(run, "dice_cross_entropy")
entropy_history.round(3)

# %%
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

# %% [markdown]
# The two losses are numbers of different kinds and cannot be compared with each other; Dice on
# the validation patients can. Did it still rise at the end? Then a longer training would have
# paid: more epochs are one parameter away.
#
# ## From probabilities to masks
#
# Two choices remain, both made on the *[validation](../docs/glossary.md#validation-patients)*
# patients: from which probability on a pixel counts as tumour, and which [connected
# pieces](../docs/glossary.md#connected-component) of the volume (over all slices) are kept: all of
# them, those above some size, or only the largest. Most patients have one tumour, so the largest
# piece is a strong choice, and a wrong one for the few who have two. In what is printed,
# `minimum_px` is the smallest piece kept, `largest_only` says that all others go, and `neighbours`,
# which is not used here, would average each map with those of the slices beside it.

# %%
tried = segmenter.try_postprocessing(run, focal)
tried_entropy = segmenter.try_postprocessing(run, entropy)
settings = segmenter.choose_and_save(run, focal, tried=tried)
print(f"chosen on {run.describe('validation')}")
print("focal Tversky:       ", settings)
print("Dice + cross-entropy:", segmenter.best_postprocessing(tried_entropy))

# %%
show(
    plots_segmentation.threshold_curve(tried, run.describe("validation")),
    "Mean patient Dice on validation over the threshold, one line for each choice of pieces that "
    f"are kept. Best: threshold {settings.threshold:g}, {tried['pieces'].iloc[0]}, with "
    f"{tried['dice'].iloc[0]:.2f}.",
    run.figures,
    "03_threshold",
)

# %% [markdown]
# A flat curve is good news: the result does not hang on the exact threshold. The curve is that of
# focal Tversky. Compare the two thresholds printed above it: a loss that weighs missed pixels more
# gives higher probabilities, and the threshold makes up for part of it.

# %% [markdown]
# ### Exercise 3.6 · The largest piece
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
# ### Exercise 3.7 · Who may choose the threshold?
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
# *Predict before you run: will the three means be lower or higher than on the validation patients,
# and why?*

# %%
from utils.evaluation.bootstrap import bootstrap_patients, paired_bootstrap
from utils.evaluation.text import format_interval
from utils.models.postprocessing import postprocess

test = run.part("test")
truths = true_masks(test.table)


def masks_of(model, settings):
    """Return the masks that a network and its postprocessing give for the held-out slices."""
    maps = native_probabilities(model, test)
    return np.concatenate([postprocess(one, settings) for one in maps.values()])


chosen = segmenter.best_postprocessing(tried_entropy)
predicted = {
    "plain threshold": flair_baseline.masks(test.table, flair_baseline.PLAIN, plain_threshold),
    "fair baseline": flair_baseline.masks(test.table, flair_baseline.FAIR, fair_threshold),
    "Dice + cross-entropy": masks_of(entropy, chosen),
    "focal Tversky": masks_of(focal, settings),
}

# %%
scores = {
    name: segmentation.patient_table(segmentation.score(test.table, truths, masks))
    for name, masks in predicted.items()
}


def mean_dice(rows):
    return rows["dice"].mean()


dice = {name: bootstrap_patients(table, mean_dice) for name, table in scores.items()}
print(f"Dice of the patients, {run.describe('test')}")
for name, interval in dice.items():
    of_patients = scores[name]["dice"]
    lost = f"{(of_patients < 0.1).sum()} of {len(of_patients)} lost (under 0.1)"
    print(f"{name}: mean {interval}, median {of_patients.median():.2f}, {lost}")

# %%
gain = paired_bootstrap(scores["fair baseline"], scores["focal Tversky"], mean_dice)
better = (scores["focal Tversky"]["dice"] > scores["fair baseline"]["dice"]).sum()
if gain.low > 0:
    verdict = "the network is better on average"
elif gain.high < 0:
    verdict = "the fair baseline is better on average"
else:
    verdict = "these patients do not decide which is better on average"
print(f"mean Dice, focal Tversky minus fair baseline: {format_interval(gain, sign=True)}: "
      f"{verdict}")  # fmt: skip
print(f"the network is better in {better} of {len(scores['fair baseline'])} patients")

# %% [markdown]
# Read mean, median and the patients who are lost altogether side by side. The baseline is all or
# nothing: it follows the brightness, by which the masks of this cohort were drawn too, so that
# wherever it finds the tumour its outline is close, often closer than that of a network after a few
# epochs. What a network should bring is that hardly any patient is lost. If its mean is hardly
# above that of a threshold, say so: it tells how much of the task is brightness. In the simulated
# cohort that is much, because apart from the tumour little is bright within the brain. Do not
# expect as much of real patients; with `cohort = "lgg"` the same cells tell how far it gets there.
#
# The intervals come from drawing patients with replacement (the
# [bootstrap](../docs/glossary.md#bootstrap), explained in notebook 4). Is the difference between
# the two losses more than chance? That is asked patient by patient: how much better is each
# patient's Dice under one loss than under the other, and how would that mean vary with other
# patients?

# %%
from utils.plots import evaluation as plots_evaluation

difference = paired_bootstrap(scores["Dice + cross-entropy"], scores["focal Tversky"], mean_dice)
show(
    plots_evaluation.paired_dice(
        scores["Dice + cross-entropy"],
        scores["focal Tversky"],
        ("Dice + cross-entropy", "focal Tversky"),
        difference,
        run.describe("test"),
    ),
    "Each held-out patient's Dice under both losses, joined by a line. Mean difference, focal "
    f"Tversky minus Dice + cross-entropy: {difference}.",
    run.figures,
    "03_losses",
)

# %% [markdown]
# If the interval includes 0, the honest summary is: with this budget and these patients we cannot
# tell the two losses apart. If it does not, one of the two trainings was better for patients like
# these. But it was one training each: the interval knows nothing of what another seed would have
# given, so "this loss is better" would take several. Claims that one loss beats another by a
# hundredth of Dice, without an interval, are worth little. The course goes on with focal Tversky,
# whatever came out here: choosing the loss by the held-out patients would be fitting to them.
#
# ## Best, median and worst
#
# All held-out patients, from best to worst:

# %%
table = scores["focal Tversky"].sort_values("dice", ascending=False, ignore_index=True)
by_name = {
    name: scores[name].set_index("patient")["dice"].loc[table["patient"]].to_numpy()
    for name in ("Dice + cross-entropy", "fair baseline")
}
columns = {"dice": "focal Tversky"}
table[["patient", "slices", "tumour_px", "dice"]].rename(columns=columns).assign(**by_name).round(2)


# %%
def slices_shown(patient, count=3):
    """Return rows at a quarter, half and three quarters of a patient's tumour."""
    rows = np.flatnonzero((test.table["patient"] == patient) & (test.table["tumour_px"] > 0))
    return rows[np.linspace(0, len(rows) - 1, count + 2).round().astype(int)[1:-1]]


ranked = {"best": 0, "median": len(table) // 2, "worst": len(table) - 1}
rows, titles = [], []
for rank, place in ranked.items():
    patient, of_patient = table["patient"][place], table["dice"][place]
    for row in slices_shown(patient):
        rows.append(row)
        titles.append(f"{rank}: {patient}\nslice {test.table['slice'][row]}, Dice {of_patient:.2f}")

# %%
small_masks = np.stack([resize_mask(predicted["focal Tversky"][row], (size, size)) for row in rows])
show(
    plots_segmentation.overlays(
        test.images[rows], test.masks[rows], small_masks, titles, run.describe("test"),
        title="Best, median and worst held-out patient (Dice of the patient)",
    ),
    "Three slices each of the best, the median and the worst held-out patient, with the true "
    f"border and the predicted one. Patient Dice: {table['dice'].max():.2f}, "
    f"{table['dice'].median():.2f}, {table['dice'].min():.2f}.",
    run.figures,
    "03_overlays",
)  # fmt: skip

# %% [markdown]
# In the worst patient, ask whether the tumour is missed or something else is drawn, and whether it
# is small, faint, or unlike the training patients' tumours. A Dice near 0 deserves a second look:
# if only the largest piece is kept and something else was larger, a tumour that had been found is
# thrown away again. One picture of the worst teaches more than nine of the best. [Notebook
# 4](04_evaluate.ipynb) goes on from here, with all held-out patients and more measures.

# %%
worst_row = slices_shown(table["patient"].iloc[-1], 1)[0]
compared = {name: resize_mask(masks[worst_row], (size, size)) for name, masks in predicted.items()}
show(
    plots_segmentation.masks_side_by_side(
        test.images[worst_row],
        {"true mask": test.masks[worst_row], **compared},
        run.describe("test"),
        f"{titles[-1].splitlines()[0]}: the baselines beside the networks",
    ),
    "One slice of the worst held-out patient: FLAIR, the true mask, and the masks of the plain "
    "threshold, of the fair baseline and of the networks trained with the two losses.",
    run.figures,
    "03_worst",
)

# %%
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

# %% tags=["nbval-check-output"]
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
# **(b)**: missing a pixel costs nine times as much as inventing one, so in doubt it is drawn. (a)
# is what swapped weights would give, and the mistake would show in nothing else. (c) would be true
# of a factor before the whole loss; here it is the *ratio* of two errors that changes. (d) no term
# of the loss looks at the border.
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
# - The focal exponent has to be above 1, or training chases the pictures that are right already.
#   $\alpha$ weighs what is missed, $\beta$ what is invented. The index is taken picture by picture.
# - Picture and mask are moved together, and part of what the network sees has no tumour.
# - Two losses are compared with the same budget, on the same patients, with an interval for the
#   difference.
# - Threshold and smallest piece are chosen on validation; all held-out patients are named, the
#   worst one shown.

# %% [markdown]
# ## Questions to think about
#
# 1. With $\alpha = 0.9$ and $\beta = 0.1$, what would you expect of the masks, and of the threshold
#    that validation then chooses?
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
#   lesion segmentation*, ISBI 2019: read its formula with the exponent in mind.
#   [doi:10.1109/ISBI.2019.8759329](https://doi.org/10.1109/ISBI.2019.8759329)
# - J. Ma et al., *Loss odyssey in medical image segmentation*, Medical Image Analysis 71 (2021):
#   twenty losses on the same tasks.
#   [doi:10.1016/j.media.2021.102035](https://doi.org/10.1016/j.media.2021.102035)
