"""Made-up events: the same for any cut of the users, with a taste that can be learnt."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cofi_dist.config import DataSection
from cofi_dist.data.sources import population
from cofi_dist.data.sources.base import Source
from cofi_dist.data.sources.open import open_source
from cofi_dist.data.sources.synthetic import SyntheticRatings
from cofi_dist.data.sources.synthetic_events import SyntheticEvents
from cofi_dist.ranking.metrics import METRICS, rank_users
from cofi_dist.ranking.pairs import UserItemPairs
from cofi_dist.ranking.ranker import Ranker
from cofi_dist.ranking.top_k import TopK
from cofi_dist.sharding.ranges import UserRange
from tests.support.made_up import assert_any_part_is_cut_from_the_whole


@given(st.data())
def test_any_cut_gives_the_same_events(data: st.DataObject) -> None:
    num_users, num_items = data.draw(st.integers(1, 40)), data.draw(st.integers(1, 20))
    num_pairs = data.draw(st.integers(1, num_users * ((num_items + 1) // 2)))
    made_up = SyntheticEvents(num_users, num_items, num_pairs, data.draw(st.integers(0, 5)))
    whole = assert_any_part_is_cut_from_the_whole(made_up, data)
    assert np.array_equal(np.bincount(whole.user, minlength=num_users), made_up.ratings_per_user())
    assert len(whole) == num_pairs
    assert (whole.value >= 1).all()
    assert np.array_equal(whole.value, np.round(whole.value))


def test_cuts_across_blocks_of_users(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(population, "BLOCK_USERS", 4)
    made_up = SyntheticEvents(10, 30, 100, seed=3)
    parts = [made_up.load(UserRange(a, b)).value for a, b in ((0, 3), (3, 8), (8, 10))]
    assert np.array_equal(np.concatenate(parts), made_up.load(UserRange(0, 10)).value)


def test_the_planted_truth_is_judged_as_evaluate_judges_models() -> None:
    made_up = SyntheticEvents(200, 150, 4000, seed=2)
    test = made_up_source(num_users=200, num_items=150, num_ratings=4000, seed=2).load(
        UserRange(0, 200), "test"
    )
    all_ = made_up.load(UserRange(0, 200))
    held_out = UserItemPairs(test.user.astype(int), test.item.astype(int))
    pairs = UserItemPairs(all_.user.astype(int), all_.item.astype(int))
    known = pairs.masked(~pairs.isin(held_out, 150))
    scores = made_up._planted(0).taste.scores(200).astype(np.float64)
    ranker = Ranker(scores.T, np.zeros(150))  # its users are unit vectors

    def best(users: np.ndarray, left_out: UserItemPairs) -> TopK:
        return ranker.best(np.eye(200)[users], np.zeros(len(users)), 10, left_out)

    want = rank_users(best, held_out, known, (200, 150), 10).metrics
    found = made_up.best_ndcg()
    assert found is not None
    assert found[0] == pytest.approx(want[:, METRICS.index("ndcg")].mean(), rel=1e-12)
    assert made_up.notes == [
        "made-up events: with a random fifth held out, the planted truth itself has an NDCG@10 of"
        f" {found[0]:.4f}, and popularity one of {found[1]:.4f}"
    ]


def made_up_source(**shape: int) -> Source:
    data = {"synthetic": shape, "feedback": "implicit", "test": {"fraction": 0.2}}
    return open_source(DataSection.model_validate(data), Path())


def test_the_taste_is_worth_more_than_popularity() -> None:
    found = SyntheticEvents(610, 9724, 100_836, seed=0).best_ndcg()
    assert found is not None
    truth, popularity = found
    assert truth > 1.5 * popularity


def test_what_is_taken_more_often_matches_better() -> None:
    made_up = SyntheticEvents(300, 400, 9000, seed=1)
    ratings, planted = made_up.load(UserRange(0, 300)), made_up._planted(0)
    chance = planted.taste.acceptance(planted.user, planted.item)
    assert chance[ratings.value > 2].mean() > chance[ratings.value == 1].mean() + 0.05


def test_nothing_is_said_if_nothing_is_held_out() -> None:
    all_made_up = [SyntheticEvents(1, 3, 1, seed) for seed in range(20)]
    silent = [made_up for made_up in all_made_up if made_up.best_ndcg() is None]
    assert silent
    assert silent[0].notes == []


def test_the_config_chooses_between_ratings_and_events() -> None:
    shape = {"num_users": 20, "num_items": 30, "num_ratings": 90}
    events = open_source(DataSection.model_validate({"synthetic": shape, "feedback": "implicit"}), Path())
    ratings = open_source(DataSection.model_validate({"synthetic": shape}), Path())
    assert (events.feedback, events.scale) == ("implicit", (-np.inf, np.inf))
    assert (ratings.feedback, ratings.scale) == ("explicit", (0.5, 5.0))
    assert events.fingerprint() != ratings.fingerprint()
    everyone, directly = UserRange(0, 20), SyntheticRatings(20, 30, 90, 0)
    assert np.array_equal(ratings.load(everyone).value, directly.load(everyone).value)
