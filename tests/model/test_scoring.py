"""Scores are those of the formula, and batches hold every user once."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cofi_dist.model.scoring import user_batches
from cofi_dist.ranking.pairs import UserItemPairs
from cofi_dist.ranking.top_k import pair_scores
from cofi_dist.ranking.users import MAX_BATCH_LISTED
from tests.support.models import dense_scores, made_up


@given(st.integers(1, 1000), st.integers(1, 10**7), st.none() | st.integers(1, 50))
def test_batches_cut_the_users_without_gap(num_users: int, length: int, at_once: int | None) -> None:
    cut = user_batches(num_users, length, at_once)
    assert [j for users in cut for j in range(users.start, users.stop)] == list(range(num_users))
    assert all(len(users) * length <= max(MAX_BATCH_LISTED, length) for users in cut) or at_once


@pytest.mark.parametrize("item_bias", [False, True])
def test_scores_are_the_formula(item_bias: bool, tmp_path: Path) -> None:
    model = made_up(tmp_path, item_bias=item_bias)
    user, item = np.divmod(np.arange(12 * 30), 30)
    scorer, pairs = model.scorer, UserItemPairs(user, item)
    got = pair_scores(scorer.X, scorer.offset, *scorer.user_factors(np.arange(12)), pairs).reshape(12, 30)
    np.testing.assert_allclose(got, dense_scores(model), rtol=1e-13, atol=1e-13)
