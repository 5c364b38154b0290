import base64
import os
import re

import nbformat
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from utils.config import CourseError, write_json
from utils.notebooks.report import (
    MISSING,
    figures,
    flatten,
    held_out_patients,
    lookup,
    number,
    summary_table,
    write_report,
)

METRICS = {
    "cohort": "simulated",
    "seed": 3,
    "profile": "4 patients, 128 px",
    "split_sha256": "0123456789abcdef",
    "patients": {"test": ["SIM_DU_0001", "SIM_<b>_0002"], "train": ["SIM_HT_0003"]},
    "detection": {"auc": 0.98765, "sensitivity": 0.9, "specificity": 0.85, "threshold": 0.4},
    "segmentation": {
        "dice_patient_mean": 0.8123,
        "dice_patient_median": 0.83,
        "dice_patient_ci95": [0.75, 0.86],
        "hd95_px_median": 4.25,
    },
    "seconds": {"01_explore": 12.4, "04_evaluate": 100.0},
    "peak_rss_mb": {"01_explore": 512.3, "04_evaluate": 1024.0},
}
SLICES = pd.DataFrame(
    [
        ("SIM_DU_0001", "DU", 1, "test", 100, 80, 60),
        ("SIM_DU_0001", "DU", 2, "test", 0, 20, 0),
        ("SIM_<b>_0002", "HT", 1, "test", 0, 0, 0),
        ("SIM_HT_0003", "HT", 1, "train", 50, 50, 50),
    ],
    columns=["patient", "institution", "slice", "part", "tumour_px", "predicted_px", "overlap_px"],
)


@pytest.fixture
def run_folder(tmp_path):
    folder = tmp_path / "runs" / "my run"
    (folder / "figures").mkdir(parents=True)
    write_json(folder / "metrics.json", METRICS)
    SLICES.to_csv(folder / "predictions.csv", index=False)
    Image.fromarray(np.zeros((4, 4), np.uint8)).save(folder / "figures" / "04_worst_cases.png")
    (folder / "figures" / "04_worst_cases.txt").write_text('Two "worst" cases.\n')
    for name, title in [("01_explore", "1. Explore"), ("04_evaluate", "4. Evaluate")]:
        notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell(f"# {title}\n")])
        nbformat.write(notebook, folder / f"{name}.ipynb")
    (folder / "04_evaluate.failed.ipynb").write_text("{}")
    return folder


def page(folder):
    return write_report(folder).read_text(encoding="utf-8")


def test_the_page_says_what_the_numbers_are_and_whose(run_folder):
    text = page(run_folder)
    assert "0.988" in text and "95 % interval 0.750 to 0.860" in text
    assert "seed 3" in text and "split 0123456789ab<" in text
    assert "Measured on 2 held-out simulated patients" in text.replace("\n    ", " ")
    assert text.count("SIM_DU_0001") == 2
    assert "SIM_&lt;b&gt;_0002" in text and "<b>_" not in text
    assert "Not for clinical use" in text


def test_the_page_is_one_file_that_describes_its_pictures(run_folder):
    text = page(run_folder)
    picture = (run_folder / "figures" / "04_worst_cases.png").read_bytes()
    assert base64.b64encode(picture).decode() in text
    assert 'alt="Two &#34;worst&#34; cases."' in text
    assert not re.findall(r'(?:src|href)="(?:https?:)?//', text)
    links = set(re.findall(r'href="([^#"][^"]*)"', text))
    assert links == {"01_explore.ipynb", "04_evaluate.ipynb"}
    targets = set(re.findall(r'href="#([^"]+)"', text))
    assert targets <= set(re.findall(r'id="([^"]+)"', text))
    assert '<html lang="en-GB">' in text
    assert len(re.findall("<img ", text)) == len(re.findall(r'<img [^>]*alt="[^"]', text)) == 1


def test_simulated_data_are_flagged_and_real_ones_named(run_folder):
    assert "Simulated data." in page(run_folder)
    write_json(run_folder / "metrics.json", METRICS | {"cohort": "lgg"})
    text = page(run_folder)
    assert "imulated" not in text
    assert "LGG MRI Segmentation cohort (real patients)" in text


def test_what_a_run_did_not_make_is_said(run_folder):
    write_json(run_folder / "metrics.json", {"cohort": "simulated", "seed": 0})
    (run_folder / "predictions.csv").unlink()
    text = page(run_folder)
    assert text.count(f'missing">{MISSING}') == 6
    assert f"results by patient were {MISSING}" in text
    assert f"The split was {MISSING}" in text


def test_a_folder_without_a_run_is_refused(tmp_path):
    with pytest.raises(CourseError, match=r"no metrics\.json in it; run the notebooks"):
        write_report(tmp_path)


def test_figures_stand_in_the_order_in_which_they_were_drawn(run_folder):
    folder = run_folder / "figures"
    for second, name in enumerate(("zebra", "apple"), start=1):
        Image.fromarray(np.zeros((4, 4), np.uint8)).save(folder / f"09_{name}.png")
        (folder / f"09_{name}.txt").write_text(name)
        os.utime(folder / f"09_{name}.png", (second, second))
    assert [figure["alt"] for figure in figures(folder, "09")] == ["zebra", "apple"]


def test_a_figure_without_description_is_refused(run_folder):
    (run_folder / "figures" / "04_worst_cases.txt").unlink()
    with pytest.raises(CourseError, match=r"04_worst_cases.png: no description .*\.txt"):
        figures(run_folder / "figures", "04")


def test_patients_pool_their_slices_and_only_held_out_ones_show(run_folder):
    rows = held_out_patients(run_folder)
    assert [row["patient"] for row in rows] == ["SIM_DU_0001", "SIM_<b>_0002"]
    # 2 * 60 / (100 + 100), by hand
    assert rows[0]["dice"] == "0.600"
    assert rows[1]["dice"] == "no tumour"
    assert rows[0]["tumour_px"] == "100" and rows[0]["slices"] == "2"


def test_predictions_without_a_column_are_refused(run_folder):
    SLICES.drop(columns="part").to_csv(run_folder / "predictions.csv", index=False)
    with pytest.raises(CourseError, match=r"predictions.csv: lacks part; make it again"):
        write_report(run_folder)


def test_the_summary_table(run_folder):
    assert summary_table(run_folder, ["01_explore", "03_segment", "04_evaluate"]) == (
        "notebook     seconds  peak MiB  headline\n"
        "01_explore        12       512  2 test, 1 train patients\n"
        "03_segment         -         -  mean patient Dice 0.812\n"
        "04_evaluate      100     1,024  mean patient Dice 0.812 (95 % interval 0.750 to 0.860)"
    )


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.12345, "0.123"),
        (1234567, "1,234,567"),
        (None, MISSING),
        (float("nan"), MISSING),
        ("text", "text"),
        (True, "True"),
        ([0.5, 2], "0.500, 2"),
    ],
)
def test_numbers_as_text(value, text):
    assert number(value) == text


def test_lookup_and_flatten():
    assert lookup(METRICS, "segmentation.hd95_px_median") == 4.25
    assert lookup(METRICS, "segmentation.other") is None
    assert lookup(METRICS, "seed.deeper") is None
    nested = {"a": {"b": {"c": 1}}, "patients": {"test": ["x"]}, "d": "e"}
    assert flatten({**nested, "seconds": {"01": 3}}) == [("a.b.c", "1"), ("d", "e")]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("predictions.csv", "not readable as a table; make it again: .* --only 04"),
        ("04_evaluate.ipynb", "not readable as a notebook; run it again: .* --only 04"),
    ],
)
def test_a_damaged_file_of_a_run_is_told_with_how_it_is_made_again(run_folder, name, said):
    (run_folder / name).write_text("")
    with pytest.raises(CourseError, match=f"{name}: {said}$"):
        page(run_folder)
