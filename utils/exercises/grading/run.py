"""Run the statements of a student's notebook one by one, and try what its checks are given.

A statement that fails is left out, as a student leaves out a cell that fails: whether it mattered
the answer shows.
"""

import ast
import asyncio
import builtins
import inspect
import linecache
import os
import sys
import time
import types
from collections.abc import Callable, Sequence
from pathlib import Path

from utils.exercises.exercise import call_answer, describe_exception, is_open, time_limit
from utils.exercises.grading import cells, needs
from utils.exercises.grading.encoding import encode

DEFINING_SECONDS = 30.0  # loading Keras takes up to half of that on a busy machine
_SHARE = 4  # of what is left of the time, for a statement that is only perhaps needed


class NoShellError(Exception):
    """Raised where a notebook asks for something that only its own kernel has."""


class Question:
    """An exercise as this process knows it, and what was found about its answer.

    Parameters
    ----------
    asked : dict
        `name, is_function, seconds, cases`.
    """

    def __init__(self, asked: dict):
        self.name: str = asked["name"]
        self.asked = asked
        self.reply: dict | None = None

    def take(self, answer) -> None:
        """Try an answer. The last one counts that is more than a stub."""
        reply = self._tried(answer)
        if self.reply is None or reply["state"] != "open":
            self.reply = reply

    def _tried(self, answer) -> dict:
        if is_open(answer):
            return {"state": "open"}
        if not self.asked["is_function"]:
            return {"state": "ran", "outputs": [encode(answer)]}
        if not callable(answer):
            return {"state": "no function", "text": type(answer).__name__}
        outputs: list = []
        for arguments, refuses in self.asked["cases"]:
            try:
                output, stopped = call_answer(answer, arguments, refuses, self.asked["seconds"])
            except BaseException as error:  # noqa: BLE001 - SystemExit and the like
                output, stopped = None, describe_exception(error)
            if stopped:
                return {"state": "ran", "outputs": outputs, "stopped": stopped}
            outputs.append(output)
        return {"state": "ran", "outputs": outputs}


class Checks(types.ModuleType):
    """Stands for `utils.check`: hands answers to the question that is being asked."""

    question: Question | None = None
    __all__ = ()

    def __getattr__(self, name: str):
        if name.startswith("__"):
            raise AttributeError(name)
        return _Check(name)


class _Check:
    def __init__(self, name: str):
        self.name = name

    def __call__(self, answer) -> None:
        question = Checks.question
        if question is not None and question.name == self.name:
            question.take(answer)

    verdict = __call__


class Run:
    """A notebook's names, and what has been run to set them.

    Parameters
    ----------
    reading : grade_cells.Reading
    checks : module
        What ``check`` is.
    seconds : float
        For all statements together.
    """

    def __init__(self, reading: cells.Reading, checks: types.ModuleType, seconds: float):
        self.reading, self.seconds = reading, seconds
        self.errors: dict[int, BaseException] = {}
        self.module = types.ModuleType("__main__")
        self.names = self.module.__dict__
        self.names[cells.CHECK] = checks  # whether or not the import of it still stands
        sys.modules["__main__"] = self.module  # where dataclasses and the like look themselves up
        shell = _Shell(self.names)
        builtins.get_ipython = lambda: shell
        builtins.display = lambda *shown, **options: None
        self._loop: asyncio.AbstractEventLoop | None = None

    def statements(self, places: Sequence[int], sure: Sequence[int] = ()) -> None:
        """Run statements; `sure` are those that may take all the time that is left."""
        for place in places:
            share = self.seconds if place in sure else self.seconds / _SHARE
            began = time.monotonic()
            self.errors.pop(place, None)
            try:
                if share <= 0:
                    raise TimeoutError
                with time_limit(share):
                    self._statement(self.reading.statements[place])
            except BaseException as error:  # noqa: BLE001 - a student's code may raise anything
                self.errors[place] = error
            self.seconds -= time.monotonic() - began

    def retry(self) -> None:
        """Run those again that lacked a name which a later one has set, as long as that helps."""
        while True:
            lacking = [
                place
                for place, error in sorted(self.errors.items())
                if isinstance(error, NameError) and error.name in self.names
            ]
            if not lacking:
                return
            before = len(self.errors)
            self.statements(lacking)
            if len(self.errors) >= before:
                return

    def cause(self, place: int) -> BaseException | None:
        """Return why a statement failed: for a name that is not set, why that was not."""
        seen, error = set(), self.errors.get(place)
        while isinstance(error, NameError) and error.name not in seen:
            seen.add(error.name)
            failed = [
                self.errors[one]
                for one, statement in enumerate(self.reading.statements)
                if error.name in statement.sets and one in self.errors and one != place
            ]
            if not failed:
                break
            error = failed[-1]
        return error

    def _statement(self, one: cells.Statement) -> None:
        name = f"<code cell {one.cell}>"
        if name not in linecache.cache:  # for inspect.getsource
            text = self.reading.sources.get(one.cell, "")
            linecache.cache[name] = (len(text), None, text.splitlines(keepends=True), name)
        body = ast.fix_missing_locations(ast.Module([one.node], []))
        code = compile(body, name, "exec", self.reading.flags, dont_inherit=True)
        if code.co_flags & inspect.CO_COROUTINE:
            self._loop = self._loop or _Loop()
            self._loop.run_until_complete(eval(code, self.names))
        else:
            exec(code, self.names)


class _Loop(asyncio.SelectorEventLoop):
    """An event loop without the socket by which threads wake it: walls forbid sockets."""

    def _make_self_pipe(self):
        self._internal_fds = 1

    def _close_self_pipe(self):
        self._internal_fds = 0

    def _write_to_self(self):
        """Do nothing: the loop looks up by itself."""

    def _run_once(self):
        self.call_later(0.02, lambda: None)
        super()._run_once()


class _Shell:
    """As much of a notebook's shell as an answer may rest on."""

    def __init__(self, names: dict):
        self.user_ns = names

    def getoutput(self, command: str, *more, **options):
        raise NoShellError(
            f"it rests on !{command}: commands of the shell are not run when a notebook is marked"
        )

    system = getoutput

    def run_line_magic(self, name: str, line: str, *more, **options):
        if name == "pwd":
            return os.getcwd()
        if name == "timeit":
            return self._timed(line)
        raise NoShellError(f"it rests on %{name}, which is not run when a notebook is marked")

    def run_cell_magic(self, name: str, line: str, cell: str, *more, **options):
        if name != "writefile":
            return self.run_line_magic(name, line)
        path = Path(line.split()[-1].strip("'\""))
        with path.open("a" if "-a" in line.split()[:-1] else "w", encoding="utf-8") as file:
            file.write(cell)
        return None

    def ex(self, code: str) -> None:
        exec(code, self.user_ns)

    def ev(self, code: str):
        return eval(code, self.user_ns)

    def push(self, names: dict, **options) -> None:
        self.user_ns.update(names)

    def run_cell(self, code: str, **options) -> None:
        tree, _ = cells.parsed(code)
        exec(compile(tree, "<cell>", "exec"), self.user_ns)

    def _timed(self, line: str) -> types.SimpleNamespace:
        """Run what is timed once: its names are its own, and times differ from run to run."""
        words = line.split()
        while words and words[0].startswith("-"):
            # -n and -r take a number, which may stand apart.
            words = words[2 if words[0] in ("-n", "-r", "-p") else 1 :]
        code = line[line.index(words[0]) :] if words else "pass"
        body = ast.parse("def timed():\n    pass")
        body.body[0].body = ast.parse(code).body
        exec(
            compile(ast.fix_missing_locations(body), "<timeit>", "exec"), scope := {**self.user_ns}
        )
        began = time.perf_counter()
        scope["timed"]()
        taken = time.perf_counter() - began
        figures = dict.fromkeys(("best", "worst", "average", "compile_time"), taken)
        return types.SimpleNamespace(
            **figures, stdev=0.0, loops=1, repeat=1, timings=[taken], all_runs=[taken]
        )


def answered(question: Question, reading: cells.Reading, make: Callable[[float], Run]) -> dict:
    """Return what an answer is or does, having run what it needs.

    Parameters
    ----------
    question : Question
    reading : grade_cells.Reading
    make : callable
        Makes a `Run` that has so many seconds.
    """
    places = needs.check_statements(question.name, reading.statements)
    run = make(DEFINING_SECONDS)
    if not places:
        return unanswered(question, run, places)
    chosen = _run_to(run, places, range(places[-1] + 1))
    reply = question.reply or unanswered(question, run, places)
    if _lacks_a_name(question.reply, run.errors.get(places[-1])):
        # Cells need not stand in the order in which they were run.
        question.reply, again = None, make(max(run.seconds, 0.0))
        _run_to(again, places, range(len(reading.statements)))
        reply = question.reply or reply
    left = set(range(places[-1])) - set(chosen)
    return reply | {"more": any(reading.statements[place].role == "value" for place in left)}


def unanswered(question: Question, run: Run, places: Sequence[int]) -> dict:
    """Return why no check got an answer, though the statements that check it have been run."""
    error = run.cause(places[-1]) if places else None
    if error is not None:
        return {"state": "undefined", "text": _why(error, run.reading.faults)}
    text = "; ".join([f"no cell calls check.{question.name}(…)", *run.reading.faults[:2]])
    hidden = any(one.uses & needs.ANY_NAME for one in run.reading.statements)
    return {"state": "missing", "text": text, "more": hidden}


def _run_to(run: Run, checks: Sequence[int], places: Sequence[int]) -> list[int]:
    """Run what the checks need out of these statements, and the checks; return what was needed."""
    statements = [run.reading.statements[place] for place in places]
    above = len(places) == checks[-1] + 1
    chosen = needs.needed(checks, statements, ordered=above)
    wanted = set().union(*(statements[place].uses for place in chosen))
    sure = {place for place in chosen if statements[place].sets & wanted} | set(checks)
    if not above:  # all of the notebook: what is checked comes last
        chosen = [place for place in chosen if place not in checks]
        run.statements(chosen, sure)
        run.retry()
        run.statements(checks, sure)
    else:
        run.statements(chosen, sure)
    return chosen


def _lacks_a_name(reply: dict | None, error: BaseException | None) -> bool:
    if reply is None:
        return isinstance(error, NameError)
    return str(reply.get("stopped", "")).startswith("NameError")


def _why(error: BaseException, faults: Sequence[str]) -> str:
    if isinstance(error, NoShellError):
        return str(error)
    if isinstance(error, TimeoutError):
        return f"its definition does not end within {DEFINING_SECONDS:g} seconds"
    if isinstance(error, NameError) and faults and not hasattr(builtins, str(error.name)):
        return "; ".join(faults[:2])
    return f"it stops with {describe_exception(error)} where it is defined"
