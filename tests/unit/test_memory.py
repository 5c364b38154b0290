import platform
import subprocess
import sys

import pytest

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


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc has this parameter")
def test_all_threads_share_one_heap():
    ended = subprocess.run(
        [sys.executable, "-c", PROGRAM], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert int(ended.stdout) <= 2
