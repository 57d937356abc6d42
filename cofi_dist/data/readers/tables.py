"""Read ratings files of every format as streams of tables of bounded size, and name every bad line."""

import stat
from collections.abc import Iterator

import polars as pl

from cofi_dist.config import ColumnNames, Feedback
from cofi_dist.data.readers.column_kinds import Role
from cofi_dist.data.readers.layout import (
    FIELD_PLACES,
    SEPARATORS,
    WITHOUT_HEADER,
    Advice,
    FilePath,
    column_list,
    format_of,
)
from cofi_dist.data.readers.object_store import ObjectUrl
from cofi_dist.data.readers.parquet import parquet_columns, parquet_tables
from cofi_dist.data.readers.text import READ_ERRORS, line_of_row, read_head, text_tables
from cofi_dist.errors import DataError

SET_COLUMNS = Advice(
    "set data.columns", "if the lines are events, such as clicks, set data.feedback: implicit"
)


def stream_tables(
    path: FilePath,
    columns: ColumnNames,
    *,
    feedback: Feedback = "explicit",
    rating: bool = True,
    time: bool = False,
    weight: bool = False,
    advice: Advice = SET_COLUMNS,
) -> Iterator[pl.DataFrame]:
    """Read a ratings file in pieces: .csv, .tsv, .dat, .data (each also as .gz or .zst) or .parquet.

    .dat is `user::item::rating[::timestamp]`, and .data the same with tabs; neither has a header. A .csv file
    whose header has semicolons and no comma is separated by semicolons, with decimal commas or points.

    Args:
        path: the file.
        columns: names of the columns, if the file has a header.
        feedback: whether the lines are ratings, or events, whose strengths may be missing.
        rating: whether ratings, or the strengths of events, are needed.
        time: whether timestamps are needed.
        weight: whether weights are needed; `columns` then names theirs.
        advice: what to do if a column is missing.

    Yields:
        Tables with the columns user and item (Int64 or String, one type per table), and, as far as they are
        needed, value, time and weight (Float64); without nulls, NaNs and infinities. The value is the rating,
        or the strength of the event, which is 1 if the file has none. Strengths and weights are above 0.

    Raises:
        DataError: the file, its line (row, for Parquet) and what is wrong with it.
    """
    require_file(path)
    has_values = feedback == "explicit" or _must_have_strengths(path, columns) or has_strengths(path, columns)
    wanted = wanted_columns(columns, feedback, rating=rating and has_values, time=time, weight=weight)
    for table in tables_of(path, wanted, advice):
        yield with_values_named(table, rating=rating)


def wanted_columns(
    columns: ColumnNames, feedback: Feedback, *, rating: bool, time: bool, weight: bool
) -> dict[Role, str]:
    """Return the name of each column that is to be read.

    Args:
        columns: names of all columns.
        feedback: whether the values are ratings or strengths.
        rating: whether there are values to be read.
        time: whether timestamps are.
        weight: whether weights are.
    """
    wanted: dict[Role, str] = {"user": columns.user, "item": columns.item}
    if rating:
        wanted["rating" if feedback == "explicit" else "strength"] = columns.rating
    if time:
        wanted["time"] = columns.timestamp
    if weight:
        assert columns.weight is not None
        wanted["weight"] = columns.weight
    return wanted


def with_values_named(table: pl.DataFrame, *, rating: bool) -> pl.DataFrame:
    """Call ratings or strengths `value`; if there are none but `rating` asks for some, they are 1."""
    named = table.rename({"rating": "value", "strength": "value"}, strict=False)
    is_complete = not rating or "value" in named.columns
    return named if is_complete else named.with_columns(value=pl.lit(1.0))


def tables_of(path: FilePath, wanted: dict[Role, str], advice: Advice) -> Iterator[pl.DataFrame]:
    """Return the tables of a file by the reader of its format; a table's columns are named by their roles."""
    if is_parquet(path):
        return parquet_tables(path, wanted, advice)
    if format_of(path) in SEPARATORS:
        return text_tables(path, wanted, advice)
    raise DataError(
        f"{path}: unknown kind of file; use .csv, .tsv, .dat or  .data (or .gz or .zst of them), .parquet"
    )


def notes_on_layout(path: FilePath, columns: ColumnNames | None = None) -> list[str]:
    """Return lines about what is odd about the layout of a file.

    Args:
        path: the file.
        columns: names of its columns in the config.

    Raises:
        DataError: the file is not there, or is not text although its suffix says so.
    """
    require_file(path)
    if format_of(path) not in SEPARATORS:
        return []
    if format_of(path) in WITHOUT_HEADER and columns not in (None, ColumnNames()):
        suffix = format_of(path)
        return [
            f"a {suffix} file has no header: data.columns names the columns of what is written, not of it"
        ]
    try:
        head = read_head(path)
    except READ_ERRORS as error:
        raise DataError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}") from None
    if head is None or head.separator != ";":
        return []
    return ["fields are separated by semicolons; a comma in a number is its decimal point"]


def notes_on_strengths(
    path: FilePath, columns: ColumnNames, advice: str = "set data.columns.rating"
) -> list[str]:
    """Return a line if a file of events has no strengths.

    Args:
        path: the file.
        columns: names of its columns.
        advice: what to do if another column holds them.
    """
    if has_strengths(path, columns):
        return []
    if format_of(path) in WITHOUT_HEADER:
        return ["there is no third field: each line is an event of strength 1"]
    names = list(parquet_columns(path)) if is_parquet(path) else _header(path)
    others = [name for name in names if name not in (columns.user, columns.item, columns.timestamp)]
    holds = f"; if one of {column_list(others)} holds strengths, {advice}" if others else ""
    line = "row" if is_parquet(path) else "line"
    return [f"there is no column {columns.rating!r}: each {line} is an event of strength 1{holds}"]


def has_strengths(path: FilePath, columns: ColumnNames) -> bool:
    """Return whether a file of events has strengths; True if it cannot be read."""
    if format_of(path) not in WITHOUT_HEADER:
        return has_column(path, columns.rating)
    try:
        return len(_header(path)) != FIELD_PLACES["strength"]
    except (*READ_ERRORS, DataError):
        return True  # `stream_tables` says what is wrong


def _must_have_strengths(path: FilePath, columns: ColumnNames) -> bool:
    """Return whether the config names a column of strengths, which a file with a header must then have."""
    return columns.rating != ColumnNames().rating and format_of(path) not in WITHOUT_HEADER


def _header(path: FilePath) -> list[str]:
    """Return the fields of the first line of a text file; none if the file is empty."""
    head = read_head(path)
    return head.fields if head else []


def row_in_words(path: FilePath, columns: ColumnNames, row: int) -> str:
    """Return `line N`, or `row N` for Parquet, of a row of `stream_tables`, which is counted from 0."""
    if is_parquet(path):
        return f"row {row + 1}"
    return f"line {line_of_row(path, {'user': columns.user, 'item': columns.item}, row)}"


def has_column(path: FilePath, name: str) -> bool:
    """Return whether a ratings file has a column of that name; True if it has no readable header."""
    try:
        require_file(path)
        if is_parquet(path):
            return name in parquet_columns(path)
        if format_of(path) in WITHOUT_HEADER or format_of(path) not in SEPARATORS:
            return True
        head = read_head(path)
        return head is None or name in head.fields
    except (*READ_ERRORS, DataError):
        return True  # `stream_tables` says what is wrong


def is_parquet(path: FilePath) -> bool:
    """Return whether a file's name says that it is a Parquet file."""
    return format_of(path) == ".parquet"


def require_file(path: FilePath) -> None:
    """Raise DataError unless there is a regular file of that name; a URL is looked at when it is read."""
    if isinstance(path, ObjectUrl):
        return
    try:
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        raise DataError(f"{path}: no such file") from None
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}") from None
    if stat.S_ISDIR(mode):
        raise DataError(f"{path}: is a folder, not a file")
    if not stat.S_ISREG(mode):
        raise DataError(f"{path}: is a pipe or a device; write what comes from it into a file")
