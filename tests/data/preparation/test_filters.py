"""The k-core filter, held to a slow one."""

from pathlib import Path

import polars as pl
import pytest

from tests.support.prepared import prepared
from tests.support.ratings_files import random_table, save


@pytest.mark.parametrize(("least_user", "least_item"), [(1, 8), (7, 1), (5, 5)])
def test_filters_leave_only_busy_users_and_items(least_user: int, least_item: int, tmp_path: Path) -> None:
    table = random_table()
    while True:
        stays = pl.all_horizontal(
            pl.len().over("userId") >= least_user, pl.len().over("movieId") >= least_item
        )
        left = table.filter(stays)
        if len(left) == len(table):
            break
        table = left
    keys = {"min_user_ratings": least_user, "min_item_ratings": least_item}
    with prepared(save(random_table(), tmp_path / "r.csv"), **keys) as stored:
        users, items = stored.ids
        assert users.raw.to_list() == sorted(set(table["userId"]))
        assert items.raw.to_list() == sorted(set(table["movieId"]))
        assert stored.manifest["num_ratings"]["train"] == len(table)
        dropped = 120 - len(table), 20 - len(users), 15 - len(items)
        assert f"dropped {dropped[1]} users, {dropped[2]} items and {dropped[0]} ratings" in stored.notes[-1]
