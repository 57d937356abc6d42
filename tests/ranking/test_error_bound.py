"""What a product in float32 gets wrong stays within the margins."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from cofi_dist.ranking.error_bound import ItemSizes


@given(st.integers(0, 10**6), st.sampled_from([1e-30, 1e-3, 1.0, 1e3, 1e15]), st.integers(1, 300))
def test_the_errors_of_float32_are_within_half_the_margin(seed: int, size: float, K: int) -> None:
    rng = np.random.default_rng(seed)
    X, w = size * rng.normal(size=(40, K)), rng.normal(size=(3, K))
    offset, b = size * rng.normal(size=40), rng.normal(size=3)
    filtered = w.astype(np.float32) @ X.T.astype(np.float32) + offset.astype(np.float32)
    exact = (w.astype(np.longdouble) @ X.T.astype(np.longdouble)) + offset
    margins = ItemSizes.of(X, offset).margins(w, b, np.float32)
    assert (np.abs(filtered - exact) <= margins[:, None] / 2).all()


def test_what_may_overflow_has_no_margin() -> None:
    X, w, b = np.full((2, 3), 1e20), np.array([[1.0, 0, 0], [1e20, 0, 0], [np.nan, 0, 0]]), np.zeros(3)
    sizes = ItemSizes.of(X, np.zeros(2))
    assert np.isnan(sizes.margins(w, b, np.float32)).tolist() == [False, True, True]
    assert np.isnan(sizes.margins(w, b, np.float64)).tolist() == [False, False, True]
    assert np.isnan(ItemSizes.of(X * np.inf, np.zeros(2)).margins(w, b, np.float64)).all()
