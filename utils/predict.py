"""Predict a cohort from the command line.

    python -m utils.predict COHORT_DIR --out OUT

writes ``OUT/slices.csv`` (``patient, slice, p_tumour, tumour_px``) and
``OUT/masks/<patient>/<patient>_<n>_mask.png`` (0 or 255, at the size of the input). The cohort
needs no masks.
"""

import argparse
import sys
from pathlib import Path

from utils.config import ROOT, command
from utils.models.files.checks import check_kind
from utils.models.predict import default_models, predict_cohort


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m utils.predict", description=__doc__)
    parser.add_argument("cohort", type=Path, help="folder or zip in the cohort layout")
    parser.add_argument("--out", type=Path, required=True, help="folder to write to")
    parser.add_argument("--detector", type=Path, help="a .keras file (default: the course's)")
    parser.add_argument("--segmenter", type=Path, help="a .keras file (default: the course's)")
    arguments = parser.parse_args()
    detector, segmenter = arguments.detector, arguments.segmenter
    if detector is None or segmenter is None:
        defaults = default_models()
        detector, segmenter = detector or defaults[0], segmenter or defaults[1]
    for file in (detector, segmenter):
        check_kind(file)
        shown = file.relative_to(ROOT) if file.is_relative_to(ROOT) else file
        print(f"model: {shown}", file=sys.stderr)
    table = predict_cohort(arguments.cohort, arguments.out, detector, segmenter)
    print(f"wrote {table} and {arguments.out / 'masks'}")


if __name__ == "__main__":
    sys.exit(command(main))
