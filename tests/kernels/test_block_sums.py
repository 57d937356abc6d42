"""Sums over the rows of a factor, by blocks of users and over all items."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from cofi_dist.kernels.block_sums import BlockSums, ordered_row_sums
from cofi_dist.sharding.partition import UserPartition
from tests.support.problems import close


@given(st.integers(0, 40), st.sampled_from([torch.float32, torch.float64]), st.booleans())
def test_squares_are_the_formula_per_subtree(rows: int, dtype: torch.dtype, weighted: bool) -> None:
    generator = torch.Generator().manual_seed(rows)
    Z = torch.randn(rows, 3, generator=generator, dtype=torch.float64).to(dtype)
    weight = torch.rand(rows, generator=generator, dtype=torch.float64).to(dtype) if weighted else None
    scale = torch.ones(rows) if weight is None else weight
    squares = scale.double()[:, None] * Z.double().square()
    # 8 blocks of ranks 0, 1 and 2: the last one has blocks 5, and 6 and 7, which are two subtrees
    partition = UserPartition.balanced(np.ones(rows, np.int64), 3, 8)
    for rank, users in enumerate(partition.ranges):
        own = slice(users.start, users.stop)
        sums = BlockSums(partition.local_blocks(rank))
        found = sums.squares_over_users(Z[own], None if weight is None else weight[own])
        assert found.shape == (len(partition.subtrees[rank]),)
        close(found.sum(), squares[own].sum(), 1e-12)
        columns = sums.column_squares_over_users(Z[own], scale[own].to(dtype))
        close(columns.sum(0), squares[own].sum(0), 1e-5)
        close(sums.squares_over_items(Z, weight), squares.sum(), 1e-12)
        close(sums.column_squares_over_items(Z, scale.to(dtype)), squares.sum(0), 1e-5)
        close(sums.sum_over_users(squares[own, 0]).sum(), squares[own, 0].sum(), 1e-12)


@pytest.mark.parametrize("threads", [2, 3])
def test_a_sum_does_not_depend_on_threads(threads: int) -> None:
    numbers = torch.randn(3, 100_000, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    one, before = ordered_row_sums(numbers), torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        assert torch.equal(ordered_row_sums(numbers), one)
    finally:
        torch.set_num_threads(before)
