"""Model files that users bring, of Keras's own layers.

Checksums are right unless a byte of the archive itself is changed, so that the configuration and
the weights are read as they stand.
"""

import io
import json
import random
import tempfile
import warnings
import zipfile
from collections.abc import Sequence
from pathlib import Path

from mutate import Target

from utils.models import resunet
from utils.models.files import saving
from utils.models.files.checks import check_segmenter

# No large numbers: a network may ask for as much memory as it likes.
ODD_VALUES = (None, True, -1, 0, 3, 0.5, float("nan"), "", "same", "relu", [], [1], [None, 4], {},
              {"class_name": "Zeros"}, {"class_name": 3, "config": {}}, "\ud800")  # fmt: skip


def files() -> list[bytes]:
    """Return a whole model file."""
    with tempfile.TemporaryDirectory() as folder:
        file = saving.save_model(resunet.resunet(32, filters=(4, 8)), Path(folder) / "a.keras")
        return [file.read_bytes()]


def _mutate(draw: random.Random, seeds: Sequence[bytes]) -> bytes:
    data = draw.choice(seeds)
    how = draw.choice(("configuration", "configuration", "weights", "parts", "archive"))
    if how == "archive":
        return _changed(data, draw)
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    if how == "weights":
        parts["model.weights.h5"] = _changed(parts["model.weights.h5"], draw)
    elif how == "parts":
        name = draw.choice(sorted(parts))
        parts[name] = draw.choice((b"", b"{}", b"[]", parts[name][: draw.randint(0, 400)]))
    else:
        configuration = json.loads(parts["config.json"])
        for _ in range(draw.randint(1, 3)):
            _change(configuration, draw)
        parts["config.json"] = json.dumps(configuration).encode()
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
    return made.getvalue()


def _changed(data: bytes, draw: random.Random) -> bytes:
    changed = bytearray(data)
    for _ in range(draw.randint(1, 20)):
        changed[draw.randrange(len(changed))] = draw.randrange(256)
    return bytes(changed)


def _change(node, draw: random.Random) -> None:
    """Go down to a random place of a configuration; put an odd value there, or take it away."""
    while True:
        key = draw.choice(list(node) if isinstance(node, dict) else range(len(node)))
        child = node[key]
        if isinstance(child, dict | list) and child and draw.random() < 0.9:
            node = child
            continue
        if draw.random() < 0.3:
            del node[key]
        else:
            node[key] = draw.choice(ODD_VALUES)
        return


def _load(path: Path) -> None:
    with warnings.catch_warnings():
        # Keras warns of names in odd configurations.
        warnings.simplefilter("ignore", UserWarning)
        check_segmenter(saving.load_model(path), path)


TARGETS = [Target("keras", files, _load, ".keras", _mutate)]
