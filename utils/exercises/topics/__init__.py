"""The exercises by topic: each module names its own in ``EXERCISES``."""
