"""The ratings of one rank's users."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from cofi_dist.data.ratings import Ratings
from cofi_dist.sharding.ranges import UserRange, balanced_ranges
from cofi_dist.sharding.reduction_tree import ReductionBlocks

# Ratings in a tile: few enough that a tile's rows of W and its errors stay in cache while the
# items are summed, many enough that the partial sums of X cost little. See docs/benchmarks.md.
TILE_RATINGS = 2**20

# Ratings whose temporaries, 8 bytes each, are not worth counting.
AT_ONCE = 2**20


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
    blocks: ReductionBlocks = field(default=None)  # type: ignore[assignment]

    def __post_init__(self) -> None:
        if self.blocks is None:
            object.__setattr__(self, "blocks", ReductionBlocks.single(len(self.users)))

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
            cut = balanced_ranges(mine, max(1, round(mine.sum() / TILE_RATINGS)))
            found.append([UserRange(u.start + block.start, u.stop + block.start) for u in cut])
        return found
