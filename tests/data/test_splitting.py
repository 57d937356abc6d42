"""Held-out parts chosen as ratings are loaded: in any pieces, in bounded memory."""

import tracemalloc

import numpy as np
import pytest

from cofi_dist.config import Split
from cofi_dist.data.sources import split_on_load
from cofi_dist.data.sources.split_on_load import SplitOnLoad
from cofi_dist.data.sources.synthetic import SyntheticRatings
from cofi_dist.data.splits import Part
from cofi_dist.sharding.ranges import UserRange

SPLITS: dict[Part, Split] = {
    "test": Split(seed=3),
    "validation": Split.model_validate({"by": "leave_one_out"}),
}


@pytest.mark.parametrize("at_once", [1, 100, 2**20])
def test_pieces_of_any_size_give_the_same_parts(at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    users = UserRange(7, 150)
    source = SplitOnLoad(SyntheticRatings(200, 80, 3000, seed=1), SPLITS)
    want = {part: source.load(users, part) for part in source.parts}
    monkeypatch.setattr(split_on_load, "SPLIT_BATCH", at_once)
    for part in source.parts:
        got = source.load(users, part)
        assert np.array_equal(got.user, want[part].user)
        assert np.array_equal(got.item, want[part].item)
    assert sum(map(len, want.values())) == int(source.ratings_per_user()[7:150].sum())


def test_choosing_takes_little_more_than_the_ratings_themselves() -> None:
    source = SplitOnLoad(SyntheticRatings(30_000, 2000, 4_000_000, seed=1), {"test": Split(seed=3)})
    tracemalloc.start()
    ratings = source.load(UserRange(0, 30_000))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(ratings) > 3_000_000
    # 16 bytes each of all of them and of those that stay, and what a piece takes
    assert peak < 40 * 4_000_000 + 100 * split_on_load.SPLIT_BATCH
