"""The two networks: shapes, seeds, the preprocessing inside, files and precisions."""

import keras
import numpy as np
import pytest

from utils.cohort.volumes import HEAD_MEAN
from utils.config import CourseError
from utils.models import precision, resnet50, resunet
from utils.models.files import saving
from utils.runtime import machine

PICTURES = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3)).astype("uint8")


@pytest.fixture(autouse=True)
def keep_policy():
    before = keras.config.dtype_policy()
    yield
    keras.config.set_dtype_policy(before)


@pytest.fixture(scope="module")
def detector():
    return resnet50.detector(32, weights=None, seed=1)


def small_resunet(**options):
    return resunet.resunet(32, filters=(4, 8, 8), **options)


def weights_of(model):
    return [np.asarray(values) for values in model.get_weights()]


def test_resunet_has_the_filters_asked_for():
    model = resunet.resunet()
    assert model.input_shape == (None, 128, 128, 3)
    assert model.output_shape == (None, 128, 128, 1)
    widths = [model.get_layer(f"down{level}_conv2").filters for level in range(4)]
    assert widths == [32, 64, 128, 256]


def test_the_stem_halves_what_the_levels_see():
    finest = {
        stem: resunet.resunet(32, (4, 8), stem=stem).get_layer("down0_add").output.shape[1:3]
        for stem in (True, False)
    }
    assert finest == {True: (16, 16), False: (32, 32)}
    assert resunet.resunet(32, (4, 8), stem=False).output_shape == (None, 32, 32, 1)


def test_few_channels_are_thinned_out_before_their_convolution():
    few, enough = (resunet.resunet(32, widths) for widths in ((4, 8), (16, 32)))
    assert few.get_layer("down1_shortcut").strides == (1, 1)
    assert enough.get_layer("down1_shortcut").strides == (2, 2)

    ends = [few.get_layer(name).output for name in ("down0_add", "down1_shortcut")]
    picture = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3)).astype("float32")
    before, after = keras.Model(few.input, ends).predict_on_batch(picture)
    kernel = few.get_layer("down1_shortcut").kernel
    strided = keras.ops.conv(before, kernel, strides=2, padding="same")
    np.testing.assert_allclose(after, strided, rtol=1e-4, atol=1e-5)


def test_resunet_starts_at_its_prior():
    model = small_resunet(prior=0.02)
    assert model.get_layer("logit").bias.numpy() == pytest.approx(np.log(0.02 / 0.98))
    blank = model.predict_on_batch(np.full((1, 32, 32, 3), HEAD_MEAN, "uint8"))
    np.testing.assert_allclose(blank, 0.02, rtol=1e-3)


def test_size_must_fit_the_levels():
    with pytest.raises(CourseError, match="size 100: must be a multiple of 16"):
        resunet.resunet(100)


def test_same_seed_same_resunet():
    first, again, other = (weights_of(small_resunet(seed=seed)) for seed in (7, 7, 8))
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    kernels = [(a, b) for a, b in zip(first, other, strict=True) if a.ndim > 1]
    assert not any(np.array_equal(a, b) for a, b in kernels)


def test_same_seed_same_detector(detector):
    again = resnet50.detector(32, seed=1)
    pairs = zip(weights_of(detector), weights_of(again), strict=True)
    assert all(np.array_equal(a, b) for a, b in pairs)


def test_convolutions_of_the_same_shape_differ():
    model = small_resunet(seed=0)
    first, second = (model.get_layer("down1_conv2").kernel, model.get_layer("up1_conv2").kernel)
    assert first.shape == second.shape
    assert not np.allclose(first, second)


@pytest.mark.long
def test_detector_preprocesses_as_imagenet_did(detector, tmp_path):
    bare = keras.applications.ResNet50(include_top=False, weights=None, input_shape=(32, 32, 3))
    bare.save_weights(tmp_path / "made.weights.h5")
    model = resnet50.detector(32, weights=tmp_path / "made.weights.h5")
    prepared = keras.applications.resnet50.preprocess_input(PICTURES.astype("float32"))
    features = keras.Model(bare.input, bare.get_layer("conv4_block6_out").output)
    expected = np.max(features(prepared), axis=(1, 2))
    np.testing.assert_allclose(resnet50.pooled_of(model)(PICTURES), expected, rtol=1e-4, atol=1e-5)


def test_trunk_and_last_blocks_together_are_the_detector(detector):
    features = resnet50.trunk_of(detector)(PICTURES)
    assert features.shape == (2, 2, 2, 1024)
    stage = resnet50.last_blocks_of(detector)
    logits = np.asarray(detector(PICTURES))
    np.testing.assert_allclose(stage(features), logits, rtol=1e-4, atol=1e-4)
    bias = stage.get_layer("logit").bias
    before = np.asarray(bias)
    bias.assign(before + 1)
    np.testing.assert_allclose(detector(PICTURES), logits + 1, rtol=1e-3)
    bias.assign(before)


def test_frozen_norms_leave_the_rest_trainable():
    stage = resnet50.last_blocks_of(resnet50.detector(32))
    count = len(stage.trainable_variables)
    resnet50.freeze_norms(stage)
    norms = [layer for layer in stage.layers if isinstance(layer, keras.layers.BatchNormalization)]
    assert len(norms) == 9
    assert count - len(stage.trainable_variables) == 2 * len(norms)


def test_calibrated_is_the_sigmoid_of_logit_over_temperature(detector):
    logits = np.asarray(detector(PICTURES))
    probability = resnet50.calibrated(detector, 2.5)(PICTURES)
    np.testing.assert_allclose(probability, 1 / (1 + np.exp(-logits / 2.5)), rtol=1e-4)
    with pytest.raises(ValueError, match=r"temperature 0\.0: must be above 0"):
        resnet50.calibrated(detector, 0.0)


@pytest.mark.long
def test_calibrated_detector_loads_in_safe_mode_without_custom_objects(detector, tmp_path):
    model = resnet50.calibrated(detector, 1.7)
    path = saving.save_model(model, tmp_path / "détecteur 1.keras")
    again = keras.saving.load_model(path)
    np.testing.assert_allclose(again(PICTURES), model(PICTURES), rtol=1e-4)


@pytest.mark.long
@pytest.mark.parametrize("trained", precision.NAMES)
@pytest.mark.parametrize("used", precision.NAMES)
def test_any_precision_loads_in_any_other(trained, used, tmp_path):
    precision.set_precision(trained)
    model = small_resunet(seed=3)
    path = saving.save_model(model, tmp_path / "segmenter.keras")
    again = saving.load_model(path, used)
    # Loading is for one model: it does not change what is made afterwards.
    assert keras.config.dtype_policy().name == trained
    policies = {layer.name: layer.dtype_policy.name for layer in again.layers}
    in_float32 = {name for name, policy in policies.items() if policy == "float32"} - {"picture"}
    everything = policies.keys() - {"picture"}
    always = {"rescale", "logit", "enlarged", "probability"}
    assert in_float32 == (everything if used == "float32" else always)
    assert again.predict_on_batch(PICTURES).dtype == np.float32
    for mine, saved in zip(weights_of(again), weights_of(model), strict=True):
        np.testing.assert_array_equal(mine, saved)


def test_file_holds_no_optimiser_state(tmp_path):
    inputs = keras.layers.Input((300,), name="features")
    model = keras.Model(inputs, keras.layers.Dense(100, name="dense")(inputs), name="small")
    plain = saving.save_model(model, tmp_path / "plain.keras").stat().st_size
    model.compile(keras.optimizers.Adam(), loss="mse")
    model.train_on_batch(np.zeros((2, 300)), np.zeros((2, 100)))
    trained = saving.save_model(model, tmp_path / "trained.keras").stat().st_size
    assert trained < 1.1 * plain


@pytest.mark.parametrize("content", [None, b"", b"PK\x03\x04 not a zip", "half"])
def test_missing_or_broken_file_is_told(content, tmp_path):
    path = tmp_path / "model.keras"
    if content == "half":
        saving.save_model(small_resunet(), path)
        content = path.read_bytes()[: path.stat().st_size // 2]
    if content is not None:
        path.write_bytes(content)
    expected = {None: "no such model", b"": "an empty file"}.get(content, "not a whole Keras model")
    with pytest.raises(CourseError, match=expected) as told:
        saving.load_model(path)
    assert str(path) in str(told.value)


def test_failed_save_leaves_the_old_file(tmp_path, monkeypatch):
    path = saving.save_model(small_resunet(seed=1), tmp_path / "model.keras")
    before = path.read_bytes()

    def fail(self, filepath, **options):
        filepath.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(keras.Model, "save", fail)
    with pytest.raises(OSError, match="No space left"):
        saving.save_model(small_resunet(seed=2), path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_auto_precision_follows_the_processor(tmp_path, monkeypatch):
    monkeypatch.setattr(precision, "has_gpu", lambda: False)
    for flags, name in (
        ("fpu avx512f amx_bf16", "mixed_bfloat16"),
        ("fpu avx512f avx512_bf16", "mixed_bfloat16"),
        ("fpu avx2 avx512f", "float32"),
    ):
        (tmp_path / "cpuinfo").write_text(f"flags\t: {flags}\n")
        monkeypatch.setattr(machine, "CPUINFO", tmp_path / "cpuinfo")
        assert precision.resolve_precision("auto") == name
    monkeypatch.setattr(machine, "CPUINFO", tmp_path / "none")
    assert precision.resolve_precision("auto") == "float32"
    monkeypatch.setattr(precision, "has_gpu", lambda: True)
    assert precision.set_precision() == "mixed_bfloat16"
    assert keras.config.dtype_policy().name == "mixed_bfloat16"


def test_unknown_precision_is_refused():
    with pytest.raises(ValueError, match="precision 'half': must be auto, float32 or"):
        precision.set_precision("half")
