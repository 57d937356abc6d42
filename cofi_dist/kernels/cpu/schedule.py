"""Decide in which order the compiled loops read one side's ratings, and what threads take at once.

Ratings are processed tile by tile. A tile is small enough that the rows of the other side which it touches
stay in cache. A block (`cofi_dist.sharding`) has one tile or several; small blocks of a subtree share one.

    subtree     blocks whose sums are merged into one sum per row; for users' own rows, all there is
      tile      ratings that are summed before those of the next tile
        chunk   neighbouring rows, about equally many ratings: what a thread takes at once
          segment   the ratings that one row has in the tile and one block

V rows of this side, N ratings, S segments, C chunks, D tiles, B blocks, T subtrees.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise, starmap
from typing import NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray

from cofi_dist.kernels.base import Index, index_type
from cofi_dist.kernels.cpu.counting_sort import sort_by_row
from cofi_dist.kernels.cpu.partial_sums import plan_merges
from cofi_dist.sharding.ranges import UserRange, balanced_ranges

# Ratings in a tile: few enough that a tile's rows of W stay in cache while the items are summed, many enough
# that the partial sums of X cost little. See docs/benchmarks.md.
TILE_RATINGS = 2**20

# A thread takes a chunk when it is done with its last one. With this many chunks per thread and tile, all
# threads finish at about the same time, even on a busy machine, and taking chunks still costs nothing.
CHUNKS_PER_THREAD = 16


class Schedule(NamedTuple):
    """Say which segments a compiled loop sums, and which of them its threads take at once.

    Attributes:
        tile_start, tile_stop: the tiles of this loop.
        row: row of each segment, (S,) int32.
        chunk_start, chunk_stop: the segments of each chunk, (C,).
        tile_chunks: first chunk of each tile, and the number of chunks, (D + 1,).
        next_chunk: next chunk of each tile that no thread has taken yet, (D,); counts up during the loop.
    """

    tile_start: int
    tile_stop: int
    row: NDArray[np.int32]
    chunk_start: NDArray[np.int64]
    chunk_stop: NDArray[np.int64]
    tile_chunks: NDArray[np.int64]
    next_chunk: NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Segments:
    """Hold the segments of one side's rows, cut into chunks and tiles, and how their sums are merged.

    Attributes:
        row: row of each segment, (S,) int32; ascending in a tile. In each subtree every row has a segment,
            unless whoever sums sets the sums to zeros before.
        indptr: where the ratings of each segment begin, and where the last ones end, (S + 1,) int32 or int64.
        is_first, merge_mask, store_level: see `cofi_dist.kernels.cpu.partial_sums.MergePlan`.
        slot: where the row's partial sums wait, (S,) int64: in a place for this row or, if the subtree is a
            single tile, in a place for the chunk, which stays in cache.
        block: (S,) int32.
        chunk_start, chunk_stop: the segments of each chunk, (C,); a tile's longest chunk comes first.
        tile_chunks: first chunk of each tile, and the number of chunks, (D + 1,).
        subtrees: the tiles of each subtree, T of them.
        num_blocks: B.
        has_whole_rows: whether each row is a single segment, which has all its ratings.
    """

    row: NDArray[np.int32]
    indptr: Index
    is_first: NDArray[np.bool_]
    merge_mask: NDArray[np.int64]
    store_level: NDArray[np.int64]
    slot: NDArray[np.int64]
    block: NDArray[np.int32]
    chunk_start: NDArray[np.int64]
    chunk_stop: NDArray[np.int64]
    tile_chunks: NDArray[np.int64]
    subtrees: tuple[range, ...]
    num_blocks: int
    has_whole_rows: bool

    @property
    def levels(self) -> int:
        """Return the number of partial sums of a row that can wait at the same time, L."""
        return int(self.store_level.max(initial=0))

    def schedules(self) -> Iterator[Schedule]:
        """Yield the schedule of each subtree, for one run of the loops."""
        next_chunk = self.tile_chunks[:-1].copy()
        chunks = self.chunk_start, self.chunk_stop, self.tile_chunks
        for tiles in self.subtrees:
            yield Schedule(tiles.start, tiles.stop, self.row, *chunks, next_chunk)

    def schedule(self) -> Schedule:
        """Return the schedule of the only subtree, for one run of a loop."""
        (only,) = self.schedules()
        return only


@dataclass(frozen=True)
class _Tile:
    """Hold the rows, blocks and numbers of ratings of a tile's segments, (S,) each."""

    row: NDArray[np.int32]
    block: NDArray[np.int32]
    count: NDArray[np.int64]


def by_rows(counts: Index) -> Segments:
    """Make a segment of every row, including rows without ratings, in a single tile.

    Args:
        counts: ratings of each row, (V,).
    """
    rows = np.arange(len(counts), dtype=np.int32)
    only = _Tile(rows, np.zeros_like(rows), counts.astype(np.int64))
    return _segments((range(1),), [[only]], len(counts), has_whole_rows=True)


def tiles_of_blocks(indptr: Index, blocks: Sequence[UserRange]) -> list[list[UserRange]]:
    """Cut each block into runs of whole users with about TILE_RATINGS ratings.

    Args:
        indptr: where each user's ratings start, and where the last user's end, (U + 1,).
        blocks: users of each block.

    Returns:
        The users of each tile of each block.
    """
    found = []
    for block in blocks:
        own = indptr[block.start : block.stop + 1]
        cuts = balanced_ranges(np.diff(own), max(1, round((own[-1] - own[0]) / TILE_RATINGS)))
        found.append([UserRange(block.start + users.start, block.start + users.stop) for users in cuts])
    return found


def ratings_of_tiles(indptr: Index, tiles: Sequence[Sequence[UserRange]]) -> list[list[slice]]:
    """Return the ratings of each tile of each block, of all items or of some.

    Args:
        indptr: where each user's ratings start, and where the last user's end, (U + 1,).
        tiles: the users of each tile of each block.
    """
    return [[slice(int(indptr[users.start]), int(indptr[users.stop])) for users in block] for block in tiles]


def whole_rows(row: NDArray[np.int32], counts: Index) -> Schedule:
    """Return the schedule of a single loop over some rows, each of which is one segment.

    Args:
        row: rows that have ratings, ascending, (S,).
        counts: ratings of each of them, (S,).
    """
    only = _Tile(row, np.zeros_like(row), counts.astype(np.int64))
    cuts = _chunks(only)
    tile_chunks = np.array([0, len(cuts) - 1])
    return Schedule(0, 1, row, cuts[:-1], cuts[1:], tile_chunks, np.zeros(1, np.int64))


def by_tiles(
    row: Index,
    num_rows: int,
    blocks: Sequence[Sequence[slice]],
    subtrees: Sequence[range],
    *,
    every_row: bool = True,
) -> tuple[Segments, Index]:
    """Sort the ratings of each tile by row, and make segments of them.

    Neighbouring tiles of a subtree are joined, up to TILE_RATINGS ratings.

    Args:
        row: row of each rating, (N,).
        num_rows: V.
        blocks: the ratings of each tile of each block; slices that follow one another.
        subtrees: the blocks of each subtree.
        every_row: whether a row without ratings has a segment too, which sets its sums to zeros.

    Returns:
        The segments, and the place of each given rating in their order, (N,). The ratings of a row stay in
        the given order.
    """
    place = np.empty(len(row), index_type(len(row)))
    tiles: list[list[_Tile]] = []
    for subtree in subtrees:
        shared = list(_shared([(part, b) for b in subtree for part in blocks[b]], TILE_RATINGS))
        tiles.append([])
        # rows that have no rating in any tile of the subtree so far
        is_empty = np.ones(num_rows, bool)
        for parts in shared:
            start, stop = parts[0][0].start, parts[-1][0].stop
            sort_by_row(row, start, stop, num_rows, place)
            counts = np.stack([np.bincount(row[part], minlength=num_rows) for part, _ in parts], 1)
            is_empty &= ~counts.any(1)
            # a segment wherever a row has ratings in a part
            is_segment = counts > 0
            # and an empty one in the last tile for each row that has none at all: its sums have to become 0
            if every_row and parts is shared[-1]:
                is_segment[:, -1] |= is_empty
            rows, part_of = np.nonzero(is_segment)
            block = np.array([b for _, b in parts], np.int32)[part_of]
            tiles[-1].append(_Tile(rows.astype(np.int32), block, counts[rows, part_of]))
    has_whole_rows = every_row and len(blocks) == len(blocks[0]) == 1
    return _segments(subtrees, tiles, num_rows, has_whole_rows=has_whole_rows), place


def _shared(parts: Sequence[tuple[slice, int]], size: int) -> Iterator[list[tuple[slice, int]]]:
    """Group neighbouring parts of (ratings, block) into tiles of at most `size` ratings, if each part is."""
    tile: list[tuple[slice, int]] = []
    for ratings, block in parts:
        if tile and ratings.stop - tile[0][0].start > size:
            yield tile
            tile = []
        tile.append((ratings, block))
    yield tile


def _segments(
    subtrees: Sequence[range], tiles: Sequence[Sequence[_Tile]], num_rows: int, *, has_whole_rows: bool
) -> Segments:
    """Return the segments of all tiles, cut into chunks, with the plan of their merges."""
    every = [tile for of_subtree in tiles for tile in of_subtree]
    row, block, count = (
        np.concatenate([getattr(tile, name) for tile in every]) for name in ("row", "block", "count")
    )
    indptr = np.append(0, np.cumsum(count))
    is_first = np.empty(len(row), bool)
    merge_mask, store_level, slot = np.zeros((3, len(row)), np.int64)
    chunk_start, chunk_stop, tile_chunks, subtree_tiles, done = [], [], [0], [0], 0
    for subtree, of_subtree in zip(subtrees, tiles, strict=True):
        mine = slice(done, done + sum(len(tile.row) for tile in of_subtree))
        leaf = block[mine] - subtree.start
        plan_merges(row[mine], leaf, is_first[mine], merge_mask[mine], store_level[mine], num_rows)
        for tile in of_subtree:
            cuts = _chunks(tile)
            # a chunk has all segments of its rows in the tile: if there are no other tiles, its slot will do
            chunk = np.repeat(np.arange(len(cuts) - 1), np.diff(cuts))
            slot[done : done + len(tile.row)] = chunk if len(of_subtree) == 1 else tile.row
            # the longest chunk first, so that no thread starts a long one when the others are done
            order = np.argsort(indptr[done + cuts[:-1]] - indptr[done + cuts[1:]], kind="stable")
            chunk_start.append(done + cuts[:-1][order])
            chunk_stop.append(done + cuts[1:][order])
            tile_chunks.append(tile_chunks[-1] + len(order))
            done += len(tile.row)
        subtree_tiles.append(len(tile_chunks) - 1)
    return Segments(
        row=row,
        indptr=indptr.astype(index_type(int(indptr[-1]))),
        is_first=is_first,
        merge_mask=merge_mask,
        store_level=store_level,
        slot=slot,
        block=block,
        chunk_start=np.concatenate(chunk_start).astype(np.int64),
        chunk_stop=np.concatenate(chunk_stop).astype(np.int64),
        tile_chunks=np.array(tile_chunks, np.int64),
        subtrees=tuple(starmap(range, pairwise(subtree_tiles))),
        num_blocks=subtrees[-1].stop,
        has_whole_rows=has_whole_rows,
    )


def _chunks(tile: _Tile) -> NDArray[np.int64]:
    """Cut a tile into chunks of about equally many ratings; return the first segment of each, and the end.

    All segments of a row are in the same chunk, so that no two threads add to one row.
    """
    chunks = CHUNKS_PER_THREAD * int(numba.config.NUMBA_NUM_THREADS)
    start = np.cumsum(tile.count) - tile.count
    # the segments at which equal shares of the ratings begin
    cuts = np.searchsorted(start, np.linspace(0, tile.count.sum(), chunks + 1)[1:-1])
    # moved back to the first segment of their row
    cuts = np.searchsorted(tile.row, tile.row[cuts[cuts < len(tile.row)]])
    return np.unique(np.concatenate([[0], cuts, [len(tile.row)]])).astype(np.int64)
