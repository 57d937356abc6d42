"""Held-out parts chosen as ratings are loaded: in any pieces, in bounded memory."""

import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cofi_dist.config import DataSection, SplitSection
from cofi_dist.data.ratings import Ratings
from cofi_dist.data.sources import split_on_load
from cofi_dist.data.sources.open import open_source
from cofi_dist.data.sources.split_on_load import SplitOnLoad
from cofi_dist.data.sources.synthetic import SyntheticRatings
from cofi_dist.data.splits import PARTS, Part, held_out
from cofi_dist.sharding.ranges import UserRange

SPLITS: dict[Part, SplitSection] = {
    "test": SplitSection(seed=3),
    "validation": SplitSection.model_validate({"by": "leave_one_out"}),
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
    source = SplitOnLoad(SyntheticRatings(30_000, 2000, 4_000_000, seed=1), {"test": SplitSection(seed=3)})
    tracemalloc.start()
    ratings = source.load(UserRange(0, 30_000))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(ratings) > 3_000_000
    # 16 bytes each of all of them and of those that stay, and what a piece takes
    assert peak < 40 * 4_000_000 + 100 * split_on_load.SPLIT_BATCH


@given(st.data())
def test_any_cut_of_the_users_is_split_alike(data: st.DataObject) -> None:
    by = data.draw(st.sampled_from(["random", "leave_one_out"]))
    given_data = DataSection.model_validate(
        {
            "synthetic": {"num_users": 20, "num_items": 15, "num_ratings": 90},
            "test": {"by": by, "seed": data.draw(st.integers(0, 3))},
            "validation": {"by": "random", "fraction": 0.4},
        }
    )
    source = open_source(given_data, Path())
    start = data.draw(st.integers(0, 20))
    users = UserRange(start, data.draw(st.integers(start, 20)))
    assert source.parts == ("train", *held_out(given_data))
    count = 0
    for part in PARTS:
        whole, cut = source.load(UserRange(0, 20), part), source.load(users, part)
        count += len(whole)
        mine = (whole.user >= users.start) & (whole.user < users.stop)
        assert same(cut, Ratings(whole.user[mine] - np.int32(start), whole.item[mine], whole.value[mine]))
    assert count == 90


def same(a: Ratings, b: Ratings) -> bool:
    return all(np.array_equal(getattr(a, name), getattr(b, name)) for name in ("user", "item", "value"))
