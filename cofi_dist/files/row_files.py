"""Check files that together hold the rows of a matrix, each file some of them."""

import stat
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path


def require_every_row(cuts: Iterable[tuple[int, int]], rows: int, side: str) -> None:
    """Raise ValueError unless ranges of rows, in order, hold every one of `rows` once.

    Args:
        cuts: start and stop of each range.
        rows: number of rows that there are.
        side: whose rows they are, for the message: `users` or `items`.
    """
    listed = list(cuts)
    follows = all(a[1] == b[0] for a, b in pairwise([(0, 0), *listed, (rows, rows)]))
    if not follows or any(start > stop for start, stop in listed):
        raise ValueError(f"its files do not hold every one of {rows} {side} once")


def require_size(file: Path, size: int) -> None:
    """Raise ValueError unless a file is a regular one of this size."""
    try:
        about = file.stat()
        found = about.st_size if stat.S_ISREG(about.st_mode) else None
    except OSError:
        found = None
    if found is None:
        raise ValueError("is missing")
    if found != size:
        raise ValueError(f"has {found} bytes, not {size}: it was cut off or changed")
