"""What the examples in the docstrings show is what comes out, and students find one."""

import ast
import doctest
import functools
import importlib
import inspect
import io
import pkgutil

import pytest

import utils
from utils import check
from utils.cohort.splits import assert_no_leak, split_sha256
from utils.cohort.statistics import (
    missing_sequences,
    most_similar,
    neighbour_in_training,
    slice_similarity,
    spread_between_patients,
)
from utils.cohort.table import summarise_patients
from utils.cohort.volumes import head_pixels, resize_mask
from utils.config import ROOT
from utils.course.leak_lab import choose_test_slices, faulty_patient_ids, gap, kernel
from utils.evaluation.agreement import agreement, pixel_reliability, volume_ml
from utils.evaluation.bootstrap import bootstrap_patients, clustering, paired_bootstrap
from utils.evaluation.calibration import (
    apply_temperature,
    expected_calibration_error,
    reliability_table,
)
from utils.evaluation.detection import (
    auc,
    auc_interval,
    average_precision,
    false_positives,
    operating_point,
    precision_recall_points,
    sensitivity_by_size,
)
from utils.evaluation.out_of_distribution import fit_familiar, threshold_at
from utils.evaluation.segmentation import (
    dice,
    dice_conventions,
    dice_from_counts,
    hd95,
    outline,
    patient_table,
)
from utils.models.batches import epoch_plan
from utils.models.grad_cam import peak_in_mask_share, peaks_in_words
from utils.models.inference import resize_probabilities
from utils.models.postprocessing import postprocess
from utils.models.predict import slice_probabilities

# What students meet, of all that the notebooks use: functions of arrays, tables and numbers small
# enough to be written down. Left out are those that take a run, a network or files, the figures,
# and what notebook 07 has broken on purpose.
STUDENTS = (
    agreement,
    apply_temperature,
    assert_no_leak,
    auc,
    auc_interval,
    average_precision,
    bootstrap_patients,
    choose_test_slices,
    clustering,
    dice,
    dice_conventions,
    dice_from_counts,
    epoch_plan,
    expected_calibration_error,
    false_positives,
    faulty_patient_ids,
    fit_familiar,
    gap,
    hd95,
    head_pixels,
    kernel,
    missing_sequences,
    most_similar,
    neighbour_in_training,
    operating_point,
    outline,
    paired_bootstrap,
    patient_table,
    peak_in_mask_share,
    peaks_in_words,
    pixel_reliability,
    postprocess,
    precision_recall_points,
    reliability_table,
    resize_mask,
    resize_probabilities,
    sensitivity_by_size,
    slice_probabilities,
    slice_similarity,
    split_sha256,
    spread_between_patients,
    summarise_patients,
    threshold_at,
    volume_ml,
)


def fail(name):
    """Stop the walk at a package that cannot be imported, which it would leave out silently."""
    raise AssertionError(f"{name} cannot be imported")


MODULES = sorted(
    module.name for module in pkgutil.walk_packages(utils.__path__, "utils.", onerror=fail)
)


def failures(module):
    """Return what doctest says about the examples of a module that show something else."""
    # The name of an exception's module would say more about our folders than about the error; its
    # message is compared where the error is tested.
    runner = doctest.DocTestRunner(optionflags=doctest.IGNORE_EXCEPTION_DETAIL)
    told = io.StringIO()
    # Without the module's own names: an example must run where it is pasted.
    for example in doctest.DocTestFinder().find(module, globs={}):
        runner.run(example, out=told.write)
    return told.getvalue()


def imported(tree):
    """Return by its name in a notebook each thing that it imports from utils."""
    found = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "utils":
            module = importlib.import_module(node.module)
            for alias in node.names:
                if not hasattr(module, alias.name):
                    importlib.import_module(f"{node.module}.{alias.name}")
                found[alias.asname or alias.name] = getattr(module, alias.name)
    return found


@functools.cache
def used_by_notebooks():
    """Return the functions of utils that the notebooks use, and the names of their exercises."""
    functions, exercises = [], set()
    for path in sorted((ROOT / "notebooks" / "source").glob("[0-9][0-9]_*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        names = imported(tree)
        for node in ast.walk(tree):
            if isinstance(node, ast.Name):
                functions.append(names.get(node.id))
            elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                owner = names.get(node.value.id)
                if owner is check:
                    exercises.add(node.attr)
                functions.append(getattr(owner, node.attr, None))
    return {each for each in functions if inspect.isfunction(each)}, exercises


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_of_a_module_show_what_comes_out(name):
    assert failures(importlib.import_module(name)) == ""


def test_an_example_that_shows_something_else_is_told():
    module = type(utils)("wrong")
    module.__doc__ = "One and one.\n\n>>> 1 + 1\n3\n"
    assert "Expected:\n    3\nGot:\n    2\n" in failures(module)


def test_no_module_is_left_out():
    paths = [*(ROOT / "utils").rglob("*.py")]
    inner = [path for path in paths if path != ROOT / "utils" / "__init__.py"]
    assert len(MODULES) == len(inner)


@pytest.mark.parametrize("function", STUDENTS, ids=lambda function: function.__name__)
def test_a_function_that_students_meet_has_an_example(function):
    text = inspect.getdoc(function)
    assert "\nExamples\n--------\n" in text
    called = [each.source for each in doctest.DocTestParser().get_examples(text)]
    assert any(f"{function.__name__}(" in line for line in called)


@pytest.mark.parametrize("function", STUDENTS, ids=lambda function: function.__name__)
def test_students_meet_the_function_in_a_notebook_or_write_it_as_an_exercise(function):
    functions, exercises = used_by_notebooks()
    assert function in functions or function.__name__ in exercises


def test_at_least_twenty_functions_have_an_example():
    assert len(set(STUDENTS)) >= 20
