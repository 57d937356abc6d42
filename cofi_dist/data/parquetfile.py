"""Parquet files of ratings, in tables of bounded size."""

from collections.abc import Iterator
from pathlib import Path

import polars as pl

from cofi_dist.data.textfile import bad_ids
from cofi_dist.errors import DataError

ROWS_AT_ONCE = 2**21


def parquet_tables(path: Path, wanted: dict[str, str]) -> Iterator[pl.DataFrame]:
    """The tables of a Parquet file; see `ratings.tables`."""
    try:
        file = pl.scan_parquet(path, glob=False)
        schema, count = file.collect_schema(), int(file.select(pl.len()).collect().item())
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError) as error:
        raise DataError(f"{path}: cannot be read as Parquet: {error}") from None
    for kind, name in wanted.items():
        if name not in schema:
            raise DataError(f"{path}: no column {name!r}; it has {', '.join(schema)}; set data.columns")
        holds = schema[name]
        is_id = kind in ("user", "item")
        good = (holds.is_integer() or holds == pl.String) if is_id else holds.is_numeric()
        if not (good or (kind == "time" and holds.is_temporal())):
            need = "integers or text" if is_id else "numbers"
            raise DataError(f"{path}: column {name!r} holds {holds}, not {need}")
    for at in range(0, count, ROWS_AT_ONCE):
        try:
            piece = file.slice(at, ROWS_AT_ONCE).select(**{k: pl.col(n) for k, n in wanted.items()})
            table = _checked_rows(path, piece.collect(), at)
        except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError) as error:
            raise DataError(f"{path}: cannot be read as Parquet: {error}") from None
        yield table


def _checked_rows(path: Path, table: pl.DataFrame, at: int) -> pl.DataFrame:
    numbers = [name for name in table.columns if name in ("rating", "time")]
    # a time of Parquet's own kind counts as its integer does
    table = table.with_columns(pl.col(name).to_physical().cast(pl.Float64) for name in numbers)
    wrong = [
        table[name].is_null() | (bad_ids(table[name]) if table[name].dtype == pl.String else False)
        for name in ("user", "item")
    ]
    wrong += [table[name].is_null() | ~table[name].is_finite() for name in numbers]
    for name, bad in zip(["user", "item", *numbers], wrong, strict=True):
        row = bad.fill_null(True).arg_max()
        if row is not None and bad[row]:
            what = (
                "id is empty or begins or ends with a blank"
                if name in ("user", "item")
                else "is no finite number"
            )
            raise DataError(f"{path}: row {at + row + 1}: the {name} {what}")
    ids = [pl.col(name).cast(pl.Int64) for name in ("user", "item") if table[name].dtype != pl.String]
    return table.with_columns(ids).rename({"rating": "value"}, strict=False)
