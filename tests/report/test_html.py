"""The page is whole, safe and of one piece, whatever the run is called and says."""

import json
import os
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from cofi_dist.report.html import render_page
from cofi_dist.report.panels import build_panels
from cofi_dist.report.popularity import ErrorByPopularity
from cofi_dist.report.run_files import read_runs
from cofi_dist.report.saved_evaluations import read_evaluations
from tests.support.written_runs import (
    EVALUATION,
    EVENTS_CONFIG,
    falling,
    found_by_popularity,
    rising,
    row,
    write_run,
)

VOID = {"meta", "input"}
NASTY = """</pre><script>alert("&amp;")</script><b title='x'>"""


class Page(HTMLParser):
    """What stands in a page; fails on a tag that is not closed in its turn."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))  # in a picture

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join("".join(self.words).split())


def of_run(directory: Path, error: ErrorByPopularity | None = None) -> str:
    (run,) = read_runs([directory])
    return render_page(run, build_panels([run], [error]), error, read_evaluations(directory))


def an_error() -> ErrorByPopularity:
    return ErrorByPopularity(
        "test", np.array([4, 0, 1200]), np.array([4.0, 0.0, 300.0]), np.array([4.0, 0, 500])
    )


def test_the_page_holds_what_is_known_of_the_run(tmp_path: Path) -> None:
    found = Page(of_run(write_run(tmp_path / "a", ranks=[60, 40]), an_error()))
    for words in (
        "ratings100, including held-out ones",
        "users2",
        "items20",
        "world size2",
        "devicecpu, backend gloo",
        "last printed epoch41 cost then180",
        "best validated epoch31: RMSE 1.0000, MAE 0.8000",
        "seconds4.1 ratings per second1,042",
        "modelnone: the run is still going, or was interrupted",
        "ratings1,204 RMSE0.5025 MAE0.4186",
        "01.0000 over 4 2-30.5000 over 1,200",
        "read 100 ratings of 10 users on 20 items",
        "seed: 1",
    ):
        assert words in found.text.replace("  ", " "), words
    assert "800.00000" not in found.text, "epochs are in the curves"
    assert "stopped at epoch 3" in found.text


def test_a_page_about_events_calls_them_so(tmp_path: Path) -> None:
    directory = write_run(tmp_path / "a", rising(), ranks=[60, 40], config=EVENTS_CONFIG)
    (run,) = read_runs([directory])
    found = found_by_popularity(0, 30, 90)
    page = Page(render_page(run, build_panels([run], [found]), found, [])).text
    for words in (
        "events100, including held-out ones",
        "best validated epoch4: NDCG@20 0.3500",
        "events per second1,006",
        "test events, held out events120 Found in lists of 100.3333",
        "Events of each rank, including held-out ones",
    ):
        assert words in page.replace("  ", " "), words


def test_a_page_says_if_a_sample_of_users_was_judged(tmp_path: Path) -> None:
    lines = [line | {"validation_k": 3, "validation_users": 20} for line in rising()]
    page = Page(of_run(write_run(tmp_path / "a", lines, config=EVENTS_CONFIG), an_error()))
    assert "best validated epoch4: NDCG@3 0.3500, of about 20 users" in page.text


def test_nothing_is_loaded_from_anywhere(tmp_path: Path) -> None:
    text = of_run(write_run(tmp_path / "a", ranks=[60, 40]), an_error())
    assert "http:" not in text
    assert "https:" not in text
    assert not re.search(r"url\((?!#)", text), "a picture names its own parts"
    assert "@import" not in text
    tags = Page(text).tags
    assert not {tag for tag, _ in tags} & {"script", "link", "iframe", "object", "a"}
    for _, attributes in tags:
        assert (attributes.get("href") or "#").startswith("#")
        assert "src" not in attributes


def test_everybody_can_read_the_page(tmp_path: Path) -> None:
    tags = Page(of_run(write_run(tmp_path / "a", ranks=[60, 40]), an_error())).tags
    assert [more.get("lang") for tag, more in tags if tag == "html"] == ["en"]
    assert [tag for tag, _ in tags].index("title") < [tag for tag, _ in tags].index("body")
    pictures = [more for tag, more in tags if tag == "svg"]
    assert [more["aria-label"] for more in pictures][:2] == [
        "Cost: 180 at epoch 41",
        "Validation RMSE: 1.0000 at epoch 31",
    ]
    assert len(pictures) == 6
    assert all(more["role"] == "img" for more in pictures)
    ids = [more["id"] for _, more in tags if "id" in more]
    assert len(ids) == len(set(ids))
    assert any(more.get("name") == "viewport" for _, more in tags)


def test_nothing_of_the_run_becomes_markup(tmp_path: Path) -> None:
    directory = write_run(tmp_path / f"a{NASTY.replace('/', '')}", config=f"seed: 1  # {NASTY}\0\n")
    (directory / "train.log").write_text(NASTY)
    (directory / "evaluation.json").write_text(json.dumps(EVALUATION | {"of": NASTY, NASTY: 1}))
    text = of_run(directory)
    found = Page(text)
    assert not {tag for tag, _ in found.tags} & {"script", "b"}
    assert found.text.count("alert") == 7
    assert "\0" not in text


def test_a_run_of_metrics_alone_has_a_page(tmp_path: Path) -> None:
    directory = write_run(tmp_path / "a", [row(1, float("nan")) | {"seconds": 0.0}])
    for name in ("shards.json", "config.yaml", "train.log"):
        (directory / name).unlink()
    found = Page(of_run(directory))
    assert "cost thennan" in found.text
    assert "per second" not in found.text
    assert not {tag for tag, _ in found.tags} & {"svg", "pre"}


@pytest.mark.parametrize("validated", [True, False])
def test_a_run_is_shown_with_and_without_validation(validated: bool, tmp_path: Path) -> None:
    found = Page(of_run(write_run(tmp_path / "a", falling(validated=validated))))
    assert ("best validated epoch" in found.text) == validated


def test_every_evaluation_in_the_run_is_shown(tmp_path: Path) -> None:
    directory = write_run(tmp_path / "a")
    (directory / "test.json").write_text(json.dumps(EVALUATION))
    (directory / "notes.json").write_text('{"rmse": 1}')
    (directory / "half.json").write_text('{"rmse": 1')
    found = Page(of_run(directory)).text
    assert (
        "test.json, by evaluate ratings1,200 users7 RMSE0.8765 MAE0.5000 unseen items0 k10 ranked users6"
        in found
    )
    assert "NDCG0.2500 MAP-" in found, "what was not measured is a dash"
    assert "relevant" not in found
    assert "half" not in found
    assert "notes.json" not in found


def test_an_evaluation_older_than_the_model_says_so(tmp_path: Path) -> None:
    directory = write_run(tmp_path / "a")
    file = directory / "e.json"
    file.write_text(json.dumps(EVALUATION))
    (directory / "model").mkdir()
    os.utime(file, (1, 1))
    assert "e.json, by evaluate, older than the model: of an earlier one?" in Page(of_run(directory)).text
