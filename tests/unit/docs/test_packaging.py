"""The ways to install the course agree with each other."""

import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib

import pytest
import yaml
from packaging.markers import Marker, default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from utils.config import ROOT

LOCK = (ROOT / "requirements.lock").read_text(encoding="utf-8")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
PIN = re.compile(
    r"^([A-Za-z0-9._-]+)==([^\s;]+)(.*\\\n)((?:    --hash=sha256:[0-9a-f]{64}.*\n?)+)", re.MULTILINE
)


def pins():
    """Return name -> versions; more than one where the platforms differ."""
    found = {}
    for name, version, _, _ in PIN.findall(LOCK):
        found.setdefault(canonicalize_name(name), []).append(version)
    return found


def wanted():
    extras = PROJECT["optional-dependencies"].values()
    return [Requirement(each) for each in sum(extras, PROJECT["dependencies"])]


def pythons():
    """Return the minor versions of Python 3 that the project accepts: all between its bounds."""
    oldest, newest = re.fullmatch(r">=3\.(\d+),<3\.(\d+)", PROJECT["requires-python"]).groups()
    return [f"3.{minor}" for minor in range(int(oldest), int(newest))]


def environment(path):
    return yaml.safe_load((ROOT / path).read_text(encoding="utf-8"))


def test_every_line_of_the_lock_is_a_hashed_pin():
    assert PIN.sub("", LOCK).strip() == ""
    assert len(pins()) > 100


def test_the_lock_names_no_index():
    assert not re.search(r"https?:|--(extra-)?index-url|--find-links", LOCK)


@pytest.mark.parametrize("requirement", wanted(), ids=str)
def test_the_lock_has_what_the_project_asks_for(requirement):
    versions = pins()[canonicalize_name(requirement.name)]
    assert all(requirement.specifier.contains(version) for version in versions)


def test_the_lock_for_predictions_pins_what_its_group_asks_for_as_the_other_lock_does():
    text = (ROOT / "requirements-predict.lock").read_text(encoding="utf-8")
    assert PIN.sub("", text).strip() == ""
    assert not re.search(r"https?:|--(extra-)?index-url|--find-links", text)
    few = {canonicalize_name(name): version for name, version, _, _ in PIN.findall(text)}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    group = project["dependency-groups"]["predict"]
    assert {canonicalize_name(Requirement(each).name) for each in group} <= few.keys()
    assert not {"tensorflow", "keras", "onnx"} & few.keys()
    assert {name: version for name, version in few.items() if version not in pins()[name]} == {}


PLATFORMS = {
    "linux": {"sys_platform": "linux", "platform_machine": "x86_64", "os_name": "posix"},
    "linux-arm": {"sys_platform": "linux", "platform_machine": "aarch64", "os_name": "posix"},
    "mac": {"sys_platform": "darwin", "platform_machine": "arm64", "os_name": "posix"},
    "windows": {"sys_platform": "win32", "platform_machine": "AMD64", "os_name": "nt"},
}


def locked(python, platform):
    """Return name -> versions that pip would install there."""
    there = default_environment() | PLATFORMS[platform]
    there |= {"python_version": python, "python_full_version": f"{python}.7"}
    found = {}
    for name, version, rest, _ in PIN.findall(LOCK):
        if Marker(rest.strip(" ;\\\n")).evaluate(there):
            found.setdefault(canonicalize_name(name), []).append(version)
    return found


@pytest.mark.parametrize("python", pythons())
@pytest.mark.parametrize("platform", PLATFORMS)
def test_a_package_is_locked_once_for_every_python_and_platform(python, platform):
    there = locked(python, platform)
    assert {name: each for name, each in there.items() if len(each) != 1} == {}
    assert {canonicalize_name(each.name) for each in wanted()} <= set(there)


@pytest.mark.parametrize("platform", PLATFORMS)
def test_what_the_project_asks_for_has_one_version_for_every_python(platform):
    names = {canonicalize_name(each.name) for each in wanted()}
    every = (locked(python, platform) for python in pythons())
    first, *others = ({name: there[name] for name in names} for there in every)
    assert all(other == first for other in others)


def test_ruff_and_uv_know_the_same_pythons_as_pip():
    tools = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]
    assert tools["ruff"]["target-version"] == "py" + pythons()[0].replace(".", "")
    after = f"3.{int(pythons()[-1].split('.')[1]) + 1}"
    assert all(f"python_full_version < '{after}'" in each for each in tools["uv"]["environments"])
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert f"--python-version {pythons()[0]} " in makefile


def test_every_file_that_utils_reads_is_packed_with_it():
    tools = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]
    packed = tools["setuptools"]["package-data"]["utils"]
    files = {
        path
        for path in (ROOT / "utils").rglob("*")
        if path.is_file() and path.suffix not in (".py", ".pyc")
    }
    assert files == {path for pattern in packed for path in (ROOT / "utils").glob(pattern)}


def test_the_readme_names_the_pythons_that_the_project_accepts():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert f"with Python {', '.join(pythons()[:-1])} or {pythons()[-1]} (" in readme


@pytest.mark.parametrize("path", ["environment.yml", "binder/environment.yml"])
def test_conda_takes_the_project_s_python_and_the_lock(path):
    dependencies = environment(path)["dependencies"]
    python = next(each for each in dependencies if str(each).startswith("python="))
    # repo2docker reads the version with this pattern.
    version = re.match(r"python\s*=+\s*([\d\.]*)", python).group(1)
    assert version in pythons()
    assert "pip" in dependencies
    (files,) = [each["pip"] for each in dependencies if isinstance(each, dict)]
    (line,) = files
    # pip resolves a path after -r from the folder of the file that it stands in.
    lock = (ROOT / path).parent / line.removeprefix("-r ")
    assert lock.resolve() == ROOT / "requirements.lock"


def test_both_conda_files_describe_one_environment():
    plain, binder = (environment(path) for path in ("environment.yml", "binder/environment.yml"))
    assert plain["name"] == binder["name"]
    assert plain["channels"] == binder["channels"]
    assert plain["dependencies"][:-1] == binder["dependencies"][:-1]


def workflow():
    return yaml.safe_load((ROOT / ".github/workflows/test.yml").read_text(encoding="utf-8"))


def test_every_python_and_a_mac_are_tried_on_every_change():
    assert {"push", "pull_request"} <= set(workflow()[True])  # YAML 1.1 reads the key `on` as True
    (job,) = workflow()["jobs"].values()
    tried = job["strategy"]["matrix"]["include"]
    linux = [each["python"] for each in tried if each["os"].startswith("ubuntu")]
    assert sorted(linux) == pythons()
    assert any(each["os"].startswith("macos") for each in tried)


def test_what_is_tried_needs_no_secret_and_may_only_read():
    text = (ROOT / ".github/workflows/test.yml").read_text(encoding="utf-8")
    assert "secrets." not in text
    assert workflow()["permissions"] == {"contents": "read"}


@pytest.mark.parametrize("path", ["binder/postBuild", ".ci/run"])
def test_scripts_are_executable_bash(path):
    script = ROOT / path
    assert os.access(script, os.X_OK)
    assert script.read_text(encoding="utf-8").startswith("#!/usr/bin/env bash\n")
    assert "\nset -euo pipefail\n" in script.read_text(encoding="utf-8")
    subprocess.run(["bash", "-n", str(script)], check=True)


def make(*arguments, folder=ROOT):
    result = subprocess.run(
        ["make", "--no-print-directory", "-C", str(folder), *arguments],
        capture_output=True,
        text=True,
        check=True,
        env={"PATH": os.environ["PATH"]},
    )
    return result.stdout


needs_make = pytest.mark.skipif(not shutil.which("make"), reason="make is not installed")


@needs_make
def test_every_target_has_a_line_of_help():
    text = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = re.search(r"^\.PHONY: (.*)$", text, re.MULTILINE).group(1).split()
    shown = [line.split()[0] for line in make("help").splitlines()[1:]]
    assert sorted(shown) == sorted(targets)
    assert {"course", "test", "notebooks", "lab", "bench", "lock", "clean"} <= set(targets)


@needs_make
def test_variables_become_options_of_the_runner():
    line = make("-n", "course", "COHORT=lgg", "DATA=/my data", "SEED=2", "ONLY=03").splitlines()[-1]
    options = '--cohort "$COHORT" --data "$DATA" --seed "$SEED" --only "$ONLY"'
    assert " ".join(line.split()) == f".venv/bin/python -m utils.run {options}"


@needs_make
@pytest.mark.parametrize(("target", "switch"), [("grade", "TRUST"), ("lock", "UPGRADE")])
def test_a_switch_is_on_with_1_alone(target, switch):
    def flagged(*given):
        return f"--{switch.lower()}" in make("-n", target, "SUBMISSIONS=folder", *given)

    # What is not documented must not run students' code without walls, 0 least of all.
    given = [f"{switch}=1"], [], [f"{switch}="], [f"{switch}=0"], [f"{switch}=no"]
    assert [flagged(*each) for each in given] == [True, False, False, False, False]


# Stands for another Python than the one of the tests: `python -c CODE …`, after code of ours.
PRETENDS = """import platform, sys, sysconfig
sysconfig.get_config_vars()
{pretence}
sys.argv[:3], code = ["-c"], sys.argv[2]
exec(code)
"""


def finder(folder, fakes, *arguments):
    """Run tools/find_python.sh where only the fake Pythons (name -> what they pretend) are."""
    for name, pretence in fakes.items():
        script, path = folder / f"{name}.py", folder / name
        script.write_text(PRETENDS.format(pretence=pretence), encoding="utf-8")
        path.write_text(f'#!/bin/sh\nexec {shlex.join([sys.executable, str(script)])} "$@"\n')
        path.chmod(0o755)
    for tool in ("sh", "sed", "dirname"):
        (folder / tool).symlink_to(shutil.which(tool))
    return subprocess.run(
        [str(folder / "sh"), str(ROOT / "tools/find_python.sh"), *arguments],
        capture_output=True,
        text=True,
        env={"PATH": str(folder)},
    )


def version(minor):
    return f"sys.version_info = (3, {minor}, 7, 'final', 0)"


NO_VENV = "sys.modules['ensurepip'] = None"
INTEL_MAC = "sys.platform = 'darwin'; platform.machine = lambda: 'x86_64'"
ARM_MAC = "sys.platform = 'darwin'; platform.machine = lambda: 'arm64'"
PYPY = "platform.python_implementation = lambda: 'PyPy'"
needs_shell = pytest.mark.skipif(os.name != "posix", reason="a shell script")


@needs_shell
@pytest.mark.parametrize(
    ("fakes", "found"),
    [
        *(({"python3": version(minor)}, "python3") for minor in (11, 12, 13)),
        # The user's own python3 first, then the newest.
        ({"python3": version(11), "python3.13": version(13)}, "python3"),
        ({"python3": version(14), "python3.11": version(11)}, "python3.11"),
        ({"python3": version(10), "python3.12": version(12), "python3.13": version(13)},
         "python3.13"),
        ({"python3": f"{version(13)}; {NO_VENV}", "python3.12": version(12)}, "python3.12"),
        ({"python3": "sys.exit(127)", "python3.12": version(12)}, "python3.12"),
        ({"python3": f"{version(13)}; {PYPY}", "python3.12": version(12)}, "python3.12"),
        ({"python3": f"{version(13)}; {ARM_MAC}"}, "python3"),
    ],
)  # fmt: skip
def test_the_first_python_that_will_do_is_found(tmp_path, fakes, found):
    result = finder(tmp_path, fakes)
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout == f"{tmp_path / found}\n"


@needs_shell
@pytest.mark.parametrize(
    ("fakes", "arguments", "fault"),
    [
        ({}, [], "none of python3 python3.13 python3.12 python3.11 can be run"),
        ({}, ["/no/python"], "none of /no/python can be run"),
        ({"python3": version(10)}, [], "python3 (3.10) is too old"),
        ({"python3": version(14)}, [],
         "python3 (3.14) is too new for the TensorFlow of this course"),
        ({"python3": "sys.version_info = (2, 7, 18)"}, [], "python3 (2.7) is too old"),
        ({"python3": f"{version(13)}; {NO_VENV}"}, [],
         "python3 (3.13) lacks venv or ensurepip (Debian, Ubuntu: apt install python3.13-venv)"),
        # One Python under two names is told once.
        ({"python3": f"{version(13)}; {NO_VENV}", "python3.13": f"{version(13)}; {NO_VENV}"}, [],
         "python3 (3.13) lacks venv or ensurepip (Debian, Ubuntu: apt install python3.13-venv)"),
        ({"python3": version(14), "python3.12": f"{version(12)}; {NO_VENV}"}, [],
         "python3 (3.14) is too new for the TensorFlow of this course; "
         "python3.12 (3.12) lacks venv or ensurepip (Debian, Ubuntu: apt install python3.12-venv)"),
        ({"python3": f"{version(13)}; {INTEL_MAC}"}, [],
         "python3 (3.13) runs on darwin x86_64, for which TensorFlow has no build"),
        # A Python that was named is the only one that is asked.
        ({"python3": version(12), "mine": version(14)}, ["mine"],
         "mine (3.14) is too new for the TensorFlow of this course"),
    ],
)  # fmt: skip
def test_where_no_python_will_do_one_line_says_why(tmp_path, fakes, arguments, fault):
    result = finder(tmp_path, fakes, *arguments)
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr == (
        f"error: {fault}. Install Python {pythons()[0]} to {pythons()[-1]} (with venv), "
        f"or name it: make PYTHON=/path/to/python{pythons()[-1]}\n"
    )


@needs_make
def test_an_environment_whose_python_is_gone_is_made_again(tmp_path):
    shutil.copy(ROOT / "Makefile", tmp_path)
    for name in ("requirements.lock", ".venv/.installed"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / ".venv/bin").mkdir()
    (tmp_path / ".venv/bin/python").symlink_to(sys.executable)
    makes = "-m venv --clear .venv"
    assert makes not in make("-n", "course", folder=tmp_path)
    (tmp_path / ".venv/bin/python").unlink()
    (tmp_path / ".venv/bin/python").symlink_to("/no/python")
    assert makes in make("-n", "course", folder=tmp_path)
