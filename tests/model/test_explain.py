"""The contributions of a user's ratings add up to the score that folding them in gives."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from cofi_dist.data.ratings import Ratings
from cofi_dist.errors import DataError, RunError
from cofi_dist.model import Explanation, FoldedUser, Model, RunRatings
from cofi_dist.sharding.ranges import UserRange
from tests.support.models import Halves, made_up, rated_halves, trained

OBJECTIVES = {
    "ratings": [],
    "ratings without user biases": ["model.user_bias=false"],
    "ratings, all switches": ["train={lambda_: 2.0, lambda_power: 0.5, lambda_b: 0.7}"],
    "ratings and no regulariser": ["train.lambda_=0.0"],
    "ratings and the unknown": ["train.unknown_weight=0.05"],
    "ratings and the unknown, no user biases": ["train.unknown_weight=3.0", "model.user_bias=false"],
    "events": ["data.feedback=implicit", "train.alpha=40"],
    "events with user biases": ["data.feedback=implicit", "model.user_bias=true", "train.lambda_b=0.3"],
    "events alone": ["data.feedback=implicit", "train.unknown_weight=0", "train.alpha=0.5"],
}


def _score(model: Model, folded: FoldedUser, row: int) -> float:
    x, offset = np.asarray(model.scorer.X[row]), float(model.scorer.offset[row])
    return float(x @ np.asarray(folded.w)) + folded.b + offset


@pytest.mark.parametrize("item_bias", [False, True], ids=["plain", "item bias"])
@pytest.mark.parametrize("settings", OBJECTIVES.values(), ids=OBJECTIVES.keys())
def test_the_contributions_add_up_to_the_folded_in_score(
    settings: list[str], item_bias: bool, tmp_path: Path
) -> None:
    model = made_up(tmp_path, 6, 30, *settings, item_bias=item_bias)
    model.item_counts[7] = 0
    rated = rated_halves(model, 60)
    for user in range(6):
        own = rated.load(UserRange(user, user + 1))
        folded = model.fold_in(model.items.raw[own.item], own.value)
        for item in (100, 107, 100 + int(own.item[0])):
            found = model.explain(f"u{user:04}", item, rated)
            want = _score(model, folded, item - 100)
            assert found.score == pytest.approx(want, abs=1e-10)
            assert sorted(found.ratings["item"]) == (100 + own.item).tolist()


def test_a_contribution_is_what_the_score_gains_by_the_rating(tmp_path: Path) -> None:
    """Without what a rating says beyond the item's own offset, the score lacks its contribution."""
    model, item = made_up(tmp_path, 3, 30, "train.lambda_=0.5"), 111
    rated = rated_halves(model, 40)
    own = rated.load(UserRange(1, 2))
    found = model.explain("u0001", item, rated)
    first = int(own.item[0])
    of_first = found.ratings.filter(pl.col("item") == first + 100)["contribution"].item()
    values = own.value.copy()
    values[0] = float(model.scorer.offset[first])  # nothing beyond what it scores for everybody
    without = replace(rated, source=_Given(rated, Ratings(own.user, own.item, values)))
    assert found.score - model.explain("u0001", item, without).score == pytest.approx(of_first, abs=1e-10)


class _Given(Halves):
    """The same ratings of every user."""

    def __init__(self, rated: RunRatings, ratings: Ratings) -> None:
        self.num_users, self.num_items = map(len, rated.ids)
        self.ratings = ratings

    def load(self, users: UserRange, part: str = "train") -> Ratings:
        return self.ratings


def test_the_largest_contributions_come_first(tmp_path: Path) -> None:
    model = made_up(tmp_path, 3, 30)
    found = model.explain("u0001", 104, rated_halves(model, 40))
    sizes = found.ratings["contribution"].abs().to_list()
    assert sizes == sorted(sizes, reverse=True)
    assert found.ratings.columns == ["item", "value", "contribution"]


def test_weights_of_ratings_count(tmp_path: Path) -> None:
    """A rating of weight 2 contributes what two do that are alike."""
    model = made_up(tmp_path, 3, 30, "train={lambda_: 0.5, lambda_power: 0}")
    item, value = np.array([3, 8], np.int32), np.array([1.5, 4.5])
    twice = Ratings(np.zeros(2, np.int32), item, value, np.array([1.0, 2.0]))
    thrice = Ratings(np.zeros(3, np.int32), item[[0, 1, 1]], value[[0, 1, 1]])
    rated = rated_halves(model, 40)
    of_both = [
        model.explain("u0001", 104, replace(rated, source=_Given(rated, own))) for own in (twice, thrice)
    ]
    weighted, repeated = [
        dict(found.ratings.group_by("item").agg(pl.col("contribution").sum()).iter_rows())
        for found in of_both
    ]
    assert weighted == pytest.approx(repeated, abs=1e-12)


SYNTHETIC = "data: {synthetic: {num_users: 20, num_items: 15, num_ratings: 100}}\n"
ALS = "train: {optimizer: als, epochs: 100, log_every: 100, lambda_: 0.3, dtype: float64}\n"


def test_a_converged_model_has_the_trained_scores(tmp_path: Path) -> None:
    model = trained(tmp_path, f"{SYNTHETIC}model: {{num_features: 2}}\n{ALS}")
    found = model.explain(3, 5)
    assert isinstance(found, Explanation)
    assert found.score == pytest.approx(found.trained_score, abs=1e-6)
    lists = model.recommend([3], 15)
    assert lists.filter(pl.col("item") == 5)["score"].item() == found.trained_score, "to the last bit"


@pytest.fixture
def model(tmp_path: Path) -> Model:
    return made_up(tmp_path, 3, 30)


def test_what_cannot_be_explained_is_refused(model: Model, tmp_path: Path) -> None:
    nobody = replace(rated_halves(model, 40), source=Halves(3, 30, 0))
    with pytest.raises(RunError, match=r"^user u0001 has no training ratings, so none of theirs explains"):
        model.explain("u0001", 104, nobody)
    with pytest.raises(DataError, match="the model has no item 7"):
        model.explain("u0001", 7, nobody)
    with pytest.raises(DataError, match="the model has no user zoe"):
        model.explain("zoe", 104, nobody)
    with pytest.raises(DataError, match=r"rated has other users than the model"):
        model.explain("u0001", 104, rated_halves(made_up(tmp_path, 4, 30), 40))
    with pytest.raises(RunError, match="has come without its ratings"):
        model.explain("u0001", 104)


@pytest.mark.parametrize("settings", OBJECTIVES.values(), ids=OBJECTIVES.keys())
def test_the_score_of_a_folded_in_user_is_explained_by_their_own_ratings(
    settings: list[str], tmp_path: Path
) -> None:
    model = made_up(tmp_path, 3, 30, *settings)
    folded = model.fold_in([102, 9, 107], [4.0, 1.0, 2.5])
    found = model.explain(folded, 111)
    assert dict(found.ratings.select("item", "value").iter_rows()) == {102: 4.0, 107: 2.5}
    assert found.score == pytest.approx(found.trained_score, abs=1e-10)
    lists = model.recommend(folded, 30)
    assert lists.filter(pl.col("item") == 111)["score"].item() == found.trained_score, "to the last bit"
