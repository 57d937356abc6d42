"""The ratings of one rank: centred, as a sparse matrix, whatever the size of the pieces."""

import numpy as np
import pytest

from cofi_dist.data import shard as shard_module
from cofi_dist.data.shard import UserShard
from cofi_dist.sharding.ranges import UserRange
from cofi_dist.sharding.reduction_tree import ReductionBlocks
from tests.support.problems import random_ratings


@pytest.mark.parametrize("piece_ratings", [1, 7, 2**20])
def test_rows_of_the_matrix_are_the_users_centred_ratings(
    piece_ratings: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shard_module, "PIECE_RATINGS", piece_ratings)
    ratings, offsets = random_ratings(6, 5, 20), np.arange(5) / 7
    shard = UserShard(UserRange(3, 9), 5, ratings, ReductionBlocks.single(6), offsets)
    indptr, item, value = shard.indptr(), shard.ratings.item, shard.centred(np.float32)
    for user in range(6):
        row = slice(indptr[user], indptr[user + 1])
        mine = ratings.user == user
        assert np.array_equal(item[row], ratings.item[mine])
        want = (ratings.value[mine] - offsets[ratings.item[mine]]).astype(np.float32)
        assert np.array_equal(value[row], want)
    assert np.array_equal(shard.ratings_per_user(), np.diff(indptr))


def test_a_shard_of_a_single_block_has_all_users_in_it() -> None:
    blocks = UserShard.single_block(UserRange(3, 9), 5, random_ratings(6, 5, 20)).blocks
    assert blocks.users == (UserRange(0, 6),)
