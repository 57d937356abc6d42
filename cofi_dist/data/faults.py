"""Which line of a ratings file is wrong, found line by line: slow, and asked only when one is."""

import csv
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO


class _NotTextError(Exception):
    """A line that isn't UTF-8."""


# What ratings.py asks of the whole file at once, and this module of every line. Rust's and
# Python's own ideas of a number differ, as in `1_0` and ` 4`.
NUMBER = r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?"
BLANKS = " \t\r\n"  # an id may not begin or end with one, or `1, 7` would be another item than `1,7`


@dataclass(frozen=True)
class Layout:
    """How a text file is written.

    Attributes:
        separator: between two fields; more than one character means no quoting.
        columns: names of the user, item and rating columns in the header; None for a file
            without a header, whose first three fields they are.
    """

    separator: str
    columns: tuple[str, str, str] | None


def first_fault(path: Path, layout: Layout) -> str | None:
    """`line N: what is wrong and what to do`, or None where every line is good."""
    seen: dict[tuple[str, str], int] = {}
    line, fields, places = 0, 0, (0, 1, 2)
    try:
        for line, row in _rows(path, layout.separator):
            if not fields:
                fields = len(row)
                fault = _header_fault(row, layout)
                if fault:
                    return f"line {line}: {fault}"
                if layout.columns is not None:
                    places = tuple(row.index(c) for c in layout.columns)  # type: ignore[assignment]
                    continue
            fault = _fault_of(row, layout.separator, fields, places, seen, line)
            if fault:
                return f"line {line}: {fault}"
    except _NotTextError as error:
        return str(error)
    except csv.Error as error:
        return f"line {line + 1}: {error}"
    return None if fields else "is empty"


def _fault_of(
    row: list[str],
    separator: str,
    fields: int,
    places: tuple[int, int, int],
    seen: dict[tuple[str, str], int],
    line: int,
) -> str | None:
    if len(row) != fields:
        return f"{len(row)} fields where the first line has {fields}; was the file cut off?"
    if separator == "::" and any(":" in field for field in row):
        return "a field holds a ':', which only separates fields here"
    user, item, rating = (row[place] for place in places)
    bad_id = _id_fault("user", user) or _id_fault("item", item)
    if bad_id:
        return bad_id
    if not _is_finite(rating):
        return f"the rating {rating!r} is not a finite number"
    first = seen.setdefault((user, item), line)
    if first != line:
        return f"user {user} rated item {item} on line {first} already; keep one of them"
    return None


def _header_fault(row: list[str], layout: Layout) -> str | None:
    """What is wrong with the first line, which has no header where `layout` names no columns."""
    if layout.columns is None:
        return None if len(row) >= 3 else f"needs user{layout.separator}item{layout.separator}rating"
    for column in layout.columns:
        if column not in row:
            return f"no column {column!r} in {', '.join(row)}; set data.columns"
        if row.count(column) > 1:
            return f"column {column!r} stands there twice"
    return None


def _id_fault(kind: str, raw: str) -> str | None:
    if not raw.strip(BLANKS):
        return f"the {kind} id is empty"
    if raw != raw.strip(BLANKS):
        return f"the {kind} id {raw!r} begins or ends with a blank"
    return None


def _is_finite(text: str) -> bool:
    return re.fullmatch(NUMBER, text) is not None and math.isfinite(float(text))


def _rows(path: Path, separator: str) -> Iterator[tuple[int, list[str]]]:
    """(line number, fields) of every line that isn't blank."""
    with path.open("rb") as file:
        lines = _lines(file)
        if len(separator) == 1:
            reader = csv.reader(lines, delimiter=separator, strict=True)
            yield from ((reader.line_num, row) for row in reader if row)
        else:
            for number, text in enumerate(lines, start=1):
                if text.strip("\r\n"):
                    yield number, text.rstrip("\r\n").split(separator)


def _lines(file: BinaryIO) -> Iterator[str]:
    for number, raw in enumerate(file, start=1):
        try:
            # a byte order mark may stand before the first line
            yield raw.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError:
            raise _NotTextError(f"line {number}: is not UTF-8 text") from None
