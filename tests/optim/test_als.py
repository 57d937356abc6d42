"""Alternating least squares: each half-sweep, its acceleration, its end."""

import math
import os
import subprocess
import sys

import numpy as np
import pytest
import torch

from cofi_dist.cost.regulariser import Regulariser
from cofi_dist.data.ratings import Ratings
from cofi_dist.data.shard import UserShard
from cofi_dist.factors import Factors
from cofi_dist.sharding.ranges import UserRange
from tests.support.als_problems import REGULARISER, K, M, N, U, als_on, cost_of, drive
from tests.support.problems import close, gradients_of, random_factors, random_ratings, sparse_cost


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


@pytest.mark.parametrize(
    ("num_users", "num_items", "num_ratings", "seed"), [(16, 27, 44, 46), (25, 11, 25, 2)]
)
@pytest.mark.parametrize("loops", [True, False])
def test_float32_never_rises_even_where_squares_underflow(
    num_users: int, num_items: int, num_ratings: int, seed: int, loops: bool
) -> None:
    # the biases explain so few ratings, and the features shrink to 1e-22
    ratings = random_ratings(num_users, num_items, num_ratings, seed)
    factors = random_factors(num_items, num_users, 1, torch.float32, item_bias=True)
    regulariser = Regulariser(0.1, 0.0)
    als, last = als_on(ratings, factors, regulariser, loops=loops), math.inf
    for _ in range(40):
        drive(als)
        now = cost_of(factors, ratings, regulariser)
        assert now <= last * (1 + 1e-5)
        last = now


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
    seldom = ratings.masked((ratings.user > 2) & (ratings.item > 1))
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


SOLVE = """
import hashlib, torch
from cofi_dist.cost.sides import sides_of
from tests.support.als_problems import als_on, drive
from tests.support.problems import random_factors, random_ratings
als = als_on(random_ratings(300, 200, 9000), factors := random_factors(200, 300, 16))
users, sides = als._halves.ratings.by_user, sides_of(factors)
found = [*users.error_gradients(*sides)]
found += users.solve_rows(*sides, als._halves.user_ridge, torch.ones(16).double(), 3)
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
from tests.support.als_problems import als_on, drive
from tests.support.problems import random_factors, random_ratings
als = als_on(random_ratings(23, 17, 150), random_factors(17, 23, 5))
drive(als)
print(torch.get_num_threads())
"""


@pytest.mark.parametrize("threads", ["1", "2"])
def test_the_loops_leave_torch_its_number_of_threads(threads: str) -> None:
    env = {**os.environ, "OMP_NUM_THREADS": threads}
    done = subprocess.run([sys.executable, "-c", COUNT], env=env, capture_output=True, text=True, check=True)
    assert done.stdout == f"{threads}\n"
