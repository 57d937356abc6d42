"""Item means and other offsets, held to their formulas."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cofi_dist.config import SplitSection
from cofi_dist.data.item_means import item_offsets, item_sums, mean_centred
from cofi_dist.data.ratings import Ratings
from cofi_dist.distributed.comm import Comm, SoloComm
from cofi_dist.sharding.ranges import UserRange
from cofi_dist.sharding.reduction_tree import ReductionBlocks
from cofi_dist.testing import run_ranks
from tests.support.prepared import prepared
from tests.support.problems import random_ratings
from tests.support.ratings_files import random_table, save


def test_means_come_from_training_ratings_only(tmp_path: Path) -> None:
    table = random_table()
    with prepared(save(table, tmp_path / "r.csv"), test=SplitSection(by="last", n=3)) as stored:
        train = stored.load(UserRange(0, 20))
        seen = np.bincount(train.item, minlength=15) > 0
        for item, mean in enumerate(item_offsets(stored.item_sums, "item_mean", None)):
            mine = train.value[train.item == item] if seen[item] else train.value
            assert mean == pytest.approx(mine.mean())


def test_means_are_the_items_and_the_global_one_for_the_unseen() -> None:
    ratings = Ratings(np.array([0, 1, 1], np.int32), np.array([0, 0, 2], np.int32), np.array([1.0, 3.0, 5.0]))
    means = item_offsets(item_sums(ratings, 4, SoloComm()), "item_mean", None)
    assert means.tolist() == [2.0, 3.0, 5.0, 3.0]
    assert mean_centred(ratings, means).value.tolist() == [-1.0, 1.0, 0.0]


def test_other_centres_follow_their_formulas() -> None:
    ratings = Ratings(np.array([0, 1, 1], np.int32), np.array([0, 0, 2], np.int32), np.array([1.0, 3.0, 5.0]))
    sums = item_sums(ratings, 4, SoloComm())
    damped = [(4 + 2 * 3) / (2 + 2), 3.0, (5 + 2 * 3) / (1 + 2), 3.0]
    assert item_offsets(sums, "damped_item_mean", 2.0) == pytest.approx(damped)
    assert item_offsets(sums, "global_mean", None).tolist() == [3.0] * 4
    assert item_offsets(sums, "none", None).tolist() == [0.0] * 4


def test_means_are_the_same_on_any_number_of_ranks(tmp_path: Path) -> None:
    ratings = random_ratings(8, 6, 30)
    want = item_offsets(item_sums(ratings, 6, SoloComm()), "item_mean", None)
    for means in run_ranks(3, _means_of_my_users, ratings, tmp=tmp_path):
        assert means == pytest.approx(want, rel=1e-12)


def _means_of_my_users(comm: Comm, ratings: Ratings) -> object:
    users = (UserRange(0, 5), UserRange(5, 5), UserRange(5, 8))[comm.rank]
    mine = ratings.masked((ratings.user >= users.start) & (ratings.user < users.stop))
    shifted = replace(mine, user=mine.user - np.int32(users.start))
    return item_offsets(item_sums(shifted, 6, comm), "item_mean", None)


@given(st.data())
def test_weighted_sums_follow_their_formulas(data: st.DataObject) -> None:
    num_users, num_items = data.draw(st.integers(1, 9)), data.draw(st.integers(1, 6))
    ratings = weighted(num_users, num_items, data.draw(st.integers(1, num_users * num_items)))
    blocks = ReductionBlocks.single(num_users)
    sums = item_sums(ratings, num_items, SoloComm(), blocks)
    assert ratings.weight is not None
    means = item_offsets(sums, "item_mean", None)
    damped = item_offsets(sums, "damped_item_mean", 2.0)
    overall = np.average(ratings.value, weights=ratings.weight)
    assert sums.global_mean == pytest.approx(overall)
    for item in range(num_items):
        mine = ratings.item == item
        value, weight = ratings.value[mine], ratings.weight[mine]
        assert sums.count[item] == mine.sum()
        assert means[item] == pytest.approx(np.average(value, weights=weight) if mine.any() else overall)
        want = np.append(value, [overall]), np.append(weight, [2.0])
        assert damped[item] == pytest.approx(np.average(want[0], weights=want[1]))
    as_one = Ratings(ratings.user, ratings.item, ratings.value, np.ones(len(ratings)))
    plain = Ratings(ratings.user, ratings.item, ratings.value)
    ones, none = (item_sums(each, num_items, SoloComm(), blocks) for each in (as_one, plain))
    assert np.array_equal(ones.total, none.total)
    assert np.array_equal(ones.weight, none.count)


def weighted(num_users: int, num_items: int, num_ratings: int) -> Ratings:
    drawn = random_ratings(num_users, num_items, num_ratings)
    weight = np.random.default_rng(1).lognormal(size=num_ratings)
    return Ratings(drawn.user, drawn.item, drawn.value, weight)


def test_weighted_means_are_the_same_on_any_number_of_ranks(tmp_path: Path) -> None:
    ratings = weighted(8, 6, 30)
    want = item_offsets(item_sums(ratings, 6, SoloComm()), "item_mean", None)
    for means in run_ranks(3, _means_of_my_users, ratings, tmp=tmp_path):
        assert means == pytest.approx(want, rel=1e-12)
