"""Arguments of every library are taken, and wrong ones are refused in one line."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import scipy.sparse as sp
import torch

from cofi_dist.config import ColumnNames
from cofi_dist.errors import DataError
from cofi_dist.model.arguments import as_ids, as_ratings, as_values
from tests.support.models import made_up, rated_halves


def test_ids_that_are_numbers_with_a_point_are_refused() -> None:
    assert as_ids([1, 2]).dtype == pl.Int64
    with pytest.raises(DataError, match="ids must be integers or text, not Float64"):
        as_ids(pl.Series([1.5]))


LIBRARIES = {
    "list": list,
    "tuple": tuple,
    "polars": pl.Series,
    "pandas": pd.Series,
    "pandas index": pd.Index,
    "pandas categories": lambda values: pd.Series(values).astype("category"),
    "Arrow": pa.array,
    "Arrow chunks": lambda values: pa.chunked_array([values]),
    "numpy": np.array,
}


@pytest.mark.parametrize("library", LIBRARIES.values(), ids=LIBRARIES.keys())
def test_ids_and_values_come_from_any_library(library: Any) -> None:
    assert as_ids(library([3, 1])).to_list() == [3, 1]
    assert as_ids(library(["b", "a"])).to_list() == ["b", "a"]
    values = as_values(library([4.0, 3.5]))
    assert values is not None
    assert values.tolist() == [4.0, 3.5]


def test_a_new_user_and_pairs_come_from_any_library(tmp_path: Path) -> None:
    model, items, ratings = made_up(tmp_path), [101, 105], [4.0, 2.0]
    folded = model.fold_in(items, ratings)
    want = model.predict(["u0001", "u0002"], items)
    for library in LIBRARIES.values():
        of_library = model.fold_in(library(items), library(ratings))
        assert np.array_equal(of_library.w, folded.w)
        assert (model.predict(library(["u0001", "u0002"]), library(items)) == want).all()


TABLE = pl.DataFrame({"user": ["u0001", "u0002"], "item": [101, 105], "value": [4.0, 2.0]})
TABLES: dict[str, Any] = {
    "polars": TABLE,
    "pandas": TABLE.to_pandas(),
    "Arrow": TABLE.to_arrow(),
    "arrays": tuple(TABLE[name].to_numpy() for name in TABLE.columns),
    "as in the training data": TABLE.rename({"user": "userId", "item": "movieId", "value": "rating"}),
}


@pytest.mark.parametrize("table", TABLES.values(), ids=TABLES.keys())
def test_a_table_of_any_library_is_evaluated_alike(table: Any, tmp_path: Path) -> None:
    model = made_up(tmp_path)
    assert model.evaluate(table) == model.evaluate(TABLE)


def test_a_file_is_evaluated_as_a_table(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    model, file = made_up(tmp_path), tmp_path / "held_out.csv"
    TABLES["as in the training data"].write_csv(file, separator=";")
    with caplog.at_level("INFO", "cofi_dist"):
        assert model.evaluate(file) == model.evaluate(str(file)) == model.evaluate(TABLE)
    assert f"{file}: fields are separated by semicolons" in caplog.text


def test_events_need_no_values_whatever_their_columns_are_called() -> None:
    columns = ColumnNames(user="who", item="what", rating="plays")
    want = TABLE.with_columns(value=pl.lit(1.0))
    for table in (TABLE.drop("value"), TABLE.drop("value").rename({"user": "who", "item": "what"})):
        assert as_ratings(table, columns, "implicit").equals(want)
    assert as_ratings((TABLE["user"], TABLE["item"]), columns, "implicit").equals(want)
    cells = as_ratings(sp.coo_array(([2.0], ([3], [1]))), columns, "implicit")
    assert cells.to_dicts() == [{"user": 3, "item": 1, "value": 2.0}]


def test_one_id_may_be_a_scalar_of_any_library(tmp_path: Path) -> None:
    model = made_up(tmp_path)
    want = model.similar_items(101)
    scalars: list[Any] = [
        np.int32(101),
        pa.scalar(101),
        torch.tensor(101),
        pd.Series([101])[0],
        np.array(101),
    ]
    for item in scalars:
        assert model.similar_items(item).equals(want)
    want = model.recommend("u0003", 4)
    for user in (np.str_("u0003"), pa.scalar("u0003")):
        assert model.recommend(user, 4).equals(want)


def test_a_list_of_users_gets_the_lists_of_each_in_its_order(tmp_path: Path) -> None:
    model = made_up(tmp_path)
    rated = rated_halves(model, 120)
    users = ["u0007", "u0001", "u0002", "u0011", "u0003"]
    got = model.recommend(pd.Series(users), 5, exclude=[101], rated=rated, min_ratings=3)
    assert got["user"].unique(maintain_order=True).to_list() == users
    assert got.columns == ["user", "rank", "item", "prediction", "score"]
    for user in users:
        want = model.recommend(user, 5, exclude=[101, *rated.items_of(user)], min_ratings=3)
        mine = got.filter(user=user).drop("user")
        assert mine.drop("score", "prediction").equals(want.drop("score", "prediction"))
        np.testing.assert_allclose(mine["score"], want["score"], rtol=1e-12)
    everyone = pl.concat(model.recommend_all(5, rated))
    assert model.recommend(model.users.raw, 5, rated=rated)["item"].equals(everyone["item"])
    assert model.recommend([], 5).schema == everyone.schema
