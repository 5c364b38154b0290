# %% [markdown]
# # 8 · Your own patient: from a file to an answer, and when not to believe it
#
# So far all images came from one cohort and one layout, and the models had seen many like them.
# Here you bring a file of your own. A model answers whatever you give it: a patient, a patient with
# two sequences mixed up, a photograph of a cup. Getting an answer is the easy part. This notebook
# is about finding out whether the answer means anything.
#
# **What you will learn**
#
# - to read a volume in the [NIfTI](../docs/glossary.md#nifti) format, to tell from its
#   [affine](../docs/glossary.md#affine) where left, front and up are, and to write a mask back into
#   the same space, so that it can be measured in millimetres and millilitres;
# - to bring any scanner's grey levels to 8 bits;
# - to estimate how sure a model is, by comparing its answers to slightly changed copies of an
#   image;
# - to measure how far an image is from the training images, to choose a limit, and to find out what
#   that limit lets through.
#
# **What you need**: notebooks 2 and 3 (their models; if they are missing they are trained first,
# which takes a few minutes). Otherwise about a minute, and 1.8 GB of memory. With the five
# exercises, plan 90 minutes. Terms are explained in the [glossary](../docs/glossary.md).

# %% [markdown]
# ## The questions
#
# 1. What does a file have to say about itself before a model may see it?
# 2. How different would the answer be if the image were a little different?
# 3. Which images should the model have refused, and which of them do we notice?
#
# By default the "own" patient is a held-out patient of the run's **simulated cohort**, whom the
# notebook first writes to NIfTI files. With a file of your own, take the numbers as an exercise.
#
# > **Not for clinical use.** The models here have seen a few dozen patients, by default simulated
# > ones. Nothing that they say about a real scan may guide the care of a person.

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
import nibabel
import numpy as np
import pandas as pd
from IPython.display import Markdown, display

from utils import check
from utils.course import workers
from utils.course.run import open_run
from utils.evaluation.agreement import agreement, pixel_reliability
from utils.evaluation.segmentation import dice, hd95
from utils.models import test_time_augmentation
from utils.models.inference import predict_images, resize_probabilities
from utils.models.postprocessing import postprocess
from utils.models.predict import slice_probabilities
from utils.patient import perturbations
from utils.patient.axial import PIXEL_MM
from utils.patient.nifti import read_nifti
from utils.patient.read import read_patient, save_masks
from utils.plots import patient as plots_patient
from utils.plots.style import show

run = open_run(cohort, data, run_folder, seed, patients, size, detector_epochs, segmenter_epochs)

# %% [markdown]
# ## Your patient goes here
#
# **This is the cell to change.** Give the path of
#
# - a folder with one NIfTI file per sequence, their names containing `pre` (or `t1`), `flair`, and
#   `post` (or `t1ce`), and optionally `mask` (or `seg`); names as in BIDS, BraTS and TCIA are
#   understood, and where one can be read in two ways you are asked to rename the file; or
# - one NIfTI file: FLAIR alone, or pre-contrast, FLAIR and post-contrast along its fourth axis; or
# - the folder of one patient in the cohort's layout, `<patient>/<patient>_<n>.tif`.
#
# Left empty, the notebook takes its example. All sequences must lie on one grid of voxels, in
# whatever order of the axes; tools such as ANTs or FSL's FLIRT bring them there. DICOM series
# become NIfTI with `dcm2niix`. Below it is printed which file serves as what: compare.

# %%
my_patient = ""  # a folder or file of your own

# %%
workers.train_missing(run)  # nothing to do after notebooks 2 and 3

from utils.cohort.features import picture_features
from utils.course import detector, robustness, segmenter  # loads TensorFlow
from utils.evaluation import out_of_distribution

person = read_patient(my_patient or robustness.export_example(run))
example = f"{run.describe('test')}: {person.name}, as NIfTI"
SOURCE = f"your own patient, {person.name}" if my_patient else example
print(f"{person.name}:", *person.images.shape)
for line in [*person.files(), *(f"note: {note}" for note in person.notes)]:
    print(line)

# %% [markdown]
# ## What a file says about itself
#
# A TIFF file is an image: it has a top and a left edge, and that is all it knows. A NIfTI file is a
# **volume in space**. Beside the array it holds the *affine*, a matrix $A$ of four rows and four
# columns that turns the indices of a [voxel](../docs/glossary.md#voxel) into millimetres:
#
# $$(x, y, z, 1)^T = A\,(i, j, k, 1)^T$$
#
# with $x$ to the patient's **R**ight, $y$ forwards (**A**nterior), $z$ up (**S**uperior). Column 1
# of $A$ is thus one step along the *first* axis of the array, in mm. Files differ in which axis
# runs where; the affine is the only way to know.

# %%
volume, grid = read_nifti(robustness.export_example(run) / "flair.nii.gz")
print("our example's FLAIR (what you gave in my_patient is read in the same way)")
print(f"shape {volume.shape}, values {volume.min():.0f} to {volume.max():.0f}")
print(np.array2string(grid.affine, precision=3, suppress_small=True))

# %% [markdown]
# *Predict before you run: along the first axis of this array, do you move to the patient's left or
# right?*

# %% tags=["nbval-check-output"]
letters = nibabel.aff2axcodes(grid.affine)
print("axes point to:", *letters)

# %% tags=["hide-input"]
side = {"L": "left", "R": "right"}.get(letters[0], "neither left nor right")
display(
    Markdown(
        f"**Your prediction.** The first column of the affine is ({grid.affine[0, 0]:.3f}, "
        f"{grid.affine[1, 0]:.3f}, {grid.affine[2, 0]:.3f}): one step along the first axis changes "
        f"$x$ by {grid.affine[0, 0]:.3f} mm, and $x$ counts to the right. So you move to the "
        f"patient's {side}."
    )
)

# %% [markdown]
# ### Exercise 8.1 · Which way is up?
#
# Write `axis_letters(affine)`, which returns the three letters as one string: `"RAS"` for the
# identity matrix. The letter of an axis of the array says where a step along it *leads* to: R or L,
# A or P (posterior), S or I (inferior). In a tilted volume a step leads in several directions at
# once: take the one in which it is longest. Do it with NumPy, without nibabel.
#
# <details><summary>Hint 1</summary>
#
# Only the upper left 3 x 3 part of the matrix has to do with directions; the last column says where
# voxel (0, 0, 0) lies. Take its columns one after the other.
# </details>
#
# <details><summary>Hint 2</summary>
#
# In a column, the place of the number with the largest absolute value says left-right, front-back
# or up-down; its sign says which of the two.
# </details>


# %% tags=["solution"]
def axis_letters(affine):
    """Return where the axes of an array point to, such as "RAS", from its affine (4, 4)."""
    letters = ""
    for step in affine[:3, :3].T:
        direction = np.abs(step).argmax()
        letters += ("RAS" if step[direction] > 0 else "LPI")[direction]
    return letters


# %% tags=["nbval-check-output"]
check.axis_letters(axis_letters)

# %% [markdown]
# `read_patient` used the affine to turn the array into the cohort's view: axial slices from the
# neck upwards, the brow at the top, the patient's right on the left of the image (the *radiological
# convention*: as if you stood at the patient's feet). It only swaps and reverses axes; a tilted
# head stays tilted. Then it brings pixels to 0.94 mm and the frame to 256 x 256, so that a head is
# as large as in training. The frame is centred on the file, or on the head where that would cut it;
# if the head is too large for it, a note says how much is lost.
#
# Next, grey levels. A scanner may write values from 0 to 4095, or from -3 to 1.7. The models expect
# what the normalisation of notebook 1 makes of 8-bit images, so the values are brought to 0…255.
# *Predict before you go on: what happens to the image if one single voxel is a hundred times as
# bright as all others, and you scale by the smallest and the largest value?*
#
# ### Exercise 8.2 · Eight bits, whatever comes
#
# Write `to_8_bit(values)`: linear, the 0.1th percentile becomes 0 and the 99.9th 255, rounded to
# the nearest whole number; what lies outside is clipped. It returns `uint8`, of the same shape.
# Mind arrays of integers, negative values, and an image that is the same everywhere: there is
# nothing to see in it, so let it be black.
#
# <details><summary>Hint 1</summary>
#
# `np.percentile(values, [0.1, 99.9])` gives both ends. What do you divide by when they are equal?
# </details>
#
# <details><summary>Hint 2</summary>
#
# Compute in float, clip to 0…255, round, and convert last: `astype(np.uint8)` cuts off what is
# behind the decimal point, and lets 256 become 0.
# </details>


# %% tags=["solution"]
def to_8_bit(values):
    """Return values of any scale as uint8, clipped at the 0.1th and the 99.9th percentile."""
    low, high = np.percentile(values, [0.1, 99.9])
    if high == low:
        return np.zeros(values.shape, np.uint8)
    scaled = 255 * (values - low) / (high - low)
    return np.round(np.clip(scaled, 0, 255)).astype(np.uint8)


# %% tags=["nbval-check-output"]
check.to_8_bit(to_8_bit)

# %% [markdown]
# Your prediction: scaled by the extremes, the one voxel becomes 255 and the brightest of all others
# 255/100, rounded 3. The image is black. A percentile is not moved by a single voxel.
#
# `read_patient` does the same as your function, but takes its percentiles over the *head* alone.
# Files have more or less air around it, stored as 0, as noise or as -1024; if the air had a say,
# the same head would have other grey levels in a larger field of view.
#
# Now look. Always look before you predict: is the brow at the top, is the head whole, does the
# second row look like FLAIR (dark ventricles), are the three rows different?

# %%
shown = np.linspace(0, len(person.images) - 1, 7).round().astype(int)[1:-1]
figure = plots_patient.sequences(person.images, shown, SOURCE)

# %% tags=["hide-input"]
from utils.cohort.volumes import head_pixels

alt = (
    f"Five of the {len(person.images)} slices of {person.name} from the neck upwards, one per "
    "column, in three rows: pre-contrast, FLAIR, post-contrast."
)
show(figure, alt, run.figures, "08_patient")
slice_mm = person.grid.voxel_mm[2] if person.grid else None
pixel_mm = PIXEL_MM if person.grid else None
if person.grid:
    wide = head_pixels(person.images).any(axis=1).sum(axis=1).max() * PIXEL_MM
    display(
        Markdown(
            f"**What it shows.** {len(person.images)} slices, {slice_mm:.1f} mm from one to the "
            f"next, cover {len(person.images) * slice_mm:.0f} mm. Where it is widest, the head "
            f"measures {wide:.0f} mm from left to right. Adult heads are roughly 150 mm wide, so "
            "the voxels have a plausible size; 15 or 1500 mm would mean a wrong header."
        )
    )

# %% [markdown]
# ## Predict
#
# The same steps as for any patient of the cohort: normalise the volume, resize, predict, bring the
# maps back to 256 x 256, and postprocess with what was chosen on validation patients.

# %%
segment, settings = segmenter.load_or_train(run)
detect, decided = detector.load_or_train(run)

pictures = person.pictures(size)
maps = predict_images(segment, pictures)
p_tumour = slice_probabilities(predict_images(detect, pictures), maps, decided)
masks = postprocess(resize_probabilities(maps, person.images.shape[1:3]), settings)

# %% tags=["nbval-check-output"]
print("images:", pictures.dtype, pictures.shape[1:], "in three sequences")
print("one probability per slice:", p_tumour.shape == (len(person.images),))
print("masks of the size of the slices:", masks.shape == person.images.shape[:3])

# %%
areas = masks.sum(axis=(1, 2)) * PIXEL_MM**2 / 100
threshold = decided["threshold"]
figure = plots_patient.along_slices(p_tumour, threshold, areas, SOURCE, slice_mm)

# %% tags=["hide-input"]
flags, draws = p_tumour >= threshold, areas > 0
alt = (
    f"Above, the detector's probability for each slice; it flags {flags.sum()} of {len(flags)} "
    f"slices. Below, the area that the segmenter draws, on {draws.sum()} slices, at most "
    f"{areas.max():.1f} cm²."
)
show(figure, alt, run.figures, "08_along_slices")
apart = [str(number) for number in np.flatnonzero(flags != draws) + 1]
display(
    Markdown(
        f"**What it shows.** The detector flags {flags.sum()} slices, the segmenter draws on "
        f"{draws.sum()}. "
        + (
            f"They contradict each other in slice {', '.join(apart)}: look there first."
            if apart
            else "They agree in every slice."
        )
        + f" The largest area, {areas.max():.1f} cm², is in slice {areas.argmax() + 1}."
    )
)

# %% [markdown]
# The two models were trained separately on the same question. Where one flags slices and the other
# draws nothing, or the other way round, at least one of them is wrong; it is usually an end of the
# tumour, where little of it is left. With another patient or another training the slices are
# others.
#
# Numbers per slice do not show where the mask lies. So put it on top of the image:

# %%
drawn = np.flatnonzero(draws) if draws.any() else np.arange(len(masks))
places = np.unique(np.quantile(drawn, [0, 0.35, 0.7, 1]).round().astype(int))
figure = plots_patient.outlines(person.images, masks, person.truth, places, SOURCE, pixel_mm)

# %% tags=["hide-input"]
alt = (
    f"FLAIR in slices {', '.join(str(place + 1) for place in places)} of {person.name}, cut to the "
    "head, with what the segmenter draws (dashed)"
    + ("." if person.truth is None else " and what was traced (solid).")
)
show(figure, alt, run.figures, "08_outlines")

# %% tags=["hide-input"]
if person.truth is not None:
    traced = person.truth.any(axis=(1, 2))
    both = np.flatnonzero(traced & draws)
    unit, scale = ("mm", PIXEL_MM) if person.grid else ("pixels", 1)
    score = dice(person.truth, masks)
    text = f"**What it shows.** Over the whole volume the Dice of the two masks is {score:.2f}."
    if len(both):
        off = [scale * hd95(person.truth[place], masks[place]) for place in both]
        text += (
            f" In the {len(both)} slices that have both outlines, HD95, the distance within which "
            f"95 % of the two borders lie of each other, has a median of {np.median(off):.1f} "
            f"{unit} and reaches {max(off):.1f} {unit}."
        )
    for what, where in {"missed": traced & ~draws, "invented": draws & ~traced}.items():
        if where.any():
            numbers = ", ".join(map(str, np.flatnonzero(where) + 1))
            text += f" Tumour is {what} altogether in slice {numbers}."
    display(Markdown(text))

# %% [markdown]
# Now go through the patient slice by slice: move the slider, turn the mouse wheel over the image,
# or click on it and press the arrow keys. *Look for slices in which the outline jumps, or crosses
# something that looks healthy in one of the other sequences; then move the threshold, and see how
# much of the area hangs on it.* Where the file says how large a voxel is, areas are in cm² and the
# whole tumour is in ml.

# %%
from utils.plots.viewer import Case, SliceViewer

probability = resize_probabilities(maps, person.images.shape[1:3])
alt = (
    f"FLAIR slices of {person.name} through all that the segmenter draws, with its outline at a "
    f"threshold of {settings.threshold:g}"
    + (" and the traced one." if person.truth is not None else ".")
)
SliceViewer(
    [Case(person.name, person.images, person.truth, probability)],
    SOURCE,
    alt,
    threshold=settings.threshold,
    pixel_mm=pixel_mm,
    slice_mm=slice_mm,
).show()

# %% tags=["hide-input"]
areas_at = {t: (probability >= t).sum() for t in (0.25, 0.75)}
unit = "pixels"
if person.grid:
    unit, voxel_ml = "ml", PIXEL_MM**2 * slice_mm / 1000
    areas_at = {t: f"{count * voxel_ml:.1f}" for t, count in areas_at.items()}
display(
    Markdown(
        f"**What you see.** With a threshold of 0.25 the segmenter draws {areas_at[0.25]} {unit} "
        f"in all, with 0.75 it draws {areas_at[0.75]}. The difference is the rim in which it is "
        "undecided; where the rim is wide, the outline is a choice more than a finding."
    )
)

# %% [markdown]
# For a patient of your own there is usually no traced mask, and then nobody can tell you the Dice.
# That is the situation for which the second half of this notebook looks for substitutes.
#
# ## Save, in the space that the file came from
#
# A mask is of use to others only where it fits *their* volume. So the way in is walked backwards:
# crop the frame, resize, reverse and swap the axes, and write it with the affine of the original.
# Any viewer that shows both files will then lay the one on the other. For slices in TIFF, PNG files
# are all that can be written: there is no space to go back to.
#
# To **turn the tumour in three dimensions**, run `make demo` and open the page that it makes (the
# [README](../README.md#in-a-browser) says how): give it the same file, let it draw, and choose 3-D.
# Nothing leaves your browser. Medical viewers such as [NiiVue](https://niivue.com) and
# [3D Slicer](https://www.slicer.org) show a volume and its mask in the same way.

# %%
files = save_masks(person, masks, run.folder / "own_patient" / "masks")
for file in (files[0], files[-1]):
    print(file.relative_to(run.folder).as_posix())

# %% tags=["nbval-check-output"]
print("one PNG per slice:", len(person.images) == sum(file.suffix == ".png" for file in files))
if person.grid is not None:
    saved, own = nibabel.load(files[-1]), person.grid
    count = int(np.asarray(saved.dataobj).sum())
    resized = own.voxel_mm[0] != PIXEL_MM  # then the number of voxels is another
    print("mask on the grid of the file:", saved.shape == own.shape)
    print("same affine:", np.allclose(saved.affine, own.file_affine))
    print("same number of voxels drawn:", resized or count == int(masks.sum()))

# %% [markdown]
# ### Exercise 8.3 · The volume, from the affine alone
#
# A voxel of our example measures 0.9375 mm x 0.9375 mm x 6 mm, which is 5.3 mm³; about 190 of them
# make one millilitre (a cube of 10 mm). In general only the affine says how large a voxel is. Write
# `volume_ml(mask, affine)`: the volume of a mask in ml. The axes may run in any direction, be
# swapped or tilted; tumour may be marked by 1 or by 255.
#
# <details><summary>Hint 1</summary>
#
# The three columns of the affine are the edges of one voxel. They span a box, which may be turned
# in space; the diagonal of the matrix is its size only in the simplest case.
# </details>
#
# <details><summary>Hint 2</summary>
#
# The volume spanned by three vectors is the absolute value of a determinant. Count voxels with
# `np.count_nonzero`.
# </details>


# %% tags=["solution"]
def volume_ml(mask, affine):
    """Return the volume of what is not 0 in a mask, in ml."""
    return np.count_nonzero(mask) * abs(np.linalg.det(affine[:3, :3])) / 1000


# %% tags=["nbval-check-output"]
check.volume_ml(volume_ml)

# %% [markdown]
# ## How sure is the model? Ask it several times
#
# A probability of 0.97 sounds sure. But it comes from the very network whose judgement is in
# question. Another way to ask: change the image in ways that should **not** change the answer,
# predict again, undo the change on the map, and compare. This is
# [test-time augmentation](../docs/glossary.md#test-time-augmentation)
# ([Wang et al. 2019](https://doi.org/10.1016/j.neucom.2019.01.103)). Here there are six augmented
# predictions, the *members*: as it is, mirrored, shifted by three pixels down and three to the
# right (5.6 mm each at a size of 128), mirrored and shifted as far up and left, with less contrast,
# mirrored with more.
#
# - The **mean** of the members is often a slightly better map than any one of them.
# - The **standard deviation** shows *where* they disagree: usually along the border.
# - The **agreement**, the mean Dice over all pairs of members, says in one number how far they
#   agree ([Roy et al. 2019](https://doi.org/10.1016/j.neuroimage.2019.03.042)).

# %%
views = test_time_augmentation.VIEWS
spread = test_time_augmentation.spread(
    test_time_augmentation.predict_views(segment, pictures), settings
)
agreed = agreement(spread.masks)
busiest = int(spread.masks.sum(axis=(0, 2, 3)).argmax())  # the slice with the largest masks

member = {view.name: mask for view, mask in zip(views, spread.masks[:, busiest], strict=True)}
model_mm = 240 / size if person.grid else None  # of a pixel as the model sees it
mean, deviation = spread.mean[busiest], spread.deviation[busiest]
caption = f"{SOURCE}, slice {busiest + 1}"
figure = plots_patient.members(pictures[busiest], member, mean, deviation, caption, model_mm)

# %% tags=["hide-input"]
from scipy import ndimage

alt = (
    f"Slice {busiest + 1}: the outlines of {len(spread.masks)} members on FLAIR, their mean "
    f"probability, and their standard deviation, at most {deviation.max():.2f}. Mean Dice between "
    f"the members over the whole volume: {agreed:.2f}."
)
show(figure, alt, run.figures, "08_members")

# %% tags=["hide-input"]
core = spread.masks[0, busiest] > 0
border = ndimage.binary_dilation(core, iterations=2) & ~ndimage.binary_erosion(core, iterations=2)
unsure = deviation > 0.1
text = (
    f"**What it shows.** The members agree to {agreed:.2f}. In this slice their standard deviation "
    f"exceeds 0.1 in {unsure.sum()} pixels, "
    f"{100 * border[unsure].mean() if unsure.any() else 0:.0f} % of which lie within two pixels of "
    "the border that the model draws on the unchanged image."
)
if person.grid:
    ml = spread.masks.sum(axis=(1, 2, 3)) * slice_mm * model_mm**2 / 1000
    text += f" As volumes, the six answers go from {ml.min():.1f} to {ml.max():.1f} ml."
display(Markdown(text))

# %% [markdown]
# ## Does agreement tell right from wrong?
#
# That has to be *measured*, on patients whose truth is known and who were not used for training:
# the [validation patients](../docs/glossary.md#validation-patients). (To save time, here and in
# what follows only every second slice is looked at.) *Predict before you run: will the patient with
# the lowest agreement be the one with the lowest Dice?*

# %%
by_patient, members, truths = robustness.agreement_and_dice(run, segment, settings)
own_agreement = agreement(spread.masks[:3])  # the same three members as for the others
caption = f"{run.describe('validation')}; line: {person.name}"
figure = plots_patient.agreement_against_dice(by_patient, own_agreement, person.name, caption)

# %% tags=["hide-input"]
from scipy import stats

low, worst = (by_patient.loc[by_patient[name].idxmin()] for name in ("agreement", "dice"))
alt = (
    f"Each dot a validation patient. Agreement from {by_patient['agreement'].min():.2f} to "
    f"{by_patient['agreement'].max():.2f}, Dice from {by_patient['dice'].min():.2f} to "
    f"{by_patient['dice'].max():.2f}. The patient with the lowest agreement has Dice "
    f"{low['dice']:.2f}. The line at {own_agreement:.2f} is {person.name}."
)
show(figure, alt, run.figures, "08_agreement")
others = by_patient.drop(low.name)
rank = stats.spearmanr(others["agreement"], others["dice"]).statistic
same = "Yes: it is" if low["patient"] == worst["patient"] else "No: the lowest Dice has"
display(
    Markdown(
        f"**Your prediction.** {same} {worst['patient']}, with an agreement of "
        f"{worst['agreement']:.2f} and a Dice of {worst['dice']:.2f}. Without the patient whose "
        f"members agree least, the Dice of the other {len(others)} goes from "
        f"{others['dice'].min():.2f} to {others['dice'].max():.2f}, and the rank correlation of "
        f"agreement and Dice is {rank:.2f}."
    )
)

# %% [markdown]
# Low agreement is a good reason to look. High agreement is *not* a proof: it says that the answer
# does not depend on small changes, and a network can be wrong in the same way every time. A rank
# correlation of a handful of patients moves a lot with every training (of nine patients without any
# relation, one set in twenty exceeds 0.6 by chance), and one patient far from the others decides
# how the figure looks.
#
# ### And the probabilities themselves?
#
# Take all pixels of the validation patients to which the segmenter gives about 0.9. If 0.9 meant 9
# of 10, nine tenths of them would be tumour. Notebook 2 corrected this for the detector with a
# [temperature](../docs/glossary.md#temperature-scaling). The segmenter was trained with a loss of
# overlap, which rewards maps near 0 and 1, and its probabilities have not been calibrated.

# %%
tables = {
    "one prediction": pixel_reliability(members[0], truths),
    "mean of three": pixel_reliability(members.mean(axis=0), truths),
}
figure = plots_patient.reliability(tables, run.describe("validation"))

# %% tags=["hide-input"]
top = {name: table.iloc[-1] for name, table in tables.items()}
alt = "Share of tumour against probability, for pixels between 0.05 and 0.95. " + " ".join(
    f"{name}: where it says {row['predicted']:.2f}, {row['observed']:.2f} are tumour."
    for name, row in top.items()
)
show(figure, alt, run.figures, "08_reliability")
one, three = top.values()
display(
    Markdown(
        f"**What it shows.** Of the pixels that one prediction gives about {one['predicted']:.2f}, "
        f"{100 * one['observed']:.0f} % are tumour; with the mean of three members it is "
        f"{100 * three['observed']:.0f} % at {three['predicted']:.2f}."
    )
)

# %% [markdown]
# Where a curve lies below the diagonal, the network promises more tumour than there is; where
# above, less. Above at the low end and below at the high end is **overconfident**: too extreme both
# ways. Averaging members usually helps a little, by how much differs from training to training.
# Read the segmenter's maps as an order ("more likely here than there"), not as chances, unless you
# have calibrated them; on few patients that too is uncertain ([Mehrtash et al.
# 2020](https://doi.org/10.1109/TMI.2020.3006437)).
#
# ## Where it should not be believed
#
# Now the patient as it is, for comparison, and twelve images of which you should ask whether to
# believe the answer: the same patient mirrored (a wrong header), with FLAIR only (copies of it
# stand in for the other two, as notebook 1 found in the cohort), with sequences exchanged (a wrong
# file name), without skull (another pipeline), cut in another plane (swapped axes); then another
# organ, cells, and photographs, which come with scikit-image. None of them will raise an error.
#
# *Predict before you run: on which of the thirteen will the segmenter draw something, and on which
# will its members agree? (Three of the six are asked here, to save time.)*

# %%
inputs = robustness.unreliable_inputs(person)
answers = robustness.segment_in_views(segment, inputs, settings)

slices = [int(answer.mask.sum(axis=(1, 2)).argmax()) for answer in answers.values()]
chosen = list(zip(answers.values(), slices, strict=True))
figure = plots_patient.unreliable_inputs(
    [answer.pictures[place] for answer, place in chosen],
    [answer.mask[place] for answer, place in chosen],
    list(answers),
    f"{SOURCE}, and images from scikit-image",
    whole=perturbations.FOREIGN,
)

# %% tags=["hide-input"]
drawn = [name for name, answer in answers.items() if answer.mask.any()]
alt = (
    f"{len(answers)} images, normalised, as the FLAIR channel shows them, with what the "
    f"segmenter draws. Something is drawn on: {', '.join(drawn)}."
)
show(figure, alt, run.figures, "08_doubtful")
agreeing = [name for name in drawn if agreement(answers[name].spread.masks) >= 0.8]
display(
    Markdown(
        f"**Your prediction.** Something is drawn on {len(drawn)} of the {len(answers)}: "
        f"{', '.join(drawn)}. The members agree on it (0.8 or more) in {len(agreeing)}: "
        f"{', '.join(agreeing) or 'none'}."
    )
)

# %% [markdown]
# ## A distance to what is familiar
#
# The probabilities cannot tell: they compare tumour with no tumour, and "neither of what I know" is
# not among the choices. So we ask another question: *how far is this image from the training
# images?* ([Lee et al. 2018](https://arxiv.org/abs/1807.03888); for segmentation
# [González et al. 2022](https://arxiv.org/abs/2208.03217)).
#
# 1. The detector's $p = 1024$ pooled features describe each slice. Each feature is brought to mean
#    0 and standard deviation 1 over the *training* slices, which gives the vector $z$. The
#    covariance $\Sigma$ of $z$ over the training slices says which features go together.
# 2. The **Mahalanobis distance**, divided by the root of the number of features, is
#    $$d = \sqrt{\frac{z^T \Sigma^{-1} z}{p}}$$
#    If no features went together, it would be the root mean square of $z$: by how many standard
#    deviations a feature is off. The division makes distances from different sets of features
#    comparable; below you will see one with $p = 33$. With more features than slices $\Sigma$ has
#    no inverse; [Ledoit and Wolf 2004](https://doi.org/10.1016/S0047-259X%2803%2900096-4) say how
#    much to shrink it towards a multiple of the identity.
# 3. The limit comes from *validation* patients: at most 5 % of their slices lie beyond it.
#
# *Predict before you run: which of the thirteen lie beyond the limit?*

# %%
RATE = 0.05
features = {
    part: robustness.stored_features(run, detect, part) for part in ("train", "validation", "test")
}
familiar = out_of_distribution.fit_familiar(features["train"])
usual = {part: familiar.distance(own) for part, own in features.items()}
limit = out_of_distribution.threshold_at(usual["validation"], RATE)
far = robustness.distances(answers, detect, familiar)
for part, values in usual.items():
    print(f"{part}: {len(values)} slices, median distance {np.median(values):.2f}")
print(f"limit {limit:.2f}, from {run.describe('validation')}")

# %%
heads = {
    "train": "training patients",
    "validation": "validation patients",
    "test": "held-out patients",
}
rows = {heads[part]: values for part, values in usual.items()} | far
caption = f"{run.describe('validation')}; {SOURCE}; scikit-image"
figure = plots_patient.familiarity(rows, limit, RATE, caption)

# %% tags=["hide-input"]
beyond = {name: 100 * (values > limit).mean() for name, values in rows.items()}
alt = f"Distances of slices, one row per kind of image; the limit is at {limit:.2f}. " + " ".join(
    f"{name}: {share:.0f} % beyond." for name, share in beyond.items()
)
show(figure, alt, run.figures, "08_familiarity")
caught = [name for name in far if beyond[name] > 50]
display(
    Markdown(
        f"**Your prediction.** More than half of the slices lie beyond the limit for "
        f"{len(caught)} of the {len(far)}: {', '.join(caught) or 'none'}. Of the slices of the "
        f"held-out patients, {beyond['held-out patients']:.0f} % lie beyond it, where at most "
        f"{100 * RATE:.0f} % were intended: a limit chosen on a few patients does not hold "
        "exactly for others."
    )
)

# %% [markdown]
# ### Exercise 8.4 · Decide whether to believe
#
# Write `flagged(new, validation, rate)`. From the distances of validation slices it chooses the
# lowest limit (one of these distances) *above* which no more than a share `rate` of them lies; it
# returns a bool for each of the `new` distances: is it beyond the limit? A distance that is `nan`
# could not be measured: what would you rather do with such an image?
#
# <details><summary>Hint 1</summary>
#
# Sort the validation distances. With ten of them and a rate of 0.1, one may lie above the limit;
# with a rate of 0.05, none.
# </details>
#
# <details><summary>Hint 2</summary>
#
# `int(rate * len(validation) + 1e-9)` distances may lie above (`0.29 * 100` is a little less than
# 29); count that many from the end. Every comparison with `nan` is False: ask which slices are *not
# beyond*, and negate.
# </details>


# %% tags=["solution"]
def flagged(new, validation, rate):
    """Return for each new distance whether it is beyond the limit; bool, shape (n,)."""
    ordered = np.sort(validation)
    limit = ordered[len(ordered) - 1 - int(rate * len(ordered) + 1e-9)]
    return ~(np.asarray(new) <= limit)


# %% tags=["nbval-check-output"]
check.flagged(flagged)

# %% [markdown]
# ## Distance and agreement side by side
#
# `distance` is the median over the slices; an image counts as `flagged` here if more than half of
# them are beyond the limit. `agreement` is that of the members, and `drawn` the share of slices on
# which something is drawn. Where the truth is known (the same patient, cut in the same plane),
# `dice` says whether the answer was right. As above, it is every second slice, at the size of the
# network, so this Dice is not that of the first section.

# %%
table = robustness.summary(answers, far, limit)
print(SOURCE)
table.round(2)

# %% [markdown]
# ### Exercise 8.5 · Read the figure and the table
#
# Which of these readings do the numbers support? They are about the default cohort; with a patient
# of your own they may differ. Give the letters in one text, such as `"bc"`.
#
# - (a) The distance tells photographs and microscope images from heads.
# - (b) What lies below the limit has been segmented correctly.
# - (c) The larger the distance, the lower the Dice.
# - (d) Had the limit been chosen on the training slices, most slices of new patients would lie
#   beyond it.
# - (e) At any other hospital, about 5 % of the slices will be flagged.
#
# <details><summary>Hint 1</summary>
#
# A single row of the table is enough to refute a general statement. Which rows have a Dice?
# </details>
#
# <details><summary>Hint 2</summary>
#
# For (d), imagine the dashed line moved to the end of the row of the training patients.
# </details>

# %% tags=["solution"]
distance_readings = "ad"

# %% tags=["nbval-check-output"]
check.distance_readings(distance_readings)

# %% tags=["hide-input"]
as_it_is, swapped, stripped = (
    table.loc[name] for name in ("as it is", "FLAIR and post exchanged", "skull-stripped")
)
easy = out_of_distribution.threshold_at(usual["train"], RATE)
share = 100 * (usual["test"] > easy).mean()
planes = table.loc[["coronal slices", "sagittal slices"], "agreement"]
changed = f"the Dice from {as_it_is['dice']:.2f} to {swapped['dice']:.2f}"
without_skull = f"the Dice {stripped['dice']:.2f}"
if person.truth is None:
    changed = without_skull = "the Dice is unknown"
display(
    Markdown(
        "**What it shows.** With FLAIR and post-contrast exchanged, the median distance goes from "
        f"{as_it_is['distance']:.2f} to {swapped['distance']:.2f} (limit {limit:.2f}), {changed}, "
        f"and the agreement from {as_it_is['agreement']:.2f} to {swapped['agreement']:.2f}. "
        f"Without the skull the distance is {stripped['distance']:.2f} and {without_skull}. In "
        f"coronal and sagittal slices the members agree to {planes.iloc[0]:.2f} and "
        f"{planes.iloc[1]:.2f} on something that nobody has checked. A limit from the training "
        f"slices would be {easy:.2f}, and {share:.0f} % of the slices of the held-out patients "
        "would be beyond it: the covariance was fitted to the training slices, and with fewer "
        "slices than features it fits their accidents, too."
    )
)

# %%
wrong, unknown = table[table["dice"] < 0.5], table.loc["coronal slices":]
passed = {
    "wrong (Dice under 0.5), not flagged by distance": wrong.index[~wrong["flagged"]],
    "wrong, not flagged, and the members agree (0.8 or more)": wrong.index[
        ~wrong["flagged"] & (wrong["agreement"] >= 0.8)
    ],
    "no patient in axial slices, not flagged": unknown.index[~unknown["flagged"]],
    "no patient in axial slices, and the members agree": unknown.index[unknown["agreement"] >= 0.8],
}
for what, names in passed.items():
    print(f"{what}: {', '.join(names) or 'none'}")

# %% tags=["nbval-check-output", "hide-input"]
foreign = bool(table.loc[list(perturbations.FOREIGN), "flagged"].all())
medians = {part: np.median(values) for part, values in usual.items()}
print("photographs and microscope images, all flagged:", foreign)
print("the patient as it is, flagged:", bool(table.loc["as it is", "flagged"]))
nearer = bool(2 * medians["train"] < medians["validation"])
print("training slices lie less than half as far as validation slices (median):", nearer)

# %% [markdown]
# Take your time with the table; it holds the main lessons of this notebook.
#
# - **Other things are easy to notice.** Photographs and cells lie far beyond the limit. Heads cut
#   in another plane lie near it, on one side or the other depending on the training.
# - **Small mistakes with large consequences are hard to notice.** After FLAIR and post-contrast
#   have been exchanged, every slice still looks like a slice of a head, and the distance hardly
#   changes, although the mask is all wrong. Here it is the *agreement* that falls. A distance sees
#   what its features see, and these were trained to find tumours, not to tell T1 from FLAIR.
# - **Agreement fails in other cases.** Where no member draws anything they agree perfectly, as on
#   the cells and the photograph; and in coronal and sagittal slices they agree, though nobody has
#   checked what they draw. That they agree on a mask known to be wrong does not occur in this table
#   (of the default cohort); members of one network share its mistakes, so expect it.
# - **Missing sequences are let through, as intended**: they were part of the training. They cost
#   some Dice, and nothing warns of it.
# - **One good result is not a rule.** The skull-stripped head may be segmented well here. The model
#   has never seen one, and the next one may fail.
# - **A mirrored patient cannot be noticed.** Distance, agreement and Dice are nearly those of the
#   true image, because training mirrors images on purpose. Yet the tumour is now on the wrong side
#   of the body. No model in this course can notice; only the affine can, and somebody who looks.
#
# ### Would simpler features do?
#
# The same distance, with 33 plain numbers per slice (mean grey levels, edges, symmetry, how the
# sequences correlate) instead of the detector's features:

# %%
train, validation = (run.part(part).images[:: robustness.EVERY] for part in ("train", "validation"))
plain = out_of_distribution.fit_familiar(picture_features(train))
plain_limit = out_of_distribution.threshold_at(plain.distance(picture_features(validation)), RATE)
plain_far = {
    name: plain.distance(picture_features(answer.pictures)) for name, answer in answers.items()
}
shares = pd.DataFrame(
    {
        "detector's features": {name: (values > limit).mean() for name, values in far.items()},
        "plain numbers": {name: (own > plain_limit).mean() for name, own in plain_far.items()},
    }
)
print(f"share of slices beyond the limit ({SOURCE})")
shares.round(2)

# %% tags=["hide-input"]
only = {
    column: shares.index[(shares[column] > 0.5) & (shares.drop(columns=column).iloc[:, 0] <= 0.5)]
    for column in shares
}
display(
    Markdown(
        "**What it shows.** Flagged (more than half of the slices) with the detector's features "
        f"alone: {', '.join(only[shares.columns[0]]) or 'none'}; with the plain numbers alone: "
        f"{', '.join(only[shares.columns[1]]) or 'none'}."
    )
)

# %% [markdown]
# Other features notice other things, and miss other things. Choosing the features means choosing
# which kinds of unfamiliar images can be noticed at all, so a method that was only tested on
# photographs tells nothing about exchanged sequences. Before you believe an answer, go through this
# list:
#
# 1. **Header**: do the axes make sense, is the voxel size plausible, are all sequences on one grid?
# 2. **Look** at the three sequences, and at the mask on top of them.
# 3. **Distance**: is it beyond the limit? Then stop.
# 4. **Agreement**: do the members differ? Then a person has to draw.
# 5. **Population**: was anyone like this patient in training and in the evaluation? The model card
#    of notebook 4 says who was.
#
# The limit has a price. At a rate of 5 %, one slice in twenty is flagged of patients for whom all
# is well, more at a hospital with another scanner; a lower rate lets more pass. Which of the two
# errors is worse depends on what happens next with the patient, and no validation set can answer
# that.

# %% [markdown]
# ## Test yourself
#
# Answer before you unfold.
#
# **1.** The affine of a file is `[[0, 0, 5, -60], [-1, 0, 0, 80], [0, -1, 0, 90], [0, 0, 0, 1]]`.
# How are its slices (along the third axis) cut?
#
# - (a) axial
# - (b) coronal
# - (c) sagittal
# - (d) It cannot be said without the image.
#
# <details><summary>Answer</summary>
#
# **(c)**: a step along the third axis is the third column, 5 mm to the right; slices stacked from
# left to right are sagittal. (a) would need a step upwards and (b) one forwards or backwards. (d)
# is true of a TIFF; the affine is there so that nobody has to guess.
# </details>
#
# **2.** All members of a test-time augmentation agree with a Dice of 0.97. What do you know?
#
# - (a) The mask is right to about 3 %.
# - (b) The answer does not depend on the changes that were tried.
# - (c) The image resembles the training images.
# - (d) The probabilities are calibrated.
#
# <details><summary>Answer</summary>
#
# **(b)**, and no more. (a) is the tempting one: members of one network share its mistakes, and
# agree on them. (c) they agree on a photograph on which none draws anything, too. (d) agreement
# compares masks with each other, not probabilities with what came true.
# </details>
#
# **3.** Why is the limit of the distance chosen on validation and not on training patients?
#
# - (a) Training slices lie closer, because the covariance was fitted to them.
# - (b) There are too many training slices.
# - (c) Validation patients have larger tumours.
# - (d) It makes no difference.
#
# <details><summary>Answer</summary>
#
# **(a)**: with a limit from training slices, far more than 5 % of the slices of any new patient
# would be flagged. (b) more slices would only make it more exact. (c) the split balances sizes. (d)
# compare the medians that were printed: training slices lie less than half as far.
# </details>
#
# **4.** A colleague's FLAIR and post-contrast files have each other's names. What is most likely
# here?
#
# - (a) An error message.
# - (b) A large distance.
# - (c) A wrong mask, and a distance as usual.
# - (d) A right mask, since the network finds FLAIR by itself.
#
# <details><summary>Answer</summary>
#
# **(c)**: see the table. (a) the arrays themselves are valid. (b) is what one would hope, but the
# features hardly react. (d) the channels have fixed places; what stands in the second place is
# FLAIR to the network.
# </details>
#
# **5.** Your mask has 4000 voxels of 1 x 1 x 1 mm, a colleague's of the same tumour 800 voxels of
# 1 x 1 x 5 mm. Who found more?
#
# - (a) you
# - (b) the colleague
# - (c) neither, both are 4 ml
# - (d) It depends on the orientation.
#
# <details><summary>Answer</summary>
#
# **(c)**: 4000 x 1 mm³ = 800 x 5 mm³ = 4000 mm³ = 4 ml. (a) compares counts, which depend on the
# size of the voxels; (b) compares sizes of voxels; (d) turning a box does not change its volume.
# </details>

# %% [markdown]
# ## What you have seen
#
# **Key points**
#
# - A volume without its affine does not know left from right; a mask is written back into the space
#   that it came from, where it can be measured in mm and ml.
# - Grey levels are scaled by percentiles of the head, never by the extremes; an image of a single
#   grey level has to be thought of.
# - Predictions for changed copies show how far an answer depends on what should not matter. Whether
#   that predicts errors is measured on validation patients.
# - A network has no answer "I do not know this". A distance to the training slices gives it one,
#   with a limit chosen on validation patients and a stated rate of false positives.
# - Both miss something. Exchanged sequences and mirrored heads pass the distance, and members agree
#   perfectly where none of them draws anything.
#
# Back to [4 · Evaluate](04_evaluate.ipynb), whose model card says for whom these models were
# tested, or to [1 · Explore](01_explore.ipynb).

# %% [markdown]
# ## To think about
#
# 1. Which feature, or which check that needs no network at all, would notice exchanged sequences?
# 2. You want to lower the rate of false positives for *patients* rather than for slices. How many
#    validation patients do you need before a rate of 5 % means anything?
# 3. A hospital gets a new scanner, and a third of its patients is flagged. What do you do with the
#    limit, and what with the model?

# %% [markdown]
# ## Further reading
#
# - G. Wang et al., *Aleatoric uncertainty estimation with test-time augmentation for medical image
#   segmentation with convolutional neural networks*, Neurocomputing 338 (2019).
#   [doi:10.1016/j.neucom.2019.01.103](https://doi.org/10.1016/j.neucom.2019.01.103)
# - A. G. Roy et al., *Bayesian QuickNAT: model uncertainty in deep whole-brain segmentation for
#   structure-wise quality control*, NeuroImage 195 (2019): agreement of members as a measure of
#   quality.
#   [doi:10.1016/j.neuroimage.2019.03.042](https://doi.org/10.1016/j.neuroimage.2019.03.042)
# - A. Jungo, F. Balsiger, M. Reyes, *Analyzing the quality and challenges of uncertainty
#   estimations for brain tumor segmentation*, Frontiers in Neuroscience 14 (2020): what such
#   measures are worth, by patient.
#   [doi:10.3389/fnins.2020.00282](https://doi.org/10.3389/fnins.2020.00282)
# - C. González et al., *Distance-based detection of out-of-distribution silent failures for
#   Covid-19 lung lesion segmentation*, Medical Image Analysis (2022).
#   [arXiv:2208.03217](https://arxiv.org/abs/2208.03217)
# - A. Mehrtash et al., *Confidence calibration and predictive uncertainty estimation for deep
#   medical image segmentation*, IEEE Transactions on Medical Imaging 39 (2020).
#   [doi:10.1109/TMI.2020.3006437](https://doi.org/10.1109/TMI.2020.3006437)
# - K. Lee et al., *A simple unified framework for detecting out-of-distribution samples and
#   adversarial attacks*, NeurIPS (2018). [arXiv:1807.03888](https://arxiv.org/abs/1807.03888)
# - O. Ledoit, M. Wolf, *A well-conditioned estimator for large-dimensional covariance matrices*,
#   Journal of Multivariate Analysis 88 (2004).
#   [doi:10.1016/S0047-259X(03)00096-4](https://doi.org/10.1016/S0047-259X(03)00096-4)
# - X. Li et al., *The first step for neuroimaging data analysis: DICOM to NIfTI conversion*,
#   Journal of Neuroscience Methods 264 (2016): `dcm2niix`, and how orientation is kept.
#   [doi:10.1016/j.jneumeth.2016.03.001](https://doi.org/10.1016/j.jneumeth.2016.03.001)
