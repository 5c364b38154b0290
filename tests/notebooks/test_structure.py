"""The stored notebooks are what they should be: made from their sources, executed, clean."""

import ast
import re
from pathlib import Path

import nbformat
import pytest

from utils.course.run import assignments, check_values, notebook_parameters, read_parameters
from utils.notebooks.build import KERNEL, NOTEBOOKS, SOURCE, differences, read_source
from utils.notebooks.editions import COMPARED, EDITIONS, STUB, is_solution

NAMES = sorted(path.stem for path in SOURCE.glob("[0-9][0-9]_*.py"))
STORED = sorted(path.stem for path in NOTEBOOKS.glob("*.ipynb"))
# As paths below notebooks/, without suffix: "01_explore", "solutions/01_explore".
BOTH = [
    str(path.relative_to(NOTEBOOKS).with_suffix(""))
    for folder in EDITIONS
    for path in sorted((NOTEBOOKS / folder).glob("*.ipynb"))
]
LINES_OF_CODE = 25
# What TensorFlow, absl and the C++ libraries print, and what a progress bar leaves behind.
LOG_LINES = re.compile(
    r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d+: [IWEF] |^[IWEF]\d{4} \d\d:|WARNING:(absl|tensorflow)"
    r"|oneDNN|TF_ENABLE_|cuda(rt|_)|computation_placer|This TensorFlow binary",
    re.MULTILINE,
)
DEBRIS = re.compile(r"[\r\x08\x1b]|[━█▏▎▍▌▋▊▉]|\b\d+/\d+ [\d.]+s|\bETA\b|it/s\b|ms/step|s/step")
MACHINE = re.compile(r"(?<![\w.])/(?:home|root|Users|tmp|work|opt|var)/|[A-Z]:\\|0x[0-9a-f]{8,}")


def stored(name):
    return nbformat.read(NOTEBOOKS / f"{name}.ipynb", as_version=4)


def code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code" and cell.source.strip()]


def outputs(notebook):
    return [output for cell in code_cells(notebook) for output in cell.outputs]


def texts(notebook):
    for output in outputs(notebook):
        if output.output_type == "stream":
            yield output.text
        for kind, content in output.get("data", {}).items():
            if kind.startswith("text/"):
                yield content


@pytest.fixture(params=BOTH)
def notebook(request):
    return stored(request.param)


def test_every_source_is_stored_in_both_editions_and_nothing_else():
    assert sorted(BOTH) == sorted([*NAMES, *(f"solutions/{name}" for name in NAMES)])
    assert STORED == NAMES


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("folder", EDITIONS, ids=lambda folder: folder or "students")
def test_source_and_notebook_agree_cell_by_cell(folder, name):
    edition = EDITIONS[folder](read_source(SOURCE / f"{name}.py"))
    assert differences(edition, stored(str(Path(folder) / name))) == []


@pytest.mark.parametrize("name", NAMES)
def test_only_the_instructors_see_solutions(name):
    source = read_source(SOURCE / f"{name}.py")
    students, instructors = (EDITIONS[folder](source) for folder in ("", "solutions"))
    for ours, theirs, cell in zip(students.cells, instructors.cells, source.cells, strict=True):
        assert ours.cell_type == theirs.cell_type == cell.cell_type
        if is_solution(cell):
            assert ours.source != cell.source == theirs.source
            assert STUB in ours.metadata.tags
        elif cell.cell_type == "code":
            assert ours.source == cell.source
    assert [cell.id for cell in students.cells] == [cell.id for cell in instructors.cells]


def test_valid_and_for_the_kernel_that_every_jupyter_has(notebook):
    nbformat.validate(notebook)
    assert notebook.metadata.kernelspec == KERNEL


def test_executed_from_top_to_bottom(notebook):
    counts = [cell.execution_count for cell in code_cells(notebook)]
    assert counts == list(range(1, len(counts) + 1))
    assert outputs(notebook)


def test_no_errors_and_nothing_on_standard_error(notebook):
    kinds = {output.output_type for output in outputs(notebook)}
    assert "error" not in kinds
    assert [output.text for output in outputs(notebook) if output.get("name") == "stderr"] == []


@pytest.mark.parametrize("pattern", [LOG_LINES, DEBRIS, MACHINE], ids=["log", "debris", "machine"])
def test_outputs_are_clean(notebook, pattern):
    found = [text for text in texts(notebook) if pattern.search(text)]
    assert found == []


def test_pictures_are_described(notebook):
    for output in outputs(notebook):
        for kind in output.get("data", {}):
            if kind.startswith("image/"):
                assert output.metadata.get(kind, {}).get("alt", "").strip()
                assert "<Figure" not in output.data.get("text/plain", "")
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            assert "![](" not in cell.source
            assert all("alt=" in tag for tag in re.findall(r"<img [^>]*>", cell.source))


def test_some_outputs_are_checked_and_none_that_loads_tensorflow(notebook):
    checked = [cell for cell in code_cells(notebook) if COMPARED in cell.metadata.get("tags", [])]
    assert checked
    for cell in checked:
        assert cell.outputs, f"nothing stored to compare with:\n{cell.source}"
        assert not re.search(r"^\s*(import|from) (tensorflow|keras)\b", cell.source, re.MULTILINE)
        assert "clear_output" not in cell.source


def test_code_cells_are_short(notebook):
    long = [c.source for c in code_cells(notebook) if len(c.source.splitlines()) > LINES_OF_CODE]
    assert long == []


@pytest.mark.parametrize("name", BOTH)
def test_parameters_stand_first_and_are_those_of_the_simulated_profile(name):
    notebook = stored(name)
    assert "parameters" in code_cells(notebook)[0].metadata.get("tags", [])
    defaults = notebook_parameters(notebook, name)
    assert defaults == read_parameters(NOTEBOOKS / "params" / "simulated.yaml")
    tree = ast.parse(code_cells(notebook)[0].source)
    assert all(isinstance(each, ast.Assign | ast.AnnAssign) for each in tree.body)


@pytest.mark.parametrize("name", STORED)
@pytest.mark.parametrize(
    "path", sorted((NOTEBOOKS / "params").glob("*.yaml")), ids=lambda p: p.stem
)
def test_parameter_files_hold_what_the_notebooks_know(name, path):
    values = read_parameters(path)
    check_values(values, notebook_parameters(stored(name), name), path.name)
    assert values["cohort"] == path.stem


def test_parameters_are_checked_before_anything_is_used(notebook):
    second = code_cells(notebook)[1].source
    names = assignments(code_cells(notebook)[0].source)
    assert "check_parameters(" in second or "open_run(" in second
    assert all(name in second for name in names)


def test_opens_with_what_it_teaches_and_closes_with_questions(notebook):
    prose = [cell.source for cell in notebook.cells if cell.cell_type == "markdown"]
    opening = "\n".join(prose[:2]).lower()
    assert opening.startswith("# ")
    assert "you will learn" in opening
    assert "minute" in opening and re.search(r"\b[gm]i?b\b", opening)
    closing = "\n".join(prose[-3:]).lower()
    assert "you have seen" in closing
    # The quiz, if there is one, stands before what has been seen; these questions have no answer.
    assert 2 <= closing.split("you have seen")[-1].count("?") <= 6


@pytest.mark.parametrize("name", BOTH)
def test_links_between_files_lead_somewhere(name):
    folder = (NOTEBOOKS / name).parent
    for cell in stored(name).cells:
        if cell.cell_type == "markdown":
            for target in re.findall(r"\]\((?!https?:|#|attachment:)([^)#]+)", cell.source):
                assert (folder / target).exists(), target


@pytest.mark.parametrize("name", NAMES)
def test_no_sentence_turns_into_a_list(name):
    """A line of prose that begins with a number and a full stop is a list to Markdown."""
    for cell in read_source(SOURCE / f"{name}.py").cells:
        if cell.cell_type == "markdown":
            assert not re.search(r"[\w,]\n\d+\. ", cell.source), cell.source
