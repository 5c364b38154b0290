"""Get the LGG MRI Segmentation cohort from Kaggle.

python -m utils.download [OUT]
"""

import argparse
import sys

from utils.cohort.download import EXPECTED, LICENCE, download
from utils.config import DATA, command, user_path


def main() -> None:
    """Parse the command line and download."""
    parser = argparse.ArgumentParser(
        prog="python -m utils.download", description="Download the LGG cohort from Kaggle."
    )
    parser.add_argument("out", nargs="?", default=DATA / "lgg", type=user_path, metavar="OUT")
    out = parser.parse_args().out
    print(LICENCE, flush=True)
    root = download(out)
    print(f"{root}: {EXPECTED}, checked")


if __name__ == "__main__":
    sys.exit(command(main))
