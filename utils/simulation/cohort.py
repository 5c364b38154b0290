"""The simulated cohort: real anatomy, invented disease, the layout of the real cohort.

Each patient is a random deformation of the template head (`utils.simulation.head`), cut into axial
slices, with one tumour (`utils.simulation.tumour`), turned into three pictures by
`utils.simulation.acquisition`.
"""

import contextlib
import multiprocessing
import os
import shutil
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import numpy as np
from PIL import Image

from utils import config
from utils.runtime.machine import cores
from utils.runtime.memory import available_bytes
from utils.simulation.acquisition import acquire
from utils.simulation.phantom import make_phantom

# Patients of the real cohort from each institution (second part of a folder's name).
INSTITUTIONS = {"DU": 45, "HT": 34, "CS": 16, "FG": 14, "EZ": 1}
SLICES = (20, 32)
# Raise it with every change that changes a byte of a cohort.
VERSION = 3
GOLDEN_RATIO = 0.618033988749895
# What a process takes of memory at most, with some room (measured: 582 MiB), and how many patients
# make up for the time in which it makes the template head: that of four.
PROCESS_BYTES, PATIENTS_A_PROCESS = 640 * 2**20, 4
_ABANDONED_SECONDS = 3600.0


def institution_of(seed: int, number: int) -> str:
    """Return the institution of one patient.

    Steps of the golden ratio fill the proportions of the real cohort evenly, so that a small
    cohort has every large institution.
    """
    position = (number * GOLDEN_RATIO + np.random.default_rng(seed).random()) % 1
    edges = np.cumsum(list(INSTITUTIONS.values())) / sum(INSTITUTIONS.values())
    return list(INSTITUTIONS)[int(np.searchsorted(edges, position, side="right"))]


def simulate_patient(seed: int, number: int) -> tuple[np.ndarray, np.ndarray, str]:
    """Simulate one patient.

    Parameters
    ----------
    seed : int
        The cohort's seed, not negative.
    number : int
        The patient's number in the cohort, from 1.

    Returns
    -------
    images : ndarray of uint8, (slices, 256, 256, 3)
        Pre-contrast T1, FLAIR, post-contrast T1, from the neck upwards.
    masks : ndarray of uint8, (slices, 256, 256)
        255 in the FLAIR abnormality, 0 elsewhere.
    name : str
        `SIM_<institution>_<number>`.
    """
    institution = institution_of(seed, number)
    rng = np.random.default_rng([seed, number])
    slices = int(rng.integers(SLICES[0], SLICES[1] + 1))
    phantom = make_phantom(slices, rng)
    images = acquire(phantom, institution, rng)
    return images, phantom.mask.astype(np.uint8) * 255, f"SIM_{institution}_{number:04d}"


def simulate_cohort(
    root: str | os.PathLike,
    patients: int = 60,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
    processes: int | None = None,
) -> Path:
    """Write a simulated cohort, or what is missing of it.

    The same `patients` and `seed` give the same bytes, whatever the number of processes; a
    patient does not depend on how many others there are. A patient's folder appears under its
    name only when it is whole, so that a killed run can be run again and goes on.

    Parameters
    ----------
    root : path-like
        Folder of the cohort, made if missing.
    patients : int
        How many, from 1 to 9999.
    seed : int
        Not negative.
    progress : callable, optional
        Called with the patients done so far and `patients`.
    processes : int, optional
        Worker processes; 1 simulates in this one. By default one a core, or fewer if there is
        little to do or little memory.

    Returns
    -------
    pathlib.Path
        `root`. `root/cohort.json` says what it holds.

    Raises
    ------
    CourseError
        If an argument is out of range, `root` holds another cohort, or the system ends a worker
        process.
    """
    root = Path(root)
    description = _describe(patients, seed)
    _claim(root, description)
    numbers = range(1, patients + 1)
    _sweep(root)
    todo = [number for number in numbers if not (root / _name(seed, number)).is_dir()]
    done = patients - len(todo)
    report = progress or (lambda done, total: None)
    report(done, patients)
    for _ in _write_all(root, seed, todo, processes or _processes(len(todo))):
        done += 1
        report(done, patients)
    config.write_json(root / "cohort.json", {**description, "complete": True})
    return root


def _describe(patients: int, seed: int) -> dict:
    if not 1 <= patients <= 9999:
        raise config.CourseError(
            f"patients={patients}: a simulated cohort has 1 to 9999 patients; choose another number"
        )
    if seed < 0:
        raise config.CourseError(f"seed={seed}: must not be negative; choose another number")
    return {"cohort": "simulated", "version": VERSION, "patients": patients, "seed": seed}


def _claim(root: Path, description: dict) -> None:
    """Mark `root` as the folder of this cohort, or say that it is another one's."""
    marker = root / "cohort.json"
    found = config.read_json(marker)
    if found and {key: found.get(key) for key in description} != description:
        raise config.CourseError(
            f"{marker}: the folder holds another cohort ({found.get('cohort')}, "
            f"version {found.get('version')}, {found.get('patients')} patients, "
            f"seed {found.get('seed')}); choose another folder or delete this one"
        )
    if not found:
        # Hidden: what systems put into folders, and a marker that a killed run left half written.
        if root.is_dir() and any(path.name[0] != "." for path in root.iterdir()):
            raise config.CourseError(f"{root}: not empty and no simulated cohort; choose another")
        config.write_json(marker, {**description, "complete": False})


def _name(seed: int, number: int) -> str:
    return f"SIM_{institution_of(seed, number)}_{number:04d}"


def _processes(patients: int) -> int:
    """Return how many processes are worth their memory, and the time in which they start."""
    worth_starting = -(-patients // PATIENTS_A_PROCESS)
    return max(1, min(len(cores()), worth_starting, available_bytes() // PROCESS_BYTES))


def _sweep(root: Path) -> None:
    """Delete what runs that were killed have left of a patient."""
    for folder in root.glob(".SIM_*-*"):
        with contextlib.suppress(FileNotFoundError):
            if time.time() - folder.stat().st_mtime > _ABANDONED_SECONDS:
                shutil.rmtree(folder)


def _write_all(root: Path, seed: int, numbers: list[int], processes: int) -> Iterator[int]:
    """Write the patients in `numbers`, yielding each number when it is there."""
    if processes == 1 or len(numbers) < 2:
        for number in numbers:
            yield _write_patient(root, seed, number)
        return
    # Spawned, not forked: TensorFlow's threads do not survive a fork.
    context = multiprocessing.get_context("spawn")
    at_once = min(processes, len(numbers))
    with ProcessPoolExecutor(at_once, mp_context=context, initializer=_obey) as pool:
        jobs = [pool.submit(_write_patient, root, seed, number) for number in numbers]
        try:
            for job in as_completed(jobs):
                yield job.result()
        except BrokenProcessPool as error:
            raise config.CourseError(
                f"{root}: a process that simulated patients was ended by the system, most often "
                "because memory ran out; close other programs and run again, it goes on from "
                "there (with python -m utils.simulate also in one process: --processes 1)"
            ) from error
        finally:
            for job in jobs:
                job.cancel()


def _obey() -> None:
    """Leave it to the process that started this one when to end, and end when it is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    multiprocessing.parent_process().join()
    os._exit(1)


def _write_patient(root: Path, seed: int, number: int) -> int:
    """Write one patient's folder under a temporary name, then rename it."""
    images, masks, name = simulate_patient(seed, number)
    temporary = Path(tempfile.mkdtemp(prefix=f".{name}-", dir=root))
    try:
        for index, (image, mask) in enumerate(zip(images, masks, strict=True), start=1):
            Image.fromarray(image).save(temporary / f"{name}_{index}.tif")
            mask_path = temporary / f"{name}_{index}_mask.tif"
            Image.fromarray(mask).save(mask_path, compression="packbits")
        temporary.chmod(0o755)
        try:
            os.replace(temporary, root / name)
        except OSError:
            # Another process made the same patient meanwhile; same seed, same bytes.
            if not (root / name).is_dir():
                raise
    finally:
        with contextlib.suppress(FileNotFoundError):
            shutil.rmtree(temporary)
    return number
