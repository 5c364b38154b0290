"""What the code is that runs: the versions of the packages, and the commit of the course."""

import importlib.metadata
import platform
import subprocess
from collections.abc import Iterable

from utils.config import ROOT


def versions(packages: Iterable[str]) -> dict[str, str]:
    """Return the version of Python, as ``"python"``, and of some packages, by name."""
    found = {name: importlib.metadata.version(name) for name in packages}
    return {"python": platform.python_version(), **found}


def commit() -> str:
    """Return the commit of the code, with a + if files differ from it; "unknown" without git."""
    try:
        head = _git("rev-parse", "HEAD")
        changed = _git("status", "--porcelain", "--untracked-files=no", "--", "utils")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return head + ("+" if changed else "")


def _git(*arguments: str) -> str:
    done = subprocess.run(
        ["git", "-C", str(ROOT), *arguments], capture_output=True, text=True, check=True
    )
    return done.stdout.strip()
