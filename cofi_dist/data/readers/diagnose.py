"""Lines of a ratings file, one by one: slow, and asked only where polars met something unusual."""

import csv
import io
import math
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from cofi_dist.data.id_spelling import id_fault
from cofi_dist.data.readers.column_kinds import Kind
from cofi_dist.files.reading import shortened


class NotTextError(Exception):
    """A line that isn't UTF-8; the message says which."""


# What ratings.py asks of many lines at once, and this module of every line. Rust's and
# Python's own ideas of a number differ, as in `1_0` and ` 4`.
NUMBER = r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?"


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
    places: dict[Kind, int]

    @property
    def decimal_comma(self) -> bool:
        """Whether a comma in a number is its point: it can be nothing else where semicolons separate."""
        return self.separator == ";"


def diagnose(text: bytes, layout: Layout, line: int) -> str | None:
    """`line N: what is wrong and what to do`, or None where every line is good.

    Args:
        text: whole lines.
        layout: how to read them.
        line: number of the first of them in its file.
    """
    try:
        last = None if text.endswith(b"\n") else line + text.count(b"\n")
        for number, row in rows(io.BytesIO(text), layout.separator, line):
            fault = _fault_of(row, layout, cut_off=number == last)
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


def _fault_of(row: list[str], layout: Layout, *, cut_off: bool) -> str | None:
    """What is wrong with a line; `cut_off`: it has no end, as where a file was cut off."""
    if len(row) != layout.fields:
        return _miscounted(row, layout, cut_off=cut_off)
    if layout.separator == "::" and any(":" in field for field in row):
        return "a field holds a ':', which only separates fields here"
    for kind, place in layout.places.items():
        if kind in ("user", "item"):
            fault = id_fault(kind, row[place])
        else:
            fault = _number_fault(kind, row[place], layout)
        if fault:
            return fault
    return None


def _miscounted(row: list[str], layout: Layout, *, cut_off: bool) -> str:
    what = f"{len(row)} fields where the first line has {layout.fields}"
    if any("\r" in field for field in row):
        return f"{what}; a carriage return stands alone in it, which ends no line here"
    if len(row) < layout.fields:
        return f"{what}; {'was the file cut off?' if cut_off else 'each line needs as many'}"
    if not row[-1]:
        return f"{what}; does the line end with a separator?"
    if len(layout.separator) == 1:
        return f"{what}; put quotes around a field that holds a separator"
    return f"{what}; does a field hold the separator?"


def _number_fault(kind: Kind, text: str, layout: Layout) -> str | None:
    if _is_finite(text.replace(",", ".") if layout.decimal_comma else text):
        return None
    what = f"the {'timestamp' if kind == 'time' else kind} {shortened(text)} is not a finite number"
    if kind == "time" and re.match(r"[0-9]{4}-[0-9]{2}-[0-9]{2}|[0-9]{1,2}[./][0-9]{1,2}[./][0-9]{2}", text):
        return f"{what}; give seconds since 1970, or a column of dates in a Parquet file"
    if re.fullmatch(r"-?[0-9]{1,3}(,[0-9]{3})+", text):
        return f"{what}; write it without commas, or with a point if the comma is a decimal one"
    if "," in text and _is_finite(text.replace(",", ".")):
        return f"{what}; write a point in place of the comma"
    return what


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
            raise NotTextError(f"line {number}: is not UTF-8 text; save it as UTF-8") from None
