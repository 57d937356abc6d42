"""A new user's weights and bias: the exact minimiser, and what a converged run has found too."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import settings as settings_of_hypothesis
from hypothesis import strategies as st

from cofi_dist.errors import DataError
from cofi_dist.model import Model, fold_in
from cofi_dist.model.fold_in import FoldedUser
from cofi_dist.sharding.ranges import UserRange
from tests.support.models import made_up, trained


def gradient(model: Model, folded: FoldedUser, items: list[int], ratings: list[float]) -> np.ndarray:
    """Of the training objective at the folded user's w and b, cell by cell."""
    train = model.config.train
    w, c = folded.w, model.factors.c
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
    np.testing.assert_allclose(np.append(got.w, got.b), want, rtol=1e-11)


def test_without_lambda_the_shortest_solution_fits_few_ratings_exactly(tmp_path: Path) -> None:
    model = made_up(tmp_path, 3, 30, "train.lambda_=0.0")
    folded = model.fold_in([104, 109], [1.5, 4.5])
    np.testing.assert_allclose(model.predict(folded, [104, 109]), [1.5, 4.5], atol=1e-12)
    assert np.linalg.norm(folded.w) < 10


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


ALS = """
data: {synthetic: {num_users: 20, num_items: 15, num_ratings: 100}}
model: {num_features: 2}
train: {optimizer: als, epochs: 300, log_every: 300, lambda_: 0.3, dtype: float64}
"""
WITH_UNKNOWN = {
    "events": ["data.feedback=implicit", "train.alpha=3"],
    "all switches": [
        *("data.feedback=implicit", "model.item_bias=true", "model.user_bias=true"),
        *("train.lambda_power=0.5", "train.lambda_b=0.7", "train.unknown_weight=0.1"),
    ],
    "ratings": ["train.unknown_weight=0.2"],
    "ratings without user biases": ["train.unknown_weight=0.2", "model.user_bias=false"],
}


@pytest.mark.parametrize("switches", WITH_UNKNOWN.values(), ids=WITH_UNKNOWN.keys())
def test_a_trained_user_folded_in_again_with_the_unknown_pairs_gets_the_trained_scores(
    switches: list[str], tmp_path: Path
) -> None:
    model = trained(tmp_path, ALS, *switches)
    rated, everything = model.rated(tmp_path / "run"), model.items.raw
    for user in range(20):
        theirs = rated.load(range_of(user))
        folded = model.fold_in(model.items.raw[theirs.item], theirs.value)
        want = model.predict([user] * len(everything), everything)
        np.testing.assert_allclose(model.predict(folded, everything), want, atol=1e-6)
    assert float(model.factors.W.abs().max()) > 0.1, "the features are worth something"
    assert bool(model.factors.b.any()) == model.config.model.user_bias


def range_of(user: int) -> UserRange:
    return UserRange(user, user + 1)


# Models whose objective has more than the known ratings.
OBJECTIVES = {
    "events": ["data.feedback=implicit"],
    "events, little weight": ["data.feedback=implicit", "train.unknown_weight=0.01", "train.alpha=40"],
    "events alone": ["data.feedback=implicit", "train.unknown_weight=0", "train.alpha=0.5"],
    "events with user biases": ["data.feedback=implicit", "model.user_bias=true"],
    "ratings and the unknown": ["train.unknown_weight=0.05"],
    "ratings without user biases": ["model.user_bias=false"],
    "heavy unknown": ["train.unknown_weight=3.0", "model.user_bias=false"],
}


def over_all_cells(model: Model, items: list[int], values: list[float]) -> np.ndarray:
    """Minimise one user's part of J over all cells, in float64: a row of a least-squares problem for each."""
    train, factors, num_items = model.config.train, model.factors, len(model.items)
    X, c = factors.X.double().numpy(), factors.item_bias_or_zeros().double().numpy()
    weight, target = np.full(num_items, train.unknown_weight), np.zeros(num_items)
    for item, value in zip(items, values, strict=True):
        row = item - 100
        if train.alpha is not None:
            weight[row], target[row] = 1 + train.alpha * value, 1
        else:
            weight[row], target[row] = 1, value - float(model.item_means[row])
    design = np.column_stack([X, np.ones(num_items)])
    count = len(items) + train.unknown_weight * num_items
    penalty = np.full(design.shape[1], train.lambda_ * count**train.lambda_power)
    penalty[-1] = train.lambda_b
    if not model.config.model.user_bias:
        design, penalty = design[:, :-1], penalty[:-1]
    root = np.sqrt(weight)
    system = np.vstack([root[:, None] * design, np.diag(np.sqrt(penalty))])
    v = np.linalg.lstsq(system, np.concatenate([root * (target - c), np.zeros(len(penalty))]), rcond=None)[0]
    return v if model.config.model.user_bias else np.append(v, 0.0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("models")


@pytest.mark.parametrize("settings", OBJECTIVES.values(), ids=OBJECTIVES.keys())
@settings_of_hypothesis(max_examples=15, deadline=None)
@given(
    seed=st.integers(0, 99),
    of_item=st.dictionaries(st.integers(100, 129), st.sampled_from([0.5, 1.0, 3.0, 5.0]), min_size=1),
    regulariser=st.sampled_from([(0.1, 0.0, 0.0), (5.0, 1.0, 0.3), (0.01, 0.5, 2.0)]),
    item_bias=st.booleans(),
    dtype=st.sampled_from([torch.float32, torch.float64]),
)
def test_it_is_the_minimiser_over_all_cells(
    settings: list[str],
    folder: Path,
    seed: int,
    of_item: dict[int, float],
    regulariser: tuple[float, float, float],
    item_bias: bool,
    dtype: torch.dtype,
) -> None:
    keys = zip(("lambda_", "lambda_power", "lambda_b"), regulariser, strict=True)
    overrides = [*settings, *(f"train.{key}={value}" for key, value in keys)]
    model = made_up(folder, 3, 30, *overrides, item_bias=item_bias, dtype=dtype, seed=seed)
    items, values = list(of_item), list(of_item.values())
    folded = model.fold_in(items, values)
    want = over_all_cells(model, items, values)
    np.testing.assert_allclose(np.append(folded.w, folded.b), want, rtol=1e-8, atol=1e-9)


def test_an_item_without_training_events_counts_among_the_unknown_as_it_was_trained(tmp_path: Path) -> None:
    model = made_up(tmp_path, 3, 30, "data.feedback=implicit")
    model.item_counts[7] = 0
    folded = model.fold_in([104, 109])
    want = over_all_cells(model, [104, 109], [1.0, 1.0])
    np.testing.assert_allclose(np.append(folded.w, folded.b), want, rtol=1e-10)


def test_pieces_of_any_size_have_the_same_gram_matrix(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = made_up(tmp_path, 3, 30, "data.feedback=implicit").fold_in([104, 109])
    monkeypatch.setattr(fold_in, "ROWS_AT_ONCE", 7)
    in_pieces = made_up(tmp_path, 3, 30, "data.feedback=implicit").fold_in([104, 109])
    np.testing.assert_allclose(in_pieces.w, whole.w, rtol=1e-12)


def test_if_the_unknown_leave_a_choice_the_shortest_solution_is_taken(tmp_path: Path) -> None:
    model = made_up(tmp_path, 3, 30, "data.feedback=implicit", "train.lambda_=0.0", item_bias=False)
    model.factors.X[:, 3] = model.factors.X[:, 2]  # so that only the sum of two weights matters
    folded = model.fold_in([104, 109])
    want = over_all_cells(model, [104, 109], [1.0, 1.0])[:4]
    np.testing.assert_allclose(folded.w, want, rtol=1e-9)
    assert folded.w[2] == pytest.approx(float(folded.w[3]))


def test_events_have_strength_one_unless_said_and_add_up(tmp_path: Path) -> None:
    model = made_up(tmp_path, 3, 30, "data.feedback=implicit")
    assert np.array_equal(model.fold_in([104, 109]).w, model.fold_in([104, 109], [1.0, 1.0]).w)
    repeated = model.fold_in([104, 7, 109, 104], [1.0, 1.0, 2.0, 2.5])
    assert np.array_equal(repeated.w, model.fold_in([104, 109], [3.5, 2.0]).w)
    assert (repeated.rated.tolist(), repeated.unknown) == ([4, 9], 1)
    with pytest.raises(DataError, match="give a rating for each item; only models of events do without"):
        made_up(tmp_path).fold_in([104, 109])


@pytest.mark.parametrize("strength", ["0", "-1", "nan", "inf", "-inf"])
def test_a_strength_that_is_no_positive_number_is_refused(strength: str, tmp_path: Path) -> None:
    model = made_up(tmp_path, 3, 30, "data.feedback=implicit")
    what = "above 0" if float(strength) <= 0 and strength != "-inf" else "a finite number"
    says = f"^item 109: the strength {strength} is not {what}; leave out what is no event"
    with pytest.raises(DataError, match=says):
        model.fold_in([104, 109], [1.0, float(strength)])


def test_strengths_of_any_size_fold_in_or_are_refused(tmp_path: Path) -> None:
    model = made_up(tmp_path, 3, 30, "data.feedback=implicit", "train.alpha=1e15")
    folded = model.fold_in([104, 104, 109], [1e15, 1e15, 1e-15])
    assert np.isfinite(folded.w).all()
    for strength, text in ((1e50, "1e\\+50"), (1e-300, "1e-300")):
        says = f"^item 109: the strength {text} is not between 1e-15 and 1e\\+15; multiply the whole column"
        with pytest.raises(DataError, match=says):
            model.fold_in([104, 109], [1.0, strength])


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
    assert np.array_equal(folded.w, alone.w)


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
