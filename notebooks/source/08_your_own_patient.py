# %% [markdown]
# # 8 · Your own patient: from a file to an answer, and when not to believe it
#
# So far every picture came from one cohort, in one layout, and the models had seen many like it.
# Here you bring a file of your own. A model will answer whatever you give it: a patient, a patient
# with two sequences mixed up, a photograph of a cup. The hard part is not to get an answer. It is
# to know whether it means anything.
#
# **What you will learn**
#
# - to read a volume in the [NIfTI](../docs/glossary.md#nifti) format, to tell from its
#   [affine](../docs/glossary.md#affine) where left, front and up are, and to write a mask back into
#   the same space;
# - to bring any scanner's grey levels to 8 bits;
# - to read how sure a model is, from the spread of its answers to changed copies of a picture;
# - to measure how far a picture is from the training pictures, to choose a limit, and to find what
#   that limit lets through.
#
# **What you need**: notebooks 2 and 3 (their models; if they are missing they are trained first,
# which takes a few minutes). Otherwise about a minute, and 1.8 GB of memory. With the six
# exercises, plan 90 minutes. Terms are explained in the [glossary](../docs/glossary.md).

# %% [markdown]
# ## The questions
#
# 1. What does a file have to say about itself before a model may see it?
# 2. How different would the answer be if the picture were a little different?
# 3. Which pictures should the model have refused, and which of them do we notice?
#
# By default the "own" patient is a held-out patient of the run's **simulated cohort**, which the
# notebook writes as NIfTI files first. With a file of your own, take the numbers as an exercise.
#
# > **Not for clinical use.** The models here have seen a few dozen patients, by default simulated
# > ones. Nothing that they say about a real picture may guide the care of a person.

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

from utils import check
from utils.course import workers
from utils.course.run import open_run
from utils.evaluation.agreement import agreement as pairwise_agreement, pixel_reliability
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
# - a folder with a NIfTI file a sequence, their names containing `pre` (or `t1`), `flair`, and
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

path = my_patient or robustness.export_example(run)
person = read_patient(path)
SOURCE = f"your own patient, {person.name}" if my_patient else (
    f"{run.describe('test')}: {person.name}, as NIfTI")  # fmt: skip
print(f"{person.name}:", *person.images.shape)
for line in person.files():
    print(line)
for note in person.notes:
    print("note:", note)

# %% [markdown]
# ## What a file says about itself
#
# A TIFF is a picture: it has a top and a left edge, and that is all it knows. A NIfTI file is a
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
print("axes point to:", *nibabel.aff2axcodes(grid.affine))

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
# neck upwards, the brow at the top, the patient's right on the left of the picture (the
# *radiological convention*: as if you stood at the patient's feet). It only swaps and reverses
# axes; a tilted head stays tilted. Then it brings pixels to 0.94 mm and the frame to 256 x 256, so
# that a head is as large as in training. The frame lies about the middle of the file, or about the
# head where that would cut it; if the head is too large for it, a note says how much is lost.
#
# Next, grey levels. A scanner may write values from 0 to 4095, or from -3 to 1.7. The models expect
# what the normalisation of notebook 1 makes of 8-bit pictures, so the values are brought to 0…255.
# *Predict before you run the next check: what happens to the picture if one single voxel is a
# hundred times as bright as all others, and you scale by the smallest and the largest value?*
#
# ### Exercise 8.2 · Eight bits, whatever comes
#
# Write `to_8_bit(values)`: linear, the 0.1th percentile becomes 0 and the 99.9th 255, rounded to
# the nearest whole number; what lies outside is clipped. It returns `uint8`, of the same shape.
# Mind arrays of integers, negative values, and a picture that is the same everywhere: there is
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
# `read_patient` does the same, but takes its percentiles over the *head* alone. Files have more or
# less air around it, stored as 0, as noise or as -1024; if that had a say, the same head would have
# other grey levels in a larger field of view.
#
# Now look. Always look before you predict: is the brow at the top, is the head whole, does the
# second row look like FLAIR (dark ventricles), are the three rows different?

# %%
shown = np.linspace(0, len(person.images) - 1, 7).round().astype(int)[1:-1]
figure = plots_patient.sequences(person.images, shown, SOURCE)
alt = (
    f"Five of the {len(person.images)} slices of {person.name} from the neck upwards, one a "
    "column, in three rows: pre-contrast, FLAIR, post-contrast."
)
show(figure, alt, run.figures, "08_patient")

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
print("pictures:", pictures.dtype, pictures.shape[1:], "in three sequences")
print("one probability a slice:", p_tumour.shape == (len(person.images),))
print("masks of the size of the slices:", masks.shape == person.images.shape[:3])

# %%
areas = masks.sum(axis=(1, 2)) * PIXEL_MM**2 / 100
figure = plots_patient.along_slices(p_tumour, decided["threshold"], areas, SOURCE)
alt = (
    f"Above, the detector's probability for each slice; it flags "
    f"{int((p_tumour >= decided['threshold']).sum())} of {len(p_tumour)} slices. Below, the area "
    f"that the segmenter draws, on {int((areas > 0).sum())} slices, at most {areas.max():.1f} cm²."
)
show(figure, alt, run.figures, "08_along_slices")

# %% [markdown]
# Two models that were trained apart on the same question: where one flags slices and the other
# draws nothing, or the other way round, have a look at the slices.
#
# ## Save, in the space that the file came from
#
# A mask is of use to others only where it fits *their* volume. So the way in is walked backwards:
# crop the frame, resize, reverse and swap the axes, and write it with the affine of the original.
# Any viewer that shows both files will then lay the one on the other. For slices in TIFF, PNG files
# are all that can be written: there is no space to go back to.

# %%
files = save_masks(person, masks, run.folder / "own_patient" / "masks")
for file in (files[0], files[-1]):
    print(file.relative_to(run.folder).as_posix())

# %% tags=["nbval-check-output"]
print("a PNG for each slice:", len(person.images) == sum(file.suffix == ".png" for file in files))
if person.grid is not None:
    saved, own = nibabel.load(files[-1]), person.grid
    print("mask on the grid of the file:", saved.shape == own.shape)
    print("same affine:", np.allclose(saved.affine, own.file_affine))
    print("same number of voxels drawn:", int(np.asarray(saved.dataobj).sum()) == int(masks.sum())
          or own.voxel_mm[0] != PIXEL_MM)  # fmt: skip

# %% [markdown]
# ### Exercise 8.3 · How many voxels?
#
# A voxel of our example measures 0.9375 mm x 0.9375 mm x 6 mm. How many of them make 1 ml? Give
# `voxels_per_ml` to the nearest whole number.
#
# <details><summary>Hint 1</summary>
#
# One millilitre is a cube of 1 cm, that is of 10 mm.
# </details>
#
# <details><summary>Hint 2</summary>
#
# First the volume of one voxel in mm³, then how often it fits into the cube.
# </details>

# %% tags=["solution"]
voxels_per_ml = round(1000 / (0.9375 * 0.9375 * 6))

# %% tags=["nbval-check-output"]
check.voxels_per_ml(voxels_per_ml)

# %% [markdown]
# ### Exercise 8.4 · The volume, from the affine alone
#
# Write `volume_ml(mask, affine)`: the volume of a mask in ml. The axes may run in any direction,
# be swapped or tilted; tumour may be marked by 1 or by 255.
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
# A probability of 0.97 sounds sure. But it is the output of the very network whose judgement is in
# question. Another way to ask: change the picture in ways that should **not** change the answer,
# predict again, undo the change on the map, and compare. This is
# [test-time augmentation](../docs/glossary.md#test-time-augmentation) ([Wang et al.
# 2019](https://doi.org/10.1016/j.neucom.2019.01.103)). Six members: as it is, mirrored, shifted by
# three pixels, both, with less contrast, with more.
#
# - The **mean** of the members is often a slightly better map than any one of them.
# - The **standard deviation** shows *where* they disagree: usually along the border.
# - The **Dice between the members** says in one number how far they agree ([Roy et al.
#   2019](https://doi.org/10.1016/j.neuroimage.2019.03.042)).

# %%
spread = test_time_augmentation.spread(
    test_time_augmentation.predict_views(segment, pictures), settings
)
busiest = int(spread.masks.sum(axis=(0, 2, 3)).argmax())

figure = plots_patient.members(
    pictures[busiest],
    spread.masks[:, busiest],
    spread.mean[busiest],
    spread.deviation[busiest],
    f"{SOURCE}, slice {busiest + 1}",
)
agreed = pairwise_agreement(spread.masks)
alt = (
    f"Slice {busiest + 1}: the outlines of {len(spread.masks)} members on FLAIR, their mean "
    f"probability, and their standard deviation, at most {spread.deviation[busiest].max():.2f}. "
    f"Mean Dice between the members over the whole volume: {agreed:.2f}."
)
show(figure, alt, run.figures, "08_members")

# %%
if person.grid is not None:
    size_ml = person.grid.voxel_mm[2] * (240 / size) ** 2 / 1000  # of a voxel at the model's size
    volumes = spread.masks.sum(axis=(1, 2, 3)) * size_ml
    print(f"volume by member: {volumes.min():.1f} to {volumes.max():.1f} ml")
print(f"agreement: {agreed:.2f} ({SOURCE})")

# %% [markdown]
# ### Exercise 8.5 · Agreement
#
# Write `agreement(masks)`: the mean [Dice](../docs/glossary.md#dice) over all pairs of *different*
# members, for an array of shape (members, slices, height, width) that is 0 outside the tumour. Pool
# all slices of a volume. Two members that both draw nothing say the same: count 1 for that pair.
#
# <details><summary>Hint 1</summary>
#
# `itertools.combinations(masks, 2)` gives each pair once. How many pairs do three members make?
# </details>
#
# <details><summary>Hint 2</summary>
#
# Make the masks bool first (`masks > 0`); then `&` counts what both have, whether tumour is marked
# by 1 or by 255. Decide about 0/0 before you divide.
# </details>


# %% tags=["solution"]
def agreement(masks):
    """Return the mean Dice over all pairs of different members; two empty masks count 1."""
    flat = (masks > 0).reshape(len(masks), -1)
    scores = []
    for place, first in enumerate(flat):
        for second in flat[:place]:
            total = first.sum() + second.sum()
            scores.append(2 * (first & second).sum() / total if total else 1.0)
    return float(np.mean(scores))


# %% tags=["nbval-check-output"]
check.agreement(agreement)

# %% [markdown]
# ## Does agreement tell right from wrong?
#
# That has to be *measured*, on patients whose truth is known and who were not used for training:
# the [validation patients](../docs/glossary.md#validation-patients). *Predict before you run: will
# the patient with the lowest agreement be the one with the lowest Dice?*

# %%
by_patient, members, truths = robustness.agreement_and_dice(run, segment, settings)
own = pairwise_agreement(spread.masks[:3])  # the same three members as for the others
figure = plots_patient.agreement_against_dice(
    by_patient, own, person.name, f"{run.describe('validation')}; line: {person.name}"
)
low, worst = (by_patient.loc[by_patient[name].idxmin()] for name in ("agreement", "dice"))
alt = (
    f"Each dot a validation patient. Agreement from {by_patient['agreement'].min():.2f} to "
    f"{by_patient['agreement'].max():.2f}, Dice from {by_patient['dice'].min():.2f} to "
    f"{by_patient['dice'].max():.2f}. The patient with the lowest agreement has Dice "
    f"{low['dice']:.2f}. The line at {own:.2f} is {person.name}."
)
show(figure, alt, run.figures, "08_agreement")
print("lowest agreement and lowest Dice are the same patient:", low["patient"] == worst["patient"])

# %% [markdown]
# Low agreement is a good reason to look. High agreement is *not* a proof: it says that the answer
# does not hang on small changes, and a network can be wrong in the same way every time. Among the
# dots that lie close together, the order tells little; and ten patients can only suggest a rule.
#
# ### And the probabilities themselves?
#
# Take all pixels of the validation patients to which the segmenter gives about 0.9. If 0.9 meant 9
# of 10, nine tenths of them would be tumour. Notebook 2 mended this for the detector with a
# [temperature](../docs/glossary.md#temperature-scaling). The segmenter was trained with a loss of
# overlap, which rewards maps near 0 and 1, and nobody has mended its probabilities.

# %%
tables = {
    "one prediction": pixel_reliability(members[0], truths),
    "mean of three": pixel_reliability(members.mean(axis=0), truths),
}
figure = plots_patient.reliability(tables, run.describe("validation"))
top = {name: table.iloc[-1] for name, table in tables.items()}
alt = "Share of tumour against probability, for pixels between 0.05 and 0.95. " + " ".join(
    f"{name}: where it says {row['predicted']:.2f}, {row['observed']:.2f} are tumour."
    for name, row in top.items()
)
show(figure, alt, run.figures, "08_reliability")

# %% [markdown]
# A curve below the diagonal is **overconfident**. Averaging members usually helps a little. Read
# the segmenter's maps as an order ("more likely here than there"), not as chances, unless you have
# calibrated them; on few patients that too is uncertain ([Mehrtash et al.
# 2020](https://doi.org/10.1109/TMI.2020.3006437)).
#
# ## Where it should not be believed
#
# Now the pictures that the model should refuse: the same patient mirrored (a wrong header), with
# sequences missing or exchanged (a wrong file name), without skull (another pipeline), cut in
# another plane (swapped axes); then another organ, cells, and photographs. The last come with
# scikit-image. None of them will raise an error.
#
# *Predict before you run: on which of the thirteen will the segmenter draw something, and on which
# will its members agree? (Three of the six are asked here, to save time.)*

# %%
inputs = robustness.unreliable_inputs(person)
answers = robustness.segment_in_views(segment, inputs, settings)
slices = [int(answer.mask.sum(axis=(1, 2)).argmax()) for answer in answers.values()]
figure = plots_patient.unreliable_inputs(
    [answer.pictures[place] for answer, place in zip(answers.values(), slices, strict=True)],
    [answer.mask[place] for answer, place in zip(answers.values(), slices, strict=True)],
    list(answers),
    f"{SOURCE}, and pictures from scikit-image",
)
drawn = [name for name, answer in answers.items() if answer.mask.any()]
alt = (
    f"{len(answers)} pictures, normalised, as the FLAIR channel shows them, with what the "
    f"segmenter draws. Something is drawn on: {', '.join(drawn)}."
)
show(figure, alt, run.figures, "08_doubtful")

# %% [markdown]
# ## A distance to what is familiar
#
# The probabilities cannot tell: they compare tumour with no tumour, and "neither of what I know" is
# not among the choices. So we ask another question: *how far is this picture from the training
# pictures?* ([Lee et al. 2018](https://arxiv.org/abs/1807.03888); for segmentation [González et al.
# 2022](https://arxiv.org/abs/2208.03217)).
#
# 1. The detector's $p = 1024$ pooled features describe each slice. Each feature is brought to mean
#    0 and standard deviation 1 over the *training* slices, which gives the vector $z$. The
#    covariance $\Sigma$ of $z$ over the training slices says which features go together.
# 2. The **Mahalanobis distance**, divided by the root of the number of features, is
#    $$d = \sqrt{\frac{z^T \Sigma^{-1} z}{p}}$$
#    If no features went together, it would be the root mean square of $z$: by how many standard
#    deviations a feature is off. The division makes distances from different sets of features
#    comparable; below you will see one with $p = 33$. With more features than slices $\Sigma$ has
#    no inverse; [Ledoit and Wolf 2004](https://doi.org/10.1016/S0047-259X(03)00096-4) say how much
#    to shrink it towards a multiple of the identity.
# 3. The limit comes from *validation* patients: 5 % of their slices lie beyond it. Training slices
#    would give a limit that is far too low: $\Sigma$ was fitted to them, and with fewer slices than
#    features it fits their accidents, too.

# %%
RATE = 0.05
features = {
    part: robustness.stored_features(run, detect, part) for part in run.split["part"].unique()
}
familiar = out_of_distribution.fit_familiar(features["train"])
usual = {part: familiar.distance(own) for part, own in features.items()}
for part, values in usual.items():
    print(f"{part}: {len(values)} slices, median distance {np.median(values):.2f}")
limit = out_of_distribution.threshold_at(usual["validation"], RATE)
far = robustness.distances(answers, detect, familiar)
print(f"limit {limit:.2f}, from {run.describe('validation')}")
print(f"beyond it: {100 * (usual['test'] > limit).mean():.0f} % of the slices of "
      f"{run.describe('test')}")  # fmt: skip

# %%
rows = {"validation patients": usual["validation"], "held-out patients": usual["test"], **far}
figure = plots_patient.familiarity(
    rows, limit, RATE, f"{run.describe('validation')}; {SOURCE}; scikit-image"
)
alt = f"Distances of slices, one row a kind of picture; the limit is at {limit:.2f}. " + " ".join(
    f"{name}: {100 * (values > limit).mean():.0f} % beyond." for name, values in rows.items()
)
show(figure, alt, run.figures, "08_familiarity")

# %% [markdown]
# ### Exercise 8.6 · Decide whether to believe
#
# Write `flagged(new, validation, rate)`. From the distances of validation slices it chooses the
# lowest limit (one of these distances) *above* which no more than a share `rate` of them lies; it
# returns a bool for each of the `new` distances: is it beyond the limit? A distance that is `nan`
# could not be measured: what would you rather do with such a picture?
#
# <details><summary>Hint 1</summary>
#
# Sort the validation distances. With ten of them and a rate of 0.1, one may lie above the limit;
# with a rate of 0.05, none.
# </details>
#
# <details><summary>Hint 2</summary>
#
# `int(rate * len(validation))` distances may lie above; count that many from the end. Every
# comparison with `nan` is False: ask which slices are *not beyond*, and negate.
# </details>


# %% tags=["solution"]
def flagged(new, validation, rate):
    """Return for each new distance whether it is beyond the limit; bool, shape (n,)."""
    ordered = np.sort(validation)
    limit = ordered[len(ordered) - 1 - int(rate * len(ordered))]
    return ~(np.asarray(new) <= limit)


# %% tags=["nbval-check-output"]
check.flagged(flagged)

# %% [markdown]
# ## Two instruments, each with blind spots
#
# Now both side by side. A picture counts as flagged here if more than half of its slices are beyond
# the limit. Where the truth is known (the same patient, not recut), `dice` says whether the answer
# was in fact right.

# %%
table = robustness.summary(answers, far, limit)
print(SOURCE)
table.round(2)

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

# %% tags=["nbval-check-output"]
foreign = list(perturbations.FOREIGN)
print(
    "photographs and microscope pictures, all flagged:", bool(table.loc[foreign, "flagged"].all())
)
print("the patient as it is, flagged:", bool(table.loc["as it is", "flagged"]))
medians = {part: np.median(values) for part, values in usual.items()}
print("training slices lie less than half as far as validation slices (median):",
      bool(2 * medians["train"] < medians["validation"]))  # fmt: skip

# %% [markdown]
# Read the table slowly; this is the point of the notebook.
#
# - **Far away is easy.** Photographs and cells lie far beyond the limit, sagittal slices less far,
#   and coronal ones may come to lie on either side of it.
# - **Close by is hard.** Exchange two sequences and every slice still looks like a slice of a head:
#   the distance hardly moves, although the mask is all wrong. Here it is the *agreement* of the
#   members that falls. A distance sees what its features see, and these were trained to find
#   tumours, not to tell T1 from FLAIR.
# - **Agreement fails the other way.** In coronal and sagittal slices the members agree well on
#   something that nobody has checked, and where none of them draws anything they agree perfectly.
# - **What should be let through is let through**: missing sequences have been trained for. That
#   costs some Dice, and no alarm goes off.
# - **A lucky answer is no rule.** The skull-stripped head may come out well here. The model has
#   never seen one, and the next one need not.
# - **Mirrored is invisible.** Distance, agreement and Dice are those of the true picture, because
#   training mirrors pictures on purpose. Yet the tumour is now on the wrong side of the body. No
#   model in this course can notice; only the affine can, and somebody who looks.
#
# ### Would simpler features do?
#
# The same distance, with 33 plain numbers a slice (mean grey levels, edges, symmetry, how the
# sequences correlate) instead of the detector's features:

# %%
plain = out_of_distribution.fit_familiar(
    picture_features(run.part("train").images[:: robustness.EVERY])
)
known = picture_features(run.part("validation").images[:: robustness.EVERY])
plain_limit = out_of_distribution.threshold_at(plain.distance(known), RATE)
shares = pd.DataFrame(
    {
        name: {
            "detector's features": (far[name] > limit).mean(),
            "plain numbers": (
                plain.distance(picture_features(answer.pictures)) > plain_limit
            ).mean(),
        }
        for name, answer in answers.items()
    }
).T
print(f"share of slices beyond the limit ({SOURCE})")
shares.round(2)

# %% [markdown]
# Other features, other blind spots: the plain numbers hardly notice another plane, and a cup may
# pass for a head. Every detector of the unfamiliar is a choice of what to look at. One that was
# only tested on photographs says nothing about exchanged sequences. So, before you believe an
# answer:
#
# 1. **Header**: do the axes make sense, is the voxel size plausible, are all sequences on one grid?
# 2. **Look** at the three sequences, and at the mask on top of them.
# 3. **Distance**: is it beyond the limit? Then stop.
# 4. **Agreement**: do the members differ? Then a person has to draw.
# 5. **Population**: was anyone like this patient in training and in the evaluation? The model card
#    of notebook 4 says who was.
#
# The limit has a price. At a rate of 5 %, one slice of twenty of *good* patients is flagged, more
# at a hospital with another scanner; a lower rate lets more pass. Which is worse depends on what
# happens next, and no validation set knows that.

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
# - (d) It cannot be said without the picture.
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
# - (c) The picture resembles the training pictures.
# - (d) The probabilities are calibrated.
#
# <details><summary>Answer</summary>
#
# **(b)**, and no more. (a) is the tempting one: members of one network share its mistakes, and
# agree on them. (c) they agree on an empty photograph too. (d) agreement compares masks with each
# other, not probabilities with what came true.
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
# **(c)**: see the table. (a) nothing in the arrays is wrong as such. (b) is what one would hope,
# but the features hardly react. (d) the channels have fixed places; what stands in the second
# place is FLAIR to the network.
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
# - A volume without its affine does not know left from right; a mask goes back to the space that it
#   came from.
# - Grey levels are scaled by percentiles of the head, never by the extremes, and a constant picture
#   is a case.
# - The spread over changed copies shows how far an answer hangs on what should not matter. Whether
#   that predicts errors is measured on validation patients.
# - A network has no answer "I do not know this". A distance to the training slices gives it one,
#   with a limit chosen on validation and a stated rate of false alarms.
# - Both have blind spots. Exchanged sequences and mirrored heads pass the distance; nonsense can be
#   agreed upon.
#
# Back to [4 · Evaluate](04_evaluate.ipynb), whose model card says for whom these models were
# tested, or to [1 · Explore](01_explore.ipynb).

# %% [markdown]
# ## To think about
#
# 1. Which feature, or which check that needs no network at all, would notice exchanged sequences?
# 2. You want to lower the rate of false alarms for *patients* rather than for slices. How many
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
#   quality. [doi:10.1016/j.neuroimage.2019.03.042](https://doi.org/10.1016/j.neuroimage.2019.03.042)
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
