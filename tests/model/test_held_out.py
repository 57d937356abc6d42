"""Held-out ratings come from the run or from a table, in the rows of the model."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from cofi_dist.errors import DataError
from cofi_dist.model.evaluate import evaluate
from cofi_dist.model.held_out import HeldOut
from cofi_dist.sharding.ranges import UserRange
from tests.support.models import (
    EVERYONE,
    as_table,
    figures,
    judged,
    made_up,
)


def test_a_table_of_raw_ids_in_any_order_gives_the_figures_of_the_part(tmp_path: Path) -> None:
    model, rated = judged(tmp_path)
    test = rated.load(EVERYONE, "test")
    table = as_table(model, test.user, test.item, test.value).sample(fraction=1, shuffle=True, seed=1)
    want = evaluate(model.scorer, HeldOut.from_run(rated, "test"), rated)
    assert figures(model.evaluate(table, rated)) == pytest.approx(figures(want), rel=1e-12)
    assert model.evaluate(table).ranking is None


def test_unknown_users_and_items_are_counted_and_fall_back(tmp_path: Path) -> None:
    model, rated = judged(tmp_path)
    model.item_counts[2] = 0
    table = pl.DataFrame(
        {
            "user": ["x", "x", "y", "u0001", "u0001", "u0002"],
            "item": [101, 7, 8, 7, 102, 105],
            "value": [3.0, 2.0, 1.0, 4.0, 5.0, 1.5],
        }
    )
    found = model.evaluate(table, rated)
    assert (found.ratings, found.users) == (6, 4)
    assert (found.unseen_users, found.unseen_items, found.unseen_ratings) == (2, 3, 5)
    err = model.predict(table["user"], table["item"]) - table["value"].to_numpy()
    assert found.rmse == pytest.approx(np.sqrt(np.mean(err**2)), rel=1e-12)
    assert found.ranking is not None
    assert found.ranking.users + found.ranking.users_without_relevant == 4
    assert found.ranking.users_without_relevant >= 2


def test_events_of_a_pair_add_up(tmp_path: Path) -> None:
    model = made_up(tmp_path)
    table = pl.DataFrame(
        {"user": ["u0001", "u0002", "u0001", "x"], "item": [101, 101, 101, 7], "value": [1.0, 2.0, 0.5, 1.0]}
    )
    held_out = HeldOut.from_table(model.users, model.items, table, "implicit")
    loaded = held_out.load(UserRange(0, held_out.num_users))
    assert loaded.user.tolist() == [1, 2, 12]
    assert loaded.value.tolist() == [1.5, 2.0, 1.0]


@pytest.mark.parametrize(
    ("users", "items", "values", "says"),
    [
        ([], [], [], "there are no ratings to evaluate on"),
        (["a"], [1], [float("inf")], "the rating inf is not a finite number"),
        (["a", "b", "a"], [1, 1, 1], [1.0, 2.0, 3.0], "user a rates item 1 twice"),
        (["u0001", "u0001"], [101, 101], [1.0, 2.0], "user u0001 rates item 101 twice"),
    ],
)
def test_a_table_that_cannot_be_used_is_refused(
    users: list[str], items: list[int], values: list[float], says: str, tmp_path: Path
) -> None:
    table = pl.DataFrame({"user": users, "item": items, "value": values})
    with pytest.raises(DataError, match=says):
        made_up(tmp_path).evaluate(table)
