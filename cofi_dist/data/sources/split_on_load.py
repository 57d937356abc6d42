"""Ratings whose held-out parts are chosen as they are loaded, by chance alone."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from cofi_dist.config import Columns, Split
from cofi_dist.data.ids import IdMap
from cofi_dist.data.ratings import Ratings
from cofi_dist.data.sources.base import UnsplitSource
from cofi_dist.data.splits import PARTS, Part, assign_parts
from cofi_dist.sharding.ranges import UserRange

SPLIT_BATCH = 2**20  # ratings: what chooses among them takes 80 bytes for each


class SplitOnLoad:
    """A source without ids or files of its own, of which parts are held out.

    Args:
        source: of all the ratings; loads any user range.
        splits: as `held_out` gives them; none of them needs times.
    """

    sums = None
    centre = ("none", None)
    columns = Columns()

    def __init__(self, source: UnsplitSource, splits: dict[Part, Split]) -> None:
        self._source, self._splits = source, splits
        self.num_users, self.num_items = source.num_users, source.num_items
        self.scale = source.scale
        self.parts: tuple[Part, ...] = ("train", *splits)

    @property
    def notes(self) -> list[str]:
        """What is known of the ratings, in lines."""
        return self._source.notes

    @property
    def ids(self) -> tuple[IdMap, IdMap]:
        """Row numbers."""
        return IdMap.rows(self.num_users), IdMap.rows(self.num_items)

    def fingerprint(self) -> str:
        """Of all the ratings; the splits are in the config."""
        return self._source.fingerprint()

    def ratings_per_user(self) -> NDArray[np.int64]:
        """(num_users,), held-out ones among them."""
        return self._source.ratings_per_user()

    def load(self, users: UserRange, part: Part = "train") -> Ratings:
        """This part of the ratings of these users; `user` counts from `users.start`."""
        ratings = self._source.load(users)
        if not self._splits:
            return ratings
        mine = np.empty(len(ratings), np.bool_)
        for rows in _whole_users(ratings.user):
            user = ratings.user[rows].astype(np.int64) + users.start
            mine[rows] = assign_parts(user, ratings.item[rows], self._splits) == PARTS.index(part)
        return Ratings(ratings.user[mine], ratings.item[mine], ratings.value[mine])


def _whole_users(user: NDArray[np.int32]) -> Iterator[slice]:
    """Ascending users in pieces of about SPLIT_BATCH, none of them cut."""
    start = 0
    while start < len(user):
        last = user[min(start + SPLIT_BATCH, len(user)) - 1]
        stop = int(np.searchsorted(user, last, side="right"))
        yield slice(start, stop)
        start = stop
