"""Assign users to ranks, as whole blocks."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from cofi_dist.sharding.ranges import UserRange, balanced_ranges
from cofi_dist.sharding.reduction_tree import ReductionBlocks, largest_subtrees


@dataclass(frozen=True)
class UserPartition:
    """Say which users every rank holds, and in which blocks.

    Attributes:
        blocks: users of each block of all ranks, in order.
        bounds: rank r holds blocks bounds[r] <= b < bounds[r + 1]; (world_size + 1,).
        fixes_order: whether the blocks are the same on any number of ranks, and so the order of sums.
    """

    blocks: tuple[UserRange, ...]
    bounds: tuple[int, ...]
    fixes_order: bool

    @classmethod
    def balanced(
        cls, ratings_per_user: NDArray[np.int64], world_size: int, num_blocks: int | None
    ) -> "UserPartition":
        """Give every rank about equally many ratings.

        Args:
            ratings_per_user: (num_users,).
            world_size: number of ranks.
            num_blocks: a power of two, at least `world_size`; None for one block per rank, which fixes
                no order of sums.
        """
        fixes_order = num_blocks is not None
        num_blocks = num_blocks or world_size
        bounds = tuple(round(rank * num_blocks / world_size) for rank in range(world_size + 1))
        return cls(tuple(balanced_ranges(ratings_per_user, num_blocks)), bounds, fixes_order)

    @property
    def ranges(self) -> list[UserRange]:
        """Return the users of each rank."""
        return [
            UserRange(self.blocks[start].start, self.blocks[stop - 1].stop)
            for start, stop in pairwise(self.bounds)
        ]

    @property
    def subtrees(self) -> list[list[range]]:
        """Return the subtrees of each rank, as ranges of the blocks of all ranks."""
        return [largest_subtrees(start, stop) for start, stop in pairwise(self.bounds)]

    def local_blocks(self, rank: int) -> ReductionBlocks:
        """Return the blocks of one rank, counted from its first user and its first block."""
        start, stop = self.bounds[rank], self.bounds[rank + 1]
        first_user = self.blocks[start].start
        users = tuple(UserRange(u.start - first_user, u.stop - first_user) for u in self.blocks[start:stop])
        subtrees = tuple(range(tree.start - start, tree.stop - start) for tree in self.subtrees[rank])
        return ReductionBlocks(users, subtrees, self.fixes_order)
