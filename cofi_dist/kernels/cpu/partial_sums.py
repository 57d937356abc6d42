"""Partial sums of a row, merged in the order of a binary tree of blocks, compiled by numba."""

import numpy as np

from cofi_dist.kernels.cpu.jit import inlined, row_kernel
from cofi_dist.kernels.cpu.simd import prefetch, put, row_at, zeros, zeros_if


@inlined
def begun(begins, out, out_b, r, lanes):
    """What a segment's sums begin with: zeros, or what the row's last segment left."""
    return zeros_if(begins, row_at(out, r, lanes)), out_b.dtype.type(0) if begins else out_b[r]


@inlined
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


@inlined
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


@row_kernel
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
