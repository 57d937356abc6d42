"""Candidates and exclusions, as lists of ids and as tables, against lists that are cut by hand."""

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest

from cofi_dist.config import ColumnNames
from cofi_dist.errors import DataError
from cofi_dist.model import Model
from tests.support.models import made_up, rated_halves


@pytest.fixture
def model(tmp_path: Path) -> Model:
    return made_up(tmp_path)


def kept(lists: pl.DataFrame, keep: pl.Expr, k: int) -> pl.DataFrame:
    """The first k of each user's whole list that are to be kept."""
    left = lists.filter(keep).group_by("user", maintain_order=True).head(k)
    return left.select("user", "item", "score")


def test_candidates_and_excluded_items_are_a_cut_of_the_whole_list(model: Model) -> None:
    rated = rated_halves(model, 120)
    whole = pl.concat(model.recommend_all(30, rated))
    candidates, exclude = list(range(100, 125, 2)), [104, 110, 111]
    is_kept = pl.col("item").is_in(candidates) & ~pl.col("item").is_in(exclude)
    got = pl.concat(model.recommend_all(4, rated, candidates=candidates, exclude=exclude))
    assert got.select("user", "item", "score").equals(kept(whole, is_kept, 4))
    one = model.recommend("u0003", 4, exclude, rated=rated, candidates=pl.Series(candidates))
    assert one.equals(got.filter(user="u0003").drop("user"))
    folded = model.fold_in([100, 111], [3.0, 4.0])
    assert set(model.recommend(folded, 30, exclude, candidates=candidates)["item"]) == (
        set(candidates) - {*exclude, 100}
    )


def test_pairs_are_left_out_of_their_users_lists_alone(model: Model) -> None:
    rated = rated_halves(model, 60)
    whole = pl.concat(model.recommend_all(30, rated))
    rng = np.random.default_rng(0)
    cells = rng.choice(12 * 30, 100)  # with repeats
    pairs = pl.DataFrame({"user": model.users.raw[cells // 30], "item": model.items.raw[cells % 30]})
    left = whole.join(pairs, on=["user", "item"], how="anti", maintain_order="left")
    want = kept(left, pl.lit(True), 5)
    for at_once in (1, 5, None):
        got = pl.concat(model.recommend_all(5, rated, at_once, exclude=pairs))
        assert got.select("user", "item", "score").equals(want)
    some = ["u0007", "u0002"]
    got = model.recommend(some, 5, pairs, rated=rated).select("user", "item", "score")
    assert got.equals(pl.concat(want.filter(user=user) for user in some))


def test_lists_of_some_users_are_those_of_all(model: Model) -> None:
    rated = rated_halves(model, 60)
    whole = pl.concat(model.recommend_all(5, rated))
    assert pl.concat(model.recommend_all(5, rated, users=model.users.raw)).equals(whole)
    some = model.users.raw[[9, 1, 4]]
    got = pl.concat(model.recommend_all(5, rated, 2, users=some))
    assert got.equals(pl.concat(whole.filter(user=user) for user in some))
    (none,) = model.recommend_all(5, users=[])
    assert (none.columns, len(none)) == (whole.columns, 0)


class _Stream:
    """Something that gives Arrow's stream and nothing else, as a relation of DuckDB does."""

    def __init__(self, table: pl.DataFrame) -> None:
        self.table = table

    def __arrow_c_stream__(self, schema: object = None) -> object:
        return self.table.__arrow_c_stream__(schema)


TABLES: dict[str, Any] = {
    "polars": lambda pairs: pairs,
    "pandas": lambda pairs: pd.DataFrame(pairs.to_dict(as_series=False)),
    "arrow stream": _Stream,
    "names of the training data": lambda pairs: pairs.rename({"user": "who", "item": "what"}),
    "more columns": lambda pairs: pairs.with_columns(when=pl.lit(3)),
}


@pytest.mark.parametrize("kind", TABLES)
def test_tables_of_any_library_exclude(kind: str, model: Model) -> None:
    named = replace(model, facts=replace(model.facts, columns=ColumnNames(user="who", item="what")))
    pairs = pl.DataFrame({"user": ["u0003", "u0003", "u0004"], "item": [101, 102, 103]})
    exclude = TABLES[kind](pairs)
    got = pl.concat(named.recommend_all(30, exclude=exclude))
    assert len(got) == 12 * 30 - 3
    assert got.join(pairs, on=["user", "item"]).is_empty()
    if not isinstance(exclude, _Stream):
        items = exclude[[name for name in exclude.columns if name not in ("user", "who")]]
        got = pl.concat(named.recommend_all(30, exclude=items))
        assert set(got["item"]) == {*range(100, 130)} - {101, 102, 103}, "the same items of everybody"


def test_what_is_unknown_is_counted_and_not_used(model: Model, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "cofi_dist")
    want = set(model.recommend("u0001", 30, candidates=[104, 105])["item"])
    assert (want, caplog.messages) == ({104, 105}, [])
    assert set(model.recommend("u0001", 30, [105, 9], candidates=[104, 105, 7, 8])["item"]) == {104}
    pairs = pl.DataFrame({"user": ["zoe", "u0001", "u0001"], "item": [104, 7, 104]})
    assert len(model.recommend("u0001", 30, pairs)) == 29
    assert caplog.messages == [
        "2 of 4 candidates: unknown to the model; not used",
        "1 of 2 excluded items: unknown to the model; not used",
        "2 of 3 excluded pairs: unknown to the model; not used",
    ]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"candidates": [7, 8]}, "the model knows none of these 2 candidates; are they ids of its data?"),
        ({"candidates": []}, "candidates: name no item; give some, or None for all items"),
        ({"candidates": [104, None]}, "candidates: row 2 of the ids is missing; leave it out"),
        ({"candidates": 104}, "candidates: ids must be integers or text: this is an int; give an array or"),
        ({"exclude": {104}}, "exclude: ids must be integers or text: this is a set; give an array or a list"),
        (
            {"exclude": pl.LazyFrame({"item": [104]})},
            "exclude: a LazyFrame has no rows yet; give what collect() returns",
        ),
        (
            {"exclude": pl.DataFrame({"film": [1]})},
            "exclude: no column of items; call it item, or movieId",
        ),
        ({"exclude": pl.DataFrame({"user": ["u0001"]})}, "exclude: no column of items"),
        (
            {"exclude": pl.DataFrame({"user": ["u0001", None], "item": [104, 105]})},
            "exclude: row 2 of column 'user' is missing; leave it out",
        ),
        (
            {"exclude": pl.DataFrame({"item": [1.5]})},
            "exclude: column 'item' must hold integers or text, not Float64",
        ),
    ],
)
def test_mistakes_are_one_line(arguments: dict[str, Any], says: str, model: Model) -> None:
    for call in (lambda: model.recommend("u0001", **arguments), lambda: model.recommend_all(**arguments)):
        with pytest.raises(DataError) as caught:
            call()
        assert str(caught.value).startswith(says)


def test_pairs_are_not_for_a_user_who_is_none_of_the_model(model: Model) -> None:
    pairs = pl.DataFrame({"user": ["u0001"], "item": [104]})
    with pytest.raises(DataError, match="exclude holds pairs of users of the model; give items"):
        model.recommend(model.fold_in([104], [3.0]), 5, pairs)
    with pytest.raises(DataError, match="user u0001 is in the list twice"):
        model.recommend_all(users=["u0001", "u0001"])
