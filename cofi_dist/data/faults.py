"""Which line of a ratings file is wrong, found line by line: slow, and asked only when one is."""

import csv
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO


class _NotTextError(Exception):
    """A line that isn't UTF-8."""


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
                if layout.columns is None and fields < 3:
                    return f"line {line}: needs user{layout.separator}item{layout.separator}rating"
                if layout.columns is not None:
                    missing = [c for c in layout.columns if c not in row]
                    if missing:
                        have = ", ".join(row)
                        return f"line {line}: no column {missing[0]!r} in {have}; set data.columns"
                    places = tuple(row.index(c) for c in layout.columns)  # type: ignore[assignment]
                    continue
            fault = _fault_of(row, fields, places, seen, line)
            if fault:
                return f"line {line}: {fault}"
    except _NotTextError as error:
        return str(error)
    except csv.Error as error:
        return f"line {line + 1}: {error}"
    return None if fields else "is empty"


def _fault_of(
    row: list[str],
    fields: int,
    places: tuple[int, int, int],
    seen: dict[tuple[str, str], int],
    line: int,
) -> str | None:
    if len(row) != fields:
        return f"{len(row)} fields where the first line has {fields}; was the file cut off?"
    user, item, rating = (row[place] for place in places)
    if not user or not item:
        return f"the {'item' if user else 'user'} id is empty"
    if not _is_finite(rating):
        return f"the rating {rating!r} is not a finite number"
    first = seen.setdefault((user, item), line)
    if first != line:
        return f"user {user} rated item {item} on line {first} already; keep one of them"
    return None


def _is_finite(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


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
