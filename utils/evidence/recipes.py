"""What the evidence trains: our recipe for the real cohort, and the one that it is compared with.

A recipe is trained on a `Run` whose split is one fold: it learns from the training part and
chooses everything else on the validation part.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

import keras
import numpy as np
import pandas as pd
from keras import layers

from utils.cohort.volumes import (
    CHANNELS as CHANNEL_COUNTS,
    GREY_LEVELS_PER_SD,
    HEAD_MEAN,
    View,
    Volumes,
    arrange_channels,
)
from utils.course import detector
from utils.course.run import Run
from utils.models import batches, losses, resnet50, resunet, training
from utils.models.files import saving
from utils.models.files.imagenet import imagenet_resnet50
from utils.models.precision import set_precision
from utils.models.resnet50 import pretrained_unet
from utils.models.validation import validate_segmenter

# Of the nine channels of "all", those that show FLAIR.
FLAIR_OF_ALL = slice(3, 6)
# Of the detector that goes with every recipe of ours.
DETECTOR_SIZE = 128
DETECTOR_EPOCHS = 6


@dataclass(frozen=True)
class Recipe:
    """How a segmenter is trained.

    Attributes
    ----------
    words : str
        What is particular about it, for the table of attempts; where empty, `description` makes
        it of the values below.
    network : callable
        `network(size, seed)` -> keras.Model; None with `members`.
    size : int
        Side of the pictures.
    epochs, steps, batch_size : int
        Epochs, batches in each, slices in each batch.
    rate : float
        The highest learning rate; it rises in the first tenth and falls along a cosine.
    tumour_share : float or None
        Share of the slices in a batch that show tumour; None: as they come.
    strength : batches.Strength or None
        Of the augmentation; None for none.
    loss : callable
        Makes the loss.
    tumour_only : bool
        Whether slices without tumour are left out of the training.
    slicewise : bool
        Whether each slice is standardised by itself, rather than each volume.
    channels : {"sequences", "neighbours", "all"}
        What the channels are, see `volumes.arrange_channels`.
    grey_levels, frame : str
        See `volumes.View`.
    flips : bool
        Whether the prediction is the mean of that for the picture and for its mirror image.
    members : tuple of Recipe
        Of networks that are trained one by one, each with its own seed, and whose probabilities
        are averaged. They are given the pictures of this recipe, and those with the channels
        ``"neighbours"`` see only these of ``"all"``. What else this recipe says is then of no use.
    pooled : bool
        Whether the folds of an experiment choose together, see `utils.evidence.training.pooling`.
    """

    words: str
    network: Callable | None
    size: int = 192
    epochs: int = 15
    steps: int = 60
    batch_size: int = 16
    rate: float = 3e-4
    tumour_share: float | None = 0.6
    strength: batches.Strength | None = None
    loss: Callable = losses.DiceCrossEntropy
    tumour_only: bool = False
    slicewise: bool = False
    channels: str = "sequences"
    grey_levels: str = View.grey_levels
    frame: str = View.frame
    flips: bool = True
    members: tuple["Recipe", ...] = ()
    pooled: bool = False

    @property
    def view(self) -> View:
        """How the networks are shown the slices."""
        return View(self.size, self.grey_levels, self.frame)

    @property
    def description(self) -> str:
        """What it is, in words: its own, or those of its values."""
        if self.words:
            return self.words
        if self.members:
            each = enumerate((one.description for one in self.members), start=1)
            return "mean of the networks " + "; ".join(f"({n}) {words}" for n, words in each)
        parts = [
            NETWORKS.get(self.network, self.network.__name__),
            CHANNELS[self.channels],
            f"{self.size} px",
            LOSSES[type(self.loss())],
            "not augmented" if self.strength is None else _augmentation(self.strength),
        ]
        parts += ["cut to the head"] * (self.frame == "head")
        parts += ["grey levels by the brain's mode"] * (self.grey_levels == "brain_mode")
        parts += ["each slice standardised by itself"] * self.slicewise
        parts += ["tumour slices only"] * self.tumour_only
        return ", ".join(parts)


def _augmentation(strength: batches.Strength) -> str:
    moved = {"turned": strength.rotation, "scaled": strength.scale, "shifted": strength.shift}
    verbs = [verb for verb, amount in moved.items() if amount]
    text = f"{', '.join(verbs)} and mirrored" if verbs else "mirrored"
    recoloured = ", grey levels changed" if strength.gain or strength.gamma else ""
    shaded = ", shaded as by coils" if strength.field else ""
    cysts = ", tumours darkened in part" if strength.cysts else ""
    dropped = ", channels replaced by FLAIR" if strength.drop else ""
    return f"{text}{recoloured}{shaded}{cysts}{dropped} at random"


def _pretrained(size, seed):
    return pretrained_unet(size, imagenet_resnet50(), seed)


def _pretrained_all(size, seed):
    return pretrained_unet(size, imagenet_resnet50(), seed, sequences=3)


def _baseline_resunet(size, seed):
    return resunet.resunet(size, filters=(12, 24, 48, 96, 200), seed=seed, stem=False)


def _plain_resunet(size, seed):
    return resunet.resunet(size, filters=(16, 32, 64, 128, 256), seed=seed, stem=False)


# What the parts of a recipe are called.
NETWORKS = {
    _pretrained: "U-Net on ImageNet's ResNet50",
    _pretrained_all: "U-Net on ImageNet's ResNet50, whose first stages see each sequence",
}
CHANNELS = {
    "sequences": "pre-contrast, FLAIR and post-contrast",
    "neighbours": "FLAIR of three neighbouring slices",
    "all": "all sequences of three neighbouring slices",
}
LOSSES = {losses.DiceCrossEntropy: "Dice + cross-entropy", losses.FocalTversky: "focal Tversky"}
# Stronger than in the notebooks: 80 real patients differ more than simulated ones. Grey levels
# are left as they are, for the network that sees FLAIR alone.
PLACES = batches.Strength(rotation=18, scale=0.15, shift=0.08, gain=0.0, gamma=0.0, drop=0.0)
# The recipe before the present one.
EARLIER = Recipe(
    words="",
    network=_pretrained,
    epochs=20,
    strength=PLACES,
    channels="neighbours",
)
# Cut to the head, 128 pixels show as much as 180 of the whole picture.
_HEAD = Recipe(
    words="", network=_pretrained, size=128, epochs=16, grey_levels="brain_mode", frame="head"
)
FLAIR_MEMBER = replace(_HEAD, strength=replace(PLACES, cysts=0.5), channels="neighbours")
ALL_MEMBER = replace(
    _HEAD,
    network=_pretrained_all,
    strength=replace(PLACES, gain=0.1, gamma=0.15, field=0.25, cysts=0.5, drop=0.1),
    channels="all",
)
# Two networks that err differently: where FLAIR misleads one, the other sees all sequences.
OURS = replace(_HEAD, network=None, channels="all", members=(FLAIR_MEMBER, ALL_MEMBER), pooled=True)
# The course that this one grew from, rebuilt from its description, at the same number of steps.
BASELINE = Recipe(
    words="baseline: ResUNet of 1.2 M weights, focal Tversky 0.7 with exponent 0.75, each slice "
    "standardised by itself, tumour slices only",
    network=_baseline_resunet,
    size=128,
    epochs=20,
    rate=1e-3,
    tumour_share=None,
    loss=lambda: losses.FocalTversky(fn_weight=0.7, fp_weight=0.3, exponent=0.75),
    tumour_only=True,
    slicewise=True,
    flips=False,
)
# What each part of our recipe is worth: one change each to the network that sees FLAIR alone.
ATTEMPTS = {
    "ours": OURS,
    "FLAIR alone": FLAIR_MEMBER,
    "all sequences": ALL_MEMBER,
    "earlier recipe": EARLIER,
    "one slice, three sequences": replace(
        FLAIR_MEMBER, channels="sequences", words="as FLAIR alone, three sequences of one slice"
    ),
    "no dark parts": replace(
        FLAIR_MEMBER, strength=PLACES, words="as FLAIR alone, tumours not darkened"
    ),
    "gentle augmentation": replace(
        FLAIR_MEMBER,
        strength=batches.Strength(gain=0.0, gamma=0.0, drop=0.0),
        words="as FLAIR alone, moved as little as in the notebooks, tumours not darkened",
    ),
    "mean of the head": replace(
        FLAIR_MEMBER,
        grey_levels="head_mean",
        words="as FLAIR alone, grey levels by mean and deviation of the head",
    ),
    "whole image": replace(
        FLAIR_MEMBER, frame="picture", words="as FLAIR alone, not cut to the head"
    ),
    "192 px": replace(FLAIR_MEMBER, size=192, words="as FLAIR alone, at 192 px"),
    "96 px": replace(FLAIR_MEMBER, size=96, words="as FLAIR alone, at 96 px"),
    "half as long": replace(
        FLAIR_MEMBER, epochs=8, words="as FLAIR alone, trained for 8 epochs instead of 16"
    ),
    "half as long, mean of the head": replace(
        FLAIR_MEMBER,
        epochs=8,
        grey_levels="head_mean",
        words="as half as long, grey levels by mean and deviation of the head",
    ),
    "twice as long": replace(
        FLAIR_MEMBER, epochs=32, words="as FLAIR alone, trained for 32 epochs instead of 16"
    ),
    "focal Tversky": replace(
        FLAIR_MEMBER, loss=losses.FocalTversky, words="as FLAIR alone, focal Tversky loss"
    ),
    "from scratch": replace(
        FLAIR_MEMBER,
        network=_plain_resunet,
        rate=1e-3,
        words="as FLAIR alone, ResUNet of notebook 3 (16 to 256 filters), nothing pre-trained",
    ),
    "tumour slices only": replace(
        FLAIR_MEMBER,
        tumour_only=True,
        tumour_share=None,
        words="as FLAIR alone, never shown a tumour-free slice",
    ),
}


def with_epochs(recipe: Recipe, change: Callable[[int], int]) -> Recipe:
    """Return the recipe with other numbers of epochs, in its members too."""
    members = tuple(with_epochs(one, change) for one in recipe.members)
    return replace(recipe, epochs=change(recipe.epochs), members=members)


def train_segmenter(run: Run, recipe: Recipe, folder, last_epoch=False, report=None):
    """Return the segmenter trained with a recipe on a run's training part, and its epochs.

    Parameters
    ----------
    run : Run
        With pictures of the recipe's size.
    recipe : Recipe
    folder : path-like
        Belongs to this training alone; one that was cut off goes on.
    last_epoch : bool
        Keep the last epoch rather than the best on validation.
    report : callable, optional
        Called after each epoch with its number, from 1 through all members, and with the values
        of its validation.

    Returns
    -------
    keras.Model
        (batch, size, size, channels), 0..255 -> (batch, size, size, 1) probabilities; nine channels
        where the recipe's are "all", else three.
    pandas.DataFrame
        One row an epoch.
    """
    if recipe.members:
        return _train_members(run, recipe, Path(folder), last_epoch, report)
    set_precision()
    train, validation = (run.part(part) for part in ("train", "validation"))
    if recipe.tumour_only:
        train = train.rows(train.labels)
    model = recipe.network(recipe.size, run.seed)
    total = recipe.epochs * recipe.steps
    optimizer = keras.optimizers.AdamW(
        training.cosine_schedule(recipe.rate, steps=total), weight_decay=0.01, clipnorm=1.0
    )
    optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    validate = validate_segmenter(
        validation.images, validation.masks, patient_of_row(validation.table)
    )

    plan = batches.BatchPlan(
        epochs=recipe.epochs,
        batch_size=recipe.batch_size,
        steps_per_epoch=recipe.steps,
        seed=run.seed,
        tumour_share=recipe.tumour_share,
        strength=recipe.strength,
    )

    def validate_and_report(model):
        values = validate(model)
        if report is not None:
            report(int(model.optimizer.iterations) // recipe.steps, values)
        return values

    history = training.fit(
        model,
        partial(batches.training_batches, train.images, train.masks, plan),
        optimizer=optimizer,
        loss=recipe.loss(),
        folder=folder,
        epochs=recipe.epochs,
        configuration=run.identity
        | {
            "recipe": recipe.description,
            "view": asdict(recipe.view),
            "channels": recipe.channels,
            "slicewise": recipe.slicewise,
            "tumour_only": recipe.tumour_only,
            "steps": recipe.steps,
            "batch_size": recipe.batch_size,
            "tumour_share": recipe.tumour_share,
            "strength": None if recipe.strength is None else vars(recipe.strength),
        },
        validate=validate_and_report,
        monitor=None if last_epoch else "val_dice",
        title=f"segmenter, {recipe.size} px",
    )
    return (flip_averaged(model) if recipe.flips else model), history


def _train_members(run, recipe, folder, last_epoch, report):
    models, histories, before = [], [], 0
    for number, member in enumerate(recipe.members):
        images = run.volumes.images
        if member.channels != recipe.channels:
            images = images[..., FLAIR_OF_ALL]
        parameters = replace(run.parameters, seed=len(recipe.members) * run.seed + number)
        own = replace(run, parameters=parameters, volumes=replace(run.volumes, images=images))
        told = None if report is None else _counted_from(before, report)
        model, history = train_segmenter(own, member, folder / str(number), last_epoch, told)
        before += member.epochs
        models.append(model)
        histories.append(history.assign(member=number))
    return averaged(models, recipe.channels), pd.concat(histories, ignore_index=True)


def _counted_from(before: int, report: Callable) -> Callable:
    return lambda epoch, values: report(before + epoch, values)


def averaged(models, channels: str) -> keras.Model:
    """Return a model whose output is the mean of several.

    Parameters
    ----------
    models : list of keras.Model
        Of one size. Where `channels` is ``"all"``, those that take three channels are given FLAIR.
    channels : str
        Of the pictures, see `volumes.arrange_channels`.

    Returns
    -------
    keras.Model
        (batch, size, size, channels), 0..255 -> (batch, size, size, 1) probabilities, float32.
    """
    size = models[0].input_shape[1]
    inputs = layers.Input((size, size, 9 if channels == "all" else 3), name="picture")
    flair = keras.ops.split(inputs, 3, axis=-1)[1] if channels == "all" else inputs
    outputs = []
    for number, model in enumerate(models):
        member = keras.Model(model.input, model.output, name=f"member{number}")
        outputs.append(member(inputs if model.input_shape == inputs.shape else flair))
    mean = layers.Average(name="mean_of_members", dtype="float32")(outputs)
    return keras.Model(inputs, mean, name="mean_of_segmenters")


def patient_of_row(table):
    """Return whose slice each row is, also where each slice stands for itself in the split."""
    return table["patient"].str.split("#").str[0]


def prepare(recipe: Recipe, volumes: Volumes) -> Volumes:
    """Return the volumes with pictures as a recipe takes them.

    Before any split: a slice's pictures may show its neighbours too.
    """
    images = volumes.images
    if recipe.slicewise:
        images = standardise_slices(images)
    if recipe.channels != "sequences":
        # At the place of each row: a patient's rows need not stand together in the table.
        arranged = np.empty((*images.shape[:-1], CHANNEL_COUNTS[recipe.channels]), images.dtype)
        for _, rows in volumes.table.groupby("patient", sort=False):
            arranged[rows.index] = arrange_channels(images[rows.index], recipe.channels)
        images = arranged
    return replace(volumes, images=images)


def standardise_slices(images: np.ndarray) -> np.ndarray:
    """Return pictures whose every channel is standardised over the whole slice.

    On the scale of `volumes.normalise_volume`: 96 + 40 z, uint8. A constant channel becomes 96.
    """
    result = np.empty_like(images)
    for row, image in enumerate(images):
        mean, deviation = image.mean(axis=(0, 1)), image.std(axis=(0, 1))
        scores = (image - mean) / np.where(deviation > 0, deviation, 1)
        result[row] = np.clip(np.round(HEAD_MEAN + GREY_LEVELS_PER_SD * scores), 0, 255)
    return result


def flip_averaged(model: keras.Model) -> keras.Model:
    """Return a model whose output is the mean of that for a picture and for its mirror image."""
    model = saving.uncompiled(model)  # or its optimiser would be saved with it
    inputs = layers.Input(model.input_shape[1:], name="picture")
    mirrored = keras.ops.flip(model(keras.ops.flip(inputs, axis=2)), axis=2)
    outputs = layers.Average(name="mean_of_both", dtype="float32")([model(inputs), mirrored])
    return keras.Model(inputs, outputs, name=f"flip_averaged_{model.name}")


def train_baseline_detector(run: Run):
    """Return the baseline's detector trained on a run's training part, and its epochs.

    ResNet50 from ImageNet, given pictures divided by 255 instead of prepared as ImageNet's were,
    with two dense layers of 256 on its pooled features. Its layers were meant to be frozen but
    are not. Its normalisations settle early: this budget is shorter than the seed's, and with
    Keras's momentum the detector ended at AUC 0.47 for fold 0.

    Returns
    -------
    keras.Model
        (batch, size, size, 3), 0..255 -> (batch, 1) logit.
    pandas.DataFrame
        One row an epoch.
    """
    set_precision()
    keras.utils.set_random_seed(run.seed)
    inputs = layers.Input((run.parameters.size,) * 2 + (3,), name="picture")
    x = layers.Rescaling(1 / 255, name="rescale", dtype="float32")(inputs)
    resnet = keras.applications.ResNet50(include_top=False, weights=None, input_tensor=x)
    resnet.load_weights(imagenet_resnet50())
    resnet50.lower_norm_momentum(resnet)
    x = layers.GlobalAveragePooling2D(name="pooled")(resnet.output)
    for number in (1, 2):
        x = layers.Dense(256, activation="relu", name=f"dense{number}")(x)
    logit = layers.Dense(1, name="logit", dtype="float32")(x)
    model = keras.Model(inputs, logit, name="baseline_detector")
    history = detector.fit_rows(
        run,
        model,
        run.volumes.images,
        np.flatnonzero(run.in_part("train")),
        detector.batch_plan(run, 4, detector.SCRATCH_BATCH_SIZE, share=0.15),
        name="detector_seed",
        rate=1e-4,
    )
    return model, history
