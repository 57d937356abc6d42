"""Define what preparation reads ratings from: files or a table."""

from collections.abc import Callable, Iterator
from functools import cache
from typing import NamedTuple, Protocol

import polars as pl

from cofi_dist.config import ColumnNames, Feedback
from cofi_dist.data.id_spelling import DistinctIds, id_notes


class Place(NamedTuple):
    """Say where a row is: in which file or table, and its line or row, such as `line 7`."""

    name: str
    row: str

    def seen_from(self, name: str) -> str:
        """Return the line or row, and the name of the file or table if it is another one."""
        return self.row if name == self.name else f"{self.row} of {self.name}"


class RatingsInput(Protocol):
    """Give ratings, or events, as tables, and say where in them something is.

    Attributes:
        name: what messages call it.
        source: what it is, for the record.
    """

    @property
    def name(self) -> str: ...
    @property
    def source(self) -> str: ...

    def tables(
        self,
        columns: ColumnNames,
        *,
        feedback: Feedback = "explicit",
        rating: bool = True,
        time: bool = False,
        weight: bool = False,
    ) -> Iterator[pl.DataFrame]:
        """Yield the ratings in tables of bounded size, as `tables.stream_tables` describes them."""
        ...

    def notes(self, columns: ColumnNames, feedback: Feedback) -> list[str]:
        """Return lines about what is odd about it, ids apart."""
        ...

    def notes_on_size(self, num_users: int, num_items: int) -> list[str]:
        """Return lines about how many users and items have ratings in it."""
        ...

    def place_of(self, columns: ColumnNames, row: int) -> Place:
        """Return where a row of the `tables` is that were read last; counted from 0."""
        ...

    def places_of_pair(self, columns: ColumnNames, user: str, item: str) -> list[Place]:
        """Return the places of the first two rows that hold this pair of ids, in the order of the rows."""
        ...


def notes_on_ids(
    columns: ColumnNames, users: DistinctIds, items: DistinctIds, location: Callable[[int], str]
) -> list[str]:
    """Return lines about what is odd about ids, each with the place where it is first seen.

    Args:
        columns: names of their columns; users are not looked at if the items stand in for them.
        users: the users' ids.
        items: the items' ids.
        location: returns where a row is; it may be slow.
    """
    location = cache(location)
    user_notes = [] if columns.user == columns.item else id_notes("user", users, location)
    return [*user_notes, *id_notes("item", items, location)]
