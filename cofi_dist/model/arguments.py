"""Check what callers of the Python interface pass: ids, ratings, and whole numbers."""

from collections.abc import Sequence

import numpy as np
import polars as pl
from numpy.typing import NDArray

from cofi_dist.data.ids import IdMap
from cofi_dist.data.readers.column_kinds import converter
from cofi_dist.errors import DataError
from cofi_dist.words import counted

Ids = pl.Series | Sequence[int] | Sequence[str] | NDArray[np.integer]


def as_ids(ids: Ids) -> pl.Series:
    """Return raw ids as a series of Int64 or String; of Null if there are none, or all are null.

    Raises:
        DataError: they are neither integers nor text.
    """
    if isinstance(ids, str | bytes):
        raise DataError(f"{ids!r} is one id; give a list of ids")
    try:
        series = ids if isinstance(ids, pl.Series) else pl.Series(ids)
    except (TypeError, ValueError, OverflowError, pl.exceptions.PolarsError) as error:
        raise DataError(f"ids must be integers or text, all of one kind: {error}") from None
    if series.dtype == pl.Null:
        return series
    read = converter("item", series.dtype)
    if read is None:
        raise DataError(f"ids must be integers or text, not {series.dtype}")
    return read(series)


def as_values(values: Sequence[float] | NDArray[np.floating] | None) -> NDArray[np.float64] | None:
    """Return ratings, or strengths of events, as an array; None if there are none.

    Raises:
        DataError: they are not a list of numbers.
    """
    if values is None:
        return None
    try:
        array = np.asarray(values, np.float64)
    except (TypeError, ValueError) as error:
        raise DataError(f"ratings are numbers: {error}") from None
    if array.ndim != 1:
        raise DataError(f"ratings are a list of numbers, not an array of {array.ndim} dimensions")
    return array


def find_row(ids: IdMap, raw: int | str, kind: str) -> int:
    """Return the row of one raw id.

    Args:
        ids: the map to look it up in.
        raw: one id.
        kind: `user` or `item`, for messages.

    Raises:
        DataError: it is not a single id, or the model has no such user or item.
    """
    if not isinstance(raw, str | int | np.integer):
        raise DataError(f"{raw!r} is not the id of one {kind}: give an integer or text")
    rows: NDArray[np.int64] = ids.find(as_ids([raw]))  # type: ignore[arg-type]
    if rows[0] < 0:
        raise DataError(
            f"the model has no {kind} {raw}; it knows {counted(len(ids), kind)}, such as {ids.raw[0]}"
        )
    return int(rows[0])


def require_whole_number(name: str, count: int, least: int = 1) -> None:
    """Raise DataError unless `count` is a whole number of at least `least`."""
    if isinstance(count, bool) or not isinstance(count, int | np.integer) or count < least:
        raise DataError(f"{name} is {count!r}; ask for a whole number, at least {least}")
