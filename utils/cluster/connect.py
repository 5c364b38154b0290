"""Where the workers are: on this machine, in the jobs of SLURM, or at a scheduler that runs."""

import contextlib
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

import dask
from distributed import Client, LocalCluster

from utils.config import ROOT, CourseError

# For how many seconds a scheduler that runs is asked, and the first worker there waited for.
PATIENCE = 30


@contextlib.contextmanager
def connected(cluster: str, workers: int, threads: int, logs: Path) -> Iterator[Client]:
    """Yield a client of a scheduler; the workers that were started for it end with it.

    Parameters
    ----------
    cluster : str
        ``"local"``, ``"slurm"``, or the address of a scheduler, such as ``"tcp://host:8786"``.
    workers : int
        How many to start, for ``"local"`` and ``"slurm"``.
    threads : int
        That each computes with: so many cores are asked of SLURM for each.
    logs : pathlib.Path
        Gets what the jobs of SLURM print.

    Raises
    ------
    CourseError
        If there is no scheduler at the address, or no worker at that scheduler; if the jobs of
        SLURM cannot be described.
    """
    if cluster == "local":
        # Each does one task at a time. Networks are no memory that dask could move to the disk.
        with (
            LocalCluster(
                n_workers=workers,
                threads_per_worker=1,
                memory_limit=None,
                dashboard_address=":0",
            ) as local,
            Client(local) as client,
        ):
            yield client
    elif cluster == "slurm":
        with _slurm(workers, threads, logs) as jobs, Client(jobs) as client:
            yield client
    else:
        with _running(cluster) as client:
            yield client


def _slurm(workers: int, threads: int, logs: Path):
    """Return a cluster whose workers are jobs of SLURM, as many as asked for, replaced if lost."""
    # Only here: the other ways do without this package.
    from dask_jobqueue import SLURMCluster

    logs.mkdir(parents=True, exist_ok=True)
    try:
        cluster = SLURMCluster(
            cores=1,
            processes=1,
            job_cpu=threads,
            python=sys.executable,
            job_script_prologue=[f"cd {shlex.quote(str(ROOT))}"],
            log_directory=str(logs),
            # Any port: the usual one may be taken.
            scheduler_options={
                "dashboard_address": ":0",
                **dask.config.get("jobqueue.slurm.scheduler-options", {}),
            },
        )
    except ValueError as error:
        raise CourseError(
            f"--cluster slurm: {error}; say so in ~/.config/dask/jobqueue.yaml, as docs/cluster.md "
            "shows"
        ) from error
    cluster.adapt(minimum_jobs=workers, maximum_jobs=workers)
    return cluster


class _ClosingClient(Client):
    """A client that closes when it cannot connect.

    It would otherwise close when it is found as garbage. If that is in the thread of a loop which
    another client is just starting, the two wait for each other for ever.
    """

    def __init__(self, address: str):
        try:
            super().__init__(address, timeout=PATIENCE)
        except (OSError, ValueError):
            self.close()
            raise


@contextlib.contextmanager
def _running(address: str) -> Iterator[Client]:
    try:
        client = _ClosingClient(address)
    except (OSError, ValueError) as error:
        raise CourseError(
            f"--cluster {address}: no scheduler answers there; give local, slurm, or an address "
            "such as tcp://host:8786"
        ) from error
    with client:
        try:
            client.wait_for_workers(1, timeout=PATIENCE)
        except TimeoutError as error:
            raise CourseError(
                f"--cluster {address}: the scheduler has no worker; start some, as docs/cluster.md "
                "shows"
            ) from error
        yield client
