"""A wrong argument to any method is refused in one line."""

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
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
        (
            lambda m: m.predict([1, "a"], [1, 2]),
            "ids must be integers or text: this mixes int .row 1. and str .row 2.",
        ),
        (lambda m: m.predict("1", "318"), "'318' is one id; give a list of ids"),
        (lambda m: m.recommend("ann", 2, exclude="3"), "'3' is one id; give a list of ids"),
        (lambda m: m.recommend("ann", 2.5), "k is 2.5; ask for a whole number, at least 1"),
        (lambda m: m.recommend("ann", "3"), "k is '3'; ask for a whole number"),
        (lambda m: m.recommend("ann", True), "k is True; ask for a whole number"),
        (lambda m: list(m.recommend_all(3, users_at_once=-3)), "users_at_once is -3; ask for a whole number"),
        (lambda m: m.similar_items(0, min_ratings="a"), "min_ratings is 'a'; ask for a whole number"),
        (lambda m: m.fold_in([1], 5.0), "ratings are numbers: this is a float; give an array or a list"),
        (lambda m: m.fold_in([1], [[5.0]]), "ratings are numbers, not list"),
        (lambda m: m.fold_in([1], np.ones((1, 1))), "this has 2 dimensions; give one"),
        (lambda m: m.evaluate(None), "a NoneType is no table; give a polars or pandas"),
        (lambda m: m.evaluate(GOOD, relevant=math.nan), "relevant is nan; give a rating"),
        (lambda m: m.predict([1.5], [1]), "ids must be integers or text, not float"),
        (lambda m: m.predict([True], [1]), "ids must be integers or text, not bool"),
        (lambda m: m.predict([1, None], [1, 1]), "row 2 of the ids is missing; leave it out"),
        (lambda m: m.recommend(["ann", "bob", "ann"]), "user ann is in the list twice; give each user once"),
        (lambda m: m.recommend(["ann", "x"]), "the model has no user x; it knows 3 users, such as ann"),
        (
            lambda m: m.recommend([1, 2]),
            "the model has no user 1, nor 1 more of these 2; it knows 3 users, such",
        ),
        (lambda m: m.recommend(1.5), "1.5 is not the id of one user"),
        (lambda m: m.recommend(None), "None is not the id of one user"),
        (lambda m: m.similar_items(2.5), "2.5 is not the id of one item"),
        (lambda m: m.fold_in(["x"], ["y"]), "ratings are numbers, not str"),
        (lambda m: m.fold_in([1], [None]), "is not a finite number"),
        (
            lambda m: m.evaluate(pl.DataFrame({"user": [1]})),
            "no column 'item'; it has user; call the columns user,",
        ),
        (
            lambda m: m.evaluate(pl.DataFrame({"user": [1], "item": [1], "value": ["x"]})),
            "column 'value' holds String, not numbers",
        ),
        (
            lambda m: m.evaluate(pl.DataFrame({"user": [1], "item": [1], "value": [None]})),
            "row 1: there is no rating; leave the row out",
        ),
        (
            lambda m: m.evaluate(pl.DataFrame({"user": [1.5], "item": [1], "value": [3.0]})),
            "column 'user' holds Float64, not integers or text",
        ),
    ],
)
def test_a_wrong_argument_is_one_line(call: Callable[[Model], object], says: str, model: Model) -> None:
    with pytest.raises(DataError, match=says) as error:
        call(model)
    assert "\n" not in str(error.value)
