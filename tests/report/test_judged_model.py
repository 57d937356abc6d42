"""What a report measures of a model: the figures of `evaluate`, and lists that `recommend` would make."""

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from cofi_dist.model import Model
from cofi_dist.report import sample_lists as module
from cofi_dist.report.html import render_page
from cofi_dist.report.judged_model import JudgedModel, judge_model
from cofi_dist.report.model_sections import users_section
from cofi_dist.report.panels import build_panels
from cofi_dist.report.popularity import by_popularity
from cofi_dist.report.run_files import read_runs
from cofi_dist.report.sample_lists import sample_lists
from cofi_dist.sharding.ranges import UserRange
from tests.report.test_html import NASTY, Page
from tests.support.models import trained

CONFIG = """
data: {synthetic: {num_users: 40, num_items: 60, num_ratings: 900}, test: {fraction: 0.3}}
model: {num_features: 4}
train: {epochs: 30, log_every: 10, lr: 0.02}
"""
EVENTS = """
data: {synthetic: {num_users: 40, num_items: 60, num_ratings: 900}, feedback: implicit, test: {fraction: 0.3}}
model: {num_features: 4}
train: {optimizer: als, epochs: 4, log_every: 1}
"""


def judged(run: Path, titles: Mapping[str, str] | None = None, k: int = 5) -> JudgedModel:
    model = Model.load(run)
    return judge_model(model, model.rated(run), titles or {}, k)


@pytest.mark.parametrize("config", [CONFIG, EVENTS], ids=["ratings", "events"])
def test_lists_are_the_model_s_and_histories_the_user_s(config: str, tmp_path: Path) -> None:
    model = trained(tmp_path, config)
    rated = model.rated(tmp_path / "run")
    found = judged(tmp_path / "run").lists
    counts = [user.num_ratings for user in found.users]
    assert counts == sorted(counts)
    assert counts[-1] == model.arrays.user_counts.max()
    for user in found.users:
        row = int(user.user)
        training, test = (rated.load(UserRange(row, row + 1), part) for part in ("train", "test"))
        want = model.recommend(row, 5, exclude=model.items.raw[training.item.tolist()])
        assert [item.item for item in user.listed] == [str(item) for item in want["item"]]
        column = "score" if "prediction" not in want.columns else "prediction"
        assert [item.figure for item in user.listed] == want[column].to_list()
        assert [item.score for item in user.listed] == want["score"].to_list()
        values = sorted(training.value.tolist(), reverse=True)
        assert [item.figure for item in user.history] == values[:5]
        held = dict(zip(model.items.raw[test.item.tolist()], test.value.tolist(), strict=True))
        assert [item.held_out for item in user.listed] == [held.get(int(item.item)) for item in user.listed]
        assert (user.num_ratings, user.num_held_out) == (len(training.item), len(test.item))
    assert found.places.sum() == pytest.approx(1)
    assert found.training.sum() == pytest.approx(1)


def test_figures_are_those_of_evaluate(tmp_path: Path) -> None:
    model = trained(tmp_path, CONFIG)
    rated = model.rated(tmp_path / "run")
    found = judged(tmp_path / "run").evaluation
    assert found is not None
    test = rated.load(UserRange(0, 40), "test")
    users, items = (
        ids.raw[rows.tolist()] for ids, rows in ((model.users, test.user), (model.items, test.item))
    )
    table = {"user": users.to_list(), "item": items.to_list(), "value": test.value.tolist()}

    assert found == model.evaluate(pl.DataFrame(table), rated, k=5)


def test_a_history_is_as_long_as_asked_for_even_if_the_list_is_shorter(tmp_path: Path) -> None:
    trained(tmp_path, CONFIG)
    for user in judged(tmp_path / "run", k=55).lists.users:
        assert len(user.listed) == min(60 - user.num_ratings, 55)
        assert len(user.history) == min(user.num_ratings, 55)


def test_without_a_held_out_part_there_are_lists_alone(tmp_path: Path) -> None:
    trained(tmp_path, CONFIG.replace(", test: {fraction: 0.3}", ""))
    found = judged(tmp_path / "run")
    assert found.evaluation is None
    assert found.lists.part is None
    assert len(found.lists.users) == len(module.QUANTILES)
    page = page_of(tmp_path / "run", found)
    text = Page(page).text
    assert "held out" not in text.replace("none were held out", "")
    assert re.search(r"training ratings, none were held out ratings900 RMSE0\.\d{4} MAE0\.\d{4}", text)


def test_clipped_predictions_have_the_scores_that_order_them(tmp_path: Path) -> None:
    trained(tmp_path, CONFIG)
    found = judged(tmp_path / "run")
    user = found.lists.users[-1]
    beyond, inside = (replace(user.listed[0], figure=5.0, score=score) for score in (5.21, 5.0))
    for listed, heads in (
        ((inside,), "Their list predicted item"),
        ((beyond, inside), "Their list; the score is the prediction before clipping predicted score item"),
    ):
        lists = replace(found.lists, users=(replace(user, listed=listed),))
        text = users_section(lists)
        assert heads in " ".join(re.sub("<[^>]*>", " ", text).split())
        assert [f">{score}<" in text for score in ("5.21", "5.00")] == [len(listed) == 2, True]


def test_of_a_model_in_parts_no_other_user_s_rows_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = trained(tmp_path, CONFIG)
    monkeypatch.setattr(module, "MOST_USERS", 3)
    asked: list[int] = []
    kind = type(model.scorer)
    plain = kind.user_factors

    def noted(self: object, rows: np.ndarray) -> object:
        asked.extend(rows.tolist())
        return plain(self, rows)  # type: ignore[arg-type]

    monkeypatch.setattr(kind, "user_factors", noted)
    found = sample_lists(model, model.rated(tmp_path / "run"), {}, 5)
    assert set(asked) == {*(int(user.user) for user in found.users), 0, 19, 39}


def page_of(run: Path, found: JudgedModel) -> str:
    (read,), popular = read_runs([run]), by_popularity(run)
    return render_page(read, build_panels([read], [popular]), popular, [], found)


@pytest.mark.parametrize("config", [CONFIG, EVENTS], ids=["ratings", "events"])
def test_the_page_shows_figures_with_intervals_and_lists_with_titles(config: str, tmp_path: Path) -> None:
    model = trained(tmp_path, config)
    titles = {str(item): f"{NASTY} {item}" for item in model.items.raw}
    found = judged(tmp_path / "run", titles)
    text = page_of(tmp_path / "run", found)
    page = Page(text)
    assert not {tag for tag, _ in page.tags} & {"script", "b"}
    assert found.evaluation is not None
    assert found.evaluation.ranking is not None
    low, high = found.evaluation.ranking.intervals["ndcg"]
    assert re.search(rf"NDCG@5 [a-z, ]+{found.evaluation.ranking.ndcg:.4f}{low:.4f} to {high:.4f}", page.text)
    assert ("Calibration: off by" in page.text) == (config is CONFIG)
    assert "Where lists go" in page.text
    for number, user in enumerate(found.lists.users):
        assert f"User {user.user}: {user.num_ratings} training" in page.text
        for item in (*user.history, *user.listed):
            assert f"alert(\"&amp;\")</script><b title='x'> {item.item}" in page.text
        assert f"#user-{number}:checked ~ #list-{number}" in text, "a screen shows one, paper all"
    radios = [more for tag, more in page.tags if tag == "input"]
    assert [more["id"] for more in radios] == [f"user-{k}" for k in range(len(radios))]
    assert sum("checked" in more for more in radios) == 1
    labels = [more["for"] for tag, more in page.tags if tag == "label"]
    assert labels == [more["id"] for more in radios]
    tables = sum(tag == "table" for tag, _ in page.tags)
    assert tables - 1 == sum(tag == "caption" for tag, _ in page.tags), (
        "all but the summary, which has a heading"
    )
