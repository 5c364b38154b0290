"""Let TensorFlow compute with oneDNN on any processor.

TensorFlow turns oneDNN on by itself only where the processor has AVX-512. Without it, a processor
with AVX2 spends a third of a training on getting memory and giving it back. Measured on two such
cores, the two trainings of notebook 03 side by side: 38 s an epoch with it, 73 s without.
"""

import os


def use_onednn() -> None:
    """Turn oneDNN on, unless the environment says otherwise; before TensorFlow is imported.

    With it, TensorFlow takes memory through an allocator of its own that never gives any back:
    after a training, a notebook would keep 300 MB of nothing. It is told to use the system's,
    which `utils.memory.keep_freed` makes as fast and `utils.memory.release` empties.
    """
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
    os.environ.setdefault("TF_ONEDNN_USE_SYSTEM_ALLOCATOR", "1")
