"""Multiply the features of some users by those of some items in the processor's registers, in float32.

A tile is USERS users and ITEMS items. While the features are looped over, its scores stay in registers: each
feature of a user is multiplied by the vectors of its items. Processors without 512 bits have half as many
registers of half the size at most, and take the items of a tile in parts.

Items come in panels: panel[0] is the offsets of ITEMS items, and panel[1 + f] their feature f, so that a
panel is read from beginning to end.
"""

from typing import Any

from llvmlite import ir
from llvmlite.binding import get_host_cpu_features
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from cofi_dist.kernels.cpu.simd import FAST, splat

USERS, ITEMS = 6, 64

FLOAT, INT64 = ir.FloatType(), ir.IntType(64)
LANES = 16
VECTOR = ir.VectorType(FLOAT, LANES)
# The vectors of a part, of which USERS * VECTORS sums have to fit into the registers.
VECTORS = 4 if get_host_cpu_features().get("avx512f") else 1


def _pointer(context: Any, builder: Any, kind: Any, array: Any, at: list[Any]) -> Any:
    own = context.make_array(kind)(context, builder, array)
    return cgutils.get_item_pointer(context, builder, kind, own, at, wraparound=False)


def _vector_at(builder: Any, numbers: Any, at: Any, lane: int = 0) -> Any:
    """Return a pointer to the vector that begins at numbers[at + lane]."""
    where = builder.gep(numbers, [builder.add(at, INT64(lane))])
    return builder.bitcast(where, VECTOR.as_pointer())


@intrinsic
def tile_scores(_typing: Any, panels: Any, panel: Any, W: Any, first: Any, scores: Any) -> Any:
    """Set scores, (USERS, ITEMS), to those of rows `first` and following of W and the items of a panel.

    `panels` is (P, 1 + K, ITEMS), `W` is (V, K), all in float32 and in C order.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        index, zero = types.intp, context.get_constant(types.intp, 0)
        kinds = signature.args
        at = context.cast(builder, arguments[1], kinds[1], index)
        row = context.cast(builder, arguments[3], kinds[3], index)
        items = _pointer(context, builder, kinds[0], arguments[0], [at, zero, zero])
        tile = _pointer(context, builder, kinds[4], arguments[4], [zero, zero])
        users = [
            _pointer(context, builder, kinds[2], arguments[2], [builder.add(row, INT64(u)), zero])
            for u in range(USERS)
        ]
        K = cgutils.unpack_tuple(
            builder, context.make_array(kinds[2])(context, builder, arguments[2]).shape, 2
        )[1]
        for part in range(0, ITEMS, VECTORS * LANES):
            lanes = range(part, part + VECTORS * LANES, LANES)
            offsets = [builder.load(_vector_at(builder, items, zero, lane), align=4) for lane in lanes]
            sums = [[cgutils.alloca_once_value(builder, offset) for offset in offsets] for _ in users]
            for each in sums:
                for total, offset in zip(each, offsets, strict=True):
                    builder.store(offset, total)
            with cgutils.for_range(builder, K) as loop:
                begin = builder.mul(builder.add(loop.index, INT64(1)), INT64(ITEMS))
                x = [builder.load(_vector_at(builder, items, begin, lane), align=4) for lane in lanes]
                for user, each in zip(users, sums, strict=True):
                    w = splat(builder, builder.load(builder.gep(user, [loop.index])), VECTOR)
                    for total, features in zip(each, x, strict=True):
                        product = builder.fmul(w, features, flags=FAST)
                        builder.store(builder.fadd(builder.load(total), product, flags=FAST), total)
            for u, each in enumerate(sums):
                for total, lane in zip(each, lanes, strict=True):
                    where = _vector_at(builder, tile, zero, u * ITEMS + lane)
                    builder.store(builder.load(total), where, align=4)
        return context.get_dummy_value()

    return types.void(panels, panel, W, first, scores), generate


@intrinsic
def bits_at_least(_typing: Any, scores: Any, user: Any, limit: Any) -> Any:
    """Return a word whose bit i tells whether scores[user, i] >= limit, for ITEMS scores; nan is not."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        zero = context.get_constant(types.intp, 0)
        row = context.cast(builder, arguments[1], signature.args[1], types.intp)
        numbers = _pointer(context, builder, signature.args[0], arguments[0], [row, zero])
        least = splat(builder, arguments[2], VECTOR)
        word = INT64(0)
        for lane in range(0, ITEMS, LANES):
            some = builder.load(_vector_at(builder, numbers, zero, lane), align=4)
            bits = builder.bitcast(builder.fcmp_ordered(">=", some, least), ir.IntType(LANES))
            word = builder.or_(word, builder.shl(builder.zext(bits, INT64), INT64(lane)))
        return word

    return types.uint64(scores, user, types.float32), generate


@intrinsic
def lowest_bit(_typing: Any, word: Any) -> Any:
    """Return the place of the lowest bit that is set; there is one."""

    def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        return builder.cttz(arguments[0], ir.IntType(1)(1))

    return types.int64(types.uint64), generate
