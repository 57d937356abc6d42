"""What is summed over one row's ratings, compiled by numba; they are read in order.

K features, Q rows of P, N ratings, the row's being first to before last. Rows of K numbers are those of
`cofi_dist.kernels.cpu.simd`: they stay in registers while all ratings go by, of each of which p is read once.

    err = p . own + bias + offset - value
"""

import numpy as np

from cofi_dist.kernels.cpu.jit import INLINE, ROW, compiled
from cofi_dist.kernels.cpu.simd import dot, inverse, prefetch, put, row_at, zeros, zeros_if

# So many ratings ahead, p is asked for: about as long as memory takes to answer.
AHEAD = 8


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
def half_of(first, last, other, value, P, offset, own, bias, lanes):
    """1/2 sum err^2."""
    squares, end = 0.0, other.shape[0] - 1
    for n in range(first, last):
        prefetch(P, other[min(n + AHEAD, end)], lanes)
        q = other[n]
        e = dot(row_at(P, q, lanes), own) + bias + offset[q] - value[n]
        squares += np.float64(e) * np.float64(e)
    return squares / 2


@compiled(**INLINE)
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


@compiled(**INLINE)
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


@compiled(**INLINE)
def begun(begins, out, out_b, r, lanes):
    """What a segment's sums begin with: zeros, or what the row's last segment left."""
    return zeros_if(begins, row_at(out, r, lanes)), out_b.dtype.type(0) if begins else out_b[r]


@compiled(**INLINE)
def carry(sums, sums_b, r, adds, to, slot, out, out_b, spare, spare_b, levels, lanes):
    """A step of a tree of sums: what waits on each level that is a bit of `adds` is added to the row's sums.

    Level l of L is spare[slot L + l - 1], and spare_b, where the sums wait then; level 0 is out_r and out_b.
    """
    if levels:
        sums = sums + zeros(sums)  # -0 would tell that no block without ratings was added
        at, level = slot * levels, slot * levels + to - 1
        while adds:
            if adds & 1:
                sums = row_at(spare, at, lanes) + sums
                sums_b = spare_b[at] + sums_b
            adds >>= 1
            at += 1
        if to:
            put(sums, spare, level, lanes)
            spare_b[level] = sums_b
            return
    put(sums, out, r, lanes)
    out_b[r] = sums_b


@compiled(**INLINE)
def ask_ahead(adds, to, slot, spare, levels, lanes):
    """Ask for what `carry` will want after the segment."""
    if levels:
        at = slot * levels
        if to:
            prefetch(spare, at + to - 1, lanes)
        while adds:
            if adds & 1:
                prefetch(spare, at, lanes)
            adds >>= 1
            at += 1


@compiled(**ROW)
def plan_carries(row, block, waiting, begins, adds, to):
    """Which sums `carry` adds after each segment, (S,), and on what level the sum waits then, (S,).

    A leaf of the tree is a block in which the row has ratings; the others would add zeros. With a row's last
    segment of a block ends a leaf, and with it the largest branch that the row's next block is not in.

    `row` and `block` are each segment's, (S,); the blocks count from the branch's first, and ascend for each
    row. `waiting` holds each row's levels as bits, (R,), zeros as `adds` and `to` are. `begins` tells which
    segments are the first of their block, (S,).
    """
    last = np.full(waiting.shape[0], -1, np.int64)
    for s in range(row.shape[0]):
        r = row[s]
        before = last[r]
        last[r] = s
        begins[s] = before < 0 or block[before] != block[s]
        if before >= 0 and begins[s]:
            differ, level = block[before] ^ block[s], 0
            while differ >> (level + 1):
                level += 1
            below = (1 << level) - 1
            adds[before], to[before] = waiting[r] & below, level + 1
            waiting[r] = waiting[r] & ~below | 1 << level
    for r in range(waiting.shape[0]):
        if last[r] >= 0:
            adds[last[r]] = waiting[r]


@compiled(**INLINE)
def _inverse(diagonal):
    return 1 / diagonal if diagonal >= 2.0**-126 else diagonal * 0


@compiled(**INLINE)
def over_of(count, mean_square, weight, weight_b, has_bias):
    """The preconditioner of a row and of its bias: 1 / the diagonal, as it is on average."""
    over_b = _inverse(count + weight_b) if has_bias else count * 0
    return inverse(weight + count * mean_square), over_b


@compiled(**INLINE)
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


@compiled(**INLINE)
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
