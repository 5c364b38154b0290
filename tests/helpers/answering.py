"""The marks of notebooks whose cells are run without walls, all in one process."""

import json
import pickle
import subprocess
import sys

from utils import check
from utils.config import ROOT
from utils.exercises.grading.marks import _question, judged

ANSWERING = """
import json, pickle, sys
sys.path.insert(0, sys.argv[1])
from utils.exercises.grading import run as grade_run
from utils.exercises.grading.child import Notebook, _NoChecks
grade_run.DEFINING_SECONDS = 300.0  # a busy machine is no fault of an answer's
sys.meta_path.insert(0, _NoChecks())
replies = []
for cells, questions in pickle.load(sys.stdin.buffer):
    notebook = Notebook(cells)
    replies.append([notebook.reply(question) for question in questions])
open(sys.argv[2], "w").write(json.dumps(replies))
"""


# How `check.<x>(<y>)` is written instead; cells are parted by lines of dashes.
def marks(jobs, folder):
    """Return exercise -> (mark, message) for each (number, cells, names of exercises not asked)."""
    exercises = [
        [one for one in check.ALL if one.notebook == number and one.name not in left_out]
        for number, _, left_out in jobs
    ]
    asked = [
        (cells, [_question(one) for one in of_notebook])
        for (_, cells, _), of_notebook in zip(jobs, exercises, strict=True)
    ]
    out = folder / "replies.json"
    subprocess.run(
        [sys.executable, "-c", ANSWERING, str(ROOT), str(out)],
        input=pickle.dumps(asked),
        cwd=folder,
        stdout=subprocess.DEVNULL,
        check=True,
    )
    replies = json.loads(out.read_text())
    return [
        {one.name: judged(one, reply) for one, reply in zip(of_notebook, found, strict=True)}
        for of_notebook, found in zip(exercises, replies, strict=True)
    ]
