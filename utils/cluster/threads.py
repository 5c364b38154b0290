"""How many threads a process computes with.

Sums are rounded in another order with another number of threads, so that a training ends with other
numbers in the fifth digit: what is to be compared is computed with the same number.
"""

import os
import sys

from threadpoolctl import threadpool_limits

from utils.config import CourseError
from utils.runtime.machine import cores

# What the libraries of NumPy, SciPy and scikit-learn read when they are loaded.
VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def use_threads(count: int) -> None:
    """Have this process compute with `count` threads: TensorFlow, and the libraries of NumPy.

    Those that are loaded, and those that will be.

    Raises
    ------
    CourseError
        If TensorFlow has begun to compute with another number, which it cannot change any more.
    """
    import tensorflow as tf  # only here: a process that does no task needs none

    try:
        tf.config.threading.set_intra_op_parallelism_threads(count)
    except RuntimeError:
        raise CourseError(
            f"this process already computes with {used_threads()} threads, not {count}; start it "
            "anew"
        ) from None
    threadpool_limits(count)
    os.environ |= dict.fromkeys(VARIABLES, str(count))


def used_threads() -> int:
    """Return how many threads an operation of TensorFlow is split into here.

    Its own choice, where `use_threads` was not called, is one for each core.
    """
    if "tensorflow" not in sys.modules:
        return len(cores())
    import tensorflow as tf

    return tf.config.threading.get_intra_op_parallelism_threads() or len(cores())
