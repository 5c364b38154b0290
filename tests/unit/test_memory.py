import os
import platform
import subprocess
import sys

import psutil
import pytest

from utils.config import ROOT
from utils.runtime import memory

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
from utils.runtime.memory import release

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


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc has these parameters")
def test_freed_memory_is_kept_until_it_is_released():
    # A hundred blocks of 1 MiB, all freed: taken from the system again and again otherwise.
    program = """
import psutil
from utils.runtime.memory import release

def megabytes():
    return psutil.Process().memory_info().rss >> 20

before = megabytes()
blocks = [bytearray(2**20) for _ in range(100)]
del blocks
print(megabytes() - before)
large = bytearray(2**26)
del large
print(megabytes() - before)
release()
print(megabytes() - before)
"""
    ended = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    kept, large, released = map(int, ended.stdout.split())
    assert kept >= 90
    assert large <= kept + 10  # 64 MiB are given back at once
    assert released <= 10


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc has these parameters")
def test_a_training_keeps_large_blocks_too_until_they_are_released():
    # 64 MiB twice, filled and freed: the second time no page is fetched from the system.
    program = """
import resource
import psutil
from utils.runtime.memory import keep_all_freed, release

def pages():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

print(keep_all_freed())
before = psutil.Process().memory_info().rss >> 20
for _ in range(2):
    started = pages()
    block = bytearray(2**26)
    del block
    print(pages() - started)
print((psutil.Process().memory_info().rss >> 20) - before)
release()
print((psutil.Process().memory_info().rss >> 20) - before)
"""
    ended = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    told, first, second, kept, released = ended.stdout.split()
    assert told == "True"
    # 2^26 bytes are 16,384 pages of 4 KiB; fewer where the system gives larger ones.
    assert int(second) < int(first) / 4
    assert int(kept) >= 60
    assert int(released) <= 10


# Makes 64 MiB of variables, deletes them, and tells what is left of that.
NETWORK = """
import utils, keras, tensorflow
from utils.runtime.memory import memory_of, release
import os

def megabytes():
    return memory_of([os.getpid()]).own >> 20

keras.Variable([0.0])
release()
before = megabytes()
values = [keras.Variable(keras.initializers.Ones(), shape=(2**20,)) for _ in range(16)]
print(megabytes() - before)
del values
release()
print(megabytes() - before)
"""


@pytest.fixture(scope="module")
def network():
    """A process, ended, that has loaded TensorFlow and made and deleted variables."""
    return subprocess.run(
        [sys.executable, "-c", NETWORK], cwd=ROOT, capture_output=True, text=True, check=True
    )


@pytest.mark.long
def test_importing_keras_after_utils_logs_nothing(network):
    assert network.stderr == ""


@pytest.mark.long
@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other systems give it back or not")
def test_tensorflow_s_memory_is_given_back_too(network):
    taken, left = map(int, network.stdout.split())
    assert taken >= 60
    assert left <= 15


@pytest.fixture
def container(tmp_path, monkeypatch):
    """Return a function that sets the limit and the use that a container's files tell."""
    monkeypatch.setattr(memory, "CGROUP", tmp_path)
    monkeypatch.setattr(memory, "OWN_CGROUPS", tmp_path / "no such file")
    monkeypatch.delenv("MEM_LIMIT", raising=False)

    def tell(most, used):
        (tmp_path / "memory.max").write_text(f"{most}\n")
        (tmp_path / "memory.current").write_text(f"{used}\n")

    return tell


def test_what_the_system_may_take_back_is_free(container, tmp_path):
    container(5_000_000, 3_000_000)
    (tmp_path / "memory.stat").write_text("anon 2400000\ninactive_file 500000\nslab 1\n")
    assert memory.available_bytes() == 2_500_000


def test_the_first_version_of_control_groups_is_read_too(container, tmp_path):
    (tmp_path / "memory").mkdir()
    (tmp_path / "memory" / "memory.limit_in_bytes").write_text("7000000\n")
    (tmp_path / "memory" / "memory.usage_in_bytes").write_text("6000000\n")
    assert memory.available_bytes() == 1_000_000
    (tmp_path / "memory" / "memory.stat").write_text("inactive_file 1\ntotal_inactive_file 300\n")
    assert memory.available_bytes() == 1_000_300


@pytest.mark.parametrize(
    ("line", "names"),
    [
        ("0::/outer/inner", ("memory.max", "memory.current")),
        ("4:memory:/outer/inner", ("memory.limit_in_bytes", "memory.usage_in_bytes")),
        ("4:cpu,memory:/outer/inner", ("memory.limit_in_bytes", "memory.usage_in_bytes")),
    ],
)
def test_the_tightest_group_around_a_process_counts(line, names, container, tmp_path, monkeypatch):
    own = tmp_path / "cgroup"
    own.write_text(f"7:cpu:/elsewhere\n{line}\n")
    monkeypatch.setattr(memory, "OWN_CGROUPS", own)
    root = tmp_path / "memory" if "memory" in line else tmp_path
    inner = root / "outer" / "inner"
    inner.mkdir(parents=True)
    for folder, most, used in ((inner, 9_000_000, 1_000_000), (inner.parent, 4_000_000, 1_000_000)):
        (folder / names[0]).write_text(f"{most}\n")
        (folder / names[1]).write_text(f"{used}\n")
    assert memory.available_bytes() == 3_000_000


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere files are not told from the rest")
def test_the_memory_of_several_processes_is_summed_and_shared_files_count_once():
    program = "import numpy, sys; a = bytearray(50 * 2**20); print(flush=True); sys.stdin.read()"
    processes = [
        subprocess.Popen([sys.executable, "-c", program], stdin=-1, stdout=-1) for _ in range(2)
    ]
    try:
        for process in processes:
            process.stdout.readline()
        alone = [memory.memory_of([process.pid]) for process in processes]
        together = memory.memory_of([process.pid for process in processes])
    finally:
        for process in processes:
            process.communicate()
    assert min(use.own for use in alone) >= 50 * 2**20
    assert together.own == pytest.approx(alone[0].own + alone[1].own, rel=0.02)
    assert together.files == pytest.approx(max(use.files for use in alone), rel=0.02)
    assert memory.memory_of([processes[0].pid]) == memory.Use(0, 0)  # it has ended


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


def test_the_peak_of_a_process_leaves_out_what_its_parent_had():
    peak = (
        "import os; from utils.runtime.memory import peak_bytes; "
        "print(peak_bytes(os.getpid()) >> 20)"
    )
    script = (
        "import subprocess, sys\n"
        "large = b'x' * (400 << 20)\n"
        f"subprocess.run([sys.executable, '-c', {peak!r}])\n"
        f"sys.stdout.flush(); exec({peak!r})"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    )
    child, parent = map(int, done.stdout.split())
    if not memory.peak_bytes(os.getpid()):
        pytest.skip("only Linux keeps the peak of a process")
    assert child < 100 and 400 < parent < 600
