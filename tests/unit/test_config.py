import errno
import io
import json
import os
import re
import sys
from pathlib import Path

import pytest
from holding import held_elsewhere

from utils import config, predict
from utils.config import (
    CourseError,
    atomic_path,
    command,
    hold_folder,
    prepare_folder,
    read_json,
    update_json,
)
from utils.course.run import read_parameters


def test_atomic_path_leaves_the_old_file_when_writing_fails(tmp_path):
    target = tmp_path / "table.csv"
    target.write_text("old")
    with pytest.raises(RuntimeError), atomic_path(target) as temporary:
        temporary.write_text("half of the new")
        raise RuntimeError
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_atomic_path_keeps_the_suffix_and_makes_the_folder(tmp_path):
    target = tmp_path / "new folder" / "model.keras"
    with atomic_path(target) as temporary:
        assert temporary.suffix == ".keras"
        assert not target.exists()
        temporary.write_text("whole")
    assert target.read_text() == "whole"


def test_update_json_merges_level_by_level(tmp_path):
    path = tmp_path / "metrics.json"
    update_json(path, {"seed": 0, "detection": {"auc": 0.9}})
    merged = update_json(path, {"detection": {"threshold": 0.4}})
    assert merged == {"seed": 0, "detection": {"auc": 0.9, "threshold": 0.4}}
    assert json.loads(path.read_text()) == merged


def test_corrupt_json_is_told_in_one_line_with_its_file(tmp_path):
    path = tmp_path / "metrics.json"
    path.write_text('{"half": ')
    with pytest.raises(CourseError, match=r"metrics\.json: not readable as JSON.*delete it"):
        read_json(path)


def test_a_folder_is_held_by_one_process_until_that_ends(tmp_path):
    folder, left = tmp_path / "a run", []
    with held_elsewhere(folder) as number:
        with pytest.raises(CourseError) as told, hold_folder(folder, "take another", left.extend):
            pass
        assert str(told.value) == (
            f"{folder}: another run is at work there (process {number}); wait for it, or "
            "take another"
        )
        with hold_folder(tmp_path / "another", "take another", left.extend):
            pass
        assert left == []
    # It was killed: what it left is handed on, once.
    for _ in range(2):
        with hold_folder(folder, "take another", left.extend):
            assert (folder / ".holder").read_text() == str(os.getpid())
    assert left == ["left", "behind"]


def fail_with(error):
    raise error


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (
            CourseError("a.tif: truncated; fetch it again"),
            "error: a.tif: truncated; fetch it again",
        ),
        (OSError(errno.ENOSPC, "", "out.csv"), "out.csv: No space left on device; free some space"),
        (PermissionError(errno.EACCES, "", "out"), "out: Permission denied; see who may read"),
        (OSError(errno.EROFS, "", "out"), "out: Read-only file system; choose a folder"),
        (
            FileExistsError(errno.EEXIST, "", "out"),
            "out: File exists; there is a file where a fold",
        ),
    ],
)
def test_command_ends_in_one_line_and_status_2(error, message, capsys):
    assert command(lambda: fail_with(error)) == 2
    told = capsys.readouterr().err
    assert message in told
    assert told.count("\n") == 1


def test_command_keeps_the_traceback_of_our_own_bugs():
    with pytest.raises(ZeroDivisionError):
        command(lambda: 1 / 0)


def test_command_passes_the_status_on():
    assert command(lambda: None) == 0
    assert command(lambda: 1) == 1


def test_a_name_that_just_fits_can_be_written(tmp_path):
    target = tmp_path / ("n" * 251 + ".png")  # 255, the longest there is
    with atomic_path(target) as temporary:
        temporary.write_text("whole")
    assert target.read_text() == "whole"


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("Can't decrement id ref count"),  # HDF5
        OSError("1000 requested and 500 written"),  # NumPy
        OSError(errno.ENOSPC, "No space left on device"),
    ],
)
def test_a_full_disk_is_told_with_its_file_however_a_library_says_it(error, tmp_path, monkeypatch):
    usage = config.shutil.disk_usage(tmp_path)._replace(free=0)
    monkeypatch.setattr(config.shutil, "disk_usage", lambda folder: usage)
    target = tmp_path / "model.keras"
    with pytest.raises(OSError) as told, atomic_path(target) as temporary:
        temporary.write_text("half")
        raise error
    assert told.value.errno == errno.ENOSPC
    assert told.value.filename == str(target)
    assert list(tmp_path.iterdir()) == []


def test_another_failure_is_not_taken_for_a_full_disk(tmp_path):
    with pytest.raises(RuntimeError, match="ours"), atomic_path(tmp_path / "a.csv"):
        raise RuntimeError("ours")


def test_a_folder_for_results_is_made_and_empty(tmp_path):
    assert prepare_folder(tmp_path / "new" / "folder").is_dir()
    assert list((tmp_path / "new" / "folder").iterdir()) == []


def refused(folder):
    with pytest.raises(CourseError) as told:
        prepare_folder(folder)
    assert str(told.value).startswith(f"{folder}: ")
    assert str(told.value).endswith("; choose another folder")
    return str(told.value)


def test_what_stands_in_the_way_of_a_folder_is_told(tmp_path):
    file = tmp_path / "file"
    file.touch()
    assert "is a file" in refused(file)
    assert f"cannot be made below a file: {file}" in refused(file / "below" / "it")
    (tmp_path / "link").symlink_to("nowhere")
    assert "is a link that leads nowhere" in refused(tmp_path / "link")
    assert "(File name too long)" in refused(tmp_path / ("x" * 300))


@pytest.mark.skipif(sys.platform != "linux", reason="/proc can be written to by nobody on Linux")
def test_a_folder_that_nobody_may_write_to_is_told():
    assert "cannot be written to (" in refused(config.Path("/proc/results"))


def test_json_is_read_from_files_alone(tmp_path):
    for make in (os.mkdir, os.mkfifo) if hasattr(os, "mkfifo") else (os.mkdir,):
        path = tmp_path / f"{make.__name__}.json"
        make(path)
        with pytest.raises(CourseError, match=r"is a (folder|pipe)"):
            read_json(path)
    assert read_json(tmp_path / "none.json") == {}
    assert read_json(tmp_path / "none.json", missing=None) is None


@pytest.mark.parametrize("content", ["[" * 100_000, "1" * 5000, "\x00", '{"a": 1} x'])
def test_odd_json_is_one_line(content, tmp_path):
    path = tmp_path / "metrics.json"
    path.write_text(content)
    with pytest.raises(CourseError, match=r"metrics\.json: .*; delete it and run again") as told:
        read_json(path)
    assert len(str(told.value)) < 500


def test_a_message_is_one_line_whatever_a_name_holds(capsys):
    assert command(lambda: fail_with(CourseError("two\nlines.keras: no such model"))) == 2
    assert capsys.readouterr().err == "error: two\\nlines.keras: no such model\n"
    assert command(lambda: fail_with(MemoryError())) == 2
    assert "out of memory; close other" in capsys.readouterr().err
    assert command(lambda: fail_with(OSError(errno.ENAMETOOLONG, "", "x" * 300))) == 2
    assert "File name too long; choose a shorter name" in capsys.readouterr().err


def test_a_name_that_cannot_be_shown_does_not_end_a_command(monkeypatch):
    strict = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", errors="strict")
    monkeypatch.setattr(sys, "stdout", strict)
    assert command(lambda: print("wrote out\udcff/slices.csv")) == 0
    strict.flush()
    assert strict.buffer.getvalue() == b"wrote out\\udcff/slices.csv\n"


def test_a_tilde_is_the_home_folder_where_no_shell_has_read_it(tmp_path, monkeypatch):
    # As in --out=~/results, of which a shell leaves the ~ as it is.
    monkeypatch.setenv("HOME", str(tmp_path))
    given = {}
    monkeypatch.setattr(predict, "check_file", lambda *_: None)
    monkeypatch.setattr(predict, "default_models", lambda *_: (Path("a"), Path("b")))
    monkeypatch.setattr(predict, "predict_cohort", lambda cohort, out, *_: given.update(out=out))
    monkeypatch.setattr(sys, "argv", ["predict", "cohort", "--out=~/results"])
    predict.main()
    assert given["out"] == tmp_path / "results"
    assert config.user_path("~nobody here/x") == Path("~nobody here/x")


def test_every_path_that_a_command_takes_may_begin_with_a_tilde():
    # `Path` leaves the ~ as it is, and the command would write into a folder of that name.
    taken = re.compile(r"\btype=(?:pathlib\.)?Path\b")  # of add_argument
    files = [*(config.ROOT / "utils").rglob("*.py"), *(config.ROOT / "tools").rglob("*.py")]
    assert len(files) > 100
    assert [file for file in files if taken.search(file.read_text(encoding="utf-8"))] == []


def test_a_file_of_parameters_may_lie_in_the_home_folder(tmp_path, monkeypatch):
    # As in `python -m utils.run -f=~/mine.yaml`.
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "mine.yaml").write_text("seed: 3\n", encoding="utf-8")
    assert read_parameters("~/mine.yaml") == {"seed": 3}


def test_what_a_disk_made_of_the_holder_of_a_folder_does_not_stop_the_next(tmp_path):
    (tmp_path / ".holder").write_bytes(b"\xff\xfe\x00")
    with config.hold_folder(tmp_path, "choose another"):
        assert (tmp_path / ".holder").read_text() == str(os.getpid())
