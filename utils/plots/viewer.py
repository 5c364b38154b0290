"""A viewer to scroll through slices: a widget in JupyterLab, a picture wherever none can run.

All that it shows is sent once; slices, outlines and areas are then drawn in the browser, by
`viewer.js`. Widgets are not stored in notebooks, so each also has a picture of chosen slices.
"""

import base64
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import anywidget
import numpy as np
import traitlets
from IPython.display import display
from matplotlib.figure import Figure
from PIL import Image

from utils.config import CourseError, read_json, write_json
from utils.evaluation.segmentation import dice
from utils.plots import style

# Probabilities go to the browser in hundredths, rounded down: a threshold in hundredths then finds
# the very pixels that it finds here.
LEVELS = 100
# The lowest threshold; what is less probable everywhere may be cut off with the background.
LOWEST = 0.05
SLICES_PICTURED = 5


@dataclass(frozen=True)
class Case:
    """One patient, or one slice of one at several times.

    Attributes
    ----------
    label : str
        How it is called where one case is chosen of several.
    images : ndarray of uint8, shape (slices, height, width, sequences)
    truth : ndarray of uint8 or bool, shape (slices, height, width), optional
        The true masks; above 0 is tumour.
    probability : ndarray of float, shape (slices, height, width), optional
        Of tumour, 0 to 1.
    """

    label: str
    images: np.ndarray
    truth: np.ndarray | None = None
    probability: np.ndarray | None = None

    def __post_init__(self) -> None:
        if self.images.ndim != 4 or 0 in self.images.shape or self.images.dtype != np.uint8:
            raise ValueError(
                f"{self.label}: images must be uint8 of shape (slices, height, width, sequences), "
                f"not {self.images.dtype} of {self.images.shape}"
            )
        for name in ("truth", "probability"):
            given = getattr(self, name)
            if given is not None and given.shape != self.images.shape[:3]:
                raise ValueError(
                    f"{self.label}: {name} has shape {given.shape}, but the images have "
                    f"{self.images.shape[:3]}"
                )
        if self.probability is not None and not (
            self.probability.min() >= 0 and self.probability.max() <= 1
        ):
            raise ValueError(f"{self.label}: probability must lie between 0 and 1")

    def marked(self, threshold: float) -> np.ndarray:
        """Return which pixels are tumour, truly or from a threshold on; bool, like `truth`."""
        marked = np.zeros(self.images.shape[:3], bool)
        if self.truth is not None:
            marked |= self.truth > 0
        if self.probability is not None:
            marked |= self.probability >= threshold
        return marked


@dataclass(frozen=True)
class Weights:
    """Where the sliders of the focal Tversky loss begin."""

    fn: float = 0.7
    fp: float = 0.3
    exponent: float = 4 / 3


class SliceViewer(anywidget.AnyWidget):
    """Scroll through slices, switch sequence and outlines, move the threshold.

    Parameters
    ----------
    cases : sequence of Case
        One of them is shown at a time.
    source : str
        Which patients they are, and of which cohort.
    alt : str
        What the picture shows, for those who cannot see it.
    sequences : sequence of str
        Names of the images' last axis.
    threshold : float
        Of the probability, to begin with.
    axis : str
        What the first axis of the arrays is: ``"slice"``, or such as ``"epoch"``.
    choice : str
        What a case is, above the list of them.
    pixel_mm, slice_mm : float, optional
        Side of a pixel, and the distance of the slices: with them, areas are given in cm2 and the
        whole patient in ml, too.
    weights : Weights, optional
        With them, sliders compute the focal Tversky loss of the slice anew. All cases need truth
        and probability.

    Raises
    ------
    ValueError
        If there is no case, source or alt, if the names do not match the images, or if something
        is missing that the weights need.

    Examples
    --------
    >>> import numpy as np
    >>> from utils.plots.viewer import Case, SliceViewer
    >>> images = np.zeros((4, 8, 8, 3), np.uint8)
    >>> viewer = SliceViewer([Case("a patient", images)], "no cohort", "Four black slices.")
    >>> viewer.data["cases"][0]["count"]
    4
    """

    _esm = Path(__file__).with_name("viewer.js")
    _css = Path(__file__).with_name("viewer.css")
    data = traitlets.Dict().tag(sync=True)

    def __init__(
        self,
        cases: Sequence[Case],
        source: str,
        alt: str,
        *,
        sequences: Sequence[str] = style.CHANNELS,
        threshold: float = 0.5,
        axis: str = "slice",
        choice: str = "Patient",
        pixel_mm: float | None = None,
        slice_mm: float | None = None,
        weights: Weights | None = None,
    ):
        if not (cases and source and alt.strip()):
            raise ValueError("a viewer needs cases, source= and alt=: say what is to be seen")
        for case in cases:
            if case.images.shape[3] != len(sequences):
                raise ValueError(
                    f"{case.label}: images of shape {case.images.shape}, but {len(sequences)} "
                    f"sequences: {', '.join(sequences)}"
                )
            if weights and (case.truth is None or case.probability is None):
                raise ValueError(f"{case.label}: weights need truth and probability")
        super().__init__()
        self.cases, self.source, self.alt, self.axis = tuple(cases), source, alt, axis
        self.threshold = threshold
        self.pictured = sequences.index("FLAIR") if "FLAIR" in sequences else 0
        self.data = {
            "source": source,
            "axis": axis,
            "choice": choice,
            "sequences": list(sequences),
            "sequence": sequences[self.pictured],
            "threshold": threshold,
            "levels": LEVELS,
            "pixel_mm": pixel_mm,
            "slice_mm": slice_mm,
            "weights": vars(weights) if weights else None,
            "colours": {"truth": style.TRUTH["colors"], "prediction": style.PREDICTION["colors"]},
            "cases": [_sent(case, axis) for case in cases],
        }

    def picture(self) -> bytes:
        """Return the PNG that stands for the viewer: chosen slices of every case."""
        return style.png_of(_contact_sheet(self))

    def _repr_mimebundle_(self, **keywords) -> tuple[dict, dict]:
        widget, _ = super()._repr_mimebundle_(**keywords)
        picture, metadata = style.described(self.picture(), self.alt)
        return widget | picture, metadata

    def show(self, folder: str | Path | None = None, name: str = "") -> None:
        """Show the viewer with its words, and keep its picture for the report.

        Parameters
        ----------
        folder : path-like, optional
            Where to write ``<name>.png`` and ``<name>.txt``.
        name : str
            Name of these files, without suffix.
        """
        data, metadata = self._repr_mimebundle_()
        style.keep(base64.b64decode(data["image/png"]), self.alt, folder, name)
        display(data, raw=True, metadata=metadata)
        style.show_words(self.alt)

    def keep(self, folder: str | Path, name: str) -> None:
        """Keep the viewer itself for the report, as ``<name>.json`` beside its picture."""
        write_json(Path(folder) / f"{name}.json", self.data)


def page_parts() -> dict[str, str]:
    """Return what a web page needs once for all its viewers: ``style`` and ``script``."""
    style_sheet, script = (
        Path(__file__).with_name(f"viewer.{kind}").read_text(encoding="utf-8")
        for kind in ("css", "js")
    )
    begin = """
for (const root of document.querySelectorAll("[data-viewer]")) {
  const data = JSON.parse(document.getElementById(root.dataset.viewer).textContent);
  document.getElementById(root.dataset.instead).hidden = true;
  root.hidden = false;
  view(root, data);
}
"""
    return {"style": style_sheet, "script": script + begin}


def kept(path: Path) -> str:
    """Return a viewer that `SliceViewer.keep` wrote as JSON that may stand in a web page.

    Raises
    ------
    CourseError
        If the file holds no viewer.
    """
    data = read_json(path)
    if not isinstance(data, dict) or "cases" not in data:
        raise CourseError(f"{path}: holds no viewer; make it again: python -m utils.run --only 04")
    # Nothing in it can end the element of the page that it stands in.
    return json.dumps(data).replace("<", "\\u003c")


def _sent(case: Case, axis: str) -> dict:
    """Return a case as the browser gets it.

    ``count, width, height`` of its slices once cut to the head, and how many ``columns`` of them
    lie side by side on a sheet; the sheets as data URLs: ``images``, one a sequence, ``truth``
    (0, 255) and ``probability`` (0 to `LEVELS`), None where there is none; ``start``: the slice to
    begin with; ``sums``: TP, FN and FP of each slice, with probabilities for yes and no.
    """
    marked = case.marked(LOWEST)
    rows, columns = _window(case.images, marked)
    images = case.images[:, rows, columns]
    brightest = [max(1, np.percentile(images[..., n], 99.8)) for n in range(images.shape[3])]
    images = np.clip(images * (255 / np.array(brightest)), 0, 255).astype(np.uint8)
    truth = probability = sums = None
    if case.truth is not None:
        truth = _sheet((case.truth[:, rows, columns] > 0).astype(np.uint8) * 255, "PNG")
    if case.probability is not None:
        # Compared, not multiplied: 100 times 0.58 is a little less than 58.
        bounds = (np.arange(LEVELS + 1) / LEVELS).astype(case.probability.dtype)
        levels = np.searchsorted(bounds, case.probability[:, rows, columns], side="right") - 1
        probability = _sheet(levels.astype(np.uint8), "PNG")
    if case.truth is not None and case.probability is not None:
        tumour, likely = case.truth > 0, case.probability.astype(float)
        sums = np.stack(
            [(tumour * likely), (tumour * (1 - likely)), (~tumour * likely)], axis=-1
        ).sum(axis=(1, 2))
    size = (case.truth > 0 if case.truth is not None else marked).sum(axis=(1, 2))
    return {
        "label": case.label,
        "count": len(images),
        "height": images.shape[1],
        "width": images.shape[2],
        "columns": _columns(len(images)),
        "start": int(size.argmax()) if axis == "slice" else len(images) - 1,
        "images": [_sheet(images[..., n], "WEBP") for n in range(images.shape[3])],
        "truth": truth,
        "probability": probability,
        "sums": None if sums is None else sums.round(3).tolist(),
    }


def _window(images: np.ndarray, marked: np.ndarray) -> tuple[slice, slice]:
    """Return the rows and columns that hold the head and all that is marked."""
    window = style.head_window(images.max(axis=3))
    wider = []
    for axis, part in enumerate(window):
        lines = np.flatnonzero(marked.any(axis=(0, 2 - axis)))
        ends = (lines[0], lines[-1] + 1) if len(lines) else (part.start, part.stop)
        wider.append(slice(int(min(part.start, ends[0])), int(max(part.stop, ends[1]))))
    return wider[0], wider[1]


def _columns(count: int) -> int:
    """Return how many slices lie side by side: no side of a sheet grows past a browser's limit."""
    return int(np.ceil(np.sqrt(count)))


def _sheet(planes: np.ndarray, kind: str) -> str:
    """Return slices (n, height, width) of uint8 as one grey picture, a data URL."""
    count, height, width = planes.shape
    columns = _columns(count)
    rows = -(-count // columns)
    filled = np.zeros((rows * columns, height, width), np.uint8)
    filled[:count] = planes
    sheet = filled.reshape(rows, columns, height, width).swapaxes(1, 2)
    stream = io.BytesIO()
    # Lossy for what is looked at alone; what is counted stays as it is.
    options = {"quality": 50, "method": 6} if kind == "WEBP" else {"optimize": True}
    picture = Image.fromarray(sheet.reshape(rows * height, columns * width))
    picture.save(stream, format=kind, **options)
    encoded = base64.b64encode(stream.getvalue()).decode("ascii")
    return f"data:image/{kind.lower()};base64,{encoded}"


def _pictured(case: Case, threshold: float, axis: str) -> np.ndarray:
    """Return which slices of a case the picture shows: from end to end of what is marked."""
    first, last = 0, len(case.images) - 1
    marked = np.flatnonzero(case.marked(threshold).any(axis=(1, 2)))
    if axis == "slice" and len(marked):
        spare = max(SLICES_PICTURED - 1 - int(marked[-1] - marked[0]), 0)
        first = max(first, int(marked[0]) - spare // 2)
        last = min(last, max(int(marked[-1]), first + SLICES_PICTURED - 1))
    return np.unique(np.linspace(first, last, SLICES_PICTURED).round().astype(int))


@style.styled
def _contact_sheet(viewer: SliceViewer) -> Figure:
    """Show chosen slices of every case, a case a row, with the outlines that there are."""
    cases, threshold = viewer.cases, viewer.threshold
    width = 8.0
    height = width / SLICES_PICTURED * 1.3 * len(cases) + 0.9
    title = f"From the viewer: {viewer.axis}s from first to last"
    figure = style.new_figure(title, viewer.source, width, height)
    grid = figure.subplots(len(cases), SLICES_PICTURED, squeeze=False)
    style.bare(grid.ravel())
    for axes_row, case in zip(grid, cases, strict=True):
        places = _pictured(case, threshold, viewer.axis)
        window = _window(case.images[places], case.marked(threshold)[places])
        flair = case.images[:, *window, viewer.pictured]
        brightest = max(1, np.percentile(flair, 99.8))
        axes_row[0].set_ylabel(case.label.replace(" (", "\n("), fontsize=9)
        for place, axes in zip(places, axes_row, strict=False):
            style.draw_slice(axes, flair[place], brightest)
            title = f"{viewer.axis} {place + 1}"
            for given, look in ((case.truth, style.TRUTH), (case.probability, style.PREDICTION)):
                if given is not None:
                    inside = given[place] > 0 if given is case.truth else given[place] >= threshold
                    style.draw_contour(axes, inside[window], look)
            if case.truth is not None and case.probability is not None:
                overlap = dice(case.truth[place] > 0, case.probability[place] >= threshold)
                title += "" if np.isnan(overlap) else f"\nDice {overlap:.2f}"
            axes.set_title(title, fontsize=9)
    shown = [
        any(getattr(case, name) is not None for case in cases) for name in ("probability", "truth")
    ]
    style.contour_legend(figure, *shown)
    return figure
