"""Start the processes of a training, and end them all when one fails."""

import contextlib
import importlib.util
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from utils.config import ROOT, CourseError
from utils.runtime.processes import started_from_here

# How long the others may go on when one process has failed, in seconds: most often they are about
# to end with the same error.
GRACE = 5.0


def places(processes: int, coordinator: str = "", process: int | None = None) -> list[dict]:
    """Return which processes of a training are to be started on this machine.

    Parameters
    ----------
    processes : int
        How many train together, on all machines.
    coordinator : str
        ``"host:port"``, where process 0 is reached by the other machines. Empty: there are none.
    process : int, optional
        Which of them this machine starts; needed with `coordinator`.

    Returns
    -------
    list of dict
        ``number, count, coordinator`` of each.

    Raises
    ------
    CourseError
        If these do not belong together.
    """
    if processes < 1:
        raise CourseError(f"--processes {processes}: must be at least 1")
    if bool(coordinator) != (process is not None):
        raise CourseError(
            "--coordinator and --process belong together: give both on every machine, or neither"
        )
    if not coordinator:
        address = f"127.0.0.1:{_free_port()}"
        return [
            {"number": number, "count": processes, "coordinator": address}
            for number in range(processes)
        ]
    host, _, port = coordinator.rpartition(":")
    if not host or not port.isdigit():
        raise CourseError(f"--coordinator {coordinator}: must be host:port, such as 10.0.0.1:29500")
    if not 0 <= process < processes:
        raise CourseError(f"--process {process}: must be 0 to {processes - 1}")
    return [{"number": process, "count": processes, "coordinator": coordinator}]


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def launch(parameters: dict, started: Sequence[dict]) -> int:
    """Train the segmenter of a run in processes that end with this one, and wait for them.

    Parameters
    ----------
    parameters : dict
        Of the run, as `open_run` takes them.
    started : sequence of dict
        As `places` returns them.

    Returns
    -------
    int
        0, or the status of process 0 if it failed and said why.

    Raises
    ------
    CourseError
        If JAX is not installed, or another process fails, with its last line.
    """
    if importlib.util.find_spec("jax") is None:
        raise CourseError("needs JAX: .venv/bin/python -m pip install jax, or jax[cuda12] for GPUs")
    environment = os.environ | {"KERAS_BACKEND": "jax"}
    if len(started) == started[0]["count"]:
        # All are here, so no other machine need reach the first one.
        environment.setdefault("JAX_COORDINATOR_BIND_ADDRESS", started[0]["coordinator"])
    commands = [
        [sys.executable, "-m", "utils.parallel.train", json.dumps(parameters), json.dumps(place)]
        for place in started
    ]
    return run_together(commands, environment)


def run_together(commands: Sequence[Sequence[str]], environment: dict[str, str]) -> int:
    """Run commands side by side, and end all when one fails.

    The first one writes to the terminal; of the others, the last line is told if they fail.

    Parameters
    ----------
    commands : sequence of sequence of str
    environment : dict

    Returns
    -------
    int
        0, or the status of the first one if it failed and said why.

    Raises
    ------
    CourseError
        If another one fails, or the first one is ended by a signal.
    """
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        logs = [Path(folder) / str(number) for number in range(len(commands))]
        children: list[subprocess.Popen] = []
        stack.callback(_end_all, children)
        for number, (words, log) in enumerate(zip(commands, logs, strict=True)):
            kept = None if number == 0 else stack.enter_context(log.open("wb"))
            children.append(
                subprocess.Popen(
                    words,
                    cwd=ROOT,
                    env=started_from_here() | environment,
                    stdin=subprocess.DEVNULL,
                    stdout=kept,
                    stderr=kept,
                )
            )
        while None in (states := [child.poll() for child in children]) and not any(states):
            time.sleep(0.1)
        if not any(states):
            return 0
        # Those that go down after it, because it is gone, are not to blame.
        number = next(number for number, state in enumerate(states) if state)
        deadline = time.monotonic() + GRACE
        while None in [child.poll() for child in children] and time.monotonic() < deadline:
            time.sleep(0.1)
        states = [child.poll() for child in children]
        if number == 0 and states[0] > 0:
            return states[0]
        raise CourseError(
            f"process {number} of {len(commands)} failed: "
            f"{_last_line(logs[number]) or f'status {states[number]}'}"
        )


def _end_all(children: Sequence[subprocess.Popen]) -> None:
    for child in children:
        if child.poll() is None:
            child.kill()
    for child in children:
        child.wait()


def _last_line(log: Path) -> str:
    if not log.exists():
        return ""
    lines = log.read_text(encoding="utf-8", errors="replace").split("\n")
    return next((line for line in reversed(lines) if line.strip()), "").removeprefix("error: ")
