"""Run a student's answers, shut in, and send back what they returned. It judges nothing.

Started by `utils.grade_process`. On one pipe it is given, first, the notebook's cells and then one
exercise after the other: its name and the inputs, neither the judges nor what would be right. On
another it answers each with one piece of JSON.
"""

import ast
import builtins
import importlib.abc
import importlib.machinery
import importlib.util
import json
import os
import pickle
import sys
import types
from collections.abc import Sequence
from copy import deepcopy

from utils import grade_cells
from utils.checking import is_open, time_limit, told
from utils.config import CourseError
from utils.confine import confine, die_with, set_limits
from utils.grade_wire import encode

LENGTH_BYTES = 8
DEFINING_SECONDS = 10.0


def main(words: Sequence[str]) -> None:
    """Confine this process, then answer until the pipe ends.

    Parameters
    ----------
    words : sequence of str
        The numbers of the two pipes and of the process at their other end.
    """
    parent = int(words[2])
    die_with(parent)
    questions, answers = os.fdopen(int(words[0]), "rb"), os.fdopen(int(words[1]), "wb")
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
    _send(answers, {"state": "ready"})
    reading = grade_cells.read(settings["cells"])
    while True:
        try:
            question = _receive(questions)
        except (AttributeError, ImportError, pickle.UnpicklingError) as error:
            # Of a class in utils.check: such inputs belong into utils.check_inputs.
            _send(answers, {"state": "unasked", "text": f"its inputs cannot be read: {error}"})
            continue
        if question is None:
            return
        _send(answers, _tried(question, reading))


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
                f"it cannot import {name} ({told(error)}); install the course's packages into "
                "folders that this user can read"
            ) from error


class _NoChecks(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Gives ``utils.check`` as an empty module whose names all do nothing."""

    def find_spec(self, fullname, path=None, target=None):
        if fullname != "utils.check":
            return None
        return importlib.machinery.ModuleSpec(fullname, self)

    def create_module(self, spec):
        return _Nothing(spec.name)

    def exec_module(self, module):
        """Leave it empty."""


class _Nothing(types.ModuleType):
    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return lambda *answer: None


def _receive(pipe):
    length = pipe.read(LENGTH_BYTES)
    return pickle.loads(pipe.read(int.from_bytes(length, "big"))) if length else None


def _send(pipe, reply: dict) -> None:
    text = json.dumps(reply).encode()
    pipe.write(len(text).to_bytes(LENGTH_BYTES, "big") + text)
    pipe.flush()


def _tried(question: dict, reading: grade_cells.Reading) -> dict:
    """Return what an answer is, or what it returned for the inputs up to the first failure."""
    found = grade_cells.answer_to(question["name"], reading.statements)
    if found is None:
        return {"state": "missing", "text": "; ".join(reading.faults[:1])}
    place, expression = found
    try:
        with time_limit(DEFINING_SECONDS):
            answer = _defined(expression, reading.statements[:place])
            if is_open(answer):
                return {"state": "open"}
            if not question["is_function"]:
                return {"state": "ran", "outputs": [encode(answer)]}
    except BaseException as error:  # noqa: BLE001 - a student's code may raise anything
        return {"state": "undefined", "text": _why(error, reading.faults)}
    if not callable(answer):
        return {"state": "no function", "text": type(answer).__name__}
    return _called(answer, question)


def _defined(expression, statements: Sequence[grade_cells.Statement]):
    """Run what an answer needs and return the answer."""
    module = types.ModuleType("__main__")
    sys.modules["__main__"] = module  # where dataclasses and the like look themselves up
    body = grade_cells.needed(expression, statements)
    code = ast.fix_missing_locations(ast.Module(body, []))
    exec(compile(code, "<notebook>", "exec", dont_inherit=True), module.__dict__)
    value = ast.fix_missing_locations(ast.Expression(expression))
    return eval(compile(value, "<notebook>", "eval", dont_inherit=True), module.__dict__)


def _called(answer, question: dict) -> dict:
    outputs = []
    for arguments, refuses in question["cases"]:
        try:
            with time_limit(question["seconds"]):
                outputs.append(encode(answer(*deepcopy(arguments))))
        except TimeoutError:
            return {"state": "ran", "outputs": outputs, "stopped": "endless"}
        except BaseException as error:  # noqa: BLE001 - a student's code may raise anything
            if not refuses or not isinstance(error, Exception):
                return {"state": "ran", "outputs": outputs, "stopped": told(error)}
            outputs.append(encode(error))
    return {"state": "ran", "outputs": outputs}


def _why(error: BaseException, faults: Sequence[str]) -> str:
    if isinstance(error, TimeoutError):
        return f"its definition does not end within {DEFINING_SECONDS:g} seconds"
    if isinstance(error, NameError) and faults and not hasattr(builtins, str(error.name)):
        return faults[0]
    return f"it stops with {told(error)} where it is defined"


if __name__ == "__main__":
    main(sys.argv[1:])
