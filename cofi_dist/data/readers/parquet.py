"""Read Parquet files of ratings, in tables of bounded size."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import polars as pl

from cofi_dist.data.readers.column_kinds import Role, checked_rows, converter, refusal
from cofi_dist.data.readers.layout import Advice, FilePath, column_list
from cofi_dist.data.readers.object_store import ObjectUrl, object_fault, scan_object
from cofi_dist.errors import DataError
from cofi_dist.files.reading import open_regular, shortened
from cofi_dist.streams import silenced
from cofi_dist.system.threads import ahead

TABLE_ROWS = 2**20  # rows per table; one is read ahead
PARQUET_ERRORS = (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError)


def parquet_columns(path: FilePath) -> dict[str, pl.DataType]:
    """Return the names and data types of the columns of a Parquet file.

    Raises:
        DataError: it is not a Parquet file.
    """
    try:
        with _scanned(path) as file, silenced(2):
            return dict(file.collect_schema())
    except PARQUET_ERRORS as error:
        raise DataError(f"{path}: {_fault(path, error)}") from None


def parquet_tables(path: FilePath, wanted: dict[Role, str], advice: Advice) -> Iterator[pl.DataFrame]:
    """Yield the tables of a Parquet file, as `tables.stream_tables` describes them."""
    schema = parquet_columns(path)
    for role, name in wanted.items():
        if name not in schema:
            if f"/{name}=" in f"/{path}":
                raise DataError(
                    f"{path}: column {name!r} is in names of folders alone, which are not read; write it into"
                    " the files"
                )
            has = column_list(list(schema))
            raise DataError(f"{path}: no column {name!r}; it has {has}; {advice.for_column(role)}")
        if converter(role, schema[name]) is None:
            raise DataError(f"{path}: column {name!r} {refusal(role, schema[name])}")
    try:
        with _scanned(path) as file:
            with silenced(2):
                count = int(file.select(pl.len()).collect().item())
            columns = file.select(**{role: pl.col(name) for role, name in wanted.items()})
            starts = range(0, count, TABLE_ROWS)
            yield from ahead(partial(_table, path, columns, list(wanted)), starts, threads=1)
    except PARQUET_ERRORS as error:
        raise DataError(f"{path}: {_fault(path, error)}") from None


def _table(path: FilePath, columns: pl.LazyFrame, roles: list[Role], start: int) -> pl.DataFrame:
    """Read and check the rows from `start` on; the columns are named by their roles."""
    with silenced(2):
        table = columns.slice(start, TABLE_ROWS).collect()
    return pl.DataFrame([checked_rows(str(path), role, table[role], start) for role in roles])


@contextmanager
def _scanned(path: FilePath) -> Iterator[pl.LazyFrame]:
    if isinstance(path, ObjectUrl):
        yield scan_object(path)
        return
    with open_regular(path) as file:
        # polars would take a path for a glob pattern or a URL, and fail on a name that is not UTF-8
        yield pl.scan_parquet(file, hive_partitioning=False)


def _fault(path: FilePath, error: BaseException) -> str:
    """Say why a file cannot be read."""
    if isinstance(path, ObjectUrl):
        return object_fault(error)
    return f"cannot be read as Parquet: {shortened(error, quoted=False)}"
