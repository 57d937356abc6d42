"""Fix the order in which sums over all users are formed, so that their bits do not depend on the ranks.

The users are cut into a fixed number of blocks, a power of two. Each block is summed on its own, and
the block sums are then added in the order of a fixed binary tree. With 8 blocks:

            +----------- 0-7 -----------+
            |                           |
      +--- 0-3 ---+               +--- 4-7 ---+
      |           |               |           |
    +0-1+       +2-3+           +4-5+       +6-7+
    |   |       |   |           |   |       |   |
    0   1       2   3           4   5       6   7     block
    '------ rank 0 ------'  '------ rank 1 -----'     two ranks: subtrees 0-3 | 4-7
    '- rank 0 -'  '- rank 1 -'     '- rank 2 -'       three ranks: 0-1, 2 | 3, 4 | 5, 6-7

Each rank holds consecutive blocks. Without the other ranks it can only add whole subtrees: 2**n blocks
whose first block is a multiple of 2**n. The subtree sums of all ranks are then merged in the same tree.
"""

from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from cofi_dist.sharding.ranges import UserRange

Sums = TypeVar("Sums", bound=Any)  # an array or a tensor


@dataclass(frozen=True)
class ReductionBlocks:
    """Hold the blocks of one rank's users: B blocks, in T subtrees.

    Attributes:
        users: users of each block, counted from the rank's first user, B ranges.
        subtrees: blocks of each subtree, counted from the rank's first block, T ranges.
        fixes_order: whether sums are to have the same bits on any number of ranks.
    """

    users: tuple[UserRange, ...]
    subtrees: tuple[range, ...]
    fixes_order: bool = False

    @classmethod
    def single(cls, num_users: int, *, fixes_order: bool = False) -> "ReductionBlocks":
        """Put all users of the rank into one block, for sums over users whose order is not fixed."""
        return cls((UserRange(0, num_users),), (range(1),), fixes_order)

    def subtree_sums(self, block_sums: NDArray[np.floating]) -> NDArray[np.floating]:
        """Add the block sums of each subtree: (B, ...) -> (T, ...)."""
        return np.concatenate([add_pairwise(block_sums[tree.start : tree.stop]) for tree in self.subtrees])


def add_pairwise(values: Sums) -> Sums:
    """Add neighbours, level by level, until one is left: (2**n, ...) -> (1, ...)."""
    while len(values) > 1:
        values = values[0::2] + values[1::2]
    return values


def largest_subtrees(start: int, stop: int) -> list[range]:
    """Cut blocks start <= b < stop into as few whole subtrees as possible."""
    subtrees = []
    while start < stop:
        size = 1 << ((stop - start).bit_length() - 1)  # the largest power of two that fits
        if start:
            size = min(size, start & -start)  # a subtree starts at a multiple of its size
        subtrees.append(range(start, start + size))
        start += size
    return subtrees


def are_siblings(left: range, right: range) -> bool:
    """Tell whether two neighbouring subtrees are the two halves of a larger one."""
    return len(left) == len(right) and left.start % (2 * len(left)) == 0
