"""Every exercise: its solution passes, its stub is open, and it stands where it says it does.

A solution may use what cells above it import and what solutions above it define, nothing else:
it has to work in the notebook of a student who left everything else open.
"""

import ast
import re

import nbformat
import pytest
from exercise_cells import tasks

from utils import check
from utils.config import CourseError
from utils.exercises.exercise import Mark
from utils.notebooks.build import NOTEBOOKS, SOURCE, read_source
from utils.notebooks.editions import COMPARED, stub, students

SOURCES = {path.stem: read_source(path) for path in sorted(SOURCE.glob("[0-9][0-9]_*.py"))}
CALL = re.compile(r"^check\.(\w+)\((.*)\)$", re.MULTILINE)
AT_LEAST = 4
HINTS = re.compile(r"<details>\s*<summary>(Hint \d)</summary>\n\n(.+?)\n</details>", re.DOTALL)


def calls():
    """Yield notebook, task, name of the exercise and what is handed in, for every call."""
    for name, source in SOURCES.items():
        for task in tasks(source):
            for exercise, answer in CALL.findall(task.check.source):
                yield name, task, exercise, answer


CALLS = list(calls())
WITH_EXERCISES = sorted({name for name, _, _, _ in CALLS})


def imports(cells, wanted):
    """Return the import statements of some cells that bind one of the names wanted."""
    for cell in cells:
        if cell.cell_type == "code" and "import " in cell.source:
            for node in ast.parse(cell.source).body:
                if isinstance(node, ast.Import | ast.ImportFrom):
                    bound = {(each.asname or each.name).split(".")[0] for each in node.names}
                    if bound & wanted:
                        yield ast.unparse(node)


def answers(name, text_of):
    """Return what a notebook's solutions, each turned into code by `text_of`, define."""
    space = {}
    for task in tasks(SOURCES[name]):
        answer = text_of(task.solution.source)
        used = {node.id for node in ast.walk(ast.parse(answer)) if isinstance(node, ast.Name)}
        above = SOURCES[name].cells[: SOURCES[name].cells.index(task.text)]
        exec("\n".join(imports(above, used)), space)
        exec(answer, space)
    return space


@pytest.fixture(scope="module")
def solved():
    return {name: answers(name, str) for name in WITH_EXERCISES}


@pytest.fixture(scope="module")
def unsolved():
    return {name: answers(name, stub) for name in WITH_EXERCISES}


@pytest.fixture(scope="module")
def stored_texts():
    """Return what a check printed in a stored notebook, by path below notebooks/ and cell."""
    texts = {}
    for path in (*NOTEBOOKS.glob("*.ipynb"), *NOTEBOOKS.glob("solutions/*.ipynb")):
        name = str(path.relative_to(NOTEBOOKS).with_suffix(""))
        for cell in nbformat.read(path, as_version=4).cells:
            outputs = cell.get("outputs", [])
            texts[name, cell.id] = "".join(each.get("text", "") for each in outputs)
    return texts


@pytest.mark.parametrize(
    ("name", "task", "exercise", "answer"), CALLS, ids=[exercise for _, _, exercise, _ in CALLS]
)
def test_the_solution_is_right_and_the_stub_is_open_as_the_stored_notebooks_say(
    name, task, exercise, answer, solved, unsolved, stored_texts
):
    judged = getattr(check, exercise)
    right = judged.verdict(eval(answer, solved[name]))
    assert right.mark is Mark.RIGHT, right.message
    assert f"{exercise}: {right.message}\n" in stored_texts[f"solutions/{name}", task.check.id]
    still = judged.verdict(eval(answer, unsolved[name]))
    assert (still.mark, still.message) == (Mark.OPEN, "not attempted yet")
    assert f"{exercise}: {still.message}\n" in stored_texts[name, task.check.id]


@pytest.mark.parametrize("exercise", check.ALL, ids=lambda each: each.name)
def test_an_exercise_is_set_once_in_the_notebook_it_names(exercise):
    assert [name[:2] for name, _, called, _ in CALLS if called == exercise.name] == [
        exercise.notebook
    ]
    assert getattr(check, exercise.name) is exercise


def test_checks_are_called_in_no_other_cell():
    for name, source in SOURCES.items():
        texts = [cell.source for cell in source.cells if cell.cell_type == "code"]
        assert sum(len(CALL.findall(text)) for text in texts) == len(
            [each for each in CALLS if each[0] == name]
        ), name


def test_every_notebook_sets_exercises():
    assert sorted(SOURCES) == WITH_EXERCISES


@pytest.mark.parametrize("name", WITH_EXERCISES)
def test_enough_exercises_numbered_in_order(name):
    found = tasks(SOURCES[name])
    assert len(found) >= AT_LEAST
    titles = [re.search(r"^### Exercise (\S+) · \S", task.text.source, re.M) for task in found]
    numbers = [f"{int(name[:2])}.{place}" for place in range(1, len(found) + 1)]
    assert [title and title.group(1) for title in titles] == numbers


@pytest.mark.parametrize("name", WITH_EXERCISES)
def test_every_task_has_two_folded_hints_and_a_check_whose_output_is_compared(name):
    for task in tasks(SOURCES[name]):
        hints = HINTS.findall(task.text.source)
        assert [title for title, _ in hints] == ["Hint 1", "Hint 2"], task.text.source[:60]
        assert all(text.strip() for _, text in hints)
        assert COMPARED in task.check.metadata.tags
        assert CALL.search(task.check.source)


@pytest.mark.parametrize("name", WITH_EXERCISES)
def test_no_other_cell_needs_an_answer(name):
    source = students(SOURCES[name])
    given = set()
    for task in tasks(SOURCES[name]):
        tree = ast.parse(task.solution.source)
        given |= {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
        given |= {
            target.id
            for node in tree.body
            if isinstance(node, ast.Assign)
            for target in node.targets
            if isinstance(target, ast.Name)
        }
    for cell in source.cells:
        is_code = cell.cell_type == "code" and "exercise" not in cell.metadata.get("tags", [])
        if is_code and not CALL.search(cell.source):
            used = {node.id for node in ast.walk(ast.parse(cell.source)) if _is_read(node)}
            assert not used & given, cell.source


def _is_read(node):
    return isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)


@pytest.mark.parametrize("name", WITH_EXERCISES)
def test_what_helps_learners_is_there(name):
    prose = [cell.source for cell in SOURCES[name].cells if cell.cell_type == "markdown"]
    (quiz,) = [text for text in prose if text.startswith("## Test yourself")]
    answers = re.findall(r"<details><summary>Answer</summary>\n\n(.+?)\n</details>", quiz, re.S)
    assert len(answers) == 5
    assert all(len(answer.split()) > 15 for answer in answers), "say why, also why not the others"
    text = "\n".join(prose)
    assert text.index("## Test yourself") < text.lower().index("you have seen")
    assert re.search(r"key points", text, re.I)
    assert "*Predict before you run" in text
    assert "](../docs/glossary.md#" in text
    reading = text.split("## Further reading")[1]
    assert "https://doi.org/10." in reading


def test_links_to_the_glossary_name_terms_that_it_has():
    glossary = (SOURCE.parents[1] / "docs" / "glossary.md").read_text(encoding="utf-8")
    headings = re.findall(r"^#+ (.+)$", glossary, re.M)
    anchors = {re.sub(r"[^a-z0-9 -]", "", each.lower()).replace(" ", "-") for each in headings}
    for source in SOURCES.values():
        for cell in source.cells:
            asked = re.findall(r"glossary\.md#([^)\s]+)", cell.source)
            assert set(asked) <= anchors, cell.source[:60]


def markdown(text):
    return nbformat.v4.new_markdown_cell(text)


def code(text, *tags):
    return nbformat.v4.new_code_cell(text, metadata={"tags": list(tags)} if tags else {})


def notebook(*cells):
    return nbformat.v4.new_notebook(cells=list(cells))


def test_an_exercise_is_a_task_a_solution_and_a_check():
    task, solution = markdown("### Exercise 1.1 · A"), code("x = 3", "solution")
    check = code("check.x(x)")
    (found,) = tasks(notebook(code("a = 1"), task, solution, check, markdown("end")))
    assert (found.text, found.solution, found.check) == (task, solution, check)
    assert tasks(notebook(code("a = 1"), check)) == []


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        ([code("x = 3", "solution")], "cell 1: put the task"),
        ([markdown("text"), code("x = 3", "solution")], "cell 2: put the task"),
        ([markdown("### Exercise 1"), code("x = 3", "solution")], "cell 2: put the cell"),
        (
            [markdown("### Exercise 1"), code("x = 3", "solution"), code("print(x)")],
            "cell 2: put the cell",
        ),
    ],
)
def test_an_exercise_that_is_torn_apart_is_refused(cells, message):
    with pytest.raises(CourseError, match=message):
        tasks(notebook(*cells))
