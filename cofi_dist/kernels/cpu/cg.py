"""Conjugate gradients on the least squares of each row, compiled by numba.

R rows of Z, K features.
"""

import numpy as np
from numba import prange

from cofi_dist.kernels.cpu.jit import inlined, parallel, row_kernel
from cofi_dist.kernels.cpu.simd import dot, inverse, put, row_at


@inlined
def _inverse(diagonal):
    return 1 / diagonal if diagonal >= 2.0**-126 else diagonal * 0


@inlined
def over_of(count, mean_square, weight, weight_b, has_bias):
    """The preconditioner of a row and of its bias: 1 / the diagonal, as it is on average."""
    over_b = _inverse(count + weight_b) if has_bias else count * 0
    return inverse(weight + count * mean_square), over_b


@inlined
def step_of(own, bias, r, rb, direction, direction_b, rr, q, qb, over, over_b):
    """A step along the direction, whose product with the normal matrix is q.

    Returns:
        The row and the bias, their residual, the next direction, the preconditioned residual's square, by
        how much J fell, and whether there was a step to take.
    """
    curvature = dot(direction, q) + direction_b * qb
    if not curvature > 0:
        return own, bias, r, rb, direction, direction_b, rr, 0.0, False
    step = rr / curvature
    own, bias = own + step * direction, bias + step * direction_b
    r, rb = r - step * q, rb - step * qb
    new = dot(r, over * r) + rb * over_b * rb
    ratio = new / rr
    direction, direction_b = over * r + ratio * direction, over_b * rb + ratio * direction_b
    return own, bias, r, rb, direction, direction_b, new, np.float64(step) * np.float64(rr) / 2, True


@row_kernel
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


@parallel
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


@row_kernel
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


@parallel
def descent(threads, lanes, factors, residual, directions, rows, settings):
    """Before the first of such steps: `residual` has the sums of err (p, 1), and is the residual then."""
    Z, _ = factors
    each = -(-Z.shape[0] // threads)
    for thread in prange(threads):
        first, last = thread * each, min((thread + 1) * each, Z.shape[0])
        _descent(first, last, factors, residual, directions, rows, settings, lanes)
