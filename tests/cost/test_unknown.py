"""The unknown pairs' term against a sum over all cells, and what ALS makes of it."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from cofi_dist.cost.regulariser import Regulariser
from cofi_dist.cost.sparse import build_rating_matrix, half_squared_error, unknown_pairs
from cofi_dist.data.ratings import Ratings
from cofi_dist.data.shard import UserShard
from cofi_dist.distributed.comm import SoloComm
from cofi_dist.factors import Factors
from cofi_dist.kernels.cpu.backend import NumbaKernels
from cofi_dist.optim.als import Als
from cofi_dist.optim.base import run_step
from cofi_dist.optim.whole_items import WholeItems
from cofi_dist.sharding.ranges import UserRange

U, M, K = 13, 17, 3
Cells = NDArray[np.float64]
CPU = torch.device("cpu")
REGULARISER = Regulariser(0.1, 0.2)


def made_up(alpha: float | None, *, with_weights: bool) -> tuple[UserShard, Cells, Cells]:
    """A shard, and its targets and weights as matrices, (M, U); unknown cells are NaN in the weights."""
    rng = np.random.default_rng(0)
    user, item = np.nonzero(rng.random((U, M)) < 0.3)
    value = rng.integers(1, 6, len(item)).astype(np.float64)
    weight = rng.random(len(item)) + 0.2 if with_weights else None
    ratings = Ratings(user.astype(np.int32), item.astype(np.int32), value, weight)
    shard = UserShard.single_block(UserRange(0, U), M, ratings)
    Y, C = np.zeros((M, U)), np.full((M, U), np.nan)
    Y[item, user] = value if alpha is None else 1
    C[item, user] = (1 if weight is None else weight) if alpha is None else 1 + alpha * value
    return UserShard(shard.users, M, ratings, shard.blocks, None, alpha), Y, C


def random_factors() -> Factors:
    rng = np.random.default_rng(1)
    return Factors(*(torch.from_numpy(rng.standard_normal(s)) for s in ((M, K), (U, K), (1, U), (1, M))))


def half_by_cells(factors: Factors, Y: Cells, C: Cells, a0: float) -> float:
    X, W, b, c = (factor.numpy() for factor in factors.tensors)
    scores = X @ W.T + b + c.T
    return float((np.where(np.isnan(C), a0, C) * (scores - Y) ** 2).sum() / 2)


@pytest.mark.parametrize("owns_all_users", [True, False])
@pytest.mark.parametrize("tiled", [True, False])
@pytest.mark.parametrize(
    ("alpha", "with_weights", "a0"),
    [(None, True, 0.0), (None, True, 0.7), (1.5, False, 0.3), (0.0, False, 1.2)],
)
def test_als_lowers_the_sum_over_all_cells_and_knows_its_value(
    alpha: float | None, a0: float, *, with_weights: bool, tiled: bool, owns_all_users: bool
) -> None:
    shard, Y, C = made_up(alpha, with_weights=with_weights)
    factors = random_factors()
    ratings = build_rating_matrix(shard, CPU, torch.float64, unknown_weight=a0, tiled=tiled)
    unknown = unknown_pairs(ratings, a0)
    count, of_known = (~np.isnan(C)).sum(1), np.nansum(C, 1)
    halves = WholeItems.build(
        ratings,
        factors,
        REGULARISER,
        item_counts=torch.from_numpy(count),
        item_curvature=torch.from_numpy(of_known - a0 * count),
        steps=3,
        owns_all_users=owns_all_users,
        unknown=unknown,
    )
    als = Als(halves, tolerance=0.0)
    before = np.inf
    for _ in range(5):
        assert float(half_squared_error(ratings, factors, unknown)) == pytest.approx(
            half_by_cells(factors, Y, C, a0), rel=1e-12
        )
        run_step(als.prepare_step(), SoloComm())
        squares = tuple(part.sum() for part in als.objective.user_squares(factors))
        penalty = float(als.objective.penalty((squares[0], squares[1]), als.objective.item_squares(factors)))
        assert pytest.approx(half_by_cells(factors, Y, C, a0) + penalty, rel=1e-12) == als.J
        assert before >= als.J
        before = als.J


@pytest.mark.parametrize(
    ("alpha", "weights", "strengths", "bytes_per_rating"),
    [
        (None, "none", "varied", 8),  # an item and a value, in each order
        (None, "ones", "varied", 8),
        (None, "varied", "varied", 12),
        (2.0, "none", "ones", 4),  # all events weigh the same, and all their targets are 1
        (2.0, "none", "varied", 8),
    ],
)
def test_weights_that_are_equal_take_no_memory(
    alpha: float | None, weights: str, strengths: str, bytes_per_rating: int
) -> None:
    user, item = (row.ravel().astype(np.int32) for row in np.indices((U, M)))
    columns = {"ones": np.ones(U * M), "varied": 1.0 + np.arange(U * M) % 5}
    ratings = Ratings(user, item, columns[strengths], columns.get(weights))
    single = UserShard.single_block(UserRange(0, U), M, ratings)
    shard = UserShard(single.users, M, ratings, single.blocks, None, alpha)
    matrix = build_rating_matrix(shard, CPU, torch.float32)
    for kernels in (matrix.by_user, matrix.by_item):
        assert isinstance(kernels, NumbaKernels)
        _, *columns_of_rating = kernels._ratings
        arrays = [column for column in columns_of_rating if isinstance(column, np.ndarray)]
        assert sum(array.nbytes for array in arrays) == bytes_per_rating * len(ratings)
