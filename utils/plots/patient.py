"""Figures of notebook 08: one patient, how far the answers differ, and what is not familiar."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from utils.plots.style import (
    BLACK,
    BLUE,
    CHANNELS,
    COLOURS,
    GREY,
    ORANGE,
    PREDICTION,
    VERMILION,
    bare,
    draw_contour,
    draw_slice,
    new_figure,
    styled,
)


@styled
def sequences(images: np.ndarray, slices: Sequence[int], source: str) -> Figure:
    """Show the three channels, one a row, of some slices of a patient.

    Parameters
    ----------
    images : ndarray of uint8, shape (slices, height, width, 3)
    slices : sequence of int
        Which slices, from 0.
    source : str
    """
    figure = new_figure("The patient as read from the files", source, 1.9 * len(slices), 5.6)
    grid = figure.subplots(3, len(slices), squeeze=False)
    for channel, name in enumerate(CHANNELS):
        brightest = np.percentile(images[..., channel], 99.8)
        for column, place in enumerate(slices):
            draw_slice(grid[channel, column], images[place, ..., channel], brightest)
        grid[channel, 0].set_ylabel(name)
    for column, place in enumerate(slices):
        grid[0, column].set_title(f"slice {place + 1}")
    return figure


@styled
def along_slices(p_tumour: np.ndarray, threshold: float, areas: np.ndarray, source: str) -> Figure:
    """Show, from the lowest slice to the highest, what the two models say.

    Parameters
    ----------
    p_tumour : ndarray, shape (slices,)
        The detector's probability.
    threshold : float
        From which on a slice is flagged.
    areas : ndarray, shape (slices,)
        Area that the segmenter draws, in cm2.
    source : str
    """
    figure = new_figure("What the models say, slice by slice", source, 8, 4.6)
    above, below = figure.subplots(2, 1, sharex=True)
    numbers = np.arange(1, len(p_tumour) + 1)
    above.plot(numbers, p_tumour, "o-", color=BLUE, markersize=4)
    above.axhline(threshold, color=BLACK, linestyle="--", linewidth=1)
    above.annotate(
        "threshold", (numbers[-1], threshold), xytext=(0, 3), textcoords="offset points", ha="right"
    )
    above.set(ylim=(-0.03, 1.03), ylabel="probability of\ntumour (detector)")
    below.bar(numbers, areas, color=ORANGE, edgecolor=BLACK, linewidth=0.5)
    below.set(ylabel="area drawn\n(segmenter, cm²)", xlabel="slice, from the neck upwards")
    return figure


@styled
def members(
    picture: np.ndarray, masks: np.ndarray, mean: np.ndarray, deviation: np.ndarray, source: str
) -> Figure:
    """Show what the members of a test-time augmentation draw on one slice, and how they differ.

    Parameters
    ----------
    picture : ndarray, shape (height, width, 3)
    masks : ndarray, shape (members, height, width)
    mean, deviation : ndarray, shape (height, width)
        Of the members' probabilities.
    source : str
    """
    figure = new_figure("One slice, several answers", source, 10.5, 4)
    outlines, middle, spread = figure.subplots(1, 3)
    draw_slice(outlines, picture[..., 1])
    for number, mask in enumerate(masks):
        look = {"colors": COLOURS[number % 6], "linewidths": 1.2}
        draw_contour(outlines, mask, look | {"linestyles": ("-", "--", ":")[number % 3]})
    outlines.set_title(f"FLAIR, outlines of {len(masks)} members", fontsize=9.5)
    for axes, values, top, title in (
        (middle, mean, 1.0, "mean probability"),
        (spread, deviation, 0.5, "standard deviation"),
    ):
        shown = axes.imshow(values, vmin=0, vmax=top, cmap="cividis")
        bare(axes)
        axes.set_title(title, fontsize=9.5)
        figure.colorbar(shown, ax=axes, shrink=0.8)
    return figure


@styled
def agreement_against_dice(table: pd.DataFrame, own: float, name: str, source: str) -> Figure:
    """Show for each patient how well the members agree and how right the segmenter is.

    Parameters
    ----------
    table : DataFrame
        ``patient, agreement, dice``.
    own : float
        Agreement on the patient in question, shown as a line.
    name : str
        Of that patient.
    source : str
    """
    figure = new_figure("Where the members disagree, trust the mask less", source, 6.4, 4.4)
    axes = figure.subplots()
    axes.plot(table["agreement"], table["dice"], "o", color=BLUE, label="validation patients")
    axes.axvline(own, color=VERMILION, linestyle="--", label=name)
    axes.set(
        xlabel="agreement: mean Dice between members",
        ylabel="Dice with the traced mask",
        xlim=(-0.03, 1.03),
        ylim=(-0.03, 1.03),
    )
    axes.legend(loc="upper left")
    return figure


@styled
def reliability(tables: Mapping[str, pd.DataFrame], source: str) -> Figure:
    """Show whether pixels with a given probability are tumour as often as it says.

    Parameters
    ----------
    tables : mapping
        Name -> table of `agreement.pixel_reliability`.
    source : str
    """
    figure = new_figure("Does 0.8 mean 8 of 10 pixels?", source, 6.4, 4.4)
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color=GREY, linewidth=1, label="as it should be")
    for number, (name, table) in enumerate(tables.items()):
        look = {"color": COLOURS[number], "linestyle": ("-", "--")[number % 2]}
        axes.plot(
            table["predicted"], table["observed"], marker="os"[number % 2], label=name, **look
        )
    axes.set(
        xlabel="mean probability of the pixels in a bin",
        ylabel="share of them that is tumour",
        xlim=(0, 1),
        ylim=(0, 1),
    )
    axes.legend(loc="upper left")
    return figure


@styled
def unreliable_inputs(
    pictures: Sequence[np.ndarray], masks: Sequence[np.ndarray], names: Sequence[str], source: str
) -> Figure:
    """Show pictures (height, width, 3) with what the segmenter draws on each.

    Parameters
    ----------
    pictures, masks : sequence of ndarray
        One slice each.
    names : sequence of str
    source : str
    """
    columns = 5
    rows = -(-len(names) // columns)
    figure = new_figure(
        "What the segmenter draws on pictures that it was not made for",
        source,
        10,
        2.45 * rows + 0.6,
    )
    grid = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes, picture, mask, name in zip(grid, pictures, masks, names, strict=False):
        draw_slice(axes, picture[..., 1], 255)
        draw_contour(axes, mask, PREDICTION)
        axes.set_title(name, fontsize=8.5)
    for axes in grid[len(names) :]:
        axes.set_axis_off()
    return figure


@styled
def familiarity(
    distances: Mapping[str, np.ndarray], threshold: float, rate: float, source: str
) -> Figure:
    """Show the distance of each slice, one row a kind of picture.

    Parameters
    ----------
    distances : mapping
        Name -> distances, from top to bottom.
    threshold : float
    rate : float
        Largest share of validation slices beyond it.
    source : str
    """
    figure = new_figure("How far from the training slices?", source, 8, 1.2 + 0.33 * len(distances))
    axes = figure.subplots()
    for row, values in enumerate(distances.values()):
        # Dots side by side, in a fixed order, so that none hides another.
        offsets = 0.22 * np.sin(2.4 * np.arange(len(values)))
        beyond = values > threshold
        for chosen, colour, marker in ((~beyond, BLUE, "o"), (beyond, VERMILION, "^")):
            axes.plot(values[chosen], row + offsets[chosen], marker, color=colour, markersize=3.5)
    axes.axvline(threshold, color=BLACK, linestyle="--", linewidth=1)
    axes.set_title(
        f"dashed: exceeded by at most {100 * rate:.0f} % of the validation slices", fontsize=9
    )
    axes.set(yticks=range(len(distances)), yticklabels=list(distances))
    axes.invert_yaxis()
    axes.set_xlabel("Mahalanobis distance (1: a training slice on average); triangles: beyond")
    return figure
