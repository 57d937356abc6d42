"""Find the layout of a text file's lines from its suffix and its first lines."""

import csv
import io
import re
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import NamedTuple, TypeAlias

from cofi_dist.data.id_spelling import HIDDEN
from cofi_dist.data.readers.column_kinds import Role
from cofi_dist.data.readers.lines import BYTE_ORDER_MARK, NUMBER, NotTextError, parse_lines
from cofi_dist.data.readers.object_store import ObjectUrl
from cofi_dist.errors import DataError
from cofi_dist.files.reading import shortened

FilePath: TypeAlias = Path | ObjectUrl

SEPARATORS = {".csv": ",", ".tsv": "\t", ".dat": "::", ".data": "\t"}
WITHOUT_HEADER = (".dat", ".data")
PACKED = (".gz", ".zst")
# The fields of a file without a header.
FIELD_PLACES: dict[Role, int] = {"user": 0, "item": 1, "rating": 2, "strength": 2, "time": 3}
SEPARATOR_NAMES = {",": "commas", ";": "semicolons", "\t": "tabs", "::": "'::'", "|": "'|'", " ": "blanks"}
# The first bytes of files that are not text, and what to do with them.
NOT_TEXT = {
    b"\x1f\x8b": "is packed by gzip; add .gz to its name",
    b"PK\x03\x04": "is a zip archive or a spreadsheet; unpack it, or save it as CSV",
    b"BZh91AY&SY": "is packed by bzip2; unpack it",
    b"\xfd7zXZ\x00": "is packed by xz; unpack it",
    b"\x28\xb5\x2f\xfd": "is packed by zstd; add .zst to its name",
    b"PAR1\x15": "is a Parquet file; name it .parquet",
    b"\xff\xfe": "is text in UTF-16; save it as UTF-8",
    b"\xfe\xff": "is text in UTF-16; save it as UTF-8",
}


class Advice(NamedTuple):
    """Say what to do if a column is missing.

    Attributes:
        missing: what to do about any column.
        no_rating: what else may help if there are no ratings; may be empty.
    """

    missing: str
    no_rating: str = ""

    def for_column(self, role: Role) -> str:
        """Return what to do if the column of this role is missing."""
        return self.or_events(self.missing, role)

    def or_events(self, advice: str, role: Role) -> str:
        """Return the advice, and what else may help if the role is that of ratings."""
        return f"{advice}; {self.no_rating}" if role == "rating" and self.no_rating else advice


@dataclass(frozen=True)
class Head:
    """Hold the first line that is not blank: the header, or the first rating of a file without a header.

    Attributes:
        separator: between two fields.
        fields: of the line.
        line: its number.
        size: number of bytes up to its end.
    """

    separator: str
    fields: list[str]
    line: int
    size: int


@dataclass(frozen=True)
class Layout:
    """Describe how the lines of a text file are laid out.

    Attributes:
        separator: between two fields; if it has more than one character, quotes mean nothing.
        fields: number of fields per line.
        places: index of the field of each column that is read.
    """

    separator: str
    fields: int
    places: dict[Role, int]

    @property
    def decimal_comma(self) -> bool:
        """Tell whether numbers have decimal commas, as they may if semicolons separate fields."""
        return self.separator == ";"


def format_of(path: FilePath) -> str:
    """Return the suffix that says how a file is read, without `.gz` or `.zst` and in lower case."""
    if isinstance(path, ObjectUrl):
        return ".parquet"
    suffix = path.suffix.lower()
    return path.with_suffix("").suffix.lower() if suffix in PACKED else suffix


def parse_head(path: FilePath, text: bytes, suffix: str) -> Head | None:
    """Parse the head of a file; None if all lines are blank.

    Args:
        path: the file, for messages.
        text: its first lines.
        suffix: one of SEPARATORS.

    Raises:
        DataError: it is not text, or not laid out as its suffix says.
    """
    for start, what in NOT_TEXT.items():
        if text.startswith(start):
            raise DataError(f"{path}: {what}")
    if b"\r" in text and b"\n" not in text:
        raise DataError(
            f"{path}: line 1: lines end with a carriage return alone, as on old Macs; end them with a line"
            " feed, as `tr '\\r' '\\n' < OLD > NEW` does"
        )
    names_separator, separator = False, SEPARATORS[suffix]
    if suffix not in WITHOUT_HEADER:
        names_separator, separator = _separator(path, text, separator)
    try:
        lines = parse_lines(io.BytesIO(text), separator)
        number, fields = next(lines, (0, []))
        if fields and names_separator:
            number, fields = next(lines, (0, []))
    except NotTextError as error:
        raise DataError(f"{path}: {error}") from None
    except csv.Error as error:
        why = _between_quotes(text, separator) or str(error).replace("\t", "a tab")
        raise DataError(f"{path}: line 1: {why}") from None
    if not fields:
        return None
    return Head(separator, fields, number, sum(map(len, islice(io.BytesIO(text), number))))


def _separator(path: FilePath, text: bytes, separator: str) -> tuple[bool, str]:
    """Return whether the first line only names the separator, as Excel writes it, and the separator."""
    first = _first_line(text).strip(b"\r\n")
    sep_line = re.fullmatch(rb'"?sep=(.)"?', first, re.IGNORECASE)
    if sep_line:
        named = sep_line[1].decode("latin-1")
        if named not in (",", ";", "\t"):
            raise DataError(
                f"{path}: line 1: fields are separated by {named!r}; take commas, semicolons or tabs"
            )
        return True, named
    unquoted = re.sub(rb'"[^"]*"', b"", first)
    between_quotes = b'";"' in first and b'","' not in first
    if separator == "," and b";" in unquoted and (b"," not in unquoted or between_quotes):
        return False, ";"
    return False, separator


def _first_line(text: bytes) -> bytes:
    """Return the first line that is not blank, without a byte order mark; empty if there is none."""
    return next((line for line in io.BytesIO(text.removeprefix(BYTE_ORDER_MARK)) if line.strip()), b"")


def find_layout(path: FilePath, head: Head, suffix: str, wanted: dict[Role, str], advice: Advice) -> Layout:
    """Find which field holds which column.

    Args:
        path: the file, for messages.
        head: head of the file.
        suffix: one of SEPARATORS.
        wanted: name of each column that is needed.
        advice: what to do if one is missing.

    Raises:
        DataError: a column is missing, or is there twice.
    """
    if suffix in WITHOUT_HEADER:
        return _without_header(path, head, suffix, wanted, advice)
    for role, name in wanted.items():
        if name not in head.fields:
            what = _other_separator(head, name) or _no_column(head, role, wanted, advice)
            raise DataError(f"{path}: line {head.line}: {what}")
        if head.fields.count(name) > 1:
            raise DataError(f"{path}: line {head.line}: column {name!r} stands there twice")
    places = {role: head.fields.index(name) for role, name in wanted.items()}
    return Layout(head.separator, len(head.fields), places)


def column_list(fields: list[str]) -> str:
    """List a header's first columns, as many as a message has room for."""
    shown = [shortened(name, quoted=name != name.strip(HIDDEN)) for name in fields[:20]]
    return ", ".join([*shown, "..."] if len(fields) > len(shown) else shown)


def _no_column(head: Head, role: Role, wanted: dict[Role, str], advice: Advice) -> str:
    do = advice.for_column(role)
    if all(re.fullmatch(NUMBER, field) for field in head.fields):
        names = dict.fromkeys(wanted.values())  # of a new user's items, which stand in for the user too
        do = f"put a header before the ratings, such as {head.separator.join(names)}"
    elif len(head.fields) < len(wanted):
        do = advice.or_events(f"{len(wanted)} columns are needed: {', '.join(wanted)}", role)
    return f"no column {wanted[role]!r} in {column_list(head.fields)}; {do}"


def _other_separator(head: Head, name: str) -> str | None:
    """Say what to do if another character separates the names of the header; None if none does."""
    line = head.separator.join(head.fields)
    for other in SEPARATOR_NAMES:
        if other != head.separator and name in (field.strip('"') for field in line.split(other)):
            return _separated_by(other, head.separator)
    return None


def _between_quotes(text: bytes, separator: str) -> str | None:
    """Say what to do if another character separates the quoted names of the header; None if none does."""
    first = _first_line(text)
    for other in SEPARATOR_NAMES:
        if other != separator and f'"{other}"'.encode() in first:
            return _separated_by(other, separator)
    return None


def _separated_by(other: str, separator: str) -> str:
    if (separator, other) == (",", ";"):
        do = "put quotes around the name that holds a comma"
    elif (separator, other) == (";", ","):
        do = "take the line `sep=;` out"
    elif other == "\t":
        do = "name the file .tsv"
    elif other in ",;":
        do = "name the file .csv"
    else:
        do = "write them with commas, semicolons or tabs"
    return f"fields are separated by {SEPARATOR_NAMES[other]}, not by {SEPARATOR_NAMES[separator]}; {do}"


def _without_header(
    path: FilePath, head: Head, suffix: str, wanted: dict[Role, str], advice: Advice
) -> Layout:
    """Lay out a file without a header, whose fields are those of FIELD_PLACES."""
    where = f"{path}: line {head.line}"
    if "weight" in wanted:
        raise DataError(f"{where}: a {suffix} file has no column of weights; write a .csv file with a header")
    needed = {role: FIELD_PLACES[role] for role in wanted}
    if len(head.fields) <= max(needed.values()):
        between = "'::'" if head.separator == "::" else "a tab"
        needs = head.separator.join(needed) if head.separator == "::" else ", ".join(needed)
        others = [other for other in SEPARATOR_NAMES if other != head.separator]
        found = [SEPARATOR_NAMES[other] for other in others if other in head.fields[0]]
        what = f"needs {needs}, with {between} between two fields"
        if found and len(head.fields) == 1:
            what += f", not {' or '.join(found)}"
        elif len(head.fields) == 2 and "rating" in needed:
            what = advice.or_events(what, "rating")
        raise DataError(f"{where}: {what}")
    for role in ("rating", "strength"):
        text = head.fields[needed[role]] if role in needed else ""
        if re.fullmatch(r"[A-Za-z_ ]+", text) and not re.fullmatch(NUMBER, text):
            raise DataError(
                f"{where}: the {role} {shortened(text)} is not a finite number; a {suffix} file has no"
                " header, so leave the line out if it is one"
            )
    return Layout(head.separator, len(head.fields), needed)
