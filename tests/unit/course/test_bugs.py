"""The broken functions of notebook 07 are broken as they should be, and their symptoms show."""

import numpy as np
import pandas as pd
import pytest

from utils.cohort.volumes import Volumes
from utils.course import bug_symptoms
from utils.exercises import bugs, bugs_scores
from utils.plots import labs as plots_labs

SOURCE = "simulated cohort, 2 patients, seed 0"
RANDOM = np.random.default_rng(0)
TABLE = pd.DataFrame(
    {
        "patient": np.repeat(["SIM_DU_0001", "SIM_HT_0002"], 6),
        "slice": np.tile(np.arange(1, 7), 2),
        "has_tumour": np.tile([False, True], 6),
    }
)
IMAGES = RANDOM.integers(0, 100, (12, 32, 32, 3)).astype(np.uint8)
MASKS = np.zeros((12, 32, 32), np.uint8)
MASKS[1::2, 8:20, 8:20] = 1
IMAGES[MASKS > 0] = 250
VOLUMES = Volumes(TABLE, IMAGES, MASKS)


def test_a_copied_label_is_looked_up():
    images = IMAGES.copy()
    images[0], images[7] = images[6], images[1]
    volumes = Volumes(TABLE, images, MASKS)
    asked = np.arange(12) < 2
    copied = bug_symptoms.copied_labels(volumes, asked, np.isin(np.arange(12), [6, 7]))
    assert copied["source"].tolist() == [6, 7]
    assert copied["right"].tolist() == [True, True]
    assert copied["patient"].tolist() == ["SIM_DU_0001"] * 2


@pytest.mark.long
def test_the_order_of_a_set_differs_between_processes_and_a_sorted_one_does_not():
    ids = [f"SIM_DU_{number:04d}" for number in range(20)]
    first, second = (
        bug_symptoms.in_new_process(bugs.names_to_shuffle, ids, seed) for seed in (1, 2)
    )
    assert first != second
    assert sorted(first) == sorted(second) == ids


def test_the_slices_whose_tumour_stands_out_come_first():
    images, masks = np.full((12, 32, 32, 3), 80, np.uint8), MASKS.copy()
    images[masks > 0] = 120
    images[9, 8:20, 8:20] = 200
    images[:, :4] = 0  # outside the head
    masks[1, 20, 8:20] = 1  # the largest of its patient
    masks[9, 20, 8:20] = masks[11, 20, 8:15] = 1
    volumes = Volumes(TABLE, images, masks)
    assert bug_symptoms.standing_out(volumes, 6) == [9, 1]
    assert bug_symptoms.standing_out(volumes, 1) == [9]
    masks[:6] = 0  # a patient without tumour
    assert bug_symptoms.standing_out(Volumes(TABLE, images, masks), 6) == [9]


def test_a_segmenter_that_saw_only_tumours_is_told_from_one_that_saw_all():
    found = bug_symptoms.segment(VOLUMES, np.arange(12), VOLUMES, fields=2000)
    assert found.shape == MASKS.shape  # as it is drawn, so it can be scored
    assert (found == MASKS).mean() > 0.9
    assert bugs.training_rows(VOLUMES.labels, 0).tolist() == [1, 3, 5, 7, 9, 11]


@pytest.mark.parametrize("size", [32, 30])
def test_fields_lie_where_the_pixels_do(size):
    """A square across the borders of fields comes back in place: means, not every fourth pixel."""
    images = np.zeros((6, 32, 32, 3), np.uint8)
    masks = np.zeros((6, 32, 32), np.uint8)
    corners = [(10, 10), (6, 14), (14, 6), (10, 18), (14, 14), (18, 10)]
    for row, (down, across) in enumerate(corners):
        masks[row, down : down + 8, across : across + 8] = 1
    images[masks > 0] = 250
    images, masks = images[:, :size, :size], masks[:, :size, :size]
    volumes = Volumes(TABLE[:6], images, masks)
    found = bug_symptoms.segment(volumes, np.arange(6), volumes)
    for one, mask in zip(found, masks, strict=True):
        middle, expected = (np.argwhere(each).mean(axis=0) for each in (one, mask))
        assert middle == pytest.approx(expected, abs=0.3)


def test_features_are_asked_for_a_few_at_a_time():
    asked = []

    def network(pictures, training):
        asked.append(len(pictures))
        assert not training
        return pictures.mean(axis=(1, 2))

    found = bug_symptoms.features_of(network, IMAGES[:5])
    assert asked == [2, 2, 1]
    assert np.array_equal(found, IMAGES[:5].mean(axis=(1, 2)))


def test_features_that_are_alike():
    assert bug_symptoms.median_correlation(np.array([[1.0, 2, 3], [2, 4, 6.5], [1, 2, 3]])) > 0.99
    assert bug_symptoms.median_correlation(np.array([[1.0, 2, 3], [3, 2, 1]])) == pytest.approx(-1)


def test_choosing_on_test_makes_chance_look_better_than_chance():
    accuracies = bug_symptoms.chance_accuracies(bugs_scores.tuned_accuracy, times=50)
    assert (accuracies >= 0.5).all() and accuracies.mean() > 0.55


def test_the_slope_of_a_loss():
    slopes = bug_symptoms.loss_slope(lambda index: (1 - index) ** 2, np.array([0.0, 0.5]))
    assert slopes == pytest.approx([2, 1], abs=1e-4)
    low, high = bug_symptoms.loss_slope(bugs_scores.focal_tversky, np.array([0.1, 0.99]))
    assert high > 2 * low


def test_standardise():
    volume = np.array([[[0, 10, 30]]], np.uint8)
    assert bugs.standardise(volume).tolist() == [[[0, -1, 1]]]
    assert bugs.standardise(np.full((1, 1, 2), 7)).tolist() == [[[0, 0]]]
    assert not bugs.standardise(np.zeros((1, 2, 2))).any()


def test_what_the_broken_scores_say():
    truths, nothing = np.zeros((4, 5, 5)), np.zeros((4, 5, 5))
    truths[0, :2] = 1
    assert bugs_scores.dice_report(truths, nothing)["dice"] == pytest.approx((3 + 1 / 11) / 4)
    one, few = np.zeros((2, 10, 10)), np.zeros((2, 10, 10))
    one[0], one[1, 0, 0], few[0] = 1, 1, 1
    assert bugs_scores.mean_tversky(one, few) == pytest.approx(101 / 101.7)
    right = bugs_scores.accuracy_in_batches(
        lambda images: np.ones(len(images), bool), np.zeros((5, 2, 2)), np.arange(5) < 4, 4
    )
    assert right == 1.0
    assert bugs_scores.pick_examples(np.array([0.2, 0.9, 0.5]), 2) == [1, 2]


@pytest.mark.parametrize(
    "figure",
    [
        lambda: plots_labs.gallery(
            IMAGES[:7, ..., 1], MASKS[:7], MASKS[:7], list("abcdefg"), "title", SOURCE
        ),
        lambda: plots_labs.gallery(IMAGES[:1, ..., 1], None, None, ["a"], "title", SOURCE),
        lambda: plots_labs.share_by_patient(pd.Series({"a": 0.5, "b": 1.0}), SOURCE),
        lambda: plots_labs.curves(np.arange(3), {"a": np.arange(3)}, ("x", "y"), "title", SOURCE),
        lambda: plots_labs.chance_histogram(np.array([0.5, 0.6]), 10, SOURCE),
    ],
)
def test_figures_have_a_title_a_source_and_labels(figure):
    drawn = figure()
    assert drawn.get_suptitle()
    assert drawn.get_supxlabel() == SOURCE
    assert all(
        (axes.get_xlabel() and axes.get_ylabel()) or not len(axes.get_xticks())
        for axes in drawn.axes
    )
