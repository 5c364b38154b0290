"""The tags of a TIFF: how the picture is stored, before any pixel of it is read.

Readers disagree about tags that are odd, there twice or left out, and so the same file is two
pictures. Here every tag that decides what a picture looks like has one meaning or is refused;
`canonical` then writes a header with nothing else in it, for the decoder.
"""

import math
import struct
from typing import BinaryIO, NamedTuple

# Codes of the tags, as in the TIFF 6.0 specification; 32997 is libtiff's.
WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC = 256, 257, 258, 259, 262
FILL_ORDER, DESCRIPTION, STRIP_OFFSETS, ORIENTATION, SAMPLES = 266, 270, 273, 274, 277
ROWS_PER_STRIP, STRIP_BYTES, PLANAR, PREDICTOR = 278, 279, 284, 317
TILE_WIDTH, TILE_HEIGHT, TILE_OFFSETS, TILE_BYTES = 322, 323, 324, 325
EXTRA_SAMPLES, SAMPLE_FORMAT, JPEG_TABLES, SUBSAMPLING, DEPTH = 338, 339, 347, 530, 32997

NAMES = {
    WIDTH: "width", HEIGHT: "height", BITS: "bits per sample", COMPRESSION: "compression",
    PHOTOMETRIC: "photometric interpretation", FILL_ORDER: "fill order",
    DESCRIPTION: "description", STRIP_OFFSETS: "strip offsets", ORIENTATION: "orientation",
    SAMPLES: "samples per pixel", ROWS_PER_STRIP: "rows per strip",
    STRIP_BYTES: "strip byte counts", PLANAR: "planar configuration", PREDICTOR: "predictor",
    TILE_WIDTH: "tile width", TILE_HEIGHT: "tile height", TILE_OFFSETS: "tile offsets",
    TILE_BYTES: "tile byte counts", EXTRA_SAMPLES: "extra samples",
    SAMPLE_FORMAT: "sample format", JPEG_TABLES: "JPEG tables",
    SUBSAMPLING: "YCbCr subsampling", DEPTH: "image depth",
}  # fmt: skip
_SINGLE = {
    WIDTH, HEIGHT, COMPRESSION, PHOTOMETRIC, FILL_ORDER, ORIENTATION, SAMPLES, ROWS_PER_STRIP,
    PLANAR, PREDICTOR, TILE_WIDTH, TILE_HEIGHT, DEPTH,
}  # fmt: skip
_BYTES = {DESCRIPTION, JPEG_TABLES}
# Number types that a tag may have: code -> struct's letter.
_WHOLE = {1: "B", 3: "H", 4: "I", 13: "I", 16: "Q"}
_SIZES = {
    1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8,
    18: 8,
}  # fmt: skip
# More than any real file has: what a damaged one announces must not take the memory or the time.
_MOST_PICTURES, _MOST_TAGS, _MOST_VALUES = 10_000, 65_535, 200_000


class TagError(ValueError):
    """What is wrong with a file's tags, in words that follow "damaged or cut short"."""


class _Layout(NamedTuple):
    """How a TIFF writes its tags: as the classic format does, or as BigTIFF."""

    order: str
    count: str  # struct's letter for the number of tags
    entry: str  # code, type, number of values
    inline: int  # bytes of values that stand in the entry itself
    offset: str


def read_tags(file: BinaryIO, size: int) -> tuple[dict[int, tuple[int, ...] | bytes], int]:
    """Return the tags of the first picture in a TIFF, and how many pictures it holds.

    Parameters
    ----------
    file : binary file
        Open for reading, at any place.
    size : int
        Its length in bytes.

    Returns
    -------
    dict
        Code -> whole numbers (or bytes, for description and JPEG tables); only of the tags that
        have a name here.
    int
        Pictures, at most 10,000.

    Raises
    ------
    TagError
        If the file is no TIFF, or a tag lies outside the file, is there twice or has a type that
        makes no sense.
    """
    layout, start = _start(file)
    table, number, following = _table(file, size, layout, start)
    entries = struct.iter_unpack(
        f"{layout.order}{layout.entry}{layout.inline}s", _read(file, table, number)
    )
    tags: dict[int, tuple[int, ...] | bytes] = {}
    for code, kind, count, inline in entries:
        if code not in NAMES:
            continue
        values = _values(file, size, layout, (code, kind, count, inline))
        if code in tags and code != DESCRIPTION:  # tifffile writes two descriptions
            raise TagError(f"the tag {NAMES[code]} is there twice")
        tags[code] = tags[code] + b"\n" + values if code in tags else values
    return tags, _count_pictures(file, size, layout, start, following)


def canonical(data: bytes, tags: dict[int, int | tuple[int, ...]]) -> bytes:
    """Return a TIFF whose header holds these tags only, and whose pixels stay where they are.

    Parameters
    ----------
    data : bytes
        The whole file.
    tags : dict
        Code -> number or numbers; offsets are those in `data`.
    """
    start = len(data) + len(data) % 2
    behind = start + 2 + 12 * len(tags) + 4
    entries, values = b"", b""
    for code, numbers in sorted(tags.items()):
        kind, letter = (7, "B") if code == JPEG_TABLES else (4, "I")
        numbers = (numbers,) if isinstance(numbers, int) else numbers
        packed = struct.pack(f"<{len(numbers)}{letter}", *numbers)
        if len(packed) > 4:
            place = behind + len(values)
            values += packed + b"\0" * (len(packed) % 2)
            packed = struct.pack("<I", place)
        entries += struct.pack("<HHI", code, kind, len(numbers)) + packed.ljust(4, b"\0")
    head = struct.pack("<2sHI", b"II", 42, start)
    table = struct.pack("<H", len(tags)) + entries + struct.pack("<I", 0)
    return head + data[8:] + b"\0" * (len(data) % 2) + table + values


def _start(file: BinaryIO) -> tuple[_Layout, int]:
    head = _read(file, 0, 16, at_least=8)
    order = {b"II": "<", b"MM": ">"}.get(head[:2])
    if order is None:
        raise TagError("it does not begin as a TIFF does")
    version = struct.unpack(f"{order}H", head[2:4])[0]
    if version == 42:
        return _Layout(order, "H", "HHI", 4, "I"), struct.unpack(f"{order}I", head[4:8])[0]
    if version == 43 and len(head) == 16 and struct.unpack(f"{order}HH", head[4:8]) == (8, 0):
        return _Layout(order, "Q", "HHQ", 8, "Q"), struct.unpack(f"{order}Q", head[8:])[0]
    raise TagError(f"it does not begin as a TIFF does (version {version})")


def _table(file: BinaryIO, size: int, layout: _Layout, start: int) -> tuple[int, int, int]:
    """Return where a picture's list of tags is, its bytes, and where the next picture's is."""
    number = _number(file, size, layout, layout.count, start)
    table = start + struct.calcsize(f"<{layout.count}")
    length = number * (struct.calcsize(f"<{layout.entry}") + layout.inline)
    if not 0 < number <= _MOST_TAGS or table + length > size:
        raise TagError(f"a list of {number} tags does not fit into {size} bytes")
    following = table + length
    # Some programs leave out the last bytes, where no further picture is named.
    if following + struct.calcsize(f"<{layout.offset}") > size:
        return table, length, 0
    return table, length, _number(file, size, layout, layout.offset, following)


def _values(file: BinaryIO, size: int, layout: _Layout, entry: tuple) -> tuple[int, ...] | bytes:
    code, kind, count, inline = entry
    name = NAMES[code]
    # Only the beginning of a description is read, however long it is.
    most = 1 if code in _SINGLE else size if code == DESCRIPTION else _MOST_VALUES
    if not 0 < count <= most:
        raise TagError(f"the tag {name} has {count} values")
    width = _SIZES.get(kind, 0)
    if not width or (code not in _BYTES and kind not in _WHOLE) or (code in _BYTES and width != 1):
        raise TagError(f"the tag {name} has the type {kind}")
    length = count * width
    if length <= layout.inline:
        raw = inline[:length]
    else:
        place = struct.unpack(f"{layout.order}{layout.offset}", inline)[0]
        if place + length > size:
            raise TagError(f"the tag {name} lies outside the file")
        if code == DESCRIPTION:  # its beginning says all that we ask
            length = min(length, 4096)
        raw = _read(file, place, length)
    if code in _BYTES:
        return raw
    return struct.unpack(f"{layout.order}{count}{_WHOLE[kind]}", raw)


def _count_pictures(file: BinaryIO, size: int, layout: _Layout, start: int, following: int) -> int:
    seen = {start}
    while following and len(seen) < _MOST_PICTURES:
        if following in seen:
            raise TagError("its list of pictures runs in a circle")
        seen.add(following)
        _, _, following = _table(file, size, layout, following)
    return len(seen)


def _number(file: BinaryIO, size: int, layout: _Layout, letter: str, place: int) -> int:
    length = struct.calcsize(f"<{letter}")
    if place < 8 or place + length > size:
        raise TagError("its list of tags lies outside the file")
    return struct.unpack(f"{layout.order}{letter}", _read(file, place, length))[0]


def _read(file: BinaryIO, place: int, length: int, at_least: int | None = None) -> bytes:
    file.seek(place)
    read = file.read(length)
    if len(read) < (length if at_least is None else at_least):
        raise TagError(f"it ends after {place + len(read)} bytes")
    return read


def pieces(height: int, width: int, tags: dict) -> tuple[int, int, int]:
    """Return rows and columns of a strip or tile, and how many of them one plane has."""
    if TILE_OFFSETS in tags:
        rows, columns = tags[TILE_HEIGHT][0], tags[TILE_WIDTH][0]
    else:
        rows, columns = min(tags.get(ROWS_PER_STRIP, (height,))[0], height), width
    if not rows or not columns:
        raise TagError("its strips or tiles have no size")
    return rows, columns, math.ceil(height / rows) * math.ceil(width / columns)
