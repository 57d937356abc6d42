"""Lines of a ratings file, one by one: slow, and asked only where polars met something unusual."""

import csv
import io
import math
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass


class NotTextError(Exception):
    """A line that isn't UTF-8; the message says which."""


# What ratings.py asks of many lines at once, and this module of every line. Rust's and
# Python's own ideas of a number differ, as in `1_0` and ` 4`.
NUMBER = r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?"
BLANKS = " \t\r\n"  # an id may not begin or end with one, or `1, 7` would be another item than `1,7`


@dataclass(frozen=True)
class Layout:
    """How the lines of a text file are read.

    Attributes:
        separator: between two fields; more than one character means no quoting.
        fields: how many a line has.
        places: which field is what: `user`, `item`, and `rating` and `time` where they are read.
    """

    separator: str
    fields: int
    places: dict[str, int]


def first_fault(text: bytes, layout: Layout, line: int) -> str | None:
    """`line N: what is wrong and what to do`, or None where every line is good.

    Args:
        text: whole lines.
        layout: how to read them.
        line: number of the first of them in its file.
    """
    try:
        for number, row in rows(io.BytesIO(text), layout.separator, line):
            fault = _fault_of(row, layout)
            if fault:
                return f"line {number}: {fault}"
    except NotTextError as error:
        return str(error)
    except csv.Error as error:
        what = str(error)
        if "new-line character" in what:
            what = "a carriage return stands alone in a field; quote the field, or end lines with a line feed"
        return f"line {line} or after it: {what}"
    return None


def _fault_of(row: list[str], layout: Layout) -> str | None:
    if len(row) != layout.fields:
        return f"{len(row)} fields where the first line has {layout.fields}; was the file cut off?"
    if layout.separator == "::" and any(":" in field for field in row):
        return "a field holds a ':', which only separates fields here"
    for kind, place in layout.places.items():
        if kind in ("user", "item"):
            fault = _id_fault(kind, row[place])
        else:
            name = "timestamp" if kind == "time" else kind
            fault = None if _is_finite(row[place]) else f"the {name} {row[place]!r} is not a finite number"
        if fault:
            return fault
    return None


def _id_fault(kind: str, raw: str) -> str | None:
    if not raw.strip(BLANKS):
        return f"the {kind} id is empty"
    if raw != raw.strip(BLANKS):
        return f"the {kind} id {raw!r} begins or ends with a blank"
    return None


def _is_finite(text: str) -> bool:
    return re.fullmatch(NUMBER, text) is not None and math.isfinite(float(text))


def rows(file: Iterable[bytes], separator: str, line: int = 1) -> Iterator[tuple[int, list[str]]]:
    """(line number, fields) of every line that isn't blank.

    Args:
        file: lines.
        separator: between two fields.
        line: number of the first one.

    Raises:
        NotTextError, csv.Error: at the first line that can't be read.
    """
    lines = _decoded(file, line)
    if len(separator) == 1:
        reader = csv.reader(lines, delimiter=separator, strict=True)
        yield from ((line - 1 + reader.line_num, row) for row in reader if row)
    else:
        for number, text in enumerate(lines, start=line):
            if text.strip("\r\n"):
                yield number, text.rstrip("\r\n").split(separator)


def _decoded(file: Iterable[bytes], line: int) -> Iterator[str]:
    for number, raw in enumerate(file, start=line):
        try:
            # a byte order mark may stand before the first line
            yield raw.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError:
            raise NotTextError(f"line {number}: is not UTF-8 text") from None
