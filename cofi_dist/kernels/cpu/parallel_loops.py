"""The loops over all rows of one side, compiled by numba.

A row's sums depend neither on the number of threads nor on which rank has the row. Threads take chunks of
segments (`cofi_dist.kernels.cpu.schedule`) one after the other, tile by tile, from tile `begin` to before
`stop`.

R rows of Z, Q rows of P, K features, N ratings; n of segment s are start[s] to before start[s + 1].

    err = p . Z_r + z_r + offset - value
"""

from llvmlite import ir
from numba import prange, types
from numba.core import cgutils
from numba.extending import intrinsic

from cofi_dist.kernels.cpu.jit import parallel, row_kernel
from cofi_dist.kernels.cpu.partial_sums import ask_ahead, begun, carry
from cofi_dist.kernels.cpu.row_kernels import add_gradient, add_product, half_of, solve_row
from cofi_dist.kernels.cpu.simd import put, row_at


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


@row_kernel
def _halves(first, last, row, start, ratings, factors, half, lanes):
    other, value = ratings
    P, offset, Z, z = factors
    for s in range(first, last):
        r = row[s]
        own = row_at(Z, r, lanes)
        half[r] += half_of(start[s], start[s + 1], other, value, P, offset, own, z[r], lanes)


@parallel
def halves(threads, begin, stop, row, start, first, last, tile, next_, lanes, ratings, factors, half):
    """half_r += 1/2 sum err^2.

    `ratings` are other and value, `factors` P, offset, Z and z; `lanes` those of a row.
    """
    for t in range(begin, stop):
        for _ in prange(threads):
            while True:
                at = _take(next_, t)
                if at >= tile[t + 1]:
                    break
                _halves(first[at], last[at], row, start, ratings, factors, half, lanes)


@row_kernel
def _gradients(first, last, row, start, ratings, factors, sums, tree, lanes):
    other, value = ratings
    P, offset, Z, z = factors
    out, out_b, half = sums
    begins, adds, to, slot, block, spare, spare_b, levels = tree
    for s in range(first, last):
        r = row[s]
        own = row_at(Z, r, lanes)
        ask_ahead(adds[s], to[s], slot[s], spare, levels, lanes)
        so_far, so_far_b = begun(begins[s], out, out_b, r, lanes)
        so_far, total, squares = add_gradient(
            start[s], start[s + 1], other, value, P, offset, own, z[r], so_far, lanes
        )
        half[block[s], r] += squares
        carry(so_far, so_far_b + total, r, adds[s], to[s], slot[s], out, out_b, spare, spare_b, levels, lanes)


@parallel
def gradients(
    threads, begin, stop, row, start, first, last, tile, next_, lanes, ratings, factors, sums, tree
):
    """out_r = sum err (p, 1), half[block]_r += 1/2 sum err^2.

    `sums` are out, out_b and half. `tree` has, for each segment, whether it begins anew, what
    `rowkernels.carry` does after it and where, and its block; then what waits, and on how many levels. The
    rest as for `halves`.
    """
    for t in range(begin, stop):
        for _ in prange(threads):
            while True:
                at = _take(next_, t)
                if at >= tile[t + 1]:
                    break
                _gradients(first[at], last[at], row, start, ratings, factors, sums, tree, lanes)


@row_kernel
def _products(first, last, row, start, other, factors, sums, tree, lanes):
    P, V, v = factors
    out, out_b = sums
    begins, adds, to, slot, _, spare, spare_b, levels = tree
    for s in range(first, last):
        r = row[s]
        own = row_at(V, r, lanes)
        ask_ahead(adds[s], to[s], slot[s], spare, levels, lanes)
        so_far, so_far_b = begun(begins[s], out, out_b, r, lanes)
        so_far, total = add_product(start[s], start[s + 1], other, P, own, v[r], so_far, lanes)
        carry(so_far, so_far_b + total, r, adds[s], to[s], slot[s], out, out_b, spare, spare_b, levels, lanes)


@parallel
def products(threads, begin, stop, row, start, first, last, tile, next_, lanes, other, factors, sums, tree):
    """out_r = sum (v_r . p + v_r) (p, 1): the normal matrix of each row times (V, v).

    `factors` are P, V and v, `sums` out and out_b; the rest as for `gradients`.
    """
    for t in range(begin, stop):
        for _ in prange(threads):
            while True:
                at = _take(next_, t)
                if at >= tile[t + 1]:
                    break
                _products(first[at], last[at], row, start, other, factors, sums, tree, lanes)


@row_kernel
def _solve(first, last, row, start, ratings, factors, weights, settings, told, lanes):
    other, value = ratings
    P, offset, Z, z = factors
    half, gain = told
    for s in range(first, last):
        r = row[s]
        own, z[r], half[r], gain[r] = solve_row(
            start[s],
            start[s + 1],
            other,
            value,
            P,
            offset,
            row_at(Z, r, lanes),
            z[r],
            weights[r],
            settings,
            lanes,
        )
        put(own, Z, r, lanes)


@parallel
def solve(threads, begin, stop, row, start, first, last, tile, next_, lanes, ratings, factors, rest):
    """Conjugate gradients on each row's least squares, all steps while its ratings are in cache; one tile.

    Moves Z, and z where it is solved for. told[0] = 1/2 sum err^2 before; told[1] is by how much the row's
    part of J fell. `cofi_dist.optim.als.conjugate_gradients` is the same on whole matrices. `rest` is the
    rows' weights, `rowkernels.solve_row`'s settings, and told.
    """
    weights, settings, told = rest
    for t in range(begin, stop):
        for _ in prange(threads):
            while True:
                at = _take(next_, t)
                if at >= tile[t + 1]:
                    break
                _solve(first[at], last[at], row, start, ratings, factors, weights, settings, told, lanes)
