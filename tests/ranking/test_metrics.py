"""Ranking metrics are those of a reference library and of lists whose figures are obvious."""

from itertools import product
from pathlib import Path

import numpy as np
import pytest

from cofi_dist.model import Model, RunRatings
from cofi_dist.model.evaluate import evaluate
from cofi_dist.model.held_out import HeldOut
from cofi_dist.ranking.metrics import METRICS
from tests.support.models import (
    EVERYONE,
    NUM_USERS,
    as_table,
    dense_scores,
    judged,
)

RANX = {
    "precision": "precision",
    "recall": "recall",
    "ndcg": "ndcg",
    "map": "map",
    "hit_rate": "hit_rate",
    "mrr": "mrr",
}


@pytest.mark.slow  # ranx compiles for most of a minute
@pytest.mark.timeout(300)
@pytest.mark.filterwarnings("ignore:unsafe cast from uint64 to int64")  # in ranx
@pytest.mark.filterwarnings("ignore::numba.core.errors.NumbaTypeSafetyWarning")  # of ranx' own loops
def test_ranking_metrics_are_those_of_ranx(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))  # ranx asks for a home as it is imported
    model, rated = judged(tmp_path)
    for k, relevant in product([1, 3, 10, 55], [None, 4.0]):
        assert_like_ranx(model, rated, k, relevant)


def assert_like_ranx(model: Model, rated: RunRatings, k: int, relevant: float | None) -> None:
    ranx = pytest.importorskip("ranx")
    found = evaluate(model.scorer, HeldOut.from_run(rated, "test"), rated, k=k, relevant=relevant).ranking
    assert found is not None
    train, test = (rated.load(EVERYONE, part) for part in ("train", "test"))
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


def test_averages_over_no_user_are_not_measured(tmp_path: Path) -> None:
    model, rated = judged(tmp_path)
    found = evaluate(model.scorer, HeldOut.from_run(rated, "test"), rated, relevant=6.0)
    assert found.ranking is not None
    assert [getattr(found.ranking, name) for name in METRICS] == [None] * len(METRICS)
    assert found.rmse


def test_a_perfect_and_a_hopeless_list(tmp_path: Path) -> None:
    model, rated = judged(tmp_path)
    scores = dense_scores(model)
    train = rated.load(EVERYONE, "train")
    scores[train.user, train.item] = np.nan
    best, worst = np.nanargmax(scores, axis=1), np.nanargmin(scores, axis=1)
    everybody = np.arange(NUM_USERS)
    found = model.evaluate(as_table(model, everybody, best, np.full(NUM_USERS, 4.0)), rated, k=10).ranking
    assert found is not None
    assert {getattr(found, name) for name in METRICS if name != "precision"} == {1.0}
    assert found.precision == pytest.approx(0.1)
    found = model.evaluate(as_table(model, everybody, worst, np.full(NUM_USERS, 4.0)), rated, k=10).ranking
    assert found is not None
    assert {getattr(found, name) for name in METRICS} == {0.0}
