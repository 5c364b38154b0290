"""Training: cut off and resumed, recognised, best epoch kept, scores by hand."""

import os
import signal
import subprocess
import sys
from functools import partial

import keras
import numpy as np
import pandas as pd
import pytest
from keras import layers

from utils import config
from utils.config import ROOT, CourseError
from utils.models import batches, losses, training, validation
from utils.models.files import saving
from utils.models.precision import has_gpu

EPOCHS = 3


def data():
    random = np.random.default_rng(0)
    images = random.integers(1, 120, (12, 16, 16, 3)).astype("uint8")
    masks = np.zeros((12, 16, 16), "uint8")
    masks[::2, 4:10, 5:12] = 1
    images[masks > 0] = 220
    return images, masks


def network():
    """Return a small network with what a checkpoint must hold: kernels and moving statistics."""
    inputs = layers.Input((16, 16, 3), name="picture")
    x = layers.Rescaling(1 / 255, name="rescale")(inputs)
    x = layers.Conv2D(
        4, 3, padding="same", kernel_initializer=keras.initializers.HeNormal(seed=1), name="first"
    )(x)
    x = layers.BatchNormalization(momentum=0.9, name="norm")(x)
    x = layers.Activation("relu", name="relu")(x)
    x = layers.Conv2D(
        1,
        3,
        padding="same",
        activation="sigmoid",
        kernel_initializer=keras.initializers.HeNormal(seed=2),
        name="last",
    )(x)
    return keras.Model(inputs, x, name="tiny")


def train(folder, *, epochs=EPOCHS, seed=0, after_epoch=None, validate=None, **options):
    """Train a tiny network; `after_epoch(number)` is called within the validation."""
    keras.config.set_dtype_policy("float32")
    images, masks = data()
    model = network()
    score = validate or validation.validate_segmenter(images[:6], masks[:6], list("aabbcc"))
    count = 0

    def counted(trained):
        nonlocal count
        count += 1
        if after_epoch is not None:
            after_epoch(count)
        return score(trained)

    plan = batches.BatchPlan(epochs=epochs, batch_size=4, seed=seed, tumour_share=0.5)

    history = training.fit(
        model,
        partial(batches.training_batches, images, masks, plan),
        optimizer=keras.optimizers.Adam(training.cosine_schedule(0.01, steps=9)),
        loss=options.pop("loss", losses.DiceCrossEntropy()),
        folder=folder,
        epochs=epochs,
        configuration={"seed": seed},
        validate=counted,
        monitor=options.pop("monitor", "val_dice"),
        **options,
    )
    return model, history, count


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("un{disturbed}")  # Keras formats paths of checkpoints
    model, history, _ = train(folder)
    return folder, [np.array(values) for values in model.get_weights()], history


def assert_same(model, history, undisturbed):
    """Bit for bit; only a GPU adds up in another order each time."""
    _, weights, expected = undisturbed
    tolerance = {"rtol": 1e-4} if has_gpu() else {"check_exact": True}
    pd.testing.assert_frame_equal(
        history.drop(columns="seconds"), expected.drop(columns="seconds"), **tolerance
    )
    for mine, theirs in zip(model.get_weights(), weights, strict=True):
        if has_gpu():
            np.testing.assert_allclose(mine, theirs, rtol=1e-3, atol=1e-5)
        else:
            np.testing.assert_array_equal(mine, theirs)


RESULT = {"configuration.json", "history.csv", "model.keras"}


@pytest.mark.long
def test_a_training_leaves_its_result_and_nothing_else(undisturbed):
    folder, _, history = undisturbed
    assert {path.name for path in folder.iterdir()} == RESULT
    assert list(history["epoch"]) == [1, 2, 3]
    assert set(history.columns) == {"epoch", "loss", "val_dice", "seconds"}
    assert history["loss"].iloc[-1] < history["loss"].iloc[0]


class Cut(Exception):
    pass


def cut_in_second_epoch(epoch):
    if epoch == 2:
        raise Cut


@pytest.mark.long
def test_cut_inside_an_epoch_it_goes_on_where_it_was(tmp_path, undisturbed):
    with pytest.raises(Cut):
        train(tmp_path, after_epoch=cut_in_second_epoch)
    names = {"configuration.json", "log.csv", "best-1.weights.h5", "last-1.weights.h5"}
    assert {path.name for path in tmp_path.iterdir()} == names
    model, history, validated = train(tmp_path)
    assert validated == 2
    assert_same(model, history, undisturbed)


# Everything that a training writes, in this order, and how many epochs it goes through thereafter.
WRITTEN = {
    "configuration.json": 3,
    "CSVLogger": 2,
    "ModelCheckpoint": 2,
    "last-2.weights.h5": 1,
    "last-3.weights.h5": 0,
    "history.csv": 0,
    "model.keras": 0,
}


def cut_after(written, monkeypatch):
    """Cut the training right after it has written that (of a callback, at its second epoch)."""
    if written in ("CSVLogger", "ModelCheckpoint"):
        place, name = getattr(keras.callbacks, written), "on_epoch_end"
    else:
        place, name = config.os, "replace"
    whole = getattr(place, name)

    def cut(*values):
        whole(*values)
        if values[1] == 1 or getattr(values[1], "name", "") == written:
            raise Cut

    monkeypatch.setattr(place, name, cut)


@pytest.mark.long
@pytest.mark.parametrize(("written", "left"), WRITTEN.items())
def test_cut_between_any_two_files_it_goes_on_where_it_was(
    written, left, tmp_path, monkeypatch, undisturbed
):
    with monkeypatch.context() as patched:
        cut_after(written, patched)
        with pytest.raises(Cut):
            train(tmp_path)
    model, history, validated = train(tmp_path)
    assert validated == left
    assert_same(model, history, undisturbed)
    assert {path.name for path in tmp_path.iterdir()} == RESULT


@pytest.mark.long
def test_what_a_write_that_was_cut_leaves_is_thrown_away(tmp_path, monkeypatch, undisturbed):
    with monkeypatch.context() as patched:
        cut_after("CSVLogger", patched)
        with pytest.raises(Cut):
            train(tmp_path)
    log = (tmp_path / "log.csv").read_text()
    (tmp_path / "log.csv").write_text(log.rstrip()[:-3])  # the second row, not whole
    (tmp_path / "best-2.weights.h5").write_bytes(b"half")
    (tmp_path / ".last-2-abc.weights.h5").write_bytes(b"half")
    model, history, validated = train(tmp_path)
    assert validated == 2
    assert_same(model, history, undisturbed)
    assert {path.name for path in tmp_path.iterdir()} == RESULT


@pytest.mark.long
def test_going_on_it_knows_how_good_the_best_epoch_was(tmp_path):
    scores = [0.9, 0.1, 0.5]

    def validate(model):
        return {"val_score": scores[int(model.optimizer.iterations) // 3 - 1]}

    def cut(epoch):
        if epoch == 3:
            raise Cut

    with pytest.raises(Cut):
        train(tmp_path, after_epoch=cut, validate=validate, monitor="val_score")
    kept = (tmp_path / "best-1.weights.h5").read_bytes()
    model, _, _ = train(tmp_path, validate=validate, monitor="val_score")
    (tmp_path / "best.weights.h5").write_bytes(kept)
    best = network()
    best.load_weights(tmp_path / "best.weights.h5")
    for mine, theirs in zip(model.get_weights(), best.get_weights(), strict=True):
        np.testing.assert_array_equal(mine, theirs)


def test_fact_of_keras_backup_and_restore_cut_between_its_two_files_repeats_an_epoch(
    tmp_path, monkeypatch
):
    """Why `fit` writes the last epoch by itself. Fails once Keras has mended this.

    Then `Resume` can give way to `keras.callbacks.BackupAndRestore`.
    """
    inputs, targets = np.ones((4, 2), "float32"), np.ones((4, 1), "float32")

    def run(before=None):
        model = keras.Sequential([keras.Input((2,)), layers.Dense(1)])
        model.compile("adam", "mse")
        if before is not None:
            before(model)
        backup = keras.callbacks.BackupAndRestore(tmp_path / "backup", delete_checkpoint=False)
        model.fit(inputs, targets, batch_size=4, epochs=3, verbose=0, callbacks=[backup])
        return model

    def cut_after_weights_of_second_epoch(model):
        save = model.save_weights

        def cut(*values, **options):
            save(*values, **options)
            if int(model.optimizer.iterations) == 2:
                raise Cut

        monkeypatch.setattr(model, "save_weights", cut)

    with pytest.raises(Cut):
        run(cut_after_weights_of_second_epoch)
    # One step an epoch: 3 would be right.
    assert int(run().optimizer.iterations) == 4


def summed_batches(folder):
    """Return what should have been trained on and what was, after each of two epochs.

    The gradient of |255 - w x| is -x, so that at a rate of 1 the weight w becomes the sum of all x.
    Each x is another power of 2: the sum tells which were in it.
    """
    given = 0.5 ** np.arange(1, 7, dtype="float32")[:, None]
    inputs = keras.Input((1,))
    outputs = layers.Dense(1, use_bias=False, kernel_initializer="zeros", name="logit")(inputs)
    plan = batches.BatchPlan(epochs=2, batch_size=1, steps_per_epoch=3, strength=None)
    history = training.fit(
        keras.Model(inputs, outputs),
        partial(batches.training_batches, given, np.full(6, 255), plan),
        optimizer=keras.optimizers.SGD(1.0),
        loss=keras.losses.MeanAbsoluteError(),
        folder=folder,
        epochs=2,
        configuration={},
        validate=lambda model: {"val_weight": model.get_weights()[0].item()},
        monitor="val_weight",
    )
    plans = [batches.epoch_plan(6, 1, 3, seed=0, epoch=epoch) for epoch in range(2)]
    return np.cumsum([given[plan].sum() for plan in plans]), history["val_weight"]


def test_every_batch_is_trained_on_from_the_first(tmp_path):
    """Keras may take a batch to build the network or the loss, and would not give it back."""
    np.testing.assert_array_equal(*summed_batches(tmp_path))


@pytest.mark.long
def test_killed_by_sigkill_it_goes_on_where_it_was(tmp_path, undisturbed):
    script = """
import os, signal, sys
sys.path.insert(0, "tests/unit/models")
from test_training import train
train(sys.argv[1], after_epoch=lambda epoch: epoch == 3 and os.kill(os.getpid(), signal.SIGKILL))
"""
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)], cwd=ROOT, capture_output=True, check=False
    )
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()
    assert not (tmp_path / "model.keras").exists()
    # What a write that was killed leaves behind.
    (tmp_path / ".epoch-3-abc.weights.h5").write_bytes(b"half")
    model, history, validated = train(tmp_path)
    assert validated == 1
    assert_same(model, history, undisturbed)
    assert {path.name for path in tmp_path.iterdir()} == RESULT


def fitted(folder, cut=None, epochs=EPOCHS):
    """Train with a `fit` of one's own, as a notebook does; `cut` is raised in the second epoch."""
    keras.config.set_dtype_policy("float32")
    images, masks = data()
    model = network()
    model.compile(
        keras.optimizers.Adam(training.cosine_schedule(0.01, 9)), losses.DiceCrossEntropy()
    )
    progress = training.Resume(folder, model, epochs, {"seed": 0}, monitor="val_loss", mode="min")
    plan = batches.BatchPlan(epochs=epochs, batch_size=4, tumour_share=0.5)
    before = progress.done
    given, steps = batches.training_batches(images, masks, plan, min(before, epochs - 1))

    def stop(epoch, logs):
        if cut and epoch == 1:
            raise Cut

    model.fit(
        given,
        steps_per_epoch=steps,
        initial_epoch=before,
        epochs=epochs,
        validation_data=(images[:6].astype("float32"), masks[:6, ..., None].astype("float32")),
        callbacks=[keras.callbacks.LambdaCallback(on_epoch_end=stop), *progress.callbacks()],
        shuffle=False,
        verbose=0,
    )
    return model, progress.finish(), before


@pytest.mark.long
def test_a_fit_of_ones_own_that_was_cut_goes_on_where_it_was(tmp_path):
    model, history, _ = fitted(tmp_path / "undisturbed")
    undisturbed = None, [np.array(values) for values in model.get_weights()], history
    assert list(history.columns[:3]) == ["epoch", "loss", "val_loss"]
    assert history["epoch"].tolist() == [1, 2, 3]
    with pytest.raises(Cut):
        fitted(tmp_path / "cut", cut=True)
    model, history, before = fitted(tmp_path / "cut")
    assert before == 1
    assert_same(model, history, undisturbed)
    model, history, before = fitted(tmp_path / "cut")  # finished: nothing is trained any more
    assert before == EPOCHS
    assert_same(model, history, undisturbed)
    assert {path.name for path in (tmp_path / "cut").iterdir()} == RESULT


@pytest.mark.long
def test_finished_training_is_loaded(undisturbed):
    folder, weights, expected = undisturbed
    model, history, validated = train(folder)
    assert validated == 0
    pd.testing.assert_frame_equal(history, expected, check_exact=True)
    for mine, theirs in zip(model.get_weights(), weights, strict=True):
        np.testing.assert_array_equal(mine, theirs)


@pytest.mark.long
def test_other_configuration_is_trained_anew(tmp_path):
    train(tmp_path, epochs=1)
    _, _, validated = train(tmp_path, epochs=1, seed=1)
    assert validated == 1
    _, history, validated = train(tmp_path, epochs=2, seed=1)
    assert validated == 2
    assert len(history) == 2


@pytest.mark.long
@pytest.mark.parametrize(
    ("monitor", "mode", "best"),
    [("val_score", "max", 2), ("val_score", "min", 1), (None, "max", 3)],
)
def test_best_epoch_is_kept_and_the_first_of_equals(tmp_path, monitor, mode, best):
    kept = {}
    scores = iter([0.1, 0.9, 0.9])

    def validate(model):
        kept[len(kept) + 1] = [np.array(values) for values in model.get_weights()]
        return {"val_score": next(scores)}

    model, _, _ = train(tmp_path, validate=validate, monitor=monitor, mode=mode)
    for mine, theirs in zip(model.get_weights(), kept[best], strict=True):
        np.testing.assert_array_equal(mine, theirs)
    saved = saving.load_model(tmp_path / "model.keras", "float32")
    for mine, theirs in zip(saved.get_weights(), kept[best], strict=True):
        np.testing.assert_array_equal(mine, theirs)


@pytest.mark.long
def test_the_history_has_every_digit_of_what_validate_returned(tmp_path):
    random = np.random.default_rng(0)
    values = random.normal(size=(3, 2)) * 10.0 ** random.integers(-9, 9, (3, 2))
    rows = iter(values)

    def validate(model):
        first, second = next(rows)
        return {"val_score": first, "val_other": second}

    _, history, _ = train(tmp_path, validate=validate, monitor="val_score")
    np.testing.assert_array_equal(history[["val_score", "val_other"]], values)
    assert list(history) == ["epoch", "loss", "val_score", "val_other", "seconds"]


@pytest.mark.parametrize(
    ("validate", "words"),
    [
        (lambda model: {"val_dice": float("nan")}, "epoch 1: val_dice is nan"),
        (lambda model: {"val_dice": 0.5, "val_loss": float("inf")}, "epoch 1: val_loss is inf"),
    ],
)
def test_a_score_that_is_no_number_ends_the_training_in_one_line(tmp_path, validate, words):
    with pytest.raises(training.Diverged, match=f"^{words}.*take a smaller learning rate$"):
        train(tmp_path, validate=validate)


class NoNumber(keras.losses.Loss):
    def call(self, truth, predicted):
        return predicted[:, 0, 0, 0] * np.nan


def test_a_loss_that_is_no_number_ends_the_training_before_anything_is_validated(tmp_path):
    with pytest.raises(training.Diverged, match=r"^epoch 1: loss is nan"):
        train(tmp_path, loss=NoNumber())
    assert not list(tmp_path.glob("last-*"))


def test_unknown_mode_is_refused(tmp_path):
    with pytest.raises(ValueError, match="mode 'best': must be max or min"):
        train(tmp_path, mode="best")


@pytest.mark.long
def test_corrupt_checkpoint_is_told(tmp_path):
    train(tmp_path, epochs=1)
    (tmp_path / "model.keras").write_bytes(b"half")
    with pytest.raises(CourseError, match=r"model\.keras: cannot be loaded"):
        train(tmp_path, epochs=1)


@pytest.mark.long
@pytest.mark.parametrize("name", ["last-1.weights.h5", "best-1.weights.h5", "log.csv"])
def test_a_corrupt_file_of_a_training_that_was_cut_is_told_in_one_line(name, tmp_path):
    with pytest.raises(Cut):
        train(tmp_path, epochs=2, after_epoch=cut_in_second_epoch)
    (tmp_path / name).write_bytes(b"half")
    worst = {"validate": lambda model: {"val_dice": -1.0}}  # so that the first epoch stays the best
    with pytest.raises(CourseError) as told:
        train(tmp_path, epochs=2, **worst)
    assert f"{name}: cannot be loaded (" in str(told.value)
    assert str(told.value).endswith("); delete its folder and train again")
    assert len(str(told.value).splitlines()) == 1


@pytest.mark.long
def test_a_head_on_features_and_a_sequential_model_train_too(tmp_path):
    random = np.random.default_rng(0)
    features = random.normal(size=(40, 6)).astype("float16")
    labels = features[:, 0] > 0
    head = keras.Sequential([keras.Input((6,)), keras.layers.Dense(1, name="logit")], name="head")
    plan = batches.BatchPlan(epochs=4, batch_size=8, strength=None)
    options = {
        "make_batches": partial(batches.training_batches, features, labels, plan),
        "loss": keras.losses.BinaryCrossentropy(from_logits=True),
        "folder": tmp_path,
        "epochs": 4,
        "configuration": {},
        "validate": validation.validate_detector(features, labels),
        "monitor": "val_loss",
        "mode": "min",
    }
    history = training.fit(head, optimizer=keras.optimizers.Adam(0.1), **options)
    assert history["val_auc"].iloc[-1] > 0.9
    weights = head.get_weights()
    head.layers[-1].kernel.assign(np.zeros((6, 1)))
    training.fit(head, optimizer=keras.optimizers.Adam(0.1), **options)
    np.testing.assert_array_equal(head.get_weights()[0], weights[0])


class Fixed:
    """Predicts the same whatever comes in, in turn."""

    def __init__(self, outputs):
        self.outputs = outputs
        self.place = 0

    def predict_on_batch(self, batch):
        self.place += len(batch)
        return self.outputs[self.place - len(batch) : self.place]


def test_validation_dice_is_by_patient():
    truth = np.zeros((4, 2, 2), "uint8")
    predicted = np.zeros((4, 2, 2, 1), "float32")
    truth[0, 0] = 1  # patient a: 2 pixels in one slice, 1 of them found, 1 false in another
    predicted[0, 0, 0] = predicted[1, 1, 1] = 0.9
    # patient b: nothing there, nothing found; patient c: 1 false pixel
    predicted[3, 0, 0] = 0.9
    validate = validation.validate_segmenter(np.zeros((4, 2, 2, 3)), truth, list("aabc"), 3)
    assert validate(Fixed(predicted)) == {"val_dice": pytest.approx((0.5 + 1 + 0) / 3)}


def test_validation_of_logits_by_hand():
    labels = np.array([True, True, False, False])
    logits = np.array([[2.0], [0.0], [0.0], [-1.0]], "float32")
    validate = validation.validate_detector(np.zeros((4, 1)), labels)
    values = validate(Fixed(logits))
    terms = [np.log1p(np.exp(-2)), np.log(2), np.log(2), np.log1p(np.exp(-1))]
    assert values["val_loss"] == pytest.approx(np.mean(terms))
    assert values["val_auc"] == pytest.approx(3.5 / 4)


def test_one_class_has_no_roc_curve():
    validate = validation.validate_detector(np.zeros((2, 1)), [True, True])
    assert validate(Fixed(np.zeros((2, 1))))["val_auc"] == 0.5


def test_schedule_rises_then_falls_to_nothing():
    rate = training.cosine_schedule(1e-2, steps=100, warmup=0.1)
    values = [float(rate(step)) for step in range(101)]
    assert int(np.argmax(values)) == 10
    assert values[0] == pytest.approx(1e-3)
    assert values[10] == pytest.approx(1e-2)
    assert values[55] == pytest.approx(5e-3, rel=1e-3)
    assert values[100] == pytest.approx(0, abs=1e-8)
    assert float(training.cosine_schedule(1e-2, steps=10, warmup=0)(0)) == pytest.approx(1e-2)


@pytest.mark.long
def test_trains_with_jax_and_goes_on_there_too(tmp_path):
    script = """
import sys
from functools import partial
import numpy as np
sys.path.insert(0, "tests/unit/models")
from test_training import Cut, cut_in_second_epoch, summed_batches, train
np.testing.assert_array_equal(*summed_batches(sys.argv[1] + "/summed"))
model, history, _ = train(sys.argv[1] + "/whole")
try:
    train(sys.argv[1] + "/cut", after_epoch=cut_in_second_epoch)
except Cut:
    pass
again, history_again, validated = train(sys.argv[1] + "/cut")
assert validated == 2
assert history_again["loss"].equals(history["loss"])
for mine, theirs in zip(again.get_weights(), model.get_weights(), strict=True):
    np.testing.assert_array_equal(mine, theirs)
print(",".join(str(loss) for loss in history["loss"]))
"""
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)],
        cwd=ROOT,
        env={**os.environ, "KERAS_BACKEND": "jax"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    values = [float(value) for value in done.stdout.split(",")]
    assert values[-1] < values[0]
