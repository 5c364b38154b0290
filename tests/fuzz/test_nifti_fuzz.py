"""A short run of the mutated NIfTI files; `nifti_loader.py` itself does thousands."""

import subprocess
import sys
from pathlib import Path

import nifti_loader
import pytest

LOADER = Path(nifti_loader.__file__)
SEEDS = dict(nifti_loader.list_of_seeds())


@pytest.mark.parametrize("name", SEEDS)
def test_every_seed_is_read(tmp_path, name):
    (tmp_path / name).write_bytes(SEEDS[name])
    assert nifti_loader.load(tmp_path / name) == "read"


# Processes are told apart and measured as Unix does it.
@pytest.mark.skipif(sys.platform == "win32", reason="needs fork")
def test_mutated_files_are_read_or_refused_in_one_line():
    done = subprocess.run(
        [sys.executable, LOADER, "--count", "120"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "120 mutated NIfTI files" in done.stdout
    # Nothing else is said, on either stream.
    assert done.stderr == ""
