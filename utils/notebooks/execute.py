"""Execute one notebook in a kernel of its own, watched: time, peak memory, a log, a limit."""

import contextlib
import re
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

import nbformat
import papermill
from jupyter_client import AsyncKernelManager
from jupyter_client.kernelspec import KernelSpec
from nbclient.exceptions import CellTimeoutError, DeadKernelError
from papermill.exceptions import PapermillExecutionError

from utils.runtime.memory import memory_of, peak_bytes
from utils.runtime.processes import tree

MEBIBYTE = 2**20
COLOURS = re.compile(r"\x1b\[[0-9;]*m")
WIDGET = "application/vnd.jupyter.widget-view+json"


class NotebookError(Exception):
    """A cell of a notebook failed; the one-line message names notebook, cell and error."""


@dataclass(frozen=True)
class Execution:
    """What it took to execute a notebook."""

    seconds: float
    # Of the kernel and its children at one moment, without mapped files, see `MemoryWatch`; MiB:
    # the name is that of the key in metrics.json.
    peak_rss_mb: float


class MemoryWatch(threading.Thread):
    """Follow the peak of what a process and those that it starts have in memory for themselves.

    It is what a limit on memory has to allow: code and mapped files, which the system reads again
    when it has dropped them, are left out. The sum with children, such as a training in a process
    of its own, is sampled. Of the process alone, Linux keeps the peak with its files (VmHWM); less
    the files, it tells what came and went between two looks.

    Parameters
    ----------
    pid : int
        The process.
    interval : float
        Seconds between two looks.
    """

    def __init__(self, pid: int, interval: float = 0.1):
        super().__init__(daemon=True)
        self.pid = pid
        self.interval = interval
        self.peak_bytes = 0
        self._most_files = 0
        self._ended = threading.Event()

    def look(self) -> None:
        """Take the peak as it is now."""
        self._most_files = max(self._most_files, memory_of([self.pid]).files)
        alone = peak_bytes(self.pid) - self._most_files
        self.peak_bytes = max(self.peak_bytes, memory_of(tree(self.pid)).own, alone)

    def run(self) -> None:
        """Look until `stop`."""
        while not self._ended.wait(self.interval):
            self.look()

    def stop(self) -> float:
        """Stop looking and return the peak in MiB."""
        self._ended.set()
        self.join()
        return self.peak_bytes / MEBIBYTE


def _kernel_manager(
    folder: Path, cell: "_RunningCell", started: Callable[[int], None], log: TextIO
) -> type[AsyncKernelManager]:
    """Return a kernel manager that starts this very interpreter in `folder`, and watches it.

    A kernel spec named python3 in the user's home would otherwise win over the environment that
    the runner was started from. What the kernel says about itself goes to the log.
    """

    class ThisInterpreter(AsyncKernelManager):
        @property
        def kernel_spec(self) -> KernelSpec:
            return KernelSpec(
                argv=[sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"],
                display_name="Python 3 (ipykernel)",
                language="python",
            )

        async def _async_launch_kernel(self, kernel_cmd: list[str], **options) -> None:
            options |= {"cwd": str(folder), "stdout": log, "stderr": log}
            await super()._async_launch_kernel(kernel_cmd, **options)
            cell.watch = MemoryWatch(self.provisioner.pid)
            cell.watch.start()
            started(self.provisioner.pid)

    return ThisInterpreter


def execute(
    source: Path,
    target: Path,
    *,
    parameters: Mapping[str, object] | None = None,
    folder: Path | None = None,
    log: Path,
    cell_seconds: int = 1800,
    started: Callable[[int], None] = lambda pid: None,
    advanced: Callable[[], None] = lambda: None,
) -> Execution:
    """Execute a notebook and write it under its final name when it has succeeded.

    Parameters
    ----------
    source, target : Path
        The notebook, and where the executed one goes. If a cell fails, what was executed so far
        is kept beside it as ``<target's stem>.failed.ipynb``.
    parameters : mapping, optional
        Values for its parameters cell; without any, no cell is injected.
    folder : Path, optional
        Working folder of the kernel; by default the notebook's own.
    log : Path
        What the kernel and the cells print goes here as it comes; an older log is replaced.
    cell_seconds : int
        Time limit of a cell.
    started : callable
        Called with the process id of the kernel.
    advanced : callable
        Called after each code cell.

    Returns
    -------
    Execution

    Raises
    ------
    NotebookError
        If a cell fails, takes too long, or the kernel dies.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.stem}.running.ipynb")
    cell = _RunningCell(advanced)
    start = time.monotonic()
    with _log_file(log, source.stem) as stream:
        try:
            papermill.execute_notebook(
                _papermill_path(source),
                _papermill_path(temporary),
                dict(parameters or {}),
                kernel_name="python3",
                language="python",
                progress_bar=False,
                execution_timeout=cell_seconds,
                stdout_file=stream,
                stderr_file=stream,
                store_widget_state=False,
                kernel_manager_class=_kernel_manager(
                    folder or source.parent, cell, started, stream
                ),
                on_cell_start=cell.start,
                on_cell_complete=cell.complete,
            )
        except (PapermillExecutionError, CellTimeoutError, DeadKernelError) as error:
            failed = target.with_name(f"{target.stem}.failed.ipynb")
            temporary.replace(failed)
            stream.write(_traceback(error) + "\n")
            what = _what_happened(error, cell_seconds)
            raise NotebookError(
                f"{source.stem}, cell [{cell.number}] ({_first_line(cell.source)}): {what}; "
                f"see {failed} and {log}"
            ) from error
        finally:
            peak = cell.watch.stop() if cell.watch else 0.0
        _drop_widgets(temporary)
        temporary.replace(target)
    target.with_name(f"{target.stem}.failed.ipynb").unlink(missing_ok=True)
    return Execution(round(time.monotonic() - start, 1), round(peak, 1))


def _drop_widgets(path: Path) -> None:
    """Take what only a running kernel can show out of an executed notebook.

    The state of a widget is megabytes, and without it JupyterLab and nbconvert would show an error
    where the widget was. Its picture stays.
    """
    notebook = nbformat.read(path, as_version=4)
    for cell in notebook.cells:
        for output in cell.get("outputs", ()):
            output.get("data", {}).pop(WIDGET, None)
    nbformat.write(notebook, path)


class _RunningCell:
    """Which cell runs, told by nbclient's hooks, and the memory of the kernel that runs it."""

    def __init__(self, advanced: Callable[[], None]):
        self.number = 0
        self.source = ""
        self.watch: MemoryWatch | None = None
        self._advanced = advanced

    def start(self, cell, cell_index) -> None:
        if cell.cell_type == "code":
            self.number += 1
            self.source = cell.source

    def complete(self, cell, cell_index) -> None:
        # The peak of short-lived notebooks, exactly: the kernel is still there.
        self.watch.look()
        if cell.cell_type == "code":
            self._advanced()


@contextlib.contextmanager
def _log_file(log: Path, name: str) -> Iterator[TextIO]:
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("w", encoding="utf-8") as stream:
        stream.write(f"== {name} started {time.strftime('%Y-%m-%d %H:%M:%S')}\n")
        stream.flush()
        yield stream
        stream.write(f"== {name} finished {time.strftime('%Y-%m-%d %H:%M:%S')}\n")


def _papermill_path(path: Path) -> str:
    """Return `path` as papermill wants it, which takes braces for its own placeholders."""
    return str(path).replace("{", "{{").replace("}", "}}")


def _traceback(error: Exception) -> str:
    lines = error.traceback if isinstance(error, PapermillExecutionError) else [str(error)]
    return COLOURS.sub("", "\n".join(lines))


def _what_happened(error: Exception, cell_seconds: int) -> str:
    if isinstance(error, CellTimeoutError):
        return f"took longer than the {cell_seconds} s that a cell may take (--cell-seconds)"
    if isinstance(error, DeadKernelError):
        return (
            "the kernel died, most often because memory ran out: close other notebooks and "
            "programs, and run again"
        )
    return f"{error.ename}: {_first_line(error.evalue)}"


def _first_line(text: str) -> str:
    lines = [line.strip() for line in COLOURS.sub("", text).splitlines() if line.strip()]
    return lines[0] if lines else ""
