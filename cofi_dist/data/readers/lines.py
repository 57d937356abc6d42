"""Read a text file in chunks of whole lines, or parse its lines one by one."""

import csv
from collections.abc import Iterable, Iterator
from typing import BinaryIO

import numpy as np

CHUNK_BYTES = 2**23
LONGEST_LINE = 2**26  # bytes
BYTE_ORDER_MARK = b"\xef\xbb\xbf"

# A number, both for polars, which checks many lines at once, and for Python, which checks them one by one.
# Their own ideas of a number differ, as in `1_0` and ` 4`.
NUMBER = r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?"


def line_chunks(file: BinaryIO, *, quotes: bool) -> Iterator[bytes]:
    """Read a file in chunks of whole lines, of about CHUNK_BYTES each.

    Args:
        file: opened for reading bytes.
        quotes: whether a line end between two `"` belongs to a field.

    Raises:
        OSError: the file cannot be read, or a line is longer than LONGEST_LINE.
    """
    rest = b""
    while block := file.read(CHUNK_BYTES):
        block = rest + block
        end = _last_line_end(block, quotes)
        rest = block[end:]
        if len(rest) > LONGEST_LINE:
            what = "does each line end with a line feed?" if b"\r" in rest else "is this a text file?"
            raise OSError(f"a line, or a quoted field, of more than {LONGEST_LINE} bytes; {what}")
        if end:
            yield block[:end]
    if rest:
        yield rest


def count_byte(text: bytes, byte: bytes) -> int:
    """Count a byte in a text; several times faster than bytes.count if the byte is frequent."""
    return int(np.count_nonzero(np.frombuffer(text, np.uint8) == byte[0]))


def _last_line_end(block: bytes, quotes: bool) -> int:
    """Return where the last complete line of the block ends; 0 if there is none."""
    end = block.rfind(b"\n") + 1
    if quotes and b'"' in block:
        # after an odd number of quotes, the line end is inside a field
        odd = block.count(b'"', 0, end) % 2
        while end and odd:
            earlier = block.rfind(b"\n", 0, end - 1) + 1
            odd ^= block.count(b'"', earlier, end) % 2
            end = earlier
    return end


class NotTextError(Exception):
    """Say which line is not UTF-8."""


def parse_lines(file: Iterable[bytes], separator: str, line: int = 1) -> Iterator[tuple[int, list[str]]]:
    """Yield (line number, fields) of every line that is not blank.

    Args:
        file: the lines.
        separator: between two fields; if it has more than one character, quotes mean nothing.
        line: number of the first line.

    Raises:
        NotTextError: a line is not UTF-8.
        csv.Error: a line cannot be parsed.
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
            # a byte order mark may precede the first line
            yield raw.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError:
            raise NotTextError(f"line {number}: is not UTF-8 text; save it as UTF-8") from None
