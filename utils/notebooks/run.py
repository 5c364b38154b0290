"""Run notebooks in order into one folder, one process at a time; each is recorded when done."""

import contextlib
import hashlib
import json
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil
from tqdm import tqdm

from utils.config import ROOT, CourseError, hold_folder, read_json, update_json, write_json
from utils.course.run import check_values, notebook_parameters
from utils.notebooks.build import read_notebook
from utils.notebooks.dependencies import reached
from utils.notebooks.execute import Execution, execute

NOTEBOOKS = ROOT / "notebooks"
# A cell that trains on the real cohort takes its time.
CELL_SECONDS = {"simulated": 1800, "lgg": 6 * 3600}
# How long the kernel of a killed run gets to notice that its parent is gone; it looks every second.
ORPHAN_SECONDS = 10


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

    A job's key changes with the parameters, with the sources of the notebook and of all before it,
    whose results it uses, and with the helpers that any of these reach; with the checks of its
    own exercises too.

    Raises
    ------
    CourseError
        If there are no notebooks, or one does not know a parameter.
    """
    sources = sorted(folder.glob("[0-9][0-9]_*.ipynb"))
    if not sources:
        raise CourseError(f"{folder}: no notebooks NN_name.ipynb in it; make them: make notebooks")
    # Text for what JSON lacks, such as a date: what it may be, `check_values` says below.
    digest = hashlib.sha256(json.dumps(dict(parameters), sort_keys=True, default=str).encode())
    jobs = []
    for source in sources:
        notebook = read_notebook(source)
        check_values(parameters, notebook_parameters(notebook, source.name), source.name)
        code = [cell.source for cell in notebook.cells if cell.cell_type == "code"]
        files = reached(code)
        digest.update(json.dumps([source.stem, code]).encode() + _sha256(files.results))
        own = digest.copy()
        own.update(_sha256(files.exercises))
        injected = 1  # the cell that papermill adds
        jobs.append(Job(source, parameters, len(code) + injected, own.hexdigest()))
    return jobs


def _sha256(files: Iterable[Path]) -> bytes:
    """Return what changes with the name or the content of one of these files of the course."""
    digest = hashlib.sha256()
    for path in sorted(files):
        digest.update(str(path.relative_to(ROOT)).encode() + path.read_bytes())
    return digest.digest()


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


@contextlib.contextmanager
def exclusive(run_folder: Path) -> Iterator[Callable[[int], None]]:
    """Hold the run folder for this process alone.

    Yields a callable that notes the process id of the kernel at work: if this process is killed,
    the next one waits until that kernel, which notices within a second or two, has ended too.

    Raises
    ------
    CourseError
        If another process holds it.
    """
    remedy = "choose another folder with --run"
    with hold_folder(run_folder, remedy, _await_orphan) as note:
        yield lambda kernel: note(kernel, psutil.Process(kernel).create_time())
        note()


def _await_orphan(words: Sequence[str]) -> None:
    """Wait for the kernel that a killed run left behind, and end it if it does not end itself."""
    if len(words) != 2:
        return
    number, created = words
    with contextlib.suppress(psutil.NoSuchProcess):
        kernel = psutil.Process(int(number))
        if abs(kernel.create_time() - float(created)) < 1:  # no later process with that number
            try:
                kernel.wait(timeout=ORPHAN_SECONDS)
            except psutil.TimeoutExpired:
                kernel.kill()
