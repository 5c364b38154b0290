"""What the processes of one training do together, before and beside the training itself.

JAX connects the processes; Keras's `DataParallel` keeps the weights on every device, alike, and
has each device compute its share of every batch. `Model.fit`, and so `utils.models.training.fit`,
is the same in all of them and is called in all of them.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
from jax.experimental import multihost_utils

from utils.config import CourseError, atomic_path


@dataclass(frozen=True)
class Place:
    """Which process this is.

    Attributes
    ----------
    number, count : int
        The how-manieth, from 0, of how many.
    coordinator : str
        ``"host:port"``, where process 0 waits for the others; not needed if it is the only one.
    """

    number: int = 0
    count: int = 1
    coordinator: str = ""


def join(place: Place) -> None:
    """Connect this process with the others, and have Keras share each batch out among all devices.

    Waits until all are there, 5 minutes at most. To be called before anything is computed and
    before a network is made.
    """
    if place.count > 1:
        keras.distribution.initialize(place.coordinator, place.count, place.number)
    # `batches.planned_batches` shares each batch out itself, before it reads the pictures.
    keras.distribution.set_distribution(keras.distribution.DataParallel(auto_shard_dataset=False))


def agree(values: Mapping[str, object]) -> None:
    """Refuse to train together what is not the same in all processes.

    Parameters
    ----------
    values : mapping
        JSON values, under the same names in every process.

    Raises
    ------
    CourseError
        In every process, if a value in one differs from that in process 0.
    """
    names = sorted(values)
    digests = [hashlib.sha256(json.dumps(values[name]).encode()).digest() for name in names]
    own = np.frombuffer(b"".join(digests), np.uint8).reshape(len(names), -1)
    everyone = multihost_utils.process_allgather(own)
    for number, theirs in enumerate(everyone):
        for name, mine, other in zip(names, everyone[0], theirs, strict=True):
            if not np.array_equal(mine, other):
                raise CourseError(
                    f"process {number} has another {name} than process 0: give all processes the "
                    "same code, packages, cohort and parameters"
                )


def share_files(folder: Path) -> None:
    """Give every process the files in process 0's folder, in its own folder.

    So all go on with a training where process 0 was, wherever the others were. What else lies in
    their folders is removed.

    Parameters
    ----------
    folder : path-like
        Of this process alone; need not be there.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    mine = sorted(path for path in folder.iterdir() if path.is_file())
    names = json.loads(_of_first(json.dumps([path.name for path in mine]).encode()))
    for path in mine:
        if path.name not in names:
            path.unlink()
    for name in names:
        path = folder / name
        content = _of_first(path.read_bytes() if _is_first() else b"")
        if not _is_first():
            with atomic_path(path) as temporary:
                temporary.write_bytes(content)


def _is_first() -> bool:
    return keras.distribution.distribution().data_shard_id == 0


def _of_first(content: bytes) -> bytes:
    """Return, in every process, what process 0 calls this with."""
    length = int(multihost_utils.broadcast_one_to_all(np.uint32(len(content))))
    block = np.frombuffer(content, np.uint8) if _is_first() else np.zeros(length, np.uint8)
    return multihost_utils.broadcast_one_to_all(block).tobytes()
