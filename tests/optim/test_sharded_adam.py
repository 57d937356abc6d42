"""Items that each rank owns some of: Adam has the bits that it has where X is whole on every rank."""

from collections.abc import Iterator, Sequence
from itertools import chain

import numpy as np
import pytest
import torch
from torch import Tensor

from cofi_dist.cost.regulariser import Regulariser, count_scales
from cofi_dist.cost.sharded import ShardedCost
from cofi_dist.cost.sparse import SparseCost, build_item_blocks, build_rating_matrix, unknown_pairs
from cofi_dist.data.ratings import Ratings
from cofi_dist.data.shard import UserShard
from cofi_dist.factors import Factors
from cofi_dist.optim.adam import Adam
from cofi_dist.optim.base import Optimizer, Step
from cofi_dist.optim.item_pass import ItemPass
from cofi_dist.optim.sharded_adam import ShardedAdam
from cofi_dist.sharding.item_shards import ItemShards
from cofi_dist.sharding.partition import UserPartition
from tests.support.lockstep import Lockstep
from tests.support.problems import random_factors, random_ratings, shard_of, slice_factors

CPU = torch.device("cpu")
USERS, ITEMS, K, STEPS = 23, 37, 5, 3
RATINGS = random_ratings(USERS, ITEMS, 300)


class Problem:
    """One problem on so many ranks."""

    def __init__(
        self,
        world_size: int,
        *,
        num_blocks: int | None = 8,
        block_items: int | None = None,
        unknown_weight: float = 0.0,
        dtype: torch.dtype = torch.float32,
        biases: bool = True,
        weights: bool = False,
    ) -> None:
        counts = np.bincount(RATINGS.user, minlength=USERS)
        self.partition = UserPartition.balanced(counts, world_size, num_blocks)
        self.a0, self.dtype, self.biases = unknown_weight, dtype, biases
        weight = np.random.default_rng(3).uniform(0.5, 2.0, len(RATINGS)) if weights else None
        self.ratings = Ratings(RATINGS.user, RATINGS.item, RATINGS.value, weight)
        self.lockstep = Lockstep(self.partition.subtrees)
        self.factors: list[Factors] = []
        self.shards: list[ItemShards | None] = []
        self.optimizers: list[Optimizer] = []
        for rank in range(world_size):
            shards = None if block_items is None else ItemShards(ITEMS, block_items, world_size, rank)
            self._add_rank(rank, shards)

    def _add_rank(self, rank: int, shards: ItemShards | None) -> None:
        users = self.partition.ranges[rank]
        cut = shard_of(self.ratings, users, ITEMS)
        mine = (self.ratings.user >= users.start) & (self.ratings.user < users.stop)
        given = self.ratings.masked(mine)
        ratings = Ratings(cut.ratings.user, cut.ratings.item, cut.ratings.value, given.weight)
        shard = UserShard(users, ITEMS, ratings, self.partition.local_blocks(rank))
        whole = random_factors(ITEMS, USERS, K, self.dtype, item_bias=self.biases)
        factors = slice_factors(whole, users)
        n_i = np.bincount(RATINGS.item, minlength=ITEMS).astype(float)
        n_j = shard.ratings_per_user()
        scales = count_scales(0.5, n_i, n_j, factors)
        if shards is not None:
            rows = torch.from_numpy(shards.own_rows(np.arange(ITEMS)))
            c = None if factors.c is None else factors.c[:, rows]
            factors = Factors(factors.X[rows], factors.W, factors.b, c)
        adam = {"lr": 0.01, "fused": True}
        if shards is None:
            matrix = build_rating_matrix(shard, CPU, self.dtype, unknown_weight=self.a0)
            cost = SparseCost(matrix, unknown_pairs(matrix, self.a0), user_bias=self.biases)
            self.optimizers.append(Adam(cost, factors, Regulariser(0.7, 0.2, *scales), **adam))  # type: ignore[arg-type]
        else:
            assert scales[0] is not None
            blocks = build_item_blocks(shard, shards, CPU, self.dtype, unknown_weight=self.a0)
            unknown, scale_X = unknown_pairs(blocks, self.a0), scales[0]
            sharded = ShardedCost(blocks, ITEMS, scale_X[:, 0], unknown, user_bias=self.biases)
            items = ItemPass(shards, has_bias=self.biases)
            own = Regulariser(0.7, 0.2, scale_X[rows], scales[1])
            self.optimizers.append(ShardedAdam(sharded, factors, own, items, **adam))  # type: ignore[arg-type]
        self.factors.append(factors)
        self.shards.append(shards)

    def run(self) -> list[float]:
        """Take steps, every other one with its cost, and return the costs."""
        costs = []
        for number in range(STEPS):
            steps = [each.prepare_step(with_cost=number % 2 == 0) for each in self.optimizers]
            if number % 2 == 0:
                self.lockstep.run([step.evaluation for step in steps])
                costs.append(self._cost(steps))
            self.lockstep.run([chain(step.evaluation, step.moves) for step in steps])
        return costs

    def _cost(self, steps: Sequence[Step]) -> float:
        found = set()
        squares = [o.objective.user_squares(f) for o, f in zip(self.optimizers, self.factors, strict=True)]
        W2, b2 = (self.lockstep.sum_scalars(each) for each in zip(*squares, strict=True))
        half = self.lockstep.sum_scalars(
            [s.half_squared_error for s in steps if s.half_squared_error is not None]
        )
        for step, optimizer, factors in zip(steps, self.optimizers, self.factors, strict=True):
            of_items = step.item_squares or optimizer.objective.item_squares(factors)
            found.add(optimizer.objective.value(half, (W2, b2), of_items).item())
        (cost,) = found
        return float(cost)

    def whole(self) -> dict[str, Tensor]:
        """All factors and moments, put together from all ranks."""
        return dict(self._whole())

    def _whole(self) -> Iterator[tuple[str, Tensor]]:
        first = self.factors[0].by_name
        for name in first:
            views = []
            for optimizer, factors in zip(self.optimizers, self.factors, strict=True):
                tensors = {"": factors.by_name[name], **optimizer.row_tensors(name)}
                is_bias = name in factors.biases()
                views.append({part: t[0] if is_bias else t for part, t in tensors.items()})
            for part in views[0]:
                yield f"{name}.{part}", self._joined(name, [view[part] for view in views])

    def _joined(self, name: str, parts: Sequence[Tensor]) -> Tensor:
        if name in ("W", "b"):
            return torch.cat(list(parts))
        if self.shards[0] is None:
            return parts[0]
        whole = torch.full((ITEMS, *parts[0].shape[1:]), torch.nan, dtype=self.dtype)
        for shards, part in zip(self.shards, parts, strict=True):
            assert shards is not None
            whole[torch.from_numpy(shards.own_rows(np.arange(ITEMS)))] = part
        return whole


GIVEN = [
    {},
    {"unknown_weight": 0.3},
    {"dtype": torch.float64, "weights": True},
    {"unknown_weight": 0.3, "biases": False, "weights": True},
]


@pytest.mark.parametrize("given", GIVEN, ids=["plain", "implicit", "float64 weights", "no biases"])
def test_sharded_items_have_the_bits_of_replicated_ones(given: dict[str, object]) -> None:
    one = Problem(1, **given)  # type: ignore[arg-type]
    costs, want = one.run(), one.whole()
    for ranks, block_items in ((1, 37), (1, 6), (2, 10), (3, 7), (4, 37), (8, 9), (8, 100)):
        problem = Problem(ranks, block_items=block_items, **given)  # type: ignore[arg-type]
        assert problem.run() == costs, (ranks, block_items)
        for name, got in problem.whole().items():
            assert torch.equal(got, want[name]), (ranks, block_items, name)
