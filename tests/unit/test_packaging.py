"""The ways to install the course agree with each other."""

import os
import re
import shutil
import subprocess
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


def test_a_package_is_locked_once_on_every_platform():
    linux = default_environment() | {"sys_platform": "linux", "platform_machine": "x86_64"}
    mac = linux | {"sys_platform": "darwin", "platform_machine": "arm64"}
    windows = linux | {"sys_platform": "win32", "platform_machine": "AMD64"}
    markers = [(name, rest.strip(" ;\\\n")) for name, _, rest, _ in PIN.findall(LOCK)]
    for platform in (linux, mac, windows):
        names = [name for name, marker in markers if Marker(marker).evaluate(platform)]
        assert sorted(set(names)) == sorted(names)


@pytest.mark.parametrize("path", ["environment.yml", "binder/environment.yml"])
def test_conda_takes_the_project_s_python_and_the_lock(path):
    dependencies = environment(path)["dependencies"]
    python = next(each for each in dependencies if str(each).startswith("python="))
    # repo2docker reads the version with this pattern.
    version = re.match(r"python\s*=+\s*([\d\.]*)", python).group(1)
    assert Requirement(f"python{PROJECT['requires-python']}").specifier.contains(f"{version}.9")
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


@pytest.mark.parametrize("path", ["binder/postBuild", ".ci/run"])
def test_scripts_are_executable_bash(path):
    script = ROOT / path
    assert os.access(script, os.X_OK)
    assert script.read_text(encoding="utf-8").startswith("#!/usr/bin/env bash\n")
    assert "\nset -euo pipefail\n" in script.read_text(encoding="utf-8")
    subprocess.run(["bash", "-n", str(script)], check=True)


def make(*words):
    result = subprocess.run(
        ["make", "--no-print-directory", "-C", str(ROOT), *words],
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
