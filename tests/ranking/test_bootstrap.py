"""Intervals are those of samples of the users, whatever the batches."""

import math

import numpy as np
import pytest

from cofi_dist.ranking.bootstrap import REPLICATES, STEPS, interval, poisson_weights, replicate_sums


def test_weights_have_the_chances_of_the_poisson_distribution() -> None:
    counts = np.diff(STEPS.astype(int), prepend=0, append=2**16)
    assert len(counts) == 9
    for number, count in enumerate(counts):
        assert count / 2**16 == pytest.approx(math.exp(-1) / math.factorial(number), abs=2e-5)


def test_weights_are_those_of_independent_users_and_replicates() -> None:
    weights = poisson_weights(np.arange(500))
    assert weights.shape == (500, REPLICATES)
    assert weights.mean() == pytest.approx(1, abs=0.01)
    assert weights.var() == pytest.approx(1, abs=0.02)
    correlation = np.corrcoef(weights[:50]), np.corrcoef(weights.T[:50])
    for each in correlation:
        assert np.abs(each - np.eye(50)).max() < 0.25


def test_replicates_are_sums_over_the_users_that_each_draws() -> None:
    rng = np.random.default_rng(0)
    numbers, weights = rng.random((7, 3)), poisson_weights(np.arange(7))
    want = [
        [sum(numbers[j, c] for j in range(7) for _ in range(int(weights[j, r]))) for c in range(3)]
        for r in range(REPLICATES)
    ]
    whole = replicate_sums(np.arange(7), numbers)
    np.testing.assert_allclose(whole, want, rtol=1e-12)
    parts = [replicate_sums(np.arange(a, b), numbers[a:b]) for a, b in ((0, 2), (2, 7))]
    np.testing.assert_allclose(sum(parts), whole, rtol=1e-12)


def test_the_interval_of_a_mean_is_that_of_the_normal_distribution() -> None:
    figures = np.random.default_rng(1).random(2000)
    sums = replicate_sums(np.arange(2000), np.column_stack([figures, np.ones(2000)]))
    limits = interval(sums[:, 0] / sums[:, 1])
    assert limits is not None
    reach = 1.96 * figures.std() / np.sqrt(2000)
    assert limits == pytest.approx((figures.mean() - reach, figures.mean() + reach), abs=reach / 10)


def test_intervals_cover_the_truth_as_often_as_they_say() -> None:
    rng, covered = np.random.default_rng(2), 0
    for trial in range(200):
        figures = rng.random(100) ** 2
        sums = replicate_sums(np.arange(100) + 1000 * trial, np.column_stack([figures, np.ones(100)]))
        limits = interval(sums[:, 0] / sums[:, 1])
        assert limits is not None
        covered += limits[0] <= 1 / 3 <= limits[1]
    assert 180 <= covered <= 199


def test_replicates_without_anybody_are_left_out_and_limits_rounded() -> None:
    assert interval(np.full(REPLICATES, np.nan)) is None
    assert interval(np.array([np.nan, 1 / 3])) == (0.333333, 0.333333)
