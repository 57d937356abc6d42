"""Hold the ratings of one rank's users."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cofi_dist.data.ratings import Ratings
from cofi_dist.sharding.ranges import UserRange
from cofi_dist.sharding.reduction_tree import ReductionBlocks

# Ratings whose temporaries, of 8 bytes each, are in memory at a time.
PIECE_RATINGS = 2**20


@dataclass(frozen=True)
class UserShard:
    """Hold the ratings of one rank's users; nothing in it depends on the rank's number.

    Attributes:
        users: U users, as rows of the whole data set.
        num_items: M.
        ratings: of these users; `user` counts from `users.start`.
        blocks: of these users, in which sums over them are formed.
        item_offsets: what is subtracted from each item's ratings, (M,); None for nothing.
        alpha: if the ratings are strengths of events, the weight of one of strength r is 1 + alpha r, and
            its target is 1; None for ratings.
    """

    users: UserRange
    num_items: int
    ratings: Ratings
    blocks: ReductionBlocks
    item_offsets: NDArray[np.float64] | None = None
    alpha: float | None = None

    @classmethod
    def single_block(cls, users: UserRange, num_items: int, ratings: Ratings) -> "UserShard":
        """Build a shard with all its users in one block, whose ratings are taken as they are."""
        return cls(users, num_items, ratings, ReductionBlocks.single(len(users)))

    def ratings_per_user(self) -> NDArray[np.int64]:
        """Count the ratings of each user of the shard, (U,)."""
        return np.diff(self.indptr())

    def indptr(self) -> NDArray[np.int64]:
        """Return where each user's ratings start, and where the last user's end, (U + 1,)."""
        return np.searchsorted(self.ratings.user, np.arange(len(self.users) + 1))

    def targets(self, dtype: type[np.float32 | np.float64]) -> NDArray[np.floating] | np.floating:
        """Return what the scores should be: the centred ratings, (N,), or the number 1 for events."""
        return self.centred(dtype) if self.alpha is None else dtype(1)

    def known_weights(self, dtype: type[np.float32 | np.float64]) -> NDArray[np.floating] | np.floating:
        """Return the weight of each rating or event, (N,), or a single number if all are equal."""
        ratings = self.ratings
        given = ratings.weight if self.alpha is None else ratings.value
        if given is None:
            return dtype(1)
        is_equal = len(given) == 0 or bool((given == given[0]).all())
        chosen = given[:1].astype(np.float64) if is_equal else given
        weights = np.empty(len(chosen), dtype)
        for at in range(0, len(chosen), PIECE_RATINGS):
            piece = slice(at, at + PIECE_RATINGS)
            weights[piece] = chosen[piece] if self.alpha is None else 1 + self.alpha * chosen[piece]
        return (weights[0] if len(weights) else dtype(1)) if is_equal else weights

    def centred(self, dtype: type[np.float32 | np.float64] = np.float64) -> NDArray[np.floating]:
        """Return the ratings less their items' offsets, (N,), rounded once to `dtype`."""
        item, value = self.ratings.item, self.ratings.value
        centred = np.empty(len(value), dtype)
        for at in range(0, len(value), PIECE_RATINGS):
            rows = slice(at, at + PIECE_RATINGS)
            offset = 0.0 if self.item_offsets is None else self.item_offsets[item[rows]]
            centred[rows] = value[rows] - offset
        return centred
