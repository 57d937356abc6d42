"""Read files of ids: of users, of items, or of pairs of both, in the formats that ratings files have."""

from pathlib import Path

import polars as pl

from cofi_dist.config import ColumnNames
from cofi_dist.data.readers.column_kinds import Role
from cofi_dist.data.readers.layout import Advice
from cofi_dist.data.readers.tables import has_column, notes_on_layout, require_file, tables_of
from cofi_dist.errors import DataError
from cofi_dist.words import counted

NAME_IT_SO = Advice("name it so there, as in the data that the model was trained on")


def read_ids(path: Path, columns: ColumnNames, kind: Role, notes: list[str]) -> pl.Series:
    """Read the ids of a file, each once, in the order in which they first appear.

    Args:
        path: the file. Of a file without a header, users are the first field and items the second.
        columns: what the columns are called.
        kind: whose ids, `user` or `item`.
        notes: a list that gets a line about everything that is odd about the file.

    Returns:
        A series of Int64 or String.

    Raises:
        DataError: the file, its line (row, for Parquet) and what is wrong with it.
    """
    return _read(path, {kind: columns.user if kind == "user" else columns.item}, kind, notes)[kind]


def read_exclusions(path: Path, columns: ColumnNames, notes: list[str]) -> pl.DataFrame:
    """Read what is not to be recommended: a column `item`, and, if the file has users, a column `user` too.

    The arguments and errors are those of `read_ids`.
    """
    if has_column(path, columns.user):
        return _read(path, {"user": columns.user, "item": columns.item}, "pair", notes)
    return _read(path, {"item": columns.item}, "item", notes)


def _read(path: Path, wanted: dict[Role, str], noun: str, notes: list[str]) -> pl.DataFrame:
    require_file(path)
    pieces = list(tables_of(path, wanted, NAME_IT_SO))
    if not pieces:
        raise DataError(f"{path}: holds no {noun}s")
    notes += notes_on_layout(path)
    for role in wanted:
        if len({piece.schema[role] for piece in pieces}) > 1:
            pieces = [piece.with_columns(pl.col(role).cast(pl.String)) for piece in pieces]
    table = pl.concat(pieces)
    once = table.unique(maintain_order=True)
    if len(once) < len(table):
        repeats = len(table) - len(once)
        notes.append(
            f"{repeats:,} of {counted(len(table), noun)} {'is a repeat' if repeats == 1 else 'are repeats'}"
        )
    return once
