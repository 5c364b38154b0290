"""Loaded before any test: how TensorFlow computes, and one profile for all property tests."""

import sys

import pytest
from hypothesis import settings

import utils  # noqa: F401 - first, because it decides how TensorFlow computes

# No example is timed: a busy machine would fail it. Speed is measured by `make bench` alone.
settings.register_profile("course", deadline=None, derandomize=True, database=None)
settings.load_profile("course")


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup():
    """Let each test and its fixtures begin in float32, whatever precision another has chosen."""
    keras = sys.modules.get("keras")
    if keras is not None:
        keras.config.set_dtype_policy("float32")
