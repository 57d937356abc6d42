"""Multiply rows by rows, or by a matrix, so that a row's result does not depend on the other rows.

torch and cuBLAS choose the order of their sums by the number of rows, and a rank's number of users depends on
the number of ranks. Here each row is summed in an order that K alone decides. V rows, K features.
"""

import triton
from torch import Tensor

from cofi_dist.kernels.base import Side
from cofi_dist.kernels.cuda import triton_rows

# Numbers that a program works on at once: rows times K, where K is rounded up to a power of two.
TILE = 4096
WARPS = 4
# what loads of several numbers at once need, and what Triton therefore makes a kernel of its own for
ALIGNMENT = 16


def aligned(tensor: Tensor) -> Tensor:
    """Return a tensor that starts where an allocation does, so that the same kernel reads it on all ranks."""
    return tensor.clone() if tensor.data_ptr() % ALIGNMENT else tensor


def row_dots(A: Tensor, B: Tensor) -> Tensor:
    """Return A_r . B_r of each row: (V, K), (V, K) -> (V,)."""
    rows, K = A.shape
    dots = A.new_empty(rows)
    if rows:
        triton_rows.dot_rows[rows,](aligned(A), aligned(B), dots, K=K, BLOCK_K=_block(K), num_warps=1)
    return dots


def add_gram_products(sums: Side[Tensor], rows: Side[Tensor], gram: Tensor, *, constant: float) -> None:
    """Add gram (features, bias, constant) of each row to its sums, in place.

    Args:
        sums: (V, K) and (V,); are added to.
        rows: (V, K) and (V,).
        gram: symmetric, (K + 2, K + 2), in the order (features, 1, bias) of the other side's rows.
        constant: 1 for factors, 0 for directions.
    """
    num_rows, K = rows.features.shape
    if not num_rows:
        return
    block_k = _block(K)
    block_r = max(1, TILE // block_k)
    results = aligned(sums.features), aligned(sums.bias)
    operands = *map(aligned, rows), aligned(gram)
    shape = {"K": K, "BLOCK_K": block_k, "BLOCK_R": block_r, "CONSTANT": constant, "num_warps": WARPS}
    triton_rows.add_gram[triton.cdiv(num_rows, block_r),](*results, *operands, num_rows, **shape)
    for result, given in zip(results, sums, strict=True):
        if result is not given:
            given.copy_(result)


def _block(K: int) -> int:
    return max(16, 1 << (K - 1).bit_length())
