"""Made-up ratings: the same for any cut of the users, of the shape asked for."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cofi_dist.data.sources import population, synthetic
from cofi_dist.data.sources.synthetic import SyntheticRatings
from cofi_dist.errors import ConfigError
from cofi_dist.sharding.ranges import UserRange
from tests.support.made_up import assert_any_part_is_cut_from_the_whole


def test_default_shape_is_ml_latest_smalls() -> None:
    made_up = SyntheticRatings(610, 9724, 100_836, seed=0)
    ratings = made_up.load(UserRange(0, 610))
    assert len(ratings) == 100_836
    assert set(np.unique(ratings.value * 2)) == set(range(1, 11))
    per_user, per_item = np.bincount(ratings.user), np.sort(np.bincount(ratings.item, minlength=9724))
    assert np.array_equal(per_user, made_up.ratings_per_user())
    assert per_user.max() > 20 * np.median(per_user), "activity has a long tail"
    assert per_item[-972:].sum() > 0.5 * len(ratings), "popularity has a long tail"


@given(st.data())
def test_any_cut_gives_the_same_ratings(data: st.DataObject) -> None:
    num_users, num_items = data.draw(st.integers(1, 40)), data.draw(st.integers(1, 20))
    num_ratings = data.draw(st.integers(1, num_users * ((num_items + 1) // 2)))
    made_up = SyntheticRatings(num_users, num_items, num_ratings, data.draw(st.integers(0, 5)))
    whole = assert_any_part_is_cut_from_the_whole(made_up, data)
    assert len(whole) == num_ratings


def test_cuts_across_blocks_of_users(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(population, "BLOCK_USERS", 4)
    made_up = SyntheticRatings(10, 30, 100, seed=3)
    parts = [made_up.load(UserRange(a, b)).value for a, b in ((0, 3), (3, 8), (8, 10))]
    assert np.array_equal(np.concatenate(parts), made_up.load(UserRange(0, 10)).value)


def test_too_many_ratings_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"num_ratings: 51 is more than half of 10 users x 10 items"):
        SyntheticRatings(10, 10, 51, seed=0)


def test_the_planted_truth_has_the_rmse_that_is_said_to_be_best() -> None:
    made_up = SyntheticRatings(1000, 300, 50_000, seed=2)
    ratings = made_up.load(UserRange(0, 1000))
    _, user, item, truth = made_up._planted(0)
    assert np.array_equal(user, ratings.user)
    assert np.array_equal(item, ratings.item)
    # what is expected of a rating differs from the truth only near the ends of the scale
    middle = (truth > 2.0) & (truth < 3.5)
    rmse = np.sqrt(np.mean((truth - ratings.value)[middle] ** 2))
    assert rmse == pytest.approx(np.sqrt(synthetic.NOISE_STD**2 + 0.5**2 / 12), rel=0.02)
    levels, bins = (
        np.arange(0.5, 5.1, 0.5),
        np.digitize(truth, np.quantile(truth, np.linspace(0, 1, 200)[1:-1])),
    )
    # the spread of the ratings of nearly equal truth
    spread = [ratings.value[bins == k].var() for k in np.unique(bins)]
    assert np.sqrt(np.mean(spread)) == pytest.approx(made_up.best_rmse(), rel=0.02)
    assert set(ratings.value) <= set(levels)


def test_the_planted_taste_is_more_than_noise() -> None:
    made_up = SyntheticRatings(300, 200, 12_000, seed=1)
    value = made_up.load(UserRange(0, 300)).value
    assert value.std() > 1.1 * synthetic.NOISE_STD


def test_the_best_rmse_is_known_where_the_first_users_have_no_ratings() -> None:
    made_up = SyntheticRatings(50_000, 50, 1, seed=0)
    assert not made_up.counts[: population.BLOCK_USERS].any(), "the case that is meant"
    assert 0.5 < made_up.best_rmse() < 1.0


def test_a_block_is_drawn_once_for_all_the_parts_asked_for_in_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    made_up, drawn = SyntheticRatings(2500, 50, 9000, seed=0), list[int]()
    planted = SyntheticRatings._planted

    def counted(self: SyntheticRatings, block: int) -> synthetic.Planted:
        drawn.append(block)
        return planted(self, block)

    monkeypatch.setattr(SyntheticRatings, "_planted", counted)
    parts = [made_up.load(UserRange(at, min(at + 256, 2500))) for at in range(0, 2500, 256)]
    assert drawn == [0, 1, 2]
    whole = SyntheticRatings(2500, 50, 9000, seed=0).load(UserRange(0, 2500))
    assert np.array_equal(np.concatenate([part.value for part in parts]), whole.value)
    assert np.array_equal(np.concatenate([part.user + 256 * k for k, part in enumerate(parts)]), whole.user)


@pytest.mark.parametrize("key", ["num_users", "num_items"])
def test_more_rows_than_can_be_numbered_are_refused(key: str) -> None:
    sizes = {"num_users": 2, "num_items": 2, "num_ratings": 1, key: 2**31}
    with pytest.raises(ConfigError, match=rf"data\.synthetic\.{key}: 2147483648 is too many"):
        SyntheticRatings(**sizes, seed=0)


@given(st.integers(1, 300), st.integers(0, 5))
def test_popularity_is_drawn_as_by_a_search(num_items: int, seed: int) -> None:
    items = population.Population(1, num_items, 1, seed).items
    drawn = items.draw(np.random.default_rng(seed), 500)
    uniform = np.random.default_rng(seed).random(500)
    assert np.array_equal(drawn, np.minimum(np.searchsorted(items.cumulative, uniform), num_items - 1))
