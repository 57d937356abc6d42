"""The documentation site is built without a warning, has all pages and public names, and needs no network."""

import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from html.parser import HTMLParser
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

import cofi_dist
from cofi_dist import model
from tests.support.browser import needs_chromium, open_browser

ROOT = Path(__file__).parents[1]
# the theme's makers announce its successor on stderr
QUIET = {"NO_MKDOCS_2_WARNING": "1"}

FITS = "document.documentElement.scrollWidth == innerWidth"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the site as CI does; with --strict, a link to nowhere or a page outside the menu is an error."""
    pytest.importorskip("mkdocstrings", reason="the site needs the extra docs")
    directory = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(directory)]
    done = subprocess.run(
        command, cwd=ROOT, env={**os.environ, **QUIET}, capture_output=True, text=True, check=False
    )
    assert not done.returncode, done.stderr
    assert "WARNING" not in done.stderr
    return directory


class Quiet(SimpleHTTPRequestHandler):
    """Serve files without a word."""

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture(scope="module")
def address(site: Path) -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(site))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


class Fetched(HTMLParser):
    """Collect what a browser fetches for a page by itself."""

    def __init__(self) -> None:
        super().__init__()
        self.addresses: list[str] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        named = dict(attributes)
        address = named.get("href") if tag == "link" and named.get("rel") != "canonical" else named.get("src")
        self.addresses += [address] if address else []


def test_every_page_is_in_the_site_and_can_be_found(site: Path) -> None:
    pages = {path.relative_to(ROOT / "docs").with_suffix("") for path in (ROOT / "docs").rglob("*.md")}
    built = {page: site / (page.parent if page.name == "index" else page) / "index.html" for page in pages}
    assert len(pages) > 20
    assert [page for page, file in built.items() if not file.exists()] == []
    found = {
        entry["location"].split("#")[0]
        for entry in json.loads(read(site / "search/search_index.json"))["docs"]
    }
    assert {"", "tour/", "changelog/", "contributing/", "reference/model/"} <= found


def test_every_public_name_has_an_entry(site: Path) -> None:
    entries = {
        entry
        for page in (site / "reference").rglob("*.html")
        for entry in re.findall(r'id="([\w.]+)"', read(page))
    }
    elsewhere = {"Model", "load", "__version__"}  # in cofi_dist.model, as Model.load, and in words
    assert {f"cofi_dist.{name}" for name in cofi_dist.__all__ if name not in elsewhere} <= entries
    assert {f"cofi_dist.model.{name}" for name in model.__all__} <= entries
    assert {"cofi_dist.sklearn.MatrixFactorization", "cofi_dist.errors.DataError"} <= entries
    assert {"cofi_dist.model.Model.recommend", "cofi_dist.model.Model.load"} <= entries, "also inherited ones"


def test_no_page_needs_a_network(site: Path) -> None:
    for page in site.rglob("*.html"):
        fetched = Fetched()
        fetched.feed(read(page))
        assert [address for address in fetched.addresses if address.startswith(("http", "//"))] == [], page
    for sheet in site.rglob("*.css"):
        assert not re.search(r"(url\(|@import)\s*['\"]?(https?:)?//", read(sheet)), sheet


@needs_chromium
def test_every_page_fits_a_screen_and_the_search_finds(site: Path, address: str) -> None:
    from playwright.sync_api import TimeoutError

    pages = sorted(str(page.parent.relative_to(site)) for page in site.rglob("index.html"))
    asked: list[str] = []
    with open_browser() as browser:
        tab = browser.new_page()
        tab.on("request", lambda request: asked.append(request.url))
        for page in pages:
            tab.goto(f"{address}{page}/")
            for width in (1280, 400):
                tab.set_viewport_size({"width": width, "height": 900})
                with suppress(TimeoutError):  # of playwright; the theme goes on after the page was loaded
                    tab.wait_for_function(FITS, timeout=60_000)
                assert tab.evaluate(FITS), f"{page} is wider than {width} pixels"
        tab.goto(f"{address}?q=bootstrap")  # what the theme's search box makes of a link to a search
        tab.wait_for_selector(".md-search-result__item", state="attached", timeout=60_000)
    assert [url for url in asked if not url.startswith((address, "blob:", "data:"))] == []


def read(path: Path) -> str:
    return path.read_text(encoding="utf-8")
