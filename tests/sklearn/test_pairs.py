"""Pairs, ratings and weights of every kind are read; all else is refused in one line."""

from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
from scipy import sparse

from cofi_dist.sklearn.pairs import SHAPES, InputError, input_errors, read_numbers, read_pairs

NUMBERS = np.array([[1, 20], [2, 30], [1, 30]])
TEXT = [("ann", "x"), ("bob", "y"), ("ann", "y")]


@pytest.mark.parametrize(
    "pairs",
    [
        NUMBERS,
        NUMBERS.astype(np.uint8),
        NUMBERS.astype(float),
        NUMBERS.astype(object),
        NUMBERS.tolist(),
        [tuple(pair) for pair in NUMBERS],
        list(NUMBERS),
        pd.DataFrame(NUMBERS),
        pd.DataFrame(NUMBERS, columns=["who", "what"]).astype("Int64"),
        pl.DataFrame(NUMBERS, schema=["who", "what"]),
        pl.DataFrame(NUMBERS.astype(float), schema=["who", "what"]),
    ],
    ids=lambda pairs: type(pairs).__name__,
)
def test_numbers(pairs: Any) -> None:
    assert read_pairs(pairs).equals(pl.DataFrame({"user": [1, 2, 1], "item": [20, 30, 30]}))


@pytest.mark.parametrize(
    "pairs",
    [
        TEXT,
        np.array(TEXT),
        np.array(TEXT, dtype=object),
        pd.DataFrame(TEXT),
        pd.DataFrame(TEXT).astype("category"),
        pl.DataFrame(TEXT, orient="row"),
    ],
    ids=lambda pairs: type(pairs).__name__,
)
def test_text(pairs: Any) -> None:
    assert read_pairs(pairs).rows() == TEXT


def test_a_list_may_have_numbers_and_text_in_its_columns() -> None:
    assert read_pairs([("ann", 7), ("bob", 8)]).rows() == [("ann", 7), ("bob", 8)]


@pytest.mark.parametrize(
    ("pairs", "message"),
    [
        ([], "pairs: there are none; give one at least"),
        (NUMBERS[:0], "pairs: there are none; give one at least"),
        (np.c_[NUMBERS, NUMBERS], "pairs: must have two columns, ids of users and of items, not 4"),
        (NUMBERS[:, 0], f"pairs: must be {SHAPES}, not numpy.ndarray of shape (3,)"),
        (None, f"pairs: must be {SHAPES}, not None"),
        ("abc", f"pairs: must be {SHAPES}, not 'abc'"),
        ({"a": [1]}, f"pairs: must be {SHAPES}, not {{'a': [1]}}"),
        ([(1, 2), (1, 2, 3)], "pairs: row 2: (1, 2, 3) is no pair of a user and an item"),
        (["ab"], "pairs: row 1: 'ab' is no pair of a user and an item"),
        ([(1, 2), ("a", 3)], "the column of users mixes int (row 1) and str (row 2)"),
        ([(1, 2), (1, None)], "pairs: row 2: the item id is missing; leave the pair out"),
        (NUMBERS + 0.5, "pairs: row 1: the user id 1.5 is no whole number; ids are integers or text"),
        (NUMBERS * 1e16, "pairs: row 1: the user id 1e+16 is too large for a float to be exact"),
        (np.array([[1, np.nan]]), "pairs: row 1: the item id is missing; leave the pair out"),
        (np.array([[np.inf, 1]]), "pairs: row 1: the user id inf is no whole number"),
        (NUMBERS > 1, "pairs: the column of users holds bool, not integers or text; convert it"),
        (NUMBERS * 1j, "pairs: the column of users holds complex128, not integers or text; convert it"),
        (sparse.csr_array(NUMBERS), "pairs: a sparse matrix holds no pairs; give the ids of user and item"),
    ],
)  # fmt: skip
def test_what_are_no_pairs(pairs: Any, message: str) -> None:
    with pytest.raises(InputError) as found, input_errors():
        read_pairs(pairs)
    assert message in str(found.value)


@pytest.mark.parametrize(
    "numbers",
    [[1, 2], (1.0, 2), np.array([1, 2], object), pd.Series([1, 2]), pl.Series([1, 2]), pd.array([1, 2])],
    ids=lambda numbers: type(numbers).__name__,
)  # fmt: skip
def test_ratings(numbers: Any) -> None:
    read = read_numbers("y", numbers, 2)
    assert read.dtype == np.float64
    assert read.tolist() == [1, 2]


@pytest.mark.parametrize(
    ("numbers", "message"),
    [
        ([1], "y: 1 number for 2 pairs"),
        (["1", "2"], "y: holds str, not numbers; convert it"),
        ([1, np.nan], "y: row 2: nan is no finite number; leave the pair out"),
        ([1, np.inf], "y: row 2: inf is no finite number; leave the pair out"),
        ([1, None], "y: row 2: nan is no finite number; leave the pair out"),
        (np.ones((2, 2)), "y: has 2 dimensions; give one"),
        (np.array([1j, 2]), "y: holds complex128, not numbers; convert it"),
    ],
)
def test_what_are_no_ratings(numbers: Any, message: str) -> None:
    with pytest.raises(InputError) as found, input_errors():
        read_numbers("y", numbers, 2)
    assert str(found.value) == message
