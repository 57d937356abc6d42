"""Define the two primitives of sparse computations, in torch's own operations on any device.

M rows of A, U rows of B, K features, N ratings.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

# Ratings whose gathered rows stay in a core's cache on a CPU, or keep a GPU busy.
CPU_CHUNK, GPU_CHUNK = 4096, 2**18


def pair_dot(A: Tensor, B: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """Return `A[a] . B[b]` for each rating: a sampled matrix product, in chunks that fit the cache.

    Args:
        A: (M, K).
        B: (U, K).
        a: row of A of each rating, (N,) int32.
        b: row of B of each rating, (N,) int32.

    Returns:
        (N,).
    """
    chunk = CPU_CHUNK if A.device.type == "cpu" else GPU_CHUNK
    dots_N = A.new_empty(len(a))
    # the memory that every chunk's rows are gathered into
    rows_A, rows_B = A.new_empty(min(chunk, len(a)), A.shape[1]), B.new_empty(min(chunk, len(a)), B.shape[1])
    for start in range(0, len(a), chunk):
        stop = min(start + chunk, len(a))
        left, right = rows_A[: stop - start], rows_B[: stop - start]
        torch.index_select(A, 0, a[start:stop], out=left)
        torch.index_select(B, 0, b[start:stop], out=right)
        torch.sum(left.mul_(right), -1, out=dots_N[start:stop])
    return dots_N


def weighted_row_sum(v: Tensor, B: Tensor, b: Tensor, indptr: Tensor) -> Tensor:
    """Return, for each row, the sum of `v * B[b]` over its ratings, in the ratings' order.

    Args:
        v: weight of each rating, (N,).
        B: (U, K).
        b: row of B of each rating, (N,) int32.
        indptr: row r has ratings indptr[r] <= n < indptr[r + 1], (rows + 1,) int32.

    Returns:
        (rows, K); zeros for a row without ratings.
    """
    return F.embedding_bag(b, B, indptr, mode="sum", per_sample_weights=v, include_last_offset=True)
