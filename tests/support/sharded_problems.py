"""One small problem on any number of ranks, in one process, with X whole on each of them or sharded."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from typing import Any

import numpy as np
import torch
from torch import Tensor

from cofi_dist.cost.regulariser import Regulariser, count_scales
from cofi_dist.cost.sharded import ShardedCost
from cofi_dist.cost.sparse import SparseCost, build_item_blocks, build_rating_matrix, csr_of, unknown_pairs
from cofi_dist.data.ratings import Ratings
from cofi_dist.data.shard import UserShard
from cofi_dist.factors import Factors
from cofi_dist.optim.adam import Adam
from cofi_dist.optim.als import Als
from cofi_dist.optim.base import Optimizer, Pending, Step
from cofi_dist.optim.item_pass import ItemPass
from cofi_dist.optim.item_totals import ItemNumbers
from cofi_dist.optim.sharded_adam import ShardedAdam
from cofi_dist.optim.sharded_items import ShardedItems
from cofi_dist.optim.whole_items import WholeItems
from cofi_dist.sharding.item_shards import ItemShards
from cofi_dist.sharding.partition import UserPartition
from tests.support.lockstep import Lockstep
from tests.support.problems import random_factors, random_ratings, shard_of, slice_factors

CPU = torch.device("cpu")
USERS, ITEMS, K, STEPS = 23, 37, 5, 2
# What training may differ in, of which sharded items must not change the bits.
KINDS: dict[str, dict[str, Any]] = {
    "plain": {},
    "implicit": {"unknown_weight": 0.3},
    "float64 weights": {"dtype": torch.float64, "weights": True},
    "no biases": {"unknown_weight": 0.3, "biases": False, "weights": True},
}
RATINGS = random_ratings(USERS, ITEMS, 300)


class Problem:
    """One problem on so many ranks."""

    def __init__(
        self,
        world_size: int,
        *,
        known: Ratings = RATINGS,
        num_blocks: int | None = 8,
        block_items: int | None = None,
        unknown_weight: float = 0.0,
        dtype: torch.dtype = torch.float32,
        biases: bool = True,
        weights: bool = False,
        optimizer: str = "adam",
    ) -> None:
        self.users, self.items = int(known.user.max()) + 1, int(known.item.max()) + 1
        counts = np.bincount(known.user)
        self.partition = UserPartition.balanced(counts, world_size, num_blocks)
        self.a0, self.dtype, self.biases, self.optimizer = unknown_weight, dtype, biases, optimizer
        weight = np.random.default_rng(3).uniform(0.5, 2.0, len(known)) if weights else None
        self.ratings = Ratings(known.user, known.item, known.value, weight)
        self.lockstep = Lockstep(self.partition.subtrees)
        self.factors: list[Factors] = []
        self.shards: list[ItemShards | None] = []
        self.optimizers: list[Optimizer] = []
        self.agreements: list[Iterator[Pending]] = []
        for rank in range(world_size):
            shards = None if block_items is None else ItemShards(self.items, block_items, world_size, rank)
            self._add_rank(rank, shards)
        self.lockstep.run(self.agreements)

    def _add_rank(self, rank: int, shards: ItemShards | None) -> None:
        users = self.partition.ranges[rank]
        cut = shard_of(self.ratings, users, self.items)
        mine = (self.ratings.user >= users.start) & (self.ratings.user < users.stop)
        given = self.ratings.masked(mine)
        ratings = Ratings(cut.ratings.user, cut.ratings.item, cut.ratings.value, given.weight)
        shard = UserShard(users, self.items, ratings, self.partition.local_blocks(rank))
        whole = random_factors(self.items, self.users, K, self.dtype, item_bias=self.biases)
        factors = slice_factors(whole, users)
        n_i = np.bincount(self.ratings.item).astype(float)
        n_j = shard.ratings_per_user()
        scales = count_scales(0.5, n_i, n_j, factors)
        scale_X, scale_W = scales
        assert scale_X is not None
        self.scale_X = scale_X[:, 0]
        regulariser = Regulariser(0.7, 0.2, scale_X, scale_W)
        if shards is not None:
            rows = torch.from_numpy(shards.own_rows(np.arange(self.items)))
            c = None if factors.c is None else factors.c[:, rows]
            factors = Factors(factors.X[rows], factors.W, factors.b, c)
            regulariser = Regulariser(0.7, 0.2, scale_X[rows], scale_W)
        build = self._als if self.optimizer == "als" else self._adam
        self.optimizers.append(build(shard, factors, regulariser, shards))
        self.factors.append(factors)
        self.shards.append(shards)

    def _adam(
        self, shard: UserShard, factors: Factors, regulariser: Regulariser, shards: ItemShards | None
    ) -> Optimizer:
        adam = {"lr": 0.01, "fused": True}
        if shards is None:
            matrix = build_rating_matrix(shard, CPU, self.dtype, unknown_weight=self.a0)
            cost = SparseCost(matrix, unknown_pairs(matrix, self.a0), user_bias=self.biases)
            return Adam(cost, factors, regulariser, **adam)  # type: ignore[arg-type]
        blocks = build_item_blocks(shard, shards, CPU, self.dtype, unknown_weight=self.a0)
        unknown = unknown_pairs(blocks, self.a0)
        sharded = ShardedCost(blocks, self.items, self.scale_X, unknown, user_bias=self.biases)
        items = ItemPass(shards, has_bias=self.biases)
        return ShardedAdam(sharded, factors, regulariser, items, **adam)  # type: ignore[arg-type]

    def _als(
        self, shard: UserShard, factors: Factors, regulariser: Regulariser, shards: ItemShards | None
    ) -> Optimizer:
        given = self.ratings
        weight = np.ones(len(given)) if given.weight is None else given.weight
        counts, of_known = (np.bincount(given.item, weights) for weights in (None, weight))
        curvature = of_known - self.a0 * counts
        is_first = len(self.factors) == 0
        if shards is None:
            matrix = build_rating_matrix(shard, CPU, self.dtype, unknown_weight=self.a0)
            whole = WholeItems.build(
                matrix,
                factors,
                regulariser,
                item_counts=torch.from_numpy(counts),
                item_curvature=torch.from_numpy(curvature),
                unknown=unknown_pairs(matrix, self.a0),
                user_bias=self.biases,
                steps=3,
                owns_all_users=len(self.partition.ranges) == 1,
            )
            return Als(whole, tolerance=0.0, adds_shared_terms=is_first)
        halves = ShardedItems.build(
            csr_of(shard, self.dtype, self.a0),
            shard.blocks,
            ItemPass(shards, has_bias=self.biases),
            factors,
            regulariser,
            ItemNumbers(counts, curvature, self.scale_X),
            unknown_weight=self.a0,
            user_bias=self.biases,
            steps=3,
        )
        self.agreements.append(halves.batches.agree())
        return Als(halves, tolerance=0.0, adds_shared_terms=is_first)

    def run(self) -> list[float]:
        """Take steps, every other one with its cost, and return the costs."""
        costs = []
        for number in range(STEPS):
            steps = [each.prepare_step(with_cost=number == STEPS - 1) for each in self.optimizers]
            if number == STEPS - 1:
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
        whole = torch.full((self.items, *parts[0].shape[1:]), torch.nan, dtype=self.dtype)
        for shards, part in zip(self.shards, parts, strict=True):
            assert shards is not None
            whole[torch.from_numpy(shards.own_rows(np.arange(self.items)))] = part
        return whole


def require_the_bits_of_one_rank(optimizer: str, given: dict[str, Any]) -> None:
    """Check that the costs and all rows are those of one rank that has X whole."""
    with unwritten_memory_is_nan():
        _require_the_bits_of_one_rank(optimizer, given)


@contextmanager
def unwritten_memory_is_nan() -> Iterator[None]:
    """Let torch fill what it allocates, so that what is read before it is written cannot go unseen."""
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(False)


def _require_the_bits_of_one_rank(optimizer: str, given: dict[str, Any]) -> None:
    one = Problem(1, optimizer=optimizer, **given)
    costs, want = one.run(), one.whole()
    for ranks, block_items in ((1, 6), (2, 10), (3, 100), (4, 37), (8, 20)):
        problem = Problem(ranks, block_items=block_items, optimizer=optimizer, **given)
        assert problem.run() == costs, (ranks, block_items)
        # what ALS decides on: a sweep without momentum, and the end
        assert [each.scalars for each in problem.optimizers] == ranks * [one.optimizers[0].scalars]
        for name, got in problem.whole().items():
            assert torch.equal(got, want[name]), (ranks, block_items, name)
