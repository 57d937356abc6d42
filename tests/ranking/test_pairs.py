"""Pairs are found among others as in a set."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from cofi_dist.ranking.pairs import UserItemPairs

PAIRS = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 3)), max_size=20)


def as_pairs(pairs: list[tuple[int, int]]) -> UserItemPairs:
    user, item = np.array(pairs, np.int64).reshape(-1, 2).T
    return UserItemPairs(user, item)


@given(PAIRS, PAIRS, st.booleans())
def test_pairs_are_found_among_others_in_any_order(
    pairs: list[tuple[int, int]], others: list[tuple[int, int]], in_order: bool
) -> None:
    among = as_pairs(sorted(others) if in_order else others)
    assert as_pairs(pairs).isin(among, 4).tolist() == [pair in others for pair in pairs]


def test_rows_of_a_csr_matrix_become_pairs_in_the_order_asked_for() -> None:
    item = np.array([7, 8, 9, 1, 2], np.int32)
    start, count = np.array([3, 0, 3, 0]), np.array([2, 3, 0, 1])
    pairs = UserItemPairs.of_rows(start, count, item)
    assert pairs.user.tolist() == [0, 0, 1, 1, 1, 3]
    assert pairs.item.tolist() == [1, 2, 7, 8, 9, 7]
    assert len(UserItemPairs.of_rows(start[:0], count[:0], item).user) == 0
