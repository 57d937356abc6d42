"""A wrong argument to any method is refused in one line."""

import math
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from cofi_dist.errors import DataError
from cofi_dist.model import Model
from tests.support.models import small


@pytest.fixture
def model(tmp_path: Path) -> Model:
    return small(tmp_path)


GOOD = pl.DataFrame({"user": ["ann"], "item": [1], "value": [3.0]})


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda m: m.predict([1, "a"], [1, 2]), "ids must be integers or text, all of one kind: "),
        (lambda m: m.predict("1", "318"), "'318' is one id; give a list of ids"),
        (lambda m: m.recommend("ann", 2, exclude="3"), "'3' is one id; give a list of ids"),
        (lambda m: m.recommend("ann", 2.5), "k is 2.5; ask for a whole number, at least 1"),
        (lambda m: m.recommend("ann", "3"), "k is '3'; ask for a whole number"),
        (lambda m: m.recommend("ann", True), "k is True; ask for a whole number"),
        (lambda m: list(m.recommend_all(3, users_at_once=-3)), "users_at_once is -3; ask for a whole number"),
        (lambda m: m.similar_items(0, min_ratings="a"), "min_ratings is 'a'; ask for a whole number"),
        (lambda m: m.fold_in([1], 5.0), "not an array of 0 dimensions"),
        (lambda m: m.fold_in([1], [[5.0]]), "not an array of 2 dimensions"),
        (lambda m: m.evaluate(None), "ratings come as a polars DataFrame, not NoneType"),
        (lambda m: m.evaluate(GOOD, relevant=math.nan), "relevant is nan; give a rating"),
        (lambda m: m.predict([1.5], [1]), "ids must be integers or text, not Float64"),
        (lambda m: m.recommend([1, 2]), r"\[1, 2\] is not the id of one user"),
        (lambda m: m.recommend(1.5), "1.5 is not the id of one user"),
        (lambda m: m.recommend(None), "None is not the id of one user"),
        (lambda m: m.similar_items(2.5), "2.5 is not the id of one item"),
        (lambda m: m.fold_in(["x"], ["y"]), "ratings are numbers: "),
        (lambda m: m.fold_in([1], [None]), "is not a finite number"),
        (lambda m: m.evaluate(pl.DataFrame({"user": [1]})), "ratings need the columns user, item and value"),
        (
            lambda m: m.evaluate(pl.DataFrame({"user": [1], "item": [1], "value": ["x"]})),
            "the column value holds numbers, not String",
        ),
        (
            lambda m: m.evaluate(pl.DataFrame({"user": [1], "item": [1], "value": [None]})),
            "the column value holds numbers, not Null",
        ),
        (
            lambda m: m.evaluate(pl.DataFrame({"user": [1.5], "item": [1], "value": [3.0]})),
            "ids must be integers or text, not Float64",
        ),
    ],
)
def test_a_wrong_argument_is_one_line(call: Callable[[Model], object], says: str, model: Model) -> None:
    with pytest.raises(DataError, match=says) as error:
        call(model)
    assert "\n" not in str(error.value)
