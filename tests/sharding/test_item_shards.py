"""Item shards: every item has one owner, and slices of a block are in rank order."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from cofi_dist.sharding.item_shards import (
    MOST_BLOCKS,
    MOST_RANGES,
    ItemShards,
    automatic_block,
    smallest_block,
)


@given(st.integers(1, 60), st.integers(1, 70), st.integers(1, 9))
def test_every_item_has_one_owner_and_ranks_follow_one_another_in_a_block(
    num_items: int, block_items: int, world_size: int
) -> None:
    ranks = [ItemShards(num_items, block_items, world_size, rank) for rank in range(world_size)]
    found = [
        item
        for slices in zip(*(shards.owned() for shards in ranks), strict=True)
        for owned in slices
        for item in range(owned.start, owned.stop)
    ]
    assert found == list(range(num_items))
    assert sum(shards.num_owned for shards in ranks) == num_items
    assert ranks[0].owned(world_size - 1) == ranks[-1].owned()
    rows = np.concatenate([shards.own_rows(np.arange(num_items)) for shards in ranks])
    assert sorted(rows.tolist()) == list(range(num_items))


@given(st.integers(1, 60), st.integers(1, 70), st.integers(1, 9))
def test_no_rank_owns_more_of_a_block_than_a_slice(num_items: int, block_items: int, world_size: int) -> None:
    shards = ItemShards(num_items, block_items, world_size, 0)
    for rank in range(world_size):
        for block, owned in zip(shards.blocks, shards.owned(rank), strict=True):
            assert len(owned) <= shards.slice_items(block)
            if rank < len(block) // shards.slice_items(block):
                assert len(owned) == shards.slice_items(block)


@given(st.integers(1, 10**8), st.integers(4, 4096), st.integers(1, 3000))
def test_blocks_are_whole_slices_and_not_too_many(
    num_items: int, bytes_per_item: int, world_size: int
) -> None:
    block = automatic_block(num_items, bytes_per_item, world_size)
    assert block % world_size == 0
    assert -(-num_items // block) <= min(MOST_BLOCKS, MOST_RANGES // world_size)


@given(st.integers(1, 10**8), st.integers(1, 3000))
def test_the_smallest_block_is_the_first_that_makes_few_enough_ranges(
    num_items: int, world_size: int
) -> None:
    def ranges(block: int) -> int:
        return -(-num_items // block) * world_size

    least = smallest_block(num_items, world_size)
    assert ranges(least) <= MOST_RANGES
    assert least == 1 or ranges(least - 1) > MOST_RANGES
