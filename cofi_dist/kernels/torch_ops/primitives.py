"""The two primitives under everything sparse, by torch's own operations on any device.

M rows of A, U rows of B, K features, N known cells.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

# Cells whose gathered rows stay in a core's cache (CPU) or fill a GPU (else).
CPU_CHUNK, GPU_CHUNK = 4096, 2**18


def pair_dot(A: Tensor, B: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """`A[a] . B[b]` for each known cell: a sampled matrix product, in chunks that fit the cache.

    Args:
        A: (M, K).
        B: (U, K).
        a: row of A of each cell, (N,) int32.
        b: row of B of each cell, (N,) int32.

    Returns:
        (N,).
    """
    chunk = CPU_CHUNK if A.device.type == "cpu" else GPU_CHUNK
    dots_N = A.new_empty(len(a))
    rows_A, rows_B = A.new_empty(min(chunk, len(a)), A.shape[1]), B.new_empty(min(chunk, len(a)), B.shape[1])
    for at in range(0, len(a), chunk):
        end = min(at + chunk, len(a))
        left, right = rows_A[: end - at], rows_B[: end - at]
        torch.index_select(A, 0, a[at:end], out=left)
        torch.index_select(B, 0, b[at:end], out=right)
        torch.sum(left.mul_(right), -1, out=dots_N[at:end])
    return dots_N


def weighted_row_sum(v: Tensor, B: Tensor, b: Tensor, start: Tensor) -> Tensor:
    """For each row, the sum of `v * B[b]` over its known cells, in the cells' order.

    Args:
        v: weight of each cell, (N,).
        B: (U, K).
        b: row of B of each cell, (N,) int32.
        start: row r's cells are start[r] to start[r + 1], (rows + 1,) int32.

    Returns:
        (rows, K); zeros for a row without cells.
    """
    return F.embedding_bag(b, B, start, mode="sum", per_sample_weights=v, include_last_offset=True)
