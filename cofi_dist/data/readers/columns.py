"""Read columns that lie in memory, as arrays or lists, in pieces that polars takes."""

import datetime
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

# What pandas and Python have for a missing value, by name: pandas may not be installed.
MISSING = ("NoneType", "NAType", "NaTType")
NUMBERS = (float, np.floating, Decimal)
POLARS_KINDS = "biufUSMm"  # of numpy's data types
TIME_UNITS = ("D", "ms", "us", "ns")  # of numpy's times that polars takes


@dataclass(frozen=True)
class Column:
    """Hold a column of somebody else's table, which is converted piece by piece.

    Attributes:
        length: number of rows.
        dtype: polars' data type of the pieces.
        kind: the data type in the words of the library that the column is of.
        read: returns the rows from `start` to before `stop`; missing values are null.
        fault: why it cannot be read, and what to do; empty if it can.
    """

    length: int
    dtype: pl.DataType
    kind: str
    read: Callable[[int, int], pl.Series]
    fault: str = ""


def unreadable(length: int, kind: str, fault: str) -> Column:
    """Return a column that cannot be read."""
    return replace(of_no_use(length, kind), fault=fault)


def of_no_use(length: int, kind: str) -> Column:
    """Return a column of a kind that polars has no data type for, so that nothing takes it."""

    def read(start: int, stop: int) -> pl.Series:
        raise TypeError(f"holds {kind}")

    return Column(length, pl.Object(), kind, read)


def of_series(series: pl.Series) -> Column:
    """Read a polars series."""
    return Column(
        len(series), series.dtype, str(series.dtype), lambda start, stop: series.slice(start, stop - start)
    )


def of_arrow(array: Any, kind: str = "") -> Column:
    """Read an array, or a chunked array, of pyarrow; `kind` is its data type in the words of its owner."""

    def read(start: int, stop: int) -> pl.Series:
        return pl.Series(array.slice(start, stop - start))

    return Column(len(array), read(0, 0).dtype, kind or str(array.type), read)


def of_array(array: NDArray[Any]) -> Column:
    """Read a numpy array."""
    kind = str(array.dtype)
    if array.ndim != 1:
        return unreadable(len(array) if array.ndim else 0, kind, f"has {array.ndim} dimensions; give one")
    if isinstance(array, np.ma.MaskedArray):
        return unreadable(len(array), kind, "is masked; leave the masked rows out, as .compressed() does")
    if array.dtype.kind in "OT":  # objects, and text of any length
        return of_objects(array)
    if array.dtype.kind not in POLARS_KINDS or array.dtype == np.longdouble:
        return of_no_use(len(array), kind)
    if array.dtype.kind in "Mm" and np.datetime_data(array.dtype)[0] not in TIME_UNITS:
        if np.datetime_data(array.dtype)[0] == "generic":
            return unreadable(len(array), kind, "holds times without a unit; convert it")
        array = array.astype(f"{array.dtype.kind}8[ms]")
    if array.dtype == np.dtype("m8[D]"):
        array = array.astype("m8[ms]")
    native = array.dtype.newbyteorder("=")

    def read(start: int, stop: int) -> pl.Series:
        return pl.Series(array[start:stop].astype(native, copy=False))

    return Column(len(array), read(0, 0).dtype, kind, read)


def of_masked(values: NDArray[Any], is_missing: NDArray[np.bool_]) -> Column:
    """Read a numpy array of which some values are missing."""
    column = of_array(values)

    def read(start: int, stop: int) -> pl.Series:
        piece = column.read(start, stop)
        missing = pl.Series(is_missing[start:stop])
        return pl.select(pl.when(~missing).then(piece)).to_series()

    return Column(column.length, column.dtype, column.kind, read, column.fault)


def of_objects(values: Sequence[Any] | NDArray[Any]) -> Column:
    """Read Python objects, which must be of one kind: integers, numbers, text or times.

    Integers and floats together are numbers. Floats that are all NaN stand for missing values.
    """
    types = {kind: _family(kind) for kind in set(map(type, values))}
    families = set(types.values()) - {"missing"}
    if "number" in families and len(families) > 1 and _are_nan(values):
        families.remove("number")
    if families == {"number", "integer"}:
        families = {"number"}
    kind = " and ".join(sorted(each.__name__ for each in types if types[each] in families)) or "None"
    if len(families) > 1:
        return unreadable(len(values), kind, _mixture(values, types, families))
    if families == {"other"}:
        return of_no_use(len(values), kind)
    read = _reader(values, families.pop() if families else "missing", types)
    first = next((row for row, value in enumerate(values) if not _is_missing(value)), 0)
    return Column(len(values), read(first, first + 1).dtype, kind, read)


def _family(kind: type) -> str:
    """Return which values a type is read with; `missing` for None, and `other` for what is not read."""
    if kind.__name__ in MISSING:
        return "missing"
    families: dict[str, tuple[type, ...]] = {
        "other": (bool, np.bool_, np.timedelta64),  # Python and numpy derive them from integers
        "time": (datetime.date, datetime.timedelta),
        "integer": (int, np.integer),
        "number": NUMBERS,
        "text": (str,),
    }
    return next((name for name, types in families.items() if issubclass(kind, types)), "other")


def _reader(
    values: Sequence[Any] | NDArray[Any], family: str, types: dict[type, str]
) -> Callable[[int, int], pl.Series]:
    """Return a function that reads rows of one family, of which some may be missing."""
    may_be_missing = "missing" in types.values() or "number" in types.values()

    def read(start: int, stop: int) -> pl.Series:
        rows = list(values[start:stop])
        if may_be_missing:
            rows = [None if _is_missing(value) else value for value in rows]
        if family == "integer":
            return _integers(rows)
        if family == "number":
            numbers = [None if value is None else float(value) for value in rows]
            return pl.Series(numbers, dtype=pl.Float64)
        if family == "time":
            times = pl.Series(rows)
            return times.cast(pl.Datetime) if times.dtype == pl.Null else times
        return pl.Series(rows, dtype=pl.String if family == "text" else pl.Null)

    return read


def _integers(rows: list[Any]) -> pl.Series:
    """Return integers of any size: as text if one of them does not fit into 128 bits."""
    for dtype in (pl.Int64, pl.Int128):
        try:
            return pl.Series(rows, dtype=dtype)
        except (TypeError, OverflowError):
            continue
    return pl.Series([None if value is None else str(value) for value in rows], dtype=pl.String)


def _is_missing(value: Any) -> bool:
    return type(value).__name__ in MISSING or (isinstance(value, NUMBERS) and math.isnan(value))


def _are_nan(values: Sequence[Any] | NDArray[Any]) -> bool:
    """Tell whether all floats are NaN, which stands for a missing value among other kinds."""
    return all(math.isnan(value) for value in values if isinstance(value, NUMBERS))


def _mixture(values: Sequence[Any] | NDArray[Any], types: dict[type, str], families: set[str]) -> str:
    """Say which kinds a column mixes, with the first row of each of the first two."""
    first: dict[str, str] = {}
    for row, value in enumerate(values, start=1):
        family = types[type(value)]
        if family in families and family not in first:
            first[family] = f"{type(value).__name__} (row {row})"
            if len(first) == 2:
                break
    return f"mixes {' and '.join(first.values())}; convert all to one kind"
