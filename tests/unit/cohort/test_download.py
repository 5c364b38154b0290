import errno
import os
import signal
import subprocess
import sys
import threading
import time
import zipfile
from pathlib import Path

import kagglehub
import pytest
import requests
from cohort_files import assert_one_line, write_patient
from fake_kaggle import FakeKaggle
from kagglehub import exceptions

from utils.cohort import download as download_module
from utils.cohort.download import Counts, count_cohort, download
from utils.cohort.table import read_cohort
from utils.config import ROOT

PATIENT = "TCGA_DU_0001_20000101"
COUNTS = Counts(patients=2, slices=5, tumour_slices=3)
CREDENTIAL_WORDS = ["kaggle.com/settings", "KAGGLE_API_TOKEN", "KAGGLE_USERNAME", "kaggle.json"]


def write_small_cohort(folder):
    write_patient(folder, PATIENT, slices=3)
    write_patient(folder, "TCGA_HT_0002_20000101", slices=2)


@pytest.fixture(autouse=True)
def home(tmp_path_factory, monkeypatch):
    """No Kaggle account, whoever runs the tests."""
    home = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("KAGGLE_CONFIG_DIR", str(home / ".kaggle"))
    for name in ("KAGGLE_API_TOKEN", "KAGGLE_USERNAME", "KAGGLE_KEY"):
        monkeypatch.delenv(name, raising=False)
    return home


@pytest.fixture
def kaggle(monkeypatch):
    """Replace kagglehub's download by one that unpacks the cohort twice, as Kaggle has it."""

    def replace(error=None, make=write_small_cohort):
        def dataset_download(handle):
            assert handle == "mateuszbuda/lgg-mri-segmentation"
            place = Path(os.environ["KAGGLEHUB_CACHE"]) / "datasets" / handle / "versions" / "2"
            make(place / "kaggle_3m")
            make(place / "lgg-mri-segmentation" / "kaggle_3m")
            if error is not None:
                raise error
            return str(place)

        monkeypatch.setattr(kagglehub, "dataset_download", dataset_download)

    monkeypatch.setattr(download_module, "_reach_kaggle", lambda: None)
    monkeypatch.setattr(download_module, "_check_space", lambda kept: None)
    return replace


def test_the_cohort_gets_its_name_when_it_is_whole(tmp_path, kaggle):
    kaggle()
    root = tmp_path / "data" / "lgg"
    assert download(root, COUNTS) == root
    assert len(read_cohort(root)) == 5
    assert "CC BY-NC-SA 4.0" in (root / "LICENCE.txt").read_text()
    assert os.listdir(root.parent) == ["lgg"]
    assert "KAGGLEHUB_CACHE" not in os.environ


def test_the_folder_to_download_to_may_be_given_by_dots(tmp_path, kaggle, monkeypatch):
    kaggle()
    for name, dots in (("one", "."), ("two", "not there/..")):
        (tmp_path / name).mkdir()
        monkeypatch.chdir(tmp_path / name)
        assert download(dots, COUNTS) == tmp_path / name
        assert len(read_cohort(tmp_path / name)) == 5


def test_a_link_to_an_empty_folder_on_another_disk_is_followed(tmp_path, kaggle):
    kaggle()
    for folder in ("large/mine", "data"):
        (tmp_path / folder).mkdir(parents=True)
    root = tmp_path / "data" / "lgg"
    root.symlink_to(tmp_path / "large" / "mine")
    assert download(root, COUNTS) == root
    assert len(read_cohort(tmp_path / "large" / "mine")) == 5
    assert os.listdir(root.parent) == ["lgg"]
    assert os.listdir(tmp_path / "large") == ["mine"]


def test_a_link_that_leads_nowhere_is_told_before_the_download(tmp_path, kaggle):
    kaggle(error=AssertionError("downloaded"))
    root = tmp_path / "lgg"
    root.symlink_to(tmp_path / "disk that was taken out")
    assert_one_line([root, "leads nowhere", "remove the link"], download, root, COUNTS)
    assert os.listdir(tmp_path) == ["lgg"]


def test_counts_are_those_of_the_files(tmp_path):
    write_small_cohort(tmp_path)
    assert count_cohort(tmp_path) == COUNTS
    assert str(COUNTS) == "2 patients / 5 slices / 3 with tumour"


def test_the_whole_cohort_is_110_patients():
    assert download_module.EXPECTED == (110, 3929, 1373)


def test_a_cohort_that_is_there_is_not_downloaded_again(tmp_path, kaggle, capsys):
    kaggle(error=AssertionError("downloaded"))
    write_small_cohort(tmp_path / "lgg")
    assert download(tmp_path / "lgg", COUNTS) == tmp_path / "lgg"
    assert "already there, 2 patients" in capsys.readouterr().out


def test_another_folder_or_file_is_never_overwritten(tmp_path, kaggle):
    kaggle(error=AssertionError("downloaded"))
    root = tmp_path / "lgg"
    write_patient(root, PATIENT)
    words = [root, "holds 1 patients / 3 slices / 2 with tumour, not 2", "move it away"]
    assert_one_line(words, download, root, COUNTS)
    (tmp_path / "file").write_text("mine")
    assert_one_line(["is a file", "move it away"], download, tmp_path / "file", COUNTS)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("mine")
    assert_one_line([tmp_path / "mine", "no patients"], download, tmp_path / "mine", COUNTS)


def test_an_incomplete_cohort_does_not_get_the_name(tmp_path, kaggle):
    kaggle(make=lambda folder: write_patient(folder, PATIENT))
    root = tmp_path / "lgg"
    words = ["holds 1 patients / 3 slices / 2 with tumour, not 2 patients", "download again"]
    assert_one_line([*words, tmp_path / ".lgg.download"], download, root, COUNTS)
    assert not root.exists()


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (requests.ConnectionError("no\nroute"), ["cannot be reached", *CREDENTIAL_WORDS]),
        (requests.Timeout(), ["cannot be reached", "check the network", "goes on from there"]),
        (exceptions.KaggleApiHTTPError("x"), ["Kaggle answers an error", *CREDENTIAL_WORDS]),
        (exceptions.UnauthenticatedError(), ["asks who you are", *CREDENTIAL_WORDS]),
        (exceptions.NotFoundError("gone\nnow"), ["Kaggle: gone now", "give it as DATA"]),
        (exceptions.DataCorruptionError("md5"), ["the download is damaged", "delete this folder"]),
        (zipfile.BadZipFile("crc"), ["the download is damaged", "delete this folder"]),
        (ValueError("Unsupported archive type."), ["the download is damaged (Unsupported"]),
        (OSError(errno.ENOSPC, "full"), ["the disk is full", "free some space"]),
        (OSError(errno.EROFS, "ro"), ["read-only file system", "choose a folder"]),
    ],
)
def test_what_kagglehub_raises_is_told_in_one_line(tmp_path, kaggle, error, words):
    kaggle(error=error)
    assert_one_line(words, download, tmp_path / "lgg", COUNTS)
    assert not (tmp_path / "lgg").exists()
    # What was downloaded so far is kept for the next run.
    assert any((tmp_path / ".lgg.download").rglob("*.tif"))


def test_a_refusal_names_its_number_and_credentials_that_exist_are_not_asked_for(
    tmp_path, kaggle, monkeypatch
):
    response = requests.Response()
    response.status_code = 403
    kaggle(error=exceptions.KaggleApiHTTPError("403", response=response))
    assert_one_line(["Kaggle answers 403", *CREDENTIAL_WORDS], download, tmp_path / "lgg", COUNTS)
    monkeypatch.setenv("KAGGLE_API_TOKEN", "secret")
    message = assert_one_line(["answers 403", "as DATA"], download, tmp_path / "lgg", COUNTS)
    assert "KAGGLE_KEY" not in message
    assert "secret" not in message


def test_a_damaged_credentials_file_is_named(tmp_path, kaggle, home):
    kaggle()
    folder = home / ".kaggle"
    folder.mkdir()
    (folder / "kaggle.json").write_text("{")
    words = [folder / "kaggle.json", "not what Kaggle gives", *CREDENTIAL_WORDS]
    assert_one_line(words, download, tmp_path / "lgg", COUNTS)


def test_a_disk_known_to_be_too_small_is_not_filled(tmp_path, monkeypatch):
    monkeypatch.setattr(download_module, "NEEDED_BYTES", 10**18)
    words = [tmp_path, "GB free", "are needed", "free some space"]
    assert_one_line(words, download, tmp_path / "lgg", COUNTS)
    assert os.listdir(tmp_path) == []


def run_command(*arguments, **environment):
    return subprocess.run(
        [sys.executable, "-m", "utils.download", *map(str, arguments)],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_the_command_without_network_ends_in_one_line_within_seconds(tmp_path):
    # Nothing listens on port 9: refused at once, whether or not this machine has a network.
    proxy = "http://127.0.0.1:9"
    start = time.monotonic()
    done = run_command(
        tmp_path / "lgg", HTTPS_PROXY=proxy, https_proxy=proxy, NO_PROXY="", no_proxy=""
    )
    assert time.monotonic() - start < 20
    assert done.returncode == 2
    assert "CC BY-NC-SA 4.0" in done.stdout
    [line] = done.stderr.splitlines()
    assert line.startswith("error: Kaggle cannot be reached")
    for word in CREDENTIAL_WORDS:
        assert word in line
    assert os.listdir(tmp_path) == []


def test_the_command_explains_itself():
    done = run_command("--help")
    assert done.returncode == 0
    assert "OUT" in done.stdout


@pytest.fixture
def fake_server(tmp_path):
    write_small_cohort(tmp_path / "original")
    path = tmp_path / "archive.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("kaggle_3m/data.csv", bytes(3 << 20))
        for copy in ("kaggle_3m", "lgg-mri-segmentation/kaggle_3m"):
            for file in (tmp_path / "original").rglob("*.tif"):
                archive.write(file, f"{copy}/{file.relative_to(tmp_path / 'original')}")
    with FakeKaggle(path.read_bytes(), stop=5 << 19) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.closing.set()
        server.shutdown()
        thread.join()


CHILD = """
import sys
import kagglesdk.kaggle_env as kaggle_env
from utils.cohort import download as module

kaggle_env._env_to_endpoint[kaggle_env.KaggleEnv.LOCAL] = sys.argv[1]
module.NEEDED_BYTES = 0
module.download(sys.argv[2], module.Counts(2, 5, 3))
"""


def wait_for(condition, seconds=30):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)


@pytest.mark.skipif(os.name == "nt", reason="SIGKILL is of Unix")
def test_a_killed_download_goes_on_where_it_was(tmp_path, fake_server):
    root = tmp_path / "data" / "lgg"
    command = [sys.executable, "-c", CHILD, fake_server.url, str(root)]
    environment = {**os.environ, "KAGGLE_API_ENVIRONMENT": "LOCALHOST", "NO_PROXY": "127.0.0.1"}
    options = {"cwd": ROOT, "env": environment, "stderr": subprocess.DEVNULL}

    def arrived():
        return sum(path.stat().st_size for path in root.parent.glob(".lgg.download/**/*.archive"))

    child = subprocess.Popen(command, **options)
    wait_for(lambda: arrived() >= 2 << 20)
    child.send_signal(signal.SIGKILL)
    child.wait()
    assert not root.exists()
    kept = arrived()
    assert 2 << 20 <= kept < len(fake_server.data)

    assert subprocess.run(command, **options, timeout=60, check=False).returncode == 0
    assert fake_server.ranges == [0, 0, kept]
    assert len(read_cohort(root)) == 5
    assert os.listdir(root.parent) == ["lgg"]
