"""Figures of notebook 04: how good the predictions are, for whom, and under which convention.

Overlays of the worst cases are drawn by `segmentation.overlays`.
"""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from utils.evaluation.bootstrap import Interval
from utils.evaluation.text import format_bounds, format_number
from utils.plots.style import BLUE, COLOURS, GREY, ORANGE, SKY, VERMILION, new_figure, styled


@styled
def paired_dice(
    first: pd.DataFrame,
    second: pd.DataFrame,
    names: tuple[str, str],
    difference: Interval,
    source: str,
) -> Figure:
    """Show each patient's Dice under two methods, joined by a line, and the differences sorted.

    Lines and dots say by their colour who is better or worse off by more than 0.005.

    Parameters
    ----------
    first, second : DataFrame
        `patient, dice` of the same patients, from `segmentation.patient_table`.
    names : (str, str)
        Of the two methods.
    difference : Interval
        Of the mean, second minus first, from `bootstrap.paired_bootstrap`.
    source : str
    """
    joined = first.merge(second, on="patient", suffixes=("_first", "_second"))
    change = joined["dice_second"] - joined["dice_first"]
    better, worse = int((change > 0.005).sum()), int((change < -0.005).sum())
    title = f"{names[0]} or {names[1]}: Dice by patient"
    figure = new_figure(title[0].upper() + title[1:], source, 7.4, 4.4)
    lines, spread = figure.subplots(1, 2, width_ratios=(1, 1.3))
    looks = [
        (BLUE, "-") if gain > 0.005 else (VERMILION, "--") if gain < -0.005 else (GREY, ":")
        for gain in change
    ]
    for row, (color, line) in zip(joined.itertuples(), looks, strict=True):
        lines.plot([0, 1], [row.dice_first, row.dice_second], "o", linestyle=line, color=color,
                   markersize=4, linewidth=1)  # fmt: skip
    words = "solid blue: better; dashed orange-red: worse;\ndotted grey: neither"
    lines.set_title(words, fontsize=8)
    lines.set(xticks=[0, 1], xticklabels=names, xlim=(-0.3, 1.3), ylim=(-0.02, 1.02))
    lines.set_ylabel("Dice of the patient's volume")
    lines.grid(False, axis="x")
    order = change.to_numpy().argsort()
    colors = [looks[place][0] for place in order]
    spread.scatter(change.to_numpy()[order], range(len(order)), s=16, color=colors, zorder=3)
    spread.axvline(0, color=GREY, linewidth=0.8)
    spread.axvspan(difference.low, difference.high, color=ORANGE, alpha=0.25, lw=0)
    spread.axvline(difference.estimate, color=ORANGE, linestyle="--")
    spread.set(xlabel=f"change in Dice:\n{names[1]} minus {names[0]}", ylabel="patients, sorted")
    spread.set_yticks([])
    spread.xaxis.set_major_locator(MaxNLocator(6))  # labels such as -0.125 would touch each other
    neither = len(change) - better - worse
    spread.set_title(
        f"by more than 0.005: better {better}, worse {worse}; neither {neither}\n"
        f"mean {format_number(difference.estimate, sign=True)} "
        f"(95 % CI {format_bounds(difference.low, difference.high, sign=True)}, band)",
        fontsize=9,
    )
    return figure


@styled
def dice_by_patient(patients: pd.DataFrame, mean: Interval, source: str) -> Figure:
    """Show every patient's Dice, sorted, coloured by institution, with the mean's interval.

    Parameters
    ----------
    patients : DataFrame
        `patient, institution, dice`, from `segmentation.patient_table`.
    mean : Interval
        Of the mean Dice, from `bootstrap.bootstrap_patients`.
    source : str
    """
    patients = patients.sort_values("dice", ignore_index=True)
    figure = new_figure("Dice by patient", source, 7.8, 0.24 * len(patients) + 1.9)
    axes = figure.subplots()
    for number, (institution, rows) in enumerate(patients.groupby("institution")):
        look = {"color": COLOURS[number % 7], "marker": "osD^v"[number % 5]}
        axes.plot(rows["dice"], rows.index, linestyle="", label=institution, **look)
    axes.axvspan(mean.low, mean.high, color=SKY, alpha=0.25, lw=0)
    axes.axvline(mean.estimate, color=BLUE, linestyle="--")
    axes.set_title(f"mean {mean} (dashed line, band); median {patients['dice'].median():.2f}",
                   fontsize=9.5)  # fmt: skip
    axes.set(xlabel="Dice of the patient's volume", xlim=(-0.02, 1.02))
    axes.set_yticks(patients.index, patients["patient"], fontsize=8)
    axes.margins(y=0.02)
    figure.legend(loc="outside right center", title="institution")
    return figure


@styled
def sensitivity_by_size(
    tables: Mapping[str, pd.DataFrame], source: str, pixel: str = "px"
) -> Figure:
    """Show the share of tumour slices found, by the tumour's area.

    Parameters
    ----------
    tables : mapping of str to DataFrame
        By name of the method, from `detection.sensitivity_by_size`; the same slices in each.
    source : str
    pixel : str
        Unit of the areas.
    """
    figure = new_figure("Sensitivity by the tumour's area", source, 7.4, 3.8)
    axes = figure.subplots()
    for number, (name, table) in enumerate(tables.items()):
        places = np.arange(len(table)) + 0.14 * (number - (len(tables) - 1) / 2)
        reach = [table["sensitivity"] - table["low"], table["high"] - table["sensitivity"]]
        axes.errorbar(
            places,
            table["sensitivity"],
            yerr=np.clip(reach, 0, None),
            fmt="osD^v"[number % 5],
            color=COLOURS[number % 7],
            capsize=4,
            label=name,
        )
    table = next(iter(tables.values()))
    labels = [
        f"{row.from_px} to {row.to_px} {pixel}\n{row.slices} slices" for row in table.itertuples()
    ]
    axes.set_xticks(range(len(table)), labels)
    axes.set(xlabel="tumour's area in the slice", ylabel="slices found (sensitivity)")
    axes.set(xlim=(-0.5, len(table) - 0.5), ylim=(-0.02, 1.04))
    axes.set_title("bars: 95 % interval over patients", fontsize=9, color=GREY)
    axes.grid(False, axis="x")
    figure.legend(loc="outside right center")
    return figure


@styled
def false_positives(tables: Mapping[str, pd.DataFrame], source: str) -> Figure:
    """Show how many tumour-free slices of each patient were flagged.

    Parameters
    ----------
    tables : mapping of str to DataFrame
        By name of the method, from `detection.false_positives`; the same patients in each.
    source : str
    """
    first = next(iter(tables.values()))
    width = max(8.6, 0.2 * len(first))
    figure = new_figure("False positives on tumour-free slices", source, width, 4)
    axes = figure.subplots()
    total = sum(table.set_index("patient")["share"] for table in tables.values())
    order = total.sort_values(ascending=False, kind="stable").index.tolist()
    width = 0.8 / len(tables)
    for number, (name, table) in enumerate(tables.items()):
        share = 100 * table.set_index("patient")["share"].loc[order]
        places = np.arange(len(order)) + width * (number - (len(tables) - 1) / 2)
        label = f"{name}: {table['flagged'].sum()} of {table['tumour_free'].sum()} slices"
        axes.bar(places, share, width=width, color=COLOURS[number % 7], label=label,
                 hatch=(None, "///")[number % 2], edgecolor="white")  # fmt: skip
    axes.set_xticks(range(len(order)), order, rotation=60, ha="right", fontsize=8,
                    rotation_mode="anchor")  # fmt: skip
    axes.set(ylabel="flagged, of the patient's\ntumour-free slices (%)", ylim=(0, None))
    axes.grid(False, axis="x")
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=len(tables))
    return figure


@styled
def dice_conventions(table: pd.DataFrame, source: str) -> Figure:
    """Show the same predictions scored under each convention, the course's own marked.

    Parameters
    ----------
    table : DataFrame
        `convention, dice, explanation`, from `segmentation.dice_conventions`; the first row is the
        course's own.
    source : str
    """
    spread = table["dice"].max() - table["dice"].min()
    title = f'The same predictions, {len(table)} ways to say "Dice": {spread:.2f} apart'
    own = table["convention"].iloc[0]
    table = table.sort_values("dice", ignore_index=True)
    figure = new_figure(title, source, 9.6, 0.42 * len(table) + 1.2)
    axes = figure.subplots()
    for row in table.itertuples():
        color = ORANGE if row.convention == own else BLUE
        axes.plot([0, row.dice], [row.Index, row.Index], color=color, linewidth=1.2)
        axes.plot(row.dice, row.Index, "D" if row.convention == own else "o", color=color)
        axes.text(row.dice + 0.02, row.Index, f"{row.dice:.2f}", va="center", fontsize=9)
        axes.text(1.13, row.Index, row.explanation, va="center", fontsize=8, color=GREY,
                  clip_on=False)  # fmt: skip
    axes.set_yticks(table.index, table["convention"])
    axes.set(xlabel="Dice (diamond: the course's own convention)", xlim=(0, 1.1))
    axes.grid(False, axis="y")
    return figure


@styled
def compare_intervals(
    intervals: Mapping[str, Mapping[str, Interval]], source: str, title: str, label: str
) -> Figure:
    """Show several intervals for each of some quantities, one below the other.

    Parameters
    ----------
    intervals : mapping of str to mapping of str to Interval
        By quantity, then by kind of interval; the same kinds for each quantity.
    source : str
    title, label : str
        Of the figure and of its horizontal axis.
    """
    figure = new_figure(title, source, 8, 0.62 * len(intervals) + 1.9)
    axes = figure.subplots()
    kinds = list(next(iter(intervals.values())))
    for number, kind in enumerate(kinds):
        drawn = [row[kind] for row in intervals.values()]
        estimates = np.array([one.estimate for one in drawn])
        reach = [
            [one.estimate - one.low for one in drawn],
            [one.high - one.estimate for one in drawn],
        ]
        axes.errorbar(
            estimates,
            np.arange(len(drawn)) + 0.24 * (number - (len(kinds) - 1) / 2),
            xerr=np.clip(reach, 0, None),
            fmt="osD^v"[number % 5],
            color=COLOURS[number % 7],
            capsize=4,
            label=kind,
        )
    axes.set_yticks(range(len(intervals)), list(intervals))
    axes.set(xlabel=label, ylim=(len(intervals) - 0.5, -0.5))
    axes.grid(False, axis="y")
    figure.legend(loc="outside right center", title="95 % interval")
    return figure
