"""What is read from a column of each of polars' data types, as ids, as ratings and as times.

One table for every command that reads a file. What isn't in it is refused by its name.
"""

from collections.abc import Callable
from typing import Literal

import polars as pl

Kind = Literal["user", "item", "rating", "time"]
Read = Callable[[pl.Series], pl.Series]

LEAST, MOST = -(2**63), 2**63 - 1  # of Int64
MOST_DIGITS = 38  # of a decimal that polars reads
A_DAY = 86400.0
A_SECOND = {"ms": 1e3, "us": 1e6, "ns": 1e9}


def _integers(column: pl.Series) -> pl.Series:
    """Int64; as text where one of them is beyond it, as in a text file."""
    low, high = column.min(), column.max()
    assert low is None or isinstance(low, int)
    assert high is None or isinstance(high, int)
    fits = low is None or high is None or (low >= LEAST and high <= MOST)
    return column.cast(pl.Int64 if fits else pl.String)


def _whole_decimals(column: pl.Series) -> pl.Series:
    return _integers(column.cast(pl.Int128))


def _text(column: pl.Series) -> pl.Series:
    return column.cast(pl.String)


def _numbers(column: pl.Series) -> pl.Series:
    """The values, decimals too: never the integers that they are stored as."""
    return column.cast(pl.Float64)


def _seconds(column: pl.Series) -> pl.Series:
    """Since 1970 in UTC, or of a duration; what has no time zone counts as UTC."""
    dtype = column.dtype
    assert isinstance(dtype, pl.Datetime | pl.Duration)
    count = column.to_physical().cast(pl.Float64).to_numpy()
    # by numpy: polars multiplies by the rounded inverse, and whole seconds are whole no more
    return pl.Series(column.name, count / A_SECOND[dtype.time_unit or "us"], nan_to_null=True)


def _days_in_seconds(column: pl.Series) -> pl.Series:
    return column.to_physical().cast(pl.Float64) * A_DAY


WHOLE = (
    pl.Int8,
    pl.Int16,
    pl.Int32,
    pl.Int64,
    pl.Int128,
    pl.UInt8,
    pl.UInt16,
    pl.UInt32,
    pl.UInt64,
    pl.UInt128,
)
FLOATS = (pl.Float16, pl.Float32, pl.Float64)
IDS: dict[type[pl.DataType], Read] = {
    **dict.fromkeys(WHOLE, _integers),
    pl.Decimal: _whole_decimals,  # without decimal places, as databases write whole numbers
    **dict.fromkeys((pl.String, pl.Categorical, pl.Enum), _text),
}
RATINGS: dict[type[pl.DataType], Read] = dict.fromkeys((*WHOLE, *FLOATS, pl.Decimal), _numbers)
TIMES: dict[type[pl.DataType], Read] = {
    **RATINGS,
    **dict.fromkeys((pl.Datetime, pl.Duration), _seconds),
    pl.Date: _days_in_seconds,
}
NEEDS: dict[Kind, tuple[dict[type[pl.DataType], Read], str]] = {
    "user": (IDS, "integers or text"),
    "item": (IDS, "integers or text"),
    "rating": (RATINGS, "numbers"),
    "time": (TIMES, "numbers or dates"),
}


def reader(kind: Kind, dtype: pl.DataType) -> Read | None:
    """What makes Int64 or String of a column of ids, Float64 of any other; None where nothing does."""
    reads = NEEDS[kind][0]
    if isinstance(dtype, pl.Decimal) and (dtype.precision > MOST_DIGITS or (reads is IDS and dtype.scale)):
        return None
    return reads.get(dtype.base_type())


def refusal(kind: Kind, dtype: pl.DataType) -> str:
    """What a column that has no reader holds, and what it should hold."""
    if isinstance(dtype, pl.Decimal) and dtype.precision > MOST_DIGITS:
        return f"holds {dtype}, of more than {MOST_DIGITS} digits; convert it"
    return f"holds {dtype}, not {NEEDS[kind][1]}; convert it"
