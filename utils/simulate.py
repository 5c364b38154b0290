"""Write a simulated cohort.

python -m utils.simulate OUT [--patients 60] [--seed 0] [--processes N]
"""

import argparse
import json
import sys

from utils import config
from utils.simulation.cohort import simulate_cohort


def main(argv: list[str] | None = None) -> int:
    """Write a cohort from the command line."""
    parser = argparse.ArgumentParser(prog="python -m utils.simulate", description=__doc__)
    parser.add_argument("out", type=config.user_path, help="folder to write the cohort to")
    parser.add_argument("--patients", type=int, default=60, help="how many (default: 60)")
    parser.add_argument("--seed", type=int, default=0, help="of all that is drawn (default: 0)")
    parser.add_argument("--processes", type=int, help="by default one a core, if memory allows")
    options = parser.parse_args(argv)
    if options.processes is not None and options.processes < 1:
        raise config.CourseError(f"--processes {options.processes}: must be at least 1")

    counted = []

    def show(done, total):
        counted.append(done)
        print(f"\rsimulating patients: {done}/{total}", end="", file=sys.stderr, flush=True)

    try:
        root = simulate_cohort(options.out, options.patients, options.seed, show, options.processes)
    finally:
        if counted:  # an error has a line of its own
            print(file=sys.stderr)
    print(json.dumps(config.read_json(root / "cohort.json")))
    return 0


if __name__ == "__main__":
    sys.exit(config.command(main))
