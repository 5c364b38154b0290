"""What a process needs before and while TensorFlow computes: settings and memory.

TensorFlow is imported without the lines that it logs about itself, computes with oneDNN on any
processor, and takes its memory where it can be given back.
"""

import contextlib
import ctypes
import functools
import gc
import importlib.abc
import importlib.util
import os
import platform
import re
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

# Where Linux says what a group of processes, such as a container, may take and has taken.
CGROUP = Path("/sys/fs/cgroup")
OWN_CGROUPS = Path("/proc/self/cgroup")
# The files of a group in both versions of this: the limit, the use, and the line of memory.stat
# with what of it the system may take back when it is short.
GROUP_FILES = (
    ("memory.max", "memory.current", "inactive_file"),
    ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
)

# The numbers of these parameters in glibc's <malloc.h>.
_TRIM_THRESHOLD, _MMAP_THRESHOLD, _MMAP_MAX, _ARENA_MAX = -1, -3, -4, -8
_PARTS = re.compile(r"^(Rss\w+):\s+(\d+) kB", re.MULTILINE)
# "I0000 00:00:1795337105.039586    8473 port.cc:153] oneDNN …" and, before those, one headline.
_INFORMATION = re.compile(rb"I0000 |WARNING: All log messages before absl::InitializeLog\(\)")
CPUINFO = Path("/proc/cpuinfo")


def use_one_heap() -> bool:
    """Have all threads take memory from one heap; return whether this system can be told so.

    The GNU allocator gives every thread a heap of its own, and what is free in one is of no use
    to the others. With the dozens of threads that TensorFlow starts, a tenth of a notebook's peak
    is lost to that. Call it before the first thread starts.
    """
    return _has_glibc() and ctypes.CDLL(None).mallopt(_ARENA_MAX, 1) == 1


def keep_freed() -> bool:
    """Have freed memory kept for what comes next; return whether this system can be told so.

    A training takes and frees the same few hundred megabytes in every step. The GNU allocator
    would give them back to the system each time, and the system would clear them anew: a sixth
    of a step. What is kept, `release` gives back. Blocks of 32 MiB and more, such as a cohort's
    arrays, are given back at once.
    """
    if not _has_glibc():
        return False
    set_parameter = ctypes.CDLL(None).mallopt
    return bool(set_parameter(_MMAP_THRESHOLD, 2**25) and set_parameter(_TRIM_THRESHOLD, 2**31 - 1))


def keep_all_freed() -> bool:
    """Have freed blocks of any size kept; return whether this system can be told so.

    For a process that trains and ends: the largest blocks of a step have 32 MiB and more, and to
    get those anew each time took two thirds as long as the step itself.
    """
    return keep_freed() and ctypes.CDLL(None).mallopt(_MMAP_MAX, 0) == 1


def release() -> None:
    """Give the memory of deleted networks back to the system.

    The parts of a network refer to each other, so deleting the last name of one frees nothing
    until Python looks for such circles; and the GNU allocator keeps what is freed. In notebook 2
    that was a ninth of the peak.
    """
    gc.collect()
    if _has_glibc():
        ctypes.CDLL(None).malloc_trim(0)


def _has_glibc() -> bool:
    return platform.libc_ver()[0] == "glibc"


def available_bytes() -> int:
    """Return how much memory further processes may take, in bytes.

    What the machine has free; less in a container with a limit, of either version of Linux's
    control groups, or where JupyterHub, as on Binder, names one in ``MEM_LIMIT``.
    """
    import psutil  # here and below: a prediction without TensorFlow starts with this module too

    free = [psutil.virtual_memory().available]
    limit = os.environ.get("MEM_LIMIT", "")
    if limit.isdigit():
        free.append(int(limit) - psutil.Process().memory_info().rss)
    for folder in _own_groups():
        for most_file, used_file, reclaimable in GROUP_FILES:
            most, used = _number(folder / most_file), _number(folder / used_file)
            if most is not None and used is not None:
                free.append(most - used + _line(folder / "memory.stat", reclaimable))
    return max(0, min(free))


def _own_groups() -> list[Path]:
    """Return the folders of the groups that limit this process: its own and all around it.

    In a container, the group's folder may be shown as if it were the outermost one, or not be
    shown by the name that the process is told.
    """
    folders = [CGROUP, CGROUP / "memory"]
    for line in _text(OWN_CGROUPS).splitlines():
        _, kinds, place = line.split(":", 2)
        if kinds == "" or "memory" in kinds.split(","):
            root = CGROUP if kinds == "" else CGROUP / "memory"
            own = root / place.lstrip("/")
            folders += [each for each in (own, *own.parents) if each.is_relative_to(root)]
    return list(dict.fromkeys(folders))


def _number(path: Path) -> int | None:
    """Return the number that a file holds, None if there is no such file or it holds none."""
    text = _text(path).strip()
    return int(text) if text.isdigit() else None


def _line(path: Path, name: str) -> int:
    """Return the number after a name in a file of such lines; 0 if there is none."""
    pairs = (line.split() for line in _text(path).splitlines())
    return next((int(pair[1]) for pair in pairs if len(pair) == 2 and pair[0] == name), 0)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii", errors="replace")
    except OSError:
        return ""


@dataclass(frozen=True)
class Use:
    """What some processes have in memory, in bytes.

    Attributes
    ----------
    own : int
        What each has for itself, summed: what a limit on their memory has to allow.
    files : int
        The largest share of mapped files, most of it code: the processes are of one program, and
        a page that several have read is there once. The system can drop it and read it again.
    """

    own: int
    files: int


def memory_of(pids: Iterable[int]) -> Use:
    """Return what processes have in memory together at this moment; those that ended have none.

    Elsewhere than on Linux files cannot be told from the rest, and count for every process.
    """
    import psutil

    own, files = 0, 0
    for pid in pids:
        status = _text(Path(f"/proc/{pid}/status"))
        parts = {name: int(size) * 1024 for name, size in _PARTS.findall(status)}
        if parts:
            own += parts.get("RssAnon", 0) + parts.get("RssShmem", 0)
            files = max(files, parts.get("RssFile", 0))
        elif not status:
            with contextlib.suppress(psutil.Error):
                own += psutil.Process(pid).memory_info().rss
    return Use(own, files)


def peak_bytes(pid: int) -> int:
    """Return the peak resident size that Linux has kept of a process; 0 elsewhere.

    Its files count too. What `resource.getrusage` says begins with what the process had in memory
    that started this one.
    """
    found = re.search(r"^VmHWM:\s+(\d+) kB", _text(Path(f"/proc/{pid}/status")), re.MULTILINE)
    return int(found.group(1)) * 1024 if found else 0


def tree(pid: int) -> list[int]:
    """Return a process and all that it has started, directly or not, as far as they still run."""
    import psutil

    try:
        children = psutil.Process(pid).children(recursive=True)
    except psutil.Error:
        return [pid]
    return [pid, *(child.pid for child in children)]


def use_onednn() -> None:
    """Turn oneDNN on, unless the environment says otherwise; before TensorFlow is imported.

    With it, TensorFlow takes memory through an allocator of its own that never gives any back:
    after a training, a notebook would keep 300 MB of nothing. It is told to use the system's,
    which `utils.runtime.keep_freed` makes as fast and `utils.runtime.release` empties.
    """
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
    os.environ.setdefault("TF_ONEDNN_USE_SYSTEM_ALLOCATOR", "1")


def fuse_normalisation() -> None:
    """Arrange that Keras's batch normalisation is one operation of TensorFlow.

    Keras 3 makes float32 of what comes in and computes mean, variance, scale and shift one by
    one, each with a pass over the memory. TensorFlow's fused operation reads 16-bit numbers as
    they are, sums them in float32, and gives the same results; docs/keras-batch-normalisation.md
    has the figures. Layers and files stay Keras's own: only how `BatchNormalization` computes a
    batch of pictures changes, in this process. Other backends are left as they are, and so is
    TensorFlow where ``FUSED_NORMALISATION`` is 0 in the environment.
    """
    if os.environ.get("FUSED_NORMALISATION") == "0":
        return
    if sys.modules.get("keras") is not None:  # None: where a test lets nobody import it
        _fuse_now()
    else:
        sys.meta_path.insert(0, _WrappingFinder("keras", _then_fused))


@contextlib.contextmanager
def _then_fused() -> Iterator[None]:
    yield
    _fuse_now()


def _fuse_now() -> None:
    import keras

    layer = keras.layers.BatchNormalization
    if keras.backend.backend() == "tensorflow" and not hasattr(layer.call, "unfused"):
        layer.call = _fused(layer.call)


def _fused(unfused):
    """Return what computes as `BatchNormalization.call` does, where it can in one operation."""
    import tensorflow as tf

    @functools.wraps(unfused)
    def call(self, inputs, training=None, mask=None):
        by_channel = len(inputs.shape) == 4 and self.axis in (-1, 3)
        plain = mask is None and not self.renorm and not self.synchronized
        if not (by_channel and plain) or self.compute_dtype == "float64":
            return unfused(self, inputs, training=training, mask=mask)
        x = tf.cast(inputs, self.compute_dtype)
        channels = x.shape[-1]
        scale = self.gamma if self.scale else tf.ones([channels])
        offset = self.beta if self.center else tf.zeros([channels])
        operation = tf.compat.v1.nn.fused_batch_norm
        if not (training and self.trainable):
            return operation(
                x,
                scale,
                offset,
                mean=self.moving_mean,
                variance=self.moving_variance,
                epsilon=self.epsilon,
                is_training=False,
            )[0]
        outputs, mean, variance = operation(x, scale, offset, epsilon=self.epsilon)
        # Its variance is divided by one less than the count, after Bessel; Keras's is not.
        count = tf.cast(tf.size(x) // channels, "float32")
        variance *= (count - 1) / count
        for moving, now in ((self.moving_mean, mean), (self.moving_variance, variance)):
            moving.assign(moving * self.momentum + now * (1 - self.momentum))
        return outputs

    call.unfused = unfused
    return call


def quieten_tensorflow() -> None:
    """Arrange that the first import of TensorFlow, by whomever, logs no information."""
    # Level 3, because a machine without a GPU logs an error when asked whether it has one. What
    # really fails raises an exception as well, which this does not touch.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    if "tensorflow" not in sys.modules:
        sys.meta_path.insert(0, _WrappingFinder("tensorflow", _without_information))


class _WrappingFinder(importlib.abc.MetaPathFinder):
    """Finds a package where Python does, and wraps its first execution.

    Who only asks where the package is, as TensorFlow asks for Keras, uses nothing up.

    Attributes
    ----------
    name : str
        Of the package.
    around : callable
        Returns a context manager.
    """

    def __init__(self, name: str, around: Callable):
        self.name, self.around, self._looking = name, around, False

    def find_spec(self, fullname, path=None, target=None):
        if fullname != self.name or self._looking:
            return None
        self._looking = True  # Python asks all finders, this one too
        try:
            spec = importlib.util.find_spec(fullname)
        finally:
            self._looking = False
        if spec is not None:
            execute = spec.loader.exec_module

            def execute_within(module):
                if self in sys.meta_path:
                    sys.meta_path.remove(self)
                with self.around():
                    execute(module)

            spec.loader.exec_module = execute_within
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


def cpuinfo(name: str) -> list[str]:
    """Return the values of a field of ``/proc/cpuinfo``, such as "flags", one a core.

    None where there is no such field, or no such file, as outside Linux.
    """
    try:
        lines = CPUINFO.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
    fields = (line.partition(":") for line in lines)
    return [value.strip() for field, _, value in fields if field.strip() == name]


def commit() -> str:
    """Return the commit of the code, with a + if files differ from it; "unknown" without git."""
    import subprocess  # as below, only where provenance is told: every command starts with this

    try:
        head = _git("rev-parse", "HEAD")
        changed = _git("status", "--porcelain", "--untracked-files=no", "--", "utils")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return head + ("+" if changed else "")


def _git(*arguments: str) -> str:
    import subprocess

    from utils.config import ROOT

    done = subprocess.run(
        ["git", "-C", str(ROOT), *arguments], capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def versions(packages: Iterable[str]) -> dict[str, str]:
    """Return the version of Python, as ``"python"``, and of some packages, by name."""
    import importlib.metadata

    found = {name: importlib.metadata.version(name) for name in packages}
    return {"python": platform.python_version(), **found}


def processor_name() -> str:
    """Return what the processor is called; its architecture where the system does not tell."""
    names = cpuinfo("model name")
    return names[0] if names else platform.processor() or platform.machine()
