"""The loops over rows of factors alone, no ratings, compiled by numba; each row as if it were the only one.

R rows of Z, K features.
"""

import numpy as np
from numba import prange

from cofi_dist.kernels.cpu.jit import ALL, ROW, compiled
from cofi_dist.kernels.cpu.row_kernels import over_of, step_of
from cofi_dist.kernels.cpu.simd import dot, put, row_at


@compiled(**ROW)
def _descend(first, last, factors, residual, directions, products, rows, settings, lanes):
    Z, z = factors
    R, rb = residual
    D, db = directions
    Q, qb = products
    counts, weights, rr, floor, gain = rows
    has_bias, weight_b, mean_square = settings
    for r in range(first, last):
        if not rr[r] > floor[r]:
            continue
        over, over_b = over_of(counts[r], row_at(mean_square, 0, lanes), weights[r], weight_b, has_bias)
        direction = row_at(D, r, lanes)
        own, moved, left, rb[r], direction, db[r], rr[r], fell, goes = step_of(
            row_at(Z, r, lanes),
            z[r],
            row_at(R, r, lanes),
            rb[r],
            direction,
            db[r],
            rr[r],
            row_at(Q, r, lanes) + weights[r] * direction,
            qb[r] + weight_b * db[r],
            over,
            over_b,
        )
        gain[r] += fell
        put(own, Z, r, lanes)
        if has_bias:
            z[r] = moved
        put(left, R, r, lanes)
        put(direction, D, r, lanes)
        if not goes:
            rr[r] = 0


@compiled(**ALL)
def descend(threads, lanes, factors, residual, directions, products, rows, settings):
    """A step of conjugate gradients on every row; `products` are those of `directions` with the ratings.

    Moves `factors` (Z, z), `residual` (R, rb) and `directions` (D, db), (rows, K) and (rows,). `rows` has
    counts, weights, the preconditioned residual's square, where that is rounding, by how much J fell so
    far; `settings` whether the bias is solved for, its weight and the mean square of P's columns, (1, K).
    """
    Z, _ = factors
    each = -(-Z.shape[0] // threads)
    for thread in prange(threads):
        first, last = thread * each, min((thread + 1) * each, Z.shape[0])
        _descend(first, last, factors, residual, directions, products, rows, settings, lanes)


@compiled(**ROW)
def _descent(first, last, factors, residual, directions, rows, settings, lanes):
    Z, z = factors
    R, rb = residual
    D, db = directions
    counts, weights, rr, floor, gain = rows
    has_bias, weight_b, mean_square, tiny = settings
    minus = Z.dtype.type(-1)
    for r in range(first, last):
        over, over_b = over_of(counts[r], row_at(mean_square, 0, lanes), weights[r], weight_b, has_bias)
        left = minus * (row_at(R, r, lanes) + weights[r] * row_at(Z, r, lanes))
        rb[r] = -(rb[r] + weight_b * z[r])
        direction, db[r] = over * left, over_b * rb[r]
        rr[r] = dot(left, direction) + rb[r] * db[r]
        floor[r], gain[r] = rr[r] * tiny, 0
        put(left, R, r, lanes)
        put(direction, D, r, lanes)


@compiled(**ALL)
def descent(threads, lanes, factors, residual, directions, rows, settings):
    """Before the first of such steps: `residual` has the sums of err (p, 1), and is the residual then."""
    Z, _ = factors
    each = -(-Z.shape[0] // threads)
    for thread in prange(threads):
        first, last = thread * each, min((thread + 1) * each, Z.shape[0])
        _descent(first, last, factors, residual, directions, rows, settings, lanes)


@compiled(**ALL)
def squares(first, last, Z, weight, out):
    """out_b += sum weight_r Z_r^2 over the rows from first_b to before last_b, each in float64."""
    for b in prange(first.shape[0]):
        for r in range(first[b], last[b]):
            for k in range(Z.shape[1]):
                out[b, k] += np.float64(weight[r]) * (np.float64(Z[r, k]) * np.float64(Z[r, k]))


# every rounding is IEEE's: an entry is moved alike wherever it lies
@compiled(parallel=True, nogil=True, error_model="numpy")
def adam(threads, factor, grad, mean, square, decay, settings):
    """One step of Adam on the flat arrays, in one pass; the gradient has decay x factor added."""
    keep, keep_square, size, root, eps = settings
    one = factor.dtype.type(1)
    each = -(-factor.shape[0] // threads)
    for thread in prange(threads):
        mine = slice(thread * each, (thread + 1) * each)
        p, d, m, v = factor[mine], grad[mine], mean[mine], square[mine]
        for n in range(p.shape[0]):
            g = d[n] + decay * p[n]
            m[n] += (one - keep) * (g - m[n])
            v[n] = keep_square * v[n] + (one - keep_square) * (g * g)
            p[n] -= size * m[n] / (np.sqrt(v[n]) / root + eps)
