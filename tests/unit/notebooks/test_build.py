import nbformat
import pytest

from utils.config import ROOT, CourseError
from utils.notebooks import __main__, build
from utils.notebooks.build import differences, make, read_source, sources, tidy
from utils.notebooks.execute import NotebookError

SOURCE = """# %% [markdown]
# # A title
#
# Text with $x^2$.

# %% tags=["parameters"]
seed = 1

# %%
print("seed")
print(seed)

# %% tags=["nbval-check-output"]
seed + 1
"""


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "source" / "01_a.py"
    path.parent.mkdir()
    path.write_text(SOURCE, encoding="utf-8")
    return path


def test_a_source_becomes_cells_named_after_it(source):
    notebook = read_source(source)
    assert [cell.cell_type for cell in notebook.cells] == ["markdown", "code", "code", "code"]
    assert notebook.cells[0].source == "# A title\n\nText with $x^2$."
    assert notebook.cells[1].metadata.tags == ["parameters"]
    assert [cell.id for cell in notebook.cells][::3] == ["01_a-001", "01_a-004"]
    assert notebook == read_source(source)


@pytest.mark.long
def test_made_notebooks_are_executed_tidy_and_agree(source, tmp_path):
    target = tmp_path / "01_a.ipynb"
    make(source, target, tmp_path / "working")
    notebook = nbformat.read(target, as_version=4)
    assert differences(read_source(source), notebook) == []
    assert [cell.execution_count for cell in notebook.cells[1:]] == [1, 2, 3]
    assert [output.text for output in notebook.cells[2].outputs] == ["seed\n1\n"]
    assert notebook.cells[3].outputs[0].data["text/plain"] == "2"
    assert "papermill" not in target.read_text(encoding="utf-8")
    before = target.read_bytes()
    make(source, target, tmp_path / "working")
    assert target.read_bytes() == before

    source.write_text(SOURCE + "\n1 / 0\n", encoding="utf-8")
    with pytest.raises(NotebookError, match="ZeroDivisionError"):
        make(source, target, tmp_path / "working")
    assert target.read_bytes() == before


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("seed = 1", "seed = 2", "cell 2: other text than in the source"),
        ("# %% [markdown]", "# %%", "cell 1: code in the source, not markdown"),
        ('tags=["parameters"]', "", "cell 2: tagged ['parameters'], in the source []"),
        ("# %%\nprint", "print", "3 cells in the source, 4 stored"),
    ],
)
def test_differences_are_told_by_cell(source, old, new, message):
    stored = read_source(source)
    source.write_text(SOURCE.replace(old, new), encoding="utf-8")
    assert differences(read_source(source), stored)[0] == message


def test_tidy_joins_what_a_cell_printed_in_pieces():
    pieces = [
        nbformat.v4.new_output("stream", name="stdout", text="a"),
        nbformat.v4.new_output("stream", name="stdout", text="b\n"),
        nbformat.v4.new_output("stream", name="stderr", text="c"),
    ]
    cell = nbformat.v4.new_code_cell("x", outputs=pieces, metadata={"papermill": {"duration": 1}})
    (cell,) = tidy(nbformat.v4.new_notebook(cells=[cell])).cells
    assert [output.text for output in cell.outputs] == ["ab\n", "c"]
    assert cell.metadata == {}


def test_sources_by_number_or_name(source, monkeypatch):
    monkeypatch.setattr(build, "SOURCE", source.parent)
    assert sources() == sources("01") == sources("01_a") == [source]
    with pytest.raises(CourseError, match="no source 02 in it"):
        sources("02")


@pytest.mark.long
def test_both_editions_are_made_and_compared(source, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(build, "SOURCE", source.parent)
    for module in (build, __main__):
        monkeypatch.setattr(module, "NOTEBOOKS", tmp_path / "notebooks")
    monkeypatch.setattr(build, "RUNS", tmp_path / "runs")
    task = (
        '# %% [markdown]\n# ### Exercise 1.1\n\n# %% tags=["solution"]\nx = 3\n\n# %%\nprint(x)\n'
    )
    source.write_text(SOURCE + task, encoding="utf-8")
    assert __main__.main(["--check"]) == 1
    assert capsys.readouterr().out.count("not made yet; make it: make notebooks") == 2

    assert __main__.main([]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "executing 01_a.ipynb",
        "executing solutions/01_a.ipynb",
    ]
    for folder, printed in (("", "Ellipsis\n"), ("solutions", "3\n")):
        notebook = nbformat.read(tmp_path / "notebooks" / folder / "01_a.ipynb", as_version=4)
        assert notebook.cells[-1].outputs[0].text == printed
        assert (tmp_path / "runs" / "notebooks" / folder / "01_a.log").is_file()
    assert __main__.main(["--check"]) == 0
    source.write_text((SOURCE + task).replace("x = 3", "x = 4"), encoding="utf-8")
    assert __main__.main(["--check"]) == 1
    shown = capsys.readouterr().out.splitlines()
    assert shown[-2:] == [
        "01_a.ipynb: agrees",
        "solutions/01_a.ipynb: cell 6: other text than in the source",
    ]


WITH_VIEWER = """# %%
import numpy as np
from utils.plots.viewer import Case, SliceViewer

images = np.full((3, 24, 24, 3), 90, np.uint8)
SliceViewer([Case("a patient", images)], "no cohort", "Three grey slices.").show()
"""


@pytest.mark.long
def test_of_a_viewer_the_picture_is_stored_and_neither_widget_nor_state(source, tmp_path):
    source.write_text(f"# %%\nimport sys\nsys.path.insert(0, {str(ROOT)!r})\n\n{WITH_VIEWER}")
    target = tmp_path / "01_a.ipynb"
    make(source, target, tmp_path / "working")
    for path in (target, tmp_path / "working" / "01_a.ipynb"):
        assert "vnd.jupyter.widget" not in path.read_text(encoding="utf-8")
        notebook = nbformat.read(path, as_version=4)
        picture, words = notebook.cells[1].outputs
        assert picture.metadata["image/png"]["alt"] == picture.data["text/plain"]
        assert set(picture.data) == {"image/png", "text/plain"}
        assert "Figure in words" in words.data["text/html"]
    before = target.read_bytes()
    make(source, target, tmp_path / "working")
    assert target.read_bytes() == before
