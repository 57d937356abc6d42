"""What is summed over a piece of one row's ratings, compiled by Triton for the device.

A program has one piece, and reads its ratings in order, a few at a time; so no sum depends on what else
the device does. `cofi_dist.kernels.cuda.backend` calls these.

K features, Q rows of P, N ratings; a piece's are first to before last.

    d = p . own + bias, less value - offset where errors are asked for
"""

import triton
import triton.language as tl


@triton.jit
def sum_piece(
    row,
    start,
    other,
    value,
    P,
    offset,
    Z,
    z,
    sums,
    sums_b,
    halves,
    K: tl.constexpr,
    BLOCK_K: tl.constexpr,
    BLOCK_N: tl.constexpr,
    OF_ERRORS: tl.constexpr,
    ADDS: tl.constexpr,
):
    """Of each piece: sums = sum d (p, 1) where it ADDS; halves = 1/2 sum d^2, in float64, OF_ERRORS."""
    piece = tl.program_id(0).to(tl.int64)
    first, last = tl.load(start + piece), tl.load(start + piece + 1)
    r = tl.load(row + piece).to(tl.int64)
    k = tl.arange(0, BLOCK_K)
    own = tl.load(Z + r * K + k, mask=k < K, other=0.0)
    bias = tl.load(z + r)
    total = tl.zeros((BLOCK_N, BLOCK_K), P.dtype.element_ty)
    total_b = tl.zeros((BLOCK_N,), P.dtype.element_ty)
    squares = tl.zeros((BLOCK_N,), tl.float64)
    for at in range(first, last, BLOCK_N):
        n = at + tl.arange(0, BLOCK_N)
        known = n < last
        q = tl.load(other + n, mask=known, other=0).to(tl.int64)
        p = tl.load(P + q[:, None] * K + k[None, :], mask=known[:, None] & (k < K)[None, :], other=0.0)
        d = tl.sum(p * own[None, :], 1) + bias
        if OF_ERRORS:
            d += tl.load(offset + q, mask=known, other=0.0) - tl.load(value + n, mask=known, other=0.0)
        d = tl.where(known, d, 0.0)
        if OF_ERRORS:
            squares += d.to(tl.float64) * d.to(tl.float64)
        if ADDS:
            total += d[:, None] * p
            total_b += d
    if ADDS:
        tl.store(sums + piece * K + k, tl.sum(total, 0), mask=k < K)
        tl.store(sums_b + piece, tl.sum(total_b, 0))
    if OF_ERRORS:
        tl.store(halves + piece, tl.sum(squares, 0) / 2)


@triton.jit
def add_pieces(
    begin,
    sums,
    sums_b,
    halves,
    out,
    out_b,
    half,
    K: tl.constexpr,
    BLOCK_K: tl.constexpr,
    OF_ERRORS: tl.constexpr,
    ADDS: tl.constexpr,
):
    """Each row's pieces, begin_r to before begin_(r + 1), added one after the other."""
    r = tl.program_id(0).to(tl.int64)
    first, last = tl.load(begin + r), tl.load(begin + r + 1)
    k = tl.arange(0, BLOCK_K)
    total = tl.zeros((BLOCK_K,), out.dtype.element_ty)
    # sums over one number, as loops want what they carry to be of one shape
    total_b, squares = tl.zeros((1,), out.dtype.element_ty), tl.zeros((1,), tl.float64)
    one = tl.arange(0, 1)
    for piece in range(first, last):
        if ADDS:
            total += tl.load(sums + piece * K + k, mask=k < K, other=0.0)
            total_b += tl.load(sums_b + piece + one)
        if OF_ERRORS:
            squares += tl.load(halves + piece + one)
    if ADDS:
        tl.store(out + r * K + k, total, mask=k < K)
        tl.store(out_b + r + one, total_b)
    if OF_ERRORS:
        tl.store(half + r + one, squares)
