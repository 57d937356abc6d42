"""Splits by time: the newest ratings are held out, and ties stay."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from cofi_dist.config import SplitSection
from cofi_dist.data.preparation import spool
from cofi_dist.data.preparation.time_cutoffs import _cutoff
from tests.support.prepared import parts_of, prepared
from tests.support.ratings_files import pairs_of, random_table, save


@pytest.mark.parametrize("fraction", [0.05, 0.3, 0.8])
@pytest.mark.parametrize("spool_rows", [20, 2**20])
def test_by_time_the_newest_are_held_out_and_ties_stay(
    fraction: float, spool_rows: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spool, "SPOOL_ROWS", spool_rows)
    table = random_table()
    times = sorted(table["timestamp"], reverse=True)
    # the earliest time after which come at most `fraction`
    cutoff = min(t for t in times if sum(x > t for x in times) <= round(fraction * len(times)))
    splits = {
        "test": SplitSection(by="time", fraction=fraction),
        "validation": SplitSection(by="time", fraction=0.5),
    }
    with prepared(save(table, tmp_path / "r.csv"), **splits) as stored:
        parts = parts_of(stored)
    assert parts["test"] == pairs_of(table.filter(pl.col("timestamp") > cutoff))
    rest = table.filter(pl.col("timestamp") <= cutoff)
    second = min(t for t in rest["timestamp"] if (rest["timestamp"] > t).sum() <= round(0.5 * len(rest)))
    assert parts["validation"] == pairs_of(rest.filter(pl.col("timestamp") > second))


TIMES = st.floats(allow_nan=False, allow_infinity=False) | st.integers(-2, 3).map(float)


@given(st.lists(TIMES, min_size=1, max_size=30), st.floats(0.01, 0.99))
@example([-1.5e308, 0.0, 1.5e308], 0.4)  # whose span is no float64
@example([1e300] + [float(t) for t in range(20)], 0.3)  # an outlier
@example([-0.0, 0.0, 5e-324, -5e-324], 0.5)
@example([1.0, 2.0], 0.9)  # nearly all
def test_the_cutoff_of_any_times_leaves_at_most_the_fraction_after_it(
    times: list[float], fraction: float
) -> None:
    cutoff = _cutoff(lambda: iter([np.array(times[::2]), np.array(times[1::2])]), fraction)
    may_follow = min(round(fraction * len(times)), len(times) - 1)
    assert cutoff == min(t for t in times if sum(x > t for x in times) <= may_follow)
