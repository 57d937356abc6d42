"""Items that go by in blocks have the bits of all at once on a CUDA device too, by Triton's interpreter."""

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from cofi_dist.data.ratings import Ratings
from cofi_dist.kernels.base import Csr, Side, WeightedCsr
from cofi_dist.kernels.block_sums import BlockSums
from cofi_dist.kernels.item_sums import ItemGram, ItemSquares
from cofi_dist.sharding.ranges import offsets_from_counts
from cofi_dist.sharding.reduction_tree import ReductionBlocks
from tests.support.problems import close, random_factors, random_ratings
from tests.support.sharded_problems import Problem
from tests.support.triton_interpreter import (
    interpreted,
    invariant_as_on_a_device,
    needs_triton,
    sums_as_on_a_device,
    triton_backend,
)

pytestmark = needs_triton
CPU = torch.device("cpu")
KNOWN = random_ratings(5, 5, 14)
# Numbers of ranks and items of a block; ALS takes many more sums, which are slow in the interpreter.
CUTS = {"adam": ((1, 2), (2, 100), (3, 4)), "als": ((2, 100), (3, 2))}


@pytest.fixture(autouse=True, scope="module")
def _interpreted() -> Iterator[None]:
    with interpreted(piece=3):
        yield


def csr_of(ratings: Ratings, users: int, first: int, stop: int, *, weighted: bool) -> Csr | WeightedCsr:
    """Return the ratings of the items first <= i < stop, counted from the first one."""
    mine = (ratings.item >= first) & (ratings.item < stop)
    indptr = offsets_from_counts(np.bincount(ratings.user[mine], minlength=users))
    items, values = (ratings.item[mine] - first).astype(np.int32), ratings.value[mine].astype(np.float32)
    if not weighted:
        return Csr(indptr, items, values)
    return WeightedCsr(indptr, items, values, values + np.float32(0.3), np.float32(0.7))


@settings(max_examples=6)
@given(st.lists(st.integers(0, 9), max_size=4), st.booleans(), st.integers(0, 63))
def test_sums_of_users_go_on_over_any_blocks_of_items(cuts: list[int], weighted: bool, seed: int) -> None:
    ratings = random_ratings(7, 9, seed)
    factors = random_factors(9, 7, 5, torch.float32, item_bias=True)
    assert factors.c is not None
    users, items = Side(factors.W, factors.b[0]), Side(factors.X, factors.c[0])
    kernels = triton_backend()(csr_of(ratings, 7, 0, 9, weighted=weighted), CPU)
    *lanes, half = kernels.error_gradients(users, items)
    kernels.fixes_order = True
    *whole, half_in_order = kernels.error_gradients(users, items)
    for got, want in zip([*whole, half_in_order], [*lanes, half], strict=True):
        close(got, want, 1e-5)
    sums = Side(torch.zeros_like(factors.W), torch.zeros_like(factors.b[0]))
    for start, stop in pairwise([0, *sorted(cuts), 9]):
        part: Any = triton_backend()(csr_of(ratings, 7, start, stop, weighted=weighted), CPU)
        part.add(users, Side(*(rows[start:stop] for rows in items)), sums)
    for got, want in zip(sums, whole, strict=True):
        assert torch.equal(got, want[0])


@settings(max_examples=6)
@given(st.lists(st.integers(0, 20), max_size=5), st.sampled_from([torch.float32, torch.float64]))
def test_sums_over_items_go_on_over_any_blocks_of_items(cuts: list[int], dtype: torch.dtype) -> None:
    numbers = torch.randn(20, 7, generator=torch.Generator().manual_seed(1), dtype=torch.float64).to(dtype)
    items, weight = Side(numbers[:, :5].contiguous(), numbers[:, 5].contiguous()), numbers[:, 6].abs()
    whole = BlockSums(ReductionBlocks.single(0, fixes_order=True))

    def sums() -> list[Tensor]:
        return [
            whole.squares_over_items(items.features, weight),
            whole.squares_over_items(items.bias[:, None]),
            whole.column_squares_over_items(items.features, weight),
            whole.gram_over_items(items),
        ]

    by_loops = sums()
    with sums_as_on_a_device(runs=3, columns=4):
        want = sums()
        squares, biases = (ItemSquares(20, columns, weight) for columns in (5, 1))
        gram = ItemGram(20, 5, weight)
        for start, stop in pairwise([0, *sorted(cuts), 20]):
            rows = slice(start, stop)
            squares.add(items.features[rows], weight[rows])
            biases.add(items.bias[rows, None])
            gram.add(Side(items.features[rows], items.bias[rows]))
    got = [squares.total, biases.total, squares.columns, gram.total]
    for of_blocks, of_all, of_loops in zip(got, want, by_loops, strict=True):
        assert torch.equal(of_blocks, of_all)
        close(of_all, of_loops, 1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("unknown_weight", [0.0, 0.3], ids=["explicit", "implicit"])
@pytest.mark.parametrize("optimizer", ["adam", "als"])
def test_sharded_items_have_the_bits_of_replicated_ones(optimizer: str, unknown_weight: float) -> None:
    given = {"num_blocks": 4, "known": KNOWN, "unknown_weight": unknown_weight, "optimizer": optimizer}
    with invariant_as_on_a_device():
        one = Problem(1, **given)  # type: ignore[arg-type]
        costs, want = one.run(), one.whole()
        for ranks, block_items in CUTS[optimizer]:
            problem = Problem(ranks, block_items=block_items, **given)  # type: ignore[arg-type]
            assert problem.run() == costs, ranks
            for name, got in problem.whole().items():
                assert torch.equal(got, want[name]), (ranks, name)
