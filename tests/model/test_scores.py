"""Scores and the best of them."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from cofi_dist.errors import DataError
from cofi_dist.model.scoring import as_ids, blocks, top
from tests.support.models import dense_scores, made_up

few_values = st.sampled_from([-np.inf, -1.0, 0.0, 1e-13, 2.0, 2.0 + 1e-12, 3.0])
score_blocks = arrays(np.float64, st.tuples(st.integers(0, 4), st.integers(1, 9)), elements=few_values)


@given(score_blocks, st.integers(1, 12))
def test_the_top_is_that_of_a_plain_sort_with_ties_by_row(scores: np.ndarray, k: int) -> None:
    best = top(scores, k)
    for j, row in enumerate(scores):
        want = sorted((-round(s, 10), i) for i, s in enumerate(row) if s > -np.inf)[:k]
        mine = best.user == j
        assert best.item[mine].tolist() == [i for _, i in want]
        assert best.place[mine].tolist() == list(range(len(want)))
        assert best.score[mine].tolist() == [row[i] for _, i in want]


@given(st.integers(1, 1000), st.integers(1, 10**7), st.none() | st.integers(1, 50))
def test_blocks_cut_the_users_without_gap(num_users: int, num_items: int, at_once: int | None) -> None:
    cut = blocks(num_users, num_items, at_once)
    assert [j for users in cut for j in range(users.start, users.stop)] == list(range(num_users))
    assert all(len(users) * num_items <= max(2**22, num_items) for users in cut) or at_once


@pytest.mark.parametrize("item_bias", [False, True])
def test_scores_are_the_formula(item_bias: bool, tmp_path: Path) -> None:
    model = made_up(tmp_path, item_bias=item_bias)
    got = model.item_side.scores(model.factors.W, model.factors.b[0])
    np.testing.assert_allclose(got, dense_scores(model), rtol=1e-13, atol=1e-13)


def test_ids_that_are_numbers_with_a_point_are_refused() -> None:
    assert as_ids([1, 2]).dtype == pl.Int64
    with pytest.raises(DataError, match="ids are integers or text, not Float64"):
        as_ids(pl.Series([1.5]))
