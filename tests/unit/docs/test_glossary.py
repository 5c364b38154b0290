"""The glossary is in order, its links lead somewhere, and so do the notebooks' links to it."""

import re

import pytest

from utils.config import ROOT

GLOSSARY = ROOT / "docs" / "glossary.md"
TEXT = GLOSSARY.read_text(encoding="utf-8")
TERMS = re.findall(r"^## (.+)$", TEXT, re.MULTILINE)
SOURCES = sorted((ROOT / "notebooks" / "source").glob("*.py"))
# The terms that the course's rules for authors promise.
PROMISED = {
    "auc",
    "axial-slice",
    "bootstrap",
    "calibration",
    "cascade",
    "channel",
    "checkpoint",
    "cohort",
    "confidence-interval",
    "dice",
    "false-positive",
    "flair",
    "fine-tuning",
    "focal-tversky-loss",
    "fold",
    "grad-cam",
    "hd95",
    "held-out-patients",
    "leakage",
    "mask",
    "overfitting",
    "patient",
    "precision",
    "roc-curve",
    "segmentation",
    "sensitivity",
    "slice",
    "specificity",
    "temperature-scaling",
    "threshold",
    "transfer-learning",
    "tversky-index",
    "validation-patients",
    "volume",
}


def anchor(heading):
    """Return the anchor that GitHub and Jupyter give a heading, in lower case."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


ANCHORS = {anchor(term) for term in TERMS}


@pytest.mark.parametrize(
    ("heading", "expected"),
    [("ROC curve", "roc-curve"), ("HD95", "hd95"), ("U-Net", "u-net"), ("What (now)?", "what-now")],
)
def test_anchor(heading, expected):
    assert anchor(heading) == expected


def test_terms_are_sorted_and_each_is_there_once():
    assert sorted(TERMS, key=str.lower) == TERMS
    assert len(ANCHORS) == len(TERMS) > 80


def test_the_promised_terms_are_there():
    assert sorted(PROMISED - ANCHORS) == []


def test_links_inside_the_glossary_lead_somewhere():
    assert sorted(set(re.findall(r"\]\(#([^)]*)\)", TEXT)) - ANCHORS) == []
    for target in re.findall(r"\]\((\.\.[^)#]*)\)", TEXT):
        assert (GLOSSARY.parent / target).exists(), target


def test_every_term_is_explained_in_a_sentence_or_more():
    for entry in TEXT.split("\n## ")[1:]:
        term, _, words = entry.partition("\n")
        explained = words.partition("\nSource:")[0].strip()
        assert explained.endswith((".", ".)")), term
        assert len(explained.split()) >= 8, term


def test_links_to_papers_are_written_as_links():
    for shown, target in re.findall(r"\[(doi:[^\]]*|arXiv:[^\]]*)\]\(([^)\s]*)\)", TEXT):
        kind, _, name = shown.partition(":")
        hosts = {"doi": "https://doi.org/", "arXiv": "https://arxiv.org/abs/"}
        assert target == hosts[kind] + name


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)
def test_the_notebooks_link_to_terms_that_are_there(source):
    text = source.read_text(encoding="utf-8")
    linked = set(re.findall(r"docs/glossary\.md#([^)\s]*)\)", text))
    assert sorted(linked - ANCHORS) == []
