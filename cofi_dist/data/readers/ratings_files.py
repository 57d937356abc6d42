"""Read ratings from one or several files, as one stream of tables."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Self

import polars as pl

from cofi_dist.config import ColumnNames, Feedback
from cofi_dist.data.id_spelling import DistinctIds
from cofi_dist.data.readers.column_kinds import holds_text
from cofi_dist.data.readers.layout import SEPARATORS, WITHOUT_HEADER, Advice, FilePath, column_list, format_of
from cofi_dist.data.readers.listing import Given, find_files, name_of
from cofi_dist.data.readers.pairs import first_lines_of_pair
from cofi_dist.data.readers.parquet import parquet_columns
from cofi_dist.data.readers.ratings_input import Place, notes_on_ids
from cofi_dist.data.readers.tables import (
    SET_COLUMNS,
    has_strengths,
    is_parquet,
    notes_on_layout,
    notes_on_strengths,
    require_file,
    row_in_words,
    stream_tables,
)
from cofi_dist.data.readers.text import READ_ERRORS, read_head
from cofi_dist.errors import DataError

LEAST_ROWS = 2**19  # of a table that is made of those of small files


@dataclass(frozen=True)
class RatingsFiles:
    """Read ratings from files, one after the other: a `RatingsInput`.

    Attributes:
        name: what messages call all of them; of a single file, its path.
        files: of one kind, with the same columns.
        advice: what to do if a column is missing.
    """

    name: str
    files: tuple[FilePath, ...]
    advice: Advice = SET_COLUMNS
    _lengths: list[int] = field(default_factory=list, repr=False, compare=False)

    @classmethod
    def of(cls, given: Given, advice: Advice = SET_COLUMNS) -> Self:
        """Find the files that are given as a path, a pattern, a URL or a list of these.

        Raises:
            DataError: there are none, or they don't belong together.
        """
        files = find_files(given)
        return cls(str(files[0]) if len(files) == 1 else name_of(given), files, advice)

    @property
    def source(self) -> str:
        """Return the name."""
        return self.name

    def tables(
        self,
        columns: ColumnNames,
        *,
        feedback: Feedback = "explicit",
        rating: bool = True,
        time: bool = False,
        weight: bool = False,
    ) -> Iterator[pl.DataFrame]:
        """Read the files in pieces; raises DataError also if one has other columns than the first."""
        tables = self._tables_of_each(columns, feedback, rating=rating, time=time, weight=weight)
        return tables if len(self.files) == 1 else _gathered(tables)

    def _tables_of_each(
        self, columns: ColumnNames, feedback: Feedback, *, rating: bool, time: bool, weight: bool
    ) -> Iterator[pl.DataFrame]:
        self._lengths.clear()
        for file in self.files:
            if file != self.files[0]:
                _require_same_columns(file, self.files[0], columns)
            self._lengths.append(0)
            for table in stream_tables(
                file,
                columns,
                feedback=feedback,
                rating=rating,
                time=time,
                weight=weight,
                advice=self.advice,
            ):
                self._lengths[-1] += len(table)
                yield table

    def notes(self, columns: ColumnNames, feedback: Feedback) -> list[str]:
        """Return lines about their layout, and about missing strengths."""
        first = self.files[0]
        notes = notes_on_layout(first, columns)
        return notes + (notes_on_strengths(first, columns) if feedback == "implicit" else [])

    def notes_on_size(self, num_users: int, num_items: int) -> list[str]:
        """Return no lines: files have no other users and items than those with ratings."""
        return []

    def place_of(self, columns: ColumnNames, row: int) -> Place:
        """Return the file and the line, or row, in it."""
        for file, length in zip(self.files, self._lengths, strict=True):
            if row < length:
                return Place(str(file), row_in_words(file, columns, row))
            row -= length
        raise IndexError(row)

    def places_of_pair(self, columns: ColumnNames, user: str, item: str) -> list[Place]:
        """Return the files and the lines, or rows, in them."""
        places: list[Place] = []
        for file in self.files:
            row = "row" if is_parquet(file) else "line"
            numbers = first_lines_of_pair(file, columns, user, item)
            places += [Place(str(file), f"{row} {number}") for number in numbers]
            if len(places) > 1:
                break
        return places[:2]


def read_whole_table(
    given: Given,
    columns: ColumnNames,
    notes: list[str],
    *,
    feedback: Feedback = "explicit",
    rating: bool = True,
) -> pl.DataFrame:
    """Read ratings files as one table, for a model that knows the names of its columns.

    Args:
        given: the files, as `RatingsFiles.of` takes them.
        columns: names of the columns. A file of events needs no column of strengths, whatever its name.
        notes: a list that gets a line about everything that is odd about the files.
        feedback: whether the lines are ratings, or events, whose strengths may be missing.
        rating: whether ratings, or the strengths of events, are needed.

    Returns:
        A table as those of `stream_tables`.

    Raises:
        DataError: as in `stream_tables`, or the files hold no ratings.
    """
    is_of_events = feedback == "implicit"
    noun = "events" if is_of_events else "ratings"
    advice = Advice(f"name it so there, as in the {noun} that the model was trained on")
    files = RatingsFiles.of(given, advice)
    first = files.files[0]
    with_values = rating and (not is_of_events or has_strengths(first, columns))
    pieces = list(files.tables(columns, feedback=feedback, rating=with_values))
    if not pieces:
        raise DataError(f"{files.name}: holds no {noun}")
    table = _joined(pieces)
    if rating and not with_values:
        table = table.with_columns(value=pl.lit(1.0))
    notes += notes_on_layout(first)
    if rating and is_of_events:
        notes += notes_on_strengths(first, columns, f"name it {columns.rating!r} there")
    users, items = (DistinctIds.of_column(table[name]) for name in ("user", "item"))
    notes += notes_on_ids(
        columns, users, items, lambda row: files.place_of(columns, row).seen_from(files.name)
    )
    return table


def _gathered(tables: Iterable[pl.DataFrame]) -> Iterator[pl.DataFrame]:
    """Join small tables that follow one another: what uses a table does work for all ids so far."""
    waiting: list[pl.DataFrame] = []
    for table in tables:
        waiting.append(table)
        if sum(map(len, waiting)) >= LEAST_ROWS:
            yield _joined(waiting)
            waiting = []
    if waiting:
        yield _joined(waiting)


def _joined(tables: list[pl.DataFrame]) -> pl.DataFrame:
    """Join tables; their ids become text if they are text in one of them."""
    for name in ("user", "item"):
        if len({table.schema[name] for table in tables}) > 1:
            tables = [table.with_columns(pl.col(name).cast(pl.String)) for table in tables]
    return pl.concat(tables)


def _require_same_columns(file: FilePath, first: FilePath, columns: ColumnNames) -> None:
    """Raise DataError unless a file has the columns of the first one; of Parquet, those that may be read.

    Of Parquet files, ids must be of one kind too: text is no number, even if all of it is digits.
    """
    (separator, names), (first_separator, first_names) = (
        _columns_of(each, columns) for each in (file, first)
    )
    if names and separator != first_separator:
        raise DataError(f"{file}: its fields are not separated as those of {first}; write them alike")
    if names and set(names) != set(first_names):
        raise DataError(
            f"{file}: has the columns {column_list(names)}, and {first} has {column_list(first_names)}; all"
            " files need the same"
        )
    if not is_parquet(file):
        return
    kinds, first_kinds = parquet_columns(file), parquet_columns(first)
    for name in {columns.user, columns.item} & set(names):
        if {holds_text(kinds[name]), holds_text(first_kinds[name])} == {True, False}:
            raise DataError(
                f"{file}: column {name!r} holds {kinds[name]}, and that of {first} {first_kinds[name]}; write"
                " all as text, or all as integers"
            )


def _columns_of(file: FilePath, columns: ColumnNames) -> tuple[str, list[str]]:
    """Return what separates the fields, and the names of the columns; no names if they cannot be read."""
    require_file(file)
    if is_parquet(file):
        may_be_read = set(columns.model_dump().values())
        return "", [name for name in parquet_columns(file) if name in may_be_read]
    try:
        head = read_head(file) if format_of(file) in SEPARATORS else None
    except READ_ERRORS:
        head = None
    if head is None:
        return "", []  # `stream_tables` says what is wrong
    if format_of(file) in WITHOUT_HEADER:
        return head.separator, [f"field {k + 1}" for k in range(len(head.fields))]
    return head.separator, head.fields
