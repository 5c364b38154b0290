"""With what something was computed is told, and different answers are joined."""

from utils.cluster.provenance import PACKAGES, joined, joined_versions, made_with
from utils.cluster.threads import used_threads
from utils.runtime.machine import cores


def test_what_computed_is_told():
    told = made_with()
    assert set(told) == {"commit", "versions", "machine", "threads"}
    assert set(told["versions"]) == {"python", *PACKAGES}
    assert told["machine"].endswith(" cores")
    assert told["threads"] == used_threads() <= len(cores())


def test_what_was_joined_before_is_not_repeated():
    assert joined(["a; b", "b", "c", "a"]) == "a; b; c"
    assert joined([]) == ""


def test_versions_are_joined_by_package():
    first, second = {"python": "3.11", "numpy": "2.3"}, {"python": "3.11", "numpy": "2.4"}
    assert joined_versions([first, second, first]) == {"python": "3.11", "numpy": "2.3; 2.4"}
