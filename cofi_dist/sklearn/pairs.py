"""Read what an estimator is given: pairs of a user and an item, ratings and weights.

scikit-learn and its callers expect errors that are ValueErrors; these are DataErrors too, of one line.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.utils.validation import validate_data

from cofi_dist.data.readers.any_column import as_column, kind_of
from cofi_dist.data.readers.column_kinds import converter
from cofi_dist.errors import DataError
from cofi_dist.files.reading import shortened
from cofi_dist.words import counted

LARGEST_EXACT = 2**53  # float64 has all whole numbers up to this one
SHAPES = "an array of shape (n, 2), a frame of two columns, or a list of pairs"


class InputError(DataError, ValueError):
    """Report that pairs, ratings or weights can't be used."""


@contextmanager
def input_errors() -> Iterator[None]:
    """Raise what is wrong with an argument as an `InputError`."""
    try:
        yield
    except (DataError, ValueError) as error:
        raise InputError(str(error)) from None


def read_pairs(pairs: Any) -> pl.DataFrame:
    """Return pairs as a table with the columns `user` and `item`, each of Int64 or String.

    Args:
        pairs: an array (N, 2), a pandas or polars frame with two columns, or a list of pairs.

    Raises:
        DataError: they are no pairs of ids.
    """
    users, items = _two_columns(pairs)
    if not len(users):
        raise DataError("pairs: there are none; give one at least")
    return pl.DataFrame({"user": _read_ids("user", users), "item": _read_ids("item", items)})


def read_numbers(name: str, numbers: Any, count: int) -> NDArray[np.float64]:
    """Return ratings or weights, (count,).

    Args:
        name: of the argument.
        numbers: of any library.
        count: of the pairs.

    Raises:
        DataError: they are not `count` finite numbers.
    """
    column = as_column(numbers)
    if column.fault:
        raise DataError(f"{name}: {column.fault}")
    if not (column.dtype.is_numeric() or column.dtype == pl.Boolean):
        raise DataError(f"{name}: holds {column.kind}, not numbers; convert it")
    if column.length != count:
        raise DataError(f"{name}: {counted(column.length, 'number')} for {counted(count, 'pair')}")
    series = column.read(0, count).cast(pl.Float64)
    found: NDArray[np.float64] = series.fill_null(np.nan).to_numpy()
    for row in np.flatnonzero(~np.isfinite(found))[:1]:
        raise DataError(f"{name}: row {row + 1}: {found[row]} is no finite number; leave the pair out")
    return found


def check_columns(estimator: BaseEstimator, pairs: Any, *, reset: bool) -> None:
    """Let an estimator note the number and the names of the columns, or compare them with those noted.

    Args:
        estimator: sets `n_features_in_` and `feature_names_in_`.
        pairs: as for `read_pairs`.
        reset: whether to note them.

    Raises:
        DataError: the names are others, or not all of them are text.
    """
    try:
        validate_data(estimator, pairs, reset=reset, skip_check_array=True)
    except (TypeError, ValueError) as error:
        raise DataError(str(error)) from None


def _two_columns(pairs: Any) -> tuple[Any, Any]:
    """Return the column of users and that of items."""
    if hasattr(pairs, "toarray"):
        raise DataError("pairs: a sparse matrix holds no pairs; give the ids of user and item of each rating")
    if isinstance(pairs, list | tuple):
        return _columns_of_list(pairs)
    if isinstance(pairs, pl.DataFrame):
        columns: list[Any] = pairs.get_columns()
    elif hasattr(pairs, "iloc") and pairs.ndim == 2:  # a frame of pandas
        columns = [pairs.iloc[:, number] for number in range(pairs.shape[1])]
    elif hasattr(pairs, "__array__") and np.ndim(pairs) == 2:
        columns = list(np.asarray(pairs).T)
    else:
        what = f"{kind_of(pairs)} of shape {np.shape(pairs)}" if hasattr(pairs, "shape") else shortened(pairs)
        raise DataError(f"pairs: must be {SHAPES}, not {what}")
    if len(columns) != 2:
        raise DataError(f"pairs: must have two columns, ids of users and of items, not {len(columns)}")
    return columns[0], columns[1]


def _columns_of_list(pairs: list[Any] | tuple[Any, ...]) -> tuple[list[Any], list[Any]]:
    """Return the columns of a list of pairs: (1, "x") is a pair, though an array would make text of the 1."""
    users: list[Any] = []
    items: list[Any] = []
    for row, pair in enumerate(pairs, 1):
        if not isinstance(pair, list | tuple | np.ndarray) or len(pair) != 2:
            raise DataError(f"pairs: row {row}: {shortened(pair)} is no pair of a user and an item")
        users.append(pair[0])
        items.append(pair[1])
    return users, items


def _read_ids(kind: str, values: Any) -> pl.Series:
    """Return ids as Int64 or String. Whole numbers may be floats, as encoders write them.

    Raises:
        DataError: they are no ids, or one is missing.
    """
    name = f"pairs: the column of {kind}s"
    column = as_column(values)
    if column.fault:
        raise DataError(f"{name} {column.fault}")
    refusal = f"{name} holds {column.kind}, not integers or text; convert it"
    if column.dtype == pl.Object:
        raise DataError(refusal)
    series = column.read(0, column.length)
    if series.dtype.is_float():
        series = _whole(kind, series.fill_nan(None))
    if series.null_count():
        row = int(series.is_null().arg_max() or 0) + 1
        raise DataError(f"pairs: row {row}: the {kind} id is missing; leave the pair out")
    read = converter("user", series.dtype)
    if read is None:
        raise DataError(refusal)
    return read(series)


def _whole(kind: str, numbers: pl.Series) -> pl.Series:
    """Return floats as integers.

    Raises:
        DataError: one is no whole number, or so large that it may have been another.
    """
    for is_wrong, what in (
        (~numbers.is_finite() | (numbers.floor() != numbers), "is no whole number; ids are integers or text"),
        (numbers.abs() > LARGEST_EXACT, "is too large for a float to be exact; give integers or text"),
    ):
        if is_wrong.any():
            row = int(is_wrong.arg_max() or 0)
            raise DataError(f"pairs: row {row + 1}: the {kind} id {numbers[row]} {what}")
    return numbers.cast(pl.Int64)
