"""Read Parquet files of ratings, in tables of bounded size."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import BinaryIO

import polars as pl

from cofi_dist.data.readers.column_kinds import Role, checked_rows, converter, refusal
from cofi_dist.data.readers.layout import Advice, column_list
from cofi_dist.errors import DataError
from cofi_dist.files.reading import open_regular, shortened, stderr_silenced
from cofi_dist.system.threads import ahead

TABLE_ROWS = 2**20  # rows per table; one is read ahead
PARQUET_ERRORS = (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError)


def parquet_columns(path: Path) -> dict[str, pl.DataType]:
    """Return the names and data types of the columns of a Parquet file.

    Raises:
        DataError: it is not a Parquet file.
    """
    try:
        with open_regular(path) as opened, stderr_silenced():
            return dict(_scanned(opened).collect_schema())
    except PARQUET_ERRORS as error:
        raise DataError(f"{path}: cannot be read as Parquet: {shortened(error, quoted=False)}") from None


def parquet_tables(path: Path, wanted: dict[Role, str], advice: Advice) -> Iterator[pl.DataFrame]:
    """Yield the tables of a Parquet file, as `tables.stream_tables` describes them."""
    schema = parquet_columns(path)
    for role, name in wanted.items():
        if name not in schema:
            has = column_list(list(schema))
            raise DataError(f"{path}: no column {name!r}; it has {has}; {advice.for_column(role)}")
        if converter(role, schema[name]) is None:
            raise DataError(f"{path}: column {name!r} {refusal(role, schema[name])}")
    try:
        with open_regular(path) as opened:
            file = _scanned(opened)
            with stderr_silenced():
                count = int(file.select(pl.len()).collect().item())
            columns = file.select(**{role: pl.col(name) for role, name in wanted.items()})
            starts = range(0, count, TABLE_ROWS)
            yield from ahead(partial(_table, path, columns, list(wanted)), starts, threads=1)
    except PARQUET_ERRORS as error:
        raise DataError(f"{path}: cannot be read as Parquet: {shortened(error, quoted=False)}") from None


def _table(path: Path, columns: pl.LazyFrame, roles: list[Role], start: int) -> pl.DataFrame:
    """Read and check the rows from `start` on; the columns are named by their roles."""
    with stderr_silenced():
        table = columns.slice(start, TABLE_ROWS).collect()
    return pl.DataFrame([checked_rows(str(path), role, table[role], start) for role in roles])


def _scanned(file: BinaryIO) -> pl.LazyFrame:
    # polars would take a path for a glob pattern or a URL, and fail on a name that is not UTF-8
    return pl.scan_parquet(file, hive_partitioning=False)
