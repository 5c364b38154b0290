"""A ResNet50 with folded normalisation computes what the ordinary one does."""

import keras
import numpy as np
import pytest

from utils.models import precision, resnet50, resunet
from utils.models.files import saving

PICTURES = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3)).astype("float32")


@pytest.fixture(autouse=True)
def float32():
    precision.set_precision("float32")


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A file of ResNet50 weights whose normalisations are far from doing nothing."""
    precision.set_precision("float32")
    network = keras.applications.ResNet50(include_top=False, weights=None)
    random = np.random.default_rng(1)
    for layer in network.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            low, high = (0.4, -0.2, -0.3, 0.5), (0.8, 0.2, 0.3, 1.5)
            drawn = random.uniform(low, high, (*layer.gamma.shape, 4))
            layer.set_weights(list(drawn.T))
    path = tmp_path_factory.mktemp("weights") / "made.weights.h5"
    network.save_weights(path)
    return path


@pytest.fixture(scope="module")
def detector(weights):
    precision.set_precision("float32")
    return resnet50.detector(64, weights)


@pytest.fixture(scope="module")
def trunk(weights):
    precision.set_precision("float32")
    return resnet50.folded_trunk(64, weights)


@pytest.fixture(scope="module")
def unet(weights):
    precision.set_precision("float32")
    return resnet50.pretrained_unet(64, weights, seed=1)


@pytest.mark.long
def test_folded_trunk_computes_what_the_detectors_trunk_does(detector, trunk):
    expected = np.asarray(resnet50.trunk_of(detector)(PICTURES))
    features = np.asarray(trunk(PICTURES))
    assert features.shape == (2, 4, 4, 1024)
    assert np.abs(features - expected).max() < 1e-3 * np.abs(expected).max()


@pytest.mark.long
def test_a_folded_detector_answers_as_before(detector):
    calibrated = resnet50.calibrated(detector, temperature=2.0)
    folded = resnet50.fold(calibrated)
    assert "conv1_bn" not in {layer.name for layer in folded.layers}
    np.testing.assert_allclose(folded(PICTURES), calibrated(PICTURES), rtol=1e-3, atol=1e-4)


def test_a_network_of_another_kind_is_not_folded():
    network = resunet.resunet(32, (4, 8))
    assert resnet50.fold(network) is network


@pytest.mark.long
def test_unet_starts_with_imagenets_encoder(trunk, unet):
    middle = keras.Model(unet.input, unet.get_layer(resnet50.TRUNK_END).output)
    np.testing.assert_allclose(middle(PICTURES), trunk(PICTURES), rtol=1e-4, atol=1e-4)


@pytest.mark.long
def test_unet_gives_a_probability_to_every_pixel(unet):
    probabilities = np.asarray(unet(PICTURES))
    assert probabilities.shape == (2, 64, 64, 1)
    assert probabilities.min() >= 0
    assert probabilities.max() <= 1


@pytest.mark.long
@pytest.mark.parametrize("seed", range(3))
def test_an_untrained_unet_takes_tumour_to_be_rare_and_is_not_sure_of_it(seed):
    model = resnet50.pretrained_unet(64, seed=seed)
    names = ("conv1_conv_relu", "conv2_block3_out", "conv3_block4_out", "conv4_block5_out")
    features = [model.get_layer(name).output for name in names]
    decoder = keras.Model(features, model.get_layer("logit").output)
    random = np.random.default_rng(0)  # about as large as ImageNet's features of a slice
    drawn = [
        np.abs(random.normal(0, 1.5, (2, *one.shape[1:]))).astype("float32") for one in features
    ]
    logits = np.asarray(decoder(drawn))
    # 2 % is a logit of -3.9; from -7.4 to -0.4, 0.06 % to 40 %, the sigmoid is nowhere flat.
    assert np.abs(logits - np.log(0.02 / 0.98)).max() < 3.5


@pytest.mark.long
def test_the_first_two_stages_are_not_trained(unet):
    trained = {each.path.split("/")[0] for each in unet.trainable_variables}
    assert not any(name.startswith(("conv1", "conv2")) for name in trained)
    assert {"conv3_block1_1_conv", "conv4_block5_3_conv", "logit"} <= trained


@pytest.mark.long
def test_same_seed_same_network(unet):
    again, other = (resnet50.pretrained_unet(64, seed=seed) for seed in (1, 2))
    kernels = [model.get_layer("up32_conv1").get_weights()[0] for model in (unet, again, other)]
    assert np.array_equal(kernels[0], kernels[1])
    assert not np.array_equal(kernels[0], kernels[2])


@pytest.mark.long
def test_a_unet_of_three_sequences_starts_as_that_of_flair(unet, weights):
    several = resnet50.pretrained_unet(64, weights, seed=1, sequences=3)
    for layer in unet.layers:
        several.get_layer(layer.name).set_weights(layer.get_weights())
    pictures = np.random.default_rng(1).uniform(0, 255, (2, 64, 64, 9)).astype("float32")
    expected = np.asarray(unet(pictures[..., 3:6]))
    np.testing.assert_allclose(several(pictures), expected, rtol=1e-4, atol=1e-6)


@pytest.mark.long
def test_a_unet_of_three_sequences_learns_to_see_each_of_them(weights, tmp_path):
    model = resnet50.pretrained_unet(64, weights, seed=1, sequences=3)
    joins = [layer for layer in model.layers if layer.name in ("join32", "join16")]
    assert len(joins) == 2 and all(layer.trainable for layer in joins)
    for layer in joins:
        kernel, bias = layer.get_weights()
        layer.set_weights([np.full_like(kernel, 0.01), bias])
    pictures = np.random.default_rng(1).uniform(0, 255, (1, 64, 64, 9)).astype("float32")
    before = np.asarray(model(pictures))
    for first in (0, 3, 6):
        changed = pictures.copy()
        changed[..., first : first + 3] = 0
        assert np.abs(np.asarray(model(changed)) - before).max() > 1e-6
    again = saving.load_model(saving.save_model(model, tmp_path / "all.keras"), "float32")
    np.testing.assert_allclose(again(pictures), before, rtol=1e-4, atol=1e-6)


@pytest.mark.long
def test_unet_survives_saving(tmp_path, unet):
    again = saving.load_model(saving.save_model(unet, tmp_path / "unet.keras"), "float32")
    np.testing.assert_allclose(again(PICTURES), unet(PICTURES), rtol=1e-4, atol=1e-6)
