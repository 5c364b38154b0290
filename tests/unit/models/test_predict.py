import shutil
import subprocess
import sys
import tracemalloc
import zipfile

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, strategies as st
from PIL import Image
from scipy import ndimage

from utils import config
from utils.cohort.framing import Square
from utils.cohort.volumes import View
from utils.config import ROOT, CourseError, write_json
from utils.models.files.settings import Postprocessing, read_settings
from utils.models.inference import predict_stream, predict_together, resize_probabilities
from utils.models.postprocessing import (
    combine,
    patient_scores,
    postprocess,
    search_postprocessing,
    slice_scores,
    smooth_slices,
)
from utils.models.predict import Networks, predict_cohort, prepare_out, slice_probabilities
from utils.tables import read_table


class Halving:
    """Stands for a model: halves its input, and keeps the lengths of the batches it was given."""

    def __init__(self):
        self.lengths = []

    def predict_on_batch(self, batch):
        self.lengths.append(len(batch))
        return batch / 2


@given(lengths=st.lists(st.integers(1, 40), min_size=1, max_size=12), batch_size=st.integers(1, 32))
def test_a_stream_keeps_groups_apart_and_batches_full(lengths, batch_size):
    ends = np.cumsum(lengths)
    groups = np.split(np.arange(ends[-1], dtype=np.float32)[:, None, None], ends[:-1])
    model = Halving()
    outputs = list(predict_stream(model, iter(groups), batch_size))
    assert set(model.lengths) == {batch_size}
    assert len(model.lengths) == -(-ends[-1] // batch_size)
    for group, output in zip(groups, outputs, strict=True):
        np.testing.assert_array_equal(output, group[..., 0] / 2)


@given(lengths=st.lists(st.integers(1, 40), min_size=1, max_size=12), batch_size=st.integers(1, 32))
def test_models_that_work_together_each_get_their_own_images(lengths, batch_size):
    ends = np.cumsum(lengths)
    small = np.split(np.arange(ends[-1], dtype=np.float32)[:, None, None], ends[:-1])
    large = [np.repeat(100 + group, 3, axis=1) for group in small]
    models = [Halving(), Halving()]
    outputs = list(predict_together(models, zip(small, large, strict=True), batch_size))
    assert models[0].lengths == models[1].lengths
    assert len(outputs) == len(lengths)
    for group, (first, second) in zip(small, outputs, strict=True):
        np.testing.assert_array_equal(first, group[..., 0] / 2)
        np.testing.assert_array_equal(second, np.repeat(50 + first, 3, axis=1))


def test_an_error_of_one_model_is_not_lost():
    class Failing:
        def predict_on_batch(self, batch):
            raise MemoryError("no room")

    images = [np.zeros((3, 2, 2)), np.zeros((3, 2, 2))]
    with pytest.raises(MemoryError, match="no room"):
        list(predict_together([Halving(), Failing()], [images], 2))


def test_no_images_give_no_output():
    assert list(predict_stream(Halving(), [])) == []


def two_pieces():
    """A piece of 2 x 3 x 3 pixels over two slices, and a single pixel in the second one."""
    probabilities = np.zeros((3, 10, 10), np.float32)
    probabilities[:2, 1:4, 1:4] = 0.9
    probabilities[1, 8, 8] = 0.6
    return probabilities


@pytest.mark.parametrize(
    ("settings", "pixels"),
    [
        (Postprocessing(), 19),
        (Postprocessing(threshold=0.7), 18),
        (Postprocessing(minimum_px=2), 18),
        (Postprocessing(minimum_px=18), 18),
        (Postprocessing(minimum_px=19), 0),
        (Postprocessing(largest_only=True), 18),
        (Postprocessing(threshold=0.95, largest_only=True), 0),
    ],
)
def test_postprocessing_counts_pieces_across_slices(settings, pixels):
    masks = postprocess(two_pieces(), settings)
    assert masks.dtype == np.uint8
    assert masks.sum() == pixels


@given(
    seed=st.integers(0, 10**6),
    shape=st.tuples(st.integers(1, 5), st.integers(2, 12), st.integers(2, 12)),
    size=st.tuples(st.integers(2, 20), st.integers(2, 20)),
    threshold=st.sampled_from([0.3, 0.5, 0.7, 0.9, 1.1]),
    minimum_px=st.sampled_from([0, 2, 5, 30]),
    largest_only=st.booleans(),
    neighbours=st.sampled_from([0.0, 0.1, 0.25]),
)
def test_pieces_joined_slice_by_slice_are_those_of_the_volume(
    seed, shape, size, threshold, minimum_px, largest_only, neighbours
):
    maps = np.random.default_rng(seed).random(shape).astype(np.float32)
    settings = Postprocessing(threshold, minimum_px, largest_only, neighbours)
    # All at once, as the definition has it: 26 neighbours; the first of the largest pieces.
    whole = smooth_slices(resize_probabilities(maps, size), neighbours) >= threshold
    pieces, _ = ndimage.label(whole, structure=np.ones((3, 3, 3)))
    sizes = np.bincount(pieces.ravel())
    sizes[0] = 0
    kept = sizes >= max(1, minimum_px)
    if largest_only:
        kept &= np.arange(len(sizes)) == sizes.argmax()
    expected = kept[pieces] if minimum_px > 1 or largest_only else whole
    np.testing.assert_array_equal(postprocess(maps, settings, size), expected)


def test_pieces_that_touch_at_a_corner_of_the_next_slice_are_one():
    maps = np.zeros((3, 8, 8), np.float32)
    maps[0, 0, 0] = maps[1, 1, 1] = maps[2, 0, 2] = 1  # one piece of 3
    maps[0, 5:7, 7] = 1  # one of 2
    masks = postprocess(maps, Postprocessing(largest_only=True))
    assert masks.sum() == 3
    assert masks[0, 0, 0] and masks[1, 1, 1] and masks[2, 0, 2]


@pytest.mark.parametrize(("share", "pixels"), [(0.0, 20), (0.1, 20), (0.5, 20), (0.6, 8), (1.0, 8)])
def test_the_piece_for_which_most_speaks_is_kept_not_the_largest(share, pixels):
    # 12 pixels at a logit of 2 make 24 in all, 8 pixels at a logit of 5 make 40: 24 is 0.6 of it,
    # a hair less in float32.
    maps = np.zeros((1, 8, 8), np.float32)
    maps[0, 0:3, 0:4] = 1 / (1 + np.exp(-1.999))
    maps[0, 5:7, 4:8] = 1 / (1 + np.exp(-5))
    masks = postprocess(maps, Postprocessing(least_share=share))
    assert masks.sum() == pixels
    assert masks[0, 5:7, 4:8].all()


def test_evidence_is_added_up_across_slices():
    maps = np.zeros((3, 8, 8), np.float32)
    maps[:, 1, 1:3] = 0.9  # 6 pixels at a logit of 2.2: 13
    maps[0, 5, 1:3] = 0.99  # 2 pixels at a logit of 4.6: 9
    assert postprocess(maps, Postprocessing(least_share=1.0)).sum() == 6


def test_maps_of_the_head_are_put_back_into_the_picture():
    maps = np.zeros((2, 8, 8), np.float32)
    maps[0, 2:4, 2:4] = 1
    masks = postprocess(maps, Postprocessing(), (40, 50), Square(top=10, left=20, side=16))
    expected = np.zeros((2, 40, 50), np.uint8)
    expected[0, 14:18, 24:28] = 1
    np.testing.assert_array_equal(masks, expected)


def test_the_masks_of_a_large_patient_take_a_byte_a_pixel(tmp_path):
    maps = np.zeros((30, 32, 32), np.float32)
    maps[5:20, 8:20, 8:20] = 1
    tracemalloc.start()
    masks = postprocess(maps, Postprocessing(largest_only=True, neighbours=0.25), (512, 512))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert masks.nbytes == 30 * 512 * 512
    assert masks.sum() > 10 * 190 * 190
    assert peak < masks.nbytes + 12 * 512 * 512 * 4


def test_probabilities_keep_their_range_and_place_when_resized():
    probabilities = np.zeros((1, 8, 8), np.float32)
    probabilities[0, :4] = 1
    resized = resize_probabilities(probabilities, (16, 12))
    assert resized.shape == (1, 16, 12)
    assert resized.min() == 0 and resized.max() == 1
    assert (resized[0, :7] > 0.5).all() and (resized[0, 9:] < 0.5).all()


def test_smoothing_averages_with_the_slices_above_and_below():
    maps = np.array([1.0, 0.0, 0.0, 0.5], np.float32)[:, None, None]
    smoothed = smooth_slices(maps, 0.25)
    np.testing.assert_allclose(smoothed[:, 0, 0], [0.75, 0.25, 0.125, 0.375])
    assert smooth_slices(maps, 0.0) is maps
    one = maps[:1]
    np.testing.assert_allclose(smooth_slices(one, 0.25), one)


def test_smoothing_is_done_before_the_threshold():
    maps = np.array([0.0, 0.9, 0.0], np.float32)[:, None, None]
    assert postprocess(maps, Postprocessing(0.5)).ravel().tolist() == [0, 1, 0]
    assert postprocess(maps, Postprocessing(0.5, neighbours=0.25)).sum() == 0


def test_the_search_scores_each_choice_with_each_by_patient():
    # Patient a has tumour in its first pixel. At 0.5 two pixels are predicted, 2 * 1 / (1 + 2); at
    # 0.8 only the right one. Its second slice does not count. b has none: at 0.5 one is predicted,
    # at 0.8 none, whose Dice was chosen to be 1.
    maps = {
        "a": np.array([0.9, 0.1, 0.7, 0.1, 0.9, 0.9, 0.9, 0.9], np.float32).reshape(2, 1, 4),
        "b": np.array([0.6, 0.1, 0.1, 0.1], np.float32).reshape(1, 1, 4),
        "not counted": np.zeros((1, 1, 4), np.float32),
    }
    truths = {"a": np.array([[[1, 0, 0, 0]]], np.uint8), "b": np.zeros((1, 1, 4), np.uint8)}
    kept = {"a": np.array([True, False]), "b": np.array([True])}
    pieces = [(0, False), (2, False)]
    found = search_postprocessing(maps, truths, (0.5, 0.8), pieces, kept=kept, empty=1.0)
    # Pieces of 2 pixels or more: the second slice's four are one piece with what lies above them.
    assert found == {
        Postprocessing(0.5): pytest.approx((2 / 3 + 0) / 2),
        Postprocessing(0.5, 2): pytest.approx((2 / 3 + 1) / 2),
        Postprocessing(0.8): pytest.approx((1 + 1) / 2),
        Postprocessing(0.8, 2): pytest.approx((1 + 1) / 2),
    }
    assert list(found)[:2] == [Postprocessing(0.5), Postprocessing(0.5, 2)]


def test_dice_of_a_patient_with_each_of_the_settings():
    truth = np.zeros((2, 16, 16), np.uint8)
    truth[:, 4:8, 4:8] = 1
    maps = np.where(truth, 0.55, 0.0).astype(np.float32)
    maps[0, 12:14, 12:14] = 0.9  # a false piece of 4 pixels, of which the network is surer
    tried = [
        Postprocessing(0.5),
        Postprocessing(0.6),
        Postprocessing(0.5, largest_only=True),
        Postprocessing(0.5, least_share=1.0),
    ]
    scores = patient_scores(maps, truth, tried)
    # 32 right pixels and 4 false ones: 64 / (36 + 32); of 0.55 in each, the logit is 0.2, and of
    # 0.9 it is 2.2: 32 x 0.2 = 6.4 against 4 x 2.2 = 8.8.
    np.testing.assert_allclose(scores, [64 / 68, 0, 1, 0])


def test_a_slice_scores_the_mean_of_its_highest_pixels():
    maps = np.zeros((2, 4, 4), np.float32)
    maps[0, 0, :2] = 0.8, 0.4
    np.testing.assert_allclose(slice_scores(maps, pixels=2), [0.6, 0.0], rtol=1e-6)


def test_detector_and_segmenter_are_weighed_on_the_scale_of_logits():
    weights = {"detector": 1.0, "segmenter": 0.5, "intercept": -1.0}
    p_detector, scores = np.array([0.5, 0.8]), np.array([0.5, 0.5])
    expected = 1 / (1 + np.exp(-np.array([-1.0, np.log(4) - 1.0])))
    np.testing.assert_allclose(combine(p_detector, scores, weights), expected)
    alone = slice_probabilities(p_detector, None, {"threshold": 0.3})
    assert alone is p_detector
    settings = {"combination": weights, "neighbours": 0.25}
    maps = np.full((2, 8, 8), 0.5)
    np.testing.assert_allclose(slice_probabilities(p_detector, maps, settings), expected)


def test_settings_must_lie_beside_the_model(tmp_path):
    with pytest.raises(CourseError, match=r"best\.json: missing.*keep the two files together"):
        read_settings(tmp_path / "best.keras")


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """A detector and a segmenter whose outputs can be worked out: the FLAIR channel decides."""
    keras = pytest.importorskip("keras")
    folder = tmp_path_factory.mktemp("models")
    inputs = keras.Input((32, 32, 3))
    flair = keras.layers.Conv2D(
        1, 1, kernel_initializer=keras.initializers.Constant(0), name="flair"
    )
    probability = keras.layers.Activation("sigmoid")(flair(inputs))
    segmenter = keras.Model(inputs, probability)
    kernel = np.zeros((1, 1, 3, 1), np.float32)
    kernel[0, 0, 1] = 1.0
    flair.set_weights([kernel, np.array([-180.0], np.float32)])
    detector = keras.Model(
        inputs, keras.layers.Reshape((1,))(keras.layers.GlobalMaxPooling2D()(probability))
    )
    segmenter.save(folder / "segmenter.keras")
    detector.save(folder / "detector.keras")
    write_json(
        folder / "segmenter.json",
        {"postprocessing": {"threshold": 0.5, "minimum_px": 4, "largest_only": False}},
    )
    write_json(folder / "detector.json", {"threshold": 0.5})
    return folder


def write_patient(root, name, slices, side):
    """Grey heads with noise; a bright FLAIR square of a quarter of the side in slice 2."""
    rng = np.random.default_rng(0)
    (root / name).mkdir(parents=True)
    for number in range(1, slices + 1):
        image = np.zeros((side, side, 3), np.uint8)
        inner = slice(side // 8, -side // 8)
        image[inner, inner] = rng.integers(90, 110, image[inner, inner].shape)
        if number == 2:
            image[side // 4 : side // 2, side // 4 : side // 2, 1] = 250
        Image.fromarray(image).save(root / name / f"{name}_{number}.tif")


def test_a_cohort_without_masks_is_predicted_at_its_own_size(tmp_path, models):
    cohort = tmp_path / "my cohort"
    write_patient(cohort, "TCGA_DU_0001 é", slices=3, side=64)
    write_patient(cohort, "TCGA_HT_0002", slices=12, side=96)
    written = predict_cohort(
        cohort, tmp_path / "out", models / "detector.keras", models / "segmenter.keras"
    )
    table = pd.read_csv(written)
    assert list(table.columns) == ["patient", "slice", "p_tumour", "tumour_px"]
    assert table["slice"].tolist() == [*range(1, 4), *range(1, 13)]
    assert table["p_tumour"].between(0, 1).all()
    bright = table["slice"] == 2
    assert (table.loc[bright, "p_tumour"] > 0.99).all()
    assert (table.loc[~bright, "tumour_px"] == 0).all()
    for row in table.itertuples():
        file = tmp_path / "out" / "masks" / row.patient / f"{row.patient}_{row.slice}_mask.png"
        mask = np.asarray(Image.open(file))
        assert mask.shape == ((64, 64) if "0001" in row.patient else (96, 96))
        assert set(np.unique(mask)) <= {0, 255}
        assert (mask > 0).sum() == row.tumour_px
    # The square covers (side / 4)^2 pixels; its border may move by one.
    assert abs(table.loc[bright, "tumour_px"].iloc[0] - 16**2) <= 4 * 17
    # What is hidden are those by which a run holds its folder.
    assert {file.name for file in (tmp_path / "out").rglob(".*")} == {".lock", ".holder"}


def test_nothing_is_left_of_an_earlier_prediction(tmp_path, models):
    cohort, out = tmp_path / "my cohort", tmp_path / "out"
    networks = models / "detector.keras", models / "segmenter.keras"
    write_patient(cohort, "TCGA_DU_0001", slices=3, side=64)
    write_patient(cohort, "TCGA_HT_0002", slices=3, side=64)
    predict_cohort(cohort, out, *networks)
    shutil.rmtree(cohort / "TCGA_HT_0002")
    (cohort / "TCGA_DU_0001" / "TCGA_DU_0001_3.tif").unlink()
    (out / "masks" / "of mine").mkdir()
    (out / "masks" / "of mine" / "notes.txt").write_text("kept")
    assert len(pd.read_csv(predict_cohort(cohort, out, *networks))) == 2
    left = sorted(str(file.relative_to(out)) for file in out.rglob("*") if file.is_file())
    assert left == [
        ".holder",
        ".lock",
        "masks/TCGA_DU_0001/TCGA_DU_0001_1_mask.png",
        "masks/TCGA_DU_0001/TCGA_DU_0001_2_mask.png",
        "masks/of mine/notes.txt",
        "slices.csv",
    ]
    assert not (out / "masks" / "TCGA_HT_0002").exists()


def test_a_segmenter_of_all_sequences_is_shown_the_head_and_its_masks_are_put_back(
    tmp_path, models
):
    keras = pytest.importorskip("keras")
    inputs = keras.Input((48, 48, 9))
    flair = keras.layers.Conv2D(1, 1, activation="sigmoid", dtype="float32")
    segmenter = keras.Model(inputs, flair(inputs))
    kernel = np.zeros((1, 1, 9, 1), np.float32)
    kernel[0, 0, 4] = 1.0  # FLAIR of the slice itself; a brain of 100 becomes 85, 250 becomes 212
    flair.set_weights([kernel, np.array([-150.0], np.float32)])
    segmenter.save(tmp_path / "all.keras")
    settings = {"channels": "all", "grey_levels": "brain_mode", "frame": "head"}
    postprocessing = {"threshold": 0.5, "refinement": 1.0, "least_share": 0.1}
    write_json(tmp_path / "all.json", settings | {"postprocessing": postprocessing})
    # A head of 48 rows and columns in 64 pixels on the left, and none on the right.
    cohort = tmp_path / "cohort"
    write_patient(cohort, "TCGA_DU_0001", slices=3, side=64)
    for path in (cohort / "TCGA_DU_0001").glob("*.tif"):
        image = np.asarray(Image.open(path))
        Image.fromarray(np.pad(image, ((0, 10), (0, 60), (0, 0)))).save(path)
    written = predict_cohort(
        cohort, tmp_path / "out", models / "detector.keras", tmp_path / "all.keras"
    )
    masks = [
        np.asarray(
            Image.open(tmp_path / "out" / "masks" / "TCGA_DU_0001" / f"TCGA_DU_0001_{n}_mask.png")
        )
        for n in (1, 2, 3)
    ]
    assert {mask.shape for mask in masks} == {(74, 124)}
    assert not masks[0].any() and not masks[2].any()
    # The square covers rows and columns 16 to 32, 256 pixels; its border may move by one.
    assert (masks[1][17:31, 17:31] == 255).all()
    assert abs(int((masks[1] > 0).sum()) - 256) <= 4 * 17
    assert pd.read_csv(written)["tumour_px"].tolist() == [int((mask > 0).sum()) for mask in masks]


def test_a_segmenter_of_three_channels_is_not_given_nine(tmp_path, models):
    for suffix in (".keras", ".json"):
        shutil.copy(models / f"segmenter{suffix}", tmp_path / f"mine{suffix}")
    settings = read_settings(tmp_path / "mine.keras") | {"channels": "all"}
    write_json(tmp_path / "mine.json", settings)
    write_patient(tmp_path / "cohort", "TCGA_DU_0001", slices=3, side=64)
    with pytest.raises(CourseError, match="takes an input of 32 x 32 x 3; the pictures here are"):
        predict_cohort(
            tmp_path / "cohort",
            tmp_path / "out",
            models / "detector.keras",
            tmp_path / "mine.keras",
        )


class Flair:
    """Stands for a network: a pixel is tumour where FLAIR is bright, a slice where any pixel is."""

    def __init__(self, side, draws):
        self.input_shape, self.draws = (None, side, side, 3), draws

    def predict_on_batch(self, batch):
        maps = (batch[..., 1:2] > 200).astype(np.float32)
        return maps if self.draws else maps.max(axis=(1, 2))


@pytest.fixture
def flair_networks(monkeypatch):
    """Predict by `Flair`; the model files are not looked at."""
    view = View(64, "brain_mode", "head")
    networks = Networks(
        Flair(32, draws=False), {}, Flair(64, draws=True), Postprocessing(), "sequences", view
    )
    monkeypatch.setattr("utils.models.predict.load_networks", lambda *which: networks)
    return "no detector", "no segmenter"


def test_masks_of_others_and_what_links_lead_to_stay(tmp_path, flair_networks):
    write_patient(tmp_path / "cohort", "P_X_1", slices=3, side=64)
    masks = tmp_path / "out" / "masks"
    kept = [masks / "readers" / "DrAdeyemi_mask.png", masks / "P_X_1" / "P_X_1_first_mask.png",
            tmp_path / "else" / "linked_7_mask.png"]  # fmt: skip
    gone = [masks / "P_X_1" / "P_X_1_4_mask.png", masks / "P_X_2" / "P_X_2_1_mask.png"]
    for file in (*kept, *gone):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"traced by hand")
    (masks / "empty").mkdir()
    (masks / "linked").symlink_to(tmp_path / "else")
    table = pd.read_csv(predict_cohort(tmp_path / "cohort", tmp_path / "out", *flair_networks))
    assert table["slice"].tolist() == [1, 2, 3]
    assert [file for file in kept if not file.exists()] == []
    assert [file for file in gone if file.exists()] == []
    assert sorted(path.name for path in masks.iterdir()) == ["P_X_1", "empty", "linked", "readers"]


def test_a_cohort_is_predicted_into_its_own_folder_again_and_again(tmp_path, flair_networks):
    write_patient(tmp_path, "P_X_1", slices=3, side=64)
    first, second = (
        pd.read_csv(predict_cohort(tmp_path, tmp_path, *flair_networks)) for _ in range(2)
    )
    assert len(first) == 3 and first.equals(second)


def change_channel(folder, channel, value):
    for path in folder.glob("*.tif"):
        image = np.asarray(Image.open(path)).copy()
        image[..., channel] = value
        Image.fromarray(image).save(path)


@pytest.mark.parametrize("value", [0, 70])
def test_a_patient_with_an_empty_flair_is_not_predicted_to_have_no_tumour(
    tmp_path, flair_networks, value
):
    for name in ("P_X_1", "P_X_2"):
        write_patient(tmp_path / "cohort", name, slices=3, side=64)
    change_channel(tmp_path / "cohort" / "P_X_2", channel=1, value=value)
    told = refused(tmp_path / "cohort", tmp_path / "out", *flair_networks)
    assert told.startswith("patient P_X_2: FLAIR is empty") and "export it again" in told
    assert not (tmp_path / "out" / "slices.csv").exists()


def test_a_black_post_contrast_changes_no_prediction_from_flair(tmp_path, flair_networks):
    for name in ("whole", "black"):
        write_patient(tmp_path / name, "P_X_1", slices=3, side=64)
    change_channel(tmp_path / "black" / "P_X_1", channel=2, value=0)
    tables = [
        pd.read_csv(predict_cohort(tmp_path / name, tmp_path / f"{name} out", *flair_networks))
        for name in ("whole", "black")
    ]
    assert tables[0]["tumour_px"].tolist() == tables[1]["tumour_px"].tolist()
    assert tables[0]["tumour_px"].sum() > 0


# Networks that cost nothing, so that reading and writing decide how many patients are in memory.
PEAK = """
import os, sys
from pathlib import Path
import numpy as np
from utils.cohort.table import read_cohort
from utils.cohort.volumes import View
from utils.models.files.settings import Postprocessing
from utils.models.predict import Networks, predict_table
from utils.runtime.memory import peak_bytes

class Flair:
    def __init__(self, side, draws):
        self.input_shape, self.draws = (None, side, side, 3), draws

    def predict_on_batch(self, batch):
        maps = batch[..., 1:2].astype(np.float32) / 255
        return maps if self.draws else maps.max(axis=(1, 2))

detector, segmenter = Flair(32, draws=False), Flair(256, draws=True)
networks = Networks(
    detector, {"threshold": 0.5}, segmenter, Postprocessing(), "sequences", View(256)
)
root, count = Path(sys.argv[1]), int(sys.argv[2])
table = read_cohort(root, masks="absent")
table = table[table["patient"].isin(table["patient"].unique()[:count])]
predict_table(table, root.parent / f"{count} patients", networks)
print(peak_bytes(os.getpid()) / 2**20)
"""


@pytest.mark.long
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux keeps the peak of a process")
def test_five_times_the_patients_take_no_more_memory(tmp_path):
    # Eight slices of 256 x 256 pixels are 1.5 MiB as shown and 2 MiB as maps, so 48 patients more
    # would be 168 MiB more if all were kept; the process has about 210 MiB.
    for number in range(60):
        write_patient(tmp_path / "cohort", f"P_{number:02}", slices=8, side=64)
    few, many = (
        float(
            subprocess.run(
                [sys.executable, "-c", PEAK, str(tmp_path / "cohort"), str(count)],
                cwd=ROOT,
                capture_output=True,
                text=True,
                check=True,
            ).stdout
        )
        for count in (12, 60)
    )
    assert many <= 1.1 * few


def zipped(folder, path):
    with zipfile.ZipFile(path, "w") as target:
        for file in folder.rglob("*.tif"):
            target.write(file, file.relative_to(folder))
    return path


def test_own_patients_in_zips_are_predicted_one_after_the_other(tmp_path, models, monkeypatch):
    monkeypatch.setattr(config, "DATA", tmp_path / "data")
    for number, name in enumerate(("MINE_XX_01", "MINE_YY_02")):
        write_patient(tmp_path / name, name, slices=3, side=64)
        archive = zipped(tmp_path / name, tmp_path / f"{name}.zip")
        out = tmp_path / f"out {number}"
        written = predict_cohort(
            archive, out, models / "detector.keras", models / "segmenter.keras"
        )
        assert set(read_table(written)["patient"]) == {name}
        left = sorted(path.name for path in out.iterdir())
        assert left == [".holder", ".lock", "masks", "slices.csv"]
    assert not (tmp_path / "data").exists()


def refused(*arguments):
    with pytest.raises(CourseError) as told:
        predict_cohort(*arguments)
    assert len(str(told.value).splitlines()) == 1
    return str(told.value)


def test_exchanged_models_are_told_by_their_role(tmp_path, models):
    write_patient(tmp_path / "cohort", "P_1", slices=2, side=64)
    detector, segmenter = models / "detector.keras", models / "segmenter.keras"
    told = refused(tmp_path / "cohort", tmp_path / "out", detector, detector)
    assert "draws nothing, so it is no segmenter; give a detector as --detector" in told
    told = refused(tmp_path / "cohort", tmp_path / "out", segmenter, segmenter)
    assert "so it is no detector; give a segmenter as --segmenter" in told
    assert list((tmp_path / "out").rglob("*.png")) == []


def test_a_network_without_its_sigmoid_predicts_nothing(tmp_path, models):
    keras = pytest.importorskip("keras")
    write_patient(tmp_path / "cohort", "P_1", slices=2, side=64)
    whole = keras.saving.load_model(models / "segmenter.keras")
    logits = keras.Model(whole.input, whole.get_layer("flair").output)
    logits.save(tmp_path / "logits.keras")
    shutil.copy(models / "segmenter.json", tmp_path / "logits.json")
    told = refused(
        tmp_path / "cohort", tmp_path / "out", models / "detector.keras", tmp_path / "logits.keras"
    )
    assert "logits.keras: answers with values from -" in told
    assert "no probabilities; end the network with a sigmoid" in told
    assert not (tmp_path / "out" / "slices.csv").exists()


@pytest.mark.parametrize("name", ["file", "file/below", "x" * 300, "masks in the way", "table"])
def test_where_nothing_can_be_written_is_told_before_the_models_are_read(name, tmp_path):
    write_patient(tmp_path / "cohort", "P_1", slices=1, side=64)
    (tmp_path / "file").touch()
    (tmp_path / "masks in the way").mkdir()
    (tmp_path / "masks in the way" / "masks").touch()
    (tmp_path / "table" / "slices.csv").mkdir(parents=True)
    nowhere = tmp_path / "no such model.keras"
    told = refused(tmp_path / "cohort", tmp_path / name, nowhere, nowhere)
    assert "; choose another" in told and "no such model" not in told


def test_a_patient_whose_masks_would_have_too_long_a_name_is_told(tmp_path):
    table = pd.DataFrame({"patient": ["P" * 244], "slice": [1]})
    prepare_out(tmp_path / "out", table)  # 244 + len("_1_mask.png") = 255
    with pytest.raises(CourseError, match="too long for its masks"):
        prepare_out(tmp_path / "out", table.assign(slice=10))


def run_command(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "utils.predict", *map(str, arguments)],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )


@pytest.mark.long
def test_the_command_tells_a_wrong_path_in_one_line(tmp_path, models):
    files = ["--detector", models / "detector.keras", "--segmenter", models / "segmenter.keras"]
    ended = run_command(tmp_path / "nowhere", "--out", tmp_path / "out", *files)
    assert ended.returncode == 2
    assert "nowhere" in ended.stderr and "Traceback" not in ended.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.long
def test_the_command_tells_a_missing_model(tmp_path):
    ended = run_command(tmp_path, "--out", tmp_path / "out", "--detector", "a.keras",
                        "--segmenter", "b.keras")  # fmt: skip
    assert ended.returncode == 2
    assert "error: a.keras: no such model" in ended.stderr
