"""The look of the course's figures, and how they are shown with their words.

The figures themselves are in the modules beside this one: one function a figure, which takes tables
or arrays and returns a matplotlib `Figure`. Every figure says in its last line which patients it
comes from.
"""

import base64
import functools
import html
import io
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
from IPython.display import display
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from PIL import Image

from utils.config import atomic_path

# Okabe and Ito's palette, told apart under every common colour blindness (jfly.uni-koeln.de/color).
BLACK, ORANGE, SKY, GREEN = "#000000", "#E69F00", "#56B4E9", "#009E73"
YELLOW, BLUE, VERMILION, PURPLE = "#F0E442", "#0072B2", "#D55E00", "#CC79A7"
GREY = "#707070"
COLOURS = (BLUE, ORANGE, GREEN, VERMILION, PURPLE, SKY, BLACK)
LINES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (1, 1)), "-")
CHANNELS = ("pre-contrast", "FLAIR", "post-contrast")
# Told apart by the kind of line too, for those who see no colours or print in grey.
TRUTH = {"colors": SKY, "linestyles": "solid", "linewidths": 1.4}
PREDICTION = {"colors": ORANGE, "linestyles": "dashed", "linewidths": 1.4}
DPI = 90

STYLE = {
    "font.size": 10,
    "axes.titlesize": 10.5,
    "axes.labelsize": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e4e4e4",
    "axes.prop_cycle": mpl.cycler(color=COLOURS),
    "legend.frameon": False,
    "legend.fontsize": 9,
    "image.cmap": "gray",
    "image.interpolation": "nearest",
}


def styled(make: Callable[..., Figure]) -> Callable[..., Figure]:
    """Decorate a function that makes a figure: it is drawn in the course's style."""

    @functools.wraps(make)
    def wrapper(*arguments, **keywords):
        with mpl.rc_context({**mpl.rcParamsDefault, **STYLE}):
            return make(*arguments, **keywords)

    return wrapper


def new_figure(title: str, source: str, width: float = 8, height: float = 4) -> Figure:
    """Return an empty figure (inches) with its title and, as its last line, its source.

    Raises
    ------
    ValueError
        If `source` is empty: a figure that does not say whose data it shows is worth nothing.
    """
    if not source:
        raise ValueError(f"figure '{title}': say in source= which patients it comes from")
    # Not made by pyplot, so that nothing keeps it alive or shows it a second time.
    figure = Figure(figsize=(width, height), layout="constrained")
    figure.suptitle(title, fontsize=12, fontweight="bold")
    figure.supxlabel(source, fontsize=8, color=GREY, x=0.99, ha="right")
    return figure


def show(figure: Figure, alt: str, folder: str | Path | None = None, name: str = "") -> None:
    """Show a figure once, in the notebook, with its words; and keep both for the report.

    The words are the output's text, they stand in its metadata as ``alt`` (which nbconvert's
    classic template and Jupyter Book read), and they can be unfolded below the figure, because
    JupyterLab 4.6 and nbconvert 7.17's default template leave the metadata unread.

    Parameters
    ----------
    figure : Figure
        Closed afterwards.
    alt : str
        What there is to see, for those who cannot see it.
    folder : path-like, optional
        Where to write ``<name>.png`` and ``<name>.txt``.
    name : str
        Name of these files, without suffix.

    Raises
    ------
    ValueError
        If `alt` is empty, or `folder` is given without `name`.
    """
    if not alt.strip():
        raise ValueError("show() needs alt=: one or two sentences that say what is to be seen")
    picture = png_of(figure)
    plt.close(figure)
    keep(picture, alt, folder, name)
    data, metadata = described(picture, alt)
    display(data, raw=True, metadata=metadata)
    show_words(alt)


def described(picture: bytes, alt: str) -> tuple[dict, dict]:
    """Return a PNG and its words as the data and the metadata of an output."""
    encoded = base64.b64encode(picture).decode("ascii")
    return {"image/png": encoded, "text/plain": alt}, {"image/png": {"alt": alt}}


def show_words(alt: str) -> None:
    """Show the words of a figure, to be unfolded below it."""
    words = f"<details><summary>Figure in words</summary><p>{html.escape(alt)}</p></details>"
    display({"text/html": words, "text/plain": "Figure in words: " + alt}, raw=True)


def keep(picture: bytes, alt: str, folder: str | Path | None, name: str) -> None:
    """Write a PNG and its words as ``<name>.png`` and ``<name>.txt``, if a folder is given.

    Raises
    ------
    ValueError
        If `folder` is given without `name`.
    """
    if folder is None:
        return
    if not name:
        raise ValueError(f"{folder}: a figure needs name= to be kept there")
    with atomic_path(Path(folder) / f"{name}.png") as temporary:
        temporary.write_bytes(picture)
    with atomic_path(Path(folder) / f"{name}.txt") as temporary:
        temporary.write_text(alt + "\n", encoding="utf-8")


def bare(axes: Axes | Iterable[Axes]) -> None:
    """Take ticks, frame and grid off the axes of pictures."""
    for one in [axes] if isinstance(axes, Axes) else axes:
        one.set(xticks=[], yticks=[])
        one.grid(False)
        one.spines[:].set_visible(False)


def draw_slice(axes: Axes, picture: np.ndarray, vmax: float | None = None, **keywords) -> AxesImage:
    """Draw one channel (height, width) in grey, from 0 to `vmax` (its 99.8th percentile)."""
    # At least 1, so that an empty picture is black.
    vmax = max(1, np.percentile(picture, 99.8)) if vmax is None else vmax
    drawn = axes.imshow(picture, vmin=0, vmax=vmax, **keywords)
    bare(axes)
    return drawn


def head_window(pictures: np.ndarray, margin: float = 0.03) -> tuple[slice, slice]:
    """Return the rows and columns that hold the head in all of some pictures.

    Parameters
    ----------
    pictures : ndarray (n, height, width) or (height, width)
        One channel; the background may be black or an even grey.
    margin : float
        Kept around the head, as a share of the width.

    Returns
    -------
    (slice, slice)
        Everything, if nothing stands out from the background.
    """
    pictures = np.asarray(pictures, dtype=float)
    pictures = pictures.reshape(-1, *pictures.shape[-2:])
    background = np.median(pictures[:, [0, 0, -1, -1], [0, -1, 0, -1]])
    # A line of pixels counts only if 3 % of it are bright, so that noise does not widen the window.
    bright = pictures > background + 0.15 * (np.percentile(pictures, 99.5) - background)
    window = []
    for axis in (2, 1):
        found = np.flatnonzero(bright.mean(axis=axis).max(axis=0) > 0.03)
        lines = bright.shape[3 - axis]
        pad = round(margin * lines)
        ends = (max(found[0] - pad, 0), found[-1] + 1 + pad) if len(found) else (0, lines)
        window.append(slice(*map(int, ends)))
    return window[0], window[1]


def window_around(mask: np.ndarray, margin: float = 0.12) -> tuple[slice, slice] | None:
    """Return the rows and columns of a square around a mask.

    Parameters
    ----------
    mask : ndarray of bool (height, width)
    margin : float
        Kept around it on each side, as a share of the height.

    Returns
    -------
    (slice, slice) or None
        Cut off at the edge of the picture; None if the mask is empty.
    """
    if not mask.any():
        return None
    ends = [np.flatnonzero(mask.any(axis=axis))[[0, -1]] for axis in (1, 0)]
    half = max(np.ptp(each) for each in ends) / 2 + margin * len(mask)
    window = [slice(max(int(each.mean() - half), 0), int(each.mean() + half) + 1) for each in ends]
    return window[0], window[1]


def draw_scale(axes: Axes, shape: Sequence[int], length: float, label: str) -> None:
    """Draw a bar of so many pixels into the lower left corner of a picture of a shape."""
    left, low = 0.04 * shape[1], 0.96 * shape[0]
    axes.plot([left, left + length], [low, low], color="white", linewidth=2.5)
    axes.text(left, low - 0.02 * shape[0], label, color="white", fontsize=8)


def draw_contour(axes: Axes, mask: np.ndarray, look: dict = TRUTH) -> None:
    """Draw the border of a mask (height, width), if it has one."""
    mask = np.asarray(mask) > 0
    if mask.any() and not mask.all():
        axes.contour(mask, levels=[0.5], **look)


def contour_legend(figure: Figure, prediction: bool = True, truth: bool = True) -> None:
    """Say below the pictures which line is the true border and which the predicted one."""
    looks = {"true border": (TRUTH, truth), "predicted border": (PREDICTION, prediction)}
    handles = [
        mpl.lines.Line2D([], [], color=look["colors"], linestyle=look["linestyles"], label=label)
        for label, (look, shown) in looks.items()
        if shown
    ]
    if handles:
        figure.legend(handles=handles, loc="outside lower left", ncols=2)


def png_of(figure: Figure) -> bytes:
    """Return the figure as PNG with at most 256 colours: half the size, hardly a change."""
    full, small = io.BytesIO(), io.BytesIO()
    # White is drawn in, and no version number is written, so that like figures are like files.
    figure.savefig(full, format="png", dpi=DPI, facecolor="white", metadata={"Software": None})
    _with_few_colours(Image.open(full)).save(small, format="png", optimize=True)
    return small.getvalue()


def _with_few_colours(picture: Image.Image) -> Image.Image:
    """Return a picture in 64 greys and 192 of its own colours.

    Chosen all together, the colours would go to the many greys of the slices, and the thin
    coloured borders would turn grey.
    """
    pixels = np.asarray(picture.convert("RGB"))
    coloured = np.ptp(pixels, axis=-1) > 8
    indices = np.rint(pixels.mean(axis=-1) * 63 / 255).astype(np.uint8)
    palette = np.repeat(np.linspace(0, 255, 64).round().astype(int), 3).tolist()
    if coloured.any():
        # The pixels as a picture one row high: only its list of colours and indices is wanted.
        row = Image.fromarray(pixels[coloured][np.newaxis]).quantize(192)
        indices[coloured] = 64 + np.asarray(row)[0]
        palette += row.getpalette()
    result = Image.fromarray(indices)
    result.putpalette(palette)
    return result
