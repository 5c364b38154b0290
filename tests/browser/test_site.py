"""The website as a reader's browser shows it: whole, without barriers, and asking nobody else."""

import functools
import http.server
import os
import subprocess
import threading
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urljoin, urlsplit

import pytest

from utils.config import ROOT

pytestmark = pytest.mark.long

SITE_PYTHON = ROOT / ".venv-site" / "bin" / "python"
AXE = ROOT / "docs" / "site" / "node_modules" / "axe-core" / "axe.min.js"
REPOSITORY = "https://github.com/owner/repository"
PAGES = (
    "index.html",
    *(f"notebooks/{path.stem}.html" for path in sorted((ROOT / "notebooks").glob("0*.ipynb"))),
    "instructors.html", "cluster.html", "parallel.html", "glossary.html",
    "model_card.html", "data.html", "contributing.html",
    "api.html", "search.html", "demo/index.html",
)  # fmt: skip
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"]
# What scrolls within a box of its own does not widen the page.
WIDER = "document.documentElement.scrollWidth - document.documentElement.clientWidth"


class Anchors(HTMLParser):
    """Collects the addresses that a page names, the ids it has, and its pictures."""

    def __init__(self, text: str):
        super().__init__()
        self.addresses: list[str] = []
        self.ids: set[str] = set()
        self.pictures: list[dict] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        named = dict(attrs)
        self.ids.update(filter(None, (named.get("id"), named.get("name"))))
        if tag == "img":
            self.pictures.append(named)
        self.addresses += [named[key] for key in ("href", "src") if named.get(key)]


class Quiet(http.server.SimpleHTTPRequestHandler):
    """Serves files and does not tell what it served."""

    def log_message(self, *_):
        """Say nothing."""


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    """Return the site, built from what the pages are now."""
    if not SITE_PYTHON.exists() or not AXE.exists():
        pytest.skip("no environment for the website: make site")
    target = tmp_path_factory.mktemp("built") / "site"
    built = subprocess.run(
        [SITE_PYTHON, ROOT / "docs" / "site" / "build.py", target],
        env={**os.environ, "SITE_REPOSITORY": REPOSITORY},
        capture_output=True,
        text=True,
        check=False,
    )
    assert built.returncode == 0, built.stdout + built.stderr
    return target


@pytest.fixture(scope="module")
def read(site):
    """Return each page, by its path in the site, as what it names and has."""
    return {
        path.relative_to(site).as_posix(): Anchors(path.read_text(encoding="utf-8"))
        for path in site.rglob("*.html")
        if "_static" not in path.parts
    }


@pytest.fixture(scope="module")
def address(site):
    """Return where the site is served from, as a web server would."""
    handler = functools.partial(Quiet, directory=str(site))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


def opened(page, address, path, scheme="light"):
    """Open a page of the site and wait until its scripts have done their work."""
    page.set_default_timeout(120_000)  # the machine may be busy with other tests
    page.emulate_media(color_scheme=scheme)
    page.goto(address + path, wait_until="load")
    # Formulas are set after the page has loaded.
    page.evaluate("window.MathJax?.startup?.promise.then(() => true) ?? true")
    return page


def test_the_site_has_exactly_these_pages(read):
    # The demo may be built or not, and then has what pages it likes beside its first.
    assert {name for name in read if not name.startswith("demo/")} == set(PAGES[:-1])
    assert PAGES[-1] in read


def test_every_internal_address_and_anchor_exists(site, read):
    lost = []
    for name, page in read.items():
        for named in page.addresses:
            parts = urlsplit(urljoin(f"http://site/{name}", named))
            if parts.netloc != "site":
                continue
            path = unquote(parts.path).lstrip("/") or name
            path += "index.html" if path.endswith("/") else ""
            anchor = unquote(parts.fragment)
            there = (site / path).is_file()
            if not there or (anchor and path in read and anchor not in read[path].ids):
                lost.append((name, named))
    assert lost == []


def test_every_picture_is_described(read):
    bare = [
        (name, picture["src"])
        for name, page in read.items()
        for picture in page.pictures
        if "_images" in picture["src"] and len(picture.get("alt", "").split()) < 8
    ]
    assert bare == []


def test_notebooks_open_in_binder_and_colab_from_where_the_course_lies(read):
    addresses = read["notebooks/02_detect.html"].addresses
    path = "notebooks/02_detect.ipynb"
    assert f"https://mybinder.org/v2/gh/owner/repository/main?urlpath=lab/tree/{path}" in addresses
    colab = "https://colab.research.google.com/github/owner/repository/blob/main/"
    assert colab + path in addresses


def barriers(page, rules):
    """Return what axe finds on the page that is open: rule, and the elements with what is wrong."""
    # As the browser's own tools would: the demo page lets in no script but its own.
    page.evaluate(AXE.read_text(encoding="utf-8"))
    found = page.evaluate(
        "rules => axe.run({runOnly: rules}).then(result => result.violations)",
        rules,
    )
    return [
        (each["id"], [node["html"][:200] + " " + node["failureSummary"] for node in each["nodes"]])
        for each in found
    ]


@pytest.mark.parametrize("path", PAGES)
def test_axe_finds_no_barrier(page, address, path):
    assert barriers(opened(page, address, path), RULES) == []


@pytest.mark.parametrize("path", ["index.html", "api.html", "notebooks/02_detect.html"])
def test_dark_colours_are_told_apart_too(page, address, path):
    assert barriers(opened(page, address, path, "dark"), ["color-contrast"]) == []


@pytest.mark.parametrize("path", PAGES)
def test_a_phone_and_a_page_at_double_size_scroll_in_one_direction(page, address, path):
    page.set_viewport_size({"width": 390, "height": 844})
    opened(page, address, path)
    assert page.evaluate(WIDER) <= 0
    # Twice the size on a screen of 1300 pixels is what 650 pixels show.
    page.set_viewport_size({"width": 650, "height": 450})
    assert page.evaluate(WIDER) <= 0


def test_the_search_finds_a_term_of_the_glossary(page, address):
    opened(page, address, "search.html?q=Tversky")
    page.wait_for_selector("#search-results li a")
    found = page.eval_on_selector_all("#search-results li a", "all => all.map(a => a.href)")
    assert any("glossary.html" in each for each in found)


def test_formulas_are_set(page, address):
    opened(page, address, "notebooks/03_segment.html")
    page.wait_for_selector("mjx-container svg")
    assert page.locator("mjx-container").count() > 10


def test_a_hint_is_folded_until_it_is_opened(page, address):
    opened(page, address, "notebooks/02_detect.html")
    hint = page.locator("details", has=page.locator("summary", has_text="Hint 1")).first
    words = hint.locator(":scope > :not(summary)").first
    assert not words.is_visible()
    hint.locator("summary").click()
    assert words.is_visible()
