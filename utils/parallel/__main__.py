"""Train the segmenter of a run, as notebook 03 does, on several devices or machines, with JAX.

    python -m utils.parallel [-f FILE.yaml] [-p NAME VALUE]... [--processes N]

trains on all devices of this machine. On several machines, the same on each, with the address at
which process 0 is reached and the number of this one:

    python -m utils.parallel ... --processes 2 --coordinator HOST:PORT --process 0

docs/parallel-training.md says more.
"""

import argparse
import sys
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path

from utils.config import RUNS, absolute, command, hold_folder
from utils.course.run import Parameters, check_values, open_run, parse_value, read_parameters
from utils.parallel.launch import launch, places


def main(argv: list[str] | None = None) -> int:
    """Train from the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m utils.parallel",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("-f", dest="file", help="a YAML file of the notebooks' parameters")
    parser.add_argument("-p", dest="parameter", nargs=2, action="append", default=[],
                        metavar=("NAME", "VALUE"), help="a parameter of the notebooks")  # fmt: skip
    parser.add_argument("--processes", type=int, default=1, help="on all machines (default: 1)")
    parser.add_argument("--coordinator", default="", metavar="HOST:PORT",
                        help="where process 0 is reached")  # fmt: skip
    parser.add_argument("--process", type=int, metavar="I", help="from 0")
    options = parser.parse_args(argv)
    started = places(options.processes, options.coordinator, options.process)
    parameters = _parameters(options)
    folder = Path(parameters["run_folder"])
    # On one disk the others would wait for the first one forever. What they write there (the split,
    # the arrays of the cohort) is what it writes, and each file comes whole.
    first = started[0]["number"] == 0
    hold = hold_folder(folder, "choose another with -p run_folder FOLDER")
    with hold if first else nullcontext():
        # Makes the cohort and its arrays, if they are not there, once for all processes; and what
        # is wrong with the parameters is told before any is started.
        open_run(**parameters)
        return launch(parameters, started)


def _parameters(options: argparse.Namespace) -> dict[str, object]:
    """Return the parameters of the run, with absolute paths."""
    given = read_parameters(options.file) if options.file else {}
    given |= {name: parse_value(text) for name, text in options.parameter}
    check_values(given, asdict(Parameters()), "utils.parallel")
    parameters = asdict(Parameters(**given))
    parameters["run_folder"] = absolute(parameters["run_folder"] or RUNS / parameters["cohort"])
    if parameters["data"]:
        parameters["data"] = absolute(parameters["data"])
    return parameters


if __name__ == "__main__":
    sys.exit(command(main))
