"""What is summed over one row's ratings, compiled by numba; they are read in order.

K features, Q rows of P, N ratings, the row's being first to before last. Rows of K numbers are those of
`cofi_dist.kernels.cpu.simd`: they stay in registers while all ratings go by, of each of which p is read once.

    err = p . own + bias + offset - value
"""

import numpy as np

from cofi_dist.kernels.cpu.cg import over_of, step_of
from cofi_dist.kernels.cpu.jit import inlined
from cofi_dist.kernels.cpu.simd import dot, prefetch, row_at, zeros

# So many ratings ahead, p is asked for: about as long as memory takes to answer.
AHEAD = 8


@inlined
def half_of(first, last, other, value, P, offset, own, bias, lanes):
    """1/2 sum err^2."""
    squares, end = 0.0, other.shape[0] - 1
    for n in range(first, last):
        prefetch(P, other[min(n + AHEAD, end)], lanes)
        q = other[n]
        e = dot(row_at(P, q, lanes), own) + bias + offset[q] - value[n]
        squares += np.float64(e) * np.float64(e)
    return squares / 2


@inlined
def add_gradient(first, last, other, value, P, offset, own, bias, to, lanes):
    """To + sum err p; sum err; 1/2 sum err^2."""
    total, squares, end = P.dtype.type(0), 0.0, other.shape[0] - 1
    for n in range(first, last):
        prefetch(P, other[min(n + AHEAD, end)], lanes)
        q = other[n]
        p = row_at(P, q, lanes)
        e = dot(p, own) + bias + offset[q] - value[n]
        to = to + e * p
        total += e
        squares += np.float64(e) * np.float64(e)
    return to, total, squares / 2


@inlined
def add_product(first, last, other, P, own, bias, to, lanes):
    """To + sum d p, where d = p . own + bias; sum d."""
    total, end = P.dtype.type(0), other.shape[0] - 1
    for n in range(first, last):
        prefetch(P, other[min(n + AHEAD, end)], lanes)
        p = row_at(P, other[n], lanes)
        d = dot(p, own) + bias
        to = to + d * p
        total += d
    return to, total


@inlined
def solve_row(first, last, other, value, P, offset, own, bias, weight, settings, lanes):
    """Conjugate gradients on the row's least squares.

    `settings` says whether the bias is solved for, its weight, the mean square of P's columns, (1, K), the
    number of steps, and to what of itself the squared residual falls before the row is done.

    Returns:
        The new row and bias, 1/2 sum err^2 before, and by how much the row's part of J fell.
    """
    has_bias, weight_b, mean_square, steps, tiny = settings
    sums, rb, half = add_gradient(first, last, other, value, P, offset, own, bias, zeros(own), lanes)
    count, minus = P.dtype.type(last - first), P.dtype.type(-1)
    over, over_b = over_of(count, row_at(mean_square, 0, lanes), weight, weight_b, has_bias)
    r, rb = minus * (sums + weight * own), -(rb + weight_b * bias)
    direction, direction_b, moved = over * r, over_b * rb, bias
    rr = dot(r, direction) + rb * direction_b
    fell, floor = 0.0, rr * tiny
    for _ in range(steps):
        if not rr > floor:
            break
        q, qb = add_product(first, last, other, P, direction, direction_b, weight * direction, lanes)
        qb += weight_b * direction_b
        own, moved, r, rb, direction, direction_b, rr, gain, goes = step_of(
            own, moved, r, rb, direction, direction_b, rr, q, qb, over, over_b
        )
        fell += gain
        if not goes:
            break
    return own, (moved if has_bias else bias), half, fell
