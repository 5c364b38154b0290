"""The simulated cohort: layout, determinism, resuming, and what its pictures look like."""

import hashlib
import json
import shutil

import numpy as np
import pytest
from PIL import Image

from utils.config import CourseError, read_json
from utils.simulation import cohort as cohort_module
from utils.simulation.cohort import (
    INSTITUTIONS,
    SLICES,
    VERSION,
    _write_patient,
    institution_of,
    simulate_cohort,
    simulate_patient,
)


def digests(root):
    return {
        path.relative_to(root).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    return simulate_cohort(tmp_path_factory.mktemp("cohort") / "a", 3, seed=5, processes=1)


@pytest.fixture(scope="module")
def patient():
    return simulate_patient(5, 1)


@pytest.mark.long
def test_layout_is_that_of_the_real_cohort(cohort):
    folders = [path for path in cohort.iterdir() if path.is_dir()]
    assert len(folders) == 3
    for folder in folders:
        _, institution, number = folder.name.split("_")
        assert institution in INSTITUTIONS and len(number) == 4
        count = len(list(folder.glob("*_mask.tif")))
        assert SLICES[0] <= count <= SLICES[1]
        for index in range(1, count + 1):
            with Image.open(folder / f"{folder.name}_{index}.tif") as picture:
                assert (picture.size, picture.mode) == ((256, 256), "RGB")
            with Image.open(folder / f"{folder.name}_{index}_mask.tif") as mask:
                assert (mask.size, mask.mode) == ((256, 256), "L")
                assert set(np.unique(np.asarray(mask))) <= {0, 255}


@pytest.mark.long
def test_cohort_says_what_it_is(cohort):
    assert json.loads((cohort / "cohort.json").read_text()) == {
        "cohort": "simulated",
        "version": VERSION,
        "patients": 3,
        "seed": 5,
        "complete": True,
    }


@pytest.mark.long
def test_a_killed_run_goes_on_and_gives_the_same_bytes_with_other_processes(cohort, tmp_path):
    copy = tmp_path / "b"
    shutil.copytree(cohort, copy)
    lost = sorted(path for path in copy.iterdir() if path.is_dir())[:2]
    for folder in lost:
        shutil.rmtree(folder)
    calls = []
    simulate_cohort(copy, 3, 5, lambda done, total: calls.append((done, total)))
    assert digests(copy) == digests(cohort)
    assert calls == [(1, 3), (2, 3), (3, 3)]


@pytest.mark.long
def test_a_patient_that_another_process_made_meanwhile_is_kept(cohort, tmp_path):
    shutil.copytree(cohort, tmp_path / "copy")
    assert _write_patient(tmp_path / "copy", 5, 2) == 2
    assert digests(tmp_path / "copy") == digests(cohort)


@pytest.mark.long
def test_patient_has_a_tumour_brighter_than_its_head_in_flair(patient):
    images, masks, _ = patient
    assert images.dtype == masks.dtype == np.uint8
    assert images.shape == (*masks.shape, 3)
    inside = masks > 0
    head = (images[..., 1] > 20) & ~inside
    assert inside.any() and not inside.any((1, 2)).all()
    assert images[..., 1][inside].mean() > images[..., 1][head].mean()


@pytest.mark.long
def test_seeds_and_numbers_give_different_patients(patient):
    images, _, name = patient
    other, _, other_name = simulate_patient(6, 1)
    assert images.shape != other.shape or not np.array_equal(images, other)
    assert name[:4] == other_name[:4] == "SIM_" and name[-4:] == other_name[-4:] == "0001"


def test_institutions_follow_the_real_proportions():
    found = [institution_of(0, number) for number in range(1, 111)]
    for institution, count in INSTITUTIONS.items():
        assert abs(found.count(institution) - count) <= 2


@pytest.mark.parametrize("arguments", [{"patients": 0}, {"patients": 10000}, {"seed": -1}])
def test_arguments_out_of_range_are_named(tmp_path, arguments):
    name, value = next(iter(arguments.items()))
    with pytest.raises(CourseError, match=f"{name}={value}"):
        simulate_cohort(tmp_path / "cohort", **arguments)
    assert not (tmp_path / "cohort").exists()


@pytest.mark.long
def test_another_cohort_is_not_overwritten(cohort):
    before = digests(cohort)
    with pytest.raises(CourseError, match="3 patients, seed 5"):
        simulate_cohort(cohort, 3, seed=6)
    assert digests(cohort) == before


@pytest.mark.long
def test_patients_of_an_older_simulation_are_not_mixed_with_new_ones(tmp_path, monkeypatch):
    root = simulate_cohort(tmp_path / "old", 1, processes=1)
    monkeypatch.setattr(cohort_module, "VERSION", VERSION + 1)
    with pytest.raises(CourseError, match="version"):
        simulate_cohort(root, 1)


def test_a_folder_with_other_things_is_left_alone(tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(CourseError, match="not empty"):
        simulate_cohort(tmp_path, 1)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_what_a_run_killed_in_its_first_moment_left_does_not_stop_the_next(tmp_path):
    # A marker under its temporary name, and what a Mac puts into a folder that was looked at.
    for name in (".cohort-x1y2z3_4.json", ".DS_Store"):
        (tmp_path / name).write_bytes(b"")
    cohort_module._claim(tmp_path, cohort_module._describe(1, seed=0))
    assert not read_json(tmp_path / "cohort.json")["complete"]
