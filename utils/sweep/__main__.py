"""Train one of the notebooks' models with every combination of some hyper-parameters.

    python -m utils.sweep segmenter rate=3e-4,1e-3 fn_weight=0.5,0.7 [--cluster local]

trains the segmenter of notebook 3, or the detector of notebook 2, once for each combination, and
writes a table with one row a training. The validation patients decide which is best; those held out
are never looked at. A sweep that was cut off goes on where it was.
"""

import argparse
import sys
from collections.abc import Sequence

from utils.cluster.options import add_options, run_tasks
from utils.config import ROOT, RUNS, absolute, command, user_path
from utils.course.run import open_run, read_parameters
from utils.course.titles import COHORTS
from utils.sweep.grid import HYPERPARAMETERS, read_grid
from utils.sweep.training import collect, folder_of, planned


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m utils.sweep", description=__doc__)
    parser.add_argument("network", choices=HYPERPARAMETERS)
    parser.add_argument("values", nargs="*", metavar="NAME=VALUE,VALUE", help="what to vary")
    parser.add_argument("--grid", type=user_path, metavar="FILE.yaml", help="the same in a file")
    parser.add_argument("--cohort", choices=COHORTS, default="simulated", help="default: simulated")
    parser.add_argument("--data", default="", help="the real cohort: folder, its parent or zip")
    parser.add_argument(
        "--run", type=user_path, metavar="FOLDER", help="default: runs/COHORT-sweep"
    )
    parser.add_argument("--seed", type=int, help="of cohort, split and training")
    parser.add_argument("--patients", type=int, help="how many; 0 for all")
    parser.add_argument("--size", type=int, help="side of the pictures, in pixels")
    add_options(parser)
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Run a sweep, print its table, and say where it lies."""
    arguments = _parse(argv)
    network = arguments.network
    grid = read_grid(network, arguments.values, arguments.grid)
    parameters = read_parameters(ROOT / "notebooks" / "params" / f"{arguments.cohort}.yaml")
    parameters["run_folder"] = absolute(arguments.run or RUNS / f"{arguments.cohort}-sweep")
    if arguments.data:
        parameters["data"] = absolute(arguments.data)
    for name in ("seed", "patients", "size"):
        if getattr(arguments, name) is not None:
            parameters[name] = getattr(arguments, name)
    # Here first: it makes what all trainings read, such as the cohort.
    run = open_run(**parameters)
    tasks = planned(run, network, grid, parameters)
    run_tasks(tasks, arguments, run.folder, lambda task: collect(run, network))
    print(collect(run, network).to_string(index=False, na_rep="-"))
    print(f"written to {folder_of(run, network).with_suffix('.csv')}")
    return 0


if __name__ == "__main__":
    sys.exit(command(main))
