"""A ratings file as a stream of tables of bounded size; every bad line is named."""

import stat
from collections.abc import Iterator
from functools import cache
from itertools import islice
from pathlib import Path

import polars as pl

from cofi_dist.config import ColumnNames
from cofi_dist.data.id_spelling import DistinctIds, id_notes
from cofi_dist.data.readers.column_kinds import Kind
from cofi_dist.data.readers.diagnose import rows
from cofi_dist.data.readers.layout import SEPARATORS, WITHOUT_HEADER, kind_of
from cofi_dist.data.readers.parquet import parquet_columns, parquet_tables
from cofi_dist.data.readers.text import UNREADABLE, line_of_row, opened, read_head, text_tables
from cofi_dist.errors import DataError

SET_COLUMNS = "set data.columns"


def tables(
    path: Path,
    columns: ColumnNames,
    *,
    rating: bool = True,
    time: bool = False,
    advice: str = SET_COLUMNS,
) -> Iterator[pl.DataFrame]:
    """Read a ratings file in pieces: .csv, .tsv, .dat, .data (any of them .gz too) or .parquet.

    .dat is `user::item::rating[::timestamp]`; .data the same with tabs; neither has a header. A .csv file
    whose header has semicolons and no comma is separated by them, with decimal commas or points.

    Args:
        path: the file.
        columns: names of the columns, where the file has a header.
        rating: whether ratings are needed.
        time: whether timestamps are needed.
        advice: what to do where a column is missing.

    Yields:
        Tables with the columns user and item (Int64 or String, in one table all of a kind), value
        (Float64) if `rating`, time (Float64) if `time`; no nulls, nothing that isn't finite.

    Raises:
        DataError: the file, its line (row, for Parquet) and what is wrong with it.
    """
    require_file(path)
    wanted: dict[Kind, str] = {"user": columns.user, "item": columns.item}
    if rating:
        wanted["rating"] = columns.rating
    if time:
        wanted["time"] = columns.timestamp
    if is_parquet(path):
        yield from parquet_tables(path, wanted, advice)
    elif kind_of(path) in SEPARATORS:
        yield from text_tables(path, wanted, advice)
    else:
        raise DataError(
            f"{path}: unknown kind of file; use .csv, .tsv, .dat or .data (or .gz of them), .parquet"
        )


def read_table(path: Path, columns: ColumnNames, notes: list[str], *, rating: bool = True) -> pl.DataFrame:
    """The whole file as one table, as `tables` gives it in pieces; for a model that knows the columns.

    Args:
        path: the file.
        columns: their names.
        notes: gets what is odd about the file, in lines.
        rating: whether ratings are needed.

    Raises:
        DataError: as `tables`; or it holds no line.
    """
    advice = "name it so there, as in the ratings that the model was trained on"
    parts = list(tables(path, columns, rating=rating, advice=advice))
    if not parts:
        raise DataError(f"{path}: holds no ratings")
    notes += notes_on_layout(path)
    users, items = (
        DistinctIds.of_column(_one_kind([part[name] for part in parts])) for name in ("user", "item")
    )
    notes += notes_on_ids(path, columns, users, items)
    if len({part.schema["user"] for part in parts}) + len({part.schema["item"] for part in parts}) > 2:
        parts = [part.with_columns(pl.col("user", "item").cast(pl.String)) for part in parts]
    return pl.concat(parts)


def _one_kind(pieces: list[pl.Series]) -> pl.Series:
    """Join the pieces of a column of ids: integers if all of them hold integers, else text."""
    if len({piece.dtype for piece in pieces}) > 1:
        pieces = [piece.cast(pl.String) for piece in pieces]
    return pl.concat(pieces)


def notes_on_layout(path: Path, columns: ColumnNames | None = None) -> list[str]:
    """What is odd about how the lines of a file are laid out.

    Args:
        path: the file.
        columns: names that a config gives its columns.

    Raises:
        DataError: it is not there, or no text where its suffix says so.
    """
    require_file(path)
    if kind_of(path) not in SEPARATORS:
        return []
    if kind_of(path) in WITHOUT_HEADER and columns not in (None, ColumnNames()):
        kind = kind_of(path)
        return [f"a {kind} file has no header: data.columns names the columns of what is written, not of it"]
    try:
        head = read_head(path)
    except UNREADABLE as error:
        raise DataError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}") from None
    if head is None or head.separator != ";":
        return []
    return ["fields are separated by semicolons; a comma in a number is its decimal point"]


def notes_on_ids(path: Path, columns: ColumnNames, users: DistinctIds, items: DistinctIds) -> list[str]:
    """What is odd about the ids of a file that was read, each with the line where it is seen first."""

    @cache
    def where(row: int) -> str:
        if is_parquet(path):
            return f"row {row + 1}"
        return f"line {line_of_row(path, {'user': columns.user, 'item': columns.item}, row)}"

    of_users = [] if columns.user == columns.item else id_notes("user", users, where)
    return [*of_users, *id_notes("item", items, where)]


def lines_of_pair(path: Path, columns: ColumnNames, user: str, item: str) -> list[int]:
    """The first two lines (rows, for Parquet) of a ratings file that hold this pair."""
    found: list[int] = []
    if is_parquet(path):
        at = 0
        for table in tables(path, columns):
            same = (pl.col("user").cast(pl.String) == user) & (pl.col("item").cast(pl.String) == item)
            found += [at + row + 1 for row in table.with_row_index("row").filter(same)["row"]]
            at += len(table)
        return found[:2]
    head = read_head(path)
    assert head is not None
    at_user, at_item = 0, 1
    if kind_of(path) not in WITHOUT_HEADER:
        at_user, at_item = head.fields.index(columns.user), head.fields.index(columns.item)
    with opened(path) as file:
        pair = (
            number
            for number, row in rows(file, head.separator)
            if len(row) > max(at_user, at_item) and (row[at_user], row[at_item]) == (user, item)
        )
        return list(islice(pair, 2))


def names_column(path: Path, name: str) -> bool:
    """Whether a ratings file has a column of that name; True where it can't be told from a header."""
    try:
        require_file(path)
        if is_parquet(path):
            return name in parquet_columns(path)
        if kind_of(path) in WITHOUT_HEADER or kind_of(path) not in SEPARATORS:
            return True
        head = read_head(path)
        return head is None or name in head.fields
    except (*UNREADABLE, DataError):
        return True  # `tables` has the words for it


def is_parquet(path: Path) -> bool:
    """Whether its name says that it is one."""
    return kind_of(path) == ".parquet"


def require_file(path: Path) -> None:
    """Raise DataError unless there is a regular file."""
    try:
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        raise DataError(f"{path}: no such file") from None
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}") from None
    if stat.S_ISDIR(mode):
        how = ""
        if any(part.suffix.lower() == ".parquet" for part in path.iterdir()):
            how = f", as polars.scan_parquet({str(path)!r}).sink_parquet('one.parquet') does in Python"
        raise DataError(f"{path}: is a folder, not a file; write the parts in it into one file{how}")
    if not stat.S_ISREG(mode):
        raise DataError(f"{path}: is a pipe or a device; write what comes from it into a file")
