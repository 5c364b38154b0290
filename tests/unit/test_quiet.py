import contextlib
import importlib.util
import subprocess
import sys

from utils.runtime.imports import WrappingFinder
from utils.runtime.tensorflow import without_information


def test_warnings_and_errors_are_passed_on(capfd):
    with without_information():
        subprocess.run(
            [sys.executable, "-c", "import sys; sys.stderr.write('I0000 a\\nW0000 b\\nother\\n')"],
            check=True,
        )
    assert capfd.readouterr().err == "W0000 b\nother\n"


def test_asking_where_a_package_is_uses_up_nothing(tmp_path, monkeypatch):
    """TensorFlow asks where Keras is before it imports it."""
    (tmp_path / "asked_for.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    entered = []

    @contextlib.contextmanager
    def around():
        entered.append("before")
        yield
        entered.append("after")

    finder = WrappingFinder("asked_for", around)
    monkeypatch.setattr(sys, "meta_path", [finder, *sys.meta_path])
    assert importlib.util.find_spec("asked_for") is not None
    assert entered == []
    importlib.import_module("asked_for")
    assert entered == ["before", "after"]
    assert finder not in sys.meta_path
    monkeypatch.delitem(sys.modules, "asked_for")
