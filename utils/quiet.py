"""Import TensorFlow without the lines that it logs about itself.

TensorFlow 2.21 writes some lines of information (oneDNN is on, no GPU driver) before it has read
``TF_CPP_MIN_LOG_LEVEL``, straight to the process's standard error, where every notebook would
keep them. Such lines are dropped while it is being imported; all others are passed on.
"""

import contextlib
import importlib.abc
import importlib.util
import os
import re
import sys
import tempfile
from collections.abc import Iterator

# "I0000 00:00:1795337105.039586    8473 port.cc:153] oneDNN …" and, before those, one headline.
_INFORMATION = re.compile(rb"I0000 |WARNING: All log messages before absl::InitializeLog\(\)")


def quieten_tensorflow() -> None:
    """Arrange that the first import of TensorFlow, by whomever, logs no information."""
    # Level 3, because a machine without a GPU logs an error when asked whether it has one. What
    # really fails raises an exception as well, which this does not touch.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    if "tensorflow" not in sys.modules:
        sys.meta_path.insert(0, _QuietFinder())


class _QuietFinder(importlib.abc.MetaPathFinder):
    """Finds TensorFlow where Python does, and wraps its execution. Serves once."""

    def find_spec(self, fullname, path=None, target=None):
        if fullname != "tensorflow":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(fullname)
        if spec is not None:
            execute = spec.loader.exec_module

            def execute_quietly(module):
                with _without_information():
                    execute(module)

            spec.loader.exec_module = execute_quietly
        return spec


@contextlib.contextmanager
def _without_information() -> Iterator[None]:
    """Hold back what is written to file descriptor 2, then pass on all but information."""
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2)
        try:
            yield
        finally:
            sys.stderr.flush()
            os.dup2(kept, 2)
            os.close(kept)
            held.seek(0)
            for line in held:
                if not _INFORMATION.match(line):
                    os.write(2, line)
