"""The card says what the files of the run say, and a dash where they say nothing."""

import pandas as pd
import pytest

from utils.config import CourseError, write_json
from utils.course.model_card import model_card, write_model_card

METRICS = {
    "cohort": "lgg",
    "seed": 7,
    "profile": "5 patients, 128 px",
    "split_sha256": "0123456789abcdef",
    "patients": {"train": ["A", "B"], "validation": ["C"], "test": ["D", "E"]},
    "detection": {"auc": 0.9512, "auc_ci95": [0.9, 0.98], "sensitivity": 0.9},
    "segmentation": {
        "dice_patient_mean": 0.8,
        "dice_patient_ci95": [0.7, 0.9],
        "dice_patient_median": 0.85,
        "dice_patient_median_ci95": [0.75, 0.95],
    },
    "cascade": {"dice_patient_mean": 0.7, "difference": -0.1, "difference_ci95": [-0.2, 0.05]},
    "by_institution": {"DU": {"patients": 2, "dice_patient_mean": 0.8}},
    "by_size": {"1 to 90": {"slices": 12, "detector": 0.5, "segmenter": 0.75, "cascade": 0.4}},
}
PATIENTS = pd.DataFrame(
    [
        ("D", "DU", 1200, 0.9, 0.9, 2.0),
        ("E", "DU", 34000, 0.4, 0.1, float("nan")),
        ("F", "HT", 500, 0.8, 0.8, 3.0),
        ("G", "HT", 0, float("nan"), float("nan"), float("nan")),
        ("H", "CS", 90, 0.85, 0.8, 1.5),
    ],
    columns=["patient", "institution", "tumour_px", "dice", "dice_cascade", "hd95_px"],
)
DETECTOR = {"temperature": 1.234, "threshold": 0.31, "sensitivity": 0.9}
SEGMENTER = {
    "configuration": {"loss": "focal_tversky"},
    "postprocessing": {"threshold": 0.6, "minimum_px": 50},
}


def row_of(card, start):
    """Return the cells of the only table row that starts with `start`."""
    (line,) = [line for line in card.splitlines() if line.startswith(f"| {start} |")]
    return [cell.strip() for cell in line.strip("|").split("|")]


@pytest.fixture
def card():
    return model_card(METRICS, PATIENTS, DETECTOR, SEGMENTER)


def test_says_first_that_it_is_not_for_clinical_use(card):
    assert card.index("Not for clinical use") < card.index("## ")


@pytest.mark.parametrize(
    "heading",
    ["Intended use", "Data", "Results on 5 held-out", "For whom", "Known failures", "Limits",
     "Licences"],
)  # fmt: skip
def test_has_every_section_once(card, heading):
    assert card.count(f"## {heading}") == 1


def test_results_stand_with_their_intervals(card):
    assert row_of(card, "AUC")[1] == "0.951 (0.900 to 0.980)"
    assert row_of(card, "Dice by patient, mean")[1:] == ["0.80 (0.70 to 0.90)", "0.70"]
    assert row_of(card, "Dice by patient, median")[1:] == ["0.85 (0.75 to 0.95)", "–"]
    assert "-0.100 (-0.200 to +0.050)" in card


def test_what_is_missing_is_a_dash_and_not_a_number(card):
    assert row_of(card, "Specificity at the threshold")[1] == "–"
    assert "nan" not in card.lower()
    assert "None" not in card


def test_worst_patients_are_named_worst_first(card):
    section = card[card.index("## Known failures") : card.index("## Limits")]
    assert [name for name in "DEFGH" if f"`{name}`" in section] == ["E", "F", "H"]
    assert section.index("`E`") < section.index("`F`") < section.index("`H`")
    assert row_of(card, "`E`")[1:] == ["DU", "34,000", "0.40", "0.10", "–"]


def test_data_are_told_with_cohort_split_and_seed(card):
    assert "LGG MRI Segmentation cohort" in card
    assert "`0123456789ab`" in card
    assert "seed 7" in card
    assert row_of(card, "training")[1] == "2"
    assert row_of(card, "held out (test)")[1] == "2"


def test_hd95_is_told_with_its_definition(card):
    assert "missed or invented, counts as the picture's diagonal" in card
    assert "the mean over the slices with either mask" in card


def test_subgroups(card):
    assert row_of(card, "DU")[1:] == ["2", "0.80", "–"]
    assert row_of(card, "1 to 90")[1:] == ["12", "0.50", "0.75", "0.40"]


def test_licence_and_limits_are_those_of_the_cohort(card):
    assert "CC BY-NC-SA 4.0" in card
    assert "simulated" not in card.lower()
    simulated = model_card({**METRICS, "cohort": "simulated"}, PATIENTS, DETECTOR, SEGMENTER)
    assert "nothing about people" in simulated
    assert "CC BY-NC-SA" not in simulated


def test_settings_of_the_models_are_told(card):
    for words in ("focal tversky", "temperature 1.23", "0.31", "0.60", "under 50 pixels"):
        assert words in card
    assert "only the largest connected piece" not in card
    kept = {"postprocessing": {"threshold": 0.6, "minimum_px": 0, "largest_only": True}}
    assert "only the largest connected piece" in model_card(METRICS, PATIENTS, DETECTOR, kept)


def test_written_into_the_run_folder(tmp_path):
    write_json(tmp_path / "metrics.json", METRICS)
    PATIENTS.to_csv(tmp_path / "patients.csv", index=False)
    path = write_model_card(tmp_path)
    assert path == tmp_path / "model_card.md"
    assert "`E`" in path.read_text(encoding="utf-8")


def test_without_results_it_says_what_to_run(tmp_path):
    with pytest.raises(CourseError, match="run notebook 04 first") as caught:
        write_model_card(tmp_path)
    assert str(tmp_path) in str(caught.value)
    assert not list(tmp_path.iterdir())
