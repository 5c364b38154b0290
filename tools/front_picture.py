"""Make the picture on the first page: three simulated slices, true and predicted border.

    .venv/bin/python -m tools.front_picture

needs the simulated cohort (`make course`, or `python -m utils.simulate`) and the models in
``results/lgg``. These were trained on real patients, so that no simulated one is known to them.
"""

import sys
import tempfile
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from utils.cohort.tiff import read_mask, read_slice
from utils.config import ROOT, CourseError, command
from utils.evaluation.segmentation import dice
from utils.models.predict import default_models, mask_name, predict_cohort
from utils.plots.style import PREDICTION, TRUTH, draw_contour, draw_slice, head_window

COHORT = ROOT / "data" / "simulated-60-patients-seed-0"
PICTURE = ROOT / "docs" / "simulated_borders.png"
# Three institutions; neither the best nor the worst that the models do.
SLICES = (("SIM_CS_0018", 10), ("SIM_HT_0003", 21), ("SIM_DU_0046", 17))
# The prediction is drawn over the truth, which has to be seen on both sides of it.
LOOKS = {
    "true border": {**TRUTH, "linewidths": 4},
    "border that the network drew": {**PREDICTION, "linewidths": 1.6, "linestyles": "solid"},
}
DPI = 120


def borders(folder: Path) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Predict the patients and return FLAIR, true and predicted mask of each slice.

    Parameters
    ----------
    folder : Path
        An empty one, for the predicted masks.

    Returns
    -------
    list of (ndarray, ndarray, ndarray), each (256, 256)
        FLAIR as uint8, the masks as bool.
    """
    cohort = folder / "cohort"
    cohort.mkdir()
    for patient, _ in SLICES:
        if not (COHORT / patient).is_dir():
            raise CourseError(f"{COHORT}: no {patient} in it; make the cohort: make course ONLY=01")
        (cohort / patient).symlink_to(COHORT / patient, target_is_directory=True)
    predict_cohort(cohort, folder / "out", *default_models())
    found = []
    for patient, number in SLICES:
        source = COHORT / patient / f"{patient}_{number}.tif"
        mask = folder / "out" / "masks" / patient / mask_name(patient, number)
        truth = read_mask(source.with_name(f"{source.stem}_mask.tif")) > 0
        found.append((read_slice(source)[..., 1], truth, np.asarray(Image.open(mask)) > 0))
    return found


def picture(slices: list[tuple[np.ndarray, np.ndarray, np.ndarray]]) -> Figure:
    """Draw the heads side by side on black, each with both borders, and say which is which."""
    figure = Figure(figsize=(9, 4.15), facecolor="black")
    grid = figure.subplots(1, len(slices), gridspec_kw={"wspace": 0.02})
    figure.subplots_adjust(left=0.01, right=0.99, top=0.99, bottom=0.09)
    rows, columns = head_window(np.stack([flair for flair, _, _ in slices]))
    for axes, (flair, truth, predicted) in zip(grid, slices, strict=True):
        draw_slice(axes, flair[rows, columns], cmap="gray", interpolation="bicubic")
        for mask, look in zip((truth, predicted), LOOKS.values(), strict=True):
            draw_contour(axes, mask[rows, columns], look)
    lines = [
        mpl.lines.Line2D(
            [], [], color=look["colors"], ls=look["linestyles"], lw=look["linewidths"], label=label
        )
        for label, look in LOOKS.items()
    ]
    figure.legend(
        handles=lines, loc="lower center", ncols=2, frameon=False, labelcolor="white", fontsize=11
    )
    return figure


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        slices = borders(Path(folder))
    for (patient, number), (_, truth, predicted) in zip(SLICES, slices, strict=True):
        print(f"{patient}, slice {number}: Dice {dice(truth, predicted):.2f}")
    picture(slices).savefig(PICTURE, dpi=DPI, facecolor="black", metadata={"Software": None})
    print(f"wrote {PICTURE.relative_to(ROOT)}")


if __name__ == "__main__":
    sys.exit(command(main))
