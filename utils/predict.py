"""Predict a cohort from the command line.

    python -m utils.predict COHORT_DIR --out OUT

writes ``OUT/slices.csv`` (``patient, slice, p_tumour, tumour_px``) and
``OUT/masks/<patient>/<patient>_<n>_mask.png`` (0 or 255, at the size of the input). The cohort
needs no masks. With ``--engine onnx`` neither Keras nor TensorFlow is needed, but the files that
``python -m utils.export`` writes.
"""

import argparse
import sys

from utils.config import ROOT, command, user_path
from utils.models.predict import SUFFIXES, check_file, default_models, predict_cohort


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m utils.predict", description=__doc__)
    parser.add_argument("cohort", type=user_path, help="folder or zip in the cohort layout")
    parser.add_argument("--out", type=user_path, required=True, help="folder to write to")
    parser.add_argument("--detector", type=user_path, help="model file (default: the course's)")
    parser.add_argument("--segmenter", type=user_path, help="model file (default: the course's)")
    parser.add_argument(
        "--engine",
        choices=SUFFIXES,
        default="keras",
        help="what computes: Keras .keras files, or onnxruntime .onnx files (default: keras)",
    )
    arguments = parser.parse_args()
    detector, segmenter, engine = arguments.detector, arguments.segmenter, arguments.engine
    if detector is None or segmenter is None:
        defaults = default_models(engine)
        detector, segmenter = detector or defaults[0], segmenter or defaults[1]
    for file in (detector, segmenter):
        check_file(file, engine)
        shown = file.relative_to(ROOT) if file.is_relative_to(ROOT) else file
        print(f"model: {shown}", file=sys.stderr)
    table = predict_cohort(arguments.cohort, arguments.out, detector, segmenter, engine)
    print(f"wrote {table} and {arguments.out / 'masks'}")


if __name__ == "__main__":
    sys.exit(command(main))
