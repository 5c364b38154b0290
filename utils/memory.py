"""Keep the memory of a notebook small: one heap in place of one for every thread."""

import ctypes
import platform

# The number of this parameter in glibc's <malloc.h>.
_ARENA_MAX = -8


def use_one_heap() -> bool:
    """Have all threads take memory from one heap; return whether this system can be told so.

    The GNU allocator gives every thread a heap of its own, and what is free in one is of no use
    to the others. With the dozens of threads that TensorFlow starts, a tenth of a notebook's peak
    is lost to that. Call it before the first thread starts.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    return ctypes.CDLL(None).mallopt(_ARENA_MAX, 1) == 1
