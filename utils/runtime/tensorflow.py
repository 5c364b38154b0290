"""How TensorFlow is started: with oneDNN, and without the lines that it logs about itself."""

import contextlib
import os
import re
import sys
import tempfile
from collections.abc import Iterator

from utils.runtime.imports import WrappingFinder

# "I0000 00:00:1795337105.039586    8473 port.cc:153] oneDNN …" and, before those, one headline.
_INFORMATION = re.compile(rb"I0000 |WARNING: All log messages before absl::InitializeLog\(\)")


def use_onednn() -> None:
    """Turn oneDNN on, unless the environment says otherwise; before TensorFlow is imported.

    With it, TensorFlow takes memory through an allocator of its own that never gives any back:
    after a training, a notebook would keep 300 MB of nothing. It is told to use the system's,
    which `keep_freed` of `utils.runtime.memory` makes as fast and `release` empties.
    """
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
    os.environ.setdefault("TF_ONEDNN_USE_SYSTEM_ALLOCATOR", "1")


def quieten_tensorflow() -> None:
    """Arrange that the first import of TensorFlow, by whomever, logs no information."""
    # Level 3, because a machine without a GPU logs an error when asked whether it has one. What
    # really fails raises an exception as well, which this does not touch.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    if "tensorflow" not in sys.modules:
        sys.meta_path.insert(0, WrappingFinder("tensorflow", without_information))


@contextlib.contextmanager
def without_information() -> Iterator[None]:
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
