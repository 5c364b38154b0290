"""What the damaged NIfTI files are made from is read while it is sound."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

import nifti_loader

SEEDS = dict(nifti_loader.list_of_seeds())


@pytest.mark.parametrize("name", SEEDS)
def test_every_seed_is_read(tmp_path, name):
    (tmp_path / name).write_bytes(SEEDS[name])
    nifti_loader.load(tmp_path / name)
