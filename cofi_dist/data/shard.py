"""Who holds which users: contiguous ranges balanced by number of ratings; one rank's ratings.

Where sums over all users shall not depend on the number of ranks, they are formed by blocks of users that
don't either, and put together as a binary tree:

    ((0 + 1) + (2 + 3)) + ((4 + 5) + (6 + 7))

A rank has consecutive blocks. What it can add up without the others are branches of the tree: as many
blocks as a power of two, from a multiple of it on.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from cofi_dist.data.ratings import Ratings

# Ratings in a tile: few enough that a tile's rows of W and its errors stay in cache while the
# items are summed, many enough that the partial sums of X cost little. See docs/benchmarks.md.
TILE_RATINGS = 2**20

# Ratings whose temporaries, 8 bytes each, are not worth counting.
AT_ONCE = 2**20


@dataclass(frozen=True)
class UserRange:
    """Users start <= j < stop, in global rows."""

    start: int
    stop: int

    def __len__(self) -> int:
        return self.stop - self.start


def starts(counts: NDArray[np.integer]) -> NDArray[np.int64]:
    """Where each row's ratings begin, and where the last one's end: (rows,) -> (rows + 1,)."""
    return np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)


def plan(ratings_per_user: NDArray[np.int64], parts: int) -> list[UserRange]:
    """Cut the users into contiguous ranges with about equally many ratings.

    Each cut lies at the user whose end is nearest to an equal share, so a part exceeds the
    equal share by at most one user's ratings. Parts may be empty.

    Args:
        ratings_per_user: (num_users,).
        parts: number of ranges.
    """
    ends = starts(ratings_per_user)
    shares = ends[-1] * np.arange(1, parts) / parts
    above = np.searchsorted(ends, shares)
    below = np.maximum(above - 1, 0)
    cuts = np.where(shares - ends[below] < ends[above] - shares, below, above)
    bounds = [0, *cuts.tolist(), len(ratings_per_user)]
    return [UserRange(a, b) for a, b in pairwise(bounds)]


def ratings_of(ranges: Sequence[UserRange], ratings_per_user: NDArray[np.int64]) -> list[int]:
    """How many ratings each range of users has."""
    ends = starts(ratings_per_user)
    return [int(ends[users.stop] - ends[users.start]) for users in ranges]


@dataclass(frozen=True)
class Blocks:
    """Runs of one rank's users, each of which is summed by itself; B blocks, T branches.

    Attributes:
        users: of each block, counted from the rank's first.
        branches: which of the blocks each has.
    """

    users: tuple[UserRange, ...]
    branches: tuple[range, ...]

    @classmethod
    def one(cls, num_users: int) -> "Blocks":
        """All users of the rank, where nothing is promised about the order of sums."""
        return cls((UserRange(0, num_users),), (range(1),))

    def sums(self, of_blocks: NDArray[np.floating]) -> NDArray[np.floating]:
        """Of each branch: (B, ...) -> (T, ...)."""
        return np.concatenate([_tree(of_blocks[run.start : run.stop]) for run in self.branches])


def _tree(values: NDArray[np.floating]) -> NDArray[np.floating]:
    while len(values) > 1:
        values = values[0::2] + values[1::2]
    return values


@dataclass(frozen=True)
class Spread:
    """Which users every rank has, and in which blocks.

    Attributes:
        blocks: of all ranks, in order.
        bounds: rank r has those from bounds[r] to before bounds[r + 1].
    """

    blocks: tuple[UserRange, ...]
    bounds: tuple[int, ...]

    @classmethod
    def of(cls, ratings_per_user: NDArray[np.int64], world_size: int, blocks: int | None) -> "Spread":
        """Over so many ranks; `blocks` is a power of two and no less, or None for a block a rank."""
        cut = blocks or world_size
        bounds = tuple(round(rank * cut / world_size) for rank in range(world_size + 1))
        return cls(tuple(plan(ratings_per_user, cut)), bounds)

    @property
    def ranges(self) -> list[UserRange]:
        """Every rank's users."""
        return [UserRange(self.blocks[a].start, self.blocks[b - 1].stop) for a, b in pairwise(self.bounds)]

    @property
    def branches(self) -> list[list[range]]:
        """Every rank's, of the blocks of all ranks."""
        return [_branches(a, b) for a, b in pairwise(self.bounds)]

    def blocks_of(self, rank: int) -> Blocks:
        """A rank's own."""
        first, last = self.bounds[rank], self.bounds[rank + 1]
        start = self.blocks[first].start
        users = tuple(UserRange(u.start - start, u.stop - start) for u in self.blocks[first:last])
        return Blocks(users, tuple(range(r.start - first, r.stop - first) for r in self.branches[rank]))


def _branches(first: int, stop: int) -> list[range]:
    """The fewest that are all blocks from first to before stop."""
    found = []
    while first < stop:
        size = 1 << ((stop - first).bit_length() - 1)  # the largest power of two that is not too long
        if first:
            size = min(size, first & -first)  # and of which `first` is a multiple
        found.append(range(first, first + size))
        first += size
    return found


@dataclass(frozen=True)
class UserShard:
    """The ratings of one rank's users; nothing in it depends on the rank number.

    Attributes:
        users: which users.
        num_items: M, rows of X.
        ratings: theirs; `user` counts from `users.start`.
        means: what is taken off each item's ratings, (M,); None for nothing.
        blocks: in which their sums are formed.
    """

    users: UserRange
    num_items: int
    ratings: Ratings
    means: NDArray[np.float64] | None = None
    blocks: Blocks = field(default=None)  # type: ignore[assignment]

    def __post_init__(self) -> None:
        if self.blocks is None:
            object.__setattr__(self, "blocks", Blocks.one(len(self.users)))

    def ratings_per_user(self) -> NDArray[np.int64]:
        """Of the shard's users, (U,)."""
        return np.diff(np.searchsorted(self.ratings.user, np.arange(len(self.users) + 1)))

    def centred(
        self, kind: type[np.float32 | np.float64] = np.float64, place: NDArray[np.integer] | None = None
    ) -> NDArray[np.floating]:
        """Ratings less their item's mean, (N,), rounded once to `kind`; each at its place, if given."""
        item, value = self.ratings.item, self.ratings.value
        centred = np.empty(len(value), kind)
        for at in range(0, len(value), AT_ONCE):
            rows = slice(at, at + AT_ONCE)
            mean = 0.0 if self.means is None else self.means[item[rows]]
            centred[rows if place is None else place[rows]] = value[rows] - mean
        return centred

    def tiles(self) -> list[list[UserRange]]:
        """Each block in runs of whole users of about TILE_RATINGS ratings, counted as the block's are."""
        per_user, found = self.ratings_per_user(), []
        for block in self.blocks.users:
            mine = per_user[block.start : block.stop]
            cut = plan(mine, max(1, round(mine.sum() / TILE_RATINGS)))
            found.append([UserRange(u.start + block.start, u.stop + block.start) for u in cut])
        return found
