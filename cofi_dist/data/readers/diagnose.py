"""Find the first faulty line of a text: slow, and only needed if polars met something unusual."""

import csv
import io
import math
import re

from cofi_dist.data.id_spelling import id_fault
from cofi_dist.data.readers.column_kinds import Role, number_fault
from cofi_dist.data.readers.layout import Layout
from cofi_dist.data.readers.lines import NUMBER, NotTextError, parse_lines
from cofi_dist.files.reading import shortened


def diagnose(text: bytes, layout: Layout, line: int) -> str | None:
    """Return `line N: what is wrong and what to do` for the first faulty line, or None if every line is good.

    Args:
        text: whole lines.
        layout: how they are laid out.
        line: number of the first of them in its file.
    """
    try:
        unfinished = None if text.endswith(b"\n") else line + text.count(b"\n")
        for number, row in parse_lines(io.BytesIO(text), layout.separator, line):
            fault = _fault_of(row, layout, cut_off=number == unfinished)
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
    """Say what is wrong with a line; `cut_off` means that it has no line end, as if the file was cut off."""
    if len(row) != layout.fields:
        return _field_count_fault(row, layout, cut_off=cut_off)
    if layout.separator == "::" and any(":" in field for field in row):
        return "a field holds a ':', which only separates fields here"
    for role, place in layout.places.items():
        if role in ("user", "item"):
            fault = id_fault(role, row[place])
        else:
            fault = _number_fault(role, row[place], layout)
        if fault:
            return fault
    return None


def _field_count_fault(row: list[str], layout: Layout, *, cut_off: bool) -> str:
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


def _number_fault(role: Role, text: str, layout: Layout) -> str | None:
    number = _number(text.replace(",", ".") if layout.decimal_comma else text)
    hint = None
    if role == "time" and re.match(r"[0-9]{4}-[0-9]{2}-[0-9]{2}|[0-9]{1,2}[./][0-9]{1,2}[./][0-9]{2}", text):
        hint = "give seconds since 1970, or a column of dates in a Parquet file"
    elif re.fullmatch(r"-?[0-9]{1,3}(,[0-9]{3})+", text):
        hint = "write it without commas, or with a point if the comma is a decimal one"
    elif "," in text and math.isfinite(_number(text.replace(",", "."))):
        hint = "write a point in place of the comma"
    return number_fault(role, number, shortened(text), hint)


def _number(text: str) -> float:
    """Return the number that a text is; NaN if it is not one."""
    return float(text) if re.fullmatch(NUMBER, text) else math.nan
