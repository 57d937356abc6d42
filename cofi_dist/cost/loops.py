"""The loops over all rows of one side, compiled by numba.

A row's sums depend neither on the number of threads nor on which rank has the row. Threads take chunks of
segments (`cofi_dist.cost.segments`) one after the other, block by block.

R rows of Z, Q rows of P, K features, N ratings; n of segment s are start[s] to before start[s + 1].

    err = p . z_r + z_r + offset - value
"""

import numpy as np
from llvmlite import ir
from numba import prange, types
from numba.core import cgutils
from numba.extending import intrinsic

from cofi_dist.cost.compiling import ALL, ROW, compiled
from cofi_dist.cost.rowkernels import add_gradient, add_product, add_sum, dot_of, solve_row


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
def halves(threads, row, start, first, last, block, next_, other, value, P, offset, Z, z, half):
    """half_r += 1/2 sum err^2."""
    for b in range(block.shape[0] - 1):
        for _ in prange(threads):
            while True:
                at = _take(next_, b)
                if at >= block[b + 1]:
                    break
                _halves(first[at], last[at], row, start, other, value, P, offset, Z, z, half)


@compiled(**ROW)
def _gradients(first, last, row, start, other, value, P, offset, Z, z, out, out_b, half, err):
    for s in range(first, last):
        r = row[s]
        total, squares = add_gradient(
            start[s], start[s + 1], other, value, P, offset, Z[r], z[r], out[r], err
        )
        out_b[r] += total
        half[r] += squares


@compiled(**ALL)
def gradients(
    threads, row, start, first, last, block, next_, other, value, P, offset, Z, z, out, out_b, half, err
):
    """out_r += sum err (p, 1), half_r += 1/2 sum err^2; keeps err, (N,), where it is not None."""
    for b in range(block.shape[0] - 1):
        for _ in prange(threads):
            while True:
                at = _take(next_, b)
                if at >= block[b + 1]:
                    break
                _gradients(
                    first[at], last[at], row, start, other, value, P, offset, Z, z, out, out_b, half, err
                )


@compiled(**ROW)
def _sums(first, last, row, start, other, place, err, P, out, out_b):
    for s in range(first, last):
        r = row[s]
        out_b[r] += add_sum(start[s], start[s + 1], other, place, err, P, out[r])


@compiled(**ALL)
def sums(threads, row, start, first, last, block, next_, other, place, err, P, out, out_b):
    """out_r += sum err[place] (p, 1)."""
    for b in range(block.shape[0] - 1):
        for _ in prange(threads):
            while True:
                at = _take(next_, b)
                if at >= block[b + 1]:
                    break
                _sums(first[at], last[at], row, start, other, place, err, P, out, out_b)


@compiled(**ROW)
def _products(first, last, row, start, other, P, V, v, out, out_b):
    for s in range(first, last):
        r = row[s]
        out_b[r] += add_product(start[s], start[s + 1], other, P, V[r], v[r], out[r])


@compiled(**ALL)
def products(threads, row, start, first, last, block, next_, other, P, V, v, out, out_b):
    """out_r += sum (v_r . p + v_r) (p, 1): the normal matrix of each row times (V, v)."""
    for b in range(block.shape[0] - 1):
        for _ in prange(threads):
            while True:
                at = _take(next_, b)
                if at >= block[b + 1]:
                    break
                _products(first[at], last[at], row, start, other, P, V, v, out, out_b)


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
    row,
    start,
    first,
    last,
    block,
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
    """Conjugate gradients on each row's least squares, all steps while its ratings are in cache; one block.

    Moves Z, and z where it is solved for. told[0] = 1/2 sum err^2 before; told[1] is by how much the row's
    part of J fell. `per` has four rows of K for each thread. `cofi_dist.optim.als.conjugate_gradients` is
    the same on whole matrices.
    """
    for b in range(block.shape[0] - 1):
        for thread in prange(threads):
            while True:
                at = _take(next_, b)
                if at >= block[b + 1]:
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
