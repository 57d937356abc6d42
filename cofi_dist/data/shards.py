"""Who holds which users: contiguous ranges balanced by number of ratings; one rank's ratings."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from cofi_dist.data.ratings import Ratings

# Ratings in a block: few enough that a block's rows of W and its errors stay in cache while the
# items are summed, many enough that the partial sums of X cost little. See docs/benchmarks.md.
BLOCK_RATINGS = 2**20


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
class UserShard:
    """The ratings of one rank's users; nothing in it depends on the rank number.

    Attributes:
        users: which users.
        num_items: rows of X.
        ratings: theirs, item mean removed; `user` counts from `users.start`.
    """

    users: UserRange
    num_items: int
    ratings: Ratings

    def ratings_per_user(self) -> NDArray[np.int64]:
        """Of the shard's users, (U,)."""
        return np.bincount(self.ratings.user, minlength=len(self.users)).astype(np.int64)

    def blocks(self) -> Iterator[tuple[UserRange, Ratings]]:
        """The shard in runs of whole users of about BLOCK_RATINGS ratings.

        Yields:
            The block's users, counted from `users.start`, and their ratings, whose `user`
            counts from there too.
        """
        per_user = self.ratings_per_user()
        ends = starts(per_user)
        for users in plan(per_user, max(1, round(len(self.ratings) / BLOCK_RATINGS))):
            rows = slice(ends[users.start], ends[users.stop])
            yield (
                users,
                Ratings(self.ratings.user[rows], self.ratings.item[rows], self.ratings.value[rows]),
            )

    def block_ratings(self) -> list[slice]:
        """Where each block's ratings are among the shard's."""
        ends = starts(np.array([len(ratings) for _, ratings in self.blocks()]))
        return [slice(int(a), int(b)) for a, b in pairwise(ends)]
