"""Make the notebooks that students open from the text that people edit, and compare the two.

    python -m utils.notebooks [--only 03] [--check]

notebooks/source/NN_name.py (jupytext percent) is executed into notebooks/NN_name.ipynb, which has
stubs where a student is to write, and into notebooks/solutions/NN_name.ipynb, which is complete.
"""

import argparse
import sys
from collections.abc import Sequence

from utils.config import command
from utils.notebooks.build import NOTEBOOKS, disagreements, editions_of, make, sources
from utils.notebooks.execute import NotebookError


def main(argv: Sequence[str] | None = None) -> int:
    """Make the notebooks, or with `--check` say where they differ from their sources."""
    parser = argparse.ArgumentParser(prog="python -m utils.notebooks", description=main.__doc__)
    parser.add_argument("--only", metavar="NN", help="this notebook alone")
    parser.add_argument("--check", action="store_true", help="compare, make nothing")
    arguments = parser.parse_args(argv)
    count = 0
    for source in sources(arguments.only):
        for target, working, edition in editions_of(source):
            name = target.relative_to(NOTEBOOKS)
            if arguments.check:
                found = disagreements(source, target, edition)
                print("\n".join(f"{name}: {line}" for line in found) or f"{name}: agrees")
                count += len(found)
                continue
            print(f"executing {name}", flush=True)
            try:
                make(source, target, working, edition)
            except NotebookError as error:
                print(f"failed: {error}", file=sys.stderr)
                return 1
    return 1 if count else 0


if __name__ == "__main__":
    sys.exit(command(main))
