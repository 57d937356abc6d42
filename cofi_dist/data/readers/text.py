"""Text files of ratings, in tables of bounded size.

Polars reads and checks a run of lines at once. Only where a check fails, `faults` reads that run
again, line by line, to say which line it was.
"""

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

from cofi_dist.data.id_spelling import bad_ids
from cofi_dist.data.readers.column_kinds import Kind
from cofi_dist.data.readers.diagnose import NUMBER, Layout, diagnose, rows
from cofi_dist.data.readers.layout import MARK, SEPARATORS, WITHOUT_HEADER, Head, head_of, kind_of, layout_of
from cofi_dist.data.readers.lines import chunks, count
from cofi_dist.errors import DataError

# Text in which every quote opens or closes a whole field, or is one of two in a row inside it.
WELL_QUOTED = {
    separator: re.compile(
        rb'(?:[^"]++|(?<![^%b\r\n])"(?:[^"]++|"")*+"(?![^%b\r\n]))*+' % (separator, separator)
    )
    for separator in (b",", b";", b"\t")
}
UNREADABLE = (OSError, EOFError, zlib.error)
AT_A_TIME = 2  # runs of lines that are parsed while the one before them is put away


def opened(path: Path) -> BinaryIO:
    return gzip.open(path) if path.suffix.lower() == ".gz" else path.open("rb")  # type: ignore[return-value]


def text_tables(path: Path, wanted: dict[Kind, str], advice: str) -> Iterator[pl.DataFrame]:
    """The tables of a text file; see `ratings.tables`.

    Args:
        path: the file; its suffix is one of SEPARATORS, with or without .gz.
        wanted: name of each column that is needed: `user`, `item`, `rating`, `time`.
        advice: what to do where one is missing.
    """
    try:
        runs = _pieces(path, wanted, advice)
        for table in _ahead(partial(_parsed, path, *run) for run in runs):
            if len(table):
                yield table
    except UNREADABLE as error:
        raise DataError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}") from None


def read_head(path: Path) -> Head | None:
    """The head of a text file; None where all its lines are blank.

    Raises:
        DataError: it is no text, or not laid out as its suffix says.
        OSError, EOFError, zlib.error: it can't be read.
    """
    suffix = kind_of(path)
    with opened(path) as file:
        for chunk in chunks(file, quotes=len(SEPARATORS[suffix]) == 1):
            head = head_of(path, chunk, suffix)
            if head is not None:
                return head
    return None


def line_of_row(path: Path, wanted: dict[Kind, str], row: int) -> int:
    """The number of the line that holds a row of `text_tables`, counted from 0."""
    at = 0
    for text, layout, line in _pieces(path, wanted, ""):
        table = _parsed(path, text, layout, line)
        if row < at + len(table):
            lines = rows(io.BytesIO(text), layout.separator, line)
            return next(number for number, _ in islice(lines, row - at, None))
        at += len(table)
    raise DataError(f"{path}: has changed while it was read")


def _pieces(path: Path, wanted: dict[Kind, str], advice: str) -> Iterator[tuple[bytes, Layout, int]]:
    """Runs of lines without the header, how to read them, and the number of the first of them."""
    suffix = kind_of(path)
    layout, line = None, 1
    with opened(path) as file:
        for chunk in chunks(file, quotes=len(SEPARATORS[suffix]) == 1):
            text = chunk
            if layout is None:
                head = head_of(path, chunk, suffix)
                if head is not None:
                    layout = layout_of(path, head, suffix, wanted, advice)
                    if suffix in WITHOUT_HEADER:
                        text = chunk.removeprefix(MARK)
                    else:
                        text, line = chunk[head.size :], line + head.line
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


def _parsed(path: Path, text: bytes, layout: Layout, line: int) -> pl.DataFrame:
    table = _read_text(text, layout)
    checked = None if table is None else _checked(table, layout)
    if checked is not None:
        return checked
    fault = diagnose(text, layout, line)
    if fault:
        raise DataError(f"{path}: {fault}")
    # nothing is wrong with it: polars is the stricter about quotes
    slow = [
        [row[place] for place in layout.places.values()]
        for _, row in rows(io.BytesIO(text), layout.separator)
    ]
    checked = _checked(
        pl.DataFrame(slow, schema=dict.fromkeys(layout.places, pl.String), orient="row"), layout
    )
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


def _checked(table: pl.DataFrame, layout: Layout) -> pl.DataFrame | None:
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
            continue
        if layout.decimal_comma:
            text = text.str.replace_all(",", ".", literal=True)
        if not text.unique().str.contains(f"^(?:{NUMBER})$").all():
            return None
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
