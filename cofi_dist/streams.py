"""stdout and stderr, which may be closed, full, in another encoding, or end before a run does."""

import io
import os
import sys
import unicodedata
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import NoReturn, TextIO

from cofi_dist.errors import CofiError

# turn the direction of what follows, and so can hide or reverse it
TURNS = {*"\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"}


class OutputError(OSError):
    """stdout can't be written."""

    def __init__(self, error: OSError) -> None:
        # without a number: click leaves in silence where that is of a broken pipe
        super().__init__(f"stdout: cannot be written: {error.strerror or error}")


class Output(io.TextIOWrapper):
    """stdout: what its encoding lacks is replaced, and on a terminal what would steer that."""

    def write(self, text: str) -> int:
        """Write the text, or raise OutputError."""
        try:
            return super().write(harmless(text) if self.isatty() else text)
        except OSError as error:
            raise OutputError(error) from None

    def flush(self) -> None:
        """Write what is left, or raise OutputError."""
        try:
            super().flush()
        except OSError as error:
            raise OutputError(error) from None


def open_streams() -> None:
    """Make the standard streams such that any text can be written to them, before anything else is opened.

    Where one is closed, the next file would take its place, and get what a library writes there.
    """
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        closed = not _is_open(number)
        if closed:
            # of a closed stdout the results are missed, so that writing is to fail; of stderr nothing is
            null = os.open(os.devnull, os.O_RDWR if name == "stderr" else os.O_RDONLY)
            os.set_inheritable(null, True)
        if getattr(sys, name) is None:
            # somebody else's, if it was opened since the process began
            descriptor = number if closed else os.open(os.devnull, os.O_RDWR)
            raw = io.FileIO(descriptor, mode, closefd=False)
            raw.name = f"<{name}>"
            buffer = io.BufferedReader(raw) if mode == "r" else io.BufferedWriter(raw)
            setattr(sys, name, io.TextIOWrapper(buffer, encoding="utf-8", errors="backslashreplace"))
            setattr(sys, f"__{name}__", getattr(sys, name))
    out = sys.stdout
    if out is sys.__stdout__ and isinstance(out, io.TextIOWrapper):  # else whoever replaced it reads it
        errors = "backslashreplace" if out.errors in ("strict", "surrogateescape") else out.errors
        sys.stdout = Output(
            out.buffer,
            encoding=out.encoding,
            errors=errors,
            line_buffering=out.line_buffering,
            write_through=out.write_through,
        )


def _is_open(number: int) -> bool:
    try:
        os.fstat(number)
    except OSError:
        return False
    return True


def harmless(text: str, keep: str = "\n\t") -> str:
    """The text with escapes in place of what steers a terminal, but for the characters in `keep`."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(c if c in keep or not _steers(c) else c.encode("unicode_escape").decode() for c in text)


def _steers(character: str) -> bool:
    return character in TURNS or unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp")


@contextmanager
def tolerate_write_errors(stream: TextIO, tell: Callable[[str], None] | None = None) -> Iterator[None]:
    """What is written here may fail: from then on nothing comes of it, and the work goes on.

    Args:
        stream: is written to, and flushed at the end.
        tell: is told in a line why it failed.
    """
    try:
        yield
        stream.flush()
    except OSError as error:
        redirect_to_devnull(stream)
        if tell is not None:
            why = f"{stream.name.strip('<>')}: cannot be written: {error.strerror or error}"
            tell(str(error) if isinstance(error, OutputError) else why)


def redirect_to_devnull(stream: TextIO) -> None:
    """Let what is written, and what could not be, lead nowhere; else Python fails for it at its exit."""
    with suppress(OSError), open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), stream.fileno())


def log_stderr(text: str) -> None:
    """Put it on stderr, if that can still be."""
    with tolerate_write_errors(sys.stderr):
        sys.stderr.write(f"{harmless(text)}\n")  # in one piece: other ranks write there too


def exit_now(error: CofiError) -> NoReturn:
    """Say it and end the process at once, from any thread: nothing is waited for, or written any more."""
    log_stderr(f"cofi-dist: {error}")
    os._exit(error.exit_code)
