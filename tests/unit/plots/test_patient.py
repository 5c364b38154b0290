"""The figures of notebook 08 are labelled and say whose data they show."""

import numpy as np
import pandas as pd
import pytest

from utils.plots import patient as plots_patient

PICTURES = np.random.default_rng(0).integers(0, 255, (4, 16, 16, 3), dtype=np.uint8)
MASKS = np.zeros((3, 16, 16), np.uint8)
MASKS[:2, 4:9, 4:9] = 1
TABLE = pd.DataFrame({"predicted": [0.1, 0.9], "observed": [0.2, np.nan]})
BY_PATIENT = pd.DataFrame({"patient": ["a"], "agreement": [0.9], "dice": [0.8]})
FIGURES = {
    "sequences": (PICTURES, [0, 3]),
    "along_slices": (np.array([0.1, 0.9]), 0.5, np.array([0.0, 3.0])),
    "outlines": (PICTURES[:3], MASKS, MASKS, [0, 2]),
    "members": (
        PICTURES[0],
        dict(zip("abc", MASKS, strict=True)),
        MASKS.mean(axis=0),
        MASKS.std(axis=0),
    ),
    "agreement_against_dice": (BY_PATIENT, 0.5, "Anna"),
    "reliability": ({"one": TABLE, "mean": TABLE},),
    "unreliable_inputs": (list(PICTURES), [*MASKS, MASKS[2]], ["a", "b", "c", "d"]),
    "familiarity": ({"a": np.array([1.0, 3.0]), "b": np.array([4.0])}, 2.0, 0.05),
}


@pytest.mark.parametrize("name", FIGURES)
def test_every_figure_has_a_title_labels_and_a_source(name):
    figure = getattr(plots_patient, name)(*FIGURES[name], "simulated cohort")
    figure.draw_without_rendering()
    assert figure.get_suptitle()
    assert figure.get_supxlabel() == "simulated cohort"
    titled = [axes for axes in figure.axes if axes.get_title() or axes.get_ylabel()]
    assert titled
    with pytest.raises(ValueError, match="which patients"):
        getattr(plots_patient, name)(*FIGURES[name], "")


def test_slices_beyond_the_limit_look_different():
    figure = plots_patient.familiarity(*FIGURES["familiarity"], "simulated cohort")
    drawn = [(line.get_marker(), len(line.get_xdata())) for line in figure.axes[0].lines]
    assert drawn[:4] == [("o", 1), ("^", 1), ("o", 0), ("^", 1)]


def test_lengths_are_in_mm_where_the_size_of_a_voxel_is_known():
    def texts(figure):
        drawn = [text.get_text() for axes in figure.axes for text in axes.texts]
        scales = [axis.get_xlabel() for axes in figure.axes for axis in axes.child_axes]
        return " ".join([*drawn, *scales])

    for name in ("outlines", "members", "along_slices"):
        make = getattr(plots_patient, name)
        assert "mm" not in texts(make(*FIGURES[name], "simulated cohort"))
        assert "mm" in texts(make(*FIGURES[name], "simulated cohort", 0.5))


def test_a_mask_that_nobody_has_traced_is_not_in_the_legend():
    images, masks, truth, slices = FIGURES["outlines"]
    for traced, names in (
        (truth, ["true border", "predicted border"]),
        (None, ["predicted border"]),
    ):
        figure = plots_patient.outlines(images, masks, traced, slices, "simulated cohort")
        assert [text.get_text() for text in figure.legends[0].get_texts()] == names


def test_the_axes_of_the_agreement_reach_as_far_as_the_data():
    table = pd.DataFrame(
        {"patient": ["a", "b"], "agreement": [0.6, 0.9], "dice": [0.8, 0.81]},
    )
    axes = plots_patient.agreement_against_dice(table, 0.95, "Anna", "simulated cohort").axes[0]
    assert 0.5 < axes.get_xlim()[0] < 0.6 and 0.95 < axes.get_xlim()[1] < 1.0
    assert np.ptp(axes.get_ylim()) == pytest.approx(0.1)
    assert [text.get_text() for text in axes.texts] == ["a"]
