"""Read text files of ratings, in tables of bounded size.

Polars parses and checks a chunk of lines at once. Only if a check fails, `diagnose` reads that chunk again,
line by line, to find the faulty one.
"""

import gzip
import io
import re
import sys
import zlib
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import BinaryIO

import numpy as np
import polars as pl

from cofi_dist.data.id_spelling import bad_ids
from cofi_dist.data.readers.column_kinds import Role, wrong_numbers
from cofi_dist.data.readers.diagnose import diagnose
from cofi_dist.data.readers.layout import (
    SEPARATORS,
    WITHOUT_HEADER,
    Advice,
    FilePath,
    Head,
    Layout,
    find_layout,
    format_of,
    parse_head,
)
from cofi_dist.data.readers.lines import BYTE_ORDER_MARK, NUMBER, count_byte, line_chunks, parse_lines
from cofi_dist.errors import DataError
from cofi_dist.system.threads import ahead

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

# Text in which every quote opens or closes a whole field, or is one of a pair inside a quoted field.
WELL_QUOTED = {
    separator: re.compile(
        rb'(?:[^"]++|(?<![^%b\r\n])"(?:[^"]++|"")*+"(?![^%b\r\n]))*+' % (separator, separator)
    )
    for separator in (b",", b";", b"\t")
}
READ_ERRORS = (OSError, EOFError, zlib.error, zstd.ZstdError)


def open_text(path: FilePath) -> BinaryIO:
    """Open a text file for reading bytes, unpacked if its name ends in .gz or .zst."""
    assert isinstance(path, Path), "only Parquet is read from an object store"
    if path.suffix.lower() == ".zst":
        return zstd.open(path)  # type: ignore[return-value]
    return gzip.open(path) if path.suffix.lower() == ".gz" else path.open("rb")  # type: ignore[return-value]


def text_tables(path: FilePath, wanted: dict[Role, str], advice: Advice) -> Iterator[pl.DataFrame]:
    """Yield the tables of a text file, as `tables.stream_tables` describes them.

    Args:
        path: the file; its suffix is one of SEPARATORS, with or without .gz or .zst.
        wanted: name of each column that is needed.
        advice: what to do if one is missing.
    """
    try:
        chunks = _chunks(path, wanted, advice)
        for table in ahead(lambda chunk: _parse(path, *chunk), chunks):
            if len(table):
                yield table
    except READ_ERRORS as error:
        raise DataError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}") from None


def read_head(path: FilePath) -> Head | None:
    """Read the head of a text file; None if all its lines are blank.

    Raises:
        DataError: the file is not text, or not laid out as its suffix says.
        OSError, EOFError, zlib.error: it cannot be read.
    """
    suffix = format_of(path)
    with open_text(path) as file:
        for chunk in line_chunks(file, quotes=len(SEPARATORS[suffix]) == 1):
            head = parse_head(path, chunk, suffix)
            if head is not None:
                return head
    return None


def line_of_row(path: FilePath, wanted: dict[Role, str], row: int) -> int:
    """Return the number of the line that holds a row of `text_tables`, counted from 0."""
    num_before = 0
    for text, layout, line in _chunks(path, wanted, Advice("")):
        table = _parse(path, text, layout, line)
        if row < num_before + len(table):
            lines = parse_lines(io.BytesIO(text), layout.separator, line)
            return next(number for number, _ in islice(lines, row - num_before, None))
        num_before += len(table)
    raise DataError(f"{path}: has changed while it was read")


def _chunks(path: FilePath, wanted: dict[Role, str], advice: Advice) -> Iterator[tuple[bytes, Layout, int]]:
    """Yield chunks of lines without the header, how they are laid out, and the number of their first line."""
    suffix = format_of(path)
    layout, line = None, 1
    with open_text(path) as file:
        for chunk in line_chunks(file, quotes=len(SEPARATORS[suffix]) == 1):
            text = chunk
            if layout is None:
                head = parse_head(path, chunk, suffix)
                if head is not None:
                    layout = find_layout(path, head, suffix, wanted, advice)
                    if suffix in WITHOUT_HEADER:
                        text = chunk.removeprefix(BYTE_ORDER_MARK)
                    else:
                        text, line = chunk[head.size :], line + head.line
            if layout is not None:
                yield text, layout, line
            line += count_byte(text, b"\n")
    if layout is None:
        raise DataError(f"{path}: is empty")


def _parse(path: FilePath, text: bytes, layout: Layout, line: int) -> pl.DataFrame:
    """Parse a chunk of lines, of which the first has number `line`; raise DataError at a faulty one."""
    table = _parse_quickly(text, layout)
    converted = None if table is None else _converted(table, layout)
    if converted is not None:
        return converted
    fault = diagnose(text, layout, line)
    if fault:
        raise DataError(f"{path}: {fault}")
    # no line is faulty, but polars is stricter about quotes than we are: parse the lines one by one
    fields = [
        [row[place] for place in layout.places.values()]
        for _, row in parse_lines(io.BytesIO(text), layout.separator)
    ]
    table = pl.DataFrame(fields, schema=dict.fromkeys(layout.places, pl.String), orient="row")
    converted = _converted(table, layout)
    assert converted is not None, "lines without faults make a table without faults"
    return converted


def _parse_quickly(text: bytes, layout: Layout) -> pl.DataFrame | None:
    """Parse the wanted columns by polars; None if the lines need a closer look.

    Returns:
        Text; of ids, integers if that is what all of them plainly are and it was quick to find out.
    """
    separator, step = layout.separator[0].encode(), len(layout.separator)
    num_returns = count_byte(text, b"\r") if b"\r" in text else 0
    if num_returns and num_returns != text.count(b"\r\n"):
        return None  # to polars, a lone carriage return is a blank; to csv, an end of line
    if step == 1 and b'"' in text:
        if not WELL_QUOTED[separator].fullmatch(text):
            return None  # polars would accept more than we do
        table = _read_csv(text, layout)
        if table is None or any(column.null_count() for column in table):
            return None
    else:
        num_separators = count_byte(text, separator)
        field_bytes = len(text) - num_separators - num_returns - count_byte(text, b"\n")
        table = _with_plain_integers(text, layout, field_bytes)
        table = _read_csv(text, layout) if table is None else table
        # a line of too many fields is refused by polars, so too few show in the number of separators
        if table is None or num_separators != len(table) * (table.width - 1):
            return None
        if not all(table[:, k].null_count() == len(table) for k in range(table.width) if k % step):
            return None
    return table.select(pl.col(str(step * place)).alias(role) for role, place in layout.places.items())


def _with_plain_integers(text: bytes, layout: Layout, field_bytes: int) -> pl.DataFrame | None:
    """Parse ids as integers if those of the first line are; None if not all are plain ones.

    Args:
        text: lines without quotes.
        layout: of the lines.
        field_bytes: number of bytes of all fields.
    """
    first = text[: text.find(b"\n") + 1].rstrip(b"\r\n").split(layout.separator.encode())
    ids = [place for role, place in layout.places.items() if role in ("user", "item")]
    integers = [place for place in ids if place < len(first) and first[place].isdigit()]
    table = _read_csv(text, layout, integers) if integers else None
    if table is None:
        return None
    lengths = (_plain_length(c) if c.dtype == pl.Int64 else int(c.str.len_bytes().sum()) for c in table)
    return table if sum(lengths) == field_bytes else None


def _read_csv(text: bytes, layout: Layout, integers: Iterable[int] = ()) -> pl.DataFrame | None:
    """Parse all fields by polars, as text or as integers; None if it can't.

    Args:
        text: the lines.
        layout: of the lines. `::` is read as `:`, which makes an empty field between every two.
        integers: indices of the fields that are integers.
    """
    step = len(layout.separator)
    names = [str(place) for place in range(step * (layout.fields - 1) + 1)]
    try:
        table = pl.read_csv(
            layout.separator[0].join(names).encode() + b"\n" + text,
            separator=layout.separator[0],
            infer_schema=False,
            schema_overrides={str(step * place): pl.Int64 for place in integers},
            quote_char='"' if step == 1 else None,
        )
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException):
        return None
    if table[:, 0].null_count():
        table = table.filter(~pl.all_horizontal(pl.all().is_null()))  # blank lines hold no rating
    return table


def _converted(table: pl.DataFrame, layout: Layout) -> pl.DataFrame | None:
    """Convert text to ids and numbers; None if one of them is faulty."""
    columns = []
    for role in layout.places:
        text = table[role]
        if text.null_count():
            return None
        if role in ("user", "item"):
            columns.append(text if text.dtype == pl.Int64 else integers_if_all(text))
            if columns[-1].dtype == pl.String and bad_ids(text).any():
                return None
            continue
        if layout.decimal_comma:
            text = text.str.replace_all(",", ".", literal=True)
        if not text.unique().str.contains(f"^(?:{NUMBER})$").all():
            return None
        numbers = text.cast(pl.Float64, strict=False)
        if numbers.null_count() or wrong_numbers(role, numbers).any():
            return None
        columns.append(numbers)
    return pl.DataFrame(columns)


def integers_if_all(text: pl.Series) -> pl.Series:
    """Convert ids to integers if each of them is a plain decimal number: `7`, not `007` or `7.0`."""
    numbers = text.cast(pl.Int64, strict=False)
    # no spelling of a number is shorter than its plain one, so all are plain if their total length says so
    is_plain = not numbers.null_count() and int(text.str.len_bytes().sum()) == _plain_length(numbers)
    return numbers if is_plain else text


def _plain_length(numbers: pl.Series) -> int:
    """Return the number of characters of integers that are all written plainly; nulls have none."""
    values = numbers.drop_nulls().to_numpy()
    lowest, highest = values.min(initial=0), values.max(initial=0)
    # a digit, a sign if negative, and a further digit for each power of ten that is reached
    length = len(values)
    length += int(np.count_nonzero(values < 0)) if lowest < 0 else 0
    for power in 10 ** np.arange(1, 19):
        length += int(np.count_nonzero(values >= power)) if highest >= power else 0
        length += int(np.count_nonzero(values <= -power)) if lowest <= -power else 0
    return length
