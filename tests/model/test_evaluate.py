"""Evaluation: by the formulas, by a reference library, by any blocks and on any ranks."""

from dataclasses import asdict
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from cofi_dist.distributed import Comm
from cofi_dist.errors import DataError
from cofi_dist.model import Evaluation, Model, RunRatings
from cofi_dist.model.evaluate import evaluate
from cofi_dist.model.held_out import HeldOut
from cofi_dist.model.ranking import METRICS
from cofi_dist.testing import run_ranks
from tests.support.models import Halves, dense_scores, made_up, rated_halves

U, M = 40, 60


def problem(tmp: Path) -> tuple[Model, RunRatings]:
    model = made_up(tmp, U, M)
    return model, rated_halves(model, 900)


def figures(found: Evaluation) -> dict[str, float]:
    flat: dict[str, Any] = asdict(found)
    ranking = flat.pop("ranking") or {}
    return {name: value for name, value in {**flat, **ranking}.items() if value is not None}


def halves(rated: RunRatings) -> Halves:
    assert isinstance(rated.source, Halves)
    return rated.source


def test_errors_are_those_of_the_formula(tmp_path: Path) -> None:
    model, rated = problem(tmp_path)
    found = evaluate(model, HeldOut.of_run(rated, "test"), None)
    test = halves(rated).load(everyone(), "test")
    err = dense_scores(model).clip(0.5, 5.0)[test.user, test.item] - test.value
    users = [err[test.user == j] for j in np.unique(test.user)]
    assert (found.ratings, found.users) == (450, len(users))
    assert found.rmse == pytest.approx(np.sqrt(np.mean(err**2)), rel=1e-12)
    assert found.mae == pytest.approx(np.mean(np.abs(err)), rel=1e-12)
    assert found.rmse_by_user == pytest.approx(np.mean([np.sqrt(np.mean(e**2)) for e in users]), rel=1e-12)
    assert found.mae_by_user == pytest.approx(np.mean([np.mean(np.abs(e)) for e in users]), rel=1e-12)
    assert found.ranking is None


def everyone() -> Any:
    from cofi_dist.sharding.ranges import UserRange

    return UserRange(0, U)


RANX = {"precision": "precision", "recall": "recall", "ndcg": "ndcg", "map": "map", "hit_rate": "hit_rate"}


@pytest.mark.slow  # ranx compiles for most of a minute
@pytest.mark.timeout(300)
@pytest.mark.filterwarnings("ignore:unsafe cast from uint64 to int64")  # in ranx
def test_ranking_metrics_are_those_of_ranx(tmp_path: Path) -> None:
    model, rated = problem(tmp_path)
    for k, relevant in product([1, 3, 10, 55], [None, 4.0]):
        assert_like_ranx(model, rated, k, relevant)


def assert_like_ranx(model: Model, rated: RunRatings, k: int, relevant: float | None) -> None:
    ranx = pytest.importorskip("ranx")
    found = evaluate(model, HeldOut.of_run(rated, "test"), rated, k=k, relevant=relevant).ranking
    assert found is not None
    train, test = (halves(rated).load(everyone(), part) for part in ("train", "test"))
    scores = dense_scores(model)
    scores[train.user, train.item] = -np.inf
    qrels: dict[str, dict[str, int]] = {}
    for j, i, value in zip(test.user, test.item, test.value, strict=True):
        if relevant is None or value >= relevant:
            qrels.setdefault(str(j), {})[str(i)] = 1
    run = {j: {str(i): float(s) for i, s in enumerate(scores[int(j)]) if s > -np.inf} for j in qrels}
    want = ranx.evaluate(ranx.Qrels(qrels), ranx.Run(run), [f"{name}@{k}" for name in RANX.values()])
    for ours, theirs in RANX.items():
        assert getattr(found, ours) == pytest.approx(want[f"{theirs}@{k}"], rel=1e-12), ours
    assert found.users == len(qrels)
    assert found.users + found.users_without_relevant == len(np.unique(test.user))


@pytest.mark.parametrize("at_once", [1, 7, 40])
def test_blocks_of_any_size_give_the_same_figures(at_once: int, tmp_path: Path) -> None:
    model, rated = problem(tmp_path)
    held_out = HeldOut.of_run(rated, "test")
    want = figures(evaluate(model, held_out, rated, k=5))
    got = figures(evaluate(model, held_out, rated, k=5, users_at_once=at_once))
    assert got == pytest.approx(want, rel=1e-12)


def on_a_rank(comm: Comm, tmp: Path, at_once: int) -> dict[str, float]:
    mine = tmp / f"{comm.world_size}-{comm.rank}"
    mine.mkdir()
    model, rated = problem(mine)
    return figures(
        evaluate(model, HeldOut.of_run(rated, "test"), rated, k=5, comm=comm, users_at_once=at_once)
    )


@pytest.mark.parametrize("at_once", [6, 25], ids=["seven blocks", "an idle rank"])
def test_one_and_three_ranks_give_the_same_figures(at_once: int, tmp_path: Path) -> None:
    (want,) = run_ranks(1, on_a_rank, tmp_path, at_once, tmp=tmp_path)
    got = run_ranks(3, on_a_rank, tmp_path, at_once, tmp=tmp_path)
    for each in got:
        assert each == want, "to the last bit"
    assert want["users"] == U


def as_table(model: Model, user: np.ndarray, item: np.ndarray, value: np.ndarray) -> pl.DataFrame:
    return pl.DataFrame({"user": model.users.raw[user], "item": model.items.raw[item], "value": value})


def test_a_table_of_raw_ids_in_any_order_gives_the_figures_of_the_part(tmp_path: Path) -> None:
    model, rated = problem(tmp_path)
    test = halves(rated).load(everyone(), "test")
    table = as_table(model, test.user, test.item, test.value).sample(fraction=1, shuffle=True, seed=1)
    want = evaluate(model, HeldOut.of_run(rated, "test"), rated)
    assert figures(model.evaluate(table, rated)) == pytest.approx(figures(want), rel=1e-12)
    assert model.evaluate(table).ranking is None


def test_unknown_users_and_items_are_counted_and_fall_back(tmp_path: Path) -> None:
    model, rated = problem(tmp_path)
    model.item_counts[2] = 0
    table = pl.DataFrame(
        {
            "user": ["x", "x", "y", "u0001", "u0001", "u0002"],
            "item": [101, 7, 8, 7, 102, 105],
            "value": [3.0, 2.0, 1.0, 4.0, 5.0, 1.5],
        }
    )
    found = model.evaluate(table, rated)
    assert (found.ratings, found.users) == (6, 4)
    assert (found.unseen_users, found.unseen_items, found.unseen_ratings) == (2, 3, 5)
    err = model.predict(table["user"], table["item"]) - table["value"].to_numpy()
    assert found.rmse == pytest.approx(np.sqrt(np.mean(err**2)), rel=1e-12)
    assert found.ranking is not None
    assert found.ranking.users + found.ranking.users_without_relevant == 4
    assert found.ranking.users_without_relevant >= 2


def test_ratings_that_were_trained_on_are_counted_and_not_ranked(tmp_path: Path) -> None:
    model, rated = problem(tmp_path)
    train = halves(rated).load(everyone(), "train")
    found = model.evaluate(as_table(model, train.user, train.item, train.value), rated)
    assert found.ratings_seen_in_training == found.ratings == 450
    assert found.ranking is not None
    assert (found.ranking.users, found.ranking.users_without_relevant) == (0, U)


def test_averages_over_no_user_are_not_measured(tmp_path: Path) -> None:
    model, rated = problem(tmp_path)
    found = evaluate(model, HeldOut.of_run(rated, "test"), rated, relevant=6.0)
    assert found.ranking is not None
    assert [getattr(found.ranking, name) for name in METRICS] == [None] * 5
    assert found.rmse > 0


def test_a_perfect_and_a_hopeless_list(tmp_path: Path) -> None:
    model, rated = problem(tmp_path)
    scores = dense_scores(model)
    train = halves(rated).load(everyone(), "train")
    scores[train.user, train.item] = np.nan
    best, worst = np.nanargmax(scores, axis=1), np.nanargmin(scores, axis=1)
    everybody = np.arange(U)
    found = model.evaluate(as_table(model, everybody, best, np.full(U, 4.0)), rated, k=10).ranking
    assert found is not None
    assert (found.recall, found.ndcg, found.map, found.hit_rate) == (1.0, 1.0, 1.0, 1.0)
    assert found.precision == pytest.approx(0.1)
    found = model.evaluate(as_table(model, everybody, worst, np.full(U, 4.0)), rated, k=10).ranking
    assert found is not None
    assert (found.precision, found.recall, found.ndcg, found.map, found.hit_rate) == (0, 0, 0, 0, 0)


@pytest.mark.parametrize(
    ("users", "items", "values", "says"),
    [
        ([], [], [], "there are no ratings to evaluate on"),
        (["a"], [1], [float("inf")], "the rating inf is not a finite number"),
        (["a", "b", "a"], [1, 1, 1], [1.0, 2.0, 3.0], "user a rates item 1 twice"),
        (["u0001", "u0001"], [101, 101], [1.0, 2.0], "user u0001 rates item 101 twice"),
    ],
)
def test_a_table_that_cannot_be_used_is_refused(
    users: list[str], items: list[int], values: list[float], says: str, tmp_path: Path
) -> None:
    table = pl.DataFrame({"user": users, "item": items, "value": values})
    with pytest.raises(DataError, match=says):
        made_up(tmp_path).evaluate(table)


def test_k_is_positive(tmp_path: Path) -> None:
    model, rated = problem(tmp_path)
    with pytest.raises(DataError, match="k is 0"):
        evaluate(model, HeldOut.of_run(rated, "test"), rated, k=0)


def test_the_file_of_figures_keeps_its_keys(tmp_path: Path) -> None:
    model, rated = problem(tmp_path)
    written = evaluate(model, HeldOut.of_run(rated, "test"), rated).to_json()
    assert list(written) == [
        *("ratings", "users", "rmse", "mae", "rmse_by_user", "mae_by_user", "unseen_users", "unseen_items"),
        *("unseen_ratings", "trained_ratings", "ranking"),
    ]
    assert list(written["ranking"]) == ["k", "relevant", "users", "users_without", *METRICS]
