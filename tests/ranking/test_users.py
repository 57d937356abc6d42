"""Which users are judged does not depend on who asks."""

import numpy as np
import pytest

from cofi_dist.ranking.users import MAX_VALIDATION_SCORES, default_sample, is_sampled


def test_a_sample_is_the_same_for_any_cut_of_the_users() -> None:
    whole = is_sampled(np.arange(1000), 1000, 300)
    parts = [is_sampled(np.arange(a, b), 1000, 300) for a, b in ((0, 1), (1, 700), (700, 1000))]
    assert np.array_equal(np.concatenate(parts), whole)
    assert 250 < whole.sum() < 350


@pytest.mark.parametrize("sample", [None, 1000, 10**9])
def test_as_many_as_there_are_or_none_means_all(sample: int | None) -> None:
    assert is_sampled(np.arange(1000), 1000, sample).all()


def test_by_default_all_are_judged_where_that_is_cheap() -> None:
    assert default_sample(25_000, 10_000) is None
    sample = default_sample(10_000_000, 10_000)
    assert sample is not None
    assert sample * 10_000 == pytest.approx(MAX_VALIDATION_SCORES, rel=1e-3)
