"""Train in a process of its own what takes much memory, and what a run lacks.

TensorFlow keeps the memory of one training until its process ends. A notebook that trained one
network after the other would need more than 2 GB; processes that follow each other do not. What
they make lies in the run folder, where the notebook finds it.
"""

import json
import os
import pkgutil
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict

from utils import config
from utils.course.run import Run, open_run
from utils.runtime import machine
from utils.runtime.memory import available_bytes, keep_all_freed, release
from utils.runtime.processes import end_with_parent, ended_for_memory, started_from_here

# What a training needs of memory at most, with some room.
TRAINING_BYTES = 2 * 2**30
# What a run needs -> the notebook that trains it first. Each has a module beside this one.
NOTEBOOKS = {"detector": "02", "segmenter": "03"}


def train_missing(run: Run) -> None:
    """Train detector and segmenter if the run folder has none, saying so.

    Models that are there are left alone, also those of another budget or cohort: their
    `load_or_train` notices and trains anew.

    Parameters
    ----------
    run : Run

    Raises
    ------
    CourseError
        If a training fails, with its last line.
    """
    for name, notebook in NOTEBOOKS.items():
        if not (run.folder / f"{name}.json").exists():
            print(f"No {name} in the run folder yet: training it, as notebook {notebook} does.")
            train_apart(run, f"utils.course.{name}:load_or_train")


def train_apart(run: Run, *stages: str) -> None:
    """Do stages of a run, each in a process that ends with it, or with this one.

    Several are done side by side if memory allows, each on its share of the processor's cores: one
    training on two cores leaves the second partly idle. Measured on 2 cores, two took 1.6 times as
    long as one alone.

    Parameters
    ----------
    run : Run
    *stages : str
        "module:function argument ...", such as ``"utils.course.segmenter:train focal_tversky"``:
        the function is called with the run and the arguments that follow it.

    Raises
    ------
    CourseError
        If one fails, with its last line.
    """
    release()
    cores = _cores()
    at_once = min(len(stages), max(1, len(cores)), max(1, available_bytes() // TRAINING_BYTES))
    shares = [cores[number::at_once] if at_once > 1 else [] for number in range(at_once)]
    with ThreadPoolExecutor(at_once) as pool:
        started = [
            pool.submit(_do_apart, run, stage, shares[number % at_once])
            for number, stage in enumerate(stages)
        ]
        for each in started:
            each.result()


def start_apart(run: Run, stage: str) -> Callable[[], None]:
    """Start a stage of a run in a process beside this one, which goes on with its own work.

    Where memory is short for two trainings at once, the stage is done before this returns: later
    there would be even less, when this process has networks of its own.

    Parameters
    ----------
    run : Run
    stage : str
        As `train_apart` takes it.

    Returns
    -------
    callable
        Waits until the stage is done. Raises what `train_apart` raises.
    """
    release()
    room_for_both = available_bytes() >= 2 * TRAINING_BYTES
    pool = ThreadPoolExecutor(1)
    started = pool.submit(_do_apart, run, stage, [])
    pool.shutdown(wait=not room_for_both)
    return started.result


def _cores() -> list[int]:
    """Return the cores that this process may use; none where the system cannot share them out."""
    return machine.cores() if hasattr(os, "sched_setaffinity") else []


def _do_apart(run: Run, stage: str, cores: list[int]) -> None:
    """Do a stage in a process of its own, on these cores; on all if none are given."""
    parameters = asdict(run.parameters) | {"run_folder": str(run.folder)}
    if parameters["data"]:
        parameters["data"] = config.absolute(parameters["data"])
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "utils.course.workers",
            stage,
            json.dumps(parameters),
            json.dumps(cores),
        ],
        cwd=config.ROOT,
        env=started_from_here(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if ended_for_memory(done.returncode, done.stderr):
        raise config.CourseError(
            f"{stage} was ended by the system, most often because memory ran out: "
            "close other notebooks and programs, and run this again; it goes on where it was"
        )
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        reason = lines[-1].removeprefix("error: ") if lines else f"status {done.returncode}"
        raise config.CourseError(f"{stage} failed: {reason}")


def main() -> None:
    """Do the stage named first for the run whose parameters, then the cores, follow as JSON."""
    end_with_parent()
    stage, parameters, cores = sys.argv[1:]
    # It takes a tenth more memory.
    if available_bytes() > TRAINING_BYTES:
        keep_all_freed()
    if json.loads(cores):
        # Before TensorFlow is loaded: it starts a thread for every core that it may use.
        os.sched_setaffinity(0, json.loads(cores))
    run = open_run(**json.loads(parameters))
    function, *arguments = stage.split(" ")
    # Only here: it loads TensorFlow.
    pkgutil.resolve_name(function)(run, *arguments)


if __name__ == "__main__":
    sys.exit(config.command(main))
