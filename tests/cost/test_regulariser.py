"""The regulariser in all its forms: its value by the formula, and its gradients by differences of J."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from cofi_dist.cost import Cost
from cofi_dist.cost.dense import DenseCost
from cofi_dist.cost.regulariser import Regulariser, count_scales
from cofi_dist.data.ratings import Ratings
from cofi_dist.data.shard import UserShard
from cofi_dist.factors import Factors
from cofi_dist.sharding.ranges import UserRange
from tests.support.problems import close, gradients_of, random_factors, random_ratings, sparse_cost

CPU = torch.device("cpu")
SWITCHES = list(itertools.product(["dense", "sparse"], [0.0, 0.5, 1.0, 2.0], [0.0, 0.7], [False, True]))


def make(
    kind: str, ratings: Ratings, factors: Factors, power: float, lambda_b: float
) -> tuple[Cost, Regulariser]:
    num_users, num_items = len(factors.W), len(factors.X)
    shard = UserShard.single_block(UserRange(0, num_users), num_items, ratings)
    cost: Cost = DenseCost(shard, CPU)
    if kind == "sparse":
        cost = sparse_cost(shard)
    n_i = np.bincount(ratings.item, minlength=num_items).astype(np.float64)
    n_j = np.bincount(ratings.user, minlength=num_users)
    return cost, Regulariser(1.3, lambda_b, *count_scales(power, n_i, n_j, factors))


def J_of(cost: Cost, regulariser: Regulariser, factors: Factors) -> float:
    value = cost(factors, with_cost=True).value
    of_users = regulariser.user_squares(factors, cost.sums)
    assert value is not None
    return float(value + regulariser.value(of_users, regulariser.item_squares(factors, cost.sums)))


@pytest.mark.parametrize(("kind", "power", "lambda_b", "item_bias"), SWITCHES)
def test_gradients_are_those_of_the_whole_cost(
    kind: str, power: float, lambda_b: float, item_bias: bool
) -> None:
    ratings, factors = random_ratings(5, 6, 17), random_factors(6, 5, 3, item_bias=item_bias)
    cost, regulariser = make(kind, ratings, factors, power, lambda_b)
    gradients = list(gradients_of(cost(factors, with_cost=False), regulariser, factors).values())
    assert len(gradients) == (4 if item_bias else 3)
    step = 1e-6
    for tensor, gradient in zip(factors.tensors, gradients, strict=True):
        for entry in range(tensor.numel()):
            entries, values = tensor.view(-1), []
            for sign in (+1, -2):
                entries[entry] += sign * step
                values.append(J_of(cost, regulariser, factors))
            entries[entry] += step
            want = (values[0] - values[1]) / (2 * step)
            assert float(gradient.view(-1)[entry]) == pytest.approx(want, rel=1e-6, abs=1e-7)


@given(st.data())
def test_the_value_is_the_formula_and_dense_is_sparse(data: st.DataObject) -> None:
    num_users, num_items = data.draw(st.integers(1, 7)), data.draw(st.integers(1, 7))
    ratings = random_ratings(num_users, num_items, data.draw(st.integers(0, num_users * num_items)))
    factors = random_factors(num_items, num_users, 2, item_bias=data.draw(st.booleans()))
    power, lambda_b = data.draw(st.floats(0, 2)), data.draw(st.floats(0, 5))
    X, W, b = factors.X, factors.W, factors.b
    want = sum(
        1.3 / 2 * max((ratings.item == i).sum(), 1) ** power * float(X[i] @ X[i]) for i in range(num_items)
    )
    want += sum(
        1.3 / 2 * max((ratings.user == j).sum(), 1) ** power * float(W[j] @ W[j]) for j in range(num_users)
    )
    want += lambda_b / 2 * float(b.square().sum() + (0 if factors.c is None else factors.c.square().sum()))
    gradients = []
    for kind in ("dense", "sparse"):
        cost, regulariser = make(kind, ratings, factors, power, lambda_b)
        of_users = regulariser.user_squares(factors, cost.sums)
        total = regulariser.value(of_users, regulariser.item_squares(factors, cost.sums))
        assert float(total) == pytest.approx(want, rel=1e-12)
        found = gradients_of(cost(factors, with_cost=False), regulariser, factors)
        gradients.append(list(found.values()))
    for dense, sparse in zip(*gradients, strict=True):
        close(sparse, dense, 1e-12)


def test_a_power_of_zero_leaves_the_counts_out() -> None:
    factors = random_factors(3, 2, 2)
    assert count_scales(0.0, np.zeros(3), np.zeros(2, np.int64), factors) == (None, None)
    scale_X, _ = count_scales(1.0, np.array([0.0, 1.0, 4.0]), np.array([2, 3]), factors)
    assert scale_X is not None
    assert scale_X.flatten().tolist() == [1.0, 1.0, 4.0], "none counts as one"
