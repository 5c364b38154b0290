import nbformat
import pytest

from utils.config import CourseError
from utils.course.run import (
    assignments,
    check_parameters,
    check_values,
    notebook_parameters,
    read_parameters,
)

DEFAULTS = {"cohort": "simulated", "seed": 0, "share": 0.5}


def test_assignments_gives_literals_in_order():
    source = 'cohort = "lgg"\nseed: int = 3  # a seed\nshare = 1 / 2\nlimits = [-1, 2]'
    assert assignments(source) == {"cohort": "lgg", "seed": 3, "share": None, "limits": [-1, 2]}


def test_notebook_parameters_come_from_the_tagged_cell():
    tagged = nbformat.v4.new_code_cell("seed = 4", metadata={"tags": ["parameters"]})
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("other = 1"), tagged])
    assert notebook_parameters(notebook, "01_a.ipynb") == {"seed": 4}


def test_a_notebook_without_parameters_cell_is_named():
    with pytest.raises(CourseError, match=r"^01_a.ipynb: has 0 cells tagged 'parameters'"):
        notebook_parameters(nbformat.v4.new_notebook(), "01_a.ipynb")


def test_unknown_parameter_is_named_with_the_known_ones():
    with pytest.raises(CourseError, match=r"^01_a: no parameter sed; .* cohort, seed, share$"):
        check_values({"sed": 1}, DEFAULTS, "01_a")


@pytest.mark.parametrize(
    "values", [{"seed": "one"}, {"seed": 1.5}, {"seed": True}, {"cohort": 3}, {"share": "half"}]
)
def test_a_value_of_another_kind_is_refused(values):
    with pytest.raises(CourseError, match="must be of the kind of its default"):
        check_values(values, DEFAULTS, "01_a")


def test_values_of_the_right_kind_pass():
    check_values({"cohort": "lgg", "seed": 3, "share": 1}, DEFAULTS, "01_a")


def test_injected_names_are_compared_with_the_cell_before():
    executed = ["", 'cohort = "simulated"\nseed = 0', "# Parameters\nseed = 2\nsed = 1\n", "x = 3"]
    with pytest.raises(CourseError, match="no parameter sed; the parameters are cohort, seed"):
        check_parameters(executed)


@pytest.mark.parametrize(
    "executed",
    [
        ["", "seed = 0", "# Parameters\nseed = 2", "other = 1"],
        ["", "seed = 0", "other = 1"],
        [],
    ],
)
def test_known_or_no_injected_names_pass(executed):
    check_parameters(executed)


def test_outside_ipython_nothing_is_checked():
    check_parameters()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a: [1", "not readable as YAML"),
        ("just words", "holds no 'name: value' lines"),
        ("data: 2024-02-30", r"not readable as YAML \(day .*\); mend it"),
        ("on: 1", "True is no name of a parameter"),
        ("1: 1", "1 is no name of a parameter"),
    ],
)
def test_a_bad_parameter_file_is_named(tmp_path, content, message):
    path = tmp_path / "my parameters.yaml"
    path.write_text(content)
    with pytest.raises(CourseError, match=f"my parameters.yaml: {message}"):
        read_parameters(path)


def test_a_missing_parameter_file_is_named(tmp_path):
    with pytest.raises(CourseError, match=r"none\.yaml: no such parameter file"):
        read_parameters(tmp_path / "none.yaml")
