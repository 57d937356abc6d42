"""The page in a real browser: by mouse, by keyboard, on a telephone and in the dark."""

import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.explore.conftest import EVIL
from tests.support.browser import needs_chromium, open_browser
from tests.support.models import trained
from tests.support.served import served

PATIENCE = 60_000  # milliseconds; only a page that hangs takes so long
NUM_USERS, NUM_ITEMS = 50, 24
WORDS = ("Red", "Green", "Blue", "Old", "New", "Long")
THINGS = ("House", "River", "Train", "Letter")
ALS = "optimizer: als, epochs: 6, log_every: 6"

pytestmark = needs_chromium


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of runs and titles, of which one is a program."""
    folder = tmp_path_factory.mktemp("page")
    rng = np.random.default_rng(3)
    taste, kind = rng.normal(size=(NUM_USERS, 2)), rng.normal(size=(NUM_ITEMS, 2))
    lines = ["userId,movieId,rating"]
    for user, item in zip(*np.nonzero(rng.random((NUM_USERS, NUM_ITEMS)) < 0.5), strict=True):
        rating = np.clip(np.round(2 * (3 + taste[user] @ kind[item])) / 2, 0.5, 5)
        lines.append(f"{user},{item},{rating:g}")
    (folder / "r.csv").write_text("\n".join([*lines, ""]))
    titles = [f"{word} {thing}" for word in WORDS for thing in THINGS]
    titles[-1] = EVIL
    rows = [f'{item},"{title}"' for item, title in enumerate(titles)]
    (folder / "t.csv").write_text("\n".join(["movieId,title", *rows, ""]))
    data = f"data: {{ratings: {folder / 'r.csv'}, test: {{fraction: 0.2}}"
    trained(folder, f"{data}}}\nmodel: {{num_features: 3}}\ntrain: {{{ALS}, lambda_: 1}}\n")
    (folder / "run").rename(folder / "stars")
    trained(folder, f"{data}, feedback: implicit}}\nmodel: {{num_features: 3}}\ntrain: {{{ALS}, alpha: 5}}\n")
    (folder / "run").rename(folder / "clicks")
    trained(folder, f"{data}, feedback: implicit}}\nmodel: {{num_features: 3}}\ntrain: {{{ALS}, alpha: 0}}\n")
    (folder / "run").rename(folder / "likes")
    return folder


@pytest.fixture(scope="module")
def address(runs: Path) -> Iterator[str]:
    """Serve a model of ratings beside one of events."""
    with served("stars", "clicks", "--titles", "t.csv", cwd=runs) as (url, _):
        yield url


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with open_browser() as browser:
        yield browser


class Visit:
    """Hold a page, and all that went wrong on it or was asked of somebody else."""

    def __init__(self, browser: Any, address: str, **surroundings: Any) -> None:
        self.context = browser.new_context(**{"viewport": {"width": 1280, "height": 900}, **surroundings})
        self.context.set_default_timeout(PATIENCE)
        self.page, self.address = self.context.new_page(), address
        self.wrong: list[str] = []
        self.page.on("pageerror", lambda error: self.wrong.append(str(error)))
        self.page.on("console", lambda said: self.wrong.append(said.text))
        self.page.on("dialog", lambda dialog: self.wrong.append(dialog.message))
        self.page.on("request", self._note_strangers)
        self.page.goto(address)
        self.page.wait_for_selector("body[data-ready]")
        self.page.wait_for_selector("#popular button")

    def _note_strangers(self, asked: Any) -> None:
        if not asked.url.startswith(self.address):
            self.wrong.append(asked.url)

    def titles(self, model: int, view: str = "your-lists") -> list[str]:
        return self.page.locator(f"#{view} [data-model='{model}'] button.title").all_inner_texts()  # type: ignore[no-any-return]

    def rate(self, text: str, stars: float) -> None:
        """Search a title, choose it and click into its stars; wait for the lists."""
        self.page.fill("#search", text)
        self.page.locator("#found [role=option]", has_text=text).click()
        symbols = self.page.locator("#ratings li").first.locator(".symbols")
        width = symbols.bounding_box()["width"]
        symbols.click(position={"x": (stars - 0.25) / 5 * width, "y": 8})
        self.wait_for_lists()

    def until(self, expression: str, arg: Any = None) -> None:
        """Wait until it is true. The page's own policy forbids what `wait_for_function` would do in it."""
        end = time.monotonic() + PATIENCE / 1000
        while not self.page.evaluate(expression, arg):
            assert time.monotonic() < end, expression
            self.page.wait_for_timeout(20)

    def wait_for_item(self) -> None:
        self.page.locator("#item").wait_for()
        self.until("document.querySelectorAll('#item [aria-busy]').length === 0")

    def wait_for_lists(self) -> None:
        self.until("document.querySelectorAll('#your-lists [aria-busy]').length === 0")

    def width(self) -> int:
        return int(self.page.evaluate("document.documentElement.scrollWidth"))


@pytest.fixture
def visit(browser: Any, address: str) -> Iterator[Visit]:
    visit = Visit(browser, address)
    yield visit
    visit.context.close()
    assert not visit.wrong, "an error, a dialog of the browser, or a request to somebody else"


def test_the_lists_of_both_models_follow_each_rating(visit: Visit) -> None:
    page = visit.page
    assert visit.titles(0) == []
    assert "Rate a title" in page.inner_text("#your-lists")
    lists = []
    for title, stars in (("Red House", 5), ("Blue River", 0.5), ("Old Train", 4.5)):
        visit.rate(title, stars)
        lists.append((visit.titles(0), visit.titles(1)))
        assert all(len(shown) == 10 and title not in shown for shown in lists[-1])
    values = page.locator("#ratings .value").all_inner_texts()
    assert values == ["4.5", "0.5", "5"], "the newest first"
    for model in (0, 1):
        assert lists[0][model] != lists[1][model] != lists[2][model]
    assert page.locator(".move.up, .move.down, .move.new").count() > 0
    page.reload()
    visit.until("document.querySelectorAll('#your-lists button.title').length === 20")
    assert (visit.titles(0), visit.titles(1)) == lists[2], "ratings stay in the tab"
    page.click("#clear")
    visit.until("!document.querySelector('#your-lists button.title')")


def test_the_best_known_titles_are_suggested_until_three_are_rated(visit: Visit) -> None:
    page, chips = visit.page, visit.page.locator("#popular button:visible")
    suggested = chips.all_inner_texts()
    assert len(suggested) == 8
    for rated in range(3):
        assert chips.all_inner_texts() == suggested[rated:], "those that are rated are left out"
        chips.first.click()
        assert page.locator("#ratings button.title").first.inner_text() == suggested[rated]
        assert chips.all_inner_texts() == suggested[rated + 1 :]
        page.locator("#ratings .symbols").first.click()
        visit.wait_for_lists()
        assert len(visit.titles(0)) == 10, "one title is enough for a list"
    assert chips.count() == 0
    page.locator("#ratings button.remove").first.click()
    assert chips.all_inner_texts() == suggested[2:]
    page.click("#clear")
    assert chips.all_inner_texts() == suggested


def test_a_dot_is_explained_where_there_is_one(visit: Visit) -> None:
    page = visit.page
    assert "A dot" not in page.inner_text("#your-lists")
    visit.rate("Red House", 5)
    for least in ("0", "1000"):
        page.fill("#least", least)
        page.press("#least", "Enter")
        visit.wait_for_lists()
        shared = set(visit.titles(0)) & set(visit.titles(1))
        assert (len(shared) > 0) == (least == "0")
        assert page.locator("#your-lists .both").count() == 2 * len(shared)
        assert page.inner_text("#your-lists").count("A dot: in both lists.") == 2 * (least == "0")


def test_clipped_predictions_have_the_scores_that_order_them(visit: Visit) -> None:
    page, panel = visit.page, visit.page.locator("#user-lists [data-model='0']")
    shown = {}
    for user in range(NUM_USERS):
        page.goto(f"{visit.address}#user={user}")
        visit.until(
            "user => document.getElementById('history-of').textContent.endsWith(` ${user}`)", str(user)
        )
        visit.until("document.querySelectorAll('#user-lists [aria-busy]').length === 0")
        predicted = [float(text) for text in panel.locator(".score").all_inner_texts()]
        scores = [float(text) for text in panel.locator(".unclipped").all_inner_texts()]
        shown[max(predicted) == 5] = panel.inner_text()
        assert scores == sorted(scores, reverse=True)
        assert predicted == [min(score, 5) for score in scores] or not scores
        if len(shown) == 2:
            break
    assert "predicted rating, score" in shown[True]
    assert "The score is the prediction before clipping." in shown[True]
    assert "score" not in shown[False]


def test_a_title_has_reasons_similar_ones_and_a_map(visit: Visit) -> None:
    page = visit.page
    visit.rate("Red House", 5)
    visit.rate("Green River", 1)
    first = visit.titles(0)[0]
    page.locator("#your-lists button.title").first.click()
    visit.wait_for_item()
    assert page.inner_text("#item-title") == first
    reasons = page.locator("#item .reasons").first.inner_text()
    assert "Red House" in reasons
    assert "rated 5" in reasons
    assert page.locator("#item .why .sum").count() == 2, "one for each model"
    known = page.locator("#item .panel-top").all_inner_texts()
    for text, (name, noun) in zip(known, (("stars", "ratings"), ("clicks", "events")), strict=True):
        assert re.fullmatch(rf"{name}\s+\d+ training {noun}", text), "of this model"
    assert page.locator("#item svg .point").count() > 20
    other = page.locator("#item .similar button.title").first
    name = other.inner_text()
    other.click()
    visit.until("name => document.getElementById('item-title').textContent === name", name)
    page.click("#item-back")
    visit.wait_for_item()
    assert page.inner_text("#item-title") == first
    page.locator("#item svg .point.own").first.focus()
    page.keyboard.press("ArrowRight")
    reached = page.evaluate("document.activeElement.getAttribute('aria-label')")
    page.keyboard.press("Enter")
    visit.until("now => now.startsWith(document.getElementById('item-title').textContent)", reached)
    page.keyboard.press("Escape")
    assert not page.locator("#item").is_visible()


def test_all_of_it_works_by_the_keyboard(visit: Visit) -> None:
    page, press = visit.page, visit.page.keyboard.press
    for title, presses in (("Red House", 9), ("Long", 2)):
        press("/")
        page.keyboard.type(title)
        press("ArrowDown")  # at once: the answer to what was typed is waited for
        press("Enter")
        visit.until("document.activeElement.type === 'range'")
        for _ in range(presses):
            press("ArrowRight")
        visit.wait_for_lists()
    assert page.locator("#ratings .value").all_inner_texts() == ["1", "4.5"]
    press("/")
    page.locator("#found [role=option]").first.wait_for()
    press("Escape")
    assert not page.locator("#found").is_visible()
    for _ in range(40):
        press("Tab")
        if page.evaluate("document.activeElement.closest('#your-lists') !== null"):
            break
    outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert outline == "solid", "the focus is seen"
    title = page.evaluate("document.activeElement.textContent")
    press("Enter")
    page.locator("#item").wait_for()
    assert page.inner_text("#item-title") == title
    press("Escape")
    assert page.evaluate("document.activeElement.textContent") == title, "the focus comes back"


def test_a_title_is_text_even_if_it_is_a_program(visit: Visit) -> None:
    visit.rate(EVIL, 5)
    visit.rate("Red House", 1)
    visit.page.locator("#ratings button.title", has_text="onerror").click()
    visit.wait_for_item()
    assert visit.page.inner_text("#item-title") == EVIL
    assert visit.page.locator("img").count() == 0


def test_a_user_has_a_history_beside_the_lists(visit: Visit) -> None:
    page = visit.page
    page.click("#to-user")
    page.fill("#user-id", "7")
    page.click("#ask-user button")
    page.wait_for_selector("#history li")
    visit.until("document.querySelectorAll('#user-lists button.title').length > 10")
    history = page.locator("#history button.title").all_inner_texts()
    assert not set(history) & {*visit.titles(0, "user-lists"), *visit.titles(1, "user-lists")}
    assert page.locator("#history .chip", has_text="held out").count() > 0
    page.locator("#user-lists button.title").first.click()
    visit.wait_for_item()
    assert "Why for user 7" in page.inner_text("#item")
    page.keyboard.press("Escape")
    page.fill("#user-id", "nobody")
    page.click("#ask-user button")
    visit.until("document.getElementById('history-note').textContent.includes('has no user nobody')")
    visit.until("document.getElementById('user-lists').textContent.includes('clicks has no user nobody')")
    assert "A dot" not in page.inner_text("#user-lists")
    visit.wrong.clear()  # the browser notes that the answer was 404


def test_it_fits_a_telephone_and_is_dark_at_night(browser: Any, address: str) -> None:
    visit = Visit(browser, address, viewport={"width": 400, "height": 800}, color_scheme="dark")
    page = visit.page
    widths = [visit.width()]
    visit.rate("Red House", 5)
    widths.append(visit.width())
    page.locator("#your-lists button.title").first.click()
    visit.wait_for_item()
    widths.append(visit.width())
    inside = page.evaluate(
        "[document.getElementById('item').scrollWidth, document.getElementById('item').clientWidth]"
    )
    assert inside[0] <= inside[1]
    page.keyboard.press("Escape")
    page.goto(f"{address}#user=7")
    page.wait_for_selector("#history li")
    widths.append(visit.width())
    assert widths == [400] * 4, "nothing is beside the screen"
    red, green, blue = page.evaluate(
        "getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)"
    )
    assert max(red, green, blue) < 60
    visit.context.close()
    assert not visit.wrong


def test_a_title_is_liked_where_an_event_has_no_strength(browser: Any, runs: Path) -> None:
    with served("likes", cwd=runs) as (url, process):
        visit = Visit(browser, url)
        visit.page.fill("#search", "7")
        visit.page.keyboard.press("ArrowDown")
        visit.page.keyboard.press("Enter")
        visit.until("document.querySelectorAll('#your-lists button.title').length === 10")
        assert visit.page.locator("#ratings .value").all_inner_texts() == ["1"]
        assert visit.page.get_attribute("#ratings input", "max") == "1"
        assert visit.page.locator("#yours").inner_text() == "You like"
        assert not visit.wrong
        process.kill()
        process.wait()
        visit.page.click("#clear")
        visit.page.locator("#popular button").first.click()
        visit.until("document.getElementById('your-lists').innerText.includes('is it still running')")
        visit.context.close()
