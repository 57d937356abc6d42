"""Hold rows of a matrix as vectors in the processor's registers, in loops that numba compiles.

A row of K numbers is a fixed number of vectors of 512 bits: for example, 100 numbers in float32 are 7 vectors
of 16. LLVM maps them to the widest vectors of the processor. The lanes of the last vector beyond K are zero.
`vectors` says how many vectors a row has and how many lanes of the last one are used. The number of vectors
is part of its type, so the loops are compiled once per number.

    x = load_row(F, q, vectors)     from memory; zeros(x) has the same shape
    x + y, x - y, x * y, a * x      as numpy's
    dot(x, y), sum of products      inverse(x), 1 / x where x > 0, else 0
    store_row(x, Z, r, vectors)     to memory
"""

import operator
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.errors import TypingError
from numba.extending import intrinsic, models, overload, register_model
from numpy.typing import NDArray

BITS = 512
# A product and a sum may be rounded as one (FMA). Nothing else may change: the order of sums is the one
# written here, however often LLVM optimises the code. Code from the cache has been optimised once more.
FAST = ("contract",)
INT32 = ir.IntType(32)
Vectors = tuple[NDArray[np.bytes_], int]


@cache
def vectors_of(K: int, itemsize: int) -> Vectors:
    """Return how many vectors a row of K numbers of `itemsize` bytes has, and the lanes used of the last one.

    The number of vectors is encoded in the type of an empty array, "S7" for 7 vectors, because that name goes
    into the symbols of the compiled functions. A structured dtype would go in as a number that every process
    counts anew, and of two cached functions with the same symbol only one is ever called.
    """
    width = BITS // (8 * itemsize)
    count = -(-K // width)
    return np.empty(0, f"S{count}"), K - (count - 1) * width


def _count(vectors: Any) -> int:
    """Return the number of vectors, which is in the type."""
    count: int = vectors[0].dtype.count
    return count


class Row(types.Type):  # type: ignore[misc]
    """Describe a row to numba: `count` vectors of `dtype`."""

    def __init__(self, dtype: types.Float, count: int) -> None:
        self.dtype, self.count, self.width = dtype, count, BITS // dtype.bitwidth
        super().__init__(name=f"Row({dtype}, {count})")


def _rows_of(matrix: Any) -> Any:
    """Return the type of a matrix, after checking that each of its rows is contiguous."""
    if matrix.layout != "C" or matrix.ndim != 2:
        raise TypingError(f"only matrices in C order have rows to load, not {matrix}")
    return matrix


def _vector(dtype: types.Float) -> ir.VectorType:
    return ir.VectorType(ir.FloatType() if dtype.bitwidth == 32 else ir.DoubleType(), BITS // dtype.bitwidth)


@register_model(Row)
class _RowModel(models.PrimitiveModel):  # type: ignore[misc]
    def __init__(self, dmm: Any, fe_type: Row) -> None:
        super().__init__(dmm, fe_type, ir.ArrayType(_vector(fe_type.dtype), fe_type.count))


def _made(builder: Any, parts: list[Any]) -> Any:
    """Return a Row made of these vectors."""
    row = ir.Constant(ir.ArrayType(parts[0].type, len(parts)), ir.Undefined)
    for k, part in enumerate(parts):
        row = builder.insert_value(row, part, k)
    return row


def _parts(builder: Any, row: Any) -> list[Any]:
    return [builder.extract_value(row, k) for k in range(row.type.count)]


def splat(builder: Any, number: Any, vector: ir.VectorType) -> Any:
    """Return a vector that has the number in every lane."""
    one = builder.insert_element(ir.Constant(vector, ir.Undefined), number, INT32(0))
    zeros = ir.Constant(ir.VectorType(INT32, vector.count), [0] * vector.count)
    return builder.shuffle_vector(one, ir.Constant(vector, ir.Undefined), zeros)


def _place(context: Any, builder: Any, kind: Any, array: Any, index: Any, k: int, dtype: types.Float) -> Any:
    """Return a pointer to the k-th vector of a row; the vector need not be aligned."""
    own = context.make_array(kind)(context, builder, array)
    at = [index, context.get_constant(types.intp, k * (BITS // dtype.bitwidth))]
    where = cgutils.get_item_pointer(context, builder, kind, own, at, wraparound=False)
    return builder.bitcast(where, _vector(dtype).as_pointer())


def _mask(builder: Any, vectors: Any, width: int) -> Any:
    """Return the mask of the lanes of the last vector that are used."""
    number = builder.trunc(builder.extract_value(vectors, 1), INT32)
    whole = ir.VectorType(INT32, width)
    return builder.icmp_signed("<", ir.Constant(whole, list(range(width))), splat(builder, number, whole))


def _masked(builder: Any, name: str, result: Any, arguments: list[Any]) -> Any:
    kind = ir.FunctionType(result, [a.type for a in arguments])
    function = cgutils.get_or_insert_function(builder.module, kind, name)
    return builder.call(function, arguments)


def _suffix(vector: ir.VectorType) -> str:
    return f"v{vector.count}{'f32' if isinstance(vector.element, ir.FloatType) else 'f64'}"


@intrinsic
def load_row(_typing: Any, matrix: Any, index: Any, vectors: Any) -> Any:
    """Return matrix[index] as a Row."""
    kind = Row(_rows_of(matrix).dtype, _count(vectors))

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array, at, used = arguments
        at = context.cast(builder, at, signature.args[1], types.intp)
        vector, size = _vector(kind.dtype), kind.dtype.bitwidth // 8
        parts = []
        for k in range(kind.count):
            where = _place(context, builder, signature.args[0], array, at, k, kind.dtype)
            if k < kind.count - 1:
                parts.append(builder.load(where, align=size))
                continue
            mask, zero = _mask(builder, used, kind.width), ir.Constant(vector, None)
            given = [where, INT32(size), mask, zero]
            parts.append(_masked(builder, f"llvm.masked.load.{_suffix(vector)}.p0", vector, given))
        return _made(builder, parts)

    return kind(matrix, index, vectors), generate


@intrinsic
def store_row(_typing: Any, row: Any, matrix: Any, index: Any, vectors: Any) -> Any:
    """Store a Row: matrix[index] = row."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        value, array, at, used = arguments
        at = context.cast(builder, at, signature.args[2], types.intp)
        vector, size = _vector(row.dtype), row.dtype.bitwidth // 8
        for k, part in enumerate(_parts(builder, value)):
            where = _place(context, builder, signature.args[1], array, at, k, row.dtype)
            if k < row.count - 1:
                builder.store(part, where, align=size)
                continue
            given = [part, where, INT32(size), _mask(builder, used, row.width)]
            _masked(builder, f"llvm.masked.store.{_suffix(vector)}.p0", ir.VoidType(), given)
        return context.get_dummy_value()

    return types.void(row, _rows_of(matrix), index, vectors), generate


@intrinsic
def prefetch(_typing: Any, matrix: Any, index: Any, vectors: Any) -> Any:
    """Prefetch matrix[index], which is going to be loaded soon."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array, at, _ = arguments
        at = context.cast(builder, at, signature.args[1], types.intp)
        for k in range(_count(vectors)):
            where = _place(context, builder, signature.args[0], array, at, k, matrix.dtype)
            where = builder.bitcast(where, ir.IntType(8).as_pointer())
            given = [where, INT32(0), INT32(3), INT32(1)]
            _masked(builder, "llvm.prefetch.p0", ir.VoidType(), given)
        return context.get_dummy_value()

    return types.void(matrix, index, vectors), generate


@intrinsic
def zeros(_typing: Any, like: Any) -> Any:
    """Return a Row of zeros like the given one."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return ir.Constant(ir.ArrayType(_vector(like.dtype), like.count), None)

    return like(like), generate


@intrinsic
def zeros_if(_typing: Any, condition: Any, row: Any) -> Any:
    """Return zeros if the condition holds, else the row.

    The choice is made in registers; a branch would pass the row through memory.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        is_zero, parts = arguments[0], _parts(builder, arguments[1])
        return _made(builder, [builder.select(is_zero, ir.Constant(p.type, None), p) for p in parts])

    return row(types.boolean, row), generate


@intrinsic
def dot(_typing: Any, x: Any, y: Any) -> Any:
    """Return the dot product, the sum of x_k y_k."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        left, right = (_parts(builder, argument) for argument in arguments)
        # Two running sums, so that one addition need not wait for the other. They start from 0, so that every
        # product is fused with an addition.
        sums = [ir.Constant(part.type, None) for part in left[:2]]
        for k, (a, b) in enumerate(zip(left, right, strict=True)):
            sums[k % 2] = builder.fadd(sums[k % 2], builder.fmul(a, b, flags=FAST), flags=FAST)
        whole = sums[0] if len(sums) == 1 else builder.fadd(*sums)
        # then the lanes of the vector: add its upper half to its lower half until one number is left
        while (half := whole.type.count // 2) > 0:
            low, high = (
                builder.shuffle_vector(
                    whole,
                    ir.Constant(whole.type, ir.Undefined),
                    ir.Constant(ir.VectorType(INT32, half), list(part)),
                )
                for part in (range(half), range(half, 2 * half))
            )
            whole = builder.fadd(low, high)
        return builder.extract_element(whole, INT32(0))

    return x.dtype(x, y), generate


@intrinsic
def inverse(_typing: Any, x: Any) -> Any:
    """Return 1 / x_k for each x_k > 0, else 0; numbers too small to have an inverse count as 0."""
    smallest = 2.0**-126 if x.dtype.bitwidth == 32 else 2.0**-1022

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        found = []
        for part in _parts(builder, arguments[0]):
            zero = ir.Constant(part.type, None)
            one, lowest = (ir.Constant(part.type, [number] * part.type.count) for number in (1.0, smallest))
            is_large = builder.fcmp_ordered(">=", part, lowest)
            found.append(builder.select(is_large, builder.fdiv(one, part), zero))
        return _made(builder, found)

    return x(x), generate


def _elementwise(name: str, operation: Callable[[Any, Any], Any]) -> None:
    """Overload the operation for two rows, and for a number and a row."""

    @intrinsic
    def of_rows(_typing: Any, x: Any, y: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            left, right = (_parts(builder, argument) for argument in arguments)
            emit = getattr(builder, name)
            return _made(builder, [emit(a, b, flags=FAST) for a, b in zip(left, right, strict=True)])

        return x(x, y), generate

    @intrinsic
    def of_number(_typing: Any, a: Any, y: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            number = context.cast(builder, arguments[0], signature.args[0], y.dtype)
            each = splat(builder, number, _vector(y.dtype))
            emit = getattr(builder, name)
            return _made(builder, [emit(each, b, flags=FAST) for b in _parts(builder, arguments[1])])

        return y(a, y), generate

    @overload(operation, inline="always")
    def implement(x, y):
        if isinstance(x, Row) and isinstance(y, Row):
            return lambda x, y: of_rows(x, y)  # noqa: PLW0108, numba wants a function of its own
        if isinstance(x, types.Number) and isinstance(y, Row):
            return lambda x, y: of_number(x, y)  # noqa: PLW0108
        return None


for _name, _operation in (("fadd", operator.add), ("fsub", operator.sub), ("fmul", operator.mul)):
    _elementwise(_name, _operation)
