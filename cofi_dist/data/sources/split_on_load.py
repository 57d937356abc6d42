"""Choose held-out parts as ratings are loaded, by hashes alone."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from cofi_dist.config import ColumnNames, SplitSection
from cofi_dist.data.ids import IdMap
from cofi_dist.data.ratings import Ratings
from cofi_dist.data.sources.base import UnsplitSource
from cofi_dist.data.splits import PARTS, Part, assign_parts
from cofi_dist.sharding.ranges import UserRange

SPLIT_BATCH = 2**20  # ratings that are split at a time, which takes 80 bytes per rating


class SplitOnLoad:
    """Make a `Source` of a source that has neither parts nor ids nor files of its own.

    Args:
        source: all the ratings.
        splits: as `held_out` returns them; none of them needs times.
    """

    item_sums = None
    centre = ("none", None)
    columns = ColumnNames()

    def __init__(self, source: UnsplitSource, splits: dict[Part, SplitSection]) -> None:
        self._source, self._splits = source, splits
        self.num_users, self.num_items = source.num_users, source.num_items
        self.feedback, self.scale = source.feedback, source.scale
        self.parts: tuple[Part, ...] = ("train", *splits)

    @property
    def notes(self) -> list[str]:
        """Return lines about what is known of the ratings."""
        return self._source.notes

    @property
    def ids(self) -> tuple[IdMap, IdMap]:
        """Return row numbers, as the source has no ids."""
        return IdMap.row_numbers(self.num_users), IdMap.row_numbers(self.num_items)

    def fingerprint(self) -> str:
        """Return the fingerprint of all the ratings; the splits are in the config."""
        return self._source.fingerprint()

    def ratings_per_user(self) -> NDArray[np.int64]:
        """Count each user's ratings, held-out ones included: (num_users,)."""
        return self._source.ratings_per_user()

    def load(self, users: UserRange, part: Part = "train") -> Ratings:
        """Load this part of the ratings of these users; `user` counts from `users.start`."""
        ratings = self._source.load(users)
        if not self._splits:
            return ratings
        in_part = np.empty(len(ratings), np.bool_)
        for rows in _whole_users(ratings.user):
            global_user = ratings.user[rows].astype(np.int64) + users.start
            part_N = assign_parts(global_user, ratings.item[rows], self._splits)
            in_part[rows] = part_N == PARTS.index(part)
        return ratings.masked(in_part)


def _whole_users(user: NDArray[np.int32]) -> Iterator[slice]:
    """Cut ascending users into slices of about SPLIT_BATCH that divide no user's ratings."""
    start = 0
    while start < len(user):
        last = user[min(start + SPLIT_BATCH, len(user)) - 1]
        stop = int(np.searchsorted(user, last, side="right"))
        yield slice(start, stop)
        start = stop
