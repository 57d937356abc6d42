"""A ratings file as a stream of tables of bounded size; every bad line is named."""

import csv
import zlib
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import polars as pl

from cofi_dist.config import Columns
from cofi_dist.data.faults import NotTextError, rows
from cofi_dist.data.parquetfile import parquet_tables
from cofi_dist.data.textfile import SEPARATORS, WITHOUT_HEADER, opened, text_tables
from cofi_dist.errors import DataError


def tables(
    path: Path, columns: Columns, *, rating: bool = True, time: bool = False
) -> Iterator[pl.DataFrame]:
    """Read a ratings file in pieces: .csv, .tsv, .dat, .data (any of them .gz too) or .parquet.

    .dat is `user::item::rating[::timestamp]`; .data the same with tabs; neither has a header.

    Args:
        path: the file.
        columns: names of the columns, where the file has a header.
        rating: whether ratings are needed.
        time: whether timestamps are needed.

    Yields:
        Tables with the columns user and item (Int64 or String, in one table all of a kind), value
        (Float64) if `rating`, time (Float64) if `time`; no nulls, nothing that isn't finite.

    Raises:
        DataError: the file, its line (row, for Parquet) and what is wrong with it.
    """
    if not path.is_file():
        raise DataError(f"{path}: no such file")
    wanted = {"user": columns.user, "item": columns.item}
    if rating:
        wanted["rating"] = columns.rating
    if time:
        wanted["time"] = columns.timestamp
    suffix = _suffix(path)
    if suffix == ".parquet":
        yield from parquet_tables(path, wanted)
    elif suffix in SEPARATORS:
        yield from text_tables(path, suffix, wanted)
    else:
        raise DataError(
            f"{path}: unknown kind of file; use .csv, .tsv, .dat or .data (or .gz of them), .parquet"
        )


def read_table(path: Path, columns: Columns, *, rating: bool = True) -> pl.DataFrame:
    """The whole file as one table, as `tables` gives it in pieces.

    Raises:
        DataError: as `tables`; or it holds no line.
    """
    parts = list(tables(path, columns, rating=rating))
    if not parts:
        raise DataError(f"{path}: holds no ratings")
    if len({part.schema["user"] for part in parts}) + len({part.schema["item"] for part in parts}) > 2:
        parts = [part.with_columns(pl.col("user", "item").cast(pl.String)) for part in parts]
    return pl.concat(parts)


def lines_of_pair(path: Path, columns: Columns, user: str, item: str) -> list[int]:
    """The first two lines (rows, for Parquet) of a ratings file that hold this pair."""
    suffix, found, at = _suffix(path), [], 0
    if suffix == ".parquet":
        for table in tables(path, columns):
            same = (pl.col("user").cast(pl.String) == user) & (pl.col("item").cast(pl.String) == item)
            found += [at + row + 1 for row in table.with_row_index("row").filter(same)["row"]]
            at += len(table)
        return found[:2]
    with opened(path) as file:
        lines = rows(file, SEPARATORS[suffix])
        at_user, at_item = 0, 1
        if suffix not in WITHOUT_HEADER:
            header = next(lines)[1]
            at_user, at_item = header.index(columns.user), header.index(columns.item)
        pair = (number for number, row in lines if (row[at_user], row[at_item]) == (user, item))
        return list(islice(pair, 2))


def names_column(path: Path, name: str) -> bool:
    """Whether a ratings file has a column of that name; True where it can't be told from a header."""
    suffix = _suffix(path)
    try:
        if suffix == ".parquet":
            return name in pl.read_parquet_schema(path)
        if suffix in WITHOUT_HEADER or suffix not in SEPARATORS:
            return True
        with opened(path) as file:
            return name in next(rows(file, SEPARATORS[suffix]), (1, [name]))[1]
    except (OSError, EOFError, zlib.error, csv.Error, NotTextError, pl.exceptions.PolarsError):
        return True  # `tables` has the words for it


def _suffix(path: Path) -> str:
    return path.with_suffix("").suffix if path.suffix == ".gz" else path.suffix
