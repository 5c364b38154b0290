"""Commands for those who work on the course, such as `python -m tools.benchmark`."""

import utils  # noqa: F401 - before any of them imports Keras: TensorFlow then starts quietly
