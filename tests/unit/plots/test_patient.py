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
    "members": (PICTURES[0], MASKS, MASKS.mean(axis=0), MASKS.std(axis=0)),
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
