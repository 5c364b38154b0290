import errno
import os
import shutil
import subprocess
import zipfile
from pathlib import Path

import pytest
from cohort_files import assert_one_line, cut, write_patient

from utils.cohort import archive as archive_module
from utils.cohort.archive import unpack_cohort
from utils.cohort.table import cohort_to_predict, open_cohort, read_cohort
from utils.config import CourseError

PATIENT = "TCGA_DU_0001_20000101"


def make_zip(path, folders, extra=(), compression=zipfile.ZIP_DEFLATED):
    """Zip {name in the archive: folder} and extra (name, bytes) members."""
    with zipfile.ZipFile(path, "w", compression) as target:
        for name, folder in folders.items():
            for file in sorted(folder.rglob("*.tif")):
                target.write(file, f"{name}{file.relative_to(folder)}")
        for name, data in extra:
            target.writestr(name, data)
    return path


@pytest.fixture
def cohort(tmp_path):
    folder = tmp_path / "original"
    write_patient(folder, PATIENT)
    write_patient(folder, "Müller_Köln 1_0002", slices=2)
    return folder


@pytest.fixture
def kaggle_zip(tmp_path, cohort):
    """Everything twice, and the table with the wrong patients, as Kaggle gives it."""
    folders = {"kaggle_3m/": cohort, "lgg-mri-segmentation/kaggle_3m/": cohort}
    return make_zip(tmp_path / "archive.zip", folders, [("kaggle_3m/data.csv", b"Patient\n")])


def names_of(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*.tif"))


def test_the_kaggle_zip_is_unpacked_once(tmp_path, kaggle_zip, cohort, monkeypatch):
    target, calls = tmp_path / "data" / "lgg", []
    extract = archive_module._extract

    def counted(*which):
        calls.append(which)
        extract(*which)

    monkeypatch.setattr(archive_module, "_extract", counted)
    root = open_cohort(kaggle_zip, target)
    assert root == target
    assert names_of(root) == names_of(cohort)
    assert len(read_cohort(root)) == 5
    assert len(calls) == 10  # 5 slices and 5 masks; the zip holds them twice
    assert not (root / "data.csv").exists()
    assert os.listdir(target.parent) == ["lgg"]


@pytest.mark.parametrize("place", ["", "lgg-mri-segmentation/kaggle_3m/", "my folder/"])
def test_the_patients_may_stand_anywhere_in_the_zip(tmp_path, cohort, place):
    path = make_zip(tmp_path / "x.zip", {place: cohort})
    assert names_of(unpack_cohort(path, tmp_path / "lgg")) == names_of(cohort)


def test_an_unpacked_zip_is_not_unpacked_again(tmp_path, kaggle_zip, monkeypatch):
    target = unpack_cohort(kaggle_zip, tmp_path / "lgg")
    before = (target / PATIENT / f"{PATIENT}_1.tif").stat().st_mtime_ns
    calls = []
    monkeypatch.setattr(archive_module, "_extract", lambda *which: calls.append(which))
    unpack_cohort(kaggle_zip, target)
    assert calls == []
    assert (target / PATIENT / f"{PATIENT}_1.tif").stat().st_mtime_ns == before


def test_a_killed_run_goes_on_where_it_was(tmp_path, kaggle_zip, cohort, monkeypatch):
    target, calls = tmp_path / "lgg", []
    extract = archive_module._extract

    def killed(*which):
        extract(*which)
        calls.append(which)
        if len(calls) == 4:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(archive_module, "_extract", killed)
        unpack_cohort(kaggle_zip, target)
    assert not target.exists()
    [partial] = tmp_path.glob(".lgg-*.partial")
    done_before = {path: path.stat().st_mtime_ns for path in partial.rglob("*.tif")}
    assert len(done_before) == 4
    # What SIGKILL leaves: a file under its temporary name.
    next(iter(done_before)).with_name(".half-written.tif").write_bytes(b"half")
    unpack_cohort(kaggle_zip, target)
    assert names_of(target) == names_of(cohort)
    for path, time in done_before.items():
        assert (target / path.relative_to(partial)).stat().st_mtime_ns == time
    assert not partial.exists()


def test_another_folder_is_never_overwritten(tmp_path, kaggle_zip):
    target = tmp_path / "lgg"
    write_patient(target, "MINE_A_1")
    words = [target, "was not made from archive.zip", "move it away"]
    assert_one_line(words, unpack_cohort, kaggle_zip, target)
    assert names_of(target)
    shutil.rmtree(target)
    target.mkdir()
    assert unpack_cohort(kaggle_zip, target) == target


def test_a_link_to_an_empty_folder_on_another_disk_is_followed(tmp_path, kaggle_zip, cohort):
    for name in ("large", "data"):
        (tmp_path / name).mkdir()
    (tmp_path / "large" / "mine").mkdir()
    target = tmp_path / "data" / "lgg"
    target.symlink_to(tmp_path / "large" / "mine")
    assert unpack_cohort(kaggle_zip, target) == target
    assert target.is_symlink()
    assert names_of(tmp_path / "large" / "mine") == names_of(cohort)
    assert os.listdir(tmp_path / "data") == ["lgg"]
    assert os.listdir(tmp_path / "large") == ["mine"]


def test_a_link_that_leads_nowhere_is_told_before_anything_is_unpacked(tmp_path, kaggle_zip):
    target = tmp_path / "data"
    target.symlink_to(tmp_path / "disk that was taken out" / "lgg")
    assert_one_line([target, "leads nowhere", "remove the link"], unpack_cohort, kaggle_zip, target)
    assert sorted(os.listdir(tmp_path)) == ["archive.zip", "data", "original"]


@pytest.mark.parametrize(
    "name",
    [
        f"../{PATIENT}/{PATIENT}_1.tif",
        f"kaggle_3m/../../{PATIENT}/{PATIENT}_1.tif",
        f"/etc/{PATIENT}/{PATIENT}_1.tif",
        "..\\evil.txt",
        "C:/evil.txt",
        "../evil.txt",
    ],
)
def test_a_zip_that_leads_out_of_the_folder_is_refused_as_a_whole(tmp_path, cohort, name):
    path = make_zip(tmp_path / "evil.zip", {"kaggle_3m/": cohort}, [(name, b"x")])
    words = [path, "unsafe", "leads out of the folder", "nothing was unpacked"]
    assert_one_line(words, unpack_cohort, path, tmp_path / "data" / "lgg")
    assert sorted(os.listdir(tmp_path)) == ["evil.zip", "original"]


def test_a_colon_that_names_no_drive_leads_nowhere(tmp_path, cohort):
    path = make_zip(tmp_path / "x.zip", {"cohort/": cohort}, [("cohort/notes 10:30.txt", b"x")])
    assert names_of(unpack_cohort(path, tmp_path / "lgg")) == names_of(cohort)
    path = make_zip(tmp_path / "y.zip", {"cohort/": cohort}, [("cohort/C:/C:_1.tif", b"x")])
    assert_one_line(["leads out of the folder"], unpack_cohort, path, tmp_path / "lgg2")


@pytest.mark.parametrize("length", [0, 10, 1000, -1])
def test_a_truncated_zip(tmp_path, kaggle_zip, length):
    cut(kaggle_zip, length)
    words = [kaggle_zip, "cut short or not a zip", "download it again"]
    assert_one_line(words, open_cohort, kaggle_zip, tmp_path / "lgg")
    assert not (tmp_path / "lgg").exists()


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_zip_damaged_in_the_middle(tmp_path, cohort, compression):
    path = make_zip(tmp_path / "damaged.zip", {"": cohort}, compression=compression)
    data = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as source:
        last = source.infolist()[-1]
    place = last.header_offset + 30 + len(last.filename.encode()) + 20
    data[place] ^= 0xFF
    path.write_bytes(data)
    assert_one_line([path, "download it again"], unpack_cohort, path, tmp_path / "lgg")
    assert not (tmp_path / "lgg").exists()


def test_an_encrypted_zip(tmp_path, kaggle_zip):
    data = bytearray(kaggle_zip.read_bytes())
    place = -1
    # Set the flag in every entry of the zip's list.
    while (place := data.find(b"PK\x01\x02", place + 1)) >= 0:
        data[place + 8] |= 1
    kaggle_zip.write_bytes(data)
    words = [kaggle_zip, "encrypted", "unpack it yourself"]
    assert_one_line(words, unpack_cohort, kaggle_zip, tmp_path / "lgg")


def test_a_zip_without_a_cohort_or_with_two(tmp_path, cohort):
    path = make_zip(tmp_path / "x.zip", {}, [("readme.txt", b"hello")])
    assert_one_line([path, "holds no <patient>"], unpack_cohort, path, tmp_path / "lgg")
    path = make_zip(tmp_path / "y.zip", {"one/": cohort, "two/": cohort / "Müller_Köln 1_0002"})
    words = [path, "two/Müller_Köln 1_0002_1.tif lies beside the patients in one"]
    assert_one_line(words, unpack_cohort, path, tmp_path / "lgg")
    other = tmp_path / "other"
    write_patient(other, "TCGA_CS_0009_20000101")
    path = make_zip(tmp_path / "z.zip", {"one/": cohort, "two/": other})
    words = [path, "two different cohorts (one and two)", "give the folder of one"]
    assert_one_line(words, unpack_cohort, path, tmp_path / "lgg2")


def test_a_disk_known_to_be_too_small_is_not_filled(tmp_path, kaggle_zip, monkeypatch):
    monkeypatch.setattr(
        archive_module.shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10, 10, 0)
    )
    words = [tmp_path, "0 MB free", "MB are needed", "free some space"]
    assert_one_line(words, unpack_cohort, kaggle_zip, tmp_path / "lgg")
    assert not (tmp_path / "lgg").exists()


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.ENOSPC, ["the disk is full", "it goes on from there"]),
        (errno.EDQUOT, ["the disk is full", "free some space"]),
        (errno.EROFS, ["cannot be written (read-only file system)", "choose a folder"]),
        (errno.EACCES, ["cannot be written (permission denied)", "choose a folder"]),
    ],
)
def test_a_full_or_closed_disk_is_told_in_one_line(
    tmp_path, kaggle_zip, monkeypatch, number, words
):
    def fails(*arguments):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(Path, "write_bytes", fails)
    target = tmp_path / "lgg"
    assert_one_line([target, *words], unpack_cohort, kaggle_zip, target)
    assert not target.exists()
    monkeypatch.undo()
    assert unpack_cohort(kaggle_zip, target) == target


def test_other_errors_of_the_disk_keep_their_traceback(tmp_path, kaggle_zip, monkeypatch):
    def fails(*arguments):
        raise OSError(errno.EIO, "broken disk")

    monkeypatch.setattr(Path, "write_bytes", fails)
    with pytest.raises(OSError, match="broken disk"):
        unpack_cohort(kaggle_zip, tmp_path / "lgg")


def test_a_target_below_a_file(tmp_path, kaggle_zip):
    (tmp_path / "file").write_text("x")
    words = ["cannot be written (not a directory)", "choose a folder"]
    assert_one_line(words, unpack_cohort, kaggle_zip, tmp_path / "file" / "lgg")


@pytest.fixture
def small_disk(tmp_path):
    """Mount a real file system; only an administrator may."""
    place = tmp_path / "disk"
    place.mkdir()

    def mount(options):
        command = ["mount", "-t", "tmpfs", "-o", options, "none", str(place)]
        if shutil.which("mount") is None or subprocess.run(command, capture_output=True).returncode:
            pytest.skip("mounting a small disk is not allowed here")
        return place

    yield mount
    subprocess.run(["umount", str(place)], capture_output=True, check=False)


def test_a_real_full_disk(tmp_path, kaggle_zip, small_disk, monkeypatch):
    place = small_disk("size=24k")
    # As when another program fills the disk after the check.
    monkeypatch.setattr(archive_module, "_check_space", lambda partial, members: None)
    words = [place, "the disk is full", "it goes on from there"]
    assert_one_line(words, unpack_cohort, kaggle_zip, place / "lgg")
    assert not (place / "lgg").exists()
    for path in place.rglob("*.tif"):
        assert path.stat().st_size > 1000, "a half-written file has a final name"
    subprocess.run(["mount", "-o", "remount,size=1m", str(place)], check=True)
    assert len(read_cohort(unpack_cohort(kaggle_zip, place / "lgg"))) == 5


def test_a_real_read_only_disk(tmp_path, kaggle_zip, small_disk):
    place = small_disk("ro")
    words = [place, "cannot be written (read-only file system)"]
    assert_one_line(words, unpack_cohort, kaggle_zip, place / "lgg")


# Zips as other programs and other people make them


def windows_zip(path, cohort):
    """Zip with backslashes, as .NET did and some archivers do."""
    with zipfile.ZipFile(path, "w") as target:
        for file in sorted(cohort.rglob("*.tif")):
            info = zipfile.ZipInfo("x")
            info.filename = f"cohort\\{file.parent.name}\\{file.name}"
            target.writestr(info, file.read_bytes())
    return path


def test_backslashes_separate_folders(tmp_path, cohort):
    path = windows_zip(tmp_path / "windows.zip", cohort)
    assert names_of(unpack_cohort(path, tmp_path / "lgg")) == names_of(cohort)


@pytest.mark.parametrize("name", ["cohort\\..\\..\\evil.txt", "\\evil.txt", "..\\..\\evil.txt"])
def test_backslashes_lead_out_of_the_folder_as_slashes_do(tmp_path, cohort, name):
    path = make_zip(tmp_path / "evil.zip", {"kaggle_3m/": cohort}, [("x" * len(name), b"x")])
    data = path.read_bytes().replace(b"x" * len(name), name.encode())
    path.write_bytes(data)
    assert_one_line(["leads out of the folder"], unpack_cohort, path, tmp_path / "lgg")


def test_what_a_mac_adds_is_not_data(tmp_path, cohort):
    extra = [
        (f"__MACOSX/kaggle_3m/{PATIENT}/._{PATIENT}_1.tif", b"\0\5\x16\7"),
        ("kaggle_3m/.DS_Store", b"Bud1"),
    ]
    path = make_zip(tmp_path / "mac.zip", {"kaggle_3m/": cohort}, extra)
    assert names_of(unpack_cohort(path, tmp_path / "lgg")) == names_of(cohort)


def test_hidden_folders_are_no_data_in_a_zip_as_in_a_folder(tmp_path, cohort):
    extra = [("cohort/.backup/Q_X_1/Q_X_1_1.tif", b"x"), ("cohort/.old/notes.tif", b"x")]
    path = make_zip(tmp_path / "x.zip", {"cohort/": cohort}, extra)
    assert names_of(unpack_cohort(path, tmp_path / "lgg")) == names_of(cohort)


@pytest.mark.parametrize(("place", "name", "words"), [
    ("", f"{PATIENT}/{PATIENT}_4 (1).tif", "is not named"),
    ("cohort/", f"cohort/{PATIENT}/{PATIENT}_4 (1).tif", f"is not named {PATIENT}_<n>.tif"),
    ("cohort/", "cohort/Bert_X_02/Bert_X_2_1.tif", "is not named Bert_X_02_<n>.tif"),
    ("cohort/", "cohort/Bert_X_2_1.tif", "lies beside the patients in cohort"),
    ("cohort/", "Bert_X_2_1.tif", "lies beside the patients in cohort"),
    ("cohort/", "Bert_X_2/bert_x_2_1.tif", "lies beside the patients in cohort"),
])  # fmt: skip
def test_a_zip_loses_no_picture_that_a_folder_would_not(tmp_path, cohort, place, name, words):
    path = make_zip(tmp_path / "x.zip", {place: cohort}, [(name, b"x")])
    for masks in (True, False):
        assert_one_line([path, name, words], unpack_cohort, path, tmp_path / "lgg", masks)
    shutil.unpack_archive(path, tmp_path / "folder")
    for masks in ("required", "absent"):
        assert_one_line([name], read_cohort, tmp_path / "folder", masks)


def test_only_the_real_cohort_becomes_data_lgg(tmp_path, cohort, monkeypatch):
    monkeypatch.setattr(archive_module.config, "DATA", tmp_path / "data")
    # "Müller_Köln 1_0002" is no patient of the LGG cohort.
    mine = make_zip(tmp_path / "lgg.zip", {"kaggle_3m/": cohort})
    target = open_cohort(mine)
    assert target.parent == tmp_path / "data"
    assert target.name.startswith("lgg-")
    assert open_cohort(mine) == target
    other = tmp_path / "other"
    write_patient(other, "MINE_XX_01")
    second = open_cohort(make_zip(tmp_path / "lgg.zip", {"": other}))
    assert second != target and second.name.startswith("lgg-")
    shutil.rmtree(cohort / "Müller_Köln 1_0002")
    real = make_zip(tmp_path / "archive.zip", {"kaggle_3m/": cohort})
    assert open_cohort(real) == tmp_path / "data" / "lgg"


def test_masks_stay_in_the_zip_when_none_are_wanted(tmp_path, cohort):
    extra = [(f"{PATIENT}/{PATIENT}_9_mask.tif", b"bad"), (f"{PATIENT}/tumour seg.tif", b"bad")]
    path = make_zip(tmp_path / "x.zip", {"": cohort}, extra)
    root = unpack_cohort(path, tmp_path / "lgg", masks=False)
    assert names_of(root) == [name for name in names_of(cohort) if "mask" not in name]


def visible(folder):
    return [path.name for path in folder.iterdir() if path.name not in (".lock", ".holder")]


def test_a_zip_to_predict_is_unpacked_for_the_time_being(tmp_path, cohort):
    path = make_zip(tmp_path / "mine.zip", {"": cohort})
    out = tmp_path / "new" / "out"
    with cohort_to_predict(path, out) as table:
        assert len(table) == 5
        assert all(Path(image).is_relative_to(out) for image in table["image_path"])
    assert visible(out) == []
    with cohort_to_predict(cohort, out) as table:
        assert len(table) == 5
        assert all(Path(image).is_relative_to(cohort) for image in table["image_path"])


def test_what_a_killed_prediction_unpacked_is_removed_by_the_next(tmp_path, cohort):
    path, out = make_zip(tmp_path / "mine.zip", {"": cohort}), tmp_path / "out"
    write_patient(out / ".cohort-abcdefgh" / "cohort", PATIENT)
    with cohort_to_predict(path, out):
        [unpacked] = visible(out)
        assert unpacked.startswith(".cohort-") and unpacked != ".cohort-abcdefgh"
    assert visible(out) == []


def test_nothing_is_made_for_a_cohort_that_cannot_be_read(tmp_path):
    (tmp_path / "empty").mkdir()
    for wrong in ("empty", "nowhere"):
        with pytest.raises(CourseError), cohort_to_predict(tmp_path / wrong, tmp_path / "out"):
            pass
    assert not (tmp_path / "out").exists()


def test_two_predictions_do_not_write_into_one_folder_at_the_same_time(tmp_path, cohort):
    out, path = tmp_path / "out", make_zip(tmp_path / "mine.zip", {"": cohort})
    with cohort_to_predict(cohort, out):
        for other in (cohort, path):
            with (
                pytest.raises(CourseError, match=r"another run is at work there.*another --out"),
                cohort_to_predict(other, out),
            ):
                pass
    with cohort_to_predict(cohort, out):
        pass


def test_an_output_that_cannot_be_written_is_told_before_anything(tmp_path, cohort):
    path = make_zip(tmp_path / "mine.zip", {"": cohort})
    (tmp_path / "file").write_text("x")
    for out in (tmp_path / "file", tmp_path / "file" / "out"):
        with (
            pytest.raises(CourseError, match=r"file; choose another|file: .*; choose another"),
            cohort_to_predict(path, out),
        ):
            pass


def test_a_file_that_is_there_twice(tmp_path, cohort):
    with pytest.warns(UserWarning, match="Duplicate name"):
        path = make_zip(tmp_path / "x.zip", {"a/": cohort}, [(f"a/{PATIENT}/{PATIENT}_1.tif", b"")])
    assert_one_line([f"a/{PATIENT}/{PATIENT}_1.tif twice"], unpack_cohort, path, tmp_path / "lgg")


def test_a_member_larger_than_any_slice_is_refused_before_it_is_unpacked(tmp_path, cohort):
    path = make_zip(tmp_path / "bomb.zip", {"": cohort})
    data = bytearray(path.read_bytes())
    place = data.index(b"PK\x01\x02")
    data[place + 24 : place + 28] = (3 << 30).to_bytes(4, "little")  # size when unpacked
    path.write_bytes(data)
    assert_one_line(["would have 3221 MB"], unpack_cohort, path, tmp_path / "lgg")


def test_a_name_that_no_disk_can_hold(tmp_path, cohort):
    path = make_zip(tmp_path / "x.zip", {"": cohort}, [(f"{'p' * 300}/{'p' * 300}_1.tif", b"")])
    assert_one_line(["name of more than 255 bytes"], unpack_cohort, path, tmp_path / "lgg")


@pytest.mark.parametrize("name", ["folder.zip", "pipe.zip", "loop.zip", "nowhere.zip"])
def test_what_is_no_regular_file_is_no_zip(tmp_path, name):
    path = tmp_path / name
    {
        "folder.zip": path.mkdir,
        "pipe.zip": lambda: os.mkfifo(path),
        "loop.zip": lambda: path.symlink_to(path),
        "nowhere.zip": lambda: path.symlink_to(tmp_path / "gone.zip"),
    }[name]()
    reason = {
        "folder.zip": "no patients in this folder",
        "pipe.zip": "is a pipe",
        "loop.zip": "a link that leads back to itself",
        "nowhere.zip": "a link to a file that is not there",
    }[name]
    assert_one_line([path, reason], open_cohort, path, tmp_path / "lgg")


def test_a_member_without_a_name_is_no_file_of_a_patient(tmp_path, cohort):
    path = make_zip(tmp_path / "x.zip", {"": cohort}, [("?", b"nothing")])
    data = bytearray(path.read_bytes())
    place = data.rindex(b"PK\x01\x02")
    # The last entry of the zip's list: a name of 0 bytes, and "?" as what follows names.
    data[place + 28 : place + 32] = b"\0\0\1\0"
    path.write_bytes(data)
    assert names_of(unpack_cohort(path, tmp_path / "lgg")) == names_of(cohort)
