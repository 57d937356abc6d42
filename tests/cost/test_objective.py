"""J, put together from sums over any blocks of users."""

import pytest
import torch

from cofi_dist.cost.objective import Objective
from cofi_dist.cost.regulariser import Regulariser
from cofi_dist.cost.sparse import build_rating_matrix, half_squared_error
from cofi_dist.kernels.block_sums import BlockSums
from cofi_dist.sharding.ranges import UserRange
from cofi_dist.sharding.reduction_tree import ReductionBlocks
from tests.support.als_problems import cost_of
from tests.support.problems import random_factors, random_ratings, shard_of


@pytest.mark.parametrize("item_bias", [False, True])
def test_it_is_the_formula(item_bias: bool) -> None:
    ratings, factors = random_ratings(6, 8, 20), random_factors(8, 6, 3, item_bias=item_bias)
    regulariser, shard = Regulariser(0.7, 0.2), shard_of(ratings, UserRange(0, 6), 8)
    matrix = build_rating_matrix(shard, torch.device("cpu"), torch.float64)
    objective = Objective(regulariser, matrix.sums)
    (half,) = half_squared_error(matrix, factors)
    W2, b2 = (squares[0] for squares in objective.user_squares(factors))
    assert float(objective.value(half, (W2, b2), objective.item_squares(factors))) == pytest.approx(
        cost_of(factors, ratings, regulariser), rel=1e-12
    )


def test_users_squares_are_one_number_per_subtree() -> None:
    factors = random_factors(8, 6, 3)
    users = (UserRange(0, 2), UserRange(2, 5), UserRange(5, 6))
    objective = Objective(Regulariser(0.7), BlockSums(ReductionBlocks(users, (range(2), range(2, 3)))))
    W2, b2 = objective.user_squares(factors)
    assert W2.tolist() == pytest.approx(
        [float(factors.W[:5].square().sum()), float(factors.W[5].square().sum())]
    )
    assert float(b2.sum()) == pytest.approx(float(factors.b.square().sum()))
