"""TensorFlow computes with oneDNN, unless the user decided otherwise."""

import os
import subprocess
import sys

import pytest

from utils.config import ROOT


@pytest.mark.parametrize(("given", "expected"), [(None, "1"), ("0", "0")])
def test_the_users_word_counts(given, expected):
    environment = {k: v for k, v in os.environ.items() if k != "TF_ENABLE_ONEDNN_OPTS"}
    if given is not None:
        environment["TF_ENABLE_ONEDNN_OPTS"] = given
    command = "import os, utils; print(os.environ['TF_ENABLE_ONEDNN_OPTS'])"
    done = subprocess.run(
        [sys.executable, "-c", command],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == expected
