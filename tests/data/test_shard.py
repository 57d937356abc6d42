"""A rank's ratings in tiles."""

import pytest

from cofi_dist.data import shard as shard_module
from cofi_dist.data.shard import UserShard
from cofi_dist.kernels.cpu.backend import ratings_of_tiles
from cofi_dist.sharding.ranges import UserRange
from tests.support.problems import random_ratings


@pytest.mark.parametrize("block_ratings", [1, 7, 1000])
def test_tiles_hold_every_rating_once(block_ratings: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shard_module, "TILE_RATINGS", block_ratings)
    ratings = random_ratings(9, 12, 40)
    shard = UserShard(UserRange(0, 9), 12, ratings)
    (tiles,), ((*slices,),) = shard.tiles(), ratings_of_tiles(shard)
    assert [rows.start for rows in slices] == [0, *(rows.stop for rows in slices[:-1])]
    assert slices[-1].stop == len(ratings)
    for users, rows in zip(tiles, slices, strict=True):
        assert ((ratings.user[rows] >= users.start) & (ratings.user[rows] < users.stop)).all()
