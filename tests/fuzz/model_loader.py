"""Mutated `.keras` files through their loader: a network, or one line, and never anything else.

    python tests/fuzz/model_loader.py [HOW_MANY] [FIRST_SEED]

Checksums are right unless a byte of the archive itself is changed, so that the configuration and
the weights are read as they stand. `list_of_seeds()` and `load(path)` serve other drivers.
"""

import io
import json
import random
import sys
import tempfile
import zipfile
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from utils import models  # noqa: E402
from utils.config import CourseError  # noqa: E402
from utils.model_files import check_detector, check_segmenter  # noqa: E402

# No large numbers: a network may ask for as much memory as it likes.
ODD_VALUES = (None, True, -1, 0, 3, 0.5, float("nan"), "", "same", "relu", [], [1], [None, 4], {},
              {"class_name": "Zeros"}, {"class_name": 3, "config": {}}, "\ud800")  # fmt: skip


@cache
def list_of_seeds() -> tuple[bytes, ...]:
    """Return whole model files to start from."""
    with tempfile.TemporaryDirectory() as folder:
        file = models.save_model(models.resunet(32, filters=(4, 8)), Path(folder) / "a.keras")
        return (file.read_bytes(),)


def mutated(seed: int) -> bytes:
    """Return the model file of a seed: a whole one, changed in one place or a few."""
    draw = random.Random(seed)
    data = draw.choice(list_of_seeds())
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


def load(path: Path) -> None:
    """Read a model file as each of its roles; a `CourseError` is an answer, nothing else is."""
    for check in (check_segmenter, lambda model, file: check_detector(model, file, 1024)):
        try:
            check(models.load_model(path), path)
        except CourseError as error:
            assert str(path) in str(error) and len(str(error).splitlines()) == 1, str(error)
            assert len(str(error)) < 1000, str(error)
            break  # the other role would be told the same


def main() -> int:
    many = int(sys.argv[1]) if len(sys.argv) > 1 else 500
    first = int(sys.argv[2]) if len(sys.argv) > 2 else 0
    faults = 0
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.keras"
        for seed in range(first, first + many):
            path.write_bytes(mutated(seed))
            try:
                load(path)
            except Exception as error:  # noqa: BLE001 - whatever it is: that is looked for
                faults += 1
                print(f"seed {seed}: {type(error).__name__}: {error}"[:300], flush=True)
    print(f"{many} model files, {faults} faults")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
