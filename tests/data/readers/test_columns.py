"""Columns of every library, read as what they hold, or refused."""

import sys
from collections import deque
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import torch

from cofi_dist.data.readers.any_column import as_column
from cofi_dist.data.readers.columns import Column


def read(column: Column) -> list[Any]:
    """All rows of a column, read in pieces of two."""
    assert not column.fault
    pieces = [column.read(start, min(start + 2, column.length)) for start in range(0, column.length, 2)]
    assert {piece.dtype for piece in pieces} == {column.dtype}
    return [value for piece in pieces for value in piece]


NUMBERS = [3, 1, 2]
TEXTS = ["b", "a", "c"]
WITHOUT_ARROW: dict[str, tuple[Any, list[Any]]] = {
    "pandas nullable": (pd.Series([3, None, 2], dtype="Int64"), [3, None, 2]),
    "pandas nullable floats": (pd.Series([3.5, None, 2], dtype="Float32"), [3.5, None, 2]),
    "pandas text": (pd.Series(["b", None, "c"], dtype="string[python]"), ["b", None, "c"]),
    "pandas objects": (pd.Series(["b", None, "c"], dtype=object), ["b", None, "c"]),
    "pandas categories": (pd.Series([3, None, 2]).astype("category"), [3, None, 2]),
    "pandas slice, whatever its index": (pd.Series([3, 9, 1, 9, 2])[::2], NUMBERS),
    "pandas index": (pd.Index(NUMBERS), NUMBERS),
}
READ: dict[str, tuple[Any, list[Any]]] = {
    **WITHOUT_ARROW,
    "pandas Arrow": (pd.Series([3, None, 2], dtype="int64[pyarrow]"), [3, None, 2]),
    "pandas Arrow text": (pd.Series(["b", None, "c"], dtype="string[pyarrow]"), ["b", None, "c"]),
    "polars": (pl.Series(NUMBERS), NUMBERS),
    "numpy": (np.array(NUMBERS, np.int8), NUMBERS),
    "numpy, other bytes first": (np.array(NUMBERS, ">i4"), NUMBERS),
    "numpy, every other": (np.arange(6)[::-2], [5, 3, 1]),
    "numpy text": (np.array(TEXTS), TEXTS),
    **(
        {"numpy text of any length": (np.array(TEXTS, np.dtypes.StringDType()), TEXTS)}
        if hasattr(np.dtypes, "StringDType")  # since numpy 2
        else {}
    ),
    "numpy halves": (np.array([1.5, 2, 3], np.float16), [1.5, 2, 3]),
    "Arrow": (pa.array(NUMBERS), NUMBERS),
    "Arrow chunks": (pa.chunked_array([[3], [1, 2]]), NUMBERS),
    "Arrow dictionary": (pa.array(NUMBERS).dictionary_encode(), NUMBERS),
    "torch": (torch.tensor(NUMBERS), NUMBERS),
    "torch with a gradient": (torch.tensor([1.0, 2.0], requires_grad=True), [1, 2]),
    "list": (NUMBERS, NUMBERS),
    "tuple of texts": (tuple(TEXTS), TEXTS),
    "range": (range(3), [0, 1, 2]),
    "integers that are missing": ([3, None, float("nan")], [3, None, None]),
    "texts that are missing": (["b", float("nan"), pd.NA], ["b", None, None]),
    "integers beyond 128 bits": ([2**200, 1], [str(2**200), "1"]),
    "integers and floats": ([1, 2.5, None], [1.0, 2.5, None]),
    "decimals": ([Decimal("4.1"), Decimal(3)], [4.1, 3.0]),
    "numpy's scalars": ([np.int8(3), np.uint64(1)], [3, 1]),
    "decimals that are missing": (["b", Decimal("NaN")], ["b", None]),
    "deque": (deque(NUMBERS), NUMBERS),
    "nothing but missing": ([None, None], [None, None]),
}


@pytest.mark.parametrize(("values", "want"), READ.values(), ids=READ.keys())
def test_a_column_of_any_library_is_read_as_what_it_holds(values: Any, want: list[Any]) -> None:
    column = as_column(values)
    assert column.length == len(want)
    if want == [str(2**200), "1"]:  # only the piece that holds it is text
        assert column.read(0, 2).to_list() == want
    else:
        assert read(column) == want


@pytest.mark.parametrize(("values", "want"), WITHOUT_ARROW.values(), ids=WITHOUT_ARROW.keys())
def test_pandas_is_read_without_pyarrow(
    values: Any, want: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)  # importing it fails
    assert read(as_column(values)) == want


MOMENT = datetime(2005, 9, 6, 1, 30)


@pytest.mark.parametrize(
    "values",
    [
        [MOMENT, None],
        [MOMENT.replace(tzinfo=UTC), None],
        pd.Series([MOMENT, None]),
        pd.Series([MOMENT, None]).dt.tz_localize("UTC").dt.tz_convert("Asia/Tokyo"),
        pd.Series([MOMENT, None]).dt.tz_localize("UTC").astype(object),
        np.array([MOMENT, None], "M8[m]"),
        np.array([MOMENT, None], "M8[ns]"),
    ],
    ids=["datetimes", "zoned", "pandas", "pandas zoned", "pandas objects", "minutes", "nanoseconds"],
)
def test_times_are_the_same_moment_whoever_holds_them(values: Any) -> None:
    column = as_column(values)
    piece = column.read(0, 2)
    assert isinstance(column.dtype, pl.Datetime)
    assert piece.dt.epoch("ms").to_list() == [int(MOMENT.replace(tzinfo=UTC).timestamp() * 1000), None]


def test_dates_and_durations_are_read() -> None:
    assert read(as_column([date(2020, 1, 2)])) == [date(2020, 1, 2)]
    column = as_column([None, None, date(2020, 1, 2)])
    assert column.dtype == pl.Date
    assert column.read(0, 2).dtype == pl.Datetime  # of missing ones
    assert read(as_column([timedelta(2)])) == read(as_column(np.array([2], "m8[D]"))) == [timedelta(2)]


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ([1, "a", 2], "mixes int (row 1) and str (row 2); convert all to one kind"),
        (["a", 2.5, float("nan")], "mixes str (row 1) and float (row 2)"),
        ([1, True], "mixes int (row 1) and bool (row 2)"),
        (pd.Series([1, "a"]).astype("category"), "has categories of several kinds"),
        (pd.Series(pd.period_range("2020", periods=2)), "holds period[D]; convert it to numbers or text"),
        (pd.MultiIndex.from_tuples([(1, 2)]), "has several levels; give one of them"),
        (np.ma.masked_array([1, 2], [False, True]), "is masked; leave the masked rows out"),
        (np.zeros((2, 2)), "has 2 dimensions; give one"),
        (np.array(3), "has 0 dimensions; give one"),
        (np.array([1], "m8"), "holds times without a unit"),
        (torch.ones(1, dtype=torch.bfloat16), "cannot be read: Got unsupported ScalarType BFloat16"),
        (pl.DataFrame({"a": [1]}), "is a whole table; give one column of it"),
        ((value for value in [1]), "is a generator; give an array or a list"),
        ("abc", "is a str; give an array or a list"),
        (3, "is an int; give an array or a list"),
    ],
)
def test_what_cannot_be_read_says_why_and_what_to_do(values: Any, says: str) -> None:
    assert says in as_column(values).fault


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (np.array([1j]), "complex128"),
        ([1j], "complex"),
        ([b"a"], "bytes"),
        ([True], "bool"),
        ([[1], [2]], "list"),
        (pd.Series(["a"], dtype="str").astype("category"), "category of str"),
        (pd.Series([b"a"]).astype("category"), "category of bytes"),
    ],
)
def test_the_kind_is_named_in_the_words_of_its_library(values: Any, kind: str) -> None:
    assert as_column(values).kind == kind
