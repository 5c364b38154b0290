"""Figures of notebook 05: many patients at once, groups of patients, and differences.

What one held-out cohort needs too is in `detection` and `evaluation`. `panels` shows
what the recipe of the evidence does to the slices of a simulated patient.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from utils.evaluation.bootstrap import Interval
from utils.plots.style import (
    BLACK,
    BLUE,
    COLOURS,
    GREY,
    ORANGE,
    PREDICTION,
    SKY,
    TRUTH,
    VERMILION,
    bare,
    contour_legend,
    draw_contour,
    draw_slice,
    new_figure,
    styled,
)


class Panel(NamedTuple):
    """One picture of `panels`.

    Attributes
    ----------
    picture : ndarray, shape (height, width)
        Grey levels, 0..255, or a map of probability, 0..1, which is drawn in colours.
    truth, prediction : ndarray, shape (height, width), or None
        Masks whose borders are drawn.
    """

    picture: np.ndarray
    truth: np.ndarray | None = None
    prediction: np.ndarray | None = None


@styled
def panels(named: Mapping[str, Panel], title: str, source: str, columns: int = 4) -> Figure:
    """Show pictures of one slice side by side, with the borders of masks.

    Parameters
    ----------
    named : mapping of str to Panel
        By what stands above the picture. Pictures of floats up to 1 are probabilities: coloured,
        with a scale beside them.
    title, source : str
    columns : int
    """
    rows = -(-len(named) // columns)
    figure = new_figure(title, source, max(6.5, 2.2 * columns), 2.4 * rows + 0.9)
    grid = figure.subplots(rows, columns, squeeze=False).ravel()
    bare(grid)
    maps = []
    for axes, (name, one) in zip(grid, named.items(), strict=False):
        if one.picture.dtype.kind == "f" and one.picture.max() <= 1:
            maps.append(draw_slice(axes, one.picture, 1, cmap="viridis"))
        else:
            draw_slice(axes, one.picture, 255)
        for mask, look in ((one.truth, TRUTH), (one.prediction, PREDICTION)):
            if mask is not None:
                draw_contour(axes, mask, look)
        axes.set_title(name, fontsize=9)
    if maps:
        figure.colorbar(maps[0], ax=list(grid), label="probability of tumour", shrink=0.8)
    contour_legend(
        figure,
        prediction=any(one.prediction is not None for one in named.values()),
        truth=any(one.truth is not None for one in named.values()),
    )
    return figure


@styled
def dice_of_many(
    patients: pd.DataFrame, mean: Interval, references: Mapping[str, float], source: str
) -> Figure:
    """Show the Dice of many patients, sorted, with the mean's interval and published values.

    Parameters
    ----------
    patients : pandas.DataFrame
        ``patient, institution, dice``.
    mean : Interval
        Of the mean Dice.
    references : mapping of str to float
        Values to compare with, by name.
    source : str
        Which patients, here and in all figures below.
    """
    patients = patients.sort_values(["dice", "patient"], ignore_index=True)
    figure = new_figure("Dice by patient", source, 8.6, 4.6)
    axes = figure.subplots()
    for number, (institution, rows) in enumerate(patients.groupby("institution")):
        look = {"color": COLOURS[number % 7], "marker": "osD^v"[number % 5], "markersize": 4.5}
        axes.plot(rows.index, rows["dice"], linestyle="", label=institution, **look)
    axes.axhspan(mean.low, mean.high, color=SKY, alpha=0.3, lw=0, label="95 % interval")
    axes.axhline(mean.estimate, color=BLUE, label=f"mean {mean.estimate:.3f}")
    for (name, value), line in zip(references.items(), ("--", ":"), strict=False):
        axes.axhline(value, color=BLACK, linestyle=line, linewidth=1.2, label=f"{name} {value:g}")
    axes.set(xlabel="patients, from the worst to the best", ylabel="Dice of the patient's volume")
    axes.set(ylim=(-0.02, 1.02), xlim=(-1, len(patients)))
    axes.set_xticks([])
    figure.legend(loc="outside right center")
    return figure


@styled
def lost_dice(parts: pd.DataFrame, kinds: Mapping[str, str], source: str) -> Figure:
    """Show what each patient's Dice lacks to 1, as a bar of its parts, the largest loss first.

    Parameters
    ----------
    parts : pandas.DataFrame
        From `utils.evaluation.segmentation.lost_dice`.
    kinds : mapping of str to str
        Its columns, in words; drawn from the bottom up in this order.
    source : str
    """
    parts = parts.dropna()
    order = parts[list(kinds)].sum(axis=1).sort_values(ascending=False, kind="stable").index
    figure = new_figure("Where each patient's Dice is lost", source, 8.6, 4.6)
    axes = figure.subplots()
    bottom = np.zeros(len(parts))
    looks = zip((SKY, BLUE, ORANGE, BLACK), ("", "///", "...", ""), strict=True)
    for (kind, words), (color, hatch) in zip(kinds.items(), looks, strict=True):
        height = parts.loc[order, kind].to_numpy()
        axes.bar(range(len(parts)), height, 1.0, bottom, color=color, hatch=hatch, lw=0,
                 edgecolor="white", label=words)  # fmt: skip
        bottom += height
    axes.set(xlabel=f"{len(parts)} patients, from the worst to the best")
    axes.set(ylabel="1 - Dice of the patient's volume", xlim=(-1, len(parts)), xticks=[])
    axes.grid(False, axis="x")
    axes.legend(*(each[::-1] for each in axes.get_legend_handles_labels()), loc="upper right")
    return figure


@styled
def dice_by_group(
    values: Mapping[str, np.ndarray], means: Mapping[str, Interval], title: str, source: str
) -> Figure:
    """Show the Dice of the patients of several groups, with mean and interval of each.

    Parameters
    ----------
    values : mapping of str to ndarray (patients,)
        By name of the group.
    means : mapping of str to Interval
        By name of the group; without bounds no interval is drawn.
    title : str
    source : str
    """
    figure = new_figure(title, source, 7.4, 0.75 * len(values) + 1.5)
    axes = figure.subplots()
    for place, (name, dice) in enumerate(values.items()):
        # Spread by a fixed pattern, so that equal values can be told apart.
        spread = 0.12 * (np.arange(len(dice)) % 3 - 1)
        axes.plot(np.sort(dice), place - 0.12 + spread, "o", color=SKY, markersize=4)
        mean = means[name]
        if not np.isnan(mean.low):
            axes.plot([mean.low, mean.high], [place + 0.22] * 2, color=BLUE, linewidth=2)
        axes.plot(mean.estimate, place + 0.22, "D", color=BLUE, markersize=6)
        axes.text(1.03, place, f"{mean.estimate:.3f}", va="center", fontsize=9)
    labels = [f"{name}\n{len(dice)} patient{'s' * (len(dice) != 1)}" for name, dice in
              values.items()]  # fmt: skip
    axes.set_yticks(range(len(values)), labels)
    axes.set(xlabel="Dice of the patient's volume", xlim=(-0.02, 1.12))
    axes.set_ylim(len(values) - 0.5, -0.5)
    axes.set_title("dots: patients; diamond: mean, with its 95 % interval", fontsize=9, color=GREY)
    axes.grid(False, axis="y")
    return figure


@styled
def differences(intervals: Mapping[str, Interval], title: str, label: str, source: str) -> Figure:
    """Show differences with their intervals, and where no difference would be.

    Parameters
    ----------
    intervals : mapping of str to Interval
        By name; an interval that excludes 0 is drawn filled and solid.
    title, label : str
        Of the figure and of its horizontal axis.
    source : str
    """
    figure = new_figure(title, source, 8.2, 0.5 * len(intervals) + 1.7)
    axes = figure.subplots()
    axes.axvline(0, color=GREY, linewidth=1)
    for place, one in enumerate(intervals.values()):
        clear = one.low > 0 or one.high < 0
        color = (BLUE if one.estimate > 0 else VERMILION) if clear else ORANGE
        axes.plot([one.low, one.high], [place] * 2, "-" if clear else "--", color=color)
        fill = color if clear else "white"
        axes.plot(one.estimate, place, "o", color=color, markerfacecolor=fill, markersize=7)
        axes.annotate(f"{one.estimate:+.3f}", (one.estimate, place), (0, 7), ha="center",
                      textcoords="offset points", fontsize=9)  # fmt: skip
    axes.set_yticks(range(len(intervals)), list(intervals))
    axes.set(xlabel=label, ylim=(len(intervals) - 0.5, -0.6))
    axes.set_title("dashed, hollow: the interval includes 0", fontsize=9, color=GREY)
    axes.margins(x=0.12)
    axes.grid(False, axis="y")
    return figure
