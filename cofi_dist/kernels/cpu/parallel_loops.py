"""Loop over all rows of one side on several threads, compiled by numba.

Every loop takes the same operands:

    threads     their number
    vectors     of a row, from `simd.vectors_of`
    schedule    which segments are summed, and in which order
    ratings     `Csr`: ratings.indptr[s] to ratings.indptr[s + 1] are the ratings of segment s
    solved      `Side`: the rows that are summed over, or solved for
    fixed       `Side`: the rows of the other side, to which ratings.indices point

A row's sums depend neither on the number of threads nor on which rank has the row.
V rows of `solved`, Q rows of `fixed`, K features, N ratings, B blocks.

    err = f . own + own_bias + fixed.bias - value
"""

from typing import NamedTuple

import numpy as np
from llvmlite import ir
from numba import prange, types
from numba.core import cgutils
from numba.extending import intrinsic
from numpy.typing import NDArray

from cofi_dist.kernels.cpu.jit import inlined, parallel, row_kernel
from cofi_dist.kernels.cpu.partial_sums import initial_sums, merge_partial_sums, prefetch_partial_sums
from cofi_dist.kernels.cpu.row_kernels import (
    accumulate_gradient,
    accumulate_normal_product,
    row_half_squared_error,
    solve_row,
)
from cofi_dist.kernels.cpu.simd import load_row, store_row


class ErrorSums(NamedTuple):
    """Hold the sums over each row's ratings.

    Attributes:
        features: sum err f, (V, K).
        bias: sum err, (V,).
        half_squared_errors: 1/2 sum err^2 of each block, (B, V) float64.
    """

    features: NDArray[np.floating]
    bias: NDArray[np.floating]
    half_squared_errors: NDArray[np.float64]


@intrinsic
def _fetch_and_increment(_typing, counters, index):
    """Return counters[index] and increment it, in one atomic operation."""

    def generate(context, builder, signature, arguments):
        kind = signature.args[0]
        array = context.make_array(kind)(context, builder, arguments[0])
        at = context.cast(builder, arguments[1], signature.args[1], types.intp)
        where = cgutils.get_item_pointer(context, builder, kind, array, [at], wraparound=False)
        return builder.atomic_rmw("add", where, ir.Constant(ir.IntType(64), 1), "monotonic")

    return types.int64(counters, index), generate


@inlined
def _claim_chunk(schedule, tile):
    """Return a chunk of the tile that no other thread gets, or -1 if none is left."""
    chunk = _fetch_and_increment(schedule.next_chunk, tile)
    return chunk if chunk < schedule.tile_chunks[tile + 1] else -1


@row_kernel
def _half_squared_errors(chunk, vectors, schedule, ratings, solved, fixed, half):
    for s in range(schedule.chunk_start[chunk], schedule.chunk_stop[chunk]):
        r = schedule.row[s]
        own = load_row(solved.features, r, vectors)
        half[r] += row_half_squared_error(s, ratings, own, solved.bias[r], fixed, vectors)


@parallel
def half_squared_errors(threads, vectors, schedule, ratings, solved, fixed, half):
    """Add each row's 1/2 sum err^2 to half_r, (V,) float64."""
    for tile in range(schedule.tile_start, schedule.tile_stop):
        for _ in prange(threads):
            chunk = _claim_chunk(schedule, tile)
            while chunk >= 0:
                _half_squared_errors(chunk, vectors, schedule, ratings, solved, fixed, half)
                chunk = _claim_chunk(schedule, tile)


@row_kernel
def _error_gradients(chunk, vectors, schedule, ratings, solved, fixed, sums, plan):
    for s in range(schedule.chunk_start[chunk], schedule.chunk_stop[chunk]):
        r = schedule.row[s]
        own, own_bias = load_row(solved.features, r, vectors), solved.bias[r]
        prefetch_partial_sums(s, plan, vectors)
        total, total_bias = initial_sums(s, r, sums, plan, vectors)
        zero = sums.bias.dtype.type(0)
        total, error_sum, half = accumulate_gradient(s, ratings, own, own_bias, fixed, total, zero, vectors)
        sums.half_squared_errors[plan.block[s], r] += half
        merge_partial_sums(total, total_bias + error_sum, s, r, sums, plan, vectors)


@parallel
def error_gradients(threads, vectors, schedule, ratings, solved, fixed, sums, plan):
    """Sum err (f, 1) over each row's ratings, and add 1/2 sum err^2 to each block's, into `ErrorSums`.

    The rows' sums are merged as the `MergePlan` says.
    """
    for tile in range(schedule.tile_start, schedule.tile_stop):
        for _ in prange(threads):
            chunk = _claim_chunk(schedule, tile)
            while chunk >= 0:
                _error_gradients(chunk, vectors, schedule, ratings, solved, fixed, sums, plan)
                chunk = _claim_chunk(schedule, tile)


@row_kernel
def _add_gradients(chunk, vectors, schedule, ratings, solved, fixed, sums):
    for s in range(schedule.chunk_start[chunk], schedule.chunk_stop[chunk]):
        r = schedule.row[s]
        own, own_bias = load_row(solved.features, r, vectors), solved.bias[r]
        total = load_row(sums.features, r, vectors)
        total, total_bias, _ = accumulate_gradient(
            s, ratings, own, own_bias, fixed, total, sums.bias[r], vectors
        )
        store_row(total, sums.features, r, vectors)
        sums.bias[r] = total_bias


@parallel
def add_gradients(threads, vectors, schedule, ratings, solved, fixed, sums):
    """Add err (f, 1) of each row's ratings, one after the other, to a `Side` of sums.

    If a row's ratings come in several calls, its sums therefore are those of a single call with all of them.
    """
    for tile in range(schedule.tile_start, schedule.tile_stop):
        for _ in prange(threads):
            chunk = _claim_chunk(schedule, tile)
            while chunk >= 0:
                _add_gradients(chunk, vectors, schedule, ratings, solved, fixed, sums)
                chunk = _claim_chunk(schedule, tile)


@row_kernel
def _normal_products(chunk, vectors, schedule, ratings, directions, fixed, sums, plan):
    for s in range(schedule.chunk_start[chunk], schedule.chunk_stop[chunk]):
        r = schedule.row[s]
        direction, direction_b = load_row(directions.features, r, vectors), directions.bias[r]
        prefetch_partial_sums(s, plan, vectors)
        total, total_bias = initial_sums(s, r, sums, plan, vectors)
        total, product_b = accumulate_normal_product(
            s, ratings, direction, direction_b, fixed, total, vectors
        )
        merge_partial_sums(total, total_bias + product_b, s, r, sums, plan, vectors)


@parallel
def normal_products(threads, vectors, schedule, ratings, directions, fixed, sums, plan):
    """Multiply the normal matrix of each row's ratings, sum (f, 1) (f, 1)^T, by the row's direction.

    `directions` is a `Side` with a row per row of the solved side; `sums` is one too, and is overwritten.
    """
    for tile in range(schedule.tile_start, schedule.tile_stop):
        for _ in prange(threads):
            chunk = _claim_chunk(schedule, tile)
            while chunk >= 0:
                _normal_products(chunk, vectors, schedule, ratings, directions, fixed, sums, plan)
                chunk = _claim_chunk(schedule, tile)


@row_kernel
def _solve_rows(chunk, vectors, schedule, ratings, solved, fixed, ridge, gram, half, decrease):
    for s in range(schedule.chunk_start[chunk], schedule.chunk_stop[chunk]):
        r = schedule.row[s]
        state, half[r] = solve_row(s, r, ratings, solved, fixed, ridge, gram, vectors)
        decrease[r] = state.decrease
        store_row(state.features, solved.features, r, vectors)
        if ridge.has_bias:
            solved.bias[r] = state.bias


@parallel
def solve_rows(threads, vectors, schedule, ratings, solved, fixed, ridge, gram, half, decrease):
    """Take all steps of conjugate gradients on one row after the other, while its ratings are in cache.

    Moves `solved`. Each row is one segment; `ridge` is a `Ridge`, and `gram` is `GramRows`, or None.
    `cofi_dist.optim.conjugate_gradient` does the same on whole matrices, for rows whose ratings are on
    several ranks.

    `half` is overwritten by 1/2 sum err^2 of each row before, and `decrease` by how much the row's part of J
    fell, (V,) float64 each.
    """
    for tile in range(schedule.tile_start, schedule.tile_stop):
        for _ in prange(threads):
            chunk = _claim_chunk(schedule, tile)
            while chunk >= 0:
                _solve_rows(chunk, vectors, schedule, ratings, solved, fixed, ridge, gram, half, decrease)
                chunk = _claim_chunk(schedule, tile)
