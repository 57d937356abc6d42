"""A new user's weights and bias: the exact minimiser, and what a converged run has found too."""

from pathlib import Path

import numpy as np
import pytest
import torch

from cofi_dist.errors import DataError
from cofi_dist.model import Model
from cofi_dist.model.fold_in import FoldedUser
from cofi_dist.sharding.ranges import UserRange
from tests.support.models import made_up, trained


def gradient(model: Model, folded: FoldedUser, items: list[int], ratings: list[float]) -> np.ndarray:
    """Of the training objective at the folded user's w and b, cell by cell."""
    train = model.config.train
    w, c = folded.w.numpy(), model.factors.c
    weight = train.lambda_ * len(items) ** train.lambda_power
    dw, db = weight * w, train.lambda_b * folded.b
    for item, rating in zip(items, ratings, strict=True):
        i = item - 100
        x = model.factors.X[i].double().numpy()
        fixed = float(model.item_means[i]) + (0.0 if c is None else float(c[0, i]))
        err = float(w @ x) + folded.b + fixed - rating
        dw, db = dw + err * x, db + err
    return np.append(dw, db)


@pytest.mark.parametrize("item_bias", [False, True], ids=["plain", "item bias"])
@pytest.mark.parametrize("power", [0.0, 0.5, 1.0])
@pytest.mark.parametrize(("lambda_", "lambda_b"), [(1.0, 0.0), (10.0, 3.0), (1e-6, 0.0), (0.0, 0.0)])
@pytest.mark.parametrize("count", [1, 3, 20])
def test_the_gradient_vanishes(
    count: int, lambda_: float, lambda_b: float, power: float, item_bias: bool, tmp_path: Path
) -> None:
    settings = f"train={{lambda_: {lambda_:f}, lambda_b: {lambda_b}, lambda_power: {power}}}"
    model = made_up(tmp_path, 3, 30, settings, item_bias=item_bias)
    rng = np.random.default_rng(count)
    items = (100 + rng.choice(30, count, replace=False)).tolist()
    ratings = rng.choice(np.arange(0.5, 5.5, 0.5), count).tolist()
    folded = model.fold_in(items, ratings)
    assert np.abs(gradient(model, folded, items, ratings)).max() < 1e-12 * max(1.0, lambda_) * 100


def test_it_is_the_solution_of_the_normal_equations(tmp_path: Path) -> None:
    model = made_up(tmp_path, 3, 30, "train={lambda_: 2.0, lambda_b: 0.5, lambda_power: 1.0}")
    items, ratings = [103, 111, 120, 121, 127], [4.0, 0.5, 3.5, 5.0, 2.0]
    rows = [i - 100 for i in items]
    A = np.column_stack([model.factors.X[rows].numpy(), np.ones(5)])
    assert model.factors.c is not None
    target = np.array(ratings) - (model.item_means + model.factors.c[0])[rows].numpy()
    want = np.linalg.solve(A.T @ A + np.diag([10.0] * 4 + [0.5]), A.T @ target)
    got = model.fold_in(items, ratings)
    np.testing.assert_allclose(np.append(got.w.numpy(), got.b), want, rtol=1e-11)


def test_without_lambda_the_shortest_solution_fits_few_ratings_exactly(tmp_path: Path) -> None:
    model = made_up(tmp_path, 3, 30, "train.lambda_=0.0")
    folded = model.fold_in([104, 109], [1.5, 4.5])
    np.testing.assert_allclose(model.predict(folded, [104, 109]), [1.5, 4.5], atol=1e-12)
    assert float(folded.w.norm()) < 10


SETTINGS = {
    "plain": [],
    "all switches": ["model.item_bias=true", "train.lambda_power=0.5", "train.lambda_b=0.7"],
}
CONFIG = """
data: {synthetic: {num_users: 20, num_items: 15, num_ratings: 150}}
model: {num_features: 2}
train: {epochs: 2000, log_every: 2000, lr: 0.01, lambda_: 0.3, dtype: float64}
"""


@pytest.mark.parametrize("switches", SETTINGS.values(), ids=SETTINGS.keys())
def test_a_trained_user_folded_in_again_gets_the_trained_predictions(
    switches: list[str], tmp_path: Path
) -> None:
    model = trained(tmp_path, CONFIG, *switches)
    rated = model.rated(tmp_path / "run")
    everything = model.items.raw
    for user in range(20):
        theirs = rated.load(range_of(user))
        if not len(theirs):
            continue
        folded = model.fold_in(model.items.raw[theirs.item], theirs.value)
        want = model.predict([user] * len(everything), everything)
        np.testing.assert_allclose(model.predict(folded, everything), want, atol=1e-4)
    assert float(model.factors.W.abs().max()) > 0.1, "the features are worth something"


def range_of(user: int) -> UserRange:
    return UserRange(user, user + 1)


def test_a_folded_user_is_recommended_what_they_have_not_rated(tmp_path: Path) -> None:
    model = made_up(tmp_path)
    folded = model.fold_in([104, 109], [1.5, 4.5])
    got = model.recommend(folded, k=30)
    assert len(got) == 28
    assert not {104, 109} & set(got["item"])
    scores = model.predict(folded, got["item"])
    np.testing.assert_allclose(got["prediction"], scores, rtol=1e-12)


def test_unknown_items_are_dropped_and_counted(tmp_path: Path) -> None:
    model = made_up(tmp_path)
    folded = model.fold_in([104, 7, 109, 8], [1.5, 3.0, 4.5, 3.0])
    assert folded.unknown == 2
    assert folded.rated.tolist() == [4, 9]
    alone = model.fold_in([104, 109], [1.5, 4.5])
    assert torch.equal(folded.w, alone.w)


@pytest.mark.parametrize(
    ("items", "ratings", "says"),
    [
        ([7, 8], [3.0, 3.0], "the model knows none of these 2 items"),
        ([], [], "the model knows none of these 0 items"),
        ([104, 104], [3.0, 4.0], "item 104 is rated twice"),
        ([104], [float("nan")], "the rating of item 104, nan, is not a finite number"),
        ([104], [5.5], "the rating of item 104, 5.5, is outside the training ratings' scale, 0.5 to 5"),
        ([104, 105], [3.0], "2 items, but 1 rating$"),
    ],
)
def test_ratings_that_cannot_be_used_are_refused(
    items: list[int], ratings: list[float], says: str, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match=says):
        made_up(tmp_path).fold_in(items, ratings)
