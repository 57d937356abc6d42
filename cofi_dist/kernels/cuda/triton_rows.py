"""Multiply rows by rows, or by a matrix, with kernels that Triton compiles for the device.

No sum of a row depends on where the row lies nor on how many there are. Sums over the rows of all items are
those of runs of rows, and no run's depends on how the items are cut into blocks. V rows, K features; BLOCK_K
is the power of two that K is rounded up to. `cofi_dist.kernels.cuda.rows` launches these kernels.
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


@triton.jit
def rows_of_run(first, rows, num_items):
    """Return this program's run of items, and which rows of a block that begins with `first` it has."""
    run, runs = tl.program_id(0).to(tl.int64), tl.num_programs(0)
    begin, end = run * num_items // runs, (run + 1) * num_items // runs
    return run, tl.maximum(begin - first, 0), tl.minimum(end - first, rows)


@triton.jit(do_not_specialize=["first", "num_rows", "num_items"])
def add_squares(
    sums,
    rows,
    weight,
    first,
    num_rows,
    num_items,
    K: tl.constexpr,
    BLOCK: tl.constexpr,
    AT_ONCE: tl.constexpr,
):
    """Add weight_r rows_rk^2 to each run's sums, in float64, one row after the other; BLOCK columns."""
    run, begin, end = rows_of_run(first, num_rows, num_items)
    k = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    total = tl.load(sums + run * K + k, mask=k < K, other=0.0)
    for start in range(begin, end, AT_ONCE):
        for at in tl.static_range(AT_ONCE):
            r = start + at
            z = tl.load(rows + r * K + k, mask=(k < K) & (r < end), other=0.0).to(tl.float64)
            total += tl.load(weight + r, mask=r < end, other=0.0).to(tl.float64) * (z * z)
    tl.store(sums + run * K + k, total, mask=k < K)


@triton.jit
def extended(features, bias, r, k, known, K: tl.constexpr):
    """Return the columns k of row r of (features, 1, bias), in float64; zeros if it is not known."""
    z = tl.load(features + r * K + k, mask=(k < K) & known, other=0.0).to(tl.float64)
    c = tl.load(bias + r, mask=known, other=0.0).to(tl.float64)
    return tl.where(k == K, tl.where(known, 1.0, 0.0), tl.where(k == K + 1, c, z))


@triton.jit(do_not_specialize=["first", "num_rows", "num_items"])
def add_gram_matrices(
    sums,
    features,
    bias,
    first,
    num_rows,
    num_items,
    K: tl.constexpr,
    BLOCK: tl.constexpr,
    AT_ONCE: tl.constexpr,
):
    """Add (f, 1, f_b) (f, 1, f_b)^T to each run's sums, in float64, one row after the other.

    A program forms BLOCK x BLOCK entries.
    """
    run, begin, end = rows_of_run(first, num_rows, num_items)
    i = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    j = tl.program_id(2) * BLOCK + tl.arange(0, BLOCK)
    size = K + 2
    places = sums + run * size * size + i[:, None] * size + j[None, :]
    here = (i < size)[:, None] & (j < size)[None, :]
    total = tl.load(places, mask=here, other=0.0)
    for start in range(begin, end, AT_ONCE):
        for at in tl.static_range(AT_ONCE):
            r = start + at
            left = extended(features, bias, r, i, r < end, K)
            total += left[:, None] * extended(features, bias, r, j, r < end, K)[None, :]
    tl.store(places, total, mask=here)
