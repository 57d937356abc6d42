"""Define what preparation reads ratings from, a file or a table, and read them from a file."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import polars as pl

from cofi_dist.config import ColumnNames, Feedback
from cofi_dist.data.id_spelling import DistinctIds
from cofi_dist.data.readers.layout import Advice
from cofi_dist.data.readers.pairs import first_lines_of_pair
from cofi_dist.data.readers.tables import (
    SET_COLUMNS,
    is_parquet,
    notes_on_ids,
    notes_on_layout,
    notes_on_strengths,
    stream_tables,
)


class RatingsInput(Protocol):
    """Give ratings, or events, as tables, and say where in them something is.

    Attributes:
        name: what messages call it.
        source: what it is, for the record.
        row: what its rows are called, `line` or `row`; they are counted from 1.
    """

    @property
    def name(self) -> str: ...
    @property
    def source(self) -> str: ...
    @property
    def row(self) -> str: ...

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

    def notes_on_ids(self, columns: ColumnNames, users: DistinctIds, items: DistinctIds) -> list[str]:
        """Return lines about what is odd about its ids."""
        ...

    def first_rows_of_pair(self, columns: ColumnNames, user: str, item: str) -> list[int]:
        """Return the numbers of the first two rows that hold this pair of ids."""
        ...


@dataclass(frozen=True)
class RatingsFile:
    """Read ratings from a file: a `RatingsInput`. `advice` is what to do if a column is missing."""

    path: Path
    advice: Advice = SET_COLUMNS

    @property
    def name(self) -> str:
        """Return the path."""
        return str(self.path)

    @property
    def source(self) -> str:
        """Return the path."""
        return str(self.path)

    @property
    def row(self) -> str:
        """Return `row` for Parquet, and `line` for text."""
        return "row" if is_parquet(self.path) else "line"

    def tables(
        self,
        columns: ColumnNames,
        *,
        feedback: Feedback = "explicit",
        rating: bool = True,
        time: bool = False,
        weight: bool = False,
    ) -> Iterator[pl.DataFrame]:
        """Read the file in pieces."""
        return stream_tables(
            self.path,
            columns,
            feedback=feedback,
            rating=rating,
            time=time,
            weight=weight,
            advice=self.advice,
        )

    def notes(self, columns: ColumnNames, feedback: Feedback) -> list[str]:
        """Return lines about its layout, and about missing strengths."""
        notes = notes_on_layout(self.path, columns)
        return notes + (notes_on_strengths(self.path, columns) if feedback == "implicit" else [])

    def notes_on_ids(self, columns: ColumnNames, users: DistinctIds, items: DistinctIds) -> list[str]:
        """Return lines about its ids, each with the line where it is first seen."""
        return notes_on_ids(self.path, columns, users, items)

    def first_rows_of_pair(self, columns: ColumnNames, user: str, item: str) -> list[int]:
        """Return the first two lines, or rows, that hold the pair."""
        return first_lines_of_pair(self.path, columns, user, item)
