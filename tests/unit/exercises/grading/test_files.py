"""Marks are kept after each notebook, a second call goes on, and nothing is left behind."""

import contextlib
import csv
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import graded
import killed_marking
import psutil
import pytest

from utils import grade as command
from utils.config import ROOT, CourseError
from utils.exercises.grading import files, submissions as submissions_module
from utils.exercises.grading.confine import Limits, lacking
from utils.exercises.grading.files import content, sweep
from utils.exercises.grading.marks import Row
from utils.exercises.grading.submissions import _look, handed_in
from utils.grade import grade

pytestmark = pytest.mark.skipif(bool(lacking()), reason=f"needs walls: {lacking()}")
LIMITS = Limits(memory_mb=300, cpu_seconds=60)


@pytest.fixture
def folder(tmp_path):
    for student in ("ada", "ben", "cleo"):
        put(tmp_path / "in" / f"{student}.ipynb")
    return tmp_path / "in"


def put(path, **answers):
    path.parent.mkdir(exist_ok=True)
    path.write_text(graded.notebook(*graded.answered(**answers)))


@pytest.fixture
def noted(monkeypatch):
    """Note whose notebooks are marked, without running them; `stop` ends the marking before one."""

    class Noted(list):
        stop = None

    names = Noted()

    def rows_apart(student, name, data, *rest):
        if student == names.stop:
            raise KeyboardInterrupt
        names.append(student)
        points = 0 if b"answer = 41" in data else 1
        return [Row(student, "01", "answer", "right" if points else "wrong", points, "", name)]

    monkeypatch.setattr(command, "rows_apart", rows_apart)
    monkeypatch.setattr(command, "probe", lambda *given: None)
    return names


def mark(folder, out, **options):
    return grade(folder, out, graded.EXERCISES, limits=LIMITS, **options)


def students(out):
    with out.open(newline="", encoding="utf-8") as file:
        return [row["student"] for row in csv.DictReader(file)]


def test_a_second_call_goes_on(folder, tmp_path, noted, capsys):
    out = tmp_path / "marks.csv"
    noted.stop = "cleo"
    with pytest.raises(KeyboardInterrupt):
        mark(folder, out)
    assert noted == ["ada", "ben"]
    assert students(out) == ["ada", "ben"]
    noted.stop = None
    rows = mark(folder, out)
    assert noted == students(out) == ["ada", "ben", "cleo"]
    assert [row.points for row in rows] == [1, 1, 1]
    assert "2 of 3 notebooks need no marking" in capsys.readouterr().out


def test_only_what_has_changed_is_marked_again(folder, tmp_path, noted):
    out = tmp_path / "marks.csv"
    mark(folder, out)
    before = out.read_bytes()
    put(folder / "ben.ipynb", answer="answer = 41")
    put(folder / "dan.ipynb")
    os.remove(folder / "cleo.ipynb")
    noted.clear()
    rows = mark(folder, out)
    assert noted == ["ben", "dan"]
    assert [row.points for row in rows] == [1, 0, 1]
    assert students(out) == ["ada", "ben", "dan"]
    # The old content has its old marks.
    put(folder / "ben.ipynb")
    put(folder / "cleo.ipynb")
    os.remove(folder / "dan.ipynb")
    mark(folder, out)
    assert out.read_bytes() == before


@pytest.mark.parametrize("change", ["the course", "the limits", "the exercises"])
def test_marks_hold_for_one_course_only(change, folder, tmp_path, noted, monkeypatch, capsys):
    out = tmp_path / "marks.csv"
    mark(folder, out)
    noted.clear()
    exercises, limits = graded.EXERCISES, LIMITS
    if change == "the limits":
        limits = Limits(memory_mb=301, cpu_seconds=60)
    elif change == "the exercises":
        exercises = exercises[:2]
    else:
        (tmp_path / "utils").mkdir()
        (tmp_path / "requirements.lock").write_text("")
        monkeypatch.setattr(files, "ROOT", tmp_path)
    grade(folder, out, exercises, limits=limits)
    assert noted == ["ada", "ben", "cleo"]
    assert "all is marked anew" in capsys.readouterr().out


def test_the_marks_come_back_if_the_table_is_lost(folder, tmp_path, noted):
    out = tmp_path / "marks.csv"
    mark(folder, out)
    before = out.read_bytes()
    out.unlink()
    noted.clear()
    mark(folder, out)
    assert (noted, out.read_bytes()) == ([], before)


def test_a_line_that_a_kill_cut_off_is_left_out(folder, tmp_path, noted):
    out, progress = tmp_path / "marks.csv", tmp_path / "marks.csv.progress.jsonl"
    mark(folder, out)
    before = out.read_bytes()
    assert len(progress.read_bytes().splitlines()) == 4  # what decides, and three notebooks
    progress.write_bytes(progress.read_bytes()[:-20])
    noted.clear()
    mark(folder, out)
    assert (noted, out.read_bytes()) == (["cleo"], before)


def test_a_notebook_that_was_marked_adds_a_line_and_the_others_are_not_written_again(
    folder, tmp_path, noted, monkeypatch
):
    sizes = []
    keep = files.Progress.keep

    def kept(self, *given):
        keep(self, *given)
        sizes.append(self.path.stat().st_size)

    monkeypatch.setattr(files.Progress, "keep", kept)
    monkeypatch.setattr(files, "atomic_path", once(files.atomic_path, "progress"))
    mark(folder, tmp_path / "marks.csv")
    assert sizes == sorted(set(sizes))


def once(original, word):
    """Return a function that may be called once for a path with a word in it."""
    seen = []

    def atomic_path(path):
        if word in path.name:
            assert not seen
            seen.append(path)
        return original(path)

    return atomic_path


@pytest.mark.long
def test_a_fault_of_the_marker_is_no_mark(folder, tmp_path, monkeypatch, capsys):
    out, original = tmp_path / "marks.csv", command.rows_of

    def rows_of(student, *rest):
        if student == "ben":
            raise RuntimeError("no idea")
        return original(student, *rest)

    monkeypatch.setattr(command, "rows_of", rows_of)
    monkeypatch.setattr("utils.check.ALL", graded.EXERCISES)
    assert command.main([str(folder), "--out", str(out)]) == 1
    assert "1 notebook is not marked, through no fault of the students" in capsys.readouterr().err
    with out.open(newline="") as file:
        (ben,) = [row for row in csv.DictReader(file) if row["student"] == "ben"]
    assert (ben["mark"], ben["points"]) == ("unmarked", "0")
    assert ben["message"] == "the marker fails with RuntimeError: no idea"
    assert students(out) == ["ada"] * 3 + ["ben"] + ["cleo"] * 3
    monkeypatch.setattr(command, "rows_of", original)
    assert command.main([str(folder), "--out", str(out)]) == 0
    assert students(out) == ["ada"] * 3 + ["ben"] * 3 + ["cleo"] * 3


UNWRITABLE = {
    "a folder": (lambda place: (place / "out").mkdir(), "out", "no file to write to"),
    "a pipe": (lambda place: os.mkfifo(place / "out"), "out", "no file to write to"),
    "below a file": (
        lambda place: (place / "file").write_text("as it was"),
        "file/marks.csv",
        "cannot be written",
    ),
    "a long name": (lambda place: None, "x" * 300 + ".csv", "cannot be written"),
    "a link loop": (lambda place: (place / "out").symlink_to(place / "out"), "out/m", "cannot"),
    "a device": (lambda place: None, "/dev/null", "no file to write to"),
}


@pytest.mark.parametrize("case", UNWRITABLE)
def test_a_table_that_cannot_be_written_is_told_before_any_work(case, folder, tmp_path, noted):
    make, name, words = UNWRITABLE[case]
    make(tmp_path)
    with pytest.raises(CourseError, match=words) as raised:
        mark(folder, tmp_path / name)
    assert "\n" not in str(raised.value)
    assert noted == []
    assert not Path("/dev/null").is_file()


@pytest.mark.skipif(os.name == "posix" and os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_without_the_right_to_write_is_told_before_any_work(folder, tmp_path, noted):
    (tmp_path / "out").mkdir(mode=0o500)
    with pytest.raises(CourseError, match="cannot be written"):
        mark(folder, tmp_path / "out" / "marks.csv")
    assert noted == []


def test_an_older_table_is_kept_until_there_are_marks(folder, tmp_path, noted):
    out = tmp_path / "marks.csv"
    out.write_text("of last year")
    (tmp_path / "marks.csv.progress.jsonl").write_text("no JSON")
    with pytest.raises(
        CourseError, match=r"progress\.jsonl: not the progress of a marking; delete it"
    ):
        mark(folder, out)
    assert (out.read_text(), noted) == ("of last year", [])


def test_a_link_to_the_table_stays_a_link(folder, tmp_path, noted):
    (tmp_path / "linked.csv").symlink_to(tmp_path / "marks.csv")
    mark(folder, tmp_path / "linked.csv")
    assert (tmp_path / "linked.csv").is_symlink()
    assert students(tmp_path / "marks.csv") == noted


def test_content_follows_no_link_and_waits_for_nobody(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "file").write_bytes(b"text")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to(tmp_path / "a" / "file")
    (tmp_path / "b").symlink_to(tmp_path / "a")
    assert content(tmp_path, tmp_path / "a" / "file") == b"text"
    for name in ("pipe", "link", "b/file", "a", "none"):
        with pytest.raises(CourseError, match=r"where a file is expected|cannot be read"):
            content(tmp_path, tmp_path / name)


def test_notebooks_are_found_however_deep_they_lie(tmp_path):
    (tmp_path / "ada.ipynb").write_text("")
    (tmp_path / "link").symlink_to(tmp_path)
    place = os.open(tmp_path, os.O_RDONLY)
    for _ in range(1200):  # more than Python may recurse; the path is shorter than Linux allows
        os.mkdir("d", dir_fd=place)
        inner = os.open("d", os.O_RDONLY, dir_fd=place)
        os.close(place)
        place = inner
    os.close(os.open("ben.ipynb", os.O_WRONLY | os.O_CREAT, dir_fd=place))
    os.close(place)
    found = [path for _, path in graded.submissions(tmp_path)]
    assert [path.name for path in found] == ["ada.ipynb", "ben.ipynb"]
    assert [content(tmp_path, path) for path in found] == [b"", b""]
    while (folder := next(tmp_path.glob("d"), None)) and os.path.isdir(folder / "d"):
        # Unfold it, because deleting recurses too.
        os.rename(folder / "d", tmp_path / "e")
        for path in folder.iterdir():
            path.unlink()
        folder.rmdir()
        os.rename(tmp_path / "e", folder)


def test_a_file_that_vanishes_while_all_are_listed_is_told(folder, monkeypatch):
    original = _look

    def look(path):
        if path.stem == "ben":
            raise FileNotFoundError(2, "No such file or directory")
        return original(path)

    monkeypatch.setattr(submissions_module, "_look", look)
    found = {one.student: one.reason for one in handed_in(folder)}
    assert found == {"ada": "", "ben": "cannot be read: No such file or directory", "cleo": ""}


def test_what_is_too_large_is_not_read(tmp_path, monkeypatch):
    (tmp_path / "file").write_bytes(bytes(2**20 + 1))
    monkeypatch.setattr(files, "LARGEST_NOTEBOOK", 2**20)
    with pytest.raises(CourseError, match="larger than 1 MiB"):
        content(tmp_path, tmp_path / "file")


def test_what_killed_markings_have_left_is_swept(tmp_path, monkeypatch):
    monkeypatch.setattr(files.tempfile, "tempdir", str(tmp_path))
    unused = max(psutil.pids()) + 10**6
    long_ago = time.time() - 10**5
    for name in (f"grade-{unused}-a", f"grade-{os.getpid()}-b", "grade-me-c", f"other-{unused}-d"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text("")
        os.utime(tmp_path / name, (long_ago, long_ago))
    (tmp_path / f"grade-{unused}-young").mkdir()
    (tmp_path / f"grade-{unused}-link").symlink_to(tmp_path / f"grade-{os.getpid()}-b")
    sweep()
    left = {each.name for each in tmp_path.iterdir()}
    assert left == {
        *(f"grade-{os.getpid()}-b", "grade-me-c", f"other-{unused}-d"),
        *(f"grade-{unused}-young", f"grade-{unused}-link"),
    }


@pytest.mark.long
def test_what_trusted_code_leaves_behind_is_ended_too(tmp_path, monkeypatch):
    """Without walls it can start processes, also such as leave their session and their parent."""
    noted = tmp_path / "pid"
    sleeper = f"""
import os, time
with open({str(noted)!r} + "~", "w") as file:
    file.write(str(os.getpid()))
os.rename({str(noted)!r} + "~", {str(noted)!r})
time.sleep(99)
"""
    halve = f"""
def halve(number):
    import os, subprocess, sys, time
    subprocess.Popen([sys.executable, "-c", {sleeper!r}], start_new_session=True)
    while not os.path.exists({str(noted)!r}): time.sleep(0.01)
    return 5
"""
    put(tmp_path / "in" / "ada.ipynb", halve=halve)
    monkeypatch.setattr("utils.grade.lacking", lambda: "no walls")
    rows = mark(tmp_path / "in", tmp_path / "marks.csv", trust=True)
    assert [row.points for row in rows] == [0, 1, 1]  # of a negative number it is not half
    with contextlib.suppress(psutil.NoSuchProcess):
        psutil.Process(int(noted.read_text())).wait(10)  # raises if it goes on


def started(folder, out, temporary, **options):
    """Start the command in a process of its own, with temporary files in a folder."""
    temporary.mkdir(exist_ok=True)
    command_line = [sys.executable, "-m", "utils.grade", str(folder), "--out", str(out)]
    environment = os.environ | {"TMPDIR": str(temporary)} | options.pop("env", {})
    options |= {"stderr": subprocess.PIPE, "preexec_fn": _heed_interrupts}
    return subprocess.Popen(command_line, cwd=ROOT, env=environment, **options)


def _heed_interrupts():
    """Undo what a shell does to programs in the background, in which the tests may run."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.fixture
def endless(tmp_path):
    """A folder of one notebook, of the course itself, that takes long."""
    code = """
import signal
def patient_of(name):
    signal.signal(signal.SIGALRM, signal.SIG_IGN)
    open("running", "w").close()
    while True: pass
check.patient_of(patient_of)
"""
    (tmp_path / "long").mkdir()
    (tmp_path / "long" / "ada.ipynb").write_text(graded.notebook(graded.IMPORTS, code))
    return tmp_path / "long"


def descendants(process, temporary):
    """Return what a marking has started as soon as it runs a student's code."""
    while not list(temporary.glob("*/*/running")):
        assert process.poll() is None
        time.sleep(0.05)
    return psutil.Process(process.pid).children(recursive=True)


@pytest.mark.long
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGKILL])
def test_whoever_ends_the_command_ends_all_that_it_started(number, endless, tmp_path):
    temporary = tmp_path / "temporary"
    with started(endless, tmp_path / "marks.csv", temporary) as process:
        left = descendants(process, temporary)
        assert len(left) >= 2
        process.send_signal(number)
        words = process.stderr.read().decode()
    assert psutil.wait_procs(left, timeout=10)[1] == []
    if number != signal.SIGKILL:
        assert process.returncode == 2
        assert words == "error: interrupted; run the same command again to go on\n"
        assert os.listdir(temporary) == []
    assert students(tmp_path / "marks.csv") == []


@pytest.mark.long
def test_a_terminal_that_knows_ascii_alone_hears_of_all(folder, tmp_path):
    for name in (b"\xff\xfe.ipynb", "Zoë.ipynb".encode()):
        put(Path(os.fsdecode(os.fsencode(folder) + b"/" + name)))
    out, env = tmp_path / "marks.csv", {"PYTHONIOENCODING": "ascii:strict"}
    with started(folder, out, tmp_path / "t", env=env, stdout=subprocess.PIPE) as process:
        said, errors = process.communicate()
    assert (process.returncode, errors) == (0, b"")
    assert rb"Zo\xeb" in said
    assert len(set(students(out))) == 5


@pytest.mark.long
def test_marking_goes_on_without_a_reader(folder, tmp_path):
    to_read, to_write = os.pipe()
    os.close(to_read)
    with started(folder, tmp_path / "marks.csv", tmp_path / "t", stdout=to_write) as process:
        os.close(to_write)
        errors = process.communicate()[1]
    assert (process.returncode, errors) == (0, b"")
    assert set(students(tmp_path / "marks.csv")) == {"ada", "ben", "cleo"}


@pytest.mark.slow
def test_a_marking_that_is_killed_and_gone_on_with_gives_the_same_marks():
    killed_marking.compare(submissions=12, kills=3, seed=0, jobs=2)
