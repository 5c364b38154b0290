"""Write the course's models as ONNX files, for machines and pages without TensorFlow.

    python -m utils.export [--out FOLDER]

writes ``segmenter.onnx`` and ``detector.onnx``, each with its settings in a ``.json`` beside it.
"""

import argparse
import sys

from utils.config import ROOT, RUNS, command, user_path
from utils.models.files.checks import check_kind
from utils.models.predict import default_models


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m utils.export", description=__doc__)
    parser.add_argument(
        "--out", type=user_path, default=RUNS / "export", help="default: runs/export"
    )
    parser.add_argument("--detector", type=user_path, help="a .keras file (default: the course's)")
    parser.add_argument("--segmenter", type=user_path, help="a .keras file (default: the course's)")
    arguments = parser.parse_args()
    detector, segmenter = arguments.detector, arguments.segmenter
    if detector is None or segmenter is None:
        defaults = default_models()
        detector, segmenter = detector or defaults[0], segmenter or defaults[1]
    for file in (segmenter, detector):
        check_kind(file)
    # Only now, because TensorFlow takes seconds and a wrong path should not wait for it.
    from utils.export.files import export_models

    for written in export_models(segmenter, detector, arguments.out):
        shown = written.relative_to(ROOT) if written.is_relative_to(ROOT) else written
        print(f"wrote {shown} ({written.stat().st_size / 1e6:.1f} MB)")


if __name__ == "__main__":
    sys.exit(command(main))
