"""The loops over all rows of one side, compiled by numba.

A row's sums depend neither on the number of threads nor on which rank has the row. Threads take chunks of
segments (`cofi_dist.cost.segments`) one after the other, tile by tile, from tile `begin` to before `stop`.

R rows of Z, Q rows of P, K features, N ratings; n of segment s are start[s] to before start[s + 1].

    err = p . z_r + z_r + offset - value
"""

import numpy as np
from llvmlite import ir
from numba import prange, types
from numba.core import cgutils
from numba.extending import intrinsic

from cofi_dist.cost.compiling import ALL, ROW, compiled
from cofi_dist.cost.rowkernels import add_gradient, add_product, add_sum, carry, dot_of, solve_row


@intrinsic
def _take(_typing, counters, at):
    """counters[at], which is one more then; no two threads get the same."""

    def generate(context, builder, signature, arguments):
        kind = signature.args[0]
        array = context.make_array(kind)(context, builder, arguments[0])
        at = context.cast(builder, arguments[1], signature.args[1], types.intp)
        where = cgutils.get_item_pointer(context, builder, kind, array, [at], wraparound=False)
        return builder.atomic_rmw("add", where, ir.Constant(ir.IntType(64), 1), "monotonic")

    return types.int64(counters, at), generate


@compiled(**ROW)
def _halves(first, last, row, start, other, value, P, offset, Z, z, half):
    for s in range(first, last):
        r = row[s]
        squares = 0.0
        for n in range(start[s], start[s + 1]):
            e = dot_of(P[other[n]], Z[r]) + z[r] + offset[other[n]] - value[n]
            squares += np.float64(e) * np.float64(e)
        half[r] += squares / 2


@compiled(**ALL)
def halves(threads, begin, stop, row, start, first, last, tile, next_, other, value, P, offset, Z, z, half):
    """half_r += 1/2 sum err^2."""
    for t in range(begin, stop):
        for _ in prange(threads):
            while True:
                at = _take(next_, t)
                if at >= tile[t + 1]:
                    break
                _halves(first[at], last[at], row, start, other, value, P, offset, Z, z, half)


@compiled(**ROW)
def _gradients(first, last, row, start, ratings, factors, sums, err, tree):
    other, value = ratings
    P, offset, Z, z = factors
    out, out_b, half = sums
    adds, to, spare, spare_b = tree
    for s in range(first, last):
        r = row[s]
        total, squares = add_gradient(
            start[s], start[s + 1], other, value, P, offset, Z[r], z[r], out[r], err
        )
        out_b[r] += total
        half[r] += squares
        carry(r, adds, to, out, out_b, spare, spare_b)


@compiled(**ALL)
def gradients(threads, begin, stop, row, start, first, last, tile, next_, ratings, factors, sums, err, tree):
    """out_r += sum err (p, 1), half[block]_r += 1/2 sum err^2; keeps err, (N,), where it is not None.

    `ratings` are other and value, `factors` P, offset, Z and z, `sums` out, out_b and half. `tree` has,
    for each tile, what `rowkernels.carry` does after it, and its block; and what waits, (L, R, K), (L, R).
    """
    out, out_b, half = sums
    adds, to, block, spare, spare_b = tree
    for t in range(begin, stop):
        of_tile = out, out_b, half[block[t]]
        after = adds[t], to[t], spare, spare_b
        for _ in prange(threads):
            while True:
                at = _take(next_, t)
                if at >= tile[t + 1]:
                    break
                _gradients(first[at], last[at], row, start, ratings, factors, of_tile, err, after)


@compiled(**ROW)
def _sums(first, last, row, start, other, place, err, P, out, out_b):
    for s in range(first, last):
        r = row[s]
        out_b[r] += add_sum(start[s], start[s + 1], other, place, err, P, out[r])


@compiled(**ALL)
def sums(threads, begin, stop, row, start, first, last, tile, next_, other, place, err, P, out, out_b):
    """out_r += sum err[place] (p, 1)."""
    for t in range(begin, stop):
        for _ in prange(threads):
            while True:
                at = _take(next_, t)
                if at >= tile[t + 1]:
                    break
                _sums(first[at], last[at], row, start, other, place, err, P, out, out_b)


@compiled(**ROW)
def _products(first, last, row, start, other, P, V, v, out, out_b, tree):
    adds, to, spare, spare_b = tree
    for s in range(first, last):
        r = row[s]
        out_b[r] += add_product(start[s], start[s + 1], other, P, V[r], v[r], out[r])
        carry(r, adds, to, out, out_b, spare, spare_b)


@compiled(**ALL)
def products(threads, begin, stop, row, start, first, last, tile, next_, other, P, V, v, out, out_b, tree):
    """out_r += sum (v_r . p + v_r) (p, 1): the normal matrix of each row times (V, v)."""
    adds, to, _, spare, spare_b = tree
    for t in range(begin, stop):
        after = adds[t], to[t], spare, spare_b
        for _ in prange(threads):
            while True:
                at = _take(next_, t)
                if at >= tile[t + 1]:
                    break
                _products(first[at], last[at], row, start, other, P, V, v, out, out_b, after)


@compiled(**ROW)
def _solve(first, last, row, start, other, value, P, offset, Z, z, weights, settings, scratch, half, gain):
    for s in range(first, last):
        r = row[s]
        z[r], half[r], gain[r] = solve_row(
            start[s], start[s + 1], other, value, P, offset, Z[r], z[r], weights[r], settings, scratch
        )


@compiled(**ALL)
def solve(
    threads,
    begin,
    stop,
    row,
    start,
    first,
    last,
    tile,
    next_,
    other,
    value,
    P,
    offset,
    Z,
    z,
    weights,
    settings,
    per,
    told,
):
    """Conjugate gradients on each row's least squares, all steps while its ratings are in cache; one tile.

    Moves Z, and z where it is solved for. told[0] = 1/2 sum err^2 before; told[1] is by how much the row's
    part of J fell. `per` has four rows of K for each thread. `cofi_dist.optim.als.conjugate_gradients` is
    the same on whole matrices.
    """
    for t in range(begin, stop):
        for thread in prange(threads):
            while True:
                at = _take(next_, t)
                if at >= tile[t + 1]:
                    break
                _solve(
                    first[at],
                    last[at],
                    row,
                    start,
                    other,
                    value,
                    P,
                    offset,
                    Z,
                    z,
                    weights,
                    settings,
                    per[thread],
                    told[0],
                    told[1],
                )


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
