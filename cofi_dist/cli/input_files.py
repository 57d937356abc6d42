"""Read the files that a command takes beside a model: ratings, pairs and titles."""

import csv
import io
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from cofi_dist.errors import DataError
from cofi_dist.files.reading import open_regular
from cofi_dist.streams import log_stderr

if TYPE_CHECKING:
    import polars as pl

    from cofi_dist.config import ColumnNames, Feedback

# MovieLens' movies.dat and u.item, which have no header.
TITLES_WITHOUT_HEADER = {".dat": "::", ".item": "|"}
TITLES_WITH_HEADER = (".csv", ".tsv")
MOST_TITLES = 2**27  # bytes, unpacked; those of ten million books


def read_ratings(
    given: "str | Path",
    columns: "ColumnNames",
    feedback: "Feedback",
    *,
    rating: bool = True,
    aloud: bool = True,
) -> "pl.DataFrame":
    """Read files as `read_whole_table` of data/readers does; if `aloud`, its notes go to stderr."""
    from cofi_dist.data.readers.ratings_files import read_whole_table

    notes: list[str] = []
    table = read_whole_table(given, columns, notes, feedback=feedback, rating=rating)
    for note in notes if aloud else ():
        log_stderr(f"{given}: {note}")
    return table


def read_titles(path: Path | None, item_column: str) -> dict[str, str]:
    """Return the title of each item, by its raw id as text. Without a file there are none.

    Args:
        path: a .csv or .tsv file with a header that names `item_column` and `title`; or, as MovieLens has
            them, movies.dat (`id::title::...`) or u.item (`id|title|...`). Any of them as .gz or .zst
            too, in UTF-8 or in Windows' and the Web's Latin-1.
        item_column: where the ids are in a file with a header.

    Raises:
        DataError: the file can't be read or lacks a column.
    """
    from cofi_dist.data.readers.layout import format_of
    from cofi_dist.data.readers.text import READ_ERRORS, open_text

    if path is None:
        return {}
    kind = format_of(path)
    if kind not in (*TITLES_WITHOUT_HEADER, *TITLES_WITH_HEADER):
        raise DataError(f"{path}: titles come from .csv, .tsv, .dat or .item (or .gz or .zst of them)")
    try:
        with open_regular(path), open_text(path) as file:  # a pipe would be waited for
            raw = file.read(MOST_TITLES + 1)
        if len(raw) > MOST_TITLES:
            raise DataError(f"{path}: holds more than {MOST_TITLES:,} bytes: these are not titles")
    except READ_ERRORS as error:
        raise DataError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}") from None
    if kind in TITLES_WITHOUT_HEADER:
        pairs = _titles_without_header(path, raw, TITLES_WITHOUT_HEADER[kind])
    else:
        pairs = _titles_with_header(path, raw, kind, item_column)
    return {item: " ".join(title.split()) for item, title in pairs}


def warn_if_untitled(titles: Path | None, title_of: dict[str, str], items: "pl.Series") -> None:
    """Say so if a file of titles has none for any item of a list."""
    if titles is not None and len(items) and not any(str(item) in title_of for item in items):
        log_stderr(
            f"{titles}: has no title of any of these items; are its ids spelt as those of the ratings?"
        )


def _titles_with_header(path: Path, raw: bytes, kind: str, item_column: str) -> Iterator[tuple[str, str]]:
    from cofi_dist.data.readers.layout import parse_head

    text = raw if raw.startswith((b"\xff\xfe", b"\xfe\xff")) else _text(raw).encode()
    head = parse_head(path, text, kind)
    have = head.fields if head else []
    for name in (item_column, "title"):
        if head is None or name not in have:
            raise DataError(
                f"{path}: no column {name!r} in {', '.join(have) or 'an empty file'}; a file of titles has"
                f" the columns {item_column} and title"
            )
    assert head is not None
    at_item, at_title = have.index(item_column), have.index("title")
    rest = io.StringIO(text[head.size :].decode(), newline="")
    lines = csv.reader(rest, delimiter=head.separator, strict=True)
    try:
        for row in lines:
            if len(row) > max(at_item, at_title):
                yield row[at_item], row[at_title]
    except csv.Error as error:
        raise DataError(f"{path}: line {head.line + lines.line_num}: {error}") from None


def _titles_without_header(path: Path, raw: bytes, separator: str) -> Iterator[tuple[str, str]]:
    for number, line in enumerate(_text(raw).split("\n"), start=1):  # other line ends may be in a title
        fields = line.split(separator)
        if not line.strip("\r"):
            continue
        if len(fields) < 2:
            raise DataError(f"{path}: line {number}: needs id{separator}title")
        yield fields[0], fields[1]


def _text(raw: bytes) -> str:
    """Decode UTF-8, or else Windows' Latin-1, whose 0x85 is an ellipsis, or else Latin-1."""
    for encoding in ("utf-8-sig", "cp1252"):
        try:
            return raw.decode(encoding)
        except UnicodeDecodeError:
            continue
    return raw.decode("latin-1")
