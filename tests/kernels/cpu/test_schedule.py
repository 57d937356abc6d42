"""The order in which the compiled loops read the ratings."""

import numpy as np
import pytest

from cofi_dist.kernels.cpu import schedule
from cofi_dist.kernels.cpu.schedule import tiles_of_blocks
from cofi_dist.sharding.ranges import UserRange
from tests.support.problems import random_ratings


@pytest.mark.parametrize("tile_ratings", [1, 7, 1000])
def test_tiles_hold_every_rating_once_and_whole_users(
    tile_ratings: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(schedule, "TILE_RATINGS", tile_ratings)
    user = random_ratings(9, 12, 40).user
    indptr = np.searchsorted(user, np.arange(10))
    blocks = tiles_of_blocks(indptr, [UserRange(0, 4), UserRange(4, 4), UserRange(4, 9)])
    assert [(tiles[0].start, tiles[-1].stop) for tiles in blocks] == [
        (0, indptr[4]),
        (indptr[4], indptr[4]),
        (indptr[4], 40),
    ]
    every = [ratings for tiles in blocks for ratings in tiles]
    assert [ratings.start for ratings in every] == [0, *(ratings.stop for ratings in every[:-1])]
    assert {end for ratings in every for end in (ratings.start, ratings.stop)} <= set(indptr.tolist())
