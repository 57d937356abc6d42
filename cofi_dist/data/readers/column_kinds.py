"""Convert columns of ids, ratings, weights and times, according to polars' data type.

Every command that reads a file uses this one table. A data type that is not in it is refused by its name.
"""

import math
from collections.abc import Callable
from typing import Literal

import polars as pl

from cofi_dist.data.id_spelling import bad_ids, id_fault
from cofi_dist.errors import DataError

# What a column holds. The strengths of events are in the place of ratings.
Role = Literal["user", "item", "rating", "strength", "time", "weight"]
Conversion = Callable[[pl.Series], pl.Series]

INT64_MIN, INT64_MAX = -(2**63), 2**63 - 1
MOST_DIGITS = 38  # of a decimal that polars can convert
SECONDS_PER_DAY = 86400.0
NAMES: dict[Role, str] = {
    "user": "user id",
    "item": "item id",
    "rating": "rating",
    "strength": "strength",
    "time": "timestamp",
    "weight": "weight",
}
# What to do with a number that must be above 0 but is not.
LEAVE_OUT: dict[Role, str] = {
    "strength": "leave out what is no event, such as a dislike",
    "weight": "leave out what counts for nothing",
}
LEAVE_OUT_ROW = "leave the row out"
# Training squares sums of strengths and weights. Within these bounds, the squares neither overflow nor vanish
# in float32.
SMALLEST, LARGEST = 1e-15, 1e15
UNITS_PER_SECOND = {"ms": 1e3, "us": 1e6, "ns": 1e9}


def _integers(column: pl.Series) -> pl.Series:
    """Convert integers to Int64; to text if one of them does not fit, as when a text file is read."""
    low, high = column.min(), column.max()
    assert low is None or isinstance(low, int)
    assert high is None or isinstance(high, int)
    fits = low is None or high is None or (low >= INT64_MIN and high <= INT64_MAX)
    return column.cast(pl.Int64 if fits else pl.String)


def _whole_decimals(column: pl.Series) -> pl.Series:
    return _integers(column.cast(pl.Int128))


def _text(column: pl.Series) -> pl.Series:
    return column.cast(pl.String)


def _numbers(column: pl.Series) -> pl.Series:
    """Convert to Float64; of decimals their values, never the integers that they are stored as."""
    return column.cast(pl.Float64)


def _seconds(column: pl.Series) -> pl.Series:
    """Convert durations, and times since 1970 in UTC, to seconds; times without a time zone count as UTC."""
    dtype = column.dtype
    assert isinstance(dtype, pl.Datetime | pl.Duration)
    count = column.to_physical().cast(pl.Float64).to_numpy()
    # numpy divides; polars would multiply by the rounded inverse, so that whole seconds would not stay whole
    return pl.Series(column.name, count / UNITS_PER_SECOND[dtype.time_unit or "us"], nan_to_null=True)


def _days_in_seconds(column: pl.Series) -> pl.Series:
    return column.to_physical().cast(pl.Float64) * SECONDS_PER_DAY


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
IDS: dict[type[pl.DataType], Conversion] = {
    **dict.fromkeys(WHOLE, _integers),
    pl.Decimal: _whole_decimals,  # without decimal places; databases write whole numbers so
    **dict.fromkeys((pl.String, pl.Categorical, pl.Enum), _text),
}
RATINGS: dict[type[pl.DataType], Conversion] = dict.fromkeys((*WHOLE, *FLOATS, pl.Decimal), _numbers)
TIMES: dict[type[pl.DataType], Conversion] = {
    **RATINGS,
    **dict.fromkeys((pl.Datetime, pl.Duration), _seconds),
    pl.Date: _days_in_seconds,
}
# Conversions by data type, and what they accept in words.
CONVERSIONS: dict[Role, tuple[dict[type[pl.DataType], Conversion], str]] = {
    "user": (IDS, "integers or text"),
    "item": (IDS, "integers or text"),
    "rating": (RATINGS, "numbers"),
    "strength": (RATINGS, "numbers"),
    "time": (TIMES, "numbers or dates"),
    "weight": (RATINGS, "numbers"),
}


def converter(role: Role, dtype: pl.DataType) -> Conversion | None:
    """Return the conversion of ids to Int64 or String, of others to Float64; None if the type is refused."""
    conversions = CONVERSIONS[role][0]
    if isinstance(dtype, pl.Decimal) and (
        dtype.precision > MOST_DIGITS or (conversions is IDS and dtype.scale)
    ):
        return None
    return conversions.get(dtype.base_type())


def holds_text(dtype: pl.DataType) -> bool | None:
    """Tell whether ids of this type are text; None if it is no type of ids."""
    convert = converter("user", dtype)
    return None if convert is None else convert is _text


def refusal(role: Role, dtype: pl.DataType, kind: str = "") -> str:
    """Say what a column without a conversion holds, and what it should hold.

    Args:
        role: what the column is for.
        dtype: its data type.
        kind: the same in the words of the library that it is of, if that is not polars.
    """
    if isinstance(dtype, pl.Decimal) and dtype.precision > MOST_DIGITS:
        return f"holds {dtype}, of more than {MOST_DIGITS} digits; convert it"
    return f"holds {kind or dtype}, not {CONVERSIONS[role][1]}; convert it"


def wrong_numbers(role: Role, numbers: pl.Series) -> pl.Series:
    """Mark the numbers that a column of this role must not hold, (N,)."""
    if role in LEAVE_OUT:
        return ~numbers.is_between(SMALLEST, LARGEST)  # NaN is beyond LARGEST to polars
    return ~numbers.is_finite()


def number_fault(role: Role, number: float, text: str, hint: str | None = None) -> str | None:
    """Say what is wrong with a number, and what to do; None if it is usable.

    Args:
        role: what its column holds.
        number: the number; NaN if it is not one.
        text: the number as it is written, for the message.
        hint: what to do about a text that is no finite number; None if nothing is known.
    """
    what = f"the {NAMES[role]} {text} is not"
    if not math.isfinite(number):
        hint = hint or LEAVE_OUT.get(role)
        return f"{what} a finite number" + (f"; {hint}" if hint else "")
    if role not in LEAVE_OUT or SMALLEST <= number <= LARGEST:
        return None
    if number <= 0:
        return f"{what} above 0; {LEAVE_OUT[role]}"
    return f"{what} between {SMALLEST:g} and {LARGEST:g}; multiply the whole column by a number"


def checked_rows(name: str, role: Role, column: pl.Series, start: int) -> pl.Series:
    """Convert a column that has a conversion.

    Args:
        name: of the file or table, for messages.
        role: what the column holds.
        column: it, or a piece of it.
        start: the row in which it begins, counted from 0.

    Raises:
        DataError: the first row whose value is missing or wrong, counted from 1, and what to do.
    """
    convert = converter(role, column.dtype)
    assert convert is not None
    values = convert(column)
    bad = values.is_null()
    if values.dtype == pl.Float64:
        bad |= wrong_numbers(role, values)
    elif values.dtype == pl.String:
        bad |= bad_ids(values)
    row = bad.arg_max()
    if row is None or not bad[row]:
        return values
    value = values[row]
    if value is None:
        what = missing_value(role)
    elif isinstance(value, str):
        what = str(id_fault(role, value))
    else:
        hint = None if role in LEAVE_OUT else LEAVE_OUT_ROW
        what = str(number_fault(role, value, str(value), hint))
    raise DataError(f"{name}: row {start + row + 1}: {what}")


def missing_value(role: Role) -> str:
    """Say that a value is missing, and what to do."""
    return f"there is no {NAMES[role]}; {LEAVE_OUT.get(role, LEAVE_OUT_ROW)}"
