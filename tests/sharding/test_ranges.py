"""User ranges: every user once, balanced, whatever the counts."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from cofi_dist.data import shards
from cofi_dist.sharding.ranges import UserRange, balanced_ranges, offsets_from_counts, ratings_per_range

COUNTS = st.lists(st.integers(0, 50), min_size=1, max_size=30)


@given(COUNTS, st.integers(1, 12))
def test_ranges_cover_every_user_once_in_order(counts: list[int], parts: int) -> None:
    ranges = balanced_ranges(np.array(counts, np.int64), parts)
    assert len(ranges) == parts
    assert [user for r in ranges for user in range(r.start, r.stop)] == list(range(len(counts)))


@given(COUNTS, st.integers(1, 12))
def test_no_range_exceeds_its_share_by_more_than_a_user(counts: list[int], parts: int) -> None:
    for r in balanced_ranges(np.array(counts, np.int64), parts):
        assert sum(counts[r.start : r.stop]) <= sum(counts) / parts + max(counts)


def test_equal_users_are_cut_evenly() -> None:
    assert [len(r) for r in balanced_ranges(np.full(12, 7, np.int64), 4)] == [3, 3, 3, 3]


@given(COUNTS, st.integers(1, 12))
def test_ranges_and_offsets_count_every_rating(counts: list[int], parts: int) -> None:
    per_user = np.array(counts, np.int64)
    offsets = offsets_from_counts(per_user)
    assert offsets[0] == 0
    assert np.array_equal(np.diff(offsets), per_user)
    assert sum(ratings_per_range(balanced_ranges(per_user, parts), per_user)) == offsets[-1]


def test_scripts_find_user_ranges_at_their_former_place() -> None:
    assert shards.UserRange is UserRange
