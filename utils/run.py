"""Run the course: every notebook in order, into one folder, going on where a run was stopped.

python -m utils.run [--cohort simulated|lgg] [--data PATH] [--run FOLDER] [--seed N]
                    [--only 03 | --from 03] [-p NAME VALUE]... [-f FILE.yaml]
"""

import argparse
import contextlib
import hashlib
import json
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml
from tqdm import tqdm

from utils import report
from utils.config import ROOT, RUNS, CourseError, command, read_json, update_json, write_json
from utils.execution import Execution, NotebookError, execute
from utils.locks import exclusive
from utils.notebooks import read_notebook
from utils.parameters import check_values, notebook_parameters, read_parameters

NOTEBOOKS = ROOT / "notebooks"
# Modules that no notebook's result depends on: a change there makes no finished notebook stale.
TOOLS = {"run", "execution", "locks", "report", "bench", "download"}
TOOLS |= {"notebooks", "editions", "checking"}
# A cell that trains on the real cohort takes its time.
CELL_SECONDS = {"simulated": 1800, "lgg": 6 * 3600}


@dataclass(frozen=True)
class Job:
    """A notebook to run: where it is, its parameters, and what its result depends on."""

    source: Path
    parameters: Mapping[str, object]
    code_cells: int
    key: str

    @property
    def name(self) -> str:
        return self.source.stem

    @property
    def number(self) -> str:
        return self.name.split("_")[0]


def plan(folder: Path, parameters: Mapping[str, object]) -> list[Job]:
    """Return the notebooks of `folder` in order, checked against `parameters`.

    A job's key changes with the code, the parameters, and the sources of the notebook and of all
    before it, whose results it uses.

    Raises
    ------
    CourseError
        If there are no notebooks, or one does not know a parameter.
    """
    sources = sorted(folder.glob("[0-9][0-9]_*.ipynb"))
    if not sources:
        raise CourseError(f"{folder}: no notebooks NN_name.ipynb in it; make them: make notebooks")
    state = json.dumps([_code_sha256(), dict(parameters)], sort_keys=True)
    digest = hashlib.sha256(state.encode())
    jobs = []
    for source in sources:
        notebook = read_notebook(source)
        check_values(parameters, notebook_parameters(notebook, source.name), source.name)
        code = [cell.source for cell in notebook.cells if cell.cell_type == "code"]
        digest.update(json.dumps([source.stem, code]).encode())
        injected = 1  # the cell that papermill adds
        jobs.append(Job(source, parameters, len(code) + injected, digest.hexdigest()))
    return jobs


def _code_sha256() -> str:
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.glob("*.py")):
        if path.stem not in TOOLS:
            digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()


def choose(
    jobs: Sequence[Job], run_folder: Path, only: str | None = None, first: str | None = None
) -> list[Job]:
    """Return the jobs to do: those asked for, else those not finished as they stand now."""
    if only is not None:
        return [jobs[_position(jobs, only)]]
    if first is not None:
        return list(jobs[_position(jobs, first) :])
    finished = read_json(run_folder / "finished.json")
    return [
        job
        for job in jobs
        if finished.get(job.name) != job.key or not (run_folder / f"{job.name}.ipynb").is_file()
    ]


def _position(jobs: Sequence[Job], wanted: str) -> int:
    for position, job in enumerate(jobs):
        if wanted in (job.name, job.number):
            return position
    names = ", ".join(job.name for job in jobs)
    raise CourseError(f"no notebook {wanted!r}; there are {names}")


def run_notebooks(
    jobs: Sequence[Job], run_folder: Path, *, cell_seconds: int, started: Callable[[int], None]
) -> None:
    """Execute the notebooks, one after the other, recording each as it finishes.

    Raises
    ------
    NotebookError
        If a cell fails; the notebooks finished before stay finished.
    """
    record = run_folder / "finished.json"
    with _progress(sum(job.code_cells for job in jobs)) as bar:
        for job in jobs:
            bar.set_description(job.name)
            # Until it is finished again it is not: a kill from here on must not leave the old mark.
            finished = read_json(record)
            finished.pop(job.name, None)
            write_json(record, finished)
            _remove_figures(run_folder, job)
            execution = execute(
                job.source,
                run_folder / f"{job.name}.ipynb",
                parameters=job.parameters,
                log=run_folder / "logs" / f"{job.number}.log",
                cell_seconds=cell_seconds,
                started=started,
                advanced=bar.update,
            )
            _record(run_folder, job, execution)
            bar.write(f"{job.name}: {execution.seconds:.0f} s, {execution.peak_rss_mb:.0f} MiB")


def _remove_figures(run_folder: Path, job: Job) -> None:
    """Remove what the report would show though the notebook may no longer make it."""
    for path in (run_folder / "figures").glob(f"{job.number}_*"):
        path.unlink()


def _record(run_folder: Path, job: Job, execution: Execution) -> None:
    figures = {
        "seconds": {job.name: execution.seconds},
        "peak_rss_mb": {job.name: execution.peak_rss_mb},
    }
    update_json(run_folder / "metrics.json", figures)
    update_json(run_folder / "finished.json", {job.name: job.key})


@contextlib.contextmanager
def _progress(cells: int) -> Iterator[tqdm]:
    """Yield a progress bar whose clock goes on while a long cell runs."""
    at_terminal = sys.stderr.isatty()
    stopped = threading.Event()
    layout = "{desc}{n_fmt}/{total_fmt} cells |{bar}| {elapsed}"
    with tqdm(
        total=cells,
        bar_format=layout,
        mininterval=0.2 if at_terminal else 15,
        dynamic_ncols=True,
    ) as bar:
        ticker = threading.Thread(target=_tick, args=(bar, stopped), daemon=True)
        if at_terminal:
            ticker.start()
        try:
            yield bar
        finally:
            stopped.set()
            if at_terminal:
                ticker.join()


def _tick(bar: tqdm, stopped: threading.Event) -> None:
    while not stopped.wait(1.0):
        bar.refresh()


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
    given |= {name: _yaml_value(value) for name, value in arguments.parameter}
    cohort = given.setdefault("cohort", "simulated")
    if cohort not in CELL_SECONDS:
        raise CourseError(f"no cohort {cohort!r}; choose one of {', '.join(CELL_SECONDS)}")
    parameters = read_parameters(NOTEBOOKS / "params" / f"{cohort}.yaml") | given
    if parameters.get("data") and cohort == "simulated":
        raise CourseError(
            f"data {parameters['data']!r} given to the simulated cohort; add COHORT=lgg"
        )
    if parameters.get("data"):
        data = Path(str(parameters["data"])).expanduser().absolute()
        if not data.exists():
            raise CourseError(f"{data}: not there; give DATA the cohort's folder or zip")
        parameters["data"] = str(data)
    run_folder = arguments.run or parameters.get("run_folder") or RUNS / cohort
    parameters["run_folder"] = str(Path(run_folder).expanduser().absolute())
    return parameters


def _yaml_value(text: str) -> object:
    try:
        return yaml.safe_load(text) if text else ""
    except yaml.YAMLError:
        return text


def _arguments(words: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m utils.run", description="Run the course.")
    parser.add_argument("--cohort", choices=sorted(CELL_SECONDS), help="default: simulated")
    parser.add_argument("--data", metavar="PATH", help="the cohort's folder, its parent or its zip")
    parser.add_argument("--run", metavar="FOLDER", help="default: runs/<cohort>")
    parser.add_argument("--seed", type=int, metavar="N")
    chosen = parser.add_mutually_exclusive_group()
    chosen.add_argument("--only", metavar="NN", help="run this notebook alone, finished or not")
    chosen.add_argument("--from", dest="first", metavar="NN", help="run this one and all after it")
    parser.add_argument("-p", dest="parameter", nargs=2, action="append", default=[],
                        metavar=("NAME", "VALUE"), help="a parameter of the notebooks")  # fmt: skip
    parser.add_argument("-f", dest="file", metavar="FILE", help="a YAML file of parameters")
    parser.add_argument("--cell-seconds", type=int, metavar="S", help="time limit of a cell")
    return parser.parse_args(words)


def main(words: Sequence[str] | None = None) -> int:
    """Run from the command line; the exit status is 1 if a notebook failed."""
    arguments = _arguments(words)
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
