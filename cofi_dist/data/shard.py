"""The ratings of one rank's users."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from cofi_dist.data.ratings import Ratings
from cofi_dist.sharding.ranges import UserRange
from cofi_dist.sharding.reduction_tree import ReductionBlocks

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

    def csr(
        self, dtype: type[np.float32 | np.float64]
    ) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.floating]]:
        """Return the ratings as the arrays of a compressed sparse row matrix, user by user.

        Returns:
            indptr, (U + 1,): where each user's ratings start, and where the last user's end; the items, (N,);
            the ratings less their items' means, (N,), in `dtype`.
        """
        indptr = np.searchsorted(self.ratings.user, np.arange(len(self.users) + 1))
        return indptr, self.ratings.item.astype(np.int32, copy=False), self.centred(dtype)

    def centred(self, dtype: type[np.float32 | np.float64] = np.float64) -> NDArray[np.floating]:
        """Return the ratings less their items' means, (N,), rounded once to `dtype`."""
        item, value = self.ratings.item, self.ratings.value
        centred = np.empty(len(value), dtype)
        for at in range(0, len(value), AT_ONCE):
            rows = slice(at, at + AT_ONCE)
            mean = 0.0 if self.means is None else self.means[item[rows]]
            centred[rows] = value[rows] - mean
        return centred
