"""Splits, held to slow answers; the same in any order of the file."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from cofi_dist.config import DataSection, SplitSection
from cofi_dist.data.sources.open import open_source
from cofi_dist.data.splits import Part, assign_parts, hash_uniform
from cofi_dist.sharding.ranges import UserRange
from tests.support.prepared import parts_of, prepared
from tests.support.ratings_files import pairs_of, random_table, save

PAIRS = np.arange(40_000)


def test_chance_is_even_and_differs_by_seed_and_part() -> None:
    user, item = PAIRS // 200, PAIRS % 200
    u = hash_uniform(0, "test", user, item)
    assert 0.0 <= u.min() < u.max() < 1.0
    assert np.histogram(u, 10, (0, 1))[0] == pytest.approx(np.full(10, 4000), abs=250)
    for other in (hash_uniform(1, "test", user, item), hash_uniform(0, "validation", user, item)):
        assert abs(np.corrcoef(u, other)[0, 1]) < 0.02
    # neither a user nor an item is favoured
    by_user, by_item = (np.bincount(rows, u, minlength=200) / 200 for rows in (user, item))
    assert max(np.abs(by_user - 0.5).max(), np.abs(by_item - 0.5).max()) < 0.1


@pytest.mark.parametrize("of_test", range(4))
@pytest.mark.parametrize("of_validation", range(4))
def test_any_two_seeds_split_independently(of_test: int, of_validation: int) -> None:
    user, item = PAIRS // 200, PAIRS % 200
    splits: dict[Part, SplitSection] = {
        "test": SplitSection(fraction=0.5, seed=of_test),
        "validation": SplitSection(fraction=0.5, seed=of_validation),
    }
    shares = np.bincount(assign_parts(user, item, splits), minlength=3) / len(user)
    assert shares == pytest.approx([0.25, 0.25, 0.5], abs=0.02)


def test_a_random_split_takes_its_fraction_of_what_is_left() -> None:
    user, item = PAIRS // 200, PAIRS % 200
    splits: dict[Part, SplitSection] = {
        "test": SplitSection(fraction=0.2, seed=7),
        "validation": SplitSection(fraction=0.5, seed=7),
    }
    part = assign_parts(user, item, splits)
    shares = np.bincount(part, minlength=3) / len(part)
    assert shares == pytest.approx([0.4, 0.4, 0.2], abs=0.01)


def test_splits_partition_the_ratings_in_any_order_of_the_file(tmp_path: Path) -> None:
    table = random_table()
    for by in ("random", "time", "last", "leave_one_out"):
        found = []
        for given_table in (table, table.sample(fraction=1.0, shuffle=True, seed=3)):
            splits = {"test": SplitSection.model_validate({"by": by}), "validation": SplitSection(seed=1)}
            with prepared(save(given_table, tmp_path / "r.csv"), **splits) as stored:
                found.append(parts_of(stored))
        assert found[0] == found[1]
        assert set.union(*found[0].values()) == pairs_of(table)
        assert sum(map(len, found[0].values())) == len(table)


@pytest.mark.parametrize("n", [1, 3])
def test_the_last_n_of_each_user_are_held_out(n: int, tmp_path: Path) -> None:
    table = random_table()
    with prepared(save(table, tmp_path / "r.csv"), test=SplitSection(by="last", n=n)) as stored:
        parts = parts_of(stored)
    for (user,), mine in table.group_by("userId"):
        held = {pair for pair in parts["test"] if pair[0] == user}
        assert len(held) == (n if len(mine) > n else 0), "who has no more than n keeps all"
        newest = mine.sort("timestamp", descending=True)["timestamp"].to_list()[:n]
        assert sorted(mine.filter(pl.col("movieId").is_in([i for _, i in held]))["timestamp"]) == (
            sorted(newest) if held else []
        )


def test_leave_one_out_takes_one_of_each_user_by_seed() -> None:
    made_up = {"num_users": 50, "num_items": 30, "num_ratings": 300}
    taken = []
    for seed in (0, 0, 1):
        test = SplitSection(by="leave_one_out", seed=seed)
        source = open_source(DataSection.model_validate({"synthetic": made_up, "test": test}), Path())
        held = source.load(UserRange(0, 50), "test")
        several = source.ratings_per_user() > 1
        assert np.array_equal(held.user, np.flatnonzero(several))
        taken.append(held.item.tolist())
    assert taken[0] == taken[1] != taken[2]
