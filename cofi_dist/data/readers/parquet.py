"""Parquet files of ratings, in tables of bounded size."""

from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import polars as pl

from cofi_dist.data.id_spelling import bad_ids, id_fault
from cofi_dist.data.readers.column_kinds import Kind, reader, refusal
from cofi_dist.data.readers.layout import names
from cofi_dist.errors import DataError
from cofi_dist.files.reading import open_regular, shortened, stderr_silenced

TABLE_ROWS = 2**21
UNREADABLE = (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError)
SAID: dict[Kind, str] = {"user": "user id", "item": "item id", "rating": "rating", "time": "timestamp"}


def parquet_columns(path: Path) -> dict[str, pl.DataType]:
    """Names and kinds of the columns of a Parquet file.

    Raises:
        DataError: it is none.
    """
    try:
        with open_regular(path) as opened, stderr_silenced():
            return dict(_scanned(opened).collect_schema())
    except UNREADABLE as error:
        raise DataError(f"{path}: cannot be read as Parquet: {shortened(error, quoted=False)}") from None


def parquet_tables(path: Path, wanted: dict[Kind, str], advice: str) -> Iterator[pl.DataFrame]:
    """The tables of a Parquet file; see `ratings.tables`."""
    schema = parquet_columns(path)
    for kind, name in wanted.items():
        if name not in schema:
            raise DataError(f"{path}: no column {name!r}; it has {names(list(schema))}; {advice}")
        if reader(kind, schema[name]) is None:
            raise DataError(f"{path}: column {name!r} {refusal(kind, schema[name])}")
    try:
        with open_regular(path) as opened:
            file = _scanned(opened)
            with stderr_silenced():
                count = int(file.select(pl.len()).collect().item())
            for at in range(0, count, TABLE_ROWS):
                piece = file.slice(at, TABLE_ROWS).select(**{k: pl.col(n) for k, n in wanted.items()})
                with stderr_silenced():
                    table = piece.collect()
                read = [_checked(path, kind, table[kind], at) for kind in wanted]
                yield pl.DataFrame(read).rename({"rating": "value"}, strict=False)
    except UNREADABLE as error:
        raise DataError(f"{path}: cannot be read as Parquet: {shortened(error, quoted=False)}") from None


def _scanned(file: BinaryIO) -> pl.LazyFrame:
    # given a path, polars would take it for a pattern or a URL, and fail on a name that is not UTF-8
    return pl.scan_parquet(file, hive_partitioning=False)


def _checked(path: Path, kind: Kind, column: pl.Series, at: int) -> pl.Series:
    """The column as it is read; its first row that is no good is an error."""
    read = reader(kind, column.dtype)
    assert read is not None
    values = read(column)
    bad = values.is_null()
    if values.dtype == pl.Float64:
        bad |= ~values.is_finite()
    elif values.dtype == pl.String:
        bad |= bad_ids(values)
    row = bad.arg_max()
    if row is None or not bad[row]:
        return values
    value = values[row]
    if value is None:
        what = f"there is no {SAID[kind]}"
    elif isinstance(value, str):
        what = str(id_fault(kind, value))
    else:
        what = f"the {SAID[kind]} {value} is not a finite number"
    raise DataError(f"{path}: row {at + row + 1}: {what}")
