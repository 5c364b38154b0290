"""Hold a folder from another process, as a second run would."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from utils.config import ROOT

_HOLD = """
import sys
from utils.config import hold_folder
with hold_folder(sys.argv[1], "") as note:
    note("left", "behind")
    print("held", flush=True)
    sys.stdin.read()
"""


@contextmanager
def held_elsewhere(folder: Path) -> Iterator[int]:
    """Yield the number of a process that holds `folder`, and kill it in the end."""
    process = subprocess.Popen(
        [sys.executable, "-c", _HOLD, str(folder)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            assert process.stdout.readline() == "held\n"
            yield process.pid
        finally:
            process.kill()
