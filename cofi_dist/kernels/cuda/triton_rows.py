"""Multiply rows by rows, or by a matrix, with kernels that Triton compiles for the device.

No sum of a row depends on where the row lies nor on how many there are. V rows, K features; BLOCK_K is the
power of two that K is rounded up to. `cofi_dist.kernels.cuda.rows` launches these kernels.
"""

import triton
import triton.language as tl


@triton.jit
def dot_rows(A, B, dots, K: tl.constexpr, BLOCK_K: tl.constexpr):
    """Return A_r . B_r, a program per row."""
    r = tl.program_id(0).to(tl.int64)
    k = tl.arange(0, BLOCK_K)
    a = tl.load(A + r * K + k, mask=k < K, other=0.0)
    b = tl.load(B + r * K + k, mask=k < K, other=0.0)
    tl.store(dots + r, tl.sum(a * b, 0))


@triton.jit(do_not_specialize=["num_rows"])
def add_gram(
    sums,
    sums_b,
    features,
    bias,
    gram,
    num_rows,
    K: tl.constexpr,
    BLOCK_K: tl.constexpr,
    BLOCK_R: tl.constexpr,
    CONSTANT: tl.constexpr,
):
    """Add gram (features, bias, CONSTANT) to the sums of BLOCK_R rows, one k after the other."""
    r = tl.program_id(0).to(tl.int64) * BLOCK_R + tl.arange(0, BLOCK_R)
    k = tl.arange(0, BLOCK_K)
    here, width = r < num_rows, K + 2
    cells, places = here[:, None] & (k < K)[None, :], r[:, None] * K + k[None, :]
    total = tl.zeros((BLOCK_R, BLOCK_K), sums.dtype.element_ty)
    total_b = tl.zeros((BLOCK_R,), sums.dtype.element_ty)
    for each in range(K):
        z = tl.load(features + r * K + each, mask=here, other=0.0)
        total += z[:, None] * tl.load(gram + each * width + k, mask=k < K, other=0.0)[None, :]
        total_b += z * tl.load(gram + each * width + K)
    z = tl.load(bias + r, mask=here, other=0.0)
    total += z[:, None] * tl.load(gram + K * width + k, mask=k < K, other=0.0)[None, :]
    total_b += z * tl.load(gram + K * width + K)
    if CONSTANT:
        total += CONSTANT * tl.load(gram + (K + 1) * width + k, mask=k < K, other=0.0)[None, :]
        total_b += CONSTANT * tl.load(gram + (K + 1) * width + K)
    tl.store(sums + places, tl.load(sums + places, mask=cells, other=0.0) + total, mask=cells)
    tl.store(sums_b + r, tl.load(sums_b + r, mask=here, other=0.0) + total_b, mask=here)
