# %% [markdown]
# # 1 · Explore: know the patients and the data before the model
#
# A person in their thirties, healthy until last week, has an epileptic seizure. An MRI scan shows
# a bright region in the brain, and the doctors need to know what it is, how large it is, and where
# it ends. This course is about the second and the third question: which slices of a scan show a
# tumour, and where its border runs. This first notebook trains no model. It introduces the
# patients and the images, and shows the one mistake that makes results on such images look far
# better than they are.
#
# **What you will learn**
#
# - who the patients are, and what an outline of their tumour is good for;
# - what a slice, a volume, a channel and a mask are, as arrays;
# - to see a cohort the way a model will: how often tumours occur, how large they are, where they
#   lie, which grey levels the images have, and what is missing;
# - why slices of one patient must stay together, shown by a model that learns nothing at all;
# - to write a check that stops the work when a split leaks.
#
# **What you need**: Python, NumPy and pandas; no deep learning yet. The notebook takes about half a
# minute once the cohort is there (making it takes another minute, once), and half a GB of memory.
# With the seven exercises, plan 70 to 100 minutes. Terms are explained in the
# [glossary](../docs/glossary.md).
#
# **How the exercises work.** Where a cell says *Your code here*, replace the `...`, run it, and run
# the cell below it: it tries what you wrote on several inputs, some of them awkward, and says in
# one line what is wrong. An exercise left open stops nothing. Look at the second hint only after
# you have tried with the first. Some cells that only draw or describe a figure are folded away; a
# click opens them.

# %% [markdown]
# ## The patients
#
# A **[glioma](../docs/glossary.md#glioma)** is a tumour that grows from the supporting cells of the
# brain. The World Health Organization (WHO) grades gliomas by how fast they are expected to grow;
# **lower-grade** means grades 2 and 3 of 4. Typical patients with grade 2 are 30 to 40 years old
# when the disease shows itself, and it does so by seizures
# ([a review of 2019](https://doi.org/10.1016/j.nec.2018.08.002)). Headaches, or trouble with speech
# or movement, may follow as the tumour grows. It grows slowly, and in most patients it turns more
# malignant in the course of years.
#
# Since 2021 the WHO names these tumours by their genes as well as by what the microscope shows:
# *astrocytoma, IDH-mutant* (grade 2, 3 or 4) and *oligodendroglioma, IDH-mutant and
# 1p/19q-codeleted* (grade 2 or 3). Tumours without a mutation of the IDH genes may look
# lower-grade under the microscope, but with certain other changes they now count as glioblastoma,
# grade 4 ([Louis et al. 2021](https://doi.org/10.1093/neuonc/noab106)). The cohort of this course
# was collected before that, so some of its patients would get another diagnosis today. No image can
# settle this; it takes tissue.
#
# ### What an outline is good for
#
# These tumours are *diffuse*: their cells spread between healthy ones, further than an image shows.
# An outline is therefore a convention, but a useful one.
#
# - **Before surgery**, volume and border help to decide how much can be removed without harming
#   speech or movement. Among 216 adults whose low-grade tumours were measured on FLAIR, 97 % of
#   those from whom at least 90 % was removed were alive after five years, and 76 % of the others
#   ([Smith et al. 2008](https://doi.org/10.1200/JCO.2007.13.9337)). The groups were not drawn by
#   lot, so part of this difference may come from tumours that were easier to remove.
# - **In follow-up**, the question is whether the tumour grows. The criteria of the RANO group for
#   low-grade gliomas call it progression when the product of its two diameters on FLAIR has
#   increased by 25 % or more
#   ([van den Bent et al. 2011](https://doi.org/10.1016/S1470-2045%2811%2970057-2)).
#
# ### What a radiologist does today
#
# Mostly, a radiologist compares the new images with the old ones by eye. In a survey of 220
# European centres, 60 % wrote qualitative reports in follow-up, 27 % used the RANO criteria, and
# after surgery 17 % stated what percentage had been removed ([Thust et al.
# 2018](https://doi.org/10.1007/s00330-018-5314-5)). Tracing a tumour in every slice by hand is
# mostly done for research. A program that proposes an outline, which a person then corrects, could
# change that, if it can be trusted. Finding out whether it can is what most of this course is
# about.
#
# ### Three images of each slice
#
# MRI can be tuned to different properties of tissue; each way of tuning is called a
# [sequence](../docs/glossary.md#sequence).
#
# - **T1** shows anatomy: white matter is light, fluid dark.
# - **[FLAIR](../docs/glossary.md#flair)** is timed so that free fluid, such as that in the
#   ventricles, gives no signal and comes out dark. Tissue that holds more water than usual, such as
#   swelling and most of a lower-grade glioma, comes out bright, which is why tumours are outlined
#   on it.
# - **T1 after [contrast agent](../docs/glossary.md#contrast-agent)** is taken after a substance
#   with gadolinium has been injected into a vein; healthy vessels of the brain do not let it out.
#   Where a tumour has made vessels leak, the tissue lights up; many lower-grade gliomas do not.

# %% [markdown]
# ## The data, and what they cannot tell
#
# The real **LGG MRI Segmentation cohort** has 110 patients with lower-grade glioma from five
# hospitals. Their scans come from the TCGA-LGG collection; the outlines were traced on FLAIR by
# [Buda et al. 2019](https://doi.org/10.1016/j.compbiomed.2019.05.002). By default the notebooks run
# on a **simulated cohort** instead, which needs no download and no account and has the same layout,
# so that with `cohort = "lgg"` the same cells run on real patients. Figures and numbers always say
# which of the two they come from.
#
# Three things to keep in mind from here on:
#
# - **Every patient of both cohorts has a tumour.** What we detect is in which *slices* it shows.
#   Nothing here says how a model would do on healthy people, or as a screening test.
# - **All simulated heads are one head.** The template, an average of 152 healthy brains with a
#   skull and a face built around it, is tilted, scaled and deformed anew for each patient; the
#   tumour is invented. Two simulated patients are more alike than two people are
#   ([how it is made](../data/README.md)).
# - **In the real cohort the mask is one group's tracing** of what is abnormal on FLAIR, tumour and
#   swelling together; other experts would draw it a little differently. In the simulated cohort it
#   is exact, which no real mask is.
#
# > **Not for clinical use.** This is a course. Nothing in it may be used to diagnose or treat
# > anyone.
#
# ### The questions of this notebook
#
# 1. How much tumour is there, in how many slices, of how many patients?
# 2. What differs between patients for reasons that have nothing to do with disease?
# 3. If you train on some slices and test on others, what have you tested?
#
# The next cell holds what can be changed: which cohort, how many patients, the seed of all that is
# drawn by chance, the size of the images in pixels. The two numbers of epochs belong to later
# notebooks. Leave everything as it is the first time.
#
# `open_run` then gives the **run**, which all notebooks share. `run.table` has one row per slice;
# `run.volumes` holds the slices as the models see them; `run.part("train")` is the part of both
# that belongs to the training patients; and `run.describe()` says in words whose data they are.

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
# ## A slice, its channels, its mask
#
# **A [slice](../docs/glossary.md#slice)** is one horizontal cut through the head. Its three
# sequences are stored as the three **[channels](../docs/glossary.md#channel)** of one array, where
# a photograph has red, green and blue: 0 is T1 before contrast agent, 1 is FLAIR, 2 is T1 after
# contrast agent. **The [mask](../docs/glossary.md#mask)** says for every pixel whether it was
# counted as abnormal on FLAIR (255 in the file) or not (0).
#
# We begin with a typical patient: the tumour is of middling size, all three sequences are there,
# and nothing lights up after contrast agent. The slice is the one in which the tumour is largest.

# %%
lights_up = statistics.enhancement(run.part("train"))  # which share of each tumour
typical = lights_up[lights_up["enhancing"] < 0.005].sort_values("tumour_px")
patient = typical["patient"].iloc[len(typical) // 2]

rows = run.table[run.table["patient"] == patient]
row = rows.loc[rows["tumour_px"].idxmax()]
image, mask = read_slice(row["image_path"]), read_mask(row["mask_path"])
figure = plots_cohort.channels(image, mask, f"{patient}, slice {row['slice']}; {run.describe()}")

# %% tags=["hide-input"]
alt = (
    f"Slice {row['slice']} of {patient} as three grey images, one colour image and a mask. "
    f"The tumour, {100 * mask.mean():.1f} % of the image, is bright on FLAIR."
)
show(figure, alt, run.figures, "01_channels")
inside = np.median(image[mask > 0], axis=0)
around = np.median(image[(mask == 0) & (image[..., 1] > 20)], axis=0)
lit, known = (lights_up["enhancing"] >= 0.005).sum(), lights_up["enhancing"].notna().sum()
display(
    Markdown(
        "**What it shows.** Median grey levels in the tumour and in the rest of the head: "
        f"{inside[1]:.0f} against {around[1]:.0f} on FLAIR, {inside[0]:.0f} against "
        f"{around[0]:.0f} before contrast agent, {inside[2]:.0f} against {around[2]:.0f} after it. "
        "The tumour is bright on FLAIR, and the contrast agent lights nothing up in it. It covers "
        f"{100 * mask.mean():.1f} % of the image. Tumours that do light up, often as a ring, are "
        f"the exception: {lit} of the {known} training patients who have all three sequences."
    )
)

# %% tags=["nbval-check-output"]
print("slice:", image.shape, image.dtype)
print("mask: ", mask.shape, mask.dtype, "values", np.unique(mask).tolist())
print("channel 1, FLAIR:", image[..., 1].shape)

# %% [markdown]
# Channels are the *last* axis here, `(height, width, channel)`, as Keras expects by default. The
# colour image is only what an image viewer makes of the file: violet and green mean nothing. In a
# patient whose tumour lights up, the third image would differ most from the first.
#
# ## A volume
#
# **A [volume](../docs/glossary.md#volume)** is all slices of a patient, in order from the neck to
# the crown: an array of `(slices, height, width, channels)`.
#
# *Predict before you run: in how many of this patient's slices do you expect tumour, and will they
# be next to each other?*

# %%
volume = read_volume(rows)
masks = np.stack([read_mask(path) for path in rows["mask_path"]])
figure = plots_cohort.volume_strip(volume, masks, patient, run.describe())
print(f"volume: {volume.shape}, {volume.nbytes / 1e6:.1f} MB")

# %% tags=["hide-input"]
with_tumour = rows.loc[rows["has_tumour"], "slice"]
first, last = with_tumour.min(), with_tumour.max()
alt = (
    f"All {len(rows)} FLAIR slices of {patient} from bottom to top. The tumour begins at slice "
    f"{first} and ends at slice {last}; from slice to slice it changes its area, but stays in "
    "about the same place."
)
show(figure, alt, run.figures, "01_volume")
gaps = last - first + 1 - len(with_tumour)
display(
    Markdown(
        f"**Your prediction.** {len(with_tumour)} of {len(rows)} slices show tumour: slices "
        f"{first} to {last}, "
        + ("without a gap." if gaps == 0 else f"with {gaps} slices between them that do not.")
        + f" The area goes from {rows['tumour_px'].loc[with_tumour.index[0]]} pixels in slice "
        f"{first} up to {rows['tumour_px'].max()} in slice {row['slice']} and down to "
        f"{rows['tumour_px'].loc[with_tumour.index[-1]]} in slice {last}. The lowest slices show "
        "the face and the neck."
    )
)

# %% [markdown]
# A tumour is a body in space. It is cut by a run of neighbouring slices, and each of these
# resembles its neighbours, although the tumour may grow to two or three times its area from one
# slice to the next. In another patient the run begins elsewhere and is longer or shorter, and
# sometimes a second, separate piece appears; that neighbours look alike holds for all of them. Keep
# it in mind: it is the main point of this notebook.
#
# ### Scroll for yourself
#
# A radiologist does not look at rows of small images, but scrolls. So can you, through three of the
# training patients: move the slider, turn the mouse wheel over the image, or click on it and press
# the arrow keys. Follow a tumour from its lowest slice to its highest. Then stop in the middle of
# it, hide the outline, and switch between the sequences: *where would you have drawn the border,
# and could you have drawn it without FLAIR?* (The viewer needs a running notebook; wherever this
# page is only displayed, five slices of each patient stand in its place. Where fewer show tumour,
# a slice beyond its end is among them: what may still be bright there was too little to outline.)

# %%
from utils.cohort.table import true_masks
from utils.plots.viewer import Case, SliceViewer

smallest = lights_up.loc[lights_up["tumour_px"].idxmin(), "patient"]
brightest = lights_up.loc[lights_up["enhancing"].idxmax(), "patient"]
to_scroll = {"typical": patient, "smallest tumour": smallest, "lights up most": brightest}
rows_of = {name: run.table[run.table["patient"] == name] for name in to_scroll.values()}
cases = [
    Case(f"{name} ({why})", read_volume(rows_of[name]), true_masks(rows_of[name]))
    for why, name in to_scroll.items()
]
alt = (
    f"FLAIR slices from the lowest to the highest with tumour, with the true outline, of "
    f"{patient} (typical), {smallest} (the smallest tumour) and {brightest} (lights up most)."
)
SliceViewer(cases, run.describe("train"), alt).show()

# %% tags=["hide-input"]
counts = [int(rows_of[name]["has_tumour"].sum()) for name in to_scroll.values()]
share = lights_up.loc[lights_up["enhancing"].idxmax(), "enhancing"]
display(
    Markdown(
        f"**What you see.** The tumours run through {counts[0]}, {counts[1]} and {counts[2]} "
        "slices. On FLAIR the border is easiest to follow; before contrast agent a tumour is a "
        "darker patch in some patients, and hardly visible in others. "
        + (
            f"In {brightest}, {100 * share:.0f} % of the tumour lights up after contrast agent: "
            "compare the first sequence with the third. "
            if share >= 0.005
            else "In none of them does the contrast agent light anything up. "
        )
        + "The outline follows what is bright on FLAIR in all three."
    )
)

# %% [markdown]
# ### Exercise 1.1 · How large is a volume?
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
# ## The cohort as a table
#
# On disk a patient is a folder, and a slice is an image with a mask of the same size beside it:
#
# ```
# <patient>/<patient>_1.tif   <patient>/<patient>_1_mask.tif
# <patient>/<patient>_2.tif   <patient>/<patient>_2_mask.tif   …
# ```
#
# `open_run` has checked every file and made a table of it, **one row per slice**.

# %%
print(run.describe())
run.table[["patient", "institution", "slice", "tumour_px", "has_tumour"]].sample(
    6, random_state=seed
).sort_index()

# %% tags=["nbval-check-output"]
print("patients:", run.table["patient"].nunique())
print("slices:", len(run.table))
print("slices per patient:", *run.table.groupby("patient").size().agg(["min", "max"]))
print("every slice once:", not run.table.duplicated(["patient", "slice"]).any())
print("patients by institution:", run.split["institution"].value_counts().sort_index().to_dict())

# %% [markdown]
# The letters in the second part of a patient's name are the [tissue source
# site](../docs/glossary.md#tissue-source-site): the institution that sent the patient's tissue and
# scans to The Cancer Genome Atlas (TCGA), in [its code
# table](https://gdc.cancer.gov/resources-tcga-users/tcga-code-tables/tissue-source-site-codes).
#
# | code | tissue source site | real patients |
# |---|---|---|
# | CS | Thomas Jefferson University | 16 |
# | DU | Henry Ford Hospital | 45 |
# | EZ | University of North Carolina (UNC) | 1 |
# | FG | Case Western | 14 |
# | HT | Case Western – St Joe's | 34 |
#
# The simulated cohort borrows the codes and the proportions, and gives each site its own habits of
# scanning. A single patient, as in EZ, tells nothing about a site: figures by institution leave EZ
# out, or count it and nothing more.

# %% [markdown]
# ### Exercise 1.2 · Whose slice is it?
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
    """Return the name of the patient that an image or mask belongs to.

    Parameters
    ----------
    path : str or pathlib.Path
        ``<patient>/<file>.tif``, with any folders before it.
    """
    return Path(path).parent.name


# %% tags=["nbval-check-output"]
check.patient_of(patient_of)

# %% [markdown]
# ## Six patients
#
# From the smallest tumour to the largest, by the pixels in all slices together, each in the slice
# where it is largest. These are the images that the models of the next notebooks will see: brought
# to a smaller size and to one common scale of grey, which is explained below.

# %%
by_patient = summarise_patients(run.table).sort_values("tumour_px", ignore_index=True)
chosen = by_patient["patient"].iloc[np.linspace(0, len(by_patient) - 1, 6).round().astype(int)]
largest = run.table.groupby("patient")["tumour_px"].idxmax()[chosen].tolist()
names = [f"{run.table.patient[place]}\nslice {run.table.slice[place]}" for place in largest]
images, outlines = run.volumes.images[largest], run.volumes.masks[largest]
figure = plots_cohort.gallery(images, outlines, names, run.describe())

# %% tags=["hide-input"]
area = run.table.tumour_px[largest].to_numpy()
alt = (
    "Six patients, one per column, in three channels. The tumour's border is drawn on FLAIR, where "
    "the tumour is brighter than its surroundings; from left to right its area is "
    f"{', '.join(map(str, area))} pixels."
)
show(figure, alt, run.figures, "01_gallery")
bright = [np.median(one[..., 1][shape > 0]) for one, shape in zip(images, outlines, strict=True)]
order = np.argsort(bright)
display(
    Markdown(
        f"**What it shows.** The largest of the six areas is {area.max() / area.min():.0f} times "
        "the smallest. On FLAIR the tumour's median grey level goes from "
        f"{bright[order[0]]:.0f} in {chosen.iloc[order[0]]} to {bright[order[-1]]:.0f} in "
        f"{chosen.iloc[order[-1]]}, on a scale on which the mean of every head is 96: some tumours "
        "shine, others are only a shade lighter than the brain around them."
    )
)

# %% [markdown]
# Look for what will make a threshold on brightness fail: bright places that are no tumour (at the
# skin, around the ventricles, and, in low slices of the head like those of the volume above, in the
# fat around the eyes), tumours with a dark core, and borders that fade out. With another seed you
# see six other patients; these three difficulties are in every cohort.
#
# ## How much tumour is there?
#
# *Predict before you run: what would a model score that answers "no tumour" for every slice?*

# %%
figure = plots_cohort.class_balance(run.table, run.describe())
share = run.table.groupby("patient")["has_tumour"].mean()
always_no = 1 - run.table["has_tumour"].mean()

# %% tags=["hide-input"]
alt = (
    "Stacked bars, one per patient: slices with tumour and without. The share with tumour goes "
    f"from {100 * share.min():.0f} % to {100 * share.max():.0f} %, median "
    f"{100 * share.median():.0f} %."
)
show(figure, alt, run.figures, "01_class_balance")
display(
    Markdown(
        f"**Your prediction.** Always answering 'no tumour' is right in {100 * always_no:.0f} % of "
        f"the slices ({run.describe()}). From patient to patient the share of slices with tumour "
        f"goes from {100 * share.min():.0f} % to {100 * share.max():.0f} %, with a median of "
        f"{100 * share.median():.0f} %. No patient is without tumour, and none has it in every "
        "slice."
    )
)

# %% tags=["nbval-check-output"]
counts = run.table["has_tumour"].value_counts()
print(f"slices with tumour: {counts[True]}, without: {counts[False]}")
both_kinds = share.between(0, 1, inclusive="neither").all()
print("every patient has slices of both kinds:", bool(both_kinds))

# %% [markdown]
# ### Exercise 1.3 · The share of slices with tumour
#
# Write `tumour_share(table, patient)`: the share, between 0 and 1, of one patient's slices that
# show tumour. `table` has one row per slice with the columns `patient`, `slice` and `tumour_px`,
# the number of pixels in the mask; a single pixel counts as tumour. What should happen for a
# patient who is not in the table? A quiet 0 would be read as "healthy": raise a `ValueError`.
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
# before you compute whether there are any. (`patient in table["patient"]` would look among the
# numbers of the rows, not among the names.)
# </details>


# %% tags=["solution"]
def tumour_share(table, patient):
    """Return the share of a patient's slices with tumour, 0 to 1.

    Parameters
    ----------
    table : pandas.DataFrame
        `patient, slice, tumour_px`, one row per slice.
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

# %% tags=["hide-input"]
alt = (
    f"Two histograms of tumour area. In slices with tumour it covers a median of {middle:.1f} % of "
    f"the image, 5th to 95th percentile {low:.1f} to {high:.1f} %."
)
show(figure, alt, run.figures, "01_tumour_sizes")
small = 100 * (areas < 1).mean()
display(
    Markdown(
        f"**What it shows.** In half of the slices with tumour it covers less than {middle:.1f} % "
        f"of the image, and in {small:.0f} % of them less than 1 %. A model that answers 'healthy' "
        f"for every pixel would be right in {100 - middle:.1f} % of the pixels of the median "
        f"slice, and still in {100 - high:.0f} % where the tumour is larger than in 19 of 20 "
        "slices."
    )
)

# %% [markdown]
# Small areas are the rule, partly because every tumour tapers off above and below. They are also
# the hardest: a border that is one pixel off hardly changes the overlap of a large tumour and ruins
# that of a small one. Notebook 4 reports sensitivity by size for that reason.
#
# ## Where tumours lie

# %%
figure = plots_cohort.tumour_heat_map(run.volumes.images, run.volumes.masks, run.describe())
often = run.volumes.masks.sum(axis=0, dtype=int)

# %% tags=["hide-input"]
down, across = 100 * np.array(np.unravel_index(often.argmax(), often.shape)) / size
covered = 100 * (often > 0).mean()
alt = (
    "The mean FLAIR image of all slices with tumour, and a map of how often each place is "
    f"tumour. {covered:.0f} % of the image is tumour in some slice; most often it is the place "
    f"{down:.0f} % of the way down and {across:.0f} % of the way across."
)
show(figure, alt, run.figures, "01_heat_map")
most = 100 * often.max() / (run.volumes.masks.any(axis=(1, 2)).sum())
side = "right" if across > 50 else "left"
display(
    Markdown(
        f"**What it shows.** {covered:.0f} % of the image is tumour in at least one slice. The "
        f"place that is tumour most often lies in the {side} half of the image, {down:.0f} % of "
        f"the way down, and even there it is tumour in only {most:.0f} % of the slices with "
        "tumour: a model that always drew the same spot would miss most of them."
    )
)

# %% [markdown]
# If the map were one small bright spot, a model could score well without looking. With another
# seed the brighter side can change, since a few large tumours decide it. Real tumours have their
# favourite places, too: of 132 patients with low-grade glioma, 27 % had it near the supplementary
# motor area, in the frontal lobe, and 25 % in the insula
# ([Duffau and Capelle 2004](https://doi.org/10.1002/cncr.20297)).
#
# ## What differs between institutions
#
# An MRI scanner's grey levels have **no unit**. The same tissue gets another number on another
# scanner, with another setting, or with another way of exporting the file. A model that has learnt
# "above 180 is tumour" at one hospital is useless at the next.

# %%
levels = statistics.head_grey_levels(run.table, seed=seed)
raw = levels.rename(columns={"raw": "value"})
figure = plots_cohort.intensity_by_institution(
    raw, run.describe(), "Grey levels in the files, by tissue source site"
)

# %% tags=["hide-input"]
sites = levels.groupby("institution")["patient"].nunique()
several = levels[levels["institution"].isin(sites.index[sites > 1])]
flair = several[several["channel"] == 1]
middle = flair.groupby("institution")["raw"].median()
alt = (
    "Grey levels of the head's pixels, one panel per channel, one line per tissue source site with "
    f"more than one patient. The lines do not coincide: the median on FLAIR goes from "
    f"{middle.min():.0f} ({middle.idxmin()}) to {middle.max():.0f} ({middle.idxmax()})."
)
show(figure, alt, run.figures, "01_grey_levels_raw")
means = flair.groupby(["institution", "patient"])["raw"].mean()
site = means.groupby("institution").agg(np.ptp).idxmax()
display(
    Markdown(
        f"**What it shows.** On FLAIR the median grey level goes from {middle.min():.0f} in "
        f"{middle.idxmin()} to {middle.max():.0f} in {middle.idxmax()}. The patients of a single "
        f"site differ, too: in {site} the means of their heads go from {means[site].min():.0f} to "
        f"{means[site].max():.0f}."
    )
)

# %% tags=["hide-input"]
phase = statistics.even_images(several)
in_training = run.split["patient"].isin(phase) & (run.split["part"] == "train")
if phase:
    display(
        Markdown(
            f"The narrow peak before contrast agent comes from {len(phase)} patients "
            f"({', '.join(phase)}) whose image is an even grey with nothing but edges in it: a "
            "phase image stored in the place of the usual one, as happened in the real cohort, "
            "too. Such a file raises no error; somebody has to look. "
            + (
                f"Of these patients, {in_training.sum()} will be used for training."
                if in_training.any()
                else "None of these patients will be used for training, so the models of the next "
                "notebooks never learn what such an image looks like."
            )
        )
    )

# %% [markdown]
# The remedy is **[normalisation](../docs/glossary.md#normalisation) by volume**: for every patient
# and channel, subtract the mean of the pixels inside the head and divide by their standard
# deviation. The result, the [z-score](../docs/glossary.md#z-score), is stored as `96 + 40 · z`,
# rounded and clipped to 0…255, which keeps one byte per pixel.
#
# - By *volume*, not by slice: how bright one slice is compared with its neighbours says something
#   about the tissue, and a slice full of tumour must not be dimmed for it.
# - Over the *head*: the black background would otherwise decide the mean.
# - With the patient's *own* numbers: nothing from other patients flows in, so nothing can leak.
#
# *Predict before you run: will the lines coincide afterwards?*

# %%
figure = plots_cohort.intensity_by_institution(
    levels.rename(columns={"normalised": "value"}),
    run.describe(),
    "The same after normalisation by volume",
)

# %% tags=["hide-input"]
normalised = flair.groupby("institution")["normalised"].median()
low, high = normalised.idxmin(), normalised.idxmax()
alt = (
    "The same three panels after normalisation. The lines lie closer together: the median on FLAIR "
    f"goes from {normalised.min():.0f} ({low}) to {normalised.max():.0f} ({high})."
)
show(figure, alt, run.figures, "01_grey_levels_normalised")
spread = [statistics.spread_between_patients(levels, name)[1] for name in ("raw", "normalised")]
display(
    Markdown(
        "**Your prediction.** The lines come close but do not coincide: the median on FLAIR still "
        f"goes from {normalised.min():.0f} in {low} to {normalised.max():.0f} in {high}. The means "
        f"of the patients on FLAIR, which were {spread[0]:.2f} standard deviations of a patient's "
        f"own pixels apart, are now {spread[1]:.2f} apart. That is chance: only a few hundred "
        "pixels of each patient were drawn for this figure."
    )
)

# %% tags=["nbval-check-output", "hide-input"]
spread_raw, spread_normalised = (
    statistics.spread_between_patients(levels, column) for column in ("raw", "normalised")
)
for channel, name in enumerate(CHANNELS):
    closer = spread_normalised[channel] < spread_raw[channel] / 2
    print(f"{name}: patients' means less than half as far apart as before: {closer}")

# %% [markdown]
# That the means now agree is no discovery: we made them agree. Two things remain different, for
# every seed: the *shape* of each line, which is the contrast between tissues, and the noise.
# Normalisation takes away the scale of a scanner, but not the way in which its images look.

# %% [markdown]
# ### Exercise 1.4 · Normalise a channel
#
# Write `normalise(channel, head)` as described above: with the mean and the standard deviation of
# the pixels inside the head, all slices together, make `96 + 40 · z`, rounded, clipped to 0…255, as
# `uint8`, for *all* pixels. `channel` is a `uint8` array of shape `(slices, height, width)`, `head`
# a bool array of the same shape. What is the z-score of a channel that has one single value in the
# head? Let it become 96 everywhere, outside the head too.
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
no_pre, no_post = missing["pre_contrast"], missing["post_contrast"]
print("patients without pre-contrast: ", no_pre.sum())
print("patients without post-contrast:", no_post.sum())
print("patients without either:       ", (no_pre & no_post).sum())

# %%
missing[no_pre | no_post].merge(run.split[["patient", "part"]], on="patient")

# %% [markdown]
# We keep these patients: leaving them out would make the test easier than the hospital. Instead,
# training sometimes replaces a channel by FLAIR on purpose (notebook 3), so that the model has met
# the case.
#
# ## How alike are neighbouring slices?
#
# Now the main point. We correlate FLAIR slices pixel by pixel (1: alike but for brightness and
# contrast, 0: unrelated). First slices of the same patient that are 1, 2, 3, 5 or 8 slices apart;
# then, for comparison, slices of *different* patients at the same height of the head.

# %%
pairs = statistics.slice_similarity(run.volumes.images, run.volumes.table, seed=seed)
figure = plots_cohort.neighbour_similarity(pairs, run.describe())

# %% tags=["hide-input"]
same = pairs[pairs["pair"] == "same patient"].groupby("distance")["correlation"].median()
others = pairs.loc[pairs["pair"] == "another patient", "correlation"]
next_slice, stranger = same.iloc[0], others.median()
alt = (
    "Box plots of the correlation of two FLAIR slices. Medians by distance in one patient: "
    + ", ".join(f"{distance}: {value:.2f}" for distance, value in same.items())
    + f". Same height in another patient: {stranger:.2f}."
)
show(figure, alt, run.figures, "01_neighbours")
closest = pairs.loc[pairs["distance"] == 1, "correlation"]
display(
    Markdown(
        "**What it shows.** Two slices next to each other in one patient have a median "
        f"correlation of {next_slice:.2f}, two slices of different patients at the same height one "
        f"of {stranger:.2f}. In {100 * (closest > others.quantile(0.95)).mean():.0f} % of the "
        "pairs of neighbours the correlation is higher than in 95 % of the pairs of two patients."
    )
)

# %% [markdown]
# ### Exercise 1.5 · Read the figure
#
# Which of these readings do the numbers in the figure support? They are about the default cohort;
# another cohort may differ. Give the letters in one text, such as `"bd"`.
#
# - (a) By the medians, two slices of one patient are less alike the further they are apart.
# - (b) If at least one slice is left out between training and test, slices of one patient are as
#   foreign to each other as those of two patients.
# - (c) By the medians, two slices of one patient that are eight apart are hardly more alike than
#   slices of two patients.
# - (d) Neighbouring slices are alike because both show the tumour.
# - (e) Any two neighbouring slices are more alike than any two slices of different patients.
#
# <details><summary>Hint 1</summary>
#
# For each reading, find the boxes that it compares. Does it speak of medians, or of every single
# pair?
# </details>
#
# <details><summary>Hint 2</summary>
#
# A figure of correlations can say *that* slices are alike. What would it have to show besides to
# say *why*?
# </details>

# %% tags=["solution"]
similarity_readings = "ac"

# %% tags=["nbval-check-output"]
check.similarity_readings(similarity_readings)

# %% [markdown]
# The next slice of the same patient resembles a slice far more than most slices of another patient
# do. So what happens if the slices are shuffled and dealt out one by one, as a call of
# `train_test_split` on the table of slices would do? The test is then spoilt by
# [leakage](../docs/glossary.md#leakage): the model has met its test patients before.
#
# *Predict before you run: of the test slices, how many have the slice above or below in training?*

# %%
random = np.random.default_rng(seed)
by_slice = run.table[["patient", "institution", "slice"]].assign(
    part=random.choice(splits.PARTS, size=len(run.table), p=(0.6, 0.17, 0.23))
)
by_patient_split = by_slice.drop(columns="part").merge(run.split[["patient", "part"]], on="patient")

known = {}
for name, split in {"by slice": by_slice, "by patient": by_patient_split}.items():
    near = statistics.neighbour_in_training(split)[split["part"] == "test"]
    known[name] = near.mean()
    print(f"split {name}: {near.sum()} of {len(near)} test slices have a neighbour in training")
print(run.describe())

# %% tags=["hide-input"]
display(
    Markdown(
        f"**Your prediction.** Split by slice, {100 * known['by slice']:.0f} % of the test slices "
        "have the slice above or below in training. That follows from the shares alone: with 60 % "
        "of the slices in training, both neighbours of a slice are missing there in 0.4 · 0.4 = "
        "16 % of the cases, so 84 % have at least one (a little less in all, since the first and "
        "the last slice of a volume have only one neighbour). With 80 % in training it is 96 %. "
        f"Split by patient it is {100 * known['by patient']:.0f} %."
    )
)

# %% [markdown]
# ### Exercise 1.6 · Count the test slices that are known already
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
        `patient, slice, part`, one row per slice, in any order.
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
# training slice and **copies its answer**: tumour or not, and the whole mask. It knows nothing
# about tumours. How well the copied mask fits is measured by [Dice](../docs/glossary.md#dice), the
# overlap of two masks from 0 (none) to 1 (the same).
#
# *Predict before you run: how will it score under each split?*

# %%
truth, traced = run.volumes.labels, run.volumes.masks


def remember(split):
    """Score copying from the most similar training slice: sensitivity, specificity, Dice."""
    train, test = ((split["part"] == part).to_numpy() for part in ("train", "test"))
    source = statistics.most_similar(run.volumes.images, test, train)
    copied, right = traced[source], traced[test]
    overlap = (copied & right).sum(axis=(1, 2))
    dice = 2 * overlap / (copied.sum((1, 2)) + right.sum((1, 2)) + 1e-9)
    return {
        "tumour slices found": truth[source][truth[test]].mean(),
        "tumour-free slices left alone": 1 - truth[source][~truth[test]].mean(),
        "Dice of the copied mask, tumour slices": dice[truth[test]].mean(),
    }


scores = pd.DataFrame({"by slice": remember(by_slice), "by patient": remember(by_patient_split)})
print(f"copying the most similar training slice; {run.describe()}")
scores.round(2)

# %% tags=["hide-input"]
found, free, dice = (scores.loc[row] for row in scores.index)
display(
    Markdown(
        f"**Your prediction.** Split by slice, copying finds {100 * found['by slice']:.0f} % of "
        f"the tumour slices, and the copied masks reach a Dice of {dice['by slice']:.2f}. Split by "
        f"patient, it finds {100 * found['by patient']:.0f} % and reaches "
        f"{dice['by patient']:.2f}. Of the tumour-free slices it rightly leaves alone "
        f"{100 * free['by slice']:.0f} % and {100 * free['by patient']:.0f} %."
    )
)

# %% tags=["nbval-check-output", "hide-input"]
at_least_twice = bool(dice["by slice"] >= 2 * dice["by patient"])
print("the copied masks fit at least twice as well when split by slice:", at_least_twice)

# %% [markdown]
# Under a split by slice, memory alone looks like skill. The test has not measured whether the model
# recognises a tumour, but whether it recognises the *patient*. A network with millions of weights
# can remember too, and nobody can see from its score how much of it is memory. With another seed
# the numbers move by a few hundredths; the gap remains. That copying still finds more than guessing
# would for new patients has a simple reason: similar slices lie at a similar height, and tumours
# are commoner at some heights than at others.
#
# What a leak does to a result has been measured elsewhere: on four sets of brain MRI a split by
# slice raised the accuracy in the test by 29 to 55 %
# ([Yagis et al. 2021](https://doi.org/10.1038/s41598-021-01681-w)). The authors of our data split
# by patient and report a mean Dice of 0.82
# ([Buda et al. 2019](https://doi.org/10.1016/j.compbiomed.2019.05.002)).
#
# **The rule: whatever belongs together in the new case must stay together in the split.** A new
# case is a new patient, so we split patients. It is the same with several photographs of one animal
# or several recordings of one speaker.
#
# ## The split, and a check that fails loudly
#
# `run.split` has one row per patient. Patients are sorted by institution and by the size of the
# tumour, and each group of neighbours in this list is dealt out to the parts by chance, so that the
# parts resemble each other.

# %%
figure = plots_cohort.split_balance(run.table, run.split, run.describe())
areas = run.table[run.table["has_tumour"]].groupby("patient", as_index=False)["tumour_px"].mean()
medians = areas.merge(run.split[["patient", "part"]]).groupby("part")["tumour_px"].median()
by_part = run.table.merge(run.split[["patient", "part"]]).groupby(["part", "patient"])
shares = by_part["has_tumour"].mean().groupby("part").median()

# %% tags=["hide-input"]
alt = (
    "Three panels compare training, validation and test: the mix of institutions, the share of "
    "slices with tumour, and the size of the tumours. Mean area in tumour slices, median patient: "
    + ", ".join(f"{part} {medians[part]:.0f} px" for part in splits.PARTS)
    + "."
)
show(figure, alt, run.figures, "01_split")
of_slices = [f"{100 * shares[part]:.0f} %" for part in splits.PARTS]
display(
    Markdown(
        "**What it shows.** The parts are similar, not equal. The median patient's share of slices "
        f"with tumour is {of_slices[0]} in training, {of_slices[1]} in validation and "
        f"{of_slices[2]} in the test; in the slices that show it, the median patient's tumour "
        f"covers a mean of {medians['train']:.0f} pixels in training, {medians['validation']:.0f} "
        f"in validation and {medians['test']:.0f} in the test. With so few patients no split is "
        "perfectly balanced, and another seed gives other differences of this kind."
    )
)

# %% tags=["nbval-check-output"]
parts = run.table.merge(run.split[["patient", "part"]], on="patient")
parts.groupby("part").agg(
    patients=("patient", "nunique"), slices=("slice", "size"), with_tumour=("has_tumour", "sum")
).loc[list(splits.PARTS)]

# %% [markdown]
# **Training** patients are what the model learns from. On **validation** patients we choose: when
# to stop, which threshold. The **[held-out](../docs/glossary.md#held-out-patients)
# test** patients decide nothing: they are scored when every choice is made, for the numbers that we
# report. A choice made on test patients turns them into validation patients.
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
# patients. If the two were split separately, a test patient of one could be a training patient of
# the other, even though each split is by patient.
#
# The check compares names, so it is only as good as the names. A table that is passed on with
# notebooks about the real cohort, `data_mask.csv`, has a column `patient_id`; in its first twenty
# rows this column holds one and the same patient, while the paths beside it lead to the first
# slices of twenty different patients. By our count 3894 of its 3929 rows carry a wrong name
# ([source](../data/README.md)). Whoever splits by that column means to split by patient and deals
# out slices instead, and no check on the names can notice. That is why this course takes the
# patient from the path, as you did in exercise 1.2.

# %% [markdown]
# ### Exercise 1.7 · Hold patients out
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

# %% tags=["hide-input"]
explored = {
    "slices": len(run.table),
    "slices_with_tumour": int(run.table["has_tumour"].sum()),
    "missing_pre_contrast": int(no_pre.sum()),
    "missing_post_contrast": int(no_post.sum()),
    "median_correlation_next_slice": float(next_slice),
    "median_correlation_other_patient": float(stranger),
}
run.record({"exploration": explored})  # for the report of the run
print("split", splits.split_sha256(run.split)[:12])

# %% [markdown]
# ## Test yourself
#
# Answer before you unfold.
#
# **1.** A cohort has 60 patients with 24 slices each; a third of the slices show tumour. A detector
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
# (d) normalisation gives them the same mean and standard deviation, not the same pixels.
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
# slices next to those learnt. (b) the mean of a right and a wrong measurement measures nothing.
# (d) both are Dice on the same cohort; what differs is the question they answer.
# </details>
#
# **5.** A colleague reads in a newspaper: "The model finds brain tumours with a sensitivity of
# 95 %." It was tested on this course's real cohort. What may *not* be concluded?
#
# - (a) that it flagged 95 % of the tumour slices on which it was tested
# - (b) that it can be used to screen healthy people
# - (c) that it misses some tumour slices
# - (d) that the number depends on the threshold
#
# <details><summary>Answer</summary>
#
# **(b)**: every patient of the cohort has a tumour, so the test never asked how often the model
# sounds a false alarm in a person without one. (a), (c) and (d) follow from what sensitivity is.
# </details>

# %% [markdown]
# ## What you have seen
#
# **Key points**
#
# - Lower-grade gliomas are WHO grades 2 and 3; volume and border of what is bright on FLAIR guide
#   surgery and follow-up, and are mostly judged by eye today.
# - Everyone in this cohort has a tumour: it can teach to find slices and borders, not to screen.
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
# - D. N. Louis et al., *The 2021 WHO classification of tumors of the central nervous system: a
#   summary*, Neuro-Oncology 23 (2021): how gliomas are named and graded now.
#   [doi:10.1093/neuonc/noab106](https://doi.org/10.1093/neuonc/noab106)
# - J. S. Smith et al., *Role of extent of resection in the long-term outcome of low-grade
#   hemispheric gliomas*, Journal of Clinical Oncology 26 (2008): volumes on FLAIR, before and after
#   surgery. [doi:10.1200/JCO.2007.13.9337](https://doi.org/10.1200/JCO.2007.13.9337)
# - S. C. Thust et al., *Glioma imaging in Europe: a survey of 220 centres and recommendations for
#   best clinical practice*, European Radiology 28 (2018): what is measured in practice.
#   [doi:10.1007/s00330-018-5314-5](https://doi.org/10.1007/s00330-018-5314-5)
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
