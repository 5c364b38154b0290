"""Run a student's answers, shut in, and send back what they returned. It judges nothing.

Started by `utils.exercises.grading.process`. On one pipe it is given, first, the notebook's cells
and then one exercise after the other: its name and the inputs, neither the judges nor what would be
right. On another it answers each with one piece of JSON.
"""

import importlib.abc
import importlib.machinery
import importlib.util
import json
import os
import pickle
import sys
from collections.abc import Sequence

from utils.config import CourseError
from utils.exercises.exercise import describe_exception
from utils.exercises.grading import cells, needs
from utils.exercises.grading.cells import CHECKS, read
from utils.exercises.grading.confine import confine, die_with, set_limits
from utils.exercises.grading.run import Checks, Question, Run, answered, unanswered

LENGTH_BYTES = 8
ALL_SECONDS = 10.0  # for all cells of a notebook, where those that seem needed are not enough


def main(argv: Sequence[str]) -> None:
    """Confine this process, then answer until the pipe ends.

    Parameters
    ----------
    argv : sequence of str
        The numbers of the two pipes and of the process at their other end.
    """
    parent = int(argv[2])
    die_with(parent)
    questions, answers = os.fdopen(int(argv[0]), "rb"), os.fdopen(int(argv[1]), "wb")
    settings = _receive(questions)
    sys.meta_path.insert(0, _NoChecks())
    try:
        if settings["confined"]:
            confine(settings["walls"])
        else:
            set_limits(settings["walls"].limits)
        if os.getppid() != parent:
            return
        _require(*settings["needs"])
    except CourseError as error:
        _send(answers, {"state": "refused", "text": str(error)})
        return
    sys.path.append(os.getcwd())  # where a notebook may have written a module of its own
    _send(answers, {"state": "ready"})
    notebook = Notebook(settings["cells"])
    while True:
        try:
            question = _receive(questions)
        except (AttributeError, ImportError, pickle.UnpicklingError) as error:
            # Of a class in utils.check: such inputs belong into utils.exercises.inputs.
            _send(answers, {"state": "unasked", "text": f"its inputs cannot be read: {error}"})
            continue
        if question is None:
            return
        _send(answers, notebook.reply(question))


def _require(imported: Sequence[str], found: Sequence[str]) -> None:
    """Import modules, and open others without importing them.

    Raises
    ------
    CourseError
        If one of them cannot be read from within the walls.
    """
    for name in (*imported, *found):
        try:
            if name in imported:
                importlib.import_module(name)
            else:
                open(importlib.util.find_spec(name).origin, "rb").close()
        except (ImportError, OSError, AttributeError, TypeError) as error:
            raise CourseError(
                f"it cannot import {name} ({describe_exception(error)}); install the course's "
                "packages into folders that this user can read"
            ) from error


class _NoChecks(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Gives ``utils.check`` as a module that judges nothing."""

    def find_spec(self, fullname, path=None, target=None):
        if fullname != cells.CHECKS:
            return None
        return importlib.machinery.ModuleSpec(fullname, self)

    def create_module(self, spec):
        return Checks(spec.name)

    def exec_module(self, module):
        """Leave it empty."""


def _receive(pipe):
    length = pipe.read(LENGTH_BYTES)
    return pickle.loads(pipe.read(int.from_bytes(length, "big"))) if length else None


def _send(pipe, reply: dict) -> None:
    text = json.dumps(reply).encode()
    pipe.write(len(text).to_bytes(LENGTH_BYTES, "big") + text)
    pipe.flush()


class Notebook:
    """The cells of one notebook, and how far all of them have been run.

    Parameters
    ----------
    cells : sequence of str
    """

    def __init__(self, cells: Sequence[str]):
        self.reading = read(cells)
        self._all: Run | None = None
        self._reached = 0

    def reply(self, asked: dict) -> dict:
        """Return what an answer is, or what it returned for the inputs up to the first failure.

        Parameters
        ----------
        asked : dict
            `name, is_function, seconds, cases`; with `all`, all cells up to the check are run,
            not only those that seem needed.
        """
        question = Question(asked)
        Checks.question = question
        Checks.__all__ = (question.name,)
        try:
            if asked.get("all"):
                return self._after_all(question)
            return answered(question, self.reading, self._run)
        finally:
            Checks.question = None

    def _run(self, seconds: float) -> Run:
        return Run(self.reading, importlib.import_module(CHECKS), seconds)

    def _after_all(self, question: Question) -> dict:
        statements = self.reading.statements
        places = needs.check_statements(question.name, statements)
        ends = places[-1] + 1 if places else len(statements)
        run = self._all = self._all or self._run(ALL_SECONDS)
        if self._reached < ends:
            run.statements(range(self._reached, ends), places)
            self._reached = ends
        if question.reply is None:  # passed when another exercise was asked for
            run.statements(places, places)
        return question.reply or unanswered(question, run, places)


if __name__ == "__main__":
    main(sys.argv[1:])
