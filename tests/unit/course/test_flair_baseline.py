"""The fair baseline finds the brain of a drawn head and the tumour in it; the plain one its fat."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from utils.cohort.table import read_cohort
from utils.course import flair_baseline
from utils.course.flair_baseline import FAIR, PLAIN
from utils.evaluation.segmentation import dice

SIDE, SLICES = 128, 5
ROW, COLUMN = np.mgrid[:SIDE, :SIDE]
FROM_CENTRE = np.hypot(ROW - 64, COLUMN - 64)
BRAIN = FROM_CENTRE < 40
BONE = (FROM_CENTRE >= 40) & (FROM_CENTRE < 46)
SCALP = (FROM_CENTRE >= 46) & (FROM_CENTRE < 54)
TUMOUR = np.hypot(ROW - 60, COLUMN - 80) < 9


def head(tumour=True, scalp=240, brain=80, lesion=150):
    """A volume whose three channels are alike: scalp, dark bone, brain, tumour in slices 1 to 3."""
    flair = np.zeros((SLICES, SIDE, SIDE), np.uint8)
    flair[:, BRAIN], flair[:, BONE], flair[:, SCALP] = brain, 10, scalp
    flair = flair + np.random.default_rng(0).integers(0, 5, flair.shape, dtype=np.uint8)
    if tumour:
        flair[1:4, TUMOUR] = lesion
    return np.stack([flair] * 3, axis=-1)


TRUTH = np.stack([TUMOUR & (1 <= place <= 3) for place in range(SLICES)])


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """Two patients on disk, one with a scalp as bright as the brain."""
    root = tmp_path_factory.mktemp("cohort") / "kaggle_3m"
    for name, scalp in (("TCGA_DU_0001_20000101", 240), ("TCGA_HT_0002_20000101", 90)):
        (root / name).mkdir(parents=True)
        for place, (image, mask) in enumerate(zip(head(scalp=scalp), TRUTH, strict=True), start=1):
            Image.fromarray(image).save(root / name / f"{name}_{place}.tif")
            drawn = Image.fromarray(np.uint8(mask) * 255)
            drawn.save(root / name / f"{name}_{place}_mask.tif")
    return read_cohort(root)


@pytest.mark.parametrize("scalp", [240, 90])
def test_the_brain_is_found_without_the_scalp_and_with_the_tumour(scalp):
    brain = flair_baseline.brain_pixels(head(scalp=scalp))
    assert brain.shape == (SLICES, SIDE, SIDE)
    assert brain[TRUTH].all()
    assert brain[:, FROM_CENTRE < 38].all()
    assert not brain[:, FROM_CENTRE > 46].any()


def test_a_tumour_much_brighter_than_the_brain_stays_in_it():
    assert flair_baseline.brain_pixels(head(lesion=250))[TRUTH].all()


def test_the_border_of_the_picture_is_no_brain():
    """The scalp of a head that the picture cuts off touches it: 135 of its pixels were brain."""
    cut = 12
    found = flair_baseline.brain_pixels(head()[:, :, cut:])
    assert not found[:, FROM_CENTRE[:, cut:] >= 46].any()
    assert dice(BRAIN[:, cut:], found[0]) > 0.9


def test_a_picture_twice_as_large_has_its_brain_in_the_same_place():
    large = head().repeat(2, axis=1).repeat(2, axis=2)
    brain = flair_baseline.brain_pixels(large)
    assert brain.shape == large.shape[:3]
    assert dice(brain[:, ::2, ::2], flair_baseline.brain_pixels(head())) == 1


def test_sides_that_are_no_multiple_of_the_grid_keep_their_size():
    cut = head().repeat(2, axis=1).repeat(2, axis=2)[:, :251, 3:]
    assert flair_baseline.brain_pixels(cut).shape == cut.shape[:3]


def test_without_a_head_nothing_is_brain_and_nothing_is_drawn():
    nothing = np.zeros((2, 40, 40, 3), np.uint8)
    assert not flair_baseline.brain_pixels(nothing).any()
    assert np.isneginf(flair_baseline.brightness_in_brain(nothing)).all()


def test_brightness_is_measured_on_the_scale_of_the_brain():
    scores = flair_baseline.brightness_in_brain(head())
    inside = np.isfinite(scores)
    assert scores[inside].mean() == pytest.approx(0, abs=1e-4)
    assert scores[inside].std() == pytest.approx(1, abs=1e-4)
    # Neither how bright the scanner makes everything nor the fat of the scalp moves it.
    darker = flair_baseline.brightness_in_brain(head(scalp=120, brain=80))
    np.testing.assert_allclose(darker[TRUTH], scores[TRUTH], rtol=0.02)


def test_the_fair_baseline_draws_the_tumour_where_the_plain_one_draws_the_scalp(table):
    run = SimpleNamespace(part=lambda name: SimpleNamespace(table=table))
    truth = np.concatenate([TRUTH, TRUTH])
    fair = flair_baseline.try_thresholds(run, FAIR)
    assert sorted(fair["threshold"]) == list(FAIR.thresholds)
    assert fair["dice"].iloc[0] == 1.0
    drawn = flair_baseline.masks(table, FAIR, fair["threshold"].iloc[0])
    assert drawn.dtype == np.uint8
    assert dice(truth, drawn) == 1
    plain = flair_baseline.try_thresholds(run, PLAIN)
    assert plain["dice"].is_monotonic_decreasing
    assert plain["dice"].iloc[0] < 0.9
    first = flair_baseline.masks(table, PLAIN, plain["threshold"].iloc[0])[: len(TRUTH)]
    assert first[:, SCALP].mean() > 0.9


def test_of_two_bright_places_in_the_brain_the_larger_is_kept(monkeypatch):
    images = head()
    images[2, 50:54, 40:44] = 150  # 16 px, apart from the tumour
    monkeypatch.setattr(flair_baseline, "read_volume", lambda rows: images)
    rows = pd.DataFrame({"patient": ["a"] * SLICES})
    assert dice(TRUTH, flair_baseline.masks(rows, FAIR, 1.25)) == 1
