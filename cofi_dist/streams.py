"""stdout and stderr, which may end before a run does: a terminal is closed, a disk is full."""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import NoReturn, TextIO

from cofi_dist.errors import CofiError


@contextmanager
def outlast(stream: TextIO, tell: Callable[[str], None] | None = None) -> Iterator[None]:
    """What is written here may fail: from then on nothing comes of it, and the work goes on.

    Args:
        stream: is written to, and flushed at the end.
        tell: is told in a line why it failed.
    """
    try:
        yield
        stream.flush()
    except OSError as error:
        silence(stream)
        if tell is not None:
            tell(f"{stream.name.strip('<>')}: cannot be written: {error.strerror or error}")


def silence(stream: TextIO) -> None:
    """Let what is written, and what could not be, lead nowhere; else Python fails for it at its exit."""
    with suppress(OSError), open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), stream.fileno())


def say(text: str) -> None:
    """Put it on stderr, if that can still be."""
    with outlast(sys.stderr):
        sys.stderr.write(f"{text}\n")  # in one piece: other ranks write there too


def leave(error: CofiError) -> NoReturn:
    """Say it and end the process at once, from any thread: nothing is waited for, or written any more."""
    say(f"cofi-dist: {error}")
    os._exit(error.exit_code)
