"""Train in a process of its own what takes much memory, and what a run lacks.

TensorFlow keeps the memory of one training until its process ends. A notebook that trained one
network after the other would need more than 2 GB; processes that follow each other do not. What
they make lies in the run folder, where the notebook finds it.
"""

import importlib
import json
import os
import subprocess
import sys
import threading
import time
from dataclasses import asdict

from utils import config
from utils.course import Run, open_run

NOTEBOOKS = {"detector": "02", "segmenter": "03"}
# Name -> module of utils, its function of a run, and what that takes besides.
STAGES = {
    "detector": ("detector", "obtain"),
    "segmenter": ("segmenter", "obtain"),
    "stored features": ("detector", "trunk_features"),
    "detector from scratch": ("detector", "train_from_scratch"),
    "segmenter with both losses": ("segmenter", "train_all"),
    "slice features": ("slice_features", "store_features"),
}


def train_missing(run: Run) -> None:
    """Train detector and segmenter if the run folder has none, saying so.

    Models that are there are left alone, also those of another budget or cohort: their `obtain`
    notices and trains anew.

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
            train_apart(run, name)


def train_apart(run: Run, name: str) -> None:
    """Do one of the `STAGES` of a run in a process that ends with it, or with this one.

    Parameters
    ----------
    run : Run
    name : str
        A key of `STAGES`.

    Raises
    ------
    CourseError
        If it fails, with its last line.
    """
    parameters = asdict(run.parameters) | {"run_folder": str(run.folder)}
    if parameters["data"]:
        parameters["data"] = os.path.abspath(parameters["data"])
    done = subprocess.run(
        [sys.executable, "-m", "utils.missing", name, json.dumps(parameters)],
        cwd=config.ROOT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        reason = lines[-1].removeprefix("error: ") if lines else f"status {done.returncode}"
        raise config.CourseError(f"training the {name} failed: {reason}")


def _end_with(parent: int) -> None:
    """End this process when `parent` is gone, so that a killed notebook leaves nothing behind."""
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)


def main() -> None:
    """Do the stage named first for the run whose parameters follow as JSON."""
    threading.Thread(target=_end_with, args=[os.getppid()], daemon=True).start()
    name, parameters = sys.argv[1:]
    run = open_run(**json.loads(parameters))
    module, function, *arguments = STAGES[name]
    # Only here: it loads TensorFlow.
    getattr(importlib.import_module(f"utils.{module}"), function)(run, *arguments)


if __name__ == "__main__":
    sys.exit(config.command(main))
