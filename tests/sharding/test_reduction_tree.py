"""Sums by blocks: the same order, however the blocks are cut into subtrees."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cofi_dist.sharding.ranges import UserRange
from cofi_dist.sharding.reduction_tree import ReductionBlocks, are_siblings, largest_subtrees


def test_a_subtree_is_summed_by_halves() -> None:
    sums = np.random.default_rng(0).standard_normal((8, 3)).astype(np.float32)
    blocks = ReductionBlocks((UserRange(0, 1),) * 8, (range(8),))
    a, b, c, d, e, f, g, h = sums
    assert np.array_equal(blocks.subtree_sums(sums)[0], ((a + b) + (c + d)) + ((e + f) + (g + h)))


@pytest.mark.parametrize(
    ("start", "stop", "subtrees"),
    [
        (0, 8, [range(8)]),
        (0, 3, [range(2), range(2, 3)]),
        (3, 5, [range(3, 4), range(4, 5)]),
        (5, 8, [range(5, 6), range(6, 8)]),
        (2, 2, []),
    ],
)
def test_blocks_are_cut_into_the_fewest_subtrees(start: int, stop: int, subtrees: list[range]) -> None:
    assert largest_subtrees(start, stop) == subtrees


@given(st.integers(0, 6), st.integers(0, 40))
def test_the_halves_of_a_subtree_are_siblings_and_its_neighbours_are_not(power: int, place: int) -> None:
    half = 2**power
    start = 2 * half * place
    left, right, after = (range(start + n * half, start + (n + 1) * half) for n in range(3))
    assert are_siblings(left, right)
    assert not are_siblings(right, after)
