"""Figures of notebook 01: what the cohort looks like."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from utils.plots.style import (
    BLUE,
    CHANNELS,
    COLOURS,
    GREY,
    LINES,
    ORANGE,
    SKY,
    bare,
    contour_legend,
    draw_contour,
    draw_slice,
    head_window,
    new_figure,
    styled,
)


@styled
def gallery(images: np.ndarray, masks: np.ndarray, names: Sequence[str], source: str) -> Figure:
    """Show slices, one a column: their three channels, the tumour's border drawn on FLAIR.

    Parameters
    ----------
    images : ndarray (n, height, width, 3)
    masks : ndarray (n, height, width)
    names : sequence of str
        Heads of the columns.
    source : str
        Which patients, here and in all figures below.
    """
    columns = len(images)
    title = "Slices with the tumour's border drawn on FLAIR"
    window = head_window(images[..., 1])
    images, masks = images[:, *window], masks[:, *window]
    height = 1.6 * 3 * images.shape[1] / images.shape[2] + 1.1
    figure = new_figure(title, source, max(5, 1.6 * columns + 0.3), height)
    grid = figure.subplots(3, columns, squeeze=False)
    for channel, row in enumerate(grid):
        for column, axes in enumerate(row):
            draw_slice(axes, images[column, ..., channel])
            if channel == 0:
                axes.set_title(names[column], fontsize=8)
        row[0].set_ylabel(CHANNELS[channel])
    for column, axes in enumerate(grid[1]):
        draw_contour(axes, masks[column])
    contour_legend(figure, prediction=False)
    return figure


@styled
def volume_strip(images: np.ndarray, masks: np.ndarray, patient: str, source: str) -> Figure:
    """Show all of one patient's FLAIR slices, from the lowest to the highest, cut to the head.

    Parameters
    ----------
    images : ndarray (slices, height, width, 3)
    masks : ndarray (slices, height, width)
    patient : str
    source : str
    """
    columns = 8 if len(images) <= 40 else 12
    rows = -(-len(images) // columns)
    window = head_window(images[..., 1])
    flair, masks = images[:, *window, 1], masks[:, *window]
    width = 9.6 / columns
    height = width * flair.shape[1] / flair.shape[2] + 0.2
    title = f"{patient}: all {len(images)} slices, FLAIR"
    figure = new_figure(title, source, 9.6, height * rows + 0.8)
    grid = figure.subplots(rows, columns, squeeze=False).ravel()
    vmax = np.percentile(flair, 98.5)  # the scalp, brighter than the brain, may be white
    bare(grid)
    for place, axes in enumerate(grid[: len(flair)]):
        draw_slice(axes, flair[place], vmax)
        draw_contour(axes, masks[place])
        axes.set_title(f"{place + 1}", fontsize=8)
    contour_legend(figure, prediction=False)
    return figure


@styled
def channels(image: np.ndarray, mask: np.ndarray, source: str) -> Figure:
    """Explain a slice: its three channels, all of them as one colour image, and the mask.

    Parameters
    ----------
    image : ndarray of uint8 (height, width, 3)
    mask : ndarray (height, width)
    source : str
    """
    window = head_window(image[..., 1])
    image, mask = image[window], np.asarray(mask)[window]
    figure = new_figure("One slice: three channels and a mask", source, 10, 3.5)
    grid = figure.subplots(1, 5)
    told = ("fluid dark", "fluid suppressed,\nswelling bright", "leaky vessels bright")
    for channel, axes in enumerate(grid[:3]):
        draw_slice(axes, image[..., channel])
        axes.set_title(f"{channel}: {CHANNELS[channel]}", fontsize=10)
        axes.set_xlabel(told[channel], fontsize=9)
    draw_slice(grid[3], image)
    grid[3].set_title("as red, green, blue", fontsize=10)
    grid[3].set_xlabel("how an image\nviewer shows it", fontsize=9)
    draw_slice(grid[4], (np.asarray(mask) > 0).astype(float), 1)
    grid[4].set_title("mask", fontsize=10)
    grid[4].set_xlabel("abnormal on\nFLAIR: white", fontsize=9)
    return figure


@styled
def class_balance(table: pd.DataFrame, source: str) -> Figure:
    """Show each patient's slices with and without tumour, sorted by the share with tumour.

    Parameters
    ----------
    table : DataFrame
        The cohort table; needs `patient, has_tumour`.
    source : str
    """
    patients = table.groupby("patient")["has_tumour"].agg(["sum", "size"]).astype(int)
    patients = patients.iloc[(patients["sum"] / patients["size"]).argsort()]
    share = patients["sum"].sum() / patients["size"].sum()
    title = f"Slices by patient: {100 * share:.0f} % of them have tumour"
    figure = new_figure(title, source, 9, 3.6)
    axes = figure.subplots()
    places = np.arange(len(patients))
    axes.bar(places, patients["sum"], width=0.9, color=ORANGE, label="with tumour")
    axes.bar(
        places,
        patients["size"] - patients["sum"],
        width=0.9,
        bottom=patients["sum"],
        color=SKY,
        label="without tumour",
    )
    axes.set(xlabel="patients, sorted by share of slices with tumour", ylabel="slices")
    axes.set_xticks([])
    axes.grid(False, axis="x")
    axes.margins(x=0.01)
    figure.legend(loc="outside lower left", ncols=2)
    return figure


@styled
def tumour_sizes(table: pd.DataFrame, picture_px: int, source: str) -> Figure:
    """Show how large tumours are, slice by slice and patient by patient.

    Parameters
    ----------
    table : DataFrame
        Needs `patient, tumour_px`.
    picture_px : int
        Pixels of a whole image, to give areas as a share of it.
    source : str
    """
    share = 100 * table["tumour_px"].astype(float) / picture_px
    figure = new_figure("How large the tumours are", source, 9, 3.4)
    of_slices, of_patients = figure.subplots(1, 2)
    with_tumour = share[share > 0]
    largest = share.groupby(table["patient"]).max()
    panels = (
        (of_slices, with_tumour, "slices with tumour", "tumour's area in the slice"),
        (of_patients, largest, "patients", "the patient's largest area"),
    )
    for axes, values, what, label in panels:
        axes.hist(values, bins=24, color=BLUE, edgecolor="white")
        axes.axvline(values.median(), color=ORANGE, linestyle="--")
        axes.set(xlabel=f"{label} (% of the image)", ylabel=what)
        axes.set_title(f"{len(values)} {what}; median {values.median():.1f} % (dashed)")
    return figure


@styled
def tumour_heat_map(images: np.ndarray, masks: np.ndarray, source: str) -> Figure:
    """Show how many tumour slices have tumour at each place, beside the mean image.

    Parameters
    ----------
    images : ndarray (n, height, width, 3)
    masks : ndarray (n, height, width)
    source : str
    """
    with_tumour = np.asarray(masks).any(axis=(1, 2))
    share = 100 * (np.asarray(masks)[with_tumour] > 0).mean(axis=0)
    title = f"Where tumours lie: {with_tumour.sum()} slices with tumour, one over the other"
    figure = new_figure(title, source, 8, 4)
    left, right = figure.subplots(1, 2)
    mean = images[with_tumour][..., 1].mean(axis=0)
    draw_slice(left, mean)
    left.set_title("mean FLAIR image")
    drawn = right.imshow(share, cmap="viridis")
    bare(right)
    right.set_title("true tumour")
    bar = figure.colorbar(drawn, ax=right, shrink=0.85)
    bar.set_label("slices with tumour here (%)")
    bar.outline.set_visible(False)
    return figure


@styled
def intensity_by_institution(
    intensities: pd.DataFrame, source: str, title: str = "Grey levels by institution"
) -> Figure:
    """Show the distribution of the head's pixels by channel and institution.

    An institution with a single patient has no line: it would show a person, not an institution.

    Parameters
    ----------
    intensities : DataFrame
        `patient, institution, channel` (0 to 2), `value` (grey level), one row for each pixel
        sampled.
    source : str
    title : str
    """
    patients = intensities.groupby("institution")["patient"].nunique()
    drawn = patients.index[patients > 1]
    figure = new_figure(title, source, 10, 3.4)
    grid = figure.subplots(1, 3, sharey=True)
    edges = np.linspace(0, intensities["value"].max(), 41)
    centres = (edges[1:] + edges[:-1]) / 2
    for channel, axes in enumerate(grid):
        rows = intensities[intensities["channel"] == channel]
        for number, institution in enumerate(drawn):
            values = rows.loc[rows["institution"] == institution, "value"]
            share = 100 * np.histogram(values, edges)[0] / len(values)
            look = {"color": COLOURS[number % 7], "linestyle": LINES[number % 7]}
            label = f"{institution}, {patients[institution]} patients" if channel == 0 else None
            axes.plot(centres, share, label=label, **look)
        axes.set(title=CHANNELS[channel], xlabel="grey level", xlim=(0, edges[-1]))
    grid[0].set_ylabel("head pixels (% per bin)")
    left_out = [f"{name}: one patient,\nnot drawn" for name in patients.index[patients == 1]]
    figure.legend(loc="outside right center", title="\n".join(["institution", *left_out]))
    return figure


@styled
def neighbour_similarity(similarity: pd.DataFrame, source: str) -> Figure:
    """Show how alike slices of one patient are by distance, and slices of two patients.

    Parameters
    ----------
    similarity : DataFrame
        From `statistics.slice_similarity`.
    source : str
    """
    figure = new_figure("How alike two slices are", source, 8, 3.8)
    axes = figure.subplots()
    same = similarity[similarity["pair"] == "same patient"]
    other = similarity.loc[similarity["pair"] == "another patient", "correlation"]
    distances = sorted(same["distance"].unique())
    groups = [same.loc[same["distance"] == one, "correlation"].to_numpy() for one in distances]
    labels = [f"{one} slice{'s' if one > 1 else ''} away" for one in distances]
    if len(other):
        groups.append(other.to_numpy())
        labels.append("another patient,\nsame height")
    drawn = axes.boxplot(
        groups, whis=(5, 95), showfliers=False, patch_artist=True, tick_labels=labels, widths=0.6
    )
    for number, box in enumerate(drawn["boxes"]):
        box.set(facecolor=SKY if number < len(distances) else ORANGE, edgecolor=GREY)
    for line in drawn["medians"]:
        line.set(color="black", linewidth=2)
    axes.set(ylabel="correlation of two FLAIR slices", xlabel="which two slices")
    axes.set_title("box: middle half of the pairs; whiskers: 5 % to 95 %", fontsize=9, color=GREY)
    axes.grid(False, axis="x")
    return figure


@styled
def split_balance(table: pd.DataFrame, split: pd.DataFrame, source: str) -> Figure:
    """Show the parts of the split side by side: institutions, tumour slices, tumour sizes.

    Parameters
    ----------
    table : DataFrame
        The cohort table; needs `patient, has_tumour, tumour_px`.
    split : DataFrame
        `patient, institution, part`.
    source : str
    """
    parts = [part for part in ("train", "validation", "test") if part in set(split["part"])]
    figure = new_figure("The parts of the split, side by side", source, 10, 3.6)
    institutions, slices, sizes = figure.subplots(1, 3)
    counts = pd.crosstab(split["part"], split["institution"]).loc[parts]
    bottom = np.zeros(len(parts))
    for number, institution in enumerate(counts):
        share = 100 * counts[institution] / counts.sum(axis=1)
        institutions.bar(parts, share, bottom=bottom, color=COLOURS[number % 7], label=institution)
        bottom += share.to_numpy()
    for place, total in enumerate(counts.sum(axis=1)):
        institutions.text(place, 101, f"{total} patients", ha="center", fontsize=8.5)
    institutions.set(title="institution", ylabel="patients (%)", ylim=(0, 110))
    institutions.legend(loc="upper center", bbox_to_anchor=(0.5, -0.1), ncols=5, fontsize=8,
                        handlelength=0.9, columnspacing=0.8)  # fmt: skip
    joined = table.merge(split[["patient", "part"]], on="patient")
    shares = joined.groupby(["part", "patient"])["has_tumour"].mean().astype(float) * 100
    areas = joined[joined["has_tumour"].astype(bool)].groupby(["part", "patient"])["tumour_px"]
    panels = (
        (slices, shares, "share of slices with tumour", "slices with tumour (%)"),
        (
            sizes,
            areas.mean().astype(float),
            "size of the tumour",
            "mean area in tumour slices (px)",
        ),
    )
    for axes, values, title, label in panels:
        groups = [values[part].to_numpy() for part in parts]
        axes.boxplot(groups, tick_labels=parts, medianprops={"color": "black"}, showfliers=False)
        for place, group in enumerate(groups):
            spread = np.linspace(-0.18, 0.18, len(group)) if len(group) > 1 else [0]
            axes.plot(place + 1 + np.array(spread), group, "o", color=BLUE, markersize=3.5)
        axes.set(title=title, ylabel=label)
        axes.grid(False, axis="x")
    sizes.set_ylim(0, 1.1 * areas.mean().max())
    return figure
