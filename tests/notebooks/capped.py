"""Run notebooks 02 and 03 where there are 2 GiB of memory, as on Binder: kernel and trainings.

    python tests/notebooks/capped.py [--mebibytes 2048] [--run FOLDER] [02 03]

The system holds the limit where a control group may be made (as root), or through systemd-run.
Where neither is allowed, what the processes have in memory together is measured instead. The
models are trained anew, in a folder that is removed afterwards; one given with `--run` stays, so
that whoever runs the notebooks next finds them there. Exit status 1 if a notebook fails or takes
more.
"""

import argparse
import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from utils.config import read_json  # noqa: E402
from utils.runtime.memory import CGROUP, OWN_CGROUPS, memory_of  # noqa: E402
from utils.runtime.processes import tree  # noqa: E402

MEBIBYTE = 2**20
OF_A_RUN = ("metrics.json", "split.csv")  # what a run writes first
# Code that a kernel and a training need in memory at once, beside what they have for themselves.
CODE = 160 * MEBIBYTE


@contextlib.contextmanager
def control_group(most: int) -> Iterator[Path | None]:
    """Yield the folder of a new group below this process's own with `most` bytes; None if not.

    Of the first version of control groups: in the second one, a group with processes of its own,
    such as this one's, can have no group below it.
    """
    lines = OWN_CGROUPS.read_text().splitlines() if OWN_CGROUPS.exists() else []
    own = [line.split(":", 2)[2] for line in lines if "memory" in line.split(":", 2)[1].split(",")]
    if not own:
        yield None
        return
    folder = CGROUP / "memory" / own[0].lstrip("/") / f"course-{os.getpid()}"
    try:
        folder.mkdir()
        (folder / "memory.limit_in_bytes").write_text(str(most))
        with contextlib.suppress(OSError):  # without swap there is no such file
            (folder / "memory.memsw.limit_in_bytes").write_text(str(most))
    except OSError:
        with contextlib.suppress(OSError):
            folder.rmdir()
        yield None
        return
    try:
        yield folder
    finally:
        for _ in range(50):  # a process that has just ended is still in it for a moment
            with contextlib.suppress(OSError):
                folder.rmdir()
                break
            time.sleep(0.1)


def systemd_scope(most: int) -> list[str]:
    """Return the command that limits another one through systemd; [] where that is not allowed."""
    command = ["systemd-run", "--quiet", "--scope", "-p", f"MemoryMax={most}", "-p",
               "MemorySwapMax=0", *(["--user"] if os.getuid() else [])]  # fmt: skip
    if shutil.which(command[0]) is None:
        return []
    tried = subprocess.run([*command, "true"], capture_output=True, timeout=60, check=False)
    return [] if tried.returncode else command


def run_notebook(number: str, folder: Path, most: int) -> str | None:
    """Run a notebook in a run folder under the limit; return what went wrong, None if nothing."""
    command = [sys.executable, "-m", "utils.run", "--only", number, "--run", str(folder)]
    with control_group(most) as group:
        scope = [] if group else systemd_scope(most)

        def enter() -> None:
            if group:
                (group / "cgroup.procs").write_text(str(os.getpid()))

        process = subprocess.Popen([*scope, *command], cwd=ROOT, preexec_fn=enter)
        peak = 0
        try:
            while process.poll() is None:
                peak = max(peak, memory_of(tree(process.pid)).own)
                time.sleep(0.2)
        finally:
            if process.poll() is None:
                process.terminate()
                process.wait()
    held = "held by a control group" if group else "held by systemd" if scope else "measured"
    recorded = read_json(folder / "metrics.json").get("peak_rss_mb", {})
    notebook = next((value for name, value in recorded.items() if name.startswith(number)), 0)
    print(
        f"{number}: limit {most // MEBIBYTE} MiB, {held}; notebook and trainings took "
        f"{notebook:.0f} MiB, with the runner {peak // MEBIBYTE} MiB",
        flush=True,
    )
    if process.returncode:
        return f"{number} ended with status {process.returncode}"
    if not group and not scope and peak + CODE > most:
        return f"{number} took more than {most // MEBIBYTE} MiB"
    return None


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("numbers", nargs="*", default=["02", "03"])
    parser.add_argument("--mebibytes", type=int, default=2048)
    parser.add_argument("--run", type=Path, help="made anew, and kept")
    arguments = parser.parse_args()
    # Ended from outside, it takes its processes and the group with it all the same.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    run = arguments.run
    if run and run.exists() and not any((run / name).exists() for name in OF_A_RUN):
        parser.error(f"{run}: no folder of a run, and would be deleted; give one, or a new name")
    if run:
        shutil.rmtree(run, ignore_errors=True)
    with contextlib.ExitStack() as stack:
        folder = run or stack.enter_context(tempfile.TemporaryDirectory())
        for number in arguments.numbers:
            wrong = run_notebook(number, Path(folder), arguments.mebibytes * MEBIBYTE)
            if wrong:
                print(f"failed: {wrong}", file=sys.stderr)
                return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
