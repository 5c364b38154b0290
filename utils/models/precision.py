"""The one switch for the precision in which networks compute."""

import keras

from utils.runtime.machine import cpuinfo

NAMES = ("float32", "mixed_bfloat16")


def set_precision(name="auto") -> str:
    """Set the precision of the layers made from now on, and return its name.

    The parameter and the errors are those of `resolve_precision`.
    """
    name = resolve_precision(name)
    keras.config.set_dtype_policy(name)
    return name


def resolve_precision(name="auto") -> str:
    """Return the name of the precision that `name` means on this machine.

    Parameters
    ----------
    name : {"auto", "float32", "mixed_bfloat16"}
        "auto" means mixed_bfloat16 on a GPU or on a processor that multiplies bfloat16 in hardware
        (AMX tiles or AVX-512 BF16), and float32 elsewhere, where bfloat16 would be slower.

    Raises
    ------
    ValueError
        If the name is unknown.
    """
    if name == "auto":
        name = "mixed_bfloat16" if _multiplies_bfloat16() or has_gpu() else "float32"
    if name not in NAMES:
        raise ValueError(f"precision {name!r}: must be auto, {' or '.join(NAMES)}")
    return name


def _multiplies_bfloat16() -> bool:
    flags = " ".join(cpuinfo("flags"))
    return any(flag in flags for flag in ("amx_bf16", "avx512_bf16"))


def has_gpu() -> bool:
    """Return whether the backend has a device that is not a processor."""
    return any(not name.lower().startswith("cpu") for name in keras.distribution.list_devices())
