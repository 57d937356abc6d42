"""Triton's sums in the order of the tree: the same bits however users are cut, by Triton's interpreter."""

from collections.abc import Iterator
from unittest import mock

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from cofi_dist.cost.regulariser import Regulariser
from cofi_dist.cost.sparse import SparseCost, build_rating_matrix, unknown_pairs
from cofi_dist.data.ratings import Ratings
from cofi_dist.data.shard import UserShard
from cofi_dist.distributed.ordered_sum import TreeReducer
from cofi_dist.factors import Factors
from cofi_dist.kernels.base import RatingKernels
from cofi_dist.kernels.rating_matrix import Backend, RatingMatrix
from cofi_dist.optim.adam import Adam
from cofi_dist.optim.als import Als
from cofi_dist.optim.base import Optimizer
from cofi_dist.optim.whole_items import WholeItems
from cofi_dist.sharding.partition import UserPartition
from tests.support.lockstep import Lockstep
from tests.support.problems import close, random_factors, random_ratings, shard_of, slice_factors
from tests.support.triton_interpreter import (
    interpreted,
    invariant_as_on_a_device,
    needs_triton,
    triton_backend,
)

pytestmark = needs_triton
CPU = torch.device("cpu")
NUM_USERS, NUM_ITEMS, NUM_RATINGS = 9, 3, 20


@pytest.fixture(autouse=True, scope="module")
def _interpreted() -> Iterator[None]:
    with interpreted(piece=3):
        yield


def spread_over(world_size: int, ratings: Ratings, blocks: int) -> tuple[UserPartition, list[UserShard]]:
    """Return the shards of all ranks."""
    num_users = int(ratings.user.max(initial=0)) + 1
    counts = np.bincount(ratings.user, minlength=num_users)
    spread = UserPartition.balanced(counts, world_size, blocks)
    shards = [
        UserShard(users, NUM_ITEMS, shard_of(ratings, users, NUM_ITEMS).ratings, spread.local_blocks(rank))
        for rank, users in enumerate(spread.ranges)
    ]
    return spread, shards


def summed(spread: UserPartition, partials: list[Tensor]) -> Tensor:
    """Add the subtree sums of all ranks in the order of the tree, as each rank would with one slice."""
    reducer = TreeReducer(mock.Mock(), spread.subtrees)
    return reducer._add_in_tree_order(torch.cat([each.clone() for each in partials]))


@settings(max_examples=6)
@given(st.integers(0, 3), st.data())
def test_any_cut_of_the_users_has_the_same_sums(power: int, data: st.DataObject) -> None:
    blocks = 2**power
    ratings = random_ratings(NUM_USERS, NUM_ITEMS, data.draw(st.integers(1, NUM_USERS * NUM_ITEMS)))
    dtype = data.draw(st.sampled_from([torch.float32, torch.float64]))
    factors = random_factors(NUM_ITEMS, NUM_USERS, 3, dtype, item_bias=True)

    def sums(world_size: int, backend: Backend | None) -> list[Tensor]:
        spread, shards = spread_over(world_size, ratings, blocks)
        found = []
        for shard in shards:
            matrix = build_rating_matrix(shard, CPU, dtype, backend=backend)
            own = slice_factors(factors, shard.users)
            term = SparseCost(matrix)(own, with_cost=True)
            assert term.value is not None
            assert term.dc is not None
            found.append([term.dX, term.dc, term.value, term.dW, term.db[0]])
        dX, dc, value, dW, db = (list(each) for each in zip(*found, strict=True))
        return [*(summed(spread, each) for each in (dX, dc, value)), torch.cat(dW), torch.cat(db)]

    whole, loops = sums(1, triton_backend()), sums(1, None)
    parts = sums(data.draw(st.integers(1, blocks)), triton_backend())
    for part, one, loop in zip(parts, whole, loops, strict=True):
        assert torch.equal(part, one)
        close(part, loop, 1e-12 if dtype == torch.float64 else 1e-4)


def als(ratings: RatingMatrix, factors: Factors, of_all: Ratings, world_size: int, rank: int) -> Als:
    counts = torch.from_numpy(np.bincount(of_all.item, minlength=NUM_ITEMS))
    unknown = unknown_pairs(ratings, ratings.by_user.weights[1])
    halves = WholeItems.build(
        ratings,
        factors,
        Regulariser(0.7, 0.2),
        item_counts=counts,
        steps=1,
        owns_all_users=world_size == 1,
        unknown=unknown,
    )
    return Als(halves, tolerance=0.0, adds_shared_terms=rank == 0)


def adam(ratings: RatingMatrix, factors: Factors) -> Adam:
    cost = SparseCost(ratings, unknown_pairs(ratings, ratings.by_user.weights[1]))
    return Adam(cost, factors, Regulariser(0.7, 0.2), lr=0.01, fused=True)


def trained(name: str, world_size: int, unknown_weight: float) -> list[Tensor]:
    """Take two steps on so many ranks, one after the other in this process; return X, c, W and b."""
    of_all = random_ratings(NUM_USERS, NUM_ITEMS, NUM_RATINGS)
    factors = random_factors(NUM_ITEMS, NUM_USERS, 3, torch.float32, item_bias=True)
    spread, shards = spread_over(world_size, of_all, 4)
    owns = [slice_factors(factors, shard.users) for shard in shards]
    optimizers: list[Optimizer] = []
    for rank, (shard, own) in enumerate(zip(shards, owns, strict=True)):
        given = {"unknown_weight": unknown_weight, "backend": triton_backend()}
        ratings = build_rating_matrix(shard, CPU, torch.float32, **given)  # type: ignore[arg-type]
        optimizers.append(
            adam(ratings, own) if name == "adam" else als(ratings, own, of_all, world_size, rank)
        )
    lockstep = Lockstep(spread.subtrees)
    for _ in range(2):
        lockstep.run([each.prepare_step().moves for each in optimizers])
    X, c = owns[0].X, owns[0].c
    assert c is not None
    assert all(torch.equal(own.X, X) for own in owns)
    return [X, c, torch.cat([own.W for own in owns]), torch.cat([own.b for own in owns], 1)]


@pytest.fixture
def _as_on_a_device() -> Iterator[None]:
    with invariant_as_on_a_device():
        yield


@pytest.mark.usefixtures("_as_on_a_device")
@pytest.mark.parametrize("unknown_weight", [0.0, 0.5], ids=["explicit", "implicit"])
@pytest.mark.parametrize("name", ["adam", "als"])
def test_steps_on_any_number_of_ranks_have_the_same_bits(name: str, unknown_weight: float) -> None:
    one = trained(name, 1, unknown_weight)
    for world_size in (2, 3):
        for got, want in zip(trained(name, world_size, unknown_weight), one, strict=True):
            assert torch.equal(got, want)


def test_a_block_counts_its_own_ratings_and_gives_no_whole_rows() -> None:
    ratings = random_ratings(NUM_USERS, NUM_ITEMS, NUM_RATINGS)
    _, (shard,) = spread_over(1, ratings, 4)
    by_item: RatingKernels = build_rating_matrix(shard, CPU, torch.float64, backend=triton_backend()).by_item
    assert by_item.counts.tolist() == np.bincount(ratings.item, minlength=NUM_ITEMS).tolist()
    for name in ("csr", "weights"):
        with pytest.raises(NotImplementedError, match="several blocks"):
            getattr(by_item, name)
