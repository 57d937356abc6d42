"""How items are spread over lists, in cases whose figures are obvious."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cofi_dist.ranking.exposure import Exposure


def test_obvious_cases() -> None:
    assert Exposure.of(np.zeros(4)) is None
    assert Exposure.of(np.full(4, 3.0)) == Exposure(coverage=1.0, gini=0.0)
    assert Exposure.of(np.array([0.0, 0.0, 0.0, 9.0])) == Exposure(coverage=0.25, gini=0.75)


@given(st.lists(st.integers(0, 9), min_size=1, max_size=12).filter(any))
def test_gini_is_half_the_relative_mean_difference(counts: list[int]) -> None:
    lists = np.array(counts, np.float64)
    difference = np.abs(lists[:, None] - lists).mean()
    found = Exposure.of(lists)
    assert found is not None
    assert found.gini == pytest.approx(difference / (2 * lists.mean()), abs=1e-12)
