"""Merge a row's block sums in the order of a binary tree, compiled by numba.

The sum over a row's ratings must not depend on the number of ranks. Users are therefore cut into blocks. Each
block is summed on its own, and the block sums are added in the order of a fixed binary tree:

    level 2              ______o______
                        |             |
    level 1          ___o___       ___o___
                    |       |     |       |
    block           0       1     2       3

Blocks are visited from left to right. Whenever a left subtree is complete, its sum waits on the subtree's
level (a block is level 0) until the right subtree beside it is complete too. A row skips the blocks in which
it has no ratings. For a row with ratings in blocks 0, 1 and 3, the sum is (s_0 + s_1) + s_3:

    after block     merges what waits on    and the result
        0           no level                waits on level 0    (its neighbour, block 1, is next)
        1           level 0                 waits on level 1    (the right half of the tree is next)
        3           level 1                 is the row's sum

`plan_merges` works this out once for all rows. `store_level` is 1 + the level on which the result waits, or 0
if the result is final. Bit l of `merge_mask` says that the sum waiting on level l is to be added.

S segments (`cofi_dist.kernels.cpu.schedule`), V rows, K features, L levels.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from cofi_dist.kernels.cpu.jit import CONTRACT, compiled, inlined
from cofi_dist.kernels.cpu.simd import load_row, prefetch, store_row, zeros, zeros_if


class MergePlan(NamedTuple):
    """Say how each row's block sums are merged, and hold the partial sums that wait for it.

    Attributes:
        is_first: whether the segment is the first of its row and block, so that its sum starts at zero, (S,).
        merge_mask: the levels whose waiting sums are added after the segment, as bits, (S,) int64.
        store_level: 1 + the level on which the result waits after the segment, 0 if it does not, (S,) int64.
        slot: the place in `waiting` where the sums of the segment's row wait, (S,) int64.
        block: the segment's block, (S,) int32.
        waiting: partial sums of features, (slots * L, K); those of slot i are rows i * L to (i + 1) * L - 1.
        waiting_bias: partial sums of biases, (slots * L,).
        levels: L, partial sums of a row that can wait at the same time.
    """

    is_first: NDArray[np.bool_]
    merge_mask: NDArray[np.int64]
    store_level: NDArray[np.int64]
    slot: NDArray[np.int64]
    block: NDArray[np.int32]
    waiting: NDArray[np.floating]
    waiting_bias: NDArray[np.floating]
    levels: int


@compiled(**CONTRACT)
def plan_merges(row, block, is_first, merge_mask, store_level, num_rows):
    """Write for each segment which waiting sums are merged after it, and where the result waits.

    Args:
        row: row of each segment, (S,).
        block: block of each segment, (S,), counted from the first block of the tree; ascending for each row.
        is_first: is overwritten, (S,); see `MergePlan`.
        merge_mask: is overwritten where a merge happens, (S,); zeros.
        store_level: is overwritten where a sum waits, (S,); zeros.
        num_rows: V.
    """
    # bit l of occupied[r]: a partial sum of row r is waiting on level l
    occupied = np.zeros(num_rows, np.int64)
    last = np.full(num_rows, -1, np.int64)
    for s in range(row.shape[0]):
        r = row[s]
        before = last[r]
        last[r] = s
        is_first[s] = before < 0 or block[before] != block[s]
        if before >= 0 and is_first[s]:
            # `before` was the last segment of its block. The highest bit in which the two blocks differ is
            # the level of the largest subtree that contains the old block and not the new one.
            differ, level = block[before] ^ block[s], 0
            while differ >> (level + 1):
                level += 1
            # that subtree is complete: merge all that waits below its root, and let the result wait there
            below = (1 << level) - 1
            merge_mask[before], store_level[before] = occupied[r] & below, level + 1
            occupied[r] = occupied[r] & ~below | 1 << level
    # after a row's last segment, all that still waits is merged into the row's sum
    for r in range(num_rows):
        if last[r] >= 0:
            merge_mask[last[r]] = occupied[r]


@inlined
def initial_sums(s, r, sums, plan, vectors):
    """Return what the sums of segment s of row r start with.

    These are zeros at the beginning of a block, else what the row's previous segment of the block left.
    """
    bias = sums.bias.dtype.type(0) if plan.is_first[s] else sums.bias[r]
    return zeros_if(plan.is_first[s], load_row(sums.features, r, vectors)), bias


@inlined
def prefetch_partial_sums(s, plan, vectors):
    """Prefetch the waiting sums that `merge_partial_sums` needs after segment s."""
    if plan.levels:
        waiting = plan.waiting
        at, mask = plan.slot[s] * plan.levels, plan.merge_mask[s]
        if plan.store_level[s]:
            prefetch(waiting, at + plan.store_level[s] - 1, vectors)
        while mask:
            if mask & 1:
                prefetch(waiting, at, vectors)
            mask >>= 1
            at += 1


@inlined
def merge_partial_sums(total, total_bias, s, r, sums, plan, vectors):
    """Merge the sums after segment s into the reduction tree of row r.

    The result waits on the segment's `store_level` or, if that is 0, goes to `sums`: as the row's final sum,
    or until the row's next segment of the same block goes on with it.
    """
    if plan.levels:
        waiting, waiting_bias = plan.waiting, plan.waiting_bias
        # -0 + 0 is 0: a sum of -0 would tell whether a block without ratings, a zero, was added to it
        total = total + zeros(total)
        at, mask, store_level = plan.slot[s] * plan.levels, plan.merge_mask[s], plan.store_level[s]
        store_at = at + store_level - 1
        # from the lowest level up; what waits is the left operand
        while mask:
            if mask & 1:
                total = load_row(waiting, at, vectors) + total
                total_bias = waiting_bias[at] + total_bias
            mask >>= 1
            at += 1
        if store_level:
            store_row(total, waiting, store_at, vectors)
            waiting_bias[store_at] = total_bias
            return
    store_row(total, sums.features, r, vectors)
    sums.bias[r] = total_bias
