"""Sum over the ratings of one row with kernels that Triton compiles for the device.

A row's ratings are cut into pieces of bounded length. `sum_piece` has one program per piece, `add_pieces`
one program per row. Each program reads its ratings or pieces in order, so no sum depends on what else the
device does. `cofi_dist.kernels.cuda.backend` launches these kernels.

The sums of piece s go to row s of the outputs. Where a row's ratings come in several calls, GOES_ON and
BLOCK_N = 1 let them go to row[s], onto what is there, one rating after the other, so that they are those of
a single call. The dots of AT_ONCE ratings do not wait for one another then.

V rows of the solved side, Q rows of the fixed side, K features, N ratings, H pieces. BLOCK_K is the power of
two that K is rounded up to, BLOCK_N the number of ratings that are read at once.

Piece s has the ratings start[s] <= n < start[s + 1], which belong to row[s].

    d = f . own + bias                     or, if IS_ERROR,
    d = f . own + bias + fixed_bias - value

If HAS_WEIGHTS, rating n has the weight c, and a0 is the weight of unknown pairs. Then

    d = (c - a0) (f . own + bias)          or, if IS_ERROR,
    d = c (s - value) - a0 s               where s = f . own + bias + fixed_bias

VALUE_STRIDE is 0 if one value stands for all of them, and WEIGHT_STRIDE if one weight does.
"""

import triton
import triton.language as tl


@triton.jit
def weighted(
    err, s, n, known, weights, unknown_weight, HAS_WEIGHTS: tl.constexpr, WEIGHT_STRIDE: tl.constexpr
):
    """Return c err - a0 s, and c err^2 - a0 s^2 in float64; without weights err and err^2."""
    # what lies past the end of the piece adds nothing
    err, s = tl.where(known, err, 0.0), tl.where(known, s, 0.0)
    square = err.to(tl.float64) * err.to(tl.float64)
    if HAS_WEIGHTS:
        c, a0 = tl.load(weights + n * WEIGHT_STRIDE, mask=known, other=0.0), tl.load(unknown_weight)
        square = c.to(tl.float64) * square - a0.to(tl.float64) * s.to(tl.float64) * s.to(tl.float64)
        err = c * err - a0 * s
    return err, square


@triton.jit
def terms(
    n,
    end,
    k,
    own,
    bias,
    indices,
    values,
    weights,
    unknown_weight,
    fixed,
    fixed_bias,
    K: tl.constexpr,
    IS_ERROR: tl.constexpr,
    VALUE_STRIDE: tl.constexpr,
    HAS_WEIGHTS: tl.constexpr,
    WEIGHT_STRIDE: tl.constexpr,
):
    """Return f, d and 2 half_n in float64 of the ratings n; zeros from `end` on."""
    known = n < end
    q = tl.load(indices + n, mask=known, other=0).to(tl.int64)  # the fixed side's rows, gathered below
    f = tl.load(fixed + q[:, None] * K + k[None, :], mask=known[:, None] & (k < K)[None, :], other=0.0)
    d = tl.sum(f * own[None, :], 1) + bias
    s = d
    if IS_ERROR:
        offset = tl.load(fixed_bias + q, mask=known, other=0.0)
        s, d = d + offset, d + (offset - tl.load(values + n * VALUE_STRIDE, mask=known, other=0.0))
    d, square = weighted(d, s, n, known, weights, unknown_weight, HAS_WEIGHTS, WEIGHT_STRIDE)
    return f, d, square


@triton.jit
def store_sums(
    row,
    k,
    total,
    total_b,
    squares,
    sums,
    sums_b,
    halves,
    K: tl.constexpr,
    IS_ERROR: tl.constexpr,
    WITH_SUMS: tl.constexpr,
):
    """Add up the lanes' sums, and store them in a row of each output."""
    if WITH_SUMS:
        # -0 + 0 is 0: a sum of -0 would tell whether pieces are added, to a zero, which depends on other rows
        tl.store(sums + row * K + k, tl.sum(total, 0) + 0.0, mask=k < K)
        tl.store(sums_b + row, tl.sum(total_b, 0) + 0.0)
    if IS_ERROR:
        tl.store(halves + row, tl.sum(squares, 0) / 2)


@triton.jit
def sum_piece(
    row,
    start,
    indices,
    values,
    weights,
    unknown_weight,
    fixed,
    fixed_bias,
    solved,
    solved_bias,
    sums,
    sums_b,
    halves,
    K: tl.constexpr,
    BLOCK_K: tl.constexpr,
    BLOCK_N: tl.constexpr,
    AT_ONCE: tl.constexpr,
    GOES_ON: tl.constexpr,
    IS_ERROR: tl.constexpr,
    WITH_SUMS: tl.constexpr,
    VALUE_STRIDE: tl.constexpr,
    HAS_WEIGHTS: tl.constexpr,
    WEIGHT_STRIDE: tl.constexpr,
):
    """Sum d f and d, if WITH_SUMS, and half_n in float64, if IS_ERROR, over the ratings of each piece."""
    piece = tl.program_id(0).to(tl.int64)
    begin, end, r = tl.load(start + piece), tl.load(start + piece + 1), tl.load(row + piece).to(tl.int64)
    k = tl.arange(0, BLOCK_K)
    own, bias = tl.load(solved + r * K + k, mask=k < K, other=0.0), tl.load(solved_bias + r)
    # each of BLOCK_N lanes has sums of its own, which are added up at the end
    total = tl.zeros((BLOCK_N, BLOCK_K), fixed.dtype.element_ty)
    total_b, squares = tl.zeros((BLOCK_N,), fixed.dtype.element_ty), tl.zeros((BLOCK_N,), tl.float64)
    if GOES_ON:
        total += tl.load(sums + r * K + k, mask=k < K, other=0.0)[None, :]
        total_b += tl.load(sums_b + r)
    for first in range(begin, end, BLOCK_N * AT_ONCE):
        for at in tl.static_range(0, BLOCK_N * AT_ONCE, BLOCK_N):
            n = first + at + tl.arange(0, BLOCK_N)
            f, d, square = terms(
                *(n, end, k, own, bias, indices, values, weights, unknown_weight, fixed, fixed_bias),
                *(K, IS_ERROR, VALUE_STRIDE, HAS_WEIGHTS, WEIGHT_STRIDE),
            )
            squares += square
            if WITH_SUMS:
                total += d[:, None] * f
                total_b += d
    store_sums(
        r if GOES_ON else piece, k, total, total_b, squares, sums, sums_b, halves, K, IS_ERROR, WITH_SUMS
    )


@triton.jit
def add_pieces(
    piece_start,
    sums,
    sums_b,
    halves,
    out,
    out_b,
    half,
    K: tl.constexpr,
    BLOCK_K: tl.constexpr,
    IS_ERROR: tl.constexpr,
    WITH_SUMS: tl.constexpr,
):
    """Add up the pieces piece_start[r] <= s < piece_start[r + 1] of row r, one after the other."""
    r = tl.program_id(0).to(tl.int64)
    begin, end = tl.load(piece_start + r), tl.load(piece_start + r + 1)
    k = tl.arange(0, BLOCK_K)
    total = tl.zeros((BLOCK_K,), out.dtype.element_ty)
    # one number each, as vectors of length 1: what a loop carries must keep its shape
    total_b, squares = tl.zeros((1,), out.dtype.element_ty), tl.zeros((1,), tl.float64)
    one = tl.arange(0, 1)
    for piece in range(begin, end):
        if WITH_SUMS:
            total += tl.load(sums + piece * K + k, mask=k < K, other=0.0)
            total_b += tl.load(sums_b + piece + one)
        if IS_ERROR:
            squares += tl.load(halves + piece + one)
    if WITH_SUMS:
        tl.store(out + r * K + k, total, mask=k < K)
        tl.store(out_b + r + one, total_b)
    if IS_ERROR:
        tl.store(half + r + one, squares)
