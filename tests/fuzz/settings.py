"""What was decided with a model: the settings file beside it, as people edit it."""

import json
import random
from collections.abc import Sequence
from pathlib import Path

from mutate import Target

from utils.models.files.settings import (
    CHANNELS,
    Postprocessing,
    detector_settings,
    segmenter_settings,
)

SEGMENTER = {
    "trained_on": 80,
    "channels": "neighbours",
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


def files() -> list[bytes]:
    """Return whole settings files."""
    return [json.dumps(one, indent=2).encode() for one in (SEGMENTER, DETECTOR)]


def _mutate(draw: random.Random, seeds: Sequence[bytes]) -> bytes:
    data = draw.choice(seeds)
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
    names = (b"threshold", b"postprocessing", b"combination", b"channels", b"neighbours")
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


def _segmenter(path: Path) -> None:
    postprocessing, channels, *_ = segmenter_settings(path)
    assert isinstance(postprocessing, Postprocessing)
    assert 0 < postprocessing.threshold <= 1
    assert channels in CHANNELS


def _detector(path: Path) -> None:
    assert 0 <= detector_settings(path)["threshold"] <= 1


TARGETS = [
    Target("segmenter-settings", lambda: files()[:1], _segmenter, ".json", _mutate),
    Target("detector-settings", lambda: files()[1:], _detector, ".json", _mutate),
]
