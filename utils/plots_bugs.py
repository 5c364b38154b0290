"""Figures of notebook 07: the symptoms."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from utils.plots import (
    BLUE,
    COLOURS,
    GREY,
    LINES,
    PREDICTION,
    TRUTH,
    VERMILION,
    bare,
    contour_legend,
    draw_contour,
    draw_slice,
    new_figure,
    styled,
)


@styled
def gallery(
    pictures: np.ndarray,
    truths: np.ndarray | None,
    predictions: np.ndarray | None,
    names: Sequence[str],
    title: str,
    source: str,
) -> Figure:
    """Show pictures (n, height, width) in rows of at most six, with the borders of masks.

    Parameters
    ----------
    pictures : ndarray (n, height, width)
    truths, predictions : ndarray (n, height, width) or None
        Masks, of the size of the pictures.
    names : sequence of str
        Heads of the pictures.
    title, source : str
        Of the figure, and which patients it shows.
    """
    columns = min(6, max(1, len(pictures)))
    rows = max(1, -(-len(pictures) // columns))
    figure = new_figure(title, source, max(6, 1.75 * columns), 2.1 * rows + 0.9)
    grid = figure.subplots(rows, columns, squeeze=False).ravel()
    bare(grid)
    for place, (axes, picture) in enumerate(zip(grid, pictures, strict=False)):
        draw_slice(axes, picture)
        axes.set_title(names[place], fontsize=8)
        for masks, look in ((truths, TRUTH), (predictions, PREDICTION)):
            if masks is not None:
                draw_contour(axes, masks[place], look)
    if truths is not None:
        contour_legend(figure, prediction=predictions is not None)
    return figure


@styled
def share_by_patient(shares: pd.Series, source: str) -> Figure:
    """Show the share of slices that are right, one bar a patient, sorted.

    Parameters
    ----------
    shares : Series
        By patient, 0..1.
    source : str
    """
    shares = shares.sort_values()
    figure = new_figure("The detector on the cascade's test patients", source, 8, 4)
    axes = figure.subplots()
    axes.barh(np.arange(len(shares)), 100 * shares.to_numpy(), color=BLUE, height=0.7)
    axes.set_yticks(np.arange(len(shares)), shares.index, fontsize=8)
    axes.set(xlabel="slices classified rightly (%)", ylabel="patient", xlim=(0, 100))
    axes.grid(axis="y", visible=False)
    return figure


@styled
def curves(across: np.ndarray, lines: Mapping[str, np.ndarray], labels, title, source) -> Figure:
    """Show lines over one axis.

    Parameters
    ----------
    across : ndarray (n,)
    lines : mapping of str to ndarray (n,)
        By what the legend calls them.
    labels : tuple of 2 str
        Of the horizontal and of the vertical axis.
    title, source : str
    """
    figure = new_figure(title, source, 7, 3.8)
    axes = figure.subplots()
    for number, (name, values) in enumerate(lines.items()):
        axes.plot(across, values, LINES[number], color=COLOURS[number], label=name)
    axes.set(xlabel=labels[0], ylabel=labels[1], ylim=(0, None))
    axes.legend()
    return figure


@styled
def chance_histogram(accuracies: np.ndarray, slices: int, source: str) -> Figure:
    """Show the accuracies reported for detectors that throw dice, and where they should lie.

    Parameters
    ----------
    accuracies : ndarray (n,)
        0..1, each of so many `slices`, so that there is one bar for every possible value.
    slices : int
    source : str
    """
    figure = new_figure("Accuracies reported for scores drawn by chance", source, 7, 3.8)
    axes = figure.subplots()
    bins = 100 * (np.arange(slices // 3, slices + 2) - 0.5) / slices
    axes.hist(100 * accuracies, bins=bins, color=BLUE, edgecolor="white")
    axes.axvline(50, color=VERMILION, linestyle="--", label="what such scores are worth")
    axes.axvline(100 * accuracies.mean(), color=GREY, linestyle="-.", label="mean of the reports")
    axes.set(xlabel="reported accuracy (%)", ylabel="number of reports")
    axes.legend()
    return figure
