"""A task in a process of its own, which ends with the worker that started it.

Nothing else that the worker does can then disturb it: the scheduler's messages draw from the same
random numbers as new layers of Keras do, and TensorFlow keeps the memory of what it has trained.
"""

import pickle
import subprocess
import sys
from pathlib import Path

from utils import config
from utils.cluster.tasks import Task, perform
from utils.runtime.memory import available_bytes, keep_all_freed
from utils.runtime.processes import end_with_parent, ended_for_memory, started_from_here

# With more free than this, what a training frees is kept for its next step.
PLENTY = 2 * 2**30


def perform_apart(task: Task, threads: int | None, wait: float, shared: Path) -> None:
    """Do a task in a process that ends with it, or with this one; as `perform` does.

    Raises
    ------
    CourseError
        If the task ends with one, or the system ends its process.
    RuntimeError
        With the traceback, if it ends with another error.
    """
    done = subprocess.run(
        [sys.executable, "-m", "utils.cluster.apart"],
        cwd=config.ROOT,
        env=started_from_here(),
        input=pickle.dumps((task, threads, wait, shared)),
        stderr=subprocess.PIPE,
        check=False,
    )
    said = done.stderr.decode(errors="replace").strip()
    if ended_for_memory(done.returncode, said):
        raise config.CourseError(
            "its process was ended by the system, most often because memory ran out: start fewer "
            "workers, or give each more, and run this again; it goes on where it was"
        )
    if done.returncode == 2:
        raise config.CourseError(said.splitlines()[-1].removeprefix("error: "))
    if done.returncode:
        raise RuntimeError(f"status {done.returncode}\n{said}")


def main() -> None:
    """Do the task that comes, pickled with how it is to be done, from standard input."""
    end_with_parent()
    task, threads, wait, shared = pickle.load(sys.stdin.buffer)
    if available_bytes() > PLENTY:
        keep_all_freed()
    perform(task, threads, wait, shared)


if __name__ == "__main__":
    sys.exit(config.command(main))
