"""Tasks of a moment, for workers in processes of their own."""

import os
import time
from pathlib import Path

from utils.cluster.tasks import Task
from utils.config import CourseError


def task(name, function, *arguments, folder=None, after=()):
    """Return a task of this module, in a folder of its own beside the first argument."""
    folder = folder or Path(arguments[0]).parent / f"at-{name}"
    return Task(name, f"small_tasks:{function}", arguments, folder, "wait", after)


def note(path, word, seconds=0.0):
    """Add a line with a word when it begins, and one when it ends."""
    for line in (f"{word} begins", f"{word} ends"):
        with open(path, "a", encoding="utf-8") as file:
            file.write(line + "\n")
        time.sleep(seconds)


def fail(path):
    raise CourseError(f"{path}: is broken")


def hang_once(path, seconds=60):
    """Note which process started this one, and hang the first time."""
    first = not Path(path).exists()
    with open(path, "a", encoding="utf-8") as file:
        file.write(f"{os.getppid()}\n")
    if first:
        time.sleep(seconds)
