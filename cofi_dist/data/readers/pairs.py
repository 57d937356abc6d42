"""Find the rows that hold a pair of ids, for a message about it."""

from collections.abc import Iterable
from itertools import islice

import polars as pl

from cofi_dist.config import ColumnNames
from cofi_dist.data.readers.layout import WITHOUT_HEADER, FilePath, format_of
from cofi_dist.data.readers.lines import parse_lines
from cofi_dist.data.readers.tables import is_parquet, stream_tables
from cofi_dist.data.readers.text import open_text, read_head


def first_lines_of_pair(path: FilePath, columns: ColumnNames, user: str, item: str) -> list[int]:
    """Return the first two lines (rows, for Parquet) of a ratings file that hold this pair of ids."""
    if is_parquet(path):
        return first_rows_of_pair(stream_tables(path, columns, rating=False), user, item)
    head = read_head(path)
    assert head is not None
    user_field, item_field = 0, 1
    if format_of(path) not in WITHOUT_HEADER:
        user_field, item_field = head.fields.index(columns.user), head.fields.index(columns.item)
    with open_text(path) as file:
        matching = (
            number
            for number, fields in parse_lines(file, head.separator)
            if len(fields) > max(user_field, item_field)
            and (fields[user_field], fields[item_field]) == (user, item)
        )
        return list(islice(matching, 2))


def first_rows_of_pair(tables: Iterable[pl.DataFrame], user: str, item: str) -> list[int]:
    """Return the first two rows, counted from 1, that hold this pair of ids."""
    found, num_before = list[int](), 0
    for table in tables:
        same = (pl.col("user").cast(pl.String) == user) & (pl.col("item").cast(pl.String) == item)
        found += [num_before + row + 1 for row in table.with_row_index("row").filter(same)["row"]]
        num_before += len(table)
    return found[:2]
