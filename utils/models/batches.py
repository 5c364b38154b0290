"""Batches for training and prediction: what is drawn (NumPy), how it is changed, how it is fed.

What a batch holds and how it is augmented follows from the seed and the epoch alone, so that a
training which was cut off sees, when it goes on, what it would have seen. Only the last part,
the feeding, is TensorFlow's; `epoch_plan`, `gather` and `augment` serve any backend.
"""

import warnings
from collections.abc import Iterator
from dataclasses import dataclass

import keras
import numpy as np
from keras import ops

from utils import config

PREFETCHED = 2
# How many places a coil's shading is drawn at, along each side.
FIELD_GRID = 4


@dataclass(frozen=True)
class Strength:
    """How far augmentation may go; a value is drawn evenly between minus and plus each.

    Attributes
    ----------
    rotation : float
        Degrees.
    scale : float
        Natural logarithm of the factor.
    shift : float
        Share of the picture's side, across and down.
    gain, gamma : float
        Natural logarithms of the factor and of the exponent, for each sequence.
    drop : float
        Probability that the pre- or the post-contrast channel becomes a copy of FLAIR, as in the
        patients of the real cohort who lack a sequence.
    field : float
        Natural logarithm of the factor by which a sequence may be brighter at one end than in the
        mean, smoothly, as coils make it; in half of the sequences.
    cysts : float
        Probability that a part of the tumour is darkened, as fluid is in FLAIR.
    """

    rotation: float = 15.0
    scale: float = 0.12
    shift: float = 0.06
    gain: float = 0.15
    gamma: float = 0.25
    drop: float = 0.1
    field: float = 0.0
    cysts: float = 0.0


@dataclass(frozen=True)
class BatchPlan:
    """Which batches a training is given, from its first epoch to its last.

    Attributes
    ----------
    epochs : int
    batch_size : int
        Slices a batch.
    steps_per_epoch : int or None
        Batches an epoch; None: as many as the slices fill, at least 1.
    seed : int
        With the number of the epoch, it decides all that is random.
    tumour_share : float or None
        Share of tumour slices in every batch, 0..1, see `epoch_plan`; None: as they come.
    strength : Strength or None
        How far pictures, and masks with them, are changed at random; None: not at all.
    """

    epochs: int
    batch_size: int = 16
    steps_per_epoch: int | None = None
    seed: int = 0
    tumour_share: float | None = None
    strength: Strength | None = Strength()

    def steps(self, count: int) -> int:
        """Return how many batches an epoch has of `count` slices."""
        return self.steps_per_epoch or max(1, count // self.batch_size)


def epoch_plan(count, batch_size, steps, *, seed, epoch, tumour=None, tumour_share=None):
    """Return which slices each batch of an epoch holds.

    Slices are dealt from shuffled decks: none comes again before its deck is used up, across
    epochs too.

    Parameters
    ----------
    count : int
        Number of slices.
    batch_size, steps : int
        Slices a batch, batches an epoch.
    seed, epoch : int
        The plan depends on these two and on nothing that was drawn before.
    tumour : array of bool, shape (count,), optional
        Which slices show tumour; needed with `tumour_share`.
    tumour_share : float, optional
        Share of tumour slices in every batch, rounded to whole slices. None: as they come.

    Returns
    -------
    numpy.ndarray
        Integers, shape (steps, batch_size).

    Raises
    ------
    config.CourseError
        If there are no slices, or none of a kind that a batch must hold.

    Examples
    --------
    Half of every batch shows tumour, so the only such slice, number 0, comes in each.

    >>> from utils.models.batches import epoch_plan
    >>> plan = epoch_plan(4, 2, 3, seed=0, epoch=0, tumour=[1, 0, 0, 0], tumour_share=0.5)
    >>> plan[:, 0].tolist(), sorted(plan[:, 1].tolist())
    ([0, 0, 0], [1, 2, 3])
    """
    if tumour_share is None:
        decks = [(np.arange(count), batch_size)]
    else:
        positive = round(tumour_share * batch_size)
        tumour = np.asarray(tumour, dtype=bool)
        decks = [
            (np.flatnonzero(tumour), positive),
            (np.flatnonzero(~tumour), batch_size - positive),
        ]
    parts = []
    for number, (deck, width) in enumerate(decks):
        if width and not len(deck):
            raise config.CourseError(
                f"no slices to draw {width} of {batch_size} in a batch from "
                f"(tumour_share={tumour_share}); give more patients"
            )
        drawn = _deal(deck, epoch * steps * width, steps * width, seed=(seed, number))
        parts.append(drawn.reshape(steps, width))
    return np.concatenate(parts, axis=1)


def _deal(deck, start, amount, seed):
    """Return cards `start` to `start + amount` of an endless row of shuffled decks."""
    if not amount:
        return np.empty(0, dtype=np.int64)
    first, last = start // len(deck), (start + amount - 1) // len(deck)
    row = [
        np.random.default_rng((*seed, round_)).permutation(deck)
        for round_ in range(first, last + 1)
    ]
    offset = start - first * len(deck)
    return np.concatenate(row)[offset : offset + amount]


def draw_parameters(count, *, seed, epoch, strength=None) -> dict:
    """Draw how to augment `count` pictures.

    Returns
    -------
    dict of numpy.ndarray
        `transform` float32 (count, 6): the first two rows of the matrix that maps a place in the
        output, relative to the centre and in shares of the side, to its place in the input.
        `gain`, `gamma` float32 (count, 3). `flair` float32 (count, 3): 1 where a channel becomes
        a copy of FLAIR. If there are to be any: `field` float32 (count, 4, 4, 3), natural
        logarithms on a coarse grid, and `cyst` float32 (count, 6), see `_with_cysts`.
    """
    strength = strength or Strength()
    random = np.random.default_rng((seed, epoch, 1))
    angle = np.deg2rad(strength.rotation) * random.uniform(-1, 1, count)
    scale = np.exp(strength.scale * random.uniform(-1, 1, count))
    mirror = random.choice([-1.0, 1.0], count)
    across, down = strength.shift * random.uniform(-1, 1, (2, count))
    cosine, sine = np.cos(angle) / scale, np.sin(angle) / scale
    transform = np.stack([mirror * cosine, -mirror * sine, across, sine, cosine, down], axis=1)
    dropped = random.choice(
        [-1, 0, 2], count, p=[1 - strength.drop, strength.drop / 2, strength.drop / 2]
    )
    drawn = random.uniform(-1, 1, (2, count, 3))
    gain, gamma = np.exp([strength.gain * drawn[0], strength.gamma * drawn[1]])
    parameters = {
        "transform": transform,
        "gain": gain,
        "gamma": gamma,
        "flair": dropped[:, None] == np.arange(3),
    }
    if strength.field:
        random = np.random.default_rng((seed, epoch, 2))
        bent = random.choice([0.0, strength.field], (count, 1, 1, 3))
        parameters["field"] = bent * random.uniform(-1, 1, (count, FIELD_GRID, FIELD_GRID, 3))
    if strength.cysts:
        parameters["cyst"] = _draw_cysts(count, strength.cysts, seed, epoch)
    return {name: values.astype("float32") for name, values in parameters.items()}


def _draw_cysts(count, probability, seed, epoch):
    random = np.random.default_rng((seed, epoch, 3))
    present = random.random(count) < probability
    place = random.random(count)
    radius, aspect = random.uniform(0.3, 0.8, count), random.uniform(0.6, 1.6, count)
    angle, depth = random.uniform(0, np.pi, count), random.uniform(0.3, 0.8, count)
    return np.stack([present * depth, place, radius, aspect, np.cos(angle), np.sin(angle)], axis=1)


def augment(images, masks, parameters):
    """Move, mirror and recolour pictures, and move their masks with them.

    Parameters
    ----------
    images : tensor, shape (batch, height, width, 3) or (batch, height, width, 9)
        Values 0..255; 0 is outside the head and stays 0. Nine channels are three of each
        sequence, see `volumes.arrange_channels`.
    masks : tensor, shape (batch, height, width, 1), or None
        Values 0 and 1.
    parameters : dict
        As `draw_parameters` returns them for this batch.

    Returns
    -------
    tuple of tensor
        Pictures, float32, 0..255, interpolated bilinearly, and masks, float32, 0 and 1, from the
        nearest pixel (None if none were given).
    """
    images = ops.cast(images, "float32")
    height, width = images.shape[1:3]
    matrix = _pixel_transform(parameters["transform"], height, width)
    images = ops.image.affine_transform(images, matrix, interpolation="bilinear")
    if masks is not None:
        masks = ops.image.affine_transform(masks, matrix, interpolation="nearest")
        masks = ops.cast(masks, "float32")
        if "cyst" in parameters:
            images = _with_cysts(images, masks, parameters["cyst"])
    images = _recoloured(images, parameters)
    return _with_flair(images, parameters["flair"]), masks


def _with_cysts(images, masks, cyst):
    """Return pictures with a dark, soft ellipse in their tumours.

    Parameters
    ----------
    images, masks : tensor
        As `augment` returns them.
    cyst : tensor, shape (batch, 6)
        How much darker, 0..1; which pixel of the tumour, from the first (0) to the last (1), is
        the centre; radius, 1 being that of a disc as large as the tumour; ratio of the axes;
        cosine and sine of the angle.

    Returns
    -------
    tensor, in the shape of `images`
    """
    height, width = masks.shape[1:3]
    depth, place, radius, aspect, cosine, sine = (cyst[:, n, None, None] for n in range(6))
    counted = ops.cumsum(ops.reshape(masks, (-1, height * width)), axis=1)
    area = counted[:, -1:]
    centre = ops.argmax(ops.cast(counted > place[:, 0] * area, "int32"), axis=1)
    row = ops.cast(centre // width, "float32")[:, None, None]
    column = ops.cast(centre % width, "float32")[:, None, None]
    down = ops.arange(height, dtype="float32")[None, :, None] - row
    across = ops.arange(width, dtype="float32")[None, None, :] - column
    along, beside = cosine * across + sine * down, cosine * down - sine * across
    # At least a pixel: a picture without tumour has no radius.
    size = ops.maximum(radius * ops.sqrt(area[:, :, None] / np.pi), 1.0)
    distance = ((along / aspect) ** 2 + (beside * aspect) ** 2) / size**2
    dark = depth * ops.exp(-(distance**2))
    return images * (1.0 - dark[..., None] * masks)


def _recoloured(images, parameters):
    """Return 255 gain field (images / 255) ^ gamma, at most 255.

    By way of the logarithm, which takes a third of the time of `ops.power`: augmentation runs
    beside the training and takes the time from it. 0 stays 0: exp(log 0) is exactly that.
    """
    each = images.shape[-1] // 3  # channels of one sequence
    gain, gamma = (
        ops.repeat(parameters[name], each, axis=-1)[:, None, None, :] for name in ("gain", "gamma")
    )
    offset = ops.log(255.0 * gain) - gamma * np.log(255.0)
    if "field" in parameters:
        field = ops.image.resize(parameters["field"], images.shape[1:3], interpolation="bicubic")
        offset = offset + ops.repeat(field, each, axis=-1)
    return ops.minimum(ops.exp(gamma * ops.log(images) + offset), 255.0)


def _with_flair(images, flair):
    """Return pictures with FLAIR in the sequences that `flair` (batch, 3) marks with 1."""
    as_is = ops.eye(3)
    mixing = as_is + flair[:, None, :] * (as_is[:, 1:2] - as_is)
    batch, each = ops.shape(images)[0], images.shape[-1] // 3
    sequences = ops.reshape(images, (batch, -1, 3, each))
    if each == 1:
        return ops.reshape(ops.matmul(sequences[..., 0], mixing), ops.shape(images))
    mixed = ops.einsum("bpsk,bst->bptk", sequences, mixing)
    return ops.reshape(mixed, ops.shape(images))


def _pixel_transform(transform, height, width):
    """Turn transforms about the centre, in shares of the side, into `affine_transform`'s eight."""
    a, b, across, c, d, down = (transform[:, column] for column in range(6))
    x0, y0 = (width - 1) / 2, (height - 1) / 2
    zero = ops.zeros_like(a)
    rows = [a, b, across * width + x0 - a * x0 - b * y0, c, d, down * height + y0 - c * x0 - d * y0]
    return ops.stack([*rows, zero, zero], axis=1)


def gather(images, targets, indices):
    """Take the slices at `indices`, in the dtypes in which they are fed.

    Returns
    -------
    tuple of numpy.ndarray
        Pictures in their own dtype, and masks uint8 (n, h, w, 1) or labels uint8 (n, 1).
    """
    return np.asarray(images[indices]), np.asarray(targets[indices], dtype="uint8")[..., None]


def own_rows(batch_size: int) -> slice:
    """Return which rows of every batch this process feeds.

    All of them, unless Keras was told that several processes train together (`utils.parallel`).
    Then each feeds an equal share, in the order of their numbers, and Keras joins the shares.

    Raises
    ------
    config.CourseError
        If a batch cannot be shared out evenly among the devices.
    """
    together = keras.distribution.distribution()
    if together is None:
        return slice(None)
    if batch_size % together.num_model_replicas:
        raise config.CourseError(
            f"a batch of {batch_size} slices cannot be shared out evenly among "
            f"{together.num_model_replicas} devices; use a number of devices that divides it"
        )
    share = batch_size // together.num_processes
    return slice(share * together.data_shard_id, share * (together.data_shard_id + 1))


def planned_batches(images, targets, plan: BatchPlan, first_epoch=0) -> Iterator[tuple]:
    """Yield (pictures, targets, augmentation parameters) of every batch, in NumPy.

    Parameters are those of `training_batches`. This is the whole of the feed but for the
    augmentation itself, for backends other than TensorFlow's. Where several processes train
    together, each yields its rows of every batch, see `own_rows`.
    """
    own = own_rows(plan.batch_size)
    tumour = np.asarray(targets).reshape(len(targets), -1).any(axis=1)
    for epoch in range(first_epoch, plan.epochs):
        rows = epoch_plan(
            len(images),
            plan.batch_size,
            plan.steps(len(images)),
            seed=plan.seed,
            epoch=epoch,
            tumour=tumour,
            tumour_share=plan.tumour_share,
        )
        drawn = {}
        if plan.strength is not None:
            drawn = draw_parameters(rows.size, seed=plan.seed, epoch=epoch, strength=plan.strength)
        for step, indices in enumerate(rows):
            here = slice(step * plan.batch_size, (step + 1) * plan.batch_size)
            parameters = {name: values[here][own] for name, values in drawn.items()}
            yield *gather(images, targets, indices[own]), parameters


def training_batches(images, targets, plan: BatchPlan, first_epoch=0):
    """Return the batches of a training, from `first_epoch` to its end.

    Parameters
    ----------
    images : array, uint8, shape (n, height, width, 3)
        May be a memory map: only what a batch needs is read. Features of any shape and dtype
        will do as well, with a plan whose `strength` is None.
    targets : array, shape (n, height, width) or (n,)
        Masks, or labels.
    plan : BatchPlan
    first_epoch : int
        Counted from 0; a resumed training starts later.

    Returns
    -------
    tf.data.Dataset, or with another backend than TensorFlow's an iterator
        Of pictures float32 (batch, height, width, 3), 0..255, and targets float32
        (batch, height, width, 1) or (batch, 1).
    int
        Steps an epoch.
    """
    steps = plan.steps(len(images))

    def planned():
        return planned_batches(images, targets, plan, first_epoch)

    if keras.backend.backend() == "tensorflow":
        return _prepared_by_tensorflow(planned), steps
    return (_finish(*batch) for batch in planned()), steps


def _prepared_by_tensorflow(planned):
    """Return a dataset that augments the batches of `planned()` while the last one is trained."""
    import tensorflow as tf

    # Keras warns whoever calls fit without shuffle=False that it does not shuffle a dataset. These
    # batches are dealt from shuffled decks, and their order is part of the plan.
    warnings.filterwarnings("ignore", ".shuffle=True. was passed, but will be ignored", UserWarning)
    first = next(planned())
    signature = tf.nest.map_structure(
        tf.TensorSpec.from_tensor, tf.nest.map_structure(tf.convert_to_tensor, first)
    )
    dataset = tf.data.Dataset.from_generator(planned, output_signature=signature)
    dataset = dataset.map(_finish, num_parallel_calls=1, deterministic=True)
    return dataset.prefetch(PREFETCHED).with_options(pipeline_options())


def _finish(images, targets, parameters):
    """Augment if there are parameters, and cast."""
    has_masks = len(targets.shape) == 4
    if parameters:
        images, masks = augment(images, targets if has_masks else None, parameters)
        targets = masks if has_masks else targets
    return ops.cast(images, "float32"), ops.cast(targets, "float32")


def pipeline_options(autotuned=False):
    """Return tf.data's options: in order, and without its autotuner.

    When an iterator is deleted, it waits for the autotuner's thread to wake up, for seconds after
    a longer training. `autotuned=True` is there to measure that.
    """
    import tensorflow as tf

    options = tf.data.Options()
    options.autotune.enabled = autotuned
    options.threading.private_threadpool_size = 2
    options.deterministic = True
    return options
