"""Cut rows into batches that refer to a bounded number of rows of the other side, compiled by numba."""

import numpy as np

from cofi_dist.kernels.cpu.jit import CONTRACT, compiled


@compiled(**CONTRACT)
def cut_into_batches(indptr, indices, num_others, most):
    """Return the first row of each batch, and the number of rows, (batches + 1,).

    Args:
        indptr: where each row's entries start, and where the last row's end, (V + 1,).
        indices: row of the other side of each entry, (N,).
        num_others: rows of the other side.
        most: of them, that the rows of a batch refer to; a row that refers to more is a batch by itself.
    """
    num_rows = indptr.shape[0] - 1
    # the last batch that referred to each row of the other side
    batch_of = np.full(num_others, -1, np.int64)
    cuts = np.zeros(num_rows + 2, np.int64)
    batch, found = 0, 0
    for r in range(num_rows):
        new = 0
        for n in range(indptr[r], indptr[r + 1]):
            if batch_of[indices[n]] != batch:
                batch_of[indices[n]] = batch
                new += 1
        if found + new > most and cuts[batch] < r:
            batch, found, new = batch + 1, 0, 0
            cuts[batch] = r
            for n in range(indptr[r], indptr[r + 1]):
                if batch_of[indices[n]] != batch:
                    batch_of[indices[n]] = batch
                    new += 1
        found += new
    cuts[batch + 1] = num_rows
    return cuts[: batch + 2]
