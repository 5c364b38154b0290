"""Every figure of the course can be drawn, and says what it shows and whose data it shows."""

import inspect

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from utils.cohort import statistics
from utils.evaluation import calibration, detection, segmentation
from utils.evaluation.bootstrap import Interval
from utils.plots import (
    cohort as plots_cohort,
    detection as plots_detection,
    evaluation as plots_evaluation,
    segmentation as plots_segmentation,
)
from utils.plots.style import BLUE, GREY, VERMILION, head_window

SOURCE = "simulated cohort, 4 patients, seed 0"
RANDOM = np.random.default_rng(0)
IMAGES = RANDOM.integers(0, 256, (24, 16, 16, 3)).astype(np.uint8)
MASKS = np.zeros((24, 16, 16), np.uint8)
MASKS[::2, 4:9, 4 : 4 + 6] = 1
PREDICTED = np.roll(MASKS, 1, axis=1)
PATIENTS = np.repeat(["SIM_DU_1", "SIM_HT_2", "SIM_CS_3", "SIM_DU_4"], 6)
SLICES = pd.DataFrame(
    {
        "patient": PATIENTS,
        "institution": [name[4:6] for name in PATIENTS],
        "slice": np.tile(np.arange(1, 7), 4),
        "has_tumour": MASKS.any(axis=(1, 2)),
        "p_tumour": RANDOM.random(24),
    }
).join(segmentation.count_pixels(MASKS, PREDICTED))
LABELS, SCORES = SLICES["has_tumour"], SLICES["p_tumour"]
SPLIT = SLICES[["patient", "institution"]].drop_duplicates(ignore_index=True)
SPLIT["part"] = ["train", "train", "validation", "test"]
PER_PATIENT = segmentation.patient_table(SLICES)
INTERVAL = Interval(0.6, 0.5, 0.7)
NO_INTERVAL = Interval(0.6, float("nan"), float("nan"))
HISTORY = pd.DataFrame({"epoch": [1, 2], "loss": [1.0, 0.5], "val_dice": [0.1, 0.6]})
TRIED = pd.DataFrame(
    {
        "threshold": [0.3, 0.5] * 2,
        "pieces": ["all"] * 2 + ["largest"] * 2,
        "dice": [0.5, 0.6, 0.7, 0.4],
    }
)
LOSSES = pd.DataFrame(
    [
        (seed, fn_weight, 1 - fn_weight, exponent, 0.8, 0.7, 0.9)
        for seed in (1, 2)
        for fn_weight, exponent in ((0.7, 0.75), (0.7, 4 / 3), (0.5, 4 / 3))
    ],
    columns=["seed", "fn_weight", "fp_weight", "exponent", "dice", "sensitivity_half",
             "precision_half"],
)  # fmt: skip
NAMES = [f"slice {number}" for number in range(3)]
FEW = {"resamples": 20}
LEVELS = pd.DataFrame(
    {
        "patient": ["a", "b", "c"] * 3,
        "channel": np.repeat([0, 1, 2], 3),
        "value": [10, 90, 30, 40, 50, 60, 10, 20, 30],
    }
)
NOTHING = IMAGES[:0], MASKS[:0], []

FIGURES = {
    plots_cohort.gallery: [(IMAGES[:3], MASKS[:3], NAMES)],
    plots_cohort.volume_strip: [(IMAGES, MASKS, "SIM_DU_1"), (IMAGES[:1], MASKS[:1], "one slice")],
    plots_cohort.channels: [(IMAGES[0], MASKS[0])],
    plots_cohort.class_balance: [(SLICES,)],
    plots_cohort.tumour_sizes: [(SLICES, 256)],
    plots_cohort.tumour_heat_map: [(IMAGES, MASKS)],
    plots_cohort.intensity_by_institution: [
        (LEVELS.assign(institution=["DU", "DU", "HT"] * 3),),
        (LEVELS.assign(institution="DU"),),
    ],
    plots_cohort.neighbour_similarity: [(statistics.slice_similarity(IMAGES, SLICES, [1, 2]),)],
    plots_cohort.split_balance: [(SLICES, SPLIT)],
    plots_detection.training_curves: [
        ({"one": HISTORY, "two": HISTORY}, {"loss": "loss", "dice": "mean patient Dice"})
    ],
    plots_detection.roc_curves: [
        ({"one": detection.roc_band(SLICES, **FEW)}, {"one": INTERVAL}),
        (
            {"one": detection.roc_band(SLICES, **FEW)},
            {"one": INTERVAL},
            detection.OperatingPoint(0.5, INTERVAL, INTERVAL),
        ),
    ],
    plots_detection.precision_recall: [
        ({"one": detection.precision_recall_points(LABELS, SCORES)}, {"one": 0.5}, 0.5)
    ],
    plots_detection.reliability: [
        (
            {"before": calibration.reliability_table(LABELS, SCORES, SLICES["patient"], 3)},
            {"before": 0.1},
        )
    ],
    plots_detection.grad_cam_panels: [(IMAGES[:3], MASKS[:3], RANDOM.random((3, 16, 16)), NAMES)],
    plots_detection.error_gallery: [
        ({"missed": (IMAGES[:3], MASKS[:3], NAMES), "false alarm": NOTHING},),
        ({"missed": NOTHING},),
    ],
    plots_detection.preprocessing: [({"as stored": IMAGES[0] * 1.0, "over 255": IMAGES[0] / 255},)],
    plots_segmentation.focal_exponents: [((0.75, 2.0),)],
    plots_segmentation.tversky_weights: [(((0.5, 0.5), (0.7, 0.3)),)],
    plots_segmentation.augmentation: [(IMAGES[0], MASKS[0], [(IMAGES[1], MASKS[1])])],
    plots_segmentation.threshold_curve: [(TRIED,), (TRIED[["threshold", "dice"]][:2],)],
    plots_segmentation.overlays: [
        (IMAGES[:4], MASKS[:4], PREDICTED[:4], [*NAMES, "slice 3"]),
        (IMAGES[:4], MASKS[:4], PREDICTED[:4], [*NAMES, "slice 3"], "Zoomed", 3, True),
    ],
    plots_segmentation.masks_side_by_side: [(IMAGES[0], {"truth": MASKS[0]})],
    plots_segmentation.zoomed_contours: [
        (IMAGES[0], {"true mask": MASKS[0], "one": PREDICTED[0], "none": 0 * MASKS[0]}),
        (IMAGES[0], {"true mask": 0 * MASKS[0], "none": 0 * MASKS[0]}),
    ],
    plots_segmentation.loss_lab: [(LOSSES,)],
    plots_segmentation.resunet_diagram: [(128, (16, 32, 64))],
    plots_evaluation.paired_dice: [
        (PER_PATIENT, PER_PATIENT, ("alone", "cascade"), INTERVAL),
        (PER_PATIENT[:1], PER_PATIENT[:1], ("alone", "cascade"), NO_INTERVAL),
    ],
    plots_evaluation.dice_by_patient: [(PER_PATIENT, INTERVAL), (PER_PATIENT[:1], NO_INTERVAL)],
    plots_evaluation.sensitivity_by_size: [
        ({"one": detection.sensitivity_by_size(SLICES, SCORES > 0.5, **FEW)},)
    ],
    plots_evaluation.false_positives: [({"one": detection.false_positives(SLICES, SCORES > 0.5)},)],
    plots_evaluation.dice_conventions: [(segmentation.dice_conventions(SLICES),)],
    plots_evaluation.compare_intervals: [
        ({"AUC": {"patients": INTERVAL, "slices": NO_INTERVAL}}, "Two intervals", "value"),
        ({name: {"patients": INTERVAL} for name in NAMES}, "One interval", "value"),
    ],
}  # fmt: skip
CASES = [(make, arguments) for make, cases in FIGURES.items() for arguments in cases]


def draw(make, arguments) -> Figure:
    keywords = {"source": SOURCE}
    if make in (plots_segmentation.masks_side_by_side, plots_segmentation.zoomed_contours):
        keywords["title"] = "Masks of one slice"
    names = list(inspect.signature(make).parameters)
    return make(**dict(zip([name for name in names if name != "source"], arguments, strict=False)),
                **keywords)  # fmt: skip


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(("make", "arguments"), CASES)
def test_figure_is_drawn_whole(make, arguments):
    figure = draw(make, arguments)
    figure.draw_without_rendering()  # lays everything out: warns where it does not fit
    assert figure.get_suptitle()
    assert figure.get_supxlabel() == SOURCE
    for axes in figure.axes:
        has_ticks = len(axes.get_xticks()) and axes.xaxis.get_visible() and axes.lines
        if has_ticks and make is not plots_detection.grad_cam_panels:
            assert axes.get_xlabel() or axes.get_xticklabels()[0].get_text()


def test_a_grad_cam_map_without_a_peak_says_so_and_has_no_cross():
    maps = np.zeros((3, 16, 16))
    maps[1, 4, 7] = 1
    figure = plots_detection.grad_cam_panels(IMAGES[:3], MASKS[:3], maps, NAMES, SOURCE)
    lower = figure.axes[3:6]
    assert [line.get_xydata().tolist() for axes in lower for line in axes.lines] == [[[7, 4]]]
    texts = [[text.get_text() for text in axes.texts] for axes in lower]
    assert [bool(each) for each in texts] == [True, False, True]
    assert texts[0][0].startswith("no peak")


def test_a_colour_stands_for_the_same_sequence_however_the_channels_are_ordered():
    slice_ = np.zeros((4, 4, 3)) + np.array([10.0, 100.0, 200.0])  # pre-contrast, FLAIR, post
    variants = {"as stored": slice_, "reversed": slice_[..., ::-1]}
    figure = plots_detection.preprocessing(variants, SOURCE, turned_round=["reversed"])
    *_, left, right = figure.axes
    assert [each.get_label() for each in left.patches] == ["pre-contrast", "FLAIR", "post-contrast"]
    for one, other in zip(left.patches, right.patches, strict=True):
        assert to_hex(one.get_edgecolor()) == to_hex(other.get_edgecolor())
        assert np.array_equal(one.get_xy(), other.get_xy())


def test_lines_and_dots_of_a_paired_comparison_say_by_colour_who_is_better():
    first = pd.DataFrame({"patient": list("abc"), "dice": [0.5, 0.5, 0.5]})
    second = first.assign(dice=[0.504, 0.6, 0.4])  # neither, better, worse
    figure = plots_evaluation.paired_dice(first, second, ("old", "new"), INTERVAL, SOURCE)
    lines, spread = figure.axes
    assert [line.get_color() for line in lines.lines] == [GREY, BLUE, VERMILION]
    assert [line.get_linestyle() for line in lines.lines] == [":", "-", "--"]
    dots = spread.collections[0]
    np.testing.assert_allclose(dots.get_offsets()[:, 0], [-0.1, 0.004, 0.1])
    assert [to_hex(color).upper() for color in dots.get_facecolors()] == [VERMILION, GREY, BLUE]
    assert "solid blue: better" in lines.get_title()


def test_an_institution_with_one_patient_is_no_distribution():
    levels = LEVELS.assign(institution=["DU", "DU", "HT"] * 3)
    figure = plots_cohort.intensity_by_institution(levels, SOURCE)
    assert [len(axes.lines) for axes in figure.axes] == [1, 1, 1]
    legend = figure.legends[0]
    assert [text.get_text() for text in legend.get_texts()] == ["DU, 2 patients"]
    assert "HT: one patient" in legend.get_title().get_text()


def test_all_slices_of_a_patient_are_shown():
    for count in (1, 24, 41):
        images = np.resize(IMAGES, (count, 16, 16, 3))
        masks = np.resize(MASKS, (count, 16, 16))
        figure = plots_cohort.volume_strip(images, masks, "SIM_DU_1", SOURCE)
        assert sum(bool(axes.images) for axes in figure.axes) == count


def test_the_head_is_found_on_an_even_background():
    pictures = np.full((2, 40, 50), 30.0)
    pictures[0, 10:20, 15:30] = pictures[1, 12:25, 20:35] = 200
    pictures[0, 3, 3] = 255  # a single bright pixel of noise
    rows, columns = head_window(pictures, margin=0)
    assert (rows.start, rows.stop, columns.start, columns.stop) == (10, 25, 15, 35)
    nothing = np.zeros((16, 16))
    assert nothing[head_window(nothing)].shape == (16, 16)


def test_every_figure_of_the_course_is_tested():
    modules = plots_cohort, plots_detection, plots_segmentation, plots_evaluation
    made = {
        function
        for module in modules
        for _, function in inspect.getmembers(module, inspect.isfunction)
        if function.__module__ == module.__name__
        and "source" in inspect.signature(function).parameters
    }
    assert made == set(FIGURES)


def test_zoomed_overlays_show_the_surroundings_of_both_masks_and_where_they_are():
    image = np.full((1, 100, 100, 3), 50, np.uint8)
    truth, predicted = np.zeros((2, 1, 100, 100), np.uint8)
    truth[0, 40:50, 20:30] = predicted[0, 40:50, 26:40] = 1
    figure = plots_segmentation.overlays(image, truth, predicted, ["a"], SOURCE, zoomed=True)
    axes = figure.axes[0]
    # 20 columns from 20 to 39, a margin of 12 pixels on each side; as many rows.
    assert axes.images[0].get_array().shape == (44, 44)
    assert [text.get_text() for text in axes.texts] == ["20 pixels"]
    (small,) = axes.child_axes
    assert small.images[0].get_array().shape == (100, 100)
    (frame,) = small.patches
    assert (frame.get_width(), frame.get_height()) == (44, 44)
    empty = plots_segmentation.overlays(image, 0 * truth, 0 * truth, ["a"], SOURCE, zoomed=True)
    assert empty.axes[0].images[0].get_array().shape == (100, 100)
