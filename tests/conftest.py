"""Loaded before any test: how TensorFlow computes, and one profile for all property tests."""

from hypothesis import settings

import utils  # noqa: F401 - first, because it decides how TensorFlow computes

# No example is timed: a busy machine would fail it. Speed is measured by `make bench` alone.
settings.register_profile("course", deadline=None, derandomize=True, database=None)
settings.load_profile("course")
