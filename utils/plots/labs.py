"""Figures of the leak lab (notebook 6) and the bug hunt (notebook 7)."""

from collections.abc import Mapping, Sequence

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from utils.plots.style import (
    BLACK,
    BLUE,
    COLOURS,
    GREY,
    LINES,
    ORANGE,
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
def tested_slices(
    table: pd.DataFrame, tests: Mapping[str, np.ndarray], source: str, patients: int = 20
) -> Figure:
    """Show which slices are tested: a row per patient, a column per slice, a panel per split.

    Parameters
    ----------
    table : DataFrame
        `patient, slice`, one row per slice.
    tests : mapping of str to ndarray of bool, shape (n,)
        By split: which rows are tested.
    source : str
        Which patients, here and in all figures below.
    patients : int
        How many are shown, the first by name.
    """
    names = sorted(table["patient"].unique())[:patients]
    figure = new_figure("Which slices are tested", source, 9.5, 4.4)
    grid = figure.subplots(1, len(tests), sharey=True, squeeze=False)[0]
    shown = table["patient"].isin(names).to_numpy()
    rows = table.loc[shown, "patient"].map(names.index).to_numpy()
    columns = table.loc[shown, "slice"].to_numpy()
    for axes, (split, test) in zip(grid, tests.items(), strict=True):
        last = columns.max()
        picture = np.full((len(names), last), np.nan)
        picture[rows, columns - 1] = test[shown]
        look = {"cmap": mpl.colors.ListedColormap([BLUE, ORANGE]), "aspect": "auto"}
        axes.imshow(picture, extent=(0.5, last + 0.5, len(names) - 0.5, -0.5), **look)
        axes.set(title=split, xlabel="slice (from the neck upwards)", yticks=[])
        axes.grid(False)
    grid[0].set_ylabel("patient")
    handles = [
        mpl.patches.Patch(color=colour, label=label)
        for colour, label in ((BLUE, "training"), (ORANGE, "test"))
    ]
    figure.legend(handles=handles, loc="outside lower left", ncols=2)
    return figure


@styled
def split_scores(scores: pd.DataFrame, source: str) -> Figure:
    """Show the AUC of every repeat, one row per split, with the means.

    Parameters
    ----------
    scores : DataFrame
        `split, repeat, auc`, from `leak_lab.compare_splits`.
    source : str
    """
    repeats = scores["repeat"].nunique()
    title = f"The same classifier under three splits, each drawn {repeats} times"
    figure = new_figure(title, source, 8, 3.4)
    axes = figure.subplots()
    groups = list(scores.groupby("split", sort=False)["auc"])[::-1]
    for place, (_, values) in enumerate(groups):
        # A fixed spread, so that like repeats stay apart and the figure stays the same.
        height = place + np.linspace(-0.22, 0.22, len(values))
        axes.plot(
            values,
            height,
            "o",
            color=BLUE,
            markersize=4,
            alpha=0.6,
            label="one repeat" if not place else None,
        )
        axes.plot(values.mean(), place, "D", color=ORANGE, markeredgecolor=BLACK, markersize=9,
                  label="mean" if not place else None)  # fmt: skip
    axes.set_yticks(range(len(groups)), [name.replace(" ", "\n") for name, _ in groups])
    axes.set(xlabel="AUC of the tested slices", ylabel="split by")
    axes.legend(loc="upper left")
    return figure


@styled
def auc_by_penalty(means: pd.DataFrame, repeats: int, source: str) -> Figure:
    """Show the AUC against the regularisation, one line for each split, the highest of each ringed.

    Parameters
    ----------
    means : DataFrame
        From `leak_lab.auc_by_penalty`.
    repeats : int
        How often each split was drawn.
    source : str
    """
    figure = new_figure("AUC by regularisation, under three splits", source, 8, 4)
    axes = figure.subplots()
    for number, split in enumerate(means):
        look = {"color": COLOURS[number], "marker": "osD"[number], "markersize": 4}
        axes.plot(means.index, means[split], linestyle=LINES[number], label=split, **look)
        best = means[split].idxmax()
        axes.plot(
            best, means.loc[best, split], "o", fillstyle="none", color=BLACK, markersize=11,
            label=None if number else "highest of its line",
        )  # fmt: skip
    axes.set(
        xscale="log",
        xlabel="C (left: strong regularisation, right: weak)",
        ylabel=f"AUC, mean of {repeats} repeats",
    )
    axes.legend()
    return figure


@styled
def gallery(
    pictures: np.ndarray,
    truths: np.ndarray | None,
    predictions: np.ndarray | None,
    names: Sequence[str],
    title: str,
    source: str,
) -> Figure:
    """Show images (n, height, width) in rows of at most six, with the borders of masks.

    Parameters
    ----------
    pictures : ndarray (n, height, width)
    truths, predictions : ndarray (n, height, width) or None
        Masks, of the size of the images.
    names : sequence of str
        Titles of the images.
    title, source : str
        Of the figure, and which patients it shows.
    """
    columns = min(6, max(1, len(pictures)))
    rows = max(1, -(-len(pictures) // columns))
    lines = 1 + max((name.count("\n") for name in names), default=0)
    height = rows * (1.65 + 0.14 * lines) + 0.95
    figure = new_figure(title, source, max(6, 1.75 * columns), height)
    grid = figure.subplots(rows, columns, squeeze=False).ravel()
    bare(grid)
    for place, (axes, picture) in enumerate(zip(grid, pictures, strict=False)):
        draw_slice(axes, picture)
        axes.set_title(names[place], fontsize=8)
        for masks, look in ((truths, TRUTH), (predictions, PREDICTION)):
            if masks is not None:
                draw_contour(axes, masks[place], look)
    contour_legend(figure, prediction=predictions is not None, truth=truths is not None)
    return figure


@styled
def share_by_patient(shares: pd.Series, source: str) -> Figure:
    """Show the share of slices that are right, one bar per patient, sorted.

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
    """Show the accuracies reported for scores drawn by chance, and where they should lie.

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
    axes.axvline(50, color=VERMILION, linestyle="--", label="accuracy of such scores on new slices")
    axes.axvline(
        100 * accuracies.mean(), color=GREY, linestyle="-.", label="mean of what is reported"
    )
    reach = 100 * (accuracies.min() - 0.05), 100 * (accuracies.max() + 0.05)
    axes.set(xlabel="reported accuracy (%)", ylabel="number of reports", xlim=reach)
    axes.legend()
    return figure
