import platform
import subprocess
import sys

import psutil
import pytest

from utils import memory
from utils.config import ROOT

# Blocks too small to be taken from the system one by one; eight threads, each with its own.
PROGRAM = """
import ctypes, threading
import utils

libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
places = []

def take():
    places.append(libc.malloc(1000))
    barrier.wait()

barrier = threading.Barrier(8)
threads = [threading.Thread(target=take) for _ in range(8)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
# A heap of its own begins at a multiple of 64 MiB and holds the thread's first blocks.
print(len({place >> 26 for place in places}))
"""

# 100 MB in blocks that come from the heap, in a circle, and a block after them that is kept: the
# heap cannot just be cut off at its end. Automatic collection is off so that only `release` can.
CIRCLE = """
import gc, psutil
from utils.memory import release

def megabytes():
    return psutil.Process().memory_info().rss >> 20

gc.disable()
before = megabytes()
circle = [bytes(1000) for _ in range(100_000)]
circle.append(circle)
kept = bytes(1000)
del circle
print(megabytes() - before)
release()
print(megabytes() - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other systems give it back or not")
def test_release_gives_back_what_nothing_names_any_more():
    ended = subprocess.run(
        [sys.executable, "-c", CIRCLE], cwd=ROOT, capture_output=True, text=True, check=True
    )
    deleted, released = map(int, ended.stdout.split())
    assert deleted >= 90
    assert released <= 10


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc has this parameter")
def test_all_threads_share_one_heap():
    ended = subprocess.run(
        [sys.executable, "-c", PROGRAM], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert int(ended.stdout) <= 2


@pytest.fixture
def container(tmp_path, monkeypatch):
    """Return a function that sets the limit and the use that a container's files tell."""
    monkeypatch.setattr(memory, "CGROUP", tmp_path)
    monkeypatch.delenv("MEM_LIMIT", raising=False)

    def tell(most, used):
        (tmp_path / "memory.max").write_text(f"{most}\n")
        (tmp_path / "memory.current").write_text(f"{used}\n")

    return tell


def test_a_container_has_what_its_limit_leaves(container):
    container(5_000_000, 3_000_000)
    assert memory.available_bytes() == 2_000_000
    container(5_000_000, 6_000_000)
    assert memory.available_bytes() == 0


def test_without_a_limit_it_is_what_the_machine_has_free(container):
    most = psutil.virtual_memory().total
    assert 0 < memory.available_bytes() <= most
    container("max", 3_000_000)
    assert 0 < memory.available_bytes() <= most


def test_binder_names_its_limit_in_the_environment(container, monkeypatch):
    own = psutil.Process().memory_info().rss
    monkeypatch.setenv("MEM_LIMIT", str(own + 50_000_000))
    assert memory.available_bytes() == pytest.approx(50_000_000, abs=20_000_000)
