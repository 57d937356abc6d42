"""Read the ratings of a table that was given in Python, piece by piece, and name every bad row."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

import polars as pl

from cofi_dist.config import ColumnNames, Feedback
from cofi_dist.data.readers.any_column import CONVERSION_ERRORS, first_line
from cofi_dist.data.readers.column_kinds import Role, checked_rows, converter, missing_value, refusal
from cofi_dist.data.readers.columns import Column
from cofi_dist.data.readers.layout import Advice, column_list
from cofi_dist.data.readers.pairs import first_rows_of_pair
from cofi_dist.data.readers.parquet import TABLE_ROWS
from cofi_dist.data.readers.ratings_input import Place
from cofi_dist.data.readers.tables import wanted_columns, with_values_named
from cofi_dist.errors import DataError
from cofi_dist.words import counted

T = TypeVar("T")

SET_COLUMNS = Advice(
    "set data.columns", "if the rows are events, such as clicks, set data.feedback: implicit"
)
NAME = "ratings"  # what messages call a table


@dataclass(frozen=True)
class GivenTable:
    """Hold a table that was given in Python, whose columns are converted piece by piece: a `RatingsInput`.

    Attributes:
        kind: the library and the class, such as `pandas.DataFrame`.
        names: of the columns.
        num_rows: number of ratings, or events.
        column: opens a column by its name.
        roles: names of the columns by their roles if the table has its own, as arrays do; None: the config
            names them.
        lacking: what to say about a role that such a table has no column for.
        shape: of a matrix.
        index: names of the levels of a pandas index, which is not read.
        advice: what to do if a column is missing.
    """

    kind: str
    names: tuple[str, ...]
    num_rows: int
    column: Callable[[str], Column] = field(repr=False)
    roles: ColumnNames | None = field(default=None, repr=False)
    lacking: Mapping[Role, str] = field(default_factory=dict, repr=False)
    shape: tuple[int, int] | None = None
    index: tuple[str, ...] = ()
    advice: Advice = field(default=SET_COLUMNS, repr=False)

    name = NAME

    @property
    def source(self) -> str:
        """Return the kind."""
        return self.kind

    def tables(
        self,
        columns: ColumnNames,
        *,
        feedback: Feedback = "explicit",
        rating: bool = True,
        time: bool = False,
        weight: bool = False,
    ) -> Iterator[pl.DataFrame]:
        """Yield the ratings in tables of bounded size, as `tables.stream_tables` describes them.

        Raises:
            DataError: the row, counted from 1, and what is wrong with it; or a column cannot be read.
        """
        names = self.roles or columns
        has_values = feedback == "explicit" or self.has_values(columns) or self._must_have_values(columns)
        wanted = wanted_columns(names, feedback, rating=rating and has_values, time=time, weight=weight)
        opened = {role: self._opened(role, name) for role, name in wanted.items()}
        for start in range(0, self.num_rows, TABLE_ROWS):
            stop = min(start + TABLE_ROWS, self.num_rows)
            pieces = [self._rows(role, wanted[role], column, start, stop) for role, column in opened.items()]
            yield with_values_named(pl.DataFrame(pieces), rating=rating)

    def notes(self, columns: ColumnNames, feedback: Feedback) -> list[str]:
        """Return a line if events have no strengths."""
        if feedback == "explicit" or self.has_values(columns):
            return []
        if self.roles is not None:
            return ["there are no values: each pair is an event of strength 1"]
        others = [name for name in self.names if name not in (columns.user, columns.item, columns.timestamp)]
        holds = (
            f"; if one of {column_list(others)} holds strengths, set data.columns.rating" if others else ""
        )
        return [f"there is no column {columns.rating!r}: each row is an event of strength 1{holds}"]

    def notes_on_size(self, num_users: int, num_items: int) -> list[str]:
        """Return a line if rows or columns of a matrix are empty."""
        if self.shape is None or self.shape == (num_users, num_items):
            return []
        rows, items = counted(self.shape[0] - num_users, "row"), counted(self.shape[1] - num_items, "column")
        return [f"{rows} and {items} of the matrix are empty: the model has no such users and items"]

    def place_of(self, columns: ColumnNames, row: int) -> Place:
        """Return a row as the place that it is."""
        return Place(NAME, f"row {row + 1}")

    def places_of_pair(self, columns: ColumnNames, user: str, item: str) -> list[Place]:
        """Return the first two rows that hold the pair."""
        rows = first_rows_of_pair(self.tables(columns, rating=False), user, item)
        return [Place(NAME, f"row {row}") for row in rows]

    def has_values(self, columns: ColumnNames) -> bool:
        """Tell whether the table has ratings, or strengths of events."""
        return (self.roles or columns).rating in self.names

    def _must_have_values(self, columns: ColumnNames) -> bool:
        """Tell whether the config names a column of strengths, which a table of events must then have."""
        return self.roles is None and columns.rating != ColumnNames().rating

    def _opened(self, role: Role, name: str) -> Column:
        """Open the column of a role; raise DataError if there is none, or it cannot be read."""
        if name not in self.names:
            raise DataError(f"{NAME}: {self._no_column(role, name)}")
        if self.names.count(name) > 1:
            raise DataError(f"{NAME}: column {name!r} stands there twice; rename one, or leave it out")
        column = self._read(name, partial(self.column, name))
        if column.fault:
            raise DataError(f"{NAME}: {self._named(name)} {column.fault}")
        if self.num_rows and converter(role, column.dtype) is None:
            self._refuse(role, name, column)
        return column

    def _no_column(self, role: Role, name: str) -> str:
        if role in self.lacking:
            return self.lacking[role]
        if name in self.index:
            return f"column {name!r} is the index; give ratings.reset_index()"
        if not self.names:
            return f"has no columns; give {name!r} and the others"
        return f"no column {name!r}; it has {column_list(list(self.names))}; {self.advice.for_column(role)}"

    def _named(self, name: str) -> str:
        return f"{'array' if self.roles else 'column'} {name!r}"

    def _refuse(self, role: Role, name: str, column: Column) -> None:
        """Raise DataError for a column of the wrong kind; of floats, for a missing id that made them so."""
        if column.dtype == pl.Null or (role in ("user", "item") and column.dtype.is_float()):
            for start in range(0, self.num_rows, TABLE_ROWS):
                stop = min(start + TABLE_ROWS, self.num_rows)
                piece = self._read(name, partial(column.read, start, stop)).cast(pl.Float64)
                is_missing = piece.is_null() | piece.is_nan().fill_null(True)
                if is_missing.any():
                    row = start + int(is_missing.arg_max() or 0)
                    raise DataError(f"{NAME}: row {row + 1}: {missing_value(role)}")
        hint = ""
        if role in ("user", "item") and column.dtype.is_float():
            hint = ", by .astype('int64') or .cast(pl.Int64)"
        raise DataError(f"{NAME}: {self._named(name)} {refusal(role, column.dtype, column.kind)}{hint}")

    def _read(self, name: str, call: Callable[[], T]) -> T:
        """Return what `call` returns; name the column if its library or polars cannot read it."""
        try:
            return call()
        except CONVERSION_ERRORS as error:
            raise DataError(f"{NAME}: {self._named(name)} cannot be read: {first_line(error)}") from None

    def _rows(self, role: Role, name: str, column: Column, start: int, stop: int) -> pl.Series:
        """Convert some rows of a column."""
        piece = self._read(name, partial(column.read, start, stop))
        if converter(role, piece.dtype) is None:
            self._refuse(role, name, column)
        return checked_rows(NAME, role, piece.alias(role), start)
