"""Read files safely: only regular files, of a bounded size, with the expected content.

A file may be damaged or malicious: reading a pipe would block, a device has no end, and a few bytes may
expand to gigabytes. All code that reads files of this package uses these functions.
"""

import io
import itertools
import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

MOST_JSON = 2**20  # bytes of a small JSON file
LONGEST_LINE = 2**16  # bytes
LONGEST = 80  # characters that a message quotes from a file
KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


class UnusableFileError(OSError):
    """Report that the file cannot be used, and trying again later would not help."""


def open_regular(path: str | Path, most_bytes: int | None = None) -> io.BufferedReader:
    """Open a regular file for reading bytes, without ever blocking.

    Args:
        path: the file, or a link to it.
        most_bytes: the largest size that is accepted; None for any.

    Raises:
        OSError: the file does not exist, cannot be read, is not a regular file, or is too large.
    """
    try:
        _require_regular(os.stat(path), path, most_bytes)
        # If a pipe has taken its place meanwhile, opening it does not wait for a writer, and it is refused.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except ValueError:
        raise UnusableFileError(22, "its name holds a NUL", str(path)) from None
    try:
        _require_regular(os.fstat(descriptor), path, most_bytes)
        return open(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def _require_regular(about: os.stat_result, path: str | Path, most_bytes: int | None) -> None:
    if not stat.S_ISREG(about.st_mode):
        kind = KINDS.get(stat.S_IFMT(about.st_mode), "something else")
        raise UnusableFileError(22, f"it is {kind}, not a regular file", str(path))
    if most_bytes is not None and about.st_size > most_bytes:
        raise UnusableFileError(27, f"it has {about.st_size:,} bytes, and may have {most_bytes:,}", str(path))


def read_bytes(path: str | Path, most_bytes: int) -> bytes:
    """Return the content of a small regular file.

    Raises:
        OSError: as `open_regular`.
    """
    with open_regular(path, most_bytes) as opened:
        content = opened.read(most_bytes + 1)
    if len(content) > most_bytes:  # it grew, or is a file in /proc, which has no size
        raise UnusableFileError(27, f"it has more than {most_bytes:,} bytes", str(path))
    return content


def read_text(path: str | Path, most_bytes: int) -> str:
    """Return the content of a small regular file as text.

    Raises:
        OSError: as `open_regular`.
        ValueError: it is not UTF-8.
    """
    try:
        return read_bytes(path, most_bytes).decode("utf-8")
    except UnicodeDecodeError:
        raise ValueError("is not UTF-8 text") from None


def read_lines(path: str | Path) -> Iterator[str]:
    """Yield the lines of a regular file of any size, without their line ends, one at a time.

    Raises:
        OSError: as `open_regular`.
        ValueError: a line is not UTF-8 or is too long; the text names its number.
    """
    with open_regular(path) as opened:
        for number in itertools.count(1):
            line = opened.readline(LONGEST_LINE + 1)
            if not line:
                return
            if len(line) > LONGEST_LINE:
                raise ValueError(f"line {number}: is longer than {LONGEST_LINE:,} bytes")
            try:
                yield line.decode("utf-8").removesuffix("\n")
            except UnicodeDecodeError:
                raise ValueError(f"line {number}: is not UTF-8 text") from None


def read_json(path: str | Path, most_bytes: int = MOST_JSON) -> Any:
    """Return the content of a small JSON file.

    Raises:
        OSError: as `open_regular`.
        ValueError: as `parse_json`.
    """
    return parse_json(read_bytes(path, most_bytes))


def parse_json(content: bytes | str) -> Any:
    """Parse JSON; numbers may be NaN and infinite, as Python writes them.

    Raises:
        ValueError: in plain words: it is not JSON in UTF-8, nested too deeply, or holds a key twice.
    """
    try:
        text = content if isinstance(content, str) else content.decode("utf-8")
        return json.loads(text, object_pairs_hook=_object)
    except json.JSONDecodeError as error:
        where = f" in line {error.lineno}" if "\n" in text else ""
        raise ValueError(f"is not JSON: {error.msg}{where}") from None
    except UnicodeDecodeError:
        raise ValueError("is not JSON: it is not UTF-8 text") from None
    except RecursionError:
        raise ValueError("is not JSON of ours: it is nested too deeply") from None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in found if names.count(name) > 1)
        raise ValueError(f"has the key {shortened(twice)} twice")
    return found


def shortened(value: object, *, quoted: bool = True) -> str:
    """Return text from a file for a message: cut to fit, and without control characters."""
    try:
        text = repr(value) if quoted else str(value)
    except (ValueError, RecursionError):  # a number of thousands of digits; lists without end
        text = f"a {type(value).__name__}"
    text = "".join(letter if letter.isprintable() else "?" for letter in text[: LONGEST + 1])
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 3]}..."


def read_failure(error: OSError | ValueError) -> str:
    """Return why a file could not be read; a message puts it after the name and a colon."""
    if isinstance(error, OSError):
        return f"cannot be read: {error.strerror or error}"
    return str(error)
