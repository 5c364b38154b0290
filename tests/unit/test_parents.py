"""What a command has started ends with it, however early the command was killed."""

import subprocess
import sys

from utils.config import ROOT
from utils.runtime.processes import STARTED_BY, started_from_here

CODE = """
import time
from utils.runtime.processes import end_with_parent
end_with_parent()
time.sleep(1)
print("went on")
"""


def run(environment):
    return subprocess.run(
        [sys.executable, "-c", CODE],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_process_goes_on_while_its_parent_does():
    assert run(started_from_here()).stdout == "went on\n"


def test_a_process_ends_whose_parent_was_gone_before_it_had_loaded_its_modules():
    ended = run(started_from_here() | {STARTED_BY: "0"})  # no process has this number
    assert (ended.returncode, ended.stdout) == (1, "")
