"""What the viewer sends to the browser, its picture, and its part of a web page."""

import base64
import io
import json
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from utils.config import CourseError
from utils.plots import style
from utils.plots.viewer import LEVELS, Case, SliceViewer, Weights, kept, page_parts

ALT = "Five slices of a square head with a square tumour."


@pytest.fixture
def case():
    """Five slices; the head is 24 x 24 of 40 x 40 pixels, the tumour 4 x 4 in the third alone."""
    images = np.zeros((5, 40, 40, 3), np.uint8)
    images[:, 8:32, 8:32] = 100
    truth = np.zeros((5, 40, 40), np.uint8)
    truth[2, 12:16, 12:16] = 255
    probability = np.zeros((5, 40, 40), np.float32)
    probability[2, 12:16, 12:18] = 0.5
    return Case("SIM_1", images, truth, probability)


def viewer_of(*cases, **options):
    return SliceViewer(cases, "simulated cohort, 1 patient", ALT, **options)


def pixels(sheet, sent):
    """Return the slices that lie on a sheet, shape (count, height, width)."""
    picture = Image.open(io.BytesIO(base64.b64decode(sheet.split(",")[1])))
    whole = np.asarray(picture.convert("L"))
    height, width, columns = sent["height"], sent["width"], sent["columns"]
    return np.stack(
        [
            whole[row * height : (row + 1) * height, column * width : (column + 1) * width]
            for row, column in (divmod(place, columns) for place in range(sent["count"]))
        ]
    )


def test_what_is_sent_is_cut_to_the_head_and_to_all_that_is_marked(case):
    (sent,) = viewer_of(case).data["cases"]
    assert sent["count"] == 5 and sent["columns"] == 3
    assert 24 <= sent["height"] <= 28 and 24 <= sent["width"] <= 28
    case.truth[0, 39, 39] = 1
    (sent,) = viewer_of(case).data["cases"]
    assert sent["height"] >= 32 and sent["width"] >= 32
    assert (pixels(sent["truth"], sent) > 0).sum() == 17


def test_masks_and_probabilities_arrive_exactly_and_images_nearly(case):
    (sent,) = viewer_of(case).data["cases"]
    truth, levels = pixels(sent["truth"], sent), pixels(sent["probability"], sent)
    assert (truth > 0).sum(axis=(1, 2)).tolist() == [0, 0, 16, 0, 0]
    assert (levels == 0.5 * LEVELS).sum(axis=(1, 2)).tolist() == [0, 0, 24, 0, 0]
    assert len(sent["images"]) == 3
    seen = pixels(sent["images"][1], sent).astype(int)
    assert seen[:, 8:16, 8:16].min() > 245  # the brightest is white


@pytest.mark.parametrize("hundredths", [5, 29, 50, 58, 95])
def test_a_threshold_in_hundredths_finds_the_same_pixels_as_in_python(case, hundredths):
    threshold = hundredths / 100
    chance = np.random.default_rng(hundredths).random(case.probability.shape)
    chance[:, ::2] = np.round(chance[:, ::2], 2)  # many lie on a threshold
    (sent,) = viewer_of(replace(case, probability=chance)).data["cases"]
    levels = pixels(sent["probability"], sent)
    assert (levels >= round(threshold * LEVELS)).sum() == (chance >= threshold).sum()


def test_it_begins_where_the_tumour_is_largest_or_at_the_last_epoch(case):
    assert viewer_of(case).data["cases"][0]["start"] == 2
    assert viewer_of(case, axis="epoch").data["cases"][0]["start"] == 4


def test_sums_weigh_every_pixel_by_its_probability(case):
    # Of 16 tumour pixels at 0.5, 8 are found and 8 missed; of 8 others at 0.5, 4 are too much.
    (sent,) = viewer_of(case, weights=Weights()).data["cases"]
    assert sent["sums"] == [[0, 0, 0], [0, 0, 0], [8, 8, 4], [0, 0, 0], [0, 0, 0]]


def test_its_bundle_holds_the_widget_and_a_described_picture(case):
    data, metadata = viewer_of(case)._repr_mimebundle_()
    assert "model_id" in data["application/vnd.jupyter.widget-view+json"]
    picture = Image.open(io.BytesIO(base64.b64decode(data["image/png"])))
    assert picture.format == "PNG" and picture.width > 600
    assert metadata == {"image/png": {"alt": ALT}}
    assert data["text/plain"] == ALT


def test_all_that_the_widget_holds_can_be_sent_as_json(case):
    viewer = viewer_of(case, replace(case, truth=None), replace(case, probability=None))
    assert json.loads(json.dumps(viewer.data)) == viewer.data
    absent = [(each["truth"], each["probability"], each["sums"]) for each in viewer.data["cases"]]
    assert absent[1][0] is None and absent[2][1] is None
    assert absent[1][2] is None and absent[2][2] is None


def test_it_is_shown_once_and_its_picture_and_itself_are_kept(case, tmp_path, monkeypatch):
    shown = []
    for module in (style, "utils.plots.viewer"):
        target = module if isinstance(module, str) else module.__name__
        monkeypatch.setattr(f"{target}.display", lambda data, **_: shown.append(data))
    viewer = viewer_of(case)
    viewer.show(tmp_path, "04_cases")
    viewer.keep(tmp_path, "04_cases")
    assert [sorted(each) for each in shown] == [
        ["application/vnd.jupyter.widget-view+json", "image/png", "text/plain"],
        ["text/html", "text/plain"],
    ]
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["04_cases.json", "04_cases.png", "04_cases.txt"]
    assert json.loads(kept(tmp_path / "04_cases.json")) == viewer.data


def test_what_is_kept_cannot_end_the_script_that_it_stands_in(case, tmp_path):
    viewer_of(replace(case, label="</script><b>")).keep(tmp_path, "bad")
    assert "<" not in kept(tmp_path / "bad.json")


def test_a_file_without_a_viewer_is_refused(tmp_path):
    (tmp_path / "a.json").write_text("{}")
    with pytest.raises(CourseError, match=r"a\.json: holds no viewer; make it again"):
        kept(tmp_path / "a.json")


def test_a_page_gets_style_and_script_that_load_nothing():
    parts = page_parts()
    assert set(parts) == {"style", "script"}
    for text in parts.values():
        assert "http" not in text and "import " not in text and "</" not in text


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"images": np.zeros((5, 40, 40), np.uint8)}, r"SIM_1: images must be uint8 of shape"),
        ({"images": np.zeros((5, 40, 40, 3))}, "not float64"),
        ({"images": np.zeros((0, 40, 40, 3), np.uint8)}, r"not uint8 of \(0, 40, 40, 3\)"),
        ({"truth": np.zeros((5, 40, 39))}, r"truth has shape \(5, 40, 39\), but the images"),
        ({"probability": np.zeros((4, 40, 40))}, r"probability has shape \(4, 40, 40\)"),
        ({"probability": np.full((5, 40, 40), 1.5)}, "must lie between 0 and 1"),
        ({"probability": np.full((5, 40, 40), np.nan)}, "must lie between 0 and 1"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(case, change, words):
    with pytest.raises(ValueError, match=words):
        replace(case, **change)


def test_a_viewer_of_nothing_or_without_words_is_refused(case):
    for cases, source, alt in (((), "a", "b"), ((case,), "", "b"), ((case,), "a", " ")):
        with pytest.raises(ValueError, match=r"needs cases, source= and alt="):
            SliceViewer(cases, source, alt)


def test_names_of_the_sequences_have_to_match_the_images(case):
    with pytest.raises(ValueError, match=r"SIM_1: images of shape .* but 1 sequences: FLAIR"):
        viewer_of(case, sequences=("FLAIR",))


def test_weights_without_a_truth_are_refused(case):
    with pytest.raises(ValueError, match="SIM_1: weights need truth and probability"):
        viewer_of(replace(case, truth=None), weights=Weights())
