"""Take ratings that were given in Python: a data frame, an Arrow table, a sparse matrix, or arrays.

The libraries that these come from are not imported here: whoever gives such a table has done so.
"""

from collections.abc import Iterator
from dataclasses import replace
from os import PathLike
from typing import Any, TypeGuard

import polars as pl

from cofi_dist.config import ColumnNames
from cofi_dist.data.readers.any_column import (
    CONVERSION_ERRORS,
    article,
    as_column,
    first_line,
    is_of,
    kind_of,
)
from cofi_dist.data.readers.column_kinds import Role
from cofi_dist.data.readers.columns import of_array, of_arrow, of_series
from cofi_dist.data.readers.given_table import NAME, GivenTable
from cofi_dist.data.readers.layout import Advice
from cofi_dist.data.readers.listing import Given
from cofi_dist.data.readers.pandas_columns import of_pandas
from cofi_dist.data.readers.ratings_files import RatingsFiles
from cofi_dist.data.readers.ratings_input import RatingsInput
from cofi_dist.errors import DataError
from cofi_dist.words import counted

# What the arrays of a tuple, and those of a sparse matrix, are called.
ARRAYS = ColumnNames(user="users", item="items", rating="values", timestamp="timestamps", weight="weights")
MATRIX = ColumnNames(user="row", item="col", rating="data", timestamp="timestamps", weight="weights")
LACKING_ARRAYS: dict[Role, str] = {
    "rating": "two arrays are events (data.feedback: implicit); give (users, items, values)",
    "time": "there are no times to split by; give (users, items, values, timestamps)",
    "weight": "arrays have no weights; give a table, or leave data.columns.weight out",
}
LACKING_MATRIX: dict[Role, str] = {
    "time": "a matrix has no times to split by; give a table or (users, items, values, timestamps)",
    "weight": "a matrix has no weights; give a table, or leave data.columns.weight out",
}
ACCEPTED = (
    "a polars or pandas DataFrame, an Arrow table, a scipy sparse matrix, a tuple of arrays (users, items,"
    " values), or the path of a file"
)


def as_input(ratings: object, advice: Advice | None = None) -> RatingsInput:
    """Return what reads ratings of any kind: of a file, if they are a path, or of a table.

    Args:
        ratings: a path, or as in `as_table`.
        advice: what to do if a column is missing; None: to set `data.columns`.

    Raises:
        DataError: as in `as_table`.
    """
    given = RatingsFiles.of(ratings) if is_path(ratings) else as_table(ratings)
    return given if advice is None else replace(given, advice=advice)


def is_path(ratings: object) -> TypeGuard[Given]:
    """Tell whether ratings are given as the path of a file, or as a list of paths."""
    if isinstance(ratings, list):
        return bool(ratings) and all(isinstance(each, str | PathLike) for each in ratings)
    return isinstance(ratings, str | PathLike)


def is_table(given: object) -> bool:
    """Tell whether something is a table or a sparse matrix, and not a column or a list."""
    kinds = (
        *(("polars", "DataFrame"), ("polars", "LazyFrame"), ("pandas", "DataFrame")),
        *(("pyarrow", "Table"), ("pyarrow", "RecordBatch"), ("scipy", "_spbase"), ("scipy", "spmatrix")),
    )
    is_stream = hasattr(given, "__arrow_c_stream__") and not _is_column(given)
    return is_stream or any(is_of(given, *kind) for kind in kinds)


def as_table(ratings: object) -> GivenTable:
    """Take ratings, or events, that were given in Python; nothing is copied yet.

    Args:
        ratings: a polars or pandas DataFrame; an Arrow table, or anything else with `__arrow_c_stream__`; a
            scipy sparse matrix, whose rows are users; or a tuple of arrays or lists, (users, items, values),
            also with timestamps, or, for events, without values. Rows are counted from 1.

    Raises:
        DataError: it is nothing of that; the message says what to give.
    """
    if isinstance(ratings, pl.DataFrame):
        return _of_frame(ratings, kind_of(ratings))
    if is_of(ratings, "pandas", "DataFrame"):
        return _of_pandas_frame(ratings)
    if isinstance(ratings, tuple):
        return _of_arrays(ratings)
    if is_of(ratings, "scipy", "_spbase") or is_of(ratings, "scipy", "spmatrix"):  # before scipy 1.11
        return _of_matrix(ratings)
    if is_of(ratings, "pyarrow", "Table") or is_of(ratings, "pyarrow", "RecordBatch"):
        return _of_arrow_table(ratings)
    if hasattr(ratings, "__arrow_c_stream__") and not _is_column(ratings):
        try:
            return _of_frame(pl.DataFrame(ratings), kind_of(ratings))
        except CONVERSION_ERRORS as error:
            raise DataError(f"{NAME}: {kind_of(ratings)} cannot be read: {first_line(error)}") from None
    raise DataError(f"{NAME}: {_refusal_of(ratings)}")


def _of_frame(frame: pl.DataFrame, kind: str) -> GivenTable:
    return GivenTable(kind, tuple(frame.columns), len(frame), lambda name: of_series(frame[name]))


def _of_pandas_frame(frame: Any) -> GivenTable:
    if frame.columns.nlevels > 1:
        raise DataError(f"{NAME}: the columns have {frame.columns.nlevels} levels; give them one name each")
    names = tuple(map(str, frame.columns))
    return GivenTable(
        kind_of(frame),
        names,
        len(frame),
        lambda name: of_pandas(frame.iloc[:, names.index(name)]),
        index=tuple(map(str, frame.index.names)),
    )


def _of_arrow_table(table: Any) -> GivenTable:
    return GivenTable(
        kind_of(table), tuple(table.schema.names), len(table), lambda name: of_arrow(table.column(name))
    )


def _of_arrays(arrays: tuple[Any, ...]) -> GivenTable:
    names = (ARRAYS.user, ARRAYS.item, ARRAYS.rating, ARRAYS.timestamp)[: len(arrays)]
    if not 2 <= len(arrays) <= 4:
        raise DataError(f"{NAME}: a tuple of {len(arrays)}; give (users, items, values) or with timestamps")
    columns = {name: as_column(values) for name, values in zip(names, arrays, strict=True)}
    for name, column in columns.items():
        if column.fault:
            raise DataError(f"{NAME}: array {name!r} {column.fault}")
    lengths = [column.length for column in columns.values()]
    if len(set(lengths)) > 1:
        found = [f"{length:,} {name}" for name, length in zip(names, lengths, strict=True)]
        raise DataError(f"{NAME}: {', '.join(found[:-1])} and {found[-1]}; give as many of each")
    return GivenTable("arrays", names, lengths[0], columns.__getitem__, roles=ARRAYS, lacking=LACKING_ARRAYS)


def _of_matrix(matrix: Any) -> GivenTable:
    """Take a sparse matrix: rows are users, columns are items, and every entry that it stores is a rating."""
    kind = f"scipy.sparse.{type(matrix).__name__}"
    if matrix.ndim != 2:
        raise DataError(f"{NAME}: {kind} has {counted(matrix.ndim, 'dimension')}, not users and items")
    entries = matrix.tocoo(copy=False)
    if matrix.format == "bsr" and not entries.data.all():
        raise DataError(
            f"{NAME}: {kind} fills its blocks with zeros, which may be ratings or none; give another format,"
            " such as .tocsr() after .eliminate_zeros()"
        )
    columns = {MATRIX.user: entries.row, MATRIX.item: entries.col, MATRIX.rating: entries.data}
    return GivenTable(
        kind,
        tuple(columns),
        len(entries.data),
        lambda name: of_array(columns[name]),
        roles=MATRIX,
        lacking=LACKING_MATRIX,
        shape=matrix.shape,
    )


def _is_column(values: object) -> bool:
    libraries = (
        ("polars", "Series"),
        ("pandas", "Series"),
        ("pyarrow", "Array"),
        ("pyarrow", "ChunkedArray"),
    )
    return any(is_of(values, *each) for each in libraries)


def _refusal_of(ratings: object) -> str:
    """Say what was given in place of a table, and what to give."""
    kind, shape = article(kind_of(ratings)), tuple(getattr(ratings, "shape", ()))
    fields = getattr(getattr(ratings, "dtype", None), "names", None)
    if isinstance(ratings, pl.LazyFrame):
        what = "a LazyFrame has no rows yet; give what collect() returns"
    elif _is_column(ratings) or (len(shape) == 1 and not fields):
        what = f"{kind} is one column; give a table, or a tuple of arrays (users, items, values)"
    elif len(shape) == 2:
        what = (
            f"{kind} of shape {shape} does not say which cells are ratings; give these alone, as a table, a"
            " scipy sparse matrix, or a tuple of arrays (users, items, values)"
        )
    elif isinstance(ratings, list):
        what = (
            "a list is no table; give a tuple of arrays (users, items, values), or, of a list of rows,"
            " polars.DataFrame(ratings, schema=['userId', 'movieId', 'rating'], orient='row')"
        )
    elif isinstance(ratings, dict) or fields:
        what = f"{kind} is no table; give polars.DataFrame(ratings)"
    elif isinstance(ratings, Iterator):
        what = f"{kind} can be read only once; give a table, or a tuple of arrays (users, items, values)"
    else:
        what = f"{kind} is no table; give {ACCEPTED}"
    return what
