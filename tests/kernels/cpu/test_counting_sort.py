"""The counting sort, held to numpy's stable sort."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from cofi_dist.kernels.cpu.counting_sort import sort_by_row


@given(st.lists(st.integers(0, 6), max_size=30), st.data())
def test_a_range_is_sorted_stably_and_the_rest_is_left_alone(rows: list[int], data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(rows)))
    stop = data.draw(st.integers(start, len(rows)))
    row, place = np.array(rows, np.int32), np.full(len(rows), -1)
    indptr = sort_by_row(row, start, stop, 7, place)
    order = start + np.argsort(row[start:stop], kind="stable")
    want = np.full(len(rows), -1)
    want[order] = np.arange(start, stop)
    assert place.tolist() == want.tolist()
    counts = np.bincount(row[start:stop], minlength=7)
    assert indptr.tolist() == [start, *(start + np.cumsum(counts))]
