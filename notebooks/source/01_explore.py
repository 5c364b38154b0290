# %% [markdown]
# # 1 · Explore: know the data before the model
#
# A model learns what is in its data, including what you did not mean to put there. So before
# training anything we look: at single slices and whole patients, at how often and where tumours
# occur, at what differs between hospitals, and at the one mistake that makes results on such
# slices too good to be true.
#
# **What you will learn**
#
# - what a slice, a volume, a channel and a mask are, as arrays;
# - to see a cohort the way a model will: class balance, sizes, places, grey levels, gaps;
# - why slices of one patient must stay together, shown by a model that learns nothing at all;
# - to write a check that stops the work when a split leaks.
#
# **What you need**: Python, NumPy and pandas; no deep learning yet. About half a minute once the
# cohort is there (making it takes another minute, once), and half a GB of memory. With the six
# exercises, plan 60 to 90 minutes. Terms are explained in the [glossary](../docs/glossary.md).
#
# **How the exercises work.** Where a cell says *Your code here*, replace the `...`, run it, and run
# the cell below it: it tries what you wrote on several inputs, some of them awkward, and says in
# one line what is wrong. An exercise left open stops nothing. Look at the second hint only after
# you have tried with the first.

# %% [markdown]
# ## The questions
#
# 1. How much tumour is there, in how many slices, of how many patients?
# 2. What differs between patients for reasons that have nothing to do with disease?
# 3. If you train on some slices and test on others, what have you tested?
#
# By default everything here runs on a **simulated cohort**: real anatomy (an average brain),
# invented tumours. It downloads nothing and needs no account, and it has the layout of the real
# **LGG MRI Segmentation cohort** of 110 patients with lower-grade
# [glioma](../docs/glossary.md#glioma) ([Buda et al. 2019](https://arxiv.org/abs/1906.03720)), so
# that with `cohort = "lgg"` the same cells run on real patients. Figures and numbers always say
# which of the two they come from.
#
# > **Not for clinical use.** This is a course. Nothing in it may be used to diagnose or treat
# > anyone.
#
# The next cell holds what can be changed: which cohort, how many patients, the seed of all that is
# drawn by chance, the size of the pictures in pixels. The two numbers of epochs belong to later
# notebooks. Leave everything as it is the first time.

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
from utils.cohort import splits, statistics
from utils.cohort.table import summarise_patients
from utils.cohort.tiff import read_mask, read_slice
from utils.cohort.volumes import read_volume
from utils.config import CourseError
from utils.course.run import open_run
from utils.plots import cohort as plots_cohort
from utils.plots.style import CHANNELS, show

run = open_run(cohort, data, run_folder, seed, patients, size, detector_epochs, segmenter_epochs)

# %% [markdown]
# ## The cohort as a table
#
# On disk a patient is a folder, and a slice is a picture with a mask of the same size beside it:
#
# ```
# <patient>/<patient>_1.tif   <patient>/<patient>_1_mask.tif
# <patient>/<patient>_2.tif   <patient>/<patient>_2_mask.tif   …
# ```
#
# `open_run` has checked every file and made a table of it, **one row a slice**. The patient's name
# is taken from the folder, the one place where it cannot be wrong: a column of names that someone
# has put into another table can be, and then every split made from it is wrong too.

# %%
print(run.describe())
run.table[["patient", "institution", "slice", "tumour_px", "has_tumour"]].sample(
    6, random_state=seed
).sort_index()

# %% tags=["nbval-check-output"]
print("patients:", run.table["patient"].nunique())
print("slices:", len(run.table))
print("slices a patient:", *run.table.groupby("patient").size().agg(["min", "max"]))
print("every slice once:", not run.table.duplicated(["patient", "slice"]).any())
print("patients by institution:", run.split["institution"].value_counts().sort_index().to_dict())

# %% [markdown]
# ### Exercise 1.1 · Whose slice is it?
#
# Write `patient_of(path)`, which returns the patient's name for the path of a slice or of a mask:
# for `"cohort/SIM_CS_004/SIM_CS_004_12.tif"` that is `"SIM_CS_004"`. The layout stands above: which
# part of the path can you rely on? Think of masks, of files that someone has renamed, and of paths
# given as a `pathlib.Path`.
#
# <details><summary>Hint 1</summary>
#
# A patient is a *folder*. The file's name repeats the patient, but only by convention.
# </details>
#
# <details><summary>Hint 2</summary>
#
# `pathlib.Path` takes text and paths alike, and has attributes for the folder that a file lies in
# and for the last part of a path.
# </details>

# %% tags=["solution"]
from pathlib import Path


def patient_of(path):
    """Return the name of the patient that a picture or mask belongs to.

    Parameters
    ----------
    path : str or pathlib.Path
        ``<patient>/<file>.tif``, with any folders before it.
    """
    return Path(path).parent.name


# %% tags=["nbval-check-output"]
check.patient_of(patient_of)

# %% [markdown]
# ## A slice, its channels, its mask
#
# **A [slice](../docs/glossary.md#slice)** is one horizontal cut through the head. The scanner
# measured it three times, in a way that shows different things each time, and the three pictures
# are stored as the three **[channels](../docs/glossary.md#channel)** of one array, where a
# photograph has red, green and blue:
#
# | channel | sequence | what it is good for |
# |---|---|---|
# | 0 | T1 before contrast agent | anatomy: white matter light, fluid dark |
# | 1 | FLAIR | free fluid is suppressed, so swelling and tumour stand out bright |
# | 2 | T1 after contrast agent | places where vessels leak light up |
#
# **The [mask](../docs/glossary.md#mask)** says for every pixel whether an expert counted it as
# abnormal on [FLAIR](../docs/glossary.md#flair) (255) or not (0). We take a patient with a tumour
# of middling size, and the slice in which it is largest.

# %%
by_patient = summarise_patients(run.table).sort_values("tumour_px", ignore_index=True)
patient = by_patient["patient"].iloc[len(by_patient) // 2]
rows = run.table[run.table["patient"] == patient]
row = rows.loc[rows["tumour_px"].idxmax()]
image, mask = read_slice(row["image_path"]), read_mask(row["mask_path"])

figure = plots_cohort.channels(image, mask, f"{patient}, slice {row['slice']}; {run.describe()}")
alt = (
    f"Slice {row['slice']} of {patient} as three grey pictures, one colour picture and a mask. "
    f"The tumour, {100 * mask.mean():.1f} % of the picture, is bright on FLAIR."
)
show(figure, alt, run.figures, "01_channels")

# %% tags=["nbval-check-output"]
print("slice:", image.shape, image.dtype)
print("mask: ", mask.shape, mask.dtype, "values", np.unique(mask).tolist())
print("channel 1, FLAIR:", image[..., 1].shape)

# %% [markdown]
# Channels are the *last* axis here, `(height, width, channel)`, as Keras expects by default. The
# colour picture is only what a picture viewer makes of the file: violet and green mean nothing.
#
# ## A volume
#
# **A [volume](../docs/glossary.md#volume)** is all slices of a patient, in order from the neck to
# the crown: an array of
# `(slices, height, width, channels)`.
#
# *Predict before you run: in how many of this patient's slices do you expect tumour, and will they
# be next to each other?*

# %%
volume = read_volume(rows)
masks = np.stack([read_mask(path) for path in rows["mask_path"]])
with_tumour = rows.loc[rows["has_tumour"], "slice"]

figure = plots_cohort.volume_strip(volume, masks, patient, run.describe())
alt = (
    f"FLAIR slices of {patient} from bottom to top. The tumour begins at slice {with_tumour.min()} "
    f"and ends at slice {with_tumour.max()}; it changes little from one slice to the next."
)
show(figure, alt, run.figures, "01_volume")
print(
    f"volume: {volume.shape}, {volume.nbytes / 1e6:.1f} MB; {len(with_tumour)} slices with tumour"
)

# %% [markdown]
# A tumour is a body in space. It is cut by a run of neighbouring slices, and each of these looks
# much like the next. Keep that in mind; it comes back as the main point of this notebook.

# %% [markdown]
# ### Exercise 1.2 · How large is a volume?
#
# A patient has 30 slices of 256 x 256 pixels with three channels. In the file each value takes one
# byte. A network computes in `float32`. How many megabytes (10⁶ bytes) does the volume take then?
# Give one number; a calculation will do.
#
# <details><summary>Hint 1</summary>
#
# How many values does the array have? And how many bits has a `float32`?
# </details>
#
# <details><summary>Hint 2</summary>
#
# A byte is 8 bits. `np.zeros(shape, "float32").nbytes` counts for you, if you give it the shape.
# </details>

# %% tags=["solution"]
volume_megabytes = 30 * 256 * 256 * 3 * 4 / 1e6

# %% tags=["nbval-check-output"]
check.volume_megabytes(volume_megabytes)

# %% [markdown]
# ## Six patients
#
# From the smallest tumour to the largest, each in the slice where it is largest. These are the
# pictures that the models of the next notebooks will see: brought to a smaller size and to one
# common scale of grey, which is explained below.

# %%
chosen = by_patient["patient"].iloc[np.linspace(0, len(by_patient) - 1, 6).round().astype(int)]
largest = run.table.groupby("patient")["tumour_px"].idxmax()[chosen].tolist()
names = [f"{run.table.patient[place]}\nslice {run.table.slice[place]}" for place in largest]

figure = plots_cohort.gallery(
    run.volumes.images[largest], run.volumes.masks[largest], names, run.describe()
)
alt = (
    "Six patients, one a column, in three channels. The tumour's border is drawn on FLAIR, where "
    f"the tumour is brighter than its surroundings; from left to right its area grows from "
    f"{run.table.tumour_px[largest[0]]} to {run.table.tumour_px[largest[-1]]} pixels."
)
show(figure, alt, run.figures, "01_gallery")

# %% [markdown]
# Look for what will make a threshold on brightness fail: bright places that are no tumour (around
# the ventricles, at the skin and in the eyes), tumours with a dark core, and borders that fade out.
#
# ## How much tumour is there?
#
# *Predict before you run: what would a model score that answers "no tumour" for every slice?*

# %%
share = run.table.groupby("patient")["has_tumour"].mean()
figure = plots_cohort.class_balance(run.table, run.describe())
alt = (
    "Stacked bars, one a patient: slices with tumour and without. The share with tumour goes from "
    f"{100 * share.min():.0f} % to {100 * share.max():.0f} %, median {100 * share.median():.0f} %."
)
show(figure, alt, run.figures, "01_class_balance")
right = 100 * (1 - run.table["has_tumour"].mean())
print(f"always answering 'no tumour' is right in {right:.0f} % of slices ({run.describe()})")

# %% tags=["nbval-check-output"]
counts = run.table["has_tumour"].value_counts()
print(f"slices with tumour: {counts[True]}, without: {counts[False]}")
print(
    "every patient has slices of both kinds:", bool(share.between(0, 1, inclusive="neither").all())
)

# %% [markdown]
# ### Exercise 1.3 · The share of slices with tumour
#
# Write `tumour_share(table, patient)`: the share, between 0 and 1, of one patient's slices that
# show tumour. `table` has one row a slice with the columns `patient`, `slice` and `tumour_px`, the
# number of pixels in the mask; a single pixel counts as tumour. What should happen for a patient
# who is not in the table? A quiet 0 would be read as "healthy": raise a `ValueError`.
#
# <details><summary>Hint 1</summary>
#
# First the rows of this patient, exactly this one: there may be both an `A_1` and an `A_10`. Then
# compare one column with 0.
# </details>
#
# <details><summary>Hint 2</summary>
#
# The mean of a column of True and False is the share of True. The mean of *no* rows is nan, so ask
# before you compute whether there are any.
# </details>


# %% tags=["solution"]
def tumour_share(table, patient):
    """Return the share of a patient's slices with tumour, 0 to 1.

    Parameters
    ----------
    table : pandas.DataFrame
        `patient, slice, tumour_px`, one row a slice.
    patient : str

    Raises
    ------
    ValueError
        If the patient is not in the table.
    """
    rows = table[table["patient"] == patient]
    if rows.empty:
        raise ValueError(f"no patient {patient} in the table")
    return (rows["tumour_px"] > 0).mean()


# %% tags=["nbval-check-output"]
check.tumour_share(tumour_share)

# %% [markdown]
# Accuracy is therefore a poor measure here: a useless model scores well. Notebook 2 uses
# [sensitivity](../docs/glossary.md#sensitivity), [specificity](../docs/glossary.md#specificity) and
# the area under the [ROC curve](../docs/glossary.md#roc-curve) instead. For segmentation it is
# worse still: even in a slice with tumour nearly all pixels are healthy.

# %%
figure = plots_cohort.tumour_sizes(run.table, mask.size, run.describe())
areas = 100 * run.table.loc[run.table["has_tumour"], "tumour_px"] / mask.size
low, middle, high = areas.quantile([0.05, 0.5, 0.95])
alt = (
    f"Two histograms of tumour area. In slices with tumour it covers a median of {middle:.1f} % of "
    f"the picture, 5th to 95th percentile {low:.1f} to {high:.1f} %."
)
show(figure, alt, run.figures, "01_tumour_sizes")

# %% [markdown]
# Small areas are the rule, partly because every tumour tapers off above and below. They are also
# the hardest: a border that is one pixel off hardly changes the overlap of a large tumour and ruins
# that of a small one. Notebook 4 reports sensitivity by size for that reason.
#
# ## Where tumours lie

# %%
figure = plots_cohort.tumour_heat_map(run.volumes.images, run.volumes.masks, run.describe())
often = run.volumes.masks.sum(axis=0, dtype=int)
down, across = 100 * np.array(np.unravel_index(often.argmax(), often.shape)) / size
alt = (
    "The mean FLAIR picture of all slices with tumour, and a map of how often each place is "
    f"tumour. {100 * (often > 0).mean():.0f} % of the picture is tumour in some slice; most often "
    f"it is the place {down:.0f} % of the way down and {across:.0f} % of the way across."
)
show(figure, alt, run.figures, "01_heat_map")

# %% [markdown]
# If the map were a small bright spot, a model could score well by always drawing the same blob. A
# spread-out map means that it has to look. In patients, lower-grade gliomas favour the frontal
# lobes, the temporal lobes and the insula and seldom start in the cerebellum.
#
# ## What differs between institutions
#
# An MRI scanner's grey levels have **no unit**. The same tissue gets another number on another
# scanner, with another setting, or with another way of exporting the file. A model that has learnt
# "above 180 is tumour" at one hospital is useless at the next.

# %%
levels = statistics.head_grey_levels(run.table, seed=seed)
figure = plots_cohort.intensity_by_institution(
    levels.rename(columns={"raw": "value"}),
    run.describe(),
    "Grey levels in the files, by institution",
)
middle = levels[levels["channel"] == 1].groupby("institution")["raw"].median()
alt = (
    "Grey levels of the head's pixels, one panel a channel, one line an institution. The lines do "
    f"not coincide: the median on FLAIR goes from {middle.min():.0f} ({middle.idxmin()}) to "
    f"{middle.max():.0f} ({middle.idxmax()})."
)
show(figure, alt, run.figures, "01_grey_levels_raw")

# %% [markdown]
# The remedy is **[normalisation](../docs/glossary.md#normalisation) by volume**: for every patient
# and channel, subtract the mean of the pixels inside the head and divide by their standard
# deviation. The result, the [z-score](../docs/glossary.md#z-score), is stored as `96 + 40 · z`,
# rounded and clipped to 0…255, which keeps one byte a pixel.
#
# - By *volume*, not by slice: how bright one slice is compared with its neighbours says something
#   about the tissue, and a slice full of tumour must not be dimmed for it.
# - Over the *head*: the black background would otherwise decide the mean.
# - With the patient's *own* numbers: nothing from other patients flows in, so nothing can leak.

# %%
figure = plots_cohort.intensity_by_institution(
    levels.rename(columns={"normalised": "value"}),
    run.describe(),
    "The same after normalisation by volume",
)
middle = levels[levels["channel"] == 1].groupby("institution")["normalised"].median()
alt = (
    "The same three panels after normalisation. The lines lie closer together: the median on FLAIR "
    f"goes from {middle.min():.0f} ({middle.idxmin()}) to {middle.max():.0f} ({middle.idxmax()})."
)
show(figure, alt, run.figures, "01_grey_levels_normalised")

# %% tags=["nbval-check-output"]
before, after = (
    statistics.spread_between_patients(levels, column) for column in ("raw", "normalised")
)
for channel, name in enumerate(CHANNELS):
    print(f"{name}: patients' means less than half as far apart: "
          f"{after[channel] < before[channel] / 2}")  # fmt: skip

# %% [markdown]
# That the means now agree is no discovery: we made them agree. Two things remain different and
# always will: the *shape* of each line, which is the contrast between tissues, and the noise.
# Normalisation removes the scale of a scanner, not its character.

# %% [markdown]
# ### Exercise 1.4 · Normalise a channel
#
# Write `normalise(channel, head)` as described above: with the mean and the standard deviation of
# the pixels inside the head, all slices together, make `96 + 40 · z`, rounded, clipped to 0…255, as
# `uint8`, for *all* pixels. `channel` is a `uint8` array of shape `(slices, height, width)`, `head`
# a bool array of the same shape. What is the z-score of a channel that has one single value in the
# head? Let it become 96 everywhere.
#
# <details><summary>Hint 1</summary>
#
# `channel[head]` is a flat array of the pixels inside the head. Convert to `uint8` last: what does
# `np.uint8` make of 300, or of -20?
# </details>
#
# <details><summary>Hint 2</summary>
#
# In this order: z-score, scale, `np.round`, `np.clip`, `astype`. If the standard deviation is 0,
# there is nothing to divide: all pixels are at the mean.
# </details>


# %% tags=["solution"]
def normalise(channel, head):
    """Return a channel as 96 + 40 z, z over the pixels of the head, in 8 bits.

    Parameters
    ----------
    channel : ndarray of uint8, shape (slices, height, width)
    head : ndarray of bool, shape (slices, height, width)

    Returns
    -------
    ndarray of uint8, shape (slices, height, width)
    """
    inside = channel[head].astype(float)
    deviation = inside.std()
    if deviation == 0:
        return np.full(channel.shape, 96, dtype=np.uint8)
    levels = 96 + 40 * (channel - inside.mean()) / deviation
    return np.clip(np.round(levels), 0, 255).astype(np.uint8)


# %% tags=["nbval-check-output"]
check.normalise(normalise)

# %% [markdown]
# ## Missing sequences
#
# Not every patient had all three sequences. In this cohort a missing one was filled with a **copy
# of FLAIR**: in the real cohort the pre-contrast sequence of 6 patients, and in 10 patients the
# post-contrast sequence. The files do not say so. It can be found, though: a true second sequence
# never equals FLAIR in every pixel.

# %% tags=["nbval-check-output"]
missing = statistics.missing_sequences(run.volumes)
print("patients without pre-contrast: ", missing["pre_contrast"].sum())
print("patients without post-contrast:", missing["post_contrast"].sum())
print("patients without either:       ", (missing["pre_contrast"] & missing["post_contrast"]).sum())

# %%
affected = missing[missing["pre_contrast"] | missing["post_contrast"]]
affected.merge(run.split[["patient", "part"]], on="patient")

# %% [markdown]
# We keep these patients: leaving them out would make the test easier than the hospital. Instead,
# training sometimes replaces a channel by FLAIR on purpose (notebook 3), so that the model has met
# the case.
#
# ## How alike are neighbouring slices?
#
# Now the main point. We correlate, pixel by pixel, FLAIR slices of the same patient (1: alike but
# for brightness and contrast, 0: unrelated) that are 1, 2, 3, 5 or 8 slices apart, and for
# comparison slices of *different* patients at the same height of the head.

# %%
pairs = statistics.slice_similarity(run.volumes.images, run.volumes.table, seed=seed)
medians = pairs.groupby(["pair", "distance"], dropna=False)["correlation"].median()
next_slice, stranger = medians["same patient"].iloc[0], medians["another patient"].iloc[0]

figure = plots_cohort.neighbour_similarity(pairs, run.describe())
alt = (
    f"Box plots of the correlation of two slices. Next to each other in one patient: median "
    f"{next_slice:.2f}, falling with distance. Same height in another patient: {stranger:.2f}."
)
show(figure, alt, run.figures, "01_neighbours")

# %% [markdown]
# The next slice of the same patient is far more alike than any slice of another. So what happens if
# the slices are shuffled and dealt out one by one, as a call of `train_test_split` on the table of
# slices would do? What the test then measures is spoilt by
# [leakage](../docs/glossary.md#leakage): it has met its test patients before.
#
# *Predict before you run: of the test slices, how many have the slice above or below in training?*

# %%
random = np.random.default_rng(seed)
by_slice = run.table[["patient", "institution", "slice"]].assign(
    part=random.choice(splits.PARTS, size=len(run.table), p=(0.6, 0.17, 0.23))
)
by_patient_split = by_slice.drop(columns="part").merge(run.split[["patient", "part"]], on="patient")

for name, split in {"by slice": by_slice, "by patient": by_patient_split}.items():
    near = statistics.neighbour_in_training(split)[split["part"] == "test"]
    print(f"split {name}: {near.sum()} of {len(near)} test slices ({100 * near.mean():.0f} %) have "
          "the slice above or below in training")  # fmt: skip
print(run.describe())

# %% [markdown]
# ### Exercise 1.5 · Count the test slices that are known already
#
# Write `neighbours_in_training(table)`: how many test slices have the slice directly above or
# below, of the same patient, in training? `table` has the columns `patient`, `slice` (a whole
# number) and `part` (`"train"`, `"validation"` or `"test"`), its rows in any order. What are the
# ways in which two rows can look like neighbours without being neighbours?
#
# <details><summary>Hint 1</summary>
#
# Make a set of all pairs (patient, slice) in training. Then each test slice is two questions.
# </details>
#
# <details><summary>Hint 2</summary>
#
# `zip(rows["patient"], rows["slice"])` gives the pairs. Ask for the number above *or* the number
# below, so that a slice with both counts once.
# </details>


# %% tags=["solution"]
def neighbours_in_training(table):
    """Return how many test slices have a neighbour of the same patient in training.

    Parameters
    ----------
    table : pandas.DataFrame
        `patient, slice, part`, one row a slice, in any order.
    """
    train, test = (table[table["part"] == part] for part in ("train", "test"))
    known = set(zip(train["patient"], train["slice"], strict=True))
    return sum(
        (patient, number - 1) in known or (patient, number + 1) in known
        for patient, number in zip(test["patient"], test["slice"], strict=True)
    )


# %% tags=["nbval-check-output"]
check.neighbours_in_training(neighbours_in_training)

# %% [markdown]
# ## A model that only remembers
#
# Does it matter? Take a "model" that learns nothing. For a test slice it looks up the most similar
# training slice and **copies its answer**: tumour or not, and the whole mask. It knows nothing of
# tumours and is worthless for a new patient. How well the copied mask fits is measured by
# [Dice](../docs/glossary.md#dice), the overlap of two masks from 0 (none) to 1 (the same).
#
# *Predict before you run: how will it score under each split?*

# %%
truth = run.volumes.labels


def remember(split):
    """Score copying from the most similar training slice: sensitivity, specificity, Dice."""
    test = (split["part"] == "test").to_numpy()
    source = statistics.most_similar(
        run.volumes.images, test, (split["part"] == "train").to_numpy()
    )
    copied, right = run.volumes.masks[source], run.volumes.masks[test]
    overlap = (
        2 * (copied & right).sum(axis=(1, 2)) / (copied.sum((1, 2)) + right.sum((1, 2)) + 1e-9)
    )
    return {
        "tumour slices found": truth[source][truth[test]].mean(),
        "tumour-free slices left alone": 1 - truth[source][~truth[test]].mean(),
        "Dice of the copied mask, tumour slices": overlap[truth[test]].mean(),
    }


scores = pd.DataFrame(
    {"split by slice": remember(by_slice), "by patient": remember(by_patient_split)}
)
print(f"copying the most similar training slice; {run.describe()}")
scores.round(2)

# %% tags=["nbval-check-output"]
overlaps = scores.loc["Dice of the copied mask, tumour slices"]
print("the copied masks fit at least twice as well when split by slice:",
      overlaps["split by slice"] >= 2 * overlaps["by patient"])  # fmt: skip

# %% [markdown]
# Under a split by slice, memory alone looks like skill. The test has not measured whether the model
# recognises a tumour, but whether it recognises the *patient*. A network with millions of weights
# can remember too, and nobody can see from its score how much of it is memory.
#
# How many test slices have a neighbour in training follows from the shares alone. With 60 % in
# training, both neighbours of a slice are missing there in 0.4 · 0.4 = 16 % of the cases, so that
# 84 % have at least one (a little less over all, since a volume's first and last slice have only
# one to begin with). With 80 % in training it is 96 %. What that does to a result has been
# measured: on four sets of brain MRI a split by slice raised the accuracy in the test by 29 to 55 %
# ([Yagis et al. 2021](https://doi.org/10.1038/s41598-021-01681-w)). The authors of our data split
# by patient and report a mean Dice of 0.82 ([Buda et al. 2019](https://arxiv.org/abs/1906.03720)).
#
# **The rule: whatever belongs together in the new case must stay together in the split.** A new
# case is a new patient, so we split patients. It is the same with several photographs of one animal
# or several recordings of one speaker.
#
# ## The split, and a check that fails loudly
#
# `run.split` has one row a patient. Patients are sorted by institution and by the size of the
# tumour, and each run of neighbours is dealt out to the parts by chance, so that the parts resemble
# each other.

# %%
figure = plots_cohort.split_balance(run.table, run.split, run.describe())
medians = by_patient.merge(run.split[["patient", "part"]]).groupby("part")["tumour_px"].median()
alt = (
    "Three panels compare training, validation and test: the mix of institutions, the share of "
    "slices with tumour, and the size of the tumours. Median volume of the tumour: "
    + ", ".join(f"{part} {medians[part]:.0f} px" for part in splits.PARTS)
    + "."
)
show(figure, alt, run.figures, "01_split")

# %% tags=["nbval-check-output"]
parts = run.table.merge(run.split[["patient", "part"]], on="patient")
parts.groupby("part").agg(
    patients=("patient", "nunique"), slices=("slice", "size"), with_tumour=("has_tumour", "sum")
).loc[list(splits.PARTS)]

# %% [markdown]
# **Training** patients are what the model learns from. On **validation** patients we choose: when
# to stop, which threshold, which loss. The **[held-out](../docs/glossary.md#held-out-patients)
# test** patients are used once, at the end, for the numbers that we report. A choice made on test
# patients turns them into validation patients.
#
# Good intentions are not enough: a table gets merged wrongly, a name is read from the wrong column.
# So the rule is written down as code, and it *stops* the work instead of printing a warning that
# nobody reads. Here it is given the right split, and then the careless one:

# %% tags=["nbval-check-output"]
splits.assert_no_leak(run.split)
splits.assert_no_leak(by_patient_split)
print("split by patient: no leak")
try:
    splits.assert_no_leak(by_slice)
except CourseError as error:
    print("split by slice, stopped:", error)

# %% [markdown]
# `open_run` calls `assert_no_leak` whenever a notebook is opened. The fingerprint of the split is
# kept with the results, so that detector and segmenter are provably trained and tested on the same
# sides: two stages that are split separately leak into each other even if each split is by patient.

# %% [markdown]
# ### Exercise 1.6 · Hold patients out
#
# Now write the split itself. `held_out_patients(names, share, seed)` gets the patient's name of
# every slice, so that names come up many times, and returns a sorted list of the patients to hold
# out: `round(share · number of patients)` of them, at least one, drawn at random. The same seed has
# to give the same patients whatever the order of the slices is, and also tomorrow, when Python has
# been started anew. Another seed gives others.
#
# <details><summary>Hint 1</summary>
#
# Distinct names first, then draw from them without putting any back. Where does the order of the
# names come in?
# </details>
#
# <details><summary>Hint 2</summary>
#
# The order of a `set` of text changes from one start of Python to the next, so a seeded draw from
# `list(set(names))` is not reproducible. `np.random.default_rng(seed).choice` can draw without
# replacement.
# </details>


# %% tags=["solution"]
def held_out_patients(names, share, seed):
    """Return the patients to hold out, sorted.

    Parameters
    ----------
    names : list of str
        The patient of each slice.
    share : float
        Of the patients, 0 to 1; at least one is held out.
    seed : int
    """
    patients = sorted(set(names))
    count = max(1, round(share * len(patients)))
    drawn = np.random.default_rng(seed).choice(len(patients), size=count, replace=False)
    return sorted(patients[place] for place in drawn)


# %% tags=["nbval-check-output"]
check.held_out_patients(held_out_patients)

# %%
run.record({"exploration": {
    "slices": len(run.table),
    "slices_with_tumour": int(run.table["has_tumour"].sum()),
    "missing_pre_contrast": int(missing["pre_contrast"].sum()),
    "missing_post_contrast": int(missing["post_contrast"].sum()),
    "median_correlation_next_slice": float(next_slice),
    "median_correlation_other_patient": float(stranger),
}})  # fmt: skip
print("split", splits.split_sha256(run.split)[:12])

# %% [markdown]
# ## Test yourself
#
# Answer before you unfold.
#
# **1.** A cohort has 60 patients with 24 slices each, a third of them with tumour. A detector
# answers "no tumour" every time. What is its accuracy?
#
# - (a) 0 %
# - (b) 33 %
# - (c) 67 %
# - (d) It cannot be said without the masks.
#
# <details><summary>Answer</summary>
#
# **(c)**: it is right wherever there is no tumour, and that is two thirds of the slices. (a) is its
# sensitivity, which is what makes it useless; (b) is the share in which it is wrong; for (d), the
# share of slices with tumour is all one needs.
# </details>
#
# **2.** Why is each patient normalised with the mean of the *whole volume* and not slice by slice?
#
# - (a) It is faster.
# - (b) A slice full of bright tumour would be dimmed, and its difference from the other slices
#   lost.
# - (c) So that slices of different patients get the same mean.
# - (d) Because the test patients must not be used.
#
# <details><summary>Answer</summary>
#
# **(b)**: how bright a slice is compared with its neighbours is information about tissue. (a) it
# costs the same; (c) both ways bring patients to a common scale, so this is no difference between
# them; (d) is a good rule, but either way each patient uses only its own numbers.
# </details>
#
# **3.** Two channels of a patient are equal in every pixel. What is the most likely reason?
#
# - (a) The scanner was very precise.
# - (b) The patient has no tumour.
# - (c) One sequence was missing and has been filled with a copy.
# - (d) Normalisation has made them equal.
#
# <details><summary>Answer</summary>
#
# **(c)**: noise alone makes two true measurements differ. (a) precision would not remove the
# different contrast of the sequences; (b) healthy tissue too looks different on FLAIR and on T1;
# (d) normalisation gives them the same mean and spread, not the same pixels.
# </details>
#
# **4.** Shuffled slices give a Dice of 0.9 in the test, a split by patient 0.7. Which number will
# the model reach on the next patient who is scanned?
#
# - (a) about 0.9, since more patients were in training
# - (b) about 0.8, the mean of both
# - (c) about 0.7
# - (d) neither, the two cannot be compared
#
# <details><summary>Answer</summary>
#
# **(c)**: the next patient is new, and only the split by patient tests on new patients. (a) is the
# tempting one: shuffled slices do come from more patients, but the gain is mostly recognition of
# slices next to those learnt. (b) an average of a right and a wrong measurement is no measurement.
# (d) both are Dice on the same cohort; what differs is the question they answer.
# </details>
#
# **5.** Which of these belongs on the *same* side of a split?
#
# - (a) all patients of one institution
# - (b) two examinations of one patient, a year apart
# - (c) all slices without tumour
# - (d) slices with the same number
#
# <details><summary>Answer</summary>
#
# **(b)**: a new case is a new *person*. (a) would be right if the claim were about new hospitals,
# and then it is the rule; for the claim here it is not needed. (c) would leave one side without
# tumour-free slices. (d) puts every patient on both sides.
# </details>

# %% [markdown]
# ## What you have seen
#
# **Key points**
#
# - A patient is a volume `(slices, height, width, 3)`: pre-contrast, FLAIR, post-contrast, and a
#   mask.
# - Most slices have no tumour, and most pixels of a slice with tumour are healthy: accuracy
#   misleads.
# - Grey levels have no unit; normalisation by volume takes the scanner's scale away.
# - Missing sequences are hidden as copies of FLAIR, and are found by comparing.
# - Neighbouring slices are much alike. Split by slice, a model that only remembers looks
#   skilled; split by patient, it is found out.
#
# Next: [2 · Detect](02_detect.ipynb), which slices show a tumour?

# %% [markdown]
# ## To think about
#
# 1. Two examinations of the same patient, a year apart, are in different folders. Are they one case
#    or two for the split, and how could `assert_no_leak` know?
# 2. What would you have to do differently to claim that a model works at a hospital it has never
#    seen?
# 3. The copied masks get a Dice above zero even under the split by patient. Where does it come
#    from?

# %% [markdown]
# ## Further reading
#
# - M. Buda, A. Saha, M. A. Mazurowski, *Association of genomic subtypes of lower-grade gliomas with
#   shape features automatically extracted by a deep learning algorithm*, Computers in Biology and
#   Medicine 109 (2019): the authors of the real cohort, with a split by patient.
#   [doi:10.1016/j.compbiomed.2019.05.002](https://doi.org/10.1016/j.compbiomed.2019.05.002)
# - E. Yagis et al., *Effect of data leakage in brain MRI classification using 2D convolutional
#   neural networks*, Scientific Reports 11 (2021): what a split by slice is worth, measured on
#   several cohorts. [doi:10.1038/s41598-021-01681-w](https://doi.org/10.1038/s41598-021-01681-w)
# - S. Kapoor, A. Narayanan, *Leakage and the reproducibility crisis in machine-learning-based
#   science*, Patterns 4 (2023): kinds of leakage in seventeen fields.
#   [doi:10.1016/j.patter.2023.100804](https://doi.org/10.1016/j.patter.2023.100804)
# - R. T. Shinohara et al., *Statistical normalization techniques for magnetic resonance imaging*,
#   NeuroImage: Clinical 6 (2014): why grey levels need a scale, and what it should keep.
#   [doi:10.1016/j.nicl.2014.08.008](https://doi.org/10.1016/j.nicl.2014.08.008)
