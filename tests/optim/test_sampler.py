"""Draws have the distribution that J defines; their mean is the same on any ranks, and gone on with."""

import itertools
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from cofi_dist.checkpoint.manifest import list_checkpoints
from cofi_dist.config import load_config
from cofi_dist.cost.sides import sides_of
from cofi_dist.cost.sparse import build_rating_matrix
from cofi_dist.data.ratings import Ratings
from cofi_dist.data.shard import UserShard
from cofi_dist.errors import CheckpointError, ConfigError
from cofi_dist.optim.cholesky import solve_by_cholesky
from cofi_dist.optim.sampler import normal_rows
from cofi_dist.sharding.ranges import UserRange
from tests.support.problems import close, random_factors, ridge_of_rows
from tests.support.runs import metrics, run, tensors
from tests.support.training_runs import train_on

CPU = torch.device("cpu")
CONFIG = """
data: {synthetic: {num_users: 90, num_items: 70, num_ratings: 1500}, validation: {fraction: 0.2}}
model: {num_features: 6, item_bias: true}
train: {optimizer: als, epochs: 60, log_every: 5, dtype: float64, lambda_b: 0.5}
validation: {every: 5}
"""
DRAWN = ("train.optimizer=als", "train.solver=exact", "train.average=12", "train.lambda_=1")


def test_rows_are_drawn_around_their_solution_with_the_covariance_of_the_density() -> None:
    users, K, noise = 6000, 2, 0.7
    of_each = np.array([1.0, -0.5, 0.25], np.float64)
    user, item = np.repeat(np.arange(users), 3), np.tile(np.arange(3), users)
    ratings = Ratings(user.astype(np.int32), item.astype(np.int32), np.tile(of_each, users))
    factors = random_factors(3, users, K)
    shard = UserShard.single_block(UserRange(0, users), 3, ratings)
    kernels = build_rating_matrix(shard, CPU, torch.float64, tiled=False).by_user
    ridge = ridge_of_rows(kernels, 0.3, weight_b=0.2)
    drawn = noise * normal_rows(5, 3, UserRange(0, users), K + 1)
    ridge = type(ridge)(**{**vars(ridge), "noise": drawn})
    solving = solve_by_cholesky(kernels, *sides_of(factors), ridge, is_local=True)
    with pytest.raises(StopIteration):
        next(solving)
    F = np.column_stack([factors.X.numpy(), np.ones(3)])
    A = F.T @ F + np.diag([0.3, 0.3, 0.2])
    found = np.column_stack([factors.W.numpy(), factors.b[0].numpy()])
    covariance, spread = noise**2 * np.linalg.inv(A), noise * np.sqrt(np.diag(np.linalg.inv(A)))
    of_mean = spread / np.sqrt(users)
    assert (np.abs(found.mean(0) - np.linalg.solve(A, F.T @ of_each)) < 4 * of_mean).all()
    assert (np.abs(np.cov(found.T) - covariance) < 0.1 * np.outer(spread, spread)).all()


def test_noise_is_normal_and_a_rank_draws_its_own_rows_only() -> None:
    whole = normal_rows(1, 7, UserRange(0, 5000), 5)
    assert torch.equal(normal_rows(1, 7, UserRange(321, 4000), 5), whole[321:4000])
    sorted_numbers = whole.flatten().sort().values
    places = (torch.arange(len(sorted_numbers), dtype=torch.float64) + 0.5) / len(sorted_numbers)
    assert float((torch.special.ndtr(sorted_numbers) - places).abs().max()) < 0.015, "Kolmogorov and Smirnov"
    others = [normal_rows(2, 7, UserRange(0, 5000), 5), normal_rows(1, 8, UserRange(0, 5000), 5)]
    for one, other in itertools.combinations([whole, *others], 2):
        assert abs(float((one * other).mean())) < 0.03


def test_with_the_same_lambda_the_mean_predicts_better(tmp_path: Path) -> None:
    given = ["data={synthetic: {num_users: 150, num_items: 90, num_ratings: 3000}, validation: {}}"]
    given += ["train.optimizer=als", "train.solver=exact", "train.lambda_=2", "train.lambda_power=0"]
    lowest, mean = (
        run(tmp_path, 1, 21, "lowest", *given),
        run(tmp_path, 1, 35, "mean", *given, "train.average=28"),
    )
    figures = [
        [line["validation_rmse"] for line in metrics(each) if "validation_rmse" in line]
        for each in (lowest, mean)
    ]
    assert min(figures[1]) < min(figures[0]) - 0.03
    assert figures[1] == sorted(figures[1], reverse=True), "each draw more is a gain"


def test_any_number_of_ranks_gives_the_same(tmp_path: Path) -> None:
    given = [*DRAWN, "train.epochs=20", "train.lambda_power=0.4"]
    one = train_on(1, CONFIG, given, tmp_path)
    many = train_on(3, CONFIG, given, tmp_path)
    assert many.costs == pytest.approx(one.costs, rel=1e-8)
    for model, other in itertools.pairwise((one.model.factors, many.model.factors)):
        close(model.W @ model.X.T, other.W @ other.X.T, 1e-7)
        close(model.b, other.b, 1e-8)


@pytest.mark.parametrize(("ranks", "broken_at"), [(1, 10), (2, 20)], ids=["before the mean", "in it"])
def test_a_run_that_was_broken_off_goes_on_bit_for_bit(ranks: int, broken_at: int, tmp_path: Path) -> None:
    given = (*DRAWN, "checkpoint.keep=3")
    run_dir = run(tmp_path, ranks, 30, "run", *given)
    printed, want = metrics(run_dir), tensors(run_dir)
    assert {"X.draw", "c.draw"} <= want.keys()
    (run_dir / "result.json").unlink()
    for checkpoint in list_checkpoints(run_dir / "checkpoints"):
        if int(checkpoint.name.rpartition("-")[2]) > broken_at:
            shutil.rmtree(checkpoint)
    run(tmp_path, ranks, 30, "run", *given)
    got = tensors(run_dir)
    assert metrics(run_dir) == printed
    assert got.keys() == want.keys()
    assert all(torch.equal(got[name], want[name]) for name in want)


@pytest.mark.parametrize(("first", "then"), [(DRAWN, DRAWN[:2]), (DRAWN[:2], DRAWN)])
def test_averaging_cannot_begin_on_the_way(
    first: tuple[str, ...], then: tuple[str, ...], tmp_path: Path
) -> None:
    run(tmp_path, 1, 20, "run", *first)
    with pytest.raises(CheckpointError, match=r"train\.average cannot be set or left out on the way"):
        run(tmp_path, 1, 40, "run", *then, "checkpoint.allow_changes=true")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["train.average=5"], "average: needs optimizer: als and solver: exact"),
        (["train.noise=0.5"], "noise: belongs to average"),
        ([*DRAWN, "train.epochs=12"], "average: 12 of 12 epochs leaves none"),
        ([*DRAWN, "train.tolerance=0.1"], "tolerance: draws do not converge"),
    ],
)
def test_what_does_not_go_together_is_refused(given: list[str], said: str, tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text(CONFIG)
    with pytest.raises(ConfigError, match=said):
        load_config(tmp_path / "c.yaml", given)


def test_the_default_noise_comes_with_averaging(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text(CONFIG)
    drawn, solved = (load_config(tmp_path / "c.yaml", list(given)).train for given in (DRAWN, DRAWN[:2]))
    assert (drawn.noise, solved.noise) == (0.6, None)
    assert drawn.tolerance is None
