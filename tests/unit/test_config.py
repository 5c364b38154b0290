import errno
import json

import pytest

from utils.config import CourseError, atomic_path, command, read_json, update_json


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
