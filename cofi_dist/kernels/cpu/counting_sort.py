"""Sort ratings by row with a counting sort, compiled by numba."""

import numpy as np

from cofi_dist.kernels.cpu.jit import CONTRACT, compiled


@compiled(**CONTRACT)
def sort_by_row(row, start, stop, num_rows, place):
    """Write to place[start:stop] where each rating of that range goes when the range is sorted by row.

    The sort is stable: equal rows keep their order. It takes O(stop - start + num_rows) steps.

    Returns:
        The first place of each row, and the end of the last row, (num_rows + 1,).
    """
    # indptr[r + 2] counts row r, so that after the running sum indptr[r + 1] is the first place of row r
    indptr = np.zeros(num_rows + 2, np.int64)
    for n in range(start, stop):
        indptr[row[n] + 2] += 1
    indptr[0] = indptr[1] = start
    for r in range(num_rows):
        indptr[r + 2] += indptr[r + 1]
    # each rating takes its row's next free place; at the end, indptr[r + 1] is where row r ends
    for n in range(start, stop):
        place[n] = indptr[row[n] + 1]
        indptr[row[n] + 1] += 1
    return indptr[:-1]
