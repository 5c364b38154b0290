"""The figures of notebook 05 show what they are given, with titles and labels."""

import numpy as np
import pandas as pd
import pytest

from utils.evaluation.bootstrap import Interval
from utils.plots import evidence as plots_evidence

SOURCE = "3 made-up patients"
PATIENTS = pd.DataFrame(
    {"patient": list("abc"), "institution": ["DU", "HT", "DU"], "dice": [0.9, 0.4, 0.7]}
)


def words(figure):
    texts = [figure.get_suptitle(), figure.get_supxlabel()]
    for axes in figure.axes:
        texts += [axes.get_xlabel(), axes.get_ylabel(), axes.get_title()]
        texts += [text.get_text() for text in axes.texts]
        texts += [label.get_text() for label in (*axes.get_xticklabels(), *axes.get_yticklabels())]
    texts += [text.get_text() for legend in figure.legends for text in legend.get_texts()]
    return " | ".join(texts)


def test_patients_are_sorted_and_compared_with_what_is_published():
    mean = Interval(0.6667, 0.4, 0.9)
    figure = plots_evidence.dice_of_many(PATIENTS, mean, {"published": 0.82}, SOURCE)
    drawn = {
        float(x): float(y)
        for line in figure.axes[0].get_lines()
        if line.get_marker() not in ("None", "")
        for x, y in zip(*line.get_data(), strict=True)
    }
    assert drawn == {0.0: 0.4, 1.0: 0.7, 2.0: 0.9}
    said = words(figure)
    assert all(part in said for part in (SOURCE, "mean 0.667", "published 0.82", "DU", "HT"))


def test_the_parts_of_a_loss_are_stacked_the_largest_loss_first():
    parts = pd.DataFrame(
        [("a", 0.1, 0.2, 0.0, 0.0), ("b", 0.0, 0.1, 0.3, 0.2), ("c", *[np.nan] * 4)],
        columns=["patient", "too_much", "too_little", "missed", "false"],
    )
    kinds = {name: f"words of {name}" for name in parts.columns[1:]}
    axes = plots_evidence.lost_dice(parts, kinds, SOURCE).axes[0]
    tops = [[bar.get_y() + bar.get_height() for bar in kind] for kind in axes.containers]
    # b loses 0.6 and stands first, a loses 0.3; c has no Dice.
    np.testing.assert_allclose(tops, [[0, 0.1], [0.1, 0.3], [0.4, 0.3], [0.6, 0.3]])
    told = [text.get_text() for text in axes.get_legend().get_texts()]
    assert told == list(kinds.values())[::-1]  # as they lie upon each other


def test_each_group_has_its_patients_mean_and_interval():
    values = {"DU": np.array([0.9, 0.7]), "EZ": np.array([0.5])}
    means = {"DU": Interval(0.8, 0.7, 0.9), "EZ": Interval(0.5, np.nan, np.nan)}
    figure = plots_evidence.dice_by_group(values, means, "By institution", SOURCE)
    said = words(figure)
    assert all(part in said for part in ("0.800", "DU\n2 patients", "EZ\n1 patient", SOURCE))
    intervals = [line for line in figure.axes[0].get_lines() if line.get_linewidth() == 2]
    assert [list(line.get_xdata()) for line in intervals] == [[0.7, 0.9]]


def test_a_difference_that_is_not_clear_looks_so():
    found = {"clear": Interval(0.05, 0.01, 0.09), "open": Interval(-0.02, -0.06, 0.02)}
    figure = plots_evidence.differences(found, "Inflation", "random minus patient", SOURCE)
    said = words(figure)
    assert all(part in said for part in ("+0.050", "-0.020", "clear", "open", "Inflation"))
    styles = [line.get_linestyle() for line in figure.axes[0].get_lines()]
    assert styles[1] == "-" and styles[3] == "--"


def test_panels_have_their_names_borders_and_a_legend():
    picture, mask = np.full((8, 8), 100, np.uint8), np.zeros((8, 8), np.uint8)
    mask[2:5, 3:6] = 1
    named = {
        "slice": plots_evidence.Panel(picture, mask),
        "map": plots_evidence.Panel(picture / 200),
        "both": plots_evidence.Panel(picture, mask, mask),
    }
    figure = plots_evidence.panels(named, "Three pictures", SOURCE, columns=2)
    said = words(figure)
    assert all(part in said for part in ("slice", "map", "both", "true border", SOURCE))
    assert "predicted border" in said
    *grid, scale = figure.axes
    assert [len(axes.collections) for axes in grid] == [1, 0, 2, 0]  # the last is empty
    assert (scale.get_ylabel(), scale.get_ylim()) == ("probability of tumour", (0, 1))
    alone = plots_evidence.panels({"map": named["map"]}, "A map", SOURCE)
    assert "border" not in words(alone)
    assert "probability" not in words(
        plots_evidence.panels({"slice": named["slice"]}, "A slice", SOURCE)
    )


def test_a_figure_without_its_source_is_refused():
    with pytest.raises(ValueError, match="say in source="):
        plots_evidence.differences({"a": Interval(0, 0, 0)}, "Title", "label", "")
