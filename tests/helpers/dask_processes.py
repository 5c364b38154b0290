"""A real scheduler and real workers of it, over TCP on this machine."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from utils.config import ROOT

HELPERS = Path(__file__).parent
_ADDRESS = re.compile(r"tcp://[\d.]+:\d+")


def environment() -> dict[str, str]:
    """Return an environment in which modules of the course and of this folder are found."""
    return os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), str(HELPERS)])}


@contextmanager
def dask(*words: object, log=subprocess.PIPE) -> Iterator[subprocess.Popen]:
    """Run a command of dask in a process of its own; it ends with the block."""
    process = subprocess.Popen(
        [sys.executable, "-m", "dask", *map(str, words)],
        cwd=ROOT,
        env=environment(),
        stdout=log,
        stderr=subprocess.STDOUT,
        text=True,
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


@contextmanager
def scheduler_and_workers(folder: Path, number: int = 2) -> Iterator[tuple]:
    """Yield the address of a scheduler, and the processes of its workers.

    They take tasks when they are ready; what they print is in ``printed.txt`` in the folder.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        local = ("--host", "127.0.0.1")
        scheduler = stack.enter_context(
            dask("scheduler", *local, "--port", 0, "--no-dashboard", "--no-show")
        )
        address = next(
            found.group() for line in scheduler.stdout if (found := _ADDRESS.search(line))
        )
        log = stack.enter_context((folder / "printed.txt").open("w"))
        workers = [
            stack.enter_context(
                dask("worker", address, *local, "--nthreads", 1, "--no-nanny", "--no-dashboard",
                     "--memory-limit", 0, "--local-directory", folder, log=log)
            )
            for _ in range(number)
        ]  # fmt: skip
        yield address, workers
