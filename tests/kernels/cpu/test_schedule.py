"""Segments, chunks and tiles: every rating is read once, in its row's segment, by one thread."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cofi_dist.kernels.cpu import schedule
from cofi_dist.kernels.cpu.schedule import Segments, by_rows, by_tiles, ratings_of_tiles, tiles_of_blocks
from cofi_dist.sharding.ranges import UserRange
from tests.support.problems import random_ratings


def require_chunks_cover_the_segments(segments: Segments) -> None:
    """Every segment is in one chunk, and all of a row's segments in a tile are in the same one."""
    covered: list[int] = []
    for start, stop in pairwise(segments.tile_chunks):
        owner: dict[int, int] = {}
        for chunk in range(start, stop):
            mine = range(segments.chunk_start[chunk], segments.chunk_stop[chunk])
            covered += mine
            assert all(owner.setdefault(int(segments.row[s]), chunk) == chunk for s in mine)
        lengths = (
            segments.indptr[segments.chunk_stop[start:stop]]
            - segments.indptr[segments.chunk_start[start:stop]]
        )
        assert (np.diff(lengths) <= 0).all(), "the longest first"
    assert sorted(covered) == list(range(len(segments.row)))


@given(st.lists(st.integers(0, 9), max_size=40))
def test_every_row_is_a_segment_of_its_own(counts: list[int]) -> None:
    segments = by_rows(np.array(counts, np.int64))
    assert segments.has_whole_rows
    assert segments.row.tolist() == list(range(len(counts)))
    assert np.diff(segments.indptr).tolist() == counts
    assert segments.is_first.all()
    assert segments.levels == 0
    require_chunks_cover_the_segments(segments)


@given(st.data())
def test_ratings_are_in_the_segments_of_their_rows_and_blocks(data: st.DataObject) -> None:
    num_rows, num_users = 5, data.draw(st.integers(4, 9))
    per_user = np.array(data.draw(st.lists(st.integers(0, 6), min_size=num_users, max_size=num_users)))
    indptr, num_ratings = np.append(0, np.cumsum(per_user)), int(per_user.sum())
    row = np.array(
        data.draw(st.lists(st.integers(0, num_rows - 1), min_size=num_ratings, max_size=num_ratings)),
        np.int32,
    )
    cuts = [0, *sorted(data.draw(st.lists(st.integers(0, num_users), min_size=3, max_size=3))), num_users]
    blocks = [UserRange(start, stop) for start, stop in pairwise(cuts)]
    subtrees = data.draw(st.sampled_from([[range(4)], [range(2), range(2, 4)], [range(1), range(1, 4)]]))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(schedule, "TILE_RATINGS", data.draw(st.sampled_from([1, 4, 1000])))
        tiles = ratings_of_tiles(indptr, tiles_of_blocks(indptr, blocks))
        segments, place = by_tiles(row, num_rows, tiles, subtrees)

    assert sorted(place) == list(range(len(row)))
    segment = np.searchsorted(segments.indptr, place, side="right") - 1
    block_of_user = np.repeat(np.arange(4), [len(block) for block in blocks])
    assert (segments.row[segment] == row).all()
    assert (segments.block[segment] == np.repeat(block_of_user, per_user)).all()
    for r in range(num_rows):
        assert (np.diff(place[row == r]) > 0).all(), "a row's ratings stay in order"
    for subtree, of_subtree in zip(subtrees, segments.subtrees, strict=True):
        chunks = slice(segments.tile_chunks[of_subtree.start], segments.tile_chunks[of_subtree.stop])
        mine = slice(segments.chunk_start[chunks].min(), segments.chunk_stop[chunks].max())
        assert set(segments.row[mine]) == set(range(num_rows)), "every row's sums are written"
        assert set(segments.block[mine]) <= set(subtree)
    require_chunks_cover_the_segments(segments)


@pytest.mark.parametrize("tile_ratings", [1, 7, 1000])
def test_tiles_hold_every_rating_once_and_whole_users(
    tile_ratings: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(schedule, "TILE_RATINGS", tile_ratings)
    user = random_ratings(9, 12, 40).user
    indptr = np.searchsorted(user, np.arange(10))
    users = [UserRange(0, 4), UserRange(4, 4), UserRange(4, 9)]
    blocks = ratings_of_tiles(indptr, tiles_of_blocks(indptr, users))
    assert [(tiles[0].start, tiles[-1].stop) for tiles in blocks] == [
        (0, indptr[4]),
        (indptr[4], indptr[4]),
        (indptr[4], 40),
    ]
    every = [ratings for tiles in blocks for ratings in tiles]
    assert [ratings.start for ratings in every] == [0, *(ratings.stop for ratings in every[:-1])]
    assert {end for ratings in every for end in (ratings.start, ratings.stop)} <= set(indptr.tolist())
