"""A settings file is whole, or one line says what is wrong with it."""

import json
import os

import pytest

from utils.config import CourseError
from utils.models.files.settings import Postprocessing, detector_settings, segmenter_settings


@pytest.fixture
def model_file(tmp_path):
    return tmp_path / "model.keras"


def write(model_file, content):
    text = content if isinstance(content, str) else json.dumps(content)
    model_file.with_suffix(".json").write_text(text, encoding="utf-8")


def one_line(read, model_file):
    with pytest.raises(CourseError) as told:
        read(model_file)
    assert str(told.value).startswith(str(model_file.with_suffix(".json")))
    assert "\n" not in str(told.value)
    return str(told.value)


def postprocessing(**values):
    return {"postprocessing": {"threshold": 0.5} | values}


def test_a_segmenter_s_settings_are_read_with_their_defaults(model_file):
    write(model_file, {"postprocessing": {"threshold": 0.25}, "trained_on": 80})
    assert segmenter_settings(model_file)[:2] == (Postprocessing(0.25, 0, False, 0.0), "sequences")
    write(model_file, postprocessing(minimum_px=4, largest_only=True, neighbours=0.25)
          | {"channels": "neighbours"})  # fmt: skip
    assert segmenter_settings(model_file)[:2] == (Postprocessing(0.5, 4, True, 0.25), "neighbours")


def test_a_mark_of_the_encoding_at_the_start_is_no_mistake(model_file):
    write(model_file, "\ufeff" + json.dumps(postprocessing()))
    assert segmenter_settings(model_file)[0].threshold == 0.5


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({}, 'lacks "postprocessing"'),
        ({"threshold": 0.5}, 'lacks "postprocessing"'),
        ({"postprocessing": None}, '"postprocessing" is None; it must be an object'),
        ({"postprocessing": [0.5]}, '"postprocessing" is [0.5]; it must be an object'),
        ({"postprocessing": {}}, 'lacks "postprocessing.threshold"'),
        (postprocessing(threshold=1.5), '"postprocessing.threshold" is 1.5'),
        (postprocessing(threshold=-0.1), "above 0 and up to 1"),
        (postprocessing(threshold=0), '"postprocessing.threshold" is 0'),
        (postprocessing(threshold=float("nan")), '"postprocessing.threshold" is nan'),
        (postprocessing(threshold=float("inf")), '"postprocessing.threshold" is inf'),
        (postprocessing(threshold="0.5"), "\"postprocessing.threshold\" is '0.5'"),
        (postprocessing(threshold=True), '"postprocessing.threshold" is True'),
        (postprocessing(threshold=None), '"postprocessing.threshold" is None'),
        (postprocessing(threshold=10**400), '"postprocessing.threshold" is 1000'),
        (postprocessing(minimum_px=-1), '"postprocessing.minimum_px" is -1'),
        (postprocessing(minimum_px=2.5), "a whole number of at least 0"),
        (postprocessing(minimum_px=10**30), '"postprocessing.minimum_px" is 1000'),
        (postprocessing(largest_only="yes"), "true or false"),
        (postprocessing(largest_only=1), "true or false"),
        (postprocessing(neighbours=0.6), "a number from 0 to 0.5"),
        (postprocessing(treshold=0.5), 'unknown "postprocessing.treshold"; known are threshold'),
        (postprocessing() | {"channels": "flair"}, "\"channels\" is 'flair'; it must be sequences"),
        (postprocessing() | {"channels": ["neighbours"]}, "\"channels\" is ['neighbours']"),
        (postprocessing() | {"channels": None}, '"channels" is None'),
        (postprocessing() | {"pictures": "sequences"}, '"pictures" is called "channels" now'),
        ("[]", "holds no JSON object"),
        ("", "not readable as JSON"),
        ('{"postprocessing": ', "not readable as JSON"),
        ("[" * 100_000, "not readable as JSON"),
        ("1" * 5000, "not readable as JSON"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_wrong_segmenter_s_settings_are_told(content, said, model_file):
    write(model_file, content)
    told = one_line(segmenter_settings, model_file)
    assert said in told
    # It belongs to a model that is whole: without it, that would be of no use.
    assert "delete" not in told


COMBINATION = {"detector": 0.2, "segmenter": 0.9, "intercept": -1}


def test_a_detector_s_settings_are_read(model_file):
    write(model_file, {"threshold": 0.8, "combination": COMBINATION, "neighbours": 0.25})
    assert detector_settings(model_file)["combination"] == COMBINATION
    write(model_file, {"threshold": 0, "temperature": 1.2})
    assert detector_settings(model_file) == {"threshold": 0, "temperature": 1.2}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({}, 'lacks "threshold"'),
        (postprocessing(), 'lacks "threshold"'),
        ({"threshold": 80}, '"threshold" is 80; it must be a number from 0 to 1'),
        ({"threshold": [0.5]}, '"threshold" is [0.5]'),
        ({"threshold": 0.5, "combination": 3}, '"combination" is 3'),
        ({"threshold": 0.5, "combination": {}, "neighbours": 0}, 'lacks "combination.detector"'),
        ({"threshold": 0.5, "combination": COMBINATION}, 'lacks "neighbours"'),
        (
            {"threshold": 0.5, "neighbours": 0, "combination": COMBINATION | {"intercept": "a"}},
            "\"combination.intercept\" is 'a'; it must be a number",
        ),
        ({"threshold": 0.5, "combination": COMBINATION, "neighbours": -1}, '"neighbours" is -1'),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_wrong_detector_s_settings_are_told(content, said, model_file):
    write(model_file, content)
    assert said in one_line(detector_settings, model_file)


def test_what_is_no_file_is_told_and_not_waited_for(model_file):
    beside = model_file.with_suffix(".json")
    assert "missing; it holds the threshold" in one_line(detector_settings, model_file)
    beside.mkdir()
    assert "is a folder, where a file is expected" in one_line(detector_settings, model_file)
    beside.rmdir()
    beside.symlink_to(beside.name)
    assert "a link that leads back to itself" in one_line(detector_settings, model_file)
    beside.unlink()
    if hasattr(os, "mkfifo"):
        os.mkfifo(beside)
        assert "is a pipe, where a file is expected" in one_line(detector_settings, model_file)


def test_a_file_far_too_large_is_not_read(model_file):
    with model_file.with_suffix(".json").open("wb") as file:
        file.truncate(2**34)
    assert "16384 MiB, far more than such a file holds" in one_line(detector_settings, model_file)
