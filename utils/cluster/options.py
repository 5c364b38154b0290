"""The options of a command whose tasks may be done on a cluster."""

import argparse
import importlib.util
from collections.abc import Callable, Sequence
from pathlib import Path

from utils.cluster.tasks import Task, in_order
from utils.config import CourseError
from utils.runtime.machine import cores

WORKERS = 2


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add ``--cluster``, ``--workers`` and ``--threads``."""
    parser.add_argument(
        "--cluster",
        metavar="WHERE",
        help="do tasks side by side: local, slurm, or a scheduler's address (docs/cluster.md)",
    )
    parser.add_argument(
        "--workers", type=int, metavar="N", help=f"of local and slurm: how many ({WORKERS})"
    )
    parser.add_argument(
        "--threads",
        type=int,
        metavar="N",
        help="that each process computes with: the same number gives the same results (default: "
        "all cores of this machine, shared among its workers)",
    )


def run_tasks(
    tasks: Sequence[Task],
    arguments: argparse.Namespace,
    shared: Path,
    done: Callable[[Task], None] = lambda task: None,
) -> None:
    """Do tasks where the options of a command say.

    Parameters
    ----------
    tasks : sequence of Task
        Each after those that it needs.
    arguments : argparse.Namespace
        With the options of `add_options`.
    shared : pathlib.Path
        A folder on the disk that all workers share; gets the logs of SLURM's jobs.
    done : callable
        Called in this process with each task when it is done.

    Raises
    ------
    CourseError
        If an option is out of range, dask is missing, the cluster cannot be reached, or a task
        fails.
    """
    cluster, workers, threads = (arguments.cluster, arguments.workers, arguments.threads)
    for name, value in (("--workers", workers), ("--threads", threads)):
        if value is not None and value < 1:
            raise CourseError(f"{name} {value}: must be at least 1")
    if cluster is None:
        if workers is not None:
            raise CourseError("--workers: of which cluster? Give --cluster local or slurm too")
        in_order(tasks, threads, done)
        return
    if cluster not in ("local", "slurm") and workers is not None:
        raise CourseError("--workers: those of a scheduler that runs are not started here")
    if cluster != "local" and threads is None:
        raise CourseError(
            f"--cluster {cluster}: say with --threads how many threads each worker computes with; "
            "the same number gives the same results"
        )
    if not tasks:
        return
    needed = ("distributed", "dask_jobqueue") if cluster == "slurm" else ("distributed",)
    if not all(map(importlib.util.find_spec, needed)):
        raise CourseError(
            f"--cluster {cluster} needs dask, which is not installed: "
            ".venv/bin/python -m pip install '.[cluster]' brings it"
        )
    # Only here: a computation in one process does without dask.
    from utils.cluster.connect import connected
    from utils.cluster.schedule import on_workers

    workers = workers or WORKERS
    threads = threads or max(1, len(cores()) // workers)
    with connected(cluster, min(workers, len(tasks)), threads, shared / "slurm") as client:
        on_workers(client, tasks, threads, shared, done)
