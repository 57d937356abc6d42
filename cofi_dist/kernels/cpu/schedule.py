"""One side's ratings in the order in which the compiled loops read them.

Where the other side's rows do not fit the cache, those of a tile do, and its ratings are summed before the
next tile's. A block (`cofi_dist.sharding`) has one tile or several; small blocks of a branch share one. A
segment is the ratings that a row has in a tile and block.

R rows of this side, N ratings, S segments, C chunks, A tiles, B blocks, T branches.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise, starmap

import numba
import numpy as np
from numpy.typing import NDArray

from cofi_dist.kernels.base import Index, index_type
from cofi_dist.kernels.cpu.counting_sort import sort_by_row
from cofi_dist.kernels.cpu.partial_sums import plan_carries
from cofi_dist.sharding.ranges import UserRange, balanced_ranges

# Ratings in a tile: few enough that a tile's rows of W stay in cache while the items are summed, many enough
# that the partial sums of X cost little. See docs/benchmarks.md.
TILE_RATINGS = 2**20

# Threads take a chunk when they have done their last one: so many a thread and tile, that they end
# together though the machine does other things too, few enough that taking them costs nothing.
CHUNKS_A_THREAD = 16


@dataclass(frozen=True)
class Segments:
    """Where each segment's ratings are, and what threads take at once.

    Attributes:
        row: of each segment, (S,) int32; ascending in a tile. In each branch every row has one at least.
        start: where its ratings begin, and where the last one's end, (S + 1,) int32 or int64.
        begins: whether its sums begin at zero, and not with what the row's last segment left, (S,).
        adds, to: what `partial_sums.carry` does after it, (S,) int64.
        slot: where its row's sums wait, (S,) int64: in the row's own place or, where a branch is one tile, in
            its chunk's, which stays in cache.
        block: (S,) int32.
        first, last: segments of a chunk, from first to before last, (C,); a tile's longest chunk is first.
        tile: a tile's first chunk, and the number of chunks, (A + 1,).
        branches: tiles of each branch, T of them.
        num_blocks: B.
        is_whole: whether each row is one segment: all its ratings, if any.
    """

    row: NDArray[np.int32]
    start: Index
    begins: NDArray[np.bool_]
    adds: NDArray[np.int64]
    to: NDArray[np.int64]
    slot: NDArray[np.int64]
    block: NDArray[np.int32]
    first: NDArray[np.int64]
    last: NDArray[np.int64]
    tile: NDArray[np.int64]
    branches: tuple[range, ...]
    num_blocks: int
    is_whole: bool

    @property
    def levels(self) -> int:
        """Partial sums of a row that wait at a time, L."""
        return int(self.to.max(initial=0))

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


@dataclass(frozen=True)
class _Part:
    """The segments of a tile: their rows, blocks and numbers of ratings, (S,) each."""

    row: NDArray[np.int32]
    block: NDArray[np.int32]
    count: NDArray[np.int64]


def by_rows(counts: Index) -> Segments:
    """One tile; every row is a segment, those without ratings too.

    Args:
        counts: ratings of each row, (R,).
    """
    rows = np.arange(len(counts), dtype=np.int32)
    only = _Part(rows, np.zeros_like(rows), counts.astype(np.int64))
    return _segments((range(1),), [[only]], len(counts), is_whole=True)


def tiles_of_blocks(indptr: Index, blocks: Sequence[UserRange]) -> list[list[slice]]:
    """Cut each block into runs of whole users with about TILE_RATINGS ratings.

    Args:
        indptr: where each user's ratings start, and where the last user's end, (U + 1,).
        blocks: users of each block.

    Returns:
        The ratings of each tile of each block.
    """
    found = []
    for block in blocks:
        own = indptr[block.start : block.stop + 1]
        cuts = balanced_ranges(np.diff(own), max(1, round((own[-1] - own[0]) / TILE_RATINGS)))
        found.append([slice(int(own[users.start]), int(own[users.stop])) for users in cuts])
    return found


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
    parts: list[list[_Part]] = []
    for branch in branches:
        empty = np.ones(num_rows, bool)
        parts.append([])
        tiles = list(_shared([(tile, b) for b in branch for tile in blocks[b]], TILE_RATINGS))
        for tile in tiles:
            first, last = tile[0][0].start, tile[-1][0].stop
            sort_by_row(row, first, last, num_rows, place)
            counts = np.stack([np.bincount(row[part], minlength=num_rows) for part, _ in tile], 1)
            empty &= ~counts.any(1)
            told = counts > 0
            told[:, -1] |= empty & (tile is tiles[-1])
            rows, which = np.nonzero(told)
            block = np.array([b for _, b in tile], np.int32)[which]
            parts[-1].append(_Part(rows.astype(np.int32), block, counts[rows, which]))
    return _segments(branches, parts, num_rows, is_whole=len(blocks) == len(blocks[0]) == 1), place


def _shared(tiles: Sequence[tuple[slice, int]], size: int) -> Iterator[list[tuple[slice, int]]]:
    """Neighbours together, as long as they have no more than so many ratings."""
    found: list[tuple[slice, int]] = []
    for tile, block in tiles:
        if found and tile.stop - found[0][0].start > size:
            yield found
            found = []
        found.append((tile, block))
    yield found


def _segments(
    branches: Sequence[range], parts: Sequence[Sequence[_Part]], num_rows: int, *, is_whole: bool
) -> Segments:
    """Of the tiles of each branch, one after the other."""
    every = [part for tiles in parts for part in tiles]
    row, block, count = (
        np.concatenate([getattr(part, name) for part in every]) for name in ("row", "block", "count")
    )
    start = np.append(0, np.cumsum(count))
    begins = np.empty(len(row), bool)
    adds, to, slot = np.zeros((3, len(row)), np.int64)
    first, last, tile, numbers, done = [], [], [0], [0], 0
    for branch, tiles in zip(branches, parts, strict=True):
        of = slice(done, done + sum(len(part.row) for part in tiles))
        leaf, waiting = block[of] - branch.start, np.zeros(num_rows, np.int64)
        plan_carries(row[of], leaf, waiting, begins[of], adds[of], to[of])
        for part in tiles:
            cuts = _chunks(part)
            own = np.repeat(np.arange(len(cuts) - 1), np.diff(cuts)) if len(tiles) == 1 else part.row
            slot[done : done + len(part.row)] = own
            turn = np.argsort(start[done + cuts[:-1]] - start[done + cuts[1:]], kind="stable")
            first.append(done + cuts[:-1][turn])
            last.append(done + cuts[1:][turn])
            tile.append(tile[-1] + len(turn))
            done += len(part.row)
        numbers.append(len(tile) - 1)
    return Segments(
        row,
        start.astype(index_type(int(start[-1]))),
        begins,
        adds,
        to,
        slot,
        block,
        np.concatenate(first).astype(np.int64),
        np.concatenate(last).astype(np.int64),
        np.array(tile, np.int64),
        tuple(starmap(range, pairwise(numbers))),
        branches[-1].stop,
        is_whole,
    )


def _chunks(part: _Part) -> NDArray[np.int64]:
    """Where chunks of about as many ratings begin, and the last one ends; a row is in one of them."""
    chunks, start = CHUNKS_A_THREAD * int(numba.config.NUMBA_NUM_THREADS), np.cumsum(part.count) - part.count
    cuts = np.searchsorted(start, np.linspace(0, part.count.sum(), chunks + 1)[1:-1])
    cuts = np.searchsorted(part.row, part.row[cuts[cuts < len(part.row)]])
    return np.unique(np.concatenate([[0], cuts, [len(part.row)]])).astype(np.int64)
