"""Held-out ratings in a model's rows, from its run or from a table."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from cofi_dist.data.ids import IdMap
from cofi_dist.data.ratings import Ratings
from cofi_dist.data.splits import Part
from cofi_dist.errors import DataError
from cofi_dist.model.run_ratings import RunRatings
from cofi_dist.model.scoring import Rows, as_ids
from cofi_dist.sharding.ranges import UserRange, offsets_from_counts
from cofi_dist.words import counted

if TYPE_CHECKING:
    from cofi_dist.model.model import Model


@dataclass(frozen=True)
class HeldOut:
    """Ratings to judge a model by, in its rows.

    Attributes:
        num_users, num_items: rows from the model's own numbers on are unknown to it.
        load: the ratings of a range of users, whose `user` counts from its start.
    """

    num_users: int
    num_items: int
    load: Callable[[UserRange], Ratings]

    def __repr__(self) -> str:
        return f"HeldOut({counted(self.num_users, 'user')}, {counted(self.num_items, 'item')})"

    @classmethod
    def of_run(cls, rated: RunRatings, part: Part) -> "HeldOut":
        """A part of a run's own ratings."""
        source = rated.source
        return cls(source.num_users, source.num_items, lambda users: rated.load(users, part))

    @classmethod
    def of_table(cls, model: "Model", table: pl.DataFrame) -> "HeldOut":
        """Ratings of any users and items.

        Args:
            model: whose rows are wanted.
            table: columns `user` and `item`, raw ids, and `value`.

        Raises:
            DataError: there are none, one is no finite number, or a user rates an item twice.
        """
        if not isinstance(table, pl.DataFrame):
            raise DataError(f"ratings come as a polars DataFrame, not {type(table).__name__}")
        for name in ("user", "item", "value"):
            if name not in table.columns:
                raise DataError(
                    f"ratings need the columns user, item and value, not {', '.join(table.columns)}"
                )
        if not len(table):
            raise DataError("there are no ratings to evaluate on")
        if not table["value"].dtype.is_numeric():
            raise DataError(f"the column value holds numbers, not {table['value'].dtype}")
        value = table["value"].cast(pl.Float64).fill_null(np.nan).to_numpy()
        if not np.isfinite(value).all():
            raise DataError(f"the rating {value[~np.isfinite(value)][0]} is not a finite number")
        user, num_users = _rows(model.users, as_ids(table["user"]))
        item, num_items = _rows(model.items, as_ids(table["item"]))
        order = np.lexsort((item, user))
        user, item, value = user[order], item[order], value[order]
        again = np.flatnonzero((np.diff(user) == 0) & (np.diff(item) == 0))
        if len(again):
            pair = table[int(order[again[0] + 1])]
            raise DataError(f"user {pair['user'][0]} rates item {pair['item'][0]} twice; leave one rating")
        start = offsets_from_counts(np.bincount(user, minlength=num_users))

        def load(users: UserRange) -> Ratings:
            rows = slice(start[users.start], start[users.stop])
            theirs = (user[rows] - users.start).astype(np.int32)
            return Ratings(theirs, item[rows].astype(np.int32), value[rows])

        return cls(num_users, num_items, load)


def _rows(ids: IdMap, raw: pl.Series) -> tuple[Rows, int]:
    """The row of each id, ids not in the map numbered after those that are; and how many rows that is."""
    row = ids.find(raw)
    unknown = row < 0
    strangers = raw.filter(pl.Series(unknown))
    others = IdMap(strangers.unique().sort())
    row = np.where(unknown, 0, row)  # a copy: polars' own arrays are read-only
    row[unknown] = len(ids) + others.find(strangers)
    return row, len(ids) + len(others)
