"""Multiply rows by the Gram matrix of the other side, compiled by numba: each row by itself.

The Gram matrix stands for the sum over all pairs, known and unknown, which needs no pair. The score of a row
z and a fixed row f is (z, z_b, 1) . (f, 1, f_b). So a0/2 sum s^2 over all f is the quadratic form of
(z, z_b, 1) with the matrix a0 sum (f, 1, f_b) (f, 1, f_b)^T. K features.
"""

from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir
from numba import prange, types
from numba.core import cgutils
from numba.extending import intrinsic, overload
from numpy.typing import NDArray

from cofi_dist.kernels.cpu import simd
from cofi_dist.kernels.cpu.jit import parallel, row_kernel
from cofi_dist.kernels.cpu.simd import INT32, dot, load_row, store_row

FloatArray = NDArray[np.floating]


class GramRows(NamedTuple):
    """Hold the Gram matrix, times a0, as the loops read it.

    Attributes:
        features: its first K columns: rows of f, of 1 and of f_b, (K + 2, K).
        diagonal: of its first K rows, (1, K).
        bias_bias: its entry of 1 and 1.
        constant_bias: its entry of f_b and 1.
    """

    features: FloatArray
    diagonal: FloatArray
    bias_bias: float | np.floating
    constant_bias: float | np.floating


def gram_rows(gram: FloatArray) -> GramRows:
    """Return a Gram matrix, (K + 2, K + 2), in the form that the loops read."""
    K = len(gram) - 2
    features = np.ascontiguousarray(gram[:, :K])
    return GramRows(features, np.ascontiguousarray(np.diag(gram)[None, :K]), gram[K, K], gram[K + 1, K])


@intrinsic
def _times_matrix(_typing: Any, row: Any, matrix: Any, vectors: Any) -> Any:
    """Return sum_k row_k matrix[k] over the K numbers of the row, one k after the other, as a Row."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        value, array, used = arguments
        vector, size = simd._vector(row.dtype), row.dtype.bitwidth // 8
        # the row goes to the stack, from which its numbers are read one by one
        spilled = cgutils.alloca_once_value(builder, value)
        numbers = builder.bitcast(spilled, vector.element.as_pointer())
        sums = [cgutils.alloca_once_value(builder, ir.Constant(vector, None)) for _ in range(row.count)]
        used_lanes = context.cast(builder, builder.extract_value(used, 1), types.int64, types.intp)
        K = builder.add(used_lanes, context.get_constant(types.intp, (row.count - 1) * row.width))
        mask = simd._mask(builder, used, row.width)
        for each in sums:
            builder.store(ir.Constant(vector, None), each)
        with cgutils.for_range(builder, K) as loop:
            number = simd.splat(builder, builder.load(builder.gep(numbers, [loop.index])), vector)
            for part, each in enumerate(sums):
                where = simd._place(context, builder, signature.args[1], array, loop.index, part, row.dtype)
                if part < row.count - 1:
                    column = builder.load(where, align=size)
                else:
                    given = [where, INT32(size), mask, ir.Constant(vector, None)]
                    column = simd._masked(
                        builder, f"llvm.masked.load.{simd._suffix(vector)}.p0", vector, given
                    )
                product = builder.fmul(number, column, flags=simd.FAST)
                builder.store(builder.fadd(builder.load(each), product, flags=simd.FAST), each)
        return simd._made(builder, [builder.load(each) for each in sums])

    return row(row, simd._rows_of(matrix), vectors), generate


def add_gram(gram: Any, own: Any, own_b: Any, constant: Any, total: Any, total_b: Any, vectors: Any) -> Any:
    """Return total + gram (own, own_b, constant), features and bias; unchanged if `gram` is None."""
    raise NotImplementedError("only compiled loops call it")


def add_gram_diagonal(gram: Any, diagonal: Any, diagonal_b: Any, vectors: Any) -> Any:
    """Return a normal matrix's diagonal, features and bias, plus that of the Gram matrix, if there is one."""
    raise NotImplementedError("only compiled loops call it")


@overload(add_gram, inline="always")
def _implement_add_gram(gram, own, own_b, constant, total, total_b, vectors):
    if isinstance(gram, types.NoneType):
        return lambda gram, own, own_b, constant, total, total_b, vectors: (total, total_b)

    def implement(gram, own, own_b, constant, total, total_b, vectors):
        K = gram.features.shape[1]
        of_bias = load_row(gram.features, K, vectors)
        total = total + _times_matrix(own, gram.features, vectors)
        total = total + own_b * of_bias + constant * load_row(gram.features, K + 1, vectors)
        total_b += dot(of_bias, own) + own_b * gram.bias_bias + constant * gram.constant_bias
        return total, total_b

    return implement


@overload(add_gram_diagonal, inline="always")
def _implement_add_gram_diagonal(gram, diagonal, diagonal_b, vectors):
    if isinstance(gram, types.NoneType):
        return lambda gram, diagonal, diagonal_b, vectors: (diagonal, diagonal_b)

    def implement(gram, diagonal, diagonal_b, vectors):
        return diagonal + load_row(gram.diagonal, 0, vectors), diagonal_b + gram.bias_bias

    return implement


@row_kernel
def _add_to_rows(start, stop, vectors, sums, rows, gram, constant):
    for r in range(start, stop):
        total, total_b = load_row(sums.features, r, vectors), sums.bias[r]
        own, own_b = load_row(rows.features, r, vectors), rows.bias[r]
        total, total_b = add_gram(gram, own, own_b, constant, total, total_b, vectors)
        store_row(total, sums.features, r, vectors)
        sums.bias[r] = total_b


@parallel
def add_gram_products(threads, vectors, sums, rows, gram, constant):
    """Add gram (features, bias, constant) of each row to its sums, in place.

    Args:
        threads: number of threads.
        vectors: of a row, from `vectors_of`.
        sums: a `Side`, is added to.
        rows: a `Side`.
        gram: `GramRows`.
        constant: 1 for factors, 0 for directions.
    """
    num_rows = rows.features.shape[0]
    share = -(-num_rows // threads)
    for thread in prange(threads):
        start, stop = thread * share, min((thread + 1) * share, num_rows)
        _add_to_rows(start, stop, vectors, sums, rows, gram, constant)
