"""One side's ratings in the order in which the compiled loops read them.

A segment is the ratings that a row has in a block of the other side's rows: all of them, if any, where
there is one block. Where the other side's rows do not fit the cache, those of a block do, and its segments
are summed before the next block's.

R rows of this side, N ratings, S segments, C chunks, B blocks.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numba
import numpy as np
from numpy.typing import NDArray

from cofi_dist.cost import rowkernels

# Threads take a chunk when they have done their last one: so many a thread and block, that they end
# together though the machine does other things too, few enough that taking them costs nothing.
CHUNKS_A_THREAD = 16


@dataclass(frozen=True)
class Segments:
    """Where each segment's ratings are, and what threads take at once.

    Attributes:
        row: of each segment, (S,) int32; ascending in a block.
        start: where its ratings begin, and where the last one's end, (S + 1,) int32 or int64.
        first, last: segments of a chunk, from first to before last, (C,); a block's longest chunk is first.
        block: a block's first chunk, and the number of chunks, (B + 1,).
    """

    row: NDArray[np.int32]
    start: NDArray[np.integer]
    first: NDArray[np.int64]
    last: NDArray[np.int64]
    block: NDArray[np.int64]

    @property
    def arrays(self) -> tuple[NDArray[np.integer], ...]:
        """For the loops; the last is where the threads begin to take chunks of each block."""
        return self.row, self.start, self.first, self.last, self.block, self.block[:-1].copy()


def by_rows(counts: NDArray[np.integer]) -> Segments:
    """One block; every row is a segment, those without ratings too.

    Args:
        counts: ratings of each row, (R,).
    """
    rows = np.arange(len(counts), dtype=np.int32)
    return _segments([(rows, np.concatenate([[0], np.cumsum(counts)]))])


def by_blocks(
    row: NDArray[np.integer], num_rows: int, blocks: Sequence[slice]
) -> tuple[Segments, NDArray[np.integer]]:
    """The segments of each block, and which rating is where.

    Args:
        row: of each rating, (N,).
        num_rows: R.
        blocks: ratings of each block, one after the other.

    Returns:
        The segments; and for each rating in their order, where it is in the given one, (N,). Equal rows'
        ratings stay in the given order.
    """
    order = np.empty(len(row), _index_type(len(row)))
    parts = []
    for block in blocks:
        starts = rowkernels.sort_rows(row, block.start, block.stop, num_rows, order)
        rated = np.diff(starts) > 0
        rows = np.flatnonzero(rated if len(blocks) > 1 else np.ones_like(rated)).astype(np.int32)
        parts.append((rows, np.append(starts[rows], block.stop)))
    return _segments(parts), order


def _segments(blocks: Sequence[tuple[NDArray[np.int32], NDArray[np.int64]]]) -> Segments:
    """Of each block's rows and starts, and the end of the last one's ratings."""
    chunks = CHUNKS_A_THREAD * int(numba.config.NUMBA_NUM_THREADS)
    first, last, block, done = [], [], [0], 0
    for rows, start in blocks:
        shares = np.linspace(start[0], start[-1], chunks + 1)[1:-1]
        cuts = np.unique(np.concatenate([[0], np.searchsorted(start[:-1], shares), [len(rows)]]))
        turn = np.argsort(start[cuts[:-1]] - start[cuts[1:]], kind="stable")
        first.append(done + cuts[:-1][turn])
        last.append(done + cuts[1:][turn])
        block.append(block[-1] + len(turn))
        done += len(rows)
    start = np.concatenate([part[:-1] for _, part in blocks] + [blocks[-1][1][-1:]])
    return Segments(
        np.concatenate([rows for rows, _ in blocks]),
        start.astype(_index_type(int(start[-1]))),
        np.concatenate(first).astype(np.int64),
        np.concatenate(last).astype(np.int64),
        np.array(block),
    )


def _index_type(num_ratings: int) -> type[np.int32 | np.int64]:
    return np.int32 if num_ratings < 2**31 else np.int64
