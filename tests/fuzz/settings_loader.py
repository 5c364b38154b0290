"""Mutated settings files through their loader: a value, or one line, and never anything else.

    python tests/fuzz/settings_loader.py [HOW_MANY] [FIRST_SEED]

Needs no TensorFlow. `list_of_seeds()` and `load(path)` serve other drivers.
"""

import json
import random
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from utils.config import CourseError, read_json  # noqa: E402
from utils.settings import Postprocessing, detector_settings, segmenter_settings  # noqa: E402

SEGMENTER = {
    "trained_on": 80,
    "pictures": "neighbours",
    "postprocessing": {
        "threshold": 0.4,
        "minimum_px": 0,
        "largest_only": True,
        "neighbours": 0.0,
    },
}
DETECTOR = {
    "temperature": 1.2,
    "threshold": 0.8,
    "combination": {"detector": 0.2, "segmenter": 0.9, "intercept": 0.4},
    "neighbours": 0.25,
}
# Written as they stand, so that some are no JSON.
ODD_VALUES = (
    "null", "true", "NaN", "-Infinity", "1e999", "-1", "0", "1.0000001", "9" * 5000, "1e400",
    '""', '"0.5"', '"\\ud800"', '"a\\nb"', "[]", "[[[[]]]]", "{}", '{"threshold": {}}', "[" * 9000,
    "'0.5'", "0x1", ".5", "1,5",
)  # fmt: skip


def list_of_seeds() -> list[bytes]:
    """Return whole settings files to start from."""
    return [json.dumps(one, indent=2).encode() for one in (SEGMENTER, DETECTOR)]


def mutated(seed: int) -> bytes:
    """Return the settings file of a seed: a whole one, changed in one to four places."""
    draw = random.Random(seed)
    data = draw.choice(list_of_seeds())
    for _ in range(draw.randint(1, 4)):
        data = draw.choice((_value, _value, _key, _bytes, _cut, _repeat))(data, draw)
    return data


def _value(data: bytes, draw: random.Random) -> bytes:
    """Put an odd value in the place of one."""
    colons = [place for place, byte in enumerate(data) if byte == ord(":")]
    if not colons:
        return data
    start = draw.choice(colons) + 1
    ends = [place for mark in b",}\n" if (place := data.find(mark, start)) >= 0]
    end = min(ends, default=len(data))
    return data[:start] + draw.choice(ODD_VALUES).encode() + data[end:]


def _key(data: bytes, draw: random.Random) -> bytes:
    names = (b"threshold", b"postprocessing", b"combination", b"pictures", b"neighbours")
    return data.replace(draw.choice(names), draw.choice((*names, b"", b"treshold", b"\xff")), 1)


def _bytes(data: bytes, draw: random.Random) -> bytes:
    changed = bytearray(data or b"{")
    for _ in range(draw.randint(1, 8)):
        changed[draw.randrange(len(changed))] = draw.randrange(256)
    return bytes(changed)


def _cut(data: bytes, draw: random.Random) -> bytes:
    return data[: draw.randint(0, len(data))]


def _repeat(data: bytes, draw: random.Random) -> bytes:
    start = draw.randint(0, len(data))
    return data + data[start : start + draw.randint(0, 200)] * draw.randint(1, 50)


def load(path: Path) -> None:
    """Read a settings file as each of its kinds; a `CourseError` is an answer, nothing else is.

    Raises
    ------
    AssertionError
        If values come out that no settings may have, or a message has several lines.
    """
    for read in (read_json, lambda file: _segmenter(file), detector_settings):
        try:
            read(path)
        except CourseError as error:
            assert str(path) in str(error) and len(str(error).splitlines()) == 1, str(error)
            assert len(str(error)) < 1000, str(error)


def _segmenter(path: Path) -> None:
    postprocessing, pictures = segmenter_settings(path)
    assert isinstance(postprocessing, Postprocessing) and 0 < postprocessing.threshold <= 1
    assert pictures in ("sequences", "neighbours")


def main() -> int:
    many = int(sys.argv[1]) if len(sys.argv) > 1 else 5000
    first = int(sys.argv[2]) if len(sys.argv) > 2 else 0
    faults = 0
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.json"
        for seed in range(first, first + many):
            path.write_bytes(mutated(seed))
            try:
                load(path)
            except Exception as error:  # noqa: BLE001 - whatever it is: that is looked for
                faults += 1
                print(f"seed {seed}: {type(error).__name__}: {error}"[:300])
    print(f"{many} settings files, {faults} faults")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
