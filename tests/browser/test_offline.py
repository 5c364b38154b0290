"""The fixtures of these tests notice what a page asks another machine for."""

import pytest

pytestmark = pytest.mark.long
AWAY = """
<img src="https://example.org/a.png">
<img src="data:image/gif;base64,R0lGODlhAQABAAAAACwAAAAAAQABAAA=">
<script>new WebSocket("wss://example.org/socket")</script>
"""


def test_a_request_to_another_machine_is_stopped_and_noted(page, left):
    page.set_content(AWAY)
    assert page.evaluate("document.images[0].naturalWidth") == 0
    page.wait_for_function("document.images[0].complete")
    assert sorted(left) == ["https://example.org/a.png", "wss://example.org/socket"]
    left.clear()  # or the fixture would fail this test for them
