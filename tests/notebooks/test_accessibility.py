"""The stored notebooks can be read enlarged, by keyboard, and with a screen reader."""

import re
from itertools import pairwise

import nbformat
import pytest

from utils.notebooks.build import NOTEBOOKS

STORED = sorted([*NOTEBOOKS.glob("*.ipynb"), *NOTEBOOKS.glob("solutions/*.ipynb")])
# A width in pixels or points does not grow and wrap with the text; a share of the page does.
FIXED_WIDTH = re.compile(
    r"""(?:\bmin-|\bmax-)?\bwidth\s*[:=]\s*["']?\d+(?:\.\d+)?\s*(?:px|pt|cm|in|["'\s;>])"""
    r"|white-space\s*:\s*(?:nowrap|pre)\b"
)
NEEDS_A_MOUSE = re.compile(r"\bon(?:click|mouse\w+|hover)\s*=|tabindex\s*=\s*[\"']?[1-9]|<script")
EMPTY_WORDS = re.compile(r"\[(?:here|this|link|click here|more)\]\(", re.IGNORECASE)


@pytest.fixture(params=STORED, ids=lambda path: path.relative_to(NOTEBOOKS).as_posix())
def notebook(request):
    return nbformat.read(request.param, as_version=4)


def prose(notebook):
    """Return the text cells without what stands in blocks of code."""
    texts = (cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    return [re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL) for text in texts]


def headings(notebook):
    found = (re.findall(r"^(#{1,6}) +(.+)$", text, re.MULTILINE) for text in prose(notebook))
    return [(len(marks), words) for each in found for marks, words in each]


def html(notebook):
    """Return all HTML: what cells put out, and what stands in the text."""
    found = prose(notebook)
    for cell in notebook.cells:
        for output in cell.get("outputs", ()):
            found.append(output.get("data", {}).get("text/html", ""))
    return found


def fixed(text):
    return FIXED_WIDTH.search(text) is not None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('<img src="a.png" width="600">', True),
        ('<div style="width: 500px">', True),
        ('<td style="min-width:3cm">', True),
        ('<pre style="white-space: nowrap">', True),
        ('<img src="a.png" width="80%">', False),
        ('<div style="max-width: 40em">', False),
        ("the width = the number of columns", False),
    ],
)
def test_what_counts_as_a_fixed_width(text, expected):
    assert fixed(text) == expected


def test_nothing_has_a_fixed_width(notebook):
    assert [text for text in html(notebook) if fixed(text)] == []


def test_nothing_needs_a_mouse(notebook):
    assert [text for text in html(notebook) if NEEDS_A_MOUSE.search(text)] == []


def test_headings_go_down_one_level_at_a_time(notebook):
    levels = [level for level, _ in headings(notebook)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert [step for step in pairwise(levels) if step[1] > step[0] + 1] == []


def test_headings_differ_so_that_a_list_of_them_helps(notebook):
    words = [words for _, words in headings(notebook)]
    assert sorted({each for each in words if words.count(each) > 1}) == []


def test_links_say_where_they_lead(notebook):
    assert [text for text in prose(notebook) if EMPTY_WORDS.search(text)] == []


def test_what_is_folded_says_what_it_is_and_is_closed(notebook):
    for text in html(notebook):
        assert text.count("<details") == text.count("</details>"), text[:200]
        for opened in re.findall(r"<details[^>]*>\s*(.{9})", text, re.DOTALL):
            assert opened == "<summary>", text[:200]
        for words in re.findall(r"<summary>(.*?)</summary>", text, re.DOTALL):
            assert words.strip(), text[:200]


def test_every_figure_is_described_in_words_of_its_own(notebook):
    described = []
    for cell in notebook.cells:
        outputs = cell.get("outputs", ())
        pictures = [each for each in outputs if "image/png" in each.get("data", {})]
        shown = " ".join(each.get("data", {}).get("text/html", "") for each in outputs)
        for picture in pictures:
            words = picture.metadata["image/png"]["alt"]
            described.append(words)
            assert len(words.split()) >= 8, words
            assert "<summary>Figure in words</summary>" in shown, words
    assert sorted({words for words in described if described.count(words) > 1}) == []
