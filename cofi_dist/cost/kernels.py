"""The two primitives under everything sparse.

M rows of A, U rows of B, K features, N known cells.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

PairDot = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]

# Cells whose gathered rows stay in a core's cache (CPU) or fill a GPU (else).
CPU_CHUNK, GPU_CHUNK = 4096, 2**18

# What compiling takes, and what it saves a rating and feature: it pays where a run is long enough for the
# product to exceed the former. A model, not a measurement: three times 8 bytes that an H100 need not move.
COMPILE_SECONDS = 20.0
SECONDS_SAVED = 8e-12


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


def choose_pair_dot(
    num_ratings: int, num_features: int, epochs: int, device: torch.device, dtype: torch.dtype
) -> tuple[PairDot, str]:
    """The faster form of `pair_dot` for this run, and a line that says which and why.

    The compiled form reads the rows where they lie and needs Triton (on the CPU, where runs take the
    compiled loops, a C++ compiler). It is tried on a small problem first.
    """
    saved = num_ratings * num_features * epochs * SECONDS_SAVED
    if device.type == "mps":
        return pair_dot, "pair_dot: eager (no compiled form on mps)"
    if saved < COMPILE_SECONDS:
        return pair_dot, f"pair_dot: eager (compiling would save about {saved:.0f} s of this run)"
    try:
        compiled = _compile(num_features, device, dtype)
    except Exception as error:  # the compiler's own exceptions have no common base
        reason = str(getattr(error, "inner_exception", error)).strip().split("\n")[0]
        return pair_dot, f"pair_dot: eager (compiling failed: {reason[:80]})"
    return compiled, "pair_dot: compiled"


def _compile(num_features: int, device: torch.device, dtype: torch.dtype) -> PairDot:
    compiled = torch.compile(_gathered_dot, dynamic=True, fullgraph=True)

    def compiled_or_tiny(A: Tensor, B: Tensor, a: Tensor, b: Tensor) -> Tensor:
        if min(len(A), len(B), len(a)) < 2:  # torch.compile would make a kernel for each such size
            return pair_dot(A, B, a, b)
        for matrix in (A, B):
            # a fixed inner loop, twice as fast as one whose length is known at run time only
            torch._dynamo.mark_static(matrix, 1)
        dots_N: Tensor = compiled(A, B, a, b)
        return dots_N

    # two index tensors: given the same one twice, torch.compile would build on their being the same
    a, b = (torch.arange(3, dtype=torch.int32, device=device) for _ in range(2))
    A, B = (torch.ones(n, num_features, dtype=dtype, device=device) for n in (3, 4))
    compiled_or_tiny(A, B, a, b)
    return compiled_or_tiny


def _gathered_dot(A: Tensor, B: Tensor, a: Tensor, b: Tensor) -> Tensor:
    return (A[a] * B[b]).sum(-1)
