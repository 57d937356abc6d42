"""Make stdout and stderr safe to write to, even if they are closed, full or in another encoding.

Text may have a style, which only shows on a terminal with colours.
"""

import io
import os
import sys
import threading
import unicodedata
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from enum import StrEnum
from typing import NoReturn, TextIO

from cofi_dist.errors import CofiError
from cofi_dist.system.variables import read_variable

MARK = "cofi-dist: "  # before what went wrong
# Characters that change the text direction, and so can hide or reverse what follows.
DIRECTION_CHANGES = {*"\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"}


class Style(StrEnum):
    """Name how text looks on a terminal, in words of CODES, which rich knows too."""

    plain = ""
    heading = "bold"
    best = "bold green"
    good = "green"
    error = "bold red"
    warning = "yellow"
    faint = "dim"


RESET = "\x1b[0m"
CODES = {"bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33"}  # of control sequences


class OutputError(OSError):
    """Report that stdout cannot be written."""

    def __init__(self, error: OSError) -> None:
        # No errno is passed on, because click exits silently if it is that of a broken pipe.
        super().__init__(f"stdout: cannot be written: {error.strerror or error}")


class Output(io.TextIOWrapper):
    """Write to stdout, with replacements for what its encoding lacks and for control characters."""

    def write(self, text: str) -> int:
        """Write the text, or raise OutputError."""
        if text == RESET:  # colorama's, at the end of a process, where it is installed and numba has found it
            return len(text)
        return self.write_as_it_is(harmless(text) if self.isatty() else text)

    def write_as_it_is(self, text: str) -> int:
        """Write text that holds nothing but our own control characters, or raise OutputError."""
        try:
            return super().write(text)
        except OSError as error:
            raise OutputError(error) from None

    def flush(self) -> None:
        """Write what is left, or raise OutputError."""
        try:
            super().flush()
        except OSError as error:
            raise OutputError(error) from None


def open_streams() -> None:
    """Make the standard streams accept any text; to be called before any file is opened.

    If a stream were left closed, the next file to be opened would take its descriptor, and would receive what
    a library writes to the stream.
    """
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        closed = not _is_open(number)
        if closed:
            # Writing to a closed stdout has to fail, because its results are needed; stderr is not.
            null = os.open(os.devnull, os.O_RDWR if name == "stderr" else os.O_RDONLY)
            os.set_inheritable(null, True)
        if getattr(sys, name) is None:
            # If the descriptor was opened since the process began, it belongs to somebody else.
            descriptor = number if closed else os.open(os.devnull, os.O_RDWR)
            raw = io.FileIO(descriptor, mode, closefd=False)
            raw.name = f"<{name}>"
            buffer = io.BufferedReader(raw) if mode == "r" else io.BufferedWriter(raw)
            setattr(sys, name, io.TextIOWrapper(buffer, encoding="utf-8", errors="backslashreplace"))
            setattr(sys, f"__{name}__", getattr(sys, name))
    out = sys.stdout
    if out is sys.__stdout__ and isinstance(out, io.TextIOWrapper):  # or else whoever replaced it reads it
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
    """Return a text with control characters escaped, except those in `keep`."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        c if c in keep or not _is_control(c) else c.encode("unicode_escape").decode() for c in text
    )


def _is_control(character: str) -> bool:
    return character in DIRECTION_CHANGES or unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp")


@contextmanager
def tolerate_write_errors(stream: TextIO, on_failure: Callable[[str], None] | None = None) -> Iterator[None]:
    """Go on if the stream cannot be written within the context; it then leads to /dev/null.

    Args:
        stream: the stream, which is flushed at the end.
        on_failure: called with a line that says why writing failed.
    """
    try:
        yield
        stream.flush()
    except OSError as error:
        redirect_to_devnull(stream)
        if on_failure is not None:
            why = f"{stream.name.strip('<>')}: cannot be written: {error.strerror or error}"
            on_failure(str(error) if isinstance(error, OutputError) else why)


def redirect_to_devnull(stream: TextIO) -> None:
    """Redirect a stream to /dev/null, so that pending output does not make Python fail at its exit."""
    with suppress(OSError):
        _lead_to_devnull(stream.fileno())


def _lead_to_devnull(descriptor: int) -> None:
    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), descriptor)


def log_stderr(text: str, mark: str = "", style: Style = Style.error) -> None:
    """Write a line to stderr, if that is still possible.

    Args:
        text: the line.
        mark: stands before it, such as `warning: `.
        style: of the mark.
    """
    if sys.stderr is None:  # a program that was started without one
        return
    with tolerate_write_errors(sys.stderr):
        # in one piece: other ranks write there too
        sys.stderr.write(f"{styled(mark, style, sys.stderr)}{harmless(text)}\n")


def print_styled(*parts: tuple[str, Style]) -> None:
    """Print a line on stdout of parts that have styles."""
    out = sys.stdout
    made_harmless = harmless if out.isatty() else str
    print_as_it_is("".join(styled(made_harmless(text), style, out) for text, style in parts))


def print_as_it_is(text: str) -> None:
    """Print text on stdout that holds nothing but our own control characters."""
    out = sys.stdout
    write = out.write_as_it_is if isinstance(out, Output) else out.write
    write(f"{text}\n")


def styled(text: str, style: Style, stream: TextIO | None) -> str:
    """Return text with control sequences around it that give it a style where this stream shows one."""
    if not text or not style or not shows_colours(stream):
        return text
    return f"\x1b[{';'.join(CODES[word] for word in style.split())}m{text}{RESET}"


def shows_colours(stream: TextIO | None) -> bool:
    """Tell whether a stream shows colours: a terminal does, unless the user's variables say otherwise.

    NO_COLOR says no, FORCE_COLOR says yes, whatever the stream is, and TERM=dumb says no, in this order.
    """
    if read_variable("NO_COLOR"):
        return False
    return bool(read_variable("FORCE_COLOR")) or is_drawn_on(stream)


def is_drawn_on(stream: TextIO | None) -> bool:
    """Tell whether a stream is a terminal that moves its cursor, so that a bar can be drawn anew."""
    return stream is not None and stream.isatty() and read_variable("TERM") != "dumb"


class _Silencer:
    """Redirect a file descriptor to /dev/null as long as at least one thread asks for it.

    A process has only one such descriptor, so the last thread restores what the first one found.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor, self._lock, self._threads, self._kept = descriptor, threading.Lock(), 0, -1

    def begin(self) -> None:
        with self._lock:
            if self._threads == 0:
                self._kept = self._redirect()
            self._threads += 1

    def end(self) -> None:
        with self._lock:
            self._threads -= 1
            if self._threads == 0 and self._kept >= 0:
                os.dup2(self._kept, self._descriptor)
                os.close(self._kept)

    def _redirect(self) -> int:
        """Redirect the descriptor; return a copy of it, or -1 if it was closed."""
        try:
            kept = os.dup(self._descriptor)
        except OSError:
            return -1
        _lead_to_devnull(self._descriptor)
        return kept


_SILENCERS = {descriptor: _Silencer(descriptor) for descriptor in (1, 2)}


@contextmanager
def silenced(descriptor: int) -> Iterator[None]:
    """Drop what libraries write to stdout, 1, or stderr, 2, during the context: panics of Rust, say."""
    silencer = _SILENCERS[descriptor]
    silencer.begin()
    try:
        yield
    finally:
        silencer.end()


def exit_now(error: CofiError) -> NoReturn:
    """Report an error and end the process at once, from any thread; nothing else is awaited or written."""
    log_stderr(str(error), mark=MARK)
    os._exit(error.exit_code)
