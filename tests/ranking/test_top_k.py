"""The best items of each user are those of a plain sort."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from cofi_dist.ranking.pairs import UserItemPairs
from cofi_dist.ranking.top_k import TopK, pair_scores, settle

few_values = st.sampled_from([-np.inf, -1.0, 0.0, 1e-13, 2.0, 2.0 + 1e-12, 3.0])


score_blocks = arrays(np.float64, st.tuples(st.integers(0, 4), st.integers(1, 9)), elements=few_values)


def top_k(scores: np.ndarray, k: int) -> TopK:
    """Return the lists of users whose candidates are all items, in a random order."""
    order = np.random.default_rng(scores.size).permutation(scores.size)
    pairs = UserItemPairs(*np.divmod(order, max(scores.shape[1], 1)))
    return settle(pairs, scores.reshape(-1)[order], k)


@given(score_blocks, st.integers(1, 12))
def test_the_top_is_that_of_a_plain_sort_with_ties_by_row(scores: np.ndarray, k: int) -> None:
    best = top_k(scores, k)
    for j, row in enumerate(scores):
        want = sorted((-round(s, 10), i) for i, s in enumerate(row) if s > -np.inf)[:k]
        mine = best.user == j
        assert best.item[mine].tolist() == [i for _, i in want]
        assert best.rank[mine].tolist() == list(range(1, len(want) + 1))
        assert best.score[mine].tolist() == [row[i] for _, i in want]


@given(st.integers(0, 10**6), st.sampled_from([1e-9, 1.0, 1e3, 1e6, 1e9]), st.integers(1, 12))
def test_near_ties_of_any_size_are_settled_as_by_rounding_all(seed: int, size: float, k: int) -> None:
    rng = np.random.default_rng(seed)
    scores = size * rng.choice([0.1, 0.3, -0.7], (3, 30)) + rng.integers(-8, 9, (3, 30)) * 2.5e-11
    best = top_k(scores, k)
    rounded = np.round(scores, 10)
    for j, row in enumerate(rounded):
        assert best.item[best.user == j].tolist() == np.argsort(-row, kind="stable")[:k].tolist()


@pytest.mark.parametrize("num_pairs", [1, 2, 3, 7, 8, 9, 100, 1100])
@pytest.mark.parametrize("num_features", [1, 2, 9, 200])
def test_scores_are_sums_in_the_order_of_the_features(num_pairs: int, num_features: int) -> None:
    rng = np.random.default_rng(num_pairs)
    X, w = rng.standard_normal((50, num_features)), rng.standard_normal((20, num_features))
    pairs = UserItemPairs(rng.integers(0, 20, num_pairs), rng.integers(0, 50, num_pairs))
    offset, b = rng.standard_normal(50), rng.standard_normal(20)
    expected = np.zeros(num_pairs)
    for feature in range(num_features):
        expected += X[pairs.item, feature] * w[pairs.user, feature]
    expected = expected + b[pairs.user] + offset[pairs.item]
    np.testing.assert_array_equal(pair_scores(X, offset, w, b, pairs), expected)
