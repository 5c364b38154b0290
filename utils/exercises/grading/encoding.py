"""What an answer returned, as text that cannot run anything: plain JSON, no pickle.

The process that runs a student's code writes it, the process that marks reads it. What is read is
built from scratch out of numbers, text and containers, so that nothing of the student's is called
there: no ``__eq__``, no ``__array__``, no ``__reduce__``.
"""

import array
import base64
import builtins
import collections
import datetime
import sys
from collections import abc
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from functools import partial
from itertools import islice
from pathlib import Path, PurePath

import numpy as np

from utils.config import CourseError
from utils.exercises import inputs

DEEPEST = 12
MOST_ITEMS = 100_000  # of what is drawn one by one, and may have no end
NUMERIC = "biufcUSmM"  # kinds of dtypes whose bytes say everything
_SIMPLE = (bool, int, float, str)
_LONG_BITS = 4096  # JSON writes whole numbers in tens, and Python refuses that for very long ones
# Types of pandas that its arrays lose, by the name that restores them.
_EXTENSIONS = frozenset(
    {f"{sign}Int{bits}" for sign in ("", "U") for bits in (8, 16, 32, 64)}
    | {"Float32", "Float64", "boolean", "string", "str"}
)


def encode(value, depth: int = 0):
    """Return a value as JSON takes it.

    Parameters
    ----------
    value : object
        Whatever an answer returned. What has no description here is told by its type's name.
    depth : int
        How many containers it lies in; below `DEEPEST` all is cut off.
    """
    try:
        return _encoded(value, depth)
    except (TimeoutError, MemoryError):
        raise
    except Exception:  # noqa: BLE001 - methods of what came back may raise anything
        return _other(value)


def _encoded(value, depth: int):
    if value is None or type(value) in _SIMPLE:
        return _whole(value) if type(value) is int else value
    if depth > DEEPEST:
        return _other(value)
    if isinstance(value, BaseException):
        return _error(value)
    if isinstance(value, np.ndarray | np.generic):
        return _array(value, depth)
    if inputs.is_network(value):
        return _input(inputs.Network(value), depth)
    for kind, name in _CONTAINERS.items():
        if isinstance(value, kind):
            return _items(name, value, depth)
    if isinstance(value, complex):
        return _array(np.complex128(value), depth)
    if isinstance(value, PurePath):
        return {"kind": "path", "text": str(value), "pure": not isinstance(value, Path)}
    for kind in _SIMPLE:
        if isinstance(value, kind):
            return encode(kind(value))
    return (
        _mapping(value, depth)
        or _number(value)
        or _input(value, depth)
        or _table(value, depth)
        or _time(value)
        or _by_array(value, depth)
    )


# Views of a dictionary come before sets, which they are too.
_CONTAINERS = {
    collections.deque: "deque",
    abc.KeysView: "keys",
    abc.ItemsView: "pairs",
    abc.ValuesView: "values",
    list: "list",
    tuple: "tuple",
    set: "set",
    frozenset: "frozenset",
    range: "range",
    collections.UserList: "list",
}
_MAPPINGS = {
    collections.OrderedDict: "ordered",
    collections.Counter: "counter",
    collections.defaultdict: "defaults",
    abc.Mapping: "dict",
}
# What a missing key of a defaultdict may be given by; nothing else is called.
_FACTORIES = {each.__name__: each for each in (bool, int, float, str, list, tuple, dict, set)}


def _whole(value: int):
    if value.bit_length() <= _LONG_BITS:
        return value
    return {"kind": "whole", "text": hex(value)}


def _items(kind: str, values, depth: int) -> dict:
    return {"kind": kind, "items": [encode(each, depth + 1) for each in values]}


def _mapping(value, depth: int) -> dict | None:
    kind = next((name for each, name in _MAPPINGS.items() if isinstance(value, each)), None)
    if kind is None:
        return None
    sent = _items(kind, [each for pair in value.items() for each in pair], depth)
    if kind == "defaults":
        sent["factory"] = getattr(value.default_factory, "__name__", "")
    return sent


def _number(value) -> dict | None:
    if isinstance(value, Fraction):
        return {"kind": "fraction", "items": [_whole(value.numerator), _whole(value.denominator)]}
    if isinstance(value, Decimal):
        return {"kind": "decimal", "text": str(value)}
    if isinstance(value, bytes | bytearray):
        return {"kind": "bytes", "raw": base64.b64encode(value).decode("ascii")}
    return None


def _time(value) -> dict | None:
    pandas = sys.modules.get("pandas")
    if pandas is not None:
        if value is pandas.NA or value is pandas.NaT:
            return {"kind": "absent", "name": "NA" if value is pandas.NA else "NaT"}
        if isinstance(value, pandas.Timestamp | pandas.Timedelta):
            return {"kind": type(value).__name__, "text": value.isoformat()}
    for kind in _TIMES:
        if isinstance(value, kind):
            return {"kind": kind.__name__, "text": value.isoformat()}
    if isinstance(value, datetime.timedelta):
        return _array(np.timedelta64(value, "us"), 0)
    return None


_TIMES = (datetime.datetime, datetime.date, datetime.time)


def _other(value) -> dict:
    return {"kind": "other", "name": type(value).__name__}


def _input(value, depth: int) -> dict | None:
    """Describe an object of a class of `utils.exercises.inputs` by its attributes."""
    if type(value).__module__ != inputs.__name__:
        return None
    attributes = encode(dict(vars(value)), depth + 1)
    return {"kind": "input", "name": type(value).__name__, "attributes": attributes}


def _error(error: BaseException) -> dict:
    names = [each.__name__ for each in type(error).__mro__]
    only = error.args[0] if len(error.args) == 1 else None
    return {"kind": "error", "names": names, "text": only if type(only) is str else str(error)}


def _array(values: np.ndarray | np.generic, depth: int) -> dict:
    kind = "array" if isinstance(values, np.ndarray) else "scalar"
    plain = np.asarray(values)
    if plain.dtype.kind not in NUMERIC:
        items = [encode(each, depth + 1) for each in plain.ravel().tolist()]
        return {"kind": "objects", "shape": list(plain.shape), "items": items}
    raw = base64.b64encode(np.ascontiguousarray(plain).tobytes()).decode("ascii")
    return {"kind": kind, "dtype": plain.dtype.str, "shape": list(plain.shape), "raw": raw}


def _by_array(value, depth: int) -> dict:
    # Tensors and the like. Anything may happen in there; the caller expects that.
    if not isinstance(value, type):
        if hasattr(value, "__array__") or isinstance(value, memoryview | array.array):
            return _array(np.asarray(value), depth)
        if isinstance(value, abc.Iterator):
            return _drawn(value, depth)
    return _other(value)


def _drawn(value: abc.Iterator, depth: int) -> dict:
    """Describe a generator and the like by what it yields, if it comes to an end."""
    items = list(islice(value, MOST_ITEMS + 1))
    return _items("iterator", items, depth) if len(items) <= MOST_ITEMS else _other(value)


def _table(value, depth: int) -> dict | None:
    pandas = sys.modules.get("pandas")  # not imported: then it is no table
    if pandas is None:
        return None
    if isinstance(value, pandas.Index):
        return _items("index", value.tolist(), depth) | {"names": _names(value)}
    if isinstance(value, pandas.Series):
        return {"kind": "series", "name": encode(value.name, depth + 1)} | _columns([value], depth)
    if isinstance(value, pandas.DataFrame):
        columns = [value.iloc[:, place] for place in range(value.shape[1])]
        return {"kind": "frame", "names": encode(value.columns, depth + 1)} | _columns(
            columns, depth, value.index
        )
    return None


def _names(index) -> list:
    return [None if name is None else str(name) for name in index.names]


def _columns(columns: list, depth: int, index=None) -> dict:
    index = columns[0].index if index is None else index
    values = [_array(column.to_numpy(), depth + 1) for column in columns]
    types = [str(column.dtype) for column in columns]
    return {"columns": values, "types": types, "index": encode(index, depth + 1)}


class Unknown:
    """Stands for a value of a type that is not sent."""


def decode(data):
    """Return the value that `encode` described.

    Parameters
    ----------
    data : object
        As `json.loads` returns it; not to be trusted.

    Raises
    ------
    CourseError
        If it is no such description.
    """
    try:
        return _decode(data, 0)
    except (
        TypeError,
        ValueError,
        LookupError,
        AttributeError,
        OverflowError,
        MemoryError,
        ArithmeticError,
    ) as error:
        raise CourseError("what came back cannot be read") from error


def _decode(data, depth: int):
    if data is None or type(data) in _SIMPLE:
        return data
    if type(data) is not dict or depth > DEEPEST + 1:
        raise ValueError("no description of a value")
    kind = data["kind"]
    if kind in _READERS:
        return _READERS[kind](data)
    items = [_decode(each, depth + 1) for each in data.get("items", ())]
    if kind == "defaults":
        return collections.defaultdict(_FACTORIES.get(str(data["factory"])), _pairs(items))
    if kind in _BUILDERS:
        return _BUILDERS[kind](items)
    if kind == "objects":
        values = np.empty(len(items), dtype=object)
        values[:] = items
        return values.reshape(data["shape"])
    if kind == "input":
        return _read_input(data, depth)
    if kind == "index":
        return _index(items, data["names"])
    return _read_table(data, depth)


def _pairs(items: list) -> dict:
    return dict(zip(items[::2], items[1::2], strict=True))


_BUILDERS: dict[str, Callable] = {
    "list": list,
    "tuple": tuple,
    "set": set,
    "frozenset": frozenset,
    "range": list,
    "deque": collections.deque,
    "dict": _pairs,
    "ordered": lambda items: collections.OrderedDict(_pairs(items)),
    "counter": lambda items: collections.Counter(_pairs(items)),
    "keys": lambda items: dict.fromkeys(items).keys(),
    "values": lambda items: dict(enumerate(items)).values(),
    "pairs": lambda items: dict(items).items(),
    "iterator": lambda items: (each for each in items),
    "fraction": lambda items: Fraction(*items),
}


def _read_array(data: dict):
    dtype = np.dtype(data["dtype"])
    if dtype.kind not in NUMERIC or dtype.itemsize == 0:
        raise ValueError("no array of numbers or text")
    values = np.frombuffer(base64.b64decode(data["raw"], validate=True), dtype=dtype)
    values = values.reshape([int(length) for length in data["shape"]])
    return values.copy() if data["kind"] == "array" else values[()]


def _read_input(data: dict, depth: int):
    """Return an object without calling anything of its class."""
    known = getattr(inputs, str(data["name"]))
    if not isinstance(known, type) or known.__module__ != inputs.__name__:
        raise ValueError("no class of inputs")
    value = object.__new__(known)
    vars(value).update(_decode(data["attributes"], depth + 1))
    return value


def _read_error(data: dict) -> BaseException:
    """Return an exception of the same name, of the nearest kind that is known here."""
    names, text = [str(name)[:60] for name in data["names"]], str(data["text"])
    known = (_known(name) for name in names)
    kind = next((each for each in known if each is not None), Exception)
    if not issubclass(kind, Exception):
        kind = Exception  # SystemExit and the like must not get far here
    if kind.__name__ != names[0]:
        kind = type(names[0], (kind,), {})
    try:
        return kind(text)
    except TypeError:  # a UnicodeDecodeError, say, wants more than a text
        return type(names[0], (ValueError,), {})(text)


def _known(name: str) -> type | None:
    kind = CourseError if name == "CourseError" else getattr(builtins, name, None)
    return kind if isinstance(kind, type) and issubclass(kind, BaseException) else None


def _read_time(kind: type, data: dict):
    return kind.fromisoformat(str(data["text"]))


def _pandas():

    import pandas as pd

    return pd


_READERS = {
    "array": _read_array,
    "scalar": _read_array,
    "error": _read_error,
    "path": lambda data: (PurePath if data.get("pure") else Path)(str(data["text"])),
    "whole": lambda data: int(str(data["text"]), 16),
    "decimal": lambda data: Decimal(str(data["text"])),
    "bytes": lambda data: base64.b64decode(data["raw"], validate=True),
    "absent": lambda data: getattr(_pandas(), "NA" if data["name"] == "NA" else "NaT"),
    "Timestamp": lambda data: _pandas().Timestamp(str(data["text"])),
    "Timedelta": lambda data: _pandas().Timedelta(str(data["text"])),
    **{kind.__name__: partial(_read_time, kind) for kind in _TIMES},
    "other": lambda data: type(str(data["name"])[:60], (Unknown,), {})(),
}


def _index(items: list, names: list):
    labels = [None if name is None else str(name) for name in names]
    if len(labels) > 1:
        return _pandas().MultiIndex.from_tuples(items, names=labels)
    return _pandas().Index(items, name=labels[0])


def _read_table(data: dict, depth: int):
    pd = _pandas()
    index = _decode(data["index"], depth + 1)
    types = data.get("types", [""] * len(data["columns"]))
    columns = [
        _restored(pd.Series(_decode(column, depth + 1)), str(dtype)).array
        for column, dtype in zip(data["columns"], types, strict=True)
    ]
    if data["kind"] == "series":
        return pd.Series(columns[0], index=index, name=_decode(data["name"], depth + 1))
    if data["kind"] != "frame":
        raise ValueError("no description of a value")
    # By number first: two columns may have one name.
    table = pd.DataFrame(dict(enumerate(columns)), index=index)
    table.columns = _decode(data["names"], depth + 1)
    return table


def _restored(column, dtype: str):
    return column.astype(dtype) if dtype in _EXTENSIONS else column
