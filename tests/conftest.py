"""Loaded before any test: how TensorFlow computes, one profile for all property tests, and which
tests stay in one process when several run side by side.
"""

import pytest
from hypothesis import settings

import utils  # noqa: F401 - first, because it decides how TensorFlow computes

# No example is timed: a busy machine would fail it. Speed is measured by `make bench` alone.
settings.register_profile("course", deadline=None, derandomize=True, database=None)
settings.load_profile("course")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """Keep together the tests of a file, which share what they train, and all stored notebooks.

    The notebooks follow each other in one run folder. They take longest and so begin first.
    """
    for item in items:
        group = "notebooks" if item.path.suffix == ".ipynb" else item.path.as_posix()
        item.add_marker(pytest.mark.xdist_group(group))
