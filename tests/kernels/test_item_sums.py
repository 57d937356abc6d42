"""Sums over items that go by block after block have the bits of those over all items at once."""

from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from cofi_dist.kernels.base import Side
from cofi_dist.kernels.block_sums import BlockSums
from cofi_dist.kernels.item_sums import ItemGram, ItemSquares
from cofi_dist.sharding.reduction_tree import ReductionBlocks

SUMS = BlockSums(ReductionBlocks.single(0))


@st.composite
def cut_items(draw: st.DrawFn) -> tuple[Side[torch.Tensor], torch.Tensor, list[slice]]:
    """Return some items' rows, their weights, and any cut of them into blocks, of which some are empty."""
    items, columns = draw(st.integers(0, 200)), draw(st.sampled_from([1, 5, 16, 33]))
    dtype = draw(st.sampled_from([torch.float32, torch.float64]))
    cuts = draw(st.lists(st.integers(0, items), max_size=12))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 100)))
    numbers = torch.randn(items, columns + 2, generator=generator, dtype=torch.float64).to(dtype)
    side = Side(numbers[:, :columns].contiguous(), numbers[:, columns].contiguous())
    blocks = [slice(start, stop) for start, stop in pairwise([0, *sorted(cuts), items])]
    return side, numbers[:, columns + 1].abs().contiguous(), blocks


@given(cut_items())
def test_any_cut_gives_the_same_bits(cut: tuple[Side[torch.Tensor], torch.Tensor, list[slice]]) -> None:
    items, weight, blocks = cut
    shape = *items.features.shape, items.features
    weighted, plain, biases = ItemSquares(*shape), ItemSquares(*shape), ItemSquares(len(weight), 1, weight)
    gram = ItemGram(*shape)
    for block in blocks:
        weighted.add(items.features[block], weight[block])
        plain.add(items.features[block])
        biases.add(items.bias[block, None])
        gram.add(Side(items.features[block], items.bias[block]))
    assert torch.equal(weighted.columns, SUMS.column_squares_over_items(items.features, weight))
    assert torch.equal(weighted.total, SUMS.squares_over_items(items.features, weight))
    assert torch.equal(plain.total, SUMS.squares_over_items(items.features))
    assert torch.equal(biases.total, SUMS.squares_over_items(items.bias[:, None]))
    assert torch.equal(gram.total, SUMS.gram_over_items(items))


@pytest.mark.parametrize("cuts", [(50,), (1, 2, 3), range(1, 100)])
def test_the_sums_are_those_of_the_rows(cuts: tuple[int, ...]) -> None:
    rows = torch.randn(100, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    extended = torch.cat([rows[:, :3], torch.ones(100, 1), rows[:, 3:]], 1)
    squares, gram = ItemSquares(100, 3, rows), ItemGram(100, 3, rows)
    for start, stop in pairwise([0, *cuts, 100]):
        squares.add(rows[start:stop, :3].contiguous())
        gram.add(Side(rows[start:stop, :3].contiguous(), rows[start:stop, 3].contiguous()))
    torch.testing.assert_close(squares.columns, rows[:, :3].square().sum(0))
    torch.testing.assert_close(gram.total, extended.T @ extended)
