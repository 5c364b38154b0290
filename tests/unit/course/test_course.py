import numpy as np
import pandas as pd
import pytest
from PIL import Image

from utils import config
from utils.cohort.splits import choose_patients
from utils.config import CourseError
from utils.course.run import open_run


@pytest.fixture
def real_like(tmp_path):
    """Eight patients of two institutions in the cohort layout, as the real cohort comes."""
    root = tmp_path / "kaggle_3m"
    rng = np.random.default_rng(0)
    for number in range(8):
        name = f"TCGA_{'DU' if number % 2 else 'HT'}_{number:04d}_20000101"
        (root / name).mkdir(parents=True)
        for index in (1, 2):
            image = rng.integers(0, 255, (48, 48, 3), dtype=np.uint8)
            mask = np.zeros((48, 48), np.uint8)
            mask[: number + 1, :10] = 255 if index == 2 else 0
            Image.fromarray(image).save(root / name / f"{name}_{index}.tif")
            Image.fromarray(mask).save(root / name / f"{name}_{index}_mask.tif")
    return root


def open_small(real_like, folder, **changed):
    given = {"cohort": "lgg", "data": str(real_like), "run_folder": str(folder)}
    return open_run(**(given | {"patients": 0, "size": 32} | changed))


def test_a_run_has_parts_without_common_patients_and_records_them(real_like, tmp_path):
    run = open_small(real_like, tmp_path / "run")
    parts = {part: run.part(part) for part in ("train", "validation", "test")}
    assert sum(len(part) for part in parts.values()) == 16
    assert not set(parts["train"].patients) & set(parts["test"].patients)
    recorded = config.read_json(run.folder / "metrics.json")
    assert recorded["cohort"] == "lgg" and recorded["seed"] == 0
    assert recorded["patients"]["test"] == parts["test"].patients
    assert set(pd.read_csv(run.folder / "split.csv")["part"]) == set(parts)


def test_every_number_says_from_where_it_comes(real_like, tmp_path):
    run = open_small(real_like, tmp_path / "run")
    assert run.describe() == "LGG cohort (real), 8 patients, seed 0"
    assert run.describe("test") == "LGG cohort (real), 2 held-out patients, seed 0"


def test_numbers_of_another_split_are_dropped_and_those_of_the_same_kept(real_like, tmp_path):
    run = open_small(real_like, tmp_path / "run")
    run.record({"detection": {"auc": 0.9}})
    same = open_small(real_like, tmp_path / "run")
    assert config.read_json(same.metrics_file)["detection"] == {"auc": 0.9}
    other = open_small(real_like, tmp_path / "run", patients=4)
    assert "detection" not in config.read_json(other.metrics_file)


def test_chosen_patients_stand_for_the_cohort(real_like, tmp_path):
    run = open_small(real_like, tmp_path / "run", patients=4)
    assert run.split["institution"].value_counts().to_dict() == {"DU": 2, "HT": 2}
    with pytest.raises(CourseError, match="patients=9: the cohort has 8"):
        choose_patients(open_small(real_like, tmp_path / "run").table, 9)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"cohort": "lung"}, "cohort='lung': unknown; choose one of"),
        ({"seed": -1}, "seed=-1: must be a whole number of at least 0"),
        ({"size": 16}, "size=16: must be a whole number of at least 32"),
        ({"patients": 2.5}, "patients=2.5: must be a whole number"),
        ({"detector_epochs": 0}, "detector_epochs=0: must be"),
    ],
)
def test_parameters_out_of_range_are_refused(changed, message, tmp_path):
    with pytest.raises(CourseError, match=message):
        open_run(**changed)
