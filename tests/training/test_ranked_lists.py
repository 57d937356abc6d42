"""The lists that validation judges are those that `evaluate` judges, on any number of ranks."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from cofi_dist.config import Metric
from cofi_dist.data.item_means import item_offsets, item_sums
from cofi_dist.data.ratings import Ratings
from cofi_dist.distributed.comm import Comm, SoloComm
from cofi_dist.errors import ConfigError
from cofi_dist.model import Model
from cofi_dist.model.evaluate import evaluate
from cofi_dist.model.held_out import HeldOut
from cofi_dist.ranking.users import is_sampled
from cofi_dist.run.train import train
from cofi_dist.sharding.ranges import UserRange
from cofi_dist.testing import run_ranks
from cofi_dist.training.ranked_lists import ItemFacts, RankedLists
from tests.support.problems import random_factors, random_ratings, shard_of, slice_factors

# 60 users, some of whom have no training rating, as some of the 80 items have none.
CONFIG = """
data:
  synthetic: {num_users: 60, num_items: 80, num_ratings: 400}
  validation: {fraction: 0.4}
  centre: damped_item_mean
  damping: 2
model: {num_features: 5, item_bias: true}
train: {epochs: 60, lr: 3.0e-2, log_every: 100, lambda_: 1.0, lambda_power: 1.0}
validation: {every: 10, metric: ndcg}
"""
METRICS: tuple[Metric, ...] = ("ndcg", "recall", "precision", "map", "hit_rate")


def reference(scores: np.ndarray, training: Ratings, held_out: Ratings, users: list[int], k: int) -> float:
    """NDCG user by user, by its formula."""
    found = []
    for j in users:
        known = set(training.item[training.user == j].tolist())
        wanted = set(held_out.item[held_out.user == j].tolist()) - known
        if not wanted:
            continue
        best = sorted(set(range(scores.shape[1])) - known, key=lambda i: (-round(scores[j, i], 10), i))[:k]
        gain = sum(1 / np.log2(rank + 1) for rank, i in enumerate(best, 1) if i in wanted)
        found.append(gain / sum(1 / np.log2(rank + 1) for rank in range(1, min(k, len(wanted)) + 1)))
    return float(np.mean(found))


def on_a_rank(comm: Comm, cuts: list[int], sample: int | None) -> float:
    users = UserRange(cuts[comm.rank], cuts[comm.rank + 1])
    whole = random_ratings(12, 9, 50)
    is_training = np.arange(50) % 2 == 0
    shard, held_out = (shard_of(whole.masked(mask), users, 9) for mask in (is_training, ~is_training))
    sums = item_sums(shard.ratings, 9, comm)
    chosen = is_sampled(np.arange(users.start, users.stop), 12, sample)
    items = ItemFacts(sums, item_offsets(sums, "item_mean", None))
    judge = RankedLists(held_out.ratings, shard, items, "ndcg", 4, chosen)
    factors = slice_factors(random_factors(9, 12, 3, item_bias=True), users)
    return judge.measure(factors, comm)["ndcg"]


@pytest.mark.parametrize("sample", [None, 6])
@pytest.mark.parametrize("cuts", [[0, 12], [0, 3, 12], [0, 5, 5, 12]], ids=["one", "uneven", "empty rank"])
def test_the_figure_is_that_of_the_formula_on_any_ranks(
    cuts: list[int], sample: int | None, tmp_path: Path
) -> None:
    whole, factors = random_ratings(12, 9, 50), random_factors(9, 12, 3, item_bias=True)
    training, held_out = (whole.masked(np.arange(50) % 2 == rest) for rest in (0, 1))
    sums = item_sums(training, 9, SoloComm())
    assert (sums.count > 0).all()
    assert len(np.unique(training.user)) == 12, "so that no stand-in is needed"
    assert factors.c is not None
    scores = (factors.W @ factors.X.T + factors.c + factors.b.T).numpy() + item_offsets(
        sums, "item_mean", None
    )
    users = np.flatnonzero(is_sampled(np.arange(12), 12, sample)).tolist()
    assert (len(users) == 12) == (sample is None)
    want = reference(scores, training, held_out, users, 4)
    assert 0 < want < 1
    assert run_ranks(len(cuts) - 1, on_a_rank, cuts, sample, tmp=tmp_path) == pytest.approx(
        [want] * (len(cuts) - 1), rel=1e-12
    )


def _train(comm: Comm, file: Path, overrides: list[str]) -> str:
    try:
        train(file, overrides, comm, quiet=True)
    except ConfigError as error:
        return str(error)
    return ""


def run(tmp: Path, *overrides: str, ranks: int = 1) -> tuple[Path, dict[str, Any]]:
    (tmp / "c.yaml").write_text(CONFIG)
    run_dir = tmp / f"run-{ranks}-{len(list(tmp.iterdir()))}"
    failed = run_ranks(ranks, _train, tmp / "c.yaml", [*overrides, f"run_dir={run_dir}"], tmp=tmp)
    assert failed == [""] * ranks
    return run_dir, json.loads((run_dir / "result.json").read_text())


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("ranks", [1, 3])
def test_a_runs_figure_is_what_evaluate_finds(metric: Metric, ranks: int, tmp_path: Path) -> None:
    run_dir, result = run(tmp_path, f"validation.metric={metric}", "validation.k=7", ranks=ranks)
    model = Model.load(run_dir)
    assert (model.item_counts == 0).any()
    assert (model.user_counts == 0).any()
    rated = model.rated(run_dir)
    found = evaluate(model.scorer, HeldOut.from_run(rated, "validation"), rated, k=7).ranking
    assert found is not None
    assert result[f"validation_{metric}"] == pytest.approx(getattr(found, metric), rel=1e-12)
    assert "validation_rmse" not in result


@pytest.mark.parametrize("ranks", [1, 3])
def test_a_run_on_events_has_the_figure_that_evaluate_finds(ranks: int, tmp_path: Path) -> None:
    events = ["data.feedback=implicit", "data.centre=null", "data.damping=null", "model.user_bias=true"]
    run_dir, result = run(tmp_path, *events, ranks=ranks)
    model = Model.load(run_dir)
    rated = model.rated(run_dir)
    found = evaluate(model.scorer, HeldOut.from_run(rated, "validation"), rated)
    assert found.ranking is not None
    assert found.rmse is None
    assert result["validation_ndcg"] == pytest.approx(found.ranking.ndcg, rel=1e-12)


def test_an_invariant_run_has_the_same_bits_on_any_ranks(tmp_path: Path) -> None:
    overrides = ("train.reduction=invariant", "train.blocks=4", "validation.patience=2")
    (dir_1, one), (dir_3, three) = (run(tmp_path, *overrides, ranks=n) for n in (1, 3))
    assert (one["epoch"], one["validation_ndcg"]) == (three["epoch"], three["validation_ndcg"])
    assert torch.equal(Model.load(dir_1).factors.W, Model.load(dir_3).factors.W)
    lines = [
        [line for line in (d / "metrics.jsonl").read_text().splitlines() if "ndcg" in line]
        for d in (dir_1, dir_3)
    ]
    figures = [[json.loads(line)["validation_ndcg"] for line in each] for each in lines]
    assert figures[0] == figures[1]
    assert one["validation_ndcg"] == max(figures[0])


def test_a_sample_is_announced(tmp_path: Path) -> None:
    run_dir, result = run(tmp_path, "validation.users=20")
    log = (run_dir / "train.log").read_text()
    chosen = int(is_sampled(np.arange(60), 60, 20).sum())
    assert f"validation judges the lists of {chosen} of 60 users, always the same ones" in log
    assert "; evaluate --part validation -k 10 --users 20 judges the same" in log
    model = Model.load(run_dir)
    rated = model.rated(run_dir)
    found = evaluate(model.scorer, HeldOut.from_run(rated, "validation"), rated, sample=20).ranking
    assert found is not None
    assert result["validation_ndcg"] == pytest.approx(found.ndcg, rel=1e-12)


def test_the_sample_that_is_taken_by_itself_is_announced_by_its_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cofi_dist.ranking.users.MAX_VALIDATION_SCORES", 20 * 80 + 3)
    (tmp_path / "c.yaml").write_text(CONFIG)
    train(tmp_path / "c.yaml", [f"run_dir={tmp_path / 'run'}"], SoloComm(), quiet=True)
    assert "-k 10 --users 20 judges the same" in (tmp_path / "run" / "train.log").read_text()
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    lists = [(line["validation_k"], line["validation_users"]) for line in lines if "validation_ndcg" in line]
    assert lists == [(10, 20)] * 6


def test_a_sample_that_holds_nobody_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text(CONFIG)
    overrides = ["validation.users=1", "data.validation={by: leave_one_out}", f"run_dir={tmp_path / 'run'}"]
    overrides.append("data.synthetic={num_users: 60, num_items: 80, num_ratings: 70}")
    said = set(run_ranks(2, _train, tmp_path / "c.yaml", overrides, tmp=tmp_path))
    assert len(said) == 1
    assert said.pop().startswith(
        "validation.metric: there is no list to judge: no user of the sample has a validation rating"
    )
