"""Do something around the first import of a package, whoever imports it."""

import importlib.abc
import importlib.util
import sys
from collections.abc import Callable


class WrappingFinder(importlib.abc.MetaPathFinder):
    """Finds a package where Python does, and wraps its first execution.

    Who only asks where the package is, as TensorFlow asks for Keras, uses nothing up.

    Attributes
    ----------
    name : str
        Of the package.
    around : callable
        Returns a context manager.
    """

    def __init__(self, name: str, around: Callable):
        self.name, self.around, self._looking = name, around, False

    def find_spec(self, fullname, path=None, target=None):
        if fullname != self.name or self._looking:
            return None
        self._looking = True  # Python asks all finders, this one too
        try:
            spec = importlib.util.find_spec(fullname)
        finally:
            self._looking = False
        if spec is not None:
            execute = spec.loader.exec_module

            def execute_within(module):
                if self in sys.meta_path:
                    sys.meta_path.remove(self)
                with self.around():
                    execute(module)

            spec.loader.exec_module = execute_within
        return spec
