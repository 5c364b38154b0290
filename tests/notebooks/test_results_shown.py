"""nbval compares every number of `results/` that a notebook shows, and no text types one."""

import re

import nbformat
import pytest
from results_shown import readers, shows_results

from utils import check
from utils.config import ROOT
from utils.evidence.tables import read_evidence
from utils.notebooks.build import NOTEBOOKS, SOURCE, read_source
from utils.notebooks.editions import COMPARED

STORED = sorted(path.relative_to(NOTEBOOKS) for path in NOTEBOOKS.rglob("[0-9][0-9]_*.ipynb"))
# What the text of notebook 05 may say in digits, all of it no result: what it is.
QUOTED = {
    "0.82": "Buda et al., mean",
    "0.85": "Buda et al., median",
    "110": "Buda et al., patients",
    "2019": "a year", "2022": "a year", "2023": "a year", "2024": "a year",
    "128": "px, of the recipe",
    "0.8": "a probability that is sure",
    "95": "% of an interval",
    "0.91": "made up, in the quiz", "0.70": "made up, in the quiz", "0.76": "made up, in the quiz",
    "0.005": "a guess to choose from", "0.03": "a guess to choose from",
    "0.1": "a guess to choose from",
    "400": "draws",
    "90": "minutes", "1.5": "GB",
}  # fmt: skip


def code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code" and cell.source.strip()]


def showing(path):
    cells = code_cells(nbformat.read(NOTEBOOKS / path, as_version=4))
    flags = shows_results([cell.source for cell in cells])
    return [cell for cell, flag in zip(cells, flags, strict=True) if flag and cell.outputs]


@pytest.mark.parametrize("path", STORED, ids=lambda path: path.with_suffix("").as_posix())
def test_what_comes_from_results_is_compared(path):
    for cell in showing(path):
        tags = cell.metadata.get("tags", [])
        assert COMPARED in tags, f"shows results/ and is not compared:\n{cell.source}"


@pytest.mark.parametrize("path", STORED, ids=lambda path: path.with_suffix("").as_posix())
def test_a_figure_of_results_has_its_numbers_in_its_words(path):
    """Nbval does not compare pictures; the words of a figure are text, and compared."""
    for cell in showing(path):
        for output in cell.outputs:
            data = output.get("data", {})
            if "image/png" in data:
                assert re.search(r"\d\.\d", data["text/plain"]), cell.source


def test_the_cells_are_found():
    assert len(showing("05_evidence.ipynb")) >= 25
    assert len(showing("06_leak_lab.ipynb")) >= 1


def test_what_reads_the_folder_is_found_through_other_modules():
    assert {
        "utils.evidence.tables.LGG",  # an assignment from config.RESULTS
        "utils.evidence.tables.read_evidence",  # a default value
        "utils.published.main",  # calls read_evidence
    } <= readers()
    assert (
        not {"utils.evaluation.text.format_interval", "utils.models.inference.predict_images"}
        & readers()
    )


READ = "from utils.evidence import tables\nevidence = tables.read_evidence()\n"


@pytest.mark.parametrize(
    "cell",
    [
        "print(len(evidence.slices))",
        "from utils.evidence.tables import read_evidence as read\nprint(read().patients)",
        "from utils import config\nprint((config.RESULTS / 'lgg').exists())",
        "import pandas as pd\npd.read_csv('../results/lgg/patients.csv').head()",
        "table = evidence.slices\nfor name, rows in table.groupby('fold'):\n    print(name)",
        "def first():\n    return evidence.slices.iloc[0]\nprint(first())",
        "lines = []\nlines.append(len(evidence.slices))\nprint(lines)",
        "numbers = {}\nnumbers['n'] = len(evidence.slices)\nprint(numbers)",
        "if evidence:\n    total = 1\nprint(total)",
    ],
)
def test_a_cell_that_shows_results_is_told(cell):
    assert shows_results([READ, cell, "print(1)"]) == [True, True, False]
    # Through one more cell.
    last = re.sub(r"print\((.*)\)$", r"kept = \1", cell)
    if last != cell:
        assert shows_results([READ, last, "print(kept)"])[2]


@pytest.mark.parametrize(
    "cell",
    [
        "evidence = 3\nprint(evidence)",
        "print([evidence for evidence in range(3)])",
        "def double(evidence):\n    return 2 * evidence\nprint(double(1))",
        "for evidence in 'ab':\n    print(evidence)",
        "from utils.evaluation.text import format_interval\nprint(format_interval)",
    ],
)
def test_a_name_that_stands_for_something_else_is_left_alone(cell):
    if cell.startswith("evidence ="):
        assert shows_results([READ, cell.split("\n")[0], "print(evidence)"]) == [True, False, False]
    else:
        assert shows_results([READ, cell]) == [True, False]


def typed_numbers(text):
    """Return the numbers in prose that could be results: of two digits, or not whole.

    Those in links, code, headings, and names of notebooks and exercises are left out.
    """
    text = re.sub(r"\]\([^)]*\)|\bdoi:\S+|`[^`]*`|^#+ .*$", " ", text, flags=re.MULTILINE)
    text = re.sub(r"(?:notebooks?|exercise)\s\[?\d[\d.]*", " ", text, flags=re.IGNORECASE)
    return re.findall(r"(?<![\w.,])(?:\d{2,}|\d+(?:[.,]\d+)+)(?!\w)", text)


def prose(name):
    cells = read_source(SOURCE / f"{name}.py").cells
    return [cell.source for cell in cells if cell.cell_type == "markdown"]


def test_the_text_of_notebook_05_types_no_result():
    numbers = {each for text in prose("05_evidence") for each in typed_numbers(text)}
    assert numbers == set(QUOTED)


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("a Dice of 0.817, of 80 patients, in 2,838 slices", ["0.817", "80", "2,838"]),
        ("silence scores 66 %", ["66"]),
        ("[Buda 2019](https://doi.org/10.1016/j.x), doi:10.1016/j.x", ["2019"]),
        ("## 5.1 and `0.817`\nnotebook 05, [notebook\n5](05.ipynb), exercise 5.5, above 0", []),
    ],
)
def test_typed_numbers_are_found(text, numbers):
    assert typed_numbers(text) == numbers


def test_the_text_of_notebook_06_types_no_result():
    sections = [text for text in prose("06_leak_lab") if "## On real patients" in text]
    assert len(sections) == 1
    assert typed_numbers(sections[0].split("## On real patients")[1]) == []


def test_documents_count_the_patients_right():
    patients = read_evidence().provenance["patients"]
    files = [ROOT / "README.md", ROOT / "data" / "README.md", *(ROOT / "docs").glob("*.md")]
    counts = [
        int(count)
        for file in files
        for count in re.findall(r"(\d+) real\s+patients", file.read_text(encoding="utf-8"))
    ]
    assert len(counts) >= 4
    assert set(counts) == {patients}


def test_the_answer_of_exercise_5_5_follows_from_the_tables(capsys):
    slices = read_evidence().slices
    silence = float((slices["tumour_px"] == 0).mean())
    check.dice_of_silence(silence)
    assert "right" in capsys.readouterr().out
    (cell,) = (
        cell.source
        for cell in read_source(SOURCE / "05_evidence.py").cells
        if cell.source.startswith("dice_of_silence")
    )
    scope = {}
    exec(cell, scope)
    assert scope["dice_of_silence"] == silence


def test_both_notebooks_show_the_same_comparisons():
    """Split by patient against random slices, in the stored outputs of 05 and 06."""
    rows = []
    for name in ("05_evidence", "06_leak_lab"):
        text = "\n".join(
            output.get("text", "") for cell in showing(f"{name}.ipynb") for output in cell.outputs
        )
        table = re.findall(r"^ *(\S.*? (?:Dice|AUC)(?:, detector alone)? +\d.*)$", text, re.M)
        rows.append({" ".join(row.split()) for row in table})
    # As many as are computed, whatever they are called.
    assert rows[1]
    assert rows[1] <= rows[0]
