"""Read columns of pandas, which is not imported; pyarrow is needed only if pandas itself holds Arrow data."""

from typing import Any

import numpy as np
import polars as pl

from cofi_dist.data.readers.columns import Column, of_array, of_arrow, of_masked, of_no_use, unreadable


def of_pandas(series: Any) -> Column:
    """Read a pandas Series, or an Index; the index of a Series is not looked at.

    Args:
        series: of any data type of pandas 2 or later.
    """
    dtype, kind = series.dtype, str(series.dtype)
    if getattr(series, "nlevels", 1) > 1:
        return unreadable(len(series), kind, "has several levels; give one of them")
    if isinstance(dtype, np.dtype):
        return of_array(series.to_numpy())
    if type(dtype).__name__ == "ArrowDtype" or getattr(dtype, "storage", None) == "pyarrow":
        return of_arrow(series.array.__arrow_array__(), kind)
    if isinstance(getattr(dtype, "numpy_dtype", None), np.dtype):
        return _of_nullable(series.array)
    readers = {
        "CategoricalDtype": _of_categories,
        "StringDtype": _of_strings,
        "DatetimeTZDtype": _of_times,
    }
    reader = readers.get(type(dtype).__name__)
    if reader is None:
        return unreadable(len(series), kind, f"holds {kind}; convert it to numbers or text")
    return reader(series.array)


def _of_nullable(values: Any) -> Column:
    """Read pandas' own integers and floats, beside which a mask says what is missing."""
    dtype = values.dtype.numpy_dtype
    is_missing = values.isna()
    return of_masked(values.to_numpy(dtype=dtype, na_value=dtype.type(0)), is_missing)


def _of_categories(values: Any) -> Column:
    """Read categories as what they are: integers, numbers or text."""
    categories = of_pandas(values.categories)
    if categories.fault:
        return unreadable(len(values), "category", "has categories of several kinds; convert all to one kind")
    if categories.dtype == pl.Object:
        return of_no_use(len(values), f"category of {categories.kind}")
    named, codes = categories.read(0, categories.length), values.codes

    def read(start: int, stop: int) -> pl.Series:
        places = pl.Series(codes[start:stop])
        return named.gather(pl.select(pl.when(places >= 0).then(places)).to_series())  # -1: missing

    return Column(len(values), named.dtype, f"category of {categories.kind}", read)


def _of_strings(values: Any) -> Column:
    def read(start: int, stop: int) -> pl.Series:
        texts = values[start:stop].to_numpy(dtype=object, na_value=None)
        return pl.Series(texts.tolist(), dtype=pl.String)

    return Column(len(values), pl.String(), str(values.dtype), read)


def _of_times(values: Any) -> Column:
    """Read times with a time zone, as those in UTC."""
    return of_array(values.to_numpy(dtype=f"datetime64[{values.dtype.unit}]"))
