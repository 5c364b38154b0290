"""`make grade` gives every notebook the marks that it deserves, and no more."""

import contextlib
import csv
import os
import signal
import time
from concurrent.futures.process import BrokenProcessPool

import graded
import pytest

from utils import grade as command
from utils.config import CourseError
from utils.exercises.exercise import Case, Exercise
from utils.exercises.grading import marks as marks_module
from utils.exercises.grading.confine import Limits, lacking
from utils.exercises.grading.files import held
from utils.exercises.grading.marks import marked, number_of, one_line
from utils.grade import grade, main

pytestmark = pytest.mark.skipif(bool(lacking()), reason=f"needs walls: {lacking()}")
LIMITS = Limits(memory_mb=300, cpu_seconds=60)
STUBS = {
    "halve": "def halve(number):\n    '''Return half.'''\n    # Your code here\n    ...",
    "total": "import numpy as np\n\ndef total(values):\n    ...",
    "answer": "answer = ...  # Your code here",
}


@pytest.fixture(autouse=True)
def short(monkeypatch):
    monkeypatch.setattr(marks_module, "DEFINING_SECONDS", 0.5)
    monkeypatch.setattr(marks_module, "GRACE_SECONDS", 1.0)


def marks(cells):
    """Return exercise -> (mark, message) of a notebook with these cells."""
    found = marked(cells, graded.EXERCISES, limits=LIMITS)
    names = (exercise.name for exercise in graded.EXERCISES)
    return dict(zip(names, found, strict=True))


def test_a_perfect_notebook():
    assert marks(graded.answered()) == {
        "halve": ("right", "right, with 2 inputs"),
        "total": ("right", "right, with 2 inputs"),
        "answer": ("right", "right"),
    }


def test_an_untouched_notebook():
    found = marks(graded.answered(**STUBS))
    assert set(found.values()) == {("open", "not attempted yet")}


def test_a_half_right_notebook():
    cells = graded.answered(total="def total(values):\n    return max(values)", answer=None)
    assert marks(cells) == {
        "halve": ("right", "right, with 2 inputs"),
        "total": ("wrong", "for 0 to 3 you return 3, which is too low"),
        "answer": ("missing", "no cell calls check.answer(…)"),
    }


def test_a_later_input_that_stops_the_function():
    found = marks(
        graded.answered(total="def total(values):\n    return sum(values) + 0 * values[0]")
    )
    assert found["total"][0] == "wrong"
    assert found["total"][1].startswith("for no values it stops with IndexError")


def test_a_crashing_notebook():
    halve = "def halve(number):\n    raise RuntimeError('no\\nidea')"
    found = marks(graded.answered(halve, "total = 1 / 0", "answer = (42"))
    assert found["halve"] == ("wrong", "for ten it stops with RuntimeError: no")
    assert found["total"][1] == (
        "it stops with ZeroDivisionError: division by zero where it is defined"
    )
    assert found["answer"] == ("wrong", "code cell 7 is left out: '(' was never closed, line 1")


@pytest.mark.long
def test_an_endless_notebook_ends():
    stubborn = """
def total(values):
    while True:
        try:
            while True:
                pass
        except BaseException:
            pass
"""
    began = time.monotonic()
    found = marks(graded.answered("def halve(number):\n    while True: pass", stubborn))
    assert time.monotonic() - began < 20
    assert found["halve"] == ("wrong", "for ten it does not end within 1 seconds")
    assert found["total"] == ("wrong", "stopped: it does not end in time")
    assert found["answer"] == ("right", "right")


def test_a_notebook_has_only_so_much_time():
    endless = "def halve(number):\n    while True: pass"
    found = marked(graded.answered(endless), graded.EXERCISES, limits=LIMITS, seconds=0.3)
    assert found[0] == ("wrong", "stopped: it does not end in time")
    assert found[2] == ("wrong", "not tried: the notebook has used up its 0.3 seconds")


def test_a_judge_that_an_answer_would_fill_with_memory(monkeypatch):
    """An array of 2**29 rows and no columns is a few bytes, until a judge makes a list of it."""
    monkeypatch.setattr(marks_module, "JUDGING_MB", 128)
    listing = Exercise(
        "answer", "01", (Case("", (), lambda rows: f"{len(list(rows))} rows"),), is_function=False
    )
    cells = graded.answered(answer="import numpy as np\nanswer = np.empty((2**29, 0))")
    found = marked(cells, [listing, graded.HALVE], limits=LIMITS)
    assert found[0][0] == "wrong"
    assert "536870912" not in found[0][1]
    assert found[1] == ("right", "right, with 2 inputs")


@pytest.mark.long
def test_the_same_notebook_has_the_same_marks_in_every_run():
    """The order of a set of words, and where an object lies in memory, differ between processes."""
    answer = "answer = [hash('a'), list({'a', 'b', 'c', 'd'})]"
    total = "def total(values):\n    raise ValueError(object())"
    shown = Exercise("answer", "01", (Case("", (), repr),), is_function=False)
    cells = graded.answered(answer=answer, total=total)
    first, second = (marked(cells, [graded.TOTAL, shown], limits=LIMITS) for _ in range(2))
    assert first == second
    assert first[0][1] == "for 0 to 3 it stops with ValueError: <object object>"


def test_cells_that_the_answer_does_not_need_are_not_run():
    cells = graded.answered()
    cells.insert(1, "%matplotlib inline\nraise SystemExit\nimport tensorflow as halved")
    assert {mark for mark, _ in marks(cells).values()} == {"right"}


def test_one_bad_cell_is_named_and_the_rest_is_marked():
    cells = graded.answered(answer=None)
    cells.insert(1, "def f(a):\n    b = a\nreturn b")
    assert marks(cells) == {
        "halve": ("right", "right, with 2 inputs"),
        "total": ("right", "right, with 2 inputs"),
        "answer": (
            "missing",
            "no cell calls check.answer(…); code cell 2 is left out: 'return' outside function, "
            "line 3",
        ),
    }


@pytest.mark.long
def test_what_only_all_cells_together_make_is_found():
    cells = graded.answered(answer=None)
    hidden = "sys.modules['__main__'].__dict__.update(given=42)\nraise SystemExit"
    assert marks([*cells, hidden, "check.answer(given)"])["answer"] == ("right", "right")
    assert marks([*cells, "exec('check.' + 'answer(42)')"])["answer"] == ("right", "right")


def test_cells_that_end_the_process_spoil_nothing_that_was_found_before():
    cells = graded.answered(halve="def halve(number):\n    return number", answer="answer = 41")
    found = marks(["import os\nos._exit(0)", *cells])
    assert found["halve"] == ("wrong", "for ten you return 10, which is too high")
    assert found["total"] == ("right", "right, with 2 inputs")
    assert found["answer"] == ("wrong", "you return 41, which is too low")


def test_a_module_that_the_notebook_writes_can_be_imported():
    cells = graded.answered(answer=None)
    found = marks([*cells, "%%writefile mine.py\nhalf = 21", "from mine import half",
                   "check.answer(2 * half)"])  # fmt: skip
    assert found["answer"] == ("right", "right")


def test_top_level_await_works_without_sockets():
    cells = graded.answered(
        answer="import asyncio\nawait asyncio.sleep(0.01)\n"
        "answer = sum(await asyncio.gather(asyncio.sleep(0.01, 40), asyncio.to_thread(int, '2')))"
    )
    assert marks(cells)["answer"] == ("right", "right")


def test_an_answer_that_rests_on_the_shell_is_told_so():
    found = marks(graded.answered(answer="files = !ls\nanswer = len(files)"))
    assert found["answer"] == (
        "wrong",
        "it rests on !ls: commands of the shell are not run when a notebook is marked",
    )


def test_the_last_check_counts_that_is_more_than_a_stub():
    cells = graded.answered(answer=None)
    found = marks([*cells, "check.answer(41)", "check.answer(42)", "check.answer(...)"])
    assert found["answer"] == ("right", "right")
    found = marks([*cells, "check.answer(42)", "check.answer(41)"])
    assert found["answer"] == ("wrong", "you return 41, which is too low")


HOSTILE = {
    "reads a file": ("return open({secret!r}).read()", "PermissionError"),
    "lists a folder": ("import os; return os.listdir({folder!r})", "PermissionError"),
    "reads the marker's environment": (
        "import os; return open(f'/proc/{{os.getppid()}}/environ').read()",
        "PermissionError",
    ),
    "writes the marks": ("open({marks!r}, 'w').write('all right')", "PermissionError"),
    "deletes the marks": ("import os; os.remove({marks!r})", "PermissionError"),
    "opens the marks to everyone": ("import os; os.chmod({marks!r}, 0o777)", "PermissionError"),
    "forks": ("import os; return os.fork()", "PermissionError"),
    "runs a program": ("import subprocess; subprocess.run(['true'])", "PermissionError"),
    "opens a connection": ("import socket; socket.socket()", "PermissionError"),
    "stops the marker": ("import os; os.kill(os.getppid(), 9)", "PermissionError"),
    "takes all memory": ("return len(bytearray(2**36))", "MemoryError"),
    "takes too much memory": (
        "x = b'1' * (2**29); import time; time.sleep(0.9)",
        "more than 300 MiB",
    ),
    "writes a large file": ("open('large', 'wb').write(bytes(2**21))", "OSError"),
    "fills its folder": (
        "\n    number = 0\n    while True:\n        number += 1; open(str(number), 'w')",
        "stopped: it writes too many",
    ),
    "prints a verdict": ("print('halve: right, with 2 inputs')", "you return a NoneType"),
    "reads the judges": ("from utils.exercises import judges; return judges.number", "Error"),
    "imports the judges": ("import utils.exercises.judges as j; return j", "PermissionError"),
    "imports a topic": ("import utils.exercises.topics.explore as e; return e", "PermissionError"),
    "reads the exercises": (
        "import utils.config as c\n"
        "    return open(c.ROOT / 'utils/exercises/topics/explore.py').read()",
        "PermissionError",
    ),
    "patches the checks": (
        "from utils import check; from utils.exercises.exercise import Exercise\n"
        "    check.halve = check.ALL = lambda answer: 'right'\n"
        "    Exercise.judged = lambda *a: 'right'",
        "you return a NoneType",
    ),
    "is equal to everything": (
        "return type('Any', (), dict(__eq__=lambda *a: True, __float__=lambda s: 5.0))()",
        "you return a Any",
    ),
    "answers in the child's place": (
        "import os, json; t = json.dumps(dict(state='ran', mark='right', outputs=[])).encode()\n"
        "    for pipe in range(3, 1024):\n"
        "        try: os.write(pipe, len(t).to_bytes(8, 'big') + t)\n"
        "        except OSError: pass",
        "for ten nothing came back",
    ),
    "sends nonsense": (
        "import os\n"
        "    for pipe in range(3, 1024):\n"
        "        try: os.write(pipe, b'\\xff' * 64)\n"
        "        except OSError: pass",
        "stopped: what it returns is too large, or cannot be read",
    ),
    "returns very much": ("return 'x' * 2**25", "stopped: "),
    "leaves": ("import os; os._exit(0)", "stopped: its process ends before it answers"),
    "leaves politely": ("raise SystemExit('right')", "SystemExit"),
}


@pytest.mark.long
@pytest.mark.parametrize("attack", HOSTILE)
def test_a_hostile_notebook_gains_nothing(attack, tmp_path):
    secret, stored = tmp_path / "secret.txt", tmp_path / "marks.csv"
    secret.write_text("the secret")
    stored.write_text("as it was")
    body, words = HOSTILE[attack]
    body = body.format(secret=str(secret), marks=str(stored), folder=str(tmp_path))
    found = marks(graded.answered(f"def halve(number):\n    {body}"))
    assert found["halve"][0] == "wrong"
    assert words in found["halve"][1]
    assert "secret.txt" in found["halve"][1] or "secret" not in found["halve"][1]
    assert stored.read_text() == "as it was"
    assert sorted(os.listdir(tmp_path)) == ["marks.csv", "secret.txt"]
    if "child's place" in attack:
        # Answers that were not asked for are taken for those of the next exercises.
        assert {mark for mark, _ in found.values()} == {"wrong"}
    else:
        assert found["total"] == ("right", "right, with 2 inputs")
        assert found["answer"] == ("right", "right")


def submit(folder, name, cells):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(graded.notebook(*cells))
    return path


@pytest.mark.long
def test_a_folder_becomes_one_table(tmp_path, capsys):
    folder, out = tmp_path / "in", tmp_path / "out" / "marks.csv"
    submit(folder, "ada/01_explore.ipynb", graded.answered())
    submit(folder, "ben/01_explore.ipynb", graded.answered(**STUBS))
    submit(folder, "=cmd.ipynb", graded.answered(answer="answer = 41"))
    submit(folder, "dan.ipynb", ["print('nothing of the course')"])
    (folder / "eve.ipynb").write_text("{")
    rows = grade(folder, out, graded.EXERCISES, limits=LIMITS)
    with out.open(newline="", encoding="utf-8") as file:
        read = list(csv.DictReader(file))
    assert [row["student"] for row in read] == [
        *["'=cmd"] * 3, *["ada"] * 3, *["ben"] * 3, "dan", "eve",
    ]  # fmt: skip
    points = {
        name: sum(int(row["points"]) for row in read if row["student"] == name)
        for name in ("'=cmd", "ada", "ben", "dan", "eve")
    }
    assert points == {"'=cmd": 2, "ada": 3, "ben": 0, "dan": 0, "eve": 0}
    assert list(read[0])[:6] == ["student", "notebook", "exercise", "mark", "points", "message"]
    assert read[2]["message"] == "you return 41, which is too low"
    assert [row["message"] for row in read[-2:]] == [
        "no exercise of the course in it", "not readable as a notebook",
    ]  # fmt: skip
    assert len(rows) == 11
    assert "ada, 01: 3 of 3 right" in capsys.readouterr().out


def test_the_marks_are_those_of_one_job_however_many_there_are(tmp_path):
    folder = tmp_path / "in"
    for number in range(5):
        wrong = {} if number % 2 else {"total": "def total(values):\n    return 1"}
        submit(folder, f"student-{number}/01.ipynb", graded.answered(**wrong))
    submit(folder, "student-9/01.ipynb", ["while True: pass"])
    (folder / "student-8").mkdir()
    (folder / "student-8" / "01.ipynb").write_text("no notebook")
    tables = []
    for jobs in (1, 3):
        out = tmp_path / f"{jobs}.csv"
        grade(folder, out, graded.EXERCISES, limits=LIMITS, jobs=jobs)
        tables.append(out.read_bytes())
    assert tables[0] == tables[1]
    assert tables[0].count(b",right,1,") == 5 * 3 - 3  # of three students one of three is wrong


def test_a_process_that_is_ended_from_outside_is_told_and_what_is_marked_is_kept(
    tmp_path, monkeypatch
):
    folder, out = tmp_path / "in", tmp_path / "marks.csv"
    for number in range(4):
        submit(folder, f"student-{number}/01.ipynb", graded.answered())
    rows_apart = command.rows_apart

    def killed_at_the_third(student, *given):
        if student == "student-2":
            time.sleep(2)  # until the others are done
            os.kill(os.getpid(), signal.SIGKILL)
        return rows_apart(student, *given)

    monkeypatch.setattr(command, "rows_apart", killed_at_the_third)
    with pytest.raises(CourseError, match="a process that marks was ended"):
        grade(folder, out, graded.EXERCISES, limits=LIMITS, jobs=2)
    assert b"student-0,01,halve,right" in out.read_bytes()
    monkeypatch.undo()
    grade(folder, out, graded.EXERCISES, limits=LIMITS, jobs=2)
    assert out.read_bytes().count(b",right,1,") == 4 * 3


def test_a_pool_that_broke_while_marks_were_written_is_told_too(tmp_path, monkeypatch):
    submit(tmp_path / "in", "ada/01.ipynb", graded.answered())

    @contextlib.contextmanager
    def broken(jobs, how):
        def refuse(*given):
            raise BrokenProcessPool

        yield refuse

    monkeypatch.setattr(command, "_processes", broken)
    with pytest.raises(CourseError, match="a process that marks was ended"):
        grade(tmp_path / "in", tmp_path / "marks.csv", graded.EXERCISES, limits=LIMITS)


def test_two_markings_do_not_write_one_table(tmp_path):
    submit(tmp_path / "in", "ada/01.ipynb", graded.answered())
    out = tmp_path / "marks.csv"
    with held(out), pytest.raises(CourseError, match="another marking writes it; wait for it"):
        grade(tmp_path / "in", out, graded.EXERCISES, limits=LIMITS)


def test_a_process_that_was_told_to_end_has_not_marked_the_next_notebook(monkeypatch):
    """Or the notebook would be kept as marked, without rows."""
    monkeypatch.setattr(command._Marker, "ended", True)
    with pytest.raises(CourseError, match="a process that marks was ended"):
        command._result(command._at_once(command._mark, "ada", "01.ipynb", b"{}"))


def test_submissions_leave_out_links_and_hidden_folders(tmp_path):
    folder = tmp_path / "in"
    kept = submit(folder, "ada/01_explore.ipynb", [])
    outside = submit(tmp_path, "elsewhere/01_explore.ipynb", [])
    submit(folder, "ada/.ipynb_checkpoints/01_explore-checkpoint.ipynb", [])
    (folder / "ben").symlink_to(outside.parent)
    (folder / "cleo.ipynb").symlink_to(outside)
    assert graded.submissions(folder) == [("ada", kept)]


@pytest.mark.parametrize("make", [False, True])
def test_submissions_that_are_not_there(make, tmp_path):
    folder = tmp_path / "in"
    if make:
        folder.mkdir()
    with pytest.raises(CourseError, match=r"no such folder|no notebook"):
        graded.submissions(folder)


def test_a_system_without_walls_is_refused_unless_trusted(tmp_path, monkeypatch, capsys):
    folder = tmp_path / "in"
    submit(folder, "ada.ipynb", graded.answered())
    monkeypatch.setattr("utils.grade.lacking", lambda: "no walls")
    with pytest.raises(CourseError, match=r"no walls.*--trust"):
        grade(folder, tmp_path / "marks.csv", graded.EXERCISES, limits=LIMITS)
    assert not (tmp_path / "marks.csv").exists()
    rows = grade(folder, tmp_path / "marks.csv", graded.EXERCISES, limits=LIMITS, trust=True)
    assert [row.mark for row in rows] == ["right"] * 3
    assert "with your rights" in capsys.readouterr().err


def test_which_notebook_it_is(tmp_path):
    exercises = graded.EXERCISES
    assert number_of(tmp_path / "01_explore.ipynb", [], exercises) == "01"
    assert number_of(tmp_path / "ada_01_explore.ipynb", [], exercises) == "01"
    assert number_of(tmp_path / "ada.ipynb", ["check.halve(halve)"], exercises) == "01"
    assert number_of(tmp_path / "99.ipynb", ["check.unknown(halve)"], exercises) == ""


def test_messages_are_one_harmless_line():
    assert one_line("a\nb\tc\x1b[0m") == "a b c [0m"
    assert one_line("=1+1") == "'=1+1"
    assert len(one_line("x" * 1000)) == 300


def test_the_command_marks_the_course_itself(tmp_path, capsys):
    out = tmp_path / "marks.csv"
    path = submit(
        tmp_path / "in", "ada.ipynb", ["from utils import check", "check.patient_of(...)"]
    )
    assert main([str(path.parent), "--out", str(out)]) == 0
    assert "ada,01,patient_of,open,0,not attempted yet,ada.ipynb" in out.read_text()
