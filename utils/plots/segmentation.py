"""Figures of notebook 03: the network, its losses, augmentation, thresholds and overlays."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch, Rectangle

from utils.plots.style import (
    BLACK,
    COLOURS,
    GREEN,
    GREY,
    LINES,
    ORANGE,
    PREDICTION,
    SKY,
    TRUTH,
    bare,
    contour_legend,
    draw_contour,
    draw_scale,
    draw_slice,
    new_figure,
    styled,
    window_around,
)

FORMULA = "from the formula, no data"
# How long the bar is that says how large a zoomed picture is.
SCALE_PX = 20


@styled
def focal_exponents(
    exponents: Sequence[float] = (0.75, 1.0, 4 / 3, 2.0), source: str = FORMULA
) -> Figure:
    """Show the loss (1 - index) ** exponent and the size of its slope over the Tversky index.

    Parameters
    ----------
    exponents : sequence of float
        Above 1, hard images count more; below 1, easy ones do, and the slope grows without
        bound where the index nears 1.
    source : str
    """
    figure = new_figure("What the exponent of the focal Tversky loss does", source, 9, 3.9)
    loss, slope = figure.subplots(1, 2)
    index = np.linspace(0, 0.999, 500)
    for number, exponent in enumerate(exponents):
        look = {"color": COLOURS[number % 7], "linestyle": LINES[number % 7]}
        loss.plot(index, (1 - index) ** exponent, label=f"exponent {exponent:.3g}", **look)
        slope.plot(index, exponent * (1 - index) ** (exponent - 1), **look)
    loss.set(xlabel="Tversky index (1: every pixel right)", ylabel="loss", title="loss")
    slope.set(
        xlabel="Tversky index (1: every pixel right)",
        ylabel="|d loss / d index|",
        title="slope: how hard an image pulls",
        ylim=(0, 2.5),
    )
    figure.legend(loc="outside lower left", ncols=len(exponents))
    return figure


@styled
def tversky_weights(
    weights: Sequence[tuple[float, float]] = ((0.3, 0.7), (0.5, 0.5), (0.7, 0.3)),
    source: str = FORMULA,
) -> Figure:
    """Show what missed pixels and false positives cost for some pairs of weights.

    Parameters
    ----------
    weights : sequence of (fn_weight, fp_weight)
        Weights of the false negatives and of the false positives; 0.5 and 0.5 is Dice.
    source : str
    """
    figure = new_figure(
        "Alpha weighs what is missed, beta what is drawn beside the tumour", source, 9, 3.9
    )
    missed, invented = figure.subplots(1, 2, sharey=True)
    wrong = np.linspace(0, 1, 101)
    for number, (fn_weight, fp_weight) in enumerate(weights):
        look = {"color": COLOURS[number % 7], "linestyle": LINES[number % 7]}
        hits = 1 - wrong
        missed.plot(100 * wrong, 1 - hits / (hits + fn_weight * wrong), **look)
        label = rf"$\alpha$ = {fn_weight:g}, $\beta$ = {fp_weight:g}"
        label += " (Dice)" if fn_weight == fp_weight else ""
        invented.plot(100 * wrong, 1 - 1 / (1 + fp_weight * wrong), label=label, **look)
    missed.set(xlabel="tumour missed (% of its area)", ylabel="1 - Tversky index")
    invented.set(xlabel="drawn beside it (% of its area)")
    figure.legend(loc="outside lower left", ncols=len(weights))
    return figure


@styled
def augmentation(
    image: np.ndarray,
    mask: np.ndarray,
    variants: Sequence[tuple[np.ndarray, np.ndarray]],
    source: str,
) -> Figure:
    """Show a slice and its mask as they are, and after random changes that move both together.

    Parameters
    ----------
    image : ndarray (height, width, 3)
    mask : ndarray (height, width)
    variants : sequence of (image, mask)
    source : str
    """
    title = "Image and mask are moved together; grey levels change in the image alone"
    columns = 1 + len(variants)
    figure = new_figure(title, source, max(7.5, 1.6 * columns), 4.2)
    grid = figure.subplots(2, columns, squeeze=False)
    for column, (picture, moved) in enumerate([(image, mask), *variants]):
        draw_slice(grid[0, column], picture[..., 1], 255)
        draw_contour(grid[0, column], moved)
        draw_slice(grid[1, column], (np.asarray(moved) > 0).astype(float), 1)
        grid[0, column].set_title("as it is" if column == 0 else f"changed, {column}", fontsize=9)
    grid[0, 0].set_ylabel("FLAIR")
    grid[1, 0].set_ylabel("mask")
    contour_legend(figure, prediction=False)
    return figure


@styled
def threshold_curve(
    tried: pd.DataFrame,
    source: str,
    xlabel: str = "threshold on the probability",
    title: str = "Threshold and pieces kept, chosen on validation",
) -> Figure:
    """Show the mean Dice for each threshold (and choice of pieces kept), the best one marked.

    Parameters
    ----------
    tried : DataFrame
        `threshold, dice` and optionally `pieces`; from `segmenter.try_postprocessing` or
        `flair_baseline.try_thresholds`.
    source : str
        Which patients they were tried on.
    xlabel, title : str
    """
    figure = new_figure(title, source, 7.4, 3.8)
    axes = figure.subplots()
    groups = dict(list(tried.groupby("pieces"))) if "pieces" in tried else {"": tried}
    for number, (label, rows) in enumerate(groups.items()):
        rows = rows.sort_values("threshold")
        look = {"color": COLOURS[number % 7], "linestyle": LINES[number % 7], "markersize": 4}
        axes.plot(rows["threshold"], rows["dice"], marker="osD^v"[number % 5], label=label, **look)
    best = tried.loc[tried["dice"].idxmax()]
    axes.plot(best["threshold"], best["dice"], "o", markersize=13, fillstyle="none", color=BLACK)
    axes.set(xlabel=xlabel, ylabel="mean patient Dice")
    axes.set_title(
        f"circle: the best, threshold {best['threshold']:g}, Dice {best['dice']:.2f}",
        fontsize=9,
        color=GREY,
    )
    if len(groups) > 1:
        figure.legend(loc="outside right center")
    return figure


@styled
def overlays(
    images: np.ndarray,
    truths: np.ndarray,
    predictions: np.ndarray,
    names: Sequence[str],
    source: str,
    title: str = "Best, middle and worst",
    columns: int = 3,
    zoomed: bool = False,
) -> Figure:
    """Show FLAIR slices with the true border and the predicted one.

    Parameters
    ----------
    images : ndarray (n, height, width, 3)
    truths, predictions : ndarray (n, height, width)
    names : sequence of str
        Titles of the pictures, with the Dice.
    source : str
    title : str
    columns : int
    zoomed : bool
        Show what is around the two masks, with a bar of `SCALE_PX` pixels; a small picture of the
        whole slice says where that is.
    """
    rows = -(-len(images) // columns)
    figure = new_figure(title, source, max(5, 2.3 * columns), 2.55 * rows + 0.9)
    grid = figure.subplots(rows, columns, squeeze=False).ravel()
    bare(grid)
    for axes, name, image, *masks in zip(grid, names, images, truths, predictions, strict=False):
        window = window_around(np.any([mask > 0 for mask in masks], axis=0)) if zoomed else None
        flair, vmax = image[..., 1], max(1, np.percentile(image[..., 1], 99.8))
        shown = flair if window is None else flair[window]
        draw_slice(axes, shown, vmax)
        for mask, look in zip(masks, (TRUTH, PREDICTION), strict=True):
            draw_contour(axes, mask if window is None else mask[window], look)
        if window is not None:
            draw_scale(axes, shown.shape, SCALE_PX, f"{SCALE_PX} pixels")
            _draw_place(axes, flair, window, vmax)
        axes.set_title(name, fontsize=9)
    contour_legend(figure)
    return figure


def _draw_place(axes: Axes, flair: np.ndarray, window: tuple[slice, slice], vmax: float) -> None:
    """Draw the whole slice small into the upper right corner, with a frame around the window."""
    small = axes.inset_axes((0.7, 0.7, 0.3, 0.3))
    draw_slice(small, flair, vmax)
    height, width = (each.stop - each.start for each in window)
    corner = window[1].start - 0.5, window[0].start - 0.5
    small.add_patch(Rectangle(corner, width, height, fill=False, edgecolor="white", linewidth=1))


@styled
def masks_side_by_side(
    image: np.ndarray, masks: Mapping[str, np.ndarray], source: str, title: str
) -> Figure:
    """Show one FLAIR slice and several masks of it: the true one, a baseline's, the network's.

    Parameters
    ----------
    image : ndarray (height, width, 3)
    masks : mapping of str to ndarray (height, width)
        By name. Probabilities, 0..1, are drawn as such.
    source : str
    title : str
    """
    figure = new_figure(title, source, 2.2 * (len(masks) + 1), 3.1)
    grid = figure.subplots(1, len(masks) + 1)
    draw_slice(grid[0], image[..., 1])
    grid[0].set_title("FLAIR", fontsize=9)
    for axes, (name, mask) in zip(grid[1:], masks.items(), strict=True):
        draw_slice(axes, np.asarray(mask, dtype=float), 1, cmap="viridis")
        axes.set_title(name, fontsize=9)
    return figure


@styled
def zoomed_contours(
    image: np.ndarray, masks: Mapping[str, np.ndarray], source: str, title: str, margin: int = 12
) -> Figure:
    """Show FLAIR around a tumour, once for each prediction, with the true border in all of them.

    Parameters
    ----------
    image : ndarray (height, width, 3)
    masks : mapping of str to ndarray (height, width)
        Predictions by name; `true mask` first.
    source : str
    title : str
    margin : int
        Pixels around all that the masks cover.
    """
    (_, truth), *predictions = masks.items()
    rows, columns = np.nonzero(np.any([np.asarray(mask) > 0 for mask in masks.values()], axis=0))
    height, width = image.shape[:2]
    figure = new_figure(title, source, 2.5 * len(predictions), 3.8)
    for axes, (name, mask) in zip(
        figure.subplots(1, len(predictions), squeeze=False)[0], predictions, strict=True
    ):
        draw_slice(axes, image[..., 1], max(1, np.percentile(image[..., 1], 99.8)))
        draw_contour(axes, truth, TRUTH)
        draw_contour(axes, mask, PREDICTION)
        if len(rows):
            axes.set_xlim(max(columns.min() - margin, 0), min(columns.max() + margin, width - 1))
            axes.set_ylim(min(rows.max() + margin, height - 1), max(rows.min() - margin, 0))
        axes.set_title(name, fontsize=9)
    contour_legend(figure)
    return figure


@styled
def loss_lab(table: pd.DataFrame, source: str) -> Figure:
    """Show what exponent and weights of the focal Tversky loss did, a line for each seed.

    Parameters
    ----------
    table : DataFrame
        As `loss_lab.losses_table` returns it.
    source : str
    """
    figure = new_figure("Focal Tversky loss: what exponent and weights changed", source, 11.5, 4.2)
    exponents, weights, trade = figure.subplots(1, 3)
    by_exponent = table[table["fn_weight"] == 0.7]
    by_weight = table[table["exponent"] > 1]
    for number, seed in enumerate(table["seed"].unique()):
        look = {"color": COLOURS[number], "linestyle": LINES[number], "marker": "osD"[number]}
        for axes, rows, column in (
            (exponents, by_exponent, "exponent"),
            (weights, by_weight, "fn_weight"),
        ):
            rows = rows[rows["seed"] == seed].sort_values(column)
            label = f"seed {seed}" if axes is exponents else None
            axes.plot(range(len(rows)), rows["dice"], label=label, **look)
        rows = by_weight[by_weight["seed"] == seed].sort_values("fn_weight")
        trade.plot(rows["precision_half"], rows["sensitivity_half"], **look)
        for _, row in rows.iterrows():
            trade.annotate(
                f"{row['fn_weight']:g}",
                (row["precision_half"], row["sensitivity_half"]),
                # Two seeds lie close to each other: the first has its labels on the other side.
                xytext=(5, 3) if number else (-17, -9),
                textcoords="offset points",
                fontsize=8,
                color=GREY,
            )
    named = [f"{each:.3g}" for each in sorted(by_exponent["exponent"].unique())]
    exponents.set_xticks(range(len(named)), named)
    pairs = by_weight[["fn_weight", "fp_weight"]].drop_duplicates().sort_values("fn_weight")
    named = [f"{fn:g} / {fp:g}" for fn, fp in pairs.itertuples(index=False)]
    weights.set_xticks(range(len(named)), named)
    limits = table["dice"].min() - 0.02, table["dice"].max() + 0.02
    exponents.set(xlabel="exponent p", ylabel="mean patient Dice, held-out", ylim=limits)
    exponents.set_title("exponent (weights 0.7 / 0.3)", fontsize=10)
    weights.set(xlabel=r"weights $\alpha$ / $\beta$", ylim=limits)
    weights.set_title("weights (exponent 4/3)", fontsize=10)
    trade.set(xlabel="precision", ylabel="sensitivity")
    trade.set_title(r"the trade at threshold 0.5, by $\alpha$", fontsize=10)
    figure.legend(loc="outside lower left", ncols=3)
    return figure


@styled
def resunet_diagram(
    size: int = 128,
    filters: Sequence[int] = (32, 64, 128, 256),
    source: str = "the network's plan, no data",
) -> Figure:
    """Draw the ResUNet of `resunet.resunet`: resolution and filters by level, and the skips.

    Parameters
    ----------
    size : int
        Side of the picture in pixels.
    filters : sequence of int
        Filters at each level, the finest, at half the resolution of the picture, first.
    source : str
    """
    levels = len(filters)
    figure = new_figure("The ResUNet: down, across, and up again", source, 12, 1.0 * levels + 1.2)
    axes, inside = figure.subplots(1, 2, width_ratios=(3.6, 1))
    bare([axes, inside])
    last = 2 * levels - 2  # the place of the last block, at the finest level again
    axes.set(xlim=(-2.2, last + 2.2), ylim=(-levels + 0.35, 0.75))
    axes.set_title("the whole network", fontsize=10)
    _box(axes, -1.6, 0, f"image\n{size} x {size}", "white")
    _box(axes, last + 1.6, 0, f"probability\n{size} x {size}", "white")
    for level, width in enumerate(filters):
        text = f"{size >> level + 1} x {size >> level + 1}\n{width} filters"
        _box(axes, level, -level, text, SKY if level < levels - 1 else ORANGE)
        if level < levels - 1:
            _box(axes, last - level, -level, text, GREEN)
            _arrow(axes, (level + 0.42, -level), (last - level - 0.42, -level), linestyle="--")
            _arrow(axes, (level, -level - 0.27), (level + 0.6, -level - 0.75))
            _arrow(axes, (last - level - 0.6, -level - 0.75), (last - level, -level - 0.27))
    _arrow(axes, (-1.14, 0), (-0.42, 0))
    _arrow(axes, (last + 0.42, 0), (last + 1.14, 0))
    axes.text(-0.8, 0.4, "stem: a convolution\nthat halves", ha="center", color=GREY, fontsize=9)
    axes.text(last + 0.8, 0.4, "enlarged by 2", ha="center", color=GREY, fontsize=9)
    axes.text(last / 2, 0.08, "skip connections: detail is copied across", ha="center", color=GREY)
    axes.text(last, -levels + 0.9, "on the way up: enlarged by 2,\njoined with the skip",
              ha="center", color=GREY, fontsize=9)  # fmt: skip
    _draw_block(inside)
    return figure


def _draw_block(axes: Axes) -> None:
    """Draw what is inside a residual block, from its input at the top to its output."""
    axes.set(xlim=(-0.8, 1.5), ylim=(-6.9, 0.6))
    axes.set_title("inside each coloured box:\na residual block", fontsize=10)
    steps = ["normalise, ReLU", "convolution 3 x 3", "normalise, ReLU", "convolution 3 x 3"]
    for place, step in enumerate(steps, start=1):
        _box(axes, 0, -1.25 * place, step, "white", width=1.16, height=0.62)
        _arrow(axes, (0, -1.25 * place + 0.88), (0, -1.25 * place + 0.36))
    axes.text(0, 0.15, "input", ha="center", va="center", fontsize=9)
    axes.text(0, -6.15, "+", ha="center", va="center", fontsize=15)
    axes.text(0, -6.75, "output", ha="center", va="center", fontsize=9)
    _arrow(axes, (0, -5.36), (0, -5.9))
    axes.plot([0.3, 1.05, 1.05], [0.15, 0.15, -2.55], color=GREY, linewidth=1)
    _box(axes, 1.05, -3.1, "1 x 1\nshort-\ncut", SKY, width=0.62, height=1.0)
    axes.plot([1.05, 1.05], [-3.65, -6.15], color=GREY, linewidth=1)
    _arrow(axes, (1.05, -6.15), (0.15, -6.15))


def _box(
    axes: Axes, x: float, y: float, text: str, color: str, width: float = 0.76, height: float = 0.44
) -> None:
    shape = FancyBboxPatch(
        (x - width / 2, y - height / 2),
        width,
        height,
        boxstyle="round,pad=0.03",
        facecolor=color,
        edgecolor=BLACK,
        alpha=0.55,
    )
    axes.add_patch(shape)
    axes.text(x, y, text, ha="center", va="center", fontsize=8.5)


def _arrow(axes: Axes, start: tuple, end: tuple, linestyle: str = "-") -> None:
    axes.add_patch(
        FancyArrowPatch(
            start, end, arrowstyle="-|>", mutation_scale=11, color=GREY, linestyle=linestyle
        )
    )
