"""Load damaged files: a result or one `CourseError` of one line, and nothing else, may come of it.

    python tests/fuzz/mutate.py [KIND ...] [--inputs 10000] [--first 0]

Every module beside this one (other than the tests) lists in ``TARGETS`` what it loads. Input n of
a target is made from one of its seeds by a generator that is started with n: `--first n --inputs 1`
makes it again. Each target is loaded in a process of its own, so that a crash, a hang of more than
20 s, and more than 2 GiB are findings as well, and so is anything on standard error.
"""

import argparse
import contextlib
import importlib.util
import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
LONGEST_SECONDS = 20
LARGEST_BYTES = 2 << 30
# A process that goes wild is stopped here, so that the machine goes on.
_ADDRESS_SPACE = 24 << 30
_ODD_NUMBERS = (
    0,
    1,
    2,
    127,
    128,
    255,
    256,
    32767,
    32768,
    65535,
    65536,
    2**31 - 1,
    2**31,
    2**32 - 1,
)
_ODD_VALUES = (
    None, True, False, 0, -1, 1, 2**31, 2**63, 1e308, -0.5, float("nan"), float("inf"), "", "nan",
    "\0", "x" * 300, "ü/../\\", [], {}, [[]], [None], {"": None}, [0] * 1000,
)  # fmt: skip


def mutate_bytes(draw: random.Random, seeds: Sequence[bytes]) -> bytes:
    """Return one of the seeds with 1 to 6 places changed, most often near its ends."""
    data = bytearray(draw.choice(seeds))
    for _ in range(draw.choice((1, 1, 1, 2, 3, 6))):
        draw.choice(_CHANGES)(draw, data, seeds)
    return bytes(data)


def mutate_json(draw: random.Random, seeds: Sequence[bytes]) -> bytes:
    """Return a seed, a JSON text, with 1 to 3 values or keys changed; sometimes its bytes."""
    if draw.random() < 0.2:
        return mutate_bytes(draw, seeds)
    value = json.loads(draw.choice(seeds))
    for _ in range(draw.choice((1, 1, 2, 3))):
        value = _changed(draw, value)
    return json.dumps(value).encode()


@dataclass(frozen=True)
class Target:
    """What is to be loaded.

    Attributes
    ----------
    name : str
    seeds : callable
        Returns whole files, as bytes; always the same ones.
    load : callable
        Takes the path of a damaged file, alone in a folder of its own, in which it may put
        others. May return anything and raise `CourseError`.
    suffix : str
        Of the file's name.
    mutate : callable
        Takes a `random.Random` and the seeds, returns a damaged file.
    """

    name: str
    seeds: Callable[[], Sequence[bytes]]
    load: Callable[[Path], object]
    suffix: str = ""
    mutate: Callable[[random.Random, Sequence[bytes]], bytes] = mutate_bytes


@dataclass(frozen=True)
class Finding:
    """An input that gave something else than a result or one line."""

    target: str
    number: int
    what: str

    def __str__(self) -> str:
        return f"{self.target} {self.number}: {self.what}"


def targets() -> dict[str, Target]:
    """Return what the modules beside this one list, by name."""
    found = {}
    for path in sorted(HERE.glob("*.py")):
        if path.name == Path(__file__).name or path.name.startswith("test_"):
            continue
        spec = importlib.util.spec_from_file_location(f"fuzz_{path.stem}", path)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        found |= {target.name: target for target in module.TARGETS}
    return found


def damaged(target: Target, seeds: Sequence[bytes], number: int) -> bytes:
    """Return input `number` of a target."""
    return target.mutate(random.Random(f"{target.name}-{number}"), seeds)


def run(name: str, first: int, inputs: int) -> tuple[list[Finding], dict[str, int]]:
    """Load inputs `first`, `first` + 1 ... of a target.

    Returns
    -------
    list of Finding
    dict
        ``loaded`` and ``refused``: how many.
    """
    findings, counts = [], {"loaded": 0, "refused": 0}
    number = first
    while number < first + inputs:
        for outcome in _worker(name, number, first + inputs - number):
            number = outcome["number"] + 1
            if outcome["what"] in counts:
                counts[outcome["what"]] += 1
            else:
                findings.append(Finding(name, outcome["number"], outcome["what"]))
    return findings, counts


def _worker(name: str, first: int, inputs: int) -> Iterator[dict]:
    """Yield what became of each input; the last one may be what ended the process."""
    command = [sys.executable, __file__, name, "--first", first, "--inputs", inputs, "--worker"]
    process = subprocess.Popen(
        [str(word) for word in command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    expired = threading.Event()

    def stop():
        expired.set()
        process.kill()

    number, noise, done = first, [], False
    # The first one waits for the imports as well.
    watch = threading.Timer(LONGEST_SECONDS + 100, stop)
    watch.start()
    for line in process.stdout:
        try:
            outcome = json.loads(line)
        except ValueError:
            noise.append(line)
            continue
        watch.cancel()
        watch = threading.Timer(LONGEST_SECONDS, stop)
        watch.start()
        yield outcome
        number, done = outcome["number"] + 1, outcome["number"] == first + inputs - 1
    watch.cancel()
    status = process.wait()
    if expired.is_set():
        yield {"number": number, "what": f"took more than {LONGEST_SECONDS} s"}
    elif not done:
        yield {"number": number, "what": f"the process ended, status {status}: {noise[-8:]}"}


def _load_all(target: Target, first: int, inputs: int) -> None:
    """Load inputs one after the other and print what became of each (in the worker)."""
    sys.path.insert(0, str(ROOT))
    from utils.config import CourseError
    from utils.runtime.memory import peak_bytes

    resource.setrlimit(resource.RLIMIT_AS, (_ADDRESS_SPACE, _ADDRESS_SPACE))
    seeds = list(target.seeds())
    told = os.fdopen(os.dup(1), "w")
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder, tempfile.TemporaryFile() as noise:
        os.dup2(noise.fileno(), 1)
        os.dup2(noise.fileno(), 2)
        for number in range(first, first + inputs):
            place = Path(folder) / str(number)
            place.mkdir()
            path = place / f"input{target.suffix}"
            path.write_bytes(damaged(target, seeds, number))
            try:
                target.load(path)
                what = "loaded"
            except CourseError as error:
                what = "refused" if _is_one_line(str(error)) else f"not one line: {str(error)!r}"
            except BaseException:  # noqa: BLE001 - whatever it is, it is a finding
                what = traceback.format_exc(limit=-4)
            sys.stdout.flush()
            sys.stderr.flush()
            noise.seek(0)
            if (said := noise.read()) and what in ("loaded", "refused"):
                what = f"wrote to standard output or error: {said[:300]!r}"
            noise.truncate(0)
            noise.seek(0)
            peak = peak_bytes(os.getpid())
            if peak > LARGEST_BYTES:
                what = f"took {peak / 2**30:.1f} GiB"
            print(json.dumps({"number": number, "what": what}), file=told, flush=True)
            _remove(place)
            if peak > LARGEST_BYTES:  # a peak never falls: go on in a new process
                os._exit(0)


def _is_one_line(message: str) -> bool:
    return bool(message) and message.isprintable() and len(message) < 1000


def _remove(folder: Path) -> None:
    for place, folders, files in os.walk(folder, topdown=False):
        for name in files:
            os.unlink(os.path.join(place, name))
        for name in folders:
            path = os.path.join(place, name)
            os.unlink(path) if os.path.islink(path) else os.rmdir(path)
    folder.rmdir()


# The changes of bytes


def _place(draw: random.Random, data: bytearray) -> int:
    """Return a place: files keep their tables at the beginning or at the end."""
    near = min(len(data), draw.choice((16, 128, 512, len(data) + 1)))
    place = draw.randrange(near) if near else 0
    return place if draw.random() < 0.6 else max(0, len(data) - 1 - place)


def _flip_bit(draw, data, seeds):
    if data:
        data[_place(draw, data)] ^= 1 << draw.randrange(8)


def _set_byte(draw, data, seeds):
    if data:
        data[_place(draw, data)] = draw.randrange(256)


def _set_number(draw, data, seeds):
    """Write an odd number in 2, 4 or 8 bytes, in either byte order, mostly at an even place."""
    size = draw.choice((2, 4, 8))
    number = draw.choice(_ODD_NUMBERS) % 256**size
    place = _place(draw, data) & ~draw.choice((0, 1, 3))
    data[place : place + size] = number.to_bytes(size, draw.choice(("little", "big")))


def _cut(draw, data, seeds):
    place = _place(draw, data)
    del data[place : place + draw.choice((1, 2, 4, 64, len(data)))]


def _double(draw, data, seeds):
    place, size = _place(draw, data), draw.choice((1, 2, 12, 64))
    data[place:place] = data[place : place + size]


def _insert(draw, data, seeds):
    place = _place(draw, data)
    data[place:place] = draw.randbytes(draw.choice((1, 2, 4, 64)))


def _fill(draw, data, seeds):
    place = _place(draw, data)
    size = min(draw.choice((2, 4, 64)), len(data) - place)
    data[place : place + size] = bytes([draw.choice((0, 255))]) * size


def _move(draw, data, seeds):
    size = draw.choice((2, 4, 12))
    source, place = _place(draw, data), _place(draw, data)
    data[place : place + size] = data[source : source + size]


def _splice(draw, data, seeds):
    other = draw.choice(seeds)
    place = _place(draw, data)
    data[place:] = other[place:]


_CHANGES = (
    _flip_bit, _set_byte, _set_byte, _set_number, _set_number, _set_number, _cut, _double, _insert,
    _fill, _move, _splice,
)  # fmt: skip


def _changed(draw: random.Random, value):
    """Return a JSON value in which one value or key is another."""
    if draw.random() < 0.25 or not isinstance(value, dict | list) or not value:
        return draw.choice(_ODD_VALUES)
    if isinstance(value, list):
        place = draw.randrange(len(value))
        if draw.random() < 0.2:
            return value[:place] + value[place + 1 :]
        return [*value[:place], _changed(draw, value[place]), *value[place + 1 :]]
    key = draw.choice(list(value))
    change = draw.random()
    if change < 0.15:
        return {name: one for name, one in value.items() if name != key}
    if change < 0.25:
        return {f"{key}x" if name == key else name: one for name, one in value.items()}
    return {**value, key: _changed(draw, value[key])}


def main() -> int:
    """Parse the command line and run."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("kinds", nargs="*", metavar="KIND", help="names of targets (default: all)")
    parser.add_argument("--inputs", type=int, default=10_000, help="in all, shared by the targets")
    parser.add_argument("--first", type=int, default=0, help="number of the first input")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    # What a target's module imports from here is this module, not a second one.
    sys.modules.setdefault("mutate", sys.modules[__name__])
    sys.path[:0] = [str(HERE), str(ROOT)]
    if arguments.worker:
        _load_all(targets()[arguments.kinds[0]], arguments.first, arguments.inputs)
        return 0
    names = arguments.kinds or list(targets())
    faults = 0
    for name in names:
        findings, counts = run(name, arguments.first, -(-arguments.inputs // len(names)))
        faults += len(findings)
        print(f"{name}: {counts['loaded']} loaded, {counts['refused']} refused, "
              f"{len(findings)} findings", flush=True)  # fmt: skip
        for finding in findings:
            print(f"  {finding}", flush=True)
    return 1 if faults else 0


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        sys.exit(main())
