"""What a task is, and how one is done, in whatever process.

A task can be done again: what it has finished it leaves alone, and what was cut off goes on. All
that it makes lies in its folder, which it holds for itself while it works.
"""

import pkgutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from utils.cluster.threads import use_threads
from utils.config import CourseError, hold_folder


@dataclass(frozen=True, eq=False)
class Task:
    """A piece of work that any process which sees the same disk can do.

    Attributes
    ----------
    name : str
        What it is called when it is told of; no other has the same name.
    function : str
        "module:function", which is called with `arguments`.
    arguments : tuple
        Values that can be pickled; paths are absolute.
    folder : pathlib.Path
        Held while the task is done. Two tasks with the same folder are never done at once.
    remedy : str
        What the user can do instead of waiting until the folder is free.
    after : tuple of str
        Names of tasks that have to be done before, as far as they are among those to do.
    wait : float
        For how many seconds to wait, in any case, if another process holds the folder: for tasks
        that several processes may come to at once.
    """

    name: str
    function: str
    arguments: tuple
    folder: Path
    remedy: str
    after: tuple[str, ...] = ()
    wait: float = 0


def perform(
    task: Task, threads: int | None = None, wait: float = 0, shared: Path | None = None
) -> None:
    """Do a task in this process.

    Parameters
    ----------
    task : Task
    threads : int, optional
        See `use_threads`; None leaves the number as it is.
    wait : float
        For how many seconds to wait if another process holds the task's folder. One that dies lets
        go of it at once, one that lost its connection only when it ends.
    shared : pathlib.Path, optional
        A file that has to be there, if the disk is the same as that of the process that asks.

    Raises
    ------
    CourseError
        If the folder stays held, or the disk is another one; and whatever the task raises.
    """
    if shared is not None and not shared.exists():
        raise CourseError(
            f"{shared.parent}: this worker does not see the files that the command made there; "
            "give --work (and for the tables --out) on a disk that all machines share"
        )
    if threads is not None:
        use_threads(threads)
    with hold_folder(task.folder, task.remedy, wait=max(wait, task.wait)):
        pkgutil.resolve_name(task.function)(*task.arguments)


def in_order(tasks: Sequence[Task], threads: int | None, done: Callable[[Task], None]) -> None:
    """Do tasks one after the other in this process.

    Parameters
    ----------
    tasks : sequence of Task
        Each after those that it needs.
    threads : int or None
        See `perform`.
    done : callable
        Called with each task when it is done.
    """
    started = time.monotonic()
    for number, task in enumerate(tasks, start=1):
        spent = (time.monotonic() - started) / 60
        remain = spent / (number - 1) * (len(tasks) - number + 1) if number > 1 else 0
        left = f", about {remain:.0f} min remain" if number > 1 else ""
        print(f"{task.name} ({number} of {len(tasks)}{left})", flush=True)
        perform(task, threads)
        done(task)
