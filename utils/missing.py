"""Train what a run lacks, each model in a process of its own.

TensorFlow keeps the memory of one training until its process ends. A notebook that trained both
models and then used them would need more than 2 GB; two processes, one after the other, and a
notebook that loads TensorFlow after them, do not.
"""

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
            _train_elsewhere(run, name)


def _train_elsewhere(run: Run, name: str) -> None:
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
    """Train the model named first for the run whose parameters follow as JSON."""
    threading.Thread(target=_end_with, args=[os.getppid()], daemon=True).start()
    name, parameters = sys.argv[1:]
    run = open_run(**json.loads(parameters))
    # Only here: each loads TensorFlow.
    if name == "detector":
        from utils import detector as stage
    else:
        from utils import segmenter as stage
    stage.obtain(run)


if __name__ == "__main__":
    sys.exit(config.command(main))
