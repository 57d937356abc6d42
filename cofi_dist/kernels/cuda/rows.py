"""Multiply rows by rows, or by a matrix, and add rows up, in an order that the device does not choose.

torch and cuBLAS choose the order of their sums by the number of rows, and a rank's number of users depends on
the number of ranks. Here each row is summed in an order that K alone decides, and all items' rows in one that
their number alone decides. V rows, K features.
"""

import torch
import triton
from torch import Tensor

from cofi_dist.kernels.base import Side
from cofi_dist.kernels.cuda import triton_rows

# Numbers that a program works on at once: rows times K, where K is rounded up to a power of two.
TILE = 4096
WARPS = 4
# what loads of several numbers at once need, and what Triton therefore makes a kernel of its own for
ALIGNMENT = 16

# Sums over all items are sums of so many runs of rows, each formed row after row by programs of their own,
# which read some rows at once, and columns of them.
RUNS, ROWS_AT_ONCE, COLUMNS = 256, 8, 32

# Pairs of rows that are multiplied at once.
PAIRS = 2**18


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


def pair_dots(A: Tensor, B: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """Return `A[a] . B[b]` of each pair, (N,), as `cofi_dist.kernels.torch_ops.primitives.pair_dot` does."""
    pairs = zip(torch.split(a, PAIRS), torch.split(b, PAIRS), strict=True)
    dots = [row_dots(A.index_select(0, of_a), B.index_select(0, of_b)) for of_a, of_b in pairs]
    return torch.cat([A.new_empty(0), *dots])


def zero_squares(columns: int, like: Tensor) -> Tensor:
    """Return the sums that `add_squares` adds to, (runs, columns) float64."""
    return torch.zeros(RUNS, columns, dtype=torch.float64, device=like.device)


def add_squares(
    sums: Tensor, rows: Tensor, weight: Tensor | None, *, first: int = 0, num_items: int | None = None
) -> None:
    """Add weight_r rows_rk^2 of a block of items to the sums, in place.

    Args:
        sums: of each run of items, (runs, K); of all blocks before.
        rows: (V, K).
        weight: (V,); None for ones.
        first: the item of the first row.
        num_items: of all blocks; V if there is one block.
    """
    weight = rows.new_ones(len(rows)) if weight is None else weight.contiguous()
    grid = len(sums), triton.cdiv(rows.shape[1], COLUMNS)
    triton_rows.add_squares[grid](sums, rows, weight, *_sizes(rows, first, num_items), **_shape(rows))


def zero_grams(columns: int, like: Tensor) -> Tensor:
    """Return the sums that `add_gram_matrices` adds to, (runs, columns + 2, columns + 2) float64."""
    return torch.zeros(RUNS, columns + 2, columns + 2, dtype=torch.float64, device=like.device)


def add_gram_matrices(
    sums: Tensor, items: Side[Tensor], *, first: int = 0, num_items: int | None = None
) -> None:
    """Add (f, 1, f_b) (f, 1, f_b)^T of a block of items to the sums, in place.

    Args:
        sums: of each run of items, (runs, K + 2, K + 2); of all blocks before.
        items: (V, K) and (V,).
        first: the item of the first row.
        num_items: of all blocks; V if there is one block.
    """
    tiles, rows = triton.cdiv(sums.shape[1], COLUMNS), items.features
    grid = len(sums), tiles, tiles
    triton_rows.add_gram_matrices[grid](sums, *items, *_sizes(rows, first, num_items), **_shape(rows))


def _sizes(rows: Tensor, first: int, num_items: int | None) -> tuple[int, int, int]:
    return first, len(rows), len(rows) if num_items is None else num_items


def _shape(rows: Tensor) -> dict[str, int | bool]:
    shape = {"K": rows.shape[1], "BLOCK": COLUMNS, "AT_ONCE": ROWS_AT_ONCE, "num_warps": 1}
    # multiplication and addition apart, so that a row is added alike wherever a block begins
    return shape | {"enable_fp_fusion": False}


def _block(K: int) -> int:
    return max(16, 1 << (K - 1).bit_length())
