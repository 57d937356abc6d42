"""Splits, held to slow answers; the same for any cut of the users and any order of the file."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from cofi_dist.config import Data, Split
from cofi_dist.data.preparation import spool
from cofi_dist.data.preparation.store import StoredRatings
from cofi_dist.data.preparation.time_cutoffs import _cutoff
from cofi_dist.data.ratings import Ratings
from cofi_dist.data.sources.open import open_source
from cofi_dist.data.splits import PARTS, Part, assign_parts, hash_uniform, held_out
from cofi_dist.sharding.ranges import UserRange
from tests.data.test_prepare import random_table, save
from tests.support.prepared import prepared

PAIRS = np.arange(40_000)


def parts_of(stored: StoredRatings) -> dict[Part, set[tuple[int, int]]]:
    """Raw (user, item) pairs by part."""
    users, items = (ids.raw.to_numpy() for ids in stored.ids)
    loaded = {part: stored.load(UserRange(0, stored.num_users), part) for part in stored.parts}
    return {
        part: set(zip(users[r.user].tolist(), items[r.item].tolist(), strict=True))
        for part, r in loaded.items()
    }


def pairs(table: pl.DataFrame) -> set[tuple[int, int]]:
    return set(table.select("userId", "movieId").rows())


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
    splits: dict[Part, Split] = {
        "test": Split(fraction=0.5, seed=of_test),
        "validation": Split(fraction=0.5, seed=of_validation),
    }
    shares = np.bincount(assign_parts(user, item, splits), minlength=3) / len(user)
    assert shares == pytest.approx([0.25, 0.25, 0.5], abs=0.02)


def test_a_random_split_takes_its_fraction_of_what_is_left() -> None:
    user, item = PAIRS // 200, PAIRS % 200
    splits: dict[Part, Split] = {
        "test": Split(fraction=0.2, seed=7),
        "validation": Split(fraction=0.5, seed=7),
    }
    part = assign_parts(user, item, splits)
    shares = np.bincount(part, minlength=3) / len(part)
    assert shares == pytest.approx([0.4, 0.4, 0.2], abs=0.01)


def test_splits_partition_the_ratings_in_any_order_of_the_file(tmp_path: Path) -> None:
    table = random_table()
    for by in ("random", "time", "last", "leave_one_out"):
        found = []
        for given_table in (table, table.sample(fraction=1.0, shuffle=True, seed=3)):
            splits = {"test": Split.model_validate({"by": by}), "validation": Split(seed=1)}
            with prepared(save(given_table, tmp_path / "r.csv"), **splits) as stored:
                found.append(parts_of(stored))
        assert found[0] == found[1]
        assert set.union(*found[0].values()) == pairs(table)
        assert sum(map(len, found[0].values())) == len(table)


@pytest.mark.parametrize("fraction", [0.05, 0.3, 0.8])
@pytest.mark.parametrize("spool_rows", [20, 2**20])
def test_by_time_the_newest_are_held_out_and_ties_stay(
    fraction: float, spool_rows: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spool, "SPOOL_ROWS", spool_rows)
    table = random_table()
    times = sorted(table["timestamp"], reverse=True)
    # the earliest time after which come at most `fraction`
    cutoff = min(t for t in times if sum(x > t for x in times) <= round(fraction * len(times)))
    splits = {"test": Split(by="time", fraction=fraction), "validation": Split(by="time", fraction=0.5)}
    with prepared(save(table, tmp_path / "r.csv"), **splits) as stored:
        parts = parts_of(stored)
    assert parts["test"] == pairs(table.filter(pl.col("timestamp") > cutoff))
    rest = table.filter(pl.col("timestamp") <= cutoff)
    second = min(t for t in rest["timestamp"] if (rest["timestamp"] > t).sum() <= round(0.5 * len(rest)))
    assert parts["validation"] == pairs(rest.filter(pl.col("timestamp") > second))


TIMES = st.floats(allow_nan=False, allow_infinity=False) | st.integers(-2, 3).map(float)


@given(st.lists(TIMES, min_size=1, max_size=30), st.floats(0.01, 0.99))
@example([-1.5e308, 0.0, 1.5e308], 0.4)  # whose span is no float64
@example([1e300] + [float(t) for t in range(20)], 0.3)  # an outlier
@example([-0.0, 0.0, 5e-324, -5e-324], 0.5)
@example([1.0, 2.0], 0.9)  # nearly all
def test_the_cutoff_of_any_times_leaves_at_most_the_fraction_after_it(
    times: list[float], fraction: float
) -> None:
    cutoff = _cutoff(lambda: iter([np.array(times[::2]), np.array(times[1::2])]), fraction)
    may_follow = min(round(fraction * len(times)), len(times) - 1)
    assert cutoff == min(t for t in times if sum(x > t for x in times) <= may_follow)


@pytest.mark.parametrize("n", [1, 3])
def test_the_last_n_of_each_user_are_held_out(n: int, tmp_path: Path) -> None:
    table = random_table()
    with prepared(save(table, tmp_path / "r.csv"), test=Split(by="last", n=n)) as stored:
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
        test = Split(by="leave_one_out", seed=seed)
        source = open_source(Data.model_validate({"synthetic": made_up, "test": test}), Path())
        held = source.load(UserRange(0, 50), "test")
        several = source.ratings_per_user() > 1
        assert np.array_equal(held.user, np.flatnonzero(several))
        taken.append(held.item.tolist())
    assert taken[0] == taken[1] != taken[2]


@given(st.data())
def test_any_cut_of_the_users_is_split_alike(data: st.DataObject) -> None:
    by = data.draw(st.sampled_from(["random", "leave_one_out"]))
    given_data = Data.model_validate(
        {
            "synthetic": {"num_users": 20, "num_items": 15, "num_ratings": 90},
            "test": {"by": by, "seed": data.draw(st.integers(0, 3))},
            "validation": {"by": "random", "fraction": 0.4},
        }
    )
    source = open_source(given_data, Path())
    start = data.draw(st.integers(0, 20))
    users = UserRange(start, data.draw(st.integers(start, 20)))
    assert source.parts == ("train", *held_out(given_data))
    count = 0
    for part in PARTS:
        whole, cut = source.load(UserRange(0, 20), part), source.load(users, part)
        count += len(whole)
        mine = (whole.user >= users.start) & (whole.user < users.stop)
        assert same(cut, Ratings(whole.user[mine] - np.int32(start), whole.item[mine], whole.value[mine]))
    assert count == 90


def same(a: Ratings, b: Ratings) -> bool:
    return all(np.array_equal(getattr(a, name), getattr(b, name)) for name in ("user", "item", "value"))
