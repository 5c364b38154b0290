"""Get the LGG MRI Segmentation cohort from Kaggle: `python -m utils.download [OUT]`."""

import os
import shutil
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from utils.cohort.archive import behind_links, tell_disk_errors
from utils.cohort.layout import PatientFiles, find_cohort_folder, list_patients
from utils.cohort.tiff import read_mask
from utils.config import DATA, CourseError, reason

HANDLE = "mateuszbuda/lgg-mri-segmentation"
PAGE = f"https://www.kaggle.com/datasets/{HANDLE}"
LICENCE = f"""\
LGG MRI Segmentation, {PAGE}
Buda, Saha, Mazurowski (2019), Computers in Biology and Medicine 109; images from The Cancer
Imaging Archive, collection TCGA-LGG.
Licence: CC BY-NC-SA 4.0 (as the re-uploads of the page give it): for research and teaching, not
commercial, with the source named and what is made from it under the same licence. Not for
clinical use.
"""
CREDENTIALS = (
    "get a token at https://www.kaggle.com/settings (API, Generate New Token) and put it into "
    "KAGGLE_API_TOKEN, or KAGGLE_USERNAME and KAGGLE_KEY, or ~/.kaggle/kaggle.json"
)
BY_HAND = f"or download the zip from {PAGE} and give it as DATA"
# The zip, and twice the cohort that kagglehub unpacks from it.
NEEDED_BYTES = 3_200_000_000
_TIMEOUT_SECONDS = (5, 15)


class Counts(NamedTuple):
    """How many patients, slices, and slices with tumour a cohort has."""

    patients: int
    slices: int
    tumour_slices: int

    def __str__(self) -> str:
        return f"{self.patients} patients / {self.slices} slices / {self.tumour_slices} with tumour"


EXPECTED = Counts(110, 3929, 1373)


def download(root: str | os.PathLike = DATA / "lgg", expected: Counts = EXPECTED) -> Path:
    """Download the cohort with kagglehub and check that it is whole.

    The archive and what is unpacked from it stand in a hidden folder beside `root` (beside what
    it leads to, if it is a link), where a killed download is taken up again; only a complete,
    checked cohort gets the name `root`.

    Parameters
    ----------
    root : path-like
        The cohort folder to make. If it holds the whole cohort already, nothing is done.
    expected : Counts
        What the cohort must hold.

    Returns
    -------
    pathlib.Path
        `root`, as an absolute path.

    Raises
    ------
    CourseError
        If Kaggle cannot be reached or refuses (the line says how to get credentials), the
        cohort is not the expected one, `root` holds something else, the disk is full, or the
        folder cannot be written.
    """
    root = Path(os.path.abspath(Path(root).expanduser()))  # "." has no name
    with tell_disk_errors(root):
        if root.exists() and not (root.is_dir() and not any(root.iterdir())):
            return _check_present(root, expected)
        place = behind_links(root)
        kept = place.with_name(f".{place.name}.download")
        kept.mkdir(parents=True, exist_ok=True)
        try:
            found = find_cohort_folder(_fetch(kept))
        finally:
            # Goes only if it is empty: nothing was downloaded.
            with suppress(OSError):
                kept.rmdir()
        counts = count_cohort(found)
        if counts != expected:
            raise CourseError(
                f"{found}: holds {counts}, not {expected}; delete {kept} and download again"
            )
        (found / "LICENCE.txt").write_text(LICENCE, encoding="utf-8")
        os.replace(found, place)
        shutil.rmtree(kept)
    return root


def count_cohort(root: str | os.PathLike) -> Counts:
    """Count patients, slices, and slices whose mask is not empty, reading every mask."""
    patients = list_patients(root)
    return Counts(
        patients=len(patients),
        slices=sum(len(one.slices) for one in patients),
        tumour_slices=sum(_tumour_slices(one) for one in patients),
    )


def _tumour_slices(one: PatientFiles) -> int:
    return sum(bool(read_mask(path).any()) for path in one.masks.values())


def _check_present(root: Path, expected: Counts) -> Path:
    counts = count_cohort(find_cohort_folder(root)) if root.is_dir() else None
    if counts == expected:
        print(f"{root}: already there, {counts}", flush=True)
        return root
    what = f"holds {counts}, not {expected}" if counts else "is a file"
    raise CourseError(f"{root}: {what}; move it away, or give another folder to download to")


def _fetch(kept: Path) -> Path:
    """Download and unpack with kagglehub into `kept`, or say in one line why not."""
    _check_space(kept)
    # A cache folder of our own: with kagglehub's `output_dir` a killed download would have to be
    # started again, and in its own cache the cohort would stand a second time.
    with _environment(KAGGLEHUB_CACHE=str(kept), KAGGLEHUB_VERBOSITY="error"):
        # Imported here: it takes half a second, and nothing else in the course needs it.
        import kagglehub

        _has_credentials()
        with _tell_kaggle_errors(kept):
            _reach_kaggle()
            return Path(kagglehub.dataset_download(HANDLE))


@contextmanager
def _environment(**values: str) -> Iterator[None]:
    """Set environment variables for the time being."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _check_space(kept: Path) -> None:
    there = sum(path.stat().st_size for path in kept.rglob("*") if path.is_file())
    needed, free = NEEDED_BYTES - there, shutil.disk_usage(kept).free
    if needed > free:
        raise CourseError(
            f"{kept.parent}: the disk has {free / 1e9:.1f} GB free, {needed / 1e9:.1f} GB are "
            "needed to download and unpack the cohort; free some space and run again"
        )


def _reach_kaggle() -> None:
    """Raise a requests exception unless Kaggle answers: kagglehub itself would wait for ever."""
    import requests
    from kagglesdk.kaggle_env import get_endpoint, get_env

    requests.head(get_endpoint(get_env()), timeout=_TIMEOUT_SECONDS)


@contextmanager
def _tell_kaggle_errors(kept: Path) -> Iterator[None]:
    """Turn what kagglehub raises into one line with the remedy."""
    import requests
    from kagglehub import exceptions
    from urllib3.exceptions import HTTPError

    try:
        yield
    except requests.HTTPError as error:
        status = error.response.status_code if error.response is not None else "an error"
        raise CourseError(f"Kaggle answers {status}; {_advice()}") from error
    except (requests.RequestException, HTTPError, TimeoutError) as error:
        raise CourseError(
            f"Kaggle cannot be reached, or the connection broke ({type(error).__name__}): check "
            f"the network and run again, it goes on from there; {_advice()}"
        ) from error
    except (exceptions.UnauthenticatedError, exceptions.CredentialError) as error:
        raise CourseError(f"Kaggle asks who you are; {CREDENTIALS}; {BY_HAND}") from error
    # The last is what kagglehub raises if what it was sent is no archive.
    except (exceptions.DataCorruptionError, zipfile.BadZipFile, ValueError) as error:
        raise CourseError(
            f"{kept}: the download is damaged ({reason(error, 300)}); delete this folder and run "
            "again"
        ) from error
    except (exceptions.NotFoundError, exceptions.BackendError) as error:
        raise CourseError(f"Kaggle: {reason(error, 300)}; {_advice()}") from error


def _advice() -> str:
    """Return how to get credentials if there are none, and the way without them."""
    if _has_credentials():
        return BY_HAND
    return f"no Kaggle credentials found: {CREDENTIALS}; {BY_HAND}"


def _has_credentials() -> bool:

    from kagglehub.config import get_kaggle_credentials

    try:
        return get_kaggle_credentials() is not None
    except ValueError as error:
        raise CourseError(
            f"{reason(error, 300)}: it is not what Kaggle gives; {CREDENTIALS}"
        ) from error
