"""Loaded before any test: `utils` first, which decides how TensorFlow computes."""

import utils  # noqa: F401
