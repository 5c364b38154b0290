"""The exercises of the course: ``check.patient_of(answer)`` says in one line how an answer does.

Each module of `utils.exercises.topics` names its exercises in ``EXERCISES``. They are gathered
here, so that a notebook needs ``from utils import check`` and nothing else. A new module is found
by itself.
"""

import importlib
import pkgutil

from utils.exercises import topics
from utils.exercises.exercise import Exercise


def _gathered() -> tuple[Exercise, ...]:
    """Return all exercises, by notebook and then in the order of their module."""
    found: list[Exercise] = []
    for module in sorted(module.name for module in pkgutil.iter_modules(topics.__path__)):
        contents = importlib.import_module(f"{topics.__name__}.{module}")
        found += getattr(contents, "EXERCISES", ())
    names = [exercise.name for exercise in found]
    twice = {name for name in names if names.count(name) > 1 or name in globals()}
    if twice:
        # `check.<name>` would quietly be another exercise, or a name of this module.
        raise ValueError(f"two things are called check.{min(twice)}; give one another name")
    return tuple(sorted(found, key=lambda exercise: exercise.notebook))


ALL = _gathered()
globals().update({exercise.name: exercise for exercise in ALL})
