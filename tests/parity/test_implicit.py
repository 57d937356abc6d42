"""Events on any number of ranks: the same bits with ordered sums, and the same costs with fast ones."""

from pathlib import Path

import numpy as np
import pytest
import torch

from cofi_dist.distributed.comm import Comm
from cofi_dist.report.compare import compare
from cofi_dist.run.train import train
from cofi_dist.testing import run_ranks
from tests.parity.test_ranks import assert_same
from tests.support.training_runs import train_on

CONFIG = """
data:
  synthetic: {num_users: 90, num_items: 700, num_ratings: 5000}
  feedback: implicit
  validation: {}
model: {num_features: 7, item_bias: true, user_bias: true}
train: {epochs: 12, log_every: 3, lr: 0.01, lambda_: 0.01, lambda_power: 0.5, unknown_weight: 0.3}
validation: {every: 4}
"""
WEIGHTS_OF_UNKNOWN_RATINGS = """
data: {synthetic: {num_users: 90, num_items: 700, num_ratings: 5000}}
model: {num_features: 7, item_bias: true}
train: {epochs: 12, log_every: 3, lr: 0.01, lambda_: 0.01, lambda_power: 0.5, unknown_weight: 0.02}
"""

WEIGHTED = """
model: {num_features: 7, item_bias: true}
train: {epochs: 6, log_every: 2, lr: 0.01, lambda_: 0.1, unknown_weight: 0.05}
"""


def _train(comm: Comm, file: Path, overrides: list[str], threads: int) -> None:
    torch.set_num_threads(threads)
    train(file, overrides, comm, quiet=True)


def run(tmp: Path, name: str, ranks: int, *overrides: str, threads: int = 1, config: str = CONFIG) -> Path:
    file, run_dir = tmp / "c.yaml", tmp / name
    file.write_text(config)
    given = ["train.reduction=invariant", *overrides, f"run_dir={run_dir}"]
    run_ranks(ranks, _train, file, given, threads, tmp=tmp, seconds=120)
    return run_dir


def assert_same_bits(first: Path, second: Path) -> None:
    found = compare(first, second)
    assert {"cost", "validation_ndcg", "X", "W", "b", "c"} <= {each.name for each in found}
    assert [each for each in found if not each.bit_identical] == []


@pytest.mark.parametrize(("optimizer", "numbers_of_ranks"), [("adam", (2, 5)), ("als", (3, 8))])
def test_any_number_of_ranks_and_threads_gives_the_same_bits(
    optimizer: str, numbers_of_ranks: tuple[int, ...], tmp_path: Path
) -> None:
    given = f"train.optimizer={optimizer}"
    one = run(tmp_path, "one", 1, given)
    assert_same_bits(run(tmp_path, "threads", 1, given, threads=2), one)
    for ranks in numbers_of_ranks:
        assert_same_bits(run(tmp_path, f"on{ranks}", ranks, given), one)


def test_a_run_that_is_moved_from_ranks_to_ranks_keeps_its_bits(tmp_path: Path) -> None:
    given = "train.optimizer=als", "checkpoint.every=4", "checkpoint.resume=auto"
    whole = run(tmp_path, "whole", 2, *given)
    for ranks, epochs in ((4, 4), (3, 8), (1, 12)):
        moved = run(tmp_path, "moved", ranks, *given, f"train.epochs={epochs}")
    assert_same_bits(moved, whole)


@pytest.mark.parametrize(
    ("config", "way", "numbers_of_ranks"),
    [
        (CONFIG, "cost=sparse", (3, 8)),
        (CONFIG, "cost=dense", (3,)),
        (CONFIG, "optimizer=als", (2, 5)),
        (CONFIG, "solver=exact", (3,)),
        (WEIGHTS_OF_UNKNOWN_RATINGS, "cost=sparse", (3,)),
        (WEIGHTS_OF_UNKNOWN_RATINGS, "optimizer=als", (3,)),
    ],
)
def test_costs_are_the_same_on_any_number_of_ranks(
    config: str, way: str, numbers_of_ranks: tuple[int, ...], tmp_path: Path
) -> None:
    settings = ["optimizer=als", way] if way == "solver=exact" else [way]
    overrides = [*(f"train.{setting}" for setting in settings), "train.dtype=float64"]
    one = train_on(1, config, overrides, tmp_path)
    for ranks in numbers_of_ranks:
        assert_same(train_on(ranks, config, overrides, tmp_path), one, 1e-10, factors=True)


def test_ratings_with_weights_have_the_same_bits_on_any_number_of_ranks(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    user, item = np.nonzero(rng.random((40, 60)) < 0.2)
    rating, weight = rng.integers(1, 6, len(user)), rng.random(len(user)) + 0.5
    lines = (",".join(map(str, line)) for line in zip(user, item, rating, weight, strict=True))
    file = tmp_path / "ratings.csv"
    file.write_text("\n".join(["userId,movieId,rating,weight", *lines]))
    config = f"data: {{ratings: {file}, columns: {{weight: weight}}}}\n{WEIGHTED}"
    runs = [run(tmp_path, f"on{ranks}", ranks, "train.optimizer=als", config=config) for ranks in (1, 3)]
    assert [each for each in compare(*runs) if not each.bit_identical] == []


def test_dense_and_sparse_are_one_cost(tmp_path: Path) -> None:
    runs = [
        train_on(1, CONFIG, ["train.dtype=float64", f"train.cost={cost}"], tmp_path)
        for cost in ("dense", "sparse")
    ]
    assert_same(runs[1], runs[0], 1e-10, factors=True)
