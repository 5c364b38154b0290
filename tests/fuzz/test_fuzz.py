"""The first inputs of every target; `python tests/fuzz/mutate.py` goes on from there."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

import mutate

INPUTS = 120


@pytest.mark.parametrize("name", sorted(mutate.targets()))
def test_damaged_input_is_loaded_or_refused_in_one_line(name):
    findings, counts = mutate.run(name, first=0, inputs=INPUTS)
    assert not findings, "\n".join(map(str, findings))
    assert sum(counts.values()) == INPUTS
    assert all(counts.values()), f"{counts}: the changes are too weak or too strong to tell"
