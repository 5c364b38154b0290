import errno
import os
import shutil
import subprocess
import zipfile
from pathlib import Path

import pytest
from cohort_files import assert_one_line, cut, write_patient

from utils import archive as archive_module
from utils.archive import unpack_cohort
from utils.cohort import open_cohort, read_cohort

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


def test_the_kaggle_zip_is_unpacked_once(tmp_path, kaggle_zip, cohort):
    target = tmp_path / "data" / "lgg"
    calls = []
    root = open_cohort(kaggle_zip, target, lambda done, total: calls.append((done, total)))
    assert root == target
    assert names_of(root) == names_of(cohort)
    assert len(read_cohort(root)) == 5
    assert calls == [(done, 10) for done in range(1, 11)]
    assert not (root / "data.csv").exists()
    assert os.listdir(target.parent) == ["lgg"]


@pytest.mark.parametrize("place", ["", "lgg-mri-segmentation/kaggle_3m/", "my folder/"])
def test_the_patients_may_stand_anywhere_in_the_zip(tmp_path, cohort, place):
    path = make_zip(tmp_path / "x.zip", {place: cohort})
    assert names_of(unpack_cohort(path, tmp_path / "lgg")) == names_of(cohort)


def test_an_unpacked_zip_is_not_unpacked_again(tmp_path, kaggle_zip):
    target = unpack_cohort(kaggle_zip, tmp_path / "lgg")
    before = (target / PATIENT / f"{PATIENT}_1.tif").stat().st_mtime_ns
    calls = []
    unpack_cohort(kaggle_zip, target, lambda *numbers: calls.append(numbers))
    assert calls == []
    assert (target / PATIENT / f"{PATIENT}_1.tif").stat().st_mtime_ns == before


def test_a_killed_run_goes_on_where_it_was(tmp_path, kaggle_zip, cohort):
    target = tmp_path / "lgg"

    def killed(done, total):
        if done == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        unpack_cohort(kaggle_zip, target, killed)
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
    assert unpack_cohort(path, tmp_path / "lgg")
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
