"""Ranks and blocks: every user and block once, every subtree part of one tree."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from cofi_dist.sharding.partition import UserPartition


@given(st.lists(st.integers(0, 30), min_size=1, max_size=40), st.integers(0, 5), st.data())
def test_subtrees_are_all_blocks_once_and_part_of_one_tree(
    counts: list[int], power: int, data: st.DataObject
) -> None:
    num_blocks = 2**power
    world_size = data.draw(st.integers(1, num_blocks))
    partition = UserPartition.balanced(np.array(counts, np.int64), world_size, num_blocks)
    assert [b for rank in partition.subtrees for tree in rank for b in tree] == list(range(num_blocks))
    for tree in (tree for rank in partition.subtrees for tree in rank):
        assert len(tree) & (len(tree) - 1) == 0
        assert tree.start % len(tree) == 0
    assert [u for r in partition.ranges for u in range(r.start, r.stop)] == list(range(len(counts)))
    for rank, users in enumerate(partition.ranges):
        local = partition.local_blocks(rank)
        assert [u for r in local.users for u in range(r.start, r.stop)] == list(range(len(users)))
        assert [b for tree in local.subtrees for b in tree] == list(range(len(local.users)))


def test_without_blocks_each_rank_has_one() -> None:
    partition = UserPartition.balanced(np.full(12, 7, np.int64), 3, None)
    assert partition.bounds == (0, 1, 2, 3)
    assert [len(users) for users in partition.ranges] == [4, 4, 4]
