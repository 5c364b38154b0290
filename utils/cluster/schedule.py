"""Tasks on the workers of a dask scheduler, each in a process of its own.

What a worker that dies was at, the scheduler gives to another: the task waits until the system has
let go of the folder, with the process that held it, and goes on from the last checkpoint.
"""

import uuid
from collections.abc import Callable, Sequence
from pathlib import Path

from distributed import Client, KilledWorker, as_completed

from utils.cluster.apart import perform_apart
from utils.cluster.tasks import Task
from utils.config import CourseError

# For how many seconds a worker waits for a folder that another process holds.
WAIT = 600


def on_workers(
    client: Client,
    tasks: Sequence[Task],
    threads: int | None,
    shared: Path,
    done: Callable[[Task], None],
) -> None:
    """Do tasks on the workers of a scheduler, as many at once as there are workers.

    A task that fails does not stop the others, but those that come after it.

    Parameters
    ----------
    client : distributed.Client
    tasks : sequence of Task
        Each after those that it needs.
    threads : int or None
        That each task computes with, see `perform`.
    shared : pathlib.Path
        A folder on the disk that all workers share.
    done : callable
        Called here with each task when it is done.

    Raises
    ------
    CourseError
        In the end, if tasks failed, with the first of their reasons.
    """
    shared.mkdir(parents=True, exist_ok=True)
    mark = shared / f".seen-{uuid.uuid4().hex}"
    mark.touch()
    futures = _submitted(client, tasks, threads, mark)
    names = {future: task for task, future in futures.items()}
    failed: dict[Task, BaseException] = {}
    try:
        for future in as_completed(names):
            task = names[future]
            if future.status == "finished":
                done(task)
                over = sum(each.status == "finished" for each in names)
                print(f"{task.name}: done ({over} of {len(tasks)})", flush=True)
            else:
                failed[task] = _reason(future)
                print(f"{task.name}: failed ({failed[task]})", flush=True)
    finally:
        client.cancel(list(names))
        mark.unlink(missing_ok=True)
    if failed:
        task, reason = next(iter(failed.items()))
        if not isinstance(reason, CourseError):
            raise reason
        raise CourseError(
            f"{len(failed)} of {len(tasks)} tasks failed; the first, {task.name}: {reason}"
        )


def _submitted(client, tasks, threads, mark) -> dict:
    """Return task -> future. Tasks of one folder wait for each other, in their order."""
    futures, of_name, last_there = {}, {}, {}
    for priority, task in enumerate(tasks):
        before = [of_name[name] for name in task.after if name in of_name]
        before += [last_there[task.folder]] if task.folder in last_there else []
        future = client.submit(
            _after,
            before,
            task,
            threads,
            mark,
            key=f"{task.name} {uuid.uuid4().hex[:8]}",
            pure=False,
            priority=-priority,
        )
        futures[task] = of_name[task.name] = last_there[task.folder] = future
    return futures


def _after(before: list, task: Task, threads: int, mark: Path) -> None:
    """Do a task, once those `before` it are done: dask waits for futures among the arguments."""
    perform_apart(task, threads, WAIT, mark)


def _reason(future) -> BaseException:
    if future.cancelled():
        return CourseError("the scheduler has ended; run this again: it goes on where it was")
    reason = future.exception()
    if isinstance(reason, KilledWorker):
        return CourseError(
            "each worker that took it died; see what they printed, and run this again: it goes on "
            "where it was"
        )
    return reason
