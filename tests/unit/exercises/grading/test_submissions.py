"""Whoever handed something in has a row, and one row a student and exercise."""

import io
import json
import zipfile

import graded
import pytest

from utils.config import CourseError
from utils.exercises.grading.marks import Row, code_cells, number_of, one_line
from utils.exercises.grading.submissions import final_rows, handed_in

TEXT = graded.notebook("check.halve(halve)")


def lay(folder, files):
    """Write files, given as name -> text or bytes; a name that ends with / is an empty folder."""
    for name, words in files.items():
        path = folder / name
        if name.endswith("/"):
            path.mkdir(parents=True)
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(words if isinstance(words, bytes) else words.encode())
    return folder


def zipped():
    with io.BytesIO() as held:
        with zipfile.ZipFile(held, "w") as archive:
            archive.writestr("01_explore.ipynb", TEXT)
        return held.getvalue()


def rows(folder, points=None):
    """Return the final rows; a notebook gets a mark for each exercise in `points[its name]`."""
    listed = handed_in(folder)
    tables = {}
    for student, path in graded.submissions(folder):
        marks = (points or {}).get(path.name, {"halve": "right"})
        tables[path] = [
            Row(student, "01", name, mark, int(mark == "right"), mark, path.name)
            for name, mark in marks.items()
        ]
    return final_rows(listed, tables)


def told(folder, points=None):
    return [(row.student, row.exercise, row.mark, row.message) for row in rows(folder, points)]


@pytest.mark.parametrize(
    "name",
    [
        "ada/01_explore.ipynb",
        "ada/work.IPYNB",
        "ada/01_explore.ipynb.txt",
        "ada/01_explore.ipynb.json",
        "ada/01_explore.json",
        "ada/notebook",
        "ada/deep/er/01_explore.ipynb",
        "ada.ipynb",
        "ada.ipynb.txt",
        "ada_01_explore.ipynb",
        "01_explore_ada.ipynb",
    ],
)
def test_a_notebook_under_any_name_is_marked(name, tmp_path):
    lay(tmp_path, {name: TEXT})
    assert graded.submissions(tmp_path) == [("ada", tmp_path / name)]


@pytest.mark.parametrize(
    ("name", "words", "message"),
    [
        ("ada/01.zip", zipped(), "an archive: unpack it"),
        ("ada.zip", zipped(), "an archive: unpack it"),
        ("ada", zipped(), "an archive: unpack it"),
        ("ada/work.py", "answer = 42", "a Python script, not a notebook"),
        ("ada.html", "<html>", "a web page, not a notebook"),
        ("ada/work.docx", b"x", "no notebook"),
        ("ada/work.txt", b"", "an empty file"),
        ("ada/", None, "a folder without a notebook"),
    ],
)
def test_what_is_no_notebook_has_a_row_that_says_so(name, words, message, tmp_path):
    lay(tmp_path, {name: words})
    assert told(tmp_path) == [("ada", "", "missing", message)]


@pytest.mark.parametrize(
    ("words", "message"),
    [(b"", "an empty file"), (b"\n", "an empty file"), (zipped(), "an archive: unpack it")]
    + [(words, "not readable as a notebook") for words in (b"{", b"[]", b"3", b'{"cells": 3}')],
)
def test_a_file_that_is_only_called_a_notebook(words, message, tmp_path):
    path = tmp_path / "01.ipynb"
    path.write_bytes(words)
    with pytest.raises(CourseError, match=message):
        code_cells(path)


def test_a_link_is_told_and_not_followed(tmp_path):
    lay(tmp_path, {"elsewhere/01.ipynb": TEXT, "in/ada/01.ipynb": TEXT})
    (tmp_path / "in" / "ben").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "in" / "cleo.ipynb").symlink_to(tmp_path / "elsewhere" / "01.ipynb")
    link = "a link, which is not followed"
    assert told(tmp_path / "in") == [
        ("ada", "halve", "right", "right"),
        ("ben", "", "missing", link),
        ("cleo", "", "missing", link),
    ]


def test_of_two_attempts_the_better_counts_exercise_by_exercise(tmp_path):
    lay(tmp_path, {"ada/01.ipynb": TEXT, "ada/01-Copy1.ipynb": TEXT})
    points = {
        "01.ipynb": {"halve": "right", "total": "open", "answer": "missing"},
        "01-Copy1.ipynb": {"halve": "wrong", "total": "wrong", "answer": "missing"},
    }
    found = rows(tmp_path, points)
    assert [(row.exercise, row.mark, row.file) for row in found] == [
        ("halve", "right", "01.ipynb"),
        ("total", "wrong", "01-Copy1.ipynb"),
        ("answer", "missing", "01-Copy1.ipynb"),
        ("", "extra", ""),
    ]
    assert found[-1].message == (
        "2 attempts at 01 (01-Copy1.ipynb, 01.ipynb): the better counts, exercise by exercise"
    )


def test_two_attempts_of_one_name_are_told_apart_by_their_folders(tmp_path):
    lay(tmp_path, {"ada/first/01.ipynb": TEXT, "ada/second/01.ipynb": TEXT})
    assert [row.file for row in rows(tmp_path)] == ["first/01.ipynb", ""]


@pytest.mark.parametrize(
    "second", ["ada (1).ipynb", "ada-Copy1.ipynb", "ada - Copy.ipynb", "ada_01_explore.ipynb"]
)
def test_two_files_of_one_student_are_one_student(second, tmp_path):
    lay(tmp_path, {"ada.ipynb": TEXT, second: TEXT})
    assert [row.student for row in rows(tmp_path)] == ["ada", "ada"]
    assert "2 attempts" in rows(tmp_path)[-1].message


def test_people_of_one_name_stay_two(tmp_path):
    lay(tmp_path, {"ada (1).ipynb": TEXT, "ada (2).ipynb": TEXT})
    assert [row.student for row in rows(tmp_path)] == ["ada (1)", "ada (2)"]


def test_names_that_look_the_same_on_one_line_stay_apart(tmp_path):
    lay(tmp_path, {"a b/1.ipynb": TEXT, "a\tb/1.ipynb": TEXT, "a  b/1.ipynb": TEXT})
    assert sorted(row.student for row in rows(tmp_path)) == ["a b", "a b (2)", "a b (3)"]


def test_everything_else_of_a_student_is_one_row(tmp_path):
    lay(
        tmp_path,
        {
            "ada/01.ipynb": TEXT,
            "ada/02.zip": zipped(),
            "ada/notes.txt": "notes",
            "ada/figure.png": b"x",
            "ada/03_segment.py": "",
            "ada/notebooks/solutions/01_explore.ipynb": TEXT,
            "ada/.ipynb_checkpoints/01-checkpoint.ipynb": TEXT,
        },
    )
    assert told(tmp_path) == [
        ("ada", "halve", "right", "right"),
        (
            "ada",
            "",
            "extra",
            "02.zip: an archive: unpack it; 03_segment.py: a Python script, not a notebook; "
            "01_explore.ipynb: the course's own solutions",
        ),
    ]


def test_checks_say_which_notebook_it_is_and_the_name_breaks_a_tie(tmp_path):
    both = [graded.HALVE, graded.TOTAL, graded.OTHER]
    named = tmp_path / "02_detect.ipynb"
    assert number_of(named, ["check.halve(halve)"], both) == "01"
    assert number_of(named, ["check.halve(1)", "check.other(1)"], both) == "02"
    assert number_of(named, ["check.halve(1)", "check.total(1)", "check.other(1)"], both) == "01"
    assert number_of(named, [], both) == "02"
    assert number_of(tmp_path / "2021_01_ada.ipynb", ["check.other(1)"], both) == "02"
    for cell in (
        "from utils.check import other\nother(1)",
        "from utils.check import (\n    other as asked,\n)",
        "from utils import check as c\nc.other(1)",
        "import utils.check\nutils.check.other(1)",
    ):
        assert number_of(tmp_path / "ada.ipynb", [cell], both) == "02"


def old_format(text):
    cells = [
        {"cell_type": "code", "language": "python", "input": cell["source"], "outputs": []}
        for cell in json.loads(text)["cells"]
    ]
    return json.dumps({"nbformat": 3, "worksheets": [{"cells": cells, "metadata": {}}]})


@pytest.mark.parametrize(
    "written",
    [
        lambda text: text.encode(),
        lambda text: b"\xef\xbb\xbf" + text.encode(),
        lambda text: text.encode("utf-16"),
        lambda text: text.encode("utf-16-le"),
        lambda text: text.encode("utf-32"),
        lambda text: json.dumps(json.loads(text), ensure_ascii=False).encode("cp1252"),
        lambda text: json.dumps(json.loads(text), indent=1).replace("\n", "\r\n").encode(),
        lambda text: old_format(text).encode(),
        lambda text: b"\n \n" + text.encode() + b"\n\n",
    ],
)
def test_a_notebook_of_any_encoding_and_format_is_read(written, tmp_path):
    cells = ["name = 'Jürgen'", "check.halve(halve)"]
    path = tmp_path / "ada.ipynb"
    path.write_bytes(written(graded.notebook(*cells)))
    assert code_cells(path) == cells


def test_a_cell_that_is_none_is_left_out(tmp_path):
    cells = [3, None, {}, {"cell_type": "code"}, {"cell_type": "code", "source": ["a\n", 3, "b"]}]
    path = tmp_path / "ada.ipynb"
    path.write_text(json.dumps({"cells": cells}))
    assert code_cells(path) == ["", "a\nb"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("=1+1", "'=1+1"),
        ("\t\r=1", "'=1"),
        ("＝1", "'＝1"),
        ("－1", "'－1"),
        ("＠x", "'＠x"),
        ("ada;=1;+2; @x", "ada;'=1;'+2; '@x"),
        ('a;"=1', "a;\"'=1"),
        ("a=b-c; fine", "a=b-c; fine"),
        ("'=1", "'=1"),
    ],
)
def test_what_a_spreadsheet_would_compute_is_defused(text, expected):
    assert one_line(text) == expected
    assert one_line(expected) == expected
