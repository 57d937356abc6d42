"""One side's ratings in the order in which the compiled loops read them.

A segment is the ratings that a row has in a tile of the other side's rows: all of them, if any, where
there is one tile. Where the other side's rows do not fit the cache, those of a tile do, and its segments
are summed before the next tile's. A block (`cofi_dist.data.shards`) has one tile or several.

R rows of this side, N ratings, S segments, C chunks, A tiles, B blocks, T branches.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numba
import numpy as np
from numpy.typing import NDArray

from cofi_dist.cost import rowkernels
from cofi_dist.cost.rows import Index, index_type

# Threads take a chunk when they have done their last one: so many a thread and tile, that they end
# together though the machine does other things too, few enough that taking them costs nothing.
CHUNKS_A_THREAD = 16


@dataclass(frozen=True)
class Segments:
    """Where each segment's ratings are, and what threads take at once.

    Attributes:
        row: of each segment, (S,) int32; ascending in a tile.
        start: where its ratings begin, and where the last one's end, (S + 1,) int32 or int64.
        first, last: segments of a chunk, from first to before last, (C,); a tile's longest chunk is first.
        tile: a tile's first chunk, and the number of chunks, (A + 1,).
        adds, to: what `rowkernels.carry` does after each tile, (A,).
        block: of each tile, (A,).
        branches: tiles of each branch, T of them.
    """

    row: NDArray[np.int32]
    start: Index
    first: NDArray[np.int64]
    last: NDArray[np.int64]
    tile: NDArray[np.int64]
    adds: NDArray[np.int64]
    to: NDArray[np.int64]
    block: NDArray[np.int64]
    branches: tuple[range, ...] = (range(1),)

    @property
    def levels(self) -> int:
        """Partial sums of a row that wait at a time."""
        return int(self.to.max())

    @property
    def num_blocks(self) -> int:
        """B."""
        return int(self.block[-1]) + 1

    @property
    def is_whole(self) -> bool:
        """Whether each row is one segment: all its ratings, if any."""
        return len(self.tile) == 2

    def each_branch(self) -> Iterator[tuple[int | Index, ...]]:
        """For the loops: tiles, segments and chunks; the last is where threads begin to take chunks."""
        next_ = self.tile[:-1].copy()
        for tiles in self.branches:
            yield tiles.start, tiles.stop, self.row, self.start, self.first, self.last, self.tile, next_

    @property
    def whole(self) -> tuple[int | Index, ...]:
        """The same of the only branch."""
        (only,) = self.each_branch()
        return only


def by_rows(counts: Index) -> Segments:
    """One tile; every row is a segment, those without ratings too.

    Args:
        counts: ratings of each row, (R,).
    """
    rows = np.arange(len(counts), dtype=np.int32)
    return _segments([(rows, np.concatenate([[0], np.cumsum(counts)]))], [(0, 0, 0)], (range(1),))


def by_tiles(
    row: Index, num_rows: int, blocks: Sequence[Sequence[slice]], branches: Sequence[range]
) -> tuple[Segments, Index]:
    """The segments of each tile, and which rating is where.

    Args:
        row: of each rating, (N,).
        num_rows: R.
        blocks: ratings of each tile of each block, one after the other.
        branches: which of the blocks each has.

    Returns:
        The segments; and for each given rating, where it is in their order, (N,). Equal rows' ratings stay
        in the given order.
    """
    place = np.empty(len(row), index_type(len(row)))
    parts: list[tuple[NDArray[np.int32], NDArray[np.int64]]] = []
    after: list[tuple[int, int, int]] = []
    tiles_of: list[range] = []
    for branch in branches:
        tiles_of.append(range(len(parts), len(parts) + sum(len(blocks[b]) for b in branch)))
        for b in branch:
            for tile in blocks[b]:
                adds, to = _carried(b - branch.start, len(branch)) if tile is blocks[b][-1] else (0, 0)
                starts = rowkernels.sort_rows(row, tile.start, tile.stop, num_rows, place)
                # a row's sum is carried at the end of a block, whether it has ratings there or not
                every = adds or to or len(blocks) == len(blocks[0]) == 1
                rows = np.arange(num_rows) if every else np.flatnonzero(np.diff(starts))
                parts.append((rows.astype(np.int32), np.append(starts[rows], tile.stop)))
                after.append((adds, to, b))
    return _segments(parts, after, tuple(tiles_of)), place


def _carried(block: int, blocks: int) -> tuple[int, int]:
    """After which block of a branch how many waiting sums are added, and on which level that waits."""
    adds = ((block + 1) & -(block + 1)).bit_length() - 1
    return adds, 0 if block == blocks - 1 else adds + 1


def _segments(
    tiles: Sequence[tuple[NDArray[np.int32], NDArray[np.int64]]],
    after: Sequence[tuple[int, int, int]],
    branches: tuple[range, ...],
) -> Segments:
    """Of each tile's rows and starts, and the end of the last one's ratings; and what comes after each."""
    chunks = CHUNKS_A_THREAD * int(numba.config.NUMBA_NUM_THREADS)
    first, last, tile, done = [], [], [0], 0
    for rows, start in tiles:
        shares = np.linspace(start[0], start[-1], chunks + 1)[1:-1]
        cuts = np.unique(np.concatenate([[0], np.searchsorted(start[:-1], shares), [len(rows)]]))
        turn = np.argsort(start[cuts[:-1]] - start[cuts[1:]], kind="stable")
        first.append(done + cuts[:-1][turn])
        last.append(done + cuts[1:][turn])
        tile.append(tile[-1] + len(turn))
        done += len(rows)
    start = np.concatenate([part[:-1] for _, part in tiles] + [tiles[-1][1][-1:]])
    adds, to, block = np.array(after, np.int64).T.copy()
    return Segments(
        np.concatenate([rows for rows, _ in tiles]),
        start.astype(index_type(int(start[-1]))),
        np.concatenate(first).astype(np.int64),
        np.concatenate(last).astype(np.int64),
        np.array(tile, np.int64),
        adds,
        to,
        block,
        branches,
    )
