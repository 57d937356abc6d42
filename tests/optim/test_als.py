"""Alternating least squares: each half-sweep, its acceleration, its end, on any ranks."""

import json
import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from torch import Tensor

from cofi_dist.config import load_config
from cofi_dist.cost.regulariser import Regulariser
from cofi_dist.cost.sparse import build_rating_matrix
from cofi_dist.data.ratings import Ratings
from cofi_dist.data.shard import UserShard
from cofi_dist.distributed.comm import SoloComm
from cofi_dist.errors import CheckpointError, ConfigError, RunError
from cofi_dist.factors import Factors
from cofi_dist.kernels.torch_ops.backend import TorchKernels
from cofi_dist.model import Model
from cofi_dist.optim import cholesky
from cofi_dist.optim.als import Als
from cofi_dist.optim.base import run_step
from cofi_dist.run.train import train
from cofi_dist.sharding.ranges import UserRange
from tests.support.problems import close, gradients_of, random_factors, random_ratings, sparse_cost
from tests.support.runs import metrics, run, tensors
from tests.support.training_runs import train_on

CPU = torch.device("cpu")
U, M, K, N = 23, 17, 5, 150
REGULARISER = Regulariser(0.7, 0.2)


def drive(als: Als) -> None:
    """One sweep, alone."""
    run_step(als.prepare_step(), SoloComm().all_reduce_)


def als_on(
    ratings: Ratings,
    factors: Factors,
    regulariser: Regulariser = REGULARISER,
    *,
    steps: int = 3,
    loops: bool = True,
) -> Als:
    shard = UserShard.single_block(UserRange(0, len(factors.W)), len(factors.X), ratings)
    backend = None if loops else TorchKernels
    cost = build_rating_matrix(shard, CPU, factors.X.dtype, tiled=steps > 0, backend=backend)
    counts = torch.from_numpy(np.bincount(ratings.item, minlength=len(factors.X)))
    return Als(
        cost, factors, regulariser, item_counts=counts, steps=steps, tolerance=0.0, owns_all_users=True
    )


def cost_of(factors: Factors, ratings: Ratings, regulariser: Regulariser = REGULARISER) -> float:
    """By the formula, in float64."""
    X, W, b = (t.double() for t in (factors.X, factors.W, factors.b[0]))
    c = torch.zeros(len(X), dtype=torch.float64) if factors.c is None else factors.c[0].double()
    i, j = torch.from_numpy(ratings.item).long(), torch.from_numpy(ratings.user).long()
    err = (X[i] * W[j]).sum(1) + b[j] + c[i] - torch.from_numpy(ratings.value)
    sX, sW = (1.0 if s is None else s.double() for s in (regulariser.scale_X, regulariser.scale_W))
    squares = (sX * X.square()).sum() + (sW * W.square()).sum()
    biases = b.square().sum() + c.square().sum()
    return float(err.square().sum() + regulariser.lambda_ * squares + regulariser.lambda_b * biases) / 2


@pytest.mark.parametrize("item_bias", [False, True])
@pytest.mark.parametrize(("loops", "steps"), [(True, 3), (False, 3), (True, 0), (False, 0)])
def test_no_half_sweep_raises_the_cost_and_it_is_known(item_bias: bool, loops: bool, steps: int) -> None:
    ratings = random_ratings(U, M, N)
    factors = random_factors(M, U, K, item_bias=item_bias)
    als = als_on(ratings, factors, loops=loops, steps=steps)
    last = cost_of(factors, ratings)
    for sweep in range(40):
        alone = sweep < 10  # without momentum the users' half raises nothing by itself either
        if alone:
            als.momentum = 0
        halves = []
        for _ in als.prepare_step().moves:
            halves.append(cost_of(factors, ratings))  # the first is between the two half-sweeps
        now = cost_of(factors, ratings)
        assert not alone or halves[0] <= last * (1 + 1e-14)
        assert now <= halves[0] * (1 + 1e-14)
        assert now <= last * (1 + 1e-14)
        assert pytest.approx(now, rel=1e-12) == als.J
        last = now


@pytest.mark.parametrize("K", [K, 33])
@pytest.mark.parametrize("item_bias", [False, True])
def test_loops_and_tensors_do_the_same(item_bias: bool, K: int) -> None:
    ratings = random_ratings(U, M, N)
    scaled = Regulariser(0.7, 0.2, torch.rand(M, 1).double() + 0.5, torch.rand(U, 1).double() + 0.5)
    both = []
    for loops in (True, False):
        factors = random_factors(M, U, K, item_bias=item_bias)
        als = als_on(ratings, factors, scaled, loops=loops)
        for _ in range(5):
            drive(als)
        assert pytest.approx(cost_of(factors, ratings, scaled), rel=1e-12) == als.J
        both.append(factors)
    for name, ours in both[0].by_name.items():
        close(ours, both[1].by_name[name], 1e-10)


@pytest.mark.parametrize("lambda_b", [0.2, 0.0])
@pytest.mark.parametrize("steps", [60, 0])
def test_a_side_is_solved_exactly_by_many_steps_or_at_once(steps: int, lambda_b: float) -> None:
    ratings = random_ratings(U, M, N)
    assert 0 < np.bincount(ratings.user).min() <= K < np.bincount(ratings.user).max(), "both ways are taken"
    factors = random_factors(M, U, K)
    sweep = als_on(ratings, factors, Regulariser(0.7, lambda_b), steps=steps).prepare_step()
    next(sweep.moves)  # users are done
    for j in range(U):
        mine = ratings.user == j
        A = np.column_stack([factors.X.numpy()[ratings.item[mine]], np.ones(mine.sum())])
        penalty = np.diag([0.7] * K + [lambda_b])
        want = np.linalg.solve(A.T @ A + penalty, A.T @ ratings.value[mine])
        close(torch.cat([factors.W[j], factors.b[0, j : j + 1]]), torch.from_numpy(want), 1e-9)


def test_it_ends_where_the_gradient_is_zero() -> None:
    ratings = random_ratings(U, M, N)
    factors = random_factors(M, U, K, item_bias=True)
    als = als_on(ratings, factors)
    for _ in range(3000):
        drive(als)
    error = sparse_cost(UserShard.single_block(UserRange(0, U), M, ratings))(factors, with_cost=False)
    for gradient in gradients_of(error, REGULARISER, factors).values():
        assert float(gradient.abs().max()) < 1e-6


def test_momentum_that_goes_astray_is_taken_back() -> None:
    ratings = random_ratings(U, M, N)
    factors = random_factors(M, U, K)
    als = als_on(ratings, factors)
    for _ in range(3):
        drive(als)
    before, plain = als.J, als_on(ratings, Factors(*(t.clone() for t in factors.by_name.values())))
    drive(plain)
    for factor in als._previous.values():
        factor.mul_(-300)
    drive(als)
    assert als.momentum == 1, "the sweep had none"
    assert before >= als.J == pytest.approx(plain.J, rel=1e-12)


def test_momentum_gets_further_in_as_many_sweeps() -> None:
    ratings = random_ratings(60, 50, 900)
    reached = []
    for still in (False, True):
        factors = random_factors(50, 60, 8)
        als = als_on(ratings, factors)
        for _ in range(60):
            if still:
                als.momentum = 0
            drive(als)
        reached.append(als.J)
    assert reached[0] < reached[1]


@pytest.mark.parametrize("steps", [3, 0])
def test_rows_without_ratings_shrink_to_nothing_and_keep_their_bias(steps: int) -> None:
    ratings = random_ratings(U, M, N)
    seldom = Ratings(*(column[(ratings.user > 2) & (ratings.item > 1)] for column in vars(ratings).values()))
    factors = random_factors(M, U, K)
    b = factors.b[0, :3].clone()
    drive(als_on(seldom, factors, Regulariser(0.7), steps=steps))
    assert float(factors.W[:3].abs().max()) < 1e-12
    assert float(factors.X[:2].abs().max()) < 1e-12
    assert torch.equal(factors.b[0, :3], b), "J does not depend on it"


@pytest.mark.parametrize(("loops", "steps"), [(True, 3), (False, 3), (True, 0)])
def test_a_user_of_100_000_ratings_and_users_of_one(loops: bool, steps: int) -> None:
    items = 100_000
    user = np.repeat(np.arange(51, dtype=np.int32), [items] + [1] * 50)
    item = np.concatenate([np.arange(items), np.arange(50)]).astype(np.int32)
    ratings = Ratings(user, item, np.random.default_rng(0).standard_normal(len(user)))
    factors = random_factors(items, 51, 4, torch.float32)
    als = als_on(ratings, factors, loops=loops, steps=steps)
    costs = [cost_of(factors, ratings)]
    for _ in range(4):
        drive(als)
        costs.append(cost_of(factors, ratings))
        assert pytest.approx(costs[-1], rel=1e-5) == als.J
    assert costs == sorted(costs, reverse=True)


def test_lambda_0_goes_down_though_there_are_many_solutions() -> None:
    ratings = random_ratings(U, M, 60)
    factors = random_factors(M, U, K)
    als, last = als_on(ratings, factors, Regulariser(0.0)), math.inf
    for _ in range(30):
        drive(als)
        assert (
            last >= als.J == pytest.approx(cost_of(factors, ratings, Regulariser(0.0)), rel=1e-9, abs=1e-12)
        )
        last = als.J
    assert all(bool(factor.isfinite().all()) for factor in factors.by_name.values())


def test_what_has_no_unique_solution_is_said() -> None:
    ratings = random_ratings(U, M, N)
    few = int((np.bincount(ratings.user, minlength=U) < K + 1).sum())
    als = als_on(ratings, random_factors(M, U, K), Regulariser(0.0), steps=0)
    with pytest.raises(
        RunError, match=rf"{few} of the users' least squares have no one solution: .*set train.lambda_ higher"
    ) as raised:
        drive(als)
    assert raised.value.shared, "every rank knows it"


@pytest.mark.parametrize("counts", [[], [0, 0], [7, 3, 0, 9000, 5, 5, 40, 41, 100]])
def test_batches_are_every_row_once_and_of_like_lengths(counts: list[int]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cholesky, "MAX_BATCH_NUMBERS", 3 * 6**2)
        found = list(cholesky.batches(torch.tensor(counts), 5))
    assert sorted(int(row) for batch in found for row in batch) == list(range(len(counts)))
    for batch in found:
        lengths = [counts[int(row)] for row in batch]
        assert len(batch) <= 3
        assert min(lengths) >= max(lengths) / 2
        assert (max(lengths) <= 5) == (min(lengths) <= 5), "the smaller equations are those of a whole batch"


def test_pieces_of_long_rows_are_all_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    ratings = random_ratings(U, M, N)
    found = []
    for numbers in (2**23, 2 * (K + 1) ** 2):
        monkeypatch.setattr(cholesky, "MAX_BATCH_NUMBERS", numbers)
        factors = random_factors(M, U, K, item_bias=True)
        drive(als_on(ratings, factors, steps=0))
        found.append(factors)
    for name, factor in found[0].by_name.items():
        close(factor, found[1].by_name[name], 1e-12)


CONFIG = """
data: {synthetic: {num_users: 90, num_items: 70, num_ratings: 2500}, validation: {}}
model: {num_features: 9, item_bias: true}
train: {optimizer: als, epochs: 40, log_every: 5, dtype: float64, lambda_power: 0.4, lambda_b: 0.5}
validation: {every: 10}
"""


@pytest.mark.parametrize(
    ("dtype", "solver", "rtol"),
    [("float64", "cg", 1e-10), ("float32", "cg", 1e-4), ("float64", "exact", 1e-10)],
)
def test_any_number_of_ranks_gives_the_same(dtype: str, solver: str, rtol: float, tmp_path: Path) -> None:
    given = [f"train.dtype={dtype}", f"train.solver={solver}"]
    one = train_on(1, CONFIG, given, tmp_path)
    for ranks in (2, 3, 5):
        many = train_on(ranks, CONFIG, given, tmp_path)
        assert many.costs.keys() == one.costs.keys()
        for epoch, cost in one.costs.items():
            assert many.costs[epoch] == pytest.approx(cost, rel=rtol), epoch
        if dtype == "float64":
            close(many.model.factors.X, one.model.factors.X, 1e-8)


@pytest.mark.parametrize("ranks", [1, 2])
def test_a_run_that_was_broken_off_goes_on_bit_for_bit(ranks: int, tmp_path: Path) -> None:
    als = ["train.optimizer=als", "train.lambda_=0.5"]
    whole, broken = run(tmp_path, ranks, 40, "whole", *als), run(tmp_path, ranks, 20, "run", *als)
    run(tmp_path, ranks, 40, "run", *als)
    assert metrics(broken) == metrics(whole)
    got, want = tensors(broken), tensors(whole)
    assert got.keys() == want.keys()
    assert "X.previous" in want
    assert all(torch.equal(got[name], want[name]) for name in want)


def test_it_stops_where_the_cost_falls_no_more(tmp_path: Path) -> None:
    still, stopped = (
        train_on(1, CONFIG, ["train.epochs=1500", "validation.every=null", *more], tmp_path)
        for more in ([], ["train.tolerance=1.0e-7"])
    )
    assert max(stopped.costs) < 300
    assert stopped.costs[max(stopped.costs)] == pytest.approx(still.costs[1500], rel=1e-4)
    assert stopped.costs[20] > still.costs[1500] * (1 + 1e-4), "it could have stopped too early"


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["train.cost=dense"], "optimizer: als works on the known cells"),
        (["train.optimizer=adam", "train.tolerance=0.1"], "tolerance: adam does not look at J"),
        (["train={optimizer: adam, solver: exact}"], "solver: adam solves nothing"),
    ],
)
def test_what_does_not_go_together_is_refused(overrides: list[str], said: str, tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text(CONFIG)
    with pytest.raises(ConfigError, match=said):
        load_config(tmp_path / "c.yaml", overrides)


@pytest.mark.data
@pytest.mark.timeout(300)
def test_users_of_movielens_are_folded_in_as_they_were_trained(movielens: Path, tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text(f"data: {{ratings: {movielens}}}\n")
    overrides = ["train.optimizer=als", "train.epochs=4000", "train.tolerance=1.0e-9", "train.dtype=float64"]
    given = [*overrides, "model.num_features=20", "train.lambda_=5", f"run_dir={tmp_path / 'run'}"]
    train(tmp_path / "c.yaml", given, SoloComm(), quiet=True)
    model, rated = Model.load(tmp_path / "run"), pl.read_csv(movielens)
    worst: list[Tensor] = []
    for user in range(1, 611, 10):
        mine = rated.filter(pl.col("userId") == user)
        folded = model.fold_in(mine["movieId"].to_list(), mine["rating"].to_numpy())
        (row,) = model.users.find(pl.Series([user]))
        worst.append((folded.w - model.factors.W[row].double()).abs().max())
    assert float(torch.stack(worst).max()) < 1e-4


SOLVE = """
import hashlib, torch
from cofi_dist.cost.sparse import sides_of
from tests.optim.test_als import als_on, drive, random_factors, random_ratings
als = als_on(random_ratings(300, 200, 9000), factors := random_factors(200, 300, 16))
users, sides = als._ratings.by_user, sides_of(factors)
found = [*users.error_gradients(*sides)]
found += users.solve_rows(*sides, als._user_ridge, torch.ones(16).double(), 3)
found += [factors.W, factors.b]
print(torch.get_num_threads(), hashlib.sha256(b"".join(t.numpy().tobytes() for t in found)).hexdigest())
"""


def test_rows_are_the_same_whatever_the_number_of_threads() -> None:
    (one, first), (two, second) = (
        subprocess.run(
            [sys.executable, "-c", SOLVE],
            env={**os.environ, "OMP_NUM_THREADS": threads},
            capture_output=True,
            text=True,
            check=True,
        ).stdout.split()
        for threads in ("1", "2")
    )
    assert (one, two) == ("1", "2")
    assert first == second


COUNT = """
import torch
from tests.optim.test_als import als_on, drive, random_factors, random_ratings
als = als_on(random_ratings(23, 17, 150), random_factors(17, 23, 5))
drive(als)
print(torch.get_num_threads())
"""


@pytest.mark.parametrize("threads", ["1", "2"])
def test_the_loops_leave_torch_its_number_of_threads(threads: str) -> None:
    env = {**os.environ, "OMP_NUM_THREADS": threads}
    done = subprocess.run([sys.executable, "-c", COUNT], env=env, capture_output=True, text=True, check=True)
    assert done.stdout == f"{threads}\n"


def test_a_converged_run_is_over_also_where_it_is_gone_on_with(tmp_path: Path) -> None:
    given = ["train.optimizer=als", "train.tolerance=0.001", "checkpoint.every=1", "validation.every=null"]
    run_dir = run(tmp_path, 1, 500, "run", *given)
    (epoch,) = {json.loads((run_dir / "result.json").read_text())["epoch"]}
    assert epoch < 100
    before = tensors(run_dir)
    (run_dir / "result.json").unlink()  # killed just before it was written
    run(tmp_path, 1, 500, "run", *given)
    assert json.loads((run_dir / "result.json").read_text())["epoch"] == epoch
    assert all(torch.equal(before[name], now) for name, now in tensors(run_dir).items())
    few = run(tmp_path, 1, 2, "few", *given)
    assert "not converged in 2 epochs: J still changes by more than 0.001" in (few / "train.log").read_text()
    result = json.loads((few / "result.json").read_text())
    assert (result["epoch"], result["steps"]) == (2, 2), "no third epoch of two"
    closer = [text.replace("0.001", "1.0e-6") for text in given]
    run(tmp_path, 1, 500, "run", *closer)
    assert json.loads((run_dir / "result.json").read_text())["epoch"] > epoch, "a lower one goes on"


@pytest.mark.parametrize(("first", "then"), [("als", "adam"), ("adam", "als")])
def test_the_optimizer_cannot_change_on_the_way(first: str, then: str, tmp_path: Path) -> None:
    run(tmp_path, 1, 20, "run", f"train.optimizer={first}")
    with pytest.raises(CheckpointError, match=f"is not of {then}; train.optimizer cannot change"):
        run(tmp_path, 1, 40, "run", f"train.optimizer={then}", "checkpoint.allow_changes=true")


@pytest.mark.parametrize(("before", "after"), [(1, 2), (3, 2), (2, 5)])
def test_it_goes_on_on_any_number_of_ranks(before: int, after: int, tmp_path: Path) -> None:
    als = ["train.optimizer=als", "train.lambda_=0.5"]
    whole = run(tmp_path, 1, 30, "whole", *als)
    run(tmp_path, before, 20, "run", *als)
    got = metrics(run(tmp_path, after, 30, "run", *als))
    for line, want in zip(got, metrics(whole), strict=True):
        assert line == pytest.approx(want, rel=1e-9)


def test_an_unregularised_bias_of_factors_that_hardly_differ_is_solved_in_float32() -> None:
    users = 3000
    ratings = Ratings(
        np.arange(users, dtype=np.int32), np.zeros(users, np.int32), np.random.default_rng(0).random(users)
    )
    factors = random_factors(1, users, 4, torch.float32, item_bias=True)
    factors.W.fill_(100.0)
    als = als_on(ratings, factors, Regulariser(1.0), steps=0)
    drive(als)
    assert (
        cost_of(random_factors(1, users, 4, torch.float32, item_bias=True), ratings, Regulariser(1.0)) > als.J
    )


@pytest.mark.parametrize("ranks", [1, 2])
def test_a_run_of_exact_solves_goes_on_bit_for_bit(ranks: int, tmp_path: Path) -> None:
    als = ["train.optimizer=als", "train.solver=exact", "train.lambda_=0.5"]
    whole, broken = run(tmp_path, ranks, 20, "whole", *als), run(tmp_path, ranks, 10, "run", *als)
    run(tmp_path, ranks, 20, "run", *als)
    assert metrics(broken) == metrics(whole)
    got, want = tensors(broken), tensors(whole)
    assert all(torch.equal(got[name], want[name]) for name in want)
