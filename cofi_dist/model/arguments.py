"""Check what callers of the Python interface pass: ids, ratings, and whole numbers."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from cofi_dist.config import ColumnNames, Feedback
from cofi_dist.data.ids import IdMap
from cofi_dist.data.readers.any_column import CONVERSION_ERRORS, as_column, first_line
from cofi_dist.data.readers.column_kinds import Role, converter
from cofi_dist.data.readers.columns import Column
from cofi_dist.data.readers.given import as_table, is_path, is_table
from cofi_dist.data.readers.given_table import NAME
from cofi_dist.data.readers.layout import Advice
from cofi_dist.data.readers.listing import Given, name_of
from cofi_dist.data.readers.ratings_files import read_whole_table
from cofi_dist.errors import DataError
from cofi_dist.words import counted

# Raw ids: integers or text, as a list, a tuple, or an array or a series of polars, pandas, numpy or Arrow.
Ids = object
# Numbers, in any of the same.
Numbers = object
# What the columns of a table of ratings are called, unless they are called as in the training data.
TABLE_COLUMNS = ColumnNames(user="user", item="item", rating="value")


def as_ids(ids: Ids) -> pl.Series:
    """Return raw ids as a series of Int64 or String; of Null if there are none.

    Raises:
        DataError: they are neither integers nor text, or one is missing.
    """
    if isinstance(ids, str | bytes):
        raise DataError(f"{ids!r} is one id; give a list of ids")
    return _without_missing(_read("ids must be integers or text", "item", as_column(ids)), "the ids")


def as_candidates(candidates: Ids) -> pl.Series:
    """Return raw ids of the items that may be recommended, as `as_ids` does.

    Raises:
        DataError: they are no ids, or none.
    """
    with _naming("candidates"):
        ids = as_ids(candidates)
        if not len(ids):
            raise DataError("name no item; give some, or None for all items")
    return ids


def as_exclusions(exclude: object, columns: ColumnNames) -> pl.DataFrame:
    """Return what is not to be recommended, as a column `item` and, of pairs, a column `user`.

    Args:
        exclude: raw ids of items; or a table of any library. Its column of items, and that of users if it
            has one, are called `item` and `user`, or as in the training data; other columns are not read.
        columns: what they are called in the training data.

    Raises:
        DataError: it is neither, or an id is missing.
    """
    with _naming("exclude"):
        if not is_table(exclude):
            return pl.DataFrame({"item": as_ids(exclude)})
        table = as_table(exclude)
        own = table.roles or (TABLE_COLUMNS if TABLE_COLUMNS.item in table.names else columns)
        if own.item not in table.names:
            raise DataError(f"no column of items; call it item, or {columns.item} as in the training data")
        roles: dict[Role, str] = {"item": own.item, "user": own.user}
        return pl.DataFrame(
            {
                role: _without_missing(
                    _read(f"column {name!r} must hold integers or text", role, table.column(name)),
                    f"column {name!r}",
                )
                for role, name in roles.items()
                if name in table.names
            }
        )


@contextmanager
def _naming(argument: str) -> Iterator[None]:
    """Name the argument in what is said of it."""
    try:
        yield
    except DataError as error:
        raise DataError(f"{argument}: {str(error).removeprefix(f'{NAME}: ')}") from None


def _without_missing(ids: pl.Series, where: str) -> pl.Series:
    if ids.null_count():
        row = int(ids.is_null().arg_max() or 0)
        raise DataError(f"row {row + 1} of {where} is missing; leave it out")
    return ids


def as_values(values: Numbers | None) -> NDArray[np.float64] | None:
    """Return ratings, or strengths of events, as an array; None if there are none.

    Raises:
        DataError: they are not a list of numbers.
    """
    if values is None:
        return None
    series = _read("ratings are numbers", "rating", as_column(values))
    return series.cast(pl.Float64).fill_null(np.nan).to_numpy()


def _read(what: str, role: Role, column: Column) -> pl.Series:
    """Return all rows of a column, converted for this role; of Null if there are none.

    Raises:
        DataError: the column is not `what` it must be.
    """
    if column.fault:
        raise DataError(f"{what}: this {column.fault}")
    if not column.length:
        return pl.Series(dtype=pl.Null)
    convert = converter(role, column.dtype)
    if convert is None and column.dtype != pl.Null:
        raise DataError(f"{what}, not {column.kind}")
    try:
        series = column.read(0, column.length)
        return series if convert is None else convert(series)
    except CONVERSION_ERRORS as error:
        raise DataError(f"{what}: this cannot be read: {first_line(error)}") from None


def as_ratings(ratings: object, columns: ColumnNames, feedback: Feedback) -> pl.DataFrame:
    """Return a table of ratings, or events, with the columns user, item and value.

    Args:
        ratings: as `cofi_dist.fit` takes them. The columns of a table are user, item and value, or are
            called as in the training data, as those of a file are. Events need no values, which are then 1.
        columns: what they are called in the training data.
        feedback: whether these are ratings, or events.

    Raises:
        DataError: it is not such a table; or the row, and what is wrong with it.
    """
    if is_path(ratings):
        return _of_files(ratings, columns, feedback)
    table = as_table(ratings)
    names = TABLE_COLUMNS if TABLE_COLUMNS.user in table.names else columns
    has_values = feedback == "explicit" or table.has_values(names)
    own = f"{columns.user}, {columns.item} and {columns.rating}"
    advice = Advice(f"call the columns user, item and value, or {own} as in the training data")
    given = replace(table, advice=advice)
    pieces = list(given.tables(names, feedback=feedback, rating=has_values))
    if not pieces:
        raise DataError("there are no ratings to evaluate on")
    for name in ("user", "item"):
        if len({piece.schema[name] for piece in pieces}) > 1:
            pieces = [piece.with_columns(pl.col(name).cast(pl.String)) for piece in pieces]
    read = pl.concat(pieces)
    return read if has_values else read.with_columns(value=pl.lit(1.0))


def _of_files(given: Given, columns: ColumnNames, feedback: Feedback) -> pl.DataFrame:
    notes: list[str] = []
    table = read_whole_table(given, columns, notes, feedback=feedback)
    for note in notes:
        logging.getLogger("cofi_dist").info("%s: %s", name_of(given), note)
    return table


def is_one_id(ids: object) -> bool:
    """Tell whether something is one id, or nothing that could be a list of ids."""
    return isinstance(ids, str | bytes) or not hasattr(ids, "__len__") or getattr(ids, "ndim", 1) == 0


def find_row(ids: IdMap, raw: Any, kind: str) -> int:
    """Return the row of one raw id.

    Args:
        ids: the map to look it up in.
        raw: one id: an integer or text, of Python, numpy, Arrow or torch.
        kind: `user` or `item`, for messages.

    Raises:
        DataError: it is not a single id, or the model has no such user or item.
    """
    raw = raw.as_py() if hasattr(raw, "as_py") else raw
    raw = raw.item() if hasattr(raw, "item") and getattr(raw, "ndim", 1) == 0 else raw
    if not isinstance(raw, str | int):
        raise DataError(f"{raw!r} is not the id of one {kind}: give an integer or text")
    return int(find_rows(ids, [raw], kind)[0])


def find_rows(ids: IdMap, raw: Ids, kind: str) -> NDArray[np.int64]:
    """Return the rows of raw ids.

    Args:
        ids: the map to look them up in.
        raw: the ids.
        kind: `user` or `item`, for messages.

    Raises:
        DataError: these are no ids, or the model does not know one of them.
    """
    asked = as_ids(raw)
    rows = ids.find(asked)
    unknown = np.flatnonzero(rows < 0)
    if len(unknown):
        others = f", nor {len(unknown) - 1:,} more of these {len(rows):,}" if len(unknown) > 1 else ""
        raise DataError(
            f"the model has no {kind} {asked[int(unknown[0])]}{others}; it knows {counted(len(ids), kind)},"
            f" such as {ids.raw[0]}"
        )
    return rows


def require_whole_number(name: str, count: int, least: int = 1) -> None:
    """Raise DataError unless `count` is a whole number of at least `least`."""
    if isinstance(count, bool) or not isinstance(count, int | np.integer) or count < least:
        raise DataError(f"{name} is {count!r}; ask for a whole number, at least {least}")
