"""Tables are put together from folds of many processes and machines, and say which those were."""

import threading
import time

import pandas as pd
import pytest
from cohort_files import write_squares

from utils import config
from utils.cluster.provenance import made_with
from utils.cohort.table import read_cohort
from utils.evaluation.segmentation import HD95_NOW
from utils.evidence.training import collect

HERE = {"commit": "abc", "versions": {"numpy": "2.4"}, "machine": "AMD, 2 cores", "threads": 2}
THERE = {"commit": "def", "versions": {"numpy": "2.4"}, "machine": "Intel, 8 cores", "threads": 4}


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    root = tmp_path_factory.mktemp("cohort") / "kaggle_3m"
    write_squares(root, ["DU"] * 5)
    return read_cohort(root)


def fold(work, name, note):
    """Write what a fold of the baseline leaves: one patient of one slice."""
    folder = work / "baseline_patient_split" / name
    row = {"patient": f"TCGA_DU_{name}_1", "institution": "DU", "slice": 1, "tumour_px": 4}
    row |= {"predicted_px": 4, "overlap_px": 4, "p_tumour": 0.9, "p_detector": 0.9}
    row |= {"p_segmenter": 0.9, "flagged": 1}
    folder.mkdir(parents=True)
    pd.DataFrame([row]).to_csv(folder / "slices.csv", index=False)
    settings = {"training_patients": 8, "validation_patients": 2, "epochs": 1, "seconds": 60}
    settings |= {"postprocessing": {"threshold": 0.5}, "detection_threshold": 0.5}
    settings |= {"temperature": 1.0, "combination": {}, "validation_dice": 0.8, "hd95": HD95_NOW}
    settings |= {"made_with": note} if note else {}
    config.write_json(folder / "fold.json", settings)


def told(out):
    provenance = config.read_json(out / "provenance.json")
    return {name: provenance[name] for name in ("commit", "versions", "machine")}


def test_each_fold_tells_on_which_machine_it_was_computed(table, tmp_path):
    work, out = tmp_path / "work", tmp_path / "out"
    fold(work, "0", HERE)
    fold(work, "1", THERE)
    collect.collect(work, out, table, 5)
    rows = pd.read_csv(out / "folds.csv")
    assert rows["machine"].tolist() == ["AMD, 2 cores", "Intel, 8 cores"]
    assert rows["commit"].tolist() == ["abc", "def"]
    assert rows["threads"].tolist() == [2, 4]
    assert told(out) == {
        "commit": "abc; def",
        "versions": {"numpy": "2.4"},
        "machine": "AMD, 2 cores; Intel, 8 cores",
    }


def test_a_machine_that_computed_no_row_any_more_is_not_named(table, tmp_path):
    out = tmp_path / "out"
    fold(tmp_path / "first", "0", HERE)
    collect.collect(tmp_path / "first", out, table, 5)
    fold(tmp_path / "again", "0", THERE)
    collect.collect(tmp_path / "again", out, table, 5)
    assert told(out)["machine"] == "Intel, 8 cores"
    fold(tmp_path / "other", "1", HERE)
    collect.collect(tmp_path / "other", out, table, 5)
    assert told(out)["machine"] == "Intel, 8 cores; AMD, 2 cores"


def test_folds_of_before_this_was_noted_stay_readable(table, tmp_path):
    work, out = tmp_path / "work", tmp_path / "out"
    fold(work, "0", None)
    fold(work, "1", HERE)
    collect.collect(work, out, table, 5)
    rows = pd.read_csv(out / "folds.csv", dtype=str)
    assert rows["threads"].tolist()[1] == "2" and rows["threads"].isna().tolist() == [True, False]
    # That fold may be of this process.
    assert told(out)["machine"] == f"AMD, 2 cores; {made_with()['machine']}"


def test_of_two_processes_neither_loses_what_the_other_adds(table, tmp_path, monkeypatch):
    merge = collect._merged

    def slowly(*given):
        rows = merge(*given)
        time.sleep(0.1)  # the other one writes now, if it may
        return rows

    monkeypatch.setattr(collect, "_merged", slowly)
    out, both = tmp_path / "out", []
    fold(tmp_path / "before", "2", HERE)
    collect.collect(tmp_path / "before", out, table, 5)
    for name, note in (("0", HERE), ("1", THERE)):
        fold(tmp_path / name, name, note)
        given = (tmp_path / name, out, table, 5)
        both.append(threading.Thread(target=collect.collect, args=given))
    for each in both:
        each.start()
    for each in both:
        each.join()
    for name in ("folds", "slices_baseline_patient_split"):
        assert pd.read_csv(out / f"{name}.csv")["fold"].tolist() == [0, 1, 2]
    assert told(out)["machine"] == "AMD, 2 cores; Intel, 8 cores"
