"""User ranges: every user once, balanced, whatever the counts."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cofi_dist.data import shard as shard_module
from cofi_dist.data.shard import UserRange, UserShard, plan
from cofi_dist.kernels.cpu.backend import ratings_of_tiles
from tests.problems import random_ratings

COUNTS = st.lists(st.integers(0, 50), min_size=1, max_size=30)


@given(COUNTS, st.integers(1, 12))
def test_ranges_cover_every_user_once_in_order(counts: list[int], parts: int) -> None:
    ranges = plan(np.array(counts, np.int64), parts)
    assert len(ranges) == parts
    assert [user for r in ranges for user in range(r.start, r.stop)] == list(range(len(counts)))


@given(COUNTS, st.integers(1, 12))
def test_no_range_exceeds_its_share_by_more_than_a_user(counts: list[int], parts: int) -> None:
    for r in plan(np.array(counts, np.int64), parts):
        assert sum(counts[r.start : r.stop]) <= sum(counts) / parts + max(counts)


def test_equal_users_are_cut_evenly() -> None:
    assert [len(r) for r in plan(np.full(12, 7, np.int64), 4)] == [3, 3, 3, 3]


@pytest.mark.parametrize("block_ratings", [1, 7, 1000])
def test_tiles_hold_every_rating_once(block_ratings: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shard_module, "TILE_RATINGS", block_ratings)
    ratings = random_ratings(9, 12, 40)
    shard = UserShard(UserRange(0, 9), 12, ratings)
    (tiles,), ((*slices,),) = shard.tiles(), ratings_of_tiles(shard)
    assert [rows.start for rows in slices] == [0, *(rows.stop for rows in slices[:-1])]
    assert slices[-1].stop == len(ratings)
    for users, rows in zip(tiles, slices, strict=True):
        assert ((ratings.user[rows] >= users.start) & (ratings.user[rows] < users.stop)).all()
