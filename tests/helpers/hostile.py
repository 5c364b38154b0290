"""Submissions made to destroy the marking of all others, to read, or to change what is outside.

`write` puts them all into a folder, one a student. Each answers the exercises of `graded`; the
attack lies in the answer to `halve`, in the file itself, or in its name.
"""

import json
import os
from pathlib import Path

import graded

# The body of `halve`. {secret} is a file of the instructor's, {out} the CSV, {course} the course.
BODIES = {
    "files_that_vanish": """
    while True:
        for number in range(150):
            open(str(number), "w").close()
        for number in range(150):
            os.remove(str(number))
""",
    "sleeper": """
    signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 65))
    time.sleep(10**6)
""",
    "array_without_columns": """
    import numpy as np
    return np.empty((2**29, 0))
""",
    "list_of_a_huge_array": """
    return say({{"kind": "array", "dtype": "<f8", "shape": [2**40, 0], "raw": ""}})
""",
    "frame_of_a_huge_index": """
    column = {{"kind": "array", "dtype": "<f8", "shape": [2**29, 0], "raw": ""}}
    index = {{"kind": "index", "items": [column], "names": ["a"]}}
    return say({{"kind": "frame", "columns": [column], "names": index, "index": index}})
""",
    "deep_answer": """
    return write(b'{{"state": "ran", "outputs": ' + b"[" * 10**6 + b"]" * 10**6 + b"}}")
""",
    "long_number": """
    return write(b'{{"state": "ran", "outputs": [' + b"1" * 10**6 + b"]}}")
""",
    "many_lists": """
    return write(b'{{"state": "ran", "outputs": [' + b"[]," * 5 * 10**6 + b"1]}}")
""",
    "surrogates": """
    return say("\\ud800" * 10)
""",
    "state_with_surrogates": """
    return write(b'{{"state": "undefined", "text": "=\\\\ud800\\\\n\\\\u0000"}}')
""",
    "garbage": """
    for pipe in range(3, 64):
        try: os.write(pipe, os.urandom(4096))
        except OSError: pass
""",
    "endless_answer": """
    while True:
        for pipe in range(3, 64):
            try: os.write(pipe, b"\\0" * 7 + b"\\x01 ")
            except OSError: pass
""",
    "endless_output": """
    end = time.monotonic() + 0.5
    while time.monotonic() < end:
        print("x" * 10**5)
        os.write(2, b"y" * 10**5)
""",
    "closes_all": """
    os.closerange(0, 64)
    time.sleep(10**6)
""",
    "fork_bomb": """
    while True:
        os.fork()
""",
    "daemon": """
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            time.sleep(10**6)
        os._exit(0)
""",
    "thread_bomb": """
    threading.stack_size(32768)
    while True:
        try: threading.Thread(target=time.sleep, args=(10**6,)).start()
        except RuntimeError: pass
""",
    "kills_all": """
    for target in (os.getppid(), -1, -os.getppid(), os.getpgid(os.getppid())):
        try: os.kill(target, 9)
        except OSError: pass
""",
    "signal_by_a_pipe": """
    import fcntl
    for command, value in ((fcntl.F_SETSIG, 9), (fcntl.F_SETOWN, os.getppid())):
        for pipe in range(3, 64):
            try: fcntl.fcntl(pipe, command, value)
            except OSError: pass
    for pipe in range(3, 64):
        try: fcntl.fcntl(pipe, fcntl.F_SETFL, os.O_ASYNC)
        except OSError: pass
""",
    "outlives": """
    ctypes.CDLL(None).prctl(1, 0, 0, 0, 0)
    signal.signal(signal.SIGALRM, signal.SIG_IGN)
    while True: pass
""",
    "empties": """
    for name in ({secret!r}, {out!r}, {out!r} + ".progress.jsonl", {course!r} + "/README.md"):
        for way in (
            lambda: os.truncate(name, 0),
            lambda: os.open(name, os.O_RDONLY | os.O_TRUNC),
            lambda: os.open(name, 3 | os.O_TRUNC),
            lambda: open(name, "w"),
            lambda: os.remove(name),
            lambda: os.rename(name, name + "~"),
            lambda: os.chmod(name, 0),
        ):
            try: way()
            except OSError: pass
""",
    "reads": """
    topic = {course!r} + "/utils/exercises/topics/explore.py"
    judges = topic.replace("topics/explore", "judges")
    for name in ({secret!r}, topic, judges, "/proc/self/environ"):
        try: return open(name).read()
        except OSError: pass
    raise SystemExit("nothing")
""",
    "links": """
    for make in (os.symlink, os.link):
        try: make({secret!r}, "link")
        except OSError: pass
    return open("link").read()
""",
    "fills": """
    number = 0
    while True:
        number += 1
        with open(str(number), "wb") as file:
            file.write(bytes(2**20))
""",
    "eats_memory": """
    kept = [bytes([1]) * 2**20 for _ in range(600)]
    time.sleep(5)
""",
    "crashes": """
    ctypes.string_at(0)
""",
    "leaves": """
    os._exit(0)
""",
}  # fmt: skip

HELPERS = """
import ctypes, json, os, signal, sys, threading, time

def write(words):
    for pipe in range(3, 64):
        try: os.write(pipe, len(words).to_bytes(8, "big") + words)
        except OSError: pass

def say(value):
    write(json.dumps({"state": "ran", "outputs": [value, value]}).encode())
"""
RIGHT = "answered rightly"  # the student whose notebook is perfect


def cells_of(body, **names):
    """Return the code cells of a notebook with an attack in `halve`."""
    halve = "def halve(number):" + body.format(**names)
    return [HELPERS, *graded.answered(halve)]


def write(folder: Path, secret: Path, out: Path, course: Path) -> None:
    """Write all submissions: the perfect one, attacks in code, in content and in names."""
    _put(folder / RIGHT / "01_explore.ipynb", graded.notebook(*graded.answered()))
    for name, body in BODIES.items():
        cells = cells_of(body, secret=str(secret), out=str(out), course=str(course))
        _put(folder / name / "01_explore.ipynb", graded.notebook(*cells))
    for name, text in _contents().items():
        _put(folder / name / "01_explore.ipynb", text)
    (folder / "pipe").mkdir()
    os.mkfifo(folder / "pipe" / "01_explore.ipynb")
    (folder / "folder" / "01_explore.ipynb").mkdir(parents=True)
    (folder / "link.ipynb").symlink_to(secret)
    (folder / "loop.ipynb").symlink_to(folder / "loop.ipynb")
    right = graded.notebook(*graded.answered()).encode()
    for name in (b"\xff\xfe.ipynb", b"new\nline.ipynb", b"=1+1.ipynb", b"x" * 240 + b".ipynb"):
        (Path(os.fsdecode(os.fsencode(folder) + b"/" + name))).write_bytes(right)


def _contents() -> dict[str, str]:
    deep = "[" * 10**5 + "]" * 10**5
    return {
        "no_json": "\x00" * 100,
        "deep": deep,
        "deep_cells": json.dumps({"cells": 1})[:-2] + deep + "}",
        "deep_code": graded.notebook("x = " + "(" * 10**4 + "1" + ")" * 10**4, *graded.answered()),
        "long_code": graded.notebook("x = " + "-" * 10**5 + "1", *graded.answered()),
        "surrogate_code": graded.notebook("x = '\ud800'", *graded.answered()),
        "many": '{"cells": [' + "{}," * 10**6 + "{}]}",
        "number": '{"cells": ' + "9" * 10**6 + "}",
        "twice": '{"cells": [], "cells": null}',
    }


def _put(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
