"""A report in a real browser: it fits any width, works by keyboard, and paper has all of it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cofi_dist.report.html import render_page
from cofi_dist.report.judged_model import judge_model
from cofi_dist.report.panels import build_panels
from cofi_dist.report.popularity import by_popularity
from cofi_dist.report.run_files import read_runs
from tests.support.browser import needs_chromium, open_browser
from tests.support.models import trained

pytestmark = needs_chromium
CONFIG = """
data: {synthetic: {num_users: 40, num_items: 60, num_ratings: 900}, test: {fraction: 0.3}}
model: {num_features: 4}
train: {epochs: 30, log_every: 10, lr: 0.02}
"""


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the report of a run whose items have long titles."""
    folder = tmp_path_factory.mktemp("shown")
    model, run = trained(folder, CONFIG), folder / "run"
    titles = {str(item): f"Film {item}, {'long' * 30}" for item in model.items.raw}
    (read,), popular = read_runs([run]), by_popularity(run)
    found = judge_model(model, model.rated(run), titles, 5)
    target = folder / "report.html"
    target.write_text(render_page(read, build_panels([read], [popular]), popular, [], found))
    return target


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with open_browser() as opened:
        yield opened


@pytest.mark.parametrize("width", [400, 1280])
def test_the_page_fits_and_a_keyboard_chooses_a_user(width: int, file: Path, browser: Any) -> None:
    page, said = browser.new_page(viewport={"width": width, "height": 900}), []
    page.on("console", lambda message: said.append(message.text))
    page.goto(file.as_uri())
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    shown = page.locator(".user:visible")
    assert shown.count() == 1
    first = shown.get_attribute("id")
    page.focus("input:checked")
    page.keyboard.press("ArrowRight")
    assert shown.count() == 1
    assert shown.get_attribute("id") != first
    assert page.locator("use > title").first.text_content() == "epoch 1: 308.293"
    all_of_it, seen = page.evaluate(
        "(({scrollWidth: s, clientWidth: c}) => [s, c])(document.querySelector('pre'))"
    )
    assert (all_of_it > seen) == (width == 400), "lines of notes are scrolled to, so that tables stay tables"
    assert said == [], "the browser refused nothing"
    page.emulate_media(media="print")
    assert shown.count() == 6
    assert not page.locator("label:visible").count()
    page.evaluate("document.querySelectorAll('figure:not(:first-child)').forEach(each => each.remove())")
    page.emulate_media(media="screen")
    alone = page.locator("figure").first.bounding_box()["width"]
    assert alone <= 33 * 16, "a picture alone is no larger, so its letters are not"
    page.close()
