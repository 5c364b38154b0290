"""Figures of notebook 02: training, ROC, calibration, and what the detector looks at."""

from collections.abc import Collection, Mapping, Sequence

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from utils.evaluation.bootstrap import Interval
from utils.evaluation.detection import OperatingPoint, peaks
from utils.plots.style import (
    BLACK,
    BLUE,
    CHANNELS,
    COLOURS,
    GREEN,
    GREY,
    LINES,
    ORANGE,
    bare,
    contour_legend,
    draw_contour,
    draw_slice,
    new_figure,
    styled,
)


@styled
def training_curves(
    histories: Mapping[str, pd.DataFrame],
    measures: Mapping[str, str],
    source: str,
    title: str = "Learning curves",
) -> Figure:
    """Show how trainings went, one panel a measure, one colour a training.

    Parameters
    ----------
    histories : mapping of str to DataFrame
        By name of the training: `epoch`, and the columns of `measures` with or without ``val_``.
    measures : mapping of str to str
        Column to axis label with unit: ``{"loss": "loss"}``. Its ``val_`` column is drawn solid,
        the one of the training patients dashed.
    source : str
        Which patients, here and in all figures below.
    title : str
    """
    figure = new_figure(title, source, 4.6 * len(measures) + 0.6, 3.8)
    grid = figure.subplots(1, len(measures), squeeze=False)[0]
    for axes, (column, label) in zip(grid, measures.items(), strict=True):
        for number, (name, history) in enumerate(histories.items()):
            look = {"color": COLOURS[number % 7], "marker": "osD^v"[number % 5], "markersize": 4}
            for prefix, line, part in (("", "--", "training"), ("val_", "-", "validation")):
                if prefix + column in history:
                    values = history[prefix + column]
                    axes.plot(history["epoch"], values, line, label=f"{name}, {part}", **look)
        axes.set(xlabel="epoch", ylabel=label)
        axes.xaxis.get_major_locator().set_params(integer=True)
    # One entry for each line that looks different, whichever panels it is in.
    handles = {line.get_label(): line for axes in grid for line in axes.get_lines()}.values()
    figure.legend(handles=list(handles), loc="outside lower left", ncols=2)
    return figure


@styled
def roc_curves(
    bands: Mapping[str, pd.DataFrame],
    aucs: Mapping[str, Interval],
    source: str,
    point: OperatingPoint | None = None,
) -> Figure:
    """Show ROC curves; the first with its 95 % band over patients.

    Parameters
    ----------
    bands : mapping of str to DataFrame
        By name of the model, from `detection.roc_band`.
    aucs : mapping of str to Interval
        By name of the model, from `detection.auc_interval`.
    source : str
    point : OperatingPoint, optional
        The chosen threshold of the first model, marked on its curve.
    """
    figure = new_figure("Slices with tumour told from slices without", source, 7.4, 4.8)
    axes = figure.subplots()
    for number, (name, band) in enumerate(bands.items()):
        color = COLOURS[number % 7]
        rate = band["false_positive_rate"]
        if number == 0:
            axes.fill_between(rate, band["low"], band["high"], color=color, alpha=0.18, lw=0)
        label = f"{name}\nAUC {aucs[name]}"
        axes.plot(rate, band["sensitivity"], LINES[number % 7], color=color, label=label)
    axes.plot([0, 1], [0, 1], color=GREY, linewidth=0.8)
    axes.text(0.62, 0.57, "guessing", color=GREY, fontsize=9, rotation=38, va="center")
    if point is not None:
        place = 1 - point.specificity.estimate, point.sensitivity.estimate
        label = f"threshold {point.threshold:.2f}, chosen on validation"
        axes.plot(*place, "o", color=BLACK, markersize=7, label=label)
    axes.set(
        xlabel="tumour-free slices flagged (1 - specificity)",
        ylabel="tumour slices found (sensitivity)",
        xlim=(-0.01, 1),
        ylim=(0, 1.01),
    )
    axes.set_title("band: 95 % of the curves of resampled patients", fontsize=9, color=GREY)
    figure.legend(loc="outside right center")
    return figure


@styled
def precision_recall(
    curves: Mapping[str, pd.DataFrame],
    averages: Mapping[str, float],
    prevalence: float,
    source: str,
) -> Figure:
    """Show precision over sensitivity, with the share of tumour slices that guessing would give.

    Parameters
    ----------
    curves : mapping of str to DataFrame
        By name of the model, from `detection.precision_recall_points`.
    averages : mapping of str to float
        By name of the model, from `detection.average_precision`.
    prevalence : float
        Share of tumour slices, 0..1.
    source : str
    """
    figure = new_figure("Precision and sensitivity", source, 7.4, 4.2)
    axes = figure.subplots()
    for number, (name, curve) in enumerate(curves.items()):
        label = f"{name}\naverage precision {averages[name]:.2f}"
        look = {"color": COLOURS[number % 7], "linestyle": LINES[number % 7]}
        axes.plot(curve["sensitivity"], curve["precision"], label=label, **look)
    axes.axhline(prevalence, color=GREY, linewidth=0.8)
    axes.text(0.01, prevalence + 0.01, "guessing", color=GREY, fontsize=9)
    axes.set(
        xlabel="tumour slices found (sensitivity, recall)",
        ylabel="flagged slices that have tumour (precision)",
        xlim=(0, 1.01),
        ylim=(0, 1.02),
    )
    figure.legend(loc="outside right center")
    return figure


@styled
def reliability(
    tables: Mapping[str, pd.DataFrame], errors: Mapping[str, float], source: str
) -> Figure:
    """Show what came true over what was predicted, one panel a table (before and after scaling).

    The bars are the tables' intervals over patients; a bin without one has no bar.

    Parameters
    ----------
    tables : mapping of str to DataFrame
        By name, from `calibration.reliability_table`.
    errors : mapping of str to float
        By name, from `calibration.expected_calibration_error`.
    source : str
    """
    figure = new_figure("Do the probabilities mean what they say?", source, 4 * len(tables) + 1, 4)
    grid = figure.subplots(1, len(tables), squeeze=False, sharey=True)[0]
    for number, (axes, (name, table)) in enumerate(zip(grid, tables.items(), strict=True)):
        axes.plot([0, 1], [0, 1], color=GREY, linewidth=0.8)
        reach = [table["observed"] - table["low"], table["high"] - table["observed"]]
        # Rounding may put a bound a hair on the wrong side of the estimate.
        axes.errorbar(
            table["predicted"],
            table["observed"],
            yerr=np.clip(reach, 0, None),
            fmt="o-",
            color=COLOURS[number % 7],
            capsize=3,
            markersize=5,
        )
        axes.set(
            title=f"{name}\ncalibration error {errors[name]:.3f}",
            xlabel="mean predicted probability",
            xlim=(-0.03, 1.03),
            ylim=(-0.03, 1.03),
        )
    grid[0].set_ylabel("share of slices with tumour")
    words = "grey line: perfect\nbars: 95 % interval\nover patients"
    grid[0].text(0, 1.02, words, color=GREY, fontsize=9, va="top")
    return figure


@styled
def grad_cam_panels(
    images: np.ndarray,
    masks: np.ndarray,
    maps: np.ndarray,
    names: Sequence[str],
    source: str,
    share: str = "",
) -> Figure:
    """Show FLAIR slices with the tumour's border, below them with the detector's Grad-CAM over it.

    Parameters
    ----------
    images : ndarray (n, height, width, 3)
    masks : ndarray (n, height, width)
    maps : ndarray (n, height, width), 0..1
        From `grad_cam.grad_cam`. One that is the same everywhere has no peak, and says so.
    names : sequence of str
        Heads of the columns, with the probability.
    source : str
    share : str
        What stands below the title: the share of peaks in the tumour, beside chance.
    """
    columns = len(images)
    title = "Where the detector looks (Grad-CAM)" + (f"\n{share}" if share else "")
    figure = new_figure(title, source, 1.65 * columns + 0.8, 4.4)
    grid = figure.subplots(2, columns, squeeze=False)
    for column, peak in enumerate(peaks(maps)):
        for axes in grid[:, column]:
            draw_slice(axes, images[column, ..., 1])
        grid[0, column].set_title(names[column], fontsize=8.5)
        # Transparent where little speaks for tumour, so that the slice stays to be seen.
        look = {"cmap": "hot", "vmin": 0, "vmax": 1, "interpolation": "bilinear"}
        drawn = grid[1, column].imshow(maps[column], alpha=0.75 * maps[column], **look)
        for axes in grid[:, column]:
            draw_contour(axes, masks[column])
        if peak is None:
            words = "no peak: nothing\nspeaks for tumour"
            place = {"ha": "center", "va": "top", "transform": grid[1, column].transAxes}
            grid[1, column].text(0.5, -0.02, words, fontsize=8, **place)
        else:
            row, place = peak
            look = {"color": GREEN, "markersize": 8, "markeredgewidth": 2}
            grid[1, column].plot(place, row, "x", **look)
    grid[0, 0].set_ylabel("FLAIR")
    grid[1, 0].set_ylabel("with map, x: its peak")
    scale = mpl.cm.ScalarMappable(drawn.norm, drawn.cmap)  # without the transparency
    bar = figure.colorbar(scale, ax=grid[1, :], shrink=0.8, pad=0.01)
    bar.ax.set_title("share of\nmaximum", loc="left", fontsize=7)
    contour_legend(figure, prediction=False)
    return figure


@styled
def error_gallery(
    errors: Mapping[str, tuple[np.ndarray, np.ndarray, Sequence[str]]], source: str
) -> Figure:
    """Show what went wrong, one row a kind of error: FLAIR slices with the true border.

    Parameters
    ----------
    errors : mapping of str to (images, masks, names)
        By kind of error ("missed", "false alarm"): pictures (n, height, width, 3), masks
        (n, height, width) and titles with the probability. A kind may have none.
    source : str
    """
    columns = max(1, *(len(images) for images, _, _ in errors.values()))
    width, height = max(5, 1.6 * columns + 0.4), 2 * len(errors) + 0.9
    figure = new_figure("The detector's errors", source, width, height)
    grid = figure.subplots(len(errors), columns, squeeze=False)
    for row, (kind, (images, masks, names)) in zip(grid, errors.items(), strict=True):
        bare(row)
        row[0].set_ylabel(kind)
        for axes, image, mask, name in zip(row, images, masks, names, strict=False):
            draw_slice(axes, image[..., 1])
            draw_contour(axes, mask)
            axes.set_title(name, fontsize=8)
        if len(images) == 0:
            row[0].text(0.5, 0.5, "none", ha="center", va="center", transform=row[0].transAxes)
    contour_legend(figure, prediction=False)
    return figure


@styled
def preprocessing(
    variants: Mapping[str, np.ndarray], source: str, turned_round: Collection[str] = ()
) -> Figure:
    """Show what a network is given under several ways of preparing the same slice.

    Parameters
    ----------
    variants : mapping of str to ndarray (height, width, 3)
        By name, the float values that reach the first layer.
    source : str
    turned_round : collection of str
        Names of the variants whose channels are in reverse order. They are drawn in the order of
        the files, so that a colour stands for the same sequence in every panel.
    """
    columns = len(variants)
    title = "The same slice, prepared in different ways: the values a network sees"
    figure = new_figure(title, source, max(7, 2.9 * columns), 4.6)
    grid = figure.subplots(2, columns, squeeze=False, sharey="row", height_ratios=(1.4, 1))
    low = min(variant.min() for variant in variants.values())
    high = max(variant.max() for variant in variants.values())
    for column, (name, variant) in enumerate(variants.items()):
        variant = variant[..., ::-1] if name in turned_round else variant
        spread = max(float(np.ptp(variant)), 1e-9)
        draw_slice(grid[0, column], (variant - variant.min()) / spread)
        grid[0, column].set_title(f"{name}\n{variant.min():.1f} to {variant.max():.1f}", fontsize=9)
        for channel, color in enumerate((BLUE, ORANGE, GREEN)):
            values = variant[..., channel].ravel()
            look = {"color": color, "linestyle": LINES[channel], "histtype": "step"}
            label = CHANNELS[channel] if column == 0 else None
            grid[1, column].hist(values, np.linspace(low, high, 60), label=label, log=True, **look)
        grid[1, column].set_xlabel("value")
    grid[1, 0].set_ylabel("pixels (log scale)")
    figure.legend(loc="outside lower left", ncols=3)
    return figure
