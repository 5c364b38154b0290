"""Run a student's answers, shut in, and send back what they returned. It judges nothing.

Started once by `utils.exercises.grading.process`, as a fork server: it imports what answers use and
runs nobody's code. For each notebook it makes a copy of itself, which shuts itself in and then runs
the notebook. On one pipe the copy is given, first, the notebook's cells and then one exercise after
the other: its name and the inputs, neither the judges nor what would be right. On another it
answers each with one piece of JSON.
"""

import contextlib
import gc
import importlib.abc
import importlib.machinery
import importlib.util
import json
import os
import pickle
import select
import signal
import socket
import sys
import tempfile
from collections.abc import Sequence

import psutil

from utils.config import CourseError
from utils.exercises.exercise import describe_exception
from utils.exercises.grading import cells, needs
from utils.exercises.grading.cells import CHECKS, read
from utils.exercises.grading.confine import adopt_orphans, confine, die_with, set_limits
from utils.exercises.grading.run import Checks, Question, Run, answered, unanswered
from utils.exercises.grading.watch import kill_tree

LENGTH_BYTES = 8
PLACES = ("HOME", "TMPDIR", "MPLCONFIGDIR")  # variables that name folders to write in
ALL_SECONDS = 10.0  # for all cells of a notebook, where those that seem needed are not enough

# What a request to the server says, in bits: the code is trusted and has no walls around it; it
# may import what is slow to import.
TRUSTED, SLOW_IMPORTS = 1, 2
# The files that come with a request: its pipes, and the line at whose end the copy is ended.
_FILES = 3
# What answers use, imported before the first copy is made, and what takes seconds to import: that
# is imported in a copy of the server, of which further copies are made. None of it starts a thread.
IMPORTS = ("numpy", "pandas")
_SLOW = ("keras", "sklearn.linear_model", "sklearn.model_selection", "scipy.stats")


def main(argv: Sequence[str]) -> None:
    """Serve copies of this process until nobody is left who could ask for one.

    Parameters
    ----------
    argv : sequence of str
        The number of the socket for requests, and that of the process that started this one.
    """
    die_with(int(argv[1]))
    adopt_orphans()
    _import(IMPORTS)
    # Elsewhere a copy of a process that has loaded TensorFlow may not work.
    Server(socket.socket(fileno=int(argv[0])), slow=sys.platform == "linux").serve()


def _import(names: Sequence[str]) -> None:
    """Import modules; what cannot be imported is for the answer to find out that needs it."""
    for name in names:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    # What is there by now is not looked through again, in no copy.
    gc.collect()
    gc.freeze()


class Server:
    """Makes a copy of this process for each notebook, and ends it when it is no longer wanted.

    Parameters
    ----------
    requests : socket
        Each request is one byte (`TRUSTED`, `SLOW_IMPORTS`) and three files: the pipe to read
        questions from, that to write answers to, and a socket, the line. As soon as the other end
        of the line is closed, by whomever, the copy is killed; then this end is closed.
    slow : bool
        Whether `SLOW_IMPORTS` are served by a copy of this server; if not, by this one.
    """

    def __init__(self, requests: socket.socket, slow: bool):
        self._requests = requests
        self._copies: dict[socket.socket, tuple[int, bool]] = {}  # line -> process, trusted
        # The copy of this server that has imported what is slow to import, and its requests.
        self._slow: tuple[int, socket.socket] | None = None
        self._may_be_slow = slow

    def serve(self) -> None:
        """Serve until the other end of the requests is closed."""
        while True:
            for ready in select.select([self._requests, *self._copies], [], [])[0]:
                if ready is not self._requests:
                    self._end(ready)
                elif not self._take():
                    self._close()
                    return

    def _take(self) -> bool:
        """Do what one request asks for; return whether there was one."""
        words, files, *_ = socket.recv_fds(self._requests, 1, _FILES)
        if len(files) == _FILES and not (words[0] & SLOW_IMPORTS and self._hand_on(words, files)):
            self._copy(files, bool(words[0] & TRUSTED))
        for file in files:
            os.close(file)
        return bool(words)

    def _hand_on(self, words: bytes, files: Sequence[int]) -> bool:
        """Have the copy that has imported all serve a request; return whether there is one."""
        if self._slow is not None:
            with contextlib.suppress(OSError):
                socket.send_fds(self._slow[1], [words], files)
                return True
            self._slow[1].close()  # it was killed, for its memory, say: another takes its place
            os.waitpid(self._slow[0], 0)
        self._slow = self._with_slow_imports(files) if self._may_be_slow else None
        self._may_be_slow = self._slow is not None
        if self._slow is not None:
            socket.send_fds(self._slow[1], [words], files)
        return self._may_be_slow

    def _with_slow_imports(self, files: Sequence[int]) -> tuple[int, socket.socket] | None:
        """Return a copy of this server that has imported what is slow; None if that fails."""
        parent = os.getpid()
        ours, theirs = socket.socketpair()
        pid = os.fork()
        if pid == 0:
            with _leaving():
                self._forget(ours)
                for file in files:
                    os.close(file)
                die_with(parent)
                adopt_orphans()
                _import(_SLOW)
                if psutil.Process().num_threads() == 1:  # or a copy might wait for ever
                    theirs.send(b".")
                    Server(theirs, slow=False).serve()
        theirs.close()
        if ours.recv(1):
            return pid, ours
        ours.close()
        os.waitpid(pid, 0)
        return None

    def _copy(self, files: Sequence[int], trusted: bool) -> None:
        """Make a copy that answers; where none can be made, closing the files tells."""
        questions, answers, line = files
        line = socket.socket(fileno=os.dup(line))
        parent = os.getpid()
        try:
            pid = os.fork()
        except OSError:
            line.close()
            return
        if pid == 0:
            with _leaving():
                self._forget(line, socket.socket(fileno=files[2]))
                os.setsid()
                answer(questions, answers, parent)
        self._copies[line] = pid, trusted

    def _forget(self, *more: socket.socket) -> None:
        """Close, in a copy, what is this server's alone."""
        slow = [self._slow[1]] if self._slow else []
        for each in (self._requests, *self._copies, *slow, *more):
            each.close()

    def _close(self) -> None:
        for line in list(self._copies):
            self._end(line)
        if self._slow is not None:
            self._slow[1].close()
            os.waitpid(self._slow[0], 0)

    def _end(self, line: socket.socket) -> None:
        """Kill a copy and, where it may have started others, these as well."""
        pid, trusted = self._copies.pop(line)
        if trusted:
            kill_tree(pid)
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        if trusted:
            self._end_orphans()
        line.close()

    def _end_orphans(self) -> None:
        known = {pid for pid, _ in (*self._copies.values(), *([self._slow] if self._slow else []))}
        for each in psutil.Process().children():
            if each.pid not in known:
                kill_tree(each.pid)
                os.waitpid(each.pid, 0)


@contextlib.contextmanager
def _leaving():
    """End this process after the block, however that ends: a copy never does its server's work."""
    try:
        yield
        os._exit(0)
    finally:
        os._exit(1)


def answer(questions: int, answers: int, parent: int) -> None:
    """Confine this process, then answer until the pipe ends.

    Parameters
    ----------
    questions, answers : int
        The numbers of the two pipes.
    parent : int
        The process that this one is a copy of.
    """
    die_with(parent)
    questions, answers = os.fdopen(questions, "rb"), os.fdopen(answers, "wb")
    settings = _receive(questions)
    _settle(settings["folder"])
    sys.meta_path.insert(0, _NoChecks())
    try:
        if settings["confined"]:
            confine(settings["walls"])
        else:
            adopt_orphans()
            set_limits(settings["walls"].limits)
        if os.getppid() != parent:
            return
        _require(*settings["needs"])
    except CourseError as error:
        _send(answers, {"state": "refused", "text": str(error)})
        return
    sys.path.append(os.getcwd())  # where a notebook may have written a module of its own
    _send(answers, {"state": "ready", "pid": os.getpid()})
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


def _settle(folder: str) -> None:
    """Work in a folder: the only one that this process, as soon as it is shut in, may write in."""
    os.chdir(folder)
    os.environ.update(dict.fromkeys(PLACES, folder))
    tempfile.tempdir = None  # looked for anew


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
