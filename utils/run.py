"""Run the course: every notebook in order, into one folder, going on where it was stopped.

python -m utils.run [--cohort simulated|lgg] [--data PATH] [--run FOLDER] [--seed N]
                    [--only 03 | --from 03] [-p NAME VALUE]... [-f FILE.yaml]
                    [--cell-seconds S]
"""

import argparse
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from utils.config import RUNS, CourseError, absolute, command
from utils.course.run import check_data, parse_value, read_parameters
from utils.notebooks import report
from utils.notebooks.execute import NotebookError
from utils.notebooks.run import CELL_SECONDS, NOTEBOOKS, choose, exclusive, plan, run_notebooks


def gather_parameters(arguments: argparse.Namespace) -> dict[str, object]:
    """Return the parameters of a run: the cohort's file, then `-f`, the options, then `-p`.

    Raises
    ------
    CourseError
        If a file or value cannot be read, or the data are not there.
    """
    given = read_parameters(arguments.file) if arguments.file else {}
    options = {"cohort": arguments.cohort, "data": arguments.data, "seed": arguments.seed}
    given |= {name: value for name, value in options.items() if value is not None}
    given |= {name: parse_value(value) for name, value in arguments.parameter}
    cohort = given.setdefault("cohort", "simulated")
    if str(cohort) not in CELL_SECONDS:
        raise CourseError(f"no cohort {cohort!r}; choose one of {', '.join(CELL_SECONDS)}")
    parameters = read_parameters(NOTEBOOKS / "params" / f"{cohort}.yaml") | given
    check_data(cohort, parameters.get("data", ""))
    if parameters.get("data"):
        parameters["data"] = absolute(str(parameters["data"]))
        if not os.path.exists(parameters["data"]):
            raise CourseError(
                f"{parameters['data']}: not there; give DATA the cohort's folder or zip"
            )
    run_folder = arguments.run or parameters.get("run_folder") or RUNS / cohort
    parameters["run_folder"] = absolute(str(run_folder))
    return parameters


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m utils.run", description="Run the course.")
    parser.add_argument("--cohort", choices=sorted(CELL_SECONDS), help="default: simulated")
    parser.add_argument("--data", metavar="PATH", help="the cohort's folder, its parent or its zip")
    parser.add_argument("--run", metavar="FOLDER", help="default: runs/<cohort>")
    parser.add_argument("--seed", type=int, metavar="N", help="of all that is drawn (default: 0)")
    chosen = parser.add_mutually_exclusive_group()
    chosen.add_argument("--only", metavar="NN", help="run this notebook alone, finished or not")
    chosen.add_argument("--from", dest="first", metavar="NN", help="run this one and all after it")
    parser.add_argument("-p", dest="parameter", nargs=2, action="append", default=[],
                        metavar=("NAME", "VALUE"), help="a parameter of the notebooks")  # fmt: skip
    parser.add_argument("-f", dest="file", metavar="FILE", help="a YAML file of parameters")
    parser.add_argument("--cell-seconds", type=int, metavar="S", help="time limit of a cell")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Run from the command line; the exit status is 1 if a notebook failed."""
    arguments = _arguments(argv)
    parameters = gather_parameters(arguments)
    run_folder = Path(parameters["run_folder"])
    jobs = plan(NOTEBOOKS, parameters)
    start = time.monotonic()
    with exclusive(run_folder) as started:
        to_do = choose(jobs, run_folder, arguments.only, arguments.first)
        limit = arguments.cell_seconds or CELL_SECONDS[parameters["cohort"]]
        try:
            run_notebooks(to_do, run_folder, cell_seconds=limit, started=started)
        except NotebookError as error:
            print(f"failed: {error}", file=sys.stderr)
            return 1
        page = report.write_report(run_folder)
    print(report.summary_table(run_folder, [job.name for job in jobs]))
    done = f"{len(to_do)} notebooks run" if to_do else "nothing to do, all notebooks are finished"
    print(f"{done} in {time.monotonic() - start:.0f} s; read {page}")
    return 0


if __name__ == "__main__":
    sys.exit(command(main))
