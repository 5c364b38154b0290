"""Get the ImageNet weights of ResNet50 ahead of the notebooks.

python -m utils.weights
"""

import argparse
import sys

from utils import config
from utils.models.files.imagenet import imagenet_resnet50


def main() -> None:
    """Get the weights ahead of the notebooks, and say where they are."""
    parser = argparse.ArgumentParser(prog="python -m utils.weights", description=main.__doc__)
    parser.parse_args()
    for top in (False, True):
        print(imagenet_resnet50(report=print, top=top))


if __name__ == "__main__":
    sys.exit(config.command(main))
