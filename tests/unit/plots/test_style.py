"""What `show` puts out and keeps, and that no figure hides where its data come from."""

import base64

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from utils.plots import style
from utils.plots.style import DPI, draw_contour, draw_slice, new_figure, show

SOURCE = "simulated cohort, 2 patients, seed 0"


@pytest.fixture
def displayed(monkeypatch):
    """The outputs that a notebook would have stored: (data, metadata) pairs."""
    outputs = []
    monkeypatch.setattr(
        style,
        "display",
        lambda data, raw, metadata=None: outputs.append((data, metadata)),
    )
    return outputs


def simple_figure() -> Figure:
    figure = new_figure("A line", SOURCE, 3, 2)
    figure.subplots().plot([0, 1])
    return figure


def test_show_puts_out_one_picture_with_its_words(displayed):
    show(simple_figure(), 'a line that rises, "<1"')
    (picture, metadata), (words, _) = displayed
    assert base64.b64decode(picture["image/png"]).startswith(b"\x89PNG")
    assert picture["text/plain"] == 'a line that rises, "<1"'
    assert metadata == {"image/png": {"alt": 'a line that rises, "<1"'}}
    assert "<p>a line that rises, &quot;&lt;1&quot;</p>" in words["text/html"]


def test_show_keeps_picture_and_words(displayed, tmp_path):
    show(simple_figure(), "a line that rises", tmp_path / "figures", "02_line")
    assert sorted(path.name for path in (tmp_path / "figures").iterdir()) == [
        "02_line.png",
        "02_line.txt",
    ]
    words = (tmp_path / "figures" / "02_line.txt").read_text(encoding="utf-8")
    assert words == "a line that rises\n"
    with Image.open(tmp_path / "figures" / "02_line.png") as picture:
        assert picture.size == (3 * DPI, 2 * DPI)


def test_same_figure_same_bytes(displayed):
    show(simple_figure(), "a line")
    show(simple_figure(), "a line")
    assert displayed[0] == displayed[2]


def test_show_needs_words_and_a_name(displayed, tmp_path):
    with pytest.raises(ValueError, match="alt="):
        show(simple_figure(), " ")
    with pytest.raises(ValueError, match="name="):
        show(simple_figure(), "a line", tmp_path)
    assert not displayed


def test_a_figure_needs_a_source():
    with pytest.raises(ValueError, match=r"'A line'.*source="):
        new_figure("A line", "")


def test_the_source_is_the_last_line_of_the_figure():
    assert simple_figure().get_supxlabel() == SOURCE


def test_no_contour_for_an_empty_or_full_mask():
    axes = Figure().subplots()
    draw_contour(axes, np.zeros((8, 8)))
    draw_contour(axes, np.ones((8, 8)))
    assert not axes.collections


def test_borders_keep_their_colour_among_many_greys(displayed, tmp_path):
    figure = new_figure("A noisy slice", SOURCE, 3, 3)
    axes = figure.subplots()
    draw_slice(axes, np.random.default_rng(0).integers(0, 256, (200, 200)))
    mask = np.zeros((200, 200))
    mask[60:140, 60:140] = 1
    draw_contour(axes, mask)
    show(figure, "a border", tmp_path, "slice")
    with Image.open(tmp_path / "slice.png") as picture:
        colours = np.asarray(picture.convert("RGB")).reshape(-1, 3)
    sky = np.array([0x56, 0xB4, 0xE9])
    assert np.abs(colours - sky).max(axis=1).min() <= 4
