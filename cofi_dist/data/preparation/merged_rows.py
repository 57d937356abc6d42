"""Merge the ratings of two sources, range by range of users, so that memory does not grow with the ratings.

Of each range, the ratings of both are loaded, their rows renumbered in the ascending order of all ids, and
their pairs merged.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from cofi_dist.data.preparation.duplicates import keep_one_of_each, sort_by_pair
from cofi_dist.data.preparation.spool import SPOOL_ROWS, RowBatch
from cofi_dist.data.ratings import Ratings
from cofi_dist.data.splits import Part
from cofi_dist.sharding.ranges import UserRange, balanced_ranges

Rows = NDArray[np.int64]
Again = Literal["replace", "add"]  # what a new rating of a pair does to the old one


class JoinedSide(Protocol):
    """Offer what the join needs of a source of ratings (`cofi_dist.data.sources`)."""

    @property
    def num_users(self) -> int: ...

    @property
    def parts(self) -> tuple[Part, ...]: ...

    def ratings_per_user(self) -> NDArray[np.int64]: ...

    def load(self, users: UserRange, part: Part = "train") -> Ratings: ...


class Merger:
    """Merge the ratings of two sides, a range of users at a time, and count what is merged.

    New ratings are for training: a held-out one of the same pair leaves its part.

    Args:
        sides: the old ratings, and the new ones.
        users, items: joined row of each user and item of both sides.
        again: what a new rating of a pair does to the old one.
        columns: `value`, and `weight` if there are weights.

    Attributes:
        num_new: new ratings so far.
        num_again: those of pairs that had a rating to train on.
        num_moved: those of pairs that were held out.
    """

    def __init__(
        self,
        sides: tuple[JoinedSide, JoinedSide],
        users: Sequence[Rows],
        items: Sequence[Rows],
        again: Again,
        columns: Sequence[str],
    ) -> None:
        self._old, self._new = (_Side(*side) for side in zip(sides, users, items, strict=True))
        self._again, self._columns = again, columns
        self.num_new = self.num_again = self.num_moved = 0

    def pieces(self, num_users: int) -> Iterator[dict[Part, RowBatch]]:
        """Yield the ratings of each part, sorted by pair, of ranges of users that follow one another."""
        counts = self._old.counts(num_users) + self._new.counts(num_users)
        for users in balanced_ranges(counts, max(1, round(int(counts.sum()) / SPOOL_ROWS))):
            new = self._new.load(users, "train", self._columns)
            parts = {part: self._old.load(users, part, self._columns) for part in self._old.source.parts}
            train, num_moved = [parts.pop("train")], 0
            for part, rows in parts.items():
                is_moved = np.isin(_pairs(rows), _pairs(new))
                num_moved += int(is_moved.sum())
                parts[part] = {name: values[~is_moved] for name, values in rows.items()}
                if self._again == "add":
                    train.append({name: values[is_moved] for name, values in rows.items()})
            merged, num_repeats = self._merged([*train, new])
            self.num_new += len(new["user"])
            self.num_moved += num_moved
            self.num_again += num_repeats - (num_moved if self._again == "add" else 0)
            yield {"train": merged, **parts}

    def _merged(self, batches: list[RowBatch]) -> tuple[RowBatch, int]:
        """Return the rows of all batches sorted by pair, each pair once, and how many repeated a pair."""
        columns = {name: np.concatenate([batch[name] for batch in batches]) for name in batches[0]}
        rows, repeats = sort_by_pair(columns)
        if repeats.any():
            rows = keep_one_of_each(rows, repeats, "sum" if self._again == "add" else "last")
        return rows, int(repeats.sum())


class _Side:
    """Load ratings of one side in joined rows.

    Args:
        source: the ratings.
        users, items: joined row of each of its users and items.
    """

    def __init__(self, source: JoinedSide, users: Rows, items: Rows) -> None:
        self.source, self._users, self._items = source, users, items.astype(np.int32)
        self._order = np.argsort(users, kind="stable")

    def counts(self, num_users: int) -> NDArray[np.int64]:
        """Return the ratings of each joined user, of all parts."""
        counts = np.zeros(num_users, np.int64)
        counts[self._users] = self.source.ratings_per_user()
        return counts

    def load(self, users: UserRange, part: Part, names: Iterable[str]) -> RowBatch:
        """Return the ratings of a range of joined users: user, item, and the named columns."""
        start, stop = np.searchsorted(self._users, (users.start, users.stop), sorter=self._order)
        own = self._order[start:stop]
        # users of a joined range follow one another, unless their ids have become text among text
        cuts = np.flatnonzero(np.diff(own) != 1) + 1
        runs = [UserRange(int(run[0]), int(run[-1]) + 1) for run in np.split(own, cuts) if len(run)]
        pieces = [self._load_run(run, part, names) for run in runs]
        empty: RowBatch = {name: np.empty(0, np.int32) for name in ("user", "item")}
        empty |= {name: np.empty(0, np.float32) for name in names}
        return {name: np.concatenate([piece[name] for piece in [empty, *pieces]]) for name in empty}

    def _load_run(self, users: UserRange, part: Part, names: Iterable[str]) -> RowBatch:
        ratings = self.source.load(users, part)
        own = self._users[users.start : users.stop].astype(np.int32)
        rows: RowBatch = {"user": own[ratings.user], "item": self._items[ratings.item]}
        weight = np.ones(len(ratings), np.float32) if ratings.weight is None else ratings.weight
        columns = {"value": ratings.value, "weight": weight}
        return rows | {name: columns[name] for name in names}


def _pairs(rows: RowBatch) -> NDArray[np.int64]:
    """Return a number for each pair of user and item: (N,)."""
    pairs: NDArray[np.int64] = rows["user"].astype(np.int64) << 32 | rows["item"]
    return pairs
