"""Decide which rank owns which rows of X, if no rank is to hold them all.

The items are cut into blocks of rows that follow one another, and each block into a slice per rank:

    block   |------ 0 ------|------ 1 ------|-- 2 --|
    owner   | r0 | r1 | r2  | r0 | r1 | r2  |r0|r1|r2    three ranks

A block travels to all ranks at once, each of which sends its slice: the network is used in all directions.
Blocks follow one another in the order of the items, so whoever sums over the items block by block adds in
the same order as over all of X. Slices are equal to one row, which balances the bytes of X and its state. The
ratings are balanced by users.
"""

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from cofi_dist.sharding.ranges import UserRange

# Blocks of items that are made for each rank, if each has at least so many bytes of X; and in all at most.
BLOCKS_PER_RANK, LEAST_BLOCK_BYTES, MOST_BLOCKS = 12, 2**23, 128
# Ranges of items that all ranks own together. Each is a file of every checkpoint.
MOST_RANGES = 2**14

Number = TypeVar("Number", bound=np.generic)


@dataclass(frozen=True)
class ItemShards:
    """Say which rows of X every rank owns.

    A rank's own rows, wherever they are held, follow one another in the order of the items.

    Attributes:
        num_items: of all ranks.
        block_items: items of a block; the last one may have fewer.
        world_size: number of ranks.
        rank: the number of this rank.
    """

    num_items: int
    block_items: int
    world_size: int
    rank: int

    @property
    def blocks(self) -> list[UserRange]:
        """Return the items of each block."""
        starts = range(0, self.num_items, self.block_items)
        return [UserRange(start, min(start + self.block_items, self.num_items)) for start in starts]

    def slice_items(self, block: UserRange) -> int:
        """Return the number of rows that each rank sends of a block; those beyond its end are padding."""
        return -(-len(block) // self.world_size)

    def padded_rows(self, block: UserRange) -> int:
        """Return the number of rows that a block has with its padding: one slice per rank."""
        return self.world_size * self.slice_items(block)

    def owned(self, rank: int | None = None) -> list[UserRange]:
        """Return the items that a rank owns of each block, this one if none is given; some may be empty."""
        rank = self.rank if rank is None else rank
        found = []
        for block in self.blocks:
            size = self.slice_items(block)
            start = min(block.start + rank * size, block.stop)
            found.append(UserRange(start, min(start + size, block.stop)))
        return found

    def locate(self, items: NDArray[np.integer]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return which rank owns each item, and where its row is among those of that rank."""
        sizes = np.array([self.slice_items(block) for block in self.blocks], np.int64)
        block, place = np.divmod(items.astype(np.int64), self.block_items)
        owner, place = np.divmod(place, sizes[block])
        of_first_block = np.array([len(self.owned(rank)[0]) for rank in range(self.world_size)], np.int64)
        return owner, block * of_first_block[owner] + place

    @property
    def num_owned(self) -> int:
        """Return the number of items that this rank owns."""
        return sum(map(len, self.owned()))

    def own_rows(self, of_items: NDArray[Number]) -> NDArray[Number]:
        """Return the own rows of an array with a row for each item."""
        return np.concatenate([of_items[:0], *(of_items[items.start : items.stop] for items in self.owned())])


def smallest_block(num_items: int, world_size: int) -> int:
    """Return how few items a block may have, so that all ranks do not own too many ranges together."""
    return -(-num_items // max(1, MOST_RANGES // world_size))


def automatic_block(num_items: int, bytes_per_item: int, world_size: int) -> int:
    """Return how many items a block has if the config does not say so.

    A rank holds about six blocks of rows at a time, beside a share of X and its state. Blocks so small that
    messages take longer to begin than to carry are not worth it.

    Args:
        num_items: of all ranks.
        bytes_per_item: of a row of X.
        world_size: number of ranks.
    """
    least = -(-LEAST_BLOCK_BYTES // bytes_per_item)
    wanted = max(least, -(-num_items // min(BLOCKS_PER_RANK * world_size, MOST_BLOCKS)))
    wanted = max(wanted, smallest_block(num_items, world_size))
    # whole slices, so that none but the last block has rows of padding
    return max(1, -(-min(wanted, num_items) // world_size) * world_size)
