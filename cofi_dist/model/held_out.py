"""Provide the ratings to judge a model by, in its rows: a part of its run, or a table."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

import numpy as np
import polars as pl

from cofi_dist.config import Feedback
from cofi_dist.data.ids import IdMap
from cofi_dist.data.ratings import Ratings
from cofi_dist.data.splits import Part
from cofi_dist.errors import DataError
from cofi_dist.model.run_ratings import RunRatings
from cofi_dist.model.scoring import RowIndices
from cofi_dist.sharding.ranges import UserRange, offsets_from_counts
from cofi_dist.words import counted


@dataclass(frozen=True)
class HeldOut:
    """Hold ratings to judge a model by, in its rows.

    Attributes:
        num_users, num_items: rows from the model's own numbers on are unknown to it.
        load: returns the ratings of a range of users, whose `user` counts from the start of the range.
    """

    num_users: int
    num_items: int
    load: Callable[[UserRange], Ratings]

    def __repr__(self) -> str:
        return f"HeldOut({counted(self.num_users, 'user')}, {counted(self.num_items, 'item')})"

    @classmethod
    def from_run(cls, rated: RunRatings, part: Part) -> Self:
        """Take one part of a run's own ratings."""
        source = rated.source
        return cls(source.num_users, source.num_items, lambda users: rated.load(users, part))

    @classmethod
    def from_table(
        cls, user_ids: IdMap, item_ids: IdMap, table: pl.DataFrame, feedback: Feedback = "explicit"
    ) -> Self:
        """Take ratings, or events, of any users and items.

        Args:
            user_ids: the model's users.
            item_ids: the model's items.
            table: columns `user` and `item`, raw ids, and `value`, as `as_ratings` or a file reader returns
                them. The strengths of a pair's events are added up.
            feedback: whether the table holds ratings, or events.

        Raises:
            DataError: a user rates an item twice.
        """
        if feedback == "implicit":
            table = table.group_by("user", "item", maintain_order=True).agg(pl.col("value").sum())
        value = table["value"].to_numpy()
        user, num_users = _rows_of(user_ids, table["user"])
        item, num_items = _rows_of(item_ids, table["item"])
        pair = user * num_items + item  # below 2^62, as there are at most 2^31 rows of either kind
        order = np.argsort(pair)
        user, item, value = user[order], item[order], value[order]
        again = np.flatnonzero(np.diff(pair[order]) == 0)
        if len(again):
            twice = table[int(order[again[0] + 1])]
            raise DataError(f"user {twice['user'][0]} rates item {twice['item'][0]} twice; leave one rating")
        first_rating = offsets_from_counts(np.bincount(user, minlength=num_users))

        def load(users: UserRange) -> Ratings:
            rows = slice(first_rating[users.start], first_rating[users.stop])
            user_in_range = (user[rows] - users.start).astype(np.int32)
            return Ratings(user_in_range, item[rows].astype(np.int32), value[rows])

        return cls(num_users, num_items, load)


def _rows_of(ids: IdMap, raw: pl.Series) -> tuple[RowIndices, int]:
    """Return the row of each id, and the number of rows; unknown ids are numbered after the known ones."""
    rows = ids.find(raw)
    is_unknown = rows < 0
    unknown = raw.filter(pl.Series(is_unknown))
    unknown_ids = IdMap(unknown.unique().sort())
    rows = np.where(is_unknown, 0, rows)  # a copy: polars' own arrays are read-only
    rows[is_unknown] = len(ids) + unknown_ids.find(unknown)
    return rows, len(ids) + len(unknown_ids)
