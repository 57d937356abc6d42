"""What is summed over one row's ratings, compiled by numba; they are read in order.

K features, Q rows of P, N ratings, the row's being first to before last.

    err = p . own + bias + offset - value
"""

import numpy as np

from cofi_dist.cost.compiling import INLINE, ROW, compiled


@compiled(**ROW)
def sort_rows(row, first, last, num_rows, place):
    """Writes to place[first:last] where each rating of first to before last is once they are sorted by row.

    Returns:
        Where each row's begin then, and where the last one's end, (num_rows + 1,).
    """
    start = np.zeros(num_rows + 2, np.int64)
    for n in range(first, last):
        start[row[n] + 2] += 1
    start[0] = start[1] = first
    for r in range(num_rows):
        start[r + 2] += start[r + 1]
    for n in range(first, last):
        place[n] = start[row[n] + 1]
        start[row[n] + 1] += 1
    return start[:-1]


@compiled(**INLINE)
def dot_of(p, own):
    dot = p.dtype.type(0)
    for k in range(own.shape[0]):
        dot += p[k] * own[k]
    return dot


@compiled(**INLINE)
def _dots(p0, p1, p2, p3, own):
    """P . own of four rows, in one reading of own."""
    d0 = d1 = d2 = d3 = own.dtype.type(0)
    for k in range(own.shape[0]):
        d0 += p0[k] * own[k]
        d1 += p1[k] * own[k]
        d2 += p2[k] * own[k]
        d3 += p3[k] * own[k]
    return d0, d1, d2, d3


@compiled(**INLINE)
def _add(p0, p1, p2, p3, e0, e1, e2, e3, to):
    """To += e p of four rows, in one reading of to."""
    for k in range(to.shape[0]):
        to[k] += (e0 * p0[k] + e1 * p1[k]) + (e2 * p2[k] + e3 * p3[k])


@compiled(**INLINE)
def add_gradient(first, last, other, value, P, offset, own, bias, to, err):
    """To += sum err p; returns sum err and 1/2 sum err^2. Keeps `err` where it is not None."""
    total, squares = P.dtype.type(0), 0.0
    fours = last - (last - first) % 4
    for n in range(first, fours, 4):
        n0, n1, n2, n3 = other[n], other[n + 1], other[n + 2], other[n + 3]
        p0, p1, p2, p3 = P[n0], P[n1], P[n2], P[n3]
        d0, d1, d2, d3 = _dots(p0, p1, p2, p3, own)
        e0 = d0 + bias + offset[n0] - value[n]
        e1 = d1 + bias + offset[n1] - value[n + 1]
        e2 = d2 + bias + offset[n2] - value[n + 2]
        e3 = d3 + bias + offset[n3] - value[n + 3]
        if err is not None:
            err[n], err[n + 1], err[n + 2], err[n + 3] = e0, e1, e2, e3
        _add(p0, p1, p2, p3, e0, e1, e2, e3, to)
        total += (e0 + e1) + (e2 + e3)
        squares += (np.float64(e0) * e0 + np.float64(e1) * e1) + (np.float64(e2) * e2 + np.float64(e3) * e3)
    for n in range(fours, last):
        p = P[other[n]]
        e = dot_of(p, own) + bias + offset[other[n]] - value[n]
        if err is not None:
            err[n] = e
        for k in range(to.shape[0]):
            to[k] += e * p[k]
        total += e
        squares += np.float64(e) * np.float64(e)
    return total, squares / 2


@compiled(**INLINE)
def add_product(first, last, other, P, own, bias, to):
    """To += sum d p, where d = p . own + bias; returns sum d."""
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
        d = dot_of(p, own) + bias
        for k in range(to.shape[0]):
            to[k] += d * p[k]
        total += d
    return total


@compiled(**INLINE)
def add_sum(first, last, other, place, err, P, to):
    """To += sum err[place] p; returns sum err[place]."""
    total = P.dtype.type(0)
    fours = last - (last - first) % 4
    for n in range(first, fours, 4):
        e0, e1, e2, e3 = err[place[n]], err[place[n + 1]], err[place[n + 2]], err[place[n + 3]]
        _add(P[other[n]], P[other[n + 1]], P[other[n + 2]], P[other[n + 3]], e0, e1, e2, e3, to)
        total += (e0 + e1) + (e2 + e3)
    for n in range(fours, last):
        p, e = P[other[n]], err[place[n]]
        for k in range(to.shape[0]):
            to[k] += e * p[k]
        total += e
    return total


@compiled(**INLINE)
def carry(r, adds, to, out, out_b, spare, spare_b):
    """A step of a tree of sums: adds what waits on `adds` levels to out_r, which then waits on level `to`.

    Level 0 is out itself, level l > 0 is spare[l - 1].
    """
    for level in range(adds):
        for k in range(out.shape[1]):
            out[r, k] = spare[level, r, k] + out[r, k]
        out_b[r] = spare_b[level, r] + out_b[r]
    if to > 0:
        for k in range(out.shape[1]):
            spare[to - 1, r, k] = out[r, k]
            out[r, k] = 0
        spare_b[to - 1, r] = out_b[r]
        out_b[r] = 0


@compiled(**INLINE)
def _inverse(diagonal):
    return 1 / diagonal if diagonal > 0 else diagonal * 0


@compiled(**INLINE)
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
        q[:] = 0
        qb = add_product(first, last, other, P, direction, direction_b, q) + weight_b * direction_b
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


@compiled(**INLINE)
def solve_row(first, last, other, value, P, offset, own, bias, weight, settings, scratch):
    """Conjugate gradients on the row's least squares; moves `own`.

    `settings` says whether the bias is solved for, its weight, the mean square of P's columns, the number of
    steps, and to what of itself the squared residual falls before the row is done. `scratch` has four rows
    of K.

    Returns:
        The new bias, 1/2 sum err^2 before, and by how much the row's part of J fell.
    """
    has_bias, weight_b, mean_square, steps, tiny = settings
    r, inverse = scratch[0], scratch[1]
    r[:] = 0
    rb, half = add_gradient(first, last, other, value, P, offset, own, bias, r, None)
    count = P.dtype.type(last - first)
    for k in range(r.shape[0]):
        inverse[k] = _inverse(count * mean_square[k] + weight)
        r[k] = -(r[k] + weight * own[k])
    rb = -(rb + weight_b * bias)
    inverse_b = _inverse(count + weight_b) if has_bias else P.dtype.type(0)
    moved, gain = _descend(
        first, last, other, P, own, scratch, weight, bias, rb, inverse_b, weight_b, steps, tiny
    )
    return (moved if has_bias else bias), half, gain
