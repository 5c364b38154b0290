"""Figures of notebook 08: one patient, how far the answers differ, and what is not familiar."""

from collections.abc import Collection, Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

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
    contour_legend,
    draw_contour,
    draw_scale,
    draw_slice,
    head_window,
    new_figure,
    styled,
    window_around,
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
    window = head_window(images[list(slices), ..., 1])
    images = images[:, *window]
    height = 1.9 * 3 * images.shape[1] / images.shape[2] + 0.9
    figure = new_figure("The patient as read from the files", source, 1.9 * len(slices), height)
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
def along_slices(
    p_tumour: np.ndarray,
    threshold: float,
    areas: np.ndarray,
    source: str,
    slice_mm: float | None = None,
) -> Figure:
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
    slice_mm : float, optional
        From one slice to the next, where it is known; then there is a scale in mm above.
    """
    figure = new_figure("What the models say, slice by slice", source, 8, 4.8)
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
    if slice_mm is not None:
        to_mm, to_slice = (lambda n: (n - 1) * slice_mm), (lambda mm: mm / slice_mm + 1)
        scale = above.secondary_xaxis("top", functions=(to_mm, to_slice))
        scale.set_xlabel("height above the lowest slice (mm)")
    return figure


@styled
def outlines(
    images: np.ndarray,
    masks: np.ndarray,
    truth: np.ndarray | None,
    slices: Sequence[int],
    source: str,
    pixel_mm: float | None = None,
) -> Figure:
    """Show what is drawn on some FLAIR slices of a patient, cut to the head.

    Parameters
    ----------
    images : ndarray, shape (slices, height, width, 3)
    masks : ndarray, shape (slices, height, width)
        What a segmenter draws.
    truth : ndarray, shape (slices, height, width), or None
        What a person has traced, if anyone has.
    slices : sequence of int
        Which slices, from 0.
    source : str
    pixel_mm : float, optional
        Size of a pixel, where it is known; then a bar says how long 20 mm are.
    """
    slices = list(slices)
    window = head_window(images[slices, ..., 1])
    images, masks = images[:, *window], masks[:, *window]
    height = 2.6 * images.shape[1] / images.shape[2] + 1.2
    figure = new_figure("The mask on top of FLAIR", source, 2.6 * len(slices), height)
    grid = figure.subplots(1, len(slices), squeeze=False)[0]
    brightest = np.percentile(images[slices, ..., 1], 99)
    for axes, place in zip(grid, slices, strict=True):
        draw_slice(axes, images[place, ..., 1], brightest)
        if truth is not None:
            draw_contour(axes, truth[place][window])
        draw_contour(axes, masks[place], PREDICTION)
        axes.set_title(f"slice {place + 1}")
        _draw_scale(axes, pixel_mm, images.shape[1:3])
    if truth is None:
        figure.legend(handles=[_handle("predicted border", PREDICTION)], loc="outside lower left")
    else:
        contour_legend(figure)
    return figure


def _handle(label: str, look: Mapping) -> Line2D:
    """Return what stands for a contour in a legend."""
    return Line2D([], [], color=look["colors"], linestyle=look["linestyles"], label=label)


def _draw_scale(axes: Axes, pixel_mm: float | None, shape: Sequence[int], mm: int = 20) -> None:
    """Draw a bar of so many mm, if the size of a pixel is known."""
    if pixel_mm is not None:
        draw_scale(axes, shape, mm / pixel_mm, f"{mm} mm")


@styled
def members(
    picture: np.ndarray,
    masks: Mapping[str, np.ndarray],
    mean: np.ndarray,
    deviation: np.ndarray,
    source: str,
    pixel_mm: float | None = None,
) -> Figure:
    """Show what the members of a test-time augmentation draw on one slice, and how they differ.

    All three panels are cut to the surroundings of what is drawn; to the head, if nothing is.

    Parameters
    ----------
    picture : ndarray, shape (height, width, 3)
    masks : mapping
        Name of a member -> what it draws, shape (height, width).
    mean, deviation : ndarray, shape (height, width)
        Of the members' probabilities.
    source : str
    pixel_mm : float, optional
        Size of a pixel, where it is known; then a bar says how long 20 mm are.
    """
    window = window_around(np.any([mask > 0 for mask in masks.values()], axis=0))
    window = window or head_window(picture[..., 1])
    flair = picture[..., 1][window]
    height = 3.1 * flair.shape[0] / flair.shape[1] + 1.5
    figure = new_figure("One slice, several answers", source, 10.5, height)
    outlined, middle, spread = figure.subplots(1, 3)
    draw_slice(outlined, flair)
    _draw_scale(outlined, pixel_mm, flair.shape)
    handles = []
    for number, (name, mask) in enumerate(masks.items()):
        look = {"colors": COLOURS[number % 6], "linestyles": ("-", "--", ":")[number % 3]}
        draw_contour(outlined, mask[window], look | {"linewidths": 1.2})
        handles.append(_handle(name, look))
    figure.legend(handles=handles, loc="outside lower left", ncols=3)
    outlined.set_title(f"FLAIR, outlines of {len(masks)} members", fontsize=9.5)
    for axes, values, top, title in (
        (middle, mean, 1.0, "mean probability"),
        (spread, deviation, 0.5, "standard deviation"),
    ):
        shown = axes.imshow(values[window], vmin=0, vmax=top, cmap="cividis")
        bare(axes)
        axes.set_title(title, fontsize=9.5)
        figure.colorbar(shown, ax=axes, shrink=0.8)
    return figure


@styled
def agreement_against_dice(table: pd.DataFrame, own: float, name: str, source: str) -> Figure:
    """Show for each patient how well the members agree and how right the segmenter is.

    The axes reach as far as the data. The patient whose members agree least is named.

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
    figure = new_figure("Where the members disagree, trust the mask less", source, 6.8, 4.6)
    axes = figure.subplots()
    axes.plot(table["agreement"], table["dice"], "o", color=BLUE, label="validation patients")
    axes.axvline(own, color=VERMILION, linestyle="--", label=name)
    lowest = table.loc[table["agreement"].idxmin()]
    axes.annotate(
        lowest["patient"],
        (lowest["agreement"], lowest["dice"]),
        xytext=(7, 0),
        textcoords="offset points",
        va="center",
        fontsize=8.5,
    )
    axes.set(
        xlabel="agreement: mean Dice between members",
        ylabel="Dice with the traced mask",
        xlim=_limits([*table["agreement"], own]),
        ylim=_limits(table["dice"]),
    )
    axes.legend(loc="upper left")
    return figure


def _limits(values: Sequence[float]) -> tuple[float, float]:
    """Return limits of an axis a little beyond some scores, and no narrower than 0.1."""
    low, high = min(values), max(values)
    pad = max(0.06 * (high - low), (0.1 - (high - low)) / 2)
    return low - pad, high + pad


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
    pictures: Sequence[np.ndarray],
    masks: Sequence[np.ndarray],
    names: Sequence[str],
    source: str,
    whole: Collection[str] = (),
) -> Figure:
    """Show images (height, width, 3) with what the segmenter draws on each.

    Parameters
    ----------
    pictures, masks : sequence of ndarray
        One slice each.
    names : sequence of str
    source : str
    whole : collection of str
        Names of those that are no head and are not cut to it.
    """
    columns = 5
    rows = -(-len(names) // columns)
    figure = new_figure(
        "What the segmenter draws on images that it was not made for",
        source,
        10,
        2.45 * rows + 0.8,
    )
    grid = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes, picture, mask, name in zip(grid, pictures, masks, names, strict=False):
        window = np.s_[:, :] if name in whole else head_window(picture[..., 1])
        draw_slice(axes, picture[..., 1][window], 255)
        draw_contour(axes, mask[window], PREDICTION)
        axes.set_title(name, fontsize=8.5)
    for axes in grid[len(names) :]:
        axes.set_axis_off()
    figure.legend(handles=[_handle("predicted border", PREDICTION)], loc="outside lower left")
    return figure


@styled
def familiarity(
    distances: Mapping[str, np.ndarray], threshold: float, rate: float, source: str
) -> Figure:
    """Show the distance of each slice, one row per kind of image.

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
    axes.set_xlabel("Mahalanobis distance to the training slices; triangles: beyond the limit")
    return figure
