"""What was predicted beside what was given, against the same means, bin by bin."""

import numpy as np

from cofi_dist.report.calibration import NUM_BINS, Calibration, calibration_sums


def test_means_are_those_of_the_ratings_of_each_bin() -> None:
    rng = np.random.default_rng(0)
    predicted, actual = rng.uniform(1, 5, 500), rng.integers(1, 6, 500).astype(np.float64)
    half = [calibration_sums(predicted[k::2], actual[k::2], 1, 5) for k in range(2)]
    found = Calibration.of_sums(half[0] + half[1])
    edges = np.linspace(1, 5, NUM_BINS + 1)
    groups = [np.flatnonzero((predicted >= low) & (predicted < low + 4 / NUM_BINS)) for low in edges[:-1]]
    groups = [group for group in groups if len(group)]
    assert found.count.tolist() == list(map(len, groups))
    np.testing.assert_allclose(found.predicted, [predicted[group].mean() for group in groups])
    np.testing.assert_allclose(found.actual, [actual[group].mean() for group in groups])
    errors = [actual[group].std(ddof=1) / np.sqrt(len(group)) for group in groups]
    np.testing.assert_allclose(found.error, errors)


def test_the_ends_of_the_scale_and_a_scale_of_one_value_have_bins() -> None:
    found = Calibration.of_sums(calibration_sums(np.array([1.0, 5.0]), np.array([2.0, 5.0]), 1, 5))
    assert found.count.tolist() == [1, 1]
    assert np.isnan(found.error).all()
    assert found.mean_gap == 0.5
    same = Calibration.of_sums(calibration_sums(np.full(3, 4.0), np.full(3, 4.0), 4, 4))
    assert (same.count.tolist(), same.mean_gap) == ([3], 0)
