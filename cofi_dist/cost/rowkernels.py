"""The loops over one side's rows, compiled by numba; in each, a row's ratings are read in order.

A row's sums do not depend on the number of threads, nor on which rank has the row. Rows are taken in
the order of `turn`, of which every thread gets an equal run.

R rows of Z, Q rows of P, K features, N ratings; row r's ratings are start[r] to start[r + 1].

    e = value - p . z_r - z_r - offset
"""

import numpy as np
from numba import get_thread_id, njit, prange

# sums may be reordered, so that they are done in vector registers; NaN and infinity stay what they are
ROW = {"fastmath": {"reassoc", "contract", "nsz"}, "error_model": "numpy", "cache": True}
ALL = {**ROW, "parallel": True}


@njit(**ROW)
def _dot(p, own):
    dot = p.dtype.type(0)
    for k in range(own.shape[0]):
        dot += p[k] * own[k]
    return dot


@njit(**ROW)
def _dots(p0, p1, p2, p3, own):
    """P . own of four rows, in one reading of own."""
    d0 = d1 = d2 = d3 = own.dtype.type(0)
    for k in range(own.shape[0]):
        d0 += p0[k] * own[k]
        d1 += p1[k] * own[k]
        d2 += p2[k] * own[k]
        d3 += p3[k] * own[k]
    return d0, d1, d2, d3


@njit(**ROW)
def _add(p0, p1, p2, p3, e0, e1, e2, e3, to):
    """To += e p of four rows, in one reading of to."""
    for k in range(to.shape[0]):
        to[k] += (e0 * p0[k] + e1 * p1[k]) + (e2 * p2[k] + e3 * p3[k])


@njit(**ROW)
def _residual(first, last, other, value, P, offset, own, bias, to):
    """To = sum e p; returns sum e and 1/2 sum e^2."""
    to[:] = 0
    total, squares = P.dtype.type(0), 0.0
    fours = last - (last - first) % 4
    for n in range(first, fours, 4):
        n0, n1, n2, n3 = other[n], other[n + 1], other[n + 2], other[n + 3]
        p0, p1, p2, p3 = P[n0], P[n1], P[n2], P[n3]
        d0, d1, d2, d3 = _dots(p0, p1, p2, p3, own)
        e0 = value[n] - offset[n0] - bias - d0
        e1 = value[n + 1] - offset[n1] - bias - d1
        e2 = value[n + 2] - offset[n2] - bias - d2
        e3 = value[n + 3] - offset[n3] - bias - d3
        _add(p0, p1, p2, p3, e0, e1, e2, e3, to)
        total += (e0 + e1) + (e2 + e3)
        squares += (np.float64(e0) * e0 + np.float64(e1) * e1) + (np.float64(e2) * e2 + np.float64(e3) * e3)
    for n in range(fours, last):
        p = P[other[n]]
        e = value[n] - offset[other[n]] - bias - _dot(p, own)
        for k in range(to.shape[0]):
            to[k] += e * p[k]
        total += e
        squares += np.float64(e) * np.float64(e)
    return total, squares / 2


@njit(**ROW)
def _product(first, last, other, P, own, bias, to):
    """To = sum d p, where d = p . own + bias; returns sum d."""
    to[:] = 0
    total = P.dtype.type(0)
    fours = last - (last - first) % 4
    for n in range(first, fours, 4):
        p0, p1, p2, p3 = P[other[n]], P[other[n + 1]], P[other[n + 2]], P[other[n + 3]]
        d0, d1, d2, d3 = _dots(p0, p1, p2, p3, own)
        d0, d1, d2, d3 = d0 + bias, d1 + bias, d2 + bias, d3 + bias
        _add(p0, p1, p2, p3, d0, d1, d2, d3, to)
        total += (d0 + d1) + (d2 + d3)
    for n in range(fours, last):
        p = P[other[n]]
        d = _dot(p, own) + bias
        for k in range(to.shape[0]):
            to[k] += d * p[k]
        total += d
    return total


@njit(**ALL)
def halves(turn, start, other, value, P, offset, Z, z, half):
    """half_r = 1/2 sum e^2."""
    for at in prange(turn.shape[0]):
        row = turn[at]
        squares = 0.0
        for n in range(start[row], start[row + 1]):
            e = value[n] - offset[other[n]] - z[row] - _dot(P[other[n]], Z[row])
            squares += np.float64(e) * np.float64(e)
        half[row] = squares / 2


@njit(**ALL)
def residuals(turn, start, other, value, P, offset, Z, z, right, right_b, half):
    """right_r = sum e (p, 1), half_r = 1/2 sum e^2."""
    for at in prange(turn.shape[0]):
        row = turn[at]
        right_b[row], half[row] = _residual(
            start[row], start[row + 1], other, value, P, offset, Z[row], z[row], right[row]
        )


@njit(**ALL)
def products(turn, start, other, P, V, v, out, out_b):
    """out_r = sum (v_r . p + v_r) (p, 1): the normal matrix of each row times (V, v)."""
    for at in prange(turn.shape[0]):
        row = turn[at]
        out_b[row] = _product(start[row], start[row + 1], other, P, V[row], v[row], out[row])


@njit(**ROW)
def _inverse(diagonal):
    return 1 / diagonal if diagonal > 0 else diagonal * 0


@njit(**ROW)
def _descend(first, last, other, P, own, scratch, weight, bias, rb, inverse_b, weight_b, steps, tiny):
    """Moves `own`; returns the bias moved, and by how much J fell.

    `scratch` has the residual and the preconditioner, and room for two rows more; it is overwritten.
    """
    K = P.shape[1]
    r, inverse, direction, q = scratch[0], scratch[1], scratch[2], scratch[3]
    direction_b = inverse_b * rb
    rr = rb * direction_b
    for k in range(K):
        direction[k] = inverse[k] * r[k]
        rr += r[k] * direction[k]
    fell, floor = 0.0, rr * tiny
    for _ in range(steps):
        if not rr > floor:
            break
        qb = _product(first, last, other, P, direction, direction_b, q) + weight_b * direction_b
        curvature = direction_b * qb
        for k in range(K):
            q[k] += weight * direction[k]
            curvature += direction[k] * q[k]
        if not curvature > 0:
            break
        step = rr / curvature
        fell += np.float64(step) * np.float64(rr) / 2
        bias += step * direction_b
        rb -= step * qb
        new = rb * inverse_b * rb
        for k in range(K):
            own[k] += step * direction[k]
            r[k] -= step * q[k]
            new += r[k] * inverse[k] * r[k]
        ratio = new / rr
        for k in range(K):
            direction[k] = inverse[k] * r[k] + ratio * direction[k]
        direction_b = inverse_b * rb + ratio * direction_b
        rr = new
    return bias, fell


@njit(**ALL)
def solve(
    turn,
    start,
    other,
    value,
    P,
    offset,
    Z,
    z,
    has_bias,
    weights,
    weight_b,
    mean_square,
    steps,
    tiny,
    scratch,
    half,
    gain,
):
    """Conjugate gradients on each row's least squares, all steps while its ratings are in cache.

    Moves Z, and z where `has_bias`. half_r = 1/2 sum e^2 before; gain_r is by how much the row's part of
    J fell. `scratch` has four rows of K for each thread. A row is done where its squared residual has
    fallen to `tiny` of what it was. `cofi_dist.optim.als.conjugate_gradients` is the same on whole
    matrices.
    """
    for at in prange(turn.shape[0]):
        row = turn[at]
        first, last, weight, bias = start[row], start[row + 1], weights[row], z[row]
        mine = scratch[get_thread_id()]
        r, inverse = mine[0], mine[1]
        rb, half[row] = _residual(first, last, other, value, P, offset, Z[row], bias, r)
        count = P.dtype.type(last - first)
        for k in range(r.shape[0]):
            inverse[k] = _inverse(count * mean_square[k] + weight)
            r[k] -= weight * Z[row, k]
        rb -= weight_b * bias
        inverse_b = _inverse(count + weight_b) if has_bias else P.dtype.type(0)
        bias, gain[row] = _descend(
            first, last, other, P, Z[row], mine, weight, bias, rb, inverse_b, weight_b, steps, tiny
        )
        if has_bias:
            z[row] = bias
