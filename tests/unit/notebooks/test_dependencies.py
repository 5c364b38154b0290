"""What makes a finished notebook stale, on a copy of `utils`."""

from functools import cache

import pytest

from utils.config import ROOT
from utils.notebooks import run
from utils.notebooks.build import NOTEBOOKS, read_notebook
from utils.notebooks.dependencies import reached


def write(root, **texts):
    for name, text in texts.items():
        path = root / "utils" / (name.replace("__", "/") + ".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        for folder in (path.parent, root / "utils"):
            (folder / "__init__.py").touch()
        path.write_text(text, encoding="utf-8")


def names(files, root):
    shown = {path.relative_to(root / "utils").as_posix() for path in files}
    return {name for name in shown if not name.endswith("__init__.py")}


def test_imports_are_followed_wherever_they_stand(tmp_path):
    write(
        tmp_path,
        one="from utils.room.two import thing\n",
        room__two="def thing():\n    from utils.room import three\n",
        room__three="import os\n",
        room__four="",
    )
    found = reached(["%matplotlib inline\nfrom utils import one"], tmp_path)
    assert names(found.results, tmp_path) == {"one.py", "room/two.py", "room/three.py"}
    assert (tmp_path / "utils/room/__init__.py") in found.results


def test_a_function_named_for_another_process_is_followed(tmp_path):
    write(tmp_path, apart="NAMED = 'utils.work:begin now'\n", work="def begin(word): ...\n")
    assert names(reached(["import utils.apart"], tmp_path).results, tmp_path) == {
        "apart.py", "work.py",
    }  # fmt: skip


def test_checks_are_told_apart_and_only_those_asked_for(tmp_path):
    write(
        tmp_path,
        check="",
        room__shared="",
        exercises__topics__early="from utils.exercises import judges\nExercise('asked', '01')\n",
        exercises__topics__late="Exercise('other', '01', 'asked')\n",
        exercises__judges="from utils.room import shared\nimport utils.exercises.grading.marks\n",
        exercises__grading__marks="",
    )
    found = reached(["from utils import check\nfrom utils.room import shared", "check.asked(1)"],
                    tmp_path)  # fmt: skip
    assert names(found.results, tmp_path) == {"room/shared.py"}
    assert names(found.exercises, tmp_path) == {
        "check.py", "exercises/topics/early.py", "exercises/judges.py",
    }  # fmt: skip


@pytest.fixture(scope="module")
def stale():
    """Return a function: which notebooks of the course a change of one file makes stale."""
    honest, read, follow = run._sha256, cache(run.read_notebook), cache(run.reached)

    def keys(touched=None):
        # What the notebooks hold and reach does not change here: it is found out once.
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(run, "read_notebook", read)
            patch.setattr(run, "reached", lambda code: follow(tuple(code)))
            patch.setattr(
                run, "_sha256", lambda files: honest(files) + b"changed" * (touched in files)
            )
            return {job.name: job.key for job in run.plan(NOTEBOOKS, {})}

    before = keys()

    def changed_by(path):
        touched = ROOT / "utils" / path
        assert touched.is_file()
        after = keys(touched)
        return [name for name in before if before[name] != after[name]]

    return changed_by


def test_what_marks_students_makes_no_notebook_stale(stale):
    for path in ("grade.py", "exercises/grading/marks.py", "exercises/grading/confine.py"):
        assert stale(path) == []


def test_what_runs_and_reports_makes_no_notebook_stale(stale):
    for path in ("notebooks/report.py", "notebooks/editions.py", "run.py", "download.py"):
        assert stale(path) == []


def test_a_check_makes_its_notebook_stale_and_no_other(stale):
    assert stale("exercises/topics/explore.py") == ["01_explore"]
    assert stale("exercises/topics/evidence.py") == ["05_evidence"]


def test_a_training_makes_its_notebook_stale_and_all_after_it(stale):
    every = [path.stem for path in sorted(NOTEBOOKS.glob("*.ipynb"))]
    assert stale("course/segmenter.py") == every[2:]
    assert stale("cohort/tiff.py") == every


def test_every_notebook_reaches_the_helpers_that_make_its_figures():
    for path in sorted(NOTEBOOKS.glob("*.ipynb")):
        code = [cell.source for cell in read_notebook(path).cells if cell.cell_type == "code"]
        assert ROOT / "utils/plots/style.py" in reached(code).results
