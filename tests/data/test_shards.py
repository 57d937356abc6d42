"""User ranges: every user once, balanced, whatever the counts."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cofi_dist.data import shards
from cofi_dist.data.shards import UserRange, UserShard, plan
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
def test_blocks_hold_every_rating_once(block_ratings: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shards, "BLOCK_RATINGS", block_ratings)
    ratings = random_ratings(9, 12, 40)
    blocks = list(UserShard(UserRange(0, 9), 12, ratings).blocks())
    assert np.array_equal(np.concatenate([part.user for _, part in blocks]), ratings.user)
    assert np.array_equal(np.concatenate([part.value for _, part in blocks]), ratings.value)
    for users, part in blocks:
        assert ((part.user >= users.start) & (part.user < users.stop)).all()
