"""The runner, on tiny notebooks: no TensorFlow, a second or two a kernel."""

import json
import os
import signal
import subprocess
import sys
import time

import nbformat
import psutil
import pytest

from utils import run as run_command
from utils.config import ROOT, CourseError, command, read_json
from utils.notebooks import run
from utils.notebooks.execute import NotebookError, execute
from utils.notebooks.run import exclusive

PARAMETERS = 'cohort = "simulated"\ndata = ""\nrun_folder = ""\nseed = 0'


def write_notebook(path, *code):
    tagged = nbformat.v4.new_code_cell(PARAMETERS, metadata={"tags": ["parameters"]})
    cells = [nbformat.v4.new_markdown_cell("# Title"), tagged]
    cells += [nbformat.v4.new_code_cell(source) for source in code]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), path)


@pytest.fixture
def course(tmp_path, monkeypatch):
    """A course of two notebooks in a folder with a space, and where it runs."""
    folder = tmp_path / "the course"
    (folder / "params").mkdir(parents=True)
    for cohort in ("simulated", "lgg"):
        (folder / "params" / f"{cohort}.yaml").write_text(f"cohort: {cohort}\n")
    write_notebook(folder / "01_first.ipynb", "print('seed', seed)")
    write_notebook(folder / "02_second.ipynb", "import os; print(os.path.basename(os.getcwd()))")
    monkeypatch.setattr(run_command, "NOTEBOOKS", folder)
    return folder, tmp_path / "a run"


def start(course, *arguments):
    _, run_folder = course
    return command(lambda: run_command.main(["--run", str(run_folder), *arguments]))


def outputs(path):
    cells = nbformat.read(path, as_version=4).cells
    return [
        output.text
        for cell in cells
        for output in cell.get("outputs", [])
        if output.output_type == "stream"
    ]


def jobs_to_do(course, **parameters):
    folder, run_folder = course
    parameters = {"cohort": "simulated", "run_folder": str(run_folder)} | parameters
    return [job.name for job in run.choose(run.plan(folder, parameters), run_folder)]


def test_a_run_and_what_makes_it_stale(course, capfd):
    folder, run_folder = course
    assert start(course, "--seed", "7") == 0
    assert outputs(run_folder / "01_first.ipynb") == ["seed 7\n"]
    assert outputs(run_folder / "02_second.ipynb") == ["the course\n"]
    metrics = read_json(run_folder / "metrics.json")
    assert 0 < metrics["seconds"]["01_first"] < 60
    assert 20 < metrics["peak_rss_mb"]["02_second"] < 500
    assert (run_folder / "logs" / "01.log").read_text().count("seed 7") == 1
    assert (run_folder / "report.html").is_file()
    shown = capfd.readouterr()
    assert "01_first: 4/6 cells" in shown.err or "02_second: " in shown.err
    assert "2 notebooks run" in shown.out

    assert start(course, "--seed", "7") == 0
    assert "nothing to do" in capfd.readouterr().out
    assert jobs_to_do(course, seed=7) == []
    assert jobs_to_do(course, seed=8) == ["01_first", "02_second"]
    write_notebook(folder / "02_second.ipynb", "print('changed')")
    assert jobs_to_do(course, seed=7) == ["02_second"]
    write_notebook(folder / "01_first.ipynb", "print('changed')")
    assert jobs_to_do(course, seed=7) == ["01_first", "02_second"]


def test_only_and_from(course):
    folder, run_folder = course
    jobs = run.plan(folder, {})
    assert [job.name for job in run.choose(jobs, run_folder, only="02")] == ["02_second"]
    assert [job.name for job in run.choose(jobs, run_folder, only="01_first")] == ["01_first"]
    assert [job.name for job in run.choose(jobs, run_folder, first="02")] == ["02_second"]
    assert len(run.choose(jobs, run_folder, first="01")) == 2
    with pytest.raises(CourseError, match="no notebook '07'; there are 01_first, 02_second"):
        run.choose(jobs, run_folder, only="07")


def test_a_failure_names_notebook_cell_and_error(course, capfd):
    folder, run_folder = course
    write_notebook(folder / "02_second.ipynb", "a = 1", "print('so far')\n1 / 0")
    assert start(course) == 1
    last = capfd.readouterr().err.strip().splitlines()[-1]
    assert last.startswith(
        "failed: 02_second, cell [4] (print('so far')): ZeroDivisionError: division by zero; see "
    )
    assert (run_folder / "01_first.ipynb").is_file()
    assert not (run_folder / "02_second.ipynb").exists()
    assert outputs(run_folder / "02_second.failed.ipynb") == ["so far\n"]
    log = (run_folder / "logs" / "02.log").read_text()
    assert "ZeroDivisionError" in log and "\x1b" not in log
    assert jobs_to_do(course) == ["02_second"]


def test_a_cell_has_a_time_limit(tmp_path):
    source = tmp_path / "01_slow.ipynb"
    write_notebook(source, "import time\ntime.sleep(60)")
    limit = r"01_slow, cell \[2\] \(import time\): took longer than the 1 s"
    with pytest.raises(NotebookError, match=limit):
        execute(source, tmp_path / "out" / "01_slow.ipynb", log=tmp_path / "l", cell_seconds=1)
    left = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert left == ["01_slow.failed.ipynb"]


def test_a_kernel_that_dies_is_told(tmp_path):
    source = tmp_path / "01_dies.ipynb"
    write_notebook(source, "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)")
    with pytest.raises(NotebookError, match=r"cell \[2\] .*: the kernel died, .*close other"):
        execute(source, tmp_path / "out" / "01_dies.ipynb", log=tmp_path / "l")


def test_the_peak_memory_is_that_of_the_kernel(tmp_path):
    source = tmp_path / "01_large.ipynb"
    write_notebook(source, "a = b'x' * (400 * 2**20)\ndel a", "import time; time.sleep(0.3)")
    peak = execute(source, tmp_path / "out.ipynb", log=tmp_path / "l").peak_rss_mb
    # What was freed counts; the interpreter and IPython come on top.
    assert 420 < peak < 520


@pytest.mark.long
def test_the_peak_memory_includes_processes_that_the_kernel_starts(tmp_path):
    source = tmp_path / "01_child.ipynb"
    code = "a = bytearray(300 * 2**20); import time; time.sleep(1)"
    write_notebook(
        source,
        "b = bytearray(200 * 2**20)",
        f"import subprocess, sys\nsubprocess.run([sys.executable, '-c', {code!r}])",
    )
    peak = execute(source, tmp_path / "out.ipynb", log=tmp_path / "l").peak_rss_mb
    # 500 at one moment, though no process has more than about 370; the interpreters come on top.
    assert 520 < peak < 640


@pytest.mark.long
def test_a_killed_run_goes_on_and_leaves_no_kernel(course):
    folder, run_folder = course
    marker = folder / "kernel"
    write_notebook(
        folder / "02_second.ipynb",
        f"import os, time, pathlib\nfirst = not os.path.exists({str(marker)!r})",
        f"pathlib.Path({str(marker)!r}).write_text(str(os.getpid()))\ntime.sleep(60 * first)",
    )
    script = "import pathlib, sys; from utils import run; "
    script += "run.NOTEBOOKS = pathlib.Path(sys.argv[1]); run.main(['--run', sys.argv[2]])"
    command_line = [sys.executable, "-c", script, str(folder), str(run_folder)]
    process = subprocess.Popen(command_line, cwd=ROOT, stderr=subprocess.PIPE)
    deadline = time.monotonic() + 60
    while not (marker.exists() and marker.read_text()) and time.monotonic() < deadline:
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert jobs_to_do(course) == ["02_second"]
    assert not (run_folder / "02_second.ipynb").exists()

    kernel = int(marker.read_text())
    with exclusive(run_folder):
        assert not psutil.pid_exists(kernel) or psutil.Process(kernel).status() == "zombie"
    before = (run_folder / "01_first.ipynb").stat().st_mtime_ns
    assert start(course) == 0
    assert (run_folder / "01_first.ipynb").stat().st_mtime_ns == before
    assert (run_folder / "02_second.ipynb").is_file()
    assert not list(run_folder.glob(".*.ipynb"))


def test_two_runs_in_one_folder_are_refused(course, capfd):
    _, run_folder = course
    with exclusive(run_folder):
        assert start(course) == 2
    message = capfd.readouterr().err.strip()
    assert message.endswith("wait for it, or choose another folder with --run")
    assert f"(process {os.getpid()})" in message and "\n" not in message
    with exclusive(run_folder):
        pass


@pytest.mark.long
def test_papermill_alone_refuses_an_unknown_parameter(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    source = tmp_path / "01_a.ipynb"
    write_notebook(source, "from utils.course.run import check_parameters\ncheck_parameters()")
    execute(source, tmp_path / "out.ipynb", parameters={"seed": 3}, log=tmp_path / "l")
    with pytest.raises(NotebookError, match="CourseError: this notebook: no parameter sede;"):
        execute(source, tmp_path / "out.ipynb", parameters={"sede": 3}, log=tmp_path / "l")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-p", "sede", "1"], "01_first.ipynb: no parameter sede; the parameters are cohort"),
        (["-p", "seed", "one"], "parameter seed is 'one'; it must be of the kind"),
        (["-p", "cohort", "other"], "no cohort 'other'; choose one of simulated, lgg"),
        (["--data", "x"], "data 'x' given to the simulated cohort; add COHORT=lgg"),
        (["--cohort", "lgg", "--data", "no such folder"], "no such folder: not there"),
        (["-f", "none.yaml"], "none.yaml: no such parameter file"),
        (["-p", "cohort", "[lgg]"], "no cohort ['lgg']; choose one of simulated, lgg"),
        # What YAML takes for a date, and for one that there is not.
        (["-p", "seed", "2024-01-01"], "parameter seed is datetime.date(2024, 1, 1); it must be"),
        (["-p", "seed", "2024-02-30"], "parameter seed is '2024-02-30'; it must be of the kind"),
    ],
)
def test_bad_input_is_one_line_and_status_2(course, capfd, arguments, message):
    assert start(course, *arguments) == 2
    shown = capfd.readouterr().err.strip()
    assert message in shown and "\n" not in shown
    assert not course[1].exists()


def test_later_parameters_win(course, tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text("seed: 1\n")

    def seed(*argv):
        return run_command.gather_parameters(run_command._arguments(argv)).get("seed")

    assert seed() is None
    assert seed("-f", str(file)) == 1
    assert seed("-f", str(file), "--seed", "2") == 2
    assert seed("-f", str(file), "--seed", "2", "-p", "seed", "3") == 3


def test_a_run_folder_may_look_like_a_number(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    found = run_command.gather_parameters(run_command._arguments(["-p", "run_folder", "2024"]))
    assert found["run_folder"] == str(tmp_path / "2024")


def test_an_empty_course_says_what_to_do(tmp_path):
    with pytest.raises(CourseError, match=r"no notebooks NN_name\.ipynb in it; make them"):
        run.plan(tmp_path, {})


def test_a_broken_notebook_is_named(course):
    folder, _ = course
    (folder / "02_second.ipynb").write_text("{")
    with pytest.raises(CourseError, match=r"02_second\.ipynb: not readable as a notebook"):
        run.plan(folder, {})


def test_figures_of_an_earlier_run_go(course):
    folder, run_folder = course
    (run_folder / "figures").mkdir(parents=True)
    for name in ("01_old.png", "01_old.txt", "02_kept.png", "02_kept.txt"):
        (run_folder / "figures" / name).write_text("x")
    write_notebook(folder / "01_first.ipynb", "1")
    assert start(course, "--only", "01") == 0
    left = sorted(path.name for path in (run_folder / "figures").iterdir())
    assert left == ["02_kept.png", "02_kept.txt"]


def test_a_path_with_braces_is_no_placeholder(tmp_path):
    folder = tmp_path / "{braces}"
    folder.mkdir()
    write_notebook(folder / "01_a.ipynb", "a = 1")
    execute(folder / "01_a.ipynb", folder / "out.ipynb", log=folder / "l")
    assert json.loads((folder / "out.ipynb").read_text())["nbformat"] == 4


def test_the_instructors_edition_is_no_part_of_the_course(course):
    folder, _ = course
    (folder / "solutions").mkdir()
    write_notebook(folder / "solutions" / "01_first.ipynb", "print('a solution')")
    write_notebook(folder / "solutions" / "03_third.ipynb", "print('a solution')")
    assert jobs_to_do(course) == ["01_first", "02_second"]
