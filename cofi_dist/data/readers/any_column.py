"""Read a column of any library: polars, pandas, numpy, Arrow, torch, or Python's lists."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import polars as pl

from cofi_dist.data.readers.columns import Column, of_array, of_objects, of_series, unreadable
from cofi_dist.data.readers.pandas_columns import of_pandas

CONVERSION_ERRORS = (
    pl.exceptions.PolarsError,
    pl.exceptions.PanicException,
    *(TypeError, ValueError, OverflowError, RuntimeError, OSError),
)


def as_column(values: object) -> Column:
    """Read a column of any library, which is not imported for it; what is none has a fault."""
    kind = kind_of(values)
    for is_mine, reader in READERS:
        if is_mine(values):
            try:
                return reader(values)
            except CONVERSION_ERRORS as error:
                return unreadable(0, kind, f"cannot be read: {first_line(error)}")
    return unreadable(0, kind, f"is {article(kind)}; give an array or a list")


def is_of(values: object, library: str, name: str) -> bool:
    """Tell whether something is of a class of a library, or of a class derived from it."""
    return any(
        base.__name__ == name and base.__module__.partition(".")[0] == library
        for base in type(values).__mro__
    )


def kind_of(values: object) -> str:
    """Return the library and the class of something, such as `pandas.DataFrame`."""
    kind = type(values)
    library = kind.__module__.partition(".")[0]
    return kind.__qualname__ if library == "builtins" else f"{library}.{kind.__qualname__}"


def article(noun: str) -> str:
    """Return a noun with the article that goes with it."""
    return f"{'an' if noun[0] in 'aeiouAEIOU' else 'a'} {noun}"


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message, or its name if it says nothing."""
    return next(iter(str(error).splitlines()), "") or type(error).__name__


def _is_sequence(values: object) -> bool:
    return isinstance(values, Sequence) and not isinstance(values, str | bytes)


def _is_of_pandas(values: object) -> bool:
    return is_of(values, "pandas", "Series") or is_of(values, "pandas", "Index")


def _is_of_arrow(values: object) -> bool:
    return hasattr(values, "__arrow_c_stream__") or hasattr(values, "__arrow_c_array__")


def _is_table(values: object) -> bool:
    return isinstance(values, pl.DataFrame) or is_of(values, "pandas", "DataFrame")


# Which values are a library's, and how they are read; the first that says yes.
READERS: tuple[tuple[Callable[[Any], bool], Callable[[Any], Column]], ...] = (
    (lambda values: isinstance(values, pl.Series), of_series),
    (lambda values: isinstance(values, np.ndarray), of_array),
    (_is_of_pandas, of_pandas),
    (_is_table, lambda table: unreadable(0, kind_of(table), "is a whole table; give one column of it")),
    (lambda values: is_of(values, "torch", "Tensor"), lambda tensor: of_array(tensor.detach().cpu().numpy())),
    (_is_of_arrow, lambda array: of_series(pl.Series(array))),
    (_is_sequence, lambda rows: of_objects(rows if isinstance(rows, list | tuple) else list(rows))),
    (lambda values: hasattr(values, "__array__"), lambda array: of_array(np.asarray(array))),
)
