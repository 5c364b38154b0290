"""A headless Chromium for the tests of what students see in one; nothing may leave this machine."""

import shutil
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

# Debian's, Ubuntu's and Google's names. Playwright would download a browser of its own: it may not.
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
# Without a sandbox, because in a container there is often none to be had; the pages are our own.
OPTIONS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
HERE = ("localhost", "127.0.0.1", "::1")
# What a page holds itself, or reads from this disk.
WITHIN = ("about", "blob", "data", "file")


def leaves(address: str) -> bool:
    """Return whether what lies at an address is on another machine."""
    parts = urlsplit(address)
    return parts.scheme not in WITHIN and parts.hostname not in HERE


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Return a browser that a test file has for itself.

    Closed before the next file starts: while it is open, an asyncio loop runs in this process, and
    tests that execute a notebook need to start their own.
    """
    path = next(filter(None, map(shutil.which, NAMES)), None)
    if path is None:
        pytest.skip("no Chromium: on Debian and Ubuntu, apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=OPTIONS)
        yield browser
        browser.close()


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    """Return a browser window's worth of pages; a request to another machine fails the test.

    Set the width with ``page.set_viewport_size``, dark mode with ``page.emulate_media``.
    """
    left: list[str] = []

    def stop(route):
        left.append(route.request.url)
        route.abort()

    context = browser.new_context(viewport={"width": 1300, "height": 900}, service_workers="block")
    context.route(leaves, stop)
    context.route_web_socket(leaves, lambda socket: left.append(socket.url))
    yield context
    context.close()
    assert left == [], "a page asked another machine for something"


@pytest.fixture
def page(context: BrowserContext) -> Iterator[Page]:
    """Return an empty page; an error in its scripts that nothing caught fails the test."""
    page = context.new_page()
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    yield page
    assert errors == [], "a script of the page failed"
