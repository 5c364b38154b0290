"""What the documents promise is there: links, minutes, licences, citation, datasheets."""

import re

import pytest
import yaml

from utils.config import ROOT

DOCUMENTS = [
    *sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").glob("*.md")), ROOT / "data" / "README.md",
]  # fmt: skip
INSTRUCTORS = (ROOT / "docs" / "instructors.md").read_text(encoding="utf-8")
HEADINGS = (
    "Motivation", "Composition", "Collection", "Preprocessing",
    "Uses", "Distribution", "Maintenance",
)  # fmt: skip


def schedules():
    """Return the total in each schedule's heading, and its rows: minutes and what."""
    found = []
    for part in re.split(r"^### ", INSTRUCTORS, flags=re.MULTILINE)[1:]:
        total = re.match(r".*: (\d+) minutes", part)
        if total:
            rows = re.findall(r"^\| (\d+) \| (.*?) \|", part.split("\n## ")[0], re.MULTILINE)
            found.append((int(total[1]), [(int(minutes), what) for minutes, what in rows]))
    return found


def test_the_minutes_of_each_schedule_add_up():
    assert len(schedules()) == 3
    for total, rows in schedules():
        assert sum(minutes for minutes, _ in rows) == total


def test_nobody_sits_for_longer_than_three_hours():
    for _, rows in schedules():
        since = 0
        for minutes, what in rows:
            since = 0 if what in ("Break", "Lunch", "The cards") else since + minutes
            assert since <= 180, what


def test_two_days_hold_all_notebooks():
    _, rows = max(schedules())
    told = " ".join(what for _, what in rows)
    assert all(f"0{number} " in told for number in range(1, 9))


def test_exercises_in_the_schedules_exist():
    sources = (ROOT / "notebooks" / "source").glob("[0-9][0-9]_*.py")
    texts = "".join(path.read_text(encoding="utf-8") for path in sources)
    for number in re.findall(
        r"\b\d\.\d\b", INSTRUCTORS.split("## Schedules")[1].split("## What")[0]
    ):
        assert f"### Exercise {number} " in texts, number


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(document):
    text = document.read_text(encoding="utf-8")
    for target in re.findall(r"\]\((?!https?:|#)([^)#\s]+)", text):
        assert (document.parent / target).exists(), target


def test_targets_of_make_that_are_told_exist():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for document in DOCUMENTS:
        for target in re.findall(
            r"(?:`|^)make ([a-z]+)", document.read_text(encoding="utf-8"), re.M
        ):
            assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


def test_both_licences_are_there():
    text = (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert "https://creativecommons.org/licenses/by/4.0/legalcode" in text
    assert "Permission is hereby granted, free of charge" in text
    assert 'THE SOFTWARE IS PROVIDED "AS IS"' in text


def test_the_citation_has_what_version_1_2_0_asks_for():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["cff-version"] == "1.2.0"
    assert {"message", "title", "authors"} <= set(citation)
    assert citation["type"] in ("software", "dataset")
    assert citation["license"] == ["MIT", "CC-BY-4.0"]
    for each in (citation, *citation["references"]):
        assert isinstance(each["title"], str)
        for author in each["authors"]:
            assert set(author) in ({"name"}, {"family-names", "given-names"})
    (paper,) = citation["references"]
    assert paper["doi"] == "10.1016/j.compbiomed.2019.05.002"
    assert paper["type"] == "article"


def test_both_cohorts_have_a_datasheet():
    text = (ROOT / "data" / "README.md").read_text(encoding="utf-8")
    sheets = text.split("### Datasheet of ")[1:]
    assert [sheet.splitlines()[0] for sheet in sheets] == [
        "the simulated cohort", "the LGG MRI Segmentation cohort",
    ]  # fmt: skip
    for sheet in sheets:
        assert tuple(re.findall(r"^\*\*(\w+)\.\*\*", sheet, re.MULTILINE)) == HEADINGS
