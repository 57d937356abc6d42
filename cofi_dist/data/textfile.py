"""Text files of ratings, in tables of bounded size.

Polars reads and checks a run of lines at once. Only where a check fails, `faults` reads that run
again, line by line, to say which line it was.
"""

import csv
import gzip
import io
import re
import zlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from itertools import islice
from pathlib import Path
from typing import BinaryIO

import numpy as np
import polars as pl

from cofi_dist.data.chunks import chunks, count
from cofi_dist.data.faults import BLANKS, NUMBER, Layout, NotTextError, first_fault, rows
from cofi_dist.errors import DataError

SEPARATORS = {".csv": ",", ".tsv": "\t", ".dat": "::", ".data": "\t"}
WITHOUT_HEADER = (".dat", ".data")
# Text in which every quote opens or closes a whole field, or is one of two in a row inside it.
WELL_QUOTED = {
    separator: re.compile(
        rb'(?:[^"]++|(?<![^%b\r\n])"(?:[^"]++|"")*+"(?![^%b\r\n]))*+' % (separator, separator)
    )
    for separator in (b",", b"\t")
}
AT_A_TIME = 2  # runs of lines that are parsed while the one before them is put away


def opened(path: Path) -> BinaryIO:
    return gzip.open(path) if path.suffix == ".gz" else path.open("rb")  # type: ignore[return-value]


def text_tables(path: Path, suffix: str, wanted: dict[str, str]) -> Iterator[pl.DataFrame]:
    """The tables of a text file; see `ratings.tables`.

    Args:
        path: the file.
        suffix: which of SEPARATORS it is.
        wanted: name of each column that is needed: `user`, `item`, `rating`, `time`.
    """
    try:
        for table in _ahead(partial(_parsed, path, *piece) for piece in _pieces(path, suffix, wanted)):
            if len(table):
                yield table
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}") from None


def _pieces(path: Path, suffix: str, wanted: dict[str, str]) -> Iterator[tuple[bytes, Layout, int]]:
    """Runs of lines without the header, how to read them, and the number of the first of them."""
    layout, line = None, 1
    with opened(path) as file:
        for chunk in chunks(file, quotes=len(SEPARATORS[suffix]) == 1):
            text = chunk
            if layout is None:
                layout, text, after = _layout(path, chunk, suffix, wanted)
                line += after - 1
            if layout is not None:
                yield text, layout, line
            line += count(text, b"\n")
    if layout is None:
        raise DataError(f"{path}: is empty")


def _ahead(calls: Iterable[Callable[[], pl.DataFrame]]) -> Iterator[pl.DataFrame]:
    """What the calls return, in their order, a few of them at work at a time."""
    waiting: deque[Future[pl.DataFrame]] = deque()
    with ThreadPoolExecutor(AT_A_TIME) as pool:
        for call in calls:
            waiting.append(pool.submit(call))
            if len(waiting) > AT_A_TIME:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _layout(
    path: Path, chunk: bytes, suffix: str, wanted: dict[str, str]
) -> tuple[Layout | None, bytes, int]:
    """From the first lines: the layout, the lines after the header, and the first one's number."""
    separator = SEPARATORS[suffix]
    try:
        number, row = next(rows(io.BytesIO(chunk), separator), (0, []))
    except NotTextError as error:
        raise DataError(f"{path}: {error}") from None
    except csv.Error as error:
        raise DataError(f"{path}: line 1: {error}") from None
    if not row:
        return None, chunk, 1
    if suffix in WITHOUT_HEADER:
        places = dict(zip(("user", "item", "rating", "time"), range(4), strict=True))
        needed = {kind: places[kind] for kind in wanted}
        if len(row) <= max(needed.values()):
            raise DataError(f"{path}: line {number}: needs {separator.join(needed)}")
        return Layout(separator, len(row), needed), chunk.removeprefix(b"\xef\xbb\xbf"), 1
    for name in wanted.values():
        if name not in row:
            have = ", ".join(row)
            raise DataError(f"{path}: line {number}: no column {name!r} in {have}; set data.columns")
        if row.count(name) > 1:
            raise DataError(f"{path}: line {number}: column {name!r} stands there twice")
    after = sum(map(len, islice(io.BytesIO(chunk), number)))
    return (
        Layout(separator, len(row), {kind: row.index(name) for kind, name in wanted.items()}),
        chunk[after:],
        number + 1,
    )


def _parsed(path: Path, text: bytes, layout: Layout, line: int) -> pl.DataFrame:
    table = _read_text(text, layout)
    checked = None if table is None else _checked(table)
    if checked is not None:
        return checked
    fault = first_fault(text, layout, line)
    if fault:
        raise DataError(f"{path}: {fault}")
    # nothing is wrong with it: polars is the stricter about quotes
    slow = [
        [row[place] for place in layout.places.values()]
        for _, row in rows(io.BytesIO(text), layout.separator)
    ]
    checked = _checked(pl.DataFrame(slow, schema=dict.fromkeys(layout.places, pl.String), orient="row"))
    assert checked is not None, "what has no fault by line has none in the table"
    return checked


def _read_text(text: bytes, layout: Layout) -> pl.DataFrame | None:
    """The wanted columns as text; None where the lines need a closer look."""
    separator = layout.separator[0].encode()
    if b"\r" in text and count(text, b"\r") != text.count(b"\r\n"):
        return None  # polars takes a lone carriage return for a blank, csv for an end of line
    # `::` read as `:` leaves an empty column between every two
    step = len(layout.separator)
    if step == 1 and b'"' in text and not WELL_QUOTED[separator].fullmatch(text):
        return None  # polars is the more generous
    names = [str(place) for place in range(step * (layout.fields - 1) + 1)]
    header = separator.join(name.encode() for name in names) + b"\n"
    try:
        table = pl.read_csv(
            header + text,
            separator=layout.separator[0],
            infer_schema=False,
            quote_char='"' if step == 1 else None,
        )
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException):
        return None
    if table[:, 0].null_count():
        table = table.filter(~pl.all_horizontal(pl.all().is_null()))  # blank lines hold no rating
    if step == 1 and b'"' in text:
        whole = not any(column.null_count() for column in table)
    else:
        # more fields than the header's are an error above, so fewer show in the sum
        whole = count(text, separator) == len(table) * (len(names) - 1)
        whole &= all(table[name].null_count() == len(table) for k, name in enumerate(names) if k % step)
    if not whole:
        return None
    return table.select(pl.col(str(step * place)).alias(kind) for kind, place in layout.places.items())


def _checked(table: pl.DataFrame) -> pl.DataFrame | None:
    """Ids as integers where all are, numbers as numbers; None where one is no good."""
    done = []
    for kind in table.columns:
        text = table[kind]
        if text.null_count():
            return None
        if kind in ("user", "item"):
            done.append(integers_if_all(text))
            if done[-1].dtype == pl.String and bad_ids(text).any():
                return None
        elif not text.unique().str.contains(f"^(?:{NUMBER})$").all():
            return None
        else:
            number = text.cast(pl.Float64, strict=False)
            if number.null_count() or not number.is_finite().all():
                return None
            done.append(number)
    return pl.DataFrame(done).rename({"rating": "value"}, strict=False)


def integers_if_all(text: pl.Series) -> pl.Series:
    """Integers when every id is a plain decimal number (`7`, not `007` or `7.0`), else the text."""
    numbers = text.cast(pl.Int64, strict=False)
    if numbers.null_count():
        return text
    # no number is shorter than its plain form, so they all are plain if they sum up to its length
    plain = numbers.to_numpy()
    length = len(plain) + np.count_nonzero(plain < 0)
    for power in 10 ** np.arange(1, 19):
        longer = np.count_nonzero(plain >= power) + np.count_nonzero(plain <= -power)
        length += longer
        if not longer:
            break
    return numbers if int(text.str.len_bytes().sum()) == length else text


def bad_ids(text: pl.Series) -> pl.Series:
    """Where an id is empty, or begins or ends with a blank."""
    return (text == "") | (text != text.str.strip_chars(BLANKS))
